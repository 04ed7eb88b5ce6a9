"""One question, one whole answer, over a socket of our own.

For protocols without a library, or whose library does not give up its socket after a fault:

    ask ─▶ nothing waits on the socket ─▶ sent ─▶ head ─▶ rest(head) ─▶ decode(answer) ─▶ result
                  └── timeout, short or long answer, wrong answer, closed, interrupted
                                └──▶ socket closed ──▶ PlcError

One deadline holds for the whole question, so an answer that comes in drop by drop ends in time too.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TypeVar

from inspection.errors import PlcError

_Result = TypeVar("_Result")


class Asker:
    """A TCP connection on which one question is open at a time. One thread at a time."""

    def __init__(self, where: str, address: tuple[str, int], timeout: float) -> None:
        """Nothing is opened before `connect`.

        Args:
            where: names the PLC in messages.
            address: host and port.
            timeout: longest wait for a connection, and for a whole answer, in seconds.
        """
        self._where = where
        self._address = address
        self._timeout = timeout
        self._socket: socket.socket | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a socket; any fault closes it."""
        return self._socket is not None

    def connect(self, advice: str) -> None:
        """Open a fresh socket; an open one is closed first.

        Args:
            advice: what to check at this PLC when nobody answers.

        Raises:
            PlcError: no connection in time.
        """
        self.close()
        try:
            made = socket.create_connection(self._address, self._timeout)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raise PlcError(
                f"{self._where}: no connection within {self._timeout:g} s ({short(error)}); "
                f"check that the PLC is on, its address, and {advice}"
            ) from error
        self._socket = made

    def ask(
        self,
        what: str,
        request: bytes,
        head: int,
        rest: Callable[[bytes], int],
        decode: Callable[[bytes], _Result],
        goes_on: Callable[[bytes], bool] | None = None,
    ) -> _Result:
        """Send a request and return its decoded answer.

        Args:
            what: names the request in messages.
            request: bytes to send.
            head: bytes of an answer that tell how long it is.
            rest: takes the head, returns how many bytes follow. Raises: that is not the answer.
            decode: takes the whole answer. Raises: that is not the answer; a PlcError passes as it is.
            goes_on: takes a head, tells whether another one follows after its bytes: an answer in pieces.

        Raises:
            PlcError: there was no connection, and nothing was sent; or no whole and right answer came
                in time, and the socket is closed.
        """
        if self._socket is None:
            raise PlcError(f"{self._where}: {what} without a connection; call connect first")
        try:
            return decode(self._exchange(self._socket, request, head, rest, goes_on))
        except PlcError:
            self.close()
            raise
        except Exception as error:
            self.close()
            raise PlcError(
                f"{self._where}: {what} got no whole and right answer ({short(error)}); "
                "the socket was closed"
            ) from error
        except BaseException:  # interrupted: the answer is still on its way
            self.close()
            raise

    def _exchange(
        self,
        link: socket.socket,
        request: bytes,
        head: int,
        rest: Callable[[bytes], int],
        goes_on: Callable[[bytes], bool] | None,
    ) -> bytes:
        until = time.monotonic() + self._timeout
        _nothing_waits(link)
        link.settimeout(self._timeout)
        link.sendall(request)
        got, end, more = b"", 0, True
        while more:
            got = _received(link, got, end + head, until)
            told = got[end : end + head]
            end += head + rest(told)
            got = _received(link, got, end, until)
            more = goes_on is not None and goes_on(told)
        if len(got) > end:
            raise ValueError(f"{len(got) - end} bytes more than the answer has")
        return got

    def close(self) -> None:
        """Close the socket, if one is open."""
        opened, self._socket = self._socket, None
        if opened is not None:
            opened.close()


def _received(link: socket.socket, got: bytes, need: int, until: float) -> bytes:
    """Return what has come of an answer, at least `need` bytes of it."""
    while len(got) < need:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"{len(got)} of {need} bytes came in time")
        link.settimeout(left)
        part = link.recv(65536)
        if not part:
            raise ConnectionError(f"the PLC closed after {len(got)} of {need} bytes")
        got += part
    return got


def _nothing_waits(link: socket.socket) -> None:
    """Refuse a socket on which bytes wait before a question is sent: they answer an older one."""
    link.settimeout(0)
    try:
        waiting = link.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return
    if waiting:
        raise ValueError("an answer waited before the question was sent")
    raise ConnectionError("the PLC closed the connection")


def short(error: Exception) -> str:
    """Return an error in one line of at most 160 characters."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:160]
