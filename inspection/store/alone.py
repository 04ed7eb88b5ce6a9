"""The lock of a station's line process, for who must be sure that no line runs: two must not write STAT."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

from sqlalchemy.exc import SQLAlchemyError

from inspection.store.config import StoreConfig
from inspection.store.database import make_engine, store_error
from inspection.store.lock import FileLock, lock_on_server


@contextlib.contextmanager
def no_line_runs(config: StoreConfig, station: str) -> Generator[None]:
    """Hold the lock that the line process of this station holds; nothing in the store is changed.

    Raises:
        StoreError: a line process of this station runs, or it cannot be told.
    """
    path = config.sqlite_path
    if path is not None:
        lock = FileLock(path, station)
        try:
            yield
        finally:
            lock.close()
        return
    engine = make_engine(config)
    try:
        connection = engine.connect()
    except SQLAlchemyError as error:
        raise store_error(error, config, f"locking station {station}") from error
    try:
        try:
            lock_on_server(connection, station)
        except SQLAlchemyError as error:
            raise store_error(error, config, f"locking station {station}") from error
        yield
    finally:
        connection.close()
        engine.dispose()
