"""Bounded hand-over between threads; what happens when it is full is in the method's name.

trigger ─▶ acquire    offer: full means the part is answered at once, never queued silently
stage ─▶ record       put: waits, since a row is the promise
stage ─▶ loop         wake: that there is news, not which

Each is a few calls of C: a part is handed over five times before its answer stands.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import Generic, TypeVar

T = TypeVar("T")

_FULL = 0.005
"""Seconds after which `put` looks again whether there is room: who waits then waits for a disk."""


class ChannelClosedError(Exception):
    """The other side has stopped; there is nothing more to hand over."""


class _End:
    """Lies behind the last item of a closed channel."""


_END = _End()


class Channel(Generic[T]):
    """First in, first out, at most `capacity` items waiting."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {capacity}")
        self._capacity = capacity
        self._items: queue.SimpleQueue[T | _End] = queue.SimpleQueue()
        self._giving = threading.Lock()  # one at a time: room is looked for, then taken
        self._closed = False

    def __len__(self) -> int:
        return max(0, self._items.qsize() - self._closed)

    def offer(self, item: T) -> bool:
        """Hand over without waiting. Returns False, and keeps nothing, when full or closed."""
        with self._giving:
            if self._closed or self._items.qsize() >= self._capacity:
                return False
            self._items.put(item)
            return True

    def put(self, item: T, timeout: float | None = None) -> None:
        """Hand over, waiting while full.

        Raises:
            TimeoutError: still full after `timeout` seconds.
            ChannelClosedError: the channel was closed.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while not self.offer(item):
            if self._closed:
                raise ChannelClosedError
            if end is not None and time.monotonic() >= end:
                raise TimeoutError
            time.sleep(_FULL)

    def get(self, timeout: float | None = None) -> T:
        """Take the oldest item, waiting for one. What was handed over before `close` is still given.

        Raises:
            TimeoutError: nothing came within `timeout` seconds.
            ChannelClosedError: closed and empty.
        """
        try:
            item = self._items.get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError from None
        if isinstance(item, _End):
            self._items.put(item)  # for whoever else takes
            raise ChannelClosedError
        return item

    def close(self) -> None:
        """Let waiting threads go. May be called twice."""
        with self._giving:
            if not self._closed:
                self._closed = True
                self._items.put(_END)


class Wake:
    """Tells one waiting thread that there is news. What was set before it waits ends its next wait."""

    def __init__(self) -> None:
        self._none = threading.Lock()  # held while there is no news
        self._none.acquire()

    def set(self) -> None:
        """There is news. Any thread, at any time, also twice."""
        try:
            self._none.release()
        except RuntimeError:  # there was news already
            return

    def wait(self, timeout: float) -> bool:
        """Wait for news and take it. Returns whether there was any; one thread alone may wait.

        Args:
            timeout: seconds, at most; not above 0: do not wait.
        """
        return self._none.acquire(timeout=timeout) if timeout > 0 else self._none.acquire(False)
