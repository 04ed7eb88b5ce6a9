"""A training that is cut off goes on from its last checkpoint, to the same weights to the bit."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from inspection.demo.labelled_set import write_labelled_set
from inspection.errors import ConfigError
from inspection.release import read_card
from inspection_datasets.importing import ImportPlan, import_dataset
from inspection_datasets.manifest import load_version
from inspection_training.checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint
from inspection_training.cli import train_app
from inspection_training.experiment import Experiment
from inspection_training.progress import Step, silent
from inspection_training.release import publish
from inspection_training.run_card import finish_run, read_run, resume_run, start_run
from inspection_training.ultralytics_detectors import trainer as ultralytics_trainer
from inspection_training.ultralytics_detectors.family import train_detector

TINY = {
    "model": "yolov8n",
    "width": 0.0625,
    "imgsz": 160,
    "input_size": [128, 160],
    "epochs": 10,
    "batch": 8,
    "augment": "metal",
    "mosaic": 0.5,
    "validations": 2,
    "threads": 1,
    "gates": {"clean_dataset": False},
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_labelled_set(root / "rendered", 24, seed=0, size=(96, 80), defect_rate=0.5)
    import_dataset(root / "rendered", root / "plate", ImportPlan())
    return root / "plate"


def weights_hash(run: Path) -> str:
    """Return the hash of the averaged weights in a run's checkpoint."""
    state = load_checkpoint(run)
    assert state is not None
    assert state["epoch"] == state["epochs"]
    tensors = (value.contiguous().numpy().tobytes() for value in state["ema"].values())
    return hashlib.sha256(b"".join(tensors)).hexdigest()


def until(true: object, seconds: float = 60.0) -> None:
    assert callable(true)
    pause, deadline = threading.Event(), time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never happened"
        pause.wait(0.005)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_killed_training_goes_on_to_the_same_weights(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(json.dumps(TINY))
    command = [
        *(sys.executable, "-m", "inspection", "train", "tiny.yaml", "--data", str(dataset)),
        *("--weights", "random", "--part", "plate"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (tmp_path / "killed.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    until(lambda: process.poll() is not None or list(tmp_path.glob(f"runs/*/{CHECKPOINT}")))
    process.send_signal(signal.SIGKILL)
    assert process.wait(30) == -signal.SIGKILL, (tmp_path / "killed.log").read_text()
    run = next((tmp_path / "runs").iterdir())
    state = load_checkpoint(run)
    assert state is not None
    assert state["epoch"] < TINY["epochs"], "the training ended before it was killed"

    result = CliRunner().invoke(train_app, ["--resume", str(run), "--json"], catch_exceptions=False)
    assert result.exit_code == 1, result.output
    assert json.loads(result.stdout)["refused"] == ["parity"], "so small a network finds nothing"
    assert read_run(run).released is None

    whole = tmp_path / "whole"
    whole.mkdir()
    train_detector(Experiment.model_validate(TINY), load_version(dataset), None, whole, silent)
    assert weights_hash(run) == weights_hash(whole)
    epochs = [line.split(",")[0] for line in (run / "curves.csv").read_text().splitlines()[1:]]
    assert epochs == [str(number) for number in range(1, 11)]
    candidate = run / "candidate" / "plate" / "1"
    assert resume_run(run)["resume"] == run, "it may be asked again"
    publish(candidate, read_card(candidate), tmp_path / "releases")
    with pytest.raises(ConfigError, match="is finished: it released plate/1"):
        resume_run(run)


class CutError(Exception):
    """Stands for a kill within this process."""


@pytest.mark.parametrize(
    "changed",
    [
        {"model": "yolo26n", "optimizer": "MuSGD", "lr": 0.01, "epochs": 4},
        {"workers": 2, "optimizer": "SGD", "lr": 0.01, "crop": [64, 96], "epochs": 4},
    ],
    ids=["yolo26 and MuSGD", "workers and SGD"],
)
def test_cut_anywhere_it_gives_the_same(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, object]
) -> None:
    experiment = Experiment.model_validate(TINY | changed)
    version = load_version(dataset)
    runs = [tmp_path / "whole", tmp_path / "cut"]
    for run in runs:
        run.mkdir()
    train_detector(experiment, version, None, runs[0], silent)
    monkeypatch.setattr(ultralytics_trainer, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(ultralytics_trainer, "CHECKPOINT_SHARE", 1e9)

    def cut(step: Step) -> None:
        if step.stage == "train" and step.done > 2.4:
            raise CutError

    with pytest.raises(CutError):
        train_detector(experiment, version, None, runs[1], cut)
    first = train_detector(experiment, version, None, runs[1], silent)
    assert weights_hash(runs[0]) == weights_hash(runs[1])
    again = train_detector(
        experiment, version, None, runs[1], silent
    )  # finished: nothing is trained
    for one, other in zip(first.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert again.epochs == first.epochs == 4
    with pytest.raises(ConfigError, match="of another experiment"):
        train_detector(experiment.model_copy(update={"seed": 9}), version, None, runs[1], silent)


def test_time_spent_counts_after_a_resume(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = Experiment.model_validate(TINY | {"epochs": 5000, "minutes": 1.0})
    monkeypatch.setattr(ultralytics_trainer, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(ultralytics_trainer, "CHECKPOINT_SHARE", 1e9)

    def cut(step: Step) -> None:
        if step.stage == "train" and step.done > 2.2:
            raise CutError

    with pytest.raises(CutError):
        train_detector(experiment, load_version(dataset), None, tmp_path, cut)
    state = load_checkpoint(tmp_path)
    assert state is not None
    state["seconds"] = 59.9
    save_checkpoint(tmp_path, state)
    trained = train_detector(experiment, load_version(dataset), None, tmp_path, silent)
    assert trained.epochs <= 4


def test_a_changed_dataset_or_weights_or_run_is_refused(dataset: Path, tmp_path: Path) -> None:
    moved = tmp_path / "plate"
    shutil.copytree(dataset, moved)
    version = load_version(moved)
    weights = tmp_path / "start.pt"
    weights.write_bytes(b"weights")
    run = tmp_path / "run"
    run.mkdir()
    start_run(
        run, Experiment(), version, part="plate", weights=weights, releases=tmp_path / "releases"
    )
    job = resume_run(run)
    assert job["version"].sha256 == version.sha256
    assert (job["part"], job["weights"], job["resume"]) == ("plate", weights, run)
    assert resume_run(run, dataset)["version"].folder == dataset
    weights.write_bytes(b"other")
    with pytest.raises(ConfigError, match=r"start\.pt was changed since"):
        resume_run(run)
    weights.unlink()
    with pytest.raises(ConfigError, match="is gone; put it back"):
        resume_run(run)
    file = moved / f"{version.version}.jsonl"
    file.write_text("\n".join(file.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(ConfigError, match="v0001 was changed since"):
        resume_run(run)
    (run / "run.json").write_text('{"part": "plate"}')
    with pytest.raises(ConfigError, match=r"run\.json: data: .*start the training again"):
        resume_run(run)
    with pytest.raises(ConfigError, match="is no run that can go on"):
        resume_run(tmp_path / "none")
    finish_run(tmp_path, "plate/1")  # no card there: nothing happens
    result = CliRunner().invoke(train_app, ["--resume", str(run), "--epochs", "3"])
    assert isinstance(result.exception, ConfigError)
    assert "leave out epochs" in str(result.exception)


def test_a_damaged_checkpoint_is_named(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(ConfigError, match=r"checkpoint\.pt cannot be read"):
        train_detector(
            Experiment.model_validate(TINY), load_version(dataset), None, tmp_path, silent
        )
