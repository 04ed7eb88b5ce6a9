"""`inspection dataset show --sheet`: the pictures asked for, with their boxes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from inspection.errors import DatasetError
from inspection_datasets.cli import app
from inspection_datasets.findings import Mark
from inspection_datasets.manifest import DatasetVersion, Sample, sha256_of, write_version
from inspection_datasets.sheet import choose, jpeg, thumbnail, write_sheet


@pytest.fixture
def dataset(tmp_path: Path) -> DatasetVersion:
    samples = []
    for i in range(12):
        path = tmp_path / "images" / f"부품 {i}.png"
        path.parent.mkdir(exist_ok=True)
        image = np.full((30 + 200 * (i % 2), 60, 3), 128, np.uint8)
        path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
        boxes = [("긁힘" if i % 3 else "dent", 5.0, 5.0, 20.0, 20.0)] if i % 4 else []
        values = {
            "image": f"images/{path.name}", "sha256": sha256_of(path), "width": 60,
            "height": image.shape[0], "split": ("train", "test")[i > 8], "group": str(i),
            "boxes": boxes, "state": "labelled" if boxes else "good", "origin": "test",
        }  # fmt: skip
        samples.append(Sample.model_validate(values))
    return write_version(tmp_path, "plate", ["dent", "긁힘"], samples)


def test_choose_spreads_over_what_fits(dataset):
    assert [s.group for s in choose(dataset, 3)] == ["0", "4", "8"]
    assert len(choose(dataset, 400)) == 12
    assert {s.split for s in choose(dataset, 9, "test")} == {"test"}
    assert all(s.boxes[0][0] == "긁힘" for s in choose(dataset, 9, None, "긁힘"))
    with pytest.raises(DatasetError, match="not known"):
        choose(dataset, 9, None, "hole")
    with pytest.raises(DatasetError, match="no picture"):
        choose(dataset, 9, "val")


def test_a_box_is_drawn_where_it_is():
    image = np.full((100, 200, 3), 128, np.uint8)
    small = thumbnail(image, [Mark("", (40, 20, 120, 60))], ["x"], 100)
    assert small.shape == (50, 100, 3)
    changed = np.argwhere((small != 128).any(axis=2))
    assert changed.min(axis=0).tolist() == [9, 19]
    assert changed.max(axis=0).tolist() == [30, 60]
    assert (image == 128).all()
    assert jpeg(small)[:2] == b"\xff\xd8"


def test_the_command(dataset, tmp_path):
    runner, sheet = CliRunner(), tmp_path / "out" / "시트.png"
    done = runner.invoke(app, ["show", str(tmp_path), "--sheet", str(sheet), "--count", "7"])
    assert done.exit_code == 0, done.output
    image = cv2.imdecode(np.fromfile(sheet, np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (2 * (240 + 36 + 8) + 8, 5 * 248 + 8, 3)
    one = ["show", str(tmp_path), "--sheet", str(sheet), "--class", "dent", "--split", "test"]
    assert runner.invoke(app, one).exit_code == 0


def test_broken_pictures_and_places_are_told(dataset, tmp_path):
    with pytest.raises(DatasetError, match="cannot be written"):
        write_sheet(dataset, dataset.samples[:2], tmp_path / "card.yaml" / "sheet.png")
    dataset.path(dataset.samples[0]).write_bytes(b"no picture")
    with pytest.raises(DatasetError, match="not an image"):
        write_sheet(dataset, dataset.samples[:2], tmp_path / "sheet.png")
