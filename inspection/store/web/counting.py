"""Counting: a thread of the pages keeps `slots` and `tallies` up to date, a batch at a time.

    parts ─▶ Counting.step (by id, from the mark, settled rows only) ─▶ slots
    notes of changed reviews ─▶ tally_step ─▶ tallies

It also moves SQLite's log, so that the file alone is soon whole again when the line does not run.

A row is settled when its decision can never change: it was sent, or is NOT_INSPECTED, or is FAIL or REVIEW
of an epoch that is over (the line was killed before it could tell the PLC). A PASS that was never sent passed
no part and is counted nowhere. Rows that are not settled stay listed in the mark, so neither a row that is
closed at a restart nor one that is written late, into an hour long gone, is missed or counted twice; see
`inspection.store.web.counts`.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from inspection.errors import StoreError
from inspection.store.database import move_log
from inspection.store.tables import epochs, parts
from inspection.store.web.access import WebStore
from inspection.store.web.counts import (
    KEYS,
    MARK,
    Mark,
    chunks,
    grouped,
    mark_of,
    read_mark,
    same_state,
)
from inspection.store.web.place import Place, place_of
from inspection.store.web.tables import days, marks, slots
from inspection.store.web.tallies import tally_step
from inspection.types import Decision, PartState

BATCH = 20_000
"""Rows read at a time; reading holds nobody up."""
MOST = 300
"""Rows of `slots` written in one transaction, about: the lock is held for some milliseconds."""
EVERY = 10.0
"""Seconds between two looks."""
WORTH = 500
"""Rows for which the mark is moved; fewer wait until `LATEST`."""
LATEST = 60.0
"""Seconds after which the mark is moved for any row."""
PAUSE = 0.05
"""Seconds between two batches."""
_logger = logging.getLogger(__name__)

SETTLED = sa.or_(
    parts.c.state.in_([PartState.SENT.value, PartState.ACKNOWLEDGED.value]),
    parts.c.decision == Decision.NOT_INSPECTED.value,
    sa.and_(
        parts.c.decision.in_([Decision.FAIL.value, Decision.REVIEW.value]),
        sa.exists().where(epochs.c.station == parts.c.station, epochs.c.epoch > parts.c.epoch),
    ),
)


class Filled:
    """Up to which id nothing can be added to `parts` any more.

    SQLite has one writer at a time: ids appear in order. On PostgreSQL a transaction may hold an id for as
    long as it likes; so only ids count that were seen before everything that runs now began.
    """

    def __init__(self) -> None:
        self._seen: tuple[int, int] | None = None
        self._upto = 0
        self._place: Place = ()

    def look(self, connection: sa.Connection) -> int:
        """Return the id; on PostgreSQL 0 at the first look, then at least what the look before showed."""
        if connection.dialect.name != "postgresql":
            return int(connection.execute(sa.select(sa.func.max(parts.c.id))).scalar() or 0)
        place = place_of(connection, ())
        if place != self._place:  # its numbers of transactions are others: a backup may lie there
            self._place, self._seen, self._upto = place, None, 0
        oldest, following, highest = connection.execute(
            sa.text(
                "SELECT pg_snapshot_xmin(s)::text::bigint, pg_snapshot_xmax(s)::text::bigint,"
                " (SELECT max(id) FROM parts) FROM pg_current_snapshot() s"
            )
        ).one()
        if self._seen is not None and oldest < self._seen[0]:
            return self._upto  # what ran when those rows were seen still runs
        self._upto = self._upto if self._seen is None else self._seen[1]
        self._seen = (following, highest or 0)
        return self._upto


class Counting:
    """Keeps `slots` and `tallies` up to date, from a thread of its own, until it is closed.

    It may run in several processes at once: only one of them moves the mark.
    """

    def __init__(self, store: WebStore) -> None:
        self._store = store
        self._stop = threading.Event()
        self._filled = Filled()
        self._size = BATCH
        self._moved, self._trouble, self._log_trouble = 0.0, "", ""
        self._next_log = time.monotonic()
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
                more = tally_step(self._store) or more
                self._trouble = ""
            except StoreError as error:
                more = False
                if str(error) != self._trouble:
                    _logger.warning("counting parts waits: %s", error)
                self._trouble = str(error)
            self._tend_log()
            if self._stop.wait(PAUSE if more else EVERY):
                return

    def _tend_log(self) -> None:
        """Move SQLite's log into the store: without a line nothing else would; see `WebStore`."""
        if time.monotonic() < self._next_log:
            return
        self._next_log = time.monotonic() + EVERY
        try:
            move_log(self._store.config)
            self._log_trouble = ""
        except sqlite3.Error as error:
            if str(error) != self._log_trouble:
                _logger.warning("SQLite's log cannot be moved into the store: %s", error)
            self._log_trouble = str(error)

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
            found = grouped(connection, *between, SETTLED)
            still = list(
                connection.execute(sa.select(parts.c.id).where(*between, ~_settled())).scalars()
            )
            for chunk in chunks(mark.open):
                found += grouped(connection, parts.c.id.in_(chunk), SETTLED)
                query = sa.select(parts.c.id).where(parts.c.id.in_(chunk), ~_settled())
                still += connection.execute(query).scalars()
        if len(found) > MOST and self._size > MOST:  # sparse rows, each with a slot of its own
            self._size = max(MOST, self._size * MOST // (2 * len(found)))
            return True
        size = self._size
        if len(found) < MOST // 4:
            self._size = min(BATCH, 2 * size)
        moved = Mark(last, tuple(sorted(still)))
        ready = sum(int(row[-1]) for row in found)
        if moved == mark or (ready < worth and time.monotonic() - self._moved < LATEST):
            return False
        with self._store.write("counting parts", derived=True) as connection:
            if _hold(connection) != mark:
                return False  # another process was quicker
            _add(connection, found)
            _keep(connection, moved)
        self._moved = time.monotonic()
        return ready >= size // 2

    def _last(self, connection: sa.Connection, mark: Mark) -> int:
        """Return the id up to which rows may be looked at now: a batch at most."""
        ids = sa.select(parts.c.id).where(parts.c.id > mark.record).order_by(parts.c.id)
        newest = connection.execute(
            sa.select(sa.func.max(ids.limit(self._size).subquery().c.id))
        ).scalar()
        last = mark.record if newest is None else int(newest)
        if connection.dialect.name != "postgresql":
            return last  # one writer at a time: ids appear in order
        return max(mark.record, min(last, self._filled.look(connection)))


def _settled() -> sa.ColumnElement[bool]:
    return sa.func.coalesce(SETTLED, sa.false())


def _add(connection: sa.Connection, found: list[tuple[Any, ...]]) -> None:
    """Add counts to `slots`, and to `days`, which hold the same by day."""
    _add_to(connection, slots, found)
    _add_to(connection, days, [(row[0][:10], *row[1:]) for row in found])


def _add_to(connection: sa.Connection, table: sa.Table, found: list[tuple[Any, ...]]) -> None:
    rows: dict[tuple[Any, ...], int] = {}
    for row in found:
        rows[row[:-1]] = rows.get(row[:-1], 0) + int(row[-1])
    if not rows:
        return
    statement = _insert(connection, table)
    statement = statement.on_conflict_do_update(
        index_elements=list(KEYS), set_={"number": table.c.number + statement.excluded.number}
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


def _hold(connection: sa.Connection) -> Mark:
    """Return how far the counting came, and keep others from moving the mark in this transaction."""
    start = _insert(connection, marks).values({"name": MARK, "value": _text(Mark())})
    connection.execute(start.on_conflict_do_nothing())
    query = sa.select(marks.c.value).where(marks.c.name == MARK)
    return mark_of(connection, query.with_for_update())
