"""Real labelled parts: fine-tune, release, and a shift on the line over real sockets.

The trainings are short and DeepPCB's numbers poor on purpose: what is tested is that the path is whole
and that store, PLC and counts agree. docs/results.md has the reported runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from screws import write_yolo
from shift import run_shift

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("INSPECTION_SHARED", ROOT.parent / "shared"))
DEEPPCB = SHARED / "data" / "deeppcb_mini"
SCREWS = SHARED / "data" / "screws" / "train_val_set"
WEIGHTS = SHARED / "weights" / "yolov8n_from_int8.pt"

pytestmark = [pytest.mark.shared, pytest.mark.soak, pytest.mark.slow, pytest.mark.timeout(600)]


def inspection(*arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "inspection", *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def train(folder: Path, dataset: str, *options: str | Path) -> str:
    told = inspection(
        "train", *options, "--data", folder / dataset, "--weights", WEIGHTS,
        "--releases", folder / "releases", "--out", folder / "runs", "--json",
    )  # fmt: skip
    return json.loads(told)["release"]


@pytest.mark.skipif(not DEEPPCB.exists(), reason="DeepPCB is not there; set INSPECTION_SHARED")
def test_deeppcb_from_pairs_to_a_shift(tmp_path):
    inspection("dataset", "import", DEEPPCB, "--to", tmp_path / "pcb", "--name", "pcb")
    options = ["--model", "yolov8n", "--imgsz", "320", "--epochs", "2", "--augment", "binary"]
    assert train(tmp_path, "pcb", *options) == "pcb/1"
    test = [line.split()[0] for line in (DEEPPCB / "PCBData" / "test.txt").read_text().splitlines()]
    names = [DEEPPCB / "PCBData" / name.removesuffix(".jpg") for name in test]
    images = [(Path(f"{name}_test.jpg"), True) for name in names]
    images += [(Path(f"{name}_temp.jpg"), False) for name in names]
    counted = run_shift(
        tmp_path / "shift", images, releases=tmp_path / "releases", part="pcb", number=1, takt=0.05,
        recipe={"frame": {"max_mean": 255}},
    )  # fmt: skip
    print(counted)
    assert counted.agrees, (tmp_path / "shift" / "verify.txt").read_text()
    assert (counted.bad, counted.good, counted.not_inspected) == (100, 100, 0)


@pytest.mark.skipif(not SCREWS.exists(), reason="the screws are not there; set INSPECTION_SHARED")
def test_a_part_passes_with_four_screws(tmp_path):
    """Boxes of screws and holes in, a shift of the 50 held-out photos out: no missing screw escapes."""
    assert write_yolo(SCREWS, tmp_path / "yolo") == 100
    inspection("dataset", "import", tmp_path / "yolo", "--to", tmp_path / "screws", "--val", "0.2")
    experiment = ROOT / "examples" / "screws" / "experiment.yaml"
    assert train(tmp_path, "screws", experiment) == "screws/1"
    photos = sorted((tmp_path / "yolo" / "images" / "test").glob("*.jpg"))
    counted = run_shift(
        tmp_path / "shift", [(photo, "_1111" not in photo.name) for photo in photos],
        releases=tmp_path / "releases", part="screws", number=1, takt=0.05,
        recipe=yaml.safe_load((ROOT / "examples" / "screws" / "recipe.yaml").read_text()),
    )  # fmt: skip
    print(counted)
    assert counted.agrees, (tmp_path / "shift" / "verify.txt").read_text()
    assert (counted.bad, counted.good, counted.not_inspected) == (37, 13, 0)
    assert counted.escapes == 0, counted.escaped
    assert counted.overkill <= 3
