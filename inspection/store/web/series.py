"""Counts of decisions by hour and day, for those outside: read only, from what is counted already."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError

from inspection.errors import StoreError
from inspection.store.config import StoreConfig
from inspection.store.database import make_engine, revision, store_error
from inspection.store.tables import HEAD
from inspection.store.web.counts import OPEN, Counts, Wanted
from inspection.types import Decision

HOURS = 48
DAYS = 92
DECISIONS = tuple(decision.value for decision in Decision)


@dataclass(frozen=True, slots=True)
class Span:
    """One hour or day.

    Attributes:
        start: with a zone.
        counts: decision to number of parts, every decision named.
    """

    start: datetime
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Series:
    """Counts of one station; spans without parts are in it with zeros.

    Attributes:
        hours: the last `HOURS`, oldest first; the last one is not over.
        days: the last `DAYS`, in the zone of this PC, oldest first; the last one is not over.
        undecided: parts of this time without a decision; they are in no span.
    """

    hours: tuple[Span, ...]
    days: tuple[Span, ...]
    undecided: int


def read_series(config: StoreConfig, station: str, now: datetime) -> Series | None:
    """Return the counts up to `now`, which has a zone; None where there is no store yet.

    Raises:
        StoreError: the store cannot be read, or is of another program.
    """
    path = config.sqlite_path
    if path is not None and not path.is_file():
        return None
    hour = now.replace(minute=0, second=0, microsecond=0)
    hours = [hour - timedelta(hours=back) for back in reversed(range(HOURS))]
    days = [_day(now, back) for back in reversed(range(DAYS))]
    since = min(hours[0], days[0]).astimezone(UTC).strftime("%Y-%m-%dT%H:%M")
    engine = make_engine(config, read_only=True)
    try:
        with engine.connect() as connection, connection.begin():
            found = revision(connection)
            if found != HEAD:
                raise StoreError(
                    f"the store is at migration {found}, not {HEAD}; start the line once"
                )
        with engine.connect() as connection, connection.begin():
            counts = Counts(connection, Wanted(since=since, station=station))
            counted = counts.by("slot", "decision")
    except SQLAlchemyError as error:
        raise store_error(error, config, "counting decisions") from error
    finally:
        engine.dispose()
    undecided = sum(number for (_, decision), number in counted.items() if decision == OPEN)
    told = [
        (datetime.fromisoformat(f"{slot}:00+00:00"), str(decision), number)
        for (slot, decision), number in counted.items()
        if decision in DECISIONS
    ]
    return Series(_spans(hours, told), _spans(days, told), undecided)


def _day(now: datetime, back: int) -> datetime:
    """Return the midnight `back` days before, in the zone of this PC, whatever its clocks did since."""
    day = now.date() - timedelta(days=back)
    return datetime(day.year, day.month, day.day).astimezone()


def _spans(
    starts: Sequence[datetime], counted: Sequence[tuple[datetime, str, int]]
) -> tuple[Span, ...]:
    found = [Span(start, dict.fromkeys(DECISIONS, 0)) for start in starts]
    for at, decision, number in counted:
        place = bisect_right(starts, at) - 1
        if place >= 0:
            found[place].counts[decision] += number
    return tuple(found)
