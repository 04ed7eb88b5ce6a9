"""One part in flight: from its trigger until the PLC has acknowledged the answer.

The stages fill it in; whoever settles it first decides. Everything later is kept as late.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from inspection.types import (
    Code,
    Decision,
    Detections,
    Frame,
    Inspected,
    Reason,
    Recipe,
    Release,
    Result,
    StoredAnswer,
    Trigger,
)


def utc_now() -> str:
    """Return the wall time as ISO 8601 UTC with microseconds: a label, never used for intervals."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


@dataclass(frozen=True, slots=True)
class Setup:
    """A recipe and the release it names, both checked."""

    recipe: Recipe
    release: Release


class PartInFlight:
    """The record that travels through the stages. One writer for each field, except `settle`.

    Attributes:
        trigger: what the PLC asked.
        setup: recipe and release in force when the trigger was taken, or None.
        frame: set by acquire.
        previous: the frame before it, set by acquire, dropped once the part is decided.
        live: whether the camera is a sensor, set by acquire.
        exposed: set once the frame is in and the part may move.
        doubted: the frame is not this part's or shows nothing: what is found in it is in no row, not even as
            late. Set by acquire, or by detect where that is first, before the part is settled.
        detections: set by detect.
        codes: set by detect, where the recipe wants a code.
        timings: stage name to seconds since the trigger was seen.
        trigger_stored: None until record has tried; then whether the row is durable.
        recorded: what the store holds (or remembers) as this part's answer; None until then.
        record_id: the row's id, 0 while unknown.
        attempted: the answer's RESULT_VALID was written, or may have been.
        picture: what became of its picture when it was offered to the sink; empty: it was not yet.
    """

    def __init__(self, trigger: Trigger, setup: Setup | None) -> None:
        self.trigger = trigger
        self.setup = setup
        self.frame: Frame | None = None
        self.previous: Frame | None = None
        self.live = False
        self.exposed = False
        self.doubted = False
        self.detections: Detections | None = None
        self.codes: tuple[Code, ...] | None = None
        self.timings: dict[str, float] = {}
        self.trigger_stored: bool | None = None
        self.recorded: Result | None = None
        self.record_id = 0
        self.attempted = False
        self.picture = ""
        self._lock = threading.Lock()
        self._result: Result | None = None
        self._decided_mono = 0.0
        self._decided_at = ""

    @classmethod
    def from_store(cls, answer: StoredAnswer, result: Result, seen_mono: float) -> PartInFlight:
        """Rebuild a part that was answered before, to answer the same sequence again."""
        trigger = Trigger(
            answer.key,
            answer.part_id,
            answer.serial,
            seen_mono,
            utc_now(),
            deadline_mono=float("inf"),
        )
        part = cls(trigger, None)
        part.settle(result)
        part.trigger_stored, part.recorded, part.record_id = True, result, answer.record_id
        part.attempted = True
        part.picture = "told"  # by the process that answered first
        return part

    @property
    def result(self) -> Result | None:
        """The answer, once settled."""
        return self._result

    def mark(self, stage: str) -> None:
        """Note that a stage ended now."""
        self.timings[stage] = time.monotonic() - self.trigger.seen_mono

    def settle(self, result: Result) -> bool:
        """Give the answer, if nobody has and it is in time; past the deadline the answer is that.

        Returns False when this result is not the part's answer.
        """
        with self._lock:
            if self._result is not None:
                return False
            now = time.monotonic()
            in_time = now <= self.trigger.deadline_mono
            if not in_time and result.decision is not Decision.NOT_INSPECTED:
                self._set(Result.not_inspected(Reason.DEADLINE), now)
                return False
            self._set(result, now)
            return True

    def reject(self, reason: Reason, detail: str) -> Result:
        """Replace an answer that was never published by NOT_INSPECTED; the safe direction only."""
        with self._lock:
            if self._result is None or self._result.decision is not Decision.NOT_INSPECTED:
                self._set(Result.not_inspected(reason, detail), time.monotonic())
            if self._result is None:
                raise AssertionError("unreachable: _set always sets")
            return self._result

    def record_answer(self, result: Result) -> None:
        """Note that this answer is durable; not when it has been rejected since: another follows."""
        with self._lock:
            if self._result is result:
                self.recorded = result

    def inspected(self) -> Inspected:
        """Return what the store writes. The part must be settled."""
        with self._lock:  # a decision and its times belong together
            if self._result is None:
                raise ValueError(f"part {self.trigger.key} is not settled")
            return Inspected(
                trigger=self.trigger,
                result=self._result,
                recipe=self.setup.recipe if self.setup else None,
                frame=self.frame,
                detections=None if self.doubted else self.detections,
                timings=dict(self.timings),
                decided_mono=self._decided_mono,
                decided_at=self._decided_at,
                codes=None if self.doubted else self.codes,
            )

    def _set(self, result: Result, now: float) -> None:
        self._decided_mono = now
        self._decided_at = utc_now()
        self.previous = None
        self.timings["decided"] = self._decided_mono - self.trigger.seen_mono
        self._result = result  # last: who sees a result without the lock sees its times
