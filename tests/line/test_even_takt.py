"""A line at an even takt reads CTRL more often when the next part is due, and only then."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from station_rig import Rig

from inspection.plc.memory import Memory

POLL, TAKT, PARTS, LEARN = 0.02, 0.5, 12, 4


@pytest.mark.slow
def test_ctrl_is_read_more_often_when_the_next_part_is_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[float] = []
    read = Memory.read

    def noted(memory: Memory, address: int, count: int) -> list[int]:
        if address == memory.ctrl_address:
            reads.append(time.monotonic())
        return read(memory, address, count)

    monkeypatch.setattr(Memory, "read", noted)
    rig = Rig(tmp_path, timing={"poll": POLL})
    with rig.line(), rig.plc_running(takt=TAKT, parts=PARTS) as plc:
        assert plc.wait(60)
    events = [json.loads(line) for line in rig.plc_log.read_text().splitlines()]
    triggers = [event["mono"] for event in events if event["event"] == "trigger"][LEARN:]

    def readings(begin: float, end: float) -> int:
        """Count those in this part of each takt, in seconds before the trigger."""
        return sum(begin <= at - trigger < end for trigger in triggers for at in reads)

    due, before = readings(-0.08, 0.0), readings(-0.24, -0.16)
    assert due > 2 * before > 0
    rig.verify()
