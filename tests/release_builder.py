"""Builds released models for tests: real folders, real small ONNX graphs, no training.

The graph finds marker colours. Class k is every pixel whose channel k (R, G, B for k = 0, 1, 2) is
at least 200 while the other two are at most 60; it becomes one box around these pixels, x1 y1 x2 y2
in network pixels with the far edge exclusive, and a score of min(pixels / 64, 1) * 0.99. No such
pixel: a row of zeros. `paint` draws such markers.

    release = write_release(tmp_path / "releases")          # demo/1, loads in every runtime
    write_release(tmp_path / "releases", number=2, variant="nan")
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from inspection.release import LimitsCard, ReleaseCard, TilingCard, sha256_file, write_card
from inspection.types import ClassLimits, Tiling

Variant = Literal[
    "ok",  # as above
    "nan",  # every score is NaN
    "external_data",  # refers to a file outside itself: refused before it is loaded
    "custom_op",  # uses an operator outside ONNX: refused before it is loaded
    "wrong_output",  # `detections` has five columns: found out when it runs
    "bad_input",  # `images` is float32 NCHW: refused before it is loaded
    "constant",  # always one box in the middle, class 0, score 0.5, whatever it sees
    "slow",  # as ok, and burns about 0.3 s of one core for each call
    "crawling",  # as slow, ten times as long
    "flipped",  # as ok, and one byte of model.onnx changed after hashing: refused
    "wrong_classes",  # a found class has a number past the end of `classes`
    "faulty",  # as ok, but ONNX Runtime (not OpenVINO) fails when the very first value is 255
    "anomaly",  # task anomaly: the map is the largest channel / 256, the score its largest
    "segment",  # as ok, task segment: the mask is the share of marked pixels in each 4 x 4
    "bad_masks",  # as segment, and masks go up to 3
    "nan_masks",  # as segment, and every mask of a found class is NaN
]
_TASKS = {
    "anomaly": "anomaly",
    "segment": "segment",
    "bad_masks": "segment",
    "nan_masks": "segment",
}
ROWS = 8
MARKERS = ((230, 20, 20), (20, 230, 20), (20, 20, 230))
"""Colours that classes 0, 1 and 2 look for."""


def write_release(
    releases: Path,
    part: str = "demo",
    number: int = 1,
    classes: tuple[str, ...] = ("scratch", "dent", "hole"),
    size: tuple[int, int] = (256, 256),
    variant: Variant = "ok",
    limits: dict[str, ClassLimits] | None = None,
    tiling: Tiling | None = None,
) -> Path:
    """Write `releases/PART/NUMBER` and return it.

    Args:
        releases: folder of all releases; made when missing.
        part: name of the part.
        number: release number.
        classes: at most eight; those from the fourth on are never found.
        size: (height, width) of the network input.
        variant: what is right or wrong with it, see `Variant`.
        limits: limits of each class; default t1 0.3, t2 0.6.
        tiling: how frames are cut; default: not at all.
    """
    import onnx

    if variant not in get_args(Variant):
        raise ValueError(f"variant {variant!r} is not one of {get_args(Variant)}")
    folder = releases / part / str(number)
    folder.mkdir(parents=True, exist_ok=True)
    model = build_model(size, len(classes), variant)
    path = folder / "model.onnx"
    onnx.save(model, str(path))
    card = _card(part, number, classes, size, variant, limits, sha256_file(path))
    if tiling is not None:
        cut = TilingCard(size=tiling.size, overlap=tiling.overlap, iou=tiling.iou)
        card = card.model_copy(update={"tiling": cut})
    write_card(folder, card)
    if variant == "flipped":
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0x01
        path.write_bytes(bytes(data))
    return folder


def paint(
    size: tuple[int, int], *marks: tuple[int, tuple[int, int, int, int]], grey: int = 120
) -> NDArray[np.uint8]:
    """Return a grey image [H, W, 3] with marks: (class, (x1, y1, x2, y2)), far edges exclusive."""
    image = np.full((*size, 3), grey, np.uint8)
    for k, (x1, y1, x2, y2) in marks:
        image[y1:y2, x1:x2] = MARKERS[k]
    return image


def _card(
    part: str,
    number: int,
    classes: tuple[str, ...],
    size: tuple[int, int],
    variant: str,
    limits: dict[str, ClassLimits] | None,
    digest: str,
) -> ReleaseCard:
    default = ClassLimits(0.3, 0.6)
    cards = {}
    for name in classes:
        own = (limits or {}).get(name, default)
        cards[name] = LimitsCard(
            t1=own.t1,
            t2=own.t2,
            min_size=own.min_size,
            allowed=own.allowed,
            expected=own.expected,
            min_area=own.min_area,
        )
    return ReleaseCard.model_validate(
        {
            "part": part,
            "number": number,
            "created_at": "2026-01-01T00:00:00.000000+00:00",
            "task": _TASKS.get(variant, "detect"),
            "family": f"test/markers-{variant}",
            "classes": list(classes),
            "input_size": size,
            "files": {"model.onnx": digest},
            "limits": cards,
            "claim": "",
            "dataset": {
                "name": part,
                "version": "v0001",
                "sha256": "0" * 64,
                "train_images": 0,
                "val_images": 0,
            },
            "base_weights": "random",
            "experiment": {},
            "seeds": {},
            "libraries": {},
            "licence": "Apache-2.0",
            "metrics": {},
            "parity": {},
            "latency": {},
        }
    )


class _Graph:
    """Collects nodes and constants while a graph is written down."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Append a node; return its output name, or a list of them."""
        from onnx import helper

        names = [f"{kind.lower()}{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        """Append an initializer; return its name."""
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name


def build_model(size: tuple[int, int], classes: int, variant: str = "ok") -> Any:
    """Return the ONNX model of a variant; see the module's docstring."""
    from onnx import TensorProto, checker, helper

    height, width = size
    graph = _Graph()
    nchw = variant == "bad_input"
    shape = ["B", 3, height, width] if nchw else ["B", height, width, 3]
    kind = TensorProto.FLOAT if nchw else TensorProto.UINT8
    source = graph.add("Transpose", "images", perm=[0, 2, 3, 1]) if nchw else "images"
    pixels = graph.add("Cast", source, to=TensorProto.FLOAT)
    columns = 5 if variant == "wrong_output" else 6
    if variant == "anomaly":
        outputs = _anomaly(graph, pixels, size)
    else:
        rows = (
            _constant_box(graph, pixels, size)
            if variant == "constant"
            else _markers(graph, pixels, size, classes, variant)
        )
        rows = _sabotage(graph, rows, pixels, variant)
        graph.nodes.append(helper.make_node("Identity", [rows], ["detections"]))
        outputs = [
            helper.make_tensor_value_info("detections", TensorProto.FLOAT, ["B", ROWS, columns])
        ]
        if _TASKS.get(variant) == "segment":
            outputs.append(_masks(graph, pixels, size, classes, variant))
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "markers",
            [helper.make_tensor_value_info("images", kind, shape)],
            outputs,
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    if variant == "external_data":
        _point_outside(model)
    elif variant == "custom_op":
        model.graph.node.append(
            helper.make_node("Exfiltrate", ["detections"], ["unused"], domain="org.example.evil")
        )
        model.opset_import.append(helper.make_opsetid("org.example.evil", 1))
    else:
        checker.check_model(model)
    return model


def _markers(graph: _Graph, pixels: str, size: tuple[int, int], classes: int, variant: str) -> str:
    """[B, 8, 6]: one row for each of the first three classes, then zeros."""
    channels = _channels(graph, pixels)
    found = min(classes, 3)
    rows = [_marker_row(graph, channels, k, size, variant) for k in range(found)]
    table = graph.add("Concat", *rows, axis=1)
    pads = graph.constant([0, 0, 0, 0, ROWS - found, 0], np.int64)
    return str(graph.add("Pad", table, pads, graph.constant(0.0)))


def _channels(graph: _Graph, pixels: str) -> list[str]:
    """Three of [B, H, W]: red, green, blue."""
    channels = graph.add("Split", pixels, outputs=3, axis=3)
    return [graph.add("Squeeze", c, graph.constant([3], np.int64)) for c in channels]


def _marked(graph: _Graph, channels: list[str], k: int) -> str:
    """[B, H, W]: 1 where a pixel is of class k."""
    high, low = graph.constant(200.0), graph.constant(60.0)
    others = [c for i, c in enumerate(channels) if i != k]
    mask = graph.add("GreaterOrEqual", channels[k], high)
    for other in others:
        mask = graph.add("And", mask, graph.add("LessOrEqual", other, low))
    return str(graph.add("Cast", mask, to=1))


def _masks(graph: _Graph, pixels: str, size: tuple[int, int], classes: int, variant: str) -> Any:
    """Output `masks` [B, 8, H/4, W/4] of task segment."""
    from onnx import TensorProto, helper

    channels = _channels(graph, pixels)
    found = min(classes, 3)
    axis1 = graph.constant([1], np.int64)
    marked = [graph.add("Unsqueeze", _marked(graph, channels, k), axis1) for k in range(found)]
    masks = graph.add("Concat", *marked, axis=1)
    masks = graph.add("AveragePool", masks, kernel_shape=[4, 4], strides=[4, 4])
    if variant == "bad_masks":
        masks = graph.add("Mul", masks, graph.constant(3.0))
    if variant == "nan_masks":
        nothing = graph.add("Sub", masks, masks)
        masks = graph.add("Add", masks, graph.add("Div", nothing, nothing))
    pads = graph.constant([0, 0, 0, 0, 0, ROWS - found, 0, 0], np.int64)
    masks = graph.add("Pad", masks, pads, graph.constant(0.0))
    graph.nodes.append(helper.make_node("Identity", [masks], ["masks"]))
    grid = [side // 4 for side in size]
    return helper.make_tensor_value_info("masks", TensorProto.FLOAT, ["B", ROWS, *grid])


def _marker_row(
    graph: _Graph, channels: list[str], k: int, size: tuple[int, int], variant: str
) -> str:
    """[B, 1, 6] of class k."""
    mask = _marked(graph, channels, k)
    count = graph.add("ReduceSum", mask, graph.constant([1, 2], np.int64), keepdims=0)
    present = graph.add("Min", count, graph.constant(1.0))
    edges: list[str] = []
    for axis, length in ((2, size[1]), (1, size[0])):  # x from columns, y from rows
        line = graph.add("ReduceMax", mask, axes=[3 - axis], keepdims=0)
        steps = np.arange(length)
        last = graph.add("Mul", line, graph.constant(steps + 1))
        first = graph.add("Mul", line, graph.constant(length - steps))
        far = graph.add("ReduceMax", last, axes=[1], keepdims=0)
        near = graph.add("ReduceMax", first, axes=[1], keepdims=0)
        near = graph.add("Mul", graph.add("Sub", graph.constant(float(length)), near), present)
        edges += [near, far]
    score = graph.add("Div", count, graph.constant(64.0))
    score = graph.add("Mul", graph.add("Min", score, graph.constant(1.0)), graph.constant(0.99))
    if variant == "nan":
        zero = graph.add("Sub", present, present)
        score = graph.add("Add", score, graph.add("Div", zero, graph.add("Sub", score, score)))
    number = float(k + 50 if variant == "wrong_classes" else k)
    kind = graph.add("Mul", present, graph.constant(number))
    values = [edges[0], edges[2], edges[1], edges[3], score, kind]
    axis2 = graph.constant([1, 2], np.int64)
    cells = [graph.add("Unsqueeze", value, axis2) for value in values]
    if variant == "wrong_output":
        cells = cells[:5]
    return str(graph.add("Concat", *cells, axis=2))


def _constant_box(graph: _Graph, pixels: str, size: tuple[int, int]) -> str:
    """[B, 8, 6]: the same box for whatever comes in."""
    height, width = size
    table = np.zeros((1, ROWS, 6), np.float32)
    table[0, 0] = [width / 4, height / 4, width * 3 / 4, height * 3 / 4, 0.5, 0]
    mean = graph.add("ReduceMean", pixels, axes=[1, 2, 3], keepdims=0)
    nothing = graph.add("Relu", graph.add("Neg", graph.add("Abs", mean)))  # [B] of zeros
    nothing = graph.add("Unsqueeze", nothing, graph.constant([1, 2], np.int64))
    return str(graph.add("Add", nothing, graph.constant(table)))


def _anomaly(graph: _Graph, pixels: str, size: tuple[int, int]) -> list[Any]:
    """Outputs of task `anomaly`: largest channel / 256 of each pixel, and the largest of all."""
    from onnx import TensorProto, helper

    grey = graph.add("ReduceMax", pixels, axes=[3], keepdims=0)
    grey = graph.add("Mul", grey, graph.constant(1 / 256))
    score = graph.add("ReduceMax", grey, axes=[1, 2], keepdims=0)
    graph.nodes.append(helper.make_node("Identity", [grey], ["anomaly_map"]))
    graph.nodes.append(helper.make_node("Identity", [score], ["anomaly_score"]))
    return [
        helper.make_tensor_value_info("anomaly_map", TensorProto.FLOAT, ["B", *size]),
        helper.make_tensor_value_info("anomaly_score", TensorProto.FLOAT, ["B"]),
    ]


def _sabotage(graph: _Graph, rows: str, pixels: str, variant: str) -> str:
    """Add what makes `slow` slow and `faulty` fail; other variants pass unchanged."""
    if variant in {"slow", "crawling"}:
        turns = 180 if variant == "slow" else 1800
        return str(graph.add("Add", rows, _burn(graph, pixels, turns)))
    if variant == "faulty":
        first = graph.add(
            "Slice", pixels, graph.constant([0] * 4, np.int64), graph.constant([1] * 4, np.int64)
        )  # [1, 1, 1, 1]: red of the first pixel
        white = graph.add("Cast", graph.add("GreaterOrEqual", first, graph.constant(255.0)), to=7)
        length = graph.add("Reshape", white, graph.constant([1], np.int64))
        length = graph.add("Add", length, graph.constant([1], np.int64))  # 1, or 2 when white
        one = graph.add("Reshape", first, length)  # one pixel cannot fill two places
        one = graph.add("Relu", graph.add("Neg", graph.add("ReduceSum", one, keepdims=0)))
        return str(graph.add("Add", rows, one))
    return rows


def _burn(graph: _Graph, pixels: str, turns: int, side: int = 512) -> str:
    """A scalar that is always 0 and costs `turns` products of square matrices."""
    from onnx import TensorProto, helper, numpy_helper

    q = np.linalg.qr(np.random.default_rng(1).normal(size=(side, side)))[0].astype(np.float32)
    turn = graph.constant(q)
    mean = graph.add("ReduceMean", pixels, keepdims=0)
    start = graph.add("Add", turn, mean)
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_in"], ["go_out"]),
            helper.make_node("MatMul", ["m_in", "turn"], ["m_out"]),
        ],
        "turns",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("m_in", TensorProto.FLOAT, [side, side]),
        ],
        [
            helper.make_tensor_value_info("go_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("m_out", TensorProto.FLOAT, [side, side]),
        ],
        [numpy_helper.from_array(q, "turn")],
    )
    count, go = graph.constant(turns, np.int64), graph.constant(True, np.bool_)
    end = graph.add("Loop", count, go, start, body=body)
    total = graph.add("ReduceSum", end, keepdims=0)
    return str(graph.add("Relu", graph.add("Neg", graph.add("Abs", total))))


def _point_outside(model: Any) -> None:
    """Make the first constant claim that its bytes are in a file outside the release."""
    from onnx import TensorProto

    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../../../../etc/hostname"
