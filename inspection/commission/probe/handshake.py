"""The handshake with the person at the PLC: the probe plays the station, one step after the other.

    ENABLE ─▶ READY ─▶ TRIG_SEQ, TRIGGER ─▶ TRIG_ACK ─▶ TRIGGER down ─▶ answer ─▶ RESULT_ACK ─▶ down

It writes through the same `Exchange` as the line. Each step is waited for; what comes instead is named.
The answer is NOT INSPECTED unless another one was asked for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from inspection.commission.probe.finding import Finding, WrongError
from inspection.plc.exchange import Exchange
from inspection.plc.words import MAP_VERSION, Ctrl, CtrlFlag, StatFlag, next_sequence
from inspection.types import Decision, Reason, Result

Ask = Callable[[str, dict[str, object]], None]
"""Tells the person what to do now: code of the step and its values."""
Look = Callable[[Ctrl], str | None]
"""Names what is wrong with a reading of CTRL in this step; None when nothing is."""

_EXPOSURE = 0.05
_BUSY = CtrlFlag.TRIGGER | CtrlFlag.RESULT_ACK | CtrlFlag.RESET | CtrlFlag.RECIPE_REQ
_STUCK = {
    CtrlFlag.RESET: "reset_stuck",
    CtrlFlag.RECIPE_REQ: "recipe_stuck",
    CtrlFlag.RESULT_ACK: "ack_stuck",
    CtrlFlag.TRIGGER: "trigger_stuck",
}


@dataclass(frozen=True, slots=True)
class Manner:
    """How the handshake is gone through.

    Attributes:
        answer: what every part gets.
        parts: how many parts.
        wait: longest wait for each step, in seconds.
        poll: seconds between two readings of CTRL.
    """

    answer: Decision
    parts: int
    wait: float
    poll: float


class Handshake:
    """Goes through the steps over a connected exchange."""

    def __init__(
        self, exchange: Exchange, manner: Manner, ask: Ask, note: Callable[[Finding], None]
    ) -> None:
        """`note` takes each finding as it is made."""
        self._exchange = exchange
        self._manner = manner
        self._ask = ask
        self._note = note
        self._pause = threading.Event()
        self._reset_up = False
        self._offering = False
        self._sequence_at = 0.0
        self._ctrl = Ctrl()

    def run(self) -> None:
        """Go through all parts. Raises WrongError at the first wrong step, and PlcError."""
        self._ctrl = self._exchange.connect()
        self._exchange.raise_flags(StatFlag.ONLINE)
        self._step("wait_alive", lambda _: self._exchange.plc_alive(), "no_heartbeat")
        self._idle("wait_enable")
        last: int | None = None
        for _ in range(self._manner.parts):
            last = self._part(last)

    def _part(self, last: int | None) -> int:
        exchange, before = self._exchange, self._ctrl.trig_seq
        self._offering = True
        took = self._step(
            "wait_trigger", lambda ctrl: ctrl.has(CtrlFlag.TRIGGER), "no_trigger", self._waiting
        )
        self._offering = False
        part = self._ctrl
        self._judge_sequence(part.trig_seq, last, before)
        lead = round((time.monotonic() - self._sequence_at) * 1e3)
        self._note(
            Finding("triggered", values={"sequence": part.trig_seq, "ms": took, "lead_ms": lead})
        )
        exchange.accept(part.trig_seq)
        exchange.raise_flags(StatFlag.TRIG_ACK)
        took = self._step(
            "wait_trigger_down",
            lambda ctrl: not ctrl.has(CtrlFlag.TRIGGER),
            "trigger_held",
            lambda ctrl: _other(ctrl, part) or _reset(ctrl),
        )
        self._note(Finding("trigger_dropped", values={"ms": took}))
        exchange.raise_flags(StatFlag.EXPOSURE_DONE, drop=StatFlag.TRIG_ACK)
        self._answer(part)
        return part.trig_seq

    def _answer(self, part: Ctrl) -> None:
        exchange, answer = self._exchange, self._manner.answer

        def wrong(ctrl: Ctrl) -> str | None:
            if ctrl.has(CtrlFlag.TRIGGER):
                return "trigger_busy"
            return _other(ctrl, part) or _reset(ctrl)

        due = time.monotonic() + _EXPOSURE
        early = self._step(
            "exposing",
            lambda _: time.monotonic() >= due,
            "no_heartbeat",
            lambda ctrl: "ack_early" if ctrl.has(CtrlFlag.RESULT_ACK) else wrong(ctrl),
        )
        reason = Reason.NONE if answer is Decision.PASS else Reason.NOT_READY
        exchange.write_result(part.trig_seq, Result(answer, reason), record_id=0, cycle=early / 1e3)
        exchange.announce()
        values: dict[str, object] = {"answer": answer.value}
        took = self._step(
            "wait_ack", lambda ctrl: ctrl.has(CtrlFlag.RESULT_ACK), "no_result_ack", wrong, values
        )
        self._note(Finding("acknowledged", values={"ms": took, **values}))
        exchange.drop_flags(StatFlag.RESULT_VALID | StatFlag.EXPOSURE_DONE)
        took = self._step("wait_ack_down", lambda c: not c.has(CtrlFlag.RESULT_ACK), "ack_held")
        self._note(Finding("ack_dropped", values={"ms": took}))
        self._idle("wait_idle")

    def _idle(self, step: str) -> None:
        """Wait until the PLC holds ENABLE and nothing else."""

        def quiet(ctrl: Ctrl) -> bool:
            return ctrl.has(CtrlFlag.ENABLE) and not ctrl.flags & _BUSY

        try:
            took = self._step(step, quiet, "no_enable")
        except WrongError as error:
            stuck = next((code for flag, code in _STUCK.items() if self._ctrl.has(flag)), None)
            if error.finding.code != "no_enable" or stuck is None:
                raise
            raise WrongError(stuck, **error.finding.values) from error
        if step == "wait_enable":
            self._note(
                Finding("enabled", values={"ms": took, "recipe": self._exchange.stat.recipe})
            )

    def _waiting(self, ctrl: Ctrl) -> str | None:
        if not ctrl.has(CtrlFlag.ENABLE):
            return "enable_lost"
        if ctrl.has(CtrlFlag.TRIGGER) and ctrl.has(CtrlFlag.RESET):
            return "reset_under_trigger"
        return "ack_early" if ctrl.has(CtrlFlag.RESULT_ACK) else None

    def _judge_sequence(self, sequence: int, last: int | None, before: int) -> None:
        if sequence == 0:
            raise WrongError("sequence_zero")
        if sequence == last:
            raise WrongError("sequence_old", sequence=sequence)
        if last is not None and sequence != next_sequence(last):
            values = {"last": last, "sequence": sequence, "expected": next_sequence(last)}
            self._note(Finding("sequence_jump", "warn", dict(values)))
        elif last is None and sequence == before:
            self._note(Finding("sequence_unchanged", "warn", {"sequence": sequence}))

    # ------------------------------------------------------------------ one step

    def _step(
        self,
        code: str,
        done: Callable[[Ctrl], bool],
        never: str,
        wrong: Look = lambda _: None,
        values: dict[str, object] | None = None,
    ) -> int:
        """Ask, then read CTRL until the step is done. Returns milliseconds; raises WrongError."""
        self._ask(code, values or {})
        started = time.monotonic()
        alive = self._exchange.plc_alive()
        while True:
            ctrl = self._turn()
            problem = self._always_wrong(ctrl, alive) or wrong(ctrl)
            if problem is not None:
                raise WrongError(problem, **self._seen(ctrl))
            alive = alive or self._exchange.plc_alive()
            if done(ctrl):
                return round((time.monotonic() - started) * 1e3)
            if time.monotonic() - started > self._manner.wait:
                raise WrongError(never, **self._seen(ctrl))
            self._pause.wait(self._manner.poll)

    def _seen(self, ctrl: Ctrl) -> dict[str, object]:
        return {
            "seconds": self._manner.wait,
            "sequence": ctrl.trig_seq,
            "ack_seq": self._exchange.stat.ack_seq,
            "version": ctrl.map_version,
        }

    def _always_wrong(self, ctrl: Ctrl, alive: bool) -> str | None:
        if alive and not self._exchange.plc_alive():
            return "plc_died"
        return None if ctrl.map_version == MAP_VERSION else "version_changed"

    def _turn(self) -> Ctrl:
        """Read CTRL once; answer RESET and recipe requests as they come."""
        exchange = self._exchange
        before, ctrl = self._ctrl, exchange.poll()
        if ctrl.trig_seq != before.trig_seq or not self._sequence_at:
            self._sequence_at = time.monotonic()
        if ctrl.has(CtrlFlag.RESET) and not self._reset_up:
            self._note(Finding("reset_seen"))
            exchange.drop_flags(StatFlag.MISSED_TRIGGER | StatFlag.RESULT_VALID | StatFlag.BUSY)
        self._reset_up = ctrl.has(CtrlFlag.RESET)
        if ctrl.has(CtrlFlag.RECIPE_REQ):
            if not exchange.stat.has(StatFlag.RECIPE_ACK):
                exchange.drop_flags(StatFlag.READY)
                exchange.show(Reason.NONE, ctrl.recipe)
                exchange.raise_flags(StatFlag.RECIPE_ACK)
                self._note(Finding("recipe_seen", values={"recipe": ctrl.recipe}))
        else:
            exchange.drop_flags(StatFlag.RECIPE_ACK)
        if self._offering and not ctrl.flags & _BUSY:
            exchange.raise_flags(StatFlag.READY)
        self._ctrl = ctrl
        return ctrl


def _other(ctrl: Ctrl, part: Ctrl) -> str | None:
    same = (ctrl.trig_seq, ctrl.part_id, ctrl.serial) == (part.trig_seq, part.part_id, part.serial)
    return None if same else "changed_under_trigger"


def _reset(ctrl: Ctrl) -> str | None:
    return "reset_under_trigger" if ctrl.has(CtrlFlag.RESET) else None
