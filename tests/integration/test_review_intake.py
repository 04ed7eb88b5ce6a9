"""The intake takes a part in when its decision can never change, and passes none by."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from store_samples import FAILED, PASSED, inspected, not_inspected, trigger

from inspection.store import writes
from inspection.store.config import StoreConfig
from inspection.store.database import make_engine
from inspection.store.sql import SqlStore
from inspection.store.web import intake, settings
from inspection.store.web.access import WebStore
from inspection.store.web.counting import Counting
from inspection.store.web.intake import PASS_SHARE, Intake, read_mark
from inspection.store.web.tables import reviews, slots
from inspection.types import Inspected, Reason, Result


@pytest.fixture
def line(config: StoreConfig) -> Iterator[SqlStore]:
    store = SqlStore(config)
    store.begin_epoch("st1", "start")
    yield store
    store.close()


@pytest.fixture
def web(line: SqlStore, config: StoreConfig) -> Iterator[WebStore]:
    """The pages' store; every passed part is in the sample."""
    store = WebStore(config)
    with store.write("every passed part") as connection:
        settings.change(connection, PASS_SHARE, 1.0, "test")
    yield store
    store.close()


def decide(line: SqlStore, sequence: int, result: Result) -> Inspected:
    part = inspected(trigger(sequence), result)
    line.triggered(part.trigger, 1)
    line.decided(part)
    line.images(part.trigger.key, "saved", [])
    return part


def send(line: SqlStore, part: Inspected) -> None:
    line.sent(part.trigger.key, part.decided_mono, part.decided_at)


def found(web: WebStore) -> list[tuple[int, str, str]]:
    query = sa.select(reviews.c.record, reviews.c.decision, reviews.c.why)
    with web.read("a test") as connection:
        return [tuple(row) for row in connection.execute(query.order_by(reviews.c.record))]


@pytest.mark.parametrize("result", [PASSED, FAILED], ids=["pass", "fail"])
def test_a_decision_replaced_before_it_was_sent_was_never_taken_in(
    line: SqlStore, web: WebStore, result: Result
) -> None:
    """The sample holds no part that never passed, whenever the intake looks."""
    late = decide(line, 1, result)
    early = decide(line, 2, result)
    send(line, early)
    assert Intake(web).take_all() == 1
    assert [row[0] for row in found(web)] == [2]
    line.decided(not_inspected(late.trigger, Reason.DEADLINE))
    assert Intake(web).take_all() == 1
    assert found(web)[0] == (1, "NOT_INSPECTED", "flagged")


def test_a_defect_that_the_line_never_told_comes_to_review_after_its_restart(
    line: SqlStore, web: WebStore
) -> None:
    """Killed between the row and the PLC; a PASS that was never told passed no part."""
    decide(line, 1, FAILED)
    decide(line, 2, PASSED)
    counting, number = Counting(web), sa.select(sa.func.sum(slots.c.number))
    for epochs, wanted in ((0, []), (1, [(1, "FAIL", "flagged")])):
        for _ in range(epochs):
            line.begin_epoch("st1", "start")
        for _ in range(2):  # PostgreSQL: what was seen at the look before
            Intake(web).take_all()
            counting.step(worth=0)
        assert found(web) == wanted
        with web.read("a test") as connection:
            assert (connection.execute(number).scalar() or 0) == len(wanted)


def test_what_waits_is_kept_over_a_restart_and_hides_nothing(
    line: SqlStore, web: WebStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More parts than a batch that wait do not keep later ones out; none of them is passed by."""
    monkeypatch.setattr(intake, "BATCH", 3)
    monkeypatch.setattr(intake, "PAUSE", 0.0)
    waiting = [decide(line, sequence, FAILED) for sequence in range(1, 10)]
    for _ in range(3):  # PostgreSQL's mark moves at the second look
        assert Intake(web).take_all() == 0
    taking = Intake(web)
    for _ in range(2):
        assert taking.take_all() == 0
    with web.read("the mark") as connection:
        assert read_mark(connection) == {"record": 9, "open": list(range(1, 10))}
    send(line, waiting[8])
    assert Intake(web).take_all() == 1
    assert [row[0] for row in found(web)] == [9]
    for part in waiting[:8]:
        send(line, part)
    assert Intake(web).take_all() == 8
    with web.read("the mark") as connection:
        assert read_mark(connection)["open"] == []


def test_the_list_of_what_waits_has_an_end(
    line: SqlStore,
    web: WebStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(intake, "BATCH", 3)
    monkeypatch.setattr(intake, "MOST_OPEN", 4)
    taking = Intake(web)
    for sequence in range(1, 7):
        decide(line, sequence, FAILED)
    for _ in range(2):
        taking.take_all()
    with web.read("the mark") as connection:
        assert read_mark(connection) == {"record": 6, "open": [3, 4, 5, 6]}
    assert "2 parts" in caplog.text


def test_a_row_of_a_transaction_that_stands_still_is_not_passed_by(
    line: SqlStore, web: WebStore, config: StoreConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A station that is frozen between INSERT and COMMIT holds an id; later ids are there already."""
    if config.sqlite_path is not None:
        pytest.skip("SQLite has one writer at a time")
    monkeypatch.setattr(intake, "BATCH", 1)
    taking = Intake(web)
    frozen = inspected(trigger(1, station="st2"), FAILED)
    engine = make_engine(config)
    with engine.connect() as connection, connection.begin():
        record = writes.insert_triggered(connection, frozen.trigger, 1)
        for sequence in (1, 2, 3):
            send(line, decide(line, sequence, FAILED))
        assert sum(taking.take_all() for _ in range(4)) == 3, "the others do not wait for it"
        with web.read("the mark") as reading:
            assert read_mark(reading)["record"] < record
    engine.dispose()
    line.decided(frozen)
    send(line, frozen)
    assert sum(taking.take_all() for _ in range(3)) == 1
    assert record in {row[0] for row in found(web)}
    with web.read("the mark") as reading:
        assert read_mark(reading)["record"] == record + 3
