"""Real labelled parts: fine-tune, release, and a shift on the line over real sockets.

The numbers of a short training are poor on purpose; what is tested is that the path is whole and that
store, PLC and counts agree. docs/results.md has the reported run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from shift import run_shift

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("INSPECTION_SHARED", ROOT.parent / "shared"))
DEEPPCB = SHARED / "data" / "deeppcb_mini"
SCREWS = SHARED / "data" / "screws"
WEIGHTS = SHARED / "weights" / "yolov8n_from_int8.pt"

pytestmark = [pytest.mark.shared, pytest.mark.soak, pytest.mark.timeout(900)]


def inspection(*arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "inspection", *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.skipif(not DEEPPCB.exists(), reason="DeepPCB is not there; set INSPECTION_SHARED")
def test_deeppcb_from_pairs_to_a_shift(tmp_path):
    inspection(
        "dataset",
        "import",
        DEEPPCB,
        "--to",
        tmp_path / "pcb",
        "--layout",
        "deeppcb",
        "--name",
        "pcb",
    )
    told = json.loads(
        inspection(
            "train", "--data", tmp_path / "pcb", "--weights", WEIGHTS, "--model", "yolov8n",
            "--imgsz", "320", "--epochs", "2", "--augment", "binary",
            "--releases", tmp_path / "releases", "--out", tmp_path / "runs", "--json",
        )
    )  # fmt: skip
    assert told["release"] == "pcb/1"
    test = [line.split()[0] for line in (DEEPPCB / "PCBData" / "test.txt").read_text().splitlines()]
    names = [DEEPPCB / "PCBData" / name.removesuffix(".jpg") for name in test][:40]
    images = [(Path(f"{name}_test.jpg"), True) for name in names]
    images += [(Path(f"{name}_temp.jpg"), False) for name in names]
    counted = run_shift(
        tmp_path / "shift", images, releases=tmp_path / "releases", part="pcb", number=1, takt=0.05
    )
    print(counted)
    assert counted.agrees, (tmp_path / "shift" / "verify.txt").read_text()
    assert (counted.bad, counted.good, counted.not_inspected) == (40, 40, 0)
