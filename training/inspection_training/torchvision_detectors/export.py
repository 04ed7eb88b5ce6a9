"""Export a trained torchvision detector to the released-model contract, as one ONNX file.

What is exported is `inference.ReleasedDetector` as it stands, traced by torch with standard operators only.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import torch
from torch import nn

from inspection.errors import ReleaseError
from inspection.release import check_graph
from inspection_training.export import OPSET, ExportSettings
from inspection_training.torchvision_detectors.inference import ReleasedDetector


def export_network(
    network: nn.Module, path: Path, settings: ExportSettings, classes: Sequence[str], licence: str
) -> None:
    """Write `path` (model.onnx); the number of images in a batch is free. The network is not changed.

    Raises:
        ReleaseError: it cannot be written, or is not to the contract (a defect of this package).
    """
    import onnx

    document = onnx.load_from_string(_trace(network, settings))
    document.graph.output[0].CopyFrom(
        onnx.helper.make_tensor_value_info("detections", onnx.TensorProto.FLOAT, ["batch", None, 6])
    )
    onnx.helper.set_model_props(
        document,
        {
            "task": "detect",
            "stride": "32",
            "imgsz": str(list(settings.size)),
            "batch": "1",
            "channels": "3",
            "names": str(dict(enumerate(classes))),
            "license": licence,
            "inspection.input": "uint8 NHWC RGB, letterboxed, pad 114",
            "inspection.output": "detections [B, N, 6]: x1 y1 x2 y2 score class",
        },
    )
    onnx.checker.check_model(document, full_check=True)
    try:
        onnx.save(document, path)
    except OSError as error:
        raise ReleaseError(
            f"{path} cannot be written ({error}); free space or check the rights"
        ) from error
    check_graph(path, "detect", settings.size)


def _trace(network: nn.Module, settings: ExportSettings) -> bytes:
    detector = ReleasedDetector(network, settings).eval()
    images = torch.zeros(2, *settings.size, 3, dtype=torch.uint8)
    buffer = BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of every Python number
        torch.onnx.export(
            detector,
            (images,),
            buffer,
            dynamo=False,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["detections"],
            dynamic_axes={"images": {0: "batch"}, "detections": {0: "batch"}},
        )
    return buffer.getvalue()
