"""Modbus TCP: our simulated PLC over pymodbus' server, and libmodbus."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from inspection.plc.modbus import ModbusConfig
from plc_links.link import CTRL, STAT, TIMEOUT, Link, ProgramPeer, SimulatedPeer

HEADER = 7


def settings(port: int) -> ModbusConfig:
    return ModbusConfig(
        host="127.0.0.1", port=port, timeout=TIMEOUT, ctrl_address=CTRL, stat_address=STAT
    )


def requests(sent: bytes) -> list[tuple[str, int, int]]:
    found = []
    while sent:
        length = 6 + int.from_bytes(sent[4:6], "big")
        frame, sent = sent[:length], sent[length:]
        kind = {3: "read", 16: "write"}.get(frame[7], f"function {frame[7]}")
        found.append(
            (kind, int.from_bytes(frame[8:10], "big"), int.from_bytes(frame[10:12], "big"))
        )
    return found


def answer(pdu: bytes, *, tid: int = 0, pid: int = 0, unit: int = 0) -> Callable[[bytes], bytes]:
    """Put another PDU, and perhaps another header, in the honest answer's place."""
    return lambda honest: header(honest, len(pdu) + 1, tid=tid, pid=pid, unit=unit) + pdu


def header(honest: bytes, length: int, *, tid: int = 0, pid: int = 0, unit: int = 0) -> bytes:
    number = (int.from_bytes(honest[:2], "big") + tid) & 0xFFFF
    return (
        number.to_bytes(2, "big")
        + pid.to_bytes(2, "big")
        + length.to_bytes(2, "big")
        + bytes([honest[6] + unit])
    )


READ_4 = bytes([3, 8, 0, 1, 0, 2, 0, 3, 0, 4])

LIES: dict[str, Callable[[bytes], bytes]] = {
    "older transaction": answer(READ_4, tid=-1),
    "older transaction, then the right one": lambda a: answer(READ_4, tid=-1)(a) + a,
    "transaction zero": lambda a: b"\0\0" + a[2:],
    "another protocol": answer(READ_4, pid=1),
    "another unit": answer(READ_4, unit=1),
    "another function": answer(bytes([4]) + READ_4[1:]),
    "a write's confirmation": answer(bytes([16, 0, 100, 0, 4])),
    "fewer words": answer(bytes([3, 6]) + READ_4[2:8]),
    "more words": answer(bytes([3, 10]) + READ_4[2:] + b"\0\5"),
    "count without words": answer(bytes([3, 8])),
    "odd count": answer(bytes([3, 7]) + READ_4[2:9]),
    "no function": lambda a: header(a, 1),
    "unknown function": answer(bytes([99, 0])),
    "exception": answer(bytes([0x83, 4])),
    "exception of another function": answer(bytes([0x90, 4])),
    "exception without code": answer(bytes([0x83])),
    "noise": lambda _a: b"\xff" * 64,
    "words in ASCII": lambda _a: b"HTTP/1.1 400 Bad Request\r\n\r\n",
}

MODBUS = Link(
    name="modbus",
    settings=settings,
    peers={
        "simulated": lambda: SimulatedPeer("modbus"),
        "libmodbus": lambda: ProgramPeer(Path(__file__).with_name("libmodbus_server.py")),
    },
    plc="modbus",
    requests=requests,
    lies=LIES,
    outside=[(-1, 1), (0, 0), (65_530, 7), (0, 126), (70_000, 1)],
    too_long=124,
    refused="exception 2",
)
