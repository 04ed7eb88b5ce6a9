"""Control of a station, and what its holder asks of the line.

One person at a time holds the control of a station, for some minutes; everybody sees who. Only the holder
may ask. The line takes a command between parts and says what became of it: `inspection.store.commands`.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from inspection.errors import StoreError
from inspection.store.commands import RECIPE
from inspection.store.rows import Values, utc_now
from inspection.store.web import audit
from inspection.store.web.people import AHEAD, Person, after
from inspection.store.web.tables import commands, controls
from inspection.types import CommandState

HOLD = 300.0
"""Seconds after its last use when a control ends by itself."""


class ControlHeldError(StoreError):
    """Somebody else holds the control."""


class NoControlError(StoreError):
    """The person does not hold the control, or no longer."""


@dataclass(frozen=True, slots=True)
class Control:
    """Who holds a station.

    Attributes:
        who: login name.
        session: hash of the session's token, never shown.
        since: UTC label.
        until: UTC label; it ends then unless it is used.
    """

    who: str
    session: str
    since: str
    until: str


def holder(connection: sa.Connection, station: str) -> Control | None:
    """Return who holds the station now; None when nobody does."""
    return holders(connection).get(station)


def holders(connection: sa.Connection) -> dict[str, Control]:
    """Return station to holder; what has ended is left out, and what would last longer than a control may."""
    lasts = (controls.c.until_at > utc_now(), controls.c.until_at <= after(HOLD + AHEAD))
    query = sa.select(controls).where(*lasts)
    return {
        row["station"]: Control(row["who"], row["session"], row["since_at"], row["until_at"])
        for row in connection.execute(query).mappings()
    }


def take_control(
    connection: sa.Connection, station: str, person: Person, *, force: bool = False
) -> None:
    """Give the control to this session, or prolong it.

    Args:
        connection: from `WebStore.write`.
        station: of the control.
        person: who is signed in.
        force: take it from who holds it; the caller has checked that the person may.

    Raises:
        ControlHeldError: another session holds it and `force` is not set.
    """
    _lock(connection)
    held = holder(connection, station)
    mine = held is not None and held.session == person.session
    if held is not None and not mine and not force:
        raise ControlHeldError(f"{held.who} holds the control of {station}")
    if mine:
        _prolong(connection, station)
        return
    connection.execute(sa.delete(controls).where(controls.c.station == station))
    row: Values = {
        "station": station,
        "who": person.name,
        "session": person.session,
        "since_at": utc_now(),
        "until_at": after(HOLD),
    }
    connection.execute(sa.insert(controls), row)
    action = "control.taken" if held is None else "control.forced"
    before = {} if held is None else {"before": held.who}
    audit.append(connection, person.name, action, f"station:{station}", **before)


def give_back(connection: sa.Connection, station: str, person: Person) -> None:
    """End the control of this session. Raises NoControlError."""
    _check(connection, station, person)
    connection.execute(sa.delete(controls).where(controls.c.station == station))
    audit.append(connection, person.name, "control.given_back", f"station:{station}")


def ask_recipe(connection: sa.Connection, station: str, person: Person, number: int) -> int:
    """Ask the line for a recipe, between parts; return the command's id, and prolong the control.

    Raises:
        NoControlError: the session does not hold the control.
    """
    _check(connection, station, person)
    _prolong(connection, station)
    row: Values = {
        "station": station,
        "kind": RECIPE,
        "value": {"number": number},
        "who": person.name,
        "at": utc_now(),
        "state": CommandState.ASKED.value,
    }
    query = sa.insert(commands).returning(commands.c.id)
    command = int(connection.execute(query, row).scalar_one())
    audit.append(
        connection,
        person.name,
        "recipe.asked",
        f"station:{station}",
        number=number,
        command=command,
    )
    return command


def latest(connection: sa.Connection, station: str) -> Values | None:
    """Return the newest command of a station."""
    query = sa.select(commands).where(commands.c.station == station)
    row = connection.execute(query.order_by(commands.c.id.desc()).limit(1)).mappings().first()
    return None if row is None else dict(row)


def find(connection: sa.Connection, command: int) -> Values | None:
    """Return one command."""
    query = sa.select(commands).where(commands.c.id == command)
    row = connection.execute(query).mappings().first()
    return None if row is None else dict(row)


def _check(connection: sa.Connection, station: str, person: Person) -> None:
    _lock(connection)
    held = holder(connection, station)
    if held is None or held.session != person.session:
        raise NoControlError(f"take the control of {station} first")


def _prolong(connection: sa.Connection, station: str) -> None:
    connection.execute(
        sa.update(controls).where(controls.c.station == station).values(until_at=after(HOLD))
    )


def _lock(connection: sa.Connection) -> None:
    """Let one session at a time decide who holds what; a writer of SQLite is alone anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("LOCK TABLE controls IN EXCLUSIVE MODE"))
