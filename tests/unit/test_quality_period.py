"""Periods of the quality page: whole shifts and half hours, without gaps."""

import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from inspection.errors import ConfigError
from inspection_serve.web.quality.period import DEFAULT_SHIFTS, Per, choose_period, read_shifts

NOW = datetime(2026, 11, 21, 13, 22, tzinfo=UTC)
SHIFTS = read_shifts(DEFAULT_SHIFTS)


@pytest.mark.parametrize("span", ["shift", "day", "week", "month", "quarter"])
def test_buckets_have_no_gaps(span: str) -> None:
    period = choose_period(span, None, None, None, SHIFTS, NOW)  # type: ignore[arg-type]
    for one, after in zip(period.buckets, period.buckets[1:], strict=False):
        assert one.end == after.start
    assert period.since <= "2026-11-21T13:00" < period.until
    places = period.places({period.since, "2026-11-21T13:00"})
    assert places == {period.since: 0, "2026-11-21T13:00": len(period.buckets) - 1}


def test_a_time_that_cannot_be_shown() -> None:
    for since, until in (
        (NOW, NOW),
        (NOW, NOW - timedelta(days=1)),
        (NOW - timedelta(days=500), NOW),
    ):
        with pytest.raises(ConfigError):
            choose_period("custom", since, until, None, SHIFTS, NOW)


@pytest.mark.parametrize("per", [None, "day", "shift"])
def test_a_year_is_shown_by_day_or_shift(per: str | None) -> None:
    period = choose_period("custom", NOW - timedelta(days=390), NOW, per, SHIFTS, NOW)  # type: ignore[arg-type]
    assert len(period.buckets) in (390, 391, 392, 781, 782, 783)
    with pytest.raises(ConfigError, match="points"):
        choose_period("custom", NOW - timedelta(days=390), NOW, "hour", SHIFTS, NOW)


@pytest.mark.parametrize(
    "value",
    [None, [], [{}], [{"name": "A", "start": "08:10"}], [{"name": "", "start": "08:00"}],
     [{"name": "A", "start": "08:00"}] * 2, [{"name": "A", "start": "25:00"}]],
)  # fmt: skip
def test_wrong_shifts_are_refused(value: object) -> None:
    with pytest.raises(ConfigError):
        read_shifts(value)


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "Australia/Eucla", "Asia/Seoul"])
@pytest.mark.parametrize("per", ["half_hour", "hour", "shift", "day"])
def test_buckets_are_whole_half_hours_in_every_zone(
    monkeypatch: pytest.MonkeyPatch, zone: str, per: Per
) -> None:
    """Parts are counted by half hours of UTC: none may lie in two buckets, or in none."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        for minutes in range(0, 24 * 60, 10):
            now = NOW + timedelta(minutes=minutes)
            period = choose_period("custom", now - timedelta(days=4), now, per, SHIFTS, now)
            for one, after in pairwise(period.buckets):
                assert one.end == after.start
            assert {bucket.start[14:] for bucket in period.buckets} <= {"00", "30"}
            assert period.since <= (now - timedelta(days=4)).isoformat()[:16]
            assert now.isoformat()[:16] < period.until
    finally:
        monkeypatch.undo()
        time.tzset()
