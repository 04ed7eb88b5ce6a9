"""A variant that was compared on another kind of processor is told before the station runs it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from station_rig import Rig
from variant_parts import learned_from, write_parts, write_release

from inspection.doctor import check_station
from inspection_training.variants.make import make_variant

TOLD = "variant bf16 of colours/1 was compared on Abacus 9, 2 cores, this is "


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    folder = tmp_path_factory.mktemp("station")
    parts = write_parts(folder / "colours")
    make_variant(learned_from(write_release(folder / "releases"), parts), "bf16", parts)
    runtime = {"type": "openvino", "precision": "bf16"}
    return Rig(folder, runtime=runtime, recipe={"part": "colours"})


@pytest.fixture
def elsewhere(rig: Rig) -> Rig:
    """The same station, its variant's card from another PC."""
    path = rig.releases / "colours" / "1" / "variants" / "bf16" / "variant.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"machine": "Abacus 9, 2 cores"}))
    return rig


def check_line(rig: Rig) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "inspection", "line", "--check", "station.yaml"]
    return subprocess.run(command, cwd=rig.folder, capture_output=True, text=True, check=False)


def test_on_its_own_processor_nothing_is_told(rig: Rig) -> None:
    done = check_line(rig)
    assert (done.returncode, done.stderr) == (0, "")
    release = {check.name: check for check in check_station(rig.folder / "station.yaml")}
    assert release["release colours/1"].state == "ok"


def test_the_check_of_a_line_warns(elsewhere: Rig) -> None:
    done = check_line(elsewhere)
    assert done.returncode == 0
    assert f"warning: {TOLD}" in done.stderr
    assert "station.yaml is valid" in done.stdout


def test_the_doctor_warns(elsewhere: Rig) -> None:
    found = {check.name: check for check in check_station(elsewhere.folder / "station.yaml")}
    release = found["release colours/1"]
    assert release.state == "warn"
    assert TOLD in release.found
    assert "evaluate it here" in release.todo
    assert found["release plate/1"].state == "ok", "it has no such variant"


def test_a_station_in_f32_has_nothing_to_warn_of(elsewhere: Rig) -> None:
    elsewhere.station["runtime"] = {"type": "openvino"}
    elsewhere.write()
    assert check_line(elsewhere).stderr == ""
    found = {check.name: check for check in check_station(elsewhere.folder / "station.yaml")}
    assert found["release colours/1"].state == "ok"
