"""The torchvision family from pictures to a release that finds what it learned, without ultralytics."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from inspection.detector import Detector
from inspection.errors import DatasetError
from inspection.release import ReleaseCard, load_release, read_card
from inspection.runtimes.openvino import OpenVinoConfig
from inspection.types import Tiling
from inspection.variants import find_for
from inspection_datasets.manifest import (
    DatasetVersion,
    Sample,
    load_version,
    sha256_of,
    write_version,
)
from inspection_training.evaluate import average_precision, detect_samples
from inspection_training.experiment import Experiment
from inspection_training.run import open_runtime, train_release
from inspection_training.variants.judge import Wanted
from inspection_training.variants.make import make_variant

pytestmark = pytest.mark.timeout(300)
LEARN = {
    "family": "torchvision",
    "model": "fcos_mobilenet_v2_fpn",
    "imgsz": 96,
    "input_size": [64, 96],
    "epochs": 25,
    "batch": 4,
    "lr": 0.001,
    "augment": "none",
    "validations": 1,
    "threads": 1,
    "precision": "f32",
    "expected": {"label": 1},
}
COLOURS = {"label": (30, 60, 230), "hole": (240, 40, 30)}


def draw(folder: Path, split: str, number: int) -> Sample:
    """A grey part with a blue label; on most of them there is a red hole too."""
    chance = np.random.default_rng([number, len(split)])
    image = chance.normal(120, 6, (80, 120, 3)).clip(0, 255).astype(np.uint8)
    boxes = []
    wanted = ["label", "hole"] if number % 4 else ["label"]
    for column, name in enumerate(wanted):
        x1, y1 = int(chance.integers(6, 26)) + 60 * column, int(chance.integers(6, 46))
        image[y1 : y1 + 28, x1 : x1 + 26] = COLOURS[name]
        boxes.append((name, float(x1), float(y1), float(x1 + 26), float(y1 + 28)))
    path = folder / "images" / f"{split}{number}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image[..., ::-1])
    return Sample(
        image=f"images/{path.name}",
        sha256=sha256_of(path),
        width=120,
        height=80,
        split=split,
        group=path.stem,
        boxes=boxes,
        state="labelled",
        origin="drawn",
    )


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> DatasetVersion:
    folder = tmp_path_factory.mktemp("data") / "plate"
    counts = {"train": 12, "val": 6, "test": 6}
    samples = [draw(folder, split, i) for split, count in counts.items() for i in range(count)]
    return write_version(folder, "plate", list(COLOURS), samples)


@pytest.fixture(scope="module")
def folder(version: DatasetVersion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The release, made in a process that cannot import ultralytics and whose home is empty."""
    root = tmp_path_factory.mktemp("released")
    code = f"""
import sys
sys.modules["ultralytics"] = None
from pathlib import Path
from inspection_datasets.manifest import load_version
from inspection_training.experiment import Experiment
from inspection_training.run import train_release
done = train_release(
    Experiment.model_validate({LEARN!r}), load_version(Path({str(version.folder)!r})),
    part="plate", weights=None, releases=Path("releases"), runs=Path("runs"),
)
print(done.seconds, file=sys.stderr)
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HOME": str(root / "home")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root, env=environment, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert not (root / "home").exists(), "nothing is written outside the run"
    return root / "releases" / "plate" / "1"


@pytest.fixture(scope="module")
def card(folder: Path) -> ReleaseCard:
    return read_card(folder)


def test_it_finds_what_it_learned(folder: Path, version: DatasetVersion):
    samples = [*version.select("train"), *version.select("test")]
    release = load_release(folder)
    runtime = open_runtime("openvino", release)
    try:
        found = detect_samples(Detector(release, runtime), version, samples)
    finally:
        runtime.close()
    precision = average_precision(version.classes, samples, found)
    assert precision["map50"] > 0.8


def test_the_card_tells_what_it_is(card: ReleaseCard):
    assert card.family == "torchvision/fcos_mobilenet_v2_fpn"
    assert "BSD-3-Clause" in card.licence
    assert "AGPL" not in card.licence
    assert card.base_weights == "random"
    assert card.experiment["epochs_done"] == 25
    assert card.limits["label"].expected == 1
    assert card.limits["hole"].expected is None
    assert {r["runtime"] for r in card.parity["results"]} == {"onnxruntime", "openvino"}
    assert all(r["detections"] > 0 for r in card.parity["results"])


def test_the_run_keeps_its_curves_and_checkpoint(folder: Path):
    run = next((folder.parents[2] / "runs").iterdir())
    names = {path.name for path in run.iterdir()}
    assert {"checkpoint.pt", "curves.csv", "curves.png", "train.log", "tensorboard"} <= names


def test_the_graph_is_to_the_contract_with_a_free_batch(folder: Path):
    batch = onnx.load(folder / "model.onnx").graph.input[0].type.tensor_type.shape.dim[0]
    assert batch.dim_param
    assert not batch.dim_value
    images = np.random.default_rng(0).integers(0, 255, (3, 64, 96, 3), np.uint8)
    for name in ("onnxruntime", "openvino"):
        runtime = open_runtime(name, load_release(folder))
        try:
            three = runtime.infer(images, 60.0)["detections"]
            one = runtime.infer(images[1:2], 60.0)["detections"]
        finally:
            runtime.close()
        assert three.shape == (3, 100, 6)
        assert np.allclose(three[1], one[0], atol=1e-2)


@pytest.mark.soak
def test_a_release_for_tiles_says_so(version: DatasetVersion, tmp_path: Path):
    tiles = {
        "tile": [64, 64],
        "tile_overlap": 0.5,
        "input_size": [64, 64],
        "imgsz": 64,
        "epochs": 8,
    }
    done = train_release(
        Experiment.model_validate(LEARN | tiles),
        version,
        part="plate",
        weights=None,
        releases=tmp_path / "releases",
        runs=tmp_path / "runs",
    )
    tiling = done.card.tiling
    assert tiling is not None
    assert (tiling.size, tiling.overlap) == ((64, 64), 0.5)
    release = load_release(done.release.folder)
    assert release.tiling == Tiling((64, 64), 0.5)
    assert release.input_size == (64, 64)
    assert done.card.parity["results"][0]["images"] == 12


@pytest.mark.parametrize("precision", ["bf16", pytest.param("int8", marks=pytest.mark.soak)])
def test_a_faster_form_of_it_decides_alike(
    folder: Path, version: DatasetVersion, tmp_path: Path, precision: str
):
    own = tmp_path / "releases" / "plate" / "1"
    shutil.copytree(folder, own)
    card = make_variant(own, precision, version, Wanted(min_equal=0.9, minutes=0.2))
    parity = card.parity["openvino"]
    assert parity.passed
    assert (parity.images, parity.lost) == (12, 0)
    assert (card.quantised > 0) is (precision == "int8")
    config = OpenVinoConfig.model_validate({"type": "openvino", "precision": precision})
    release = find_for(config)(own.parent.parent, "plate", 1)
    runtime = config.open()
    runtime.load(release, 60.0)
    try:
        found = detect_samples(Detector(release, runtime), version, version.select("train"))
    finally:
        runtime.close()
    assert average_precision(version.classes, version.select("train"), found)["map50"] > 0.7


def test_a_class_without_examples_ends_before_anything_is_made(
    version: DatasetVersion, tmp_path: Path
):
    for sample in version.samples:
        path = tmp_path / "wide" / sample.image
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(version.path(sample).read_bytes())
    wider = write_version(tmp_path / "wide", "plate", [*COLOURS, "rust"], list(version.samples))
    with pytest.raises(DatasetError, match="show no rust"):
        train_release(
            Experiment.model_validate(LEARN),
            load_version(wider.folder),
            part="plate",
            weights=None,
            releases=tmp_path / "releases",
            runs=tmp_path / "runs",
        )
    assert not (tmp_path / "releases").exists()
