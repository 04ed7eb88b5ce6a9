"""The tables that people write, beside those of the line; see `inspection.store.tables`.

    people       who may sign in                     audit       what people did; append-only, hash-chained
    sessions     who is signed in, on which terminal terminals   where a PIN may be used
    sign_ins     attempts, for the limits            settings    what administrators set
    reviews      one row for each part to be judged  marks       how far a background job came
    slots        parts counted by half hour          days        the same by day (UTC)
    tallies      what people said, by half hour      tally_days  the same by day (UTC)
    changes      half hours to be tallied anew
    commands     what people ask of a line           controls    who holds a station
    alarm_acks   who saw an alarm                    approvals   who approved a release; append-only
    book         golden parts and limit samples      jobs        training and harvest runs
    machine_keys what programs show instead of a person's session

Times `*_at` are UTC, ISO 8601 with microseconds.
"""

from __future__ import annotations

import sqlalchemy as sa

from inspection.store.tables import KINDS, json_type, kind_of, metadata, record_type

REVIEW_KINDS = ("state", "verdict", *KINDS)
"""Columns of `reviews` in the kind of a review, in its order."""


def _id() -> sa.Column[int]:
    return sa.Column("id", record_type(), sa.Identity(always=False), primary_key=True)


people = sa.Table(
    "people",
    metadata,
    _id(),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("display", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("language", sa.Text, nullable=False),
    sa.Column("password", sa.Text, nullable=False),
    sa.Column("pin", sa.Text),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("must_change", sa.Boolean, nullable=False),
    sa.Column("options", json_type()),
    sa.Column("created_at", sa.Text, nullable=False),
    sqlite_autoincrement=True,
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("token_sha256", sa.Text, primary_key=True),
    sa.Column("person", record_type(), sa.ForeignKey("people.id"), nullable=False),
    sa.Column("terminal", sa.Text, nullable=False),
    sa.Column("csrf", sa.Text, nullable=False),
    sa.Column("started_at", sa.Text, nullable=False),
    sa.Column("seen_at", sa.Text, nullable=False),
    sa.Column("ends_at", sa.Text, nullable=False),
    sa.Index("sessions_person", "person"),
)

terminals = sa.Table(
    "terminals",
    metadata,
    sa.Column("token_sha256", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("trusted_by", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
)

sign_ins = sa.Table(
    "sign_ins",
    metadata,
    _id(),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Index("sign_ins_name", "name", "at"),
    sa.Index("sign_ins_address", "address", "at"),
    sqlite_autoincrement=True,
)

machine_keys = sa.Table(
    "machine_keys",
    metadata,
    _id(),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("token_sha256", sa.Text, nullable=False, unique=True),
    sa.Column("pictures", sa.Boolean, nullable=False),
    sa.Column("made_by", sa.Text, nullable=False),
    sa.Column("made_at", sa.Text, nullable=False),
    sa.Column("ends_at", sa.Text),
    sa.Column("used_at", sa.Text),
    sa.Column("revoked_by", sa.Text),
    sa.Column("revoked_at", sa.Text),
    sqlite_autoincrement=True,
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", record_type(), primary_key=True, autoincrement=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("previous", sa.Text, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Index("audit_subject", "subject", "id"),
)

settings = sa.Table(
    "settings",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", json_type(), nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
)

marks = sa.Table(
    "marks",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

reviews = sa.Table(
    "reviews",
    metadata,
    sa.Column("record", record_type(), sa.ForeignKey("parts.id"), primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("probability", sa.Double, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("verdict", sa.Text),
    sa.Column("who", sa.Text),
    sa.Column("first_who", sa.Text),
    sa.Column("first_verdict", sa.Text),
    sa.Column("station", sa.Text, nullable=False),
    sa.Column("part_name", sa.Text),
    sa.Column("recipe_number", sa.Integer),
    sa.Column("release", sa.Text),
    sa.Column("decision", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("defect_class", sa.Text),
    sa.Column("score", sa.Double),
    sa.Column("triggered_at", sa.Text, nullable=False),
    sa.Column("changed_at", sa.Text, nullable=False),
    # for searches: made by the database from other columns; holds the verdict, so it is shown to nobody
    sa.Column("kind", sa.Text, sa.Computed(kind_of(REVIEW_KINDS), persisted=True)),
    sa.Index("reviews_kind", "kind", "triggered_at", "record"),
    sa.Index("reviews_state", "state", "record"),
    sa.Index("reviews_time", "triggered_at"),
    sa.Index("reviews_found", "state", "verdict", "triggered_at", "record"),
)


def _counted(name: str) -> sa.Table:
    """Return a table of counts of parts; its rows lie in the order of their times."""
    return sa.Table(
        name,
        metadata,
        sa.Column("slot", sa.Text, primary_key=True),
        sa.Column("station", sa.Text, primary_key=True),
        sa.Column("recipe_number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("part_name", sa.Text, primary_key=True),
        sa.Column("release", sa.Text, primary_key=True),
        sa.Column("decision", sa.Text, primary_key=True),
        sa.Column("reason", sa.Text, primary_key=True),
        sa.Column("defect_class", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )


def _tallied(name: str) -> sa.Table:
    """Return a table of counts of reviews; its rows lie in the order of their times."""
    return sa.Table(
        name,
        metadata,
        sa.Column("slot", sa.Text, primary_key=True),
        sa.Column("station", sa.Text, primary_key=True),
        sa.Column("recipe_number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("part_name", sa.Text, primary_key=True),
        sa.Column("release", sa.Text, primary_key=True),
        sa.Column("decision", sa.Text, primary_key=True),
        sa.Column("why", sa.Text, primary_key=True),
        sa.Column("state", sa.Text, primary_key=True),
        sa.Column("verdict", sa.Text, primary_key=True),
        sa.Column("probability", sa.Double, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )


slots, days = _counted("slots"), _counted("days")
sa.Index("days_station", days.c.station)
sa.Index("days_recipe", days.c.recipe_number)
sa.Index("days_release", days.c.release)
tallies, tally_days = _tallied("tallies"), _tallied("tally_days")

changes = sa.Table(
    "changes",
    metadata,
    _id(),
    sa.Column("slot", sa.Text, nullable=False),
    sqlite_autoincrement=True,
)

commands = sa.Table(
    "commands",
    metadata,
    _id(),
    sa.Column("station", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("value", json_type(), nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("answered_at", sa.Text),
    sa.Column("detail", sa.Text),
    sa.Index("commands_station", "station", "state"),
    sqlite_autoincrement=True,
)

controls = sa.Table(
    "controls",
    metadata,
    sa.Column("station", sa.Text, primary_key=True),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("session", sa.Text, nullable=False),
    sa.Column("since_at", sa.Text, nullable=False),
    sa.Column("until_at", sa.Text, nullable=False),
)

alarm_acks = sa.Table(
    "alarm_acks",
    metadata,
    sa.Column("alarm", record_type(), sa.ForeignKey("alarms.id"), primary_key=True),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("shelved_until", sa.Text),
)

approvals = sa.Table(
    "approvals",
    metadata,
    _id(),
    sa.Column("part", sa.Text, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("card_sha256", sa.Text, nullable=False),
    sa.Column("step", sa.Text, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("comment", sa.Text, nullable=False),
    sa.Index("approvals_release", "part", "number"),
    sqlite_autoincrement=True,
)

book = sa.Table(
    "book",
    metadata,
    _id(),
    sa.Column("part_name", sa.Text, nullable=False),
    sa.Column("recipe_number", sa.Integer),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("defect_class", sa.Text, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("record", record_type()),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Index("book_part", "part_name", "kind"),
    sqlite_autoincrement=True,
)

jobs = sa.Table(
    "jobs",
    metadata,
    _id(),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("arguments", json_type(), nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("folder", sa.Text, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("started_at", sa.Text),
    sa.Column("ended_at", sa.Text),
    sa.Column("exit_code", sa.Integer),
    sa.Column("process", json_type()),
    sqlite_autoincrement=True,
)

APPEND_ONLY = ("audit", "approvals")
"""Like `verdicts`: triggers of the database refuse every change of a row."""
