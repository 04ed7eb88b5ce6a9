"""What a station's own store says, for the plant: whole rows, read when they are sent. Read only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa

from inspection.store.rows import Values
from inspection.store.tables import (
    alarms,
    epochs,
    outbox,
    outbox_stations,
    parts,
    verdicts,
)
from inspection.store.web.access import WebStore
from inspection.store.web.tables import reviews

PART_COLUMNS = tuple(column.name for column in parts.columns if column.computed is None)
"""Columns of a part that are told: all that the database does not make itself."""
REVIEW_COLUMNS = tuple(column.name for column in reviews.columns if column.computed is None)
EPOCH_COLUMNS = tuple(column.name for column in epochs.columns)
_CHUNK = 500


class Source:
    """One station's store. Every call is one short read; each raises StoreError.

    Attributes:
        station: its name.
        pictures: folder that the paths in `images` are relative to.
    """

    def __init__(self, store: WebStore, station: str, pictures: Path) -> None:
        self._store, self.station, self.pictures = store, station, pictures

    def since(self) -> str:
        """Return what names this outbox: another one in a new store; empty where nobody is told."""
        query = sa.select(outbox_stations.c.since_at).where(
            outbox_stations.c.station == self.station
        )
        with self._store.read("reading the outbox") as connection:
            return str(connection.execute(query).scalar() or "")

    def name_of(self, number: int) -> str:
        """Return what a row of the outbox tells of, in words that another row does not have.

        Empty when the station has no such row, or what it tells of is gone.
        """
        with self._store.read("reading the outbox") as connection:
            row = connection.execute(
                sa.select(outbox).where(outbox.c.id == number, outbox.c.station == self.station)
            ).first()
            if row is None:
                return ""
            names = {
                "part": sa.select(parts.c.epoch, parts.c.sequence, parts.c.triggered_at),
                "verdict": sa.select(verdicts.c.version, verdicts.c.who, verdicts.c.at),
                "alarm": sa.select(alarms.c.reason, alarms.c.mono, alarms.c.at),
            }
            table = {"part": parts, "verdict": verdicts, "alarm": alarms}[row.kind]
            found = connection.execute(names[row.kind].where(table.c.id == row.subject)).first()
        return "" if found is None else "/".join(map(str, [row.kind, row.version, *found]))

    def told_again(self, records: Sequence[int]) -> set[int]:
        """Return those of the parts of which a replaced decision is in the outbox."""
        query = sa.select(outbox.c.subject).where(
            outbox.c.kind == "part", outbox.c.subject.in_(records), outbox.c.version > 1
        )
        with self._store.read("reading the outbox") as connection:
            return set(connection.execute(query).scalars())

    def epochs(self, numbers: Sequence[int]) -> dict[int, Values]:
        """Return these epochs by their number."""
        query = sa.select(epochs).where(
            epochs.c.station == self.station, epochs.c.epoch.in_(numbers)
        )
        with self._store.read("reading epochs") as connection:
            return {int(row["epoch"]): dict(row) for row in connection.execute(query).mappings()}

    def parts(self, records: Sequence[int]) -> dict[int, Values]:
        """Return whole parts of this station by their record id."""
        return self._by(parts, PART_COLUMNS, "id", records, parts.c.station == self.station)

    def readable_parts(self, records: Sequence[int]) -> tuple[dict[int, Values], set[int]]:
        """Return whole parts by their record id, and those of which a cell is damaged."""
        try:
            return self.parts(records), set()
        except ValueError:
            found: dict[int, Values] = {}
            damaged: set[int] = set()
            for record in records:
                try:
                    found |= self.parts([record])
                except ValueError:
                    damaged.add(record)
            return found, damaged

    def answers(self, records: Sequence[int]) -> dict[int, Values]:
        """Return what names these parts and what was decided, by record id; the rest may be damaged."""
        names = ("id", "epoch", "sequence", "triggered_at", "decision", "decided_at")
        return self._by(parts, names, "id", records, parts.c.station == self.station)

    def alarms(self, numbers: Sequence[int]) -> dict[int, Values]:
        """Return alarms by their id."""
        names = tuple(column.name for column in alarms.columns)
        return self._by(alarms, names, "id", numbers, alarms.c.station == self.station)

    def reviews(self, records: Sequence[int]) -> dict[int, Values]:
        """Return how the review of these parts stands, where there is one."""
        return self._by(reviews, REVIEW_COLUMNS, "record", records)

    def record_of(self, verdict: int) -> int | None:
        """Return the part that a verdict is of; None: there is no such verdict."""
        with self._store.read("reading a verdict") as connection:
            query = sa.select(verdicts.c.record).where(verdicts.c.id == verdict)
            return connection.execute(query).scalar()

    def verdicts(self, record: int, version: int) -> list[Values]:
        """Return the verdicts of a part up to this version, in their order."""
        query = sa.select(verdicts).where(
            verdicts.c.record == record, verdicts.c.version <= version
        )
        with self._store.read("reading verdicts") as connection:
            found = connection.execute(query.order_by(verdicts.c.version)).mappings()
            return [dict(row) for row in found]

    def keys(self, records: Sequence[int]) -> dict[int, tuple[int, int, str]]:
        """Return epoch, sequence and time of these parts by their record id."""
        return {
            record: (int(row["epoch"]), int(row["sequence"]), str(row["triggered_at"]))
            for record, row in self.answers(records).items()
        }

    def open_reviews(self, above: int, limit: int) -> list[int]:
        """Return the records of reviews that nobody has done, by record id."""
        query = (
            sa.select(reviews.c.record)
            .where(reviews.c.state == "open", reviews.c.record > above)
            .where(reviews.c.station == self.station)
            .order_by(reviews.c.record)
            .limit(limit)
        )
        with self._store.read("reading reviews") as connection:
            return list(connection.execute(query).scalars())

    def _by(
        self,
        table: sa.Table,
        names: Sequence[str],
        key: str,
        values: Sequence[int],
        *where: sa.ColumnElement[bool],
    ) -> dict[int, Values]:
        found: dict[int, Values] = {}
        columns = [table.c[name] for name in names]
        for start in range(0, len(values), _CHUNK):
            chosen = table.c[key].in_(values[start : start + _CHUNK])
            with self._store.read(f"reading {table.name}") as connection:
                rows = connection.execute(sa.select(*columns).where(chosen, *where)).mappings()
                found |= {int(row[key]): dict(row) for row in rows}
        return found
