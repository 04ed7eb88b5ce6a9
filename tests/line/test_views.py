"""A line whose parts are seen by two cameras: one decision and one row, and no view hides."""

from __future__ import annotations

import json

from release_builder import write_release
from station_rig import CLASSES, Rig, until

from inspection.doctor import check_station
from inspection.types import Tiling

SIZE = (320, 256)
FAULTS = {
    3: ("lost", "CAMERA_TIMEOUT"),
    5: ("frozen", "FRAME_IDENTICAL"),
    7: ("black", "FRAME_DARK"),
    9: ("wrong_size", "FRAME_SIZE"),
    11: ("disconnect:0.6", "CAMERA_LOST"),
}


def test_two_views_are_one_part(tmp_path):
    def camera(name, **settings):
        fixed = {"type": "simulated", "name": name, "size": list(SIZE), "marks": True}
        return {**fixed, "exposure": 0.001, **settings}

    faults = [
        f"{fault.partition(':')[0]}@{part}" + fault[len(fault.partition(":")[0]) :]
        for part, (fault, _) in FAULTS.items()
    ]
    cell = (SIZE[1] + 32, SIZE[0] + 32)
    write_release(tmp_path / "releases", "plate", 1, CLASSES, (144, 176), tiling=Tiling(cell, 0.0))
    top = camera("top", defect_rate=0.0)
    side = camera("side", defect_rate=0.4, seed=3, faults=faults)
    rig = Rig(
        tmp_path,
        camera={"type": "views", "name": "both", "cameras": [top, side], "size": list(SIZE)},
        recipe={"frame": {"views": ["top", "side"]}},
    )
    with rig.plc_running(parts=24) as plc, rig.line():
        assert plc.wait(60), plc.counters
    rows = rig.rows()
    assert len(rows) == 24
    for part, row in enumerate(rows, start=1):
        if part in FAULTS:
            assert (row["decision"], row["reason"]) == ("NOT_INSPECTED", FAULTS[part][1]), part
            continue
        seen = {*json.loads(row["truth"])} - {"burr"}  # the model knows no burr
        assert row["decision"] == ("FAIL" if seen else "PASS"), part
        assert row["camera"] == "both"
        assert row["source"].startswith("top ")
        found = json.loads(row["detections"])
        assert all(one["box"][0] >= cell[1] for one in found), "only side has any"
    assert {row["decision"] for row in rows} == {"PASS", "FAIL", "NOT_INSPECTED"}
    rig.verify()


def test_regions_that_may_lie_in_another_camera_are_refused(tmp_path):
    """Two cameras changed places: what a region ignores in one picture, it would ignore in the other."""

    def camera(name):
        return {"type": "simulated", "name": name, "size": list(SIZE)}

    cameras = {"type": "views", "cameras": [camera("top"), camera("side")], "size": list(SIZE)}
    region = {"size": [672, 256], "regions": [{"box": [0, 0, 60, 60], "ignore": True}]}
    for named, regions, state in (
        (["top", "side"], {}, "ok"),
        (["side", "top"], {}, "fail"),
        ([], {}, "warn"),
        (["top", "side"], region, "ok"),
        ([], region, "fail"),
    ):
        frame = {"views": named, **({"size": regions["size"]} if regions else {})}
        recipe = {"frame": frame, "regions": regions.get("regions", [])}
        rig = Rig(tmp_path, camera=cameras, recipe=recipe)
        found = {check.name: check for check in check_station(rig.folder / "station.yaml")}
        check = found["recipe in force"]
        assert check.state == state, (named, regions, check)
        assert ("views: [top, side]" in check.found + check.todo) == (state != "ok")
    with rig.line() as line, rig.plc_running(parts=2, ready_timeout=0.5) as plc:
        until(lambda: "in which order" in line.text, what="the recipe refused")
        plc.wait(10)
        assert plc.counters.passes == 0
    assert {decision for decision, _ in rig.decisions()} <= {"NOT_INSPECTED"}
