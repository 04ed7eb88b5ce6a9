"""Every fault switch of the simulated camera, on a running line: its reason, no PASS, and recovery."""

from __future__ import annotations

import json

import pytest
from station_rig import Rig

SCHEDULE = {
    3: ("lost", "CAMERA_TIMEOUT"),
    7: ("late:0.8", "CAMERA_TIMEOUT"),
    9: ("frozen", "FRAME_IDENTICAL"),
    11: ("repeated", "FRAME_REPEATED"),
    13: ("stale", "FRAME_STALE"),
    15: ("black", "FRAME_DARK"),
    17: ("white", "FRAME_BRIGHT"),
    19: ("flat", "FRAME_FLAT"),
    21: ("wrong_size", "FRAME_SIZE"),
    23: ("disconnect:1.0", "CAMERA_LOST"),
    25: ("hang:4", "CAMERA_TIMEOUT"),
    27: ("truncated", "FRAME_INVALID"),
}


def test_each_fault_is_answered_not_inspected_and_mends_itself(tmp_path):
    faults = [
        f"{fault.split(':')[0]}@{part}" + "".join(f":{s}" for s in fault.split(":")[1:])
        for part, (fault, _) in SCHEDULE.items()
    ]
    rig = Rig(
        tmp_path,
        camera={"faults": [*faults, "late@5:0.3"], "defect_rate": 0.0},
        recipe={"frame": {"size": [320, 256]}},
    )
    with rig.plc_running(parts=30) as plc, rig.line():
        assert plc.wait(60), plc.counters
        counters = plc.counters.as_dict()
    decisions = rig.decisions()
    assert len(decisions) == 30
    for part, (decision, reason) in enumerate(decisions, start=1):
        if part in SCHEDULE:
            assert (decision, reason) == ("NOT_INSPECTED", SCHEDULE[part][1]), part
        else:
            assert (decision, reason) == ("PASS", "NONE"), part
    doubtful = [row for row in rig.rows() if row["reason"].startswith("FRAME_")]
    assert len(doubtful) == 8
    for name in ("late", "detections", "release", "model_sha256", "code"):
        found = [row[name] for row in doubtful]
        assert found == [None] * 8, f"{name}: what is seen in a doubtful picture is no finding"
    assert counters["passes"] == 30 - len(SCHEDULE)
    assert counters["rejects"]["not_inspected"] == len(SCHEDULE)
    rig.verify()


def test_a_model_that_still_looks_at_a_dark_picture_is_no_fault(tmp_path):
    """The part is answered before the model is through; READY comes back when it is, without an alarm."""
    rig = Rig(
        tmp_path,
        variant="slow",
        camera={"faults": ["black@2", "flat@4"], "defect_rate": 0.0},
        recipe={"deadline": 10.0},
    )
    with rig.plc_running(parts=5, takt=0.05, result_timeout=12.0) as plc, rig.line() as line:
        assert plc.wait(90), plc.counters
        said = line.text
    dark, flat = ("NOT_INSPECTED", "FRAME_DARK"), ("NOT_INSPECTED", "FRAME_FLAT")
    good = ("PASS", "NONE")
    assert rig.decisions() == [good, dark, good, flat, good]
    decided = [json.loads(row["timings"])["decided"] for row in rig.rows()]
    assert max(decided[1], decided[3]) < min(decided[0], decided[2], decided[4])
    assert "INFERENCE_TIMEOUT" not in said
    rig.verify()


def test_nonsense_about_a_picture_that_shows_nothing_is_not_held_against_the_model(tmp_path):
    rig = Rig(tmp_path, variant="nan", camera={"faults": [f"flat@{n}" for n in (1, 2, 3)]})
    with rig.plc_running(parts=4, takt=0.1) as plc, rig.line() as line:
        assert plc.wait(60), plc.counters
        said = line.text
    reasons = [reason for _, reason in rig.decisions()]
    assert reasons == ["FRAME_FLAT"] * 3 + ["MODEL_OUTPUT"], "of the last, it is"
    before = said[: said.index("model fault")]
    assert before.count("FRAME_FLAT in") == 3
    assert before.count("is loaded and warm") == 1


@pytest.mark.parametrize("fault", ["lost", "hang:6"])
def test_ready_is_off_until_the_camera_delivers_again(tmp_path, fault):
    name, _, seconds = fault.partition(":")
    at = f"{name}@2" + (f":{seconds}" if seconds else "")
    rig = Rig(tmp_path, camera={"faults": [at, "disconnect@3:1.5"], "defect_rate": 0.0})
    with rig.plc_running(parts=4, takt=0.1) as plc, rig.line() as line:
        assert plc.wait(30)
        events = [e for e in line.text.splitlines() if "READY" in e]
    off = next(i for i, event in enumerate(events) if "not READY: CAMERA" in event)
    assert '"READY"' in events[off + 1]
    assert [decision for decision, _ in rig.decisions()] == [
        "PASS",
        "NOT_INSPECTED",
        "NOT_INSPECTED",
        "PASS",
    ]
    states = [event["cause"] for event in rig.events() if event["event"] == "reject"]
    assert not states, "the conveyor waited for READY"


def test_a_sensor_that_stays_frozen_passes_nothing(tmp_path):
    """Frozen over every reopening: the same pixels with new frame ids and times are no new picture."""
    rig = Rig(tmp_path, camera={"faults": ["frozen@3:4"], "defect_rate": 0.0})
    with rig.plc_running(parts=30, takt=0.2) as plc, rig.line():
        assert plc.wait(60), plc.counters
    decisions = rig.decisions()
    frozen = [index for index, (_, reason) in enumerate(decisions) if reason == "FRAME_IDENTICAL"]
    assert len(frozen) >= 3
    assert frozen == list(range(2, 2 + len(frozen))), "every part, until the pictures change"
    assert decisions[-1] == ("PASS", "NONE")
    rig.verify()
