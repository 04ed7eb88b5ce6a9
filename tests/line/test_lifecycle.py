"""Starting, stopping and being killed at the worst moments."""

from __future__ import annotations

import hashlib
import shutil
import signal
import socket
import sqlite3
import threading

import pytest
from station_rig import Rig, until

SLOW = {"camera": {"defect_rate": 0.0, "exposure": 1.0}, "recipe": {"deadline": 4.0}}
TIMING = {"camera_timeout": 3.0}


def test_sigterm_lets_the_part_in_flight_end(tmp_path):
    rig = Rig(tmp_path, **SLOW, timing=TIMING)
    with rig.plc_running(parts=1, result_timeout=6.0) as plc:
        line = rig.start_line()
        until(lambda: rig.rows("state = 'triggered'"), what="a part")
        line.popen.send_signal(signal.SIGTERM)
        assert line.stop(5.0) == 0
        plc.wait(10)
    assert rig.decisions()[0] == ("PASS", "NONE")
    assert rig.outcomes()[0] == "pass"
    rig.verify()


def test_a_metrics_port_in_use_is_told_and_parts_are_inspected(tmp_path):
    rig = Rig(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = rig.station["metrics_port"] = taken.getsockname()[1]
        rig.write()
        with rig.plc_running(parts=1) as plc, rig.line() as line:
            assert plc.wait(60), line.text
        assert f"no metrics page: port {port}" in line.text
        assert "Traceback" not in line.text
    rig.verify()


@pytest.mark.parametrize("passed", [False, True])
def test_killed_between_trigger_and_decision(tmp_path, passed):
    """The PLC, which still waits, gets what the row says; one without a decision is closed at the restart.

    A stored PASS may have been told already, so that it stays; see gap 11 of docs/safety.md.
    """
    rig = Rig(tmp_path, **SLOW, timing=TIMING)
    with rig.plc_running(parts=2, takt=0.1, ack_timeout=20.0, result_timeout=20.0) as plc:
        line = rig.start_line()
        until(lambda: rig.rows("state = 'triggered'"), what="a part")
        until(lambda: plc.counters.triggers == 1, what="a trigger")
        line.kill()
        if passed:
            model = rig.releases / "plate" / "1" / "model.onnx"
            store = sqlite3.connect(rig.database)
            with store:
                store.execute(
                    "update parts set state = 'decided', decision = 'PASS', reason = 'NONE', "
                    "reasons = '[]', decided_mono = triggered_mono, decided_at = triggered_at, "
                    "frame_id = 1, frame_mono = triggered_mono, detections = '[]', "
                    "release = 'plate/1', release_number = 1, model_sha256 = ?, "
                    "recipe_sha256 = ?, part_name = 'plate', committed_mono = triggered_mono",
                    (hashlib.sha256(model.read_bytes()).hexdigest(), "cd" * 32),
                )
            store.close()
        with rig.line():
            assert plc.wait(40), plc.counters
    first = ("PASS", "NONE") if passed else ("NOT_INSPECTED", "RESTART")
    assert rig.decisions() == [first, ("PASS", "NONE")]
    assert rig.outcomes() == ["pass" if passed else "not_inspected", "pass"]
    epochs = [row["epoch"] for row in rig.rows()]
    assert epochs[0] < epochs[1]
    rig.verify()


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("call", ["fdatasync", "sendto"])
@pytest.mark.parametrize("at", [0, 1, 3, 5])
def test_killed_at_a_system_call(tmp_path, call, at):
    """SIGKILL at one commit, or at one write to the PLC, while parts are running."""
    rig = Rig(tmp_path, camera={"defect_rate": 0.0}, store={"images": {"ok_every": 0}})
    first = {"fdatasync": 12, "sendto": 400}[call] + at
    kill = ["strace", "-qq", "-f", "-o", "/dev/null", "-e", f"trace={call}"]
    kill += ["-e", f"inject={call}:signal=SIGKILL:when={first}"]
    with rig.plc_running(parts=12, takt=0.05, ack_timeout=30.0, result_timeout=30.0) as plc:
        line = rig.start_line(kill)
        until(lambda: line.popen.poll() is not None or plc.wait(0), 60, "the kill")
        line.stop()
        with rig.line():
            assert plc.wait(60), plc.counters
    assert len(rig.rows()) == 12
    rig.verify()


def test_the_plc_restarts_from_nothing_and_counts_from_one(tmp_path):
    """A PLC that lost its memory pulses RESET; its sequence 1 is a new part, not the old one."""
    rig = Rig(tmp_path, camera={"defect_rate": 0.0})
    with rig.line():
        with rig.plc_running(parts=2) as plc:
            assert plc.wait(30)
        rig.plc_log.rename(tmp_path / "first.log")
        with rig.plc_running(parts=2) as plc:
            assert plc.wait(30)
    assert [row["sequence"] for row in rig.rows()] == [1, 2, 1, 2]
    assert len({row["epoch"] for row in rig.rows()}) == 2
    assert rig.outcomes() == ["pass", "pass"]


def test_the_line_starts_before_its_plc(tmp_path):
    rig = Rig(tmp_path, camera={"defect_rate": 0.0})
    with rig.line() as line:
        until(lambda: "camera camera delivers" in line.text, what="the camera")
        until(lambda: "not READY: PLC_LINK" in line.text, what="the cause in the log")
        with rig.plc_running(parts=2) as plc:
            assert plc.wait(30)
    assert rig.outcomes() == ["pass", "pass"]


def test_triggers_that_come_while_the_line_is_dead_have_rows_in_the_end(tmp_path):
    """An impatient PLC rejects them by itself; the line finds the gap in TRIG_SEQ when it is back."""
    rig = Rig(tmp_path, camera={"defect_rate": 0.0})
    pause = threading.Event()
    with rig.plc_running(parts=300, takt=0.5, ack_timeout=0.2) as plc:
        for _ in range(10):  # it must die between two parts, READY still up
            line, before = rig.start_line(), plc.counters.passes
            until(lambda: plc.counters.passes > before + 1, what="parts")  # noqa: B023
            pause.wait(0.2)  # a slow PC has its acknowledgement by then, and READY is up again
            line.kill()
            pause.wait(1.5)  # until the PLC knows that the heartbeat is dead
            if plc.counters.rejects["no_ack"]:
                break
        with rig.line():
            after = plc.counters.passes
            until(lambda: plc.counters.passes > after + 2, what="parts again")
            plc.finish()
            assert plc.wait(20), plc.counters
        counters = plc.counters
    assert len(rig.rows()) == counters.triggers
    missed = rig.rows("reason = 'MISSED'")
    refused = {event["seq"] for event in rig.events() if event.get("cause") == "no_ack"}
    assert {row["sequence"] for row in missed} <= refused, "all others were seen"
    assert missed
    assert {row["decision"] for row in missed} == {"NOT_INSPECTED"}
    assert {row["part_id"] for row in missed} == {0}
    assert "never saw" not in rig.verify()
