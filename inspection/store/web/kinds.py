"""Kinds of rows: all columns that have few values in one text, and one index that is sorted by it.

    |st1|3|plate/2|FAIL|DEFECT|scratch ─▶ newest … oldest
    |st1|3|plate/2|PASS|NONE|          ─▶ newest … oldest

There are some hundred kinds among a million rows. `all_kinds` steps through the index from one to the next,
so a combination that no row has costs nothing; `newest` merges the ends of the kinds that match.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from inspection.store.tables import KINDS, parts
from inspection.store.web.steps import values_in
from inspection.store.web.tables import REVIEW_KINDS, reviews

Place = tuple[str, int]
"""Time of the trigger and record: the order of all lists, newest first."""
_FIRST = 16
"""Rows of each kind that are taken at first; more where they are not enough."""


@dataclass(frozen=True, slots=True)
class Sorted:
    """A table whose rows are sorted by kind, time and record.

    Attributes:
        names: the columns in a kind, in its order.
        record: the part's record.
        at: UTC text.
        kind: made by the database.
    """

    names: tuple[str, ...]
    record: sa.Column[int]
    at: sa.Column[str]
    kind: sa.Column[str]


PARTS = Sorted(KINDS, parts.c.id, parts.c.triggered_at, parts.c.kind)
REVIEWS = Sorted(REVIEW_KINDS, reviews.c.record, reviews.c.triggered_at, reviews.c.kind)


@dataclass(frozen=True, slots=True)
class Span:
    """Which stretch of time: from, until (not included), and after which place in the order.

    And which records: from, to (included). Where the clock was set back, times do not tell what came first.
    """

    since: str | None = None
    until: str | None = None
    after: Place | None = None
    first: int | None = None
    last: int | None = None

    def of(self, table: Sorted) -> list[sa.ColumnElement[bool]]:
        """Return the conditions on a table's rows."""
        found: list[sa.ColumnElement[bool]] = []
        if self.since is not None:
            found.append(table.at >= self.since)
        if self.until is not None:
            found.append(table.at < self.until)
        if self.after is not None:
            at, record = self.after
            found += [table.at <= at, sa.or_(table.at < at, table.record < record)]
        if self.first is not None:  # `+ 0`: compared in the index that is walked, not walked by
            found.append(table.record + 0 >= self.first)
        if self.last is not None:
            found.append(table.record + 0 <= self.last)
        return found


def values_of(table: Sorted, kind: str) -> dict[str, str]:
    """Return the values in a kind; an empty one stands for none."""
    texts = (text.replace("~1", "|").replace("~0", "~") for text in kind.split("|")[1:])
    return dict(zip(table.names, texts, strict=True))


def all_kinds(connection: sa.Connection, table: Sorted) -> list[str]:
    """Return every kind that there is: one step of the index for each."""
    return [str(found) for found in values_in(connection, table.kind)]


def newest(
    connection: sa.Connection, table: Sorted, kinds: Sequence[str], span: Span, limit: int
) -> list[Place]:
    """Return the newest places of all rows of these kinds, newest first."""
    tops = _tops(connection, table, kinds, span, 1)
    tops.sort(reverse=True)
    wanted = [kind for _at, _record, kind in tops[:limit]]  # no other can be among the newest
    found: list[Place] = []
    number = max(_FIRST, 2 * limit // max(len(wanted), 1))
    while wanted and len(found) < limit:
        rows = _tops(connection, table, wanted, span, number)
        ends: dict[str, list[Place]] = {}
        for at, record, kind in rows:
            ends.setdefault(kind, []).append((at, record))
        open_ends = [min(places) for places in ends.values() if len(places) >= number]
        cut = max(open_ends) if open_ends else None  # of older rows some may be missing
        sure = [(at, record) for at, record, _ in rows if cut is None or (at, record) >= cut]
        found += sorted(sure, reverse=True)
        if cut is None:
            break
        span = replace(span, after=cut)
        wanted = list(ends)
    return found[:limit]


def oldest(
    connection: sa.Connection, table: Sorted, kinds: Sequence[str], since: str
) -> int | None:
    """Return the record of these kinds with the earliest time that is not before `since`; None: none."""
    ends = _tops(connection, table, kinds, Span(since=since), 1, up=True)
    return min((at, record) for at, record, _ in ends)[1] if ends else None


def count(
    connection: sa.Connection, table: Sorted, kinds: Sequence[str], span: Span, most: int
) -> int:
    """Return how many rows of these kinds there are, or `most`."""
    rows = sa.select(sa.literal(1)).where(among(connection, table, kinds), *span.of(table))
    query = sa.select(sa.func.count()).select_from(rows.limit(most).subquery())
    return connection.execute(query).scalar_one() if kinds else 0


def among(connection: sa.Connection, table: Sorted, kinds: Sequence[str]) -> sa.ColumnElement[bool]:
    """Return the condition that a row is of one of these kinds, however many there are."""
    if connection.dialect.name == "postgresql":
        return table.kind == sa.any_(sa.cast(list(kinds), postgresql.ARRAY(sa.Text)))
    return table.kind.in_(sa.select(_given(connection, kinds).c.value))


def numbers(connection: sa.Connection, records: Sequence[int]) -> sa.ColumnElement[bool]:
    """Return the condition that a part is one of these records, however many there are."""
    if connection.dialect.name == "postgresql":
        return parts.c.id == sa.any_(sa.cast(list(records), postgresql.ARRAY(sa.BigInteger)))
    given = sa.func.json_each(json.dumps(list(records))).table_valued("value", name="given")
    return parts.c.id.in_(sa.select(given.c.value))


def _given(connection: sa.Connection, kinds: Sequence[str]) -> Any:
    """Return the kinds as a table with the column `value`."""
    if connection.dialect.name == "postgresql":
        array = sa.cast(list(kinds), postgresql.ARRAY(sa.Text))
        return sa.func.unnest(array).table_valued("value").render_derived("given")
    return sa.func.json_each(json.dumps(list(kinds))).table_valued("value", name="given")


def _tops(
    connection: sa.Connection,
    table: Sorted,
    kinds: Sequence[str],
    span: Span,
    number: int,
    *,
    up: bool = False,
) -> list[tuple[str, int, str]]:
    """Return time, record and kind of the newest so many rows of each kind, `up`: oldest; in no order."""
    if not kinds:
        return []
    given = _given(connection, kinds)
    ends = sa.select(table.at, table.record).where(table.kind == given.c.value, *span.of(table))
    order = (table.at, table.record) if up else (table.at.desc(), table.record.desc())
    ends = ends.order_by(*order).limit(number).correlate(given)
    if connection.dialect.name == "postgresql":
        each = ends.lateral("ends")
        query = sa.select(each.c.triggered_at, each.c[table.record.name], given.c.value)
        query = query.select_from(given.join(each, sa.true()))
    else:
        rows = table.record.table.alias("row")
        among_ends = rows.c[table.record.name].in_(ends.with_only_columns(table.record))
        query = sa.select(rows.c.triggered_at, rows.c[table.record.name], given.c.value)
        query = query.select_from(given.join(rows, among_ends))
    return [(str(at), int(record), str(kind)) for at, record, kind in connection.execute(query)]
