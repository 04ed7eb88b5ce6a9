"""Approvals and jobs in the store, on SQLite and on PostgreSQL; how a job stands, from its files alone."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from postgres_server import NoServerError, PostgresServer
from store_samples import store_config

from inspection.errors import StoreError
from inspection.store.sql import SqlStore
from inspection.store.web import approvals, audit, jobs
from inspection.store.web.access import WebStore
from inspection.store.web.approvals import ApprovalError, Step
from inspection.store.web.jobs import JobBusyError, JobState
from inspection_serve.web.models import jobs as runner_of_jobs
from inspection_serve.web.models.jobs import HOST, JobError, Jobs
from inspection_serve.web.models.steps import identity, write_whole
from inspection_serve.web.site import Site, open_site

CARD, OTHER = "a" * 64, "b" * 64


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    try:
        started = PostgresServer()
    except NoServerError as error:
        pytest.skip(str(error))
    yield started
    started.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WebStore]:
    changes = {}
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("server")
        changes = {"url": server.url("jobs_" + request.node.name.split("[")[0][-40:])}
    config = store_config(tmp_path, **changes)
    SqlStore(config).close()
    opened = WebStore(config)
    yield opened
    opened.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    config = store_config(tmp_path)
    SqlStore(config).close()
    opened = open_site(config.url, work=tmp_path / "work")
    yield opened
    opened.close()


def take(store: WebStore, step: Step, who: str, sha256: str = CARD, comment: str = "why") -> None:
    with store.write("a test") as connection:
        approvals.take(connection, "plate", 3, sha256, step, who, comment, {"trainer"})


def state(store: WebStore, sha256: str = CARD) -> Step | None:
    with store.read("a test") as connection:
        return approvals.state(approvals.rows(connection, "plate", 3), sha256)


def refused(store: WebStore, step: Step, who: str, **more: Any) -> str:
    with pytest.raises(ApprovalError) as told:
        take(store, step, who, **more)
    return told.value.code


def test_another_person_approves_this_card_only(store: WebStore) -> None:
    assert refused(store, Step.APPROVED, "lee") == "not_asked"
    take(store, Step.ASKED, "kim")
    assert refused(store, Step.ASKED, "lee") == "asked_already"
    assert refused(store, Step.APPROVED, "kim") == "own_request"
    assert refused(store, Step.APPROVED, "trainer") == "own_training"
    assert refused(store, Step.APPROVED, "lee", sha256=OTHER) == "not_asked"
    assert state(store) is Step.ASKED
    take(store, Step.APPROVED, "lee")
    assert (state(store), state(store, OTHER)) == (Step.APPROVED, None)
    assert refused(store, Step.APPROVED, "park") == "approved_already"
    assert refused(store, Step.DECLINED, "park", comment=" ") == "no_comment"
    take(store, Step.DECLINED, "park")
    assert refused(store, Step.APPROVED, "lee") == "declined_already"
    take(store, Step.ASKED, "lee")
    assert refused(store, Step.APPROVED, "lee") == "own_request"
    with store.read("a test") as connection:
        assert list(audit.breaches(connection)) == []
        actions = [r["action"] for r in audit.rows(connection, subject="release:plate/3")]
    assert actions == [
        "release.asked", "release.declined", "release.approved", "release.asked",
    ]  # fmt: skip


def test_rows_of_approvals_are_never_changed(store: WebStore) -> None:
    take(store, Step.ASKED, "kim")
    for statement in ("UPDATE approvals SET who = 'lee'", "DELETE FROM approvals"):
        with (
            pytest.raises(Exception, match=r"append|never|approvals"),
            store.write("a test") as connection,
        ):
            connection.execute(sa.text(statement))
    assert state(store) is Step.ASKED


def test_who_was_in_force_may_come_back_unless_declined(store: WebStore) -> None:
    with store.write("a test") as connection:
        for number in (1, 2, 2, 1):
            approvals.note_in_force(connection, "plate", number, CARD, 7, "kim")
        rows = approvals.rows(connection, "plate")
        first = approvals.rows(connection, "plate", 1)
        approvals.note_in_force(connection, "plate", 3, CARD, 7, "kim")
    assert [row["number"] for row in rows] == [1, 2, 1]
    assert approvals.may_return(first, CARD)
    assert not approvals.may_return(first, OTHER)
    take(store, Step.ASKED, "kim")
    take(store, Step.DECLINED, "lee")
    with store.read("a test") as connection:
        assert not approvals.may_return(approvals.rows(connection, "plate", 3), CARD)


def test_two_people_start_one_job(store: WebStore) -> None:
    outcomes: list[str] = []

    def start(who: str) -> None:
        try:
            with store.write("a test") as connection:
                jobs.add(connection, "replay", {}, who)
            outcomes.append("started")
        except JobBusyError:
            outcomes.append("busy")

    threads = [threading.Thread(target=start, args=(f"p{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes) == ["busy", "busy", "busy", "started"]


def test_the_end_is_told_once(store: WebStore) -> None:
    with store.write("a test") as connection:
        job = jobs.add(connection, "train", {"dataset": "plate"}, "kim")
        jobs.started(connection, job, {"pid": 5})
        said = {"outcome": {"release": "plate/4"}}
        assert jobs.ended(connection, job, JobState.DONE, 0, said)
        assert not jobs.ended(connection, job, JobState.LOST, None, {})
        assert jobs.trained_by(connection, "plate/4") == {"kim"}
        assert jobs.trained_by(connection, "plate/5") == set()
        assert jobs.active(connection) is None
        row = jobs.find(connection, job)
    assert row is not None
    assert (row["state"], row["exit_code"]) == ("done", 0)


def job_of(site: Site, process: dict[str, Any] | None) -> int:
    with site.store.write("a test") as connection:
        job = jobs.add(connection, "train", {}, "kim")
        jobs.started(connection, job, process or {"pid": 0, "start": 0, "boot": ""})
    (site.work / "jobs" / str(job)).mkdir(parents=True)
    return job


def row_of(site: Site, job: int) -> dict[str, Any]:
    with site.store.read("a test") as connection:
        row = jobs.find(connection, job)
    assert row is not None
    return row


def settled(site: Site, job: int) -> dict[str, Any]:
    Jobs(site).settle()
    return row_of(site, job)


def test_a_job_that_still_runs_is_left_alone(site: Site) -> None:
    job = job_of(site, identity(os.getpid()))
    assert settled(site, job)["state"] == "running"


def test_another_process_of_the_same_number_is_not_the_job(site: Site) -> None:
    ours = identity(os.getpid()) or {}
    job = job_of(site, {**ours, "start": ours["start"] - 1})
    row = settled(site, job)
    assert (row["state"], row["exit_code"]) == ("lost", None)


@pytest.mark.parametrize(
    ("told", "log", "state", "full"),
    [
        ({"code": 0, "step": "train"}, "", "done", None),
        ({"code": 2, "step": "train"}, "inspection: it is wrong\n", "failed", False),
        ({"code": 2, "step": "train"}, "[Errno 28] No space left on device\n", "failed", True),
        ({"code": 1, "step": "check", "errno": errno.ENOSPC}, "", "failed", True),
        ({"code": 1, "step": "train"}, "", "failed", False),
        ({"code": -9, "step": "train"}, "", "failed", False),
        ({"code": 143, "step": "train", "cancelled": True}, "", "cancelled", None),
    ],
)
def test_the_files_say_how_it_ended(
    site: Site, told: dict[str, Any], log: str, state: str, full: bool | None
) -> None:
    job = job_of(site, None)
    folder = site.work / "jobs" / str(job)
    (folder / "log.txt").write_text(log)
    write_whole(folder / "exit.json", {**told, "ended_at": "2026-11-21T10:00:00.000000+00:00"})
    row = settled(site, job)
    assert (row["state"], row["exit_code"]) == (state, told["code"])
    assert row["ended_at"].startswith("2026-11-21T10:00")
    assert jobs.outcome(row["process"]).get("disk_full") is full


def test_a_nearly_full_disk_starts_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(site.work.parent)._replace(free=5 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(JobError, match="5 MiB are free") as told:
        Jobs(site).start("train", {}, lambda _folder: [], "kim")
    assert told.value.code == "disk_full"
    with site.store.read("a test") as connection:
        assert jobs.listing(connection) == []


def test_a_process_that_cannot_start_is_a_failed_job(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(JobError) as told:
        Jobs(site).start("train", {}, lambda _folder: [], "kim")
    assert told.value.code == "not_started"
    with site.store.read("a test") as connection:
        assert jobs.listing(connection)[0]["state"] == "failed"


def test_a_started_job_runs_its_steps_to_the_end(site: Site) -> None:
    runner = Jobs(site)
    steps = [{"name": "train", "arguments": ["line", "--help"], "go_on": [0]}]
    job = runner.start("train", {}, lambda _folder: steps, "kim")
    end = time.monotonic() + 60
    row: dict[str, Any] = {"state": "running"}
    while row["state"] == "running" and time.monotonic() < end:
        runner.settle()
        with site.store.read("a test") as connection:
            row = jobs.find(connection, job) or row
        threading.Event().wait(0.1)
    assert row["state"] == "done"
    folder = runner.folder(job)
    assert json.loads((folder / "exit.json").read_text())["code"] == 0
    assert not (folder / "reserve").exists()
    assert "== train: exit code 0" in runner.log(job, 0)["text"]


def test_a_log_is_given_in_pieces_of_whole_lines(site: Site) -> None:
    job = job_of(site, None)
    lines = [f"\x1b[1m줄 {n}\x1b[0m old\rline {n}" for n in range(9000)]
    (site.work / "jobs" / str(job) / "log.txt").write_text("\n".join(lines) + "\n")
    runner, text, offset, pieces = Jobs(site), "", 0, 0
    while True:
        piece = runner.log(job, offset)
        text, offset, pieces = text + piece["text"], piece["offset"], pieces + 1
        if offset == piece["size"]:
            break
    assert pieces > 1
    assert text == "".join(f"line {n}\n" for n in range(9000))
    assert runner.log(job, 10**9)["text"] == ""


@pytest.mark.parametrize("other", ["host", "folder"])
def test_a_job_of_another_machine_is_left_to_it(site: Site, tmp_path: Path, other: str) -> None:
    host, work = (HOST, tmp_path / "b") if other == "folder" else ("station-b", site.work)
    with site.store.write("a test") as connection:
        job = jobs.add(connection, "train", {}, "kim", host=host, work=str(work))
        jobs.started(connection, job, {"pid": 4_000_000, "start": 1, "boot": "theirs"})
    ours = Jobs(site)
    folder = ours.folder(job)
    folder.mkdir(parents=True)
    (folder / "log.txt").write_text("of a job before\n")
    write_whole(folder / "exit.json", {"code": 0, "step": "train"})
    row = settled(site, job)
    assert (row["state"], row["host"]) == ("running", host)
    assert not ours.is_own(row)
    with pytest.raises(JobError, match="cancel it there") as told:
        ours.cancel(row, "kim")
    assert told.value.code == "elsewhere"
    with pytest.raises(JobBusyError, match=host):
        ours.start("replay", {}, lambda _folder: [], "lee")


@pytest.mark.parametrize("days", [365, -365])
def test_a_job_that_power_cut_off_is_lost_whatever_the_clock_said(site: Site, days: int) -> None:
    job = job_of(site, {"pid": 4_000_000, "start": 1, "boot": "before"})
    at = (datetime.now(UTC) + timedelta(days=days)).isoformat(timespec="microseconds")
    with site.store.write("a test") as connection:
        connection.execute(sa.text("UPDATE jobs SET at = :at"), {"at": at})
    assert settled(site, job)["state"] == "lost"


def test_a_job_that_never_said_who_it_is_is_lost_with_the_clock_ahead(site: Site) -> None:
    with site.store.write("a test") as connection:
        job = jobs.add(connection, "train", {}, "kim", host=HOST, work=str(site.work.resolve()))
    assert settled(site, job)["state"] == "asked"
    with site.store.write("a test") as connection:
        connection.execute(sa.text("UPDATE jobs SET at = '2099-01-01T00:00:00.000000+00:00'"))
    assert settled(site, job)["state"] == "lost"


def test_a_person_ends_the_job_of_a_machine_that_is_gone(site: Site) -> None:
    ours = Jobs(site)
    with site.store.write("a test") as connection:
        job = jobs.add(connection, "train", {}, "kim", host="old-pc", work=str(site.work))
        jobs.started(connection, job, {"pid": 1, "start": 1, "boot": "theirs"})
    ours.give_up(row_of(site, job), "lee")
    assert row_of(site, job)["state"] == "lost"
    with site.store.read("a test") as connection:
        assert jobs.active(connection) is None
        rows = audit.rows(connection, subject=f"job:{job}")
    assert [(row["who"], row["action"]) for row in rows[:2]] == [
        ("lee", "job.given_up"),
        ("system", "job.ended"),
    ]
    with pytest.raises(JobError) as told:
        ours.give_up(row_of(site, job), "lee")
    assert told.value.code == "not_running"
    own = job_of(site, identity(os.getpid()))
    with pytest.raises(JobError) as told:
        ours.give_up(row_of(site, own), "lee")
    assert told.value.code == "here"


def test_a_machine_that_never_comes_back_does_not_stop_jobs_for_ever(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with site.store.write("a test") as connection:
        job = jobs.add(connection, "train", {}, "kim", host="station-b", work="/gone")
    monkeypatch.setattr(runner_of_jobs, "FORGOTTEN", -1.0)
    assert settled(site, job)["state"] == "lost"


def test_a_store_that_is_busy_after_the_start_leaves_a_job_that_can_be_cancelled(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> None:
        raise StoreError("the store is busy")

    runner = Jobs(site)
    steps = [{"name": "train", "arguments": ["line", "--help"], "go_on": [0]}] * 500
    with monkeypatch.context() as failing:
        failing.setattr(jobs, "started", busy)
        job = runner.start("train", {}, lambda _folder: steps, "kim")
        assert row_of(site, job)["process"] is None
    process = runner._ours[job]
    again = Jobs(site)  # as after a restart of the pages
    end = time.monotonic() + 60
    while not (again.folder(job) / "step.json").exists() and time.monotonic() < end:
        threading.Event().wait(0.05)
    group = process.pid
    try:
        late = row_of(site, job)
        again.settle()
        noted = row_of(site, job)
        assert (noted["state"], noted["process"]["pid"]) == ("running", group)
        again.cancel(late, "kim")
        while row_of(site, job)["ended_at"] is None and time.monotonic() < end:
            runner.settle()
            threading.Event().wait(0.05)
        assert row_of(site, job)["state"] == "cancelled"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
        process.wait(60)


def test_a_job_that_was_cut_after_its_release_keeps_its_trainer(site: Site) -> None:
    job = job_of(site, None)
    folder = site.work / "jobs" / str(job)
    (folder / "train.out").write_text(json.dumps({"release": "plate/4"}))
    (folder / "log.txt").write_text("killed\n")
    row = settled(site, job)
    assert (row["state"], jobs.outcome(row["process"])["said"]) == ("lost", "killed")
    with site.store.read("a test") as connection:
        assert jobs.trained_by(connection, "plate/4") == {"kim"}


def test_a_full_store_keeps_nobody_from_looking(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StoreError("the disk is full")

    job = job_of(site, None)
    runner = Jobs(site)
    with monkeypatch.context() as failing:
        failing.setattr(jobs, "ended", full)
        runner.look()
        with pytest.raises(StoreError):
            runner.start("replay", {}, lambda _folder: [], "kim")
    assert row_of(site, job)["state"] == "running"
    runner.look()
    assert row_of(site, job)["state"] == "lost"
