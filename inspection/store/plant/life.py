"""What happens at the station after a part was told: sent, acknowledged, its picture, late results, reviews.

    part_keys that are not final ─▶ the station's rows ─▶ what differs is written
    open reviews of the station  ─▶ those that the plant does not show

Each look takes a bounded number of rows and goes on where the last one stopped, round and round.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import sqlalchemy as sa

from inspection.store.database import is_refused
from inspection.store.plant import rows
from inspection.store.plant.database import Plant
from inspection.store.plant.source import Source
from inspection.store.plant.tables import part_keys
from inspection.store.plant.writer import Writer
from inspection.store.rows import Values
from inspection.store.tables import parts
from inspection.store.web.tables import reviews
from inspection.store.web.wanted import WAITING

AT_ONCE = 300
"""Rows of one look."""
_LIFE = (
    "state", "committed_mono", "sent_mono", "sent_at", "acknowledged_mono", "acknowledged_at",
    "image_state", "images", "late", "timings",
)  # fmt: skip
"""Columns of a part that change after its decision."""
log = logging.getLogger(__name__)


class Life:
    """Follows one station's parts in the plant. Used by one thread; useless after an error."""

    def __init__(
        self, plant: Plant, source: Source, writer: Writer, carry: Callable[[Values], None]
    ) -> None:
        self._plant, self._source, self._writer, self._carry = plant, source, writer, carry
        self._part = self._review = 0
        self._refused: set[int] = set()
        self._has_cleared = False

    def look(self) -> int:
        """Bring some parts and reviews up to date; return how many changed.

        Raises:
            PlantError: the plant cannot be used, or somebody else told it of this station.
            StoreError: the station's store cannot be read.
        """
        if not self._has_cleared:
            self._clear_reviews()
            self._has_cleared = True
        return self._parts() + self._reviews()

    def _parts(self) -> int:
        query = (
            sa.select(
                part_keys.c.id.label("number"), part_keys.c.record, part_keys.c.told_at, parts
            )
            .join(parts, parts.c.id == part_keys.c.id)
            .where(part_keys.c.station == self._source.station, ~part_keys.c.is_final)
            .where(part_keys.c.id > self._part, parts.c.triggered_at == part_keys.c.triggered_at)
            .order_by(part_keys.c.id)
            .limit(AT_ONCE)
        )
        with self._plant.transaction("looking at open parts") as connection:
            ours = [dict(row) for row in connection.execute(query).mappings()]
            now = rows.server_now(connection)
        self._part = ours[-1]["number"] if len(ours) == AT_ONCE else 0
        theirs, damaged = self._source.readable_parts([row["record"] for row in ours])
        changed: list[tuple[int, Values]] = []
        final: list[int] = []
        for row in ours:
            if row["record"] in damaged:
                log.error("record %s is damaged and stays in the plant as told", row["record"])
                final.append(row["number"])
                continue
            there = theirs.get(row["record"])
            if there is None or not _same_decision(row, there):
                continue  # a replaced decision comes as a message of its own
            if any(row[name] != there[name] for name in _LIFE):
                self._carry(there)
                changed.append((row["number"], there))
            if rows.is_final(there, str(row["told_at"]), now):
                final.append(row["number"])
        if changed or final:
            self._write(changed, final)
        return len(changed)

    def _write(self, changed: Sequence[tuple[int, Values]], final: Sequence[int]) -> None:
        with self._plant.transaction("following parts") as connection:
            self._writer.own(connection)
            refused = [number for number, row in changed if not _change(connection, number, row)]
            done = sa.update(part_keys).where(part_keys.c.id.in_([*final, *refused]))
            connection.execute(done.values(is_final=True))

    def _reviews(self) -> int:
        found = self._source.open_reviews(self._review, AT_ONCE)
        self._review = found[-1] if len(found) == AT_ONCE else 0
        if not found:
            return 0
        query = (
            sa.select(part_keys)
            .where(part_keys.c.station == self._source.station, part_keys.c.record.in_(found))
            .where(~sa.exists().where(reviews.c.record == part_keys.c.id))
        )
        with self._plant.transaction("looking at reviews") as connection:
            ours = connection.execute(query).all()
        if not ours:
            return 0
        # a store that was restored gives a record id again: the plant may have two parts of it
        theirs = self._source.keys([row.record for row in ours])
        missing = {
            int(row.record): int(row.id)
            for row in ours
            if theirs.get(row.record) == (row.epoch, row.sequence, row.triggered_at)
        }
        there = {
            missing[record]: review
            for record, review in self._source.reviews(list(missing)).items()
            if review["triggered_at"] == theirs[record][2] and missing[record] not in self._refused
        }
        if not there:
            return 0
        with self._plant.transaction("following reviews") as connection:
            self._writer.own(connection)
            for number, review in there.items():
                if not _try(connection, rows.write_review, number, review):
                    self._refused.add(number)
                    log.error("the review of record %s stays as it was told", review["record"])
        return len(there)

    def _clear_reviews(self) -> None:
        """Remove reviews that an earlier version showed on another part of the same record."""
        query = (
            sa.select(reviews.c.record)
            .join(part_keys, part_keys.c.id == reviews.c.record)
            .where(reviews.c.state.in_(WAITING), part_keys.c.station == self._source.station)
            .where(part_keys.c.triggered_at != reviews.c.triggered_at)
        )
        with self._plant.transaction("looking for reviews of other parts") as connection:
            wrong = list(connection.execute(query).scalars())
            if wrong:
                self._writer.own(connection)
                connection.execute(sa.delete(reviews).where(reviews.c.record.in_(wrong)))
                log.warning("removed %d reviews that were shown on other parts", len(wrong))


def _change(connection: sa.Connection, number: int, row: Values) -> bool:
    """Write what happened to a part; False: the plant refuses it, and the part stays there as it was."""
    if _try(connection, rows.change_part, number, row):
        return True
    name = f"{row['station']}/{row['epoch']}/{row['sequence']}"
    log.error("part %s stays in the plant as it was told", name)
    return False


def _try(
    connection: sa.Connection,
    write: Callable[[sa.Connection, int, Values], None],
    number: int,
    row: Values,
) -> bool:
    """Write a row; False: the plant refuses it, and the rest of the transaction stands."""
    try:
        with connection.begin_nested():
            write(connection, number, row)
    except (
        Exception
    ) as error:  # the boundary to the driver: what it refuses, it refuses in many ways
        if not is_refused(error):
            raise
        log.error("the plant refuses it: %s", error)
        return False
    return True


def _same_decision(ours: Values, theirs: Values) -> bool:
    names = ("epoch", "sequence", "triggered_at", "decision", "decided_at")
    return all(ours[name] == theirs[name] for name in names)
