"""Export a trained torchvision detector to the released-model contract, as one ONNX file.

What is exported is `inference.ReleasedDetector` as it stands, traced by torch with standard operators only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from inspection_training.export_settings import ExportSettings
from inspection_training.graph_file import traced, write_graph
from inspection_training.torchvision_detectors.inference import ReleasedDetector


def export_network(
    network: nn.Module, path: Path, settings: ExportSettings, classes: Sequence[str], licence: str
) -> None:
    """Write `path` (model.onnx); the number of images in a batch is free. The network is not changed.

    Raises:
        ReleaseError: it cannot be written, or is not to the contract (a defect of this package).
    """
    from onnx import TensorProto, helper

    detector = ReleasedDetector(network, settings).eval()
    document = traced(detector, settings.size, "detections")
    shape = helper.make_tensor_value_info("detections", TensorProto.FLOAT, ["batch", None, 6])
    document.graph.output[0].CopyFrom(shape)
    properties = {
        "stride": "32",
        "batch": "1",
        "channels": "3",
        "names": str(dict(enumerate(classes))),
        "license": licence,
        "inspection.output": "detections [B, N, 6]: x1 y1 x2 y2 score class",
    }
    write_graph(document, path, "detect", settings.size, properties)
