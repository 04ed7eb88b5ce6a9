"""What was removed from the plant with its month, and is not to come back: known by record, not by time.

    told again, its time before the month, its record removed ─▶ left out
    told, its time before the month, never had here           ─▶ the default partition

A clock that is behind gives a time of long ago to a part of today. The plant does not have the station's
numbers of alarms: those that go are known by the mark that the station had then.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from inspection.store.plant.tables import (
    DROPPED,
    REMOVED,
    REMOVED_ALARMS,
    part_keys,
    plant_stations,
)
from inspection.store.rows import Values
from inspection.store.web.tables import marks


def dropped_before(connection: sa.Connection) -> str:
    """Return the month before which parts were removed; empty: none were."""
    found = connection.execute(sa.select(marks.c.value).where(marks.c.name == DROPPED)).scalar()
    return found or ""


def note_month(connection: sa.Connection, before: str) -> None:
    """Note that parts before this month were removed; never goes back to an earlier one."""
    if before > dropped_before(connection):
        _put(connection, DROPPED, before)


def note_removed(connection: sa.Connection, ids: sa.Select[int]) -> None:
    """Note which records these parts are, before their keys go."""
    columns = (part_keys.c.station, part_keys.c.epoch)
    query = sa.select(*columns, sa.func.max(part_keys.c.record)).where(part_keys.c.id.in_(ids))
    gone: dict[str, dict[int, int]] = {}
    for station, epoch, record in connection.execute(query.group_by(*columns)):
        gone.setdefault(str(station), {})[int(epoch)] = int(record)
    for station, highest in gone.items():
        noted = _highest(connection, station)
        both = {e: max(noted.get(e, 0), highest.get(e, 0)) for e in sorted(noted | highest)}
        _put(connection, REMOVED + station, json.dumps(both))


def removed(connection: sa.Connection, station: str, old: Sequence[Values]) -> set[int]:
    """Return the records of those of these parts that the plant had and removed.

    Args:
        connection: of the plant.
        station: whose parts they are.
        old: parts with a time before `dropped_before`.
    """
    highest = _highest(connection, station)
    found = {
        (int(p["epoch"]), int(p["sequence"])): int(p["id"])
        for p in old
        if p["id"] <= highest.get(int(p["epoch"]), 0)
    }
    if not found:
        return set()
    key = (part_keys.c.epoch, part_keys.c.sequence)
    here = sa.select(*key).where(part_keys.c.station == station, sa.tuple_(*key).in_(list(found)))
    for row in connection.execute(here):
        found.pop((row.epoch, row.sequence))
    return set(found.values())


def note_alarms(connection: sa.Connection) -> None:
    """Note up to which message each station has told: alarms of old months go, and are among those."""
    columns = (plant_stations.c.station, plant_stations.c.since, plant_stations.c.mark)
    for station, since, mark in connection.execute(sa.select(*columns)).all():
        if since:  # else it waits for a store that was accepted: what was noted stays
            _put(connection, REMOVED_ALARMS + station, json.dumps([since, int(mark)]))


def alarms_removed(connection: sa.Connection, station: str, since: str) -> int:
    """Return the message of this outbox up to which alarms of old months were removed; 0: none."""
    query = sa.select(marks.c.value).where(marks.c.name == REMOVED_ALARMS + station)
    noted = json.loads(connection.execute(query).scalar() or '["", 0]')
    return int(noted[1]) if noted[0] == since else 0


def _highest(connection: sa.Connection, station: str) -> dict[int, int]:
    query = sa.select(marks.c.value).where(marks.c.name == REMOVED + station)
    found = connection.execute(query).scalar()
    return {} if found is None else {int(e): int(r) for e, r in json.loads(found).items()}


def _put(connection: sa.Connection, name: str, value: str) -> None:
    adding = postgresql.insert(marks).values({"name": name, "value": value})
    connection.execute(adding.on_conflict_do_update(index_elements=["name"], set_={"value": value}))
