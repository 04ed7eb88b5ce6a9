"""Record and store in bad times: the row says what the PLC was told, and nothing is left behind."""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from store_samples import (
    FAILED,
    PASSED,
    RECIPE,
    detections,
    frame,
    inspected,
    not_inspected,
    store_config,
    trigger,
    utc_now,
)

from inspection.errors import StoreError
from inspection.part import PartInFlight
from inspection.record import Record
from inspection.sequence import TriggerCount
from inspection.store import database, transactions
from inspection.store.guard import DiskGuard
from inspection.store.images import ImageWriter, write_picture
from inspection.store.journal import Journal
from inspection.store.sql import SqlStore
from inspection.store.verify import verify
from inspection.store.web.tables import commands
from inspection.types import CommandState, Inspected, PartKey, Reason, Result, StoredImage


class Judged(PartInFlight):
    """A part under a recipe, as a model found it."""

    def inspected(self) -> Inspected:
        return dataclasses.replace(super().inspected(), recipe=RECIPE)


def judged(sequence: int, result: Result = FAILED, *, deadline: float = 60.0) -> PartInFlight:
    part = Judged(trigger(sequence, deadline=deadline), None)
    part.frame, part.detections = frame(sequence), detections(1)
    part.settle(result)
    return part


def rejected(sequence: int, epoch: int = 1, detail: str = "") -> PartInFlight:
    part = PartInFlight(trigger(sequence, epoch=epoch), None)
    part.settle(Result.not_inspected(Reason.NOT_READY, detail))
    return part


class Bench:
    """A record stage over a SQLite store in a folder."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.folder = folder
        self.config = store_config(folder, **config)
        self.store = SqlStore(self.config)
        self.epoch = self.store.begin_epoch("st1", "start")
        self.images = ImageWriter(self.config, self.pictured)
        self.record = Record(self.store, self.images, "st1", lambda: None, lambda _state: None)
        self.record.start()

    def pictured(self, key: PartKey, state: str, files: list[StoredImage]) -> None:
        self.record.images(key, state, files)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.folder / "results.db")
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Another process writes all the time."""
        locker = sqlite3.connect(self.folder / "results.db", isolation_level=None)
        locker.execute("begin immediate")
        try:
            yield
        finally:
            locker.close()

    def pictures(self) -> list[str]:
        return sorted(path.name for path in self.config.images.folder.rglob("*.jpg"))

    def close(self) -> None:
        self.record.stop(20)
        self.images.close()
        self.store.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    opened = Bench(tmp_path, busy_timeout=0.05)
    yield opened
    opened.close()


def until(holds: Callable[[], object], what: str, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"{what} did not come true"
        time.sleep(0.005)


def test_what_was_answered_is_remembered_before_the_store_is_tried_again(tmp_path: Path) -> None:
    """A try takes longer than the time between two: the answers of a whole minute waited for one each."""
    bench = Bench(tmp_path, busy_timeout=1.0)
    free = bench.store.journal_free
    parts = [rejected(sequence) for sequence in range(1, 13)]
    with bench.locked():
        for part in parts:
            bench.record.triggered(part)
            bench.record.decided(part)
            bench.record.sent(part.trigger.key)
        until(lambda: all(part.recorded for part in parts), "all remembered", 12)
        assert bench.store.journal_free <= free - len(parts) + 1
    bench.close()
    assert bench.rows("select count(*), count(distinct sequence), min(state) from parts") == [
        (12, 12, "sent")
    ]


def test_a_part_that_is_rejected_after_all_keeps_its_one_picture(bench: Bench) -> None:
    part = judged(1)
    bench.record.triggered(part)
    bench.record.decided(part)
    until(lambda: bench.rows("select image_state from parts") == [("saved",)], "its picture")
    part.reject(Reason.DEADLINE, "could not be published in time")
    bench.record.decided(part)
    bench.record.stop(20)
    told = bench.rows("select decision, image_state, images, defect_class from parts")
    assert [(row[0], row[1], row[3]) for row in told] == [("NOT_INSPECTED", "saved", None)]
    assert [Path(one["path"]).name for one in json.loads(told[0][2])] == bench.pictures()


def test_a_picture_that_a_pass_left_out_is_kept_when_it_is_rejected(tmp_path: Path) -> None:
    bench = Bench(tmp_path, images={"ok_every": 0})
    states: list[str] = []
    real = bench.store.images

    def told(key: PartKey, state: str, files: list[StoredImage]) -> None:
        states.append(state)
        real(key, state, files)

    bench.store.images = told  # type: ignore[method-assign]
    part = judged(1, PASSED)
    bench.record.triggered(part)
    bench.record.decided(part)
    until(lambda: states == ["sampled_out"], "left out")
    part.reject(Reason.DEADLINE, "could not be published in time")
    bench.record.decided(part)
    bench.close()
    assert states == ["sampled_out", "pending", "saved"], (
        "a kill between the last two finds its file"
    )
    assert bench.rows("select decision, image_state from parts") == [("NOT_INSPECTED", "saved")]


def test_the_first_picture_that_is_lost_while_the_store_is_down_is_told(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DiskGuard, "has_room", lambda _guard: False)
    part = judged(1)
    bench.record.triggered(part)
    until(lambda: part.trigger_stored, "its row")
    with bench.locked():
        bench.record.decided(part)
        until(lambda: bench.record.degraded, "the loss")
    until(lambda: bench.record.healthy, "the store")
    bench.record.stop(20)
    assert bench.rows("select decision, image_state from parts") == [("NOT_INSPECTED", "disk_full")]
    assert bench.rows("select reason from alarms") == [("PICTURES_LOST",)]


def test_findings_that_cannot_be_written_do_not_lose_the_picture(tmp_path: Path) -> None:
    """Remembered without its findings, then killed: its row looks for the picture at the next start."""
    store = SqlStore(store_config(tmp_path))
    store.begin_epoch("st1", "start")
    part = not_inspected(trigger(1), frame=frame(1), detections=detections(0))
    wrong = dataclasses.replace(part, result=dataclasses.replace(part.result, counted=(0,)))
    assert store.remember(wrong)
    store.recover()
    store.close()
    connection = sqlite3.connect(tmp_path / "results.db")
    assert connection.execute("select image_state from parts").fetchall() == [("pending",)]
    connection.close()


def test_a_reset_while_the_store_is_down_keeps_the_lines_number(bench: Bench) -> None:
    count = TriggerCount(bench.epoch, 0, bench.record.begin_epoch)
    with bench.locked():
        count.reset()
        for sequence in (1, 2):
            count.take(sequence)
            part = rejected(sequence, count.epoch)
            bench.record.triggered(part)
            bench.record.decided(part)
            until(lambda part=part: part.recorded, "remembered")
    until(lambda: bench.record.healthy, "the store")
    count.reset()
    bench.record.stop(20)
    assert bench.rows("select epoch, cause from epochs") == [
        (1, "start"), (2, "reset"), (3, "reset"),
    ]  # fmt: skip
    assert bench.rows("select distinct epoch from parts") == [(2,)]


def test_a_new_database_knows_the_epoch_that_goes_on(tmp_path: Path) -> None:
    store = SqlStore(store_config(tmp_path))
    store.begin_epoch("st1", "start")
    store.enter_epoch("st1", 2, "reset")
    store._drop()
    for path in tmp_path.glob("results.db*"):
        path.write_bytes(os.urandom(8192)) if path.name == "results.db" else path.unlink()
    with pytest.raises(StoreError, match="put aside"):
        store.recover()
    store.recover()
    store.close()
    connection = sqlite3.connect(tmp_path / "results.db")
    assert connection.execute("select epoch, cause from epochs").fetchall() == [(2, "reset")]
    connection.close()


def test_a_disk_without_room_keeps_ready_off(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It came and went twice a second, and each time wrote an alarm on to that disk."""
    room = database.MIN_FREE
    monkeypatch.setattr(database, "MIN_FREE", 1 << 60)
    until(lambda: not bench.record.healthy, "the fault")
    end = time.monotonic() + 2.5
    while time.monotonic() < end:
        assert not bench.record.healthy
        time.sleep(0.01)
    monkeypatch.setattr(database, "MIN_FREE", room)
    until(lambda: bench.record.healthy, "the store")


def test_what_became_of_a_command_is_told_after_the_store_is_back(bench: Bench) -> None:
    with database.make_engine(bench.config).begin() as connection:
        asked = {"station": "st1", "kind": "recipe", "value": {"number": 2}, "who": "kim"}
        connection.execute(
            sa.insert(commands), {**asked, "at": utc_now(), "state": "asked", "detail": ""}
        )
    found = None
    end = time.monotonic() + 10
    while found is None and time.monotonic() < end:
        found = bench.record.command()
        time.sleep(0.005)
    assert found is not None
    with bench.locked():
        bench.record.command_done(found, CommandState.DONE, "1 bottle/3")
        until(lambda: not bench.record.healthy, "the fault")
    until(lambda: bench.record.healthy, "the store")
    assert bench.rows("select state, detail from commands") == [("done", "1 bottle/3")]


def test_a_late_result_waits_for_its_parts_row(tmp_path: Path) -> None:
    """The trigger's row failed, and the model answered before the loop handed the decision over."""
    store = SqlStore(store_config(tmp_path))
    store.begin_epoch("st1", "start")
    store._drop()
    with pytest.raises(StoreError):
        store.late(trigger(1).key, FAILED)
    assert store.remember(not_inspected(trigger(1)))
    store.recover()
    store.close()
    connection = sqlite3.connect(tmp_path / "results.db")
    ((late,),) = connection.execute("select late from parts").fetchall()
    assert [one["decision"] for one in json.loads(late)] == ["FAIL"]
    assert connection.execute("select * from alarms").fetchall() == []
    connection.close()


def test_a_late_result_that_comes_before_its_parts_row_is_kept(tmp_path: Path) -> None:
    """The store is back before the decision comes: nothing waits, and there is no row yet."""
    store = SqlStore(store_config(tmp_path))
    store.begin_epoch("st1", "start")
    for sequence in (1, 2):
        store.late(trigger(sequence).key, FAILED)
    store.decided(not_inspected(trigger(1), Reason.DEADLINE))
    store.remember(not_inspected(trigger(2), Reason.DEADLINE))
    store.recover()
    store.close()
    connection = sqlite3.connect(tmp_path / "results.db")
    late = [json.loads(row[0]) for row in connection.execute("select late from parts order by id")]
    assert [[one["decision"] for one in kept] for kept in late] == [["FAIL"], ["FAIL"]]
    connection.close()


def test_what_came_before_a_row_is_written_behind_it_in_its_order(tmp_path: Path) -> None:
    store = SqlStore(store_config(tmp_path))
    store.begin_epoch("st1", "start")
    store._drop()
    asked = trigger(1)
    for state in ("sampled_out", "pending", "shed"):
        with pytest.raises(StoreError):
            store.images(asked.key, state, [])
    store.remember(not_inspected(asked))
    with pytest.raises(StoreError):
        store.sent(asked.key, 1.0, "at")
    store.recover()
    store.close()
    connection = sqlite3.connect(tmp_path / "results.db")
    told = connection.execute("select state, image_state from parts").fetchall()
    assert told == [("sent", "shed")]
    connection.close()


def test_an_epoch_waits_behind_what_belongs_to_the_one_before(tmp_path: Path) -> None:
    """A FAIL that was never sent is final once there is a higher epoch; here it is replaced first."""
    store = SqlStore(store_config(tmp_path))
    store.begin_epoch("st1", "start")
    store.remember(not_inspected(trigger(1)))
    with pytest.raises(StoreError, match="wait to be written"):
        store.enter_epoch("st1", 2, "reset")
    connection = sqlite3.connect(tmp_path / "results.db")
    assert connection.execute("select max(epoch) from epochs").fetchall() == [(1,)]
    store.recover()
    assert connection.execute("select max(epoch) from epochs").fetchall() == [(2,)]
    connection.close()
    store.close()


def test_a_journal_that_cannot_be_written_keeps_no_row_waiting(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database is well: a RESET cannot be marked, and the parts after it are written all the same."""
    count = TriggerCount(bench.epoch, 0, bench.record.begin_epoch)

    def refuse(_journal: Journal, _marks: object) -> None:
        raise StoreError("the journal's disk is read-only")

    with monkeypatch.context() as broken:
        broken.setattr(Journal, "mark", refuse)
        count.reset()
        for sequence in (1, 2, 3):
            part = rejected(sequence, count.epoch)
            bench.record.triggered(part)
            bench.record.decided(part)
            until(lambda part=part: part.recorded, "its row")
        assert bench.record.healthy
        assert bench.rows("select count(*), min(decision) from parts") == [(3, "NOT_INSPECTED")]
    until(lambda: bench.store._journal.marks.epochs["st1"] == 2, "the mark, at a check")


@pytest.mark.parametrize("first", ["shed", "none"])
def test_a_picture_that_a_pass_did_not_get_is_kept_when_it_is_rejected(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    part = judged(1, PASSED)
    with monkeypatch.context() as full:
        full.setattr(bench.images, "offer", lambda _inspected: first)
        bench.record.triggered(part)
        bench.record.decided(part)
        until(lambda: bench.rows("select image_state from parts") == [(first,)], first)
    part.reject(Reason.DEADLINE, "could not be published in time")
    bench.record.decided(part)
    bench.record.stop(20)
    assert bench.rows("select image_state from parts") == [("saved",)]
    assert len(bench.pictures()) == 1


def test_a_waiting_picture_is_no_passed_parts_once_it_is_rejected(tmp_path: Path) -> None:
    """Else it would be the first to make room."""
    told: dict[int, str] = {}
    go_on = threading.Event()

    def done(key: PartKey, state: str, _files: list[StoredImage]) -> None:
        told[key.sequence] = state
        go_on.wait(20)

    images = ImageWriter(store_config(tmp_path, images={"queue": 2}), done)
    images.offer(inspected(trigger(1), FAILED))
    until(lambda: 1 in told, "the first, which holds the thread")
    passed = inspected(trigger(2))
    assert images.offer(passed) is None
    assert images.offer(inspected(trigger(3))) is None
    images.decided_again(dataclasses.replace(passed, result=not_inspected(trigger(2)).result))
    assert images.offer(inspected(trigger(4), FAILED)) is None
    go_on.set()
    images.close()
    assert told == {1: "saved", 2: "saved", 3: "shed", 4: "saved"}


def test_a_row_that_is_refused_still_gets_its_answer(tmp_path: Path) -> None:
    store = SqlStore(store_config(tmp_path))
    store.begin_epoch("st1", "start")
    asked = trigger(1)
    store.triggered(asked, 1)
    part = not_inspected(asked)
    too_much = dataclasses.replace(part, result=dataclasses.replace(part.result, over_t1=2**70))
    store.remember(too_much)
    store.recover()
    assert store.waiting == 0
    store.close()
    connection = sqlite3.connect(tmp_path / "results.db")
    assert connection.execute("select decision, reason, over_t1, serial from parts").fetchall() == [
        ("NOT_INSPECTED", "STORE_FAILED", 0, asked.serial)
    ]
    ((text,),) = connection.execute("select detail from alarms").fetchall()
    assert "is written without what was found" in text
    connection.close()


def test_an_expired_picture_is_not_said_to_be_saved_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row was told, the store did not know it, and the picture was deleted before it was told again."""
    config = store_config(tmp_path)
    store = SqlStore(config)
    store.begin_epoch("st1", "start")
    part = inspected(trigger(1))
    store.decided(part)
    stored = write_picture(config.images, part)
    real = transactions.Transactions.transact

    def unknown(self: Any, what: str, apply: Any) -> Any:
        real(self, what, apply)
        self.drop()
        raise StoreError("the answer of the commit was lost")

    with monkeypatch.context() as lost:
        lost.setattr(transactions.Transactions, "transact", unknown)
        with pytest.raises(StoreError, match="lost"):
            store.images(part.trigger.key, "saved", [stored])
    guard = DiskGuard(config)
    guard.watch("st1")
    assert guard._make_room()
    guard.close()
    store.recover()
    store.close()
    assert verify(config, images=config.images.folder).is_clean


def test_slots_are_free_again_after_a_disk_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqlStore(store_config(tmp_path))
    store.begin_epoch("st1", "start")
    free = store.journal_free
    store._drop()
    for sequence in (1, 2, 3):
        assert store.remember(not_inspected(trigger(sequence)))

    def refuse(_file: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", refuse)
        assert not store.remember(not_inspected(trigger(4)))
    store.recover()
    assert (store.waiting, store.journal_free) == (0, free)
    store.close()
