"""Export a trained ultralytics detector to the released-model contract, as one ONNX file.

    images uint8 [B, H, W, 3] RGB
      ─▶ /255, NCHW ─▶ network, boxes decoded ─▶ best class of each anchor ─▶ K best candidates
      ─▶ suppression within each class ─▶ N best ─▶ detections float32 [B, N, 6]

The rules are those of ultralytics' `non_max_suppression`: one class for each anchor (its best), a box is
suppressed by a better one of the same class when their IoU exceeds the limit, classes are kept apart
by an offset. Two bounds are ours: only the K best candidates enter, and scores at or under the floor are
padding. An end-to-end network (yolo26) suppresses by itself; only the floor is applied.

The network itself is traced by torch; what stands before and behind it is written here, so that only
standard operators are used and both ONNX Runtime and OpenVINO read it.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inspection.release import check_graph

if TYPE_CHECKING:
    import onnx
    from torch import nn

OPSET = 17
CLASS_OFFSET = 7680.0
"""Pixels between classes, as in ultralytics, so that boxes of two classes never overlap."""


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """How the graph suppresses.

    Attributes:
        size: (height, width) of the network input; multiples of 32.
        iou: boxes of one class that overlap more are one.
        floor: scores at or under it become padding.
        candidates: K, best anchors that enter suppression.
        detections: N, rows of the output.
    """

    size: tuple[int, int]
    iou: float = 0.7
    floor: float = 0.01
    candidates: int = 300
    detections: int = 100


def export_detector(
    model: nn.Module, path: Path, settings: ExportSettings, classes: Sequence[str]
) -> None:
    """Write `path` (model.onnx). The model is not changed.

    Args:
        model: a trained ultralytics DetectionModel; float32 weights.
        path: file to write.
        settings: input size and suppression.
        classes: class names, for the metadata.

    Raises:
        ReleaseError: the graph is not to the contract (a defect of this module).
    """
    import onnx

    network = _trace(model, settings.size)
    end2end = bool(model.model[-1].end2end)
    graph = _Graph(network)
    graph.add_input(settings.size)
    if end2end:
        _finish_end2end(graph, settings)
    else:
        strides = [int(stride) for stride in model.stride]
        anchors = sum((settings.size[0] // s) * (settings.size[1] // s) for s in strides)
        _finish_with_suppression(graph, settings, len(classes), anchors)
    document = graph.document()
    _describe(document, settings, classes, int(model.stride.max()))
    onnx.checker.check_model(document, full_check=True)
    onnx.save(document, path)
    check_graph(path, "detect", settings.size)


def _trace(model: nn.Module, size: tuple[int, int]) -> onnx.ModelProto:
    """Return the bare network: `x` float32 [B, 3, H, W] to `y`, both under these names."""
    import onnx
    import torch

    network = copy.deepcopy(model).float().cpu().eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    head = network.model[-1]
    network = network.fuse(verbose=False)
    head.export, head.format, head.dynamic = True, "onnx", False
    head.max_det = min(300, head.max_det)
    for module in network.modules():
        if hasattr(module, "forward_split") and type(module).__name__ in {"C2f", "C3k2"}:
            module.forward = module.forward_split  # Split instead of Slice: fewer nodes
    x = torch.zeros(2, 3, *size)
    buffer = BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of every Python number in the head
        network(x)
        torch.onnx.export(
            network,
            (x,),
            buffer,
            dynamo=False,
            opset_version=OPSET,
            input_names=["x"],
            output_names=["y"],
            dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}},
        )
    return onnx.load_from_string(buffer.getvalue())


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

    def document(self) -> onnx.ModelProto:
        """Return the whole model; the last node's output becomes `detections`."""
        import onnx
        from onnx import TensorProto, helper

        graph = self._model.graph
        self._behind.append(
            helper.make_node("Identity", [self._behind[-1].output[0]], ["detections"])
        )
        output = helper.make_tensor_value_info("detections", TensorProto.FLOAT, ["batch", None, 6])
        whole = helper.make_graph(
            [*self._before, *graph.node, *self._behind],
            "inspection",
            self._inputs,
            [output],
            [*graph.initializer, *self._constants],
        )
        opset = [helper.make_opsetid("", OPSET)]
        return helper.make_model(whole, opset_imports=opset, ir_version=onnx.IR_VERSION_2023_5_5)


def _finish_with_suppression(
    graph: _Graph, settings: ExportSettings, classes: int, anchors: int
) -> None:
    """`y` [B, 4 + classes, anchors] with centre boxes to detections."""
    k = min(settings.candidates, anchors)
    rows = graph.node("Transpose", "y", perm=[0, 2, 1])
    centre, extent, scores = graph.node("Split", rows, graph.ints(2, 2, classes), outputs=3, axis=2)
    best = graph.node("ReduceMax", scores, axes=[2], keepdims=0)
    score, anchor = graph.node("TopK", best, graph.ints(k), outputs=2, axis=1)
    index = graph.node("Unsqueeze", anchor, graph.ints(2))
    class_index = graph.node("ArgMax", scores, axis=2, keepdims=1)
    label = graph.node("GatherElements", class_index, index, axis=1)
    label = graph.node("Cast", label, to=1)
    pairs = graph.node("Concat", index, index, axis=2)
    centre = graph.node("GatherElements", centre, pairs, axis=1)
    extent = graph.node("GatherElements", extent, pairs, axis=1)
    half = graph.node("Mul", extent, graph.constant(np.float32(0.5)))
    boxes = graph.node(
        "Concat", graph.node("Sub", centre, half), graph.node("Add", centre, half), axis=2
    )
    kept = _suppress(graph, boxes, label, score, settings)
    _select(graph, boxes, label, kept, min(settings.detections, k), settings.floor)


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


def _select(graph: _Graph, boxes: str, label: str, score: str, n: int, floor: float) -> None:
    """Keep the n best rows and blank those at or under the floor."""
    best, row = graph.node("TopK", score, graph.ints(n), outputs=2, axis=1)
    index = graph.node("Unsqueeze", row, graph.ints(2))
    label = graph.node("GatherElements", label, index, axis=1)
    four = graph.node("Concat", index, index, index, index, axis=2)
    boxes = graph.node("GatherElements", boxes, four, axis=1)
    best = graph.node("Unsqueeze", best, graph.ints(2))
    rows = graph.node("Concat", boxes, best, label, axis=2)
    _blank(graph, rows, best, floor)


def _finish_end2end(graph: _Graph, settings: ExportSettings) -> None:
    """`y` [B, 300, 6], best first, already without duplicates, to detections."""
    rows = graph.node("Slice", "y", graph.ints(0), graph.ints(settings.detections), graph.ints(1))
    score = graph.node("Slice", rows, graph.ints(4), graph.ints(5), graph.ints(2))
    _blank(graph, rows, score, settings.floor)


def _blank(graph: _Graph, rows: str, score: str, floor: float) -> None:
    """Set whole rows to zero where the score is at or under the floor."""
    real = graph.node("Greater", score, graph.constant(np.float32(floor)))
    graph.node("Where", real, rows, graph.constant(np.float32(0)))


def _describe(
    document: onnx.ModelProto, settings: ExportSettings, classes: Sequence[str], stride: int
) -> None:
    """Add the metadata keys that other tools of the field read, and ours under `inspection.`."""
    from onnx import helper

    helper.set_model_props(
        document,
        {
            "task": "detect",
            "stride": str(stride),
            "imgsz": str(list(settings.size)),
            "batch": "1",
            "channels": "3",
            "names": str(dict(enumerate(classes))),
            "license": "AGPL-3.0 License (https://ultralytics.com/license)",
            "inspection.input": "uint8 NHWC RGB, letterboxed, pad 114",
            "inspection.output": "detections [B, N, 6]: x1 y1 x2 y2 score class",
        },
    )
