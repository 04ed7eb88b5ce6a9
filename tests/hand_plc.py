"""A PLC program that is the test itself: it runs in the simulated PLC's server, with its log.

So a test can trigger without READY, hold its acknowledgement back, or lose its memory at any moment.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any

from station_rig import until

from inspection.plc.ladder import Scan
from inspection.plc.plc_log import History
from inspection.plc.rungs import BEAT_SECONDS, Watch
from inspection.plc.words import Ctrl, CtrlFlag, Stat, StatFlag
from inspection.types import Reason

CAUSES = {1: "pass", 2: "fail", 3: "review", 4: "not_inspected"}
ALONE = CtrlFlag(0)


class HandProgram:
    """A PLC program that does what the test says. CTRL is `ctrl`; its heartbeat counts by itself."""

    done = line_stopped = False

    def __init__(self) -> None:
        self.ctrl, self.stat = Ctrl(flags=CtrlFlag.ENABLE), Stat()
        self.shown = self.ctrl
        self.alive = False
        self.proven: set[int] = set()  # sequences a PASS stood in STAT for, of a living station
        self._watch, self._beat, self._beat_at = Watch(), 0, 0.0
        self._events: deque[dict[str, Any]] = deque()

    def power_up(
        self, _config: Any, history: History, _now: float, *, resumed: bool
    ) -> HandProgram:
        assert not resumed
        self.history = history
        return self

    def scan(self, stat: Stat, now: float) -> Scan:
        self._watch.see(stat.heartbeat, now)
        self.stat, self.alive = stat, self._watch.alive(now)
        if now - self._beat_at >= BEAT_SECONDS:
            self._beat, self._beat_at = (self._beat + 1) & 0xFFFF, now
        ctrl = self.ctrl
        if self.alive and stat.proves_pass(ctrl.trig_seq):
            self.proven.add(ctrl.trig_seq)
        events = []
        while self._events:
            events.append({**self._events.popleft(), "mono": round(now, 6)})
            self.history.apply(events[-1])
        self.shown = ctrl
        return Scan(replace(ctrl, heartbeat=self._beat), tuple(events), power_cycle=False)

    def up(self, flag: CtrlFlag) -> None:
        self.ctrl = replace(self.ctrl, flags=self.ctrl.flags | flag)

    def down(self, flag: CtrlFlag) -> None:
        self.ctrl = replace(self.ctrl, flags=self.ctrl.flags & ~flag)

    def sees(self, flag: StatFlag) -> bool:
        return self.alive and self.stat.has(flag)

    def ready(self) -> None:
        until(lambda: self.sees(StatFlag.READY), 30, "READY")

    def raise_trigger(self, seq: int, also: CtrlFlag = ALONE, recipe: int | None = None) -> None:
        """Raise TRIGGER, with other flags and another recipe number in the same scan."""
        self._events.append({"event": "trigger", "seq": seq, "part_id": 100 + seq, "serial": ""})
        flags = self.ctrl.flags | CtrlFlag.TRIGGER | also
        number = self.ctrl.recipe if recipe is None else recipe
        self.ctrl = replace(self.ctrl, trig_seq=seq, part_id=100 + seq, flags=flags, recipe=number)

    def trigger(self, seq: int, also: CtrlFlag = ALONE, recipe: int | None = None) -> None:
        """Trigger a part, whatever READY says, until the station has taken it; see `raise_trigger`."""
        self.raise_trigger(seq, also, recipe)
        taken = lambda: self.sees(StatFlag.TRIG_ACK) and self.stat.ack_seq == seq  # noqa: E731
        until(taken, what="TRIG_ACK")
        self.down(CtrlFlag.TRIGGER)
        until(lambda: not self.stat.has(StatFlag.TRIG_ACK), what="TRIG_ACK off")

    def end(self, cause: str, stat: Stat | None = None) -> None:
        """Log the outcome of the part under the camera."""
        stat, seq = stat or Stat(), self.ctrl.trig_seq
        told = {"code": stat.result_code, "reason": stat.reason, "record": stat.record_id}
        outcome = {"event": "outcome", "seq": seq, "part_id": 100 + seq, "cause": cause, **told}
        self._events.append({**outcome, "passed": cause == "pass"})

    def answer(self) -> Stat:
        """Wait for the answer of the part and log its outcome; it is not acknowledged yet."""
        stat = until(lambda: self.sees(StatFlag.RESULT_VALID) and self.stat, 30, "RESULT_VALID")
        assert stat.result_seq == stat.result_seq_copy == self.ctrl.trig_seq
        assert stat.result_code + stat.code_inverse == 0xFFFF
        self.end(CAUSES[stat.result_code], stat)
        return stat

    def acknowledge(self) -> None:
        self.up(CtrlFlag.RESULT_ACK)
        until(lambda: not self.stat.has(StatFlag.RESULT_VALID), what="RESULT_VALID off")
        self.down(CtrlFlag.RESULT_ACK)

    def throws_away(self, reason: Reason | None = None) -> Stat:
        """Take the answer for a part that was given up, and return it: it must be NOT INSPECTED."""
        stat = until(
            lambda: self.sees(StatFlag.RESULT_VALID) and self.stat, what="the answer to nobody"
        )
        assert stat.result_code == 4
        assert reason in (None, stat.reason)
        self.acknowledge()
        return stat

    def passes(self, seq: int) -> None:
        """One whole part as a good PLC does it; the station inspects again by itself."""
        self.ready()
        self.trigger(seq)
        assert self.answer().proves_pass(seq)
        self.acknowledge()

    def refuses(self, seq: int, reason: Reason) -> None:
        """A part triggered now is answered NOT INSPECTED with `reason`."""
        self.trigger(seq)
        stat = self.answer()
        assert (stat.result_code, stat.reason) == (4, reason)
        self.acknowledge()

    def idles(self, reason: Reason) -> Stat:
        """Wait for READY off with `reason` in word 10."""
        off = lambda: not self.sees(StatFlag.READY) and self.stat.reason == reason  # noqa: E731
        until(off, what=f"word 10 = {reason.name}")
        return self.stat
