"""The same network for ultralytics: the file that training left, and what ultralytics exports of it.

`FORMATS` are what most people write: `model.export(format=…)` with its default, a square. The rectangles
have the shape that ours has.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from inspection.errors import InspectionError
from inspection.types import Release
from inspection_bench.network import Network

FORMATS = ("pytorch", "onnx", "openvino")
RECTANGLES = ("onnx rect", "openvino rect")
EXPORT = """
import sys
from ultralytics import YOLO
path, kind, height, width = sys.argv[1:]
YOLO(path).export(format=kind, imgsz=[int(height), int(width)], device="cpu")
"""
_FILES = {"onnx": "peer.onnx", "openvino": "peer_openvino_model"}


def limits_of(release: Release) -> dict[str, dict[str, float]]:
    """Return T1 and T2 of each class, as the naive side decides by them."""
    limits = release.limits
    return {
        "t1": {name: limits[name].t1 for name in release.classes},
        "t2": {name: limits[name].t2 for name in release.classes},
    }


def peer_model(network: Network, name: str) -> tuple[Path, Any]:
    """Return the model file or folder of a format, and the `imgsz` to predict with; export it first.

    Args:
        network: whose weights.
        name: one of FORMATS or RECTANGLES.

    Raises:
        InspectionError: ultralytics could not export it.
    """
    longer = max(network.release.input_size)
    if name == "pytorch":
        return network.weights, longer
    kind, _, shape = name.partition(" ")
    size = network.release.input_size if shape else (longer, longer)
    folder = network.weights.parent / "exports" / f"{size[0]}x{size[1]}"
    model = folder / _FILES[kind]
    if not model.exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(network.weights, folder / "peer.pt")
        _export(folder / "peer.pt", kind, size)
    if not model.exists():
        raise InspectionError(f"ultralytics left no {model}; export it by hand to see why")
    return model, list(size) if shape else longer


def _export(weights: Path, kind: str, size: tuple[int, int]) -> None:
    offline = {
        "YOLO_OFFLINE": "1",
        "YOLO_AUTOINSTALL": "0",
        "YOLO_CONFIG_DIR": str(weights.parent),
    }
    command = [sys.executable, "-c", EXPORT, str(weights), kind, *map(str, size)]
    done = subprocess.run(
        command, env={**os.environ, **offline}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stdout + done.stderr)[-1500:]
        raise InspectionError(f"ultralytics cannot export {weights} as {kind}:\n{said}")
