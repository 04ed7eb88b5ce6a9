"""`inspection up`: the processes of a station, started, mended and stopped together."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from station_rig import Process, Rig, until

from inspection.errors import ConfigError
from inspection.up import station_processes


def children(pid: int) -> dict[int, str]:
    found = {}
    for task in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = task.read_text().rsplit(") ", 1)[1].split()
            if int(fields[1]) == pid:
                words = (task.parent / "cmdline").read_bytes().decode().split("\0")
                found[int(task.parent.name)] = words[3] if len(words) > 3 else ""
        except (FileNotFoundError, ProcessLookupError, IndexError):
            continue
    return found


def test_up_runs_service_and_line_and_mends_them(tmp_path):
    rig = Rig(tmp_path, camera={"defect_rate": 0.0}, runtime={"type": "service"})
    with rig.plc_running(parts=0, takt=0.1) as plc:
        up = Process(["up", str(tmp_path / "station.yaml")], tmp_path / "up.log")
        try:
            until(lambda: plc.counters.passes >= 2, 60, "parts")
            pids = {verb: pid for pid, verb in children(up.popen.pid).items()}
            assert set(pids) == {"serve", "line"}
            os.kill(pids["line"], signal.SIGKILL)
            passes = plc.counters.passes
            until(lambda: plc.counters.passes >= passes + 3, 60, "parts after the kill")
            again = {verb: pid for pid, verb in children(up.popen.pid).items()}
            assert again["line"] != pids["line"]
            assert again["serve"] == pids["serve"]
        finally:
            pids = list(children(up.popen.pid))
            assert up.stop(20) == 0
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_nothing_is_left_when_up_is_killed(tmp_path):
    rig = Rig(tmp_path, camera={"defect_rate": 0.0})
    with rig.plc_running(parts=0, takt=0.1) as plc:
        up = Process(["up", str(tmp_path / "station.yaml")], tmp_path / "up.log")
        until(lambda: plc.counters.passes >= 1, 60, "a part")
        pids = list(children(up.popen.pid))
        up.kill()
        until(lambda: not [p for p in pids if Path(f"/proc/{p}").exists()], 20, "the end of all")


def test_a_wrong_station_file_is_told(tmp_path):
    (tmp_path / "station.yaml").write_text("station: x")
    with pytest.raises(ConfigError, match="plc: is missing"):
        station_processes(tmp_path / "station.yaml")


def test_a_service_elsewhere_is_not_started_here(tmp_path):
    rig = Rig(tmp_path, runtime={"type": "service", "url": "http://10.0.0.5:8500"})
    assert set(station_processes(rig.folder / "station.yaml")) == {"line"}
