"""Which time is looked at, cut into half hours, hours, shifts or days of the station's own clock."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Literal

from inspection.errors import ConfigError

Per = Literal["half_hour", "hour", "shift", "day"]
Span = Literal["shift", "day", "week", "month", "quarter", "custom"]
HALF = timedelta(minutes=30)
LONGEST = timedelta(days=400)
MOST_BUCKETS = 1500
"""More are refused: nobody can read them."""
SHIFTS = "shifts"
"""Name of the setting."""
DEFAULT_SHIFTS = [{"name": "A", "start": "08:00"}, {"name": "B", "start": "20:00"}]
_SPANS: dict[str, timedelta] = {
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=30),
    "quarter": timedelta(days=91),
}


@dataclass(frozen=True, slots=True)
class Shift:
    """A shift: it lasts until the next one starts.

    Attributes:
        name: as people call it.
        start: time of day at the station, on a full or half hour.
    """

    name: str
    start: time


@dataclass(frozen=True, slots=True)
class Bucket:
    """One point of a chart.

    Attributes:
        start: UTC, as `2026-11-21T08:30`.
        end: alike; not part of it.
        shift: name of its shift; empty where buckets are no shifts.
    """

    start: str
    end: str
    shift: str = ""


@dataclass(frozen=True, slots=True)
class Period:
    """A time in buckets, without gaps, oldest first."""

    per: Per
    buckets: tuple[Bucket, ...]

    @property
    def since(self) -> str:
        """Start of the first bucket."""
        return self.buckets[0].start

    @property
    def until(self) -> str:
        """End of the last bucket."""
        return self.buckets[-1].end

    def place(self, slot: str) -> int:
        """Return the number of the bucket that holds a half hour of the period."""
        return bisect.bisect_right([bucket.start for bucket in self.buckets], slot) - 1

    def places(self, slots: set[str]) -> dict[str, int]:
        """Return `place` of many half hours."""
        starts = [bucket.start for bucket in self.buckets]
        return {slot: bisect.bisect_right(starts, slot) - 1 for slot in slots}


def read_shifts(value: object) -> list[Shift]:
    """Return the shifts of a setting, by their start.

    Raises:
        ConfigError: a name or a start is missing, wrong or there twice.
    """
    if not isinstance(value, list) or not 1 <= len(value) <= 8:
        raise ConfigError("shifts: give 1 to 8 of them")
    found: list[Shift] = []
    for one in value:
        name = str(one.get("name", "")).strip() if isinstance(one, dict) else ""
        try:
            start = time.fromisoformat(str(one["start"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"shifts: {one!r} has no start such as 08:30") from error
        if not 1 <= len(name) <= 32 or start.minute % 30 or start.second or start.microsecond:
            raise ConfigError(
                f"shifts: {name!r} {start}: a name has 1 to 32 characters, a start is on a half hour"
            )
        found.append(Shift(name, start.replace(tzinfo=None)))
    if len({s.name for s in found}) < len(found) or len({s.start for s in found}) < len(found):
        raise ConfigError("shifts: a name or a start is there twice")
    return sorted(found, key=lambda shift: shift.start)


def running_shift(value: object, now: datetime) -> str:
    """Return the name of the shift that runs at a time with a zone; empty where the setting is wrong."""
    try:
        return _shift_starts(now - timedelta(days=1), now, read_shifts(value))[-1][1]
    except ConfigError:
        return ""


def choose_period(
    span: Span,
    since: datetime | None,
    until: datetime | None,
    per: Per | None,
    shifts: Sequence[Shift],
    now: datetime,
) -> Period:
    """Return the period that was asked for, widened to whole buckets.

    Args:
        span: up to now; `custom` uses `since` and `until`; `shift` is the running one and the one before.
        since: without a zone it is the station's own time.
        until: alike; now without one.
        per: None chooses what can be read well.
        shifts: by their start.
        now: with a zone.

    Raises:
        ConfigError: it ends before it starts, is too long, or has too many buckets.
    """
    for moment in (since, until):
        if moment is not None and not 2000 <= moment.year < 2200:
            raise ConfigError(f"the time {moment} cannot be shown; use the years 2000 to 2199")
    end = now if until is None or span != "custom" else until.astimezone()
    if span == "shift":
        start = now - timedelta(seconds=1)
        starts = [moment for moment, _ in _shift_starts(now - timedelta(days=3), now, shifts)]
        start = starts[-2]
    elif span == "custom":
        start = end - _SPANS["week"] if since is None else since.astimezone()
    else:
        start = end - _SPANS[span]
    if not timedelta(0) < end - start <= LONGEST:
        raise ConfigError(
            f"the time from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} cannot be shown; "
            f"it must end after it starts, and last at most {LONGEST.days} days"
        )
    chosen = per or _readable(end - start)
    day = timedelta(days=1)
    step = {"half_hour": HALF, "hour": 2 * HALF, "day": day}.get(chosen, day / len(shifts))
    if (end - start) / step > MOST_BUCKETS:
        raise ConfigError(
            f"{(end - start) / step:.0f} points cannot be read; choose longer steps, or less time"
        )
    return Period(chosen, tuple(_buckets(start, end, chosen, shifts)))


def _readable(length: timedelta) -> Per:
    if length <= timedelta(hours=24, minutes=30):
        return "half_hour"
    if length <= timedelta(days=4):
        return "hour"
    return "shift" if length <= timedelta(days=45) else "day"


def _shift_starts(
    since: datetime, until: datetime, shifts: Sequence[Shift]
) -> list[tuple[datetime, str]]:
    """Return each start (with zone) from before `since` up to `until`, with its shift's name."""
    day, found = since.astimezone().date() - timedelta(days=1), []
    while day <= until.astimezone().date() + timedelta(days=1):
        found += [(datetime.combine(day, s.start).astimezone(), s.name) for s in shifts]
        day += timedelta(days=1)
    return [pair for pair in found if pair[0] <= until]


def _buckets(start: datetime, end: datetime, per: Per, shifts: Sequence[Shift]) -> list[Bucket]:
    if per in ("shift", "day"):
        named = [Shift("", time(0))] if per == "day" else shifts
        starts = [
            (_half_hour(moment), name)
            for moment, name in _shift_starts(start, end + timedelta(days=2), named)
        ]
        first = max(i for i, (moment, _) in enumerate(starts) if moment <= start)
        pairs = zip(starts[first:], starts[first + 1 :], strict=False)
        return [
            Bucket(_slot(moment), _slot(after), name)
            for (moment, name), (after, _) in pairs
            if moment < end
        ]
    step = HALF if per == "half_hour" else 2 * HALF
    moment = _half_hour(start)
    moment -= timedelta(minutes=moment.minute % (30 if per == "half_hour" else 60))
    found = []
    while moment < end:
        found.append(Bucket(_slot(moment), _slot(moment + step)))
        moment += step
    return found


def _half_hour(moment: datetime) -> datetime:
    """Return the start of the half hour (UTC) that holds a moment: parts are counted by these.

    Where the station's clock is off the half hour (+05:45), a shift begins some minutes early.
    """
    moment = moment.astimezone(UTC).replace(second=0, microsecond=0)
    return moment - timedelta(minutes=moment.minute % 30)


def _slot(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M")
