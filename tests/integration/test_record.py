"""The record stage over a real store: back under load, and no answer kept that was taken back."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from store_samples import FAILED, PASSED, detections, frame, store_config, trigger

from inspection.part import PartInFlight
from inspection.record import Record
from inspection.store.images import ImageWriter
from inspection.store.sql import SqlStore
from inspection.types import Decision, Inspected, PartKey, Reason, Result, StoredImage


def opened(folder: Path) -> tuple[Record, SqlStore, ImageWriter]:
    config = store_config(folder, busy_timeout=0.05)
    store = SqlStore(config)
    store.begin_epoch("st1", "start")
    images = ImageWriter(config, lambda *_: None)
    record = Record(store, images, "st1", lambda: None, lambda _state: None)
    record.start()
    return record, store, images


def rejected(sequence: int) -> PartInFlight:
    part = PartInFlight(trigger(sequence), None)
    part.settle(Result.not_inspected(Reason.NOT_READY))
    return part


def test_the_store_comes_back_while_parts_keep_coming(tmp_path: Path) -> None:
    record, store, images = opened(tmp_path)
    locker = sqlite3.connect(tmp_path / "results.db", isolation_level=None, timeout=10)
    locker.execute("begin exclusive")
    pause, sequence = threading.Event(), 0

    def one() -> None:
        nonlocal sequence
        sequence += 1
        part = rejected(sequence)
        record.triggered(part)
        record.decided(part)
        pause.wait(0.1)

    try:
        while record.healthy:
            one()
        locker.execute("rollback")
        end = time.monotonic() + 5
        while not record.healthy and time.monotonic() < end:
            one()
        assert record.healthy, "parts that fail must not put the recovery off"
    finally:
        locker.close()
        record.stop(5)
        images.close()
        store.close()
    rows = sqlite3.connect(tmp_path / "results.db").execute("select sequence from parts").fetchall()
    assert sorted(row[0] for row in rows) == list(range(1, sequence + 1))


def test_an_answer_that_was_taken_back_is_never_the_recorded_one(tmp_path: Path) -> None:
    """The store answers late: the part was rejected meanwhile, and only that may be told."""
    part = PartInFlight(trigger(1), None)
    part.frame, part.detections = frame(1), detections(0)
    part.settle(PASSED)
    stored = part.inspected().result
    part.reject(Reason.STORE_FAILED, "the store did not answer in time")
    part.record_answer(stored)
    assert part.recorded is None
    part.record_answer(part.inspected().result)
    assert part.recorded is not None
    assert part.recorded.decision is Decision.NOT_INSPECTED


def test_a_pass_that_comes_too_late_is_no_fault_of_the_store(tmp_path: Path) -> None:
    """The store refuses a PASS decided past its deadline; it must never be asked to keep one."""
    record, store, images = opened(tmp_path)
    late = trigger(1, deadline=0.0)
    part = PartInFlight(late, None)
    part.frame, part.detections = frame(1), detections(0)
    try:
        record.triggered(part)
        if not part.settle(PASSED):
            record.late(part, PASSED)
        record.decided(part)
    finally:
        record.stop(20)
        images.close()
        store.close()
    assert record.healthy
    assert part.recorded == Result.not_inspected(Reason.DEADLINE)
    with closing(sqlite3.connect(tmp_path / "results.db")) as connection:
        told = connection.execute("select decision, reason, late from parts").fetchall()
    assert [row[:2] for row in told] == [("NOT_INSPECTED", "DEADLINE")]
    assert json.loads(told[0][2])[0]["decision"] == "PASS"


def test_a_pass_that_was_taken_back_while_it_waited_is_never_written(tmp_path: Path) -> None:
    """Pages hold the lock past the deadline: the PLC is told NOT_INSPECTED, and no kill can leave a PASS."""
    config = store_config(tmp_path, busy_timeout=20.0)
    store = SqlStore(config)
    store.begin_epoch("st1", "start")
    images = ImageWriter(config, lambda *_: None)
    record = Record(store, images, "st1", lambda: None, lambda _state: None)
    handed = threading.Event()

    class Watched(PartInFlight):
        def inspected(self) -> Inspected:
            found = super().inspected()
            handed.set()
            return found

    part = Watched(trigger(1), None)
    store.triggered(part.trigger, 1)
    part.frame, part.detections = frame(1), detections(0)
    part.settle(PASSED)
    locker = sqlite3.connect(tmp_path / "results.db", isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    record.start()
    try:
        record.decided(part)
        assert handed.wait(20)
        part.reject(Reason.STORE_FAILED, "the store did not answer in time")
        locker.execute("ROLLBACK")
        record.stop(20)  # nothing followed, as when the process is killed here
        told = [row[0] for row in locker.execute("select decision from parts")]
        assert record.healthy
    finally:
        locker.close()
        images.close()
        store.close()
    assert told == [None]


def test_a_stop_writes_the_pictures_that_wait_and_tells_their_rows(tmp_path: Path) -> None:
    config = store_config(tmp_path)
    store = SqlStore(config)
    store.begin_epoch("st1", "start")

    def told(key: PartKey, state: str, files: list[StoredImage]) -> None:
        record.images(key, state, files)

    images = ImageWriter(config, told)
    record = Record(store, images, "st1", lambda: None, lambda _state: None)
    record.start()
    for sequence in (1, 2, 3):
        part = PartInFlight(trigger(sequence), None)
        part.frame, part.detections = frame(sequence), detections(1)
        part.settle(FAILED)
        record.triggered(part)
        record.decided(part)
    record.stop(20)
    store.close()
    rows = (
        sqlite3.connect(tmp_path / "results.db").execute("select image_state from parts").fetchall()
    )
    assert rows == [("saved",)] * 3


def test_a_stop_does_not_wait_for_a_store_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its queue is full: nothing more can be handed over, and the line still ends."""
    monkeypatch.setattr("inspection.record._CAPACITY", 1)
    config = store_config(tmp_path, busy_timeout=20.0)
    store = SqlStore(config)
    store.begin_epoch("st1", "start")
    images = ImageWriter(config, lambda *_: None)
    record = Record(store, images, "st1", lambda: None, lambda _state: None)
    locker = sqlite3.connect(tmp_path / "results.db", isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    record.start()
    record.triggered(PartInFlight(trigger(1), None))  # the store's thread waits with it
    record.triggered(PartInFlight(trigger(2), None))  # taken when the first was
    stopping = threading.Thread(target=record.stop, args=(0.2,), daemon=True)
    stopping.start()
    stopping.join(10)
    ended = not stopping.is_alive()
    locker.execute("ROLLBACK")
    locker.close()
    record.stop(20)
    images.close()
    store.close()
    assert ended
