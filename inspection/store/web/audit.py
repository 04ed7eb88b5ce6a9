"""The audit: what people did, each row sealed with the hash of the row before.

    sha256(row n) = SHA-256 of the JSON list [id, at, who, action, subject, detail, sha256(row n-1)]

A changed, removed or inserted row breaks every hash after it; `inspection verify` finds the place.
Cutting off the newest rows leaves no trace in the chain itself: compare with the head that
`inspection verify` printed earlier.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from inspection.store.rows import Values, utc_now
from inspection.store.web.tables import audit

START = "0" * 64
"""What the first row is sealed with."""

_CHUNK = 5000
_COLUMNS = ("id", "at", "who", "action", "subject", "detail", "previous")


def append(connection: sa.Connection, who: str, action: str, subject: str, **detail: Any) -> int:
    """Add a row in the caller's transaction and return its id, from 1 without gaps.

    Args:
        connection: from `WebStore.write`.
        who: login name; `system` for what no person did.
        action: a code as `person.added`; docs/audit.md lists them.
        subject: what it was done to, as `part:8812`.
        detail: plain values; never a password.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("LOCK TABLE audit IN EXCLUSIVE MODE"))
    last = connection.execute(
        sa.select(audit.c.id, audit.c.sha256).order_by(audit.c.id.desc()).limit(1)
    ).first()
    row: Values = {
        "id": 1 if last is None else last.id + 1,
        "at": utc_now(),
        "who": who,
        "action": action,
        "subject": subject,
        "detail": json.dumps(detail, ensure_ascii=False, sort_keys=True, allow_nan=False),
        "previous": START if last is None else last.sha256,
    }
    connection.execute(sa.insert(audit), row | {"sha256": seal(row)})
    return int(row["id"])


def seal(row: Values) -> str:
    """Return the hash of a row: hexadecimal SHA-256."""
    values = [row[name] for name in _COLUMNS]
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"), default=repr)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Filter:
    """What rows are looked for; empty is everything.

    Attributes:
        who: login name.
        action: a code, or its first word: `sign_in` finds `sign_in.wrong` too.
        subject: whole, or its kind: `person:` finds all persons.
        since: UTC label, that moment included.
        until: UTC label, that moment not included.
        below: ids under this one.
    """

    who: str = ""
    action: str = ""
    subject: str = ""
    since: str = ""
    until: str = ""
    below: int | None = None


def rows(
    connection: sa.Connection,
    wanted: Filter | None = None,
    *,
    subject: str = "",
    limit: int = 100,
) -> list[Values]:
    """Return rows, newest first; `subject` is short for a filter of it alone."""
    wanted = wanted or Filter(subject=subject)
    query = sa.select(audit).order_by(audit.c.id.desc()).limit(max(1, limit))
    if wanted.who:
        query = query.where(audit.c.who == wanted.who)
    if wanted.action:
        family = audit.c.action.startswith(f"{wanted.action}.", autoescape=True)
        query = query.where((audit.c.action == wanted.action) | family)
    if wanted.subject.endswith(":"):
        query = query.where(audit.c.subject.startswith(wanted.subject, autoescape=True))
    elif wanted.subject:
        query = query.where(audit.c.subject == wanted.subject)
    if wanted.since:
        query = query.where(audit.c.at >= wanted.since)
    if wanted.until:
        query = query.where(audit.c.at < wanted.until)
    if wanted.below is not None:
        query = query.where(audit.c.id < wanted.below)
    return [dict(row) for row in connection.execute(query).mappings()]


def label(moment: datetime) -> str:
    """Return a time as the store writes it; without a zone it is local time."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


@dataclass(slots=True)
class Walk:
    """How far the chain was checked.

    Attributes:
        number: rows seen.
        last: id of the last of them.
        previous: its hash.
        breaches: a sentence for each place where the chain is broken.
    """

    number: int = 0
    last: int = 0
    previous: str = START
    breaches: list[str] = field(default_factory=list[str])


def walk_on(connection: sa.Connection, walk: Walk) -> bool:
    """Check the next rows; False when there are none left."""
    query = sa.select(audit).where(audit.c.id > walk.last).order_by(audit.c.id).limit(_CHUNK)
    if walk.number == 0:  # an id below 1 is no row of ours
        query = sa.select(audit).order_by(audit.c.id).limit(_CHUNK)
    found = connection.execute(query).mappings().all()
    for row in found:
        values = dict(row)
        number = values["id"]
        if number > walk.last + 1:
            walk.breaches.append(f"audit rows {walk.last + 1} to {number - 1} are missing")
        elif number < walk.last + 1:
            walk.breaches.append(f"audit row {number} was put before the first")
        elif values["previous"] != walk.previous:
            walk.breaches.append(f"audit row {number} does not follow the row before it")
        if seal(values) != values["sha256"]:
            told = f"{values['action']} {values['subject']}"
            walk.breaches.append(f"audit row {number} was altered ({told})")
        walk.previous, walk.last = values["sha256"], number
        walk.number += 1
    return bool(found)


def breaches(connection: sa.Connection) -> list[str]:
    """Return a sentence for each place where the chain is broken."""
    walk = Walk()
    while walk_on(connection, walk):
        pass
    return walk.breaches


def is_protected(connection: sa.Connection) -> bool:
    """Tell whether the triggers that refuse every change of the audit are there."""
    if connection.dialect.name == "sqlite":
        query = (
            "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit' "
            "AND name IN ('audit_no_update', 'audit_no_delete') AND sql LIKE '%RAISE(ABORT%'"
        )
        return int(connection.execute(sa.text(query)).scalar_one()) == 2
    query = (
        "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'audit'::regclass "
        "AND tgname = 'audit_append_only' AND tgenabled IN ('O', 'A')"
    )
    return int(connection.execute(sa.text(query)).scalar_one()) == 1


def head(connection: sa.Connection) -> tuple[int, str]:
    """Return id and hash of the newest row; (0, START) without one."""
    row = connection.execute(
        sa.select(audit.c.id, audit.c.sha256).order_by(audit.c.id.desc()).limit(1)
    ).first()
    return (0, START) if row is None else (int(row.id), str(row.sha256))
