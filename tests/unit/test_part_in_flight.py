"""One part in flight: its decision and the times of it are one thing, whichever thread looks."""

from __future__ import annotations

import threading
import time

import pytest

from inspection import part as module
from inspection.part import PartInFlight
from inspection.types import Decision, PartKey, Reason, Result, Trigger


def new_part() -> PartInFlight:
    now = time.monotonic()
    return PartInFlight(Trigger(PartKey("s", 1, 1), 1, "", now, "at", now + 1), None)


@pytest.mark.parametrize("rejected", [False, True])
def test_nobody_sees_a_decision_without_its_time(monkeypatch, rejected):
    """The thread that decides may be held up at any place; the loop and record look meanwhile."""
    part = new_part()
    if rejected:
        part.settle(Result(Decision.PASS, Reason.NONE))
    before = part.result
    reached, go_on = threading.Event(), threading.Event()

    def held_up() -> str:
        reached.set()
        assert go_on.wait(10)
        return "then"

    monkeypatch.setattr(module, "utc_now", held_up)
    verdict = Result.not_inspected(Reason.STORE_FAILED)
    change = (
        (lambda: part.reject(Reason.STORE_FAILED, "")) if rejected else lambda: part.settle(verdict)
    )
    deciding = threading.Thread(target=change)
    deciding.start()
    assert reached.wait(10)
    assert part.result is before
    seen: list[object] = []
    looking = threading.Thread(target=lambda: seen.append(part.inspected()))
    looking.start()
    looking.join(0.1)
    assert not seen, "what is written waits until the decision is whole"
    go_on.set()
    for thread in (deciding, looking):
        thread.join(10)
    (inspected,) = seen
    assert inspected.result is part.result
    assert inspected.decided_at == "then"
    assert inspected.decided_mono > 0


@pytest.mark.parametrize("decision", [Decision.PASS, Decision.FAIL, Decision.REVIEW])
def test_what_is_found_after_the_deadline_is_not_the_answer(decision):
    """The deadline may pass between the look at the clock in `decide` and this."""
    now = time.monotonic()
    part = PartInFlight(Trigger(PartKey("s", 1, 1), 1, "", now - 2, "at", now - 1), None)
    assert not part.settle(Result(decision, Reason.NONE))
    told = part.inspected()
    assert told.result == Result.not_inspected(Reason.DEADLINE)
    assert told.decided_mono > part.trigger.deadline_mono
    refused = PartInFlight(part.trigger, None)
    assert refused.settle(Result.not_inspected(Reason.CAMERA_LOST)), "it says why more closely"
    assert refused.inspected().result.reason is Reason.CAMERA_LOST
