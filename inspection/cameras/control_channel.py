"""The one thread that speaks to a camera's control channel, so that a dead camera blocks nobody else.

    grab ──call(fire, timeout)──▶ thread ──▶ vendor library (may block for seconds)
                                    └─ between calls: `check`, every 0.15 s

A camera is in trouble when `check` failed, or when what the thread does has lasted over 0.6 s: that is
how a camera that lost its power is noticed within a second, whatever the library's own times are.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from inspection.errors import CameraLostError

log = logging.getLogger(__name__)

_CHECK_EVERY = 0.15
_SILENT_AFTER = 0.6
_CLOSE = 1.0


class _Job:
    def __init__(self, run: Callable[[], Any]) -> None:
        self.run = run
        self.done = threading.Event()
        self.result: Any = None
        self.error: Exception | None = None


class ControlChannel:
    """Runs what is asked of a camera, one after the other, on a thread of its own."""

    def __init__(self, name: str, check: Callable[[], None]) -> None:
        """Start at once; `check` raises when the camera does not answer."""
        self._name, self._check = name, check
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._busy_since: float | None = None
        self._trouble = ""
        self._thread = threading.Thread(target=self._work, name=f"camera {name}", daemon=True)
        self._thread.start()

    def call(self, run: Callable[[], Any], timeout: float) -> Any:
        """Run it on the thread and return what it returns.

        Raises:
            CameraLostError: it did not end in time.
            Exception: what it raised.
        """
        job = _Job(run)
        self._jobs.put(job)
        if not job.done.wait(timeout):
            raise CameraLostError(
                f"camera {self._name} does not answer; {self.trouble() or 'it is slow'}:"
                " check power and cable"
            )
        if job.error is not None:
            raise job.error
        return job.result

    def trouble(self) -> str:
        """Say what is wrong with the camera; empty: it answers."""
        since = self._busy_since
        if not self._trouble and since is not None and time.monotonic() - since > _SILENT_AFTER:
            return f"no answer for {_SILENT_AFTER} s"
        return self._trouble

    def close(self, release: Callable[[], None]) -> bool:
        """Run `release` last, then end; wait a second at most. Tells whether it is done."""
        self._jobs.put(_Job(release))
        self._jobs.put(None)
        self._thread.join(_CLOSE)
        return not self._thread.is_alive()

    @property
    def ended(self) -> bool:
        """The camera is released."""
        return not self._thread.is_alive()

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=_CHECK_EVERY)
            except queue.Empty:
                job = None if self._trouble else _Job(self._check)
                if job is None:
                    continue
                self._run(job)
                self._trouble = "" if job.error is None else str(job.error)
                continue
            if job is None:
                return
            self._run(job)

    def _run(self, job: _Job) -> None:
        self._busy_since = time.monotonic()
        try:
            job.result = job.run()
        except Exception as error:  # handed to whoever asked
            job.error = error
            log.debug("camera %s: %s", self._name, error)
        finally:
            self._busy_since = None
            job.done.set()
