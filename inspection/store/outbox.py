"""The outbox: what a station tells upward, and how far each destination is.

    parts, verdicts, alarms ─▶ outbox        triggers of the database, in the same transaction
    outbox ─▶ Outbox.batch ─▶ a destination ─▶ Outbox.save, Outbox.refuse

A row of `outbox` holds ids and codes only; what is said is read from the row it points to when it is sent.
Rows stay as long as what they tell of; a destination remembers the last one that was taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from inspection.store.final import Final, see_each_commit
from inspection.store.rows import Values, utc_now
from inspection.store.tables import (
    alarms,
    outbox,
    outbox_delivery,
    outbox_quarantine,
    outbox_stations,
    parts,
    verdicts,
)
from inspection.store.web.access import WebStore
from inspection.store.web.place import Place, place_of

PART_COLUMNS = (
    "id", "station", "epoch", "sequence", "part_id", "serial", "code", "recipe_number",
    "recipe_sha256", "part_name", "release", "model_sha256", "decision", "reason", "reasons", "defect_class",
    "deciding_score", "over_t1", "anomaly_score", "simulated", "triggered_at", "decided_at",
)  # fmt: skip
"""Columns of a part that do not change once it is decided, apart from a replaced decision."""

_AT = {"part": "decided_at", "verdict": "at", "alarm": "at"}


@dataclass(frozen=True, slots=True)
class Told:
    """One message to be.

    Attributes:
        id: of its row in the outbox; messages go in this order.
        station: that tells it.
        kind: part, verdict or alarm.
        version: of a part: 2 after its decision was replaced by NOT_INSPECTED; of a verdict: its version.
        subject: id of the part, verdict or alarm.
        since: when its station was entered into this outbox; a new store has another one.
        row: what it tells of; of a verdict: also `epoch`, `sequence`, `part_id`, `serial`, `code`,
            `part_name` and `decision` of its part. None: that row is gone, or damaged.
        damage: why the row cannot be read; empty: it can, or is gone.
    """

    id: int
    station: str
    kind: str
    version: int
    subject: int
    row: Values | None
    since: str = ""
    damage: str = ""

    @property
    def at(self) -> str:
        """UTC, when it happened; empty when the row is gone."""
        return "" if self.row is None else str(self.row[_AT[self.kind]] or "")


def age_of(at: str) -> float | None:
    """Return the seconds since then; None for what is no time of this store: its row is damaged."""
    try:
        return (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()
    except (ValueError, TypeError):
        return None


@dataclass(frozen=True, slots=True)
class Batch:
    """What waits for one destination, oldest first.

    Attributes:
        told: the messages.
        delivered: the last row of the outbox that it has.
        attempts: how often sending has failed in a row.
        since: names this outbox: in a new store it is another one.
        place: where it was read; another one after a backup was put in its place, whose `since` is the same.
    """

    told: list[Told]
    delivered: int
    attempts: int
    since: str
    place: Place


def register(connection: sa.Connection, station: str, names: Mapping[str, float]) -> None:
    """Tell a station upward to these destinations from now on; none: no more.

    `names` has for each one the seconds that a message may wait before people are to be told.
    A destination that was there before goes on where it stopped. Run `settle` in a transaction of its own
    after this one.
    """
    here = outbox_delivery.c.station == station
    if not names:
        connection.execute(sa.delete(outbox_stations).where(outbox_stations.c.station == station))
    else:
        row = {"station": station, "first_record": None, "since_at": utc_now()}
        _insert_new(connection, outbox_stations, [row])
    _insert_destinations(connection, station, names)
    for name, patience in names.items():
        this = sa.and_(here, outbox_delivery.c.destination == name)
        change = sa.update(outbox_delivery).where(this, outbox_delivery.c.patience != patience)
        connection.execute(change.values(patience=patience))
    wanted = outbox_delivery.c.destination.in_(list(names))
    change = sa.update(outbox_delivery).where(here, outbox_delivery.c.active != wanted)
    connection.execute(change.values(active=wanted, changed_at=utc_now()))


def missing(connection: sa.Connection, station: str, names: Mapping[str, float]) -> set[str]:
    """Return the destinations that `add` would add: none where the line has not entered the station."""
    if _since(connection, station) is None:
        return set()
    known = sa.select(outbox_delivery.c.destination).where(outbox_delivery.c.station == station)
    return set(names) - set(connection.execute(known).scalars())


def add(connection: sa.Connection, station: str, names: Mapping[str, float]) -> None:
    """Add destinations that are not known yet, once the line has entered the station.

    What is there stays as it is: the line's file decides who is told, also where this one is older.
    """
    new = missing(connection, station, names)
    _insert_destinations(connection, station, {name: names[name] for name in sorted(new)})


def _insert_destinations(
    connection: sa.Connection, station: str, names: Mapping[str, float]
) -> None:
    top = sa.select(sa.func.max(outbox.c.id)).where(outbox.c.station == station)
    delivered = connection.execute(top).scalar() or 0
    rows: list[Values] = [
        {
            "station": station, "destination": name, "active": True, "delivered": delivered,
            "patience": patience, "attempts": 0, "detail": "", "changed_at": utc_now(),
        }
        for name, patience in names.items()
    ]  # fmt: skip
    _insert_new(connection, outbox_delivery, rows)


def _insert_new(connection: sa.Connection, table: sa.Table, rows: list[Values]) -> None:
    """Insert what is not there; line and `inspection upward` may do it in the same moment."""
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    for row in rows:
        connection.execute(insert(table).values(row).on_conflict_do_nothing())


def settle(connection: sa.Connection, station: str) -> None:
    """Note the first part that is surely told: every part triggered after this is."""
    top = sa.select(sa.func.coalesce(sa.func.max(parts.c.id), 0)).scalar_subquery()
    new = (outbox_stations.c.station == station, outbox_stations.c.first_record.is_(None))
    connection.execute(sa.update(outbox_stations).where(*new).values(first_record=top))


def _since(connection: sa.Connection, station: str) -> str | None:
    query = sa.select(outbox_stations.c.since_at).where(outbox_stations.c.station == station)
    return connection.execute(query).scalar()


class Outbox:
    """One destination's view of the outbox. Used by one thread."""

    def __init__(self, store: WebStore, station: str, destination: str) -> None:
        self._store, self._station, self._destination = store, station, destination
        self._here = sa.and_(
            outbox_delivery.c.station == station, outbox_delivery.c.destination == destination
        )
        self._of_us = sa.and_(
            outbox_quarantine.c.station == station,
            outbox_quarantine.c.destination == destination,
        )
        self._place: Place = (0, 0)
        self._since = ""
        self._forget()

    def _forget(self) -> None:
        self._final = Final()
        self._taken = 0

    def batch(self, limit: int) -> Batch | None:
        """Return what waits, at most `limit`; None: the destination is not registered.

        Raises:
            StoreError: the store cannot be read now.
        """
        file = self._store.file
        with self._store.read("reading the outbox") as connection:
            see_each_commit(connection)
            since = _since(connection, self._station)
            place = place_of(connection, file)
            row = connection.execute(sa.select(outbox_delivery).where(self._here)).first()
            if since is None or row is None or not row.active:
                return None
            if (since, place) != (self._since, self._place):  # a new store, or a backup
                self._since, self._place = since, place
                self._forget()
            delivered = max(int(row.delivered), self._taken)
            query = sa.select(outbox).where(
                outbox.c.station == self._station, outbox.c.id > delivered
            )
            if connection.dialect.name == "postgresql":
                query = query.where(outbox.c.id <= self._final.up_to(connection))
            told = load(connection, query.order_by(outbox.c.id).limit(limit))
        return Batch(told, delivered, int(row.attempts), since, place)

    @property
    def is_noted(self) -> bool:
        """What was taken is noted in the store, too."""
        return not self._taken

    def save(self, batch: Batch, delivered: int) -> None:
        """Note that everything up to this row was taken.

        Raises:
            StoreError: it is not noted; this process remembers it, the next one sends it again.
        """
        if (batch.since, batch.place) == (self._since, self._place):
            self._taken = delivered
        values: Values = {"attempts": 0, "next_at": None, "detail": "", "delivered_at": utc_now()}
        self._change("noting what was delivered", batch, {"delivered": delivered, **values})
        self._taken = 0

    def go_to(self, batch: Batch, delivered: int) -> None:
        """Note how far a destination says itself that it is, also where that is less than was noted."""
        self._taken = 0
        here = sa.and_(self._here, outbox_delivery.c.delivered > delivered)
        with self._store.write("noting how far a destination is", derived=True) as connection:
            place = place_of(connection, self._store.file)
            if (_since(connection, self._station), place) == (batch.since, batch.place):
                change = sa.update(outbox_delivery).where(here)
                connection.execute(change.values(delivered=delivered, changed_at=utc_now()))
        self._change("noting what was delivered", batch, {"delivered": delivered})

    def skip(self, batch: Batch, delivered: int) -> None:
        """Note that this destination wants nothing of what goes up to this row."""
        self._change("noting what is not wanted", batch, {"delivered": delivered})

    def back(self, batch: Batch) -> None:
        """Note that the destination is there again."""
        self._change("noting a destination", batch, {"attempts": 0, "next_at": None, "detail": ""})

    def away(self, batch: Batch, attempts: int, next_at: str, detail: str) -> None:
        """Note that the destination did not take the first message of the batch."""
        values: Values = {"attempts": attempts, "next_at": next_at, "detail": detail[:500]}
        self._change("noting a failed attempt", batch, values)

    def refuse(self, batch: Batch, message: int, why: str) -> None:
        """Put a message in quarantine; the ones up to it count as delivered."""
        values: Values = {"attempts": 0, "next_at": None, "detail": ""}
        self._change(
            "quarantining a message", batch, {"delivered": message, **values}, (message, why)
        )

    def _change(
        self, what: str, batch: Batch, values: Values, refused: tuple[int, str] | None = None
    ) -> None:
        """Change the standing, unless the store was replaced or another process went on meanwhile."""
        if "delivered" in values:
            batch_row = sa.and_(self._here, outbox_delivery.c.delivered < values["delivered"])
        else:
            batch_row = self._here
        with self._store.write(what, derived=True) as connection:
            place = place_of(connection, self._store.file)
            if (_since(connection, self._station), place) != (batch.since, batch.place):
                return
            change = sa.update(outbox_delivery).where(batch_row)
            done = connection.execute(change.values(**values, changed_at=utc_now()))
            if refused is not None and done.rowcount:
                kept = (outbox_quarantine.c.message == refused[0], outbox_quarantine.c.why == "")
                connection.execute(sa.delete(outbox_quarantine).where(self._of_us, *kept))
                row: Values = {
                    "station": self._station, "destination": self._destination,
                    "message": refused[0], "why": refused[1][:500], "at": utc_now(), "again": False,
                }  # fmt: skip
                _insert_new(connection, outbox_quarantine, [row])

    def again(self) -> Told | None:
        """Return a message of the quarantine that a person wants sent again; None without one."""
        wanted = sa.select(outbox_quarantine.c.message).where(
            self._of_us, outbox_quarantine.c.again
        )
        first = wanted.order_by(outbox_quarantine.c.message).limit(1).scalar_subquery()
        with self._store.read("reading the quarantine") as connection:
            found = load(connection, sa.select(outbox).where(outbox.c.id == first))
        return found[0] if found else None

    def taken_late(self, after: int, up_to: int, limit: int) -> list[Told]:
        """Return the messages that left the quarantine as kept, in their order, at most `limit`."""
        number = outbox_quarantine.c.message
        kept = sa.select(number).where(self._of_us, outbox_quarantine.c.why == "")
        some = kept.where(number > after, number <= up_to).order_by(number).limit(limit)
        with self._store.read("reading what was taken late") as connection:
            query = sa.select(outbox).where(outbox.c.id.in_(some.scalar_subquery()))
            return load(connection, query.order_by(outbox.c.id))

    def again_done(self, message: int, why: str, *, keep: bool = False) -> None:
        """Take a message out of the quarantine, or note why it was refused again.

        With `keep` it is known to `taken_late` from then on.
        """
        this = sa.and_(self._of_us, outbox_quarantine.c.message == message)
        with self._store.write("noting a message of the quarantine") as connection:
            if why or keep:
                values: Values = {"why": why[:500], "at": utc_now(), "again": False}
                connection.execute(sa.update(outbox_quarantine).where(this).values(**values))
            else:
                connection.execute(sa.delete(outbox_quarantine).where(this))


def load(connection: sa.Connection, query: sa.Select[tuple[object, ...]]) -> list[Told]:
    """Read rows of the outbox, with what they tell of; what is damaged comes without, and stops nobody."""
    found = connection.execute(query).all()
    try:
        return _load(connection, found)
    except (ValueError, TypeError):  # a cell with JSON that is none, in any of them
        return [_load_one(connection, row) for row in found]


def _load_one(connection: sa.Connection, row: sa.Row[tuple[object, ...]]) -> Told:
    try:
        return _load(connection, [row])[0]
    except (ValueError, TypeError) as error:
        damage = f"{type(error).__name__}: {error}"
        return replace(_told(row, None, _entered(connection)), damage=damage)


def _load(connection: sa.Connection, found: Sequence[sa.Row[tuple[object, ...]]]) -> list[Told]:
    rows: dict[str, dict[int, Values]] = {
        "part": _rows(connection, sa.select(*(parts.c[name] for name in PART_COLUMNS)), found),
        "verdict": _rows(connection, _VERDICT, found, "verdict"),
        "alarm": _rows(connection, sa.select(alarms), found, "alarm"),
    }
    since = _entered(connection)
    return [_told(row, rows[row.kind].get(row.subject), since) for row in found]


def _entered(connection: sa.Connection) -> dict[str, str]:
    """Return when each station was entered."""
    return {row.station: row.since_at for row in connection.execute(sa.select(outbox_stations))}


def _told(row: sa.Row[tuple[object, ...]], of: Values | None, since: Mapping[str, str]) -> Told:
    entered = since.get(row.station, "")
    return Told(row.id, row.station, row.kind, row.version, row.subject, of, entered)


_VERDICT = sa.select(
    verdicts,
    *(
        parts.c[name]
        for name in ("epoch", "sequence", "part_id", "serial", "code", "part_name", "decision")
    ),
).join_from(verdicts, parts, parts.c.id == verdicts.c.record)


def _rows(
    connection: sa.Connection,
    query: sa.Select[tuple[object, ...]],
    found: Sequence[sa.Row[tuple[object, ...]]],
    kind: str = "part",
) -> dict[int, Values]:
    ids = [row.subject for row in found if row.kind == kind]
    if not ids:
        return {}
    table = {"part": parts, "verdict": verdicts, "alarm": alarms}[kind]
    rows = connection.execute(query.where(table.c.id.in_(ids))).mappings()
    return {int(row["id"]): dict(row) for row in rows}
