"""Siemens S7 (S7-300, 400, 1200, 1500): the words of the exchange in one data block.

Word n of the exchange is DBW 2n, high byte first. python-snap7 makes and reads the S7 jobs; the socket
is ours (asking.py), so that one job is one question and one answer, and any fault ends the connection:

    read_words / write_words ─▶ one job ─▶ frame, job number, function, length checked ─▶ words
                                   └─▶ timeout, short answer, refusal, other job's answer
                                            └─▶ socket closed ─▶ PlcError
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from inspection.errors import PlcError
from inspection.plc.asking import Asker
from inspection.plc.words import BLOCK_WORDS

if TYPE_CHECKING:
    from snap7.s7protocol import S7Protocol

_Result = TypeVar("_Result")

MAX_READ = 111
MAX_WRITE = 106
"""Words of one job in a PDU of 240 bytes, the smallest that these CPUs agree to."""
WORDS = 32768
"""Words of the largest data block."""

_PDU = 240
_ASKED_PDU = 480
_TPKT = struct.Struct(">BBH")
_CONNECT, _CONFIRM, _DATA = 0xE0, 0xD0, 0xF0
_LAST = bytes([2, _DATA, 0x80])
_LONGEST = 2048
_GOOD = 0xFF
_PG = 1
_S7, _ACK_DATA = 0x32, 3
_ITEM_JOBS = (b"\4\1", b"\5\1")
"""A read or a write of one item."""

_REFUSALS = {
    0x01: "hardware error",
    0x03: "access is not allowed",
    0x05: "address outside the data block",
    0x06: "data type not supported",
    0x07: "data type does not fit",
    0x0A: "no such data block, or its block access is optimized",
}


class S7Config(BaseModel):
    """Where the exchange lies in a Siemens CPU."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["s7"] = Field("s7", description="Selects this driver.")
    host: str = Field(
        min_length=1,
        description="IP address of the CPU or its network module; a name costs a look-up at each "
        "connect.",
    )
    port: int = Field(102, ge=1, le=65535, description="TCP port of the PLC; 102 by the standard.")
    rack: int = Field(0, ge=0, le=7, description="Rack of the CPU.")
    slot: int = Field(
        1, ge=0, le=31, description="Slot of the CPU: 1 in S7-1200 and S7-1500, 2 in S7-300."
    )
    db: int = Field(1, ge=1, le=65535, description="Number of the data block with both areas.")
    ctrl_address: int = Field(
        0, ge=0, le=WORDS - BLOCK_WORDS, description="First word of CTRL; word n is DBW 2n."
    )
    stat_address: int = Field(
        100, ge=0, le=WORDS - BLOCK_WORDS, description="First word of STAT; word n is DBW 2n."
    )
    timeout: float = Field(
        0.3, ge=0.01, le=10.0, description="Longest wait for a connection or an answer, in seconds."
    )

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if abs(self.ctrl_address - self.stat_address) < BLOCK_WORDS:
            raise ValueError(
                f"CTRL at {self.ctrl_address} and STAT at {self.stat_address} overlap; "
                f"each needs {BLOCK_WORDS} words"
            )
        return self

    def open(self) -> S7Plc:
        """Return the driver, not yet connected."""
        return S7Plc(self)


class S7Plc:
    """A PLC that speaks S7; see `inspection.protocols.Plc`. One thread at a time."""

    def __init__(self, config: S7Config) -> None:
        from snap7.s7protocol import S7Protocol

        self._config = config
        self._where = f"PLC {config.host}:{config.port} DB{config.db}"
        self._protocol: S7Protocol = S7Protocol()
        self._asker = Asker(self._where, (config.host, config.port), config.timeout)

    def connect(self) -> None:
        """Open a fresh socket and agree on the PDU; an open one is closed first. Raises PlcError."""
        from snap7.s7protocol import S7Protocol

        rack, slot = self._config.rack, self._config.slot
        self._asker.connect("that nothing blocks its port")
        self._protocol = S7Protocol()
        self._frame(
            f"connection to rack {rack}, slot {slot}", _connect_request(rack, slot), _confirmed
        )
        setup = self._protocol.build_setup_communication_request(pdu_length=_ASKED_PDU)
        self._frame("agreement on the PDU", _LAST + setup, self._agreed)

    def read_words(self, address: int, count: int) -> list[int]:
        """Read words of the data block with one job.

        Args:
            address: first word; word n is DBW 2n.
            count: 1..111 words.

        Returns:
            `count` unsigned 16-bit words.

        Raises:
            PlcError: no whole and right answer in time; the socket is closed.
            ValueError: address or count is outside a data block; nothing was sent.
        """
        from snap7.datatypes import S7Area, S7WordLen

        _check_range(address, count, MAX_READ)
        what = f"read of {count} words at {address}"

        def words(answer: bytes) -> list[int]:
            reply = self._reply(what, answer)
            data = self._protocol.extract_read_data(reply, S7WordLen.BYTE, 2 * count)
            return list(struct.unpack(f">{count}H", bytes(data)))

        job = self._protocol.build_read_request(
            S7Area.DB, self._config.db, 2 * address, S7WordLen.BYTE, 2 * count
        )
        return self._frame(what, _LAST + job, words)

    def write_words(self, address: int, words: list[int]) -> None:
        """Write words of the data block with one job.

        Args:
            address: first word; word n is DBW 2n.
            words: 1..106 unsigned 16-bit words.

        Raises:
            PlcError: the PLC did not confirm this write in time; the socket is closed, and nobody
                knows whether the words were written.
            ValueError: address, count or a word is outside a data block; nothing was sent.
        """
        from snap7.datatypes import S7Area, S7WordLen

        _check_range(address, len(words), MAX_WRITE)
        if not all(0 <= word <= 0xFFFF for word in words):
            raise ValueError(f"words to write must be 0..65535, got {words}")
        what = f"write of {len(words)} words at {address}"

        def confirmed(answer: bytes) -> None:
            self._protocol.check_write_response(self._reply(what, answer))

        data = struct.pack(f">{len(words)}H", *words)
        job = self._protocol.build_write_request(
            S7Area.DB, self._config.db, 2 * address, S7WordLen.BYTE, data
        )
        self._frame(what, _LAST + job, confirmed)

    def close(self) -> None:
        """Close the socket, if one is open."""
        self._asker.close()

    def _frame(self, what: str, payload: bytes, decode: Callable[[bytes], _Result]) -> _Result:
        """Send a TPKT frame; decode the payload of the one that comes back."""
        frame = _TPKT.pack(3, 0, _TPKT.size + len(payload)) + payload
        return self._asker.ask(
            what, frame, _TPKT.size, _rest, lambda answer: decode(answer[_TPKT.size :])
        )

    def _agreed(self, answer: bytes) -> None:
        reply = self._reply("agreement on the PDU", answer)
        length = (reply["parameters"] or {}).get("pdu_length", 0)
        if not _PDU <= length <= _ASKED_PDU:
            raise ValueError(f"a PDU of {length} bytes was offered, {_PDU} are needed")

    def _reply(self, what: str, answer: bytes) -> dict[str, Any]:
        """Return the answer to the last job as the library reads it. Raises PlcError: refused."""
        from snap7.error import S7ProtocolError

        if answer[:3] != _LAST:
            raise ValueError(f"its transport header was {answer[:3].hex()}")
        pdu = answer[3:]
        code = _refusal(pdu, self._protocol.sequence)
        if code is not None:
            meaning = _REFUSALS.get(code, "an unknown code")
            raise self._refused(what, f"code 0x{code:02X}, {meaning}")
        try:
            reply = self._protocol.parse_response(pdu)
        except S7ProtocolError as error:
            if error.error_code:
                raise self._refused(what, f"error 0x{error.error_code:04X}") from error
            raise
        self._protocol.validate_pdu_reference(reply["sequence"])
        if pdu[1] != _ACK_DATA:
            raise ValueError(f"it was a message of kind {pdu[1]}")
        return reply

    def _refused(self, what: str, code: str) -> PlcError:
        return PlcError(
            f"{self._where}: {what} was refused with {code}; check that DB{self._config.db} is there "
            'and long enough, that its "Optimized block access" is off, and that the CPU permits '
            'PUT/GET access ("Protection & Security" in TIA); the socket was closed'
        )


def _connect_request(rack: int, slot: int) -> bytes:
    """Ask for the transport connection to a rack and slot, as a programming device."""
    called = (_PG << 8 | rack << 5 | slot).to_bytes(2, "big")
    options = bytes([0xC0, 1, 10, 0xC1, 2, 1, 0, 0xC2, 2]) + called
    fixed = struct.pack(">BHHB", _CONNECT, 0, 1, 0)
    return bytes([len(fixed) + len(options)]) + fixed + options


def _confirmed(answer: bytes) -> None:
    if len(answer) < 7 or answer[0] != len(answer) - 1 or answer[1] != _CONFIRM:
        raise ValueError(f"it was {answer[:8].hex()}; check rack and slot")


def _rest(head: bytes) -> int:
    version, _, length = _TPKT.unpack(head)
    if version != 3 or not _TPKT.size + 3 <= length <= _LONGEST:
        raise ValueError(f"no TPKT frame: version {version}, {length} bytes")
    return length - _TPKT.size


def _refusal(pdu: bytes, number: int) -> int | None:
    """Return the code of the one item of a job if the PLC refused it; what follows it differs by maker."""
    kind, item = pdu[:2] == bytes([_S7, _ACK_DATA]), pdu[12:14] in _ITEM_JOBS
    if not (kind and item and len(pdu) > 14 and pdu[4:6] == number.to_bytes(2, "big")):
        return None
    return pdu[14] if pdu[10:12] == b"\0\0" and pdu[14] != _GOOD else None


def _check_range(address: int, count: int, most: int) -> None:
    if not (address >= 0 and 1 <= count <= most and address + count <= WORDS):
        raise ValueError(
            f"{count} words at {address} are outside a data block: "
            f"1..{most} words within 0..{WORDS - 1}"
        )
