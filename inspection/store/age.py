"""How old a part is, whatever the PC's clock said when it came.

    boot: monotonic clock ├──parts──┤  off: labels, 0 to 7 days  ├──parts──┤ now
                          ◀───────────────── age ────────────────────────────

While the PC runs, its monotonic clock counts. While it was off, the labels do, each time a week at most and
never less than nothing: a clock that is wrong after a start makes no picture older than a week. So in a
plant that stops for months, pictures are kept by that much longer.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from inspection.store.tables import epochs, parts
from inspection.store.writes import boot_id

LONGEST_STOP = timedelta(days=7)
"""What a stop of the PC counts at most."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in the life of a station.

    Attributes:
        epoch: in which it lies.
        mono: monotonic seconds in that epoch; None: its end.
    """

    epoch: int
    mono: float | None

    def is_after(self, station: str) -> sa.ColumnElement[bool]:
        """Return the condition that a row of `parts` is of this station, from before."""
        at = parts.c.epoch
        before = at <= self.epoch
        if self.mono is not None:
            begun = sa.and_(at == self.epoch, parts.c.triggered_mono < self.mono)
            before = sa.or_(at < self.epoch, begun)
        return sa.and_(parts.c.station == station, before)


@dataclass(slots=True)
class _Boot:
    """What a station did between two starts of its PC.

    Attributes:
        boot_id: the kernel's name of it.
        end: the last monotonic second that is known of it.
        ended: its label.
        started: label of its first epoch.
        epochs: number and first monotonic second of each, newest first.
    """

    boot_id: str
    end: float
    ended: str
    started: str = ""
    epochs: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])


def moment(connection: sa.Connection, station: str, seconds: float) -> Moment | None:
    """Return where the station was so many seconds ago; None: it has not existed for so long."""
    age, later = 0.0, ""
    for boot in _boots(connection, station):
        if later:
            age += _counted(_stop(boot.ended, later)).total_seconds()
        if age >= seconds:
            return Moment(boot.epochs[0][0], None) if boot.epochs else None
        for epoch, start in boot.epochs:
            if age + boot.end - start >= seconds:
                return Moment(epoch, boot.end - (seconds - age))
        if boot.epochs:
            age += max(0.0, boot.end - boot.epochs[-1][1])
        later = boot.started
    return None


def odd_stop(connection: sa.Connection, station: str) -> timedelta | None:
    """Return how long the PC was off the last time by the labels, when that is not what is counted."""
    later = ""
    for boot in _boots(connection, station):
        if later and boot.epochs:
            stop = _stop(boot.ended, later)
            return None if stop == _counted(stop) else stop
        later = boot.started
    return None


def _boots(connection: sa.Connection, station: str) -> Generator[_Boot]:
    """Return this boot, which goes on now, and those before it, newest first."""
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    boot = _Boot(boot_id(), time.monotonic(), now, started=now)
    query = sa.select(epochs).where(epochs.c.station == station).order_by(epochs.c.epoch.desc())
    for row in connection.execute(query):
        if row.boot_id != boot.boot_id:
            yield boot
            boot = _Boot(row.boot_id, row.started_mono, row.started_at)
            last = connection.execute(
                sa.select(parts.c.triggered_mono, parts.c.triggered_at)
                .where(parts.c.station == station, parts.c.epoch == row.epoch)
                .order_by(parts.c.sequence.desc())
                .limit(1)
            ).first()
            if last is not None:
                boot.end, boot.ended = last
        boot.epochs.append((row.epoch, row.started_mono))
        boot.started = row.started_at
    yield boot


def _stop(ended: str, started: str) -> timedelta:
    """Return the time between two labels; nothing, where one cannot be read."""
    try:
        before, after = (datetime.fromisoformat(text) for text in (ended, started))
        return after.replace(tzinfo=UTC) - before.replace(tzinfo=UTC)
    except ValueError:
        return timedelta()


def _counted(stop: timedelta) -> timedelta:
    return min(max(stop, timedelta()), LONGEST_STOP)
