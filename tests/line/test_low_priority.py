"""A line that somebody started at a low priority, and that may not raise it, loses nothing."""

from __future__ import annotations

import json
from pathlib import Path

from station_rig import Rig, until


def test_pictures_are_kept_and_people_see_the_line(tmp_path: Path) -> None:
    prefix = ["nice", "-n", "15", "setpriv", "--bounding-set=-sys_nice"]
    rig = Rig(tmp_path, camera={"defect_rate": 0.5})
    with rig.plc_running(parts=6) as plc, rig.line(prefix) as line:
        assert plc.wait(60), plc.counters
        assert line.popen.poll() is None
        file = tmp_path / "live" / "test.json"
        until(
            lambda: sum(json.loads(file.read_text())["counts"].values()) == 6, 20, "the live state"
        )
    assert {row["image_state"] for row in rig.rows()} == {"saved"}
