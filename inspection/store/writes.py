"""The statements behind each call of the store: each function runs inside the caller's transaction.

Every function may be run again with the same arguments and then changes nothing more: after a
commit whose answer was lost, nobody knows whether it took place.
"""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from inspection.errors import StoreError
from inspection.store.prepared import Prepared
from inspection.store.rows import (
    REPLACED,
    Values,
    key_values,
    late_entry,
    readable,
    result_values,
    trigger_values,
    utc_now,
)
from inspection.store.tables import alarms, epochs, parts
from inspection.types import Decision, PartKey, PartState, Reason, Result, Trigger

_SENT = (PartState.SENT.value, PartState.ACKNOWLEDGED.value)
_KEY = sa.and_(
    parts.c.station == sa.bindparam("key_station"),
    parts.c.epoch == sa.bindparam("key_epoch"),
    parts.c.sequence == sa.bindparam("key_sequence"),
)
_FIND = sa.select(parts).where(_KEY)
_CLOSE = Prepared(
    sa.update(parts).where(_KEY, parts.c.state == PartState.TRIGGERED.value).returning(parts.c.id),
    parts,
)
_CHANGE = sa.update(parts).where(parts.c.id == sa.bindparam("record"))
_INSERT = sa.insert(parts).returning(parts.c.id)
_KEY_NAMES = ["station", "epoch", "sequence"]
_INSERT_NEW = {
    name: Prepared(
        dialect.insert(parts)
        .on_conflict_do_nothing(index_elements=_KEY_NAMES)
        .returning(parts.c.id),
        parts,
    )
    for name, dialect in {"sqlite": sqlite, "postgresql": postgresql}.items()
}
"""By dialect: inserts a row unless its key is there, in one statement; returns its id, or nothing."""
_MARK_SENT = Prepared(
    sa.update(parts)
    .where(_KEY, parts.c.decision.is_not(None))
    .values(
        state=sa.case(
            (parts.c.state == PartState.DECIDED.value, PartState.SENT.value), else_=parts.c.state
        ),
        sent_mono=sa.func.coalesce(parts.c.sent_mono, sa.bindparam("mono")),
        sent_at=sa.func.coalesce(parts.c.sent_at, sa.bindparam("at")),
    ),
    parts,
)
_MARK_ACKNOWLEDGED = Prepared(
    sa.update(parts)
    .where(_KEY, parts.c.decision.is_not(None))
    .values(
        state=PartState.ACKNOWLEDGED.value,
        acknowledged_mono=sa.func.coalesce(parts.c.acknowledged_mono, sa.bindparam("mono")),
        acknowledged_at=sa.func.coalesce(parts.c.acknowledged_at, sa.bindparam("at")),
    ),
    parts,
)
_SET_IMAGES = Prepared(
    sa.update(parts).where(
        _KEY, parts.c.image_state != "expiring", parts.c.image_state != "expired"
    ),
    parts,
)
_ENTER_EPOCH = {
    name: dialect.insert(epochs).on_conflict_do_nothing()
    for name, dialect in {"sqlite": sqlite, "postgresql": postgresql}.items()
}


class RowMissingError(StoreError):
    """There is no row that this call could change."""

    def __init__(self, key: PartKey, what: str) -> None:
        super().__init__(
            f"part {key}: {what}, but the store holds no decided row of it; was the store replaced?"
        )


def find(connection: sa.Connection, key: PartKey) -> Values | None:
    """Return the row of a trigger, held for this transaction; None when there is none."""
    row = connection.execute(_FIND.with_for_update(), _key(key)).mappings().first()
    return None if row is None else dict(row)


def insert_triggered(connection: sa.Connection, trigger: Trigger, recipe_number: int) -> int:
    """Insert the row of a trigger; the same trigger again returns its record id, and leaves a gap in them.

    Raises:
        StoreError: another trigger has this key.
    """
    values = {**trigger_values(trigger), "recipe_number": recipe_number}
    record = _INSERT_NEW[connection.dialect.name].returned(connection, values)
    if record is not None:
        return int(record)
    row = find(connection, trigger.key)
    same = ("part_id", trigger.part_id), ("triggered_mono", trigger.seen_mono)
    if row is None or any(row[name] != value for name, value in same):
        raise StoreError(
            f"part {trigger.key} is stored already, as another trigger; begin a new epoch"
        )
    return int(row["id"])


def write_decision(connection: sa.Connection, values: Values, *, was_sent: bool) -> int:
    """Record a decision and return the record id. See `protocols.Store.decided`.

    Args:
        connection: inside a transaction.
        values: the columns, from `rows.part_values` or the journal.
        was_sent: the answer in the row is known to have been sent, whatever its state says.
    """
    key = PartKey(values["station"], values["epoch"], values["sequence"])
    stamped = {**values, "committed_mono": time.monotonic()}
    record = _CLOSE.returned(connection, {**_key(key), **stamped})
    if record is not None:
        return int(record)
    row = find(connection, key)
    if row is None:
        return int(connection.execute(_INSERT, stamped).scalar_one())
    same = ("decision", "reason", "decided_mono")
    if all(row[name] == values[name] for name in same):
        return int(row["id"])
    replaces = (
        values["decision"] == Decision.NOT_INSPECTED
        and row["decision"] != Decision.NOT_INSPECTED
        and row["state"] not in _SENT
        and not was_sent
    )
    if replaces:
        kept = _with_late(row, late_entry(row, REPLACED))
        answer = {**{name: stamped[name] for name in _ANSWER}, "defect_class": None}
        _change(connection, row, {**answer, "late": kept})
    else:
        _change(connection, row, {"late": _with_late(row, late_entry(values, "decided again"))})
    return int(row["id"])


_ANSWER = (
    *result_values(Result.not_inspected(Reason.INTERNAL)),
    "state",
    "decided_mono",
    "decided_at",
    "committed_mono",
)
"""Columns that NOT_INSPECTED replaces; the frame and its scores stay, they were measured."""


def _change(connection: sa.Connection, row: Values, values: Values) -> None:
    connection.execute(_CHANGE.values(values), {"record": row["id"]})


def _with_late(row: Values, entry: Values) -> list[Values]:
    kept: list[Values] = list(row["late"] or [])
    same = ("decision", "reason", "decided_mono")
    if any(all(old[name] == entry[name] for name in same) for old in kept):
        return kept
    return [*kept, entry]


def add_late(connection: sa.Connection, key: PartKey, entry: Values) -> None:
    """Keep a result that came after the answer. Raises RowMissingError."""
    row = find(connection, key)
    if row is None:
        raise RowMissingError(key, "a late result came")
    _change(connection, row, {"late": _with_late(row, entry)})


def mark_sent(connection: sa.Connection, key: PartKey, mono: float, at: str) -> None:
    """The answer was written to the PLC; the first time counts. Raises RowMissingError."""
    if _MARK_SENT.changed(connection, {**_key(key), "mono": mono, "at": at}) != 1:
        raise RowMissingError(key, "its answer was sent")


def mark_acknowledged(connection: sa.Connection, key: PartKey, mono: float, at: str) -> None:
    """The PLC acknowledged the answer; the first time counts. Raises RowMissingError."""
    if _MARK_ACKNOWLEDGED.changed(connection, {**_key(key), "mono": mono, "at": at}) != 1:
        raise RowMissingError(key, "its answer was acknowledged")


def set_images(connection: sa.Connection, key: PartKey, state: str, files: list[Values]) -> None:
    """Record what became of the pictures; not of one that was deleted since. Raises RowMissingError."""
    row = {**_key(key), "image_state": state, "images": files or None}
    if _SET_IMAGES.changed(connection, row) != 1 and find(connection, key) is None:
        raise RowMissingError(key, f"its pictures are {state}")


def insert_alarm(connection: sa.Connection, values: Values) -> None:
    """Insert an alarm row; see `alarm_values`."""
    connection.execute(sa.insert(alarms), values)


def end_alarms(connection: sa.Connection, station: str) -> None:
    """End every alarm of a station that is still on: the process that could end it is gone."""
    newest = sa.select(sa.func.max(alarms.c.id)).where(alarms.c.station == station)
    still_on = sa.select(alarms.c.reason).where(
        alarms.c.id.in_(newest.group_by(alarms.c.reason)), alarms.c.on
    )
    for reason in connection.execute(still_on).scalars().all():
        values = alarm_values(station, Reason[reason], "the line process started anew", on=False)
        insert_alarm(connection, values)


def alarm_values(station: str, reason: Reason, detail: str, *, on: bool) -> Values:
    """Return an alarm row of this moment."""
    return {
        "station": station,
        "reason": reason.name,
        "detail": readable(detail),
        "on": on,
        "at": utc_now(),
        "mono": time.monotonic(),
    }


def next_epoch(connection: sa.Connection, station: str, above: int) -> int:
    """Return the next epoch of a station, higher than all in the store and than `above`."""
    in_epochs = sa.select(sa.func.max(epochs.c.epoch)).where(epochs.c.station == station)
    in_parts = sa.select(sa.func.max(parts.c.epoch)).where(parts.c.station == station)
    highest = [connection.execute(query).scalar() or 0 for query in (in_epochs, in_parts)]
    return max(*highest, above) + 1


def epoch_values(station: str, number: int, cause: str, ok_every: int) -> Values:
    """Return the row of an epoch that begins now.

    `ok_every` is that of `ImagesConfig`: it holds for the epoch, since only a new process changes it.
    """
    return {
        "station": station,
        "epoch": number,
        "cause": cause,
        "host": socket.gethostname(),
        "boot_id": boot_id(),
        "started_at": utc_now(),
        "started_mono": time.monotonic(),
        "ok_every": ok_every,
    }


def enter_epoch(connection: sa.Connection, values: Values) -> None:
    """Insert the row of an epoch, if it is not there; see `epoch_values`."""
    connection.execute(_ENTER_EPOCH[connection.dialect.name], values)


def boot_id() -> str:
    """Return the kernel's name of this boot: monotonic times compare only within one."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def latest(connection: sa.Connection, station: str) -> Values | None:
    """Return the row of the station's latest trigger, over all epochs."""
    newest = (
        sa.select(sa.func.max(parts.c.epoch)).where(parts.c.station == station).scalar_subquery()
    )
    query = (
        sa.select(parts)
        .where(parts.c.station == station, parts.c.epoch == newest)
        .order_by(parts.c.triggered_mono.desc(), parts.c.id.desc())
        .limit(1)
    )
    row = connection.execute(query).mappings().first()
    return None if row is None else dict(row)


def close_open(connection: sa.Connection, station: str, reason: Reason) -> int:
    """Decide every row of the station that is only triggered as NOT_INSPECTED; return how many."""
    now = time.monotonic()
    values: dict[str, Any] = {
        **result_values(Result.not_inspected(reason)),
        "state": PartState.DECIDED.value,
        "decided_mono": now,
        "decided_at": utc_now(),
        "committed_mono": now,
    }
    query = sa.update(parts).where(
        parts.c.station == station, parts.c.state == PartState.TRIGGERED.value
    )
    return connection.execute(query.values(values)).rowcount


def pending_pictures(connection: sa.Connection, station: str) -> list[PartKey]:
    """Return the parts of a station whose picture was still in memory when the row was written."""
    query = sa.select(parts.c.epoch, parts.c.sequence).where(
        parts.c.station == station, parts.c.image_state == "pending"
    )
    return [PartKey(station, row.epoch, row.sequence) for row in connection.execute(query)]


def start_records_above(connection: sa.Connection, record: int) -> None:
    """In a store without parts, give record ids above this: no PLC is told one twice."""
    if connection.execute(sa.select(parts.c.id).limit(1)).first() is not None:
        return
    if connection.dialect.name == "sqlite":
        connection.execute(sa.text("DELETE FROM sqlite_sequence WHERE name = 'parts'"))
        connection.execute(
            sa.text("INSERT INTO sqlite_sequence VALUES ('parts', :n)"), {"n": record}
        )
    else:
        connection.execute(
            sa.text("SELECT setval(pg_get_serial_sequence('parts', 'id'), :n, true)"), {"n": record}
        )


def _key(key: PartKey) -> Values:
    return {f"key_{name}": value for name, value in key_values(key).items()}
