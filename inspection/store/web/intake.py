"""Intake: parts that a person should look at get a row in `reviews`, soon after they were decided.

    parts ─▶ scan (by id, from the mark) ─▶ chosen (flagged, or drawn from the passed) ─▶ reviews

It may run in several processes at once: a row that is there is left alone. A row is taken in when its
decision can never change (`counting.SETTLED`): a PASS that is replaced before it was sent is no part that
passed. Other rows, and ids that another transaction may yet fill, are looked at again; none is passed by.

A passed part is drawn when HMAC-SHA256(seed, record) is below the share in force, so nobody can tell
beforehand which, and the draw can be repeated afterwards. Only parts whose picture is kept are drawn, one of
`epochs.ok_every`: `reviews.probability` is the share in force by that number, the chance of a passed part.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import secrets
import threading
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from inspection.errors import StoreError
from inspection.store.rows import Values, utc_now
from inspection.store.tables import epochs, parts, verdicts
from inspection.store.web import settings
from inspection.store.web.access import WebStore
from inspection.store.web.counting import SETTLED, Filled
from inspection.store.web.tables import marks, reviews
from inspection.types import Decision, Verdict

PASS_SHARE = "review.pass_share"  # noqa: S105  a setting's name
SEED = "review.seed"
DEFAULT_SHARE = 0.02
MARK = "intake"
BATCH = 100
"""Rows of one transaction."""
EVERY = 0.5
"""Seconds between two looks."""
PAUSE = 0.02
"""Seconds between two batches, at least; see `access.REST`."""
MOST_OPEN = 5_000
"""Rows below the mark that are looked at again; of more the oldest are let go, and the log says so."""
_SHOWN = {"saved", "pending"}
_logger = logging.getLogger(__name__)


class Intake:
    """Takes parts in, from a thread of its own, until it is closed."""

    def __init__(self, store: WebStore) -> None:
        self._store = store
        self._stop = threading.Event()
        self._filled = Filled()
        self._upto = 0
        self._seed = b""
        self._trouble = ""
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread; a batch under way is finished. May be called twice."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10)

    def take_all(self) -> int:
        """Take in what there is now; return how many reviews were added. Raises StoreError."""
        seed = self._seed or self._make_seed()
        with self._store.read("reading where the intake is") as connection:
            mark = read_mark(connection)
            share = float(settings.read(connection, PASS_SHARE, DEFAULT_SHARE))
            self._upto = self._filled.look(connection)
            ready = _settled_of(connection, mark["open"])
        waiting, added, cursor = set[int](mark["open"]), 0, int(mark["record"])
        for rows in ready:
            waiting -= {row["id"] for row in rows}
            added += self._write(self._wanted(rows, seed, share), None, seed, share)
        while not self._stop.is_set():
            with self._store.read("looking for parts to review") as connection:
                found = _rows(connection, parts.c.id > cursor)
            settled = [row for row in found if row["settled"]]
            waiting |= {row["id"] for row in found if not row["settled"]}
            cursor = found[-1]["id"] if found else cursor
            wanted, moved = self._wanted(settled, seed, share), self._moved(mark, cursor, waiting)
            added += self._write(wanted, moved, seed, share)
            mark = moved or mark
            if len(found) < BATCH:
                break
            self._stop.wait(PAUSE)
        return added

    def _make_seed(self) -> bytes:
        with self._store.write("the seed of the sample") as connection:
            self._seed = seed_of(connection)
        return self._seed

    def _moved(self, kept: Values, cursor: int, waiting: set[int]) -> Values | None:
        """Return the mark where it is worth writing: rarely while nothing but good parts pass."""
        upto = max(int(kept["record"]), min(cursor, self._upto))
        if upto < int(kept["record"]) + BATCH and waiting.issuperset(kept["open"]):
            return None
        still = sorted(row for row in waiting if row <= upto)
        gone, still = still[:-MOST_OPEN], still[-MOST_OPEN:]
        if gone:
            waiting.difference_update(gone)
            _logger.warning(
                "%d parts were never answered; review does not wait for them any more: records %d to %d",
                len(gone),
                gone[0],
                gone[-1],
            )
        return {"record": upto, "open": still}

    def _wanted(self, settled: Sequence[Values], seed: bytes, share: float) -> list[Values]:
        """Return the rows that get a review. All reading is done here, before the store is held."""
        ids = [row["id"] for row in settled]
        if not ids:
            return []
        chosen = {row["id"] for row in settled if is_flagged(row) or is_drawn(row, seed, share)}
        with self._store.read("looking which reviews are there") as connection:
            there = _records(connection, reviews.c.record, ids)
            judged = _records(connection, verdicts.c.record, ids)
        return [row for row in settled if row["id"] in (chosen | judged) - there]

    def _write(
        self, wanted: Sequence[Values], mark: Values | None, seed: bytes, share: float
    ) -> int:
        """Add reviews and move the mark, in one transaction; without either the store is not held."""
        if not wanted and mark is None:
            return 0
        with self._store.write("taking parts in for review", derived=True) as connection:
            added = insert(connection, wanted, seed, share) if wanted else 0
            if mark is not None:
                write_mark(connection, mark)
        return added

    def _run(self) -> None:
        while not self._stop.wait(EVERY):
            try:
                self.take_all()
            except StoreError as error:
                if str(error) != self._trouble:
                    _logger.error("the review queue is not filled: %s", error)
                self._trouble = str(error)
            else:
                self._trouble = ""


def is_flagged(row: Values) -> bool:
    """Tell whether a decided part goes to a person in any case."""
    if row["decision"] == Decision.NOT_INSPECTED:
        return row["image_state"] in _SHOWN
    return row["decision"] != Decision.PASS


def is_drawn(row: Values, seed: bytes, share: float) -> bool:
    """Tell whether a passed part whose picture is kept is in the sample."""
    if row["decision"] != Decision.PASS or row["image_state"] not in _SHOWN:
        return False
    digest = hmac.new(seed, str(row["id"]).encode(), hashlib.sha256).digest()
    return int.from_bytes(digest[:8]) < share * 2**64


def insert(
    connection: sa.Connection, rows: Sequence[Values], seed: bytes, share: float, *, why: str = ""
) -> int:
    """Add reviews of decided parts; those that are there stay. Return how many were added."""
    given: dict[int, list[Values]] = {}
    query = sa.select(verdicts).where(verdicts.c.record.in_([row["id"] for row in rows]))
    for verdict in connection.execute(query.order_by(verdicts.c.version)).mappings():
        given.setdefault(verdict["record"], []).append(dict(verdict))
    values = [_review(row, given.get(row["id"], []), seed, share, why) for row in rows]
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    adding: Any = dialect.insert(reviews).on_conflict_do_nothing(index_elements=["record"])
    found = connection.execute(adding.returning(reviews.c.record), values)
    return len(found.all())


def _review(row: Values, given: Sequence[Values], seed: bytes, share: float, why: str) -> Values:
    drawn = is_drawn(row, seed, share)
    chance = share / max(row["ok_every"] or 1, 1)
    last = given[-1] if given else None
    state = "open"
    if last is not None and last["verdict"] != Verdict.NOT_REVIEWED:
        state = "engineer" if last["verdict"] == Verdict.UNSURE else "done"
    return {
        "record": row["id"],
        "state": state,
        "why": why or ("flagged" if is_flagged(row) else "sample" if drawn else "asked"),
        "probability": chance if drawn and not why else 1.0,
        "version": 0 if last is None else last["version"],
        "verdict": None if last is None else last["verdict"],
        "who": None if last is None else last["who"],
        "station": row["station"],
        "part_name": row["part_name"],
        "recipe_number": row["recipe_number"],
        "release": row["release"],
        "decision": row["decision"],
        "reason": row["reason"],
        "defect_class": row["defect_class"],
        "score": row["deciding_score"],
        "triggered_at": row["triggered_at"],
        "changed_at": utc_now(),
    }


_COLUMNS = (
    "id", "state", "decision", "reason", "station", "part_name", "recipe_number", "release",
    "defect_class", "deciding_score", "triggered_at", "image_state",
)  # fmt: skip


def _rows(connection: sa.Connection, *where: sa.ColumnElement[bool]) -> list[Values]:
    settled = sa.func.coalesce(SETTLED, sa.false()).label("settled")
    begun = epochs.alias("begun")  # `SETTLED` looks at other epochs
    same = sa.and_(begun.c.station == parts.c.station, begun.c.epoch == parts.c.epoch)
    columns = (*(parts.c[name] for name in _COLUMNS), begun.c.ok_every, settled)
    query = sa.select(*columns).select_from(parts.outerjoin(begun, same)).where(*where)
    found = connection.execute(query.order_by(parts.c.id).limit(BATCH)).mappings()
    return [dict(row) for row in found]


def _settled_of(connection: sa.Connection, ids: Sequence[int]) -> list[list[Values]]:
    """Return those of the rows that are settled now, a batch at a time."""
    batches = (ids[start : start + BATCH] for start in range(0, len(ids), BATCH))
    return [_rows(connection, parts.c.id.in_(batch), SETTLED) for batch in batches]


def row_of(connection: sa.Connection, record: int) -> Values | None:
    """Return what the intake reads of a part; None when there is none."""
    found = _rows(connection, parts.c.id == record)
    return found[0] if found else None


def _records(connection: sa.Connection, column: sa.Column[Any], ids: Sequence[int]) -> set[int]:
    return set(connection.execute(sa.select(column).where(column.in_(ids))).scalars())


def seed_of(connection: sa.Connection) -> bytes:
    """Return the seed of the draw; made once, never shown. Needs a connection for writing."""
    found = settings.read(connection, SEED, None)
    if found is None:
        found = secrets.token_hex(32)
        settings.change(connection, SEED, found, "system", told=False)
    return bytes.fromhex(found)


def read_mark(connection: sa.Connection) -> Values:
    """Return up to which record everything was taken in, and which rows below were still open."""
    found = connection.execute(sa.select(marks.c.value).where(marks.c.name == MARK)).scalar()
    return {"record": 0, "open": []} if found is None else json.loads(found)


def write_mark(connection: sa.Connection, mark: Values) -> None:
    """Keep the mark. It is never put back: another process may have come further."""
    if int(mark["record"]) < int(read_mark(connection)["record"]):
        return
    value = {"value": json.dumps(mark)}
    found = connection.execute(sa.update(marks).where(marks.c.name == MARK).values(value))
    if not found.rowcount:
        connection.execute(sa.insert(marks), {"name": MARK, **value})
