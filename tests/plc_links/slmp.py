"""SLMP (MC protocol) in both frames: our simulated PLC alone, which other authors' clients check too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from inspection.plc.slmp import SlmpConfig
from plc_links.link import CTRL, STAT, TIMEOUT, Link, SimulatedPeer

WHY_ALONE = (
    "no server of another author can be installed here: the public ones are in C# and C++, or by the "
    "author of the driver's library. So the library's frames meet our server, and pymcprotocol's "
    "frames meet it in test_plc_clients.py"
)


def settings(port: int, frame: Literal["4e", "3e"]) -> SlmpConfig:
    return SlmpConfig(
        host="127.0.0.1",
        port=port,
        frame=frame,
        cpu="iq-r" if frame == "4e" else "qnudv",
        timeout=TIMEOUT,
        ctrl_address=CTRL,
        stat_address=STAT,
    )


def requests(sent: bytes) -> list[tuple[str, int, int]]:
    found = []
    while sent:
        header = 13 if sent[:2] == b"\x54\0" else 9
        length = header + int.from_bytes(sent[header - 2 : header], "little")
        frame, sent = sent[header:length], sent[length:]
        command = int.from_bytes(frame[2:4], "little")
        number, place = (4, 6) if frame[4] == 2 else (3, 4)
        kind = {0x0401: "read", 0x1401: "write"}.get(command, f"command {command:04x}")
        data = frame[6:]
        assert data[number] == 0xA8, "device D"
        count = int.from_bytes(data[place : place + 2], "little")
        found.append((kind, int.from_bytes(data[:number], "little"), count))
    return found


def lies(header: int) -> dict[str, Callable[[bytes], bytes]]:
    """Return wrong answers to a read of 4 words; `header` is 13 in 4E and 9 in 3E frames."""

    def answer(body: bytes) -> Callable[[bytes], bytes]:
        return lambda honest: honest[: header - 2] + len(body).to_bytes(2, "little") + body

    words = bytes([1, 0, 2, 0, 3, 0, 4, 0])
    error = bytes([0, 0xFF, 0xFF, 3, 0, 0x01, 0x04, 0, 0])
    return {
        "another station": lambda a: a[: header - 6] + b"\x01" + a[header - 5 :],
        "a request": lambda a: bytes([a[0] & 0x7F]) + a[1:],
        "the other frame": lambda a: bytes([a[0] ^ 4]) + a[1:],
        "fewer words": answer(b"\0\0" + words[:6]),
        "more words": answer(b"\0\0" + words + b"\5\0"),
        "an odd byte": answer(b"\0\0" + words[:7]),
        "a write's confirmation": answer(b"\0\0"),
        "no end code": answer(b""),
        "half an end code": answer(b"\0"),
        "an end code with words": answer(b"\x51\xc0" + words),
        "an end code with its origin": answer(b"\x59\xc0" + error),
        "a longer length than the answer": lambda a: a[: header - 2] + b"\x0c\0" + a[header:],
        "a shorter length than the answer": lambda a: a[: header - 2] + b"\x08\0" + a[header:],
        "two answers": lambda a: a + a,
        "a huge length": lambda a: a[: header - 2] + b"\xff\xff" + a[header:],
        "noise": lambda _a: b"\xff" * 64,
        "words in ASCII": lambda _a: b"D00000FF03FF000014000000010002000300040000",
    }


def serial(honest: bytes, step: int) -> bytes:
    number = (int.from_bytes(honest[2:4], "little") + step) & 0xFFFF
    return honest[:2] + number.to_bytes(2, "little") + honest[4:]


SERIAL_LIES: dict[str, Callable[[bytes], bytes]] = {
    "older serial number": lambda a: serial(a, -1),
    "older serial number, then the right one": lambda a: serial(a, -1) + a,
    "serial number zero": lambda a: a[:2] + b"\0\0" + a[4:],
}

OUTSIDE = [(-1, 1), (0, 0), (0xFFFFFA, 7), (0, 961), (0x1000000, 1)]

SLMP_4E = Link(
    name="slmp",
    variant="4e",
    settings=lambda port: settings(port, "4e"),
    peers={"simulated": lambda: SimulatedPeer("slmp")},
    plc="slmp",
    requests=requests,
    lies=lies(13) | SERIAL_LIES,
    outside=OUTSIDE,
    too_long=961,
    refused="end code C056",
    short_answers=[0, 4, 13, 15, 46],
    short_confirmations=[0, 4, 12, 14],
    no_other_author=WHY_ALONE,
)

SLMP_3E = Link(
    name="slmp",
    variant="3e",
    settings=lambda port: settings(port, "3e"),
    peers={"simulated": lambda: SimulatedPeer("slmp")},
    plc="slmp",
    requests=requests,
    lies=lies(9),
    outside=OUTSIDE,
    too_long=961,
    refused="end code C056",
    short_answers=[0, 9, 11, 42],
    short_confirmations=[0, 8, 10],
    soak_handshake=True,
    no_other_author=WHY_ALONE,
)
