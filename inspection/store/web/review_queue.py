"""The queue of reviews: which part is next, how many are left, what came in. Pages go by key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from inspection.store.rows import Values
from inspection.store.tables import parts
from inspection.store.web.people import Person
from inspection.store.web.tables import reviews

State = Literal["open", "second", "engineer"]
Order = Literal["oldest", "uncertain"]
WAITING: tuple[State, ...] = ("open", "second", "engineer")
COUNTED = 10_000
"""More parts than this that wait are said as "over"."""
_LATEST = 500


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """Which parts of the queue; None means any.

    Attributes:
        state: whose turn it is.
        station: name of the station.
        defect_class: the class that decided.
        recipe_number: as the PLC asked.
        decision: the machine's.
        since: triggered at or after this UTC text.
        until: triggered before this UTC text.
    """

    state: State = "open"
    station: str | None = None
    defect_class: str | None = None
    recipe_number: int | None = None
    decision: str | None = None
    since: str | None = None
    until: str | None = None

    def clauses(self, person: Person) -> list[sa.ColumnElement[bool]]:
        """Return the conditions; nobody gets their own part for the second look."""
        found: list[sa.ColumnElement[bool]] = [reviews.c.state == self.state]
        for name in ("station", "defect_class", "recipe_number", "decision"):
            value = getattr(self, name)
            if value is not None:
                found.append(reviews.c[name] == value)
        if self.since is not None:
            found.append(reviews.c.triggered_at >= self.since)
        if self.until is not None:
            found.append(reviews.c.triggered_at < self.until)
        if self.state == "second":
            found.append(reviews.c.first_who != person.name)
        return found


_LISTED = (
    "record", "state", "version", "why", "station", "part_name", "recipe_number", "decision", "reason",
    "defect_class", "score", "triggered_at",
)  # fmt: skip


def waiting(
    connection: sa.Connection,
    wanted: QueueFilter,
    person: Person,
    *,
    order: Order = "oldest",
    after: int | None = None,
    limit: int = 50,
    middles: Mapping[tuple[int, str], float] | None = None,
) -> list[Values]:
    """Return parts that wait.

    Args:
        connection: from `WebStore.read`.
        wanted: which.
        person: who asks.
        order: oldest first; or those whose score is nearest to the middle between T1 and T2 first.
        after: last record of the page before; only for oldest first.
        limit: at most 200.
        middles: (recipe number, class) to the middle between T1 and T2; 0.5 for what is not named.
    """
    query = sa.select(*(reviews.c[name] for name in _LISTED)).where(*wanted.clauses(person))
    if order == "uncertain":
        middle: Any = sa.literal(0.5)
        if middles:
            whens = [
                (sa.and_(reviews.c.recipe_number == number, reviews.c.defect_class == name), value)
                for (number, name), value in middles.items()
            ]
            middle = sa.case(*whens, else_=0.5)
        distance = sa.func.abs(sa.func.coalesce(reviews.c.score, 0.0) - middle)
        query = query.order_by(distance, reviews.c.record)
    else:
        if after is not None:
            query = query.where(reviews.c.record > after)
        query = query.order_by(reviews.c.record)
    found = connection.execute(query.limit(max(1, min(limit, 200)))).mappings()
    return [dict(row) for row in found]


def left(connection: sa.Connection, wanted: QueueFilter, person: Person) -> int:
    """Return how many parts wait, at most COUNTED + 1."""
    inner = sa.select(reviews.c.record).where(*wanted.clauses(person)).limit(COUNTED + 1)
    return int(
        connection.execute(sa.select(sa.func.count()).select_from(inner.subquery())).scalar() or 0
    )


def counts(connection: sa.Connection, person: Person) -> dict[str, int]:
    """Return how many parts wait in each state, at most COUNTED + 1 of each."""
    return {state: left(connection, QueueFilter(state), person) for state in WAITING}


def newest(connection: sa.Connection) -> int:
    """Return the highest record in review; 0 without one."""
    return int(connection.execute(sa.select(sa.func.max(reviews.c.record))).scalar() or 0)


def came(connection: sa.Connection, wanted: QueueFilter, person: Person, above: int) -> int:
    """Return how many waiting parts have a higher record."""
    inner = (
        sa.select(reviews.c.record)
        .where(reviews.c.record > above, *wanted.clauses(person))
        .limit(COUNTED + 1)
    )
    return int(
        connection.execute(sa.select(sa.func.count()).select_from(inner.subquery())).scalar() or 0
    )


def state_of(connection: sa.Connection, record: int) -> Values | None:
    """Return state and version of a review, and who changed it last; None when it is not in review."""
    query = sa.select(reviews.c.state, reviews.c.version, reviews.c.who, reviews.c.first_who)
    found = connection.execute(query.where(reviews.c.record == record)).mappings().first()
    return None if found is None else dict(found)


def scanned(connection: sa.Connection, text: str) -> int | None:
    """Return the latest part with this code, serial or part id; None when there is none."""
    query = sa.select(sa.func.max(parts.c.id))
    for condition in (
        parts.c.code == text, parts.c.serial == text, parts.c.serial == text.upper(),
    ):  # fmt: skip
        found = connection.execute(query.where(condition)).scalar()
        if found is not None:
            return int(found)
    if text.isdecimal() and len(text) <= 10:
        found = connection.execute(query.where(parts.c.part_id == int(text))).scalar()
        return None if found is None else int(found)
    return None


_STRIP = (
    "id",
    "decision",
    "reason",
    "defect_class",
    "serial",
    "triggered_at",
    "timings",
    "image_state",
)


def strip(connection: sa.Connection, station: str, limit: int = 10) -> list[Values]:
    """Return the latest decided parts of a station, newest first."""
    query = (
        sa.select(*(parts.c[name] for name in _STRIP))
        .where(parts.c.station == station, parts.c.decision.is_not(None))
        .order_by(parts.c.id.desc())
        .limit(limit)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def choices(connection: sa.Connection, person: Person) -> dict[str, list[Any]]:
    """Return what the filters can be set to: what waits now, of the first COUNTED parts of each state."""
    found: dict[str, set[Any]] = {"station": set(), "defect_class": set(), "recipe_number": set()}
    for state in WAITING:
        inner = (
            sa.select(*(reviews.c[name] for name in found))
            .where(*QueueFilter(state).clauses(person))
            .limit(COUNTED)
            .subquery()
        )
        for row in connection.execute(sa.select(inner).distinct()).mappings():
            for name, values in found.items():
                values.add(row[name])
    return {name: sorted(v for v in values if v is not None) for name, values in found.items()}


def classes_of(connection: sa.Connection, part_name: str | None) -> list[str]:
    """Return the defect classes of the latest reviews of a kind of part."""
    latest = (
        sa.select(reviews.c.part_name, reviews.c.defect_class)
        .order_by(reviews.c.record.desc())
        .limit(_LATEST)
        .subquery()
    )
    query = sa.select(latest.c.defect_class).where(
        latest.c.part_name == part_name, latest.c.defect_class.is_not(None)
    )
    return sorted(connection.execute(query.distinct()).scalars())
