"""The demo's labelled set: a YOLO layout that other tools read, split by lot."""

import csv
import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from inspection.cameras.render import CLASSES
from inspection.demo.labelled_set import write_labelled_set
from inspection.errors import DatasetError


def digest(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "parts.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_layout(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    card = write_labelled_set(
        tmp_path, 60, 3, (160, 128), 0.5, progress=lambda *step: seen.append(step)
    )
    assert card == tmp_path / "data.yaml"
    assert seen == [(i, 60) for i in range(1, 61)]
    data = yaml.safe_load(card.read_text())
    assert list(data["names"].values()) == list(CLASSES)
    table = rows(tmp_path)
    assert len(table) == 60
    assert len({row["serial"] for row in table}) == 60
    good = 0
    for row in table:
        assert row["file"].startswith(data[row["split"]] + "/")
        image = cv2.imread(str(tmp_path / row["file"]))
        assert image is not None
        assert image.shape == (128, 160, 3)
        label = tmp_path / row["file"].replace("images", "labels").replace(".jpg", ".txt")
        lines = [line.split() for line in label.read_text().splitlines()]
        assert [CLASSES[int(line[0])] for line in lines] == row["defects"].split()
        for _, *numbers in lines:
            x, y, w, h = map(float, numbers)
            assert 0 <= x - w / 2 < x + w / 2 <= 1.000001
            assert 0 <= y - h / 2 < y + h / 2 <= 1.000001
        good += not lines
    assert 15 < good < 45


def test_lots_are_not_torn_apart(tmp_path: Path) -> None:
    write_labelled_set(tmp_path, 40, 1, (64, 64))
    lots: dict[str, set[str]] = {}
    for row in rows(tmp_path):
        lots.setdefault(row["lot"], set()).add(row["split"])
    assert all(len(splits) == 1 for splits in lots.values())
    assert {split for splits in lots.values() for split in splits} == {"train", "val", "test"}


def test_smallest_set_has_all_splits(tmp_path: Path) -> None:
    write_labelled_set(tmp_path, 6, 1, (64, 64))
    assert {row["split"] for row in rows(tmp_path)} == {"train", "val", "test"}
    with pytest.raises(ValueError, match="at least 6"):
        write_labelled_set(tmp_path / "b", 5, 1, (64, 64))


def test_a_seed_fixes_every_byte(tmp_path: Path) -> None:
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        write_labelled_set(tmp_path / name, 6, seed, (64, 64))
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    assert not set(digest(tmp_path / "a")) & set(digest(tmp_path / "c")) - {
        "data.yaml",
        "parts.csv",
    }


def test_colours_survive(tmp_path: Path) -> None:
    """The files hold the tint of the rendered part: red and blue are not swapped."""
    write_labelled_set(tmp_path, 12, 2, (160, 128), 0.0)
    images = [cv2.imread(str(tmp_path / row["file"])) for row in rows(tmp_path)]
    blue, _, red = np.mean([image.mean(axis=(0, 1)) for image in images], axis=0)
    assert red > blue  # the lamp is slightly warm


def test_what_is_there_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DatasetError, match="is not empty"):
        write_labelled_set(tmp_path, 6, 1, (64, 64))
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_a_half_written_set_has_no_card(tmp_path: Path) -> None:
    def stop(done: int, parts: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_labelled_set(tmp_path / "set", 6, 1, (64, 64), progress=stop)
    assert not (tmp_path / "set" / "data.yaml").exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DatasetError, match="could not be written"):
        write_labelled_set(tmp_path / "file" / "set", 6, 1, (64, 64))


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_a_rate_is_a_share(tmp_path: Path, rate: float) -> None:
    with pytest.raises(ValueError, match="defect_rate"):
        write_labelled_set(tmp_path, 6, 1, (64, 64), rate)
