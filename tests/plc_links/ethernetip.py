"""EtherNet/IP tags: the server of cpppo, alone and over the simulated PLC's memory."""

from __future__ import annotations

import asyncio
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from inspection.plc.ethernetip import EtherNetIpConfig
from inspection.plc.memory import Memory
from plc_links.link import CTRL, STAT, TIMEOUT, Link, ProgramPeer

SERVER = Path(__file__).with_name("cpppo_server.py")
HEAD = 24
FIRST = {"CTRL": CTRL, "STAT": STAT}


def settings(port: int) -> EtherNetIpConfig:
    # cpppo takes 5 to 10 ms for an answer on a quiet machine, and 300 ms on a loaded one.
    return EtherNetIpConfig(host="127.0.0.1", port=port, timeout=2 * TIMEOUT)


class CpppoServer:
    """See `inspection.plc.memory.WordServer`: cpppo as a process that asks for each word it serves."""

    def __init__(self) -> None:
        self._memory: Memory | None = None
        self._words: asyncio.Server | None = None
        self._process: subprocess.Popen[str] | None = None
        self._again: asyncio.Task[int] | None = None
        self._port = 0

    async def start(self, memory: Memory, host: str, port: int) -> int:
        assert host == "127.0.0.1"
        self._memory = memory
        self._words = await asyncio.start_server(self._serve_words, host, 0)
        self._port = await self._spawn(port)
        return self._port

    async def _spawn(self, port: int) -> int:
        assert self._words is not None
        side = self._words.sockets[0].getsockname()[1]
        command = [sys.executable, str(SERVER), str(port), str(side)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        return int(await asyncio.to_thread(self._process.stdout.readline))

    async def _serve_words(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        assert self._memory is not None
        try:
            while line := await reader.readline():
                tag, first, what = json.loads(line)
                answer: list[int] | None = []
                try:
                    if isinstance(what, int):
                        answer = self._memory.read(FIRST[tag] + first, what)
                    else:
                        self._memory.write(FIRST[tag] + first, what)
                except ValueError:
                    answer = None
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except OSError:
            return
        finally:
            writer.close()

    def _kill(self) -> None:
        if self._process is not None and self._process.stdout is not None:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()

    def drop_links(self) -> None:
        self._kill()
        self._again = asyncio.get_running_loop().create_task(self._spawn(self._port))

    async def stop(self) -> None:
        if self._again is not None:
            await self._again
        self._kill()
        if self._words is not None:
            self._words.close()
        for _ in range(5):
            await asyncio.sleep(0)


def requests(sent: bytes) -> list[tuple[str, int, int]]:
    found = []
    while sent:
        length = HEAD + int.from_bytes(sent[2:4], "little")
        frame, sent = sent[:length], sent[length:]
        if frame[0] != 0x70:
            continue  # the session and the connection
        kind = {0x4C: "read", 0x4D: "write"}.get(frame[46], f"service {frame[46]}")
        path, rest = frame[48 : 48 + 2 * frame[47]], frame[48 + 2 * frame[47] :]
        tag, element = path[2 : 2 + path[1]].decode(), path[2 + path[1] :]
        assert (path[0], element[0]) == (0x91, 0x28)
        count = struct.unpack_from("<H", rest, 2 if kind == "write" else 0)[0]
        found.append((kind, FIRST[tag] + element[1], count))
    return found


def answer(
    cip: bytes,
    *,
    command: int = 0x70,
    session: int = 0,
    status: int = 0,
    connection: int = 0,
    sequence: int = 0,
    kind: int = 0xB1,
) -> Callable[[bytes], bytes]:
    """Put another CIP answer, and perhaps another header, in the honest answer's place."""

    def lie(honest: bytes) -> bytes:
        told_session = (int.from_bytes(honest[4:8], "little") + session) & 0xFFFFFFFF
        told_connection = (int.from_bytes(honest[36:40], "little") + connection) & 0xFFFFFFFF
        told_sequence = (int.from_bytes(honest[44:46], "little") + sequence) & 0xFFFF
        data = told_sequence.to_bytes(2, "little") + cip
        items = struct.pack("<IHHHHIHH", 0, 0, 2, 0xA1, 4, told_connection, kind, len(data)) + data
        head = struct.pack("<HHII", command, len(items), told_session, status) + honest[12:24]
        return head + items

    return lie


FOUR = struct.pack("<4H", 1, 2, 3, 4)


def read_4(
    *, service: int = 0xCC, status: int = 0, extended: bytes = b"", element: int = 0xC3
) -> bytes:
    return bytes([service, 0, status, len(extended) // 2]) + extended + bytes([element, 0]) + FOUR


LIES: dict[str, Callable[[bytes], bytes]] = {
    "older sequence": answer(read_4(), sequence=-1),
    "older sequence, then the right one": lambda a: answer(read_4(), sequence=-1)(a) + a,
    "the right one twice": lambda a: a + a,
    "later sequence": answer(read_4(), sequence=1),
    "another session": answer(read_4(), session=1),
    "another connection": answer(read_4(), connection=1),
    "another command": answer(read_4(), command=0x6F),
    "another item": answer(read_4(), kind=0xB2),
    "an encapsulation status": answer(read_4(), status=0x64),
    "a write's confirmation": answer(b"\xcd\0\0\0"),
    "a request instead of an answer": answer(read_4(service=0x4C)),
    "another service": answer(read_4(service=0xD2)),
    "partial": answer(read_4(status=6)),
    "no such tag": answer(b"\xcc\0\5\0"),
    "an extended status": answer(b"\xcc\0\xff\1\5\x21"),
    "an extended status that is cut": answer(b"\xcc\0\xff\2\5\x21"),
    "success with an extended status": answer(read_4(extended=b"\0\0")),
    "elements of 4 bytes": answer(read_4(element=0xC4)),
    "unsigned elements": answer(read_4(element=0xC7)),
    "fewer words": answer(read_4()[:-2]),
    "more words": answer(read_4() + b"\5\0"),
    "half a word": answer(read_4()[:-1]),
    "no words": answer(b"\xcc\0\0\0"),
    "a type without words": answer(b"\xcc\0\0\0\xc3\0"),
    "no CIP": answer(b""),
    "no status": answer(b"\xcc\0"),
    "no items": lambda a: struct.pack("<HH", 0x70, 6) + a[4:24] + bytes(6),
    "a header alone": lambda a: struct.pack("<HH", 0x70, 0) + a[4:24],
    "a frame that is longer than told": lambda a: struct.pack("<HH", 0x70, 20) + a[4:],
    "a frame that is shorter than told": lambda a: struct.pack("<HH", 0x70, 400) + a[4:],
    "noise": lambda _a: b"\xff" * 64,
    "words in ASCII": lambda _a: b"HTTP/1.1 400 Bad Request\r\n\r\n",
}

ETHERNET_IP = Link(
    name="ethernet_ip",
    settings=settings,
    peers={"cpppo": lambda: ProgramPeer(SERVER)},
    plc=CpppoServer,
    requests=requests,
    lies=LIES,
    outside=[(-1, 1), (0, 0), (0, 17), (16, 1), (99, 2), (110, 7), (70_000, 1)],
    too_long=17,
    refused="refused",
    refused_address=None,  # tags have no addresses; tests/contract/test_plc_ethernetip.py names wrong ones
    short_answers=[3, 24, 46, 52],
    short_confirmations=[0, 3, 24, 43, 46, 49],
)
