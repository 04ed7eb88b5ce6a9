"""Networks with outlines: learned from polygons, exported to the contract, the same in both runtimes."""

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from inspection.detector import Detector
from inspection.errors import ConfigError, DatasetError, ReleaseError
from inspection.release import MODEL, load_release, read_card, sha256_file
from inspection.types import ClassLimits, Detections, Release
from inspection_datasets.incoming import read_image
from inspection_datasets.manifest import (
    DatasetVersion,
    Sample,
    load_version,
    sha256_of,
    write_version,
)
from inspection_datasets.shapes import mask_of, rings_of
from inspection_training.evaluate import measure
from inspection_training.experiment import Experiment
from inspection_training.export_settings import ExportSettings
from inspection_training.parity import check_parity
from inspection_training.run import Outcome, open_runtime, train_release
from inspection_training.ultralytics_detectors.export import MOST_OUTLINES, export_detector
from inspection_training.ultralytics_detectors.quiet import quiet_ultralytics

CLASSES = ("stain", "chip")
NETWORKS = {"yolov8n-seg": (96, 96), "yolo11n-seg": (64, 96), "yolo26n-seg": (96, 64)}
RUNTIMES = ("onnxruntime", "openvino")
SIZE = (144, 112)
TINY = {
    "model": "yolov8n-seg",
    "width": 0.125,
    "imgsz": 128,
    "input_size": [96, 128],
    "epochs": 24,
    "batch": 4,
    "augment": ["light", "pose"],
    "optimizer": "AdamW",
    "lr": 0.01,
    "warmup_epochs": 1,
    "validations": 1,
    "threads": 1,
    "precision": "f32",
    "gates": {"clean_dataset": False},
}


def _blob(rng: np.random.Generator) -> np.ndarray:
    """Return the mask of a defect with four bays, so that its box is no good outline."""
    width, height = SIZE
    radius = rng.uniform(16, 24)
    x, y = rng.uniform(26, width - 26), rng.uniform(26, height - 26)
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    reach = radius * (0.75 + 0.25 * np.cos(4 * angles + rng.uniform(0, 6)))
    corners = np.stack([x + reach * np.cos(angles), y + reach * np.sin(angles)], axis=1)
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.rint(corners).astype(np.int32)], 1)
    return mask.astype(bool)


def _sample(folder: Path, split: str, number: int, rng: np.random.Generator) -> Sample:
    picture = rng.normal(130, 6, (SIZE[1], SIZE[0], 1)).repeat(3, axis=2)
    boxes, shapes = [], []
    for name, grey in [(CLASSES[number % 2], 40 + 180 * (number % 2))] * (number % 6 > 0):
        mask = _blob(rng)
        picture[mask] = grey
        (y1, x1), (y2, x2) = np.argwhere(mask).min(axis=0), np.argwhere(mask).max(axis=0) + 1
        boxes.append((name, float(x1), float(y1), float(x2), float(y2)))
        shapes.append(rings_of(mask))
    path = folder / "images" / f"{split}{number}.png"
    cv2.imwrite(str(path), np.clip(picture, 0, 255).astype(np.uint8))
    return Sample(
        image=f"images/{path.name}",
        sha256=sha256_of(path),
        width=SIZE[0],
        height=SIZE[1],
        split=split,  # pyright: ignore[reportArgumentType]
        group=path.stem,
        boxes=boxes,
        shapes=shapes,
        state="labelled" if boxes else "good",
        origin="drawn by the test",
    )


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> DatasetVersion:
    folder = tmp_path_factory.mktemp("blobs")
    (folder / "images").mkdir()
    rng = np.random.default_rng(3)
    counts = {"train": 42, "val": 12, "test": 12}
    samples = [_sample(folder, s, i, rng) for s, count in counts.items() for i in range(count)]
    return write_version(folder, "blobs", CLASSES, samples)


@pytest.fixture(scope="module")
def outcome(version: DatasetVersion, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    root = tmp_path_factory.mktemp("trained")
    folders = {"releases": root / "releases", "runs": root / "runs"}
    experiment = Experiment.model_validate(TINY)
    return train_release(experiment, version, part="blob", weights=None, **folders)


@pytest.mark.slow
def test_the_release_says_that_it_gives_outlines(outcome: Outcome) -> None:
    card = read_card(outcome.release.folder)
    assert (card.task, load_release(outcome.release.folder).task) == ("segment", "segment")
    assert {r["runtime"] for r in card.parity["results"]} == set(RUNTIMES)
    assert all(r["detections"] > 0 for r in card.parity["results"]), "nothing was compared"
    assert all(r["min_mask_iou"] >= 0.95 for r in card.parity["results"])
    assert "taken_over" not in card.experiment.get("learned", {})
    test = next(e for e in card.metrics["evaluations"] if e["split"] == "test")
    assert test["mask_map50"] > 0.5
    assert test["mask_map50"] >= test["mask_map50_95"]


@pytest.mark.slow
def test_outlines_on_the_line_fit_the_defects(outcome: Outcome, version: DatasetVersion) -> None:
    runtime = open_runtime("onnxruntime", outcome.release)
    detector = Detector(outcome.release, runtime)
    overlaps: list[float] = []
    for sample in version.select("test", ["labelled"]):
        found = detector.detect(read_image(version.path(sample)), 60.0)
        assert len(found) <= MOST_OUTLINES
        overlaps.append(_best_overlap(found, sample))
    runtime.close()
    assert np.median(overlaps) > 0.6
    assert np.mean(np.array(overlaps) > 0.5) > 0.7, overlaps


def _best_overlap(found: Detections, sample: Sample) -> float:
    """Return the IoU of the label's outline and the best of the three best detections."""
    assert found.outlines is not None
    truth = mask_of(sample.shapes[0] or [], SIZE)
    best = 0.0
    for outline in found.outlines[:3]:
        mask = mask_of([[value for corner in outline for value in corner]], SIZE)
        best = max(best, float((mask & truth).sum() / (mask | truth).sum()))
    return best


def _lively(model: str, seed: int = 0) -> Any:
    """A network with random weights whose scores and masks spread over 0..1."""
    import torch
    from ultralytics.nn.tasks import SegmentationModel, yaml_model_load

    torch.manual_seed(seed)
    architecture = yaml_model_load(f"{model}.yaml")
    architecture["scales"] = {"n": [0.33, 0.125, 1024]}
    network = SegmentationModel(architecture, nc=len(CLASSES), verbose=False)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.2, 1.0)
    head = network.model[-1]
    for name, spread in (("cv3", 2.0), ("cv4", 1.0)):
        for branches in (getattr(head, name), getattr(head, f"one2one_{name}", None)):
            for branch in branches or []:
                branch[-1].weight.data.normal_(0, spread)
                if name == "cv3":
                    branch[-1].bias.data.fill_(0.0)
    head.end2end = hasattr(head, "one2one_cv2")
    return network.eval()


def _release(folder: Path, size: tuple[int, int]) -> Release:
    limits = dict.fromkeys(CLASSES, ClassLimits(0.2, 0.5))
    digest = sha256_file(folder / MODEL)
    return Release("blob", 1, folder, folder / MODEL, digest, "segment", CLASSES, size, limits)


def _pictures(size: tuple[int, int], seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    small = [rng.integers(0, 255, (12, 12, 3), np.uint8) for _ in range(4)]
    return [cv2.resize(image, size[::-1], interpolation=cv2.INTER_CUBIC) for image in small]


@pytest.mark.parametrize(
    "name",
    [
        name if name.startswith("yolov8") else pytest.param(name, marks=pytest.mark.soak)
        for name in NETWORKS
    ],
)
def test_every_network_exports_the_masks_it_was_trained_to_give(name: str, tmp_path: Path) -> None:
    size = NETWORKS[name]
    settings = ExportSettings(size, candidates=200, detections=MOST_OUTLINES)
    with quiet_ultralytics(tmp_path / "run"):
        network, other = _lively(name), _lively(name, seed=1)
        export_detector(network, tmp_path / MODEL, settings, CLASSES)
    release, pictures = _release(tmp_path, size), _pictures(size)
    for kind in RUNTIMES:
        runtime = open_runtime(kind, release)
        found = check_parity(network, runtime, kind, pictures, settings)
        assert found.detections > 20, "the test must compare something"
        assert found.min_mask_iou == 1.0
        outputs = runtime.infer(np.stack(pictures), 60.0)
        _is_cut_to_its_boxes(outputs["detections"], outputs["masks"], size)
        alone = np.concatenate([runtime.infer(x[None], 60.0)["masks"] for x in pictures])
        assert np.allclose(outputs["masks"], alone, atol=1e-3)
        with pytest.raises(ReleaseError, match="it was not released"):
            check_parity(other, runtime, kind, pictures, settings)
        runtime.close()


def _is_cut_to_its_boxes(rows: np.ndarray, masks: np.ndarray, size: tuple[int, int]) -> None:
    assert masks.shape == (*rows.shape[:2], size[0] // 4, size[1] // 4)
    assert rows[..., :4].min() >= 0, "a box leaves the input"
    assert (rows[..., :4] <= [size[1], size[0], size[1], size[0]]).all()
    assert masks.min() >= 0
    assert masks.max() <= 1
    assert masks.max() > 0.6, "the test must compare something"
    for row, mask in zip(rows.reshape(-1, 6), masks.reshape(-1, *masks.shape[2:]), strict=True):
        ys, xs = np.nonzero(mask)
        if not len(ys):
            continue
        assert row[4] > 0, "a padding row has a mask"
        assert xs.min() * 4 + 4 > row[0]
        assert xs.max() * 4 < row[2]
        assert ys.min() * 4 + 4 > row[1]
        assert ys.max() * 4 < row[3]


def test_parity_refuses_other_masks_under_equal_boxes(tmp_path: Path) -> None:
    size = NETWORKS["yolov8n-seg"]
    settings = ExportSettings(size, candidates=200, detections=MOST_OUTLINES)
    with quiet_ultralytics(tmp_path / "run"):
        network = _lively("yolov8n-seg")
        export_detector(network, tmp_path / MODEL, settings, CLASSES)
    for branch in network.model[-1].cv4:
        branch[-1].weight.data.neg_()
    runtime = open_runtime("onnxruntime", _release(tmp_path, size))
    with pytest.raises(ReleaseError, match="outlines by 0"):
        check_parity(network, runtime, "onnxruntime", _pictures(size), settings)
    runtime.close()


def test_labels_without_outlines_are_refused_or_named(
    version: DatasetVersion, tmp_path: Path
) -> None:
    from inspection_training.ultralytics_detectors.family import train_detector

    plain = [sample.model_copy(update={"shapes": []}) for sample in version.samples]
    few = {"epochs": 1, "validations": 0, "width": 0.0625}
    experiment = Experiment.model_validate({**TINY, **few})
    boxes = DatasetVersion(version.folder, "b", "v0001", "0" * 64, CLASSES, tuple(plain))
    with pytest.raises(DatasetError, match=r"35 training labels and none has an outline.*yolov8n"):
        train_detector(experiment, boxes, None, tmp_path, lambda _step: None)
    mixed = DatasetVersion(
        version.folder, "m", "v0001", "1" * 64, CLASSES, (*version.samples[:12], *plain[12:18])
    )
    run = tmp_path / "mixed"
    run.mkdir()
    train_detector(experiment, mixed, None, run, lambda _step: None)
    assert "5 of 15 training labels are boxes" in (run / "train.log").read_text(encoding="utf-8")


@pytest.mark.shared
def test_a_detectors_weights_are_taken_over(version: DatasetVersion, tmp_path: Path) -> None:
    from inspection_training.ultralytics_detectors.family import train_detector

    shared = os.environ.get("INSPECTION_SHARED", Path(__file__).parents[3] / "shared")
    weights = Path(shared) / "weights" / "yolov8n_from_int8.pt"
    if not weights.is_file():
        pytest.skip(f"{weights} is not there")
    few = {"epochs": 1, "width": None, "imgsz": 64, "input_size": None, "validations": 0}
    experiment = Experiment.model_validate({**TINY, **few, "train_images": 4})
    trained = train_detector(experiment, version, weights, tmp_path, lambda _step: None)
    assert "of yolov8n; the rest starts at random" in trained.facts["taken_over"]
    assert trained.facts["taken_over"] in (tmp_path / "train.log").read_text(encoding="utf-8")
    other = experiment.model_copy(update={"model": "yolo11n-seg"})
    with pytest.raises(ConfigError, match="holds yolov8n, the experiment wants yolo11n-seg"):
        train_detector(other, version, weights, tmp_path / "other", lambda _step: None)


def test_masks_are_drawn_exactly_with_holes_and_small_ones() -> None:
    from inspection_datasets.shapes import one_ring
    from inspection_training.ultralytics_detectors.segment import mask_on_grid

    ring = [
        [8.0, 8.0, 40.0, 8.0, 40.0, 32.0, 8.0, 32.0],
        [16.0, 16.0, 24.0, 16.0, 24.0, 24.0, 16.0, 24.0],
    ]
    points = np.array(one_ring(ring), np.float32).reshape(-1, 2)
    mask = mask_on_grid(points, (12, 16), 4)
    expected = np.zeros((12, 16), bool)
    expected[2:8, 2:10] = True
    expected[4:6, 4:6] = False
    assert np.array_equal(mask, expected)
    speck = np.array([[9.0, 9.0], [10.0, 9.0], [10.0, 10.0]], np.float32)
    assert np.argwhere(mask_on_grid(speck, (12, 16), 4)).tolist() == [[2, 2]]
    corner = np.array([[63.5, 47.5], [64.0, 47.5], [64.0, 48.0]], np.float32)
    assert np.argwhere(mask_on_grid(corner, (12, 16), 4)).tolist() == [[11, 15]]


def test_mask_precision_is_one_for_the_labels_themselves(version: DatasetVersion) -> None:
    samples = version.select("test")
    limits = dict.fromkeys(CLASSES, ClassLimits(0.2, 0.5))
    found = [_as_found(sample) for sample in samples]
    perfect = measure(version, samples, found, limits, "test")
    assert (perfect["mask_map50"], perfect["mask_map50_95"]) == (1.0, 1.0)
    boxed = [_as_found(sample, outlined=False) for sample in samples]
    assert measure(version, samples, boxed, limits, "test")["mask_map50_95"] < 0.7
    version = load_version(version.folder)
    bare = [sample.model_copy(update={"shapes": []}) for sample in samples]
    assert "mask_map50" not in measure(version, bare, found, limits, "test")


def _as_found(sample: Sample, *, outlined: bool = True) -> Detections:
    corners = [np.array(shape[0]).reshape(-1, 2) for shape in sample.shapes if shape]
    boxes = np.array([box[1:] for box in sample.boxes], np.float32).reshape(-1, 4)
    if not outlined:
        corners = [np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]]) for x1, y1, x2, y2 in boxes]
    return Detections(
        boxes=boxes,
        scores=np.full(len(boxes), 0.9, np.float32),
        classes=np.array([CLASSES.index(box[0]) for box in sample.boxes], np.int64),
        class_names=CLASSES,
        release="blob/1",
        model_sha256="0" * 64,
        outlines=tuple(tuple((float(x), float(y)) for x, y in ring) for ring in corners),
        areas=np.zeros(len(boxes), np.float32),
    )
