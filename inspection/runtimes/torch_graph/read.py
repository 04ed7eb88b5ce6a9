"""Reads a graph: its nodes in order, its constants. Computes nothing; what is not known is refused here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx
from onnx import GraphProto, NodeProto
from torch import Tensor

from inspection.errors import InferenceError
from inspection.runtimes.torch_graph import boxes, elementwise, layers, shapes
from inspection.runtimes.torch_graph.operator import (
    Attributes,
    Compute,
    Operator,
    not_known,
    tensor_of,
)

OPSET = 17
"""The operator set of our exports. Others give some operators another meaning."""
OPERATORS: Mapping[str, Operator] = {
    **elementwise.OPERATORS,
    **shapes.OPERATORS,
    **layers.OPERATORS,
    **boxes.OPERATORS,
}
INPUT = "images"


@dataclass(frozen=True, slots=True)
class Node:
    """One node, ready to compute.

    Attributes:
        name: for people: operator and name in the graph.
        operator: what it is.
        compute: inputs to outputs.
        inputs: names of values; empty where an optional one is missing.
        outputs: names of values.
    """

    name: str
    operator: Operator
    compute: Compute
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Network:
    """A graph that was read.

    Attributes:
        nodes: each behind those that it needs.
        constants: by name, on the processor.
        outputs: names of the outputs.
    """

    nodes: tuple[Node, ...]
    constants: dict[str, Tensor]
    outputs: tuple[str, ...]


def read_network(model: bytes) -> Network:
    """Read the bytes of model.onnx.

    Raises:
        InferenceError: an operator, an attribute, a type or the operator set is not known.
    """
    document = onnx.load_from_string(model)
    sets = {(one.domain, one.version) for one in document.opset_import}
    if sets != {("", OPSET)}:
        told = ", ".join(f"{domain or 'ONNX'} {version}" for domain, version in sorted(sets))
        raise not_known(f"operator set {told} (it knows {OPSET})")
    graph = document.graph
    constants = {one.name: tensor_of(one) for one in graph.initializer}
    nodes = tuple(_node(one) for one in graph.node)
    _check_names(graph, nodes, constants)
    return Network(nodes, constants, tuple(one.name for one in graph.output))


def _node(node: NodeProto) -> Node:
    name = f"{node.op_type} {node.name}".strip()
    operator = OPERATORS.get(node.op_type) if not node.domain else None
    if operator is None:
        raise not_known(f"operator {name}")
    attributes = Attributes(node)
    try:
        compute = operator.build(attributes)
        attributes.check_all_taken()
    except InferenceError as error:
        raise InferenceError(f"{name}: {error}") from error
    return Node(name, operator, compute, tuple(node.input), tuple(node.output))


def _check_names(graph: GraphProto, nodes: tuple[Node, ...], constants: dict[str, Tensor]) -> None:
    """Raise InferenceError when a value is used that nothing gave before."""
    if graph.sparse_initializer:
        raise not_known("a sparse constant")
    given = {INPUT, *constants}
    for node in nodes:
        missing = [name for name in node.inputs if name and name not in given]
        if missing:
            raise InferenceError(f"{node.name} takes {missing}, which nothing gives; export again")
        given.update(node.outputs)
    if not given.issuperset(one.name for one in graph.output):
        raise InferenceError("nothing gives an output of the graph; export again")
