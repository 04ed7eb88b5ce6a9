"""The plant store against itself: one of the invariants, see `inspection.store.invariants`."""

from __future__ import annotations

import sqlalchemy as sa

from inspection.store.facts import Facts, Finding
from inspection.store.plant import months
from inspection.store.plant.tables import HEAD, VERSION_TABLE, part_keys, plant_verdicts
from inspection.store.tables import epochs, parts
from inspection.store.web.tables import reviews
from inspection.store.web.wanted import WAITING

_SHOWN = 20


def check_plant(facts: Facts) -> Finding:
    """Each part of each station is there once, under its own key, in an epoch that is known."""
    finding = Finding("PLANT", "each station's parts are there once, under their keys and epochs")
    finding.checked = facts.count()
    found = facts.find(sa.text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608  constant
    if [row[0] for row in found] != [HEAD]:
        finding.breach(f"the plant's tables are at migration {found}, this program reads {HEAD}")
    for what, query in _QUESTIONS.items():
        for row in facts.find(query.limit(_SHOWN)):
            finding.breach(f"{what}: {'/'.join(map(str, row))}")
    with facts.reading() as connection:
        default = months.overview(connection)[-1]
    if default.parts:
        finding.notes.append(
            f"{default.parts} parts have times that make no sense, or of months that were removed before"
        )
    for station, record in facts.find(_TWO_REVIEWS.limit(_SHOWN)):
        finding.notes.append(
            f"record {record} of {station} waits for review twice: its store was restored, and nobody can do "
            "the older one"
        )
    return finding


def count_stations(facts: Facts) -> dict[str, int]:
    """Return how many parts of each decision each station has."""
    names = (parts.c.station, parts.c.decision)
    query = sa.select(*names, sa.func.count()).group_by(*names).order_by(*names)
    return {f"{station}: rows {decision}": int(n) for station, decision, n in facts.find(query)}


_KEY = (part_keys.c.station, part_keys.c.epoch, part_keys.c.sequence)
_ITS_PART = (parts.c.id == part_keys.c.id, parts.c.triggered_at == part_keys.c.triggered_at)
_QUESTIONS = {
    "a key without its part": sa.select(*_KEY).where(
        ~sa.exists().where(*_ITS_PART, *(parts.c[name.name] == name for name in _KEY))
    ),
    "a part without its key": sa.select(parts.c.station, parts.c.epoch, parts.c.sequence).where(
        ~sa.exists().where(*_ITS_PART)
    ),
    "a record of a station twice": sa.select(part_keys.c.station, part_keys.c.record)
    .join(parts, sa.and_(*_ITS_PART))
    .group_by(part_keys.c.station, part_keys.c.record, parts.c.triggered_at)
    .having(sa.func.count() > 1),
    "an epoch that is not known": sa.select(part_keys.c.station, part_keys.c.epoch)
    .distinct()
    .where(
        ~sa.exists().where(
            epochs.c.station == part_keys.c.station, epochs.c.epoch == part_keys.c.epoch
        )
    ),
    "a verdict under another time than its part": sa.select(plant_verdicts.c.record).where(
        ~sa.exists().where(
            part_keys.c.id == plant_verdicts.c.record,
            part_keys.c.triggered_at == plant_verdicts.c.triggered_at,
        )
    ),
    "a review under another time than its part": sa.select(
        reviews.c.station, reviews.c.record
    ).where(
        ~sa.exists().where(
            part_keys.c.id == reviews.c.record, part_keys.c.triggered_at == reviews.c.triggered_at
        )
    ),
}
"""What must find nothing."""
_TWO_REVIEWS = (
    sa.select(part_keys.c.station, part_keys.c.record)
    .join(reviews, reviews.c.record == part_keys.c.id)
    .where(reviews.c.state.in_(WAITING))
    .group_by(part_keys.c.station, part_keys.c.record)
    .having(sa.func.count() > 1)
)
