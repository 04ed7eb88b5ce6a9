"""Cutting a connection on which an answer does not come: the promise that no call waits for ever.

The server's own limits end what it does, and the kernels ask each other whether they live. Neither helps
against a server, proxy or NAT that holds the connection and says nothing.

    asked ─▶ answered, in time ─▶ the next question
      └────▶ not in time ─▶ the socket is shut down ─▶ the driver's OperationalError
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

_OPENING = 5.0
"""Seconds, at most, for each answer while a connection is opened or tried: little is asked then."""
_LOOKS = 10
"""So many looks in the time that an answer may take."""
log = logging.getLogger(__name__)


class Silence:
    """Limits each wait for an answer on an engine of one connection, used by one thread.

    Each statement, commit and roll back has its own time: a transaction of many statements over a slow link
    may take as long as it needs. Trying a connection that was kept, and what a new one asks first, have one
    time together.
    """

    def __init__(self, engine: sa.Engine, seconds: float) -> None:
        """Nothing is watched yet.

        Args:
            engine: whose connection is watched.
            seconds: that an answer may take; longer than the server's own limits.
        """
        self._seconds = seconds
        self._changed = threading.Condition()
        self._due: float | None = None
        self._inside = self._was_cut = False
        self._socket: socket.socket | None = None
        # first of all: the dialect asks the server already
        event.listen(engine, "connect", self._opened, insert=True)
        event.listen(engine, "close", self._closed)
        for name in ("before_cursor_execute", "commit", "rollback"):
            event.listen(engine, name, self._asked)
        for name in ("after_cursor_execute", "checkout"):
            event.listen(engine, name, self._answered)

    @contextmanager
    def limited(self) -> Generator[None]:
        """Limit what is asked in this block. Afterwards `was_cut` tells whether an answer did not come."""
        self._was_cut, self._inside = False, True
        self._begin()
        watch = threading.Thread(target=self._watch, name="plant silence", daemon=True)
        watch.start()
        try:
            yield
        finally:
            with self._changed:
                self._inside = False
                self._changed.notify()
            watch.join()

    @property
    def was_cut(self) -> bool:
        """An answer did not come in time, in the latest block."""
        return self._was_cut

    def _watch(self) -> None:
        with self._changed:
            while self._inside:
                if self._due is not None and time.monotonic() >= self._due:
                    self._cut()
                self._changed.wait(min(self._seconds, _OPENING) / _LOOKS)

    def _cut(self) -> None:
        self._due, self._was_cut = None, True
        log.warning("the server does not answer: the connection is cut")
        if self._socket is not None:
            with suppress(OSError):  # it is cut already
                self._socket.shutdown(socket.SHUT_RDWR)

    def _begin(self) -> None:
        with self._changed:
            self._due = time.monotonic() + min(self._seconds, _OPENING)

    def _asked(self, *_: Any) -> None:
        with self._changed:
            self._due = time.monotonic() + self._seconds

    def _answered(self, *_: Any) -> None:
        with self._changed:
            self._due = None

    def _opened(self, connection: Any, _record: Any) -> None:
        self._closed()
        with self._changed:  # an own number for the socket: the driver's may be another's by then
            self._socket = socket.socket(fileno=os.dup(connection.fileno()))
            self._was_cut = False  # it was the one before
        self._begin()

    def _closed(self, *_: Any) -> None:
        with self._changed:
            if self._socket is not None:
                self._socket.close()
            self._socket = None
