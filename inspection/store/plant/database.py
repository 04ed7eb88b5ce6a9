"""Making and opening a plant store.

init ─▶ the migrations of a station ─▶ the plant's own ─▶ partitions of this month and the next
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from inspection.errors import StoreError
from inspection.store import tables
from inspection.store.config import StoreConfig
from inspection.store.database import (
    SILENT_LONGER,
    STATEMENT_LONGER,
    discard,
    make_engine,
    migrate,
    revision,
    store_error,
)
from inspection.store.plant.tables import HEAD, VERSION_TABLE, is_plant
from inspection.store.silence import silence_of

_PATIENCE = 10.0
"""Seconds to wait for a lock of the plant: others write there, too."""
SILENT = _PATIENCE + STATEMENT_LONGER + SILENT_LONGER
"""Seconds without an answer after which a connection is cut: the server ends each statement before."""
FOREVER = math.inf
"""For what may take as long as it likes."""
_IDLE = 60.0
"""Seconds after which the server ends a transaction of somebody who is gone: it holds the station's mark."""


def plant_config(url: str) -> StoreConfig:
    """Return how the database at this address is opened.

    Raises:
        StoreError: it is no address of a PostgreSQL database.
    """
    try:
        config = StoreConfig.model_validate({"url": url, "busy_timeout": _PATIENCE})
    except ValueError as error:
        raise StoreError(f"{url} is no address of a database: {error}") from error
    if config.sqlite_path is not None:
        raise StoreError(
            "a plant store is a PostgreSQL database; give postgresql+psycopg://USER@HOST/DATABASE"
        )
    return config


def init(config: StoreConfig) -> bool:
    """Make a plant store in an empty database, or bring one of an older program up to date.

    Whole or not at all: a kill in between leaves an empty store that the next call completes.

    Returns:
        It was made now.

    Raises:
        StoreError: the database cannot be used, or holds the results of a station, or something else.
    """
    with transaction(config, "making a plant store") as connection:
        fresh = not is_plant(connection)
        if fresh and _holds_results(connection):
            raise StoreError("the database holds the results of a station; name an empty one")
    connection = None
    try:
        connection = make_engine(config, silent=FOREVER).connect()
        migrate(connection, config, plant=True)
        _migrate_plant(connection)
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise store_error(error, config, "making a plant store") from error
    finally:
        if connection is not None:
            discard(connection)
    return fresh


def _holds_results(connection: sa.Connection) -> bool:
    """Tell whether a station wrote here; what a killed `init` left is empty."""
    if revision(connection) is None:
        return False
    tables = ("epochs", "parts", "people", "audit")
    return any(connection.execute(sa.text(f"SELECT 1 FROM {t} LIMIT 1")).first() for t in tables)  # noqa: S608  constants


def _migrate_plant(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config

    alembic = Config()
    alembic.set_main_option(
        "script_location", str(Path(__file__).parent / "migrations").replace("%", "%%")
    )
    alembic.set_main_option("path_separator", "os")
    with connection.begin():
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(7310580)"))
        alembic.attributes["connection"] = connection
        command.upgrade(alembic, "head")


class PlantError(StoreError):
    """The plant cannot be used, or takes nothing from this station now; nothing was written."""


@contextmanager
def transaction(
    config: StoreConfig, what: str, *, silent: float | None = None
) -> Generator[sa.Connection]:
    """Give a new connection for one transaction; durable when the block has ended. Raises PlantError.

    `silent` is as for `Plant`.
    """
    plant = Plant(config, silent=silent)
    try:
        with plant.transaction(what) as connection:
            yield connection
    finally:
        plant.close()


class Plant:
    """A way to a plant store that keeps its connection. Used by one thread; useless after an error."""

    def __init__(self, config: StoreConfig, *, silent: float | None = None) -> None:
        """Nothing is opened yet.

        Args:
            config: which plant.
            silent: seconds without an answer after which the connection is cut; None: `SILENT`.
        """
        self._config = config
        silent = SILENT if silent is None else silent
        self._engine = make_engine(config, keep=1, idle=_IDLE, silent=silent)

    @contextmanager
    def transaction(self, what: str) -> Generator[sa.Connection]:
        """Give a connection for one transaction; durable when the block has ended.

        Raises:
            PlantError: `what` was not done, or nobody can know (the link was cut while it was committed, or
                the server was silent).
        """
        silence = silence_of(self._engine)
        before = silence.cuts if silence else 0
        try:
            with self._engine.connect() as connection, connection.begin():
                yield connection
        except SQLAlchemyError as error:
            said = str(store_error(error, self._config, what))
            if silence is not None and silence.cuts > before:
                said += " (the server held the connection and did not answer: it was cut)"
            raise PlantError(said) from error

    def close(self) -> None:
        """Release everything; may be called twice."""
        self._engine.dispose()


def check(connection: sa.Connection) -> None:
    """Raise PlantError when this is no plant store of this program's version."""
    if not is_plant(connection):
        raise PlantError("the database is no plant store; run inspection plant init URL once")
    found = connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608  constant
    if found != HEAD:
        raise PlantError(
            f"the plant store is at migration {found}, this program knows {HEAD}; "
            "run inspection plant init URL with the newest program"
        )
    found = revision(connection)
    if str(found) < tables.HEAD:
        raise PlantError(
            f"the plant store has the columns of migration {found}, this program writes those of "
            f"{tables.HEAD}; run inspection plant init URL with this program"
        )
