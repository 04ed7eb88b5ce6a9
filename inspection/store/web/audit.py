"""The audit: what people did, each row sealed with the hash of the row before.

    sha256(row n) = SHA-256 of the JSON list [id, at, who, action, subject, detail, sha256(row n-1)]

A changed, removed or inserted row breaks every hash after it; `inspection verify` finds the place.
Cutting off the newest rows leaves no trace in the chain itself: compare with the head that
`inspection verify` printed earlier.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from inspection.store.rows import Values, utc_now
from inspection.store.web.tables import audit

START = "0" * 64
"""What the first row is sealed with."""

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
    text = json.dumps([row[name] for name in _COLUMNS], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def rows(
    connection: sa.Connection,
    *,
    subject: str | None = None,
    below: int | None = None,
    limit: int = 100,
) -> list[Values]:
    """Return rows, newest first; `below` is the last id of the page before."""
    query = sa.select(audit).order_by(audit.c.id.desc()).limit(max(1, min(limit, 1000)))
    if subject is not None:
        query = query.where(audit.c.subject == subject)
    if below is not None:
        query = query.where(audit.c.id < below)
    return [dict(row) for row in connection.execute(query).mappings()]


def breaches(connection: sa.Connection) -> Iterator[str]:
    """Yield a sentence for each place where the chain is broken."""
    previous, expected = START, 1
    for row in connection.execute(sa.select(audit).order_by(audit.c.id)).mappings():
        values = dict(row)
        if values["id"] != expected:
            yield f"audit rows {expected} to {values['id'] - 1} are missing"
        elif values["previous"] != previous:
            yield f"audit row {values['id']} does not follow the row before it"
        if seal(values) != values["sha256"]:
            yield f"audit row {values['id']} was altered ({values['action']} {values['subject']})"
        previous, expected = values["sha256"], values["id"] + 1


def head(connection: sa.Connection) -> tuple[int, str]:
    """Return id and hash of the newest row; (0, START) without one."""
    row = connection.execute(
        sa.select(audit.c.id, audit.c.sha256).order_by(audit.c.id.desc()).limit(1)
    ).first()
    return (0, START) if row is None else (int(row.id), str(row.sha256))
