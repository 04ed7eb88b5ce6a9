"""What every store promises, over SQLite and PostgreSQL."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from postgres_server import NoServerError, PostgresServer
from store_samples import (
    FAILED,
    MODEL,
    PASSED,
    REVIEWED,
    detections,
    frame,
    inspected,
    not_inspected,
    store_config,
    trigger,
    utc_now,
)

from inspection.errors import StoreError
from inspection.protocols import Store
from inspection.store import database, tables
from inspection.store.alone import no_line_runs
from inspection.store.config import StoreConfig
from inspection.store.queries import PartFilter, StoreReader, VersionConflictError
from inspection.store.sql import RESERVE, SqlStore
from inspection.types import Decision, PartKey, PartState, Reason, Result, StoredImage, Verdict


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    try:
        running = PostgresServer()
    except NoServerError as error:
        pytest.skip(str(error))
    yield running
    running.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> StoreConfig:
    if request.param == "sqlite":
        return store_config(tmp_path)
    running: PostgresServer = request.getfixturevalue("server")
    return store_config(tmp_path, url=running.url(f"t{time.monotonic_ns()}"), busy_timeout=1)


@pytest.fixture
def store(config: StoreConfig) -> Iterator[SqlStore]:
    opened = SqlStore(config)
    yield opened
    opened.close()


def row(config: StoreConfig, key: PartKey) -> dict[str, object]:
    with StoreReader(config) as reader:
        found = reader.page(PartFilter(station=key.station), limit=1000)
    return next(r for r in found if (r["epoch"], r["sequence"]) == (key.epoch, key.sequence))


def test_satisfies_the_protocol(store: SqlStore) -> None:
    assert isinstance(store, Store)


def test_one_part_from_trigger_to_acknowledgement(store: SqlStore, config: StoreConfig) -> None:
    epoch = store.begin_epoch("st1", "start")
    asked = trigger(7, epoch=epoch)
    record = store.triggered(asked, 1)
    assert 1 <= record < 2**32
    assert store.last_part("st1") == dataclasses.replace(
        store.last_part("st1"),
        state=PartState.TRIGGERED,
        record_id=record,
        result=None,  # type: ignore[type-var]
    )
    before = time.monotonic()
    part = inspected(asked, FAILED, frame=frame(7, truth={"scratch": 1}))
    assert store.decided(part) == record
    after = time.monotonic()
    store.sent(asked.key, 5.0, "sent-at")
    store.acknowledged(asked.key, 6.0, "ack-at")
    store.images(asked.key, "saved", [StoredImage("a/b.jpg", "ee" * 32, 64, 48)])
    found = row(config, asked.key)
    assert before <= found["committed_mono"] <= after
    expected = {
        "id": record,
        "state": "acknowledged",
        "part_id": 1007,
        "serial": "S7",
        "decision": "FAIL",
        "reason": "DEFECT",
        "reasons": ["DEFECT"],
        "detail": "scratch",
        "deciding_class": 1,
        "deciding_score": 0.91,
        "over_t1": 1,
        "detections": [
            {"class": "scratch", "score": 0.25, "box": [1.0, 2.0, 30.0, 40.0], "counted": True}
        ],
        "release": "bottle/3",
        "release_number": 3,
        "recipe_number": 1,
        "recipe_sha256": "ab" * 32,
        "part_name": "bottle",
        "model_sha256": MODEL,
        "frame_id": 7,
        "camera": "top",
        "source": "7.png",
        "truth": {"scratch": 1},
        "simulated": True,
        "sent_mono": 5.0,
        "sent_at": "sent-at",
        "acknowledged_mono": 6.0,
        "acknowledged_at": "ack-at",
        "image_state": "saved",
        "images": [{"path": "a/b.jpg", "sha256": "ee" * 32, "width": 64, "height": 48}],
        "timings": {"grab": 0.01, "infer": 0.02},
        "late": None,
    }
    assert {name: found[name] for name in expected} == expected
    answer = store.last_part("st1")
    assert answer is not None
    assert answer.result == FAILED
    assert answer.state is PartState.ACKNOWLEDGED


def test_epochs_count_up_for_each_station_and_over_restarts(config: StoreConfig) -> None:
    first = SqlStore(config)
    assert first.begin_epoch("a", "start") == 1
    assert first.begin_epoch("a", "wrap") == 2
    assert first.begin_epoch("b", "start") == 1
    first.close()
    again = SqlStore(config)
    assert again.begin_epoch("a", "start") == 3
    again.close()


def test_the_same_trigger_again_is_the_same_row(store: SqlStore) -> None:
    asked = trigger(1)
    assert store.triggered(asked, 1) == store.triggered(asked, 1)
    with pytest.raises(StoreError, match="another trigger"):
        store.triggered(trigger(1), 1)


def test_a_decision_without_its_trigger_inserts_the_row(
    store: SqlStore, config: StoreConfig
) -> None:
    asked = trigger(1)
    record = store.decided(inspected(asked))
    assert row(config, asked.key)["id"] == record
    assert store.triggered(asked, 1) == record


@pytest.mark.parametrize("first", [PASSED, FAILED, REVIEWED])
def test_not_inspected_replaces_what_was_never_sent(
    store: SqlStore, config: StoreConfig, first: Result
) -> None:
    asked = trigger(1)
    store.triggered(asked, 1)
    store.decided(inspected(asked, first))
    store.decided(not_inspected(asked, Reason.DEADLINE))
    found = row(config, asked.key)
    assert (found["decision"], found["reason"]) == ("NOT_INSPECTED", "DEADLINE")
    assert [late["decision"] for late in found["late"]] == [first.decision.value]  # type: ignore[attr-defined]
    assert found["frame_id"] == 1


@pytest.mark.parametrize(
    "second", [PASSED, FAILED, REVIEWED, Result.not_inspected(Reason.DEADLINE)]
)
def test_what_was_sent_is_never_replaced(
    store: SqlStore, config: StoreConfig, second: Result
) -> None:
    asked = trigger(1)
    store.decided(inspected(asked, REVIEWED))
    store.sent(asked.key, 1.0, utc_now())
    store.decided(inspected(asked, second))
    found = row(config, asked.key)
    assert (found["decision"], found["state"]) == ("REVIEW", "sent")
    assert [late["decision"] for late in found["late"]] == [second.decision.value]  # type: ignore[attr-defined]


@pytest.mark.parametrize("second", [PASSED, FAILED, REVIEWED])
def test_a_second_decision_never_replaces_the_first(
    store: SqlStore, config: StoreConfig, second: Result
) -> None:
    asked = trigger(1)
    store.decided(not_inspected(asked, Reason.CAMERA_TIMEOUT))
    store.decided(inspected(asked, second))
    assert row(config, asked.key)["decision"] == "NOT_INSPECTED"


def test_late_results_are_kept(store: SqlStore, config: StoreConfig) -> None:
    asked = trigger(1)
    store.decided(not_inspected(asked, Reason.DEADLINE))
    store.late(asked.key, FAILED)
    store.late(asked.key, PASSED)
    kept = row(config, asked.key)["late"]
    assert [late["decision"] for late in kept] == ["FAIL", "PASS"]  # type: ignore[attr-defined]


def test_open_parts_are_closed_once(store: SqlStore, config: StoreConfig) -> None:
    store.triggered(trigger(1), 1)
    store.triggered(trigger(2), 1)
    store.triggered(trigger(1, station="other"), 1)
    store.decided(inspected(trigger(3)))
    assert store.close_open_parts("st1", Reason.RESTART) == 2
    assert store.close_open_parts("st1", Reason.RESTART) == 0
    found = row(config, PartKey("st1", 1, 2))
    assert (found["decision"], found["reason"], found["state"]) == (
        "NOT_INSPECTED",
        "RESTART",
        "decided",
    )
    assert row(config, PartKey("other", 1, 1))["state"] == "triggered"


def _old_frame(sequence: int) -> object:
    return dataclasses.replace(frame(sequence), exposed_mono=time.monotonic() - 100)


@pytest.mark.parametrize(
    "changes",
    [
        lambda: {"frame": None},
        lambda: {"frame": _old_frame(1)},
        lambda: {"frame": dataclasses.replace(frame(1), exposed_mono=math.nan)},
        lambda: {"detections": None},
        lambda: {"detections": dataclasses.replace(detections(), model_sha256="")},
        lambda: {
            "detections": dataclasses.replace(detections(), scores=np.array([np.nan], np.float32))
        },
        lambda: {"detections": dataclasses.replace(detections(), anomaly_score=math.inf)},
        lambda: {"recipe": None},
        lambda: {"result": Result(Decision.PASS, Reason.DEFECT)},
        lambda: {"timings": {"infer": math.nan}},
    ],
)
def test_a_pass_that_is_not_proven_is_refused(
    store: SqlStore, config: StoreConfig, changes: Callable[[], dict[str, object]]
) -> None:
    asked = trigger(1)
    store.triggered(asked, 1)
    with pytest.raises(StoreError):
        store.decided(inspected(asked, **changes()))
    assert row(config, asked.key)["state"] == "triggered"
    store.decided(not_inspected(asked, Reason.INTERNAL))  # the store still works
    assert row(config, asked.key)["decision"] == "NOT_INSPECTED"


def test_a_pass_after_its_deadline_is_refused(store: SqlStore) -> None:
    with pytest.raises(StoreError, match="proven"):
        store.decided(inspected(trigger(1, deadline=-1.0)))


def test_numbers_that_are_not_finite_are_kept_as_unknown_when_nothing_passes(
    store: SqlStore, config: StoreConfig
) -> None:
    asked = trigger(1)
    bad = dataclasses.replace(detections(), scores=np.array([np.nan], np.float32))
    store.decided(not_inspected(asked, Reason.MODEL_OUTPUT, detections=bad, frame=frame(1)))
    assert row(config, asked.key)["detections"][0]["score"] is None  # type: ignore[index]


def test_only_not_inspected_is_remembered(store: SqlStore) -> None:
    for result in (PASSED, FAILED, REVIEWED):
        with pytest.raises(ValueError, match="NOT_INSPECTED"):
            store.remember(inspected(trigger(1), result))


def test_what_was_remembered_is_written_by_recover(store: SqlStore, config: StoreConfig) -> None:
    asked = trigger(1)
    store.triggered(asked, 1)
    assert store.remember(not_inspected(asked)) is True
    assert store.waiting == 1
    store.recover()
    store.recover()
    found = row(config, asked.key)
    assert (found["decision"], found["late"]) == ("NOT_INSPECTED", None)
    assert store.waiting == 0


def test_what_was_remembered_survives_a_restart_without_recover(config: StoreConfig) -> None:
    first = SqlStore(config)
    parts = [not_inspected(trigger(n)) for n in (1, 2, 3)]
    assert [first.remember(part) for part in parts] == [True] * 3
    first.close()
    again = SqlStore(config)
    for part in parts:
        assert row(config, part.trigger.key)["reason"] == "STORE_FAILED"
    again.close()


def test_a_sent_pass_in_memory_is_not_replaced(store: SqlStore, config: StoreConfig) -> None:
    """The PLC was told PASS, the store missed that; what the PLC was told wins."""
    asked = trigger(1)
    store.decided(inspected(asked))
    store._drop()  # as after a disk error
    with pytest.raises(StoreError, match="recover"):
        store.sent(asked.key, 1.0, utc_now())
    store.remember(not_inspected(asked, Reason.INTERNAL))
    store.recover()
    found = row(config, asked.key)
    assert (found["decision"], found["state"]) == ("PASS", "sent")
    assert len(found["late"]) == 1  # type: ignore[arg-type]


def test_calls_in_bad_times_are_remembered_in_order(store: SqlStore, config: StoreConfig) -> None:
    first, second = trigger(1), trigger(2)
    store.triggered(first, 1)
    store._drop()
    for part in (not_inspected(first), not_inspected(second)):
        with pytest.raises(StoreError):
            store.decided(part)
        assert store.remember(part)
        with pytest.raises(StoreError):
            store.sent(part.trigger.key, 9.0, "at")
    with pytest.raises(StoreError):
        store.images(first.key, "shed", [])
    with pytest.raises(StoreError):
        store.late(second.key, FAILED)
    with pytest.raises(StoreError):
        store.alarm("st1", Reason.STORE_FAILED, "disk", True)
    store.recover()
    one, two = row(config, first.key), row(config, second.key)
    assert (one["state"], one["image_state"]) == ("sent", "shed")
    assert (two["state"], [late["decision"] for late in two["late"]]) == ("sent", ["FAIL"])  # type: ignore[attr-defined]
    with StoreReader(config) as reader:
        assert [a["reason"] for a in reader.alarms("st1")] == ["STORE_FAILED"]


def test_what_is_said_of_a_part_waits_behind_its_own_row(
    store: SqlStore, config: StoreConfig
) -> None:
    """The row was refused for what it says, so the connection holds: only this part waits, in order."""
    asked = trigger(1)
    store.triggered(asked, 1)
    assert store.remember(not_inspected(asked, frame=frame(1)))
    saved = [StoredImage("st1/1/00/1-1.jpg", "ab" * 32, 64, 48)]
    for call in (
        lambda: store.sent(asked.key, 1.0, "at"),
        lambda: store.images(asked.key, "saved", saved),
    ):
        with pytest.raises(StoreError, match="recover"):
            call()
    other = trigger(2)
    store.decided(inspected(other))
    store.sent(other.key, 2.0, "at")
    store.recover()
    one, two = row(config, asked.key), row(config, other.key)
    assert (one["state"], one["image_state"], two["state"]) == ("sent", "saved", "sent")


def test_not_inspected_that_was_sent_replaces_a_pass_of_unknown_end(
    store: SqlStore, config: StoreConfig
) -> None:
    """The PASS was durable although the store said no: the PLC was told NOT_INSPECTED, and so the row is."""
    asked = trigger(1)
    store.decided(inspected(asked))
    store.remember(not_inspected(asked))
    with pytest.raises(StoreError, match="recover"):
        store.sent(asked.key, 1.0, "at")
    store.recover()
    found = row(config, asked.key)
    assert (found["decision"], found["state"]) == ("NOT_INSPECTED", "sent")


def test_a_call_for_a_row_that_does_not_exist_fails_and_does_not_block(
    store: SqlStore, config: StoreConfig
) -> None:
    with pytest.raises(StoreError, match="no decided row"):
        store.sent(PartKey("st1", 1, 99), 1.0, "at")
    assert store.waiting == 0
    store._drop()
    with pytest.raises(StoreError):
        store.sent(PartKey("st1", 1, 99), 1.0, "at")
    store.recover()
    assert store.waiting == 0
    with StoreReader(config) as reader:
        assert "refused" in str(reader.alarms()[0]["detail"])


def test_the_probe_of_a_plc_and_the_line_keep_each_other_out(config: StoreConfig) -> None:
    with no_line_runs(config, "st1"), no_line_runs(config, "st2"):
        line = SqlStore(config)
        with pytest.raises(StoreError, match="another process"):
            line.begin_epoch("st1", "start")
        line.close()
    line = SqlStore(config)
    line.begin_epoch("st1", "start")
    with pytest.raises(StoreError, match="another process"), no_line_runs(config, "st1"):
        pytest.fail("both would write STAT")
    line.close()


def test_a_second_process_of_the_station_is_refused(config: StoreConfig, tmp_path: Path) -> None:
    first = SqlStore(config)
    first.begin_epoch("st1", "start")
    with pytest.raises(StoreError, match="in use"):
        SqlStore(config)
    other = SqlStore(config.model_copy(update={"journal": tmp_path / "other.journal"}))
    with pytest.raises(StoreError, match="another process"):
        other.begin_epoch("st1", "start")
    assert other.begin_epoch("st2", "start") == 1
    first.close()
    deadline = time.monotonic() + 10
    while True:  # PostgreSQL notices the closed connection a moment later
        try:
            assert other.begin_epoch("st1", "start") == 2
            break
        except StoreError:
            assert time.monotonic() < deadline
    other.close()


def test_verdicts_are_append_only_and_versions_conflict(
    store: SqlStore, config: StoreConfig
) -> None:
    record = store.decided(inspected(trigger(1), FAILED))
    with StoreReader(config) as reader:
        assert (
            reader.add_verdict(record, Verdict.FALSE_CALL, "kim", version_seen=0, comment="먼지")
            == 1
        )
        with pytest.raises(VersionConflictError):
            reader.add_verdict(record, Verdict.REAL_DEFECT, "lee", version_seen=0)
        assert reader.add_verdict(record, Verdict.REAL_DEFECT, "lee", version_seen=1) == 2
        with pytest.raises(StoreError, match="not in the store"):
            reader.add_verdict(record + 1, Verdict.REAL_DEFECT, "lee", version_seen=0)
        found = reader.part(record)
    assert found is not None
    assert [(v["verdict"], v["who"], v["comment"]) for v in found[1]] == [
        ("false_call", "kim", "먼지"),
        ("real_defect", "lee", ""),
    ]
    engine = database.make_engine(config)
    for statement in ("UPDATE verdicts SET who = 'x'", "DELETE FROM verdicts"):
        with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
            connection.execute(sa.text(statement))


def test_pages_and_counts(store: SqlStore, config: StoreConfig) -> None:
    for n in range(1, 31):
        store.decided(inspected(trigger(n), PASSED if n % 3 else FAILED))
    store.triggered(trigger(31), 1)
    with StoreReader(config) as reader:
        assert reader.counts() == {
            "PASS": 20,
            "FAIL": 10,
            "REVIEW": 0,
            "NOT_INSPECTED": 0,
            "OPEN": 1,
        }
        failed = PartFilter(station="st1", decision=Decision.FAIL)
        first = reader.page(failed, limit=6)
        second = reader.page(failed, below=int(first[-1]["id"]), limit=6)
        assert [r["sequence"] for r in first + second] == [30, 27, 24, 21, 18, 15, 12, 9, 6, 3]
        assert [r["sequence"] for r in reader.page(PartFilter(serial="S5"))] == [5]
        assert [r["sequence"] for r in reader.page(PartFilter(part_id=1006))] == [6]
        reader.add_verdict(int(first[0]["id"]), Verdict.BORDERLINE, "kim", version_seen=0)
        waiting = PartFilter(decision=Decision.FAIL, unreviewed=True)
        assert 30 not in [r["sequence"] for r in reader.page(waiting)]


def test_tables_and_newest_migration_agree(store: SqlStore, config: StoreConfig) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with database.make_engine(config).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []


def test_a_store_of_a_newer_program_is_refused(config: StoreConfig) -> None:
    SqlStore(config).close()
    with database.make_engine(config).begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="update the program"):
        SqlStore(config)
    with pytest.raises(StoreError, match="9999"):
        StoreReader(config)


def test_a_new_database_never_gives_a_record_or_epoch_again(config: StoreConfig) -> None:
    first = SqlStore(config)
    assert first.begin_epoch("st1", "start") == 1
    given = first.triggered(trigger(1), 1)
    first.close()
    with database.make_engine(config).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("DROP SCHEMA public CASCADE"))
            connection.execute(sa.text("CREATE SCHEMA public"))
        else:
            found = sa.MetaData()
            found.reflect(connection)
            found.drop_all(connection)
    again = SqlStore(config)
    assert again.begin_epoch("st1", "start") == 2
    assert again.triggered(trigger(2, epoch=2), 1) > given + RESERVE // 2
    again.close()


def test_close_twice_and_use_after_close(config: StoreConfig) -> None:
    store = SqlStore(config)
    store.close()
    store.close()
    with pytest.raises(StoreError):
        store.triggered(trigger(1), 1)


def test_the_password_is_never_in_a_message(tmp_path: Path) -> None:
    config = store_config(tmp_path, url="postgresql://someone:secret@127.0.0.1:1/none")
    with pytest.raises(StoreError) as caught:
        SqlStore(config)
    assert "secret" not in str(caught.value)
    assert "***" in str(caught.value)
