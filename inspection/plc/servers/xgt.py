"""XGT FEnet: the dedicated protocol of LS Electric over the memory, as areas D and M alike.

Our own, after the frame in LS' FEnet manuals. Continuous access by bytes, which is what the driver
uses, and individual access (bytes to long words, at most 16 variables), which other clients use.

    header 20 │ 54 read or 58 write │ type │ 0 │ blocks │ name length, name ... │ (bytes, data) ...
           ─▶ header 20 │ 55 or 59  │ type │ 0 │ 0      │ blocks │ (bytes, data) ...
           ─▶ header 20 │ 55 or 59  │ type │ 0 │ FFFF   │ error code
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inspection.plc.servers.listening import FramedListener, Framing

if TYPE_CHECKING:
    from inspection.plc.memory import Memory

_COMPANY = b"LSIS-XGT\0\0"
_HEADER = 20
_ASKS, _ANSWERS = 0x33, 0x11
_RUNS = 0x0102
"""PLC info: the CPU, an XGK-CPUS, is in RUN."""
_LONGEST = 1800
"""Bytes after the header: 1400 of data, or 16 names and values."""

_READ, _WRITE = 0x54, 0x58
_CONTINUOUS = 0x14
_SIZES = {0x01: (b"B", 1), 0x02: (b"W", 2), 0x03: (b"D", 4), 0x04: (b"L", 8)}
_NAME = re.compile(rb"%([A-Z])([A-Z])([0-9]{1,8})")
_AREAS = (b"D", b"M")
_MOST_BYTES, _MOST_BLOCKS = 1400, 16

_BLOCKS, _TYPE, _AREA, _ADDRESS, _TOO_LONG = 0x01, 0x02, 0x03, 0x04, 0x05
_LENGTH, _CHECKSUM, _COMMAND = 0x76, 0x77, 0x78


class _RefusedError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"error {code:02X}")
        self.code = code


@dataclass
class _Cursor:
    """Takes fields off a request. Raises _RefusedError: the request ends before the field does."""

    data: bytes

    def take(self, count: int) -> bytes:
        if len(self.data) < count:
            raise _RefusedError(_LENGTH)
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    def word(self) -> int:
        return int.from_bytes(self.take(2), "little")


class XgtServer:
    """See `inspection.plc.memory.WordServer`. All but bytes of the exchange gets an error code."""

    def __init__(self) -> None:
        self._memory: Memory | None = None
        self._listener = FramedListener(Framing(header=_HEADER, rest=_rest, answer=self._answer))

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
        command, kind = struct.unpack_from("<HH", frame, _HEADER)
        told = struct.pack("<HHH", command + 1 & 0xFFFF, kind, 0)
        try:
            if sum(frame[: _HEADER - 1]) & 0xFF != frame[_HEADER - 1]:
                raise _RefusedError(_CHECKSUM)
            told += struct.pack("<H", 0) + self._serve(command, kind, frame[_HEADER + 6 :])
        except _RefusedError as refused:
            told += struct.pack("<HH", 0xFFFF, refused.code)
        head = _COMPANY + struct.pack("<H", _RUNS) + bytes([frame[12], _ANSWERS])
        head += frame[14:16] + struct.pack("<H", len(told)) + b"\0"
        return head + bytes([sum(head) & 0xFF]) + told

    def _serve(self, command: int, kind: int, data: bytes) -> bytes:
        if command not in (_READ, _WRITE):
            raise _RefusedError(_COMMAND)
        if kind != _CONTINUOUS and kind not in _SIZES:
            raise _RefusedError(_TYPE)
        request = _Cursor(data)
        blocks = request.word()
        if not 1 <= blocks <= (1 if kind == _CONTINUOUS else _MOST_BLOCKS):
            raise _RefusedError(_BLOCKS)
        letter, size = _SIZES.get(kind, (b"B", 1))
        places = [_place(request.take(request.word()), letter, size) for _ in range(blocks)]
        if kind == _CONTINUOUS:
            size = request.word()
            if not 1 <= size <= _MOST_BYTES:
                raise _RefusedError(_TOO_LONG)
        if command == _WRITE:
            self._write(request, places, size, counted=kind != _CONTINUOUS)
            return struct.pack("<H", blocks)
        values = [self._read(place, size) for place in places]
        _end(request)
        return struct.pack("<H", blocks) + b"".join(
            struct.pack("<H", len(value)) + value for value in values
        )

    def _write(self, request: _Cursor, places: list[int], size: int, *, counted: bool) -> None:
        values: list[bytes] = []
        for _ in places:
            if counted and request.word() != size:
                raise _RefusedError(_LENGTH)
            values.append(request.take(size))
        _end(request)
        for place, value in zip(places, values, strict=True):
            first, last = place // 2, (place + size - 1) // 2
            whole = bytearray(self._read(2 * first, 2 * (last - first + 1)))
            whole[place - 2 * first : place - 2 * first + size] = value
            try:
                self._words().write(first, list(struct.unpack(f"<{len(whole) // 2}H", whole)))
            except ValueError:
                raise _RefusedError(_ADDRESS) from None

    def _read(self, place: int, size: int) -> bytes:
        first, last = place // 2, (place + size - 1) // 2
        try:
            words = self._words().read(first, last - first + 1)
        except ValueError:
            raise _RefusedError(_ADDRESS) from None
        return struct.pack(f"<{len(words)}H", *words)[place % 2 :][:size]

    def _words(self) -> Memory:
        if self._memory is None:
            raise _RefusedError(_ADDRESS)
        return self._memory


def _rest(head: bytes) -> int:
    length = int.from_bytes(head[16:18], "little")
    if head[:10] != _COMPANY or head[13] != _ASKS or not 4 <= length <= _LONGEST:
        raise ValueError("no request of the XGT protocol")
    return length


def _place(name: bytes, letter: bytes, size: int) -> int:
    """Return the byte number that a variable's name stands for."""
    parts = _NAME.fullmatch(name)
    if parts is None or parts[1] not in _AREAS:
        raise _RefusedError(_AREA)
    if parts[2] != letter:
        raise _RefusedError(_TYPE)
    return int(parts[3]) * size


def _end(request: _Cursor) -> None:
    if request.data:
        raise _RefusedError(_LENGTH)
