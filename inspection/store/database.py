"""Opening the database: settings that make a commit durable, checking, migrating, naming errors.

put_aside_if_corrupt ─▶ open_connection ─▶ migrate ─▶ one Connection, for one writer
"""

from __future__ import annotations

import json
import logging
import math
import os
import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import (
    CompileError,
    DataError,
    DBAPIError,
    IntegrityError,
    OperationalError,
    SQLAlchemyError,
    StatementError,
)
from sqlalchemy.pool import NullPool, QueuePool

from inspection.errors import StoreError
from inspection.store import tables
from inspection.store.before import keep_before
from inspection.store.config import StoreConfig
from inspection.store.disks import MIN_FREE
from inspection.store.plant.tables import is_plant
from inspection.store.silence import limit_silence, unhurried

CHECK_SECONDS = 20.0
"""A check of the whole file stops here; a larger file is then trusted until a page proves bad."""

LOG_PAGES = 8000
"""Pages of SQLite's log at which a commit itself moves them into the store; `guard` does so before."""

STATEMENT_LONGER = 4.0
"""Seconds by which PostgreSQL may take longer for a whole statement than for a lock."""

SILENT_LONGER = 5.0
"""Seconds without an answer, beyond the server's own limit, after which a connection is cut."""

_TOO_MUCH = "54"
"""Class of SQLSTATE: a limit of PostgreSQL's own, as for a text that is too long for its index."""
_READING_MS = 60_000
_LOOK_EVERY_MS = 3
_JOURNAL_SIZE_LIMIT = 64 << 20
_CORRUPT_CODES = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_SQLITE_SAYS = {
    sqlite3.SQLITE_BUSY: "it is locked by another process; close what writes to it",
    sqlite3.SQLITE_LOCKED: "it is locked by another process; close what writes to it",
    sqlite3.SQLITE_FULL: "the disk is full; free some space",
    sqlite3.SQLITE_READONLY: "it is read-only; check the disk and the rights of its folder",
    sqlite3.SQLITE_IOERR: "the disk gave an error; check the disk",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check that its folder exists and may be written",
    sqlite3.SQLITE_CORRUPT: "it is corrupt; it will be put aside and a new one made",
    sqlite3.SQLITE_NOTADB: "it is corrupt; it will be put aside and a new one made",
}
_logger = logging.getLogger(__name__)


dumps = json.JSONEncoder(allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode
"""JSON for the store: compact; NaN or infinity is an error, never a word no reader knows."""


def make_engine(
    config: StoreConfig,
    *,
    read_only: bool = False,
    first: bool = False,
    create: bool = True,
    keep: int = 0,
    idle: float = 0.0,
    silent: float | None = None,
) -> sa.Engine:
    """Return an engine whose connections are opened one by one and closed for good after use.

    Args:
        config: which store; `busy_timeout` is how long a transaction waits for another writer.
        read_only: nothing can be written.
        first: on SQLite, look for the right to write every two milliseconds, so that the gaps other writers
            leave are enough; without it, SQLite looks more and more rarely.
        create: a SQLite file that is not there is made; else connecting fails.
        keep: so many connections stay open for the next use; more are opened as they are needed.
        idle: seconds after which PostgreSQL ends a transaction in which nothing is asked; 0: never.
        silent: seconds without an answer of PostgreSQL after which a connection is cut; None: what the
            server's own limits allow, and `SILENT_LONGER` more.
    """
    if config.sqlite_path is not None:
        return _sqlite_engine(config, read_only=read_only, first=first, create=create, keep=keep)
    lock = int(config.busy_timeout * 1000)
    longest = lock + int(STATEMENT_LONGER * 1000)
    options = f"-c synchronous_commit=on -c lock_timeout={lock} -c statement_timeout={longest}"
    if read_only:
        longest = _READING_MS
        options = f"-c default_transaction_read_only=on -c statement_timeout={longest}"
    else:
        options += (
            " -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3"
            f" -c idle_in_transaction_session_timeout={int(idle * 1000)}"
        )
    arguments: dict[str, Any] = {
        "connect_timeout": 3,
        "options": options,
        "keepalives_idle": 3,
        "keepalives_interval": 1,
        "keepalives_count": 3,
        "tcp_user_timeout": 5000,
    }
    if keep:
        arguments["prepare_threshold"] = None  # a plan is for the values asked for, not for any
    engine = sa.create_engine(
        config.database_url, json_serializer=dumps, connect_args=arguments, **_pool(keep)
    )
    silent = longest / 1000 + SILENT_LONGER if silent is None else silent
    if silent != math.inf:
        limit_silence(engine, silent)
    return engine


def _pool(keep: int) -> dict[str, Any]:
    if not keep:
        return {"poolclass": NullPool}
    return {"poolclass": QueuePool, "pool_size": keep, "max_overflow": -1, "pool_pre_ping": True}


def _sqlite_engine(
    config: StoreConfig, *, read_only: bool, first: bool, create: bool, keep: int
) -> sa.Engine:
    path = config.sqlite_path
    if path is None:
        raise ValueError(config.url)
    query = {"mode": "ro" if read_only else "rwc" if create else "rw", "uri": "true"}
    if read_only and not os.access(path.parent, os.W_OK) and not _has_log(path):
        query["immutable"] = "1"  # a read-only disk: no one can be writing
    url = sa.URL.create("sqlite", database=path.absolute().as_uri(), query=query)
    arguments = {
        "timeout": config.busy_timeout,
        "check_same_thread": False,
        "isolation_level": None,
    }
    engine = sa.create_engine(url, json_serializer=dumps, connect_args=arguments, **_pool(keep))

    def configure(connection: sqlite3.Connection, _record: object) -> None:
        if read_only:
            connection.execute("PRAGMA query_only = ON")
            return
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA journal_size_limit = {_JOURNAL_SIZE_LIMIT}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
        connection.execute("PRAGMA trusted_schema = OFF")

    def begin(connection: sa.Connection) -> None:
        if first:
            _wait_for_turn(connection, config.busy_timeout)
        else:
            connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    event.listen(engine, "connect", configure)
    event.listen(engine, "begin", begin)
    return engine


def _wait_for_turn(connection: sa.Connection, timeout: float) -> None:
    """Begin a transaction that writes; raise as SQLite does when others write for `timeout` seconds."""
    driver = connection.connection.driver_connection
    if driver is None:
        raise ValueError("the connection is closed")
    driver.execute(f"PRAGMA busy_timeout = {_LOOK_EVERY_MS}")  # nothing else waits in a transaction
    end = time.monotonic() + timeout
    while True:
        try:
            driver.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:  # any but "busy" is never tried again here
            if not is_busy(error) or time.monotonic() >= end:
                raise OperationalError("BEGIN IMMEDIATE", None, error) from error
        else:
            return


def move_log(config: StoreConfig) -> None:
    """Move what SQLite's log holds into the store, as far as no reader needs it; nobody has to wait.

    Without this a commit of the line would do it, and a part would wait. Nothing to do on PostgreSQL.

    Raises:
        sqlite3.Error: the store cannot be opened, or the disk refuses.
    """
    path = config.sqlite_path
    if path is None or not path.exists():
        return  # what is gone is made anew by the line alone
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)
    try:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    finally:
        connection.close()


def _has_log(path: Path) -> bool:
    log = path.with_name(path.name + "-wal")
    return log.exists() and log.stat().st_size > 0


def store_error(error: Exception, config: StoreConfig, what: str) -> StoreError:
    """Return a StoreError that says what could not be done, to which store, why, and what to do."""
    where = sa.make_url(config.database_url).render_as_string(hide_password=True)
    original = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(original, "sqlite_errorcode", None)
    if isinstance(code, int) and (code & 0xFF) in _SQLITE_SAYS:
        return StoreError(f"{what}: store {where}: {_SQLITE_SAYS[code & 0xFF]} ({original})")
    text = " ".join(str(original).split())
    return StoreError(f"{what}: store {where}: {type(original).__name__}: {text}")


def is_corrupt(error: BaseException | None) -> bool:
    """Tell whether SQLite says the file itself is damaged."""
    while error is not None:
        original = error.orig if isinstance(error, DBAPIError) else error
        code = getattr(original, "sqlite_errorcode", None)
        if isinstance(code, int) and (code & 0xFF) in _CORRUPT_CODES:
            return True
        error = error.__cause__
    return False


def is_busy(error: BaseException) -> bool:
    """Tell whether another writer was in the way; the file itself is not in doubt."""
    original = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(original, "sqlite_errorcode", None)
    return isinstance(code, int) and (code & 0xFF) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def is_refused(error: BaseException) -> bool:
    """Tell whether the database refused the row itself: trying again cannot help."""
    if isinstance(error, DBAPIError):
        state = str(getattr(error.orig, "sqlstate", None) or "")
        return isinstance(error, IntegrityError | DataError) or state.startswith(_TOO_MUCH)
    return isinstance(
        error, StatementError | CompileError | ValueError | TypeError | LookupError | OverflowError
    )


def put_aside_if_corrupt(config: StoreConfig, *, thorough: bool = False) -> Path | None:
    """Check the SQLite file and rename it, with its log, when it is damaged.

    Args:
        config: which store.
        thorough: a damaged page was met already: read everything, indexes too.

    Returns:
        The new name of the damaged file, or None when the file is sound, absent, or on PostgreSQL.

    Raises:
        StoreError: the file could not be read or renamed now; it is left alone.
    """
    path = config.sqlite_path
    if path is None or not path.exists():
        return None
    finding = _check_file(path, config, thorough=thorough)
    if finding is None:
        return None
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    aside = path.with_name(f"{path.name}.corrupt.{stamp}")
    _logger.error("store %s is corrupt (%s); it is kept as %s", path, finding, aside.name)
    try:
        for suffix in ("-wal", "-shm"):
            log = path.with_name(path.name + suffix)
            if log.exists():
                log.rename(aside.with_name(aside.name + suffix))
        path.rename(aside)
    except OSError as error:
        raise StoreError(
            f"the corrupt store {path} cannot be renamed ({error}); rename it by hand"
        ) from error
    return aside


def _check_file(path: Path, config: StoreConfig, *, thorough: bool) -> str | None:
    stop = time.monotonic() + CHECK_SECONDS
    connection = None
    try:
        connection = sqlite3.connect(path, timeout=config.busy_timeout, isolation_level=None)
        connection.set_progress_handler(lambda: int(time.monotonic() > stop), 10_000)
        pragma = "integrity_check" if thorough else "quick_check"
        answer = str(connection.execute(f"PRAGMA {pragma}(1)").fetchone()[0])
    except sqlite3.Error as error:
        if is_corrupt(error):
            return str(error)
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
            return "a damaged page was met" if thorough else None
        raise store_error(error, config, "the store cannot be checked") from error
    else:
        return None if answer == "ok" else answer
    finally:
        if connection is not None:
            connection.close()


def open_connection(
    config: StoreConfig, *, first: bool = False, create: bool = True
) -> sa.Connection:
    """Connect for writing and bring the tables to the newest migration.

    Args:
        config: which store.
        first: as for `make_engine`; for the line.
        create: as for `make_engine`; the pages make none.

    Raises:
        StoreError: it cannot be opened, is newer than this program, or is not a results store.
    """
    path = config.sqlite_path
    if path is not None and create:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"the folder of store {path} cannot be made: {error}") from error
    connection = None
    try:
        connection = make_engine(config, first=first, create=create).connect()
        if path is not None:
            _use_log(connection, path)
        migrate(connection, config)
    except (SQLAlchemyError, sqlite3.Error, StoreError) as error:
        if connection is not None:
            discard(connection)
        if isinstance(error, StoreError):
            raise
        raise store_error(error, config, "the store cannot be opened") from error
    return connection


def _use_log(connection: sa.Connection, path: Path) -> None:
    """Turn the write-ahead log on; SQLite does not allow that inside a transaction."""
    driver = connection.connection.driver_connection
    mode = None if driver is None else driver.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StoreError(f"store {path} has no write-ahead log ({mode}); put it on a local disk")


def revision(connection: sa.Connection) -> str | None:
    """Return the migration the tables are at; None in an empty database.

    Raises:
        StoreError: there are tables, but no results store.
    """
    names = sa.inspect(connection).get_table_names()
    if "alembic_version" in names:
        value = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
        if value is not None:
            return str(value)
    if "parts" in names or (names and connection.dialect.name == "sqlite"):
        raise StoreError(
            f"the database holds other tables ({', '.join(names[:3])}); name a new file"
        )
    return None


def known_revisions() -> set[str]:
    """Return the migrations that this program knows: its own, and those of programs before it."""
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory.from_config(_alembic()).walk_revisions()}


def _alembic() -> Any:
    from alembic.config import Config

    alembic = Config()
    alembic.set_main_option(
        "script_location", str(Path(__file__).parent / "migrations").replace("%", "%%")
    )
    alembic.set_main_option("path_separator", "os")
    return alembic


def migrate(connection: sa.Connection, config: StoreConfig, *, plant: bool = False) -> None:
    """Bring the tables to the newest migration, whole or not at all; a SQLite file is copied before.

    Args:
        connection: for writing.
        config: which store.
        plant: a plant store may be brought up to date; else it must be so already.

    Raises:
        StoreError: the database is newer than this program or holds something else.
    """
    with connection.begin():
        found, in_plant = revision(connection), is_plant(connection)
    if found == tables.HEAD:
        return
    if not plant and in_plant:
        raise StoreError(
            f"the plant store is at migration {found}, this program needs {tables.HEAD}; "
            "run inspection plant init URL"
        )
    from alembic import command
    from alembic.util import CommandError

    if found is not None and found not in known_revisions():
        where = sa.make_url(config.database_url).render_as_string(hide_password=True)
        raise StoreError(
            f"store {where} is at migration {found}, this program knows up to {tables.HEAD}; "
            "update the program"
        )
    with unhurried(connection.engine), connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
            connection.execute(sa.text("SET LOCAL lock_timeout = '60s'"))
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(7310579)"))
        found = revision(connection)  # another process may have been first
        if found not in (None, tables.HEAD):
            keep_before(config, tables.HEAD)
        alembic = _alembic()
        alembic.attributes["connection"] = connection
        try:
            command.upgrade(alembic, "head")
        except CommandError as error:
            raise StoreError(
                f"the store's tables cannot be brought to {tables.HEAD}: {error}"
            ) from error


def check_disk(config: StoreConfig) -> None:
    """Raise StoreError when the SQLite file's disk is read-only or all but full."""
    path = config.sqlite_path
    if path is None:
        return
    try:
        volume = os.statvfs(path.parent)
    except OSError as error:
        raise StoreError(f"the folder of store {path} cannot be read: {error}") from error
    if volume.f_flag & os.ST_RDONLY:
        raise StoreError(f"the disk of store {path} is read-only; check the disk, then remount it")
    if volume.f_bavail * volume.f_frsize < MIN_FREE:
        raise StoreError(f"the disk of store {path} is full; free some space")


def check_writable(connection: sa.Connection) -> None:
    """Raise when a transaction that writes cannot begin; on SQLite it has begun already."""
    if connection.dialect.name == "postgresql":
        if connection.execute(sa.text("SHOW transaction_read_only")).scalar() != "off":
            raise StoreError("the PostgreSQL server takes no writes (a standby?); check the server")
    else:
        connection.execute(sa.text("SELECT id FROM parts LIMIT 1"))


def discard(connection: sa.Connection) -> None:
    """Close a connection that must not be used again; errors while closing say nothing new."""
    try:
        connection.invalidate()
        connection.close()
    except (SQLAlchemyError, sqlite3.Error):
        _logger.debug("closing a failed connection failed too", exc_info=True)
    connection.engine.dispose()
