"""Runs a release with ONNX Runtime, in this process."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from inspection.errors import InferenceError
from inspection.runtimes.contract import (
    check_images,
    check_outputs,
    check_precision,
    read_model,
    warm_images,
)
from inspection.runtimes.libraries import import_onnxruntime
from inspection.runtimes.placement import check_placement, nodes_on_cpu
from inspection.types import Release

_PROVIDERS = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
_log = logging.getLogger(__name__)


class OnnxRuntimeConfig(BaseModel):
    """Settings of the `onnxruntime` runtime."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["onnxruntime"] = Field("onnxruntime", description="this runtime")
    threads: int = Field(
        0, ge=0, le=256, description="threads for one inference; 0 lets the library choose"
    )
    providers: Literal["auto", "cpu", "cuda", "tensorrt"] = Field(
        "auto",
        description="where the network runs; auto takes CUDA when this ONNX Runtime has it, and the "
        "processor where CUDA cannot be started: a line is then ready only if that is fast enough for the "
        "recipe; "
        "cuda and tensorrt never fall back to the processor: they are refused where they cannot be "
        "started, or leave heavy parts of the network to the processor",
    )

    def open(self) -> OnnxRuntime:
        """Return the driver. The library is imported by the first `load`."""
        return OnnxRuntime(self)


class OnnxRuntime:
    """ONNX Runtime in this process; cannot be interrupted, so `timeout` is not kept.

    Attributes:
        fell_back: see `protocols.FallsBack`.
    """

    def __init__(self, config: OnnxRuntimeConfig) -> None:
        self._config = config
        self._loaded: tuple[Release, Any] | None = None
        self.fell_back: float | None = None

    def load(self, release: Release, timeout: float) -> None:  # noqa: ARG002
        """Load, warm, then replace. Raises InferenceError; the previous release stays loaded."""
        check_precision(release, "f32")
        data, _ = read_model(release)
        device = self._config.providers
        with tempfile.TemporaryDirectory(prefix="inspection-ort-") as folder:
            watched = Path(folder) / "profile" if device in _PROVIDERS else None
            try:
                session = self._session(data, watched)
            except InferenceError:
                raise
            except (
                Exception
            ) as error:  # the library raises its own kinds, all derived from Exception
                raise InferenceError(
                    f"ONNX Runtime cannot load {release.name}: {error}; release the model again"
                ) from error
            _run(release, session, warm_images(release))
            fell_back = self._fell_back(release, session)
            if watched is not None:
                check_placement(release.name, device, nodes_on_cpu(Path(session.end_profiling())))
        self._loaded, self.fell_back = (release, session), fell_back

    def infer(self, images: NDArray[np.uint8], timeout: float) -> dict[str, NDArray[np.float32]]:  # noqa: ARG002
        """Run the loaded release; see `protocols.Runtime.infer`."""
        loaded = self._loaded
        if loaded is None:
            raise InferenceError("no release is loaded in ONNX Runtime; call load first")
        check_images(loaded[0], images)
        try:
            return _run(*loaded, images)
        except InferenceError:
            self._loaded = None  # never served on after a fault
            raise

    def alive(self, timeout: float) -> bool:  # noqa: ARG002
        """Tell whether a release is loaded."""
        return self._loaded is not None

    def close(self) -> None:
        """Let go of the session."""
        self._loaded = None

    def _session(self, data: bytes, profile: Path | None) -> Any:
        """Return a session on what `providers` asks for, never on less."""
        ort = import_onnxruntime()
        ort.set_default_logger_severity(4)  # errors reach us as exceptions
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._config.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        if profile is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(profile)
        asked = self._config.providers
        needed = _PROVIDERS.get(asked)
        if needed is not None and needed not in ort.get_available_providers():
            raise InferenceError(
                f"providers is {asked}, but this ONNX Runtime has no {needed}; install "
                "onnxruntime-gpu in place of onnxruntime, or set providers to cpu"
            )
        use_cuda = needed is not None or (asked == "auto" and has_cuda_provider())
        wanted: list[Any] = ["CPUExecutionProvider"]
        if use_cuda:  # TF32, its default, is no float32: limits were chosen without
            wanted.insert(0, (_PROVIDERS["cuda"], {"use_tf32": 0}))
        if asked == "tensorrt":
            os.environ["NVIDIA_TF32_OVERRIDE"] = "0"  # TensorRT has no setting of its own for it
            wanted.insert(0, (_PROVIDERS["tensorrt"], {"trt_fp16_enable": 0, "trt_int8_enable": 0}))
        session = ort.InferenceSession(data, options, providers=wanted)
        session.disable_fallback()  # or a `run` that fails on a device would be tried on another, unseen
        took = session.get_providers()
        if needed is not None and needed not in took:
            raise InferenceError(
                f"{needed} could not be started and ONNX Runtime fell back to {', '.join(took)}; "
                "check the GPU driver, or set providers to cpu"
            )
        return session

    def _fell_back(self, release: Release, session: Any) -> float | None:
        """Return the seconds of one warm inference where the processor stands in for CUDA; else None."""
        if self._config.providers != "auto" or not has_cuda_provider():
            return None
        if _PROVIDERS["cuda"] in session.get_providers():
            return None
        started = time.monotonic()
        _run(release, session, warm_images(release))
        took = time.monotonic() - started
        _log.warning(
            "CUDA could not be started: ONNX Runtime runs %s on the processor, %.0f ms each",
            release.name,
            took * 1e3,
        )
        return took


def _run(
    release: Release, session: Any, images: NDArray[np.uint8]
) -> dict[str, NDArray[np.float32]]:
    names = [output.name for output in session.get_outputs()]
    try:
        values = session.run(names, {"images": images})
    except Exception as error:  # as in load
        raise InferenceError(
            f"ONNX Runtime failed on {release.name}: {error}; load the release again"
        ) from error
    return check_outputs(release, dict(zip(names, values, strict=True)), len(images))


def has_cuda_provider() -> bool:
    """Tell whether the installed ONNX Runtime was built with CUDA."""
    return "CUDAExecutionProvider" in import_onnxruntime().get_available_providers()
