"""The results store as first released."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

PROVEN = (
    "decision IS NULL OR decision <> 'PASS' OR ("
    "reason = 'NONE' AND frame_id IS NOT NULL AND detections IS NOT NULL"
    " AND model_sha256 IS NOT NULL AND model_sha256 <> '' AND release_number IS NOT NULL"
    " AND frame_mono IS NOT NULL AND frame_mono >= triggered_mono"
    " AND decided_mono IS NOT NULL AND decided_mono <= deadline_mono)"
)


def _json() -> sa.types.TypeEngine[Any]:
    return sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def _record() -> sa.types.TypeEngine[Any]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _epochs()
    _parts()
    _part_indexes()
    _verdicts()
    _alarms()


def _epochs() -> None:
    op.create_table(
        "epochs",
        sa.Column("station", sa.Text, primary_key=True),
        sa.Column("epoch", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("boot_id", sa.Text, nullable=False),
        sa.Column("started_at", sa.Text, nullable=False),
        sa.Column("started_mono", sa.Double, nullable=False),
    )


def _parts() -> None:
    op.create_table(
        "parts",
        sa.Column(
            "id",
            _record(),
            sa.Identity(always=False, start=1, maxvalue=2**32 - 1),
            primary_key=True,
        ),
        sa.Column("station", sa.Text, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("part_id", sa.BigInteger, nullable=False),
        sa.Column("serial", sa.Text, nullable=False),
        sa.Column("recipe_number", sa.Integer),
        sa.Column("recipe_sha256", sa.Text),
        sa.Column("part_name", sa.Text),
        sa.Column("release_number", sa.Integer),
        sa.Column("release", sa.Text),
        sa.Column("model_sha256", sa.Text),
        sa.Column("decision", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("reasons", _json()),
        sa.Column("detail", sa.Text),
        sa.Column("deciding_class", sa.Integer),
        sa.Column("deciding_score", sa.Double),
        sa.Column("over_t1", sa.Integer),
        sa.Column("detections", _json()),
        sa.Column("anomaly_score", sa.Double),
        sa.Column("timings", _json()),
        sa.Column("late", _json()),
        sa.Column("frame_id", sa.BigInteger),
        sa.Column("frame_mono", sa.Double),
        sa.Column("camera", sa.Text),
        sa.Column("source", sa.Text),
        sa.Column("truth", _json()),
        sa.Column("simulated", sa.Boolean, nullable=False),
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
        sa.Column("image_state", sa.Text, nullable=False),
        sa.Column("images", _json()),
        sa.UniqueConstraint("station", "epoch", "sequence", name="parts_key"),
        sa.CheckConstraint(f"id BETWEEN 1 AND {2**32 - 1}", name="record_is_u32"),
        sa.CheckConstraint(
            "(state = 'triggered') = (decision IS NULL)", name="decided_has_decision"
        ),
        sa.CheckConstraint(PROVEN, name="pass_is_proven"),
        sqlite_autoincrement=True,
    )


def _part_indexes() -> None:
    op.create_index("parts_decision", "parts", ["decision", "id"])
    op.create_index("parts_time", "parts", ["triggered_at", "decision"])
    op.create_index("parts_part_id", "parts", ["part_id"])
    op.create_index("parts_serial", "parts", ["serial"])
    op.create_index("parts_station", "parts", ["station", "id"])
    op.create_index("parts_pictures", "parts", ["image_state", "decision", "triggered_at"])
    is_open = sa.text("state = 'triggered'")
    op.create_index(
        "parts_open", "parts", ["station"], sqlite_where=is_open, postgresql_where=is_open
    )


def _verdicts() -> None:
    op.create_table(
        "verdicts",
        sa.Column("id", _record(), sa.Identity(always=False), primary_key=True),
        sa.Column("record", _record(), sa.ForeignKey("parts.id"), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("reason_code", sa.Text, nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.UniqueConstraint("record", "version", name="verdicts_version"),
        sqlite_autoincrement=True,
    )
    refuse = "verdicts are append-only; add another one"
    if op.get_bind().dialect.name == "sqlite":
        for event in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER verdicts_no_{event.lower()} BEFORE {event} ON verdicts "
                f"BEGIN SELECT RAISE(ABORT, '{refuse}'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION verdicts_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{refuse}' "
        "USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    op.execute(
        "CREATE TRIGGER verdicts_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON verdicts "
        "FOR EACH STATEMENT EXECUTE FUNCTION verdicts_append_only()"
    )


def _alarms() -> None:
    op.create_table(
        "alarms",
        sa.Column("id", _record(), sa.Identity(always=False), primary_key=True),
        sa.Column("station", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("on", sa.Boolean, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("mono", sa.Double, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("alarms_station", "alarms", ["station", "id"])
