"""The program of the simulated PLC: the PLC's side of the line protocol as a state machine.

Pure: it sees STAT and a clock, and answers with CTRL and the events to log before CTRL is shown.

        part due, station ready            one scan later             ACK_SEQ = its sequence
    IDLE ───────────────▶ PREPARED ───────────────▶ WAIT_ACK ───────────────▶ WAIT_RESULT
     ▲  words 2..15 written        TRIGGER up, logged    │      TRIGGER down        │
     │                                                   │ no_ack                   │ answer or none
     └────────── outcome logged, RESULT_ACK up until RESULT_VALID drops ◀───────────┘
    HALTED: ENABLE off, after too many rejects in a row

What runs in each scan beside the steps is in rungs.py. A part passes in one place only, `_judge`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from inspection.plc.plc_log import Event, History, Part
from inspection.plc.rungs import Rungs
from inspection.plc.simulated_config import FaultKind, SimulatedPlcConfig
from inspection.plc.words import Ctrl, CtrlFlag, Stat, StatFlag

_CAUSES = {2: "fail", 3: "review", 4: "not_inspected"}
_WORKING = StatFlag.BUSY | StatFlag.RESULT_VALID | StatFlag.TRIG_ACK


class Step(enum.Enum):
    """Where the part under the camera is."""

    IDLE = "idle"
    PREPARED = "prepared"
    WAIT_ACK = "wait_ack"
    WAIT_RESULT = "wait_result"
    HALTED = "halted"


@dataclass(frozen=True, slots=True)
class Scan:
    """What one scan did.

    Attributes:
        ctrl: the block to show to the station.
        events: to be logged, in order, before `ctrl` is shown.
        power_cycle: the PLC lost power: before `ctrl` is shown all memory is zeroed, links drop.
    """

    ctrl: Ctrl
    events: tuple[Event, ...]
    power_cycle: bool


class Ladder:
    """One PLC program over one history. Not thread safe.

    Attributes:
        history: all that its events told; counters included.
        done: all parts have come and the last handshake is over, or the line was stopped.
        line_stopped: too many rejects in a row.
    """

    def __init__(
        self, config: SimulatedPlcConfig, history: History, now: float, *, resumed: bool
    ) -> None:
        """Switch the PLC on.

        Args:
            config: how it is set up.
            history: what its log tells; a new one where there is no log.
            now: seconds of a monotonic clock, as for every scan.
            resumed: the history is from a log: no RESET, and an outstanding part is triggered
                again.
        """
        self.config = config
        self.history = history
        self.done = False
        self.line_stopped = False
        self._finishing = False
        self._now = now
        self._events: list[Event] = []
        self._power_up(reset=not resumed)
        self._emit("start", resumed=resumed, next_seq=history.next_seq)

    def scan(self, stat: Stat, now: float) -> Scan:
        """Run the program once over one reading of STAT."""
        self._now, self._stat = now, stat
        self._power_cycle = False
        self._rungs.scan(stat, now, between_parts=self._step in (Step.IDLE, Step.HALTED))
        self._turn_away_early_parts()
        match self._step:
            case Step.IDLE:
                self._idle()
            case Step.PREPARED:
                self._prepared()
            case Step.WAIT_ACK:
                self._wait_ack()
            case Step.WAIT_RESULT:
                self._wait_result()
            case Step.HALTED:
                pass
        events, self._events = tuple(self._events), []
        return Scan(self._ctrl(), events, self._power_cycle)

    def request_recipe(self, number: int) -> None:
        """Request a recipe, 1..65535, after those requested before and between parts."""
        self._rungs.request_recipe(number)

    def finish(self) -> None:
        """Let no further part come; `done` when the present one is through."""
        self._finishing = True

    # ------------------------------------------------------------------ memory

    def _power_up(self, *, reset: bool) -> None:
        self._stat = Stat()
        self._rungs = Rungs(
            self._emit,
            self._now,
            reset=reset,
            recipe=self.config.recipe,
            recipe_timeout=self.config.recipe_timeout,
        )
        self._step = Step.IDLE
        self._part = self._again = self.history.outstanding
        self._due = self._concluded_at = self._raised_at = self._give_up_at = self._now
        self._held_since: float | None = None
        self._blind_at: float | None = None
        self._expected = 0

    def _ctrl(self) -> Ctrl:
        part = self._part
        return Ctrl(
            flags=self._rungs.flags,
            heartbeat=self._rungs.beat,
            trig_seq=part.seq if part else 0,
            recipe=self._rungs.recipe_shown,
            part_id=part.part_id if part else 0,
            deadline_ms=round(self.config.deadline * 1000),
            serial=part.serial if part else "",
        )

    def _emit(self, event: str, **fields: object) -> None:
        told: Event = {"event": event, **fields, "mono": round(self._now, 6)}
        self.history.apply(told)
        self._events.append(told)

    def _fault(self, kind: FaultKind, number: int) -> float | None:
        """Return the seconds of a fault that is to be played now, once; else None."""
        for fault in self.config.faults:
            if (fault.kind, fault.part) == (kind, number):
                if (kind, number) in self.history.faults_done:
                    return None
                self._emit("fault", fault=kind, number=number)
                return fault.seconds
        return None

    # ------------------------------------------------------------------ the conveyor

    def _no_more_parts(self) -> bool:
        total = self.config.total
        return self._finishing or (total > 0 and self.history.counters.parts >= total)

    def _blocked(self) -> str | None:
        """Return why no trigger may be raised now, or None."""
        if not self._rungs.alive():
            return "not_alive"
        if self._stat.has(StatFlag.RESULT_VALID) or self._rungs.flags & CtrlFlag.RESULT_ACK:
            return "result_valid_up"
        if (
            self._rungs.starting()
            or not self._stat.has(StatFlag.READY)
            or self._stat.has(StatFlag.TRIG_ACK)
        ):
            return "not_ready"
        return None

    def _turn_away_early_parts(self) -> None:
        """Reject a part that comes while another one is under the camera."""
        busy = self._step in (Step.WAIT_ACK, Step.WAIT_RESULT) or self._again is not None
        due = self._now >= self._due and not self._no_more_parts()
        if busy and due and not self.config.wait_ready:
            self._reject(self._blocked() or "not_ready")

    def _advance(self) -> None:
        late = 0.0 if self._held_since is not None else self._now - self._due
        if (
            self.config.wait_ready
        ):  # the belt stood still for the rest; a scan is no reason to run slower
            late = min(late, self.config.scan)
        self._due = self._now - late + self.config.takt
        self._held_since = None

    def _next_part(self) -> Part:
        counters = self.history.counters
        return Part(
            seq=self.history.next_seq,
            part_id=self.config.part_id(counters.parts),
            serial=self.config.lot,
            number=counters.triggers + 1,
        )

    def _reject(self, cause: str) -> None:
        self._emit("reject", cause=cause, part_id=self.config.part_id(self.history.counters.parts))
        self._advance()
        self._stop_line_on_rejects()

    def _stop_line_on_rejects(self) -> None:
        limit = self.config.stop_after_rejects
        if limit and self.history.rejects_in_row >= limit:
            self._emit("line_stopped", rejects_in_row=self.history.rejects_in_row)
            self._rungs.flags &= ~(CtrlFlag.ENABLE | CtrlFlag.TRIGGER)
            self._step = Step.HALTED
            self.line_stopped = self.done = True

    # ------------------------------------------------------------------ steps of a part

    def _idle(self) -> None:
        if self._again is not None:
            self._trigger_again(self._again)
        elif self._no_more_parts():
            quiet = not self._stat.flags & _WORKING and not self._rungs.flags & CtrlFlag.RESULT_ACK
            self.done = quiet or self._now - self._concluded_at > self.config.result_timeout
        elif self._blind_at is not None:
            if self._now >= self._blind_at:
                self._blind_at = None
                self._prepare(self._next_part())
        elif self._now >= self._due:
            self._part_arrives()

    def _part_arrives(self) -> None:
        blocked = self._blocked()
        if blocked is None:
            seconds = self._fault("frozen_heartbeat", self.history.counters.triggers + 1)
            if seconds is None:
                self._prepare(self._next_part())
            else:
                self._rungs.frozen = True
                self._blind_at = self._now + seconds
        elif not self._may_wait():
            self._reject(blocked)

    def _may_wait(self) -> bool:
        if self._held_since is None:
            self._held_since = self._now
        line_starts = self._rungs.starting() and self._rungs.alive()
        if self.config.wait_ready or line_starts:
            return self._now - self._held_since < self.config.ready_timeout
        self._held_since = None
        return False

    def _trigger_again(self, part: Part) -> None:
        """Trigger a part that still stands there, once the station can take it."""
        if self._held_since is None:
            self._held_since = self._now
        if self._blocked() is None:
            self._prepare(part)
        elif self._now - self._held_since >= self.config.ready_timeout:
            self._part, self._raised_at = part, self._now
            self._conclude("lost")
            self._held_since = None
        else:
            return
        self._again = None

    def _prepare(self, part: Part) -> None:
        self._part = part
        self._step = Step.PREPARED
        if part.repeat or part is self.history.outstanding:
            self._held_since = None
        else:
            self._advance()

    def _prepared(self) -> None:
        part = self._here()
        again = part.repeat or self.history.outstanding is not None
        self._raised_at = self._now
        self._emit(
            "retrigger" if again else "trigger",
            seq=part.seq,
            part_id=part.part_id,
            serial=part.serial,
        )
        self._step = Step.WAIT_ACK
        if again or self._fault("lost_trigger", part.number) is None:
            self._rungs.flags |= CtrlFlag.TRIGGER

    def _wait_ack(self) -> None:
        part = self._here()
        if self._stat.has(StatFlag.TRIG_ACK) and self._stat.ack_seq == part.seq:
            self._rungs.flags &= ~CtrlFlag.TRIGGER
            self._step = Step.WAIT_RESULT
            late = not part.repeat and self._fault("late_result", part.number) is not None
            wrong = not part.repeat and self._fault("wrong_sequence", part.number) is not None
            self._give_up_at = self._raised_at + (0 if late else self.config.result_timeout)
            self._expected = part.seq ^ 0x5A5A if wrong else part.seq
        elif self._now - self._raised_at > self.config.ack_timeout:
            self._conclude("no_ack")

    def _wait_result(self) -> None:
        part = self._here()
        if not part.repeat and self._fault("restart", part.number) is not None:
            self._lose_power()
        elif self._overrun(part):
            pass
        elif self._now > self._give_up_at:
            self._conclude("no_result" if self._rungs.alive() else "heartbeat")
        elif self._stat.has(StatFlag.RESULT_VALID):
            self._conclude(self._judge(), judged=True)

    def _overrun(self, part: Part) -> bool:
        if part.repeat or not self._stat.has(StatFlag.BUSY) or self._no_more_parts():
            return False
        if self._fault("overrun", part.number) is None:
            return False
        self._conclude("lost")
        if self._step is Step.IDLE:
            self._prepare(self._next_part())
        return True

    def _judge(self) -> str:
        """Return the cause of the outcome; `pass` only for a proven PASS of a living station."""
        stat = self._stat
        if not self._rungs.alive():
            return "heartbeat"
        if stat.proves_pass(self._expected):
            return "pass"
        echoed = stat.result_seq == stat.result_seq_copy == self._expected
        if not echoed or stat.result_code + stat.code_inverse != 0xFFFF:
            return "bad_check"
        return _CAUSES.get(stat.result_code, "bad_check")

    def _conclude(self, cause: str, *, judged: bool = False) -> None:
        """End the part with its one outcome, or with the answer to its repetition."""
        part = self._here()
        stat = self._stat if judged else Stat()
        told = {
            "seq": part.seq,
            "part_id": part.part_id,
            "cause": cause,
            "code": stat.result_code,
            "reason": stat.reason,
            "record": stat.record_id,
            "waited": round(self._now - self._raised_at, 6),
        }
        if part.repeat:
            same = judged and (stat.result_code, stat.record_id) == self.history.answer
            self._emit("repeat_answer", **told, same=same)
        else:
            self._emit("outcome", **told, passed=cause == "pass")
        self._rungs.flags &= ~CtrlFlag.TRIGGER
        if judged:
            self._rungs.flags |= CtrlFlag.RESULT_ACK
        self._rungs.frozen = False
        self._concluded_at = self._now
        self._step = Step.IDLE
        if part.repeat:
            return
        self._stop_line_on_rejects()
        if judged and self._step is Step.IDLE and self._fault("repeat", part.number) is not None:
            self._again = replace(part, repeat=True)

    def _lose_power(self) -> None:
        """Start over with zeroed memory; what the log knows is known again."""
        remembered = self.config.log is not None
        if not remembered:
            self._conclude("lost")
            if self.line_stopped:
                return
        next_seq = self.history.next_seq if remembered else 1
        self._emit("restart", resumed=True, next_seq=next_seq)
        self._power_up(reset=not remembered)
        self._power_cycle = True

    def _here(self) -> Part:
        if self._part is None:
            raise RuntimeError(f"no part under the camera in step {self._step.value}")
        return self._part
