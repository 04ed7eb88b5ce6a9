"""Bounded hand-over between threads; what happens when it is full is in the method's name.

trigger ─▶ acquire    offer: full means the part is answered at once, never queued silently
stage ─▶ record       put: waits, since a row is the promise
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class ChannelClosedError(Exception):
    """The other side has stopped; there is nothing more to hand over."""


class Channel(Generic[T]):
    """First in, first out, at most `capacity` items waiting."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {capacity}")
        self._capacity = capacity
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        return len(self._items)

    def offer(self, item: T) -> bool:
        """Hand over without waiting. Returns False, and keeps nothing, when full or closed."""
        with self._changed:
            if self._closed or len(self._items) >= self._capacity:
                return False
            self._items.append(item)
            self._changed.notify_all()
            return True

    def put(self, item: T, timeout: float | None = None) -> None:
        """Hand over, waiting while full.

        Raises:
            TimeoutError: still full after `timeout` seconds.
            ChannelClosedError: the channel was closed.
        """
        with self._changed:
            self._wait(lambda: self._closed or len(self._items) < self._capacity, timeout)
            if self._closed:
                raise ChannelClosedError
            self._items.append(item)
            self._changed.notify_all()

    def get(self, timeout: float | None = None) -> T:
        """Take the oldest item, waiting for one. What was handed over before `close` is still given.

        Raises:
            TimeoutError: nothing came within `timeout` seconds.
            ChannelClosedError: closed and empty.
        """
        with self._changed:
            self._wait(lambda: self._closed or bool(self._items), timeout)
            if not self._items:
                raise ChannelClosedError
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """Let waiting threads go. May be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _wait(self, ready: Callable[[], bool], timeout: float | None) -> None:
        end = None if timeout is None else time.monotonic() + timeout
        while not ready():
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError
            self._changed.wait(left)
