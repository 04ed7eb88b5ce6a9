"""Work that may take minutes, apart from the requests: once for all who ask the same.

    run ─▶ runs already? ─▶ the same answer
         └▶ a thread of its own ─▶ everybody who asked

A client that went away leaves one piece of work behind, however often it came again. Other requests have
threads of their own, and the threads here never keep the process from ending.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future, InvalidStateError
from typing import Any, TypeVar

from inspection_serve.inference.protocol import RequestError

MAX_RUNNING = 64
"""Pieces of work at a time; more are answered `busy`."""
T = TypeVar("T")


class Apart:
    """Pieces of work and who waits for them. Used by one event loop, until `close`."""

    def __init__(self) -> None:
        self._running: dict[Hashable, Future[Any]] = {}

    async def run(self, key: Hashable, work: Callable[[], T]) -> T:
        """Return what `work` returns, or raise what it raises; not run again while work of that key runs.

        Raises:
            RequestError: too much runs, or `close` came first.
            RuntimeError: the system has no room for a thread.
        """
        future = self._running.get(key)
        if future is None:
            if len(self._running) >= MAX_RUNNING:
                raise RequestError(f"{MAX_RUNNING} changes wait already", 503, "busy")
            future = self._running[key] = Future()
            try:
                threading.Thread(
                    target=self._work, args=(key, work, future), name="apart", daemon=True
                ).start()
            except RuntimeError:
                del self._running[key]
                raise
        return await asyncio.shield(asyncio.wrap_future(future))  # one who leaves ends it for none

    def close(self) -> None:
        """Tell all who wait that the service stops. What runs is left to itself."""
        for key in list(self._running):
            future = self._running.pop(key, None)
            if future is not None:
                with contextlib.suppress(InvalidStateError):
                    future.set_exception(RequestError("the service stops", 503, "loading"))

    def _work(self, key: Hashable, work: Callable[[], T], future: Future[T]) -> None:
        try:
            result = work()
        except BaseException as error:
            self._running.pop(key, None)
            with contextlib.suppress(InvalidStateError):
                future.set_exception(error)
        else:
            self._running.pop(key, None)
            with contextlib.suppress(InvalidStateError):
                future.set_result(result)
