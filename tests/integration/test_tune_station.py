"""What a tune makes of a station file: one block changes, and never to what would stop a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from station_rig import Rig
from variant_parts import learned_from, write_parts, write_release

from inspection.config import load_station
from inspection.errors import ConfigError
from inspection_training.tune.station_file import Change, change_of, write
from inspection_training.variants.make import make_variant

BF16 = {"type": "openvino", "precision": "bf16", "threads": 2}


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    folder = tmp_path_factory.mktemp("station")
    parts = write_parts(folder / "colours")
    make_variant(learned_from(write_release(folder / "releases"), parts), "bf16", parts)
    return Rig(folder, runtime={"type": "openvino"}, recipe={"part": "colours"})


def written(rig: Rig, runtime: str, before: str = "", after: str = "") -> Path:
    others = {name: value for name, value in rig.station.items() if name != "runtime"}
    path = rig.folder / "station.yaml"
    text = f"{before}runtime:{runtime}{after}{yaml.safe_dump(others)}# the end\n"
    path.write_text(text, encoding="utf-8")
    load_station(path)
    return path


def changed(path: Path, chosen: dict[str, Any]) -> Change:
    change = change_of(path, chosen)
    write(change, load_station(path))
    return change


@pytest.mark.parametrize(
    ("old", "after"),
    [
        ("\n  type: openvino\n  hint: throughput\n", "\n# about the store\n"),
        (" {type: openvino}  # as delivered\n", ""),
        ("\n  # which\n  type: onnxruntime  # plain\n", "\n\n"),
        ("\n  type: 'onnxruntime'\n", ""),
        ("   {\n  type: onnxruntime,\n  threads: 1}\n", "# about the store\n"),
    ],
)
def test_only_the_block_changes(rig: Rig, old: str, after: str) -> None:
    path = written(rig, old, "# my station\n", after)
    before = path.read_text()
    path.chmod(0o640)
    change = changed(path, BF16)
    text = path.read_text()
    assert "runtime: {type: openvino, precision: bf16, threads: 2}" in text
    assert text.startswith("# my station\n")
    assert text.endswith(before.split("camera:", 1)[1])
    assert after in text
    assert path.stat().st_mode & 0o777 == 0o640
    assert "+runtime: {type: openvino" in change.difference()
    now, was = (yaml.safe_load(x) for x in (text, before))
    assert {**now, "runtime": 0} == {**was, "runtime": 0}
    assert [x.name for x in path.parent.glob(".*tune*")] == []


def test_url_and_timeout_stay(rig: Rig) -> None:
    path = written(rig, " {type: service, url: 'http://127.0.0.1:9', timeout: 2.0}\n")
    changed(path, {"type": "service", "precision": "bf16"})
    runtime = yaml.safe_load(path.read_text())["runtime"]
    assert runtime == {
        "type": "service", "precision": "bf16", "url": "http://127.0.0.1:9", "timeout": 2.0
    }  # fmt: skip


def test_what_is_so_already_changes_nothing(rig: Rig) -> None:
    path = written(rig, "\n  threads: 2\n  type: openvino\n  precision: bf16\n")
    assert change_of(path, BF16).difference() == ""


def test_a_recipe_that_would_be_refused_stops_it(rig: Rig) -> None:
    """Another part of the station has no bf16: with it, its recipe could not run any more."""
    path = written(rig, " {type: openvino}\n")
    before = path.read_text()
    other = rig.folder / "recipes" / "2.yaml"
    other.write_text("{number: 2, part: plate, release: 1}\n", encoding="utf-8")
    try:
        with pytest.raises(ConfigError, match="recipe 2 would be refused"):
            changed(path, BF16)
    finally:
        other.unlink()
    assert path.read_text() == before


def test_a_file_changed_meanwhile_is_left_alone(rig: Rig) -> None:
    path = written(rig, " {type: openvino}\n")
    change, config = change_of(path, BF16), load_station(path)
    path.write_text(path.read_text() + "# a person was here\n")
    with pytest.raises(ConfigError, match="changed meanwhile"):
        write(change, config)
    assert path.read_text().endswith("# a person was here\n")


def test_a_link_is_followed(rig: Rig) -> None:
    path = written(rig, " {type: openvino}\n")
    link = rig.folder / "linked.yaml"
    link.symlink_to(path)
    changed(link, BF16)
    assert link.is_symlink()
    assert "bf16" in path.read_text()
