"""The outbox against the rows it tells of: one of the invariants, see `invariants`."""

from __future__ import annotations

import sqlalchemy as sa

from inspection.store.facts import Facts, Finding
from inspection.store.tables import outbox, outbox_stations, parts

_TRIGGERS = {"outbox_part_insert", "outbox_part_update", "outbox_verdict", "outbox_alarm"}


def check_outbox(facts: Facts) -> Finding:
    """Every decided part of a station that is told upward stands in the outbox, exactly once."""
    finding = Finding("OUTBOX", "each decided part of an upward station is in the outbox once")
    with facts.reading() as connection:
        if not sa.inspect(connection).has_table("outbox"):
            finding.unchecked = "this store has no outbox yet; start the line or the pages once"
            return finding
        stations = connection.execute(sa.select(outbox_stations)).all()
        if not _is_filled(connection):
            finding.breach("the triggers that fill the outbox are gone")
    for row in stations:
        if row.first_record is None:
            finding.notes.append(f"{row.station} is being entered; start its line once")
        else:
            _check_station(facts, finding, row.station, int(row.first_record))
    if not stations:
        finding.notes.append("no station is told upward")
    return finding


def _check_station(facts: Facts, finding: Finding, station: str, first: int) -> None:
    told = (
        sa.select(sa.func.count())
        .where(outbox.c.kind == "part", outbox.c.subject == parts.c.id, outbox.c.version == 1)
        .scalar_subquery()
    )
    decided = (parts.c.station == station, parts.c.id > first, parts.c.decision.is_not(None))
    finding.checked += facts.count(*decided)
    names = (parts.c.station, parts.c.epoch, parts.c.sequence)
    for row in facts.each(*names, told.label("told"), where=[*decided, told != 1]):
        said = "has it more than once" if row.told else "does not have it"
        finding.breach(f"{row.station}/{row.epoch}/{row.sequence}: decided, but the outbox {said}")


def _is_filled(connection: sa.Connection) -> bool:
    if connection.dialect.name == "sqlite":
        query = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    else:
        query = "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'D'"
    return set(connection.execute(sa.text(query)).scalars()) >= _TRIGGERS
