"""A station without a PLC, triggered by node-opcua: one trigger, one answer, one row for each job's part."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from opcua_client import Client
from opcua_site import (
    AUTOMATIC,
    MACHINE,
    NODE,
    RECIPE_EXTERNAL,
    RECIPE_INTERNAL,
    RECIPES,
    RESULT_ID,
    RESULTS,
    Site,
    add_people,
    names,
    ready_events,
    state,
)
from postgres_server import NoServerError, PostgresServer
from station_rig import Process, until

from inspection.errors import StoreError
from inspection_serve.opcua.jobs import JUDGED

pytestmark = pytest.mark.skipif(not NODE.is_dir(), reason="node-opcua is not installed")
MEAS_ID, PART_ID, PRODUCT, JOB_STARTED, READY, ACQUIRED = 3015, 3004, 3003, 1013, 1023, 1025


class Driven(Site):
    """A station without a PLC, whose line and server can be killed and started again."""

    def __init__(self, folder: Path, store: dict[str, Any] | None = None, **drives: Any) -> None:
        given = {
            "role": "engineer", "ack_timeout": 3.0, "result_timeout": 3.0, "client_timeout": 3.0,
            "stop_after_rejects": 0, **drives,
        }  # fmt: skip
        super().__init__(folder, drives=given)
        self.rig.station["store"].update(store or {})
        self.rig.station["plc"]["timeout"] = 3.0  # a PC that is overloaded is not what is tested
        self.rig.write()
        self.trust()
        self.line = self.rig.start_line()
        self.process: Process | None = None

    def __enter__(self) -> Self:
        until(self._has_people, 60, "the store")
        self.process = self.start_server()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for process in (self.process, self.line):
            if process is not None and process.popen.poll() is None:
                if kind is not None:
                    print(process.text[-4000:])
                assert process.stop() == 0

    def _has_people(self) -> bool:
        assert self.line.popen.poll() is None, self.line.text[-4000:]
        try:
            add_people(self.rig)
        except StoreError:  # the line has not made the tables yet
            return False
        return True

    def settled(self, more_than: int) -> list[dict[str, Any]]:
        """All rows, as soon as there are more than so many and each has its decision."""
        rows = self.rig.rows()
        return rows if len(rows) > more_than and all(row["decision"] for row in rows) else []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driven]:
    with Driven(tmp_path_factory.mktemp("driven")) as made:
        yield made


@pytest.fixture(scope="module")
def clients(site: Driven) -> Iterator[tuple[Client, Client]]:
    """Two clients that may drive; the first hears the events."""
    with site.client("engineer1") as peer, site.client("engineer1") as other:
        assert peer.first() == other.first() == {"ready": True}
        peer.ask("subscribe")
        yield peer, other


@pytest.fixture
def peer(site: Driven, clients: tuple[Client, Client]) -> Client:
    """The client that hears the events, when all of earlier jobs have come."""
    found = clients[0]
    ready(found)

    def is_quiet() -> bool:
        jobs, rows = told(found, JOB_STARTED), site.rig.rows()
        last = f"test/{rows[-1]['epoch']}/{rows[-1]['sequence']}" if rows else ""
        results = [names(event) for event in ready_events(found)]
        return not jobs or (jobs[-1] in told(found, READY) and last in results)

    until(is_quiet, 20, "the events of earlier jobs")
    found.events.clear()
    return found


def job_call(method: str, part: Any = "", recipe: str = "", meas: str = "") -> dict[str, Any]:
    about = part if isinstance(part, dict) else {"id": part}
    given = [
        {"kind": MEAS_ID, "value": {"id": meas}},
        {"kind": PART_ID, "value": about},
        {"kind": RECIPE_EXTERNAL, "value": {"id": recipe}},
        {"kind": PRODUCT, "value": {"id": ""}},
        {"kind": "Null", "value": None},
    ]
    return {"owner": AUTOMATIC, "method": method, "given": given}


def start(peer: Client, method: str = "StartSingleJob", **rest: Any) -> dict[str, Any]:
    return peer.ask("call", **job_call(method, **rest))


def job_of(said: dict[str, Any]) -> str:
    assert said["status"] == "Good", said
    assert said["outputs"][1] == 0, said
    return said["outputs"][0]["id"]


def begin(peer: Client, method: str = "StartSingleJob", **rest: Any) -> str:
    """Begin a job as soon as the station is Ready, and return its JobId."""

    def begun() -> str:
        ready(peer)
        said = start(peer, method, **rest)
        return "" if said["status"] == "BadInvalidState" else job_of(said)

    return until(begun, 40, "a job")


def ask(peer: Client, method: str, owner: list[str] = AUTOMATIC) -> str:
    given = [{"kind": "Int32", "value": 0}, {"kind": "LocalizedText", "value": {"text": ""}}]
    return peer.ask("call", owner=owner, method=method, given=given)["status"]


def ready(peer: Client) -> None:
    until(lambda: state(peer, AUTOMATIC) == "Ready", 40, "Ready")


def told(peer: Client, kind: int) -> list[str]:
    return [
        event["JobId"]["id"]
        for event in peer.events
        if event["EventType"].endswith(f"i={kind}") and event["JobId"]
    ]


def check_steps(peer: Client, *wanted: str) -> None:
    """The transitions are these; on a PC that is overloaded the line may have been silent in between."""
    steps = [event["Transition"]["text"] for event in peer.events if event["ToState"]]
    assert tuple(steps) == wanted or any("Error" in step for step in steps), steps


def decision(event: dict[str, Any]) -> str:
    return event["ResultContent"][0]["value"]


def test_one_job(site: Driven, peer: Client) -> None:
    rig = site.rig
    with site.client("viewer1") as viewer:
        assert viewer.first() == {"ready": True}
        before = len(rig.rows())
        for method in ("StartSingleJob", "StartContinuous"):
            assert start(viewer, method)["status"] == "BadUserAccessDenied"
        for owner, methods in ((AUTOMATIC, ("Stop", "Abort")), (MACHINE, ("Halt", "Reset"))):
            for method in methods:
                assert ask(viewer, method, owner) == "BadUserAccessDenied"
        assert ask(peer, "Stop") == ask(peer, "Reset", MACHINE) == "BadInvalidState"
        assert start(peer, recipe="2")["outputs"][1] == -1
        assert start(peer, meas="17")["outputs"][1] == -3
        assert start(peer, part="x" * 17)["status"] == "BadInvalidArgument"
        assert start(peer, part=str(2**32))["status"] == "BadInvalidArgument"
        assert len(rig.rows()) == before
        part = {"id": "4294967295", "description": {"text": "LOT 7"}}
        job = begin(peer, part=part, recipe="1")
        assert job.startswith("test/job/")
        until(lambda: told(peer, READY), 20, "the end of the job")
        until(lambda: ready_events(peer), 20, "the result")
        [event], [row] = ready_events(peer), rig.rows()[before:]
        assert (row["part_id"], row["serial"]) == (4294967295, "LOT 7")
        assert event["JobId"]["id"] == job
        assert decision(event) == row["decision"]
        until(lambda: rig.rows()[-1]["state"] == "acknowledged", 10, "the acknowledgement")
        assert told(peer, JOB_STARTED) == told(peer, READY) == told(peer, ACQUIRED) == [job]
        check_steps(peer, "ReadyToSingleExecution", "SingleExecutionToReadyAuto")
        given = [{"kind": RESULT_ID, "value": {"id": names(event)}}, {"kind": "Int32", "value": 0}]
        found = peer.ask("call", owner=RESULTS, method="GetResultById", given=given)
        assert found["outputs"][1]["jobId"]["id"] == job


def listed(peer: Client, job: str) -> list[str]:
    nothing = {"id": ""}
    given = [{"kind": "Int32", "value": 0}]
    given += [
        {"kind": kind, "value": nothing} for kind in (3015, 3004, 3002, 3013, 3008, 3008, 3003)
    ]
    given.append({"kind": 3016, "value": {"id": job}})
    given += [{"kind": "UInt32", "value": 50}, {"kind": "UInt32", "value": 0}]
    given.append({"kind": "Int32", "value": 0})
    said = peer.ask("call", owner=RESULTS, method="GetResultListFiltered", given=given)
    assert said["status"] == "Good", said
    return [one["resultId"]["id"] for one in said["outputs"][3] or []]


def test_a_continuous_run(site: Driven, peer: Client, clients: tuple[Client, Client]) -> None:
    rig, other = site.rig, clients[1]
    before = len(rig.rows())
    job = begin(peer, "StartContinuous", part="100")
    until(lambda: state(peer, AUTOMATIC) == "ContinuousExecution", 10, "the run")
    assert start(other)["status"] == "BadInvalidState"
    until(lambda: len(ready_events(peer)) >= 20, 40, "20 parts")
    assert ask(other, "Stop") == "Good"
    until(lambda: told(peer, READY), 20, "the end of the run")
    rows = rig.rows()[before:]
    until(lambda: len(ready_events(peer)) >= len(rows), 20, "every result")
    assert [row["part_id"] for row in rows] == list(range(100, 100 + len(rows)))
    first = rows[0]["sequence"]
    assert [row["sequence"] for row in rows] == list(range(first, first + len(rows)))
    assert len({row["epoch"] for row in rows}) == 1
    events = ready_events(peer)
    assert [decision(event) for event in events] == [row["decision"] for row in rows]
    assert {event["JobId"]["id"] for event in events} == {job}
    assert "PASS" in {decision(event) for event in events}
    assert listed(peer, job) == [names(event) for event in reversed(events)]
    check_steps(peer, "ReadyToContinuousExecution", "ContinuousExecutionToReadyStop")
    ready(peer)
    assert len(rig.rows()) == before + len(rows)


def test_halt_recipes_and_two_clients_at_once(
    site: Driven, peer: Client, clients: tuple[Client, Client]
) -> None:
    rig, other = site.rig, clients[1]
    given = [
        {"kind": RECIPE_EXTERNAL, "value": {"id": ""}},
        {"kind": RECIPE_INTERNAL, "value": {"id": "2"}},
    ]
    said = peer.ask("call", owner=RECIPES, method="PrepareRecipe", given=given)
    assert said["outputs"][1:] == [True, 0]
    ready(peer)
    before = len(rig.rows())
    for one in (peer, other):
        one.send("call", **job_call("StartSingleJob"))
    both = [peer.answer()["status"], other.answer()["status"]]
    jobs = both.count("Good")  # the first may be over when the second comes
    assert sorted(both) == ["BadInvalidState"] * (2 - jobs) + ["Good"] * jobs
    assert jobs
    until(lambda: len(ready_events(peer)) == jobs, 20, "the results")
    ready(peer)
    rows = rig.rows()[before:]
    assert [row["recipe_number"] for row in rows] == [2] * jobs
    assert ask(peer, "Halt", MACHINE) == "Good"
    until(lambda: state(peer) == "Halted", 10, "Halted")
    assert start(peer)["status"] == "BadInvalidState"
    assert ask(other, "Reset", MACHINE) == "Good"
    ready(peer)
    begin(peer)
    until(lambda: len(ready_events(peer)) == jobs + 1, 20, "a result after the reset")
    assert rig.rows()[-1]["epoch"] > rows[-1]["epoch"]


def test_a_client_that_vanishes_ends_its_run(site: Driven, peer: Client) -> None:
    with site.client("engineer1") as gone:
        assert gone.first() == {"ready": True}
        gone.ask("subscribe")
        begin(gone, "StartContinuous")
        until(lambda: len(ready_events(gone)) >= 2, 20, "parts")
        gone.kill()
    server = site.process
    assert server is not None
    until(lambda: "is gone: the run ends" in server.text, 20, "the end")
    ready(peer)
    until(lambda: all(row["state"] == "acknowledged" for row in site.rig.rows()), 10, "answers")


def test_the_line_dies_in_a_job(site: Driven, peer: Client) -> None:
    before = len(site.rig.rows())
    job = begin(peer, "StartContinuous")
    until(lambda: len(ready_events(peer)) >= 3, 30, "parts")
    site.line.kill()
    until(lambda: state(peer) == "Error", 10, "the error")
    assert start(peer)["status"] == "BadInvalidState"
    site.line = site.rig.start_line()
    ready(peer)
    last = begin(peer)
    until(lambda: last in told(peer, READY), 20, "the end of the job")
    rows = until(lambda: site.settled(before), 20, "all rows")[before:]
    until(lambda: len(ready_events(peer)) == len(rows), 10, "every result")
    events = ready_events(peer)
    assert [e["JobId"]["id"] for e in events] == [*[job] * (len(rows) - 1), last]
    check_answers(site, events, rows)


def check_answers(site: Driven, events: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    """Each part once; what the drive rejected without an answer is never told as anything else."""
    keys = [(row["epoch"], row["sequence"]) for row in rows]
    assert len(set(keys)) == len(keys)
    assert [names(event) for event in events] == [f"test/{epoch}/{seq}" for epoch, seq in keys]
    outcomes = written_outcomes(site)
    for event, row in zip(events, rows, strict=True):
        outcome = outcomes[row["sequence"]]
        answer = outcome if outcome in JUDGED else "not_inspected"
        assert decision(event) == answer.upper()
        assert event["ResultState"] == (3 if answer == "not_inspected" else 1)


def written_outcomes(site: Driven) -> dict[int, str]:
    """Sequence to outcome in the book; the latest counts."""
    found: dict[int, str] = {}
    for line in (site.rig.folder / "opcua" / "jobs.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if "outcome" in entry:
            found[entry["outcome"]] = entry["cause"]
        found |= {int(sequence): cause for sequence, cause in entry.get("refused", {}).items()}
    return found


def kill_server_in_a_job(site: Driven) -> None:
    with site.client("engineer1") as peer:
        assert peer.first() == {"ready": True}
        peer.ask("subscribe")  # who says nothing is gone
        before = len(site.rig.rows())
        begin(peer, "StartContinuous")
        until(lambda: len(site.rig.rows()) > before + 2, 20, "parts")
        assert site.process is not None
        site.process.kill()
    site.process = site.start_server()


def test_the_server_is_killed_in_a_job(site: Driven) -> None:
    check_kills(site, 1)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_the_server_is_killed_in_many_jobs(site: Driven) -> None:
    check_kills(site, 5)


def check_kills(site: Driven, times: int) -> None:
    """No sequence is given twice, no row is doubled, what was in hand is never told as passed."""
    before = site.rig.rows()
    for _ in range(times):
        kill_server_in_a_job(site)
    with site.client("engineer1") as peer:
        assert peer.first() == {"ready": True}
        peer.ask("subscribe")
        ready(peer)
        job = begin(peer)
        until(lambda: told(peer, READY), 20, "the end of the job")
        rows = until(lambda: site.settled(len(before)), 10, "all rows")[len(before) :]
        until(lambda: job in {e["JobId"]["id"] for e in ready_events(peer)}, 10, "the result")
        first = before[-1]["sequence"] + 1 if before else 1
        assert sorted(row["sequence"] for row in rows) == list(range(first, first + len(rows)))
        assert len({row["epoch"] for row in rows}) == 1
        refused = refused_sequences(site)
        for row in rows:
            name = f"test/{row['epoch']}/{row['sequence']}"
            given = [{"kind": RESULT_ID, "value": {"id": name}}, {"kind": "Int32", "value": 0}]
            said = peer.ask("call", owner=RESULTS, method="GetResultById", given=given)
            result, is_refused = said["outputs"][1], row["sequence"] in refused
            wanted = "NOT_INSPECTED" if is_refused else row["decision"]
            assert result["resultContent"][0]["value"] == wanted
            assert result["resultState"] == (3 if wanted == "NOT_INSPECTED" else 1)


def refused_sequences(site: Driven) -> set[int]:
    return {sequence for sequence, cause in written_outcomes(site).items() if cause not in JUDGED}


@pytest.mark.soak
def test_on_postgresql(tmp_path: Path) -> None:
    """One job and its result, with a store on a PostgreSQL server."""
    try:
        server = PostgresServer()
    except NoServerError as error:
        pytest.skip(str(error))
    with contextlib.closing(server):
        store = {"url": server.url("driven")}
        with Driven(tmp_path, store) as made, made.client("engineer1") as peer:
            assert peer.first() == {"ready": True}
            peer.ask("subscribe")
            ready(peer)
            job = begin(peer, part="17")
            until(lambda: ready_events(peer), 20, "the result")
            [event] = ready_events(peer)
            assert event["JobId"]["id"] == job
            assert event["PartId"]["id"] == "17"
            assert decision(event) in {"PASS", "FAIL", "REVIEW"}
            assert listed(peer, job) == [names(event)]
