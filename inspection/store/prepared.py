"""Statements of the line, compiled once: what a part waits for is the database, not the making of its SQL.

    statement, names of its values ─▶ the dialect's SQL, kept ─▶ the values in its order ─▶ driver

SQLAlchemy keeps what it compiled, too, but looks for it by a key of the whole statement, and makes a
result for each answer. With cold caches, as a part finds them, that takes half as long as SQLite's own work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from inspection.store.database import dumps

Values = Mapping[str, Any]


class Prepared:
    """An INSERT or UPDATE of one table, for values that differ from call to call. Any thread may use it."""

    def __init__(self, statement: Any, table: sa.Table) -> None:
        """Compile nothing yet.

        Args:
            statement: not changed any more; each value is a column of the table, or a `bindparam` of it.
            table: its columns of JSON are written by `database.dumps`; every other value as it is.
        """
        self._statement = statement
        self._json = tuple(one.name for one in table.c if isinstance(one.type, sa.JSON))
        self._known: dict[tuple[str, ...], tuple[str, Values, Callable[[Values], Any]]] = {}

    def returned(self, connection: sa.Connection, values: Values) -> Any:
        """Run it, and return the one value that it returns; None where it changed no row.

        Args:
            connection: inside the caller's transaction.
            values: what to write, and the `bindparam`s; plain values, None for NULL.

        Raises:
            SQLAlchemyError: what `Connection.execute` raises for the driver's error.
            ValueError: a column of JSON holds a number that is not finite.
        """
        row = self._run(connection, values, lambda cursor: cursor.fetchall())
        return row[0][0] if row else None

    def changed(self, connection: sa.Connection, values: Values) -> int:
        """Run it, and return how many rows it changed. Otherwise as `returned`."""
        return int(self._run(connection, values, lambda cursor: cursor.rowcount))

    def _run(self, connection: sa.Connection, values: Values, answer: Callable[[Any], Any]) -> Any:
        dialect, driver = connection.dialect, connection.connection.driver_connection
        if driver is None:
            raise ValueError("the connection is closed")
        names = (dialect.name, *values)
        sql, fixed, arrange = self._known.get(names) or self._compile(names, dialect, values)
        given = {**fixed, **values}
        for name in self._json:
            if given.get(name) is not None:
                given[name] = dumps(given[name])
        cursor = driver.cursor()
        try:  # by way of the dialect: there a server's silence is limited
            dialect.do_execute(cursor, sql, arrange(given))
            return answer(cursor)
        except dialect.loaded_dbapi.Error as error:
            raise DBAPIError.instance(
                sql, None, error, dialect.loaded_dbapi.Error, dialect=dialect
            ) from error
        finally:
            cursor.close()

    def _compile(
        self, names: tuple[str, ...], dialect: sa.Dialect, values: Values
    ) -> tuple[str, Values, Callable[[Values], Any]]:
        """Return the SQL, the values that the statement itself holds, and what puts all in their order."""
        compiled = self._statement.compile(dialect=dialect, column_keys=list(values))
        fixed = {name: value for name, value in compiled.params.items() if value is not None}
        order = list(compiled.positiontup) if compiled.positional else None
        arrange = dict if order is None else lambda given: [given[name] for name in order]
        self._known[names] = known = compiled.string, fixed, arrange
        return known
