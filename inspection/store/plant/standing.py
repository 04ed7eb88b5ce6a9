"""How the stations of a plant stand, for people."""

from __future__ import annotations

import sqlalchemy as sa

from inspection.store.plant.tables import part_keys, plant_stations
from inspection.store.rows import Values


def stations(connection: sa.Connection) -> list[Values]:
    """Return each station with its mark, when it last told something, and how many parts the plant has."""
    number = (
        sa.select(sa.func.count())
        .where(part_keys.c.station == plant_stations.c.station)
        .scalar_subquery()
    )
    columns = [plant_stations.c[name] for name in ("station", "since", "mark", "told_at")]
    query = sa.select(*columns, number.label("parts")).order_by(plant_stations.c.station)
    return [dict(row) for row in connection.execute(query).mappings()]
