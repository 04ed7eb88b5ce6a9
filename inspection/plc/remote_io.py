"""Plain digital lines: a Modbus TCP remote I/O module in the place of a PLC.

No PLC has words for the exchange here. The driver plays the PLC's side of it (remote_io_program.py)
with the module's lines:

    read_words(CTRL)  ─▶ FC2: all inputs in one request  ─▶ Program ─▶ CTRL
    write_words(STAT) ─▶ Program ─▶ FC15: all outputs in one request
                          └─▶ timeout, short answer, exception, wrong transaction
                                   └─▶ socket closed ─▶ PlcError; outputs off at the next connect

The station decides when the module hears of it. When the station's PC dies, the outputs stay as they
are unless THE MODULE'S OWN WATCHDOG drops them: it must be set, shorter than a part takes to the
next station. See docs/how-to/plc-remote-io.md.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from typing import ClassVar, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from inspection.errors import PlcError
from inspection.plc.asking import Asker
from inspection.plc.remote_io_program import Inputs, Program
from inspection.plc.words import BLOCK_WORDS, Stat, StatFlag

CTRL_ADDRESS = 0
STAT_ADDRESS = 100
"""Where the blocks lie in this driver's own numbering."""

_Result = TypeVar("_Result")
_Signal = Literal["trigger", "enable", "reset", "reject", "ready", "busy", "error"]
_HEADER = struct.Struct(">HHHB")
_READ_INPUTS, _WRITE_COILS = 2, 15
_LAST_LINE = 65535
_MOST_LINES = 256


class RemoteIoConfig(BaseModel):
    """A remote I/O module and which of its lines mean what. Lines are counted from 0."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ctrl_address: ClassVar[int] = CTRL_ADDRESS
    stat_address: ClassVar[int] = STAT_ADDRESS
    counts_readings: ClassVar[bool] = True

    type: Literal["remote_io"] = Field("remote_io", description="Selects this driver.")
    host: str = Field(
        min_length=1,
        description="IP address of the module; a name costs a look-up at each connect.",
    )
    port: int = Field(502, ge=1, le=65535, description="TCP port of the module.")
    unit: int = Field(1, ge=0, le=255, description="Modbus unit (device) id.")
    trigger: int = Field(ge=0, le=_LAST_LINE, description="Input: a part is in place.")
    enable: int | None = Field(
        None, ge=0, le=_LAST_LINE, description="Input: the line runs; none: always."
    )
    reset: int | None = Field(
        None, ge=0, le=_LAST_LINE, description="Input: reset of faults; none: no such line."
    )
    passed: int = Field(
        ge=0,
        le=_LAST_LINE,
        description="Output PASS: energised only for a part that was proven good.",
    )
    reject: int | None = Field(
        None, ge=0, le=_LAST_LINE, description="Output: the part in place is not passed."
    )
    ready: int | None = Field(
        None, ge=0, le=_LAST_LINE, description="Output: the station can take a part."
    )
    busy: int | None = Field(
        None, ge=0, le=_LAST_LINE, description="Output: a part is being inspected."
    )
    error: int | None = Field(
        None, ge=0, le=_LAST_LINE, description="Output: the station has a fault."
    )
    active_low: frozenset[_Signal] = Field(
        frozenset(), description="Lines that are active at 0. PASS cannot be one of them."
    )
    debounce: int = Field(
        2, ge=1, le=100, description="Equal readings in a row that make a new level of an input."
    )
    blind: float = Field(
        0.05,
        ge=0.01,
        le=1.0,
        description="Longest time between two readings of the inputs, in seconds, in which no part can "
        "leave and the next one come. After a longer one PASS drops, and a part in place is rejected.",
    )
    hold: float | None = Field(
        0.2,
        ge=0.005,
        le=10.0,
        description="How long PASS or REJECT is held, in seconds; null: until the trigger input falls.",
    )
    result_timeout: float = Field(
        2.0,
        ge=0.05,
        le=60.0,
        description="Longest wait for the answer after a trigger, in seconds; then the part is rejected.",
    )
    watchdog: float = Field(
        ge=0.2,
        le=10.0,
        description="Time after which the module itself drops all outputs when no request comes, in "
        "seconds, as set IN THE MODULE: this driver cannot set it. Without it a PASS stays up when the "
        "station's PC dies.",
    )
    timeout: float = Field(
        0.3, ge=0.01, le=10.0, description="Longest wait for a connection or an answer, in seconds."
    )

    @model_validator(mode="after")
    def _lines_fit(self) -> Self:
        for kind, lines in (("inputs", self.inputs), ("outputs", self.outputs)):
            used = sorted(lines.values())
            if len(set(used)) < len(used):
                raise ValueError(f"two {kind} are on one line: {lines}")
            if used[-1] - used[0] >= _MOST_LINES:
                raise ValueError(f"{kind} must lie within {_MOST_LINES} lines: {lines}")
        used = sorted(self.outputs.values())
        if used[-1] - used[0] >= len(used):
            raise ValueError(
                f"outputs must leave no line out between them, as they are written in one request: {used}"
            )
        if self.timeout >= self.watchdog:
            raise ValueError("timeout must be shorter than the module's watchdog")
        return self

    @property
    def inputs(self) -> dict[str, int]:
        """Return the lines of the inputs that are there."""
        return self._lines("trigger", "enable", "reset")

    @property
    def outputs(self) -> dict[str, int]:
        """Return the lines of the outputs that are there."""
        return self._lines("passed", "reject", "ready", "busy", "error")

    def _lines(self, *names: str) -> dict[str, int]:
        found = {name: getattr(self, name) for name in names}
        return {name: line for name, line in found.items() if line is not None}

    def open(self) -> RemoteIoPlc:
        """Return the driver, not yet connected."""
        return RemoteIoPlc(self)


class RemoteIoPlc:
    """A remote I/O module that looks like a PLC; see `inspection.protocols.Plc`. One thread at a time."""

    def __init__(self, config: RemoteIoConfig) -> None:
        self._config = config
        self._where = f"remote I/O {config.host}:{config.port} unit {config.unit}"
        self._asker = Asker(self._where, (config.host, config.port), config.timeout)
        self._program = Program(
            hold=config.hold,
            result_timeout=config.result_timeout,
            debounce=config.debounce,
            blind=config.blind,
        )
        self._stat = [0] * BLOCK_WORDS
        self._transaction = 0
        self._connected = False
        self._shown: list[bool] | None = None

    def connect(self) -> None:
        """Open a fresh socket, switch all outputs off and read the inputs. Raises PlcError."""
        self.close()
        self._asker.connect("that nothing else holds its only connection")
        self._stat = [0] * BLOCK_WORDS
        self._write(self._levels({}))
        self._program.connected(self._read(), time.monotonic())
        self._connected = True

    def read_words(self, address: int, count: int) -> list[int]:
        """Read all inputs with one FC2 and return words of the CTRL that they make.

        Outputs that change by it (the hold is over, a part has come) are written with one FC15.
        Words of STAT are returned as they were written, without a request.

        Args:
            address: first word: 0..15 in CTRL, 100..115 in STAT.
            count: words, all of one block.

        Returns:
            `count` unsigned 16-bit words.

        Raises:
            PlcError: no whole and right answer in time; the socket is closed.
            ValueError: the words are outside the blocks; nothing was sent.
        """
        ctrl, first = _place(address, count)
        self._check_connected(f"read of {count} words at {address}")
        if not ctrl:
            return self._stat[first : first + count]
        self._program.scan(self._read(), time.monotonic())
        levels = self._wanted()
        if levels != self._shown:
            self._write(levels)
        return self._program.ctrl().pack()[first : first + count]

    def write_words(self, address: int, words: list[int]) -> None:
        """Take words of STAT, and write all outputs with one FC15.

        Before a new answer the inputs are read once more: PASS is for the part that is in place now.

        Args:
            address: first word, 100..115.
            words: unsigned 16-bit words, all of STAT.

        Raises:
            PlcError: the module did not confirm in time; the socket is closed, and nobody knows how the
                outputs stand until the next `connect` or the module's watchdog.
            ValueError: the words are outside STAT, or not 16 bits; nothing was sent.
        """
        ctrl, first = _place(address, len(words))
        if ctrl:
            raise ValueError(f"{len(words)} words at {address} are outside STAT, 100..115")
        if not all(0 <= word <= 0xFFFF for word in words):
            raise ValueError(f"words to write must be 0..65535, got {words}")
        self._check_connected(f"write of {len(words)} words at {address}")
        before = Stat.unpack(self._stat)
        self._stat[first : first + len(words)] = words
        stat = Stat.unpack(self._stat)
        if stat.has(StatFlag.RESULT_VALID) and not before.has(StatFlag.RESULT_VALID):
            self._program.scan(self._read(), time.monotonic())
        self._program.told(stat, time.monotonic())
        self._write(self._wanted())

    def close(self) -> None:
        """Switch all outputs off, where the link is whole, and close the socket."""
        was_connected, self._connected = self._connected, False
        try:
            if was_connected:
                self._write(self._levels({}))
        except PlcError:
            return  # the module's watchdog switches them off
        finally:
            self._asker.close()

    # ------------------------------------------------------------------ lines

    def _read(self) -> Inputs:
        lines = self._config.inputs
        first = min(lines.values())
        count = max(lines.values()) - first + 1
        size = (count + 7) // 8

        def levels(pdu: bytes) -> list[bool]:
            if pdu[:2] != bytes([_READ_INPUTS, size]) or len(pdu) != 2 + size:
                raise ValueError(f"{len(pdu)} bytes of function {pdu[0]} for {count} inputs")
            return [bool(pdu[2 + at // 8] >> at % 8 & 1) for at in range(count)]

        pdu = struct.pack(">BHH", _READ_INPUTS, first, count)
        found = self._ask(f"read of {count} inputs at {first}", pdu, levels)
        low = self._config.active_low
        active = {name: found[line - first] != (name in low) for name, line in lines.items()}
        return Inputs(
            trigger=active["trigger"],
            enable=active.get("enable", True),
            reset=active.get("reset", False),
        )

    def _wanted(self) -> list[bool]:
        wanted = self._program.outputs()
        return self._levels({name: getattr(wanted, name) for name in self._config.outputs})

    def _levels(self, active: dict[str, bool]) -> list[bool]:
        """Return the level of each coil from the first output on; what is not named is off."""
        outputs, low = self._config.outputs, self._config.active_low
        by_line = sorted(outputs, key=lambda name: outputs[name])
        return [active.get(name, False) != (name in low) for name in by_line]

    def _write(self, levels: list[bool]) -> None:
        first, count = min(self._config.outputs.values()), len(levels)
        bits = sum(level << at for at, level in enumerate(levels))
        packed = bits.to_bytes((count + 7) // 8, "little")
        head = struct.pack(">BHH", _WRITE_COILS, first, count)

        def confirmed(pdu: bytes) -> None:
            if pdu != head:
                raise ValueError(f"it was confirmed as {pdu.hex()}")

        what = f"write of {count} outputs at {first}"
        self._shown = None  # unknown until the module confirms
        self._ask(what, head + bytes([len(packed)]) + packed, confirmed)
        self._shown = levels

    def _check_connected(self, what: str) -> None:
        if not self._connected:
            raise PlcError(f"{self._where}: {what} without a connection; call connect first")

    def _ask(self, what: str, pdu: bytes, decode: Callable[[bytes], _Result]) -> _Result:
        self._transaction = (self._transaction + 1) & 0xFFFF
        start = struct.pack(">HH", self._transaction, 0)
        head = _HEADER.pack(self._transaction, 0, len(pdu) + 1, self._config.unit)

        def rest(told: bytes) -> int:
            length = int.from_bytes(told[4:6], "big")
            if told[:4] != start or told[6] != self._config.unit or not 3 <= length <= 254:
                raise ValueError(f"an answer to another request: header {told.hex()}")
            return length - 1

        def decoded(answer: bytes) -> _Result:
            told = answer[_HEADER.size :]
            if told[0] == pdu[0] | 0x80:
                raise PlcError(
                    f"{self._where}: {what} was refused with Modbus exception {told[1]}; check the "
                    "lines, the unit and the module's access rights; the socket was closed"
                )
            return decode(told)

        return self._asker.ask(what, head + pdu, _HEADER.size, rest, decoded)


def _place(address: int, count: int) -> tuple[bool, int]:
    """Return whether some words are CTRL's, and their place in their block. Raises ValueError."""
    for first in (CTRL_ADDRESS, STAT_ADDRESS):
        if count >= 1 and first <= address <= first + BLOCK_WORDS - count:
            return first == CTRL_ADDRESS, address - first
    raise ValueError(
        f"{count} words at {address} are outside the blocks: CTRL is 0..15, STAT is 100..115"
    )
