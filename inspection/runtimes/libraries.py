"""Opens the inference libraries so that they keep to themselves.

Images and figures never leave the site. ONNX Runtime 1.31 sends usage events some seconds after its
import and keeps a device id below the home folder; OpenVINO 2026.4 sends one at import through the
package `openvino_telemetry`, which it does without where that cannot be imported.
tests/integration/test_offline.py watches both.

Signals reach the process: OpenVINO's CPU plugin puts a signal stack of its own under the thread that
opens it, and takes it away when that `Core` goes. Two that go in the order in which they came leave
the thread with a stack that is freed, and the next signal (SIGTERM) kills the process without a word.
tests/integration/test_signals_beside_openvino.py shows it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

_T = TypeVar("_T")


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


@cache
def openvino_core() -> Any:
    """Return the one `Core` of this process, opened in a thread of its own, never closed.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    openvino = import_openvino()

    def opened() -> Any:
        core = openvino.Core()
        if "CPU" in core.available_devices:
            core.get_property("CPU", "FULL_DEVICE_NAME")  # this is what opens the plugin
        return core

    return in_own_thread(opened)


def in_own_thread(call: Callable[[], _T]) -> _T:
    """Return what a call gives, whose `Core`s then leave the caller's signal stack alone."""
    with ThreadPoolExecutor(1, "openvino") as pool:
        return pool.submit(call).result()


def silence_runtimes() -> None:
    """Turn both libraries' telemetry off; for code that lets another library import them."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # pyright: ignore[reportArgumentType]
