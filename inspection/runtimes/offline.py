"""Keeps the inference libraries to themselves. Images and figures never leave the site.

ONNX Runtime 1.31 sends usage events some seconds after its import and keeps a device id below the
home folder; OpenVINO 2026.4 sends one at import through the package `openvino_telemetry`, which it
does without where that cannot be imported. tests/integration/test_offline.py watches both.
"""

from __future__ import annotations

import os
import sys
from typing import Any


def import_onnxruntime() -> Any:
    """Import ONNX Runtime without its telemetry. Raises ImportError when it is not installed."""
    silence_runtimes()
    import onnxruntime

    return onnxruntime


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry. Raises ImportError when it is not installed."""
    silence_runtimes()
    import openvino

    return openvino


def silence_runtimes() -> None:
    """Turn both libraries' telemetry off; for code that lets another library import them."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore[reportArgumentType]
