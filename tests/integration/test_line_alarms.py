"""The line's page shows each alarm that is on, in whatever order the rows of alarms appear."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from inspection.store.config import StoreConfig
from inspection.store.database import make_engine
from inspection.store.sql import SqlStore
from inspection.store.web.access import WebStore
from inspection.store.web.alarms import Followed, since
from inspection.store.writes import alarm_values, insert_alarm
from inspection.types import Reason
from inspection_serve.web.line import watch
from inspection_serve.web.line.watch import Watch

STATION = "st1"


@pytest.fixture
def line(config: StoreConfig) -> Iterator[SqlStore]:
    store = SqlStore(config)
    store.begin_epoch(STATION, "start")
    yield store
    store.close()


@pytest.fixture
def web(line: SqlStore, config: StoreConfig) -> Iterator[WebStore]:
    store = WebStore(config)
    yield store
    store.close()


class Page:
    """Looks when it is told to."""

    def __init__(self, web: WebStore, folder: Path) -> None:
        site: Any = SimpleNamespace(store=web, live=folder / "live", on_close=[])
        self._watch = Watch(site)

    def on(self) -> set[str]:
        self._watch.refresh()
        self._watch._once()
        look = self._watch._look
        assert not look.store_down
        return {alarm.code for alarm in look.stations[STATION].alarms if alarm.on}


@pytest.fixture
def page(web: WebStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    monkeypatch.setattr(watch, "BEAT", 0.0)
    return Page(web, tmp_path)


class Frozen:
    """A transaction that stands still between INSERT and COMMIT."""

    def __init__(self, config: StoreConfig, reason: Reason, *, on: bool) -> None:
        if config.sqlite_path is not None:
            pytest.skip("SQLite has one writer at a time")
        self._engine = make_engine(config)
        self._connection = self._engine.connect()
        self._transaction: AbstractContextManager[Any] = self._connection.begin()
        insert_alarm(self._connection, alarm_values(STATION, reason, "", on=on))

    def commit(self) -> None:
        with self._transaction:
            pass
        self._connection.close()
        self._engine.dispose()


def test_an_alarm_that_comes_late_below_others_is_shown(
    line: SqlStore, config: StoreConfig, page: Page
) -> None:
    frozen = Frozen(config, Reason.CAMERA_LOST, on=True)
    for _ in range(3):
        line.alarm(STATION, Reason.PLC_HEARTBEAT, "", True)
        assert page.on() == {"PLC_HEARTBEAT"}, "the others do not wait for it"
    frozen.commit()
    for _ in range(3):
        assert page.on() == {"PLC_HEARTBEAT", "CAMERA_LOST"}


def test_an_alarm_whose_end_comes_late_below_others_is_not_shown_for_ever(
    line: SqlStore, config: StoreConfig, page: Page
) -> None:
    line.alarm(STATION, Reason.CAMERA_LOST, "", True)
    assert page.on() == {"CAMERA_LOST"}
    frozen = Frozen(config, Reason.CAMERA_LOST, on=False)
    for _ in range(3):
        line.alarm(STATION, Reason.PLC_HEARTBEAT, "", True)
        assert page.on() == {"CAMERA_LOST", "PLC_HEARTBEAT"}
    frozen.commit()
    for _ in range(3):
        assert page.on() == {"PLC_HEARTBEAT"}


def test_an_alarm_that_went_after_one_that_comes_late_stays_gone(
    line: SqlStore, config: StoreConfig, page: Page
) -> None:
    """The order of the ids counts, not that in which the rows appear."""
    frozen = Frozen(config, Reason.CAMERA_LOST, on=True)
    line.alarm(STATION, Reason.CAMERA_LOST, "", False)
    assert page.on() == set()
    frozen.commit()
    for _ in range(3):
        assert page.on() == set()


def test_alarms_come_and_go(line: SqlStore, page: Page) -> None:
    assert page.on() == set()
    for on, expected in ((True, {"CAMERA_LOST"}), (False, set[str]()), (True, {"CAMERA_LOST"})):
        line.alarm(STATION, Reason.CAMERA_LOST, "", on)
        for _ in range(3):
            assert page.on() == expected


def test_rows_that_are_final_are_not_read_again(line: SqlStore, web: WebStore) -> None:
    for _ in range(3):
        line.alarm(STATION, Reason.CAMERA_LOST, "", True)
    followed = Followed()
    for _ in range(3):
        with web.read("a look") as connection:
            assert set(followed.look(connection)) == {(STATION, "CAMERA_LOST")}
    with web.read("what is left to read") as connection:
        assert since(connection, followed._read) == []
