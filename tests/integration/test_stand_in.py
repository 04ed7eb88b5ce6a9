"""The processor in a GPU's stead: a line is ready with it only where it is fast enough for the recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from service_process import wait_until
from variant_parts import write_release

from inspection.detect import DetectStage
from inspection.detector import Detector
from inspection.part import Setup
from inspection.release import load_release
from inspection.runtimes.onnxruntime import OnnxRuntime, OnnxRuntimeConfig, has_cuda_provider
from inspection.types import Reason, Recipe


class StandsIn(OnnxRuntime):
    """ONNX Runtime on the processor that says so, as one built with CUDA does where there is no GPU."""

    took: float | None = None

    def load(self, release: Any, timeout: float) -> None:
        super().load(release, timeout)
        self.fell_back = type(self).took


def stage(config: OnnxRuntimeConfig, timeout: float) -> DetectStage:
    return DetectStage(
        lambda: StandsIn(config),
        lambda setup, runtime: Detector(setup.release, runtime),
        lambda: None,
        lambda _part, _result: None,
        timeout=timeout,
        read_codes=lambda _part, _rule: (),
        code_fault=lambda _rule: None,
    )


@pytest.mark.parametrize(
    ("took", "deadline", "timeout", "ready"),
    [(0.2, 0.3, 5.0, True), (0.4, 0.3, 5.0, False), (0.4, 1.0, 0.3, False), (None, 0.001, 1, True)],
)
def test_the_processor_stands_in_only_within_the_deadline(
    tmp_path: Path, took: float | None, deadline: float, timeout: float, ready: bool
) -> None:
    release = load_release(write_release(tmp_path / "releases"))
    setup = Setup(Recipe(1, "colours", 1, {}, deadline=deadline), release)
    StandsIn.took = took
    config = OnnxRuntimeConfig.model_validate({"type": "onnxruntime", "threads": 1})
    detect = stage(config, timeout)
    detect.start()
    try:
        detect.load(setup)
        if ready:
            wait_until(lambda: detect.ready_for(setup))
            return
        wait_until(lambda: detect.fault is Reason.INFERENCE_TIMEOUT)
        assert not detect.ready_for(setup)
        StandsIn.took = 0.01  # the driver was mended, or the PC has less to do
        wait_until(lambda: detect.ready_for(setup))
    finally:
        detect.stop(30.0)


@pytest.mark.skipif(has_cuda_provider(), reason="this ONNX Runtime has CUDA")
def test_without_cuda_nothing_stands_in(tmp_path: Path) -> None:
    runtime = OnnxRuntimeConfig.model_validate({"type": "onnxruntime"}).open()
    runtime.load(load_release(write_release(tmp_path / "releases")), 60.0)
    assert runtime.fell_back is None
