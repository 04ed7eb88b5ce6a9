"""The preview sheet: it shows what the family's own loader makes, and nothing else."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from inspection.demo.labelled_set import write_labelled_set
from inspection.errors import ConfigError, DatasetError
from inspection.letterbox import letterbox
from inspection_datasets.importing import ImportPlan, import_dataset
from inspection_datasets.incoming import read_image
from inspection_datasets.manifest import (
    DatasetVersion,
    Sample,
    load_version,
    sha256_of,
    write_version,
)
from inspection_datasets.shapes import mask_of
from inspection_training.experiment import Experiment
from inspection_training.preview import Row, Seen, choose, samples_as_seen, write_preview

PLAIN = {"augment": "none", "imgsz": 96, "input_size": [64, 96]}
FAMILIES = ("ultralytics", "torchvision")


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> DatasetVersion:
    root = tmp_path_factory.mktemp("plates")
    write_labelled_set(root / "rendered", 36, seed=0, size=(96, 80), defect_rate=0.6)
    import_dataset(root / "rendered", root / "plate", ImportPlan())
    return load_version(root / "plate")


def _experiment(family: str, **more: Any) -> Experiment:
    return Experiment.model_validate({**PLAIN, "family": family, **more})


@pytest.mark.parametrize(
    ("family", "size"),
    [("ultralytics", (96, 96)), ("torchvision", (96, 96)), ("torchvision", (64, 96))],
)
def test_without_augmentation_the_model_sees_what_the_line_shows(
    version: DatasetVersion, family: str, size: tuple[int, int]
) -> None:
    rows = samples_as_seen(_experiment(family, input_size=size), version, 6, 2)
    assert len(rows) == 6
    assert {box[0] for row in rows for box in row.sample.boxes} == {
        name for name, count in version.class_counts("train").items() if count
    }
    assert any(not row.sample.boxes for row in rows)
    for row in rows:
        image, placed = letterbox(read_image(version.path(row.sample)), size)
        corners = np.array([box[1:] for box in row.sample.boxes], np.float32).reshape(-1, 4)
        for seen in row.seen:
            assert seen.image.shape == (*size, 3)
            difference = np.abs(seen.image.astype(int) - image.astype(int))
            assert np.percentile(difference, 99) <= 12, "the picture is moved, or its colours are"
            wanted = sorted(placed.to_network(corners).tolist())
            assert np.allclose(sorted(box[1:] for box in seen.boxes), wanted, atol=1.5)


@pytest.mark.parametrize("family", FAMILIES)
def test_crop_mosaic_and_augmentation_are_shown(version: DatasetVersion, family: str) -> None:
    cropped = _experiment(family, augment="metal", crop=[32, 64], seed=3)
    rows = samples_as_seen(cropped, version, 3, 3)
    assert {seen.image.shape for row in rows for seen in row.seen} == {(32, 64, 3)}
    first, second, _ = rows[0].seen
    assert not np.array_equal(first.image, second.image)
    again = samples_as_seen(cropped, version, 3, 3)
    assert all(
        np.array_equal(a.image, b.image) and a.boxes == b.boxes
        for one, other in zip(rows, again, strict=True)
        for a, b in zip(one.seen, other.seen, strict=True)
    )
    four = samples_as_seen(_experiment(family, mosaic=1.0, input_size=[96, 96]), version, 3, 3)
    most = max(len(seen.boxes) for row in four for seen in row.seen)
    assert most > max(len(row.sample.boxes) for row in four)
    turned = samples_as_seen(_experiment(family, augment="binary"), version, 3, 3)
    assert {seen.image.shape for row in turned for seen in row.seen} == {(64, 96, 3)}


@pytest.fixture(scope="module")
def outlined(tmp_path_factory: pytest.TempPathFactory) -> DatasetVersion:
    """Grey parts, each with a dark L, labelled by its outline."""
    folder = tmp_path_factory.mktemp("outlined")
    samples: list[Sample] = []
    for i in range(6):
        x, y = 16 + 4 * i, 12
        ring = [x, y, x + 12, y, x + 12, y + 24, x + 36, y + 24, x + 36, y + 36, x, y + 36]
        image = np.full((64, 96, 3), 150, np.uint8)
        cv2.fillPoly(image, [np.array(ring, np.int32).reshape(-1, 2)], (40, 40, 40))
        cv2.imwrite(str(folder / f"{i}.png"), image)
        samples.append(
            Sample(
                image=f"{i}.png", sha256=sha256_of(folder / f"{i}.png"), width=96, height=64,
                split="val" if i == 5 else "train", group=str(i), state="labelled", origin="test",
                boxes=[("stain", float(x), float(y), float(x + 36), float(y + 36))],
                shapes=[[[float(value) for value in ring]]],
            )
        )  # fmt: skip
    return write_version(folder, "outlined", ["stain"], samples)


def test_outlines_are_those_of_the_masks_that_training_learns(outlined: DatasetVersion) -> None:
    rows = samples_as_seen(_experiment("ultralytics", model="yolov8n-seg"), outlined, 3, 2)
    assert len(rows) == 3
    for row in rows:
        truth = mask_of(row.sample.shapes[0] or [], (96, 64))
        for seen in row.seen:
            assert len(seen.outlines) == len(seen.boxes) == 1
            mask = np.zeros((64, 96), np.uint8)
            cv2.fillPoly(mask, [border.astype(np.int32) for border in seen.outlines[0]], 1)
            shared, either = (mask > 0) & truth, (mask > 0) | truth
            assert shared.sum() / either.sum() > 0.9, "an L is not its box"
    boxes_only = samples_as_seen(_experiment("ultralytics", model="yolov8n"), outlined, 3, 1)
    assert {seen.outlines for row in boxes_only for seen in row.seen} == {()}


def test_outlines_turn_with_the_picture(outlined: DatasetVersion) -> None:
    turned = _experiment("ultralytics", model="yolov8n-seg", augment=["pose"], mosaic=0.5, seed=2)
    rows = samples_as_seen(turned, outlined, 4, 3)
    for seen in (seen for row in rows for seen in row.seen):
        assert len(seen.outlines) == len(seen.boxes)
        for (_, x1, y1, x2, y2), borders in zip(seen.boxes, seen.outlines, strict=True):
            for border in borders:
                low, high = border.min(axis=0), border.max(axis=0)
                assert (low >= np.array([x1, y1]) - 5).all(), "outside its box by over a place"
                assert (high <= np.array([x2, y2]) + 5).all(), "outside its box by over a place"


def test_outlines_are_drawn(outlined: DatasetVersion, tmp_path: Path) -> None:
    drawn: list[int] = []
    for model in ("yolov8n", "yolov8n-seg"):
        experiment = _experiment("ultralytics", model=model)
        rows = samples_as_seen(experiment, outlined, 2, 1)
        write_preview(tmp_path / "sheet.png", experiment, outlined, rows)
        blue, green, red = np.moveaxis(cv2.imread(str(tmp_path / "sheet.png")).astype(int), 2, 0)
        drawn.append(int(((red > 200) & (green > 160) & (blue < 90)).sum()))
    assert drawn[0] == 0
    assert drawn[1] > 4 * 100, "two originals and two drawings, each with an outline"


def test_good_parts_are_shown_as_they_are(version: DatasetVersion) -> None:
    rows = samples_as_seen(_experiment("good_parts"), version, 3)
    for row in rows:
        image, _ = letterbox(read_image(version.path(row.sample)), (64, 96))
        assert [np.array_equal(seen.image, image) for seen in row.seen] == [True]


def test_every_class_is_chosen_before_one_is_twice(version: DatasetVersion) -> None:
    train = version.select("train")
    names = [name for name, count in version.class_counts("train").items() if count]
    chosen = choose(version.classes, train, len(names))
    assert {box[0] for sample in chosen for box in sample.boxes} == set(names)
    assert len(choose(version.classes, train, 10_000)) == len(train)
    assert len(choose(version.classes, train, 1)) == 1


def _rows(version: DatasetVersion, name: str) -> list[Row]:
    sample = next(s for s in version.samples if s.boxes)
    image = np.full((96, 96, 3), 128, np.uint8)
    return [Row(sample, (Seen(image, ((name, 20.0, 40.0, 60.0, 80.0),)),))]


@pytest.mark.parametrize("language", ["ko", "en"])
def test_a_sheet_as_picture_and_as_page(
    version: DatasetVersion, tmp_path: Path, language: str
) -> None:
    experiment = _experiment("ultralytics", augment=["light", "noise"])
    rows = _rows(version, version.classes[0])
    write_preview(tmp_path / "a" / "sheet.png", experiment, version, rows, language)
    sheet = cv2.imread(str(tmp_path / "a" / "sheet.png"))
    assert sheet is not None
    assert sheet.shape[0] > 260
    write_preview(tmp_path / "sheet.html", experiment, version, rows, language)
    text = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    assert text.count("data:image/jpeg") == 2
    assert "light, noise" in text
    assert ("모델이 보게 될" in text) == (language == "ko")
    assert "http" not in text


def test_korean_names_are_drawn(version: DatasetVersion, tmp_path: Path) -> None:
    experiment = _experiment("ultralytics")
    drawn: list[bytes] = []
    for name in ("긁힘", "찍힘", "??"):
        write_preview(tmp_path / "sheet.png", experiment, version, _rows(version, name))
        drawn.append((tmp_path / "sheet.png").read_bytes())
    assert len(set(drawn)) == 3


def test_a_sheet_that_cannot_be_written_says_so(version: DatasetVersion, tmp_path: Path) -> None:
    experiment = _experiment("ultralytics")
    with pytest.raises(ConfigError, match=r"must end in \.png or \.html"):
        write_preview(tmp_path / "sheet.pdf", experiment, version, [])
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="cannot be written"):
        write_preview(tmp_path / "file" / "sheet.html", experiment, version, [])


def test_preview_on_a_dry_run(version: DatasetVersion, tmp_path: Path) -> None:
    from inspection_training.cli import train_app

    (tmp_path / "tiny.yaml").write_text("imgsz: 96\naugment: [light, pose]\nfamily: torchvision\n")
    sheet = tmp_path / "sheet.png"
    options = ["--data", str(version.folder), "--preview", str(sheet), "--dry-run"]
    done = CliRunner().invoke(train_app, [str(tmp_path / "tiny.yaml"), *options])
    assert done.exit_code == 0, done.output
    assert sheet.is_file()
    assert "family: torchvision" in done.stdout
    assert not (tmp_path / "runs").exists()
