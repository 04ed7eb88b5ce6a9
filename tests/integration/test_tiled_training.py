"""Training shows what the line shows: the same letterbox and tiles; tiles find small defects."""

from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from inspection.detector import Detector
from inspection.errors import ConfigError
from inspection.letterbox import PAD, fill, letterbox, plan_views
from inspection.release import MODEL, load_release, read_card, write_card
from inspection.types import Detections, Tiling
from inspection_datasets.incoming import read_image
from inspection_datasets.manifest import DatasetVersion, Sample, sha256_of, write_version
from inspection_training.evaluate import average_precision, detect_samples
from inspection_training.experiment import Experiment
from inspection_training.family import open_family
from inspection_training.gates import RefusedError
from inspection_training.parity import iou_matrix
from inspection_training.pieces import clip_ring, outline_points, pieces_of
from inspection_training.preview import samples_as_seen
from inspection_training.release import publish
from inspection_training.run import _card, open_runtime, train_release

LARGE = (1280, 1024)
TINY = {
    "model": "yolo11n",
    "width": 0.0625,
    "imgsz": 320,
    "epochs": 14,
    "batch": 4,
    "augment": "none",
    "optimizer": "AdamW",
    "lr": 0.01,
    "warmup_epochs": 1,
    "validations": 0,
    "threads": 1,
    "precision": "f32",
    "good_share": 0.2,
    "gates": {"clean_dataset": False},
}


def _sample(
    folder: Path, name: str, size: tuple[int, int], spots: int, rng: np.random.Generator
) -> Sample:
    """Write a grey picture with dark spots of 8 to 16 pixels."""
    width, height = size
    picture = rng.normal(130, 6, (height, width, 1)).astype(np.float32).repeat(3, axis=2)
    boxes = []
    for _ in range(spots):
        r = int(rng.integers(4, 8))
        x, y = int(rng.integers(r + 4, width - r - 4)), int(rng.integers(r + 4, height - r - 4))
        cv2.circle(picture, (x, y), r, (40, 60, 80), -1)
        boxes.append(("spot", float(x - r), float(y - r), float(x + r + 1), float(y + r + 1)))
    path = folder / "images" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.clip(picture, 0, 255).astype(np.uint8))
    return Sample(
        image=f"images/{path.name}",
        sha256=sha256_of(path),
        width=width,
        height=height,
        split=name.split("-", maxsplit=1)[0],  # pyright: ignore[reportArgumentType]
        group=name,
        boxes=boxes,
        state="labelled" if boxes else "good",
        origin="drawn by the test",
    )


def _dataset(folder: Path, names: dict[str, int], size: tuple[int, int]) -> DatasetVersion:
    rng = np.random.default_rng(0)
    samples = [
        _sample(folder, f"{split}-{i}", size, 4 if i else 0, rng)
        for split, count in names.items()
        for i in range(count)
    ]
    return write_version(folder, "spots", ["spot"], samples)


def _experiment(**more: Any) -> Experiment:
    return Experiment.model_validate({**TINY, **more})


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> DatasetVersion:
    return _dataset(tmp_path_factory.mktemp("large"), {"train": 9, "val": 2, "test": 5}, LARGE)


def _bare(
    boxes: list[tuple[str, float, float, float, float]], shapes: Any = (), size: Any = LARGE
) -> Sample:
    return Sample(
        image="images/one.png",
        sha256="0" * 64,
        width=size[0],
        height=size[1],
        split="train",
        group="one",
        boxes=boxes,
        shapes=list(shapes),
        state="labelled" if boxes else "good",
        origin="made",
    )


@pytest.mark.parametrize("size", [(96, 96), (64, 96), (96, 64), (160, 288)])
@pytest.mark.parametrize("picture", [(96, 80), (80, 96), (301, 97), (71, 233)])
def test_training_sees_the_letterbox_of_the_line(
    tmp_path: Path, size: tuple[int, int], picture: tuple[int, int]
) -> None:
    version = _dataset(tmp_path, {"train": 3}, picture)
    experiment = _experiment(imgsz=96, input_size=size, good_share=0.5)
    rows = samples_as_seen(experiment, version, 3, 2)
    assert len(rows) == 3
    for row in rows:
        expected, placed = letterbox(read_image(version.path(row.sample)), size)
        boxes = np.array([box[1:] for box in row.sample.boxes], np.float32).reshape(-1, 4)
        wanted = placed.to_network(boxes)
        small = ((wanted[:, 2:] - wanted[:, :2]) <= 2.05).any(
            axis=1
        )  # these go, and are painted over
        shown = np.ones(size, bool)
        for x1, y1, x2, y2 in np.rint(wanted[small]).astype(int):
            shown[max(y1 - 2, 0) : y2 + 2, max(x1 - 2, 0) : x2 + 2] = False
        wanted = wanted[~small]
        for seen in row.seen:
            assert np.array_equal(seen.image[shown], expected[shown])
            assert small.any() or np.array_equal(seen.image, expected)
            got = np.array(sorted(box[1:] for box in seen.boxes)).reshape(-1, 4)
            got = got[((got[:, 2:] - got[:, :2]) > 2.05).all(axis=1)]
            assert np.allclose(got, sorted(wanted.tolist()) or np.zeros((0, 4)), atol=0.05)


@pytest.mark.parametrize("memory", [True, False])
@pytest.mark.parametrize("tile", [(48, 64), (64, 48), (200, 200)])
def test_training_sees_the_tiles_of_the_line(
    tmp_path: Path, tile: tuple[int, int], memory: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inspection_training.ultralytics_detectors.dataset import SampleDataset

    if not memory:
        monkeypatch.setattr(SampleDataset, "check_cache_ram", _no_room)
    version = _dataset(tmp_path, {"train": 3}, (150, 110))
    experiment = _experiment(imgsz=96, input_size=[64, 96], tile=tile, good_share=0.9)
    rows = samples_as_seen(experiment, version, 3, 6)
    for row in rows:
        image = read_image(version.path(row.sample))
        views = plan_views(image.shape[:2], (64, 96), Tiling(tile, 0.2))
        shown = fill(image, views, (64, 96))
        for seen in row.seen:  # what is left of a label that a tile hardly shows is grey
            same = ((seen.image == shown) | (seen.image == PAD)).all(axis=(1, 2, 3))
            assert same.any()
            assert (seen.image != PAD).any(axis=2).mean() > 0.25
        assert len({seen.image.tobytes() for seen in row.seen}) == min(6, len(row.seen), len(shown))
    assert any(seen.boxes for row in rows for seen in row.seen)


def _no_room(dataset: Any, safety_margin: float = 1.0) -> bool:
    dataset.cache = None
    return False


def test_every_defect_is_in_a_tile_and_good_ones_keep_their_share(large: DatasetVersion) -> None:
    train = large.select("train")
    experiment = _experiment(tile=[320, 320], good_share=0.25)
    pieces = pieces_of(train, experiment, learn=True)
    everything = pieces_of(train, experiment, learn=False)
    full = [piece for piece in pieces if piece.names]
    assert len(full) == sum(bool(piece.names) for piece in everything)
    assert len(pieces) - len(full) == round(len(full) / 3)
    assert len(everything) <= 20 * len(train)
    shown = Counter(piece.sample.image for piece in full for _ in piece.names)
    assert all(shown[sample.image] >= len(sample.boxes) for sample in train)
    for piece in full:
        assert (piece.boxes >= 0).all()
        assert (piece.boxes <= 320).all()


def test_a_defect_on_a_border_belongs_to_the_tiles_that_show_enough_of_it() -> None:
    experiment = _experiment(tile=[320, 320], tile_overlap=0, good_share=0.9)
    # a border at x = 320: 2 of 10 pixels lie left of it
    pieces = pieces_of([_bare([("spot", 318, 40, 328, 50)])], experiment, learn=True)
    full = [piece for piece in pieces if piece.names]
    assert [piece.view.tile[:2] for piece in full] == [(320, 0)]
    assert full[0].boxes.tolist() == [[0, 40, 8, 50]]
    assert (0, 0) not in [piece.view.tile[:2] for piece in pieces], (
        "a piece of a defect is no good part"
    )
    # longer than two tiles: no tile shows 40 % of it, and yet it is learned in the middle ones
    long = pieces_of([_bare([("scratch", 100, 40, 1100, 50)])], experiment, learn=True)
    assert [piece.view.tile[0] for piece in long if piece.names] == [0, 320, 640, 960]


def test_outlines_are_cut_with_the_tile() -> None:
    experiment = _experiment(tile=[320, 320], tile_overlap=0, good_share=0.9)
    # a triangle whose tip crosses x = 320
    ring = [300.0, 20.0, 340.0, 40.0, 300.0, 60.0]
    pieces = pieces_of([_bare([("chip", 300, 20, 340, 60)], [[ring]])], experiment, learn=True)
    (piece,) = (piece for piece in pieces if piece.names)
    assert piece.boxes.tolist() == [[300, 20, 320, 60]]
    assert outline_points(piece, 0)[:, 0].max() == 320
    # a diagonal scratch: the box of what a tile shows of it, not the cut box
    ring = [10.0, 10.0, 20.0, 10.0, 600.0, 300.0, 590.0, 300.0]
    pieces = pieces_of([_bare([("chip", 10, 10, 600, 300)], [[ring]])], experiment, learn=True)
    first = next(piece for piece in pieces if piece.view.tile[:2] == (0, 0))
    assert first.boxes[0].tolist() == pytest.approx([10, 10, 320, 165], abs=5)
    assert clip_ring(ring, (700, 0, 800, 100)) == []


def test_crops_and_tiles_exclude_each_other(large: DatasetVersion, tmp_path: Path) -> None:
    folders = {"releases": tmp_path / "releases", "runs": tmp_path / "runs"}
    both = _experiment(tile=[320, 320], crop=[96, 96])
    with pytest.raises(ConfigError, match="crop and tile exclude each other"):
        train_release(both, large, part="spot", weights=None, **folders)
    good = Experiment(family="template", tile=(320, 320))
    with pytest.raises(ConfigError, match="family template learns whole pictures"):
        train_release(good, large, part="spot", weights=None, **folders)


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_tiles_find_what_the_whole_picture_hides(large: DatasetVersion, tmp_path: Path) -> None:
    """The same network, the same pictures, as many steps, a larger input for the whole picture."""
    experiment = _experiment(tile=[320, 320], input_size=[256, 256])
    tiled = _found(experiment, large, tmp_path / "tiled")
    whole = _found(_experiment(epochs=52), large, tmp_path / "whole")
    (recall, precision), hidden = _quality(tiled, large), _quality(whole, large)
    assert recall >= 0.6
    assert precision >= 0.3
    assert hidden[0] <= recall - 0.4


def _found(experiment: Experiment, version: DatasetVersion, root: Path) -> list[Detections]:
    """Train, export, and run as the line does it."""

    family = open_family(experiment.family, experiment.model)
    folder, run = root / "spot" / "1", root / "run"
    folder.mkdir(parents=True)
    run.mkdir()
    trained = family.train(experiment, version, None, run, lambda _step: None)
    family.export(trained, folder / MODEL, experiment, version.classes)

    write_card(folder, _card(experiment, version, (family, trained), folder))
    release = load_release(folder)
    runtime = open_runtime("onnxruntime", release)
    found = detect_samples(Detector(release, runtime), version, version.select("test"))
    runtime.close()
    return found


def _quality(found: list[Detections], version: DatasetVersion) -> tuple[float, float]:
    """Return the share of spots that a box of score 0.1 or more covers, and AP50."""
    samples = version.select("test")
    hits = total = 0
    for sample, detections in zip(samples, found, strict=True):
        spots = np.array([box[1:] for box in sample.boxes], np.float32).reshape(-1, 4)
        boxes = detections.boxes[detections.scores >= 0.1]
        total += len(spots)
        if len(spots) and len(boxes):
            hits += int((iou_matrix(spots, boxes).max(axis=1) >= 0.3).sum())
    return hits / total, average_precision(version.classes, samples, found)["map50"]


def test_a_release_for_tiles_says_so(tmp_path: Path) -> None:
    version = _dataset(tmp_path / "data", {"train": 4, "val": 2, "test": 2}, (240, 160))
    settings = {"tile": [128, 128], "tile_overlap": 0.25, "imgsz": 64, "epochs": 1}
    folders = {"releases": tmp_path / "releases", "runs": tmp_path / "runs"}
    experiment = _experiment(**settings)
    with pytest.raises(RefusedError, match="the model finds nothing in any of the 4") as refused:
        train_release(experiment, version, part="spot", weights=None, **folders)
    assert refused.value.candidate is not None
    release = publish(
        refused.value.candidate, read_card(refused.value.candidate), tmp_path / "releases"
    )
    card = read_card(release.folder)
    assert card.tiling is not None
    assert (card.tiling.size, card.tiling.overlap) == ((128, 128), 0.25)
    assert release.tiling == Tiling((128, 128), 0.25)
    assert card.parity["results"][0]["images"] == 4
