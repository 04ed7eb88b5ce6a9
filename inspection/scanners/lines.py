"""Scans as lines of text, from whatever brings bytes: kept with their times until a part asks for them.

connection ─▶ thread: bytes ─▶ lines ─▶ (time, text) ─▶ take(trigger): those of this part
    ▲            │
    └─ back off ─┴─ lost: `fault` says why until it is back
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from inspection.errors import ScannerError
from inspection.types import Code

_BACK_OFF = 0.5
_MOST_SCANS = 100
_MOST_CHARACTERS = 200
_GROUP = "\x1d"
"""The separator of GS1 codes; other control characters are the scanner's framing."""
_MOST_BYTES = 4096
"""Without an end of line in so many bytes it is no scanner's text."""


class Connection(Protocol):
    """Brings bytes. Used by one thread."""

    def receive(self, timeout: float) -> bytes:
        """Return what came, b"" when nothing did in `timeout` seconds. Raises OSError: it is gone."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class LineScanner:
    """See `inspection.protocols.Scanner`. One connection, opened again whenever it is lost."""

    def __init__(
        self,
        connect: Callable[[], Connection],
        where: str,
        *,
        window: float,
        wait: float,
        no_read: str,
    ) -> None:
        """Connect in the background.

        Args:
            connect: opens the connection; raises OSError.
            where: names the scanner in errors.
            window: seconds before a trigger in which its part is scanned.
            wait: seconds after a trigger in which a scan is waited for.
            no_read: text that the scanner sends when it could read nothing; empty: it sends none.
        """
        self._connect = connect
        self._where = where
        self._window = window
        self.wait = wait
        self._no_read = no_read
        self._scans: deque[tuple[float, str]] = deque(maxlen=_MOST_SCANS)
        self._taken = float("-inf")
        self._changed = threading.Condition()
        self._fault = "not connected yet"
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scanner", daemon=True)
        self._thread.start()

    def fault(self) -> str:
        """Return why no scan can come now; empty while it is connected."""
        return self._fault

    def take(self, seen_mono: float) -> tuple[Code, ...]:
        """Return the scans of the part whose trigger was seen then; see the protocol.

        The whole wait is waited: who returned at the first scan would give a part the late scan of the
        one before, and never see its own.
        """
        until = seen_mono + self.wait
        with self._changed:
            while not self._fault and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            if self._fault:
                raise ScannerError(f"{self._where}: {self._fault}; check its power and its cable")
            oldest = seen_mono - self._window
            found = [text for at, text in self._scans if max(oldest, self._taken) < at <= until]
            self._taken = until
            while self._scans and self._scans[0][0] <= until:
                self._scans.popleft()
        if self._no_read in found:  # then one was not read, and nobody knows which
            return ()
        return tuple(Code(text, "scanner") for text in found)

    def close(self) -> None:
        """End the thread and the connection."""
        self._leave.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._leave.is_set():
            try:
                connection = self._connect()
            except OSError as error:
                self._lost(error)
                continue
            try:
                self._set_fault("")
                self._read(connection)
            except OSError as error:
                self._lost(error)
            finally:
                connection.close()

    def _read(self, connection: Connection) -> None:
        rest = b""
        while not self._leave.is_set():
            rest += connection.receive(0.2)
            *lines, rest = rest.replace(b"\r", b"\n").split(b"\n")
            rest = rest if len(rest) <= _MOST_BYTES else b""
            for line in lines:
                text = _plain(line)
                if text:
                    with self._changed:
                        self._scans.append((time.monotonic(), text))
                        self._changed.notify_all()

    def _lost(self, error: OSError) -> None:
        self._set_fault(str(error) or type(error).__name__)
        self._leave.wait(_BACK_OFF)

    def _set_fault(self, fault: str) -> None:
        with self._changed:
            self._fault = fault
            self._changed.notify_all()


def _plain(line: bytes) -> str:
    """Return what a line says without the scanner's framing."""
    said = line.decode("utf-8", "replace")
    return "".join(c for c in said if c.isprintable() or c == _GROUP).strip(" ")[:_MOST_CHARACTERS]
