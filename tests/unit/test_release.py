"""Releases: the file that says which is in force, and what of a graph may not lie outside of it."""

import json
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from release_builder import write_release

from inspection.errors import ReleaseError
from inspection.release import (
    CARD,
    MODEL,
    check_graph,
    current_number,
    load_release,
    set_current,
)

SIZE = (64, 64)


@pytest.fixture
def releases(tmp_path: Path) -> Path:
    for number in (1, 2):
        write_release(tmp_path, number=number, size=SIZE)
    return tmp_path


def test_the_number_in_force_is_that_of_the_file_or_the_highest(releases: Path) -> None:
    assert current_number(releases, "demo") == 2
    set_current(releases, "demo", 1)
    assert current_number(releases, "demo") == 1
    assert current_number(releases, "lamp") is None


@pytest.mark.parametrize("damage", [b"", b"\0\0\0\0", b"one", b"-1", b"0", b"1 2", b"\xff\xfe1"])
def test_a_damaged_file_is_no_reason_to_take_the_highest(releases: Path, damage: bytes) -> None:
    """After a rollback from 2 to 1 the highest is the one that must not be used."""
    (releases / "demo" / "current").write_bytes(damage)
    with pytest.raises(ReleaseError, match="current is damaged") as caught:
        current_number(releases, "demo")
    assert f"`inspection release rollback {releases} demo --to NUMBER`" in str(caught.value)
    set_current(releases, "demo", 1)
    assert current_number(releases, "demo") == 1


def test_a_file_that_cannot_be_read_is_said(releases: Path) -> None:
    (releases / "demo" / "current").mkdir()
    with pytest.raises(ReleaseError, match="current cannot be read"):
        current_number(releases, "demo")


@pytest.mark.parametrize("size", ["Infinity", "1e999", "NaN"])
@pytest.mark.parametrize("field", ["min_size", "min_area"])
def test_a_class_that_could_never_fail_is_refused(releases: Path, field: str, size: str) -> None:
    card = releases / "demo" / "1" / CARD
    told = json.loads(card.read_text())
    told["limits"]["scratch"][field] = "here"
    card.write_text(json.dumps(told).replace('"here"', size))
    with pytest.raises(ReleaseError, match=rf"limits\.scratch\.{field}.*finite number"):
        load_release(releases / "demo" / "1")


def outside(name: str) -> TensorProto:
    """Return a tensor whose bytes are said to be in a file outside the release."""
    kind = TensorProto.INT64 if name == "indices" else TensorProto.FLOAT
    tensor = TensorProto(name=name, data_type=kind, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../../../../etc/hostname")
    return tensor


@pytest.mark.parametrize("part", ["values", "indices"])
@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize("inner", [False, True])
def test_sparse_data_of_a_node_outside_the_release_is_refused(
    releases: Path, part: str, many: bool, inner: bool
) -> None:
    path = releases / "demo" / "1" / MODEL
    model = onnx.load(path)
    check_graph(path, "detect", SIZE)
    values = helper.make_tensor("values", TensorProto.FLOAT, [1], [1.0])
    indices = helper.make_tensor("indices", TensorProto.INT64, [1], [0])
    sparse = helper.make_sparse_tensor(values, indices, [4])
    getattr(sparse, part).CopyFrom(outside(part))
    node = helper.make_node("Constant", [], ["unused"])
    attribute = node.attribute.add(name="sparse_value")
    if many:
        attribute.type = onnx.AttributeProto.SPARSE_TENSORS
        attribute.sparse_tensors.append(sparse)
    else:
        attribute.type = onnx.AttributeProto.SPARSE_TENSOR
        attribute.sparse_tensor.CopyFrom(sparse)
    if inner:
        branch = helper.make_graph([node], "branch", [], [])
        node = helper.make_node("If", ["unknown"], ["unused"], then_branch=branch)
    model.graph.node.append(node)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ReleaseError, match="refers to a file outside itself"):
        check_graph(path, "detect", SIZE)
