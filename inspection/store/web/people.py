"""People, their roles and sessions. Passwords come in as hashes; nothing here can tell what they are."""

from __future__ import annotations

import enum
import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from inspection.store.rows import Values, utc_now
from inspection.store.web import audit
from inspection.store.web.tables import people, sessions, sign_ins

SYSTEM = "system"
"""Who the audit names for what no person did; nobody can be called so."""

AHEAD = 60.0
"""Seconds by which a label may be later than now: a clock is set back a little now and then. What was done
later than that was done while the clock was wrong, and no time that follows from it holds."""


class Role(enum.StrEnum):
    """What a person may do; each role may do what the ones before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ENGINEER = "engineer"
    ADMINISTRATOR = "administrator"

    def covers(self, needed: Role) -> bool:
        """Tell whether this role may do what `needed` may."""
        order = list(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class Person:
    """Who is signed in; or a machine that shows a key, see `machine_keys`.

    Attributes:
        id: of the person's row; 0 for a machine.
        name: login name, in every row they write.
        display: name on the pages.
        role: what they may do.
        language: `ko` or `en`.
        must_change: they must choose a new password first.
        options: keys and switches they chose.
        session: hash of the session's token.
        csrf: what every request that changes something must repeat.
        terminal: name of the terminal, may be empty.
    """

    id: int
    name: str
    display: str
    role: Role
    language: str
    must_change: bool
    options: Values
    session: str
    csrf: str
    terminal: str

    @property
    def is_machine(self) -> bool:
        """A key was shown; nobody is signed in."""
        return self.id == 0


def after(seconds: float) -> str:
    """Return the UTC label of a moment that many seconds from now (before now when negative)."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="microseconds")


def hash_token(token: str) -> str:
    """Return the SHA-256 of a token: what the store keeps of it."""
    return hashlib.sha256(token.encode()).hexdigest()


def any_person(connection: sa.Connection) -> bool:
    """Tell whether somebody was added yet."""
    return connection.execute(sa.select(people.c.id).limit(1)).first() is not None


def all_people(connection: sa.Connection) -> list[Values]:
    """Return every person's row, by login name."""
    found = connection.execute(sa.select(people).order_by(people.c.name)).mappings()
    return [dict(row) for row in found]


def find(connection: sa.Connection, name: str) -> Values | None:
    """Return the row of a login name; None when there is none."""
    row = connection.execute(sa.select(people).where(people.c.name == name)).mappings().first()
    return None if row is None else dict(row)


def by_id(connection: sa.Connection, person: int) -> Values | None:
    """Return the row of a person; None when there is none."""
    row = connection.execute(sa.select(people).where(people.c.id == person)).mappings().first()
    return None if row is None else dict(row)


def is_taken(connection: sa.Connection, name: str) -> bool:
    """Tell whether a login name is in use; `Kim` and `kim` would be mistaken, so they are the same."""
    query = sa.select(people.c.id).where(sa.func.lower(people.c.name) == name.lower())
    return name.lower() == SYSTEM or connection.execute(query).first() is not None


def lock(connection: sa.Connection) -> None:
    """Let one change of people at a time look and write; a writer of SQLite is alone anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("LOCK TABLE people IN SHARE ROW EXCLUSIVE MODE"))


def add(
    connection: sa.Connection,
    name: str,
    display: str,
    role: Role,
    language: str,
    password: str,
    *,
    must_change: bool,
) -> int:
    """Add a person; `password` is a hash. Raises IntegrityError when the name is taken."""
    values = {
        "name": name,
        "display": display,
        "role": role.value,
        "language": language,
        "password": password,
        "active": True,
        "must_change": must_change,
        "options": {},
        "created_at": utc_now(),
    }
    query = sa.insert(people).returning(people.c.id)
    return int(connection.execute(query, values).scalar_one())


def change(connection: sa.Connection, person: int, **values: object) -> None:
    """Change columns of a person's row."""
    connection.execute(sa.update(people).where(people.c.id == person).values(**values))


def reset(connection: sa.Connection, row: Values, password: str, by: str) -> None:
    """Give a person a new password that they must change; sessions, PIN and wrong attempts are over.

    Args:
        connection: from `WebStore.write`.
        row: of the person.
        password: a hash.
        by: who does it, for the audit.
    """
    change(connection, row["id"], password=password, must_change=True, pin=None)
    end_sessions(connection, row["id"])
    note_sign_in(connection, row["name"], "", "reset")
    audit.append(connection, by, "password.reset", f"person:{row['name']}")


def administrators(connection: sa.Connection) -> int:
    """Return how many administrators may sign in."""
    query = sa.select(sa.func.count()).where(
        people.c.role == Role.ADMINISTRATOR.value, people.c.active.is_(True)
    )
    return int(connection.execute(query).scalar() or 0)


def start_session(
    connection: sa.Connection, person: int, terminal: str, seconds: float
) -> tuple[str, str]:
    """Start a session that ends after that many seconds; return its token and its CSRF token."""
    token, csrf, now = secrets.token_urlsafe(32), secrets.token_urlsafe(24), utc_now()
    connection.execute(
        sa.insert(sessions),
        {
            "token_sha256": hash_token(token),
            "person": person,
            "terminal": terminal,
            "csrf": csrf,
            "started_at": now,
            "seen_at": now,
            "ends_at": after(seconds),
        },
    )
    return token, csrf


def who_is(connection: sa.Connection, token: str, idle: float) -> Person | None:
    """Return who holds a token; None when it is unknown, ended, idle too long, or they may not sign in.

    Nor may it have begun later than now: with a clock that was ahead it would last as long too long.

    Args:
        connection: from `WebStore.read`.
        token: from the cookie.
        idle: seconds after which an unused session ends.
    """
    query = (
        sa.select(people, sessions)
        .join(sessions, sessions.c.person == people.c.id)
        .where(
            sessions.c.token_sha256 == hash_token(token),
            *_lasts(idle),
            people.c.active.is_(True),
        )
    )
    row = connection.execute(query).mappings().first()
    if row is None:
        return None
    return Person(
        id=int(row["id"]),
        name=row["name"],
        display=row["display"],
        role=Role(row["role"]),
        language=row["language"],
        must_change=bool(row["must_change"]),
        options=row["options"] or {},
        session=row["token_sha256"],
        csrf=row["csrf"],
        terminal=row["terminal"],
    )


def _lasts(idle: float) -> list[sa.ColumnElement[bool]]:
    """Return the conditions of a session that has not ended."""
    return [
        sessions.c.ends_at > utc_now(),
        sessions.c.seen_at > after(-idle),
        sessions.c.started_at <= after(AHEAD),
    ]


def note_seen(connection: sa.Connection, session: str) -> None:
    """Note that a session is in use; once a minute is enough."""
    connection.execute(
        sa.update(sessions).where(sessions.c.token_sha256 == session).values(seen_at=utc_now())
    )


def end_session(connection: sa.Connection, session: str) -> None:
    """End one session, given by the hash of its token."""
    connection.execute(sa.delete(sessions).where(sessions.c.token_sha256 == session))


def end_sessions(connection: sa.Connection, person: int, but: str = "") -> None:
    """End all sessions of a person, but for one."""
    connection.execute(
        sa.delete(sessions).where(sessions.c.person == person, sessions.c.token_sha256 != but)
    )


def sessions_of(connection: sa.Connection, person: int, idle: float) -> list[Values]:
    """Return the sessions of a person that have not ended, newest first; `csrf` is left out."""
    columns = [column for column in sessions.c if column.name != "csrf"]
    query = (
        sa.select(*columns)
        .where(
            sessions.c.person == person,
            *_lasts(idle),
        )
        .order_by(sessions.c.started_at.desc())
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def end_old_sessions(connection: sa.Connection) -> None:
    """Forget the sessions whose time is over."""
    connection.execute(sa.delete(sessions).where(sessions.c.ends_at <= utc_now()))


def note_sign_in(connection: sa.Connection, name: str, address: str, outcome: str) -> None:
    """Keep an attempt: `ok`, `wrong`, `pin_ok`, `pin_wrong`, or a `reset`; older ones than a week go."""
    connection.execute(
        sa.insert(sign_ins),
        {"name": name[:64], "address": address, "outcome": outcome, "at": utc_now()},
    )
    connection.execute(sa.delete(sign_ins).where(sign_ins.c.at < after(-7 * 86400)))


def wrong_since(
    connection: sa.Connection, seconds: float, *, name: str = "", address: str = ""
) -> int:
    """Return how many wrong passwords there were within that many seconds, none of them later than now.

    Args:
        connection: from `WebStore.read`.
        seconds: how far back.
        name: of this login name, since it was last right or reset.
        address: from this address. A right one does not clear it: whoever has an account could else
            try the others' passwords without end.
    """
    lately = (sign_ins.c.at > after(-seconds), sign_ins.c.at <= utc_now())
    query = sa.select(sa.func.count()).where(sign_ins.c.outcome == "wrong", *lately)
    if not name:
        query = query.where(sign_ins.c.address == address)
        return int(connection.execute(query).scalar() or 0)
    same = sign_ins.c.name == name[:64]
    right = sa.select(sa.func.max(sign_ins.c.id)).where(
        same, sign_ins.c.outcome.in_(("ok", "reset")), *lately
    )
    last = connection.execute(right).scalar() or 0
    return int(connection.execute(query.where(same, sign_ins.c.id > last)).scalar() or 0)
