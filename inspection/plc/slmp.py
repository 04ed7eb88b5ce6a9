"""Mitsubishi MELSEC: SLMP, the MC protocol, with binary 3E and 4E frames.

Batch read 0401 and batch write 1401 in word units, one request a block. The frames are made and taken
apart by slmp-connect-python. Its client is not used: on TCP it skips an answer with another serial
number and waits on, gives every received piece a timeout of its own, connects again by itself, and
keeps the socket after a timeout. So the socket is ours (`asking`).

    words ─▶ library: frame ─▶ Asker: one question, one answer, or closed ─▶ header checked here
                                                          ─▶ library: frame taken apart ─▶ words

A 4E answer names the serial number of its question. A 3E answer names nothing: there, that a socket
never outlives a fault is all that keeps an old answer from passing for a new one.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from inspection.errors import PlcError
from inspection.plc.asking import Asker
from inspection.plc.words import BLOCK_WORDS

if TYPE_CHECKING:
    from slmp.core import SlmpResponse

Cpu = Literal["iq-r", "iq-l", "iq-f", "qnudv", "qnu", "lcpu", "qj71e71", "lj71e71"]
Frame = Literal["4e", "3e"]
Device = Literal["D", "W", "R", "ZR"]

CPUS: tuple[Cpu, ...] = get_args(Cpu)
WIDE: frozenset[Cpu] = frozenset({"iq-r", "iq-l"})
"""CPUs whose device numbers have 32 bits on the wire: subcommand 0002."""
KNOW_4E: frozenset[Cpu] = frozenset({"iq-r", "iq-l", "qj71e71", "lj71e71"})

MAX_WORDS = 960
_LAST = {"D": 0xFFFFFF, "W": 0xFFFFFF, "ZR": 0xFFFFFF, "R": 32767}
"""Last word that a frame can name; how many there are, is a parameter of the PLC."""
_LENGTH_3E, _LENGTH_4E = 9, 13
"""Bytes of an answer up to its length: subheader 2, (serial 2, 0000), route 5, length 2."""
_OWN_STATION = bytes([0x00, 0xFF, 0xFF, 0x03, 0x00])

END_CODES = {
    0x0055: "writing while the CPU is in RUN is not allowed; enable online change",
    0x4030: "the PLC has no such device",
    0x4031: "the address is outside the device's range in the PLC's parameters",
    0xC050: "the connection is set to ASCII; set it to binary",
    0xC051: "more words than one request may have",
    0xC056: "the address is outside the device's range in the PLC's parameters",
    0xC058: "the connection is set to ASCII; set it to binary",
    0xC059: "the CPU does not know the command; check the field cpu",
    0xC05B: "the CPU cannot read or write this device",
    0xC05C: "the CPU does not take this request; check the field cpu",
    0xC05F: "the CPU cannot carry out this request; check the field cpu",
    0xC061: "the length is not the one that the CPU expects; check the field cpu",
    0xC200: "the remote password is wrong",
    0xC201: "the port is locked by a remote password; take it off this port",
}
"""What to do about the end codes that a station can meet, after Mitsubishi's manuals."""


class SlmpConfig(BaseModel):
    """Where the exchange lies in a Mitsubishi MELSEC PLC, reached by SLMP (MC protocol), binary."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", title="Mitsubishi MELSEC SLMP / MC protocol"
    )

    type: Literal["slmp"] = Field("slmp", description="Selects this driver.")
    host: str = Field(
        min_length=1, description="IP address of the PLC; a name costs a look-up at each connect."
    )
    port: int = Field(
        1025,
        ge=1,
        le=65535,
        description="TCP port of the PLC's SLMP connection, as entered in GX Works, in decimal (GX Works2 "
        "shows 1025 as hexadecimal 0401).",
    )
    cpu: Cpu = Field(
        "iq-r",
        description="CPU, or the Ethernet module that is connected: it decides how devices are named "
        "on the wire. iq-f is FX5; qnudv, qnu and lcpu are the CPU's own port.",
    )
    frame: Frame | None = Field(
        None,
        description="Frame: 4e carries a serial number, 3e does not. Left out: 4e where the CPU knows it "
        "(iq-r, iq-l, qj71e71, lj71e71), else 3e.",
    )
    device: Device = Field(
        "D", description="Device that holds both blocks: D, W, R, or ZR (not on iq-f)."
    )
    ctrl_address: int = Field(
        0,
        ge=0,
        le=0xFFFFFF - BLOCK_WORDS + 1,
        description="First word of CTRL: 100 is D100. W counts in hexadecimal: write W1A0 as 0x1A0.",
    )
    stat_address: int = Field(
        100,
        ge=0,
        le=0xFFFFFF - BLOCK_WORDS + 1,
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
        last = max(self.ctrl_address, self.stat_address) + BLOCK_WORDS - 1
        if last > _LAST[self.device]:
            raise ValueError(f"{self.device} ends at {_LAST[self.device]}; a block ends at {last}")
        if self.frame == "4e" and self.cpu not in KNOW_4E:
            raise ValueError(f"{self.cpu} speaks 3E frames alone; leave frame out or write 3e")
        if self.device == "ZR" and self.cpu == "iq-f":
            raise ValueError("iq-f has no ZR; use D, W or R")
        return self

    def open(self) -> SlmpPlc:
        """Return the driver, not yet connected."""
        return SlmpPlc(self)


class SlmpPlc:
    """A MELSEC PLC as SLMP server; see `inspection.protocols.Plc`. One thread at a time."""

    def __init__(self, config: SlmpConfig) -> None:
        from slmp import constants, core

        self._config = config
        self._where = f"PLC {config.host}:{config.port} {config.cpu}"
        self._frame = constants.FrameType(config.frame or ("4e" if config.cpu in KNOW_4E else "3e"))
        self._series = constants.PLCSeries.IQR if config.cpu in WIDE else constants.PLCSeries.QL
        self._subcommand = core.resolve_device_subcommand(bit_unit=False, series=self._series)
        self._patience = max(1, math.ceil(config.timeout / 0.25))  # of the PLC, in 250 ms
        self._length = _LENGTH_4E if self._is_4e else _LENGTH_3E
        self._start = b""  # of the only right answer, up to its length
        self._serial = 0
        self._asker = Asker(self._where, (config.host, config.port), config.timeout)

    @property
    def _is_4e(self) -> bool:
        return self._frame.value == "4e"

    def connect(self) -> None:
        """Open a fresh socket; an open one is closed first. Raises PlcError."""
        self._asker.connect(
            "that GX Works has an SLMP (MC protocol) connection with this port, TCP and binary, "
            "that no other device holds"
        )

    def read_words(self, address: int, count: int) -> list[int]:
        """Read words with one batch read.

        Args:
            address: number of the first word, as in the device's name.
            count: 1..960 words.

        Returns:
            `count` unsigned 16-bit words.

        Raises:
            PlcError: no whole and right answer in time; the socket is closed.
            ValueError: address or count is outside the device; nothing was sent.
        """
        data = self._ask(0x0401, f"read of {count} words at", address, count, b"")
        return list(struct.unpack(f"<{count}H", data))

    def write_words(self, address: int, words: list[int]) -> None:
        """Write words with one batch write.

        Args:
            address: number of the first word, as in the device's name.
            words: 1..960 unsigned 16-bit words.

        Raises:
            PlcError: the PLC did not confirm the write in time; the socket is closed, and nobody knows
                whether the words were written.
            ValueError: address, count or a word is outside the device; nothing was sent.
        """
        if not all(0 <= word <= 0xFFFF for word in words):
            raise ValueError(f"words to write must be 0..65535, got {words}")
        packed = struct.pack(f"<{len(words)}H", *words)
        self._ask(0x1401, f"write of {len(words)} words at", address, len(words), packed)

    def close(self) -> None:
        """Close the socket, if one is open."""
        self._asker.close()

    def _ask(self, command: int, what: str, address: int, count: int, words: bytes) -> bytes:
        from slmp.core import DeviceRef, SlmpTarget, decode_response, encode_device_spec
        from slmp.core import encode_request as encode

        device = self._config.device
        last = _LAST[device]
        if not (address >= 0 and 1 <= count <= MAX_WORDS and address + count - 1 <= last):
            raise ValueError(
                f"{count} words at {device}{address} are outside: 1..{MAX_WORDS} words within 0..{last}"
            )
        self._serial = (self._serial + 1) & 0xFFFF
        place = encode_device_spec(DeviceRef(device, address), series=self._series)
        request = encode(
            frame_type=self._frame,
            serial=self._serial,
            target=SlmpTarget(),
            monitoring_timer=self._patience,
            command=command,
            subcommand=self._subcommand,
            data=place + struct.pack("<H", count) + words,
        )
        serial = struct.pack("<HH", self._serial, 0)
        self._start = (b"\xd4\0" + serial if self._is_4e else b"\xd0\0") + _OWN_STATION
        what = f"{what} {device}{address}"
        expected = 0 if words else 2 * count

        def decode(answer: bytes) -> bytes:
            return self._data(what, decode_response(answer, frame_type=self._frame), expected)

        return self._asker.ask(what, request, self._length, self._rest, decode)

    def _rest(self, head: bytes) -> int:
        if head[:-2] != self._start:
            raise ValueError(
                f"an answer to another request: header {head[:-2].hex()}, not {self._start.hex()}"
            )
        length = int.from_bytes(head[-2:], "little")
        if not 2 <= length <= 2 + 2 * MAX_WORDS:
            raise ValueError(f"an answer of {length} bytes")
        return length

    def _data(self, what: str, response: SlmpResponse, expected: int) -> bytes:
        code = response.end_code
        if code != 0:
            meaning = END_CODES.get(code, "see the PLC's manual")
            raise PlcError(
                f"{self._where}: {what} was refused with end code {code:04X} ({meaning}); "
                "the socket was closed"
            )
        if len(response.data) != expected:
            raise ValueError(f"{len(response.data)} bytes of data, not {expected}")
        return response.data
