"""Keys of machines, and the outbox for who asks, on SQLite and PostgreSQL."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from store_samples import FAILED, PASSED, inspected, not_inspected, store_config, trigger

from inspection.errors import StoreError
from inspection.store import outbox_feed
from inspection.store.config import StoreConfig
from inspection.store.database import make_engine
from inspection.store.outbox_feed import START, About, Feed, OtherStoreError
from inspection.store.queries import StoreReader
from inspection.store.sql import SqlStore
from inspection.store.tables import outbox, parts
from inspection.store.web import machine_keys
from inspection.store.web.access import WebStore
from inspection.store.web.machine_keys import KeyState
from inspection.store.web.people import after, hash_token
from inspection.store.web.wanted import SearchError
from inspection.types import Reason, Verdict

ANY = About()


@pytest.fixture
def line(config: StoreConfig) -> Iterator[SqlStore]:
    opened = SqlStore(config)
    opened.tell_upward("st1", {"mes": 600})
    opened.begin_epoch("st1", "start")
    yield opened
    opened.close()


@pytest.fixture
def store(line: SqlStore, config: StoreConfig) -> Iterator[WebStore]:
    opened = WebStore(config)
    yield opened
    opened.close()


def said(page: outbox_feed.FeedPage) -> list[tuple[str, int, int]]:
    return [(one.kind, one.subject, one.version) for one in page.told]


def everything(feed: Feed, limit: int, about: About = ANY) -> list[tuple[str, int, int]]:
    """Read page by page until there is no more."""
    place, found = START, []
    while True:
        page = feed.read(place, limit, about)
        found += said(page)
        assert page.more or len(page.told) <= limit
        place = page.next
        if not page.more:
            return found


def test_a_key_is_kept_as_a_hash_and_lives_until_it_ends(store: WebStore) -> None:
    with store.write("keys") as connection:
        machine_keys.lock(connection)
        assert not machine_keys.is_taken(connection, "mes")
        mes, key = machine_keys.make(connection, "mes", "kim", pictures=False, ends_at=None)
        over, old = machine_keys.make(connection, "old", "kim", pictures=True, ends_at=after(-1))
        assert machine_keys.is_taken(connection, "MES")
    assert key.startswith("ik_")
    assert len(key) == 46
    assert key != old
    with store.read("keys") as connection:
        rows = machine_keys.listing(connection)
        assert [row["name"] for row in rows] == ["mes", "old"]
        assert not [row for row in rows if key in repr(row) or old in repr(row)]
        assert rows[0]["token_sha256"] == hash_token(key)
        assert machine_keys.find(connection, key + "x") is None
        assert machine_keys.find(connection, hash_token(key)) is None
        assert [machine_keys.state_of(row) for row in rows] == [KeyState.ACTIVE, KeyState.ENDED]
    with store.write("keys") as connection:
        machine_keys.note_used(connection, hash_token(key))
        assert machine_keys.revoke(connection, mes, "lee")
        assert not machine_keys.revoke(connection, mes, "kim")
        assert not machine_keys.revoke(connection, 999, "kim")
    with store.read("keys") as connection:
        row = machine_keys.find(connection, key)
        assert row is not None
        assert machine_keys.state_of(row) is KeyState.REVOKED
        assert (row["revoked_by"], row["made_by"]) == ("lee", "kim")
        assert row["used_at"]
        assert machine_keys.by_id(connection, over) is not None
        assert machine_keys.is_taken(connection, "mes"), "the audit names it"


def test_two_keys_of_one_name_cannot_be(store: WebStore) -> None:
    with store.write("keys") as connection:
        machine_keys.make(connection, "mes", "kim", pictures=False, ends_at=None)
    with pytest.raises(StoreError), store.write("keys") as connection:
        machine_keys.make(connection, "mes", "kim", pictures=False, ends_at=None)


def test_everything_is_read_once_in_order_with_versions(
    line: SqlStore, store: WebStore, config: StoreConfig
) -> None:
    feed = Feed(store)
    assert (feed.read(START, 9, ANY).next, feed.newest()) == (START, START)
    asked = trigger(1)
    line.decided(inspected(asked, PASSED))
    first = feed.read(START, 9, ANY)
    assert said(first) == [("part", 1, 1)]
    assert feed.newest() == first.next
    line.decided(not_inspected(asked, Reason.DEADLINE))
    line.decided(inspected(trigger(2), FAILED))
    line.alarm("st1", Reason.CAMERA_LOST, "gone", True)
    with StoreReader(config) as reader:
        reader.add_verdict(2, Verdict.REAL_DEFECT, "kim", version_seen=0)
    rest = feed.read(first.next, 2, ANY)
    assert said(rest) == [("part", 1, 2), ("part", 2, 1)], "the place holds though the row changed"
    assert rest.more
    assert said(feed.read(rest.next, 9, ANY)) == [("alarm", 1, 1), ("verdict", 1, 1)]
    last = feed.read(rest.next, 9, ANY)
    assert not last.more
    assert feed.read(last.next, 9, ANY) == outbox_feed.FeedPage([], last.next, more=False)
    for limit in (1, 2, 3):
        assert len(everything(feed, limit)) == 5
    assert everything(feed, 1, About(kinds=["alarm"])) == [("alarm", 1, 1)]
    assert everything(feed, 9, About(station="other")) == []
    assert feed.read(START, 9, About(station="other")).next == last.next, "not read again"


def test_a_place_of_another_store_is_told(line: SqlStore, store: WebStore) -> None:
    line.decided(inspected(trigger(1)))
    line.decided(inspected(trigger(2)))
    feed = Feed(store)
    place = feed.newest()
    number, mark = place.split("-")
    for wrong in (f"{int(number) + 1}-{mark}", f"{int(number) - 1}-{mark}", f"{number}-{'0' * 12}"):
        with pytest.raises(OtherStoreError, match="ask again from the first message"):
            feed.read(wrong, 9, ANY)
    assert feed.read(place, 9, ANY).told == []


def test_messages_of_some_parts(
    line: SqlStore, store: WebStore, config: StoreConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 7):
        asked = replace(trigger(number, part_id=number % 2), serial=f"LOT-{number % 3}")
        line.decided(inspected(asked, PASSED))
    line.decided(not_inspected(trigger(3, part_id=1), Reason.DEADLINE))
    with StoreReader(config) as reader:
        reader.add_verdict(6, Verdict.FALSE_CALL, "kim", version_seen=0)
    feed = Feed(store)
    lot = About(serial="LOT-0")
    wanted = [("part", 3, 1), ("part", 6, 1), ("part", 3, 2), ("verdict", 1, 1)]
    for limit in (1, 3, 9):
        assert everything(feed, limit, lot) == wanted
    assert everything(feed, 9, About(serial="LOT-")) == [], "whole, not how it begins"
    assert everything(feed, 9, About(part_id=0, kinds=["part"])) == [
        ("part", 2, 1), ("part", 4, 1), ("part", 6, 1),
    ]  # fmt: skip
    assert everything(feed, 9, About(part_id=1, serial="LOT-0", station="st1")) == [
        ("part", 3, 1), ("part", 3, 2),
    ]  # fmt: skip
    monkeypatch.setattr(outbox_feed, "MOST", 1)
    with pytest.raises(SearchError, match="More than 1 parts"):
        feed.read(START, 9, lot)


def test_a_lower_number_that_is_committed_later_is_waited_for(
    line: SqlStore, store: WebStore, config: StoreConfig
) -> None:
    if config.sqlite_path is not None:
        pytest.skip("SQLite has one writer at a time")
    line.decided(inspected(trigger(1)))
    feed = Feed(store)
    first = feed.read(START, 9, ANY)
    assert said(first) == [("part", 1, 1)]
    engine = make_engine(config)
    with engine.connect() as connection:
        slow = connection.begin()
        row = {"station": "st1", "kind": "alarm", "subject": 99, "version": 1}
        connection.execute(sa.insert(outbox), row)  # takes number 2
        line.decided(inspected(trigger(2)))  # takes number 3, and is there first
        for reader in (feed, Feed(store)):  # also one that was started just now
            held = reader.read(first.next, 9, ANY)
            assert (said(held), held.next, held.more) == ([], first.next, False), "ask later"
        with pytest.raises(StoreError, match="ask again"):
            Feed(store).newest()  # else the whole history would come as new
        assert said(Feed(store).read(START, 9, About(serial="LOT-7"))) == []
        slow.commit()
    engine.dispose()
    now = feed.read(first.next, 9, ANY)
    assert said(now) == [("alarm", 99, 1), ("part", 2, 1)]
    assert not now.more


def test_nothing_is_left_out_or_double_while_two_stations_write(config: StoreConfig) -> None:
    """Each of two lines decides in transactions of its own; a reader follows page by page."""
    stations, number = ("st1", "st2"), 40
    journals = {name: config.journal_path.with_name(f"{name}.journal") for name in stations}
    lines = {
        name: SqlStore(config.model_copy(update={"journal": journal}))
        for name, journal in journals.items()
    }
    for name, line in lines.items():
        line.tell_upward(name, {"mes": 600})
        line.begin_epoch(name, "start")

    def write(name: str) -> None:
        for sequence in range(1, number + 1):
            lines[name].decided(inspected(trigger(sequence, station=name)))

    writers = [threading.Thread(target=write, args=(name,)) for name in stations]
    pages = WebStore(config)
    feed, place, found = Feed(pages), START, list[tuple[str, int]]()
    for writer in writers:
        writer.start()
    end = time.monotonic() + 60
    while len(found) < 2 * number and time.monotonic() < end:
        page = feed.read(place, 7, ANY)
        found += [(one.station, one.row["sequence"]) for one in page.told if one.row]
        place = page.next
    for writer in writers:
        writer.join(30)
    pages.close()
    for line in lines.values():
        line.close()
    for name in stations:
        assert [s for station, s in found if station == name] == list(range(1, number + 1))


def test_a_backup_that_was_restored_is_noticed(tmp_path: Path) -> None:
    """The backup has rows up to the place, but another one there."""
    places = []
    for folder in ("before", "after"):
        (tmp_path / folder).mkdir()
        config = store_config(tmp_path / folder)
        line = SqlStore(config)
        line.tell_upward("st1", {"mes": 600})
        line.begin_epoch("st1", "start")
        line.decided(inspected(trigger(1)))
        line.close()
        pages = WebStore(config)
        with pages.read("looking") as connection:
            assert connection.execute(sa.select(parts.c.id)).scalar() == 1
        places.append(Feed(pages).newest())
        if folder == "after":
            with pytest.raises(OtherStoreError):
                Feed(pages).read(places[0], 9, ANY)
        pages.close()
    assert places[0].split("-")[0] == places[1].split("-")[0]


def test_a_backup_with_the_part_still_open_is_noticed(tmp_path: Path) -> None:
    """After the restore the part has the same row and version, and another decision."""
    config = store_config(tmp_path)
    path = config.sqlite_path
    assert path is not None
    line = SqlStore(config)
    line.tell_upward("st1", {"mes": 600})
    line.begin_epoch("st1", "start")
    line.decided(inspected(trigger(1)))
    line.triggered(trigger(2), 1)
    backup = tmp_path / "backup.db"
    with sqlite3.connect(path) as source, sqlite3.connect(backup) as copy:
        source.backup(copy)
    line.decided(inspected(trigger(2), PASSED))
    pages = WebStore(config)
    place = Feed(pages).newest()
    assert Feed(pages).read(place, 9, ANY).told == []
    pages.close()
    line.close()
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    path.write_bytes(backup.read_bytes())
    line = SqlStore(config)
    assert line.close_open_parts("st1", Reason.RESTART) == 1
    pages = WebStore(config)
    assert Feed(pages).newest().split("-")[0] == place.split("-")[0]
    with pytest.raises(OtherStoreError):
        Feed(pages).read(place, 9, ANY)
    pages.close()
    line.close()


def test_a_damaged_row_stops_nobody(line: SqlStore, store: WebStore, config: StoreConfig) -> None:
    for number in (1, 2, 3):
        line.decided(inspected(trigger(number)))
    if config.sqlite_path is None:
        pytest.skip("PostgreSQL refuses what is no JSON")
    with sqlite3.connect(config.sqlite_path) as raw:
        raw.execute("UPDATE parts SET reasons = '[\"DEF', late = '[' WHERE id = 2")
    raw.close()
    page = Feed(store).read(START, 9, ANY)
    assert [one.row is None for one in page.told] == [False, True, False]
    assert Feed(store).read(Feed(store).read(START, 2, ANY).next, 9, ANY).told


def test_asking_at_the_newest_place_reads_no_old_row(
    line: SqlStore, store: WebStore, config: StoreConfig
) -> None:
    if config.sqlite_path is None:
        pytest.skip("PostgreSQL goes by id")
    line.decided(inspected(trigger(1)))
    plans: list[str] = []
    with store.read("a plan") as connection:
        for kinds in (None, ["part"], ["part", "alarm"]):
            given = About(kinds=kinds)
            asked: list[tuple[str, object]] = []
            seen = sa.event.listens_for(connection, "before_cursor_execute")
            seen(lambda *a, asked=asked: asked.append((a[2], a[3])))
            outbox_feed._ids(connection, 0, 9, 9, given)
            statement, values = asked[-1]
            rows = connection.exec_driver_sql("EXPLAIN QUERY PLAN " + statement, values)
            plans += [str(row[-1]) for row in rows]
    assert plans
    assert all("INTEGER PRIMARY KEY" in plan for plan in plans), plans
