"""What people said, counted for each half hour, beside the counts of parts in `inspection.store.web.counts`.

    reviews ─▶ (a trigger of the database) changes ─▶ tally_step counts these half hours anew ─▶ tallies
    tallies of every other half hour + reviews of those that changed ─▶ judged()

A trigger notes the half hour of every review that is added, changed or taken away, in the same transaction.
A half hour with a note is read from `reviews` itself until it was counted after that note, so what is
told is at every moment what a count of `reviews` would say: whatever the order of verdicts, undo and second
persons, after a kill, and while several processes count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from inspection.store.rows import Values
from inspection.store.tables import epochs, parts, verdicts
from inspection.store.web.access import WebStore
from inspection.store.web.counts import NONE, Wanted, half_hour, or_else, same_state, sums
from inspection.store.web.tables import changes, reviews, tallies, tally_days
from inspection.types import Decision, Verdict

NOTES = 500
"""Notes taken at a time."""
HALVES = 50
"""Half hours counted at a time: the lock is held for some milliseconds."""
DAYS = 3
"""Days counted at a time."""
_MOST_READ = 200
"""Half hours with notes over which all reviews are read: a bulk of reviews is not counted yet."""
_CHUNK = 500
_LOOKED = sa.or_(
    verdicts.c.verdict.not_in(
        [Verdict.ABORTED.value, Verdict.UNSURE.value, Verdict.NOT_REVIEWED.value]
    ),
    verdicts.c.seen["image_sha256"].as_string() != "",
)
"""A person said this before a picture: without one only `unsure` and `aborted` can be said."""
_LOST = sa.and_(
    reviews.c.decision == Decision.PASS.value,
    reviews.c.state == "done",
    reviews.c.verdict == Verdict.ABORTED.value,
    sa.exists().where(verdicts.c.record == reviews.c.record, _LOOKED),
)
"""A passed part that was seen and not settled before its picture was lost. It counts as in doubt for ever:
who saw it did not find it good, and nobody can wait until the picture of an escape is gone."""
_KEYS: dict[str, sa.ColumnElement[Any]] = {
    "slot": half_hour("reviews"),
    "station": reviews.c.station,
    "recipe_number": or_else(reviews.c.recipe_number, str(NONE)),
    "part_name": or_else(reviews.c.part_name, "''"),
    "release": or_else(reviews.c.release, "''"),
    "decision": reviews.c.decision,
    "why": reviews.c.why,
    "state": sa.case((_LOST, "engineer"), else_=reviews.c.state),
    "verdict": or_else(reviews.c.verdict, "''"),
    "probability": reviews.c.probability,
}
TALLIED = tuple(_KEYS)
"""What reviews are counted by."""
_TOLD = ("decision", "why", "state", "verdict", "probability")


def none_kept(connection: sa.Connection, wanted: Wanted) -> bool:
    """Tell whether passed parts were made for a time in which no picture of such a part was kept.

    None of them can be drawn, so no estimate knows of them: it takes them to be like the others.
    """
    later = epochs.alias("later")
    ended = sa.select(later.c.started_at).where(
        later.c.station == epochs.c.station, later.c.epoch > epochs.c.epoch
    )
    until = ended.order_by(later.c.epoch).limit(1).scalar_subquery()
    passed = sa.exists().where(
        parts.c.station == epochs.c.station,
        parts.c.epoch == epochs.c.epoch,
        parts.c.decision == Decision.PASS.value,
    )
    query = sa.select(epochs.c.epoch).where(epochs.c.ok_every == 0, passed).limit(1)
    if wanted.station is not None:
        query = query.where(epochs.c.station == wanted.station)
    if wanted.until is not None:
        query = query.where(epochs.c.started_at < wanted.until)
    if wanted.since is not None:
        query = query.where(sa.func.coalesce(until, wanted.since) >= wanted.since)
    return connection.execute(query).first() is not None


def judged(
    connection: sa.Connection,
    wanted: Wanted,
    *keys: str,
    buckets: Sequence[tuple[str, str]] = (),
) -> list[Values]:
    """Return how many parts people were to judge and what they said, in groups.

    Args:
        connection: of the store; see `same_state`.
        wanted: which parts.
        keys: grouped by, beside what is always told: `slot`, `station`, `recipe_number`, `part_name`,
            `release`.
        buckets: starts and ends, within the time; then a `slot` may be the start of the one that holds it.

    Returns:
        For each group the keys, `decision`, `why`, `state`, `verdict` (empty: none), `probability` and
        `number`.
    """
    names = (*keys, *_TOLD)
    noted = sorted(set(connection.execute(sa.select(changes.c.slot)).scalars()))
    if len(noted) > _MOST_READ:
        return _rows(names, _counted(connection, names, wanted.of_reviews()))
    found = sums(connection, wanted, tallies, tally_days, names, but=noted, buckets=buckets)
    for row in _counted(connection, names, wanted.of_reviews(), noted) if noted else []:
        found[row[:-1]] = found.get(row[:-1], 0) + row[-1]
    return _rows(names, ((*key, number) for key, number in found.items()))


def _rows(names: Sequence[str], found: Iterable[tuple[Any, ...]]) -> list[Values]:
    return [dict(zip((*names, "number"), row, strict=True)) for row in found]


def _counted(
    connection: sa.Connection,
    names: Sequence[str],
    clauses: Sequence[sa.ColumnElement[bool]],
    halves: Sequence[str] | None = None,
) -> list[tuple[Any, ...]]:
    """Count reviews themselves; of these half hours only where some are named."""
    columns = [_KEYS[name] for name in names]
    query = sa.select(*columns, sa.func.count()).where(*clauses).group_by(*columns)
    if halves is not None:
        at = reviews.c.triggered_at
        query = query.where(sa.or_(*(sa.and_(at >= one, at < _after(one)) for one in halves)))
    return [tuple(row) for row in connection.execute(query)]


def _after(slot: str) -> str:
    return (datetime.fromisoformat(slot) + timedelta(minutes=30)).strftime("%Y-%m-%dT%H:%M")


def tally_step(store: WebStore) -> bool:
    """Count the half hours of the oldest notes anew; tell whether there may be more.

    It may run in several processes at once: whoever comes second finds a note taken, and leaves it. Raises
    StoreError.
    """
    with store.read("reading what was judged") as connection:
        same_state(connection)
        query = sa.select(changes.c.id, changes.c.slot).order_by(changes.c.id).limit(NOTES)
        notes = [(int(note), str(slot)) for note, slot in connection.execute(query)]
        halves = set(list(dict.fromkeys(slot for _, slot in notes))[:HALVES])
        touched = list(dict.fromkeys(slot[:10] for _, slot in notes if slot in halves))[:DAYS]
        halves = {slot for slot in halves if slot[:10] in touched}
        taken = [note for note, slot in notes if slot in halves]
        if not taken:
            return False
        found = _counted(connection, TALLIED, (), sorted(halves))
    with store.write("counting what was judged", derived=True) as connection:
        if not _take(connection, taken):
            connection.rollback()
            return True  # another process was quicker
        connection.execute(sa.delete(tallies).where(tallies.c.slot.in_(sorted(halves))))
        if found:
            connection.execute(sa.insert(tallies), _rows(TALLIED, found))
        for day in touched:
            _sum_up(connection, day)
    return True


def _sum_up(connection: sa.Connection, day: str) -> None:
    """Make the tallies of a day from those of its half hours."""
    connection.execute(sa.delete(tally_days).where(tally_days.c.slot == day))
    keys = [tallies.c[name] for name in TALLIED if name != "slot"]
    whole = sa.select(sa.literal(day), *keys, sa.func.sum(tallies.c.number))
    whole = whole.where(tallies.c.slot >= day, tallies.c.slot < day + "U").group_by(*keys)
    connection.execute(sa.insert(tally_days).from_select([*TALLIED, "number"], whole))


def _take(connection: sa.Connection, notes: Sequence[int]) -> bool:
    """Delete these notes; tell whether every one was still there."""
    gone = 0
    for start in range(0, len(notes), _CHUNK):
        chunk = notes[start : start + _CHUNK]
        gone += connection.execute(sa.delete(changes).where(changes.c.id.in_(chunk))).rowcount
    return gone == len(notes)
