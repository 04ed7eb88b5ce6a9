"""A little station that plays its side of the line protocol: one step a reading of CTRL.

It inspects nothing: `decide` names the RESULT_CODE of a part, `takes` seconds after its trigger.
`rows` is its store: one row a trigger, so that the PLC's counters can be held against it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from inspection.errors import PlcError
from inspection.plc.words import Ctrl, CtrlFlag, Stat, StatFlag
from inspection.protocols import Plc
from inspection.types import Reason

BEAT, DEAD = 0.1, 1.0
PASS, FAIL, REVIEW, NOT_INSPECTED = 1, 2, 3, 4


@dataclass
class Row:
    """What the station knows of one trigger."""

    record_id: int
    epoch: int
    seq: int
    part_id: int
    serial: str
    code: int
    acknowledged: bool = False
    answers: int = 0


class ScriptedStation:
    """Pure: CTRL and a clock in, STAT out."""

    def __init__(
        self,
        decide: Callable[[int], int] = lambda part_id: PASS,
        *,
        takes: float = 0.02,
        recipes: tuple[int, ...] = (1, 2),
    ) -> None:
        self.decide = decide
        self.takes = takes
        self.recipes = recipes
        self.rows: list[Row] = []
        self.resets = 0
        self.requests: list[int] = []
        self.stat = Stat(flags=StatFlag.ONLINE)
        self.frozen = False
        self._beat_at = 0.0
        self._plc_beat: int | None = None
        self._plc_changed = float("-inf")
        self._reset_up = False
        self._row: Row | None = None
        self._seen_at = 0.0
        self._answered = False
        self._armed = True
        self._recipe_asked = 0

    def step(self, ctrl: Ctrl, now: float) -> Stat:
        if ctrl.heartbeat != self._plc_beat:
            if self._plc_beat is not None:
                self._plc_changed = now
            self._plc_beat = ctrl.heartbeat
        if not self.frozen and now - self._beat_at >= BEAT:
            self._beat_at = now
            self._set(heartbeat=(self.stat.heartbeat + 1) & 0xFFFF)
        self._reset(ctrl)
        self._recipe(ctrl)
        self._trigger(ctrl, now)
        self._answer(ctrl, now)
        ready = (
            now - self._plc_changed <= DEAD
            and ctrl.has(CtrlFlag.ENABLE)
            and self._row is None
            and self.stat.recipe in self.recipes
            and not ctrl.flags & (CtrlFlag.RESET | CtrlFlag.RESULT_ACK | CtrlFlag.TRIGGER)
        )
        self._flag(StatFlag.READY, ready)
        return self.stat

    def _reset(self, ctrl: Ctrl) -> None:
        up = ctrl.has(CtrlFlag.RESET)
        if up and not self._reset_up:
            self.resets += 1
            self._row = None
            self._flag(StatFlag.RESULT_VALID | StatFlag.BUSY | StatFlag.MISSED_TRIGGER, False)
        self._reset_up = up

    def _recipe(self, ctrl: Ctrl) -> None:
        if not ctrl.has(CtrlFlag.RECIPE_REQ):
            self._recipe_asked = 0
            self._flag(StatFlag.RECIPE_ACK, False)
        elif (
            ctrl.recipe != self._recipe_asked and self._row is None
        ):  # as the station: the drop may be unseen
            self._recipe_asked = ctrl.recipe
            self.requests.append(ctrl.recipe)
            known = ctrl.recipe in self.recipes
            self._set(recipe=ctrl.recipe if known else 0)
            self._set(reason=0 if known else int(Reason.RECIPE_UNKNOWN))
            self._flag(StatFlag.ERROR, not known)
            self._flag(StatFlag.RECIPE_ACK, known)

    def _trigger(self, ctrl: Ctrl, now: float) -> None:
        if not ctrl.has(CtrlFlag.TRIGGER):
            self._armed = True
            self._flag(StatFlag.TRIG_ACK, False)
            return
        last = self.rows[-1] if self.rows else None
        held = not self._armed and last is not None and last.seq == ctrl.trig_seq
        if held or now - self._plc_changed > DEAD:
            return  # a new sequence is a new part, also where the drop of TRIGGER was not seen
        self._armed = False
        if last and (last.epoch, last.seq, last.part_id) == (
            self.resets,
            ctrl.trig_seq,
            ctrl.part_id,
        ):
            row = last
        else:
            overrun = self._row is not None
            code = NOT_INSPECTED if overrun else self.decide(ctrl.part_id)
            row = Row(
                len(self.rows) + 1, self.resets, ctrl.trig_seq, ctrl.part_id, ctrl.serial, code
            )
            self.rows.append(row)
            self._flag(StatFlag.MISSED_TRIGGER, overrun or self.stat.has(StatFlag.MISSED_TRIGGER))
        self._row, self._seen_at, self._answered = row, now, False
        self.stat = replace(self.stat.without_result(), ack_seq=ctrl.trig_seq)
        self._flag(StatFlag.RESULT_VALID | StatFlag.READY, False)
        self._flag(StatFlag.TRIG_ACK | StatFlag.BUSY, True)

    def _answer(self, ctrl: Ctrl, now: float) -> None:
        row = self._row
        if row is None:
            return
        if not self._answered and now - self._seen_at >= self.takes and self._armed:
            row.answers += 1
            self._answered = True
            self._set(
                result_seq=row.seq, result_seq_copy=row.seq, result_code=row.code,
                code_inverse=0xFFFF - row.code, record_id=row.record_id,
                reason=0 if row.code == PASS else 1,
            )  # fmt: skip
            self._flag(StatFlag.BUSY, False)
            self._flag(StatFlag.RESULT_VALID, True)
        elif self._answered and ctrl.has(CtrlFlag.RESULT_ACK):
            row.acknowledged = True
            self._flag(StatFlag.RESULT_VALID, False)
            self._row = None

    def _set(self, **words: int) -> None:
        self.stat = replace(self.stat, **words)

    def _flag(self, flag: StatFlag, up: bool) -> None:
        flags = self.stat.flags | flag if up else self.stat.flags & ~flag
        self.stat = replace(self.stat, flags=flags)


class StationThread:
    """A scripted station over a real driver, in a thread; it reconnects by itself."""

    def __init__(
        self, station: ScriptedStation, plc: Plc, *, ctrl: int = 0, stat: int = 100
    ) -> None:
        self.station = station
        self.link_errors = 0
        self._plc, self._ctrl, self._stat_at = plc, ctrl, stat
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scripted-station", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave.set()
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        shown: list[int] | None = None
        while not self._leave.is_set():
            try:
                if shown is None:
                    self._plc.connect()
                ctrl = Ctrl.unpack(self._plc.read_words(self._ctrl, 16))
                words = self.station.step(ctrl, time.monotonic()).pack()
                if shown is None or shown[2:] != words[2:]:
                    self._plc.write_words(self._stat_at + 2, words[2:])
                if shown is None or shown[:2] != words[:2]:
                    self._plc.write_words(self._stat_at, words[:2])
                shown = words
                self._leave.wait(0.002)
            except PlcError:
                self.link_errors += 1
                shown = None
                self._leave.wait(0.05)
        self._plc.close()
