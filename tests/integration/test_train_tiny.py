"""The whole path on a handful of rendered parts: dataset, training, export, parity, release."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from inspection.demo.labelled_set import write_labelled_set
from inspection.errors import ConfigError, DatasetError, ReleaseError
from inspection.release import list_releases, load_release, read_card
from inspection_datasets.importing import ImportPlan, import_dataset
from inspection_datasets.manifest import load_version, write_version
from inspection_training.cli import evaluate_app
from inspection_training.evaluation import inspect_split
from inspection_training.experiment import Experiment, load_experiment
from inspection_training.release import publish
from inspection_training.release_cli import app as release_app
from inspection_training.run import train_release
from inspection_training.run_card import read_run

TINY = {
    "model": "yolov8n",
    "width": 0.0625,
    "imgsz": 96,
    "input_size": [64, 96],
    "epochs": 2,
    "batch": 8,
    "augment": "metal",
    "validations": 2,
    "threads": 1,
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_labelled_set(root / "rendered", 24, seed=0, size=(96, 80), defect_rate=0.5)
    import_dataset(root / "rendered", root / "plate", ImportPlan())
    return root / "plate"


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Train through the command in a process of its own, whose home is empty and read afterwards.

    So small a network finds nothing, and the command refuses it; it is published by hand for the tests.
    """
    root = tmp_path_factory.mktemp("trained")
    (root / "tiny.yaml").write_text(json.dumps(TINY))
    home = root / "home"
    home.mkdir()
    command = [
        *(sys.executable, "-m", "inspection", "train", "tiny.yaml", "--data", str(dataset)),
        *("--weights", "random", "--part", "plate", "--seed", "3", "--json"),
        *("--language", "en"),
    ]
    environment = {**os.environ, "HOME": str(home), "TMPDIR": str(home), "OMP_NUM_THREADS": "1"}
    for name in ("YOLO_CONFIG_DIR", "MPLCONFIGDIR"):
        environment.pop(name, None)
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 1, done.stderr[-3000:]
    report = json.loads(done.stdout)
    assert not (root / "releases").exists()
    candidate = Path(report["candidate"])
    publish(candidate, read_card(candidate), root / "releases")
    return {"root": root, "home": home, "report": report, "stderr": done.stderr}


def test_a_network_that_finds_nothing_is_not_released(trained: dict[str, object]) -> None:
    report = trained["report"]
    assert isinstance(report, dict)
    assert (report["release"], report["refused"]) == (None, ["parity"])
    assert "gate parity: the model finds nothing in any of the 8 images" in str(trained["stderr"])


def test_the_release_is_complete(trained: dict[str, object], dataset: Path) -> None:
    root = Path(str(trained["root"]))
    release = load_release(root / "releases" / "plate" / "1")
    card = read_card(release.folder)
    version = load_version(dataset)
    assert release.input_size == (64, 96)
    assert (card.dataset.version, card.dataset.sha256) == (version.version, version.sha256)
    assert card.base_weights == "random"
    assert card.seeds == {"training": 3}
    assert card.experiment["epochs_done"] == 2
    assert card.claim == ""
    assert "AGPL-3.0" in card.licence
    assert set(card.files) == {"model.onnx", "decisions.json", "card.md"}
    assert {r["runtime"] for r in card.parity["results"]} == {"onnxruntime", "openvino"}
    assert card.libraries["torch"] != "not installed"
    for evaluation in card.metrics["evaluations"]:
        escape = evaluation["defective"]["escape"]
        assert escape["low"] <= escape["rate"] <= escape["high"]
    assert card.latency["openvino"]["p50_ms"] > 0
    assert all(0 <= x.t1 <= x.t2 <= 1 for x in card.limits.values())


def test_it_says_that_weights_are_random(trained: dict[str, object]) -> None:
    assert "weights are random" in str(trained["stderr"])


def test_nothing_is_written_outside_the_run(trained: dict[str, object], dataset: Path) -> None:
    home = Path(str(trained["home"]))
    assert [p for p in home.rglob("*") if p.is_file()] == []
    assert {p.suffix for p in dataset.rglob("*") if p.is_file()} == {".jpg", ".jsonl", ".yaml"}
    root = Path(str(trained["root"]))
    assert sorted(p.name for p in root.iterdir()) == ["home", "releases", "runs", "tiny.yaml"]
    run = next((root / "runs").iterdir())
    assert "2 epochs completed" in (run / "train.log").read_text(encoding="utf-8")
    assert load_experiment(run / "experiment.yaml", {}) == read_run(run).experiment


def test_evaluate_gives_the_numbers_of_the_card(trained: dict[str, object], dataset: Path) -> None:
    folder = Path(str(trained["root"])) / "releases" / "plate" / "1"
    card = read_card(folder)
    version = load_version(dataset)
    metrics = inspect_split(folder, version, "test", "openvino").metrics()
    stored = next(e for e in card.metrics["evaluations"] if e["split"] == "test")
    assert {key: metrics[key] for key in stored} == stored
    result = CliRunner().invoke(
        evaluate_app, [str(folder), "--data", str(dataset), "--json"], catch_exceptions=False
    )
    assert json.loads(result.stdout)["map50"] == stored["map50"]


def test_release_list_and_show(trained: dict[str, object]) -> None:
    releases = Path(str(trained["root"])) / "releases"
    for language, words in (("ko", "적용 중"), ("en", "in force")):
        asked = ["list", str(releases), "--language", language]
        listed = CliRunner().invoke(release_app, asked, catch_exceptions=False)
        assert listed.stdout == f"plate: 1 ({words})\n"
    shown = CliRunner().invoke(
        release_app,
        ["show", str(releases / "plate" / "1"), "--language", "en"],
        catch_exceptions=False,
    )
    assert "every file is as released" in shown.stdout


def test_an_altered_release_is_neither_shown_nor_evaluated(
    trained: dict[str, object], dataset: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "plate" / "1"
    folder.mkdir(parents=True)
    source = Path(str(trained["root"])) / "releases" / "plate" / "1"
    for path in source.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    data = bytearray((folder / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "model.onnx").write_bytes(data)
    with pytest.raises(ReleaseError, match="was altered"):
        inspect_split(folder, load_version(dataset), "test", "openvino")


def test_a_release_that_cannot_be_written_leaves_nothing(
    trained: dict[str, object], tmp_path: Path
) -> None:
    root = Path(str(trained["root"]))
    card = read_card(root / "releases" / "plate" / "1")
    candidate = next((root / "runs").iterdir()) / "candidate" / "plate" / "1"
    blocked = tmp_path / "releases"
    blocked.write_text("a file where a folder must be")
    with pytest.raises(ReleaseError, match="cannot be written"):
        publish(candidate, card, blocked)
    lost = card.model_copy(update={"files": {**card.files, "lost.bin": "0" * 64}})
    with pytest.raises(ReleaseError, match="cannot be written"):
        publish(candidate, lost, tmp_path / "other")
    assert list_releases(tmp_path / "other") == {}
    assert list((tmp_path / "other" / "plate").iterdir()) == []
    first = publish(candidate, card, tmp_path / "good")
    second = publish(candidate, card, tmp_path / "good")
    assert (first.number, second.number) == (1, 2)


def test_no_defects_and_wrong_weights_are_refused(dataset: Path, tmp_path: Path) -> None:
    version = load_version(dataset)
    experiment = Experiment.model_validate(TINY)
    folders = {"releases": tmp_path / "releases", "runs": tmp_path / "runs"}
    good = [s for s in version.samples if s.state == "good"]
    for sample in good:
        target = tmp_path / "good" / sample.image
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(version.path(sample).read_bytes())
    empty = write_version(tmp_path / "good", "plate", version.classes, good)
    with pytest.raises(DatasetError, match="no labelled training image"):
        train_release(experiment, empty, part="plate", weights=None, **folders)
    with pytest.raises(ConfigError, match="does not exist"):
        train_release(experiment, version, part="plate", weights=tmp_path / "none.pt", **folders)
    with pytest.raises(ConfigError, match="is not allowed"):
        train_release(experiment, version, part="../plate", weights=None, **folders)
    screw = experiment.model_copy(update={"expected": {"screw": 4}})
    with pytest.raises(ConfigError, match="expected names"):
        train_release(screw, version, part="plate", weights=None, **folders)
    assert not (tmp_path / "releases").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("epoch: 3", "epoch: .*known settings: family"),
        ("epochs: 0", "epochs: .*given: 0"),
        ("model: resnet", "model resnet is not of family ultralytics; use"),
        ("input_size: [100, 100]", "multiples of 32"),
        ("- epochs", "must be a list of"),
        ("{", "cannot be read"),
    ],
)
def test_a_wrong_experiment_is_named(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=words):
        load_experiment(path, {})
