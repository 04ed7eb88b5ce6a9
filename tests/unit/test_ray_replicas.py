"""What the front says of replicas that fail, fall silent, or are not what they should be."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inspection.types import Release
from inspection_serve.inference.protocol import RequestError
from inspection_serve.ray_serve import replicas as module
from inspection_serve.ray_serve.replica import FOLDER, Refusal, remove_leftovers
from inspection_serve.ray_serve.replicas import Calls, Replicas

RELEASE = Release(
    "demo", 1, Path(), Path("model.onnx"), "ab" * 32, "detect", ("a",), (8, 8), limits={}
)
IMAGES = np.zeros((1, 8, 8, 3), np.uint8)
OUTPUTS = {"detections": np.zeros((1, 1, 6), np.float32)}


class BackPressureError(Exception):
    """Named as Ray's."""


class Handle:
    """Stands for Ray Serve's handle; `mode` says how every replica behaves."""

    def __init__(self) -> None:
        self.mode: Any = "well"
        self.infer = self.probe = self
        self.cancelled = 0

    def remote(self, *values: Any) -> Handle:
        self.answer = (RELEASE.model_sha256, OUTPUTS) if values else RELEASE.model_sha256
        return self

    def cancel(self) -> None:
        self.cancelled += 1

    def __await__(self):
        return self._run(self.answer).__await__()

    async def _run(self, answer: Any) -> Any:
        if self.mode == "silent":
            await asyncio.Event().wait()
        if isinstance(self.mode, Exception):
            raise self.mode
        return answer if self.mode == "well" else self.mode


@pytest.fixture
def handle() -> Handle:
    return Handle()


@pytest.fixture
def replicas(handle: Handle, monkeypatch: pytest.MonkeyPatch) -> Iterator[Replicas]:
    monkeypatch.setattr(module, "PROBE", 0.02)
    monkeypatch.setattr(module, "PROBE_TIMEOUT", 0.1)
    monkeypatch.setattr(module, "FRESH", 0.5)
    calls, closed = Calls(), []
    made = Replicas(RELEASE, handle, calls, longest=0.3, on_close=lambda: closed.append(1))
    assert made.await_answer(20)
    yield made
    made.close()
    made.close()
    assert closed == [1]
    calls.close()


def ask(replicas: Replicas, timeout: float | None = None) -> str:
    try:
        outputs = replicas.submit(IMAGES, timeout).result(20)
    except RequestError as error:
        return f"{error.status} {error.code}"
    assert outputs is OUTPUTS
    return "ok"


def until_ready(replicas: Replicas, wanted: bool) -> None:
    end = time.monotonic() + 20
    while replicas.ready is not wanted:
        assert time.monotonic() < end
        threading.Event().wait(0.01)


def test_an_answer_makes_ready_and_a_loss_ends_it(handle: Handle, replicas: Replicas):
    until_ready(replicas, True)
    assert ask(replicas) == "ok"
    handle.mode = ConnectionError("node died")
    assert ask(replicas) == "500 failed"
    assert not replicas.ready, "nobody has answered since the loss"
    handle.mode = "well"
    until_ready(replicas, True)


def test_silence_ends_ready_and_each_request_at_its_deadline(handle: Handle, replicas: Replicas):
    handle.mode = "silent"
    began = time.monotonic()
    assert ask(replicas, 0.2) == "504 timeout"
    assert time.monotonic() - began >= 0.2
    assert ask(replicas) == "504 timeout", "who names no time gets the longest"
    assert handle.cancelled >= 2
    until_ready(replicas, False)


@pytest.mark.parametrize(
    ("mode", "answer"),
    [
        (Refusal("too many images", 400, "bad_request"), "400 bad_request"),
        (BackPressureError("full"), "503 busy"),
        (("cd" * 32, OUTPUTS), "500 failed"),
        (RuntimeError(), "500 failed"),
    ],
)
def test_what_is_no_answer_becomes_an_error(handle: Handle, replicas: Replicas, mode, answer):
    handle.mode = mode
    assert ask(replicas) == answer


def test_nobody_waits_for_ever_when_the_calls_hang(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
):
    go, holds = threading.Event(), threading.Event()

    async def hang() -> None:
        holds.set()
        go.wait(60)

    monkeypatch.setattr(module, "LATE", 0.1)
    replicas._calls.start(hang())
    assert holds.wait(20)
    try:
        with pytest.raises(RequestError, match="nothing was heard") as caught:
            replicas.infer(IMAGES, 0.1)
        assert caught.value.status == 504
    finally:
        go.set()


def test_a_replica_with_another_model_is_not_ready(handle: Handle, replicas: Replicas):
    handle.mode = "cd" * 32
    until_ready(replicas, False)


def test_what_is_unloaded_answers_nothing(replicas: Replicas):
    replicas.close()
    assert not replicas.ready
    with pytest.raises(RequestError, match="is being unloaded"):
        replicas.submit(IMAGES)


def test_files_of_a_killed_replica_are_removed(tmp_path: Path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait(60)
    kept = [f"{FOLDER}{os.getpid()}-a", f"{FOLDER}x-b", "something-else"]
    for name in (*kept, f"{FOLDER}{dead.pid}-c"):
        (tmp_path / name / "demo" / "1").mkdir(parents=True)
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
