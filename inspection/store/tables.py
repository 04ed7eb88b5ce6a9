"""The tables, as the newest migration leaves them. A change here needs a new migration.

    epochs    one row for each start of a station, sequence wrap or PLC restart
    parts     one row for each trigger; its state only moves forward
    verdicts  what people said of a part; append-only, a trigger of the database sees to it
    alarms    an alarm came or went

    outbox             what is to be told upward; written by triggers of the database, one row for each
                       decision, verdict and alarm of a station in `outbox_stations`
    outbox_stations    stations that are told upward
    outbox_delivery    how far each destination is
    outbox_quarantine  messages that a destination refused; with an empty `why`: that a plant took later

What people and pages write beside that: `inspection.store.web.tables`.

Times: `*_mono` is seconds of the station's monotonic clock, comparable within one `epochs.boot_id`;
`*_at` is UTC, ISO 8601 with microseconds, a label that also sorts as text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

HEAD = "0008"
"""The newest migration: what this program reads and writes."""

MAX_RECORD = 2**32 - 1
"""The PLC is told the record id in two words."""

PROVEN = (
    "decision IS NULL OR decision <> 'PASS' OR ("
    "reason = 'NONE' AND frame_id IS NOT NULL AND detections IS NOT NULL"
    " AND model_sha256 IS NOT NULL AND model_sha256 <> '' AND release_number IS NOT NULL"
    " AND frame_mono IS NOT NULL AND frame_mono >= triggered_mono"
    " AND decided_mono IS NOT NULL AND decided_mono <= deadline_mono)"
)
"""The promise as the database holds it; a row that breaks it is refused."""

KINDS = ("station", "recipe_number", "release", "decision", "reason", "defect_class")
"""Columns of `parts` that have few values; a part's `kind` holds all of them, each after a `|`."""


def kind_of(names: Sequence[str]) -> str:
    """Return the SQL by which the database makes a row's kind; in a value `~0` is `~` and `~1` is `|`."""
    return " || ".join(
        f"'|' || replace(replace(coalesce(CAST({name} AS TEXT), ''), '~', '~0'), '|', '~1')"
        for name in names
    )


KIND = kind_of(KINDS)
"""How the database makes a part's kind. There are some hundred kinds: a search steps from kind to kind."""

metadata = sa.MetaData()


def json_type() -> sa.types.TypeEngine[Any]:
    """JSON; None is stored as SQL NULL. Binary JSON on PostgreSQL."""
    return sa.JSON(none_as_null=True).with_variant(
        postgresql.JSONB(none_as_null=True), "postgresql"
    )


def record_type() -> sa.types.TypeEngine[Any]:
    """A record id: 64 bit on PostgreSQL, SQLite's own row id on SQLite."""
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


epochs = sa.Table(
    "epochs",
    metadata,
    sa.Column("station", sa.Text, primary_key=True),
    sa.Column("epoch", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("cause", sa.Text, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("boot_id", sa.Text, nullable=False),
    sa.Column("started_at", sa.Text, nullable=False),
    sa.Column("started_mono", sa.Double, nullable=False),
    # one of so many pictures of passed parts is kept; NULL where an older program did not note it
    sa.Column("ok_every", sa.Integer),
)

parts = sa.Table(
    "parts",
    metadata,
    sa.Column(
        "id",
        record_type(),
        sa.Identity(always=False, start=1, maxvalue=MAX_RECORD),
        primary_key=True,
    ),
    sa.Column("station", sa.Text, nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("sequence", sa.Integer, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("part_id", sa.BigInteger, nullable=False),
    sa.Column("serial", sa.Text, nullable=False),
    sa.Column("code", sa.Text),
    # what judged it
    sa.Column("recipe_number", sa.Integer),
    sa.Column("recipe_sha256", sa.Text),
    sa.Column("part_name", sa.Text),
    sa.Column("release_number", sa.Integer),
    sa.Column("release", sa.Text),
    sa.Column("model_sha256", sa.Text),
    sa.Column("card_sha256", sa.Text),
    # the decision
    sa.Column("decision", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Column("reasons", json_type()),
    sa.Column("detail", sa.Text),
    sa.Column("deciding_class", sa.Integer),
    sa.Column("deciding_score", sa.Double),
    sa.Column("defect_class", sa.Text),
    sa.Column("over_t1", sa.Integer),
    sa.Column("detections", json_type()),
    sa.Column("anomaly_score", sa.Double),
    sa.Column("timings", json_type()),
    sa.Column("late", json_type()),
    # the frame
    sa.Column("frame_id", sa.BigInteger),
    sa.Column("frame_mono", sa.Double),
    sa.Column("camera", sa.Text),
    sa.Column("source", sa.Text),
    sa.Column("truth", json_type()),
    sa.Column("simulated", sa.Boolean, nullable=False),
    # its life
    sa.Column("triggered_mono", sa.Double, nullable=False),
    sa.Column("triggered_at", sa.Text, nullable=False),
    sa.Column("deadline_mono", sa.Double, nullable=False),
    sa.Column("decided_mono", sa.Double),
    sa.Column("decided_at", sa.Text),
    sa.Column("committed_mono", sa.Double),
    sa.Column("sent_mono", sa.Double),
    sa.Column("sent_at", sa.Text),
    sa.Column("acknowledged_mono", sa.Double),
    sa.Column("acknowledged_at", sa.Text),
    # its pictures
    sa.Column("image_state", sa.Text, nullable=False),
    sa.Column("images", json_type()),
    # for searches: made by the database from other columns
    sa.Column("kind", sa.Text, sa.Computed(KIND, persisted=True)),
    sa.UniqueConstraint("station", "epoch", "sequence", name="parts_key"),
    sa.CheckConstraint(f"id BETWEEN 1 AND {MAX_RECORD}", name="record_is_u32"),
    sa.CheckConstraint("(state = 'triggered') = (decision IS NULL)", name="decided_has_decision"),
    sa.CheckConstraint(PROVEN, name="pass_is_proven"),
    sa.Index("parts_decision", "decision", "id"),
    sa.Index("parts_time", "triggered_at", "decision"),
    sa.Index("parts_kind", "kind", "triggered_at", "id"),
    sa.Index("parts_part_id", "part_id", "triggered_at", "id"),
    sa.Index(
        "parts_serial",
        "serial",
        "triggered_at",
        "id",
        postgresql_ops={"serial": "text_pattern_ops"},
    ),
    sa.Index(
        "parts_code",
        "code",
        "triggered_at",
        "id",
        sqlite_where=sa.text("code IS NOT NULL"),
        postgresql_where=sa.text("code IS NOT NULL"),
    ),
    sa.Index("parts_station", "station", "id"),
    sa.Index("parts_pictures", "image_state", "decision", "triggered_at"),
    sa.Index(
        "parts_open",
        "station",
        sqlite_where=sa.text("state = 'triggered'"),
        postgresql_where=sa.text("state = 'triggered'"),
    ),
    sqlite_autoincrement=True,
)

verdicts = sa.Table(
    "verdicts",
    metadata,
    sa.Column("id", record_type(), sa.Identity(always=False), primary_key=True),
    sa.Column("record", record_type(), sa.ForeignKey("parts.id"), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("verdict", sa.Text, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("reason_code", sa.Text, nullable=False),
    sa.Column("comment", sa.Text, nullable=False),
    sa.Column("defect_class", sa.Text),
    sa.Column("boxes", json_type()),
    sa.Column("seen", json_type()),
    sa.UniqueConstraint("record", "version", name="verdicts_version"),
    sqlite_autoincrement=True,
)

alarms = sa.Table(
    "alarms",
    metadata,
    sa.Column("id", record_type(), sa.Identity(always=False), primary_key=True),
    sa.Column("station", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("on", sa.Boolean, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("mono", sa.Double, nullable=False),
    sa.Index("alarms_station", "station", "id"),
    sqlite_autoincrement=True,
)

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", record_type(), sa.Identity(always=False), primary_key=True),
    sa.Column("station", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("subject", record_type(), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.UniqueConstraint("kind", "subject", "version", name="outbox_once"),
    sa.Index("outbox_station", "station", "id"),
    sqlite_autoincrement=True,
)

outbox_stations = sa.Table(
    "outbox_stations",
    metadata,
    sa.Column("station", sa.Text, primary_key=True),
    sa.Column("first_record", record_type()),
    sa.Column("since_at", sa.Text, nullable=False),
)

outbox_delivery = sa.Table(
    "outbox_delivery",
    metadata,
    sa.Column("station", sa.Text, primary_key=True),
    sa.Column("destination", sa.Text, primary_key=True),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("patience", sa.Double, nullable=False),
    sa.Column("delivered", record_type(), nullable=False),
    sa.Column("delivered_at", sa.Text),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_at", sa.Text),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("changed_at", sa.Text, nullable=False),
)

outbox_quarantine = sa.Table(
    "outbox_quarantine",
    metadata,
    sa.Column("station", sa.Text, primary_key=True),
    sa.Column("destination", sa.Text, primary_key=True),
    sa.Column("message", record_type(), primary_key=True, autoincrement=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("again", sa.Boolean, nullable=False),
)
