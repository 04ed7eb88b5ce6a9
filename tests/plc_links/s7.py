"""Siemens S7: our simulated PLC's own server, and the native snap7 library's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from inspection.plc.s7 import S7Config
from plc_links.link import CTRL, STAT, TIMEOUT, Link, ProgramPeer, SimulatedPeer

SERVER = Path(__file__).with_name("s7_native_server.py")


def settings(port: int) -> S7Config:
    return S7Config(
        host="127.0.0.1", port=port, timeout=TIMEOUT, ctrl_address=CTRL, stat_address=STAT
    )


def requests(sent: bytes) -> list[tuple[str, int, int]]:
    found = []
    while sent:
        length = int.from_bytes(sent[2:4], "big")
        frame, sent = sent[:length], sent[length:]
        if frame[5] != 0xF0 or frame[17] == 0xF0:
            continue  # the connection, and the agreement on the PDU
        kind = {4: "read", 5: "write"}.get(frame[17], f"function {frame[17]}")
        assert frame[18] == 1, "one item"
        count, byte = int.from_bytes(frame[23:25], "big"), int.from_bytes(frame[28:31], "big") // 8
        found.append((kind, byte // 2, count // 2))
    return found


def answer(
    tail: bytes, *, kind: int = 3, number: int = 0, error: int = 0, parameters: bytes = b"\4\1"
) -> Callable[[bytes], bytes]:
    """Put another message in the honest answer's place."""

    def lie(honest: bytes) -> bytes:
        told = (int.from_bytes(honest[11:13], "big") + number) & 0xFFFF
        pdu = bytes([0x32, kind, 0, 0]) + told.to_bytes(2, "big")
        pdu += len(parameters).to_bytes(2, "big") + len(tail).to_bytes(2, "big")
        return framed(pdu + error.to_bytes(2, "big") + parameters + tail)

    return lie


def framed(pdu: bytes, *, version: int = 3, transport: bytes = b"\2\xf0\x80") -> bytes:
    return (
        bytes([version, 0]) + (4 + len(transport) + len(pdu)).to_bytes(2, "big") + transport + pdu
    )


def item(data: bytes, *, code: int = 0xFF, size: int = 4, bits: int | None = None) -> bytes:
    bits = 8 * len(data) if bits is None else bits
    return bytes([code, size]) + bits.to_bytes(2, "big") + data


FOUR = bytes([0, 1, 0, 2, 0, 3, 0, 4])
READ_4 = item(FOUR)

LIES: dict[str, Callable[[bytes], bytes]] = {
    "older job": answer(READ_4, number=-1),
    "older job, then the right one": lambda a: answer(READ_4, number=-1)(a) + a,
    "later job": answer(READ_4, number=1),
    "a write's confirmation": answer(b"\xff", parameters=b"\5\1"),
    "a function not asked for": answer(READ_4, parameters=b"\x1d\1"),
    "two items": answer(READ_4, parameters=b"\4\2"),
    "no item": answer(READ_4, parameters=b"\4\0"),
    "no parameters": answer(READ_4, parameters=b""),
    "no data": answer(b""),
    "a job instead of an answer": answer(READ_4, kind=1),
    "an acknowledgement without data": answer(READ_4, kind=2),
    "fewer words": answer(item(FOUR[:6])),
    "more words": answer(item(FOUR + b"\0\5")),
    "count without words": answer(item(b"", bits=64)),
    "words without count": answer(item(FOUR, bits=0)),
    "length in bytes": answer(item(FOUR, bits=8)),
    "another type": answer(item(FOUR, size=1)),
    "not allowed": answer(item(b"", code=3, size=0)),
    "outside": answer(item(b"", code=5, size=0)),
    "unknown code": answer(item(b"", code=0x77, size=0)),
    "code zero with words": answer(item(FOUR, code=0)),
    "error in the header": answer(b"", error=0x8104, parameters=b""),
    "error in the header beside words": answer(READ_4, error=0x8500),
    "another protocol": lambda a: framed(b"\x72" + a[8:]),
    "disconnected": lambda _a: framed(b"", transport=b"\6\x80\0\1\0\0\0"),
    "not the last part": lambda a: framed(a[7:], transport=b"\2\xf0\0"),
    "another transport header": lambda a: framed(a[7:], transport=b"\3\xf0\x80"),
    "another frame version": lambda a: framed(a[7:], version=4),
    "a frame that is too short": lambda a: a[:2] + b"\0\4" + a[4:],
    "a frame that is longer than told": lambda a: a[:2] + b"\0\x40" + a[4:],
    "noise": lambda _a: b"\xff" * 64,
    "words in ASCII": lambda _a: b"HTTP/1.1 400 Bad Request\r\n\r\n",
}

S7 = Link(
    name="s7",
    settings=settings,
    peers={
        "simulated": lambda: SimulatedPeer("s7"),
        "libsnap7": lambda: ProgramPeer(SERVER),
    },
    plc="s7",
    requests=requests,
    lies=LIES,
    outside=[(-1, 1), (0, 0), (32_760, 9), (0, 112), (70_000, 1)],
    too_long=107,
    refused="refused with code 0x0[5A]",
    refused_address=20_000,
    short_answers=[3, 12, 24, 40],
    short_confirmations=[0, 3, 4, 7, 19, 21],
)
