"""A whole station with a GigE Vision camera: lost packets, and a camera that loses its power."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from fake_gige_camera import ADDRESS, FakeGigeCamera, installed
from station_rig import Rig, until

pytestmark = pytest.mark.skipif(not installed(), reason="libaravis-0.8-0 is not installed")
CAMERA: dict[str, Any] = {
    "type": "aravis",
    "device": ADDRESS,
    "trigger": "software",
    "width": 320,
    "height": 256,
    "exposure_us": 500,
}
RECIPE = {"frame": {"size": [320, 256]}}


def readiness(text: str) -> list[tuple[datetime, bool]]:
    """When READY went on and off, from the line's log."""
    entries = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [
        (datetime.fromisoformat(entry["timestamp"]), entry["event"] == "READY")
        for entry in entries
        if "READY" in entry["event"]
    ]


def run_with_loss(folder: Path, parts: int) -> int:
    """Return how many parts were not inspected: each for an incomplete frame, no other."""
    rig = Rig(folder, camera=CAMERA, recipe=RECIPE)
    with FakeGigeCamera() as device, rig.line() as line:
        until(lambda: "delivers" in line.text, 60, "the camera")
        device.loss(0.005)
        with rig.plc_running(parts=parts, takt=0.03) as plc:
            assert plc.wait(60 + parts), plc.counters
            passes = plc.counters.passes
    decisions = rig.decisions()
    assert len(decisions) == parts
    refused = [found for found in decisions if found != ("PASS", "NONE")]
    assert {decision for decision, _ in refused} == {"NOT_INSPECTED"}
    assert {reason for _, reason in refused} <= {"FRAME_INVALID", "CAMERA_TIMEOUT"}
    assert passes == parts - len(refused)
    rig.verify()
    return len(refused)


def test_a_frame_with_lost_packets_is_not_inspected(tmp_path: Path) -> None:
    refused = run_with_loss(tmp_path, 40)
    assert 0 < refused < 40


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_500_parts_with_lost_packets(tmp_path: Path) -> None:
    refused = run_with_loss(tmp_path, 500)
    print(f"{refused} of 500 parts NOT INSPECTED")
    assert 60 < refused < 220, "0.5 % of 62 packets: about 27 % of the frames"


def test_power_lost_and_back(tmp_path: Path) -> None:
    """Between two parts, when nobody waits for a frame."""
    rig = Rig(tmp_path, camera=CAMERA, recipe=RECIPE)
    with FakeGigeCamera() as device, rig.line() as line, rig.plc_running(parts=0, takt=2.5) as plc:
        until(lambda: plc.counters.passes >= 1, 60, "a part")
        device.kill()
        off = datetime.now().astimezone()
        until(lambda: not readiness(line.text)[-1][1], 20, "READY off")
        before = plc.counters.passes
        device.start()
        on = datetime.now().astimezone()
        until(lambda: readiness(line.text)[-1][1], 20, "READY again")
        until(lambda: plc.counters.passes > before, 60, "a part again")
        changes = readiness(line.text)
    noticed = next(at for at, ready in changes if not ready and at > off) - off
    back = next(at for at, ready in changes if ready and at > on) - on
    print(f"noticed {noticed.total_seconds():.2f} s, running {back.total_seconds():.2f} s after")
    assert noticed.total_seconds() < 3, "1 s on a quiet PC"
    assert back.total_seconds() < 8, "3 s on a quiet PC"
    wrong = [found for found in rig.decisions() if found[0] not in {"PASS", "NOT_INSPECTED"}]
    assert not wrong
    rig.verify()
