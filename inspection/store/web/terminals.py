"""Trusted terminals: browsers on the shop floor where a PIN is enough to change the person.

A PIN is short, so it works only where somebody said that the place is ours, it never gives the rights of an
administrator, and after five wrong ones only the password helps.
"""

from __future__ import annotations

import secrets

import sqlalchemy as sa

from inspection.store.rows import Values, utc_now
from inspection.store.web.people import Role, hash_token
from inspection.store.web.tables import people, sessions, sign_ins, terminals

WRONG_PINS = 5
"""Wrong PINs of a person since the last right sign-in, and the next PIN is refused unseen."""


def trust(connection: sa.Connection, name: str, who: str) -> str:
    """Trust a terminal and return the token for its cookie; one of the same name is trusted no longer."""
    forget(connection, name)
    token = secrets.token_urlsafe(32)
    connection.execute(
        sa.insert(terminals),
        {"token_sha256": hash_token(token), "name": name, "trusted_by": who, "at": utc_now()},
    )
    return token


def forget(connection: sa.Connection, name: str) -> bool:
    """Trust a terminal no longer and end the sessions there; tell whether there was one."""
    found = connection.execute(sa.delete(terminals).where(terminals.c.name == name))
    if found.rowcount:
        connection.execute(sa.delete(sessions).where(sessions.c.terminal == name))
    return bool(found.rowcount)


def name_of(connection: sa.Connection, token: str) -> str:
    """Return the name of a trusted terminal; empty when the token is not known."""
    if not token:
        return ""
    query = sa.select(terminals.c.name).where(terminals.c.token_sha256 == hash_token(token))
    return str(connection.execute(query).scalar() or "")


def listing(connection: sa.Connection) -> list[Values]:
    """Return name, trusted_by and at of every trusted terminal, by name."""
    columns = (terminals.c.name, terminals.c.trusted_by, terminals.c.at)
    found = connection.execute(sa.select(*columns).order_by(terminals.c.name)).mappings()
    return [dict(row) for row in found]


def move_session(connection: sa.Connection, session: str, terminal: str) -> None:
    """Note at which terminal a session is."""
    query = sa.update(sessions).where(sessions.c.token_sha256 == session)
    connection.execute(query.values(terminal=terminal))


def quick_people(connection: sa.Connection) -> list[Values]:
    """Return name, display and role of those who may change to themselves with a PIN, by display."""
    query = (
        sa.select(people.c.name, people.c.display, people.c.role)
        .where(
            people.c.active.is_(True),
            people.c.must_change.is_(False),
            people.c.pin.is_not(None),
            people.c.role != Role.ADMINISTRATOR.value,
        )
        .order_by(people.c.display, people.c.name)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def pin_of(connection: sa.Connection, name: str) -> Values | None:
    """Return the row of a person whose PIN counts; None when there is no such person."""
    if all(person["name"] != name for person in quick_people(connection)):
        return None
    row = connection.execute(sa.select(people).where(people.c.name == name)).mappings().first()
    return None if row is None else dict(row)


def wrong_pins(connection: sa.Connection, name: str) -> int:
    """Return how many wrong PINs there were since the person was last signed in rightly."""
    same = sign_ins.c.name == name[:64]
    right = sa.select(sa.func.max(sign_ins.c.id)).where(
        same, sign_ins.c.outcome.in_(("ok", "pin_ok"))
    )
    last = connection.execute(right).scalar() or 0
    query = sa.select(sa.func.count()).where(
        same, sign_ins.c.outcome == "pin_wrong", sign_ins.c.id > last
    )
    return int(connection.execute(query).scalar() or 0)
