"""A service that answers nonsense to a running line: the part is NOT INSPECTED, then it mends itself."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from typing import get_args

import pytest
from bad_service import BadService, Mode
from station_rig import Rig, until

from inspection.release import load_release

BAD = [mode for mode in get_args(Mode) if mode not in {"ok", "late", "drip"}]
REASONS = {
    "INFERENCE_FAILED", "INFERENCE_TIMEOUT", "MODEL_OUTPUT", "MODEL_MISMATCH", "MODEL_LOADING",
    "NOT_READY", "DEADLINE", "RELEASE_INVALID",
}  # fmt: skip


def test_every_kind_of_nonsense(tmp_path):
    """The good answers of this service are a defect at 0.5: FAIL. Nothing may ever pass."""
    rig = Rig(
        tmp_path,
        camera={"defect_rate": 0.0},
        runtime={"type": "service", "url": "http://127.0.0.1:1"},
        recipe={"limits": {"scratch": {"t1": 0.3, "t2": 0.4}}},
        timing={"inference_timeout": 0.3},
    )
    release = load_release(rig.releases / "plate" / "1")
    with BadService("ok", release) as service:
        rig.station["runtime"]["url"] = service.url
        rig.write()
        with rig.plc_running(parts=0, takt=0.05) as plc, rig.line() as line:
            until(lambda: plc.counters.rejects["fail"] >= 2, 30, "good answers")
            for mode in BAD:
                before = plc.counters
                service.mode = mode
                until(
                    lambda b=before: (
                        plc.counters.rejects["not_inspected"] > b.rejects["not_inspected"]
                    ),
                    30,
                    f"a part not inspected under {mode}",
                )
                service.mode = "ok"
                fails = plc.counters.rejects["fail"]
                until(
                    lambda f=fails: plc.counters.rejects["fail"] > f, 30, f"recovery after {mode}"
                )
            assert line.popen.poll() is None
            assert plc.counters.passes == 0
    decisions = set(rig.decisions())
    assert {d for d, _ in decisions} == {"FAIL", "NOT_INSPECTED"}
    assert {reason for d, reason in decisions if d == "NOT_INSPECTED"} <= REASONS
    rig.verify()


@pytest.mark.parametrize("late", [1, 2])
def test_a_late_frame_is_not_held_against_the_model(tmp_path, late):
    """One that leaves the model less time than it needs is late, and READY comes back at once.

    Two in a row may be a model that hangs, however early it was asked: it is loaded anew.
    """
    rig = Rig(
        tmp_path,
        camera={"defect_rate": 0.0, "faults": [f"late@{2 + n}:3.8" for n in range(late)]},
        runtime={"type": "service"},
        recipe={"deadline": 4.0},
        timing={"camera_timeout": 6.0, "inference_timeout": 5.0},
        variant="slow",
    )
    with rig.service(), rig.plc_running(parts=3 + late, takt=0.5) as plc, rig.line() as line:
        assert plc.wait(60)
        log = line.text
    decisions = [row["decision"] for row in rig.rows()]
    assert decisions == ["PASS", *["NOT_INSPECTED"] * late, "PASS", "PASS"]
    assert {"DEADLINE", "INFERENCE_TIMEOUT"} & set(json.loads(rig.rows()[1]["reasons"]))
    assert log.count("is loaded and warm") == late
    with contextlib.closing(sqlite3.connect(rig.database)) as connection:
        alarms = connection.execute("select reason from alarms").fetchall()
    assert (("INFERENCE_TIMEOUT",) in alarms) is (late == 2)
    rig.verify()
