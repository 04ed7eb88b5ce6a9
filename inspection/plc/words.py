"""The exchange area, word by word: what the PLC writes (CTRL) and what the station writes (STAT).

Both blocks are 16 unsigned 16-bit words and have exactly one writer. The meaning of each word is in
docs/line-protocol.md. Standard library only: the exchange, the drivers and the simulated PLC share it.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass, replace

BLOCK_WORDS = 16
MAP_VERSION = 1
MAX_SEQUENCE = 65535
SERIAL_CHARS = 16


class CtrlFlag(enum.IntFlag):
    """CTRL word 0."""

    ENABLE = 1 << 0
    TRIGGER = 1 << 1
    RESULT_ACK = 1 << 2
    RESET = 1 << 3
    RECIPE_REQ = 1 << 4
    ERROR_ACK = 1 << 5


class StatFlag(enum.IntFlag):
    """STAT word 0."""

    READY = 1 << 0
    TRIG_ACK = 1 << 1
    BUSY = 1 << 2
    RESULT_VALID = 1 << 3
    ONLINE = 1 << 4
    ERROR = 1 << 5
    MISSED_TRIGGER = 1 << 6
    RECIPE_ACK = 1 << 7
    EXPOSURE_DONE = 1 << 8
    DEGRADED = 1 << 9


_CTRL_FLAGS = tuple(CtrlFlag(value) for value in range(1 << len(CtrlFlag)))
_STAT_FLAGS = tuple(StatFlag(value) for value in range(1 << len(StatFlag)))
"""Every value of word 0: an enum that is asked for its members takes ten times as long."""
_BLOCK = struct.Struct(f">{BLOCK_WORDS}H")
_SHOWN = bytes(b if 32 <= b < 127 else ord("?") for b in range(256))

# Offsets of STAT words that are written by themselves or in part.
STAT_FLAGS = 0
STAT_HEARTBEAT = 1
STAT_ACK_SEQ = 2
STAT_RESULT_FIRST = 3
"""Words 3..15 are the result, written in one request before RESULT_VALID."""


def changed(flags: StatFlag, *, up: StatFlag, down: StatFlag) -> StatFlag:
    """Return the flags with some dropped, and then others raised."""
    return _STAT_FLAGS[int(flags) & ~int(down) | int(up)]


def next_sequence(sequence: int) -> int:
    """Return the sequence after this one: 1..65535, then 1 again. 0 is never valid."""
    return 1 if sequence >= MAX_SEQUENCE else sequence + 1


@dataclass(frozen=True, slots=True)
class Ctrl:
    """One reading of CTRL. `deadline` is in milliseconds, 0 for the recipe's."""

    flags: CtrlFlag = CtrlFlag(0)
    heartbeat: int = 0
    trig_seq: int = 0
    recipe: int = 0
    part_id: int = 0
    deadline_ms: int = 0
    map_version: int = MAP_VERSION
    serial: str = ""

    @classmethod
    def unpack(cls, words: list[int]) -> Ctrl:
        """Read 16 words. Bytes of the serial that are not printable ASCII become `?`.

        Raises:
            ValueError: not 16 words of 16 bits.
        """
        raw = _to_bytes(words)[16:].partition(b"\0")[0]
        return cls(
            flags=_CTRL_FLAGS[words[0] & 0x3F],
            heartbeat=words[1],
            trig_seq=words[2],
            recipe=words[3],
            part_id=words[4] | words[5] << 16,
            deadline_ms=words[6],
            map_version=words[7],
            serial=raw.translate(_SHOWN).decode("ascii").strip(),
        )

    def pack(self) -> list[int]:
        """Return the 16 words. The serial is cut at 16 characters, first character in the high byte."""
        raw = self.serial.encode("ascii", "replace")[:SERIAL_CHARS].ljust(SERIAL_CHARS, b"\0")
        return [
            int(self.flags),
            self.heartbeat,
            self.trig_seq,
            self.recipe,
            self.part_id & 0xFFFF,
            self.part_id >> 16 & 0xFFFF,
            self.deadline_ms,
            self.map_version,
            *(raw[i] << 8 | raw[i + 1] for i in range(0, SERIAL_CHARS, 2)),
        ]

    def has(self, flag: CtrlFlag) -> bool:
        """Tell whether a flag is up."""
        return int(self.flags) & int(flag) != 0


@dataclass(frozen=True, slots=True)
class Stat:
    """The STAT block. `score` is 0..10000, `cycle_ms` saturates at 65535."""

    flags: StatFlag = StatFlag(0)
    heartbeat: int = 0
    ack_seq: int = 0
    result_seq: int = 0
    result_code: int = 0
    code_inverse: int = 0
    defect_class: int = 0
    score: int = 0
    cycle_ms: int = 0
    over_t1: int = 0
    reason: int = 0
    recipe: int = 0
    record_id: int = 0
    map_version: int = MAP_VERSION
    result_seq_copy: int = 0

    @classmethod
    def unpack(cls, words: list[int]) -> Stat:
        """Read 16 words. Raises ValueError when they are not 16 words of 16 bits."""
        _to_bytes(words)
        return cls(
            flags=_STAT_FLAGS[words[0] & 0x3FF],
            heartbeat=words[1],
            ack_seq=words[2],
            result_seq=words[3],
            result_code=words[4],
            code_inverse=words[5],
            defect_class=words[6],
            score=words[7],
            cycle_ms=words[8],
            over_t1=words[9],
            reason=words[10],
            recipe=words[11],
            record_id=words[12] | words[13] << 16,
            map_version=words[14],
            result_seq_copy=words[15],
        )

    def pack(self) -> list[int]:
        """Return the 16 words."""
        return [
            int(self.flags),
            self.heartbeat,
            self.ack_seq,
            self.result_seq,
            self.result_code,
            self.code_inverse,
            self.defect_class,
            self.score,
            min(self.cycle_ms, 0xFFFF),
            min(self.over_t1, 0xFFFF),
            self.reason,
            self.recipe,
            self.record_id & 0xFFFF,
            self.record_id >> 16 & 0xFFFF,
            self.map_version,
            self.result_seq_copy,
        ]

    def has(self, flag: StatFlag) -> bool:
        """Tell whether a flag is up."""
        return int(self.flags) & int(flag) != 0

    def without_result(self) -> Stat:
        """Return the block with every RESULT word zeroed; 0 is never read as a verdict."""
        return replace(
            self, result_seq=0, result_code=0, code_inverse=0, defect_class=0, score=0, cycle_ms=0,
            over_t1=0, reason=0, record_id=0, result_seq_copy=0,
        )  # fmt: skip

    def proves_pass(self, sequence: int) -> bool:
        """Tell whether this block, as read by the PLC, lets the part of `sequence` through.

        The heartbeat is checked beside this, over time.
        """
        return (
            sequence != 0
            and self.has(StatFlag.RESULT_VALID)
            and self.result_seq == self.result_seq_copy == sequence
            and self.result_code == 1
            and self.result_code + self.code_inverse == 0xFFFF
        )


def _to_bytes(words: list[int]) -> bytes:
    try:
        return _BLOCK.pack(*words)
    except struct.error:
        raise ValueError(f"a block is {BLOCK_WORDS} words of 16 bits, got {words}") from None
