"""Releases that learned from good parts only: made, compared, measured, and judged by a real line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from station_rig import Rig
from torchvision import models
from typer.testing import CliRunner

from inspection.detector import Detector
from inspection.errors import DatasetError, ReleaseError
from inspection.release import load_release, read_card
from inspection_datasets.manifest import DatasetVersion, Sample, sha256_of, write_version
from inspection_training.cli import evaluate_app
from inspection_training.evaluation import inspect_split
from inspection_training.experiment import Experiment
from inspection_training.family import open_family
from inspection_training.gates import RefusedError
from inspection_training.measure import RUNTIMES, measure_candidate
from inspection_training.run import Outcome, open_runtime, train_release

FAMILIES = ("good_parts", "template")
SETTINGS = {"imgsz": 96, "bank": 200, "threads": 1, "max_overkill": 0.2, "max_review": 0.0}


def plate(seed: int, *, defect: bool = False) -> np.ndarray:
    """A brushed plate with two holes, 120x120; a defect is a dark spot somewhere on it."""
    rng = np.random.default_rng(seed)
    image = np.full((120, 120), 130.0) + rng.normal(0, 6, (120, 1))
    image += rng.normal(0, 2, (120, 120))
    cv2.circle(image, (30, 60), 12, 40, -1)
    cv2.circle(image, (90, 60), 12, 40, -1)
    if defect:
        x, y = rng.integers(15, 105), rng.choice([20, 100])
        cv2.circle(image, (int(x), int(y)), 6, 230, -1)
    return np.clip(image, 0, 255).astype(np.uint8)


def write_plates(folder: Path) -> DatasetVersion:
    (folder / "images").mkdir(parents=True)
    plan = [("train", False)] * 12 + [("val", False)] * 20
    plan += [("test", False)] * 8 + [("test", True)] * 8
    rows = []
    for number, (split, defect) in enumerate(plan):
        name = f"images/{number:03d}.png"
        cv2.imwrite(str(folder / name), plate(number, defect=defect))
        rows.append(
            Sample(
                image=name, sha256=sha256_of(folder / name), width=120, height=120, split=split,
                group=str(number), boxes=[("spot", 1, 1, 119, 119)] if defect else [],
                state="labelled" if defect else "good", origin="test",
            )
        )  # fmt: skip
    return write_version(folder, "plate", ["spot"], rows)


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> DatasetVersion:
    return write_plates(tmp_path_factory.mktemp("plates") / "data")


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.manual_seed(0)
    torch.save(models.resnet18(weights=None).state_dict(), path)
    return path


def train(family: str, version: DatasetVersion, backbone: Path, folder: Path) -> Outcome:
    experiment = Experiment(family=family, **SETTINGS)
    weights = backbone if family == "good_parts" else None
    folders = {"releases": folder / "releases", "runs": folder / "runs"}
    return train_release(experiment, version, part="plate", weights=weights, **folders)


@pytest.fixture(scope="module", params=FAMILIES)
def outcome(request, version, backbone, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return train(request.param, version, backbone, tmp_path_factory.mktemp(request.param))


def test_the_card_says_what_it_is_and_what_it_cannot_promise(outcome: Outcome):
    card = read_card(outcome.release.folder)
    assert (card.task, card.classes) == ("anomaly", ["anomaly"])
    assert card.family in {"good_parts/resnet18", "template/golden"}
    assert "No escape claim is possible" in card.claim
    assert card.claim.startswith("Overkill is at most 20 % with 95 % confidence, from 20 held-out")
    assert "No escape claim is possible" in (outcome.release.folder / "card.md").read_text()
    assert card.experiment["learned"]["distance_at_score_half"] > 0
    assert (card.dataset.train_images, card.dataset.val_images) == (12, 20)
    for found in card.parity["results"]:
        assert found["max_score_difference"] < 0.01
        assert found["max_map_difference"] < 0.01
    assert {found["runtime"] for found in card.parity["results"]} == {"onnxruntime", "openvino"}
    test = next(e for e in card.metrics["evaluations"] if e["split"] == "test")
    assert test["auroc"] > 0.9
    assert test["defective"]["escape"]["of"] == test["good"]["overkill"]["of"] == 8


@pytest.mark.parametrize("runtime_name", ["onnxruntime", "openvino"])
def test_the_lines_detector_sees_what_torch_sees(outcome: Outcome, runtime_name: str):
    release = load_release(outcome.release.folder)
    runtime = open_runtime(runtime_name, release)
    try:
        detector = Detector(release, runtime)
        good = [detector.detect(_colour(plate(seed)), 10.0) for seed in range(100, 104)]
        bad = [detector.detect(_colour(plate(seed, defect=True)), 10.0) for seed in range(104, 108)]
        batch = np.full((3, 96, 96, 3), 114, np.uint8)
        batch[1] = 200
        outputs = runtime.infer(batch, 10.0)
    finally:
        runtime.close()
    assert max(d.anomaly_score for d in good) < min(d.anomaly_score for d in bad)
    assert all(len(d) == 0 for d in good + bad)
    assert outputs["anomaly_score"].shape == (3,)
    assert outputs["anomaly_score"][0] == pytest.approx(outputs["anomaly_score"][2], abs=1e-5)


def _colour(grey: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(grey[..., None].repeat(3, 2))


def test_evaluate_gives_the_numbers_of_the_card(outcome: Outcome, version: DatasetVersion):
    stored = next(e for e in outcome.card.metrics["evaluations"] if e["split"] == "test")
    metrics = inspect_split(outcome.release.folder, version, "test", "openvino").metrics()
    assert {key: metrics[key] for key in stored} == stored
    command = [str(outcome.release.folder), "--data", str(version.folder), "--json"]
    result = CliRunner().invoke(evaluate_app, command, catch_exceptions=False)
    assert json.loads(result.stdout)["auroc"] == stored["auroc"]
    for language, word in (("ko", "미검"), ("en", "escape")):
        asked = [*command[:-1], "--language", language]
        assert word in CliRunner().invoke(evaluate_app, asked, catch_exceptions=False).stdout


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_seed_gives_the_same_model(family, version, backbone, tmp_path: Path):
    experiment = Experiment(family=family, **SETTINGS)
    weights = backbone if family == "good_parts" else None
    hashes = set()
    for turn in range(2):
        opened = open_family(family)
        trained = opened.train(experiment, version, weights, tmp_path, lambda _step: None)
        opened.export(trained, tmp_path / f"{turn}.onnx", experiment, version.classes)
        hashes.add(sha256_of(tmp_path / f"{turn}.onnx"))
    assert len(hashes) == 1


def test_another_model_than_the_trained_one_is_not_released(
    version, backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from inspection_training.good_parts import family

    def export_another(self, trained, path, experiment, classes):
        other = trained.model
        right = float(other.scale)
        other.set_scale(right * 2)
        family.export_anomaly(other, path, experiment.network_size, self.licence)
        other.set_scale(right)

    monkeypatch.setattr(family.GoodPartsFamily, "export", export_another)
    with pytest.raises(ReleaseError, match="differs from the trained one"):
        train("good_parts", version, backbone, tmp_path)
    assert not (tmp_path / "releases").exists()


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("family", FAMILIES)
def test_without_good_parts_nothing_is_released(family, split, version, backbone, tmp_path: Path):
    rest = [s for s in version.samples if s.split != split]
    shutil.copytree(version.folder / "images", tmp_path / "data" / "images")
    less = write_version(tmp_path / "data", "plate", version.classes, rest)
    with pytest.raises(DatasetError, match=f"no good image in {split}"):
        train(family, less, backbone, tmp_path)
    assert not (tmp_path / "releases").exists()


def test_held_out_parts_that_are_copies_are_refused(version, tmp_path: Path):
    first = version.samples[0]
    image = (version.folder / first.image).read_bytes()
    (tmp_path / "data").mkdir()
    rows = []
    for name in ("train", "val"):
        (tmp_path / "data" / f"{name}.png").write_bytes(image)
        rows.append(first.model_copy(update={"image": f"{name}.png", "split": name, "group": name}))
    copies = write_version(tmp_path / "data", "plate", version.classes, rows)
    experiment = Experiment(family="template", imgsz=96, threads=1)
    with pytest.raises(DatasetError, match="they are copies"):
        open_family("template").train(experiment, copies, None, tmp_path, lambda _step: None)


def test_a_broken_picture_is_named(version, backbone, tmp_path: Path):
    rows = [s for s in version.samples if s.split != "test"]
    (tmp_path / "data" / "images").mkdir(parents=True)
    for row in rows:
        image = b"broken" if row is rows[5] else version.path(row).read_bytes()
        (tmp_path / "data" / row.image).write_bytes(image)
    broken = sha256_of(tmp_path / "data" / rows[5].image)
    rows[5] = rows[5].model_copy(update={"sha256": broken})  # it was imported like this
    damaged = write_version(tmp_path / "data", "plate", version.classes, rows)
    for family in FAMILIES:
        with pytest.raises(DatasetError, match=r"005\.png is not an image"):
            train(family, damaged, backbone, tmp_path)
    assert not (tmp_path / "releases").exists()


def refused_before_training(
    version: DatasetVersion, rows: list[Sample], broken: dict[str, bytes], tmp_path: Path
) -> RefusedError:
    """Write the rows with the contents given, and return the refusal; nothing was trained."""
    data = tmp_path / "data"
    (data / "images").mkdir(parents=True)
    written = []
    for row in rows:
        (data / row.image).write_bytes(broken.get(row.image, version.path(row).read_bytes()))
        written.append(row.model_copy(update={"sha256": sha256_of(data / row.image)}))
    damaged = write_version(data, "plate", version.classes, written)
    with pytest.raises(RefusedError) as caught:
        train("template", damaged, tmp_path, tmp_path)
    assert not (tmp_path / "runs").exists()
    return caught.value


def test_an_unreadable_test_picture_is_refused_before_training(version, tmp_path: Path):
    """Training never reads it, so that it was found when the model was measured, hours later."""
    test = version.select("test")[0].image
    refused = refused_before_training(version, list(version.samples), {test: b"broken"}, tmp_path)
    assert refused.results[0].found["codes"] == {"image_unreadable": 1}


def test_any_error_that_training_does_not_say_is_refused_before_it(version, tmp_path: Path):
    """An unreadable picture beside it hid it until the model was measured."""
    learned, unreadable = version.select("train")[:2]
    copy = version.select("test")[0].image
    broken = {copy: version.path(learned).read_bytes(), unreadable.image: b"broken"}
    refused = refused_before_training(version, list(version.samples), broken, tmp_path)
    assert set(refused.results[0].found["codes"]) > {"image_unreadable"}


def test_a_variant_that_breaks_down_leaves_the_release(
    version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from inspection_training.variants import make

    def break_down(*_args: object, **_more: object) -> None:
        raise RuntimeError("out of registers")

    monkeypatch.setattr(make, "make_variant", break_down)
    settings = {**SETTINGS, "variants": ["bf16"]}
    outcome = train_release(
        Experiment.model_validate({"family": "template", **settings}),
        version,
        part="plate",
        weights=None,
        releases=tmp_path / "releases",
        runs=tmp_path / "runs",
    )
    assert outcome.variants["bf16"].startswith("RuntimeError: out of registers; nothing was added")
    assert load_release(outcome.release.folder).number == 1


def test_a_defect_that_nobody_drew_counts(outcome: Outcome, version, tmp_path: Path):
    """Parts whose whole picture has a class were left out: escape was measured without them."""
    shutil.copytree(version.folder / "images", tmp_path / "data" / "images")
    rows = [
        s.model_copy(update={"boxes": [], "state": "unlabelled", "label": "spot"}) if s.boxes else s
        for s in version.samples
    ]
    named = write_version(tmp_path / "data", "plate", version.classes, rows)
    drawn = inspect_split(outcome.release.folder, version, "test").metrics()
    told = inspect_split(outcome.release.folder, named, "test", trained_on=version.folder).metrics()
    assert told["defective"]["escape"]["of"] == 8
    assert told["class_recall"]["spot"]["of"] == 8
    keys = ("images", "defective", "good", "auroc", "class_recall")
    assert {key: told[key] for key in keys} == {key: drawn[key] for key in keys}
    runtimes = {name: open_runtime(name, outcome.release) for name in RUNTIMES}
    try:
        measured = measure_candidate(outcome.release, named, runtimes, lambda _step: None)
    finally:
        for runtime in runtimes.values():
            runtime.close()
    assert sum(defective for _, defective, _ in measured.rows["test"].values()) == 8
    assert measured.metrics["evaluations"][-1]["defective"]["escape"]["of"] == 8


def test_a_place_that_cannot_be_written_is_named(version, tmp_path: Path):
    experiment = Experiment(family="template", imgsz=96, threads=1)
    family = open_family("template")
    trained = family.train(experiment, version, None, tmp_path, lambda _step: None)
    with pytest.raises(ReleaseError, match=r"model\.onnx cannot be written"):
        family.export(trained, tmp_path / "missing" / "model.onnx", experiment, version.classes)


def test_a_line_passes_good_parts_and_rejects_strange_ones(outcome: Outcome, tmp_path: Path):
    """Folder camera, simulated PLC, real line process: PASS for good parts, ANOMALY for the others."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(6):
        image = plate(200 + number, defect=number % 2 == 1)
        cv2.imwrite(str(pictures / f"{number}.png"), image)
    (tmp_path / "releases").symlink_to(outcome.release.folder.parents[1])
    t2 = outcome.release.limits["anomaly"].t2
    limits = {"anomaly": {"t1": t2 * 1.1, "t2": t2 * 1.1}}  # the few val parts here set T2 tightly
    rig = Rig(
        tmp_path,
        camera={"type": "folder", "path": str(pictures), "order": "name"},
        recipe={"release": outcome.release.number, "limits": limits, "deadline": 5.0},
    )
    plc = rig.plc(parts=6, takt=0.1)
    try:
        with rig.line():
            assert plc.wait(60)
    finally:
        plc.stop()
    assert rig.decisions() == [("PASS", "NONE"), ("FAIL", "ANOMALY")] * 3
    rig.verify()


def test_training_needs_nothing_of_the_agpl(version, tmp_path: Path):
    code = (
        "import sys; from inspection.cli import main\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        "assert 'torch' in sys.modules and 'ultralytics' not in sys.modules\n"
    )
    (tmp_path / "template.yaml").write_text("family: template\nimgsz: 96\nthreads: 1\n")
    command = [sys.executable, "-c", code, "train", "template.yaml", "--data", str(version.folder)]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "미검은 보증할 수 없습니다" in done.stdout, "of the language that nobody chose"
    assert read_card(tmp_path / "releases" / "plate" / "1").licence == "Apache-2.0"
