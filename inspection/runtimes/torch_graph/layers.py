"""The layers of a network: convolutions, products, pools, norms, sums over axes, Resize; on [B, C, H, W]."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from inspection.runtimes.torch_graph.operator import (
    Attributes,
    Compute,
    Operator,
    not_known,
    plain,
)


def _two(attributes: Attributes, name: str) -> tuple[int, int]:
    """Return an attribute of one number each way; default 1."""
    value = attributes.take(name) or [1, 1]
    if len(value) != 2:
        raise not_known(f"{name} {value}")
    return int(value[0]), int(value[1])


def _sides(attributes: Attributes) -> tuple[int, int, int, int]:
    """Return how much is padded: left, right, top, bottom."""
    attributes.only("auto_pad", "NOTSET")
    value = attributes.take("pads") or [0, 0, 0, 0]
    if len(value) != 4 or min(value) < 0:
        raise not_known(f"pads {value}")
    top, left, bottom, right = value
    return left, right, top, bottom


def _alike(sides: tuple[int, int, int, int]) -> bool:
    """Tell whether both ends of each way are padded alike, which is all that torch's layers take."""
    left, right, top, bottom = sides
    return left == right and top == bottom


def _kernel(attributes: Attributes) -> list[int]:
    """Return the kernel's size, which must be a picture's; of a convolution the weights tell it too."""
    size = attributes.take("kernel_shape", [1, 1])
    if len(size) != 2:
        raise not_known(f"kernel_shape {size}")
    return size


def _convolution(attributes: Attributes) -> Compute:
    _kernel(attributes)
    stride, dilation = _two(attributes, "strides"), _two(attributes, "dilations")
    group, sides = attributes.take("group", 1), _sides(attributes)
    inside = (sides[2], sides[0]) if _alike(sides) else (0, 0)

    def compute(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if not _alike(sides):
            x = functional.pad(x, sides)
        return functional.conv2d(x, weight, bias, stride, inside, dilation, group)

    return compute


def _transposed_convolution(attributes: Attributes) -> Compute:
    _kernel(attributes)
    stride, dilation = _two(attributes, "strides"), _two(attributes, "dilations")
    group, sides = attributes.take("group", 1), _sides(attributes)
    more = attributes.take("output_padding") or [0, 0]
    if not _alike(sides):
        raise not_known("ConvTranspose that cuts its ends differently")
    less = (sides[2], sides[0])

    def compute(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return functional.conv_transpose2d(
            x, weight, bias, stride, less, tuple(more), group, dilation
        )

    return compute


def _max_pool(attributes: Attributes) -> Compute:
    kernel, stride = _kernel(attributes), _two(attributes, "strides")
    dilation, sides = _two(attributes, "dilations"), _sides(attributes)
    attributes.only("ceil_mode", 0)
    attributes.only("storage_order", 0)
    fits = _alike(sides) and sides[0] * 2 <= kernel[1] and sides[2] * 2 <= kernel[0]

    def compute(x: Tensor) -> Tensor:
        if fits:
            return functional.max_pool2d(x, kernel, stride, (sides[2], sides[0]), dilation)
        x = functional.pad(x, sides, value=-torch.inf)
        return functional.max_pool2d(x, kernel, stride, 0, dilation)

    return compute


def _average_pool(attributes: Attributes) -> Compute:
    kernel, stride = _kernel(attributes), _two(attributes, "strides")
    sides = _sides(attributes)
    counted = bool(attributes.only("count_include_pad", 0, 1))
    attributes.only("ceil_mode", 0)
    if not _alike(sides) or sides[0] * 2 > kernel[1] or sides[2] * 2 > kernel[0]:
        raise not_known(f"AveragePool of {kernel} padded by {sides}")
    inside = (sides[2], sides[0])
    return lambda x: functional.avg_pool2d(x, kernel, stride, inside, False, counted)


def _global_average(x: Tensor) -> Tensor:
    return x.mean(tuple(range(2, x.ndim)), keepdim=True)


def _product(attributes: Attributes) -> Compute:
    alpha, beta = attributes.take("alpha", 1.0), attributes.take("beta", 1.0)
    turned = attributes.only("transA", 0, 1), attributes.only("transB", 0, 1)

    def compute(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        found = (a.T if turned[0] else a) @ (b.T if turned[1] else b)
        found = found if alpha == 1.0 else found * alpha
        return found if c is None else found + (c if beta == 1.0 else c * beta)

    return compute


def _batch_norm(attributes: Attributes) -> Compute:
    epsilon = attributes.take("epsilon", 1e-5)
    attributes.take("momentum")  # of a training
    attributes.only("training_mode", 0)

    def compute(x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        return functional.batch_norm(x, mean, variance, scale, bias, False, 0.0, epsilon)

    return compute


def _instance_norm(attributes: Attributes) -> Compute:
    epsilon = attributes.take("epsilon", 1e-5)

    def compute(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        variance, mean = torch.var_mean(x, tuple(range(2, x.ndim)), correction=0, keepdim=True)
        each = (-1, *[1] * (x.ndim - 2))
        return (x - mean) * torch.rsqrt(variance + epsilon) * scale.reshape(each) + bias.reshape(
            each
        )

    return compute


def _sum(x: Tensor, axes: list[int], kept: bool) -> Tensor:
    return torch.sum(x, axes, keepdim=kept, dtype=x.dtype)


def _reduce(function: Any, axes_are_input: bool = False) -> Operator:
    """Return an operator over axes; without axes it is over all of them."""

    def build(attributes: Attributes) -> Compute:
        kept, own = bool(attributes.only("keepdims", 1, 0)), attributes.take("axes")
        if axes_are_input:
            attributes.only("noop_with_empty_axes", 0)

        def compute(x: Tensor, given: Tensor | None = None) -> Tensor:
            axes: list[int] = (own if given is None else given.tolist()) or list(range(x.ndim))
            return function(x, axes, kept) if axes else x

        return compute

    return Operator(build, read=(1,) if axes_are_input else ())


def _resize(attributes: Attributes) -> Compute:
    """Nearest and linear as torch does them; other ways of finding the place are refused."""
    mode = attributes.only("mode", "nearest", "linear")
    place = attributes.take("coordinate_transformation_mode", "half_pixel")
    nearest = attributes.take("nearest_mode", "round_prefer_floor")
    attributes.take("cubic_coeff_a")  # of another mode
    attributes.only("exclude_outside", 0)
    attributes.take("extrapolation_value")  # of another way of finding the place
    way = (mode, place, nearest) if mode == "nearest" else (mode, place)
    if way not in {("nearest", "asymmetric", "floor"), ("linear", "half_pixel")}:
        raise not_known(f"Resize {' '.join(way)}")

    def compute(
        x: Tensor,
        _region: Tensor | None = None,
        scales: Tensor | None = None,
        sizes: Tensor | None = None,
    ) -> Tensor:
        height, width = _new_size(x, scales, sizes)
        if mode == "linear":
            return functional.interpolate(x, (height, width), mode="bilinear", align_corners=False)
        if not (_same_places(x.shape[2], height) and _same_places(x.shape[3], width)):
            raise not_known(f"Resize nearest of {list(x.shape[2:])} to {[height, width]}")
        return functional.interpolate(x, (height, width), mode="nearest")

    return compute


def _new_size(x: Tensor, scales: Tensor | None, sizes: Tensor | None) -> tuple[int, int]:
    """Return height and width. Raises InferenceError for more than a picture's."""
    old = list(x.shape)
    if sizes is not None and sizes.numel():
        new: list[int] = sizes.tolist()
    elif scales is not None:
        exact: list[float] = [
            side * scale for side, scale in zip(old, scales.tolist(), strict=True)
        ]
        new = [int(side) for side in exact]
        if new != exact:  # ONNX then goes by the scale, torch by the size
            raise not_known(f"Resize of {old} by {scales.tolist()}")
    else:
        new = []
    if len(old) != 4 or new[:2] != old[:2]:
        raise not_known(f"Resize of {old} to {new}")
    return new[2], new[3]


@functools.cache
def _same_places(old: int, new: int) -> bool:
    """Tell whether ONNX and torch, which round differently, take the same places for each of the new ones."""
    steps = np.arange(new, dtype=np.float32)
    onnx = np.floor(steps / (np.float32(new) / np.float32(old)))
    ours = np.floor(steps * (np.float32(old) / np.float32(new)))
    return bool((np.minimum(onnx, old - 1) == np.minimum(ours, old - 1)).all())


OPERATORS: dict[str, Operator] = {
    "AveragePool": Operator(_average_pool),
    "BatchNormalization": Operator(_batch_norm),
    "Conv": Operator(_convolution),
    "ConvTranspose": Operator(_transposed_convolution),
    "Gemm": Operator(_product),
    "GlobalAveragePool": plain(_global_average),
    "InstanceNormalization": Operator(_instance_norm),
    "MatMul": plain(torch.matmul),
    "MaxPool": Operator(_max_pool),
    "ReduceMax": _reduce(torch.amax),
    "ReduceMean": _reduce(torch.mean),
    "ReduceMin": _reduce(torch.amin),
    "ReduceSum": _reduce(_sum, axes_are_input=True),
    "Resize": Operator(_resize, read=(1, 2, 3)),
}
