"""The station's side of the handshake, over any driver that reads and writes words.

    PLC holds ENABLE ─▶ READY
    TRIGGER, new TRIG_SEQ ─▶ accept: RESULT_* zeroed, ACK_SEQ, BUSY ─▶ (row durable) TRIG_ACK
    TRIGGER dropped ─▶ TRIG_ACK off          frame in ─▶ EXPOSURE_DONE
    decision durable ─▶ write_result: words 3..15; announce, a second request: RESULT_VALID on, BUSY off
    RESULT_ACK ─▶ RESULT_VALID off ─▶ RESULT_ACK dropped ─▶ READY

This class holds the STAT block as it should stand in the PLC and writes what changed. When a write
fails the link is closed, and `connect` writes the whole block again, flags last: nothing that the
station wanted to say is lost, and a PLC whose memory was cleared gets it back.
"""

from __future__ import annotations

import random
import time
from dataclasses import replace

from inspection.plc.sole_writer import SoleWriter
from inspection.plc.words import (
    BLOCK_WORDS,
    STAT_ACK_SEQ,
    STAT_FLAGS,
    STAT_HEARTBEAT,
    STAT_RESULT_FIRST,
    Ctrl,
    Stat,
    StatFlag,
    changed,
)
from inspection.protocols import Plc
from inspection.types import Reason, Result

NO_FLAGS = StatFlag(0)


class Exchange:
    """CTRL as read, STAT as written. Used by the station's loop alone; every method may raise PlcError.

    Attributes:
        connected: the link is open.
        polled: when CTRL was read last, monotonic seconds.
    """

    def __init__(
        self,
        plc: Plc,
        *,
        ctrl_address: int,
        stat_address: int,
        heartbeat: float = 0.1,
        plc_dead_after: float = 1.0,
    ) -> None:
        """Nothing is read or written before `connect`.

        Args:
            plc: the driver.
            ctrl_address: first word of CTRL.
            stat_address: first word of STAT.
            heartbeat: seconds between increments of the station's heartbeat.
            plc_dead_after: seconds without a change of the PLC's heartbeat after which it is dead.
        """
        self._plc = plc
        self._ctrl_address = ctrl_address
        self._stat_address = stat_address
        self._heartbeat_every = heartbeat
        self._plc_dead_after = plc_dead_after
        self._stat = Stat(heartbeat=random.randrange(0x10000))  # tells two stations apart
        self._heartbeat_due = 0.0
        self._sole = SoleWriter()
        self._plc_heartbeat: int | None = None
        self._plc_changed = float("-inf")
        self.connected = False
        self.polled = float("-inf")

    @property
    def stat(self) -> Stat:
        """STAT as it stands, or will once the link is back."""
        return self._stat

    def plc_alive(self) -> bool:
        """Tell whether the PLC's heartbeat has changed lately; False until the first change is seen."""
        return time.monotonic() - self._plc_changed <= self._plc_dead_after

    def connect(self) -> Ctrl:
        """Open the link, put STAT as it should stand (flags last), and return CTRL.

        Raises:
            PlcSharedError: another station writes STAT; nothing was written.
        """
        self._plc.connect()
        self._sole.enter(self._shown_heartbeat, self._stat.heartbeat)
        self._stat = replace(self._stat, flags=self._stat.flags & ~StatFlag.READY)  # shown anew
        words = self._stat.pack()
        self._plc.write_words(self._stat_address, [0, *words[1:]])
        self._plc.write_words(self._stat_address + STAT_FLAGS, words[:2])
        self._plc_heartbeat = None
        self._plc_changed = float("-inf")
        self.connected = True
        return self.poll()

    def close(self) -> None:
        """Close the link; STAT is kept for the next `connect`."""
        self.connected = False
        self._plc.close()

    def poll(self) -> Ctrl:
        """Read CTRL in one request; write the heartbeat when it is due.

        Raises:
            PlcSharedError: another station writes STAT as well.
        """
        ctrl = Ctrl.unpack(self._plc.read_words(self._ctrl_address, BLOCK_WORDS))
        now = self.polled = time.monotonic()
        if ctrl.heartbeat != self._plc_heartbeat:
            if self._plc_heartbeat is not None:
                self._plc_changed = now
            self._plc_heartbeat = ctrl.heartbeat
        if now >= self._heartbeat_due:
            self._heartbeat_due = now + self._heartbeat_every
            if self._sole.wants_look(now, busy=self._stat.has(StatFlag.BUSY)):
                self._sole.look(self._shown_heartbeat(), self._stat.heartbeat, now)
            self._stat = replace(self._stat, heartbeat=(self._stat.heartbeat + 1) & 0xFFFF)
            self._write_flags()
        return ctrl

    def accept(self, sequence: int, missed: bool = False) -> None:
        """Take a trigger: zero the old result, set ACK_SEQ, then BUSY on and READY off."""
        stale = StatFlag.RESULT_VALID | StatFlag.TRIG_ACK | StatFlag.EXPOSURE_DONE
        missing = StatFlag.MISSED_TRIGGER if missed else NO_FLAGS
        before = self._stat.flags
        flags = before & ~stale & ~StatFlag.READY | StatFlag.BUSY | missing
        self._stat = replace(self._stat.without_result(), ack_seq=sequence, flags=flags)
        if before & stale:  # no old RESULT_VALID may stand beside a new ACK_SEQ
            self._write_flags(before & ~stale)
        self._plc.write_words(self._stat_address + STAT_ACK_SEQ, self._stat.pack()[STAT_ACK_SEQ:])
        self._write_flags()

    def write_result(self, sequence: int, result: Result, *, record_id: int, cycle: float) -> None:
        """Write the answer's words in one request; `announce` makes it valid in a second.

        Args:
            sequence: of the part; written twice, so that a torn write is seen.
            result: the decision.
            record_id: row in the results store, 0 while unknown.
            cycle: seconds from trigger to answer.
        """
        self._stage(sequence, result, record_id=record_id, cycle=cycle)
        self._plc.write_words(
            self._stat_address + STAT_RESULT_FIRST, self._stat.pack()[STAT_RESULT_FIRST:]
        )

    def announce(self) -> None:
        """RESULT_VALID on, BUSY off."""
        self.raise_flags(StatFlag.RESULT_VALID, drop=StatFlag.BUSY)

    def _stage(self, sequence: int, result: Result, *, record_id: int, cycle: float) -> None:
        code = result.decision.code
        self._stat = replace(
            self._stat,
            result_seq=sequence,
            result_code=code,
            code_inverse=0xFFFF - code,
            defect_class=result.deciding_class,
            score=min(10000, max(0, round(result.deciding_score * 10000))),
            cycle_ms=min(0xFFFF, max(0, round(cycle * 1000))),
            over_t1=result.over_t1,
            reason=int(result.reason),
            record_id=record_id & 0xFFFFFFFF,
            result_seq_copy=sequence,
        )

    def raise_flags(self, flags: StatFlag, *, drop: StatFlag = NO_FLAGS) -> None:
        """Raise some flags and drop others in one request; nothing is sent when nothing changes."""
        wanted = changed(self._stat.flags, up=flags, down=drop)
        if wanted != self._stat.flags:
            self._stat = replace(self._stat, flags=wanted)
            self._write_flags()

    def drop_flags(self, flags: StatFlag) -> None:
        """Drop flags; nothing is sent when none of them is up."""
        self.raise_flags(NO_FLAGS, drop=flags)

    def show(self, reason: Reason, recipe: int) -> None:
        """Between parts, tell why READY is off (word 10) and which recipe is in force (word 11)."""
        if (self._stat.reason, self._stat.recipe) != (int(reason), recipe):
            self._stat = replace(self._stat, reason=int(reason), recipe=recipe)
            self._plc.write_words(self._stat_address + 10, [int(reason), recipe])

    def clear(self) -> None:
        """Forget everything said so far: flags and results zeroed. Sent by the next `connect`."""
        self._stat = Stat(heartbeat=self._stat.heartbeat, recipe=self._stat.recipe)

    def _shown_heartbeat(self) -> int:
        """Return the station's heartbeat as it stands in the PLC."""
        return self._plc.read_words(self._stat_address + STAT_HEARTBEAT, 1)[0]

    def _write_flags(self, flags: StatFlag | None = None) -> None:
        shown = self._stat.flags if flags is None else flags
        self._plc.write_words(self._stat_address + STAT_FLAGS, [int(shown), self._stat.heartbeat])
