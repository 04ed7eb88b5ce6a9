"""Counts of half hours: whatever happens to rows, slots and the rest sum up to what the table holds."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from store_samples import (
    FAILED,
    PASSED,
    detections,
    inspected,
    not_inspected,
    trigger,
)

from inspection.store.config import StoreConfig
from inspection.store.sql import SqlStore
from inspection.store.tables import parts
from inspection.store.web.access import WebStore
from inspection.store.web.counting import Counting
from inspection.store.web.counts import (
    _KEYS,
    KEYS,
    OPEN,
    Counts,
    Wanted,
    choices,
    latest_flagged,
    latest_good,
    read_mark,
    same_state,
)
from inspection.store.web.tables import reviews, slots
from inspection.store.web.tallies import judged
from inspection.types import Decision, Reason, Trigger


@pytest.fixture
def line(config: StoreConfig) -> Iterator[SqlStore]:
    store = SqlStore(config)
    store.begin_epoch("st1", "start")
    yield store
    store.close()


@pytest.fixture
def web(line: SqlStore, config: StoreConfig) -> Iterator[WebStore]:
    store = WebStore(config)
    yield store
    store.close()


def whole(web: WebStore) -> dict[tuple[object, ...], int]:
    """Return what the table holds, after checking that slots and the rest say the same."""
    with web.read("checking counts") as connection:
        same_state(connection)
        columns = list(_KEYS.values())
        rows = connection.execute(sa.select(*columns, sa.func.count()).group_by(*columns))
        expected = {tuple(row[:-1]): row[-1] for row in rows}
    with web.read("counting") as connection:
        counts = Counts(connection, Wanted())
        assert counts.by(*KEYS) == expected
        coarse: dict[
            object, int
        ] = {}  # by day where days are whole, by bucket where they are asked for
        for key, number in expected.items():
            coarse[key[5]] = coarse.get(key[5], 0) + number
        assert counts.by("decision") == {(key,): number for key, number in coarse.items()}
        edge = "2026-11-20T12:00"
        buckets = [("2000-01-01T00:00", edge), (edge, "2999-01-01T00:00")]
        halved = counts.by("slot", buckets=buckets)
        assert sum(halved.values()) == sum(expected.values())
        before = sum(n for key, n in expected.items() if key[0] < edge)
        assert sum(n for (slot,), n in halved.items() if slot < edge) == before
    return expected


def step(counting: Counting) -> None:
    """Count what there is; PostgreSQL's rows are taken at the second look."""
    for _ in range(2):
        counting.step(worth=0)


def settled(web: WebStore) -> int:
    with web.read("slots") as connection:
        return int(connection.execute(sa.select(sa.func.sum(slots.c.number))).scalar() or 0)


def asked(sequence: int, ago: float = 0.0) -> Trigger:
    at = (datetime.now(UTC) - timedelta(seconds=ago)).isoformat(timespec="microseconds")
    return replace(trigger(sequence), seen_at=at)


def passed(line: SqlStore, sequence: int, ago: float = 0.0, *, failed: bool = False) -> None:
    """Take a part through its life."""
    part = inspected(asked(sequence, ago), FAILED if failed else PASSED, detections=detections())
    line.triggered(part.trigger, 1)
    line.decided(part)
    line.sent(part.trigger.key, part.decided_mono, part.decided_at)


def test_parts_are_counted_once(line: SqlStore, web: WebStore) -> None:
    counting = Counting(web)
    for sequence in range(1, 8):
        passed(line, sequence, ago=600.0 * sequence, failed=sequence % 3 == 0)
    whole(web)
    assert settled(web) == 0
    step(counting)
    assert settled(web) == 7
    step(counting)
    Counting(web).step(worth=0)
    assert settled(web) == 7
    passed(line, 8)
    whole(web)
    with web.read("by decision") as connection:
        counts = Counts(connection, Wanted()).by("decision", "defect_class")
    assert counts == {("PASS", ""): 6, ("FAIL", "scratch"): 2}


def test_a_row_that_is_closed_at_a_restart(line: SqlStore, web: WebStore) -> None:
    counting = Counting(web)
    line.triggered(asked(1, ago=7200), 1)
    for sequence in (2, 3):
        passed(line, sequence, ago=5400)
    step(counting)
    assert settled(web) == 2
    assert (OPEN,) in {key[5:6] for key in whole(web)}
    with web.read("the mark") as connection:
        assert len(read_mark(connection).open) == 1
    line.close_open_parts("st1", Reason.RESTART)
    assert all(key[5] != OPEN for key in whole(web))
    step(counting)
    assert settled(web) == 3
    whole(web)


def test_a_row_written_long_after_its_trigger(line: SqlStore, web: WebStore) -> None:
    counting = Counting(web)
    for sequence in (1, 2, 3):
        passed(line, sequence, ago=100)
    step(counting)
    late = inspected(asked(4, ago=40 * 86400), PASSED, detections=detections())
    line.decided(late)  # no row of its trigger: the store was away at that time
    assert sum(whole(web).values()) == 4
    line.sent(late.trigger.key, late.decided_mono, late.decided_at)
    step(counting)
    assert settled(web) == 4
    whole(web)


def test_a_decision_replaced_before_it_was_sent(line: SqlStore, web: WebStore) -> None:
    counting = Counting(web)
    part = inspected(asked(1), PASSED, detections=detections())
    line.triggered(part.trigger, 1)
    line.decided(part)
    step(counting)
    assert settled(web) == 0, "it may still change"
    line.decided(not_inspected(part.trigger, Reason.DEADLINE))
    assert {key[5] for key in whole(web)} == {"NOT_INSPECTED"}
    step(counting)
    assert settled(web) == 1
    whole(web)


def test_filters_and_half_hours(line: SqlStore, web: WebStore) -> None:
    counting = Counting(web)
    for sequence in range(1, 5):
        passed(line, sequence, ago=3600.0 * sequence)
    step(counting)
    passed(line, 5)
    edge = (datetime.now(UTC) - timedelta(hours=2, minutes=30)).isoformat(timespec="microseconds")
    slot = edge[:14] + ("00" if edge[14:16] < "30" else "30")
    for wanted in (
        Wanted(since=slot),
        Wanted(until=slot),
        Wanted(station="st1"),
        Wanted(station="x"),
    ):
        with web.read("filtered") as connection:
            counted = sum(Counts(connection, wanted).by("decision").values())
        with web.read("all") as connection:
            every = Counts(connection, Wanted()).by("slot", "station")
        assert counted == sum(
            n for (at, station), n in every.items()
            if (wanted.since is None or at >= wanted.since)
            and (wanted.until is None or at < wanted.until)
            and wanted.station in (None, station)
        )  # fmt: skip
    with web.read("choices") as connection:
        assert choices(connection)["release"] == ["bottle/3"]


def test_the_lists_of_the_filters_read_no_counted_day(web: WebStore, config: StoreConfig) -> None:
    if config.sqlite_path is None:
        pytest.skip("PostgreSQL plans by what it finds in the table")
    asked: list[tuple[str, object]] = []
    with web.read("plans") as connection:
        sa.event.listen(
            connection, "before_cursor_execute", lambda *told: asked.append((told[2], told[3]))
        )
        assert choices(connection) == {"station": [], "recipe_number": [], "release": []}
        plans = [
            str(row[-1])
            for statement, values in asked.copy()
            for row in connection.exec_driver_sql("EXPLAIN QUERY PLAN " + statement, values)
        ]
    steps = [plan for plan in plans if " days " in plan]
    assert len(steps) == 6
    assert all("USING COVERING INDEX" in plan for plan in steps), steps
    assert sum(plan.startswith("SCAN") for plan in steps) == 3, "of these one row each"


def test_while_the_line_writes_and_two_processes_count(line: SqlStore, web: WebStore) -> None:
    stop, troubles = threading.Event(), []

    def counting() -> None:
        mine = Counting(web)
        while not stop.is_set():
            try:
                mine.step(worth=0)
            except Exception as error:
                if "serialize" not in str(error) and "locked" not in str(error):
                    troubles.append(error)
            stop.wait(0.005)

    threads = [threading.Thread(target=counting) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for sequence in range(1, 61):
            passed(line, sequence, ago=sequence * 100.0, failed=sequence % 5 == 0)
            with web.read("counting") as connection:
                assert sum(Counts(connection, Wanted()).by("decision").values()) == sequence
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)
    assert not troubles
    step(Counting(web))
    whole(web)
    assert settled(web) == 60


def test_what_people_said_and_where_it_was(line: SqlStore, web: WebStore) -> None:
    for sequence in (1, 2, 3):
        passed(line, sequence, failed=sequence < 3)
    with web.write("reviews for a test") as connection:
        for record, verdict in ((1, "real_defect"), (2, None)):
            row = connection.execute(sa.select(parts).where(parts.c.id == record)).mappings().one()
            connection.execute(
                sa.insert(reviews),
                {
                    **{name: row[name] for name in ("station", "part_name", "recipe_number", "release",
                       "decision", "reason", "defect_class", "triggered_at")},
                    "record": record, "state": "done" if verdict else "open", "why": "flagged",
                    "probability": 1.0, "version": 0, "verdict": verdict, "changed_at": row["triggered_at"],
                },
            )  # fmt: skip
    with web.read("verdicts") as connection:
        found = judged(connection, Wanted(station="st1"), "release")
        flagged = latest_flagged(connection, Wanted(), 10)
        assert latest_flagged(connection, Wanted(station="x"), 10) == []
        assert latest_good(connection, Wanted(), 10) == []
    assert sorted((row["verdict"] or "", row["number"]) for row in found) == [
        ("", 1),
        ("real_defect", 1),
    ]
    assert [row["id"] for row in flagged] == [1, 2] or [row["id"] for row in flagged] == [2, 1]
    assert flagged[0]["detections"][0]["box"]
    assert Decision.FAIL.value == found[0]["decision"]
