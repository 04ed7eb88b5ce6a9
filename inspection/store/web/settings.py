"""Settings that people change on the pages: a name, a plain value, who and when; every change is audited."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from inspection.store.rows import utc_now
from inspection.store.web import audit
from inspection.store.web.tables import settings


def read(connection: sa.Connection, name: str, default: Any) -> Any:
    """Return a setting's value; `default` when nobody set it."""
    row = connection.execute(sa.select(settings.c.value).where(settings.c.name == name)).first()
    return default if row is None else row.value


def read_some(connection: sa.Connection, defaults: dict[str, Any]) -> dict[str, Any]:
    """Return the values of several settings by name, as `read`, in one question."""
    query = sa.select(settings.c.name, settings.c.value).where(settings.c.name.in_(list(defaults)))
    return defaults | {row.name: row.value for row in connection.execute(query)}


def change(
    connection: sa.Connection, name: str, value: Any, who: str, *, told: bool = True
) -> None:
    """Set a value in the caller's transaction.

    Args:
        connection: from `WebStore.write`.
        name: as `review.pass_share`.
        value: a plain value, never None.
        who: login name.
        told: keep the value in the audit; False for what must stay unknown.
    """
    row = {"value": value, "who": who, "at": utc_now()}
    found = connection.execute(sa.update(settings).where(settings.c.name == name).values(row))
    if not found.rowcount:
        connection.execute(sa.insert(settings), {"name": name, **row})
    detail = {"value": value} if told else {}
    audit.append(connection, who, "setting.changed", f"setting:{name}", **detail)
