"""The connection that the line writes through: one transaction for one call.

    call ─▶ one transaction ─▶ is the file still ours? ─▶ return
                 │ fails                │ no
                 ▼                      ▼
          connection thrown away, StoreError, until `open` has made a new one

After an error the old connection is never used again: a disk that failed once may report success
for data it lost.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from inspection.errors import StoreError
from inspection.store import database
from inspection.store.config import StoreConfig
from inspection.store.plant.tables import is_plant

_T = TypeVar("_T")


class RefusedError(StoreError):
    """The database refuses this row for what it says; trying again cannot help."""


class Transactions:
    """Writes for one thread at a time; closed until `open`."""

    def __init__(self, config: StoreConfig) -> None:
        self._config = config
        self._connection: sa.Connection | None = None
        path = config.sqlite_path
        self._files = [] if path is None else [str(path), f"{path}-wal"]
        self._identity: list[tuple[int, int]] = []
        self._check = True
        self._met_damage = False

    @property
    def connection(self) -> sa.Connection | None:
        """The open connection; None after an error."""
        return self._connection

    def put_aside_if_corrupt(self) -> str | None:
        """Look at the file, where something gave reason to, and put it aside when it is corrupt.

        Returns:
            The name that it is kept under; None: it was not looked at, or it is whole.

        Raises:
            StoreError: it cannot be looked at or put aside.
        """
        if not self._check:
            return None
        aside = database.put_aside_if_corrupt(self._config, thorough=self._met_damage)
        self._check = self._met_damage = False
        return None if aside is None else aside.name

    def open(self) -> None:
        """Open a new connection, before every other writer, and bring the tables to the newest form.

        Raises:
            StoreError: the database cannot be opened.
        """
        try:
            connection = database.open_connection(self._config, first=True)
        except StoreError as error:
            self._met_damage = database.is_corrupt(error)
            self._check |= self._met_damage
            raise
        _refuse_plant(connection, self._config)
        self._connection = connection
        self._identity = self._file_identity()

    def transact(self, what: str, apply: Callable[[sa.Connection], _T]) -> _T:
        """Apply in one transaction; it is durable on return.

        Raises:
            RefusedError: the database refuses what the row says; the connection stays.
            StoreError: not durable, and the connection is thrown away; or `apply` raised it itself, then
                nothing is written and the connection stays.
        """
        connection = self._connection
        if connection is None:
            raise StoreError(f"{what}: the store is closed after an error; recover it first")
        try:
            with connection.begin():
                answer = apply(connection)
        except StoreError:
            raise
        except Exception as error:
            said = database.store_error(error, self._config, what)
            if database.is_refused(error):
                raise RefusedError(str(said)) from error
            self._met_damage |= database.is_corrupt(error)
            self._check |= not database.is_busy(error)
            self.drop()
            raise said from error
        if self._identity != self._file_identity():
            self.drop()
            raise StoreError(
                f"{what}: store {self._config.sqlite_path} or its log was deleted or replaced; recover it"
            )
        return answer

    def drop(self) -> None:
        """Throw the connection away."""
        connection, self._connection = self._connection, None
        if connection is not None:
            database.discard(connection)

    def _file_identity(self) -> list[tuple[int, int]]:
        """Return which files lie where the database and its log should; empty on PostgreSQL."""
        try:
            found = [os.stat(file) for file in self._files]
        except OSError:
            return []
        return [(one.st_dev, one.st_ino) for one in found]


def _refuse_plant(connection: sa.Connection, config: StoreConfig) -> None:
    """Close the connection and raise StoreError where it leads to a plant store."""
    if connection.dialect.name != "postgresql":
        return
    try:
        with connection.begin():
            found = is_plant(connection)
    except SQLAlchemyError as error:
        database.discard(connection)
        raise database.store_error(error, config, "the store cannot be opened") from error
    if found:
        database.discard(connection)
        raise StoreError(
            "the database is a plant store, and no line writes to one; give the station a store of its own, "
            "and the plant's address under `upward`"
        )
