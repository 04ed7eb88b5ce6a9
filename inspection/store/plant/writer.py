"""Writing a station's messages into the plant: rows and mark in one transaction, so each exactly once.

    messages ─▶ whole rows of the station (source.py) ─▶ partitions of their months
             ─▶ one transaction: is the mark ours? ─▶ parts, verdicts, alarms ─▶ the mark ─▶ commit
                                        │ a row is refused
                                        └▶ those before it and the mark are committed, then RowRefusedError

A kill or a cut link leaves rows and mark as they were before, or both as they are after.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from inspection.errors import StoreError
from inspection.store.database import is_refused
from inspection.store.plant import months, rows
from inspection.store.plant.database import Plant, PlantError, check
from inspection.store.plant.identity import check_epochs, resume
from inspection.store.plant.removed import alarms_removed, dropped_before, removed
from inspection.store.plant.source import Source
from inspection.store.plant.tables import plant_stations
from inspection.store.rows import Values, utc_now
from inspection.store.tables import epochs

BATCH = 200
"""Messages of one transaction, at most."""
_AHEAD_EVERY = 60.0
"""Seconds between two attempts to make a partition ahead."""
log = logging.getLogger(__name__)


class RowRefusedError(StoreError):
    """The plant refuses one message for what it says; those before it were taken.

    Attributes:
        number: row of the outbox.
    """

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be written.

    Attributes:
        number: row of the outbox.
        kind: part, verdict or alarm.
        subject: id of the part, verdict or alarm at the station.
        version: of it.
    """

    number: int
    kind: str
    subject: int
    version: int


@dataclass(slots=True)
class _Entry:
    """An order with what the station says of it.

    Attributes:
        order: the order.
        part: whole row of its part; None: an alarm.
        version: of the part's decision.
        verdicts: of the part, up to the one that is told.
        review: of the part.
        alarm: whole row.
    """

    order: Order
    part: Values | None = None
    version: int = 1
    verdicts: list[Values] = field(default_factory=list[Values])
    review: Values | None = None
    alarm: Values | None = None


class Writer:
    """Writes for one station, in one thread; useless after an error."""

    def __init__(
        self, plant: Plant, source: Source, carry: Callable[[Values], None] = lambda _row: None
    ) -> None:
        """Nothing is asked yet.

        Args:
            plant: where to.
            source: the station's store.
            carry: told each part before its row goes, to copy its pictures.
        """
        self._plant, self._source, self._carry = plant, source, carry
        self._since, self._mark = "", 0
        self._months: set[str] = set()
        self._next_ahead = 0.0

    def resume(self) -> int:
        """Return the row of the outbox that the plant took last; see `identity.resume`."""
        with self._plant.transaction("looking how far the plant is") as connection:
            check(connection)
            self._mark = resume(connection, self._source)
        self._since = self._source.since()
        return self._mark

    def take(self, orders: Sequence[Order]) -> None:
        """Write these, in this order, and the mark; one below the mark is written again without moving it.

        Raises:
            PlantError: nothing was written, or nobody knows; `resume` tells.
            RowRefusedError: as it says.
            StoreError: the station's store cannot be read.
        """
        try:
            entries, gone = self._read(orders)
        except ValueError as error:  # JSON in the station's store that is none
            if len(orders) == 1:
                why = f"the station's row cannot be read: {error}"
                raise RowRefusedError(orders[0].number, why) from error
            for one in orders:
                self.take([one])
            return
        for entry in entries:
            if entry.part is not None:
                self._carry(entry.part)
        self._make_months(entries)
        last = self._source.name_of(entries[-1].order.number) if entries else ""
        refused: RowRefusedError | None = gone
        with self._plant.transaction("writing to the plant") as connection:
            self.own(connection)
            refused = self._write(connection, entries) or gone
            taken = [
                e.order.number for e in entries if not refused or e.order.number < refused.number
            ]
            mark = max([self._mark, *taken])
            if mark > self._mark:
                name = last if taken[-1] == entries[-1].order.number else self._source.name_of(mark)
                self._note(connection, mark, name)
        self._mark = mark
        self._make_ahead()
        if refused is not None:
            raise refused

    def own(self, connection: sa.Connection) -> None:
        """Hold the station's mark in this transaction. Raises PlantError when somebody else moved it."""
        query = sa.select(plant_stations).where(plant_stations.c.station == self._source.station)
        row = connection.execute(query.with_for_update()).first()
        if row is None or (row.since, row.mark) != (self._since, self._mark):
            raise PlantError(
                f"somebody else told the plant of station {self._source.station} meanwhile; if two "
                "stations have this name, give one of them another"
            )

    def _note(self, connection: sa.Connection, mark: int, name: str) -> None:
        here = plant_stations.c.station == self._source.station
        values = {"mark": mark, "last_message": name, "told_at": utc_now()}
        connection.execute(sa.update(plant_stations).where(here).values(**values))

    def _read(self, orders: Sequence[Order]) -> tuple[list[_Entry], RowRefusedError | None]:
        """Return what the station says of these, up to the first that it does not have any more."""
        records = {
            one.number: one.subject if one.kind == "part" else self._source.record_of(one.subject)
            for one in orders
            if one.kind != "alarm"
        }
        known = [record for record in dict.fromkeys(records.values()) if record is not None]
        again = self._source.told_again(known)  # before the rows: see `rows.write_parts`
        found = self._source.parts(known)
        judged = [records[one.number] or 0 for one in orders if one.kind == "verdict"]
        reviews = self._source.reviews(judged)
        alarms = self._source.alarms([one.subject for one in orders if one.kind == "alarm"])
        entries: list[_Entry] = []
        for one in orders:
            record = records.get(one.number) or 0
            entry = _Entry(one, found.get(record), 2 if record in again else 1)
            if one.kind == "part":
                entry.version = max(entry.version, one.version)
            elif one.kind == "verdict":
                entry.verdicts = self._source.verdicts(record, one.version)
                entry.review = reviews.get(record)
            entry.alarm = alarms.get(one.subject) if one.kind == "alarm" else None
            if entry.part is None and entry.alarm is None:
                why = f"{one.kind} {one.subject} is not in the station's store any more"
                return entries, RowRefusedError(one.number, why)
            entries.append(entry)
        return entries, None

    def _make_months(self, entries: Sequence[_Entry]) -> None:
        times = [str(entry.part["triggered_at"]) for entry in entries if entry.part is not None]
        missing = months.wanted(times) - self._months
        if missing:
            with self._plant.transaction("making partitions") as connection:
                months.make(connection, missing)
            self._months |= missing

    def _make_ahead(self) -> None:
        """Make what is needed soon; who reads the plant meanwhile does not stop what is told now."""
        missing = months.ahead() - self._months
        if not missing or time.monotonic() < self._next_ahead:
            return
        self._next_ahead = time.monotonic() + _AHEAD_EVERY
        try:
            with self._plant.transaction("making partitions ahead") as connection:
                months.make_ahead(connection)
        except PlantError as error:
            log.error("%s; it is needed from next month on, and tried again in a minute", error)
        else:
            self._months |= missing

    def _write(
        self, connection: sa.Connection, entries: Sequence[_Entry]
    ) -> RowRefusedError | None:
        """Write all at once; where the plant refuses, one after the other up to the one it refuses."""
        kept = self._kept(connection, entries)
        if self._try(connection, kept) is None:
            return None
        for entry in kept:
            refused = self._try(connection, [entry])
            if refused is not None:
                return refused
        return None

    def _kept(self, connection: sa.Connection, entries: Sequence[_Entry]) -> list[_Entry]:
        """Return all but parts and alarms that were removed here; others of such times may be of today."""
        first = dropped_before(connection)
        if first:
            entries = self._without_alarms(connection, entries, first)
        old = [
            e.part for e in entries if e.part is not None and str(e.part["triggered_at"]) < first
        ]
        if not old:
            return list(entries)
        gone = removed(connection, self._source.station, old)
        late = [int(part["id"]) for part in old if part["id"] not in gone]
        if late:
            log.warning(
                "%d parts, the first is record %d, have times before %s, which was removed from the plant: "
                "they are kept there in the default partition; is the clock of station %s right?",
                len(late), late[0], first, self._source.station,
            )  # fmt: skip
        return [e for e in entries if e.part is None or e.part["id"] not in gone]

    def _without_alarms(
        self, connection: sa.Connection, entries: Sequence[_Entry], first: str
    ) -> list[_Entry]:
        reached = alarms_removed(connection, self._source.station, self._since)
        return [
            e
            for e in entries
            if e.alarm is None or str(e.alarm["at"]) >= first or e.order.number > reached
        ]

    def _try(self, connection: sa.Connection, entries: Sequence[_Entry]) -> RowRefusedError | None:
        try:
            with connection.begin_nested():
                self._write_all(connection, entries)
        except RowRefusedError as error:
            return error
        except (
            Exception
        ) as error:  # the boundary to the driver: what it refuses, it refuses in many ways
            if not is_refused(error):
                raise
            text = " ".join(str(getattr(error, "orig", error)).split())
            return RowRefusedError(entries[0].order.number, f"the plant refuses it: {text}")
        return None

    def _write_all(self, connection: sa.Connection, entries: Sequence[_Entry]) -> None:
        told = [
            rows.ToldPart(e.order.number, e.version, e.part) for e in entries if e.part is not None
        ]
        self._write_epochs(connection, entries)
        try:
            ids = rows.write_parts(connection, told)
            for entry in entries:
                if entry.verdicts and entry.part is not None:
                    number = ids[int(entry.part["id"])]
                    rows.write_verdicts(connection, number, entry.part, entry.verdicts)
                    if entry.review is not None:
                        rows.write_review(connection, number, entry.review)
                if entry.alarm is not None:
                    rows.write_alarm(connection, entry.alarm)
        except rows.ConflictError as error:
            number = error.number or entries[0].order.number
            raise RowRefusedError(number, str(error)) from error

    def _write_epochs(self, connection: sa.Connection, entries: Sequence[_Entry]) -> None:
        """Add the epochs of these parts; one that is there must be the same."""
        told = {int(entry.part["epoch"]) for entry in entries if entry.part is not None}
        if not told:
            return
        theirs = self._source.epochs(sorted(told))
        query = sa.select(epochs).where(
            epochs.c.station == self._source.station, epochs.c.epoch.in_(told)
        )
        ours = {int(row["epoch"]): dict(row) for row in connection.execute(query).mappings()}
        check_epochs(self._source, ours, theirs)
        new = [row for number, row in theirs.items() if number not in ours]
        if new:
            connection.execute(sa.insert(epochs), new)
