"""The simulated PLC as a real server: a scripted station plays against it over the real driver."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted_station import FAIL, NOT_INSPECTED, PASS, REVIEW, ScriptedStation, StationThread

from inspection.errors import ConfigError, PlcError
from inspection.plc.modbus import ModbusConfig
from inspection.plc.simulated import SimulatedPlc
from inspection.plc.simulated_config import SimulatedPlcConfig

LIMIT = 60.0
PATIENT: dict[str, Any] = {"ack_timeout": 2.0, "result_timeout": 10.0}
"""For tests in which nothing may be lost, however busy the machine is."""
PATIENCE = ["--ack-timeout", "10", "--result-timeout", "30"]
CLI = [sys.executable, "-c", "from inspection.plc.simulated_cli import app; app()"]


def connect(port: int, station: ScriptedStation, timeout: float = 1.0) -> StationThread:
    return StationThread(station, ModbusConfig(host="127.0.0.1", port=port, timeout=timeout).open())


def run(station: ScriptedStation, **config: Any) -> SimulatedPlc:
    plc = SimulatedPlc(SimulatedPlcConfig(**{**PATIENT, "takt": 0.02, **config}))
    with plc, connect(plc.port, station):
        assert plc.wait(LIMIT)
    return plc


def read_log(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def outcomes(path: Path) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for event in read_log(path):
        if event["event"] == "outcome":
            found.setdefault(event["seq"], []).append(event["cause"])
    return found


def wait_for(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + LIMIT
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < end, what
        pause.wait(0.01)


def test_counters_log_and_station_agree_part_by_part(tmp_path: Path) -> None:
    log = tmp_path / "deep" / "plc.jsonl"
    codes = [PASS, FAIL, REVIEW, NOT_INSPECTED]
    station = ScriptedStation(lambda part_id: codes[part_id % 4])
    plc = run(station, parts=40, log=log, lot="LOT-9", takt=0.0)
    counters = plc.counters
    assert (counters.triggers, counters.passes) == (40, 10)
    assert {k: v for k, v in counters.rejects.items() if v} == {
        "fail": 10, "review": 10, "not_inspected": 10,
    }  # fmt: skip
    told = [event for event in read_log(log) if event["event"] == "outcome"]
    assert [(e["seq"], e["part_id"], e["code"], e["record"]) for e in told] == [
        (row.seq, row.part_id, row.code, row.record_id) for row in station.rows
    ]
    assert all(row.acknowledged and row.answers == 1 for row in station.rows)
    assert read_log(log)[-1]["counters"] == counters.as_dict()
    assert {e["serial"] for e in read_log(log) if e["event"] == "trigger"} == {"LOT-9"}


def test_recipes_on_demand() -> None:
    station = ScriptedStation()
    plc = SimulatedPlc(SimulatedPlcConfig(takt=0.02))
    with plc, connect(plc.port, station):
        wait_for(lambda: plc.counters.passes > 0, "the first pass")
        plc.request_recipe(2)
        wait_for(lambda: station.stat.recipe == 2, "recipe 2")
        before = plc.counters.passes
        wait_for(lambda: plc.counters.passes > before, "a pass with recipe 2")
        with pytest.raises(ValueError, match="recipe"):
            plc.request_recipe(70_000)
        plc.finish()
        assert plc.wait(LIMIT)
    assert station.requests == [1, 2]
    assert all(row.acknowledged for row in station.rows)


def test_start_and_stop_leave_nothing_behind(tmp_path: Path) -> None:
    threads = threading.active_count()
    files = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        plc = SimulatedPlc(SimulatedPlcConfig(log=tmp_path / "plc.jsonl"))
        plc.start()
        driver = ModbusConfig(host="127.0.0.1", port=plc.port).open()
        driver.connect()
        driver.read_words(0, 16)
        plc.stop()
        plc.stop()
        with pytest.raises(PlcError):
            driver.read_words(0, 16)
        with pytest.raises(RuntimeError, match="once"):
            plc.start()
    assert threading.active_count() <= threads
    assert len(os.listdir("/proc/self/fd")) <= files


def test_noise_on_the_port_harms_nobody() -> None:
    noise = random.Random(4)
    station = ScriptedStation()
    plc = SimulatedPlc(SimulatedPlcConfig(**PATIENT, takt=0.0, parts=20))
    with plc, connect(plc.port, station):
        for _ in range(60):
            with socket.create_connection(("127.0.0.1", plc.port), timeout=5) as client:
                size = noise.choice([1, 7, 8, 12, 29, 300])
                frame = bytearray(noise.randbytes(size))
                if noise.random() < 0.7:  # a header that looks right
                    frame[2:6] = b"\0\0" + max(0, size - 6).to_bytes(2, "big")
                client.sendall(frame)
        assert plc.wait(LIMIT)
    assert plc.counters.passes == 20


def test_what_cannot_start_says_why(tmp_path: Path) -> None:
    with SimulatedPlc(SimulatedPlcConfig(log=tmp_path / "a.jsonl")) as first:
        taken = SimulatedPlc(SimulatedPlcConfig(port=first.port, log=tmp_path / "b.jsonl"))
        with pytest.raises(PlcError, match="free port"):
            taken.start()
        with pytest.raises(ConfigError, match="in use"):
            SimulatedPlc(SimulatedPlcConfig(log=tmp_path / "a.jsonl")).start()
    with pytest.raises(ConfigError, match="cannot be opened"):
        SimulatedPlc(SimulatedPlcConfig(log=tmp_path)).start()
    with pytest.raises(RuntimeError, match="not started"):
        _ = SimulatedPlc(SimulatedPlcConfig()).counters


FULL_DISK = """
import resource, sys
from inspection.plc.simulated_cli import app
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)), resource.RLIM_INFINITY))
app()
"""


class PlcProcess:
    """`plc-sim` as a process of its own."""

    def __init__(self, *arguments: str, command: list[str] | None = None) -> None:
        self.process = subprocess.Popen(
            [*(command or CLI), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        assert "listens on" in line, line
        self.port = int(line.rsplit(":", 1)[1])

    def end(self) -> tuple[int, str, str]:
        out, error = self.process.communicate(timeout=LIMIT)
        return self.process.returncode, out, error

    def kill(self) -> None:
        self.process.kill()
        self.end()


@pytest.fixture
def launch() -> Iterator[Callable[..., PlcProcess]]:
    started: list[PlcProcess] = []

    def start(*arguments: str, command: list[str] | None = None) -> PlcProcess:
        started.append(PlcProcess(*arguments, command=command))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.kill()


def test_kill_and_resume_until_all_parts_have_one_outcome(
    tmp_path: Path, launch: Callable[..., PlcProcess]
) -> None:
    log = tmp_path / "plc.jsonl"
    arguments = ["--parts", "30", "--takt", "0.02", "--log", str(log), "--json", "--lot", "L1"]
    arguments += PATIENCE
    station = ScriptedStation(lambda part_id: PASS if part_id % 2 else FAIL, takes=0.03)
    one = launch(*arguments, "--port", "0")
    with connect(one.port, station):
        for goal in (4, 9, 15, 22):
            wait_for(lambda goal=goal: len(station.rows) >= goal, f"{goal} rows")  # type: ignore[misc]
            one.kill()
            one = launch(*arguments, "--port", str(one.port))
        code, out, _ = one.end()
    assert code == 0
    told = json.loads(out)
    assert told["complete"]
    assert (told["triggers"], told["passes"], told["rejects"]["fail"]) == (30, 15, 15)
    assert told["restarts"] == 4
    assert all(len(causes) == 1 for causes in outcomes(log).values())
    assert sorted(outcomes(log)) == list(range(1, 31))
    triggers = [event for event in read_log(log) if event["event"] == "trigger"]
    assert [event["seq"] for event in triggers] == list(range(1, 31))
    assert [event["part_id"] for event in triggers] == list(range(1, 31))
    again = [event for event in read_log(log) if event["event"] == "retrigger"]
    first = {event["seq"]: event for event in triggers}
    for event in again:
        same = first[event["seq"]]
        assert (event["part_id"], event["serial"]) == (same["part_id"], same["serial"])
    assert station.resets == 1
    assert Counter(row.seq for row in station.rows).most_common(1)[0][1] == 1


def test_a_killed_plc_triggers_the_outstanding_part_again(
    tmp_path: Path, launch: Callable[..., PlcProcess]
) -> None:
    log = tmp_path / "plc.jsonl"
    arguments = ["--parts", "1", "--takt", "0", "--log", str(log), "--json", "--lot", "SAME"]
    station = ScriptedStation(takes=1e9)
    one = launch(*arguments, *PATIENCE, "--port", "0")
    with connect(one.port, station):
        wait_for(lambda: len(station.rows) == 1, "the trigger")
        one.kill()
        assert outcomes(log) == {}
        with log.open("ab") as torn:
            torn.write(b'{"event": "outco')
        station.takes = 0.01
        one = launch(*arguments, *PATIENCE, "--port", str(one.port))
        code, out, _ = one.end()
    assert code == 0
    told = json.loads(out)
    assert (told["triggers"], told["passes"], told["retriggers"]) == (1, 1, 1)
    (row,) = station.rows
    assert (row.seq, row.part_id, row.serial) == (1, 1, "SAME")
    again = launch(*arguments, "--port", "0")
    assert again.end()[0] == 0, "all parts were run before"


def test_sigterm_ends_after_the_part_and_tells_the_counters(
    tmp_path: Path, launch: Callable[..., PlcProcess]
) -> None:
    log = tmp_path / "plc.jsonl"
    station = ScriptedStation(takes=0.05)
    one = launch("--takt", "0", "--log", str(log), "--json", "--port", "0", *PATIENCE)
    with connect(one.port, station):
        wait_for(lambda: len(station.rows) >= 3, "three parts")
        one.process.send_signal(signal.SIGTERM)
        code, out, _ = one.end()
    assert code == 0
    told = json.loads(out)
    assert told["triggers"] == told["passes"] == len(station.rows)
    assert read_log(log)[-1]["event"] == "stop"


def test_the_exit_codes(tmp_path: Path, launch: Callable[..., PlcProcess]) -> None:
    one = launch("--parts", "5", "--port", "0")
    one.process.send_signal(signal.SIGINT)
    code, out, error = one.end()
    assert code == 1
    assert "0 of 5 parts" in error
    assert "passes" in out
    for wrong in (["--fault", "burn@1"], ["--takt", "-1"], ["--log", str(tmp_path)]):
        done = subprocess.run(
            [*CLI, "--port", "0", *wrong],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        assert done.returncode == 2, wrong
        assert done.stderr
        assert "Traceback" not in done.stderr
    station = ScriptedStation(lambda part_id: FAIL)
    one = launch("--parts", "9", "--takt", "0", "--stop-after-rejects", "3", "--port", "0")
    with connect(one.port, station):
        code, _, error = one.end()
    assert code == 1
    assert "3 rejects in a row" in error


def test_a_full_disk_stops_the_line_before_the_effect(
    tmp_path: Path, launch: Callable[..., PlcProcess]
) -> None:
    """The log may grow to 2000 bytes: the trigger that finds no room is never raised."""
    assert resource.RLIMIT_FSIZE is not None
    log = tmp_path / "plc.jsonl"
    station = ScriptedStation()
    command = [sys.executable, "-c", FULL_DISK, "2000"]
    one = launch("--takt", "0", "--log", str(log), "--port", "0", command=command)
    with connect(one.port, station):
        code, _, error = one.end()
    assert code == 2
    assert "plc.jsonl" in error
    assert "Traceback" not in error
    text = log.read_bytes()
    lines = [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]
    triggered = {event["seq"] for event in lines if event["event"] == "trigger"}
    assert {row.seq for row in station.rows} <= triggered
