"""Labelled pictures looked at on a real Ray cluster of two nodes: one process's numbers, or an error."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from release_builder import paint, write_release
from station_rig import until

pytest.importorskip("ray", reason="Ray is not installed: the extra ray")
pytest.importorskip("pyarrow", reason="Ray Data is not installed: the extra ray")
from ray_nodes import RayNodes

from inspection.errors import ConfigError, DatasetError, ReleaseError
from inspection.release import load_release, read_card, write_card
from inspection_datasets.manifest import (
    DatasetVersion,
    Sample,
    load_version,
    sha256_of,
    write_version,
)
from inspection_training.detect_on_cluster import Told, detect_block
from inspection_training.surroundings import surroundings

SIZE = (128, 160)
CLASSES = ("scratch", "dent", "hole")
PATIENCE = 240.0
WORKER = "ray::MapBatches(detect_block)"
SCRIPT = Path(__file__).parents[1] / "ray_evaluate.py"
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    """Two nodes of one processor each."""
    with RayNodes((1, 1)) as running:
        yield running


def fill_dataset(folder: Path, parts: int) -> DatasetVersion:
    """Every part is another picture; two of three are defective, every fifth looks otherwise than it is."""
    (folder / "images").mkdir(parents=True)
    rows: list[Sample] = []
    for index in range(parts):
        kind, box = index % 3 - 1, (20, 20, 24 + index % 29, 24 + index % 29)
        shown = kind if index % 5 else -kind
        marks = [] if shown < 0 else [(shown, box)]
        image = paint(SIZE, *marks, grey=70 + index % 100)
        image[-1, -1] = index % 256, index // 256, 100
        path = folder / "images" / f"{index:05d}.png"
        path.write_bytes(cv2.imencode(".png", image[..., ::-1])[1].tobytes())
        boxes = [(CLASSES[kind], *map(float, box))] if kind >= 0 else []
        rows.append(
            Sample(
                image=f"images/{path.name}", sha256=sha256_of(path), width=SIZE[1], height=SIZE[0],
                split="test", group=f"part{index}", boxes=boxes,
                state="labelled" if boxes else "good", origin="test",
            )
        )  # fmt: skip
    return write_version(folder, "demo", CLASSES, rows)


def process(*arguments: str | int | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def answer_of(running: subprocess.Popen[str]) -> str:
    out, error = running.communicate(timeout=PATIENCE)
    assert running.returncode == 0, error[-3000:]
    (line,) = out.splitlines()  # Ray's own words on lost workers are not for a script
    return line


@pytest.mark.slow
def test_the_verb_says_the_same_on_two_nodes_and_names_what_a_node_does_not_see(
    nodes: RayNodes, tmp_path: Path
):
    release = write_release(tmp_path / "releases", size=SIZE)
    other = write_release(tmp_path / "releases", number=2, size=SIZE, variant="constant")
    version = fill_dataset(tmp_path / "data", 150)
    asked = ("-m", "inspection", "evaluate", release, "--data", version.folder, "--json")
    asked += ("--against", other)
    shared = (*asked, "--ray", "--address", nodes.address)
    alone = answer_of(process(*asked, "--threads", 1))
    assert answer_of(process(*shared)) == alone
    assert json.loads(alone)["images"] == 150
    assert json.loads(alone)["comparison"]
    assert json.loads(alone)["defective"]["escape"]["count"] > 0
    version.path(version.samples[77]).unlink()
    failed = process(*shared)
    out, error = failed.communicate(timeout=PATIENCE)
    assert failed.returncode != 0
    assert out == "", "no number of fewer pictures"
    assert re.search(
        r"inspection: node .*00077\.png cannot be read .*is the image there\?\n$", error
    )
    assert "Traceback" not in error
    assert "Warning" not in error


@pytest.mark.soak
def test_a_worker_and_a_node_are_lost_and_the_numbers_are_equal_to_the_bit(
    nodes: RayNodes, tmp_path: Path
):
    nodes.fill_up(2)
    release = write_release(tmp_path / "releases", size=SIZE, variant="slow")
    version = fill_dataset(tmp_path / "data", 120)
    arguments = (SCRIPT, release, version.folder)
    shared = process(*arguments, nodes.address, 2)
    try:
        working = until(lambda: nodes.workers(WORKER), PATIENCE, "a worker at work")
        working[0].kill()
        until(lambda: len(nodes.workers(WORKER)) >= 2, PATIENCE, "both nodes at work")
        assert shared.poll() is None
        nodes.lose(1)
        alone = answer_of(process(*arguments))
        assert answer_of(shared) == alone
    finally:
        shared.kill()
    assert int(alone.split()[1]) == 120
    assert int(alone.split()[2]) > 0


@pytest.mark.soak
def test_where_no_worker_lives_long_there_is_an_error_and_no_number(
    nodes: RayNodes, tmp_path: Path
):
    """Every worker is killed as soon as it is seen: a block is lost more often than it is begun again."""
    nodes.fill_up(2)
    release = write_release(tmp_path / "releases", size=SIZE, variant="slow")
    version = fill_dataset(tmp_path / "data", 40)
    shared = process(SCRIPT, release, version.folder, nodes.address, 20)
    try:

        def ended() -> bool:
            for worker in nodes.workers(WORKER):
                worker.kill()
            return shared.poll() is not None

        until(ended, PATIENCE, "an end")
        out, error = shared.communicate()
    finally:
        shared.kill()
    assert shared.returncode != 0
    assert out == ""
    assert "nothing is told of any picture" in error


@pytest.mark.soak
def test_where_the_head_is_lost_there_is_an_error_and_no_number(tmp_path: Path):
    release = write_release(tmp_path / "releases", size=SIZE, variant="slow")
    version = fill_dataset(tmp_path / "data", 100)
    with RayNodes((1, 1)) as own:
        shared = process(SCRIPT, release, version.folder, own.address, 4)
        try:
            until(lambda: own.workers(WORKER), PATIENCE, "a worker at work")
            own.lose(0)
            out, error = shared.communicate(timeout=PATIENCE)
        finally:
            shared.kill()
    assert (shared.returncode, out) == (2, "")
    assert "the head of the Ray cluster at 127.0.0.1" in error


def test_an_address_without_a_cluster_is_refused(tmp_path: Path):
    asked = ["evaluate", str(tmp_path), "--data", str(tmp_path), "--address", "127.0.0.1:1"]
    running = process("-m", "inspection", *asked)
    _, error = running.communicate(timeout=PATIENCE)
    assert (running.returncode, "--address is for --ray" in error) == (2, True), error


def test_a_node_that_is_not_like_the_asking_machine_is_refused(tmp_path: Path):
    release = load_release(write_release(tmp_path / "releases", size=SIZE))
    version = fill_dataset(tmp_path / "data", 4)
    here = surroundings(release.model_sha256)
    told = Told(release, replace(version, samples=()), "onnxruntime", 1, here)
    block = {
        "number": np.arange(4),
        "sample": np.array([x.model_dump_json() for x in version.samples], object),
    }
    found = [pickle.loads(x) for x in detect_block(block, pickle.dumps(told))["found"]]
    assert [len(detections) for detections in found] == [1, 1, 1, 0]
    for changed in (
        {"processor": "another one"},
        {"software": {**here.software, "openvino": "1.0"}},
        {"model_sha256": "ab" * 32},
    ):
        other = pickle.dumps(replace(told, here=replace(here, **changed)))
        with pytest.raises(ConfigError, match=f"not give the same result: {next(iter(changed))}"):
            detect_block(block, other)
    version.path(version.samples[2]).write_bytes(b"another picture")
    with pytest.raises(DatasetError, match=r"node .*00002\.png"):
        detect_block(block, pickle.dumps(told))
    card = read_card(release.folder)
    limits = {name: x.model_copy(update={"t1": 0.1}) for name, x in card.limits.items()}
    write_card(release.folder, card.model_copy(update={"limits": limits}))
    with pytest.raises(ConfigError, match="sees another release"):
        detect_block(block, pickle.dumps(replace(told, threads=2)))
    (release.folder / "model.onnx").unlink()
    with pytest.raises(ReleaseError, match="node "):
        detect_block(block, pickle.dumps(replace(told, threads=3)))
    assert load_version(version.folder).samples == version.samples
