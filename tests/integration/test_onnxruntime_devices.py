"""ONNX Runtime on a GPU, or refused: it never takes the processor in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from variant_parts import SIZE, write_release

from inspection.errors import InferenceError
from inspection.release import load_release
from inspection.runtimes.libraries import import_onnxruntime
from inspection.runtimes.onnxruntime import OnnxRuntimeConfig, has_cuda_provider
from inspection.runtimes.placement import check_placement, nodes_on_cpu
from inspection.types import Release


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return load_release(write_release(tmp_path_factory.mktemp("devices")))


@pytest.fixture(scope="module")
def profile(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real profile, of a session that ran on the processor."""
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path_factory.mktemp("profile") / "p")
    session = ort.InferenceSession(str(release.model), options, providers=["CPUExecutionProvider"])
    session.run(None, {"images": np.zeros((1, SIZE, SIZE, 3), np.uint8)})
    return Path(session.end_profiling())


@pytest.mark.skipif(has_cuda_provider(), reason="this ONNX Runtime has CUDA")
@pytest.mark.parametrize("name", ["cuda", "tensorrt"])
def test_a_device_that_is_not_there_is_refused(release: Release, name: str) -> None:
    runtime = OnnxRuntimeConfig.model_validate({"type": "onnxruntime", "providers": name}).open()
    with pytest.raises(InferenceError, match=rf"providers is {name}, but .* set providers to cpu"):
        runtime.load(release, 60.0)
    assert not runtime.alive(1.0)


def test_a_device_that_fails_in_the_middle_is_never_replaced_in_silence(release: Release) -> None:
    """The library would run the picture on its other devices, print a line, and stay there."""
    import_onnxruntime()
    from onnxruntime.capi.onnxruntime_pybind11_state import EPFail

    runtime = OnnxRuntimeConfig(providers="cpu").open()
    runtime.load(release, 60.0)
    assert runtime._loaded is not None
    session = runtime._loaded[1]

    class Failing:
        """The library's own half of a session, on a device that fails."""

        def __init__(self, real: Any) -> None:
            self._real = real

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

        def run(self, *_: object) -> None:
            raise EPFail("CUDA failure 700: an illegal memory access")

    session._sess = Failing(session._sess)
    with pytest.raises(InferenceError, match="illegal memory access"):
        runtime.infer(np.zeros((1, SIZE, SIZE, 3), np.uint8), 5.0)
    assert not runtime.alive(1.0)


def test_a_device_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValidationError, match="tensorrt"):
        OnnxRuntimeConfig.model_validate({"type": "onnxruntime", "providers": "gpu"})


def test_heavy_nodes_on_the_processor_are_a_fault(profile: Path) -> None:
    on_cpu = nodes_on_cpu(profile)
    assert sum("Conv" in name for name in on_cpu) >= 2
    with pytest.raises(InferenceError, match="heavy nodes of colours/1 on the processor"):
        check_placement("colours/1", "cuda", on_cpu)


def test_small_nodes_may_be_there() -> None:
    check_placement("colours/1", "cuda", ["Shape", "Gather", "NonMaxSuppression", "TopK"])


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "7", '[{"cat": "Node"}]', '[{"cat": "Node", "args": {}}]', "[3]"]
)
def test_a_profile_that_tells_nothing_is_a_fault(tmp_path: Path, text: str) -> None:
    path = tmp_path / "profile.json"
    path.write_text(text)
    with pytest.raises(InferenceError, match="did not tell where"):
        nodes_on_cpu(path)


@pytest.mark.skipif(not has_cuda_provider(), reason="this ONNX Runtime has no CUDA")
def test_cuda_gives_what_the_processor_gives(release: Release) -> None:
    images = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE, 3), np.uint8)
    answers = []
    for name in ("cpu", "cuda"):
        config = OnnxRuntimeConfig.model_validate({"type": "onnxruntime", "providers": name})
        runtime = config.open()
        runtime.load(release, 60.0)
        answers.append(runtime.infer(images, 10.0)["detections"])
    np.testing.assert_allclose(*answers, atol=1e-4)
