"""A TCP port that answers whole frames, for protocols whose server is our own.

connection ─▶ header ─▶ rest(header) ─▶ whole frame ─▶ answer(frame) ─▶ connection
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Framing:
    """How a protocol's frames are found in the stream and answered.

    Attributes:
        header: bytes to read before the length of the frame is known.
        rest: takes the header, returns how many bytes follow it. Raises ValueError: that is no frame of
            this protocol; the connection is closed.
        answer: takes a whole frame, returns the bytes to send, b"" for no answer. Raises ValueError:
            as `rest`.
        more_header: for a protocol with headers of several lengths: takes the first `header` bytes,
            returns how many more the header has. Raises ValueError: as `rest`.
    """

    header: int
    rest: Callable[[bytes], int]
    answer: Callable[[bytes], bytes]
    more_header: Callable[[bytes], int] | None = None


class FramedListener:
    """One port. All methods are called on the event loop that it runs in."""

    def __init__(self, framing: Framing) -> None:
        self._framing = framing
        self._server: asyncio.Server | None = None
        self._links: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port. Raises OSError."""
        self._server = await asyncio.start_server(self._serve, host, port)
        return int(self._server.sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links[task] = writer
        framing = self._framing
        try:
            while True:
                head = await reader.readexactly(framing.header)
                if framing.more_header is not None:
                    head += await reader.readexactly(framing.more_header(head))
                frame = head + await reader.readexactly(framing.rest(head))
                writer.write(framing.answer(frame))
                await writer.drain()
        except (ValueError, OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return  # the other side left, sent nonsense, or the PLC lost power
        finally:
            del self._links[task]
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    def drop_links(self) -> None:
        """Close every connection at once."""
        for writer in list(self._links.values()):
            writer.transport.abort()

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._server is None:
            return
        await accept_no_more(asyncio.get_running_loop(), self._server)
        self._server.close()
        tasks = list(self._links)
        self.drop_links()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await turns()


async def accept_no_more(loop: asyncio.AbstractEventLoop, listener: Any) -> None:
    """Let what was just accepted come up; closing the listener at once would leak its socket."""
    for each in listener.sockets:
        loop.remove_reader(each.fileno())
    await turns()


async def turns() -> None:
    """Let the loop turn often enough for connections to open or close to their end."""
    for _ in range(5):
        await asyncio.sleep(0)
