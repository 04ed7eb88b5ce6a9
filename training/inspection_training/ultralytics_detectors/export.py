"""Export a trained ultralytics network to the released-model contract, as one ONNX file.

    images uint8 [B, H, W, 3] RGB
      ─▶ /255, NCHW ─▶ network ─▶ best class of each anchor ─▶ K best candidates ─▶ their boxes decoded
      ─▶ suppression within each class ─▶ N best ─▶ detections float32 [B, N, 6]

The rules are those of ultralytics' `non_max_suppression`: one class for each anchor (its best), a box is
suppressed by a better one of the same class when their IoU exceeds the limit, classes are kept apart
by an offset. Two bounds are ours: only the K best candidates enter, and scores at or under the floor are
padding. Boxes are cut to the input. An end-to-end network (yolo26) suppresses by itself; only the floor and
the cut are applied.

A network with outlines gives 32 pictures (prototypes) and 32 numbers for each row; their product is the
row's mask, of which everything outside its box is set to zero:

    rows [B, N, 32] x prototypes [B, 32, H/4, W/4] ─▶ sigmoid ─▶ cut to the box ─▶ masks [B, N, H/4, W/4]

The network itself is traced by torch; what stands before and behind it is written here, so that only
standard operators are used and both ONNX Runtime and OpenVINO read it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inspection.types import MASK_STRIDE, Task
from inspection_training.export_settings import ExportSettings
from inspection_training.graph_file import OPSET, write_graph
from inspection_training.ultralytics_detectors.traced import trace_network

if TYPE_CHECKING:
    import onnx
    from torch import nn

MOST_OUTLINES = 32
"""Most rows of a network with outlines: masks are large."""
CLASS_OFFSET = 7680.0
"""Pixels between classes, as in ultralytics, so that boxes of two classes never overlap."""


def export_detector(
    model: nn.Module, path: Path, settings: ExportSettings, classes: Sequence[str]
) -> None:
    """Write `path` (model.onnx). The model is not changed.

    Args:
        model: a trained ultralytics DetectionModel or SegmentationModel; float32 weights.
        path: file to write.
        settings: input size and suppression.
        classes: class names, for the metadata.

    Raises:
        ReleaseError: it cannot be written, or is not to the contract (a defect of this module).
    """
    head = model.model[-1]
    graph = _Graph(trace_network(model, settings.size))
    graph.add_input(settings.size)
    anchors = _anchors(settings.size, [int(stride) for stride in model.stride])
    choose = _choose_end2end if head.end2end else _choose_by_suppression
    found = choose(graph, settings, anchors, head.reg_max)
    rows = _finish(graph, found, settings)
    own = None
    if hasattr(head, "nm"):
        own = graph.node("GatherND", "coefficients", found.anchor, batch_dims=1)
    masks = _add_masks(graph, rows, own, settings.size) if own else None
    document = graph.document(rows, masks)
    task: Task = "segment" if own else "detect"
    properties = _properties(classes, int(model.stride.max()), task)
    write_graph(document, path, task, settings.size, properties)


class _Graph:
    """Adds nodes behind and before a traced network; names are made unique by a prefix."""

    def __init__(self, network: onnx.ModelProto) -> None:
        self._model = network
        self._before: list[Any] = []
        self._behind: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._count = 0

    def add_input(self, size: tuple[int, int]) -> None:
        """Put `images` uint8 NHWC before the network's `x`."""
        from onnx import TensorProto, helper

        shape = ["batch", size[0], size[1], 3]
        self._inputs = [helper.make_tensor_value_info("images", TensorProto.UINT8, shape)]
        value = self.constant(np.float32(1 / 255))
        self._before = [
            helper.make_node("Cast", ["images"], ["pre_float"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["pre_float", value], ["pre_scaled"]),
            helper.make_node("Transpose", ["pre_scaled"], ["x"], perm=[0, 3, 1, 2]),
        ]

    def constant(self, value: Any) -> str:
        """Add a constant and return its name."""
        from onnx import numpy_helper

        self._count += 1
        name = f"post_const_{self._count}"
        self._constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def ints(self, *values: int) -> str:
        """Add a 1-D int64 constant and return its name."""
        return self.constant(np.array(values, np.int64))

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Add a node behind the network; return its output's name, or a list of them."""
        from onnx import helper

        self._count += 1
        names = [f"post_{kind}_{self._count}_{i}" for i in range(outputs)]
        self._behind.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def document(self, rows: str, masks: str | None) -> onnx.ModelProto:
        """Return the whole model; these become its outputs `detections` and, where there are, `masks`."""
        import onnx
        from onnx import TensorProto, helper

        graph = self._model.graph
        outputs: list[Any] = []
        for name, source, shape in (("detections", rows, [None, 6]), ("masks", masks, [None] * 3)):
            if source is not None:
                self._behind.append(helper.make_node("Identity", [source], [name]))
                sizes = ["batch", *shape]
                outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes))
        whole = helper.make_graph(
            [*self._before, *graph.node, *self._behind],
            "inspection",
            self._inputs,
            outputs,
            [*graph.initializer, *self._constants],
        )
        opset = [helper.make_opsetid("", OPSET)]
        return helper.make_model(whole, opset_imports=opset, ir_version=onnx.IR_VERSION_2023_5_5)


def _anchors(size: tuple[int, int], strides: Sequence[int]) -> NDArray[np.float32]:
    """Return x, y of each anchor and the stride of its level, [anchors, 3]: network pixels, row by row."""
    levels: list[NDArray[np.float32]] = []
    for stride in strides:
        y, x = np.mgrid[: size[0] // stride, : size[1] // stride].astype(np.float32) * stride
        of_level = np.stack([x + stride / 2, y + stride / 2, np.full_like(x, stride)], axis=-1)
        levels.append(of_level.reshape(-1, 3))
    return np.concatenate(levels)


@dataclass(frozen=True, slots=True)
class _Found:
    """Names of the values of the N best rows, best first; the scores are from 0 to 1.

    Attributes:
        boxes: [B, N, 4], x1 y1 x2 y2, network pixels; may reach out of the input.
        score: [B, N, 1].
        label: [B, N, 1], the class, float32.
        anchor: [B, N, 1], where in the network's outputs they came from.
        decoded: boxes [B, any, 4] of all that were looked at.
    """

    boxes: str
    score: str
    label: str
    anchor: str
    decoded: str


def _choose_by_suppression(
    graph: _Graph, settings: ExportSettings, anchors: NDArray[np.float32], bins: int
) -> _Found:
    """Return the best rows after suppression.

    What is computed of every anchor is only its best class; scores stay logits until the K best are chosen.
    """
    k = min(settings.entering, len(anchors))
    best = graph.node("ReduceMax", "scores", axes=[2], keepdims=0)
    score, anchor = graph.node("TopK", best, graph.ints(k), outputs=2, axis=1)
    score = graph.node("Sigmoid", score)
    index = graph.node("Unsqueeze", anchor, graph.ints(2))
    of_classes = graph.node("GatherND", "scores", index, batch_dims=1)
    label = graph.node("Cast", graph.node("ArgMax", of_classes, axis=2, keepdims=1), to=1)
    decoded = _decode(graph, index, anchors, bins)
    kept = _suppress(graph, decoded, label, score, settings)
    best, row = graph.node("TopK", kept, graph.ints(min(settings.detections, k)), outputs=2, axis=1)
    chosen = graph.node("Unsqueeze", row, graph.ints(2))
    boxes, label, index = (
        graph.node("GatherND", value, chosen, batch_dims=1) for value in (decoded, label, index)
    )
    return _Found(boxes, graph.node("Unsqueeze", best, graph.ints(2)), label, index, decoded)


def _choose_end2end(
    graph: _Graph, settings: ExportSettings, anchors: NDArray[np.float32], bins: int
) -> _Found:
    """Return the best rows of a network that finds each thing once: the best pairs of anchor and class.

    The anchors of the N best pairs are among the N anchors with the best classes.
    """
    n = min(settings.detections, len(anchors))
    best = graph.node("ReduceMax", "scores", axes=[2], keepdims=0)
    _, anchor = graph.node("TopK", best, graph.ints(n), outputs=2, axis=1)
    index = graph.node("Unsqueeze", anchor, graph.ints(2))
    of_classes = graph.node("GatherND", "scores", index, batch_dims=1)
    pairs = graph.node("Reshape", of_classes, graph.ints(0, -1))
    score, pair = graph.node("TopK", pairs, graph.ints(n), outputs=2, axis=1)
    pair = graph.node("Unsqueeze", pair, graph.ints(2))
    classes = graph.node("Slice", graph.node("Shape", "scores"), graph.ints(2), graph.ints(3))
    row = graph.node("Div", pair, classes)
    label = graph.node("Cast", graph.node("Sub", pair, graph.node("Mul", row, classes)), to=1)
    index = graph.node("GatherND", index, row, batch_dims=1)
    boxes = _decode(graph, index, anchors, bins)
    score = graph.node("Sigmoid", graph.node("Unsqueeze", score, graph.ints(2)))
    return _Found(boxes, score, label, index, boxes)


def _decode(graph: _Graph, index: str, anchors: NDArray[np.float32], bins: int) -> str:
    """Return boxes [B, K, 4], x1 y1 x2 y2, of the anchors [B, K, 1].

    A side's distance is the mean of its distribution. It is summed and not multiplied as matrices: a
    processor that computes in bf16 keeps what follows its last convolution in float32, and would round
    matrices.
    """
    sides = graph.node("GatherND", "boxes", index, batch_dims=1)
    if bins > 1:
        sides = graph.node("Reshape", sides, graph.ints(0, -1, 4, bins))
        sides = graph.node("Softmax", sides, axis=3)
        sides = graph.node("Mul", sides, graph.constant(np.arange(bins, dtype=np.float32)))
        sides = graph.node("ReduceSum", sides, graph.ints(3), keepdims=0)
    places = graph.node("GatherND", graph.constant(anchors), index)
    centre, stride = graph.node("Split", places, graph.ints(2, 1), outputs=2, axis=2)
    before, behind = graph.node(
        "Split", graph.node("Mul", sides, stride), graph.ints(2, 2), outputs=2, axis=2
    )
    return graph.node(
        "Concat", graph.node("Sub", centre, before), graph.node("Add", centre, behind), axis=2
    )


def _suppress(graph: _Graph, boxes: str, label: str, score: str, settings: ExportSettings) -> str:
    """Return the scores [B, K] with suppressed ones set to 0."""
    apart = graph.node("Mul", label, graph.constant(np.float32(CLASS_OFFSET)))
    shifted = graph.node("Add", boxes, apart)
    picked = graph.node(
        "NonMaxSuppression",
        shifted,
        graph.node("Unsqueeze", score, graph.ints(1)),
        graph.ints(settings.detections),
        graph.constant(np.array([settings.iou], np.float32)),
        graph.constant(np.array([settings.floor], np.float32)),
    )
    where = graph.node("Gather", picked, graph.ints(0, 2), axis=1)
    nothing = graph.node("Mul", score, graph.constant(np.float32(0)))
    values = graph.node("GatherND", score, where)
    return graph.node("ScatterND", nothing, where, values)


def _finish(graph: _Graph, found: _Found, settings: ExportSettings) -> str:
    """Return the rows [B, N, 6]: boxes cut to the input, zero where the score is at or under the floor.

    Whoever sorts and compares loses what is no number, and a network that computes nonsense would find
    nothing. So where a score or a looked-at box of an image is no finite number, all of its rows are none.
    """
    boxes = _clip(graph, found.boxes, settings.size)
    rows = graph.node("Concat", boxes, found.score, found.label, axis=2)
    rows = _blank(graph, rows, found.score, settings.floor)
    nothing = graph.constant(np.float32(0))
    doubts = [
        graph.node("ReduceSum", graph.node("Mul", value, nothing), graph.ints(1, 2), keepdims=1)
        for value in ("scores", found.decoded)
    ]
    return graph.node("Add", rows, graph.node("Add", *doubts))


def _clip(graph: _Graph, boxes: str, size: tuple[int, int]) -> str:
    """Return boxes [B, N, 4] cut to the input; a network may guess one that reaches far out of it."""
    limit = graph.constant(np.array([size[1], size[0]] * 2, np.float32))
    return graph.node("Min", graph.node("Max", boxes, graph.constant(np.float32(0))), limit)


def _add_masks(graph: _Graph, rows: str, own: str, size: tuple[int, int]) -> str:
    """Return the masks [B, N, h, w] of rows with mask coefficients [B, N, 32]; zero outside the boxes.

    A place belongs to a box when they overlap at all.
    """
    height, width = size[0] // MASK_STRIDE, size[1] // MASK_STRIDE
    flat = graph.node("Reshape", "proto", graph.ints(0, 0, -1))
    masks = graph.node("Reshape", graph.node("MatMul", own, flat), graph.ints(0, 0, height, width))
    masks = graph.node("Sigmoid", masks)
    x1, y1, x2, y2, _ = graph.node("Split", rows, graph.ints(1, 1, 1, 1, 2), outputs=5, axis=2)
    for low, high, count, axis in ((x1, x2, width, 2), (y1, y2, height, 3)):
        start = np.arange(count, dtype=np.float32) * MASK_STRIDE
        inside = graph.node(
            "And",
            graph.node("Less", graph.constant(start), high),
            graph.node("Greater", graph.constant(start + MASK_STRIDE), low),
        )
        inside = graph.node("Unsqueeze", graph.node("Cast", inside, to=1), graph.ints(axis))
        masks = graph.node("Mul", masks, inside)
    return masks


def _blank(graph: _Graph, rows: str, score: str, floor: float) -> str:
    """Return the rows, zero where the score is at or under the floor."""
    real = graph.node("Greater", score, graph.constant(np.float32(floor)))
    return graph.node("Where", real, rows, graph.constant(np.float32(0)))


def _properties(classes: Sequence[str], stride: int, task: Task) -> dict[str, str]:
    """Return the metadata keys that other tools of the field read, and ours under `inspection.`."""
    masks = "; masks [B, N, H/4, W/4]: 0..1, zero outside the box" if task == "segment" else ""
    return {
        "stride": str(stride),
        "batch": "1",
        "channels": "3",
        "names": str(dict(enumerate(classes))),
        "license": "AGPL-3.0 License (https://ultralytics.com/license)",
        "inspection.output": f"detections [B, N, 6]: x1 y1 x2 y2 score class{masks}",
    }
