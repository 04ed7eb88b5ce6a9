"""Operators that move values and compute none: shapes, pieces, places.

What says where (shapes, axes, starts, pads) is read by the program. Places told by tensors (Gather and its
kin) stay on the device; a negative one counts from the end.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from inspection.runtimes.torch_graph.operator import (
    Attributes,
    Compute,
    Operator,
    not_known,
    plain,
    tensor_of,
)


def _shape(attributes: Attributes) -> Compute:
    start, end = attributes.take("start", 0), attributes.take("end")
    return lambda x: torch.tensor(x.shape[start:end], dtype=torch.int64)


def _reshape(attributes: Attributes) -> Compute:
    keep_zero = attributes.only("allowzero", 0, 1)

    def compute(x: Tensor, wanted: Tensor) -> Tensor:
        sizes: list[int] = wanted.tolist()
        if not keep_zero:
            sizes = [x.shape[i] if size == 0 else size for i, size in enumerate(sizes)]
        return x.reshape(sizes)

    return compute


def _flatten(attributes: Attributes) -> Compute:
    axis = attributes.take("axis", 1)

    def compute(x: Tensor) -> Tensor:
        at = axis + x.ndim if axis < 0 else axis
        return x.reshape(math.prod(x.shape[:at]), math.prod(x.shape[at:]))

    return compute


def _squeeze(x: Tensor, axes: Tensor | None = None) -> Tensor:
    if axes is None:
        return x.squeeze()
    chosen: list[int] = axes.tolist()
    if any(x.shape[axis] != 1 for axis in chosen):
        raise not_known(f"Squeeze of {list(x.shape)} at {chosen}")
    return x.squeeze(tuple(chosen))


def _unsqueeze(x: Tensor, axes: Tensor) -> Tensor:
    """Axes are those of the result."""
    chosen: list[int] = axes.tolist()
    rank = x.ndim + len(chosen)
    for axis in sorted(a % rank for a in chosen):
        x = x.unsqueeze(axis)
    return x


def _transpose(attributes: Attributes) -> Compute:
    order = attributes.take("perm")
    return lambda x: x.permute(order or tuple(reversed(range(x.ndim))))


def _concat(attributes: Attributes) -> Compute:
    axis = attributes.take("axis")
    return lambda *values: torch.cat(values, axis)


def _split(attributes: Attributes) -> Compute:
    axis, outputs = attributes.take("axis", 0), attributes.outputs

    def compute(x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
        if sizes is not None:
            return torch.split(x, sizes.tolist(), axis)
        each, left = divmod(x.shape[axis], outputs)
        if left:
            raise not_known(f"Split of {x.shape[axis]} into {outputs} without sizes")
        return torch.split(x, each, axis)

    return compute


def _slice(
    x: Tensor,
    starts: Tensor,
    ends: Tensor,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    """Python's rule for starts and ends, which is ONNX's."""
    begin: list[int] = starts.tolist()
    where: list[int] = list(range(len(begin))) if axes is None else axes.tolist()
    by: list[int] = [1] * len(begin) if steps is None else steps.tolist()
    chosen = [slice(None)] * x.ndim
    turned: list[int] = []
    for axis, start, end, step in zip(where, begin, ends.tolist(), by, strict=True):
        places = range(*slice(start, end, step).indices(x.shape[axis]))
        if step < 0:
            places = places[::-1]
            turned.append(axis)
        if not places:
            chosen[axis] = slice(0, 0)
        else:
            chosen[axis] = slice(places[0], places[-1] + 1, places.step)
    x = x[tuple(chosen)]
    return x.flip(turned) if turned else x


def _expand(x: Tensor, shape: Tensor) -> Tensor:
    return x.expand(torch.broadcast_shapes(x.shape, tuple(shape.tolist())))


def _tile(x: Tensor, repeats: Tensor) -> Tensor:
    return x.repeat(repeats.tolist())


def _pad(attributes: Attributes) -> Compute:
    mode: str = attributes.only("mode", "constant", "edge", "reflect")
    name = "replicate" if mode == "edge" else mode

    def compute(x: Tensor, pads: Tensor, value: Tensor | None = None) -> Tensor:
        sides: list[int] = pads.tolist()
        rank = x.ndim
        pairs = list(zip(sides[:rank], sides[rank:], strict=True))
        if name == "constant":
            amounts = [side for pair in reversed(pairs) for side in pair]  # torch: last axis first
            return functional.pad(x, amounts, value=0 if value is None else value.item())
        if rank != 4 or any(pairs[0]) or any(pairs[1]) or min(sides) < 0:
            raise not_known(f"Pad {mode} of {list(x.shape)} by {sides}")
        return functional.pad(x, [*pairs[3], *pairs[2]], mode=name)

    return compute


def _constant(attributes: Attributes) -> Compute:
    stored = attributes.take("value")
    if stored is None:
        raise not_known("a Constant without value")
    value = tensor_of(stored)
    return lambda: value


def _constant_of_shape(attributes: Attributes) -> Compute:
    stored = attributes.take("value")
    value = torch.zeros(1) if stored is None else tensor_of(stored)
    return lambda shape: torch.full(shape.tolist(), value.item(), dtype=value.dtype)


def _range(start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    if start.is_floating_point():
        raise not_known("Range of floats")
    places = range(int(start.item()), int(limit.item()), int(delta.item()))
    return torch.tensor(list(places), dtype=start.dtype)


def _from_end(places: Tensor, size: int) -> Tensor:
    return torch.where(places < 0, places + size, places)


def _gather(attributes: Attributes) -> Compute:
    axis = attributes.take("axis", 0)

    def compute(x: Tensor, places: Tensor) -> Tensor:
        at = axis % x.ndim
        found = x.index_select(at, _from_end(places, x.shape[at]).reshape(-1))
        return found.reshape(x.shape[:at] + places.shape + x.shape[at + 1 :])

    return compute


def _gather_elements(attributes: Attributes) -> Compute:
    axis = attributes.take("axis", 0)
    return lambda x, places: x.gather(axis, _from_end(places, x.shape[axis]))


def _gather_nd(attributes: Attributes) -> Compute:
    shared = attributes.take("batch_dims", 0)

    def compute(x: Tensor, places: Tensor) -> Tensor:
        if not shared:
            return x[places.unbind(-1)]
        first = x.shape[:shared]
        flat = x.reshape(-1, *x.shape[shared:])
        where = places.reshape(len(flat), -1, places.shape[-1])
        rows = torch.arange(len(flat), device=x.device)[:, None].expand(where.shape[:2])
        found = flat[(rows, *where.unbind(-1))]
        return found.reshape(*first, *places.shape[shared:-1], *found.shape[2:])

    return compute


def _scatter_nd(attributes: Attributes) -> Compute:
    attributes.only("reduction", "none")

    def compute(x: Tensor, places: Tensor, values: Tensor) -> Tensor:
        return x.index_put(places.unbind(-1), values)

    return compute


def _size_of(x: Tensor) -> Any:
    return torch.tensor(x.numel(), dtype=torch.int64)


OPERATORS: dict[str, Operator] = {
    "Concat": Operator(_concat),
    "Constant": Operator(_constant),
    "ConstantOfShape": Operator(_constant_of_shape, read=(0,)),
    "Expand": plain(_expand, 1),
    "Flatten": Operator(_flatten),
    "Gather": Operator(_gather),
    "GatherElements": Operator(_gather_elements),
    "GatherND": Operator(_gather_nd),
    "Pad": Operator(_pad, read=(1, 2)),
    "Range": plain(_range, 0, 1, 2),
    "Reshape": Operator(_reshape, read=(1,)),
    "ScatterND": Operator(_scatter_nd),
    "Shape": Operator(_shape, of_shape=True),
    "Size": Operator(lambda _attributes: _size_of, of_shape=True),
    "Slice": plain(_slice, 1, 2, 3, 4),
    "Split": Operator(_split, read=(1,)),
    "Squeeze": plain(_squeeze, 1),
    "Tile": plain(_tile, 1),
    "Transpose": Operator(_transpose),
    "Unsqueeze": plain(_unsqueeze, 1),
}
