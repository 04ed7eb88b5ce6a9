"""What an operator is: how it is built from its attributes, and which inputs the program itself reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from onnx import AttributeProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor

from inspection.errors import InferenceError

Compute = Callable[..., Any]
"""Takes the inputs, None where an optional one is missing; returns a tensor or several."""
DTYPES = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.DOUBLE: torch.float64,
    TensorProto.INT32: torch.int32,
    TensorProto.INT64: torch.int64,
    TensorProto.UINT8: torch.uint8,
    TensorProto.BOOL: torch.bool,
}
"""Types of values that are known, by ONNX's number."""


def not_known(what: str) -> InferenceError:
    """Return the refusal of something that this runtime does not compute."""
    return InferenceError(
        f"{what} is not known to the runtime pytorch; use the runtime onnxruntime"
    )


def tensor_of(stored: TensorProto) -> Tensor:
    """Return a constant of the graph, on the processor.

    Raises:
        InferenceError: its type is not known.
    """
    if stored.data_type not in DTYPES:
        raise not_known(f"a constant of type {TensorProto.DataType.Name(stored.data_type)}")
    return torch.from_numpy(numpy_helper.to_array(stored).copy())


class Attributes:
    """The attributes of one node; each is taken once, and those left over are refused."""

    def __init__(self, node: NodeProto) -> None:
        self.outputs = len(node.output)
        self._values: dict[str, Any] = {one.name: _value(one) for one in node.attribute}

    def take(self, name: str, default: Any = None) -> Any:
        """Return an attribute, or its default."""
        return self._values.pop(name, default)

    def only(self, name: str, *allowed: Any) -> Any:
        """Return an attribute that may have these values alone, of which the first is the default.

        Raises:
            InferenceError: it has another.
        """
        value = self.take(name, allowed[0])
        if value not in allowed:
            raise not_known(f"{name} {value!r}")
        return value

    def check_all_taken(self) -> None:
        """Raise InferenceError when an attribute is left that nobody asked for."""
        if self._values:
            raise not_known(f"attribute {', '.join(sorted(self._values))}")


def _value(one: AttributeProto) -> Any:
    value = helper.get_attribute_value(one)
    return value.decode() if isinstance(value, bytes) else value


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator.

    Attributes:
        build: attributes to what computes it; raises InferenceError for those that are not known.
        read: positions of inputs that the program itself reads (shapes, axes): they are on the processor.
        unsettled: the shape of its result depends on pixels, so it cannot be recorded.
        of_shape: it looks at the shape of its input alone; its result is on the processor.
    """

    build: Callable[[Attributes], Compute]
    read: tuple[int, ...] = ()
    unsettled: bool = False
    of_shape: bool = False


def plain(compute: Compute, *read: int) -> Operator:
    """Return an operator without attributes."""

    def build(_attributes: Attributes) -> Compute:
        return compute

    return Operator(build, read)
