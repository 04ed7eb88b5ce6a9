"""A TCP proxy that spoils what passes through it; for any protocol.

    client ──▶ FaultProxy.port ──▶ upstream        the faults act on what comes back from upstream

`with FaultProxy(("127.0.0.1", port)) as proxy:` then connect to `proxy.port`. All faults may be
switched from the test's thread at any time; `heal` switches all of them off.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self


@dataclass(frozen=True)
class _Spoil:
    """What happens to one chunk from upstream."""

    delay: float = 0.0
    keep: int | None = None
    close: bool = False
    alter: Callable[[bytes], bytes] | None = None


class FaultProxy:
    """One listening port in front of one upstream address.

    Attributes:
        port: where to connect.
        latency: every chunk from upstream is late by this many seconds.
        dropping: chunks from upstream are swallowed.
        dribble: seconds between two bytes from upstream; 0 passes chunks on as they come.
        dribbled: bytes that went out one at a time.
        half_open: connections are accepted, nothing is passed on in either direction.
        refusing: new connections are reset at once and present ones are killed.
        to_upstream: all bytes clients sent through, in order, by connection.
        connections: connections accepted so far.
    """

    def __init__(self, upstream: tuple[str, int], *, host: str = "127.0.0.1") -> None:
        self.upstream = upstream
        self.latency = 0.0
        self.dropping = False
        self.dribble = 0.0
        self.dribbled = 0
        self.half_open = False
        self.refusing = False
        self.to_upstream: list[bytearray] = []
        self.connections = 0
        self._spoils: deque[_Spoil] = deque()
        self._host = host
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._ready = threading.Event()
        self._leave: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)

    # ---------------------------------------------------------------- faults

    def delay_next(self, seconds: float) -> None:
        """Let the next chunk from upstream (and so all after it) be late."""
        self._spoils.append(_Spoil(delay=seconds))

    def cut_next(self, keep: int, *, close: bool = True) -> None:
        """Pass only the first `keep` bytes of the next chunk from upstream, then close or go on."""
        self._spoils.append(_Spoil(keep=keep, close=close))

    def alter_next(self, change: Callable[[bytes], bytes]) -> None:
        """Pass the next chunk from upstream through `change`: a lie in the honest answer's place."""
        self._spoils.append(_Spoil(alter=change))

    def refuse(self) -> None:
        """Reset new connections and kill the present ones."""
        self.refusing = True
        self.kill()

    def kill(self) -> None:
        """Reset all present connections."""
        done = threading.Event()
        self._loop.call_soon_threadsafe(self._abort_all, done)
        done.wait(10)

    def heal(self) -> None:
        """Switch all faults off; connections that are open stay open."""
        self.latency, self.dropping, self.half_open, self.refusing = 0.0, False, False, False
        self.dribble = 0.0
        self._spoils.clear()

    # ---------------------------------------------------------------- life

    def start(self) -> None:
        """Listen on a free port."""
        self._thread.start()
        assert self._ready.wait(10), "the proxy did not start"

    def stop(self) -> None:
        """Close everything."""
        leave = self._leave
        if leave is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(leave.set)
        self._thread.join(10)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # ---------------------------------------------------------------- the thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            asyncio.set_event_loop(None)
            self._loop.close()

    async def _serve(self) -> None:
        self._leave = asyncio.Event()
        server = await asyncio.start_server(self._accept, self._host, 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._leave.wait()
        for each in server.sockets:  # accept no more, and let what was just accepted come up:
            self._loop.remove_reader(each.fileno())  # closing at once would leak its socket
        for _ in range(5):
            await asyncio.sleep(0)
        server.close()
        self._abort_all(threading.Event())
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(5):
            await asyncio.sleep(0)

    def _abort_all(self, done: threading.Event) -> None:
        for writer in list(self._writers):
            _reset(writer)
        done.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.refusing:
            _reset(writer)
            return
        record = bytearray()
        self.to_upstream.append(record)
        self._writers.add(writer)
        upstream: asyncio.StreamWriter | None = None
        try:
            answers, upstream = await asyncio.open_connection(*self.upstream)
            self._writers.add(upstream)
            pumps = {
                asyncio.create_task(self._forward(reader, upstream, record)),
                asyncio.create_task(self._back(answers, writer)),
            }
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except (OSError, asyncio.CancelledError):  # upstream is down, or the proxy stops
            pass
        finally:
            ends = [end for end in (writer, upstream) if end is not None]
            for end in ends:
                self._writers.discard(end)
                end.close()
            for end in ends:
                with contextlib.suppress(OSError, asyncio.CancelledError):
                    await end.wait_closed()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, record: bytearray
    ) -> None:
        while data := await reader.read(65536):
            record += data
            if not self.half_open:
                writer.write(data)
                await writer.drain()

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if self.half_open or self.dropping:
                continue
            spoil = self._spoils.popleft() if self._spoils else _Spoil()
            if wait := self.latency + spoil.delay:
                await asyncio.sleep(wait)
            told = data if spoil.keep is None else data[: spoil.keep]
            told = told if spoil.alter is None else spoil.alter(told)
            if self.dribble:
                for byte in told:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    self.dribbled += 1
                    await asyncio.sleep(self.dribble)
            else:
                writer.write(told)
                await writer.drain()
            if spoil.close:
                return


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a reset, as a host does that knows nothing of the connection."""
    raw = writer.get_extra_info("socket")
    if raw is not None:
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()
