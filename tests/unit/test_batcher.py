"""The service's worker when the runtime fails in ways that need a broken accelerator to see."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inspection.errors import InferenceError
from inspection.types import Release
from inspection_serve.inference.batcher import MAX_WAITING, Batcher
from inspection_serve.inference.metrics import Metrics
from inspection_serve.inference.protocol import RequestError

SIZE = (8, 8)
RELEASE = Release(
    "cuda-gpu", 1, Path(), Path("model.onnx"), "ab" * 32, "detect", ("a",), SIZE, limits={}
)
"""Its name says cuda: names must not be taken for a device's words."""


class Scripted:
    """A runtime whose every inference is one call of `script`; rows carry the image's first value."""

    def __init__(self, script: Callable[[Any], None]) -> None:
        self.script = script
        self.batches: list[int] = []
        self.loads = 0
        self.healthy = True

    def load(self, release: Release, timeout: float) -> None:
        self.loads += 1
        self.healthy = True

    def infer(self, images: Any, timeout: float) -> dict[str, Any]:
        self.batches.append(len(images))
        try:
            self.script(images)
        except InferenceError:
            self.healthy = False
            raise
        rows = np.zeros((len(images), 1, 6), np.float32)
        rows[:, 0, 0] = images[:, 0, 0, 0]
        return {"detections": rows}

    def alive(self, timeout: float) -> bool:
        return self.healthy

    def close(self) -> None:
        self.healthy = False


def image(value: int) -> Any:
    return np.full((1, *SIZE, 3), value, np.uint8)


def start(script: Callable[[Any], None], max_batch: int = 4) -> tuple[Batcher, Scripted, list[str]]:
    runtime, faults = Scripted(script), []
    batcher = Batcher(
        RELEASE,
        runtime,
        max_batch=max_batch,
        max_delay=0.002,
        metrics=Metrics(),
        on_fault=faults.append,
    )
    return batcher, runtime, faults


def raise_(text: str, kind: type[Exception] = InferenceError) -> Callable[[Any], None]:
    def script(images: Any) -> None:
        raise kind(text) from RuntimeError(text)

    return script


@pytest.mark.parametrize(
    "text",
    [
        "CUDA error: an illegal memory access was encountered",
        "CUDNN_STATUS_EXECUTION_FAILED cuDNN failure 8",
        "device-side assert triggered",
        "Out of memory",
    ],
)
def test_an_accelerator_fault_ends_it_at_once(text: str) -> None:
    batcher, runtime, faults = start(raise_(text))
    future = batcher.submit(image(1))
    with pytest.raises(RequestError, match="restarts"):
        future.result(30)
    assert batcher.join(30)
    assert len(faults) == 1
    assert runtime.loads == 0  # never tried again in this process
    with pytest.raises(RequestError) as caught:
        batcher.submit(image(1))
    assert caught.value.status == 503


def test_the_name_of_the_part_is_no_accelerator_fault() -> None:
    def fail(images: Any) -> None:
        text = "the graph cannot do this"
        raise InferenceError(f"{RELEASE.name}: {text}") from RuntimeError(text)

    batcher, runtime, faults = start(fail)
    with pytest.raises(RequestError):
        batcher.submit(image(1)).result(30)
    assert not faults
    assert runtime.loads == 1
    batcher.close()
    assert batcher.join(30)


def test_a_bug_in_the_runtime_leaves_nobody_waiting() -> None:
    batcher, _, faults = start(raise_("a bug", TypeError))
    with pytest.raises(RequestError, match="a bug"):
        batcher.submit(image(1)).result(30)
    assert batcher.join(30)
    assert len(faults) == 1


def test_one_bad_image_does_not_spoil_the_others() -> None:
    go, first = threading.Event(), threading.Event()

    def script(images: Any) -> None:
        if images[0, 0, 0, 0] == 100:
            first.set()
            assert go.wait(30)
        if (images == 66).any():
            raise InferenceError("bad") from RuntimeError("this one")

    batcher, runtime, faults = start(script)
    holder = batcher.submit(image(100))
    assert first.wait(30)
    futures = [batcher.submit(image(v)) for v in (1, 66, 3)]
    go.set()
    assert holder.result(30)["detections"][0, 0, 0] == 100
    assert futures[0].result(30)["detections"][0, 0, 0] == 1
    assert futures[2].result(30)["detections"][0, 0, 0] == 3
    with pytest.raises(RequestError):
        futures[1].result(30)
    assert runtime.batches == [1, 3, 1, 1, 1]
    assert not faults
    batcher.close()
    assert batcher.join(30)


def test_after_a_device_fault_the_rest_of_the_batch_is_not_run() -> None:
    """Each is tried alone, and the second breaks the device: its state is unknown from then on."""
    go, first = threading.Event(), threading.Event()

    def script(images: Any) -> None:
        if images[0, 0, 0, 0] == 100:
            first.set()
            assert go.wait(30)
        if len(images) > 1:
            raise InferenceError("odd") from RuntimeError("odd")
        if images[0, 0, 0, 0] == 66:
            raise InferenceError("it") from RuntimeError("CUDA error: device-side assert")

    batcher, runtime, faults = start(script)
    batcher.submit(image(100))
    assert first.wait(30)
    futures = [batcher.submit(image(v)) for v in (1, 66, 3, 4)]
    go.set()
    assert futures[0].result(30)["detections"][0, 0, 0] == 1
    for future in futures[1:]:
        with pytest.raises(RequestError, match="it; the service restarts"):
            future.result(30)
    assert batcher.join(30)
    assert runtime.batches == [1, 4, 1, 1]
    assert faults == [f"{RELEASE.name}: it"]


def test_only_so_many_may_wait_and_the_expired_are_dropped() -> None:
    go, first = threading.Event(), threading.Event()

    def script(images: Any) -> None:
        first.set()
        assert go.wait(30)

    batcher, _, _ = start(script, max_batch=1)
    holder = batcher.submit(image(0))
    assert first.wait(30)
    waiting = [
        batcher.submit(image(i), timeout=1e-6 if i % 2 else None) for i in range(MAX_WAITING)
    ]
    with pytest.raises(RequestError, match="wait"):
        batcher.submit(image(1))
    go.set()
    holder.result(30)
    for i, future in enumerate(waiting):
        if i % 2:
            with pytest.raises(RequestError) as caught:
                future.result(30)
            assert caught.value.status == 504
        else:
            assert future.result(30)["detections"][0, 0, 0] == i
    batcher.close()
    assert batcher.join(30)


def test_who_asks_alone_is_answered_in_his_own_thread() -> None:
    used: list[int] = []
    batcher, runtime, _ = start(lambda _: used.append(threading.get_ident()))
    for value in range(3):
        assert batcher.infer(image(value))["detections"][0, 0, 0] == value
    assert set(used) == {threading.get_ident()}
    assert batcher.submit(image(7)).result(30)["detections"][0, 0, 0] == 7
    assert used[-1] != threading.get_ident()
    assert runtime.batches == [1, 1, 1, 1]
    batcher.close()
    assert batcher.join(30)
    with pytest.raises(RequestError, match="unloaded"):
        batcher.infer(image(1))


def test_who_is_not_alone_waits_and_nobody_uses_the_runtime_beside_another() -> None:
    go, first, beside = threading.Event(), threading.Event(), threading.Lock()
    together: list[bool] = []

    def script(images: Any) -> None:
        together.append(not beside.acquire(blocking=False))
        first.set()
        assert go.wait(30)
        beside.release()

    batcher, runtime, _ = start(script)
    with ThreadPoolExecutor(6) as pool:
        holder = pool.submit(batcher.infer, image(100))
        assert first.wait(30)
        asked = [pool.submit(batcher.infer, image(v)) for v in range(3)]
        asked += [batcher.submit(image(3))]
        while batcher.waiting != 4:
            threading.Event().wait(0.005)
        go.set()
        assert holder.result(30)["detections"][0, 0, 0] == 100
        assert sorted(int(f.result(30)["detections"][0, 0, 0]) for f in asked) == [0, 1, 2, 3]
    assert runtime.batches == [1, 4]
    assert not any(together)
    batcher.close()
    assert batcher.join(30)


@pytest.mark.parametrize(("text", "kind"), [("CUDA error", InferenceError), ("a bug", TypeError)])
def test_a_fault_in_the_callers_thread_ends_it_as_well(text: str, kind: type[Exception]) -> None:
    batcher, runtime, faults = start(raise_(text, kind))
    with pytest.raises(RequestError, match=text):
        batcher.infer(image(1))
    assert batcher.join(30)
    assert len(faults) == 1
    assert not runtime.healthy, "closed"


def test_the_runtime_is_not_closed_while_a_caller_uses_it() -> None:
    go, first = threading.Event(), threading.Event()

    def script(images: Any) -> None:
        first.set()
        assert go.wait(30)
        assert runtime.healthy

    batcher, runtime, faults = start(script)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(batcher.infer, image(5))
        assert first.wait(30)
        assert batcher.stalled(0.0)
        batcher.close()
        assert not batcher.join(0.05)
        go.set()
        assert answer.result(30)["detections"][0, 0, 0] == 5
    assert batcher.join(30)
    assert not faults
    assert not batcher.stalled(0.0)


def test_what_waits_at_close_is_answered() -> None:
    batcher, _, _ = start(lambda _: None)
    futures = [batcher.submit(image(i)) for i in range(20)]
    batcher.close()
    assert [int(f.result(30)["detections"][0, 0, 0]) for f in futures] == list(range(20))
    assert batcher.join(30)
