"""A plant store out of an empty results store: keys of parts, marks of stations, partitions by month.

The columns of `parts` and `verdicts` are taken from the tables that are there: the queries of the pages fit.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

PARTITIONED = {
    "parts": ("PRIMARY KEY (id, triggered_at)", "UNIQUE (station, epoch, sequence, triggered_at)"),
    "verdicts": ("PRIMARY KEY (id, triggered_at)", "UNIQUE (record, version, triggered_at)"),
}


def upgrade() -> None:
    """Turn the empty tables of a station into those of a plant."""
    _tell_nobody()
    _keys()
    op.execute('ALTER TABLE parts ALTER COLUMN triggered_at TYPE text COLLATE "C"')
    op.execute('ALTER TABLE reviews ALTER COLUMN triggered_at TYPE text COLLATE "C"')
    op.execute('ALTER TABLE verdicts ADD COLUMN triggered_at text COLLATE "C" NOT NULL')
    for table, keys in PARTITIONED.items():
        _partition(table, keys)
    _refer_to_keys()
    op.execute('CREATE UNIQUE INDEX alarms_once ON alarms (station, at, mono, reason, "on")')


def _tell_nobody() -> None:
    """The plant tells nobody upward; the triggers on parts and verdicts go with their tables."""
    op.execute("DROP TRIGGER outbox_alarm ON alarms")
    op.execute("DROP FUNCTION outbox_alarm()")


def _keys() -> None:
    op.create_table(
        "part_keys",
        sa.Column("id", sa.BigInteger, sa.Identity(start=1, maxvalue=2**32 - 1), primary_key=True),
        sa.Column("station", sa.Text, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("record", sa.BigInteger, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("triggered_at", sa.Text(collation="C"), nullable=False),
        sa.Column("is_final", sa.Boolean, nullable=False),
        sa.Column("told_at", sa.Text, nullable=False),
        sa.UniqueConstraint("station", "epoch", "sequence", name="part_keys_once"),
    )
    op.create_index("part_keys_latest", "part_keys", ["station", "id"])
    op.create_index("part_keys_record", "part_keys", ["station", "record"])
    op.create_index("part_keys_time", "part_keys", ["triggered_at"])
    op.create_index(
        "part_keys_open", "part_keys", ["station", "id"], postgresql_where=sa.text("NOT is_final")
    )
    op.create_table(
        "plant_stations",
        sa.Column("station", sa.Text, primary_key=True),
        sa.Column("since", sa.Text, nullable=False),
        sa.Column("mark", sa.BigInteger, nullable=False),
        sa.Column("last_message", sa.Text, nullable=False),
        sa.Column("above", sa.BigInteger, nullable=False),
        sa.Column("told_at", sa.Text, nullable=False),
    )


def _partition(table: str, keys: tuple[str, ...]) -> None:
    """Put a partitioned table with the same columns, checks and indexes in the place of an empty one."""
    found = op.get_bind().execute(
        sa.text(
            "SELECT indexdef FROM pg_indexes WHERE schemaname = current_schema()"
            " AND tablename = :table AND indexname NOT IN (SELECT conname FROM pg_constraint"
            " WHERE conrelid = CAST(:table AS regclass))"
        ),
        {"table": table},
    )
    indexes = list(found.scalars())
    op.execute(
        f"CREATE TABLE {table}_new (LIKE {table} INCLUDING DEFAULTS INCLUDING GENERATED"
        f" INCLUDING CONSTRAINTS, {', '.join(keys)}) PARTITION BY RANGE (triggered_at)"
    )
    op.execute(f"DROP TABLE {table} CASCADE")
    op.execute(f"ALTER TABLE {table}_new RENAME TO {table}")
    for index in indexes:
        op.execute(index)
    op.execute(f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT")


def _refer_to_keys() -> None:
    op.execute("DROP FUNCTION outbox_part()")
    op.execute("DROP FUNCTION outbox_verdict()")
    op.execute("CREATE SEQUENCE verdicts_ids OWNED BY verdicts.id")
    op.execute("ALTER TABLE verdicts ALTER COLUMN id SET DEFAULT nextval('verdicts_ids')")
    for table, column in {"parts": "id", "verdicts": "record", "reviews": "record"}.items():
        op.create_foreign_key(f"{table}_of_key", table, "part_keys", [column], ["id"])
    for event, each in {"UPDATE OR DELETE": "ROW", "TRUNCATE": "STATEMENT"}.items():
        name = "verdicts_append_only" if each == "ROW" else "verdicts_no_truncate"
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {event} ON verdicts "
            f"FOR EACH {each} EXECUTE FUNCTION verdicts_append_only()"
        )
