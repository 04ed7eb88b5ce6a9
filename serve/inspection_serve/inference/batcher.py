"""One thread for each loaded release: joins waiting requests, runs them, gives each its own answer.

    submit ─▶ queue ─▶ join (at most max_batch images, at most max_delay) ─▶ runtime ─▶ split ─▶ futures
    infer, and nobody else asks ─▶ runtime, in the caller's own thread

A request that waits alone is run at once. Waiting for company happens only when several requests
were there, now or in the batch before, and ends as soon as as many came as last time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inspection.errors import InferenceError, ModelOutputError
from inspection.protocols import Runtime
from inspection.types import Release
from inspection_serve.inference.metrics import Metrics
from inspection_serve.inference.protocol import RequestError

Outputs = dict[str, NDArray[np.float32]]
MAX_WAITING = 64
"""Requests that may wait for one release; more are answered `busy`."""
MAX_FAULTS = 3
"""Failures in a row that make the process give up."""
ACCELERATOR_WORDS = ("cuda", "cudnn", "cublas", "tensorrt", "out of memory", "device-side", "gpu")
"""A runtime error that says one of these leaves the device in an unknown state."""
_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Request:
    images: NDArray[np.uint8]
    since: float
    expires: float
    future: Future[Outputs] = field(default_factory=Future)


class Worker(Protocol):
    """What answers for one release: a thread here, or replicas elsewhere. See `Batcher`."""

    @property
    def ready(self) -> bool:
        """True while requests are answered by something loaded and warm."""
        ...

    def submit(self, images: NDArray[np.uint8], timeout: float | None = None) -> Future[Outputs]:
        """Queue images; the future has their outputs, or RequestError."""
        ...

    def infer(self, images: NDArray[np.uint8], timeout: float | None = None) -> Outputs:
        """Return the outputs; the caller's thread waits. Raises RequestError."""
        ...

    def stalled(self, limit: float) -> bool:
        """Tell whether one inference has been running for longer than `limit` seconds."""
        ...

    def close(self) -> None:
        """Answer what waits, then end. Returns at once."""
        ...

    def join(self, timeout: float) -> bool:
        """Wait until it ended. Returns False when it did not."""
        ...


class Batcher:
    """Runs one release, one batch at a time.

    Args:
        release: the release that `runtime` has loaded.
        runtime: used by one thread at a time: this object's own, or a caller's of `infer`.
        max_batch: most images run together.
        max_delay: longest wait for company, seconds.
        metrics: where it counts.
        on_fault: called once when the process must not serve on, with the reason.
    """

    def __init__(
        self,
        release: Release,
        runtime: Runtime,
        *,
        max_batch: int,
        max_delay: float,
        metrics: Metrics,
        on_fault: Callable[[str], None],
    ) -> None:
        self.release = release
        self._runtime = runtime
        self._max_batch = max_batch
        self._max_delay = max_delay
        self._on_fault = on_fault
        self._metrics = metrics
        labels = (release.part, str(release.number))
        self._batch_size = metrics.batch.labels(*labels)
        self._queue_seconds = metrics.queue.labels(*labels)
        self._infer_seconds = metrics.infer.labels(*labels)
        self._images = metrics.images.labels(*labels)
        self._fault_count = metrics.faults.labels(*labels)
        self._waiting: deque[_Request] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._gave_up = ""
        self._taken = False
        """Somebody uses the runtime; changed under `_changed`."""
        self._faults = 0
        self._company = 1
        self._busy_since: float | None = None
        self._thread = threading.Thread(
            target=self._work, name=f"infer-{release.name}", daemon=True
        )
        self._thread.start()

    @property
    def ready(self) -> bool:
        """True until it is closed or gave up: what it runs was loaded and warmed before."""
        return not self._closed

    @property
    def waiting(self) -> int:
        """Requests whose turn has not come."""
        return len(self._waiting)

    def submit(self, images: NDArray[np.uint8], timeout: float | None = None) -> Future[Outputs]:
        """Queue images uint8 [B, H, W, 3] that nobody writes to any more.

        Returns:
            A future with this request's outputs, or RequestError.

        Raises:
            RequestError: wrong size, too many images, too many waiting, or closing.
        """
        with self._changed:
            request = self._request(images, timeout)
            self._waiting.append(request)
            self._changed.notify()
        return request.future

    def infer(self, images: NDArray[np.uint8], timeout: float | None = None) -> Outputs:
        """Return the outputs of images as `submit` takes them.

        Where nobody else asks, the caller's thread runs them: two changes of thread less.

        Raises:
            RequestError: as `submit`, or as its future.
        """
        with self._changed:
            request = self._request(images, timeout)
            alone = not self._taken and not self._waiting
            if alone:
                self._taken, self._company = True, 1
            else:
                self._waiting.append(request)
                self._changed.notify()
        if alone:
            self._work_on([request])
        return request.future.result()

    def _request(self, images: NDArray[np.uint8], timeout: float | None) -> _Request:
        """Return a new request. Raises RequestError."""
        if images.shape[1:3] != self.release.input_size or len(images) > self._max_batch:
            height, width = self.release.input_size
            raise RequestError(
                f"{self.release.name} takes [1..{self._max_batch}, {height}, {width}, 3], "
                f"got {list(images.shape)}"
            )
        if self._closed:
            raise RequestError(f"{self.release.name} is being unloaded", 503, "loading")
        if len(self._waiting) >= MAX_WAITING:
            raise RequestError(f"{MAX_WAITING} requests wait already", 503, "busy")
        now = time.monotonic()
        return _Request(images, now, now + timeout if timeout else float("inf"))

    def stalled(self, limit: float) -> bool:
        """Tell whether one inference has been running for longer than `limit` seconds."""
        since = self._busy_since
        return since is not None and time.monotonic() - since > limit

    def close(self) -> None:
        """Answer what waits, then release the runtime. Returns at once."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def join(self, timeout: float) -> bool:
        """Wait until the thread ended. Returns False when it did not."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while batch := self._collect():
            self._work_on(batch)
        self._runtime.close()

    def _work_on(self, batch: list[_Request]) -> None:
        """Answer a batch with the runtime, which was taken for it, and let others have it."""
        self._busy_since = time.monotonic()
        try:
            self._answer(batch)
        except Exception as error:  # the thread's boundary: nothing may be left unanswered
            _log.exception("%s: the worker failed", self.release.name)
            self._give_up(batch, f"the worker failed: {error}")
        self._busy_since = None
        with self._changed:
            self._taken = False
            self._changed.notify()

    def _collect(self) -> list[_Request]:
        """Take the runtime for requests to run together and return them; empty: closed, nothing waits."""
        with self._changed:
            while True:
                while self._taken or (not self._waiting and not self._closed):
                    self._changed.wait()
                self._drop_expired()
                if self._waiting:
                    break
                if self._closed:
                    return []
            self._taken = True
            self._await_company()
            batch = [self._waiting.popleft()]
            images = len(batch[0].images)
            while self._waiting and images + len(self._waiting[0].images) <= self._max_batch:
                batch.append(self._waiting.popleft())
                images += len(batch[-1].images)
            self._company = len(batch)
            return batch

    def _await_company(self) -> None:
        if len(self._waiting) == 1 and self._company == 1:
            return
        until = self._waiting[0].since + self._max_delay
        while len(self._waiting) < self._company and not self._closed:
            left = until - time.monotonic()
            if left <= 0 or not self._changed.wait(left):
                return

    def _drop_expired(self) -> None:
        now = time.monotonic()
        for request in [r for r in self._waiting if r.expires <= now]:
            self._waiting.remove(request)
            error = RequestError("nobody waits for this any more", 504, "timeout")
            _fail(request, error)

    def _answer(self, batch: list[_Request]) -> None:
        started = time.monotonic()
        for request in batch:
            self._queue_seconds.observe(started - request.since)
        try:
            results = self._run(batch)
        except ModelOutputError as error:
            self._reload()
            self._refuse(batch, error)
            return
        except InferenceError as error:
            self._after_fault(batch, error)
            return
        self._faults = 0
        for request, outputs in zip(batch, results, strict=True):
            _deliver(request, outputs)

    def _run(self, batch: list[_Request]) -> list[Outputs]:
        images = batch[0].images
        if len(batch) > 1:
            images = np.concatenate([request.images for request in batch])
        started = time.monotonic()
        outputs = self._runtime.infer(images, timeout=3600.0)
        self._infer_seconds.observe(time.monotonic() - started)
        self._batch_size.observe(len(images))
        self._images.inc(len(images))
        results: list[Outputs] = []
        start = 0
        for request in batch:
            end = start + len(request.images)
            results.append({name: value[start:end] for name, value in outputs.items()})
            start = end
        return results

    def _after_fault(self, batch: list[_Request], error: InferenceError) -> None:
        """The runtime failed: go on only when it works again, and never after a device fault."""
        self._fault_count.inc()
        self._faults += 1
        _log.error("%s: %s", self.release.name, error)
        text = str(error.__cause__ or error).lower()  # the library's words, without our names
        if self._faults >= MAX_FAULTS or any(word in text for word in ACCELERATOR_WORDS):
            self._give_up(batch, str(error))
            return
        try:
            self._reload()
        except InferenceError as again:
            self._give_up(batch, f"{error}; and then: {again}")
            return
        if len(batch) == 1:
            self._refuse(batch, error)
            return
        for request in batch:  # one of them may be to blame: each gets its own answer
            if self._gave_up:
                _fail(request, RequestError(self._gave_up, 500, "failed"))
            else:
                self._answer([request])

    def _reload(self) -> None:
        if not self._runtime.alive(1.0):
            self._runtime.load(self.release, timeout=600.0)

    def _refuse(self, batch: list[_Request], error: InferenceError) -> None:
        for request in batch:
            _fail(request, RequestError(str(error), 500, "failed"))

    def _give_up(self, batch: list[_Request], why: str) -> None:
        with self._changed:
            self._closed, self._gave_up = True, f"{why}; the service restarts"
            batch = [*batch, *self._waiting]
            self._waiting.clear()
        for request in batch:
            _fail(request, RequestError(self._gave_up, 500, "failed"))
        self._on_fault(f"{self.release.name}: {why}")


def _deliver(request: _Request, outputs: Outputs) -> None:
    if request.future.set_running_or_notify_cancel():
        request.future.set_result(outputs)


def _fail(request: _Request, error: RequestError) -> None:
    if not request.future.done() and request.future.set_running_or_notify_cancel():
        request.future.set_exception(error)
