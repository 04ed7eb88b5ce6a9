"""What is told upward: the outbox, written by the database itself, and how far each destination is."""

# ruff: noqa: S608  only constants are put together

import sqlalchemy as sa
from alembic import op

from inspection.store.tables import record_type

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", record_type(), sa.Identity(always=False), primary_key=True),
        sa.Column("station", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("subject", record_type(), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.UniqueConstraint("kind", "subject", "version", name="outbox_once"),
        sqlite_autoincrement=True,
    )
    op.create_index("outbox_station", "outbox", ["station", "id"])
    op.create_table(
        "outbox_stations",
        sa.Column("station", sa.Text, primary_key=True),
        sa.Column("first_record", record_type()),
        sa.Column("since_at", sa.Text, nullable=False),
    )
    op.create_table(
        "outbox_delivery",
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
    op.create_table(
        "outbox_quarantine",
        sa.Column("station", sa.Text, primary_key=True),
        sa.Column("destination", sa.Text, primary_key=True),
        sa.Column("message", record_type(), primary_key=True, autoincrement=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
        sa.Column("again", sa.Boolean, nullable=False),
    )
    if op.get_bind().dialect.name == "sqlite":
        _note_on_sqlite()
    else:
        _note_on_postgresql()


_TOLD = "EXISTS (SELECT 1 FROM outbox_stations WHERE station = NEW.station)"
_INTO = "INTO outbox (station, kind, subject, version)"


def _note_on_sqlite() -> None:
    """Let the database note what happened, in the same transaction; `changes` is made the same way."""
    op.execute(
        "CREATE TRIGGER outbox_part_insert AFTER INSERT ON parts "
        f"WHEN NEW.decision IS NOT NULL AND {_TOLD} BEGIN "
        f"INSERT OR IGNORE {_INTO} VALUES (NEW.station, 'part', NEW.id, 1); END"
    )
    op.execute(
        "CREATE TRIGGER outbox_part_update AFTER UPDATE OF decision ON parts "
        f"WHEN NEW.decision IS NOT OLD.decision AND {_TOLD} BEGIN "
        f"INSERT OR IGNORE {_INTO} VALUES (NEW.station, 'part', NEW.id, "
        "CASE WHEN OLD.decision IS NULL THEN 1 ELSE 2 END); END"
    )
    op.execute(
        "CREATE TRIGGER outbox_verdict AFTER INSERT ON verdicts BEGIN "
        f"INSERT OR IGNORE {_INTO} SELECT parts.station, 'verdict', NEW.id, NEW.version FROM parts "
        "JOIN outbox_stations ON outbox_stations.station = parts.station "
        "WHERE parts.id = NEW.record; END"
    )
    op.execute(
        f"CREATE TRIGGER outbox_alarm AFTER INSERT ON alarms WHEN {_TOLD} BEGIN "
        f"INSERT OR IGNORE {_INTO} VALUES (NEW.station, 'alarm', NEW.id, 1); END"
    )


def _note_on_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION outbox_part() RETURNS trigger LANGUAGE plpgsql AS $$ "
        f"DECLARE number integer := 1; BEGIN IF NOT {_TOLD} THEN RETURN NULL; END IF; "
        "IF TG_OP = 'UPDATE' THEN IF OLD.decision IS NOT NULL THEN number := 2; END IF; END IF; "
        f"INSERT {_INTO} VALUES (NEW.station, 'part', NEW.id, number) ON CONFLICT DO NOTHING; "
        "RETURN NULL; END $$"
    )
    op.execute(
        "CREATE TRIGGER outbox_part_insert AFTER INSERT ON parts FOR EACH ROW "
        "WHEN (NEW.decision IS NOT NULL) EXECUTE FUNCTION outbox_part()"
    )
    op.execute(
        "CREATE TRIGGER outbox_part_update AFTER UPDATE OF decision ON parts FOR EACH ROW "
        "WHEN (NEW.decision IS DISTINCT FROM OLD.decision) EXECUTE FUNCTION outbox_part()"
    )
    op.execute(
        "CREATE FUNCTION outbox_verdict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"INSERT {_INTO} SELECT parts.station, 'verdict', NEW.id, NEW.version FROM parts "
        "JOIN outbox_stations ON outbox_stations.station = parts.station "
        "WHERE parts.id = NEW.record ON CONFLICT DO NOTHING; RETURN NULL; END $$"
    )
    op.execute(
        "CREATE TRIGGER outbox_verdict AFTER INSERT ON verdicts FOR EACH ROW "
        "EXECUTE FUNCTION outbox_verdict()"
    )
    op.execute(
        "CREATE FUNCTION outbox_alarm() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF {_TOLD} THEN INSERT {_INTO} VALUES (NEW.station, 'alarm', NEW.id, 1) "
        "ON CONFLICT DO NOTHING; END IF; RETURN NULL; END $$"
    )
    op.execute(
        "CREATE TRIGGER outbox_alarm AFTER INSERT ON alarms FOR EACH ROW "
        "EXECUTE FUNCTION outbox_alarm()"
    )
