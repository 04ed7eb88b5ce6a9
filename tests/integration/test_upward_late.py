"""A destination that is behind is an alarm of the station: it comes, is told, and goes."""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from station_rig import Rig, free_port, until
from store_samples import inspected, store_config, trigger
from upward_peers import Receiver

from inspection.config import load_station
from inspection.errors import StoreError
from inspection.store.config import StoreConfig
from inspection.store.database import make_engine
from inspection.store.outbox_standing import Standing, standings
from inspection.store.sql import SqlStore
from inspection.store.tables import alarms
from inspection.store.web.access import WebStore
from inspection.store.writes import alarm_values, insert_alarm
from inspection.types import Reason
from inspection_serve.upward import lateness
from inspection_serve.upward.lateness import Lateness
from inspection_serve.upward.process import run
from inspection_serve.upward.webhook import WebhookConfig
from inspection_serve.web.line.watch import Watch
from inspection_serve.web.line.words import fragment
from inspection_serve.web.site import open_site
from inspection_serve.web.texts import load_texts

WELL = Standing("st1", "mes", 0, None, 0, None, 0, None, "", late=False)
OLD = "2026-01-01T00:00:00.000000+00:00"
AWAY = dataclasses.replace(WELL, attempts=3, waiting=1, oldest_at=OLD, late=True)
REFUSES = dataclasses.replace(WELL, quarantined=2)
LATE, REFUSED = Reason.UPWARD_LATE.name, Reason.UPWARD_REFUSED.name


def to(name: str, **changes: object) -> WebhookConfig:
    return WebhookConfig.model_validate(
        {"name": name, "url": "http://127.0.0.1:9/", "alarm_after": 5.0, **changes}
    )


def told(config: StoreConfig) -> list[tuple[str, bool, str]]:
    engine = make_engine(config, read_only=True)
    with engine.connect() as connection:
        query = sa.select(alarms.c.reason, alarms.c.on, alarms.c.detail).order_by(alarms.c.id)
        found = [(row.reason, row.on, row.detail) for row in connection.execute(query)]
    engine.dispose()
    return found


@pytest.fixture
def line(config: StoreConfig) -> Iterator[SqlStore]:
    store = SqlStore(config)
    store.tell_upward("st1", {"mes": 600, "plant": 600})
    store.begin_epoch("st1", "start")
    yield store
    store.close()


@pytest.fixture
def pages(line: SqlStore, config: StoreConfig) -> Iterator[WebStore]:
    found = WebStore(config)
    yield found
    found.close()


def test_it_comes_once_names_who_and_goes(pages: WebStore, config: StoreConfig) -> None:
    links = [to("mes"), to("plant")]
    late = Lateness("st1", links)
    plant = dataclasses.replace(WELL, destination="plant")
    late.look(pages, [WELL, plant])
    assert told(config) == []
    for _ in range(3):
        late.look(pages, [AWAY, plant])
    assert told(config) == [(LATE, True, "mes")]
    Lateness("st1", links).look(pages, [AWAY, plant])  # the process was killed
    assert told(config) == [(LATE, True, "mes")]
    refuses = dataclasses.replace(REFUSES, destination="plant")
    late.look(pages, [AWAY, refuses])
    assert told(config)[1:] == [(REFUSED, True, "plant")]
    more = dataclasses.replace(refuses, quarantined=9)  # the alarm about it is refused, too
    late.look(pages, [AWAY, more])
    assert len(told(config)) == 2
    late.look(pages, [WELL, plant])
    assert told(config)[2:] == [(LATE, False, ""), (REFUSED, False, "")]


def test_it_has_caught_up_below_half_of_the_limits(pages: WebStore, config: StoreConfig) -> None:
    late = Lateness("st1", [to("mes", alarm_behind=100, alarm_after=604800)])

    def waits(number: int) -> int:
        late.look(pages, [dataclasses.replace(WELL, waiting=number)])
        return len(told(config))

    assert [waits(number) for number in (99, 100, 99, 51, 50)] == [0, 1, 1, 1, 1]
    assert waits(49) == 2
    assert waits(100) == 2  # at most once a minute
    late._alarms[Reason.UPWARD_LATE].came -= lateness.REST
    assert waits(100) == 3


def test_away_without_anything_to_tell(pages: WebStore, config: StoreConfig) -> None:
    """A night without parts: no message gets old, the receiver is away all the same."""
    late = Lateness("st1", [to("mes")])
    away = dataclasses.replace(WELL, attempts=1)
    late.look(pages, [away])
    assert told(config) == []
    late._away["mes"] -= 5.0
    late.look(pages, [away])
    assert told(config) == [(LATE, True, "mes")]
    again = Lateness("st1", [to("mes")])  # a new process does not know since when: it stays on
    again.look(pages, [away])
    assert len(told(config)) == 1


def test_a_damaged_row_that_waits_first_does_not_silence_it(tmp_path: Path) -> None:
    """The alarm comes, for the one it waits for and for others; so does what the pages show."""
    config = store_config(tmp_path)
    store = SqlStore(config)
    store.tell_upward("st1", {"mes": 1, "plant": 1})
    epoch = store.begin_epoch("st1", "start")
    for sequence in (1, 2):
        asked = trigger(sequence, station="st1", epoch=epoch)
        store.triggered(asked, 1)
        store.decided(inspected(asked))
    pages = WebStore(config)
    with pages.write("damage") as connection:
        connection.execute(sa.text("UPDATE parts SET reasons = '[{'"))
        connection.execute(sa.text(f"UPDATE parts SET decided_at = '{OLD}' WHERE id = 1"))
    with pages.read("as the process does") as connection:
        found = standings(connection, "st1")
    Lateness("st1", [to("mes"), to("plant")]).look(pages, found)
    assert told(config) == [(LATE, True, "mes, plant")]
    with pages.write("damage") as connection:
        connection.execute(sa.text("UPDATE parts SET decided_at = '?' WHERE id = 1"))
    with pages.read("as the process does") as connection:
        assert [one.oldest_age for one in standings(connection)] == [None, None]
    pages.close()
    store.close()


def test_the_line_ends_all_alarms_at_its_start(
    line: SqlStore, pages: WebStore, config: StoreConfig
) -> None:
    """What still holds comes again; a destination that is in no file any more ends its alarm."""
    late = Lateness("st1", [to("mes")])
    late.look(pages, [AWAY])
    line.close_open_parts("st1", Reason.RESTART)
    assert told(config)[-1] == (LATE, False, "the line process started anew")
    late.look(pages, [AWAY])
    assert len(told(config)) == 2  # within the minute
    late._alarms[Reason.UPWARD_LATE].came -= lateness.REST
    late.look(pages, [AWAY])
    assert told(config)[-1] == (LATE, True, "mes")
    late.look(pages, [])
    assert told(config)[-1] == (LATE, False, "")


def test_an_alarm_that_went_below_a_newer_row_is_seen(
    line: SqlStore, pages: WebStore, config: StoreConfig
) -> None:
    """PostgreSQL gives ids before it commits; SQLite has one writer, and only the order is tried there."""
    late = Lateness("st1", [to("mes")])
    late.look(pages, [AWAY])
    engine = make_engine(config)
    with engine.connect() as first:
        if engine.dialect.name == "postgresql":
            insert_alarm(first, alarm_values("st1", Reason.UPWARD_LATE, "the line", on=False))
        with pages.write("another alarm") as other:
            insert_alarm(other, alarm_values("st1", Reason.CAMERA_LOST, "", on=True))
        late.look(pages, [AWAY])
        if engine.dialect.name != "postgresql":
            insert_alarm(first, alarm_values("st1", Reason.UPWARD_LATE, "the line", on=False))
        first.commit()
    engine.dispose()
    late._alarms[Reason.UPWARD_LATE].came -= lateness.REST
    late.look(pages, [AWAY])
    assert told(config)[-1] == (LATE, True, "mes")


def test_a_store_that_is_locked_is_told_later(tmp_path: Path) -> None:
    config = store_config(tmp_path)
    line = SqlStore(config)
    line.begin_epoch("st1", "start")
    pages, late = WebStore(config), Lateness("st1", [to("mes")])
    path = config.sqlite_path
    assert path is not None
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="alarm UPWARD_LATE"):
            late.look(pages, [AWAY])
        assert told(config) == []
    late.look(pages, [AWAY])
    assert told(config) == [(LATE, True, "mes")]
    pages.close()
    line.close()


def test_the_process_raises_it_and_people_and_the_others_see_it(tmp_path: Path) -> None:
    """A receiver is away: the row, the page in both languages, the message to the other; its end."""
    rig = Rig(tmp_path)
    with Receiver() as well, Receiver() as gone:
        gone.stop()
        rig.station["upward"] = [
            {"type": "webhook", "name": "qms", "url": well.url},
            {"type": "webhook", "name": "mes", "url": gone.url, "alarm_after": 1.0},
        ]
        rig.station["upward_metrics_port"] = free_port()
        rig.write()
        config = load_station(tmp_path / "station.yaml")
        line = SqlStore(config.store)
        line.tell_upward("test", {"qms": 600, "mes": 1})
        line.begin_epoch("test", "start")
        line.decided(inspected(trigger(1, station="test")))
        stop = threading.Event()
        thread = threading.Thread(target=run, args=(config, stop))
        thread.start()
        try:
            until(lambda: told(config.store) == [(LATE, True, "mes")], 30, "the alarm")
            until(lambda: said(well) == [(LATE, True)], 20, "the other receiver hears of it")
            assert on_the_page(rig) == ("MES, QMS or another receiver is behind", "상위 수신처")
            gone.start()
            until(lambda: told(config.store)[1:] == [(LATE, False, "")], 60, "its end")
            until(lambda: said(gone) == said(well) == [(LATE, True), (LATE, False)], 20, "all told")
            with WebStore(config.store).read("looking") as connection:
                assert {one.waiting for one in standings(connection, "test")} == {0}
        finally:
            stop.set()
            thread.join(20)
        line.close()


def said(receiver: Receiver) -> list[tuple[str, bool]]:
    return [(one["reason"], one["active"]) for one in receiver.taken() if one["kind"] == "alarm"]


def on_the_page(rig: Rig) -> tuple[str, str]:
    site = open_site(str(rig.database))
    try:
        look = Watch(site).look().stations["test"]
    finally:
        site.close()
    languages = load_texts().languages
    found = []
    for code, text in (
        ("en", "MES, QMS or another receiver is behind"),
        ("ko", "상위 수신처"),
    ):
        piece = fragment("alarms", languages[code], look)
        assert "mes" in piece
        found.append(text if text in piece else piece)
    return found[0], found[1]
