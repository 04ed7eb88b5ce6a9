"""Searching the results: newest first, page after page, quick also where nothing matches.

    few columns that a kind tells      ─▶ merge the ends of the kinds that match (`kinds`)
    few parts have that serial or id   ─▶ walk those
    few rows of the kinds that match   ─▶ walk those
    everything else                    ─▶ walk the index of times

What people said is asked of `reviews`, everything else of `parts`. A walk looks at `CHUNKS` rows at most:
`look` then says how far it came, and the next call goes on from there. Pages go by key, never by offset.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from inspection.store.rows import Values
from inspection.store.tables import KINDS, parts
from inspection.store.web import kinds as by_kind
from inspection.store.web.kinds import PARTS, Place, Span
from inspection.store.web.plan import Plan, kinds_that_match, make_plan, place_of
from inspection.store.web.tables import reviews
from inspection.store.web.wanted import KNOWN, REVIEWED, WAITING, Search, SearchError

__all__ = ["REVIEWED", "Search", "SearchError"]

CHUNKS = (1000, 3000, 6000)
"""Rows that a walk looks at in one statement, growing; all of them together are its budget."""
COUNTED = 1000
"""Up to here a search says how many parts it found."""
SHOWN = tuple(
    parts.c[name]
    for name in (
        "id", "station", "epoch", "sequence", "state", "part_id", "serial", "code", "recipe_number",
        "part_name", "release", "model_sha256", "decision", "reason", "defect_class", "deciding_score",
        "over_t1", "anomaly_score", "camera", "simulated", "triggered_at", "decided_at", "acknowledged_at",
        "triggered_mono", "decided_mono", "image_state",
    )
)  # fmt: skip
"""Columns of a row in a list and in an export."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a look found.

    Attributes:
        records: newest trigger first.
        reached: None: older ones need not be looked for, or there are as many as wanted. Else the look ended
            before all rows were looked at: go on below this record.
    """

    records: list[int]
    reached: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a search.

    Attributes:
        rows: newest trigger first.
        number: how many match from here on; None: more than `over`, nobody counted how many.
        over: see `number`; 0 where that is known.
        below: ask with it for what is older; None: there is nothing older.
        reached: UTC; everything down to this time was looked at and nothing below. None: to the end, or
            the page is full.
    """

    rows: list[Values]
    number: int | None
    over: int
    below: int | None
    reached: str | None


def find(
    connection: sa.Connection, wanted: Search, *, below: int | None = None, limit: int = 50
) -> list[int]:
    """Return record ids, newest trigger first; `below` is the last record of the page before.

    It goes on until there are as many as wanted or no more: that may take long. Pages use `look`.

    Raises:
        SearchError: there is no record `below`.
    """
    records: list[int] = []
    while len(records) < limit:
        found = look(connection, wanted, below=below, limit=limit - len(records))
        records += found.records
        below = found.reached
        if below is None:
            break
    return records


def look(
    connection: sa.Connection, wanted: Search, *, below: int | None = None, limit: int = 50
) -> Found:
    """Return record ids as `find`, within a bounded time: see `Found.reached`. Raises SearchError."""
    plan = make_plan(connection, wanted, below)
    if plan.kinds is not None:
        places = by_kind.newest(connection, plan.table, plan.kinds, plan.span, limit)
        return Found([record for _, record in places])
    return _walk(connection, plan, limit)


def rows(connection: sa.Connection, records: Sequence[int]) -> list[Values]:
    """Return `SHOWN` of these records in the order given, with the state and the verdict of the review."""
    query = (
        sa.select(
            *SHOWN, reviews.c.state.label("review"), _known(reviews.c.verdict).label("verdict")
        )
        .select_from(parts.outerjoin(reviews, reviews.c.record == parts.c.id))
        .where(parts.c.id.in_(records))
    )
    found = {row["id"]: dict(row) for row in connection.execute(query).mappings()}
    return [found[record] for record in records if record in found]


def page(
    connection: sa.Connection, wanted: Search, *, below: int | None = None, limit: int = 50
) -> Page:
    """Return a page, within a bounded time. Raises SearchError."""
    plan = make_plan(connection, wanted, below)
    if plan.kinds is not None:
        places = by_kind.newest(connection, plan.table, plan.kinds, plan.span, limit + 1)
        found = Found([record for _, record in places])
        number = len(found.records)
        if number > limit:
            number = by_kind.count(
                connection, plan.table, plan.kinds, plan.span, max(limit, COUNTED) + 1
            )
    else:
        found = _walk(connection, plan, max(limit, COUNTED) + 1)
        number = len(found.records)
    shown = rows(connection, found.records[:limit])
    known = found.reached is None and number <= COUNTED
    next_page = shown[-1]["id"] if len(found.records) > limit else found.reached
    ended = found.reached is not None and len(found.records) <= limit
    reached = place_of(connection, found.reached)[0] if ended and found.reached else None
    over = 0 if known else min(number - 1, COUNTED)
    return Page(shown, number if known else None, over, next_page, reached)


def choices(connection: sa.Connection) -> dict[str, list[str]]:
    """Return the values that there are of each of `KINDS`, sorted, for a form."""
    found: dict[str, set[str]] = {name: set() for name in KINDS}
    for kind in by_kind.all_kinds(connection, PARTS):
        for name, value in by_kind.values_of(PARTS, kind).items():
            found[name].add(value)
    return {name: sorted(values - {""}, key=_natural) for name, values in found.items()}


def kinds_like(connection: sa.Connection, wanted: Search) -> list[str]:
    """Return the kinds of part that a search may find."""
    return kinds_that_match(connection, PARTS, wanted)


def _natural(value: str) -> tuple[int, str]:
    return (int(value), value) if value.isascii() and value.isdigit() else (0, value)


def _known(verdict: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """Return the verdict; nothing while a second person must judge without knowing the first."""
    return sa.case((reviews.c.state == "second", None), else_=verdict)


def _walk(connection: sa.Connection, plan: Plan, limit: int) -> Found:
    """Look at row after row, newest first; at `CHUNKS` rows at most where each must be compared."""
    if not plan.rest:
        return Found([record for _, record in _looked_at(connection, plan, plan.span, limit)])
    places = _looked_at(connection, plan, plan.span, sum(CHUNKS)) if plan.sorts else []
    records: list[int] = []
    span, done = plan.span, 0
    for size in CHUNKS:
        sorted_once = places[done : done + size]
        chunk = sorted_once if plan.sorts else _looked_at(connection, plan, span, size)
        done += size
        records += _that_match(connection, plan.wanted, [record for _, record in chunk])
        if len(records) >= limit:
            return Found(records[:limit])
        if len(chunk) < size:
            return Found(records)
        span = replace(span, after=chunk[-1])
    return Found(records, None if span.after is None else span.after[1])


def _looked_at(connection: sa.Connection, plan: Plan, span: Span, size: int) -> list[Place]:
    table = plan.table
    query = sa.select(table.at.label("at"), table.record.label("record"))
    query = query.where(*plan.source, *span.of(table))
    at, record = table.at, table.record
    if plan.sorts:  # found by its own index, then sorted; else a server may walk all times instead
        found = query.cte("found").prefix_with("MATERIALIZED", dialect="postgresql")
        at, record = found.c.at, found.c.record
        query = sa.select(at, record)
    if plan.unasked:
        query = query.where(~sa.exists().where(reviews.c.record == record))
    query = query.order_by(at.desc(), record.desc()).limit(size)
    return [(str(at), int(record)) for at, record in connection.execute(query)]


def _that_match(connection: sa.Connection, wanted: Search, records: list[int]) -> list[int]:
    """Return those of some records that match, in their order."""
    if not records:
        return []
    given = by_kind.numbers(connection, records)
    both = parts.outerjoin(reviews, reviews.c.record == parts.c.id)
    needed = both if wanted.review is not None or wanted.verdict is not None else parts
    query = sa.select(parts.c.id).select_from(needed).where(given, *_conditions(wanted))
    matching = set(connection.execute(query).scalars())
    return [record for record in records if record in matching]


def _conditions(wanted: Search) -> Iterator[sa.ColumnElement[bool]]:
    for name in (*KINDS, "part_id"):
        value = getattr(wanted, name)
        if value is not None:
            yield parts.c[name] == value
    if wanted.code:
        yield parts.c.code == wanted.code
    if wanted.serial:
        yield sa.func.substr(parts.c.serial, 1, len(wanted.serial)) == wanted.serial
    if wanted.verdict is not None:
        yield reviews.c.state.in_(KNOWN) & (reviews.c.verdict == wanted.verdict)
    if wanted.review == "none":
        yield reviews.c.record.is_(None)
    elif wanted.review is not None:
        yield reviews.c.state.in_(WAITING if wanted.review == "waiting" else ("done",))
