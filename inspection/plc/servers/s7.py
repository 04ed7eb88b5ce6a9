"""Siemens S7: one data block over the memory, word n as DBW 2n.

TPKT carries COTP, COTP carries S7: connect, set up communication, read and write bytes of the block.

    frame ─▶ connect request ─▶ confirm
         └─▶ data ─▶ set up │ read items │ write items │ anything else: error 0x8104
                               └─▶ one code an item: FF good, 05 outside, 0A no such block
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inspection.plc.servers.listening import FramedListener, Framing

if TYPE_CHECKING:
    from inspection.plc.memory import Memory

_TPKT = 4
_LONGEST = 1024
_PDU = 480
_LAST = b"\x02\xf0\x80"
"""COTP: data, and no further part of it."""
_CONNECT, _CONFIRM = 0xE0, 0xD0
_JOB, _ACK, _ACK_DATA = 1, 2, 3
_SETUP, _READ, _WRITE = 0xF0, 4, 5
_HEAD = struct.Struct(">BBHHHH")
_ITEM = struct.Struct(">BBBBHHB3s")
_DATA = struct.Struct(">BBH")
_DATA_BLOCK = 0x84
_SIZES = {2: 1, 3: 1, 4: 2, 5: 2}
"""Bytes of an element, by the transport size of an address: BYTE, CHAR, WORD, INT."""
_IN_BITS = (3, 4, 5)
"""Transport sizes of data whose length is in bits."""
_GOOD, _OUTSIDE, _TYPE, _NO_BLOCK = 0xFF, 0x05, 0x06, 0x0A
_NOT_OFFERED, _WRONG_PDU = 0x8104, 0x8500


@dataclass(frozen=True, slots=True)
class _Item:
    """What one item of a job asks for, in words; `code` tells whether it can be had."""

    code: int
    address: int = 0
    count: int = 0


class S7Server:
    """See `inspection.plc.memory.WordServer`. Whole words of one data block; all else is refused."""

    def __init__(self, db: int) -> None:
        self._db = db
        self._memory: Memory | None = None
        self._listener = FramedListener(Framing(_TPKT, _rest, self._answer))

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
        payload = frame[_TPKT:]
        if payload[1] == _CONNECT and payload[0] == len(payload) - 1 and len(payload) >= 7:
            fixed = bytes([_CONFIRM]) + payload[4:6] + b"\0\1\0"  # its reference, ours, class 0
            return _framed(payload[:1] + fixed + payload[7:])
        if not payload.startswith(_LAST):
            raise ValueError("neither a connect request nor whole data")
        return _framed(_LAST + self._job(payload[len(_LAST) :]))

    def _job(self, pdu: bytes) -> bytes:
        if len(pdu) < _HEAD.size:
            raise ValueError("no S7 header")
        protocol, kind, _, number, parameters, data = _HEAD.unpack_from(pdu)
        if protocol != 0x32:
            raise ValueError("no S7 message")
        if kind != _JOB:
            return _reply(_ACK, number, error=_NOT_OFFERED)
        rest = pdu[_HEAD.size :]
        if parameters < 2 or parameters + data != len(rest):
            return _reply(_ACK, number, error=_WRONG_PDU)
        try:
            return self._serve(number, rest[:parameters], rest[parameters:])
        except struct.error:  # items that end before they should
            return _reply(_ACK, number, error=_WRONG_PDU)

    def _serve(self, number: int, parameters: bytes, data: bytes) -> bytes:
        function, count = parameters[0], parameters[1]
        if function == _SETUP:
            _, _, asked = struct.unpack(">HHH", parameters[2:])
            agreed = struct.pack(">BBHHH", _SETUP, 0, 1, 1, min(asked, _PDU))
            return _reply(_ACK_DATA, number, agreed)
        if function not in (_READ, _WRITE):
            return _reply(_ACK_DATA, number, error=_NOT_OFFERED)
        items = [self._item(parameters[2 + 12 * n : 14 + 12 * n]) for n in range(count)]
        told = self._read(items) if function == _READ else self._write(items, data)
        return _reply(_ACK_DATA, number, parameters[:2], told)

    def _item(self, spec: bytes) -> _Item:
        kind, _, syntax, size, count, db, area, bits = _ITEM.unpack(spec)
        width, first = _SIZES.get(size), int.from_bytes(bits, "big")
        if (kind, syntax) != (0x12, 0x10) or width is None:
            return _Item(_TYPE)
        if area != _DATA_BLOCK or db != self._db:
            return _Item(_NO_BLOCK)
        length = width * count
        if first % 16 or length % 2 or not 0 < length <= _PDU - 18:  # not whole words, or no room
            return _Item(_OUTSIDE)
        return _Item(_GOOD, first // 16, length // 2)

    def _read(self, items: list[_Item]) -> bytes:
        told = b""
        for item in items:
            code, words = item.code, list[int]()
            try:
                if code == _GOOD and self._memory is not None:
                    words = self._memory.read(item.address, item.count)
            except ValueError:
                code = _OUTSIDE
            if code == _GOOD:
                told += _DATA.pack(code, 4, 16 * len(words)) + struct.pack(
                    f">{len(words)}H", *words
                )
            else:
                told += _DATA.pack(code, 0, 0)
        return told

    def _write(self, items: list[_Item], data: bytes) -> bytes:
        codes = bytearray()
        for item in items:
            _, size, length = _DATA.unpack_from(data)
            length = length // 8 if size in _IN_BITS else length
            raw, data = data[_DATA.size :][:length], data[_DATA.size + length + length % 2 :]
            code = item.code
            if code == _GOOD:
                words = list(struct.unpack(f">{item.count}H", raw))
                try:
                    if self._memory is not None:
                        self._memory.write(item.address, words)
                except ValueError:
                    code = _OUTSIDE
            codes.append(code)
        return bytes(codes)


def _rest(head: bytes) -> int:
    version, _, length = struct.unpack(">BBH", head)
    if version != 3 or not _TPKT + 3 <= length <= _LONGEST:
        raise ValueError("no TPKT frame")
    return length - _TPKT


def _framed(payload: bytes) -> bytes:
    return struct.pack(">BBH", 3, 0, _TPKT + len(payload)) + payload


def _reply(
    kind: int, number: int, parameters: bytes = b"", data: bytes = b"", *, error: int = 0
) -> bytes:
    head = _HEAD.pack(0x32, kind, 0, number, len(parameters), len(data))
    return head + error.to_bytes(2, "big") + parameters + data
