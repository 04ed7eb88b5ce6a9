"""The front's view of one release: its replicas, as one thing that takes requests.

    submit ─▶ Ray Serve picks a replica ─▶ its answer, or an error before the deadline
    every PROBE seconds, and after each loss ─▶ does a replica answer? ─▶ ready

`ready` is what was heard last: true only while a replica that has loaded and run the release answered lately,
and nothing was lost since.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspection.types import Release
from inspection_serve.inference.batcher import Outputs
from inspection_serve.inference.protocol import RequestError
from inspection_serve.ray_serve.replica import Refusal

PROBE = 0.5
"""Seconds between two questions whether a replica answers."""
PROBE_TIMEOUT = 2.0
FRESH = 3.0
"""An answer older than this, in seconds, proves nothing any more."""
LATE = 1.0
"""Seconds beyond its time after which a request is no longer waited for."""
_log = logging.getLogger(__name__)


class Calls:
    """The event loop on which the cluster is asked; a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="ray-calls", daemon=True
        )
        self._thread.start()

    def start(self, call: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Run a coroutine there."""
        return asyncio.run_coroutine_threadsafe(call, self._loop)

    def close(self) -> None:
        """Stop; what still runs is cancelled."""
        self.start(self._cancel_all())
        self._thread.join(5.0)
        if not self._thread.is_alive():
            self._loop.close()

    async def _cancel_all(self) -> None:
        others = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.wait(others, timeout=2.0) if others else None
        self._loop.stop()


class Replicas:
    """All replicas of one release.

    Args:
        release: as the front checked it.
        handle: Ray Serve's handle of its deployment, all of whose replicas run.
        calls: where calls are made.
        longest: seconds for a request that names no time itself.
        on_close: takes the replicas away.
    """

    def __init__(
        self,
        release: Release,
        handle: Any,
        calls: Calls,
        *,
        longest: float,
        on_close: Callable[[], None],
    ) -> None:
        self.release = release
        self._handle = handle
        self._calls = calls
        self._longest = longest
        self._on_close = on_close
        self._closed = False
        self._answered: float | None = None
        self._look = asyncio.Event()
        self._first = threading.Event()
        self._watcher = calls.start(self._watch())

    @property
    def ready(self) -> bool:
        """True while a replica answers: the last thing heard was an answer, and lately."""
        answered = self._answered
        return not self._closed and answered is not None and time.monotonic() - answered < FRESH

    def await_answer(self, timeout: float) -> bool:
        """Wait until a replica answered for the first time."""
        return self._first.wait(timeout)

    def submit(self, images: NDArray[np.uint8], timeout: float | None = None) -> Future[Outputs]:
        """Send images uint8 [B, H, W, 3] to a replica.

        Returns:
            A future with the outputs, or RequestError, at the latest after `timeout` seconds.

        Raises:
            RequestError: being unloaded.
        """
        if self._closed:
            raise RequestError(f"{self.release.name} is being unloaded", 503, "loading")
        return self._calls.start(self._ask(images, timeout or self._longest))

    def infer(self, images: NDArray[np.uint8], timeout: float | None = None) -> Outputs:
        """Return the outputs of images as `submit` takes them. Raises RequestError."""
        try:
            return self.submit(images, timeout).result((timeout or self._longest) + LATE)
        except TimeoutError as error:  # the calls' own thread hangs
            text = f"nothing was heard of the replicas of {self.release.name}"
            raise RequestError(text, 504, "timeout") from error

    def stalled(self, limit: float) -> bool:  # noqa: ARG002
        """Return False: each replica looks after itself, and ends alone."""
        return False

    def close(self) -> None:
        """Take the replicas away; they answer what they have. Returns at once."""
        if not self._closed:
            self._closed = True
            self._watcher.cancel()
            self._on_close()

    def join(self, timeout: float) -> bool:  # noqa: ARG002
        """Return True: Ray lets them finish."""
        return True

    async def _ask(self, images: NDArray[np.uint8], timeout: float) -> Outputs:
        name = self.release.name
        try:
            answer = await self._call("infer", timeout, images, timeout)
        except TimeoutError as error:
            text = f"no replica of {name} answered within {timeout:g} s"
            raise RequestError(text, 504, "timeout") from error
        except (
            Exception
        ) as error:  # of Ray, by many names: a lost process, a lost node, a full queue
            if type(error).__name__ == "BackPressureError":
                raise RequestError(f"too many wait for {name}", 503, "busy") from error
            self._lost(error)
            text = f"the replica of {name} that had the request was lost ({_kind(error)})"
            raise RequestError(text, 500, "failed") from error
        if isinstance(answer, Refusal):
            raise RequestError(answer.message, answer.status, answer.code)
        sha256, outputs = answer
        self._check(sha256)
        self._heard()
        return outputs

    async def _call(self, method: str, timeout: float, *values: Any) -> Any:
        response = getattr(self._handle, method).remote(*values)
        try:
            async with asyncio.timeout(timeout):
                return await response
        except (TimeoutError, asyncio.CancelledError):
            with contextlib.suppress(Exception):
                response.cancel()
            raise

    async def _watch(self) -> None:
        while True:
            try:
                self._check(await self._call("probe", PROBE_TIMEOUT))
                self._heard()
            except asyncio.CancelledError:
                raise
            except Exception as error:  # whatever it is: nobody answered
                self._lost(error)
            self._look.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROBE):
                    await self._look.wait()

    def _check(self, sha256: str) -> None:
        if sha256 != self.release.model_sha256:
            raise RequestError(
                f"a replica of {self.release.name} runs another model ({sha256[:16]}…)",
                500,
                "failed",
            )

    def _heard(self) -> None:
        if self._answered is None:
            _log.info("%s: a replica answers", self.release.name)
        self._answered = time.monotonic()
        self._first.set()

    def _lost(self, error: Exception) -> None:
        if self._answered is not None:
            _log.error("%s: a replica was lost: %s", self.release.name, _kind(error))
            self._look.set()  # ask the others at once
        self._answered = None


def _kind(error: Exception) -> str:
    return (
        f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200] if str(error) else ''}"
    )
