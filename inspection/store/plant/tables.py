"""What only a plant store has, beside the tables of a station; a change here needs a new migration.

    part_keys       one row for each part: which record of which station it is; it gives the plant's id
    plant_stations  how far each station is: the mark, in the transaction of what it marks

`parts` and `verdicts` are partitioned by `triggered_at`, which `verdicts` has here as well.
"""

from __future__ import annotations

import sqlalchemy as sa

from inspection.store.tables import MAX_RECORD, json_type

VERSION_TABLE = "plant_version"
"""Where Alembic notes the plant's own migration; a database that has it is a plant store."""
HEAD = "0001"
"""The newest migration of the plant."""
DROPPED = "plant.dropped_before"
"""Row of `marks`: parts triggered before this month were removed."""
REMOVED = "plant.removed."
"""Rows of `marks`, one a station: the highest record that was removed, by epoch, as JSON."""
REMOVED_ALARMS = "plant.removed_alarms."
"""Rows of `marks`, one a station: up to which message of which outbox alarms were removed, as JSON."""

metadata = sa.MetaData()


def is_plant(connection: sa.Connection) -> bool:
    """Tell whether the database is a plant store: the plant's own migration is noted there."""
    if connection.dialect.name != "postgresql":
        return False
    return (
        connection.execute(sa.text(f"SELECT to_regclass('{VERSION_TABLE}')")).scalar() is not None
    )


part_keys = sa.Table(
    "part_keys",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(start=1, maxvalue=MAX_RECORD), primary_key=True),
    sa.Column("station", sa.Text, nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("sequence", sa.Integer, nullable=False),
    sa.Column("record", sa.BigInteger, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("triggered_at", sa.Text, nullable=False),
    sa.Column("is_final", sa.Boolean, nullable=False),
    sa.Column("told_at", sa.Text, nullable=False),
)

plant_stations = sa.Table(
    "plant_stations",
    metadata,
    sa.Column("station", sa.Text, primary_key=True),
    sa.Column("since", sa.Text, nullable=False),
    sa.Column("mark", sa.BigInteger, nullable=False),
    sa.Column("last_message", sa.Text, nullable=False),
    sa.Column("above", sa.BigInteger, nullable=False),
    sa.Column("told_at", sa.Text, nullable=False),
)

plant_verdicts = sa.Table(
    "verdicts",
    metadata,
    sa.Column("id", sa.BigInteger),
    sa.Column("triggered_at", sa.Text),
    *(sa.Column(name, sa.BigInteger) for name in ("record", "version")),
    *(
        sa.Column(name, sa.Text)
        for name in ("verdict", "who", "at", "reason_code", "comment", "defect_class")
    ),
    sa.Column("boxes", json_type()),
    sa.Column("seen", json_type()),
)
"""`inspection.store.tables.verdicts` with the column that only the plant has."""
