"""What the line counts of its parts, while its stages work on."""

from __future__ import annotations

import time

from inspection.metrics import LineMetrics
from inspection.part import PartInFlight
from inspection.types import PartKey, Reason, Result, Trigger


def test_a_stage_that_ends_late_does_not_disturb_the_count():
    """A part is answered at its deadline; the model, still at work, then notes its own time."""
    now = time.monotonic()
    part = PartInFlight(Trigger(PartKey("s", 1, 1), 1, "", now, "at", now), None)
    part.settle(Result.not_inspected(Reason.DEADLINE))
    part.recorded = part.result
    metrics = LineMetrics("s")
    seconds = metrics._seconds

    class Interrupted:
        def labels(self, *names: str) -> object:
            part.mark(f"late {len(part.timings)}")  # what another thread may do at any time
            return seconds.labels(*names)

    metrics._seconds = Interrupted()  # type: ignore[assignment]
    metrics.answered(part)
    assert len(part.timings) > 1
    told = {("station", "s"), ("decision", "NOT_INSPECTED"), ("reason", "DEADLINE")}
    samples = [one for metric in metrics.registry.collect() for one in metric.samples]
    counted = [one.value for one in samples if told == set(one.labels.items())]
    assert counted[0] == 1
