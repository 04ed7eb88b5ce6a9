"""Up to which row a table is final, the outbox or the alarms: nothing can appear below it any more.

PostgreSQL gives ids before it commits: a row with a lower id may become visible after a higher one. SQLite
has one writer at a time, so everything that is there is final.
"""

from __future__ import annotations

import sqlalchemy as sa

from inspection.store.tables import outbox

_WRITING = (
    "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND granted"
    " AND mode = 'RowExclusiveLock' AND relation = CAST(:name AS regclass)"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
"""Transactions that have written the table and are not visible yet, and maybe others."""


def see_each_commit(connection: sa.Connection) -> None:
    """Let each statement of this transaction see what is there by then; it must be the first one."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL READ COMMITTED"))


def newest(connection: sa.Connection, table: sa.Table = outbox) -> int:
    """Return the highest id that is visible; 0 without one."""
    query = sa.select(sa.func.coalesce(sa.func.max(table.c.id), 0))
    return int(connection.execute(query).scalar_one())


class Final:
    """What is known to be final in one place, from look to look. Used by one thread at a time."""

    def __init__(self, table: sa.Table = outbox) -> None:
        """Look at this table; its `id` is given by the database."""
        self._table = table
        self._settled = 0
        self._seen: tuple[int, set[str]] | None = None

    def up_to(self, connection: sa.Connection) -> int:
        """Return the row of the table up to which no other can appear any more.

        Whoever inserts locks the table before taking an id, and keeps the lock until the row is visible: so
        whoever can still write below the highest id holds that lock after it was seen. When all of those have
        ended, none is left. Rows up to there are visible to whoever begins to read after this; in the same
        transaction only when it is one of `see_each_commit`.
        """
        top = newest(connection, self._table)
        if connection.dialect.name != "postgresql":
            return top
        named = {"name": self._table.name}
        writing = set(connection.execute(sa.text(_WRITING), named).scalars())  # only after `newest`
        if not writing:
            self._settled, self._seen = top, None
        elif self._seen is not None and not self._seen[1] & writing:
            self._settled, self._seen = self._seen[0], None
        if self._seen is None:
            self._seen = top, writing
        return self._settled
