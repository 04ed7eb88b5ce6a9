"""WebStore: short transactions of the pages, beside the line that writes to the same store; never makes one.

A read never stays open (SQLite's log would grow); some idle connections do, for the next one. On SQLite one
thread of the process writes at a time, and the lock is left alone for `GAP` after each transaction: the line
looks every two milliseconds, so it waits for one transaction of the pages at most, however many are to be
written.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from inspection.errors import StoreError
from inspection.store.config import StoreConfig
from inspection.store.database import (
    discard,
    make_engine,
    move_log,
    open_connection,
    store_error,
)
from inspection.store.plant.tables import is_plant
from inspection.store.queries import VersionConflictError

__all__ = ["VersionConflictError", "WebStore"]

WAIT = 3.0
"""Seconds a page waits for its turn to write before it says NOT SAVED."""


GAP = 0.005
"""Seconds for which this process leaves SQLite's lock to others after it had it."""

REST = 3.0
"""So many times as long as it took, nothing more that is derived is written: on a busy machine the line needs
longer than `GAP` to wake."""

KEPT = 4
"""Connections for reading that stay open: opening one costs more than most questions, most on PostgreSQL."""


class WebStore:
    """The store as pages use it. Safe in several threads and processes.

    Attributes:
        is_plant: it is a plant store: parts and verdicts come from stations, and are only read here.
    """

    def __init__(self, config: StoreConfig) -> None:
        """Open once for writing, which brings the tables to the newest migration.

        Raises:
            StoreError: there is no store, it cannot be opened, or it is newer than this program.
        """
        path = config.sqlite_path
        if path is not None and not path.is_file():
            raise StoreError(f"there is no store at {path}; check the path, or start the line once")
        self.config = config.model_copy(update={"busy_timeout": WAIT})
        opened = open_connection(self.config, create=False)
        self.is_plant = is_plant(opened)
        discard(opened)
        self._reading = make_engine(self.config, read_only=True, keep=KEPT)
        self._writing = make_engine(self.config, create=False, keep=int(path is not None))
        self._opened = self._files()
        self._turn = threading.Lock()
        self._left = self._quiet_until = 0.0
        self._rest = threading.Event()
        self._kept: sa.Connection | None = None
        self._kept_file = (0, 0)
        self._keep_log()

    def close(self) -> None:
        """Release everything. May be called twice."""
        self._reading.dispose()
        self._writing.dispose()
        if self._kept is not None:
            discard(self._kept)
            self._kept = None
            with suppress(sqlite3.Error):
                move_log(self.config)  # who copies the file alone has everything

    @contextmanager
    def read(self, what: str) -> Generator[sa.Connection]:
        """Give a connection for one short read; `what` is said when it fails. Raises StoreError."""
        self._let_go()
        try:
            with self._reading.connect() as connection, connection.begin():
                yield connection
        except SQLAlchemyError as error:
            raise store_error(error, self.config, what) from error

    @contextmanager
    def write(self, what: str, *, derived: bool = False) -> Generator[sa.Connection]:
        """Give a connection for one transaction; it is durable when the block has ended.

        Args:
            what: said when it fails.
            derived: what is written can be made again from what is there, and its mark is in the same
                transaction. It survives a kill, but may be undone by a power cut: the lock is not held while
                the disk is busy.

        Raises:
            StoreError: nothing of the block was written, or nobody can know (a broken disk or server).
        """
        if derived:
            self._rest.wait(max(0.0, min(self._quiet_until - time.monotonic(), WAIT)))
        with self._take_turn(what):
            connection, started = None, time.monotonic()
            try:
                self._keep_log()
                files = self._let_go()
                connection = self._writing.connect()
                driver = connection.connection.driver_connection
                if isinstance(driver, sqlite3.Connection):  # set each time: it was used before
                    driver.execute(f"PRAGMA synchronous = {'NORMAL' if derived else 'FULL'}")
                with connection.begin():
                    if derived and connection.dialect.name == "postgresql":
                        connection.execute(sa.text("SET LOCAL synchronous_commit = off"))
                    if files[1] == (0, 0):  # the log was made with this connection
                        files = files[0], self._files()[1]
                    yield connection
                if files != self._files():
                    connection.invalidate()
                    raise StoreError(
                        f"{what}: the store was replaced meanwhile; look, and try again"
                    )
            except SQLAlchemyError as error:
                if connection is not None:
                    connection.invalidate()  # nobody knows what is left of it
                raise store_error(error, self.config, what) from error
            finally:
                if connection is not None:
                    connection.close()
                if derived:
                    took = time.monotonic() - started
                    self._quiet_until = started + took + REST * took

    def _keep_log(self) -> None:
        """Hold one idle connection to the SQLite file that is there now.

        When the last connection closes, SQLite moves its log into the store and deletes it: some tens of
        milliseconds after every transaction where no line runs. An idle connection reads nothing and hinders
        nobody; it goes with the file when that is put aside. The log is moved by `Counting` instead.
        """
        file = self._files()[0]
        if file in ((0, 0), self._kept_file):
            return  # where there is none, who asks is told by their own connection
        if self._kept is not None:
            discard(self._kept)
        try:
            self._kept = make_engine(self.config, read_only=True).connect()
            self._kept.exec_driver_sql("SELECT count(*) FROM sqlite_schema")
            self._kept.rollback()
        except SQLAlchemyError:
            return  # slower, and tried again
        self._kept_file = file

    @property
    def file(self) -> tuple[int, int]:
        """Which SQLite file is there now; another one after the store was put aside or restored."""
        return self._files()[0]

    def _let_go(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Close the connections to a SQLite file that was put aside or restored: nobody uses the old one.

        Its log counts, too: what is written into one that was deleted is lost. Returns what is there: whoever
        writes now and finds something else there when it is done has written into a file that is gone.
        """
        files = self._files()
        if files != self._opened:
            self._reading.dispose()
            self._writing.dispose()
            self._opened = files
        return files

    def _files(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return which SQLite file and which log are there now; zeros without, and on PostgreSQL."""
        path = self.config.sqlite_path
        if path is None:
            return (0, 0), (0, 0)
        return _which(path), _which(path.with_name(path.name + "-wal"))

    @contextmanager
    def _take_turn(self, what: str) -> Generator[None]:
        """Let the threads of this process write one after the other, with a gap for other processes."""
        if self.config.sqlite_path is None:
            yield
            return
        if not self._turn.acquire(timeout=WAIT):
            raise StoreError(f"{what}: other pages are being saved; try again")
        try:
            early = self._left + GAP - time.monotonic()
            if early > 0:
                self._rest.wait(early)
            yield
        finally:
            self._left = time.monotonic()
            self._turn.release()


def _which(path: Path) -> tuple[int, int]:
    """Return device and number of a file; zeros without one."""
    try:
        state = path.stat()
    except OSError:
        return (0, 0)
    return state.st_dev, state.st_ino
