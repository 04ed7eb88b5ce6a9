"""When the next part is due, CTRL is read more often; at any other time as it is set."""

from __future__ import annotations

import pytest

from inspection.config import LineTiming
from inspection.pace import Pace
from inspection.plc.modbus import ModbusConfig
from inspection.plc.remote_io import RemoteIoConfig

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


def test_a_part_is_due_half_of_the_time_at_most() -> None:
    for takt, soon in ((0.02, 0), (0.038, 0), (0.041, 20), (0.05, 20)):
        pace = learned(*(5.0 + takt * part for part in range(4)))
        last = 5.0 + takt * 3
        fast = [pace.pause(last + step / 1000) == SOON for step in range(round(takt * 1000))]
        assert sum(fast) == pytest.approx(soon / 2, abs=1), (
            takt
        )  # the window's other half is the next's


def test_a_driver_that_counts_readings_is_read_as_often_as_it_is_set() -> None:
    """Two readings debounce an input: more often, a blip were a part; less often, a part were none."""
    lines = {"trigger": 0, "passed": 0, "reject": 1, "watchdog": 1.0}
    assert LineTiming().timing(RemoteIoConfig(host="10.0.0.5", **lines)).steady
    assert not LineTiming().timing(ModbusConfig(host="10.0.0.5")).steady
    pace = Pace(POLL, steady=True)
    for part in range(5):
        pace.trigger(5.0 + 0.3 * part)
    assert {pace.pause(6.2 + step / 1000) for step in range(400)} == {POLL}
    assert pace.pause_beside_model(0.5) == POLL


def test_beside_the_model_ctrl_is_read_less_often() -> None:
    assert Pace(0.002).pause_beside_model(0.5) == 0.01
    assert Pace(0.002).pause_beside_model(0.005) == 0.005, "the deadline is kept"
    assert Pace(0.002).pause_beside_model(-1.0) == 0.002
    assert Pace(0.05).pause_beside_model(0.5) == 0.05


def test_a_slow_plc_is_asked_in_its_own_measure() -> None:
    pace = Pace(0.1)
    for time in (5.0, 7.0, 9.0):
        pace.trigger(time)
    assert pace.pause(10.4) == 0.1
    assert pace.pause(10.6) == 0.025
