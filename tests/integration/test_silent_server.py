"""PostgreSQL, or what is before it, holds the connections and says nothing: nobody waits for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fault_proxy import FaultProxy
from postgres_server import NoServerError, PostgresServer
from station_rig import until
from store_samples import inspected, store_config, trigger

from inspection.errors import StoreError
from inspection.store import database
from inspection.store.config import StoreConfig
from inspection.store.database import make_engine
from inspection.store.queries import StoreReader
from inspection.store.silence import silence_of, unhurried
from inspection.store.sql import SqlStore
from inspection.store.verify import verify
from inspection.store.web.access import WebStore


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    try:
        found = PostgresServer()
    except NoServerError as error:
        pytest.skip(str(error))
    yield found
    found.close()


@pytest.fixture
def proxy(server: PostgresServer) -> Iterator[FaultProxy]:
    with FaultProxy(("127.0.0.1", server.port)) as found:
        yield found


@pytest.fixture
def config(
    server: PostgresServer,
    proxy: FaultProxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: Any,
) -> StoreConfig:
    """A store behind the proxy; a second of silence is too much for its connections."""
    monkeypatch.setattr(database, "STATEMENT_LONGER", 0.2)
    monkeypatch.setattr(database, "_READING_MS", 700)
    monkeypatch.setattr(database, "SILENT_LONGER", 0.5)
    name = "".join(letter for letter in request.node.name if letter.isalnum())[-20:]
    url = server.url(name).replace(f":{server.port}/", f":{proxy.port}/")
    return store_config(tmp_path, url=url, busy_timeout=0.3)


def test_the_line_writes_again_when_it_is_over(config: StoreConfig, proxy: FaultProxy) -> None:
    store = SqlStore(config)
    epoch = store.begin_epoch("press", "start")
    store.triggered(trigger(1, station="press", epoch=epoch), 1)
    time.sleep(1.5)  # nothing was asked meanwhile: no silence
    store.triggered(trigger(2, station="press", epoch=epoch), 1)
    proxy.half_open = True
    begun = time.monotonic()
    with pytest.raises(StoreError):
        store.decided(inspected(trigger(2, station="press", epoch=epoch)))
    with pytest.raises(StoreError):  # as the record stage does: it tries to open it anew
        store.recover()
    assert time.monotonic() - begun < 20
    proxy.half_open = False
    store.recover()
    for number in (1, 2):
        store.decided(inspected(trigger(number, station="press", epoch=epoch)))
    store.close()
    assert verify(config).is_clean


def test_pages_answer_that_the_store_is_away(config: StoreConfig, proxy: FaultProxy) -> None:
    SqlStore(config).close()
    pages, reader = WebStore(config), StoreReader(config)
    one = sa.text("SELECT 1")

    def read() -> None:
        with pages.read("a test") as connection:
            connection.execute(one)

    def write() -> None:
        with pages.write("a test") as connection:
            connection.execute(one)

    asked = (read, write, lambda: reader.part(1))
    for ask in asked:
        ask()
    proxy.half_open = True
    begun = time.monotonic()
    with ThreadPoolExecutor(9) as people:
        waiting = [people.submit(ask) for ask in asked * 3]
        errors = [one.exception() for one in waiting]
    assert all(isinstance(error, StoreError) for error in errors), errors
    assert time.monotonic() - begun < 25
    proxy.half_open = False
    for ask in asked:
        ask()
    pages.close()
    reader.close()
    until(lambda: "silence" not in {t.name for t in threading.enumerate()}, 10, "nobody watches")


def test_what_may_take_long_is_not_cut(config: StoreConfig) -> None:
    engine = make_engine(config)
    slow = sa.text("SELECT pg_sleep(1.6)")
    with unhurried(engine), engine.connect() as connection, connection.begin():
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        connection.execute(slow)
    silence = silence_of(engine)
    assert silence is not None
    assert not silence.cuts
    with engine.connect() as connection:
        connection.execute(sa.text("SET statement_timeout = 0"))
        with pytest.raises(sa.exc.OperationalError):
            connection.execute(slow)
    assert silence.cuts == 1
    engine.dispose()


def test_many_rows_have_the_time_of_many(config: StoreConfig) -> None:
    engine = make_engine(config)
    rows = [{"seconds": 0.1}] * 16
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT pg_sleep(:seconds)"), rows)
    silence = silence_of(engine)
    assert silence is not None
    assert not silence.cuts
    engine.dispose()


def test_nothing_is_cut_where_nobody_can_watch(
    config: StoreConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    until(lambda: "silence" not in {t.name for t in threading.enumerate()}, 10, "nobody watches")
    engine = make_engine(config)

    def fails(_: object) -> None:
        raise RuntimeError("can't start new thread")

    with engine.connect() as connection:
        until(lambda: "silence" not in {t.name for t in threading.enumerate()}, 10, "none is left")
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", fails)
            assert connection.execute(sa.text("SELECT 1")).scalar() == 1
        connection.execute(sa.text("SELECT 1"))
        time.sleep(1.5)
        assert connection.execute(sa.text("SELECT 1")).scalar() == 1
    engine.dispose()
