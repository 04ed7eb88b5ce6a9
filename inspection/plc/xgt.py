"""LS Electric XGT: the dedicated protocol of FEnet modules, on TCP port 2004.

Our own driver after the frame that LS publishes in its FEnet manuals (XGL-EFMTB, XGL-EFMF): continuous
read 54 and continuous write 58 of bytes, one request a block, words low byte first.

    header, 20 bytes: "LSIS-XGT" 0 0 │ PLC info │ CPU │ 33 asks, 11 answers │ invoke id │ length │ place │ BCC
    read   54 │ 14 │ 0 │ 1 block │ name length, "%DB200" │ bytes          ─▶ 55 │ 14 │ 0 │ 0 │ 1 │ bytes, data
    write  58 │ 14 │ 0 │ 1 block │ name length, "%DB200" │ bytes, data    ─▶ 59 │ 14 │ 0 │ 0 │ 1

Every answer names the invoke id of its question, and tells whether the CPU is in RUN. What a PLC
says that is not in RUN is no word of its program, so it is an error, and the station is not READY.
"""

from __future__ import annotations

import struct
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from inspection.errors import PlcError
from inspection.plc.asking import Asker
from inspection.plc.words import BLOCK_WORDS

Cpu = Literal["xgk", "xgi", "xgr", "xgb", "xgb-iec"]
Area = Literal["D", "M"]

CPU_INFO: dict[Cpu, int] = {"xgk": 0xA0, "xgi": 0xA4, "xgr": 0xA8, "xgb": 0xB0, "xgb-iec": 0xB4}
WITH_D: frozenset[Cpu] = frozenset({"xgk", "xgb"})

HEADER = struct.Struct("<10sHBBHHBB")
COMPANY = b"LSIS-XGT\0\0"
FROM_CLIENT, FROM_PLC = 0x33, 0x11
READ, WRITE, CONTINUOUS = 0x54, 0x58, 0x14
MAX_WORDS = 700
"""1400 bytes in one frame."""
LAST_WORD = 524_287
"""Of the largest D area that LS names (XGK-CPUUN); M ends earlier."""
_MOST = 12 + 2 * MAX_WORDS

ERROR_CODES = {
    0x01: "more blocks than one request may have",
    0x02: "a data type that the module does not know",
    0x03: "the PLC has no such memory area; check the fields cpu and area",
    0x04: "the address is outside the area",
    0x05: "more than 1400 bytes",
    0x06: "more than 1400 bytes",
    0x75: "the header is not that of the XGT protocol",
    0x76: "the length in the header is wrong",
    0x77: "the checksum of the header is wrong",
    0x78: "a command that the module does not know",
}
_STATES = {0x02: "STOP", 0x04: "ERROR", 0x08: "DEBUG"}


class XgtConfig(BaseModel):
    """Where the exchange lies in an LS Electric XGT PLC, reached by the XGT protocol of its FEnet port."""

    model_config = ConfigDict(frozen=True, extra="forbid", title="LS Electric XGT FEnet")

    type: Literal["xgt"] = Field("xgt", description="Selects this driver.")
    host: str = Field(
        min_length=1,
        description="IP address of the FEnet port; a name costs a look-up at each connect.",
    )
    port: int = Field(2004, ge=1, le=65535, description="TCP port of the XGT server.")
    cpu: Cpu = Field(
        "xgk", description="CPU family. xgb: XGB programmed as XGK; xgb-iec: XGB programmed as XGI."
    )
    area: Area = Field(
        "D", description="Memory area that holds both blocks: D (xgk and xgb alone) or M."
    )
    ctrl_address: int = Field(
        0,
        ge=0,
        le=LAST_WORD - BLOCK_WORDS + 1,
        description="First word of CTRL: 100 is %DW100 or %MW100.",
    )
    stat_address: int = Field(
        100,
        ge=0,
        le=LAST_WORD - BLOCK_WORDS + 1,
        description="First word of STAT, numbered as ctrl_address.",
    )
    timeout: float = Field(
        0.3, ge=0.01, le=10.0, description="Longest wait for a connection or an answer, in seconds."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if abs(self.ctrl_address - self.stat_address) < BLOCK_WORDS:
            raise ValueError(
                f"CTRL at {self.ctrl_address} and STAT at {self.stat_address} overlap; "
                f"each needs {BLOCK_WORDS} words"
            )
        if self.area == "D" and self.cpu not in WITH_D:
            raise ValueError(f"{self.cpu} has no D area; use M")
        return self

    def open(self) -> XgtPlc:
        """Return the driver, not yet connected."""
        return XgtPlc(self)


class XgtPlc:
    """An XGT PLC as FEnet server; see `inspection.protocols.Plc`. One thread at a time."""

    def __init__(self, config: XgtConfig) -> None:
        self._config = config
        self._where = f"PLC {config.host}:{config.port} {config.cpu}"
        self._invoke = 0
        self._asker = Asker(self._where, (config.host, config.port), config.timeout)

    def connect(self) -> None:
        """Open a fresh socket; an open one is closed first. Raises PlcError."""
        self._asker.connect("that the XGT server is enabled in the parameters of the FEnet module")

    def read_words(self, address: int, count: int) -> list[int]:
        """Read words with one continuous read.

        Args:
            address: number of the first word, as in %DW100.
            count: 1..700 words.

        Returns:
            `count` unsigned 16-bit words.

        Raises:
            PlcError: no whole and right answer in time, or the CPU is not in RUN; the socket is closed.
            ValueError: address or count is outside the area; nothing was sent.
        """
        data = self._ask(READ, f"read of {count} words at", address, count, b"")
        return list(struct.unpack(f"<{count}H", data))

    def write_words(self, address: int, words: list[int]) -> None:
        """Write words with one continuous write.

        Args:
            address: number of the first word, as in %DW100.
            words: 1..700 unsigned 16-bit words.

        Raises:
            PlcError: the PLC did not confirm the write in time, or its CPU is not in RUN; the socket is
                closed, and nobody knows whether the words were written.
            ValueError: address, count or a word is outside the area; nothing was sent.
        """
        if not all(0 <= word <= 0xFFFF for word in words):
            raise ValueError(f"words to write must be 0..65535, got {words}")
        packed = struct.pack(f"<{len(words)}H", *words)
        self._ask(WRITE, f"write of {len(words)} words at", address, len(words), packed)

    def close(self) -> None:
        """Close the socket, if one is open."""
        self._asker.close()

    def _ask(self, command: int, what: str, address: int, count: int, words: bytes) -> bytes:
        area = self._config.area
        if not (address >= 0 and 1 <= count <= MAX_WORDS and address + count - 1 <= LAST_WORD):
            raise ValueError(
                f"{count} words at {area}{address} are outside: 1..{MAX_WORDS} words within 0..{LAST_WORD}"
            )
        self._invoke = self._invoke % 0xFFFF + 1
        name = f"%{area}B{2 * address}".encode()
        body = struct.pack("<HHHHH", command, CONTINUOUS, 0, 1, len(name)) + name
        body += struct.pack("<H", 2 * count) + words
        cpu = CPU_INFO[self._config.cpu]
        request = _header(cpu, self._invoke, len(body)) + body
        what = f"{what} %{area}W{address}"

        def decode(answer: bytes) -> bytes:
            return self._data(what, command, answer, 0 if words else 2 * count)

        return self._asker.ask(what, request, HEADER.size, self._rest, decode)

    def _rest(self, head: bytes) -> int:
        company, _, _, source, invoke, length, _, bcc = HEADER.unpack(head)
        if (company, source) != (COMPANY, FROM_PLC):
            raise ValueError(f"no answer of the XGT protocol: {head.hex()}")
        if bcc not in (0, sum(head[:-1]) & 0xFF):  # 0: the manual also calls this byte reserved
            raise ValueError(f"checksum {bcc:02x} of the header is wrong")
        if invoke != self._invoke:
            raise ValueError(f"an answer to request {invoke}, not to {self._invoke}")
        if not 9 <= length <= _MOST:
            raise ValueError(f"an answer of {length} bytes")
        return length

    def _data(self, what: str, command: int, answer: bytes, expected: int) -> bytes:
        body = answer[HEADER.size :]
        told, kind, _, error = struct.unpack_from("<HHHH", body)
        if (told, kind) != (command + 1, CONTINUOUS):
            raise ValueError(f"an answer of command {told:02x}, type {kind:02x}")
        if error != 0:
            code = body[8]
            meaning = ERROR_CODES.get(code, "see the manual of the FEnet module")
            raise PlcError(
                f"{self._where}: {what} was refused with error {code:02X} ({meaning}); "
                "the socket was closed"
            )
        self._check_runs(what, HEADER.unpack_from(answer)[1])
        tail = struct.pack("<HH", 1, expected) if expected else struct.pack("<H", 1)
        if body[8 : 8 + len(tail)] != tail or len(body) != 8 + len(tail) + expected:
            raise ValueError(f"{len(body) - 8 - len(tail)} bytes of data, not {expected}")
        return body[8 + len(tail) :]

    def _check_runs(self, what: str, info: int) -> None:
        state = info >> 8 & 0x0F
        if state == 0x01 and not info & 0x80:
            return
        names = [name for bit, name in _STATES.items() if state & bit]
        if info & 0x80:
            names.append("a CPU error")
        raise PlcError(
            f"{self._where}: {what} was answered by a CPU that is not in RUN but in "
            f"{' and '.join(names) or f'state {state}'}; switch the PLC to RUN. The socket was closed"
        )


def _header(cpu: int, invoke: int, length: int) -> bytes:
    """Return the 20 bytes before a body of `length` bytes, with their sum (BCC) in the last."""
    head = HEADER.pack(COMPANY, 0, cpu, FROM_CLIENT, invoke, length, 0, 0)
    return head[:-1] + bytes([sum(head) & 0xFF])
