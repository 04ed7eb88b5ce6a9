"""Connections that pages keep: not to a store that is gone, not less durable, and there after a restart."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from postgres_server import NoServerError, PostgresServer
from sqlalchemy.exc import IntegrityError
from store_samples import store_config

from inspection.errors import StoreError
from inspection.store.config import StoreConfig
from inspection.store.sql import SqlStore
from inspection.store.tables import epochs
from inspection.store.web import settings
from inspection.store.web.access import WebStore
from inspection.store.web.tables import marks


@pytest.fixture
def store(config: StoreConfig) -> Iterator[WebStore]:
    SqlStore(config).close()
    found = WebStore(config)
    yield found
    found.close()


def durable(connection: sa.Connection) -> str:
    lite = connection.dialect.name == "sqlite"
    asked = "PRAGMA synchronous" if lite else "SHOW synchronous_commit"
    return str(connection.exec_driver_sql(asked).scalar())


def test_what_is_derived_makes_nothing_else_less_durable(store: WebStore) -> None:
    told: list[str] = []
    for derived in (False, True, False, True, True, False):
        with store.write("a test", derived=derived) as connection:
            told.append(durable(connection))
    full, normal = ("2", "1") if told[0] == "2" else ("on", "off")
    assert told == [full, normal, full, normal, normal, full]


def test_a_transaction_that_failed_leaves_nothing_to_the_next(store: WebStore) -> None:
    row = {"name": "twice", "value": "1"}
    with store.write("a test") as connection:
        connection.execute(sa.insert(marks), row)

    def fails(error: type[Exception]) -> None:
        with store.write("a test") as connection:
            connection.execute(sa.insert(marks), {"name": error.__name__, "value": "1"})
            if error is ZeroDivisionError:
                raise error
            connection.execute(sa.insert(marks), row)

    for error in (IntegrityError, ZeroDivisionError):
        with pytest.raises((StoreError, ZeroDivisionError)):
            fails(error)
    with store.write("a test") as connection:
        connection.execute(sa.insert(marks), {"name": "after", "value": "1"})
    with store.read("a test") as connection:
        found = set(connection.execute(sa.select(marks.c.name)).scalars())
    assert {"twice", "after"} <= found
    assert not {"IntegrityError", "ZeroDivisionError"} & found


def test_readers_write_nothing(store: WebStore) -> None:
    for _ in range(3):
        with pytest.raises(StoreError), store.read("a test") as connection:
            connection.execute(sa.insert(marks), {"name": "read", "value": "1"})


def test_readers_side_by_side_do_not_wait_for_each_other(store: WebStore) -> None:
    """More than are kept; all of them are inside at the same time."""
    number = 9
    inside = threading.Barrier(number, timeout=30)

    def look() -> None:
        with store.read("a test") as connection:
            connection.execute(sa.select(marks.c.name)).all()
            inside.wait()

    threads = [threading.Thread(target=look) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not inside.broken


def test_settings_are_read_together_as_one_by_one(store: WebStore) -> None:
    with store.write("a test") as connection:
        settings.change(connection, "a", [1, "한글"], "kim")
        settings.change(connection, "b", 0, "kim")
    defaults = {"a": None, "b": 5, "c": {"x": 1}}
    with store.read("a test") as connection:
        found = settings.read_some(connection, defaults)
        assert found == {name: settings.read(connection, name, v) for name, v in defaults.items()}
    assert found == {"a": [1, "한글"], "b": 0, "c": {"x": 1}}


def test_a_store_that_was_put_aside_is_let_go_of(tmp_path: Path) -> None:
    config = store_config(tmp_path)
    SqlStore(config).close()
    store = WebStore(config)
    with store.write("a test") as connection:
        settings.change(connection, "old", 1, "kim")
    with store.read("a test") as connection:
        assert settings.read(connection, "old", None) == 1
    for file in list(tmp_path.glob("results.db*")):
        file.rename(file.with_name(file.name.replace("results", "aside")))
    for _ in range(2):
        with pytest.raises(StoreError), store.read("a test"):
            raise AssertionError("it read what is gone")
    SqlStore(config).close()
    with store.read("a test") as connection:
        assert settings.read(connection, "old", None) is None
    with store.write("a test") as connection:
        settings.change(connection, "new", 1, "kim")
    with store.read("a test") as connection:
        assert settings.read(connection, "new", None) == 1
    store.close()
    aside = WebStore(store_config(tmp_path, url=str(tmp_path / "aside.db")))
    with aside.read("a test") as connection:
        assert settings.read(connection, "old", None) == 1
        assert settings.read(connection, "new", None) is None
    aside.close()


def test_a_store_that_the_line_made_anew_is_left_whole(tmp_path: Path) -> None:
    """Pages that still have the old one open meet the new one with its log: they take nothing from it."""
    config = store_config(tmp_path)
    SqlStore(config).close()
    store = WebStore(config)
    with store.write("a test") as connection:
        settings.change(connection, "old", 1, "kim")
    with store.read("a test") as connection:
        assert settings.read(connection, "old", None) == 1
    for file in list(tmp_path.glob("results.db*")):
        file.rename(file.with_name(file.name.replace("results", "aside")))
    line = SqlStore(config)
    log = tmp_path / "results.db-wal"
    epoch = line.begin_epoch("st1", "start")
    before = log.stat().st_ino
    with store.write("a test") as connection:
        settings.change(connection, "new", 1, "kim")
    with store.read("a test") as connection:
        assert settings.read(connection, "old", None) is None
        assert settings.read(connection, "new", None) == 1
        assert connection.execute(sa.select(sa.func.max(epochs.c.epoch))).scalar() == epoch
    assert log.stat().st_ino == before
    assert line.begin_epoch("st1", "start") == epoch + 1
    store.close()
    line.close()
    again = WebStore(config)
    with again.read("a test") as connection:
        assert connection.execute(sa.select(sa.func.max(epochs.c.epoch))).scalar() == epoch + 1
        assert settings.read(connection, "new", None) == 1
    again.close()


def test_a_store_replaced_within_a_transaction_is_not_called_saved(tmp_path: Path) -> None:
    config = store_config(tmp_path)
    SqlStore(config).close()
    store = WebStore(config)

    def replaced() -> None:
        with store.write("a verdict") as connection:
            settings.change(connection, "lost", 1, "kim")
            for file in list(tmp_path.glob("results.db*")):
                file.rename(file.with_name(file.name.replace("results", "aside")))
            SqlStore(config).close()

    with pytest.raises(StoreError, match="replaced"):
        replaced()
    with store.write("a verdict") as connection:
        settings.change(connection, "saved", 1, "kim")
    with store.read("a test") as connection:
        assert settings.read(connection, "saved", None) == 1
    store.close()


def test_a_server_that_was_started_again_is_read_again(tmp_path: Path) -> None:
    try:
        server = PostgresServer()
    except NoServerError as error:
        pytest.skip(str(error))
    try:
        config = store_config(tmp_path, url=server.url("plant"))
        SqlStore(config).close()
        store = WebStore(config)
        with store.write("a test") as connection:
            settings.change(connection, "kept", 1, "kim")
        with store.read("a test") as connection:
            assert settings.read(connection, "kept", None) == 1
        server.stop()
        with pytest.raises(StoreError), store.read("a test"):
            raise AssertionError("it read from nowhere")
        server.start()
        end = time.monotonic() + 60
        while True:
            try:
                with store.read("a test") as connection:
                    assert settings.read(connection, "kept", None) == 1
                break
            except StoreError:
                assert time.monotonic() < end
        store.close()
    finally:
        server.close()
