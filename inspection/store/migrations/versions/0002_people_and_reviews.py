"""What people write: accounts, reviews, audit, counts, commands; the name of the deciding class."""

import sqlalchemy as sa
from alembic import op

from inspection.store.tables import json_type, record_type

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


# As it was when this migration was written: a later change of `tables.KIND` needs a migration of its own.
KINDS = ("station", "recipe_number", "release", "decision", "reason", "defect_class")
REVIEW_KINDS = ("state", "verdict", *KINDS)


def _kind_of(names: tuple[str, ...]) -> str:
    return " || ".join(
        f"'|' || replace(replace(coalesce(CAST({name} AS TEXT), ''), '~', '~0'), '|', '~1')"
        for name in names
    )


def upgrade() -> None:
    op.add_column("parts", sa.Column("defect_class", sa.Text))
    _searches()
    op.add_column("verdicts", sa.Column("defect_class", sa.Text))
    op.add_column("verdicts", sa.Column("boxes", json_type()))
    op.add_column("verdicts", sa.Column("seen", json_type()))
    _people()
    _audit()
    _reviews()
    _counts()
    _station()
    _models()


def _searches() -> None:
    stored = op.get_bind().dialect.name == "postgresql"  # SQLite adds only columns that are not
    op.add_column(
        "parts", sa.Column("kind", sa.Text, sa.Computed(_kind_of(KINDS), persisted=stored))
    )
    op.create_index("parts_kind", "parts", ["kind", "triggered_at", "id"])
    op.drop_index("parts_serial", "parts")
    order = {"serial": "text_pattern_ops"}  # finds how a serial begins, in any language's order
    op.create_index("parts_serial", "parts", ["serial", "triggered_at", "id"], postgresql_ops=order)
    op.drop_index("parts_part_id", "parts")
    op.create_index("parts_part_id", "parts", ["part_id", "triggered_at", "id"])


def _id() -> sa.Column:
    return sa.Column("id", record_type(), sa.Identity(always=False), primary_key=True)


def _text(name: str, *, null: bool = False) -> sa.Column:
    return sa.Column(name, sa.Text, nullable=null)


def _people() -> None:
    op.create_table(
        "people",
        _id(),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        *(_text(name) for name in ("display", "role", "language", "password")),
        _text("pin", null=True),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("must_change", sa.Boolean, nullable=False),
        sa.Column("options", json_type()),
        _text("created_at"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "sessions",
        sa.Column("token_sha256", sa.Text, primary_key=True),
        sa.Column("person", record_type(), sa.ForeignKey("people.id"), nullable=False),
        *(_text(name) for name in ("terminal", "csrf", "started_at", "seen_at", "ends_at")),
    )
    op.create_index("sessions_person", "sessions", ["person"])
    op.create_table(
        "terminals",
        sa.Column("token_sha256", sa.Text, primary_key=True),
        *(_text(name) for name in ("name", "trusted_by", "at")),
    )
    op.create_table(
        "sign_ins",
        _id(),
        *(_text(name) for name in ("name", "address", "outcome", "at")),
        sqlite_autoincrement=True,
    )
    op.create_index("sign_ins_name", "sign_ins", ["name", "at"])
    op.create_index("sign_ins_address", "sign_ins", ["address", "at"])
    op.create_table(
        "settings",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", json_type(), nullable=False),
        _text("who"),
        _text("at"),
    )
    op.create_table("marks", sa.Column("name", sa.Text, primary_key=True), _text("value"))


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", record_type(), primary_key=True, autoincrement=False),
        *(
            _text(name)
            for name in ("at", "who", "action", "subject", "detail", "previous", "sha256")
        ),
    )
    op.create_index("audit_subject", "audit", ["subject", "id"])
    _append_only("audit")


def _append_only(table: str) -> None:
    refuse = f"{table} is append-only; add another row"
    if op.get_bind().dialect.name == "sqlite":
        for event in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{event.lower()} BEFORE {event} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{refuse}'); END"
            )
        return
    op.execute(
        f"CREATE FUNCTION {table}_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{refuse}' "
        "USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_append_only()"
    )


def _reviews() -> None:
    op.create_table(
        "reviews",
        sa.Column("record", record_type(), sa.ForeignKey("parts.id"), primary_key=True),
        _text("state"),
        _text("why"),
        sa.Column("probability", sa.Double, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        *(_text(name, null=True) for name in ("verdict", "who", "first_who", "first_verdict")),
        _text("station"),
        _text("part_name", null=True),
        sa.Column("recipe_number", sa.Integer),
        _text("release", null=True),
        _text("decision"),
        _text("reason"),
        _text("defect_class", null=True),
        sa.Column("score", sa.Double),
        _text("triggered_at"),
        _text("changed_at"),
        sa.Column("kind", sa.Text, sa.Computed(_kind_of(REVIEW_KINDS), persisted=True)),
    )
    op.create_index("reviews_kind", "reviews", ["kind", "triggered_at", "record"])
    op.create_index("reviews_state", "reviews", ["state", "record"])
    op.create_index("reviews_time", "reviews", ["triggered_at"])
    found = ["state", "verdict", "triggered_at", "record"]
    op.create_index("reviews_found", "reviews", found)


def _counts() -> None:
    first = ("part_name", "release", "decision")
    for name in ("slots", "days"):
        _counted(name, *(_key(key) for key in (*first, "reason", "defect_class")))
    for name in ("tallies", "tally_days"):
        said = [_key(key) for key in (*first, "why", "state", "verdict")]
        _counted(name, *said, sa.Column("probability", sa.Double, primary_key=True))
    op.create_table("changes", _id(), _text("slot"), sqlite_autoincrement=True)
    _note_changes()


def _key(name: str) -> sa.Column:
    return sa.Column(name, sa.Text, primary_key=True)


def _counted(name: str, *keys: sa.Column) -> None:
    op.create_table(
        name,
        _key("slot"),
        _key("station"),
        sa.Column("recipe_number", sa.Integer, primary_key=True, autoincrement=False),
        *keys,
        sa.Column("number", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )


def _note_changes() -> None:
    """Let the database note the half hour of every review that changes, in the same transaction."""
    half = (
        "substr({row}triggered_at, 1, 14)"
        " || CASE WHEN substr({row}triggered_at, 15, 2) < '30' THEN '00' ELSE '30' END"
    )
    if op.get_bind().dialect.name == "sqlite":
        for event, row in {"INSERT": "NEW.", "UPDATE": "NEW.", "DELETE": "OLD."}.items():
            op.execute(
                f"CREATE TRIGGER reviews_note_{event.lower()} AFTER {event} ON reviews "  # noqa: S608  constants
                f"BEGIN INSERT INTO changes (slot) VALUES ({half.format(row=row)}); END"
            )
        return
    op.execute(
        "CREATE FUNCTION reviews_note() RETURNS trigger LANGUAGE plpgsql AS "  # noqa: S608  constants
        f"$$ BEGIN INSERT INTO changes (slot) SELECT DISTINCT {half.format(row='')} FROM changed; "
        "RETURN NULL; END $$"
    )
    for event, rows in {"INSERT": "NEW", "UPDATE": "NEW", "DELETE": "OLD"}.items():
        op.execute(
            f"CREATE TRIGGER reviews_note_{event.lower()} AFTER {event} ON reviews "
            f"REFERENCING {rows} TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION reviews_note()"
        )


def _station() -> None:
    op.create_table(
        "commands",
        _id(),
        _text("station"),
        _text("kind"),
        sa.Column("value", json_type(), nullable=False),
        *(_text(name) for name in ("who", "at", "state")),
        _text("answered_at", null=True),
        _text("detail", null=True),
        sqlite_autoincrement=True,
    )
    op.create_index("commands_station", "commands", ["station", "state"])
    op.create_table(
        "controls",
        sa.Column("station", sa.Text, primary_key=True),
        *(_text(name) for name in ("who", "session", "since_at", "until_at")),
    )
    op.create_table(
        "alarm_acks",
        sa.Column("alarm", record_type(), sa.ForeignKey("alarms.id"), primary_key=True),
        *(_text(name) for name in ("who", "at", "note")),
        _text("shelved_until", null=True),
    )


def _models() -> None:
    op.create_table(
        "approvals",
        _id(),
        _text("part"),
        sa.Column("number", sa.Integer, nullable=False),
        *(_text(name) for name in ("card_sha256", "step", "who", "at", "comment")),
        sqlite_autoincrement=True,
    )
    op.create_index("approvals_release", "approvals", ["part", "number"])
    _append_only("approvals")
    op.create_table(
        "book",
        _id(),
        _text("part_name"),
        sa.Column("recipe_number", sa.Integer),
        *(_text(name) for name in ("kind", "defect_class", "path", "sha256", "note")),
        sa.Column("record", record_type()),
        *(_text(name) for name in ("who", "at")),
        sa.Column("active", sa.Boolean, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("book_part", "book", ["part_name", "kind"])
    op.create_table(
        "jobs",
        _id(),
        _text("kind"),
        sa.Column("arguments", json_type(), nullable=False),
        *(_text(name) for name in ("host", "folder", "who", "at", "state")),
        *(_text(name, null=True) for name in ("started_at", "ended_at")),
        sa.Column("exit_code", sa.Integer),
        sa.Column("process", json_type()),
        sqlite_autoincrement=True,
    )
