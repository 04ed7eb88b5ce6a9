"""Following a station's parts from beside: each one once, in the order of its record ids, when it is settled.

A part is settled when its answer cannot change any more: it was sent, or it is NOT_INSPECTED, or it is old or
has a settled successor. Until then PASS may still become NOT_INSPECTED, because the PLC was never told.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from inspection.store.rows import Values
from inspection.store.tables import parts
from inspection.types import Decision, PartState

PATIENCE = 3.0
"""Seconds after its decision when a part that was not sent counts as settled."""
_BATCH = 200
_SENT = (PartState.SENT.value, PartState.ACKNOWLEDGED.value)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Parts that belong together by their sequences.

    Attributes:
        after: all have a higher record id.
        until: none has a higher one; None: no bound.
        first: sequence of the first, 1..65535.
        last: of the last; below `first` when the count began again in between.
    """

    after: int
    until: int | None
    first: int
    last: int


def newest(connection: sa.Connection, station: str) -> int:
    """Return the highest record id of a station; 0 when it has none."""
    query = sa.select(sa.func.max(parts.c.id)).where(parts.c.station == station)
    return int(connection.execute(query).scalar() or 0)


def told_before(connection: sa.Connection, station: str) -> int:
    """Return the record id after which a follower that starts now begins: what is still open is told."""
    open_parts = sa.select(sa.func.min(parts.c.id)).where(
        parts.c.station == station, parts.c.state == PartState.TRIGGERED.value
    )
    first = connection.execute(open_parts).scalar()
    return newest(connection, station) if first is None else int(first) - 1


def settled_after(connection: sa.Connection, station: str, record: int) -> list[Values]:
    """Return the settled parts above that record id, oldest first, up to the first that is not settled.

    At most some hundred; ask again from the last one.
    """
    query = (
        sa.select(parts)
        .where(parts.c.station == station, parts.c.id > record)
        .order_by(parts.c.id)
        .limit(_BATCH)
    )
    rows = [dict(row) for row in connection.execute(query).mappings()]
    found: list[Values] = []
    for place, row in enumerate(rows):
        if not _is_settled(row, rows[place + 1 :]):
            break
        found.append(row)
    return found


def _is_settled(row: Values, later: Sequence[Values]) -> bool:
    if row["decision"] is not None and any(other["state"] in _SENT for other in later):
        return True
    return _is_settled_alone(row)


def _is_settled_alone(row: Values) -> bool:
    if row["state"] in _SENT or row["decision"] == Decision.NOT_INSPECTED.value:
        return True
    return row["decision"] is not None and _age(row["decided_at"]) > PATIENCE


def only_settled(connection: sa.Connection, station: str, rows: Sequence[Values]) -> list[Values]:
    """Return those of some decided parts of a station whose answer cannot change any more."""
    open_ones = {row["id"] for row in rows if not _is_settled_alone(row)}
    if not open_ones:
        return list(rows)
    query = sa.select(sa.func.max(parts.c.id)).where(
        parts.c.station == station, parts.c.id > min(open_ones), parts.c.state.in_(_SENT)
    )
    sent = connection.execute(query).scalar() or 0
    return [row for row in rows if row["id"] not in open_ones or row["id"] < sent]


def _age(at: str | None) -> float:
    """Return how far the label is from now, either way: a clock that was set must not stop the parts."""
    try:
        return abs((datetime.now(UTC) - datetime.fromisoformat(at or "")).total_seconds())
    except (ValueError, TypeError):
        return float("inf")


def part_of(connection: sa.Connection, station: str, epoch: int, sequence: int) -> Values | None:
    """Return a settled part by its identity; None when there is none."""
    query = sa.select(parts).where(
        parts.c.station == station,
        parts.c.epoch == epoch,
        parts.c.sequence == sequence,
        parts.c.decision.is_not(None),
    )
    rows = [dict(row) for row in connection.execute(query).mappings()]
    return next(iter(only_settled(connection, station, rows)), None)


def latest_parts(
    connection: sa.Connection,
    station: str,
    wanted: Mapping[str, int | str],
    *,
    stretch: Stretch | None = None,
    not_inspected: bool | None = None,
    or_sequences: Collection[int] = (),
    start: int = 0,
    limit: int = 100,
) -> list[Values]:
    """Return decided parts, newest first; `only_settled` tells which of them may be told.

    Args:
        connection: from `WebStore.read`.
        station: whose.
        wanted: column to the value that it must have.
        stretch: only parts of it; None: all.
        not_inspected: True: only NOT_INSPECTED, False: only the others; None: both.
        or_sequences: what has one of these sequences is taken as well, whatever its decision.
        start: so many are left out first.
        limit: at most so many.
    """
    query = sa.select(parts).where(parts.c.station == station, parts.c.decision.is_not(None))
    query = query.where(*(parts.c[name] == value for name, value in wanted.items()))
    if stretch is not None:
        query = query.where(parts.c.id > stretch.after)
        if stretch.until is not None:
            query = query.where(parts.c.id <= stretch.until)
        from_first, to_last = parts.c.sequence >= stretch.first, parts.c.sequence <= stretch.last
        whole = stretch.first <= stretch.last
        query = query.where(from_first & to_last if whole else from_first | to_last)
    if not_inspected is not None:
        is_so = parts.c.decision == Decision.NOT_INSPECTED.value
        is_so = is_so if not_inspected else ~is_so
        query = query.where(
            is_so | parts.c.sequence.in_(sorted(or_sequences)) if or_sequences else is_so
        )
    query = query.order_by(parts.c.id.desc()).offset(start).limit(limit)
    return [dict(row) for row in connection.execute(query).mappings()]
