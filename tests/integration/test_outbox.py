"""The outbox: what is written with a row, in which order it is read, how far a destination is."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from store_samples import (
    FAILED,
    PASSED,
    inspected,
    not_inspected,
    store_config,
    trigger,
)

from inspection.errors import StoreError
from inspection.store import database
from inspection.store.config import StoreConfig
from inspection.store.outbox import Outbox, register, settle
from inspection.store.outbox_standing import read_standings
from inspection.store.quarantine import discard, quarantined, send_again
from inspection.store.queries import StoreReader
from inspection.store.sql import SqlStore
from inspection.store.tables import outbox, parts
from inspection.store.verify import verify
from inspection.store.web import access
from inspection.store.web.access import WebStore
from inspection.types import Reason, Verdict
from inspection_serve.upward.csv_drop import CsvConfig
from inspection_serve.upward.link import AwayError
from inspection_serve.upward.messages import Message
from inspection_serve.upward.sender import Sender


@pytest.fixture
def store(config: StoreConfig) -> Iterator[SqlStore]:
    opened = SqlStore(config)
    yield opened
    opened.close()


@pytest.fixture
def pages(store: SqlStore, config: StoreConfig) -> Iterator[WebStore]:
    opened = WebStore(config)
    yield opened
    opened.close()


def told(config: StoreConfig) -> list[tuple[str, str, int, int]]:
    """Every row of the outbox: station, kind, subject, version."""
    engine = database.make_engine(config, read_only=True)
    with engine.connect() as connection:
        rows = connection.execute(sa.select(outbox).order_by(outbox.c.id)).all()
    engine.dispose()
    return [tuple(row)[1:] for row in rows]


def waits(box: Outbox, limit: int = 100) -> list[tuple[str, int, int]]:
    batch = box.batch(limit)
    assert batch is not None
    return [(one.kind, one.subject, one.version) for one in batch.told]


def outbox_finding(config: StoreConfig) -> tuple[str, int, list[str]]:
    found = next(one for one in verify(config).findings if one.code == "OUTBOX")
    return found.status, found.checked, found.examples


def test_a_station_without_links_writes_nothing(store: SqlStore, config: StoreConfig) -> None:
    store.begin_epoch("st1", "start")
    store.decided(inspected(trigger(1)))
    store.alarm("st1", Reason.CAMERA_LOST, "gone", True)
    with StoreReader(config) as reader:
        reader.add_verdict(1, Verdict.FALSE_CALL, "kim", version_seen=0)
    store.tell_upward("st1", {})
    store.decided(inspected(trigger(2)))
    assert told(config) == []
    store.tell_upward("st1", {"mes": 600})
    store.decided(inspected(trigger(3)))
    store.tell_upward("st1", {})
    store.decided(inspected(trigger(4)))
    assert told(config) == [("st1", "part", 3, 1)]


def test_every_way_to_a_decision_is_told_once(store: SqlStore, config: StoreConfig) -> None:
    store.tell_upward("st1", {"mes": 600})
    store.begin_epoch("st1", "start")
    asked = trigger(1)
    first = store.triggered(asked, 1)
    assert told(config) == []  # not decided yet
    for _ in range(2):  # the answer of the commit was lost: the line asks again
        assert store.decided(inspected(asked, FAILED)) == first
    store.sent(asked.key, time.monotonic(), "2026-01-01T00:00:00.000000+00:00")
    store.acknowledged(asked.key, time.monotonic(), "2026-01-01T00:00:00.000000+00:00")
    store.images(asked.key, "shed", [])
    second = store.decided(inspected(trigger(2), PASSED))  # `triggered` never came
    third = store.triggered(trigger(3), 1)
    assert store.close_open_parts("st1", Reason.RESTART) == 1
    store.remember(not_inspected(trigger(4)))
    store.recover()
    fourth = third + 1
    assert told(config) == [("st1", "part", n, 1) for n in (first, second, third, fourth)]
    store.decided(inspected(trigger(1, station="other")))  # another station in the same store
    store.alarm("st1", Reason.CAMERA_LOST, "gone", True)
    store.alarm("other", Reason.CAMERA_LOST, "gone", True)
    with StoreReader(config) as reader:
        reader.add_verdict(first, Verdict.REAL_DEFECT, "kim", version_seen=0)
        reader.add_verdict(first, Verdict.FALSE_CALL, "lee", version_seen=1)
    assert [row[1:] for row in told(config)[4:]] == [
        ("alarm", 1, 1), ("verdict", 1, 1), ("verdict", 2, 2),
    ]  # fmt: skip
    assert outbox_finding(config) == ("ok", 4, [])


def test_a_replaced_decision_is_told_again(store: SqlStore, config: StoreConfig) -> None:
    store.tell_upward("st1", {"mes": 600})
    asked = trigger(1)
    store.decided(inspected(asked, PASSED))
    store.decided(not_inspected(asked, Reason.DEADLINE))
    store.decided(not_inspected(asked, Reason.DEADLINE))
    assert told(config) == [("st1", "part", 1, 1), ("st1", "part", 1, 2)]
    assert outbox_finding(config) == ("ok", 1, [])


def test_what_is_rolled_back_is_not_told(store: SqlStore, config: StoreConfig) -> None:
    store.tell_upward("st1", {"mes": 600})
    store.triggered(trigger(1), 1)
    engine = database.make_engine(config)
    with engine.connect() as connection, connection.begin() as transaction:
        values = {"decision": "FAIL", "reason": "DEFECT", "state": "decided"}
        connection.execute(sa.update(parts).values(values))
        assert connection.execute(sa.select(sa.func.count()).select_from(outbox)).scalar() == 1
        transaction.rollback()
    engine.dispose()
    assert told(config) == []


def test_a_destination_reads_in_order_and_remembers(
    store: SqlStore, pages: WebStore, config: StoreConfig
) -> None:
    store.tell_upward("st1", {"mes": 600, "qms": 600})
    for n in range(1, 8):
        store.decided(inspected(trigger(n)))
    mes, qms = Outbox(pages, "st1", "mes"), Outbox(pages, "st1", "qms")
    assert waits(mes, 3) == [("part", n, 1) for n in (1, 2, 3)]
    batch = mes.batch(3)
    assert batch is not None
    mes.save(batch, batch.told[-1].id)
    assert waits(mes) == [("part", n, 1) for n in (4, 5, 6, 7)]
    assert len(waits(qms)) == 7
    mes.save(batch, batch.told[0].id)  # never backwards
    assert waits(mes, 1) == [("part", 4, 1)]
    store.tell_upward("st1", {"mes": 600, "new": 600})  # qms is gone, and comes back later
    assert qms.batch(9) is None
    assert waits(Outbox(pages, "st1", "new")) == []  # from now on
    store.decided(inspected(trigger(8)))
    assert waits(Outbox(pages, "st1", "new")) == [("part", 8, 1)]
    store.tell_upward("st1", {"mes": 600, "qms": 600})
    assert len(waits(qms)) == 8
    standings = {one.destination: one for one in read_standings(config, "st1")}
    assert {name: one.waiting for name, one in standings.items()} == {"mes": 5, "qms": 8}
    assert standings["mes"].oldest_at is not None
    assert standings["mes"].delivered_at is not None
    assert standings["qms"].delivered_at is None
    assert Outbox(pages, "st1", "nobody").batch(1) is None


def test_the_quarantine_holds_and_gives_back(
    store: SqlStore, pages: WebStore, config: StoreConfig
) -> None:
    store.tell_upward("st1", {"mes": 600})
    for n in (1, 2):
        store.decided(inspected(trigger(n)))
    box = Outbox(pages, "st1", "mes")
    batch = box.batch(9)
    assert batch is not None
    box.away(batch, 3, "2099-01-01T00:00:00.000000+00:00", "x" * 1000)
    [standing] = read_standings(config, "st1")
    assert (standing.attempts, len(standing.detail)) == (3, 500)
    box.refuse(batch, batch.told[0].id, "too big")
    assert waits(box) == [("part", 2, 1)]
    [standing] = read_standings(config, "st1")
    assert (standing.attempts, standing.quarantined, standing.next_at) == (0, 1, None)
    assert box.again() is None
    with pages.write("test") as connection:
        assert send_again(connection, "st1", "mes") == 1
    one = box.again()
    assert one is not None
    assert one.subject == 1
    box.again_done(one.id, "still too big")
    assert box.again() is None
    with pages.write("test") as connection:
        send_again(connection, "st1", "mes")
    box.again_done(one.id, "")
    assert read_standings(config, "st1")[0].quarantined == 0


def test_what_was_taken_late_is_kept_until_it_is_refused_again(
    store: SqlStore, pages: WebStore, config: StoreConfig
) -> None:
    """It lies in no quarantine; after its receiver went back it may, like any other."""
    store.tell_upward("st1", {"plant": 600})
    for n in (1, 2, 3):
        store.decided(inspected(trigger(n)))
    box = Outbox(pages, "st1", "plant")
    batch = box.batch(9)
    assert batch is not None
    ids = [one.id for one in batch.told]
    for message in ids:
        box.refuse(batch, message, "too big")
    for message in ids[1:]:
        box.again_done(message, "", keep=True)
    assert [one.id for one in box.taken_late(0, ids[2], 9)] == ids[1:]
    assert [one.id for one in box.taken_late(0, ids[2], 1)] == ids[1:2]
    assert [one.id for one in box.taken_late(ids[1], ids[2], 9)] == ids[2:]
    assert box.taken_late(0, ids[0], 9) == []
    with pages.write("test") as connection:
        assert send_again(connection, "st1", "plant") == 1
        assert [one.message for one in quarantined(connection, "st1", "plant")] == ids[:1]
        assert discard(connection, "st1", "plant", "kim", "for a test") == ids[:1]
    assert read_standings(config, "st1")[0].quarantined == 0
    box.go_to(batch, ids[0])
    box.refuse(batch, ids[1], "still too big")
    assert read_standings(config, "st1")[0].quarantined == 1
    assert [one.id for one in box.taken_late(0, ids[2], 9)] == ids[2:]


class BreakingLink:
    """A receiver with a mark of its own, above all; the link breaks after the first message."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    def resume(self, source: object) -> int:
        return 1_000

    def send(self, messages: list[Message]) -> None:
        if self.taken:
            raise AwayError("the link broke")
        self.taken += [one.number for one in messages]

    def keep(self, state: object) -> None: ...
    def close(self) -> None: ...


def test_what_was_taken_late_is_told_over_links_that_break_on_the_way(
    store: SqlStore, pages: WebStore, config: StoreConfig, tmp_path: Path
) -> None:
    """Each goes on where the last one broke; and the end of the process is not waited for."""
    store.tell_upward("st1", {"plant": 600})
    for n in range(1, 5):
        store.decided(inspected(trigger(n)))
    box = Outbox(pages, "st1", "plant")
    batch = box.batch(9)
    assert batch is not None
    ids = [one.id for one in batch.told]
    for message in ids:
        box.refuse(batch, message, "too big")
    for message in ids:
        box.again_done(message, "", keep=True)
    told = CsvConfig.model_validate({"type": "csv", "name": "plant", "folder": tmp_path, "rows": 1})
    sender = Sender(told, "st1", box, lambda: None, lambda: pytest.fail("no state"), source=config)
    for number in ids[:-1]:
        link = BreakingLink()
        with pytest.raises(AwayError):
            sender._resume(link, batch)
        assert link.taken == [number]
    link = BreakingLink()
    assert sender._resume(link, batch), "it stands elsewhere than was noted"
    assert link.taken == ids[-1:]
    sender._stop.set()
    link = BreakingLink()
    assert sender._resume(link, batch), "the end comes first"
    assert link.taken == []


def test_a_lower_id_that_is_committed_later_is_not_missed(
    store: SqlStore, pages: WebStore, config: StoreConfig
) -> None:
    """PostgreSQL gives ids before it commits; on SQLite nobody else can write meanwhile."""
    if config.sqlite_path is not None:
        pytest.skip("SQLite has one writer at a time")
    store.tell_upward("st1", {"mes": 600})
    store.decided(inspected(trigger(1)))
    box = Outbox(pages, "st1", "mes")
    assert waits(box) == [("part", 1, 1)]
    engine = database.make_engine(config)
    with engine.connect() as connection:
        slow = connection.begin()
        row = {"station": "st1", "kind": "alarm", "subject": 99, "version": 1}
        connection.execute(sa.insert(outbox), row)  # takes id 2
        store.decided(inspected(trigger(2)))  # takes id 3, and is there first
        for _ in range(3):
            assert waits(box) == [("part", 1, 1)]
        batch = box.batch(9)
        assert batch is not None
        box.save(batch, batch.told[-1].id)
        assert waits(box) == []
        with engine.connect() as another:  # one that began later does not hold up what is settled
            later = another.begin()
            another.execute(sa.insert(outbox), {**row, "subject": 98})
            slow.commit()
            assert waits(box) == [("alarm", 99, 1), ("part", 2, 1)]
            later.rollback()
        assert waits(box) == [("alarm", 99, 1), ("part", 2, 1)]
    engine.dispose()


def test_a_new_store_is_told_from_its_first_part(tmp_path: Path) -> None:
    """The corrupt store is put aside while the station runs."""
    config = store_config(tmp_path)
    store = SqlStore(config)
    store.tell_upward("st1", {"mes": 600})
    store.begin_epoch("st1", "start")
    for n in range(1, 4):
        store.decided(inspected(trigger(n)))
    pages = WebStore(config)
    box = Outbox(pages, "st1", "mes")
    old = box.batch(9)
    assert old is not None
    path = config.sqlite_path
    assert path is not None
    for ending in ("", "-wal", "-shm"):
        path.with_name(path.name + ending).rename(path.with_name(f"old{ending}"))
    with pytest.raises(StoreError):
        store.decided(inspected(trigger(4)))
    store.recover()
    box.save(old, old.told[-1].id)  # of the store that is gone: changes nothing
    assert waits(box) == []
    record = store.decided(inspected(trigger(5)))
    assert waits(box)[-1] == ("part", record, 1)
    assert outbox_finding(config)[0] == "ok"
    pages.close()
    store.close()


def test_verify_finds_what_is_missing_or_double(store: SqlStore, config: StoreConfig) -> None:
    store.decided(inspected(trigger(1)))  # before it was told upward
    store.tell_upward("st1", {"mes": 600})
    for n in (2, 3, 4):
        store.decided(inspected(trigger(n)))
    assert outbox_finding(config) == ("ok", 3, [])
    engine = database.make_engine(config)
    with engine.begin() as connection:
        connection.execute(sa.delete(outbox).where(outbox.c.subject == 3))
    status, checked, examples = outbox_finding(config)
    assert (status, checked) == ("BREACH", 3)
    assert examples == ["st1/1/3: decided, but the outbox does not have it"]
    with engine.begin() as connection:
        name = "outbox_part_update"
        on = " ON parts" if config.sqlite_path is None else ""
        connection.execute(sa.text(f"DROP TRIGGER {name}{on}"))
    assert "the triggers that fill the outbox are gone" in outbox_finding(config)[2]
    engine.dispose()


def test_entering_is_done_again_after_a_kill_between(pages: WebStore, config: StoreConfig) -> None:
    with pages.write("test") as connection:
        register(connection, "st1", {"mes": 600})
    assert outbox_finding(config)[0] == "ok"
    with pages.write("test") as connection:
        register(connection, "st1", {"mes": 600})
    with pages.write("test") as connection:
        settle(connection, "st1")
    assert outbox_finding(config)[0] == "ok"


def test_a_destination_that_waits_too_long_is_late(store: SqlStore, config: StoreConfig) -> None:
    store.tell_upward("st1", {"mes": 600, "qms": 600})
    store.decided(inspected(trigger(1)))
    assert [one.late for one in read_standings(config, "st1")] == [False, False]
    store.tell_upward("st1", {"mes": 0.0, "qms": 600})
    assert [one.late for one in read_standings(config, "st1")] == [True, False]


def test_what_was_taken_is_not_sent_again_while_it_cannot_be_noted(
    store: SqlStore, config: StoreConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    if config.sqlite_path is None:
        pytest.skip("PostgreSQL locks rows only")
    store.tell_upward("st1", {"mes": 600})
    for n in (1, 2, 3):
        store.decided(inspected(trigger(n)))
    monkeypatch.setattr(access, "WAIT", 0.1)
    pages = WebStore(config)
    box = Outbox(pages, "st1", "mes")
    batch = box.batch(9)
    assert batch is not None
    with contextlib.closing(sqlite3.connect(config.url, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            box.save(batch, batch.told[1].id)
        assert not box.is_noted
        assert waits(box) == [("part", 3, 1)]
        other.execute("ROLLBACK")
    assert len(waits(Outbox(pages, "st1", "mes"))) == 3  # another process would send them again
    again = box.batch(9)
    assert again is not None
    box.save(again, again.delivered)
    assert box.is_noted
    assert waits(Outbox(pages, "st1", "mes")) == [("part", 3, 1)]
    pages.close()
