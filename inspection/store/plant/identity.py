"""Is this the station that the plant knows? Asked whenever a link is opened, before anything is told.

    not known ─▶ entered, from the first row of its outbox
    its row at the mark is what the plant took last, and so are the newest parts ─▶ goes on after the mark
    another row there, another part ─▶ nothing is taken until a person decides (`accept`)
    another epoch under the same number ─▶ nothing is taken: the station needs a name of its own

A store that was made anew, or restored from a backup, does not have the row at the mark, or has another one;
so has a copy of a station's disk that runs beside it.
"""

from __future__ import annotations

import sqlalchemy as sa

from inspection.store.plant.database import PlantError
from inspection.store.plant.source import Source
from inspection.store.plant.tables import part_keys, plant_stations
from inspection.store.rows import Values, utc_now
from inspection.store.tables import epochs, parts

_LOOKED_AT = 20
"""Parts, the newest, that must be the same at the station."""
_EPOCHS = 200


def resume(connection: sa.Connection, source: Source) -> int:
    """Return the row of the outbox that the plant took last; 0: none. The station is entered where it is new.

    Raises:
        PlantError: it is another store than the plant knows under this name, or one that went back.
        StoreError: the station's store cannot be read.
    """
    station, since = source.station, source.since()
    here = plant_stations.c.station == station
    row = connection.execute(sa.select(plant_stations).where(here).with_for_update()).first()
    _same_epochs(connection, source)
    if row is None or not row.since:
        _enter(connection, station, since, is_new=row is None)
        return 0
    if row.mark and source.name_of(row.mark) != row.last_message:
        raise _other(source, f"message {row.mark} is not {row.last_message} there")
    _same_parts(connection, source, row.above)
    connection.execute(sa.update(plant_stations).where(here).values(since=since))
    return int(row.mark)


def _enter(connection: sa.Connection, station: str, since: str, *, is_new: bool) -> None:
    top = sa.select(sa.func.max(part_keys.c.id)).where(part_keys.c.station == station)
    above = connection.execute(top).scalar() or 0
    values: Values = {
        "since": since, "mark": 0, "last_message": "", "above": above, "told_at": utc_now()
    }  # fmt: skip
    if is_new:
        connection.execute(sa.insert(plant_stations), {"station": station, **values})
    else:
        change = sa.update(plant_stations).where(plant_stations.c.station == station)
        connection.execute(change.values(**values))


def _same_parts(connection: sa.Connection, source: Source, above: int) -> None:
    """The newest parts that this store told must stand there as they do here."""
    query = (
        sa.select(part_keys.c.record, parts)
        .join(parts, (parts.c.id == part_keys.c.id))
        .where(part_keys.c.station == source.station, part_keys.c.id > above)
        .where(parts.c.triggered_at == part_keys.c.triggered_at)
        .order_by(part_keys.c.id.desc())
        .limit(_LOOKED_AT)
    )
    found = {int(row["record"]): row for row in connection.execute(query).mappings()}
    there = source.answers(list(found))
    told_again = source.told_again(list(found))
    for record, row in found.items():
        names = ["epoch", "sequence", "triggered_at"]
        if record not in told_again:
            names += ["decision", "decided_at"]
        theirs = there.get(record)
        if theirs is None or any(theirs[name] != row[name] for name in names):
            raise _other(source, f"part {row['epoch']}/{row['sequence']} is not the plant's there")


def _same_epochs(connection: sa.Connection, source: Source) -> None:
    query = (
        sa.select(epochs)
        .where(epochs.c.station == source.station)
        .order_by(epochs.c.epoch.desc())
        .limit(_EPOCHS)
    )
    ours = {int(row["epoch"]): dict(row) for row in connection.execute(query).mappings()}
    check_epochs(source, ours, source.epochs(list(ours)))


def check_epochs(source: Source, ours: dict[int, Values], theirs: dict[int, Values]) -> None:
    """Raise PlantError when an epoch of the plant is another one at the station."""
    for number, row in theirs.items():
        begun = ours.get(number, row)
        if (begun["started_at"], begun["boot_id"]) != (row["started_at"], row["boot_id"]):
            raise PlantError(
                f"epoch {number} of station {source.station} began at {row['started_at']}, the plant has one "
                f"that began at {begun['started_at']}: another store under the same name, or one restored "
                "without its journal; give this station a name of its own"
            )


def _other(source: Source, why: str) -> PlantError:
    return PlantError(
        f"this is not the store that told the plant of station {source.station} before: {why}. If it was "
        f"restored or made anew: inspection plant accept URL {source.station}. Else two stations have "
        "one name"
    )


def accept(connection: sa.Connection, station: str) -> bool:
    """Take what the next store of this name tells, from its first message; False: no such station."""
    change = sa.update(plant_stations).where(plant_stations.c.station == station)
    return bool(connection.execute(change.values(since="", mark=0, last_message="")).rowcount)
