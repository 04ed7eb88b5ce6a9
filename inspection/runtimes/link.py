"""One HTTP/1.1 connection to a service, over TCP or its local socket, with a deadline for the whole exchange.

Every read gets only what is left of the deadline: a service that sends one byte a second does not hold the
line for ever. After any failure the connection is closed, so that a late answer can never be read as the
next one.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from inspection.errors import InferenceError, InferenceTimeoutError, ModelOutputError
from inspection.runtimes.http_bytes import MAX_HEAD, body_length, read_body, split_head

MAX_ANSWER = 64 << 20
"""Largest body accepted, bytes."""
_STATUS = re.compile(r"[2-5][0-9]{2}")
_HTTP_PORT = 80
_TOGETHER = 64 << 10
"""A body up to this size goes out with its headers in one call, bytes; a larger one is not copied for it."""
_PEER = struct.Struct("3i")
"""What SO_PEERCRED tells: process, user, group."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One complete HTTP answer.

    Attributes:
        status: HTTP status.
        headers: names in lower case.
        body: all announced bytes, no fewer.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """Return the body as a JSON object. Raises ModelOutputError when it is none."""
        return read_json(self.body)

    def error(self) -> str:
        """Return the service's own words for what is wrong, at most 300 characters."""
        try:
            text = str(self.json().get("error", ""))
        except ModelOutputError:
            text = self.body[:300].decode("utf-8", "replace")
        return f"{self.status} {text[:300]}".strip()


def read_json(data: bytes) -> dict[str, Any]:
    """Return a JSON object. Raises ModelOutputError when the bytes are anything else."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ModelOutputError(
            f"the service answered something that is not JSON ({data[:40]!r}…)"
        ) from error
    if not isinstance(value, dict):
        raise ModelOutputError(f"the service answered JSON that is no object ({data[:40]!r}…)")
    return value  # pyright: ignore[reportUnknownVariableType]


def is_same_user(local: socket.socket) -> bool:
    """Tell whether the process behind a local socket (Linux) is of our user, or of root."""
    told = local.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    return _PEER.unpack(told)[1] in {os.getuid(), 0}


class Link:
    """Keeps one connection alive. One thread at a time, except `close`.

    Args:
        url: http://HOST:PORT of the service.
        door: name of its local socket on this host (abstract, Linux); empty: TCP.
    """

    def __init__(self, url: str, door: str = "") -> None:
        parts = urlsplit(url)
        self.url = url
        self._door = door
        self.connections = 0
        """How many were made: a new one may lead to another process."""
        self._host = parts.hostname or ""
        self._port = parts.port or _HTTP_PORT
        host = self._host if self._host.isascii() else self._host.encode("idna").decode()
        host = f"[{host}]" if ":" in host else host
        self._told_host = host if self._port == _HTTP_PORT else f"{host}:{self._port}"
        self._socket: socket.socket | None = None

    @property
    def local(self) -> bool:
        """True when the service is on this host."""
        return self._host in {"localhost", "::1"} or self._host.startswith("127.")

    def connect(self, deadline: float) -> None:
        """Make sure that a usable connection is open; a new one adds to `connections`.

        Raises:
            InferenceTimeoutError, InferenceError: none could be made by `deadline`.
        """
        sock = self._socket
        if sock is not None:
            try:
                readable, _, _ = select.select([sock], [], [], 0)
            except (OSError, ValueError) as error:
                raise InferenceError(f"the link to {self.url} was closed") from error
            if not readable:
                return
            self.close()  # the service hung up, or sent what nobody asked for
        left = deadline - time.monotonic()
        if left <= 0:
            raise InferenceTimeoutError(f"no time left to connect to {self.url}")
        try:
            self._socket = self._reach(left)
        except TimeoutError as error:
            raise InferenceTimeoutError(
                f"{self.url} did not accept a connection in {left:.2f} s; is the service running?"
            ) from error
        except (OSError, ValueError) as error:
            raise InferenceError(
                f"{self.url} cannot be reached ({error}); start `inspection serve`"
            ) from error
        self.connections += 1

    def _reach(self, timeout: float) -> socket.socket:
        """Return a new connection. Raises TimeoutError, OSError."""
        if not self._door:
            reached = socket.create_connection((self._host, self._port), timeout=timeout)
            reached.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return reached
        reached = socket.socket(socket.AF_UNIX)
        try:
            reached.settimeout(timeout)
            reached.connect(f"\0{self._door}")
            if not is_same_user(reached):
                raise PermissionError("another user listens at the service's local socket")
        except (OSError, ValueError):  # the last: a name that is none
            reached.close()
            raise
        return reached

    def exchange(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        deadline: float,
    ) -> Answer:
        """Send one request and return its complete answer.

        Raises:
            InferenceTimeoutError: not complete by `deadline`; the connection is closed.
            InferenceError: the connection broke; it is closed.
            ModelOutputError: what came is not HTTP, short, or too large; the connection is closed.
        """
        self.connect(deadline)
        try:
            return self._exchange(method, path, body, headers or {}, deadline)
        except TimeoutError as error:
            raise InferenceTimeoutError(f"{self.url} did not answer {path} in time") from error
        except EOFError as error:
            raise InferenceError(f"{self.url} hung up during {path}; did it die?") from error
        except (OverflowError, ValueError) as error:
            raise ModelOutputError(
                f"{self.url} gave a garbled answer to {path}: {error}"
            ) from error
        except OSError as error:
            raise InferenceError(f"the connection to {self.url} broke: {error}") from error
        finally:
            self._close_unless_clean()

    def close(self) -> None:
        """Close the connection; wakes a blocked exchange. May be called twice."""
        sock, self._socket = self._socket, None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                sock.close()

    def _exchange(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], deadline: float
    ) -> Answer:
        sock = self._socket
        if sock is None:
            raise InferenceError(f"the link to {self.url} was closed")
        self._clean = False

        def limit() -> None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the deadline of the exchange has passed")
            sock.settimeout(left)

        limit()
        head = self._head(f"{method} {path} HTTP/1.1", body, headers)
        if len(body) <= _TOGETHER:
            sock.sendall(head + body)
        else:
            sock.sendall(head)
            limit()
            sock.sendall(body)
        data = b""
        while (end := data.find(b"\r\n\r\n")) < 0:
            if len(data) > MAX_HEAD:  # what follows it may be longer
                raise ValueError(f"the headers are longer than {MAX_HEAD} bytes")
            limit()
            more = sock.recv(_TOGETHER)
            if not more:
                if not data:
                    raise EOFError
                raise ValueError("the headers ended too soon")
            data += more
        first, told = split_head(data[:end])
        version, _, rest = first.partition(" ")
        status = rest.partition(" ")[0]
        if version not in {"HTTP/1.0", "HTTP/1.1"} or not _STATUS.fullmatch(status):
            raise ValueError(f"{first[:60]!r} is no last answer of HTTP/1.1")
        got = read_body(sock, data[end + 4 :], body_length(told, MAX_ANSWER), limit)
        self._clean = version == "HTTP/1.1" and "close" not in told.get("connection", "").lower()
        return Answer(int(status), told, got)

    def _head(self, first: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        """Return all of a request but its body. Raises ValueError: a line of it would be two."""
        own = {"Host": self._told_host, "Content-Length": str(len(body))}
        lines = [first, *(f"{name}: {value}" for name, value in {**own, **headers}.items())]
        text = "\r\n".join([*lines, "", ""])
        if text.count("\n") != len(lines) + 1 or text.count("\r") != len(lines) + 1:
            raise ValueError("a path or header of the request has an end of line within it")
        return text.encode("ascii")

    _clean = True

    def _close_unless_clean(self) -> None:
        if not self._clean:
            self._clean = True
            self.close()
