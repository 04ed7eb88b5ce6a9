"""The last steps of every export: a traced network, described, checked, written as model.onnx.

torch module ─▶ traced with standard operators ─▶ what it is, in its properties ─▶ checked ─▶ file
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from inspection.errors import ReleaseError
from inspection.release import check_graph
from inspection.types import Task

if TYPE_CHECKING:
    import onnx
    from torch import nn

OPSET = 17
"""Operator set of every released graph."""


def traced(model: nn.Module, size: tuple[int, int], *outputs: str) -> onnx.ModelProto:
    """Return the graph of a module that takes `images` uint8 [B, H, W, 3], as onnx.ModelProto.

    Args:
        model: as it stands; its mode is the caller's.
        size: (height, width).
        outputs: names, in the module's order; the first dimension of each is the number of images.
    """
    import onnx
    import torch

    buffer = BytesIO()
    images = torch.zeros(2, *size, 3, dtype=torch.uint8)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of every Python number
        torch.onnx.export(
            model,
            (images,),
            buffer,
            dynamo=False,
            opset_version=OPSET,
            input_names=["images"],
            output_names=list(outputs),
            dynamic_axes={name: {0: "batch"} for name in ("images", *outputs)},
        )
    return onnx.load_from_string(buffer.getvalue())


def write_graph(
    document: onnx.ModelProto,
    path: Path,
    task: Task,
    size: tuple[int, int],
    properties: Mapping[str, str],
) -> None:
    """Describe the graph, check it, and write it.

    Raises:
        ReleaseError: it cannot be written, or is not to the contract (a defect of the family).
    """
    import onnx

    own = {"task": task, "imgsz": str(list(size))}
    own["inspection.input"] = "uint8 NHWC RGB, letterboxed, pad 114"
    onnx.helper.set_model_props(document, {**own, **properties})
    onnx.checker.check_model(document, full_check=True)
    try:
        onnx.save(document, path)
    except OSError as error:
        raise ReleaseError(
            f"{path} cannot be written ({error}); free space or check the rights"
        ) from error
    check_graph(path, task, size)
