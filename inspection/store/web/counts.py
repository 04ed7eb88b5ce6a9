"""Counts for the quality pages: half hours counted once, by record id, and the rest counted as it stands.

    parts ─▶ Counting.step (by id, from the mark, settled rows only) ─▶ slots
    slots + rows above the mark + rows below it that were not settled ─▶ counted()

A row is settled when its decision can never change: it was sent, or is NOT_INSPECTED. Rows that are not stay
listed in the mark, so neither a row that is closed at a restart nor one that is written late, into
an hour long gone, is missed or counted twice: at every moment the sum is what the table `parts` holds.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from inspection.errors import StoreError
from inspection.store.rows import Values
from inspection.store.tables import parts
from inspection.store.web.access import WebStore
from inspection.store.web.tables import marks, reviews, slots
from inspection.types import Decision, PartState

MARK = "counts"
BATCH = 20_000
"""Rows read at a time; reading holds nobody up."""
EVERY = 10.0
"""Seconds between two looks."""
WORTH = 500
"""Rows for which the mark is moved; fewer wait until `LATEST`."""
LATEST = 60.0
"""Seconds after which the mark is moved for any row."""
PAUSE = 0.05
"""Seconds between two batches."""
OPEN = "OPEN"
"""Stands for the decision of a part that has none yet."""
NONE = -1
"""Stands for the recipe of a part that has none."""
_CHUNK = 500
_logger = logging.getLogger(__name__)


def _half_hour(table: str) -> sa.ColumnElement[str]:
    at = f"{table}.triggered_at"
    return sa.literal_column(
        f"(substr({at}, 1, 14) || CASE WHEN substr({at}, 15, 2) < '30' THEN '00' ELSE '30' END)",
        sa.Text,
    )


def _or(column: sa.ColumnElement[Any], instead: str) -> sa.ColumnElement[Any]:
    return sa.func.coalesce(column, sa.literal_column(instead))


_KEYS: dict[str, sa.ColumnElement[Any]] = {
    "slot": _half_hour("parts"),
    "station": parts.c.station,
    "recipe_number": _or(parts.c.recipe_number, str(NONE)),
    "part_name": _or(parts.c.part_name, "''"),
    "release": _or(parts.c.release, "''"),
    "decision": _or(parts.c.decision, f"'{OPEN}'"),
    "reason": _or(parts.c.reason, "''"),
    "defect_class": _or(parts.c.defect_class, "''"),
}
KEYS = tuple(_KEYS)
"""What is counted by; `slot` is the start of the half hour, UTC, as `2026-11-21T08:30`."""

_SETTLED = sa.or_(
    parts.c.state.in_([PartState.SENT.value, PartState.ACKNOWLEDGED.value]),
    parts.c.decision == Decision.NOT_INSPECTED.value,
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which parts are counted; None means any.

    Attributes:
        since: first half hour, as in `KEYS`.
        until: the half hour after the last one.
        station: its name.
        recipe_number: `NONE` for parts without a recipe.
        release: as `plate/3`; empty for parts that no model judged.
    """

    since: str | None = None
    until: str | None = None
    station: str | None = None
    recipe_number: int | None = None
    release: str | None = None

    def of_slots(self) -> list[sa.ColumnElement[bool]]:
        """Return the conditions on `slots`."""
        found = [] if self.since is None else [slots.c.slot >= self.since]
        found += [] if self.until is None else [slots.c.slot < self.until]
        return found + self._equal({key: slots.c[key] for key in KEYS})

    def of_parts(self) -> list[sa.ColumnElement[bool]]:
        """Return the conditions on `parts`; the index of times serves them."""
        return self._between(parts.c.triggered_at) + self._equal(_KEYS)

    def of_reviews(self) -> list[sa.ColumnElement[bool]]:
        """Return the conditions on `reviews`."""
        keys = {
            "station": reviews.c.station,
            "recipe_number": _or(reviews.c.recipe_number, str(NONE)),
            "release": _or(reviews.c.release, "''"),
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
        return [keys[name] == value for name, value in wanted.items() if value is not None]


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
    return _mark(connection, sa.select(marks.c.value).where(marks.c.name == MARK))


def _hold(connection: sa.Connection) -> Mark:
    """Return how far the counting came, and keep others from moving the mark in this transaction."""
    start = _insert(connection, marks).values({"name": MARK, "value": _text(Mark())})
    connection.execute(start.on_conflict_do_nothing())
    query = sa.select(marks.c.value).where(marks.c.name == MARK)
    return _mark(connection, query.with_for_update())


def _mark(connection: sa.Connection, query: sa.Select[Any]) -> Mark:
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
        self._live = _grouped(connection, parts.c.id > self.mark.record, *wanted.of_parts())
        for chunk in _chunks(self.mark.open):
            self._live += _grouped(connection, parts.c.id.in_(chunk), *wanted.of_parts())

    def by(self, *keys: str) -> dict[tuple[Any, ...], int]:
        """Return the number of parts for each combination of the keys, of `KEYS`."""
        columns = [slots.c[key] for key in keys]
        query = sa.select(*columns, sa.func.sum(slots.c.number)).where(*self._wanted.of_slots())
        counted = {
            tuple(row[:-1]): int(row[-1])
            for row in self._connection.execute(query.group_by(*columns))
            if row[-1] is not None
        }
        places = [KEYS.index(key) for key in keys]
        for row in self._live:
            key = tuple(row[place] for place in places)
            counted[key] = counted.get(key, 0) + int(row[-1])
        return counted


def same_state(connection: sa.Connection) -> None:
    """Let every statement of this transaction see the same state. Must be its first statement."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))


def _grouped(connection: sa.Connection, *clauses: sa.ColumnElement[bool]) -> list[tuple[Any, ...]]:
    columns = list(_KEYS.values())
    query = sa.select(*columns, sa.func.count()).where(*clauses).group_by(*columns)
    return [tuple(row) for row in connection.execute(query)]


def _chunks(ids: Sequence[int]) -> Iterable[Sequence[int]]:
    return (ids[i : i + _CHUNK] for i in range(0, len(ids), _CHUNK))


def judged(connection: sa.Connection, wanted: Wanted, *keys: str) -> list[Values]:
    """Return how many parts people were to judge and what they said, in groups.

    Args:
        connection: of the store.
        wanted: which parts.
        keys: grouped by, beside what is always told: `slot`, `recipe_number`, `part_name`, `release`.

    Returns:
        For each group the keys, `decision`, `why`, `state`, `verdict`, `probability` and `number`.
    """
    chosen: dict[str, sa.ColumnElement[Any]] = {
        "slot": _half_hour("reviews"),
        "recipe_number": _or(reviews.c.recipe_number, str(NONE)),
        "part_name": _or(reviews.c.part_name, "''"),
        "release": _or(reviews.c.release, "''"),
    }
    columns: list[sa.ColumnElement[Any]] = [chosen[key].label(key) for key in keys]
    names = ("decision", "why", "state", "verdict", "probability")
    columns += [reviews.c[name] for name in names]
    grouped = [chosen[key] for key in keys] + [reviews.c[name] for name in names]
    query = sa.select(*columns, sa.func.count().label("number"))
    query = query.where(*wanted.of_reviews()).group_by(*grouped)
    return [dict(row) for row in connection.execute(query).mappings()]


def latest_flagged(connection: sa.Connection, wanted: Wanted, most: int) -> list[Values]:
    """Return id, class, detections, images of the wanted among the `most` latest flagged parts."""
    flagged = [Decision.FAIL.value, Decision.REVIEW.value]
    times = Wanted(wanted.since, wanted.until).of_parts()
    newest = (
        sa.select(parts.c.id)
        .where(parts.c.decision.in_(flagged), *times)
        .order_by(parts.c.triggered_at.desc())
        .limit(most)
        .subquery()
    )
    columns = (parts.c.id, parts.c.defect_class, parts.c.detections, parts.c.images)
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


def choices(connection: sa.Connection) -> list[Values]:
    """Return the combinations of station, recipe_number, part_name and release that were counted."""
    names = ("station", "recipe_number", "part_name", "release")
    query = sa.select(*(slots.c[name] for name in names)).distinct()
    return [dict(row) for row in connection.execute(query).mappings()]


class Counting:
    """Keeps `slots` up to date, from a thread of its own, until it is closed.

    It may run in several processes at once: only one of them moves the mark.
    """

    def __init__(self, store: WebStore) -> None:
        self._store = store
        self._stop = threading.Event()
        self._seen: tuple[int, int] | None = None
        self._moved, self._trouble = 0.0, ""
        self._thread = threading.Thread(target=self._run, name="counting", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread; a batch under way is finished. May be called twice."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def _run(self) -> None:
        while True:
            try:
                more = self.step()
                self._trouble = ""
            except StoreError as error:
                more = False
                if str(error) != self._trouble:
                    _logger.warning("counting parts waits: %s", error)
                self._trouble = str(error)
            if self._stop.wait(PAUSE if more else EVERY):
                return

    def step(self, *, worth: int = WORTH) -> bool:
        """Count one batch where it is worth it; tell whether a full one was counted.

        On PostgreSQL only rows seen at an earlier step are counted: an id below them may still be filled by
        a transaction under way. Raises StoreError.
        """
        with self._store.read("reading what is to be counted") as connection:
            same_state(connection)
            mark = read_mark(connection)
            last = self._last(connection, mark)
            between = (parts.c.id > mark.record, parts.c.id <= last)
            found = _grouped(connection, *between, _SETTLED)
            still = list(
                connection.execute(sa.select(parts.c.id).where(*between, ~_settled())).scalars()
            )
            for chunk in _chunks(mark.open):
                found += _grouped(connection, parts.c.id.in_(chunk), _SETTLED)
                query = sa.select(parts.c.id).where(parts.c.id.in_(chunk), ~_settled())
                still += connection.execute(query).scalars()
        moved = Mark(last, tuple(sorted(still)))
        ready = sum(int(row[-1]) for row in found)
        if moved == mark or (ready < worth and time.monotonic() - self._moved < LATEST):
            return False
        with self._store.write("counting parts") as connection:
            if _hold(connection) != mark:
                return False  # another process was quicker
            _add(connection, found)
            _keep(connection, moved)
        self._moved = time.monotonic()
        return ready >= BATCH // 2

    def _last(self, connection: sa.Connection, mark: Mark) -> int:
        """Return the id up to which rows may be looked at now: a batch at most."""
        ids = sa.select(parts.c.id).where(parts.c.id > mark.record).order_by(parts.c.id)
        newest = connection.execute(
            sa.select(sa.func.max(ids.limit(BATCH).subquery().c.id))
        ).scalar()
        last = mark.record if newest is None else int(newest)
        if connection.dialect.name != "postgresql":
            return last  # one writer at a time: ids appear in order
        oldest, following, highest = connection.execute(
            sa.text(
                "SELECT pg_snapshot_xmin(s)::text::bigint, pg_snapshot_xmax(s)::text::bigint,"
                " (SELECT max(id) FROM parts) FROM pg_current_snapshot() s"
            )
        ).one()
        if self._seen is not None and oldest < self._seen[0]:
            return mark.record  # what ran when those rows were seen still runs
        bound = mark.record if self._seen is None else self._seen[1]
        self._seen = (following, highest or 0)
        return max(mark.record, min(last, bound))


def _settled() -> sa.ColumnElement[bool]:
    return sa.func.coalesce(_SETTLED, sa.false())


def _add(connection: sa.Connection, found: list[tuple[Any, ...]]) -> None:
    rows: dict[tuple[Any, ...], int] = {}
    for row in found:
        rows[row[:-1]] = rows.get(row[:-1], 0) + int(row[-1])
    if not rows:
        return
    statement = _insert(connection, slots)
    statement = statement.on_conflict_do_update(
        index_elements=list(KEYS), set_={"number": slots.c.number + statement.excluded.number}
    )
    values = [{**dict(zip(KEYS, key, strict=True)), "number": n} for key, n in rows.items()]
    connection.execute(statement, values)


def _insert(connection: sa.Connection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    on_server = connection.dialect.name == "postgresql"
    return postgresql.insert(table) if on_server else sqlite.insert(table)


def _keep(connection: sa.Connection, mark: Mark) -> None:
    connection.execute(sa.update(marks).where(marks.c.name == MARK).values(value=_text(mark)))


def _text(mark: Mark) -> str:
    return json.dumps({"record": mark.record, "open": mark.open})
