"""Counts for the quality pages: half hours counted once, by record id, and the rest counted as it stands.

slots (kept by `inspection.store.web.counting`) + rows above its mark + rows below that were not settled
─▶ Counts.by: at every moment what the table `parts` holds
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from inspection.store.rows import Values
from inspection.store.tables import parts
from inspection.store.web.steps import values_in
from inspection.store.web.tables import days, marks, reviews, slots
from inspection.types import Decision

MARK = "counts"
OPEN = "OPEN"
"""Stands for the decision of a part that has none yet."""
NONE = -1
"""Stands for the recipe of a part that has none."""
_CHUNK = 500


def half_hour(table: str) -> sa.ColumnElement[str]:
    """Return the start of the half hour in which a row of the table was triggered, as in `KEYS`."""
    at = f"{table}.triggered_at"
    return sa.literal_column(
        f"(substr({at}, 1, 14) || CASE WHEN substr({at}, 15, 2) < '30' THEN '00' ELSE '30' END)",
        sa.Text,
    )


def or_else(column: sa.ColumnElement[Any], instead: str) -> sa.ColumnElement[Any]:
    """Return the column, and a literal where it is NULL."""
    return sa.func.coalesce(column, sa.literal_column(instead))


_KEYS: dict[str, sa.ColumnElement[Any]] = {
    "slot": half_hour("parts"),
    "station": parts.c.station,
    "recipe_number": or_else(parts.c.recipe_number, str(NONE)),
    "part_name": or_else(parts.c.part_name, "''"),
    "release": or_else(parts.c.release, "''"),
    "decision": or_else(parts.c.decision, f"'{OPEN}'"),
    "reason": or_else(parts.c.reason, "''"),
    "defect_class": or_else(parts.c.defect_class, "''"),
}
KEYS = tuple(_KEYS)
"""What is counted by; `slot` is the start of the half hour, UTC, as `2026-11-21T08:30`."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which parts are counted; None means any.

    Attributes:
        since: first half hour, as in `KEYS`.
        until: the half hour after the last one.
        station: its name.
        recipe_number: `NONE` for parts without a recipe.
        release: as `plate/3`; empty for parts that no model judged.
        decisions: of the machine.
    """

    since: str | None = None
    until: str | None = None
    station: str | None = None
    recipe_number: int | None = None
    release: str | None = None
    decisions: tuple[str, ...] | None = None

    def of_slots(self, table: sa.Table) -> list[sa.ColumnElement[bool]]:
        """Return the conditions on a table of half hours: `slots` or `tallies`."""
        return self._between(table.c.slot) + self.of_days(table)

    def of_days(self, table: sa.Table) -> list[sa.ColumnElement[bool]]:
        """Return the conditions on a table of days, but not those of the time; see `whole_days`."""
        return self._equal({c.name: c for c in table.c})

    def whole_days(self) -> tuple[str, str]:
        """Return the first day (UTC) that lies wholly within the time, and the day after the last one.

        The second is not after the first when there is none.
        """
        first = "" if self.since is None else self.since[:10]
        if self.since is not None and not self.since.endswith("T00:00"):
            first = (date.fromisoformat(first) + timedelta(days=1)).isoformat()
        return first, "9999" if self.until is None else self.until[:10]

    def holds(self, row: Sequence[Any]) -> bool:
        """Tell whether a group of `KEYS` is wanted."""
        slot = row[0]
        if (self.since is not None and slot < self.since) or (
            self.until is not None and slot >= self.until
        ):
            return False
        if self.decisions is not None and row[5] not in self.decisions:
            return False
        asked = zip((self.station, self.recipe_number, None, self.release), row[1:5], strict=True)
        return all(wanted is None or wanted == value for wanted, value in asked)

    def of_parts(self) -> list[sa.ColumnElement[bool]]:
        """Return the conditions on `parts`; the index of times serves them."""
        return self._between(parts.c.triggered_at) + self._equal(_KEYS)

    def of_reviews(self) -> list[sa.ColumnElement[bool]]:
        """Return the conditions on `reviews`."""
        keys = {
            "station": reviews.c.station,
            "recipe_number": or_else(reviews.c.recipe_number, str(NONE)),
            "release": or_else(reviews.c.release, "''"),
            "decision": reviews.c.decision,
        }
        return self._between(reviews.c.triggered_at) + self._equal(keys)

    def _between(self, at: sa.ColumnElement[str]) -> list[sa.ColumnElement[bool]]:
        found = [] if self.since is None else [at >= self.since]
        return found + ([] if self.until is None else [at < self.until])

    def _equal(self, keys: dict[str, Any]) -> list[sa.ColumnElement[bool]]:
        wanted = {
            "station": self.station,
            "recipe_number": self.recipe_number,
            "release": self.release,
        }
        found = [keys[name] == value for name, value in wanted.items() if value is not None]
        return found + ([] if self.decisions is None else [keys["decision"].in_(self.decisions)])


@dataclass(frozen=True, slots=True)
class Mark:
    """How far parts are counted in `slots`.

    Attributes:
        record: every row up to this id was looked at.
        open: of those, the ids that were not settled: not in `slots` yet.
    """

    record: int = 0
    open: tuple[int, ...] = ()


def read_mark(connection: sa.Connection) -> Mark:
    """Return how far the counting came."""
    return mark_of(connection, sa.select(marks.c.value).where(marks.c.name == MARK))


def mark_of(connection: sa.Connection, query: sa.Select[Any]) -> Mark:
    """Return the mark that a query finds; the beginning where there is none."""
    found = connection.execute(query).scalar()
    if found is None:
        return Mark()
    value = json.loads(found)
    return Mark(int(value["record"]), tuple(value["open"]))


class Counts:
    """Counts at one moment: several questions are answered from the same state of the store."""

    def __init__(self, connection: sa.Connection, wanted: Wanted) -> None:
        """Read what `slots` does not hold yet. The connection has done nothing in its transaction."""
        same_state(connection)
        self._connection, self._wanted = connection, wanted
        self.mark = read_mark(connection)
        live = grouped(connection, parts.c.id > self.mark.record)
        for chunk in chunks(self.mark.open):
            live += grouped(connection, parts.c.id.in_(chunk))
        self._live = [row for row in live if wanted.holds(row)]  # few: by id, not by time

    def by(self, *keys: str, buckets: Sequence[tuple[str, str]] = ()) -> dict[tuple[Any, ...], int]:
        """Return the number of parts for each combination of the keys, of `KEYS`.

        With buckets (start, end) a `slot` may be the start of the one that holds it.
        """
        counted = sums(self._connection, self._wanted, slots, days, keys, buckets=buckets)
        places = [KEYS.index(key) for key in keys]
        for row in self._live:
            key = tuple(row[place] for place in places)
            counted[key] = counted.get(key, 0) + int(row[-1])
        return counted


def sums(
    connection: sa.Connection,
    wanted: Wanted,
    halves: sa.Table,
    whole: sa.Table,
    keys: Sequence[str],
    *,
    but: Sequence[str] = (),
    buckets: Sequence[tuple[str, str]] = (),
) -> dict[tuple[Any, ...], int]:
    """Return the sum of counts for each combination of the keys.

    Args:
        connection: of the store.
        wanted: which are summed.
        halves: counts of half hours.
        whole: the same counts of days (UTC): taken for whole days, where nobody asks for half hours.
        keys: columns of both tables.
        but: half hours that are left out.
        buckets: starts and ends, side by side, oldest first; half hours are summed to these, and `slot` is
            their start.
    """

    def rows(table: sa.Table, clauses: list[sa.ColumnElement[bool]]) -> sa.Select[Any]:
        return sa.select(*(table.c[key] for key in (*keys, "number"))).where(*clauses)

    slot, day, (first, after) = halves.c.slot, whole.c.slot, wanted.whole_days()
    found = rows(halves, wanted.of_slots(halves))
    if but:
        found = found.where(slot.not_in(but))
    if "slot" not in keys and first < after:
        torn = sorted({half[:10] for half in but})
        summed = rows(whole, wanted.of_days(whole)).where(day >= first, day < after)
        found = sa.union_all(
            summed.where(day.not_in(torn)) if torn else summed,
            found.where(slot < first),
            found.where(slot >= after),
            *(found.where(slot >= one, slot < one + "U") for one in torn if first <= one < after),
        )
    table = found.subquery()
    columns = [table.c[key] for key in keys]
    query = sa.select(*columns, sa.func.sum(table.c.number)).group_by(*columns)
    if buckets and "slot" in keys:
        if connection.dialect.name == "postgresql":
            return _placed(
                connection, rows(halves, wanted.of_days(halves)), slot, keys, but, buckets
            )
        query = _in_buckets(wanted, halves, keys, but, buckets)
    return {
        tuple(row[:-1]): int(row[-1]) for row in connection.execute(query) if row[-1] is not None
    }


def _placed(
    connection: sa.Connection,
    found: sa.Select[Any],
    slot: sa.ColumnElement[str],
    keys: Sequence[str],
    but: Sequence[str],
    buckets: Sequence[tuple[str, str]],
) -> dict[tuple[Any, ...], int]:
    """Return sums by bucket on PostgreSQL, which reads everything once and places it by halving.

    A join with the buckets, as for SQLite, looks at every row for every bucket as soon as the server expects
    few rows, and it does for most filters.
    """
    starts = [start for start, _ in buckets]
    inside = found.where(slot >= starts[0], slot < buckets[-1][1])
    if but:
        inside = inside.where(slot.not_in(but))
    each = inside.subquery()
    columns = [each.c[key] for key in keys]
    summed = sa.select(*columns, sa.func.sum(each.c.number).label("number")).group_by(*columns)
    halves = summed.subquery()
    at = sa.bindparam("starts", starts, type_=postgresql.ARRAY(sa.Text))
    place = sa.func.width_bucket(sa.collate(halves.c.slot, "C"), at).label("place")
    names = [place if key == "slot" else halves.c[key] for key in keys]
    query = sa.select(*names, sa.func.sum(halves.c.number)).group_by(
        *(sa.text("place") if key == "slot" else halves.c[key] for key in keys)
    )
    where, sums_of = keys.index("slot"), dict[tuple[Any, ...], int]()
    for row in connection.execute(query):
        key = (*row[:where], starts[row[where] - 1], *row[where + 1 : -1])
        sums_of[key] = int(row[-1])
    return sums_of


def _in_buckets(
    wanted: Wanted,
    halves: sa.Table,
    keys: Sequence[str],
    but: Sequence[str],
    buckets: Sequence[tuple[str, str]],
) -> sa.Select[Any]:
    """Return SQLite's query of sums by bucket: for each of them its half hours lie side by side."""
    told = sa.func.json_each(json.dumps(buckets)).table_valued("value", name="told")
    held = (
        sa.select(
            told.c.value.op("->>", return_type=sa.Text())(sa.literal_column("0")).label("start"),
            told.c.value.op("->>", return_type=sa.Text())(sa.literal_column("1")).label("after"),
        )
        .cte("buckets")
        .prefix_with("MATERIALIZED")
    )
    slot = halves.c.slot
    columns = [held.c.start if key == "slot" else halves.c[key] for key in keys]
    inside = held.join(halves, sa.and_(slot >= held.c.start, slot < held.c.after))
    query = sa.select(*columns, sa.func.sum(halves.c.number)).select_from(inside)
    query = query.where(*wanted.of_days(halves)).group_by(*columns)
    return query.where(slot.not_in(but)) if but else query


def same_state(connection: sa.Connection) -> None:
    """Let every statement of this transaction see the same state. Must be its first statement."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        connection.execute(sa.text("SET LOCAL jit = off"))  # compiling takes longer than counting


def grouped(connection: sa.Connection, *clauses: sa.ColumnElement[bool]) -> list[tuple[Any, ...]]:
    """Count rows of `parts`; return `KEYS` and the number of each group."""
    columns = list(_KEYS.values())
    query = sa.select(*columns, sa.func.count()).where(*clauses).group_by(*columns)
    return [tuple(row) for row in connection.execute(query)]


def chunks(ids: Sequence[int]) -> Iterable[Sequence[int]]:
    """Return the ids in pieces that a statement takes."""
    return (ids[i : i + _CHUNK] for i in range(0, len(ids), _CHUNK))


def latest_flagged(connection: sa.Connection, wanted: Wanted, most: int) -> list[Values]:
    """Return what places need of the wanted among the `most` latest flagged parts.

    That is id, triggered_at, station, decision, defect_class, detections and images.
    """
    flagged = [Decision.FAIL.value, Decision.REVIEW.value]
    times = Wanted(wanted.since, wanted.until).of_parts()
    # the index of times has the decision too; that of decisions would give every flagged part there ever was
    decision = parts.c.decision.concat("")
    newest = (
        sa.select(parts.c.id)
        .where(decision.in_(flagged), *times)
        .order_by(parts.c.triggered_at.desc())
        .limit(most)
        .subquery()
    )
    names = (
        "id", "triggered_at", "station", "decision", "defect_class", "detections", "images",
    )  # fmt: skip
    columns = [parts.c[name] for name in names]
    query = sa.select(*columns).join(newest, newest.c.id == parts.c.id).where(*wanted.of_parts())
    return [dict(row) for row in connection.execute(query).mappings()]


def latest_good(connection: sa.Connection, wanted: Wanted, most: int) -> list[Values]:
    """Return id and images of the wanted with a picture among the latest passed parts, newest first."""
    newest = (
        sa.select(parts.c.id, parts.c.images, *_named("station", "recipe_number", "release"))
        .where(parts.c.decision == Decision.PASS.value, parts.c.image_state == "saved")
        .order_by(parts.c.id.desc())
        .limit(most * 20)
        .subquery()
    )
    clauses = [
        newest.c[name] == value
        for name in ("station", "recipe_number", "release")
        if (value := getattr(wanted, name)) is not None
    ]
    query = sa.select(newest.c.id, newest.c.images).where(*clauses).limit(most)
    return [dict(row) for row in connection.execute(query.order_by(newest.c.id.desc())).mappings()]


def _named(*names: str) -> list[sa.ColumnElement[Any]]:
    return [_KEYS[name].label(name) for name in names]


def choices(connection: sa.Connection) -> dict[str, list[Any]]:
    """Return the stations, recipe_numbers and releases that were counted, each sorted; the empty left out."""
    columns = (days.c.station, days.c.recipe_number, days.c.release)
    found = {column.name: values_in(connection, column) for column in columns}
    return {name: sorted(set(values) - {NONE, ""}) for name, values in found.items()}
