"""The bytes of an HTTP/1.1 message, as far as both ends of the inference protocol need them.

The standard library's reader makes an e-mail of the headers, and its server is one for pages; for each part
both would stand between the trigger and the answer. What is gained by this: docs/decisions/0030.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable

MAX_HEAD = 16 << 10
"""Longest first line with headers, bytes."""
_NUMBER = re.compile(r"[0-9]{1,15}")
_ONCE = frozenset({"content-length", "transfer-encoding", "inference-header-content-length"})
"""Headers that decide where a message ends or how it is read: two of one are never taken."""


def split_head(head: bytes) -> tuple[str, dict[str, str]]:
    """Return the first line and the headers of a message, names in lower case; what is told twice is joined.

    Args:
        head: up to the empty line, without it.

    Raises:
        ValueError: a header is malformed, or one that decides over the message is there twice.
    """
    first, *lines = head.decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or not name or name.strip() != name or (name in _ONCE and name in headers):
            raise ValueError("a header is malformed, or there twice")
        value = value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return first, headers


def body_length(headers: dict[str, str], most: int) -> int:
    """Return the bytes that follow the headers.

    Raises:
        ValueError: that is not told as a number, or in pieces.
        OverflowError: it is more than `most`.
    """
    told = headers.get("content-length", "")
    length = whole_number(told)
    if length is None or "transfer-encoding" in headers:
        raise ValueError(
            f"Content-Length is {told[:40]!r}; needed: a number, and no Transfer-Encoding"
        )
    if length > most:
        raise OverflowError(f"Content-Length is {told}; at most {most}")
    return length


def whole_number(text: str) -> int | None:
    """Return what up to 15 plain digits say; None: it is something else."""
    return int(text) if _NUMBER.fullmatch(text) else None


def read_body(
    link: socket.socket, begun: bytes, length: int, before: Callable[[], None] | None = None
) -> bytes:
    """Return a body of so many bytes.

    Args:
        link: read from.
        begun: what of it came with the headers.
        length: of all.
        before: called before each read, such as to set the socket's timeout.

    Raises:
        ValueError: it ended too soon, or more came.
        OSError: the link broke, or was silent for too long.
    """
    if len(begun) > length:
        raise ValueError("more came than Content-Length says")
    if len(begun) == length:
        return begun
    body = bytearray(length)
    body[: len(begun)] = begun
    view, done = memoryview(body), len(begun)
    while done < length:
        if before is not None:
            before()
        got = link.recv_into(view[done:])
        if got == 0:
            raise ValueError(f"the body ended after {done} of {length} bytes")
        done += got
    return bytes(body)
