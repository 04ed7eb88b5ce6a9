"""What the simulated PLC's program does in every scan, whatever part is under the camera.

heartbeat       increments every 100 ms
RESET           after a cold start, until a living station must have seen it
RECIPE_REQ      with the number, until RECIPE_ACK and the echo in word 11, or refused
ERROR_ACK       while the station shows ERROR
RESULT_ACK      until RESULT_VALID drops; raised here for a result that nobody waits for
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from inspection.plc.words import CtrlFlag, Stat, StatFlag
from inspection.types import Reason

BEAT_SECONDS = 0.1
"""The PLC's heartbeat increments this often."""
DEAD_SECONDS = 1.0
"""A station whose heartbeat stood still for longer is not alive."""
RESET_SECONDS = 0.25
"""RESET stays up at least this long, and until a living station has beaten twice."""

_RECIPE_REFUSED = (Reason.RECIPE_UNKNOWN, Reason.RECIPE_INVALID, Reason.RELEASE_INVALID)


class Watch:
    """Whether the station's heartbeat moves. The first value seen proves nothing."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._changed_at = 0.0
        self.changes = 0

    def see(self, heartbeat: int, now: float) -> None:
        """Take a reading at `now`, seconds of a monotonic clock."""
        if self._last is not None and heartbeat != self._last:
            self.changes += 1
            self._changed_at = now
        self._last = heartbeat

    def alive(self, now: float) -> bool:
        """Tell whether it changed within the last second."""
        return self.changes > 0 and now - self._changed_at <= DEAD_SECONDS


class Rungs:
    """The flags of CTRL and what drives them beside the part.

    Attributes:
        flags: CTRL word 0; the part's steps set TRIGGER and RESULT_ACK in it.
        beat: the PLC's heartbeat, 16 bits.
        frozen: the heartbeat stands still.
        recipe_shown: recipe number in CTRL.
    """

    def __init__(
        self,
        emit: Callable[..., None],
        now: float,
        *,
        reset: bool,
        recipe: int,
        recipe_timeout: float,
    ) -> None:
        """Switch on.

        Args:
            emit: takes an event's name and its fields, before the effect is shown.
            now: seconds of a monotonic clock.
            reset: RESET is to be pulsed.
            recipe: recipe to request first; 0 for none.
            recipe_timeout: longest wait of a living station's answer, in seconds.
        """
        self.flags = CtrlFlag.ENABLE
        self.beat, self.frozen, self.recipe_shown = 0, False, 0
        self._emit = emit
        self._stat, self._now = Stat(), now
        self._watch = Watch()
        self._beat_at = now
        self._reset_since = now if reset else None
        self._reset_changes = 0
        self._recipes = deque([recipe] if recipe else [])
        self._recipe_timeout = recipe_timeout
        self._recipe_since = now
        self._stale_refusal = False
        self._error = False

    def scan(self, stat: Stat, now: float, *, between_parts: bool) -> None:
        """Run every rung once."""
        self._stat, self._now = stat, now
        self._watch.see(stat.heartbeat, now)
        self._heartbeat()
        self._reset()
        if self._recipes and self._reset_since is None:
            self._recipe(self._recipes[0], between_parts)
        else:
            self._recipe_since = now
        self._error_ack()
        self._result_ack(between_parts)

    def alive(self) -> bool:
        """Tell whether the station lives."""
        return self._watch.alive(self._now)

    def starting(self) -> bool:
        """Tell whether RESET or a recipe request is still open; no part may be triggered."""
        return self._reset_since is not None or bool(self._recipes)

    def request_recipe(self, number: int) -> None:
        """Queue a recipe request. Raises ValueError for a number outside 1..65535."""
        if not 1 <= number <= 0xFFFF:
            raise ValueError(f"recipe number must be 1..65535, got {number}")
        self._recipes.append(number)

    def _heartbeat(self) -> None:
        if not self.frozen and self._now - self._beat_at >= BEAT_SECONDS:
            self.beat = (self.beat + 1) & 0xFFFF
            self._beat_at = max(self._beat_at + BEAT_SECONDS, self._now - BEAT_SECONDS)

    def _reset(self) -> None:
        if self._reset_since is None:
            return
        if not self.flags & CtrlFlag.RESET:
            self.flags |= CtrlFlag.RESET
            self._reset_changes = self._watch.changes
            return
        seen = self._watch.changes - self._reset_changes >= 2
        if seen and self._now - self._reset_since >= RESET_SECONDS:
            self.flags &= ~CtrlFlag.RESET
            self._reset_since = None

    def _recipe(self, number: int, between_parts: bool) -> None:
        stat = self._stat
        if not self.alive():
            self._recipe_since = self._now
        refused = stat.has(StatFlag.ERROR) and stat.reason in _RECIPE_REFUSED
        if not self.flags & CtrlFlag.RECIPE_REQ:
            if between_parts and not stat.has(StatFlag.RECIPE_ACK):
                self.flags |= CtrlFlag.RECIPE_REQ
                self.recipe_shown = number
                self._stale_refusal = refused  # of an earlier request
                return
        else:
            self._stale_refusal &= refused
            if stat.has(StatFlag.RECIPE_ACK) and stat.recipe == number:
                self._recipe_answered(number, ok=True)
                return
            if refused and not self._stale_refusal:
                self._recipe_answered(number, ok=False)
                return
        if self._now - self._recipe_since > self._recipe_timeout:
            self._recipe_answered(number, ok=False)

    def _recipe_answered(self, number: int, *, ok: bool) -> None:
        self._emit("recipe", number=number, ok=ok, code=0 if ok else self._stat.reason)
        self.flags &= ~CtrlFlag.RECIPE_REQ
        self._recipes.popleft()
        self._recipe_since = self._now

    def _error_ack(self) -> None:
        error = self._stat.has(StatFlag.ERROR)
        if error != self._error:
            self._error = error
            self._emit("station_error", on=error, code=self._stat.reason if error else 0)
            self.flags ^= CtrlFlag.ERROR_ACK

    def _result_ack(self, between_parts: bool) -> None:
        valid = self._stat.has(StatFlag.RESULT_VALID)
        if self.flags & CtrlFlag.RESULT_ACK:
            if not valid:
                self.flags &= ~CtrlFlag.RESULT_ACK
        elif valid and between_parts:
            self._emit("discard", seq=self._stat.result_seq, code=self._stat.result_code)
            self.flags |= CtrlFlag.RESULT_ACK
