"""Told upward while stores are put aside, damaged and restored, locked, and shared with strangers."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from postgres_server import PostgresServer
from pydantic import ValidationError
from station_rig import Rig, until
from store_samples import inspected, not_inspected, store_config, trigger

from inspection.config import load_station
from inspection.errors import ConfigError, StoreError
from inspection.store import database
from inspection.store.config import StoreConfig
from inspection.store.outbox import Outbox, add, register
from inspection.store.sql import SqlStore
from inspection.store.tables import alarms, outbox, outbox_delivery, outbox_stations, parts
from inspection.store.verify import verify
from inspection.store.web import settings
from inspection.store.web.access import WebStore
from inspection_serve.upward.csv_drop import CsvConfig
from inspection_serve.upward.link import AwayError, secret
from inspection_serve.upward.messages import COLUMNS, Message
from inspection_serve.upward.sender import Sender
from inspection_serve.upward.state import StationState
from inspection_serve.upward.webhook import WebhookConfig

ENDINGS = ("-wal", "-shm", "")


def path_of(config: StoreConfig) -> Path:
    path = config.sqlite_path
    assert path is not None
    return path


def put_aside(config: StoreConfig, name: str) -> None:
    path = path_of(config)
    for ending in ENDINGS:
        part = path.with_name(path.name + ending)
        if part.exists():
            part.rename(path.with_name(name + ending))


def copy_of(config: StoreConfig, to: Path) -> None:
    source, target = sqlite3.connect(path_of(config)), sqlite3.connect(to)
    source.backup(target)
    source.close()
    target.close()


def read(config: StoreConfig, *columns: Any) -> list[tuple[Any, ...]]:
    engine = database.make_engine(config, read_only=True)
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.execute(sa.select(*columns)).all()]
    engine.dispose()
    return found


def ids(box: Outbox) -> list[int]:
    batch = box.batch(100)
    assert batch is not None
    return [one.id for one in batch.told]


# ---------------------------------------------------------------------- the store is another one


def test_what_waits_for_a_store_that_is_put_aside_is_not_told_saved(tmp_path: Path) -> None:
    config = store_config(tmp_path)
    SqlStore(config).close()
    pages = WebStore(config)
    with pages.write("before") as connection:
        settings.change(connection, "old", 1, "kim")
    holder = sqlite3.connect(path_of(config), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    said: list[str] = []
    connects = threading.Event()
    sa.event.listen(pages._writing, "checkout", lambda *_: connects.set())

    def page() -> None:
        try:
            with pages.write("saving a verdict") as connection:
                settings.change(connection, "new", 2, "kim")
            said.append("saved")
        except StoreError as error:
            said.append(str(error))

    thread = threading.Thread(target=page)
    thread.start()
    assert connects.wait(10)
    put_aside(config, "aside.db")
    SqlStore(config).close()
    with pages.read("as another page does") as connection:
        assert settings.read(connection, "new", None) is None
    holder.execute("ROLLBACK")
    holder.close()
    thread.join(20)
    assert len(said) == 1
    assert "replaced" in said[0]
    with pages.write("again") as connection:
        settings.change(connection, "new", 2, "kim")
    with pages.read("after") as connection:
        assert settings.read(connection, "new", None) == 2
    pages.close()


def test_what_the_journal_kept_and_the_damage_are_told(tmp_path: Path) -> None:
    config = store_config(tmp_path)
    upward = {"st1": {"mes": 600.0}}
    store = SqlStore(config, upward=upward)
    store.begin_epoch("st1", "start")
    store.decided(inspected(trigger(1)))
    store._database.drop()
    assert store.remember(not_inspected(trigger(2)))
    store.close()
    path = path_of(config)
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    path.write_bytes(b"x" * 4096 + path.read_bytes()[4096:])
    SqlStore(config, upward=upward).close()
    assert read(config, parts.c.sequence) == [(2,)]
    assert [row[0] for row in read(config, alarms.c.station)] == ["st1"]
    assert sorted(read(config, outbox.c.station, outbox.c.kind)) == [
        ("st1", "alarm"),
        ("st1", "part"),
    ]
    [finding] = [one for one in verify(config).findings if one.code == "OUTBOX"]
    assert (finding.status, finding.examples) == ("ok", [])


@pytest.mark.parametrize("moment", ["could not be noted", "is noted after it"])
def test_a_restore_under_the_sender_skips_nothing(tmp_path: Path, moment: str) -> None:
    config = store_config(tmp_path)
    store = SqlStore(config, upward={"st1": {"mes": 600.0}})
    store.begin_epoch("st1", "start")
    for n in range(1, 4):
        store.decided(inspected(trigger(n)))
    pages = WebStore(config)
    box = Outbox(pages, "st1", "mes")
    batch = box.batch(100)
    assert batch is not None
    box.save(batch, batch.told[-1].id)
    copy_of(config, tmp_path / "backup.db")
    for n in range(4, 9):
        store.decided(inspected(trigger(n)))
    batch = box.batch(100)
    assert batch is not None
    assert [one.id for one in batch.told] == [4, 5, 6, 7, 8]
    store.close()
    put_aside(config, "old.db")
    if moment == "could not be noted":
        with pytest.raises(StoreError):
            box.save(batch, batch.told[-1].id)
    (tmp_path / "backup.db").rename(path_of(config))
    store = SqlStore(config, upward={"st1": {"mes": 600.0}})
    for n in range(1, 7):
        store.decided(inspected(trigger(n, epoch=2)))
    if moment == "is noted after it":
        box.save(batch, batch.told[-1].id)  # of the store that is gone
    assert ids(box) == [4, 5, 6, 7, 8, 9]
    again = box.batch(100)
    assert again is not None
    box.save(again, again.told[-1].id)
    assert ids(box) == []
    assert box.is_noted
    pages.close()
    store.close()


# ---------------------------------------------------------------------- files


def alarm(
    number: int, detail: str = "x", since: str = "2026-11-21T10:00:00.000001+00:00"
) -> Message:
    fields = dict.fromkeys(COLUMNS["alarm"], "x") | {"detail": detail}
    return Message(f"st1/alarm/{number}", "alarm", "st1", number, fields, since)


def test_a_finished_file_is_never_replaced(tmp_path: Path) -> None:
    link = CsvConfig(name="qms", folder=tmp_path).open("st1")
    other = CsvConfig(name="mes", folder=tmp_path).open("st1")
    link.send([alarm(1), alarm(2)])
    finished = {path: path.read_bytes() for path in tmp_path.iterdir()}
    other.send([alarm(1)])
    link.send([alarm(1, since="2026-12-01T00:00:00.000000+00:00")])  # a new store
    link.send([alarm(1, "of a restored store")])
    link.send([alarm(1, "of a restored store")])  # again, after a kill
    assert {path: path.read_bytes() for path in finished} == finished
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "st1_alarm_mes_20261121100000000001_000000000001.csv",
        "st1_alarm_qms_20261121100000000001_000000000001-2.csv",
        "st1_alarm_qms_20261121100000000001_000000000001.csv",
        "st1_alarm_qms_20261201000000000000_000000000001.csv",
    ]


def test_two_folders_that_are_one(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    csv = {"type": "csv", "name": "qms", "folder": "drop"}
    rig.station["upward"] = [csv, {**csv, "name": "mes", "folder": "./drop/"}]
    rig.write()
    with pytest.raises(ConfigError, match="same folder"):
        load_station(tmp_path / "station.yaml")


# ---------------------------------------------------------------------- secrets


@pytest.mark.parametrize("content", [b"TOP\n# rotated\n", b"TOP\x00", "비밀".encode(), b"a\tb"])
def test_a_secret_is_one_plain_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(ConfigError, match="one line") as caught:
        secret(tmp_path / "token", "token")
    assert "TOP" not in str(caught.value)


def test_the_address_is_not_told(tmp_path: Path) -> None:
    link = WebhookConfig(name="w", url="http://127.0.0.1:9/hook/KEY?sig=KEY").open("st1")
    with pytest.raises(AwayError, match=r"http://127\.0\.0\.1:9: ") as caught:
        link.send([alarm(1)])
    assert "KEY" not in str(caught.value)
    with pytest.raises(ValidationError):
        WebhookConfig(name="w", url="http://u:p@127.0.0.1/")


# ---------------------------------------------------------------------- the sender


class Shown:
    """A link that remembers what it was shown."""

    def __init__(self, name: str) -> None:
        self.name, self.tell, self.batch, self.every, self.patience = name, ["alarm"], 1, 0.0, 600.0
        self.states: list[str] = []
        self.fails: Exception | None = None

    def open(self, station: str) -> Shown:
        return self

    def keep(self, state: StationState) -> None:
        if self.fails is not None:
            raise self.fails
        self.states.append(state.state)

    def send(self, messages: Any) -> None:
        pass

    def close(self) -> None:
        pass


@contextlib.contextmanager
def sending(config: StoreConfig, link: Any, state: Callable[[], StationState]) -> Iterator[None]:
    pages, stop = WebStore(config), threading.Event()
    sender = Sender(link, "st1", Outbox(pages, "st1", link.name), lambda: None, state)
    thread = threading.Thread(target=sender.run, args=(stop,))
    thread.start()
    try:
        yield
        assert thread.is_alive()
    finally:
        stop.set()
        thread.join(20)
        pages.close()


def test_the_state_is_shown_while_the_store_is_away(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = store_config(tmp_path)
    SqlStore(config, upward={"st1": {"plant": 600.0}}).close()
    state, link = ["ready"], Shown("plant")
    with sending(config, link, lambda: StationState(state[0])):
        until(lambda: "ready" in link.states, 20, "the first state")
        caplog.set_level(logging.WARNING)
        put_aside(config, "aside.db")
        state[0] = "not_ready"
        until(lambda: link.states.count("not_ready") >= 3, 20, "what the line says now")
        said = [one.getMessage() for one in caplog.records if one.name == "inspection.upward"]
        assert 1 <= len(said) == len(set(said)) <= 2, "once for each step that the loss hit"
        link.fails = RuntimeError("TOPSECRET")
        until(lambda: "RuntimeError" in caplog.text, 20, "an error nobody expected")
        link.fails = None
        (tmp_path / "aside.db").rename(path_of(config))
        until(lambda: "can be used again" in caplog.text, 20, "the store is back")
    assert "TOPSECRET" not in caplog.text


def test_what_nobody_expected_is_noted_by_its_type(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = store_config(tmp_path)
    SqlStore(config, upward={"st1": {"plant": 600.0}}).close()
    link = Shown("plant")
    link.fails = ValueError("TOPSECRET")
    with sending(config, link, lambda: StationState("ready")):
        until(
            lambda: read(config, outbox_delivery.c.detail) == [("ValueError",)], 20, "it is noted"
        )
    assert "ValueError" in caplog.text
    assert "TOPSECRET" not in caplog.text


# ---------------------------------------------------------------------- who enters destinations


def test_the_upward_process_adds_only(config: StoreConfig) -> None:
    store = SqlStore(config, upward={"st1": {"mes": 600.0, "old": 600.0}})
    store.tell_upward("st1", {"mes": 5.0})  # the line was started again with another file
    pages = WebStore(config)
    with pages.write("an older file") as connection:
        add(connection, "st1", {"mes": 600.0, "old": 600.0, "new": 7.0})
        add(connection, "st2", {"mes": 600.0})  # its line never ran, or tells nobody any more
    rows = read(
        config, outbox_delivery.c.destination, outbox_delivery.c.active, outbox_delivery.c.patience
    )
    assert sorted(rows) == [("mes", True, 5.0), ("new", True, 7.0), ("old", False, 600.0)]
    assert read(config, outbox_stations.c.station) == [("st1",)]
    pages.close()
    store.close()


def test_line_and_upward_enter_in_the_same_moment(config: StoreConfig) -> None:
    """On PostgreSQL both may insert; the second one waits and finds it done."""
    if config.sqlite_path is not None:
        pytest.skip("SQLite has one writer at a time")
    store, pages = SqlStore(config), WebStore(config)
    said: list[str] = []

    def line() -> None:
        try:
            store.tell_upward("st1", {"mes": 600.0})
            said.append("entered")
        except StoreError as error:
            said.append(str(error))

    thread = threading.Thread(target=line)
    engine = database.make_engine(config, read_only=True)
    with engine.connect() as watch, pages.write("upward") as connection:
        register(connection, "st1", {"mes": 600.0})
        thread.start()
        waits = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        until(lambda: watch.execute(waits).scalar_one() > 0, 20, "the line waits")
    thread.join(20)
    engine.dispose()
    assert said == ["entered"]
    assert read(config, outbox_delivery.c.destination) == [("mes",)]
    pages.close()
    store.close()


def test_strangers_on_the_server_hold_up_nothing(
    tmp_path: Path, server: PostgresServer | None
) -> None:
    if server is None:
        pytest.skip("no PostgreSQL server installed (Debian package postgresql)")
    config = store_config(tmp_path, url=server.url("strangers"))
    store = SqlStore(config, upward={"st1": {"mes": 600.0}})
    store.begin_epoch("st1", "start")
    pages = WebStore(config)
    box = Outbox(pages, "st1", "mes")
    there = sa.create_engine(server.url("strangers_other"), poolclass=sa.NullPool)
    here = sa.create_engine(config.database_url, poolclass=sa.NullPool)
    with there.connect() as other, here.connect() as same:
        other.execute(sa.text("CREATE TABLE busy (x integer)"))  # writes, and stays open
        same.execute(sa.text("CREATE TABLE busy (x integer)"))
        store.decided(inspected(trigger(1)))
        assert ids(box) == [1]
        other.rollback()
        same.rollback()
    there.dispose()
    here.dispose()
    pages.close()
    store.close()
