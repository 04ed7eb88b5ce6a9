"""SLMP (MC protocol): binary 3E and 4E frames over the memory, as device D.

Our own, after Mitsubishi's SLMP reference manual: batch read 0401 and batch write 1401 in word units,
with the short device names of Q, L and iQ-F (subcommand 0000) and the long ones of iQ-R (0002).

    3E   50 00 │                     route 5 │ length 2 │ timer 2 │ command 2 │ subcommand 2 │ data
    4E   54 00 │ serial 2 │ 00 00 │  route 5 │ length 2 │ ...
    ─▶   D0 00 or D4 00 ...          route 5 │ length 2 │ end code 2 │ data, or route and command
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from inspection.plc.servers.listening import FramedListener, Framing

if TYPE_CHECKING:
    from inspection.plc.memory import Memory

_3E, _4E = b"\x50\x00", b"\x54\x00"
_HEADER_3E, _HEADER_4E = 9, 13
_LONGEST = 2048
"""Bytes after the length: 960 words and their frame."""
_OWN_STATION = bytes([0x00, 0xFF, 0xFF, 0x03, 0x00])

_READ, _WRITE = 0x0401, 0x1401
_SHORT_NAMES, _LONG_NAMES = 0x0000, 0x0002
_DEVICE_D = 0xA8
_MOST_WORDS = 960

_COUNT, _ADDRESS, _COMMAND, _DEVICE = 0xC051, 0xC056, 0xC059, 0xC05B
_STATION, _LENGTH = 0xC05F, 0xC061


class _RefusedError(Exception):
    def __init__(self, end_code: int) -> None:
        super().__init__(f"end code {end_code:04X}")
        self.end_code = end_code


class SlmpServer:
    """See `inspection.plc.memory.WordServer`. Everything but D words of the exchange gets an end code."""

    def __init__(self) -> None:
        self._memory: Memory | None = None
        self._listener = FramedListener(
            Framing(header=_HEADER_3E, rest=_rest, answer=self._answer, more_header=_more_header)
        )

    async def start(self, memory: Memory, host: str, port: int) -> int:
        """Listen; returns the port."""
        self._memory = memory
        return await self._listener.start(host, port)

    def drop_links(self) -> None:
        """Close every connection."""
        self._listener.drop_links()

    async def stop(self) -> None:
        """Close the port and every connection."""
        await self._listener.stop()

    def _answer(self, frame: bytes) -> bytes:
        size = _HEADER_3E if frame[:2] == _3E else _HEADER_4E
        start, route = frame[: size - 7], frame[size - 7 : size - 2]
        _, command, subcommand = struct.unpack_from("<HHH", frame, size)
        try:
            if route != _OWN_STATION:
                raise _RefusedError(_STATION)
            end_code, data = 0, self._serve(command, subcommand, frame[size + 6 :])
        except _RefusedError as refused:
            end_code = refused.end_code
            data = route + struct.pack("<HH", command, subcommand)
        told = bytes([start[0] | 0x80]) + start[1:] + route
        return told + struct.pack("<HH", 2 + len(data), end_code) + data

    def _serve(self, command: int, subcommand: int, data: bytes) -> bytes:
        if command not in (_READ, _WRITE) or subcommand not in (_SHORT_NAMES, _LONG_NAMES):
            raise _RefusedError(_COMMAND)
        place = 4 if subcommand == _SHORT_NAMES else 6
        if len(data) < place + 2:
            raise _RefusedError(_LENGTH)
        # The number comes first, the device's code in the last one or two bytes.
        number = place - (1 if subcommand == _SHORT_NAMES else 2)
        address = int.from_bytes(data[:number], "little")
        if int.from_bytes(data[number:place], "little") != _DEVICE_D:
            raise _RefusedError(_DEVICE)
        (count,) = struct.unpack_from("<H", data, place)
        words = data[place + 2 :]
        if not 1 <= count <= _MOST_WORDS:
            raise _RefusedError(_COUNT)
        if len(words) != (2 * count if command == _WRITE else 0):
            raise _RefusedError(_LENGTH)
        return self._access(address, count, words)

    def _access(self, address: int, count: int, words: bytes) -> bytes:
        memory = self._memory
        if memory is None:
            raise _RefusedError(_STATION)
        try:
            if words:
                memory.write(address, list(struct.unpack(f"<{count}H", words)))
                return b""
            return struct.pack(f"<{count}H", *memory.read(address, count))
        except ValueError:
            raise _RefusedError(_ADDRESS) from None


def _more_header(head: bytes) -> int:
    if head[:2] not in (_3E, _4E):
        raise ValueError("no binary request of SLMP")
    return 0 if head[:2] == _3E else _HEADER_4E - _HEADER_3E


def _rest(head: bytes) -> int:
    length = int.from_bytes(head[-2:], "little")
    if not 6 <= length <= _LONGEST:
        raise ValueError(f"a request of {length} bytes")
    return length
