"""Export a trained ultralytics network to the released-model contract, as one ONNX file.

    images uint8 [B, H, W, 3] RGB
      ─▶ /255, NCHW ─▶ network, boxes decoded ─▶ best class of each anchor ─▶ K best candidates
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

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inspection.types import MASK_STRIDE, Task
from inspection_training.graph_file import OPSET, write_graph

if TYPE_CHECKING:
    import onnx
    import torch
    from torch import nn

MOST_OUTLINES = 32
"""Most rows of a network with outlines: masks are large."""
ANCHORS_A_ROW = 16
"""An object has about ten anchors; with fewer candidates many objects would hide others unseen."""
CLASS_OFFSET = 7680.0
"""Pixels between classes, as in ultralytics, so that boxes of two classes never overlap."""


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """How the graph suppresses.

    Attributes:
        size: (height, width) of the network input; multiples of 32.
        iou: boxes of one class that overlap more are one.
        floor: scores at or under it become padding.
        candidates: K, best anchors that enter suppression; never fewer than `entering` says.
        detections: N, rows of the output.
    """

    size: tuple[int, int]
    iou: float = 0.7
    floor: float = 0.01
    candidates: int = 300
    detections: int = 100

    @property
    def entering(self) -> int:
        """Anchors that enter suppression: so many that the rows fill first, and a full answer shows."""
        return max(self.candidates, ANCHORS_A_ROW * self.detections)


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
    coefficients = int(getattr(head, "nm", 0))  # of a mask; only networks with outlines have them
    graph = _Graph(_trace(model, settings.size, ["y", "proto"] if coefficients else ["y"]))
    graph.add_input(settings.size)
    if head.end2end:
        rows, own = _finish_end2end(graph, settings, coefficients)
    else:
        strides = [int(stride) for stride in model.stride]
        anchors = sum((settings.size[0] // s) * (settings.size[1] // s) for s in strides)
        parts = (len(classes), coefficients)
        rows, own = _finish_with_suppression(graph, settings, parts, anchors)
    masks = _add_masks(graph, rows, own, settings.size) if own else None
    document = graph.document(rows, masks)
    task: Task = "segment" if own else "detect"
    properties = _properties(classes, int(model.stride.max()), task)
    write_graph(document, path, task, settings.size, properties)


def _trace(model: nn.Module, size: tuple[int, int], outputs: Sequence[str]) -> onnx.ModelProto:
    """Return the bare network: `x` float32 [B, 3, H, W] to its outputs, under these names."""
    import onnx
    import torch

    network = copy.deepcopy(model).float().cpu().eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    head = network.model[-1]
    network = network.fuse(verbose=False)
    head.export, head.format, head.dynamic = True, "onnx", False
    head.max_det = min(300, head.max_det)
    if head.end2end and hasattr(head, "nm"):
        head.postprocess = partial(_best_rows, head)
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
            output_names=list(outputs),
            dynamic_axes={name: {0: "batch"} for name in ("x", *outputs)},
        )
    return onnx.load_from_string(buffer.getvalue())


def _best_rows(head: Any, found: torch.Tensor) -> torch.Tensor:
    """Do what an end-to-end head with outlines does last, [B, anchors, 4 + classes + 32] to its best rows.

    ultralytics computes the widths of the parts from the shape; OpenVINO cannot read the graph that
    comes of it. Here they are constants.
    """
    import torch

    boxes, scores, own = found.split([4, head.nc, head.nm], dim=-1)
    best, label, anchor = head.get_topk_index(scores, head.max_det)
    place = anchor[..., None]
    four, wide = place.expand(-1, -1, 4), place.expand(-1, -1, head.nm)
    return torch.cat([boxes.gather(1, four), best, label, own.gather(1, wide)], dim=-1)


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


def _finish_with_suppression(
    graph: _Graph, settings: ExportSettings, parts: tuple[int, int], anchors: int
) -> tuple[str, str | None]:
    """`y` [B, 4 + parts, anchors] with centre boxes to detections, and their mask coefficients.

    `parts` counts classes and mask coefficients.
    """
    k = min(settings.entering, anchors)
    rows = graph.node("Transpose", "y", perm=[0, 2, 1])
    sizes = [2, 2, *(part for part in parts if part)]
    split = graph.node("Split", rows, graph.ints(*sizes), outputs=len(sizes), axis=2)
    centre, extent, scores = split[:3]
    best = graph.node("ReduceMax", scores, axes=[2], keepdims=0)
    score, anchor = graph.node("TopK", best, graph.ints(k), outputs=2, axis=1)
    index = graph.node("Unsqueeze", anchor, graph.ints(2))
    class_index = graph.node("ArgMax", scores, axis=2, keepdims=1)
    label = graph.node("GatherElements", class_index, index, axis=1)
    label = graph.node("Cast", label, to=1)
    centre = _gather(graph, centre, index, 2)
    extent = _gather(graph, extent, index, 2)
    half = graph.node("Mul", extent, graph.constant(np.float32(0.5)))
    boxes = graph.node(
        "Concat", graph.node("Sub", centre, half), graph.node("Add", centre, half), axis=2
    )
    kept = _suppress(graph, boxes, label, score, settings)
    best, row = graph.node("TopK", kept, graph.ints(min(settings.detections, k)), outputs=2, axis=1)
    chosen = graph.node("Unsqueeze", row, graph.ints(2))
    found = _select(graph, boxes, label, best, chosen, settings)
    if not parts[1]:
        return found, None
    anchor = graph.node("GatherElements", index, chosen, axis=1)
    return found, _gather(graph, split[3], anchor, parts[1])


def _gather(graph: _Graph, rows: str, index: str, width: int) -> str:
    """Return whole rows [B, K, width] of [B, N, width] by their index [B, K, 1]."""
    wide = graph.node("Concat", *[index] * width, axis=2)
    return graph.node("GatherElements", rows, wide, axis=1)


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


def _select(
    graph: _Graph, boxes: str, label: str, best: str, index: str, settings: ExportSettings
) -> str:
    """Return the rows of the best scores [B, N], and blank those at or under the floor."""
    label = graph.node("GatherElements", label, index, axis=1)
    boxes = _clip(graph, _gather(graph, boxes, index, 4), settings.size)
    best = graph.node("Unsqueeze", best, graph.ints(2))
    rows = graph.node("Concat", boxes, best, label, axis=2)
    return _blank(graph, rows, best, settings.floor)


def _clip(graph: _Graph, boxes: str, size: tuple[int, int]) -> str:
    """Return boxes [B, N, 4] cut to the input; a network may guess one that reaches far out of it."""
    limit = graph.constant(np.array([size[1], size[0]] * 2, np.float32))
    return graph.node("Min", graph.node("Max", boxes, graph.constant(np.float32(0))), limit)


def _finish_end2end(
    graph: _Graph, settings: ExportSettings, coefficients: int
) -> tuple[str, str | None]:
    """`y` [B, 300, 6 + coefficients], best first, without duplicates, to detections and coefficients."""
    found = graph.node("Slice", "y", graph.ints(0), graph.ints(settings.detections), graph.ints(1))
    sizes = [4, 1, 1, *([coefficients] if coefficients else [])]
    parts = graph.node("Split", found, graph.ints(*sizes), outputs=len(sizes), axis=2)
    boxes = _clip(graph, parts[0], settings.size)
    rows = graph.node("Concat", boxes, parts[1], parts[2], axis=2)
    return _blank(graph, rows, parts[1], settings.floor), parts[3] if coefficients else None


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
