"""Each operator of the runtime pytorch gives what ONNX Runtime gives, or is refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from inspection.errors import InferenceError
from inspection.runtimes.libraries import import_onnxruntime
from inspection.runtimes.torch_graph import layers
from inspection.runtimes.torch_graph.plan import CPU, Planner, run_steps
from inspection.runtimes.torch_graph.read import INPUT, OPERATORS, read_network

Array = np.ndarray[Any, Any]
_chance = np.random.default_rng(7)
END = np.iinfo(np.int64).max


def floats(*shape: int) -> Array:
    return _chance.normal(0, 2, shape).astype(np.float32)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


def build(
    kind: str, x: Array, *others: Array | None, outputs: int = 1, opset: int = 17, **attributes: Any
) -> bytes:
    """One node: its first input is the graph's `images`, the others are constants; None: left out."""
    names = ["" if value is None else f"c{i}" for i, value in enumerate(others)]
    constants = [
        numpy_helper.from_array(value, name)
        for value, name in zip(others, names, strict=True)
        if value is not None
    ]
    results = [f"y{i}" for i in range(outputs)]
    graph = helper.make_graph(
        [helper.make_node(kind, [INPUT, *names], results, name="it", **attributes)],
        "one",
        [helper.make_tensor_value_info(INPUT, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)],
        [onnx.ValueInfoProto(name=name) for name in results],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    return onnx.shape_inference.infer_shapes(model).SerializeToString()


def ours(model: bytes, x: Array) -> list[Array]:
    images = torch.from_numpy(x.copy())
    with torch.inference_mode():
        plan = Planner(read_network(model), CPU).plan(images)
        values = {**plan.known, INPUT: images}
        run_steps((*plan.early, *plan.late), values, CPU)
    return [values[name].numpy() for name in plan.outputs]


def theirs(model: bytes, x: Array) -> list[Array]:
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(None, {INPUT: x})


PICTURE = floats(2, 4, 9, 7)
ROWS = floats(2, 3, 5)
TIED = _chance.integers(0, 4, (2, 3, 9)).astype(np.float32)
WHOLE = np.array([[-7, 7, -6, 5], [3, -3, 0, 9]], np.int64)
HALVES = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.49999997, 3.0], np.float32)
WEIGHT = floats(6, 4, 3, 3)

CASES: list[tuple[str, Array, tuple[Array | None, ...], dict[str, Any]]] = [
    *(
        (kind, HALVES, (), {})
        for kind in (
            "Abs", "Ceil", "Erf", "Exp", "Floor", "HardSwish", "Identity", "IsNaN", "Neg", "Reciprocal",
            "Relu", "Round", "Sigmoid", "Sign", "Tanh",
        )
    ),
    *((kind, np.abs(HALVES), (), {}) for kind in ("Log", "Sqrt")),
    *(
        (kind, ROWS, (floats(3, 1),), {})
        for kind in ("Add", "Div", "Max", "Min", "Mul", "Sub", "Sum")
    ),
    *(
        (kind, TIED, (np.full((1,), 2, np.float32),), {})
        for kind in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
    ),
    *((kind, TIED > 1, (TIED[:1] > 2,), {}) for kind in ("And", "Or")),
    ("Max", ROWS, (floats(5), floats(2, 1, 1)), {}),
    ("Not", TIED > 1, (), {}),
    ("Where", TIED > 1, (floats(9), floats(3, 1)), {}),
    ("Pow", np.abs(HALVES), (np.array([2, 3, 0.5, 1, 2, 3, 4, 0], np.float32),), {}),
    ("Pow", WHOLE, (np.array([2.0], np.float32),), {}),
    ("Div", WHOLE, (ints(2, -2, 4, -3),), {}),
    ("Mod", WHOLE, (ints(3, -3, 4, 2),), {}),
    ("Mod", WHOLE, (ints(3, -3, 4, 2),), {"fmod": 1}),
    ("Mod", HALVES, (np.array([1.25], np.float32),), {"fmod": 1}),
    ("Cast", HALVES, (), {"to": TensorProto.INT64}),
    ("Cast", HALVES, (), {"to": TensorProto.BOOL}),
    ("Cast", WHOLE, (), {"to": TensorProto.FLOAT}),
    ("Cast", np.arange(256, dtype=np.uint8), (), {"to": TensorProto.FLOAT}),
    ("Clip", HALVES, (np.float32(-1), np.float32(2)), {}),
    ("Clip", HALVES, (None, np.float32(0.25)), {}),
    ("Clip", HALVES, (np.float32(0),), {}),
    ("Clip", WHOLE, (np.int64(-3), np.int64(5)), {}),
    ("HardSigmoid", HALVES * 3, (), {}),
    ("HardSigmoid", HALVES * 3, (), {"alpha": 1 / 6, "beta": 0.5}),
    ("LeakyRelu", HALVES, (), {}),
    ("LeakyRelu", HALVES, (), {"alpha": 0.1}),
    ("Softmax", ROWS, (), {}),
    ("Softmax", ROWS, (), {"axis": 1}),
    # shapes
    ("Shape", ROWS, (), {}),
    ("Shape", ROWS, (), {"start": -2}),
    ("Shape", ROWS, (), {"start": 0, "end": 1}),
    ("Size", ROWS, (), {}),
    ("Reshape", ROWS, (ints(0, -1),), {}),
    ("Reshape", ROWS, (ints(5, 1, 6),), {}),
    ("Reshape", np.zeros((0, 4), np.float32), (ints(4, 0),), {"allowzero": 1}),
    *(("Flatten", ROWS, (), {"axis": axis}) for axis in (0, 1, 2, -1)),
    ("Squeeze", floats(1, 3, 1, 2), (), {}),
    ("Squeeze", floats(1, 3, 1, 2), (ints(-2),), {}),
    ("Unsqueeze", ROWS, (ints(-1, 0),), {}),
    ("Unsqueeze", ROWS, (ints(3, 1),), {}),
    ("Transpose", ROWS, (), {}),
    ("Transpose", ROWS, (), {"perm": [1, 0, 2]}),
    ("Concat", ROWS, (floats(2, 1, 5), floats(2, 2, 5)), {"axis": -2}),
    ("Expand", floats(3, 1), (ints(2, 1, 4),), {}),
    ("Expand", ROWS, (ints(1, 1),), {}),
    ("Tile", ROWS, (ints(1, 2, 3),), {}),
    ("Slice", ROWS, (ints(1, -3), ints(END, END), ints(1, 2)), {}),
    ("Slice", ROWS, (ints(-1, -1), ints(-END, 0), ints(1, -1), ints(-1, -2)), {}),
    ("Slice", ROWS, (ints(3), ints(-END), ints(2), ints(-3)), {}),
    ("Slice", ROWS, (ints(4), ints(1), ints(2)), {}),
    ("Slice", ROWS, (ints(0, 1), ints(9, 3)), {}),
    ("Pad", PICTURE, (ints(0, 1, 2, 0, 1, 0, 0, 3), np.float32(114)), {}),
    ("Pad", PICTURE, (ints(0, 0, -1, 2, 0, 0, 3, -2),), {}),
    ("Pad", PICTURE, (ints(0, 0, 1, 2, 0, 0, 3, 0),), {"mode": "edge"}),
    ("Pad", PICTURE, (ints(0, 0, 1, 2, 0, 0, 3, 0),), {"mode": "reflect"}),
    ("Gather", ROWS, (ints(-1, 0, 2),), {"axis": 1}),
    ("Gather", ROWS, (np.array(-2, np.int64),), {"axis": -1}),
    ("Gather", ROWS, (np.array([[0, -1], [1, 1]], np.int64),), {}),
    ("GatherElements", ROWS, (np.array([[[-1, 0, 2, 1, -3]]] * 2, np.int64),), {"axis": 1}),
    ("GatherND", ROWS, (np.array([[0, -1], [1, 2], [-2, 0]], np.int64),), {}),
    ("GatherND", ROWS, (np.array([[[1], [-1]], [[0], [2]]], np.int64),), {"batch_dims": 1}),
    ("GatherND", ROWS, (np.array([[[4]] * 3, [[-2]] * 3], np.int64),), {"batch_dims": 2}),
    ("ScatterND", ROWS, (np.array([[0, 1], [-1, -1]], np.int64), floats(2, 5)), {}),
    ("ScatterND", ROWS, (np.zeros((0, 2), np.int64), floats(0, 5)), {}),
    ("ConstantOfShape", ints(2, 0, 3), (), {}),
    ("ConstantOfShape", ints(2, 3), (), {"value": helper.make_tensor("v", 7, [1], [-4])}),
    ("Range", np.array(7, np.int64), (np.array(-2, np.int64), np.array(-3, np.int64)), {}),
    ("Range", np.array(7, np.int64), (np.array(9, np.int64), np.array(-3, np.int64)), {}),
    # layers
    ("Conv", PICTURE, (WEIGHT, floats(6)), {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    ("Conv", PICTURE, (WEIGHT,), {"pads": [0, 1, 2, 0], "strides": [2, 1], "dilations": [1, 2]}),
    ("Conv", PICTURE, (floats(8, 1, 3, 3),), {"group": 4, "pads": [2, 0, 2, 0]}),
    ("ConvTranspose", PICTURE, (floats(4, 3, 2, 2), floats(3)), {"strides": [2, 2]}),
    (
        "ConvTranspose", PICTURE, (floats(4, 3, 3, 3),),
        {"strides": [2, 3], "pads": [1, 0, 1, 0], "output_padding": [1, 2], "group": 2},
    ),
    ("MaxPool", PICTURE, (), {"kernel_shape": [5, 5], "pads": [2, 2, 2, 2], "strides": [1, 1]}),
    ("MaxPool", PICTURE, (), {"kernel_shape": [3, 2], "pads": [0, 0, 1, 1], "strides": [2, 2]}),
    ("MaxPool", PICTURE, (), {"kernel_shape": [2, 2], "dilations": [2, 3]}),
    *(
        (
            "AveragePool", PICTURE, (),
            {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 1], "count_include_pad": n},
        )
        for n in (0, 1)
    ),
    ("GlobalAveragePool", PICTURE, (), {}),
    ("Gemm", floats(3, 4), (floats(5, 4), floats(5)), {"transB": 1}),
    ("Gemm", floats(4, 3), (floats(4, 5), floats(3, 1)), {"transA": 1, "alpha": 0.5, "beta": -2.0}),
    ("Gemm", floats(3, 4), (floats(4, 5),), {}),
    ("MatMul", floats(2, 3, 4), (floats(4, 5),), {}),
    ("MatMul", floats(3, 1, 2, 4), (floats(5, 4, 6),), {}),
    ("BatchNormalization", PICTURE, (floats(4), floats(4), floats(4), np.abs(floats(4))), {}),
    ("InstanceNormalization", PICTURE, (floats(4), floats(4)), {"epsilon": 1e-3}),
    ("InstanceNormalization", floats(2, 3, 4), (floats(3), floats(3)), {}),
    *((kind, ROWS, (), {"axes": [1, -1]}) for kind in ("ReduceMax", "ReduceMean", "ReduceMin")),
    *((kind, ROWS, (), {"keepdims": 0}) for kind in ("ReduceMax", "ReduceMean", "ReduceMin")),
    ("ReduceSum", ROWS, (ints(-2),), {"keepdims": 0}),
    ("ReduceSum", WHOLE, (), {}),
    *(
        ("Resize", PICTURE, (None, None, ints(2, 4, *size)), {
            "mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor",
        })
        for size in ((18, 14), (9, 7), (17, 15), (3, 5), (31, 20))
    ),
    ("Resize", PICTURE, (None, np.array([1, 1, 2, 3], np.float32)), {
        "mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor",
    }),
    *(
        ("Resize", PICTURE, (None, None, ints(2, 4, *size)), {"mode": "linear"})
        for size in ((18, 14), (4, 3), (17, 23), (1, 1))
    ),
    # boxes
    *(
        ("TopK", TIED, (ints(4 if axis != 1 else 2),), {"axis": axis, "largest": largest, "outputs": 2})
        for axis in (-1, 1)
        for largest in (1, 0)
    ),
    ("ArgMax", TIED, (), {"axis": -1}),
    ("ArgMax", TIED, (), {"axis": 1, "keepdims": 0}),
]  # fmt: skip
SEVERAL = {"Split": "below", "NonMaxSuppression": "below", "RoiAlign": "below", "Constant": "below"}


@pytest.mark.parametrize("case", CASES, ids=[f"{i}-{case[0]}" for i, case in enumerate(CASES)])
def test_it_computes_what_onnx_runtime_computes(case: tuple[Any, ...]) -> None:
    kind, x, others, attributes = case
    others = tuple(None if value is None else np.asarray(value) for value in others)
    model = build(kind, x, *others, **attributes)
    compare(model, x)


def compare(model: bytes, x: Array) -> list[Array]:
    found, expected = ours(model, x), theirs(model, x)
    for mine, other in zip(found, expected, strict=True):
        assert (mine.dtype, mine.shape) == (other.dtype, other.shape)
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-5)
    return found


def test_every_operator_is_compared() -> None:
    assert {case[0] for case in CASES} | set(SEVERAL) == set(OPERATORS)


@pytest.mark.parametrize(
    ("outputs", "sizes", "axis"), [(3, ints(1, 0, 4), 2), (5, None, -1), (2, ints(2, 1), 1)]
)
def test_split(outputs: int, sizes: Array | None, axis: int) -> None:
    others = () if sizes is None else (sizes,)
    compare(build("Split", ROWS, *others, outputs=outputs, axis=axis), ROWS)


def test_a_norm_of_one_value_is_the_bias() -> None:
    x, bias = floats(2, 3, 1), floats(3)
    found = ours(build("InstanceNormalization", x, floats(3), bias), x)[0]
    assert np.array_equal(found, np.stack([bias[:, None]] * 2))


def test_a_constant_node() -> None:
    value = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(ROWS))
    graph = helper.make_graph(
        [value, helper.make_node("Add", [INPUT, "c"], ["y"])],
        "constant",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ROWS.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ROWS.shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    compare(model.SerializeToString(), ROWS)


def some_boxes(kind: str) -> tuple[Array, Array]:
    """Boxes [2, 40, 4] on a coarse grid, so that many are alike, and scores [2, 3, 40] with ties."""
    start = _chance.integers(0, 6, (2, 40, 2)).astype(np.float32)
    boxes = np.concatenate([start, start + _chance.integers(0, 4, (2, 40, 2))], axis=2)
    boxes = boxes.astype(np.float32)
    if kind == "turned":
        boxes[:, ::2] = boxes[:, ::2][..., [2, 1, 0, 3]]
        boxes[:, ::3] = boxes[:, ::3][..., [2, 3, 0, 1]]
    if kind == "centred":
        boxes[..., 2:] -= boxes[..., :2] - 1
    return boxes, (_chance.integers(0, 9, (2, 3, 40)) / 8).astype(np.float32)


@pytest.mark.parametrize("kind", ["plain", "turned", "centred", "nan"])
@pytest.mark.parametrize("most", [0, 3, 100])
@pytest.mark.parametrize("floor", [None, 0.25, 2.0])
def test_suppression(kind: str, most: int, floor: float | None) -> None:
    """Ties, scores at the floor, boxes without extent and corners in any order; NaN is under every floor."""
    boxes, scores = some_boxes(kind)
    if kind == "nan":
        if floor is None:
            pytest.skip("without a floor, the order of what is no number is nobody's promise")
        scores[0, 0, ::3] = np.nan
    others = [scores, ints(most), np.array([0.25], np.float32)]
    if floor is not None:
        others.append(np.array([floor], np.float32))
    centred = {"center_point_box": 1} if kind == "centred" else {}
    found = compare(build("NonMaxSuppression", boxes, *others, **centred), boxes)[0]
    assert (len(found) > 0) is (most > 0 and floor != 2.0)


@pytest.mark.parametrize("place", ["half_pixel", "output_half_pixel"])
@pytest.mark.parametrize("samples", [0, 2])
def test_regions(place: str, samples: int) -> None:
    corners = _chance.uniform(-4, 40, (6, 2, 2)).astype(np.float32)
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    model = build(
        "RoiAlign", PICTURE, boxes, ints(0, 1, 1, 0, 0, 1), output_height=3, output_width=4,
        spatial_scale=0.25, sampling_ratio=samples, coordinate_transformation_mode=place,
    )  # fmt: skip
    compare(model, PICTURE)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("kind", ["Max", "Min", "Add", "Mul"])
def test_what_is_no_number_stays_none_of_two(kind: str, turned: bool) -> None:
    x = np.array([np.nan, 1.0], np.float32)
    other = np.array([2.0, 3.0], np.float32)
    found = ours(build(kind, *((other, x) if turned else (x, other))), other if turned else x)[0]
    assert np.isnan(found).tolist() == [True, False]


@pytest.mark.parametrize(
    ("kind", "others", "attributes"),
    [
        ("Clip", (np.float32(0), np.float32(6)), {}),  # ReLU6: in ONNX Runtime NaN becomes a number
        ("Relu", (), {}),
        ("Sigmoid", (), {}),
        ("HardSwish", (), {}),
        ("HardSigmoid", (), {}),
        ("Softmax", (), {}),
        ("MaxPool", (), {"kernel_shape": [9, 7]}),
        ("ReduceMax", (), {}),
        ("ReduceMin", (), {}),
        ("GlobalAveragePool", (), {}),
    ],
)
def test_what_is_no_number_stays_none(
    kind: str, others: tuple[Any, ...], attributes: dict[str, Any]
) -> None:
    x = PICTURE.copy()
    x[0, 0, 4, 4] = np.nan
    found = ours(build(kind, x, *map(np.asarray, others), **attributes), x)[0]
    assert np.isnan(found).any()
    assert np.isfinite(found).any() or kind.startswith("Reduce")


UNKNOWN: list[tuple[str, tuple[Array | None, ...], dict[str, Any], str]] = [
    ("Cos", (), {}, "operator Cos it is not known"),
    ("Conv", (WEIGHT,), {"auto_pad": "SAME_UPPER"}, "Conv it: auto_pad 'SAME_UPPER'"),
    ("MaxPool", (), {"kernel_shape": [2, 2], "ceil_mode": 1}, "MaxPool it: ceil_mode 1"),
    ("MaxPool", (), {"kernel_shape": [2, 2], "outputs": 2}, "MaxPool it with 2 outputs"),
    ("AveragePool", (), {"kernel_shape": [2, 2], "pads": [0, 0, 1, 1]}, "AveragePool it: Average"),
    ("Resize", (None, None, ints(2, 4, 18, 14)), {"mode": "cubic"}, "Resize it: mode 'cubic'"),
    ("Resize", (None, None, ints(2, 4, 18, 14)), {}, "nearest half_pixel round_prefer_floor"),
    ("Resize", (None, np.array([1, 1, 1.5, 2], np.float32)), {"mode": "linear"}, "Resize of"),
    ("Resize", (None, None, ints(2, 8, 9, 7)), {"mode": "linear"}, "Resize of"),
    ("Cast", (), {"to": TensorProto.FLOAT16}, "a cast to ONNX's type 10"),
    ("Cast", (), {"to": TensorProto.UINT8}, "a cast to ONNX's type 2"),
    ("Mod", (floats(7),), {}, "Mod of floats"),
    ("Pad", (ints(0, 1, 0, 0, 0, 0, 0, 0),), {"mode": "edge"}, "Pad edge"),
    ("ScatterND", (ints(0)[None], PICTURE[:1]), {"reduction": "add"}, "reduction 'add'"),
    ("TopK", (ints(40),), {"outputs": 2}, "TopK of 40 of 7"),
]  # fmt: skip


@pytest.mark.parametrize("case", UNKNOWN, ids=[f"{i}-{case[0]}" for i, case in enumerate(UNKNOWN)])
def test_what_is_not_known_is_refused_by_name(case: tuple[Any, ...]) -> None:
    kind, others, attributes, words = case
    model = build(kind, PICTURE, *others, **attributes)
    with pytest.raises(InferenceError, match=words) as caught:
        ours(model, PICTURE)
    assert str(caught.value).endswith("use the runtime onnxruntime")


def test_another_operator_set_is_refused() -> None:
    with pytest.raises(InferenceError, match=r"operator set ONNX 16 \(it knows 17\)"):
        read_network(build("Relu", ROWS, opset=16))


def test_an_unknown_attribute_and_type_are_refused() -> None:
    model = onnx.load_from_string(build("Relu", ROWS))
    model.graph.node[0].attribute.append(helper.make_attribute("limit", 6.0))
    with pytest.raises(InferenceError, match="Relu it: attribute limit is not known"):
        read_network(model.SerializeToString())
    half = build("Add", ROWS.astype(np.float16), ROWS.astype(np.float16))
    with pytest.raises(InferenceError, match="a constant of type FLOAT16"):
        read_network(half)


def test_where_torch_takes_another_pixel_resize_is_refused() -> None:
    """Both round in float32, each in its own way."""
    assert not layers._same_places(2, 82)
    model = build(
        "Resize", np.ones((1, 1, 2, 2), np.float32), None, None, ints(1, 1, 82, 82), mode="nearest",
        coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    )  # fmt: skip
    with pytest.raises(InferenceError, match=r"Resize nearest of \[2, 2\] to \[82, 82\]"):
        ours(model, np.ones((1, 1, 2, 2), np.float32))
