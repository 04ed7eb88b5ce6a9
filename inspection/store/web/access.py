"""WebStore: short transactions of the pages, beside the line that writes to the same store.

A reader never stays open (SQLite's log would grow), a writer holds the lock for some milliseconds and
waits its turn: the line goes first.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from inspection.errors import StoreError
from inspection.store.config import StoreConfig
from inspection.store.database import discard, make_engine, open_connection, store_error
from inspection.store.queries import VersionConflictError

__all__ = ["VersionConflictError", "WebStore"]

WAIT = 3.0
"""Seconds a page waits for its turn to write before it says NOT SAVED."""


class WebStore:
    """The store as pages use it. Safe in several threads and processes."""

    def __init__(self, config: StoreConfig) -> None:
        """Open once for writing, which brings the tables to the newest migration.

        Raises:
            StoreError: there is no store, it cannot be opened, or it is newer than this program.
        """
        path = config.sqlite_path
        if path is not None and not path.is_file():
            raise StoreError(f"there is no store at {path}; check the path, or start the line once")
        self.config = config.model_copy(update={"busy_timeout": WAIT})
        discard(open_connection(self.config))
        self._reading = make_engine(self.config, read_only=True)
        self._writing = make_engine(self.config)

    def close(self) -> None:
        """Release everything. May be called twice."""
        self._reading.dispose()
        self._writing.dispose()

    @contextmanager
    def read(self, what: str) -> Generator[sa.Connection]:
        """Give a connection for one short read; `what` is said when it fails. Raises StoreError."""
        try:
            with self._reading.connect() as connection, connection.begin():
                yield connection
        except SQLAlchemyError as error:
            raise store_error(error, self.config, what) from error

    @contextmanager
    def write(self, what: str) -> Generator[sa.Connection]:
        """Give a connection for one transaction; it is durable when the block has ended.

        Raises:
            StoreError: nothing of the block was written, or nobody can know (a broken disk or server).
        """
        connection = None
        try:
            connection = self._writing.connect()
            with connection.begin():
                yield connection
        except SQLAlchemyError as error:
            raise store_error(error, self.config, what) from error
        finally:
            if connection is not None:
                connection.close()
