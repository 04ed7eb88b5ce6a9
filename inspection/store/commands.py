"""Commands of signed-in engineers, as the line takes them. Each function runs in the caller's transaction.

    asked (page) ─▶ taken (record thread) ─▶ done | refused        asked for too long ─▶ expired

The row is data from outside: what is not a whole recipe number is refused here.
"""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

from inspection.store.rows import Values, utc_now
from inspection.store.web.tables import commands
from inspection.types import Command, CommandState

YOUNG = 30.0
"""Seconds, on the wall clock, for which a command is good."""
RECIPE = "recipe"
"""The only kind there is."""
_OPEN = (CommandState.ASKED.value, CommandState.TAKEN.value)


def take(connection: sa.Connection, station: str) -> Command | None:
    """Take the newest command that waits; see `protocols.Store.take_command`."""
    query = sa.select(commands).where(
        commands.c.station == station, commands.c.state == CommandState.ASKED.value
    )
    taken: Command | None = None
    for row in connection.execute(query.order_by(commands.c.id.desc())).mappings().all():
        number = _recipe_number(row["kind"], row["value"])
        if taken is not None:
            _set(connection, row["id"], CommandState.REFUSED, "replaced")
        elif _age(row["at"]) > YOUNG:
            _set(connection, row["id"], CommandState.EXPIRED, "too_old")
        elif number is None:
            _set(connection, row["id"], CommandState.REFUSED, "malformed")
        else:
            _set(connection, row["id"], CommandState.TAKEN, "")
            taken = Command(int(row["id"]), number, str(row["who"]))
    return taken


def finish(connection: sa.Connection, command: int, state: CommandState, detail: str) -> None:
    """Note what became of a command; see `protocols.Store.command_done`."""
    _set(connection, command, state, detail)


def close_open(connection: sa.Connection, station: str) -> None:
    """Refuse what a line process that is gone had taken."""
    connection.execute(
        sa.update(commands)
        .where(commands.c.station == station, commands.c.state == CommandState.TAKEN.value)
        .values(state=CommandState.REFUSED.value, answered_at=utc_now(), detail="restart")
    )


def _set(connection: sa.Connection, command: int, state: CommandState, detail: str) -> None:
    values: Values = {"state": state.value, "answered_at": utc_now(), "detail": detail[:500]}
    connection.execute(
        sa.update(commands)
        .where(commands.c.id == command, commands.c.state.in_(_OPEN))
        .values(values)
    )


def _recipe_number(kind: str, value: object) -> int | None:
    number = value.get("number") if isinstance(value, dict) else None
    good = kind == RECIPE and type(number) is int and 1 <= number <= 65535
    return number if good else None


def _age(at: str) -> float:
    """Return how far the label is from now, either way; clocks of two hosts may differ."""
    try:
        return abs((datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds())
    except (ValueError, TypeError):
        return float("inf")
