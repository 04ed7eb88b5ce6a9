"""Keys of machines: what a program shows that reads results without a person who signs in.

A key is 256 random bits, so its SHA-256 is enough: nobody can try them all, and a slow hash would cost each
call 50 ms and 64 MiB. The store never holds the key itself. A key is never deleted, and its name is never
given again: the audit names it.
"""

from __future__ import annotations

import enum
import secrets

import sqlalchemy as sa

from inspection.store.rows import Values, utc_now
from inspection.store.web.people import hash_token
from inspection.store.web.tables import machine_keys

PREFIX = "ik_"
"""How each key begins, so that people and scanners of leaked secrets know one when they see it."""


class KeyState(enum.StrEnum):
    """Whether a key works."""

    ACTIVE = "active"
    ENDED = "ended"
    REVOKED = "revoked"


def lock(connection: sa.Connection) -> None:
    """Let one change of keys at a time look and write; a writer of SQLite is alone anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("LOCK TABLE machine_keys IN SHARE ROW EXCLUSIVE MODE"))


def is_taken(connection: sa.Connection, name: str) -> bool:
    """Tell whether a name was ever given; `MES` and `mes` are the same."""
    query = sa.select(machine_keys.c.id).where(sa.func.lower(machine_keys.c.name) == name.lower())
    return connection.execute(query).first() is not None


def make(
    connection: sa.Connection, name: str, who: str, *, pictures: bool, ends_at: str | None
) -> tuple[int, str]:
    """Make a key; return its id and the key itself, which is kept nowhere.

    Args:
        connection: from `WebStore.write`.
        name: not taken yet; see `is_taken`.
        who: login name of the administrator.
        pictures: it may read pictures of parts, too.
        ends_at: UTC label from which on it works no longer; None: until it is revoked.
    """
    key = PREFIX + secrets.token_urlsafe(32)
    values = {
        "name": name,
        "token_sha256": hash_token(key),
        "pictures": pictures,
        "made_by": who,
        "made_at": utc_now(),
        "ends_at": ends_at,
    }
    query = sa.insert(machine_keys).returning(machine_keys.c.id)
    return int(connection.execute(query, values).scalar_one()), key


def listing(connection: sa.Connection) -> list[Values]:
    """Return every key's row, by name."""
    found = connection.execute(sa.select(machine_keys).order_by(machine_keys.c.name)).mappings()
    return [dict(row) for row in found]


def by_id(connection: sa.Connection, number: int) -> Values | None:
    """Return the row of a key; None when there is none."""
    return _first(connection, machine_keys.c.id == number)


def find(connection: sa.Connection, key: str) -> Values | None:
    """Return the row of a key that somebody shows, also of one that does not work; None: unknown."""
    return _first(connection, machine_keys.c.token_sha256 == hash_token(key))


def state_of(row: Values) -> KeyState:
    """Tell whether a key works now."""
    if row["revoked_at"] is not None:
        return KeyState.REVOKED
    ended = row["ends_at"] is not None and row["ends_at"] <= utc_now()
    return KeyState.ENDED if ended else KeyState.ACTIVE


def revoke(connection: sa.Connection, number: int, who: str) -> bool:
    """Let a key work no longer, for good; tell whether it was not revoked before."""
    fresh = (machine_keys.c.id == number, machine_keys.c.revoked_at.is_(None))
    change = sa.update(machine_keys).where(*fresh)
    return bool(connection.execute(change.values(revoked_at=utc_now(), revoked_by=who)).rowcount)


def note_used(connection: sa.Connection, key_sha256: str) -> None:
    """Note that a key, given by its hash, is in use; once a minute is enough."""
    change = sa.update(machine_keys).where(machine_keys.c.token_sha256 == key_sha256)
    connection.execute(change.values(used_at=utc_now()))


def _first(connection: sa.Connection, where: sa.ColumnElement[bool]) -> Values | None:
    row = connection.execute(sa.select(machine_keys).where(where)).mappings().first()
    return None if row is None else dict(row)
