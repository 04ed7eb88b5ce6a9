"""Trace a trained ultralytics network for export: the same numbers, with fewer copies on the way.

Processors compute with the channels innermost, where taking half of the channels, or laying tensors with
different channels side by side, is a copy. So two things are written differently before tracing:

- a block that halves its first convolution's channels gets two convolutions instead;
- the head's branches are laid one behind the other anchor by anchor, and leave the network as they are:
  what is decoded is only what the export keeps of them.

What an end-to-end head (yolo26) chooses by itself is left to the export, too.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any

from inspection_training.graph_file import OPSET

if TYPE_CHECKING:
    import onnx
    import torch
    from torch import nn

HALVING = ("C2f", "C3k2")
"""Blocks of ultralytics that hand both halves of their first convolution on."""


def trace_network(model: nn.Module, size: tuple[int, int]) -> onnx.ModelProto:
    """Return the bare network as a graph; the model is not changed.

    Input: `x` float32 [B, 3, H, W], 0..1. Outputs, anchors level by level and row by row:

    - `boxes` [B, anchors, 4 x bins]: distances of the box's sides from the anchor in strides, left, top,
      right, bottom; with more bins than one as logits of their distribution over 0, 1, ..., bins - 1;
    - `scores` [B, anchors, classes], logits;
    - of a network with outlines `coefficients` [B, anchors, 32] and `proto` [B, 32, H/4, W/4].

    Args:
        model: a trained ultralytics DetectionModel or SegmentationModel; float32 weights.
        size: (height, width).
    """
    import onnx
    import torch

    network = copy.deepcopy(model).float().cpu().eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    head = network.model[-1]
    network = network.fuse(verbose=False)
    head.export, head.format, head.dynamic = True, "onnx", False
    head.forward = partial(_forward_head, head)
    outputs = ["boxes", "scores"]
    if hasattr(head, "nm"):
        outputs += ["coefficients", "proto"]
    for module in network.modules():
        if type(module).__name__ in HALVING:
            _halve(module)
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
            output_names=outputs,
            dynamic_axes={name: {0: "batch"} for name in ("x", *outputs)},
        )
    return onnx.load_from_string(buffer.getvalue())


def _forward_head(head: Any, levels: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Stand for the head's own forward: see the outputs of `trace_network`."""
    import torch
    from ultralytics.nn.modules.head import Segment26

    def rows(branches: Sequence[nn.Module]) -> torch.Tensor:
        found = [branch(level) for branch, level in zip(branches, levels, strict=True)]
        return torch.cat([x.permute(0, 2, 3, 1).flatten(1, 2) for x in found], dim=1)

    parts = head.one2one if head.end2end else head.one2many
    found = tuple(rows(branches) for branches in parts.values())
    if not hasattr(head, "nm"):
        return found
    return (*found, head.proto(levels if isinstance(head, Segment26) else levels[0]))


def _halve(block: Any) -> None:
    """Give a block two convolutions for the halves of its first one, and a forward that uses them."""
    from torch import nn

    whole = block.cv1.conv
    halves: list[nn.Module] = []
    for start in (0, block.c):
        half = nn.Conv2d(whole.in_channels, block.c, 1)
        half.weight = nn.Parameter(whole.weight[start : start + block.c], requires_grad=False)
        half.bias = nn.Parameter(whole.bias[start : start + block.c], requires_grad=False)
        halves.append(nn.Sequential(half, block.cv1.act))
    block.halves = nn.ModuleList(halves)
    block.forward = partial(_forward_halves, block)


def _forward_halves(block: Any, x: torch.Tensor) -> torch.Tensor:
    import torch

    found = [half(x) for half in block.halves]
    for inner in block.m:
        found.append(inner(found[-1]))
    return block.cv2(torch.cat(found, dim=1))
