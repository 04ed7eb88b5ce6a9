"""The PLC's side that OPC UA clients drive, against a scripted station over a real Modbus link."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from own_loop import in_own_loop
from pydantic import ValidationError
from scripted_station import FAIL, PASS, ScriptedStation, StationThread
from station_rig import free_port, until

from inspection.errors import ConfigError, PlcError
from inspection.opcua_server_config import DrivesConfig, OpcUaServerConfig
from inspection.plc.modbus import ModbusConfig
from inspection.plc.words import MAX_SEQUENCE, StatFlag
from inspection_serve.opcua.block import PartGiven, RefusedError
from inspection_serve.opcua.channel import CALLER, SESSION, SignedIn
from inspection_serve.opcua.drive import Drive, DriveView
from inspection_serve.opcua.driving import Driving, part_given
from inspection_serve.opcua.jobs import JobBook
from inspection_serve.opcua.results import job_named
from inspection_serve.opcua.state import Automatic, StationState, SystemState, Vision, driven


class Place:
    """A drive and its station."""

    def __init__(self, folder: Path, station: ScriptedStation, **settings: Any) -> None:
        given = {"role": "engineer", "ack_timeout": 3.0, "stop_after_rejects": 0, **settings}
        self.plc = ModbusConfig(host="127.0.0.1", port=free_port())
        self.book = JobBook(folder / "jobs.jsonl")
        self.station, self.may_end = station, False
        self.views: list[DriveView] = [DriveView()]
        self.drive = Drive(DrivesConfig(**given), self.plc, self.book, self.views.append)

    @property
    def view(self) -> DriveView:
        return self.views[-1]

    def ready(self) -> None:
        until(lambda: self.view.ready, 20, "READY")

    def begin(self, *, single: bool = True, recipe: str = "", **part: Any) -> int:
        given = PartGiven(**part)
        return in_own_loop(
            self.drive.begin(single=single, by="mes", after=0, recipe=recipe, part=given)
        )

    def end(self, *, abort: bool = False) -> None:
        in_own_loop(self.drive.end_job(abort=abort))
        self.over()

    def over(self) -> None:
        until(lambda: not self.view.job, 20, "the end of the job")

    def outcomes(self) -> list[str]:
        lines = [json.loads(line) for line in self.book.path.read_text().splitlines()]
        return [line["cause"] for line in lines if "outcome" in line]


@contextlib.contextmanager
def place(
    folder: Path, decide: Callable[[int], int] = lambda _: PASS, *, takes: float = 0.02, **rest: Any
) -> Iterator[Place]:
    station = ScriptedStation(decide, takes=takes)
    made = Place(folder, station, **rest)
    made.drive.start()
    try:
        with StationThread(station, made.plc.open()):
            until(lambda: station.resets == 1, 20, "the RESET of a new book")
            assert in_own_loop(prepared(made.drive, 1))
            made.ready()
            yield made
    finally:
        made.drive.stop()
        made.book.close()
    assert made.drive.fault is None or made.may_end


async def prepared(drive: Drive, number: int) -> bool:
    while True:
        try:
            return await drive.prepare(number)
        except RefusedError:
            await asyncio.sleep(0.02)


def test_jobs_are_one_trigger_one_answer_one_row_each(tmp_path: Path) -> None:
    with place(tmp_path, lambda part: FAIL if part == 8 else PASS) as made:
        first = made.begin(part_id=7, serial="LOT 1")
        made.over()
        made.begin(recipe="1", part_id=8)
        made.over()
        with pytest.raises(LookupError):
            made.begin(recipe="2")
        with pytest.raises(RefusedError):
            made.end()
        made.ready()
        assert in_own_loop(made.drive.prepare(9)) is False
        assert in_own_loop(made.drive.prepare(2)) is True
        made.ready()
        run = made.begin(single=False, part_id=100)
        with pytest.raises(RefusedError):
            made.begin()
        until(lambda: len(made.station.rows) >= 12, 20, "parts")
        with pytest.raises(RefusedError):
            in_own_loop(made.drive.end_job(abort=False, job=first))  # not that one
        made.end()
        rows = made.station.rows
        assert [(row.seq, row.answers) for row in rows] == [(n, 1) for n in range(1, len(rows) + 1)]
        assert all(row.acknowledged for row in rows)
        assert [row.part_id for row in rows] == [7, 8, *range(100, 100 + len(rows) - 2)]
        assert [row.serial for row in rows[:2]] == ["LOT 1", ""]
        assert made.outcomes() == ["pass", "fail", *["pass"] * (len(rows) - 2)]
        jobs = [view.job for view in made.views if view.job]
        assert list(dict.fromkeys(jobs)) == [first, first + 1, run] == [first, first + 1, first + 2]
        assert {view.ended for view in made.views[-1:]} == {"Stop"}
        found = made.book.job_of(record=5, sequence=5)
        assert found is not None
        assert (found.number, found.count) == (run, len(rows) - 2)


def test_of_two_who_begin_at_once_one_does(tmp_path: Path) -> None:
    with place(tmp_path, takes=0.3) as made:

        async def both() -> list[Any]:
            given = {"single": True, "by": "mes", "after": 0, "recipe": "", "part": PartGiven()}
            return await asyncio.gather(
                made.drive.begin(**given), made.drive.begin(**given), return_exceptions=True
            )

        found = in_own_loop(both())
        assert sorted(type(one).__name__ for one in found) == ["RefusedError", "int"]
        made.over()
        assert len(made.station.rows) == 1


def test_no_answer_in_time_rejects_and_a_late_pass_is_thrown_away(tmp_path: Path) -> None:
    with place(tmp_path, takes=0.6, result_timeout=0.2) as made:
        number = made.begin()
        made.over()
        assert made.outcomes() == ["no_result"]
        until(lambda: made.station.rows[0].acknowledged, 20, "the late answer's end")
        job = made.book.job_of(1, 1)
        assert job is not None
        assert (job.number, job.refused) == (number, {1: "no_result"})


def test_abort_and_halt_reject_the_part_in_hand(tmp_path: Path) -> None:
    with place(tmp_path, takes=0.5) as made:
        made.begin(single=False)
        until(lambda: made.station.rows, 20, "the trigger")
        made.end(abort=True)
        assert made.outcomes() == ["aborted"]
        made.ready()
        made.begin()
        until(lambda: len(made.station.rows) == 2, 20, "the trigger")
        in_own_loop(made.drive.halt(halted=True))
        made.over()
        until(lambda: not made.station.stat.has(StatFlag.READY), 20, "READY to go")
        with pytest.raises(RefusedError):
            made.begin()
        with pytest.raises(RefusedError):
            in_own_loop(made.drive.prepare(2))
        in_own_loop(made.drive.halt(halted=False))
        made.ready()
        assert made.station.resets == 2
        assert made.outcomes() == ["aborted", "aborted"]
        assert [job.refused for job in made.book.jobs()] == [{1: "aborted"}, {2: "aborted"}]


def test_a_dead_station_ends_the_run(tmp_path: Path) -> None:
    with place(tmp_path, result_timeout=1.5) as made:
        made.begin(single=False)
        until(lambda: len(made.station.rows) > 2, 20, "parts")
        made.station.takes = 60.0
        until(lambda: made.station.stat.has(StatFlag.BUSY), 20, "a part in hand")
        made.station.frozen = True
        made.over()
        assert made.outcomes()[-1] == "heartbeat"
        with pytest.raises(RefusedError):
            made.begin()


def test_a_part_without_an_answer_ends_the_run(tmp_path: Path) -> None:
    """Also when the station is well again at once: the client is to know of it."""
    with place(tmp_path, result_timeout=2.0) as made:
        made.begin(single=False)
        until(lambda: len(made.station.rows) > 2, 20, "parts")
        made.station.takes = 4.0
        made.over()
        made.ready()
        assert made.outcomes()[-1] == "no_result"
        assert not made.view.job


def test_ten_rejects_in_a_row_end_the_run(tmp_path: Path) -> None:
    with place(tmp_path, lambda _: FAIL, stop_after_rejects=3) as made:
        made.begin(single=False)
        made.over()
        assert made.outcomes() == ["fail"] * 3


def test_a_full_disk_gives_no_trigger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with place(tmp_path) as made:

        def full(*_: Any) -> int:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("inspection_serve.opcua.jobs.os.fdatasync", full)
            made.begin()
            made.over()
        assert made.station.rows == []
        made.ready()
        made.begin()
        made.over()
        assert [row.seq for row in made.station.rows] == [1]


def test_an_outcome_that_cannot_be_written_ends_the_drive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def full(handle: int, data: bytes) -> int:
        if b'"outcome"' in data:
            raise OSError(28, "No space left on device")
        return write(handle, data)

    with place(tmp_path) as made:
        made.may_end = True
        with monkeypatch.context() as patch:
            patch.setattr("inspection_serve.opcua.jobs.os.write", full)
            made.begin()
            until(lambda: made.drive.fault, 20, "the end of the drive")
        with pytest.raises(RefusedError):
            made.begin()
        assert not made.station.rows[0].acknowledged
    book = JobBook(tmp_path / "jobs.jsonl")
    assert [job.refused for job in book.jobs()] == [{1: "lost"}]
    assert book.next_sequence == 2
    book.close()


def test_a_drive_that_was_killed_goes_on_with_the_next_sequence(tmp_path: Path) -> None:
    book = JobBook(tmp_path / "jobs.jsonl")
    assert book.is_new
    with pytest.raises(ConfigError, match="another"):
        JobBook(tmp_path / "jobs.jsonl")
    job = book.begin(single=False, by="mes", after=40)
    assert [book.trigger(), book.outcome("pass"), book.trigger()] == [1, None, 2]
    assert book.is_open(job, 2)
    book.close()
    with (tmp_path / "jobs.jsonl").open("ab") as file:
        file.write(b'{"outcome": 2, "cau')
    for _ in range(2):
        book = JobBook(tmp_path / "jobs.jsonl")
        assert (book.is_new, book.next_sequence, book.triggers) == (False, 3, 2)
        found = book.job_of(42, 2)
        assert found is not None
        assert found.refused == {2: "lost"}
        assert book.job_of(40, 2) is None
        book.close()
    (tmp_path / "jobs.jsonl").write_text('{"outcome": 9}\n')
    with pytest.raises(ConfigError, match="line 1"):
        JobBook(tmp_path / "jobs.jsonl")


def test_sequences_wrap_and_belong_to_the_latest_job(tmp_path: Path) -> None:
    path = tmp_path / "jobs.jsonl"
    path.write_text(json.dumps({"next": MAX_SEQUENCE - 1, "triggers": 9}) + "\n")
    book = JobBook(path)
    first = book.begin(single=False, by="mes", after=10)
    for expected in (MAX_SEQUENCE - 1, MAX_SEQUENCE, 1):
        assert book.trigger() == expected
        book.outcome("pass" if expected > 1 else "no_ack")
    second = book.begin(single=True, by="mes", after=12)
    assert book.trigger() == 2
    assert book.job_of(12, MAX_SEQUENCE) is first
    assert book.job_of(13, 1) is first  # never came, its row came with the next
    assert book.job_of(14, 2) is second
    assert book.find(first.number) == (first, None)
    book.close()


def test_what_a_job_rejected_is_known_when_the_job_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inspection_serve.opcua.jobs.KEPT_JOBS", 2)
    path = tmp_path / "jobs.jsonl"
    path.write_text(json.dumps({"next": 7, "triggers": 6}) + "\n")
    book = JobBook(path)
    for after in (10, 11, 12, 13):
        book.begin(single=True, by="mes", after=after)
        book.trigger()
        book.outcome("no_result" if after == 10 else "pass")
    for _ in range(2):
        found = book.job_of(11, 7)
        assert found is not None
        assert found.refused == {7: "no_result"}
        assert book.rejected() == {7}
        assert book.job_of(10, 7) is book.job_of(12, 8) is None
        assert [job.after for job in book.jobs()] == [12, 13]
        book.close()
        book = JobBook(path)
    book.close()
    with path.open("a") as file:  # the sequence comes again, and passes
        file.write(json.dumps({"next": 7, "triggers": MAX_SEQUENCE}) + "\n")
    book = JobBook(path)
    for after in (90, 91, 92):
        book.begin(single=True, by="mes", after=after)
        book.trigger()
        book.outcome("pass")
    for _ in range(2):
        assert book.job_of(91, 7) is None
        found = book.job_of(12, 7)
        assert found is not None
        assert found.refused == {7: "no_result"}
        book.close()
        book = JobBook(path)
    book.close()


def test_a_book_without_a_trigger_is_new_at_every_start(tmp_path: Path) -> None:
    """Nobody knows whether the line saw its RESET."""
    for _ in range(3):
        book = JobBook(tmp_path / "jobs.jsonl")
        assert book.is_new
        book.close()
    book = JobBook(tmp_path / "jobs.jsonl")
    book.begin(single=True, by="mes", after=0)
    book.trigger()
    book.close()
    book = JobBook(tmp_path / "jobs.jsonl")
    assert not book.is_new
    book.close()


def test_a_run_whose_client_went_while_it_began_has_its_owner() -> None:
    class Begins:
        async def begin(self, **_: Any) -> int:
            await asyncio.sleep(0.02)
            return 7

    driving: Any = object.__new__(Driving)
    session, empty = object(), SimpleNamespace(Value=None)
    driving._drive, driving._run, driving._newest = Begins(), (0, None), lambda: 0
    driving._settings = SimpleNamespace(role="engineer")
    driving._machines = SimpleNamespace(shown=SimpleNamespace(automatic=Automatic.READY))

    async def vanish() -> None:
        CALLER.set(SignedIn(login="mes", role_name="engineer"))
        SESSION.set(cast("Any", session))
        call = asyncio.ensure_future(driving._begin((empty,) * 5, single=False))
        await asyncio.sleep(0.01)
        call.cancel()  # as asyncua does when the connection drops
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.sleep(0.05)

    in_own_loop(vanish())
    assert driving._run == (7, session)


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    made = Place(tmp_path, ScriptedStation())
    made.drive.start()
    other = Drive(DrivesConfig(role="operator"), made.plc, made.book, lambda _: None)
    with pytest.raises(ConfigError, match="cannot play the PLC"):
        other.start()
    other.stop()
    made.drive.stop()
    with pytest.raises(RefusedError):
        made.begin()
    made.book.close()
    with pytest.raises(PlcError):
        made.book.begin(single=True, by="mes", after=0)
    assert threading.active_count() < 50


def test_states() -> None:
    running = StationState(
        Vision.OPERATIONAL, Automatic.CONTINUOUS_EXECUTION, SystemState.PRODUCTIVE
    )
    dead = StationState(Vision.ERROR, None, SystemState.UNSCHEDULED_DOWNTIME, "SILENT")

    def said(found: StationState, **view: Any) -> tuple[Vision, Automatic | None]:
        got = driven(found, DriveView(**view))
        return got.vision, got.automatic

    assert said(running) == (Vision.OPERATIONAL, Automatic.INITIALIZED)
    assert said(running, ready=True) == (Vision.OPERATIONAL, Automatic.READY)
    assert said(running, job=1) == (Vision.OPERATIONAL, Automatic.CONTINUOUS_EXECUTION)
    assert said(running, job=1, single=True) == (Vision.OPERATIONAL, Automatic.SINGLE_EXECUTION)
    assert said(running, halted=True) == said(dead, halted=True) == (Vision.HALTED, None)
    for view in ({}, {"ready": True}, {"job": 1}):
        assert said(dead, **view) == (Vision.ERROR, None)


def test_what_the_handshake_can_carry_of_a_part() -> None:
    class Given:
        def __init__(self, name: str, text: str = "") -> None:
            self.Id, self.Description = name, type("Text", (), {"Text": text})

    assert part_given(Given("")) == PartGiven()
    assert part_given(Given("17", "LOT 1")) == PartGiven(17, "LOT 1")
    assert part_given(Given("AB-1")) == PartGiven(None, "AB-1")
    for wrong in (
        ("4294967296", ""), ("AB", "LOT"), ("x" * 17, ""), ("", "판"), ("", "a\nb"), (" a", ""),
    ):  # fmt: skip
        assert part_given(Given(*wrong)) is None, wrong
    assert job_named("press", "press/job/12") == 12
    for name in ("", "press/3", "other/job/1", "press/job/", "press/job/-1", "press/job/٣"):
        assert job_named("press", name) is None, name


def test_drives_needs_the_plc_on_this_pc() -> None:
    drives = {"role": "operator"}
    config = OpcUaServerConfig.model_validate({"drives": drives})
    config.check_plc(ModbusConfig(host="127.0.0.1", port=1502))
    for plc in (
        ModbusConfig(host="192.168.3.39", port=1502),
        ModbusConfig(host="127.0.0.1", port=4840),
        type("S7", (), {"type": "s7", "host": "127.0.0.1", "port": 102})(),
    ):
        with pytest.raises(ValueError, match="plc"):
            config.check_plc(plc)
        OpcUaServerConfig.model_validate({}).check_plc(plc)
    for wrong in ({}, {"role": "viewer"}, {"role": "engineer", "takt": -1}):
        with pytest.raises(ValidationError):
            OpcUaServerConfig.model_validate({"drives": wrong})
