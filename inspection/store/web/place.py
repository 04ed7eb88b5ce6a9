"""Place: which store this is, so that what was remembered of another one is forgotten.

A backup that was put in the place of a store has the same rows up to its time and gives the same ids again
to other rows. SQLite: another file. PostgreSQL: a dump that was restored makes another database or other
tables; a copy of the server's own files has the same numbers, but the server was started after it.
"""

from __future__ import annotations

import sqlalchemy as sa

Place = tuple[int, ...]
"""Of the SQLite file: device and number. On PostgreSQL: database, table, and when the server was started."""

_PLACE = (
    "SELECT oid::bigint, coalesce(to_regclass('parts')::oid::bigint, 0),"
    " (1000000 * extract(epoch FROM pg_postmaster_start_time()))::bigint"
    " FROM pg_database WHERE datname = current_database()"
)


def place_of(connection: sa.Connection, file: Place) -> Place:
    """Return where this store is.

    Args:
        connection: to it.
        file: `WebStore.file`, as it was before the store was opened.
    """
    if connection.dialect.name != "postgresql":
        return file
    return tuple(int(one) for one in connection.execute(sa.text(_PLACE)).one())
