"""The PLC's side of the exchange where there is no PLC: from input lines to CTRL, from STAT to output lines.

    trigger input rises ─▶ new TRIG_SEQ, TRIGGER held ─▶ TRIG_ACK ─▶ answer of that sequence
                               │ not READY                           │ proves PASS ─▶ PASS
                               ▼                                     ▼ else, or none in time
                           REJECT at once; the answer is for     REJECT
                           the row alone
    outputs held ─▶ off, RESULT_ACK ─▶ RESULT_VALID dropped ─▶ RESULT_ACK off

PASS is energised for one part alone, from its proven answer until the hold is over, and drops with any
fault, RESET, disabling, the next part, or when the inputs were not read for too long: then nobody knows
which part is in place. A part found in place so, or at a connect, is refused: REJECT, a sequence, a row.
Pure: no socket, no clock of its own.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from inspection.plc.words import Ctrl, CtrlFlag, Stat, StatFlag, next_sequence

RESET_SCANS = 3
"""Readings after a start that show RESET: the count begins anew and says nothing of the last run's."""
ACKNOWLEDGE_AFTER = 1.0
"""Seconds of hold after which the answer is acknowledged while the output stays: the station waits two."""
SHORTEST_REJECT = 0.1
"""Seconds that REJECT is held for a part that has left already."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Input lines, true when active."""

    trigger: bool
    enable: bool
    reset: bool


@dataclass(frozen=True, slots=True)
class Outputs:
    """Output lines, true when active."""

    passed: bool = False
    reject: bool = False
    ready: bool = False
    busy: bool = False
    error: bool = False


class _Step(enum.Enum):
    IDLE = enum.auto()
    INSPECTING = enum.auto()
    SHOWN = enum.auto()


class _Debounce:
    """One input: so many equal readings make its new level."""

    def __init__(self, readings: int) -> None:
        self._readings = readings
        self.begin(False)

    def begin(self, level: bool) -> bool:
        """Take a reading as the level at once, and return it."""
        self._level = self._seen = level
        self._times = 0
        return level

    def take(self, level: bool) -> bool:
        """Take a reading and return the level."""
        self._times = self._times + 1 if level == self._seen else 1
        self._seen = level
        if self._times >= self._readings:
            self._level = level
        return self._level


class Program:
    """What a PLC's program would do with these lines. Times are of the monotonic clock, in seconds."""

    def __init__(
        self, *, hold: float | None, result_timeout: float, debounce: int, blind: float
    ) -> None:
        """No part has come.

        Args:
            hold: seconds that PASS and REJECT are held; None: until the trigger input falls.
            result_timeout: seconds after the trigger in which the answer must be there.
            debounce: equal readings that make a new level of an input, each input by itself.
            blind: seconds between two readings, beyond which parts may have changed unseen.
        """
        self._hold = hold
        self._result_timeout = result_timeout
        self._blind = blind
        self._debounces = (_Debounce(debounce), _Debounce(debounce), _Debounce(debounce))
        self._stat = Stat()
        self._step = _Step.IDLE
        self._inputs = Inputs(trigger=False, enable=False, reset=False)
        self._scanned = float("-inf")
        self._resets = RESET_SCANS
        self._heartbeat = 0
        self._sequence = 0
        self._part_id = 0
        self._shows_sequence = False
        self._taken = self._since = 0.0
        self._until: float | None = None
        self._passed = False
        self._doubtful = False  # the part may have left unseen: it cannot be passed
        self._refused = False  # REJECT whatever the answer is
        self._calls = False  # TRIGGER is up, or waits until the answer before is acknowledged
        self._open = False  # the part's answer is not acknowledged yet
        self._owes = False  # a part came that could not be taken yet
        self._unknown = False  # the part in place was found there, and has its sequence
        self._acknowledges = False
        self._timed_out = False
        self._error_before = False

    def connected(self, inputs: Inputs, now: float) -> None:
        """Begin on a new link: no output, no open part; a part in place is one that nobody saw come."""
        self._stat = Stat()
        self._inputs, self._scanned = self._read_anew(inputs), now
        self._owes = self._owes or inputs.trigger
        self._unknown = self._unknown and inputs.trigger
        self._drop_part()

    def scan(self, inputs: Inputs, now: float) -> None:
        """Take one reading of the inputs."""
        self._heartbeat = (self._heartbeat + 1) & 0xFFFF
        self._resets = max(0, self._resets - 1)
        blind, self._scanned = now - self._scanned > self._blind, now
        before = self._inputs
        self._inputs = self._read_anew(inputs) if blind else self._debounced(inputs)
        self._doubtful = self._doubtful or blind
        trigger = self._inputs.trigger
        self._unknown = self._unknown and trigger
        self._owes = self._owes or (blind and trigger)
        rises = trigger and not before.trigger
        if self._inputs.reset or self._resets:
            self._drop_part()
            self._timed_out = False
            self._owes = self._owes or rises
        elif self._owes:
            self._refuse(now)
        elif rises:
            self._take(now)
        self._follow(now)

    def told(self, stat: Stat, now: float) -> None:
        """Take STAT as the station has written it."""
        self._stat = stat
        self._doubtful = self._doubtful or now - self._scanned > self._blind
        self._follow(now)

    def ctrl(self) -> Ctrl:
        """Return CTRL as the station is to read it."""
        calls, stat = self._calls and not self._acknowledges, self._stat
        untaken = calls and self._refused and stat.ack_seq != self._sequence
        flags = CtrlFlag(0)
        for flag, up in (
            # A refused part must not be inspected. A station with a cause of its own (word 10) does not.
            (CtrlFlag.ENABLE, self._inputs.enable and not (untaken and stat.reason == 0)),
            (CtrlFlag.TRIGGER, calls),
            (CtrlFlag.RESULT_ACK, self._acknowledges),
            (CtrlFlag.RESET, self._inputs.reset or self._resets > 0),
            # Nobody else can: the station drops ERROR by it once the fault has gone.
            (CtrlFlag.ERROR_ACK, stat.has(StatFlag.ERROR)),
        ):
            flags |= flag if up else CtrlFlag(0)
        return Ctrl(
            flags=flags,
            heartbeat=self._heartbeat,
            trig_seq=self._sequence if self._shows_sequence else 0,
            part_id=self._part_id,
        )

    def outputs(self) -> Outputs:
        """Return the output lines as they must stand now."""
        shown = self._step is _Step.SHOWN
        return Outputs(
            passed=shown and self._passed,
            reject=shown and not self._passed,
            ready=self._ready() and not self._inputs.trigger,
            busy=self._step is _Step.INSPECTING,
            error=self._stat.has(StatFlag.ERROR) or self._timed_out,
        )

    # ------------------------------------------------------------------ one part

    def _debounced(self, inputs: Inputs) -> Inputs:
        trigger, enable, reset = self._debounces
        return Inputs(
            trigger=trigger.take(inputs.trigger),
            enable=enable.take(inputs.enable),
            reset=reset.take(inputs.reset),
        )

    def _read_anew(self, inputs: Inputs) -> Inputs:
        trigger, enable, reset = self._debounces
        return Inputs(
            trigger=trigger.begin(inputs.trigger),
            enable=enable.begin(inputs.enable),
            reset=reset.begin(inputs.reset),
        )

    def _ready(self) -> bool:
        stat, idle = self._stat, self._step is _Step.IDLE and not self._open
        free = idle and not self._acknowledges and not stat.has(StatFlag.RESULT_VALID)
        return free and stat.has(StatFlag.READY) and self._inputs.enable

    def _answered(self) -> bool:
        return self._stat.has(StatFlag.RESULT_VALID) and self._stat.result_seq == self._sequence

    def _refuse(self, now: float) -> None:
        """A part is there, or was, that nobody saw come: it is rejected, and gets its row once."""
        self._owes = False
        if self._unknown:  # another gap, and still a part in place: as far as can be told the same
            self._show(now, passed=False)
        else:
            self._take(now, unknown=True)
        self._unknown = self._inputs.trigger

    def _take(self, now: float, *, unknown: bool = False) -> None:
        """A part has come."""
        # while inspecting: the station answers both as not inspected
        fit = self._ready() or self._step is _Step.INSPECTING
        if self._open and self._answered():
            self._acknowledges = True
        self._sequence = next_sequence(self._sequence)
        self._part_id = (self._part_id + 1) & 0xFFFFFFFF
        self._shows_sequence = self._calls = self._open = True
        self._timed_out = self._doubtful = False
        self._taken = now
        self._refused = unknown or not fit
        if self._refused:
            self._show(now, passed=False)
        else:
            self._step = _Step.INSPECTING

    def _follow(self, now: float) -> None:
        if self._acknowledges and not self._stat.has(StatFlag.RESULT_VALID):
            self._acknowledges = False
        if self._open:
            self._follow_answer(now)
        if self._step is _Step.SHOWN:
            self._follow_hold(now)
        kept = self._step is _Step.SHOWN and now - self._since < ACKNOWLEDGE_AFTER
        if self._open and self._answered() and not kept:
            self._acknowledges, self._open = True, False

    def _follow_answer(self, now: float) -> None:
        stat, mine = self._stat, self._sequence
        inspecting = self._step is _Step.INSPECTING
        if stat.has(StatFlag.TRIG_ACK) and stat.ack_seq == mine:
            self._calls = False
        if self._answered():
            self._calls = False
            if inspecting:
                good = stat.proves_pass(mine) and self._inputs.enable and not self._doubtful
                gone = self._hold is None and not self._inputs.trigger
                self._show(now, passed=good and not gone)
        elif now - self._taken > self._result_timeout and not self._passed:
            self._timed_out = True
            self._calls = self._open = False
            if inspecting:
                self._show(now, passed=False)

    def _faulty(self) -> bool:
        """Tell whether the part was lost sight of, the line disabled, or the station got a fault."""
        new_error = self._stat.has(StatFlag.ERROR) and not self._error_before
        return self._doubtful or new_error or not self._inputs.enable

    def _show(self, now: float, *, passed: bool) -> None:
        self._step, self._since, self._passed = _Step.SHOWN, now, passed
        self._error_before = self._stat.has(StatFlag.ERROR)
        hold = self._hold
        if hold is None and not self._inputs.trigger:
            hold = SHORTEST_REJECT
        self._until = None if hold is None else now + hold

    def _follow_hold(self, now: float) -> None:
        over = not self._inputs.trigger if self._until is None else now >= self._until
        withdrawn = self._open and not self._answered()
        if self._passed and (self._faulty() or withdrawn):
            over = True
        if over:
            self._step, self._open = _Step.IDLE, self._open and not (self._passed and withdrawn)
            self._passed = False

    def _drop_part(self) -> None:
        """Forget the part under way: its outputs are off, and the station is told no sequence."""
        self._step, self._passed = _Step.IDLE, False
        self._acknowledges = self._calls = self._open = self._shows_sequence = False
