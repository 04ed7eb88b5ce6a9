"""Cutting a connection on which an answer does not come: the promise that no call waits for ever.

The server's own limits end what it does, and the kernels ask each other whether they live. Neither helps
against a server, proxy or NAT that holds the connection and says nothing.

    asked ─▶ answered, in time ─▶ the next question
      └────▶ not in time ─▶ the socket is shut down ─▶ the driver's OperationalError
"""

from __future__ import annotations

import functools
import itertools
import logging
import math
import os
import socket
import threading
import time
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

_OPENING = 5.0
"""Seconds, at most, for each answer while a connection is opened or tried: little is asked then."""
_LINGER = 1.0
"""Seconds that the watching thread stays when nobody waits."""
_ASKING = ("do_execute", "do_executemany", "do_execute_no_params", "do_commit", "do_rollback")
"""What SQLAlchemy calls of its dialect to ask the server, with a cursor or a connection first."""
log = logging.getLogger(__name__)


class Silence:
    """Limits each wait for an answer on the connections of an engine, in whatever thread.

    Each statement, commit and roll back has its own time: a transaction of many statements over a slow link
    may take as long as it needs. What comes in pieces after a statement (`stream_results`) is not watched.

    Attributes:
        cuts: connections that were cut so far.
        patient: no statement, commit or roll back is limited now.
    """

    def __init__(self, engine: sa.Engine, seconds: float) -> None:
        """Watch from now on.

        Args:
            engine: of PostgreSQL; its dialect is its own.
            seconds: that an answer may take; longer than the server's own limits.
        """
        self.cuts = 0
        self.patient = False
        self._seconds = seconds
        self._opening = min(seconds, _OPENING)
        self._openings: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        for name in _ASKING:
            self._limit(engine.dialect, name, seconds)
        self._limit(engine.dialect, "do_ping", self._opening)
        # first of all: the dialect asks the server already
        event.listen(engine, "connect", self._opened, insert=True)
        event.listen(engine, "checkout", self._tried)
        event.listen(engine, "close", self._tried)

    def _limit(self, dialect: Any, name: str, seconds: float) -> None:
        call: Callable[..., Any] = getattr(dialect, name)

        @functools.wraps(call)
        def limited(first: Any, *rest: Any, **named: Any) -> Any:
            most = math.inf if self.patient else seconds
            if name == "do_executemany":  # the server answers, and limits, each of them
                most *= max(1, len(rest[1]))
            with self._limited(_connection_of(first), most):
                return call(first, *rest, **named)

        setattr(dialect, name, limited)

    @contextmanager
    def _limited(self, connection: Any, seconds: float) -> Generator[None]:
        wait = _WATCH.begin(connection, seconds, self)
        try:
            yield
        finally:
            _WATCH.end(wait)

    def _opened(self, connection: Any, _record: Any) -> None:
        wait = self._openings[connection] = _WATCH.begin(connection, self._opening, self)
        # where no event tells that it failed
        weakref.finalize(connection, _WATCH.end, wait).atexit = False

    def _tried(self, connection: Any, *_: Any) -> None:
        """It was opened, tried, and is given to whoever asked; or it is closed before that."""
        _WATCH.end(self._openings.pop(connection, -1))


def _connection_of(first: Any) -> Any:
    """Return the driver's connection of what the dialect is given: a cursor, or a connection in a wrap."""
    if isinstance(first, sa.PoolProxiedConnection):
        return first.driver_connection
    return getattr(first, "connection", first)


_OF: weakref.WeakKeyDictionary[sa.Dialect, Silence] = weakref.WeakKeyDictionary()


def limit_silence(engine: sa.Engine, seconds: float) -> Silence:
    """Watch an engine's connections; see `Silence`."""
    silence = _OF[engine.dialect] = Silence(engine, seconds)
    return silence


def silence_of(engine: sa.Engine) -> Silence | None:
    """Return what watches an engine's connections; None: nothing does."""
    return _OF.get(engine.dialect)


@contextmanager
def unhurried(engine: sa.Engine) -> Generator[None]:
    """Let what is asked in this block take as long as it needs: a migration may take minutes."""
    silence = silence_of(engine)
    if silence is None:
        yield
        return
    silence.patient = True
    try:
        yield
    finally:
        silence.patient = False


@dataclass(frozen=True, slots=True)
class _Wait:
    """`socket` has a number of its own: the driver's may be another's by the time it is cut."""

    due: float
    socket: socket.socket
    whose: Silence


class _Watch:
    """One thread for all connections of the process, while somebody waits and a moment longer."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waits: dict[int, _Wait] = {}
        self._numbers = itertools.count()
        self._looks_at = math.inf
        self._thread: threading.Thread | None = None

    def begin(self, connection: Any, seconds: float, whose: Silence) -> int:
        """Return the number of this wait; -1: it may take for ever, or the connection is closed."""
        if math.isinf(seconds):
            return -1
        try:
            own = socket.socket(fileno=os.dup(connection.fileno()))
        except Exception:  # the driver's own: it will say what is wrong when it is asked
            return -1
        with self._changed:
            number = next(self._numbers)
            self._waits[number] = _Wait(time.monotonic() + seconds, own, whose)
            if self._thread is None or not self._thread.is_alive():
                self._looks_at = math.inf
                self._thread = threading.Thread(target=self._run, name="silence", daemon=True)
                try:
                    self._thread.start()
                except (
                    RuntimeError
                ):  # no more threads, or the program ends: nobody watches this one
                    self._thread = None
                    del self._waits[number]
                    own.close()
                    return -1
            elif self._waits[number].due < self._looks_at:
                self._changed.notify()
        return number

    def end(self, number: int) -> None:
        """An answer came, or an error."""
        with self._changed:
            wait = self._waits.pop(number, None)
        if wait is not None:
            wait.socket.close()

    def _run(self) -> None:
        with self._changed:
            idle_since: float | None = None
            while True:
                now = time.monotonic()
                for number in [n for n, wait in self._waits.items() if wait.due <= now]:
                    self._cut(self._waits.pop(number))
                if self._waits:
                    idle_since = None
                    self._looks_at = min(wait.due for wait in self._waits.values())
                elif idle_since is None:
                    idle_since, self._looks_at = now, now + _LINGER
                elif now >= idle_since + _LINGER:
                    self._thread = None
                    return
                self._changed.wait(max(0.0, self._looks_at - now))

    @staticmethod
    def _cut(wait: _Wait) -> None:
        log.warning("the server does not answer: the connection is cut")
        wait.whose.cuts += 1
        with suppress(OSError):  # it is cut already
            wait.socket.shutdown(socket.SHUT_RDWR)
        wait.socket.close()


_WATCH = _Watch()
