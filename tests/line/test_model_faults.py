"""The model or the service fails under a running line: NOT INSPECTED, READY off, never PASS."""

from __future__ import annotations

import signal

import pytest
from station_rig import Rig, until


@pytest.mark.parametrize(
    ("variant", "reason"),
    [("nan", "MODEL_OUTPUT"), ("wrong_output", "MODEL_OUTPUT"), ("wrong_classes", "MODEL_OUTPUT")],
)
def test_a_model_that_answers_nonsense_never_passes_a_part(tmp_path, variant, reason):
    rig = Rig(tmp_path, camera={"defect_rate": 1.0}, variant=variant)
    with rig.line() as line:  # before its PLC, whose patience is short
        until(lambda: "delivers" in line.text, what="the camera")
        with rig.plc_running(parts=2, ready_timeout=4.0) as plc:
            until(lambda: plc.wait(0) or "model fault" in line.text, 30, "a fault")
            plc.wait(20)
            assert plc.counters.passes == 0
        text = line.text
    assert {decision for decision, _ in rig.decisions()} <= {"NOT_INSPECTED"}
    assert reason in text


@pytest.mark.parametrize("variant", ["flipped", "external_data", "custom_op", "bad_input"])
def test_a_release_that_was_altered_is_never_loaded(tmp_path, variant):
    rig = Rig(tmp_path, camera={"defect_rate": 0.0}, variant=variant)
    with rig.plc_running(parts=2, ready_timeout=0.5) as plc, rig.line() as line:
        until(lambda: "RELEASE_INVALID" in line.text, what="RELEASE_INVALID")
        plc.wait(10)
        assert plc.counters.passes == 0
    assert not [d for d, _ in rig.decisions() if d != "NOT_INSPECTED"]


def test_too_slow_a_model_misses_the_deadline_and_is_never_published(tmp_path):
    rig = Rig(tmp_path, camera={"defect_rate": 0.0}, variant="slow", recipe={"deadline": 0.1})

    def reached_model() -> list[dict]:
        """Rows whose picture came in time; a busy PC renders one or the other too late for its model."""
        return [row for row in rig.rows() if "CAMERA_TIMEOUT" not in row["reasons"]]

    with rig.plc_running(parts=4, takt=0.2) as plc, rig.line():
        assert plc.wait(60)
        until(lambda: all(row["late"] for row in reached_model()), 5, "late results in the rows")
    assert {row["reason"] for row in reached_model()} == {"DEADLINE"}
    assert {decision for decision, _ in rig.decisions()} == {"NOT_INSPECTED"}
    rig.verify()


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_stop_in_the_middle_of_an_inference_is_no_crash(tmp_path, runtime):
    rig = Rig(
        tmp_path,
        camera={"defect_rate": 0.0},
        variant="crawling",
        runtime={"type": runtime, "threads": 1},
    )
    with rig.line() as line, rig.plc_running(parts=1, ready_timeout=40.0) as plc:
        until(lambda: plc.counters.triggers, 40, "the trigger")
        until(lambda: rig.rows() and "READY" in line.text, 10, "its row")
        assert line.stop() == 0, line.text[-2000:]
    assert [decision for decision, _ in rig.decisions()] == ["NOT_INSPECTED"]
    assert "still waits for its driver" in line.text
    assert "terminate called" not in line.text


def test_the_service_is_killed_and_comes_back(tmp_path):
    rig = Rig(tmp_path, camera={"defect_rate": 0.0}, runtime={"type": "service"})
    service = rig.start_service()
    with rig.plc_running(parts=16, takt=0.1) as plc, rig.line() as line:
        until(lambda: plc.counters.passes >= 3, 40, "three parts")
        service.kill()
        until(lambda: "not READY: INFERENCE" in line.text, what="READY off")
        assert plc.counters.passes <= plc.counters.triggers
        service = rig.start_service()
        assert plc.wait(60), plc.counters
        service.stop()
    causes = set(rig.decisions())
    assert causes <= {
        ("PASS", "NONE"),
        ("NOT_INSPECTED", "INFERENCE_FAILED"),
        ("NOT_INSPECTED", "INFERENCE_TIMEOUT"),
        ("NOT_INSPECTED", "NOT_READY"),
    }
    assert rig.outcomes()[-1] == "pass"
    rig.verify()


def test_the_service_hangs_and_goes_on(tmp_path):
    rig = Rig(
        tmp_path,
        camera={"defect_rate": 0.0},
        runtime={"type": "service"},
        timing={"inference_timeout": 0.3},
    )
    with rig.service() as service, rig.plc_running(parts=12, takt=0.1) as plc, rig.line() as line:
        until(lambda: plc.counters.passes >= 3, 40, "three parts")
        service.popen.send_signal(signal.SIGSTOP)
        until(lambda: "not READY: INFERENCE" in line.text, what="READY off")
        service.popen.send_signal(signal.SIGCONT)
        assert plc.wait(60), plc.counters
    decisions = rig.decisions()
    assert decisions[-1] == ("PASS", "NONE")
    assert {d for d in decisions if d[0] != "PASS"} <= {
        ("NOT_INSPECTED", "INFERENCE_TIMEOUT"),
        ("NOT_INSPECTED", "INFERENCE_FAILED"),
        ("NOT_INSPECTED", "NOT_READY"),
        ("NOT_INSPECTED", "DEADLINE"),
    }
    rig.verify()
