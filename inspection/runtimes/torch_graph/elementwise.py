"""Operators that compute each value by itself, or each pair of values.

NaN stays NaN in all of them, also in Max, Min, Clip and Relu.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from inspection.runtimes.torch_graph.operator import (
    DTYPES,
    Attributes,
    Compute,
    Operator,
    not_known,
    plain,
)


def _cast(attributes: Attributes) -> Compute:
    number = attributes.take("to")
    dtype = DTYPES.get(number)
    if dtype is None or dtype == torch.uint8:  # what is out of range would be anybody's guess
        raise not_known(f"a cast to ONNX's type {number}")
    return lambda x: x.to(dtype)


def _divide(x: Tensor, y: Tensor) -> Tensor:
    """Whole numbers are cut towards zero, as in C."""
    return torch.div(x, y, rounding_mode=None if x.is_floating_point() else "trunc")


def _mod(attributes: Attributes) -> Compute:
    """The sign is the divisor's, or with `fmod` the dividend's, as in C."""
    as_c = attributes.only("fmod", 0, 1)

    def compute(x: Tensor, y: Tensor) -> Tensor:
        if not as_c and x.is_floating_point():
            raise not_known("Mod of floats without fmod")
        return torch.fmod(x, y) if as_c else torch.remainder(x, y)

    return compute


def _power(x: Tensor, y: Tensor) -> Tensor:
    return torch.pow(x, y).to(x.dtype)


def _clip(x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    """Bounds are read by the program."""
    if low is None and high is None:
        return x
    return torch.clamp(
        x, None if low is None else low.item(), None if high is None else high.item()
    )


def _maximum(*values: Tensor) -> Tensor:
    return functools.reduce(torch.maximum, values)


def _minimum(*values: Tensor) -> Tensor:
    return functools.reduce(torch.minimum, values)


def _total(*values: Tensor) -> Tensor:
    return functools.reduce(torch.add, values)


def _where(condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
    return torch.where(condition, x, y)


def _hard_sigmoid(attributes: Attributes) -> Compute:
    alpha, beta = attributes.take("alpha", 0.2), attributes.take("beta", 0.5)
    return lambda x: torch.clamp(x * alpha + beta, 0.0, 1.0)


def _leaky_relu(attributes: Attributes) -> Compute:
    alpha = attributes.take("alpha", 0.01)
    return lambda x: functional.leaky_relu(x, alpha)


def _softmax(attributes: Attributes) -> Compute:
    axis = attributes.take("axis", -1)
    return lambda x: torch.softmax(x, axis)


def _same(x: Any) -> Any:
    return x


OPERATORS: dict[str, Operator] = {
    "Abs": plain(torch.abs),
    "Add": plain(torch.add),
    "And": plain(torch.logical_and),
    "Cast": Operator(_cast),
    "Ceil": plain(torch.ceil),
    "Clip": plain(_clip, 1, 2),
    "Div": plain(_divide),
    "Equal": plain(torch.eq),
    "Erf": plain(torch.erf),
    "Exp": plain(torch.exp),
    "Floor": plain(torch.floor),
    "Greater": plain(torch.gt),
    "GreaterOrEqual": plain(torch.ge),
    "HardSigmoid": Operator(_hard_sigmoid),
    "HardSwish": plain(functional.hardswish),
    "Identity": plain(_same),
    "IsNaN": plain(torch.isnan),
    "LeakyRelu": Operator(_leaky_relu),
    "Less": plain(torch.lt),
    "LessOrEqual": plain(torch.le),
    "Log": plain(torch.log),
    "Max": plain(_maximum),
    "Min": plain(_minimum),
    "Mod": Operator(_mod),
    "Mul": plain(torch.mul),
    "Neg": plain(torch.neg),
    "Not": plain(torch.logical_not),
    "Or": plain(torch.logical_or),
    "Pow": plain(_power),
    "Reciprocal": plain(torch.reciprocal),
    "Relu": plain(torch.relu),
    "Round": plain(torch.round),  # half to even, as ONNX says
    "Sigmoid": plain(torch.sigmoid),
    "Sign": plain(torch.sign),
    "Softmax": Operator(_softmax),
    "Sqrt": plain(torch.sqrt),
    "Sub": plain(torch.sub),
    "Sum": plain(_total),
    "Tanh": plain(torch.tanh),
    "Where": plain(_where),
}
