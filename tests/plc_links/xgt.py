"""XGT FEnet: our simulated PLC alone, which a client of another author checks too."""

from __future__ import annotations

import struct
from collections.abc import Callable

from inspection.plc.xgt import XgtConfig
from plc_links.link import CTRL, STAT, TIMEOUT, Link, SimulatedPeer

HEADER = 20


def settings(port: int) -> XgtConfig:
    return XgtConfig(
        host="127.0.0.1", port=port, timeout=TIMEOUT, ctrl_address=CTRL, stat_address=STAT
    )


def requests(sent: bytes) -> list[tuple[str, int, int]]:
    found = []
    while sent:
        length = HEADER + int.from_bytes(sent[16:18], "little")
        frame, sent = sent[HEADER:length], sent[length:]
        command, kind, _, blocks, name_length = struct.unpack_from("<HHHHH", frame)
        assert (kind, blocks) == (0x14, 1), "continuous"
        name = frame[10 : 10 + name_length].decode()
        assert name.startswith("%DB")
        (count,) = struct.unpack_from("<H", frame, 10 + name_length)
        found.append(({0x54: "read", 0x58: "write"}[command], int(name[3:]) // 2, count // 2))
    return found


def change(at: int, new: bytes) -> Callable[[bytes], bytes]:
    """Put bytes in the honest answer's header, with a right sum."""
    return lambda honest: summed(honest[:at] + new + honest[at + len(new) :])


def summed(answer: bytes) -> bytes:
    return answer[: HEADER - 1] + bytes([sum(answer[: HEADER - 1]) & 0xFF]) + answer[HEADER:]


def body(new: bytes) -> Callable[[bytes], bytes]:
    """Put another body in the honest answer's place, with a right length and sum."""
    return lambda honest: summed(
        honest[:16] + struct.pack("<H", len(new)) + honest[18:HEADER] + new
    )


def invoke(step: int) -> Callable[[bytes], bytes]:
    return lambda honest: change(
        14, struct.pack("<H", (int.from_bytes(honest[14:16], "little") + step) & 0xFFFF)
    )(honest)


def told(command: int, kind: int, error: int, blocks: int, count: int, data: bytes) -> bytes:
    return struct.pack("<HHHHHH", command, kind, 0, error, blocks, count) + data


WORDS = bytes([1, 0, 2, 0, 3, 0, 4, 0])

LIES: dict[str, Callable[[bytes], bytes]] = {
    "older invoke id": invoke(-1),
    "older invoke id, then the right one": lambda a: invoke(-1)(a) + a,
    "invoke id zero": change(14, b"\0\0"),
    "a request": change(13, b"\x33"),
    "another company": change(0, b"LGIS-GLOFA"),
    "wrong sum": lambda a: a[:19] + bytes([(a[19] + 1) & 0xFF or 1]) + a[20:],
    "CPU in STOP": change(10, b"\x02\x02"),
    "CPU in ERROR": change(10, b"\x02\x04"),
    "CPU in DEBUG": change(10, b"\x02\x08"),
    "CPU in RUN and STOP": change(10, b"\x02\x03"),
    "CPU in no state": change(10, b"\x02\x00"),
    "CPU in RUN with an error": change(10, b"\x82\x01"),
    "a write's confirmation": body(struct.pack("<HHHHH", 0x59, 0x14, 0, 0, 1)),
    "a write's confirmation with words": body(told(0x59, 0x14, 0, 1, 8, WORDS)),
    "individual access": body(told(0x55, 0x02, 0, 1, 8, WORDS)),
    "fewer words": body(told(0x55, 0x14, 0, 1, 6, WORDS[:6])),
    "more words": body(told(0x55, 0x14, 0, 1, 10, WORDS + b"\5\0")),
    "an odd byte": body(told(0x55, 0x14, 0, 1, 7, WORDS[:7])),
    "count without words": body(told(0x55, 0x14, 0, 1, 8, b"")),
    "words without their count": body(told(0x55, 0x14, 0, 1, 4, WORDS)),
    "two blocks": body(told(0x55, 0x14, 0, 2, 8, WORDS)),
    "no block": body(struct.pack("<HHHHH", 0x55, 0x14, 0, 0, 0)),
    "an error": body(struct.pack("<HHHHB", 0x55, 0x14, 0, 0xFFFF, 4)),
    "an error with words": body(told(0x55, 0x14, 0x00FF, 1, 8, WORDS)),
    "an error without code": body(struct.pack("<HHHH", 0x55, 0x14, 0, 0xFFFF)),
    "no body": body(b""),
    "a longer length than the answer": change(16, struct.pack("<H", 22)),
    "a shorter length than the answer": change(16, struct.pack("<H", 18)),
    "two answers": lambda a: a + a,
    "noise": lambda _a: b"\xff" * 64,
}

XGT = Link(
    name="xgt",
    settings=settings,
    peers={"simulated": lambda: SimulatedPeer("xgt")},
    plc="xgt",
    requests=requests,
    lies=LIES,
    outside=[(-1, 1), (0, 0), (524_282, 7), (0, 701), (524_288, 1)],
    too_long=701,
    refused="error 04",
    short_answers=[0, 19, 20, 32, 63],
    short_confirmations=[0, 10, 19, 29],
    no_other_author=(
        "the only public server of another author is in C# and needs .NET. So pyXGTClient, of another "
        "author, meets our server in test_plc_clients.py, and its requests are compared with ours"
    ),
)
