"""When the next part is due, CTRL is read more often; at any other time as it is set."""

from __future__ import annotations

import pytest

from inspection.pace import Pace

POLL = 0.002
SOON = POLL / 4


def learned(*times: float) -> Pace:
    pace = Pace(POLL)
    for time in times:
        pace.trigger(time)
    return pace


def test_nothing_is_due_before_two_intervals_were_alike() -> None:
    for times in ((), (5.0,), (5.0, 5.3), (5.0, 5.3, 5.7)):
        pace = learned(*times)
        assert {pace.pause(5.0 + step / 1000) for step in range(3000)} == {POLL}


@pytest.mark.parametrize("late", [-0.008, 0.0, 0.008])
def test_around_the_next_part_of_an_even_takt(late: float) -> None:
    pace = learned(5.0, 5.3, 5.6 + late)
    due = 5.6 + late + 0.3 + late
    assert pace.pause(due - 0.012) == POLL
    assert [pace.pause(due + off) for off in (-0.0099, 0.0, 0.0099)] == [SOON] * 3
    assert pace.pause(due + 0.012) == POLL  # it did not come: nothing is wasted on waiting for it
    assert pace.pause(due + 0.3) == POLL


def test_a_part_out_of_turn_ends_it_until_the_takt_is_even_again() -> None:
    pace = learned(5.0, 5.3, 5.6, 5.75)
    assert pace.pause(5.9) == POLL
    pace.trigger(5.9)
    assert pace.pause(6.05) == SOON


def test_a_slow_plc_is_asked_in_its_own_measure() -> None:
    pace = Pace(0.1)
    for time in (5.0, 7.0, 9.0):
        pace.trigger(time)
    assert pace.pause(10.4) == 0.1
    assert pace.pause(10.6) == 0.025
