"""What stops a training is said in words, and the last checkpoint stands."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from inspection.demo.labelled_set import write_labelled_set
from inspection.errors import ConfigError, DatasetError
from inspection_datasets.importing import ImportPlan, import_dataset
from inspection_datasets.manifest import DatasetVersion, load_version, write_version
from inspection_training import failures
from inspection_training.checkpoint import load_checkpoint
from inspection_training.experiment import Experiment
from inspection_training.progress import Step, silent
from inspection_training.ultralytics_detectors import trainer as ultralytics_trainer
from inspection_training.ultralytics_detectors.family import train_detector

TINY = {
    "model": "yolov8n",
    "width": 0.0625,
    "imgsz": 160,
    "input_size": [128, 160],
    "epochs": 4,
    "batch": 8,
    "augment": "metal",
    "validations": 0,
    "threads": 1,
    "gates": {"clean_dataset": False},
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_labelled_set(root / "rendered", 24, seed=0, size=(96, 80), defect_rate=0.5)
    import_dataset(root / "rendered", root / "plate", ImportPlan())
    return root / "plate"


def damaged(dataset: Path, target: Path) -> tuple[DatasetVersion, list[str]]:
    """Return a copy of the dataset with a cut-off picture and one of another size in train."""
    import cv2

    shutil.copytree(dataset, target)
    version = load_version(target)
    cut, resized = (version.path(sample) for sample in version.select("train")[:2])
    cut.write_bytes(cut.read_bytes()[:200])
    picture = cv2.imread(str(resized))
    assert picture is not None
    cv2.imwrite(str(resized), picture[:-8])
    return version, [cut.name, resized.name]


def test_broken_pictures_are_named_before_anything_is_trained(
    dataset: Path, tmp_path: Path
) -> None:
    version, names = damaged(dataset, tmp_path / "plate")
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(DatasetError, match="2 of 20 images cannot be learned from") as caught:
        train_detector(Experiment.model_validate(TINY), version, None, run, silent)
    assert all(name in str(caught.value) for name in names)
    assert "its labels were made for 96x80" in str(caught.value)
    assert not list(run.iterdir())


def test_a_class_without_examples_is_named(dataset: Path, tmp_path: Path) -> None:
    shutil.copytree(dataset, tmp_path / "plate")
    old = load_version(tmp_path / "plate")
    version = write_version(old.folder, "plate", (*old.classes, "crack"), old.samples)
    asked = Experiment.model_validate({**TINY, "gates": {}})
    with pytest.raises(DatasetError, match=r"show no crack: .*label some of them"):
        train_detector(asked, version, None, tmp_path, silent)
    told = Experiment.model_validate({**TINY, "epochs": 1})
    train_detector(told, version, None, tmp_path, silent)
    assert "no training image shows crack" in (tmp_path / "train.log").read_text()


def test_a_loss_that_is_no_number_stops_it(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = ultralytics_trainer.SampleTrainer.preprocess_batch
    seen: list[float] = []

    def poisoned(
        self: ultralytics_trainer.SampleTrainer, batch: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        batch = original(self, batch)
        if seen and seen[-1] >= 2:
            batch["img"][0, 0, 0, 0] = float("nan")
        return batch

    monkeypatch.setattr(ultralytics_trainer.SampleTrainer, "preprocess_batch", poisoned)

    def watch(step: Step) -> None:
        seen.append(step.done if step.stage == "train" else 0)

    with pytest.raises(ConfigError, match=r"diverged in epoch 3: .*smaller lr"):
        train_detector(
            Experiment.model_validate(TINY), load_version(dataset), None, tmp_path, watch
        )
    state = load_checkpoint(tmp_path)
    assert state is not None
    assert all(torch.isfinite(v).all() for v in state["ema"].values() if v.is_floating_point())


def test_a_gpu_without_memory_is_said_too(tmp_path: Path) -> None:
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    said = failures.in_words(error, Experiment(batch=64, imgsz=1280), tmp_path)
    assert isinstance(said, ConfigError)
    assert "batch 64 at 1280x1280 pixels (CUDA out of memory." in str(said)
    assert "there is no checkpoint yet" in str(said)
    assert failures.in_words(RuntimeError("shape mismatch"), Experiment(), tmp_path) is None


def test_a_full_disk_leaves_the_checkpoint_before(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = Experiment.model_validate(TINY)
    monkeypatch.setattr(ultralytics_trainer, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(ultralytics_trainer, "CHECKPOINT_SHARE", 1e9)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def fill(step: Step) -> None:
        if step.stage == "train" and step.done > 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))

    try:
        with pytest.raises(DatasetError, match=r"the one before is still there.*--resume"):
            train_detector(experiment, load_version(dataset), None, tmp_path, fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, old)
    state = load_checkpoint(tmp_path)
    assert state is not None
    assert 0 < state["epoch"] <= 3
    train_detector(experiment, load_version(dataset), None, tmp_path, silent)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_memory_that_runs_out_is_said(dataset: Path, tmp_path: Path) -> None:
    """A limit on the address space: torch's own allocator fails, in a process of its own."""
    script = f"""
import resource, sys
from pathlib import Path
from inspection.errors import ConfigError
from inspection_datasets.manifest import load_version
from inspection_training.experiment import Experiment
from inspection_training.ultralytics_detectors.family import train_detector

def limit(step):
    if step.stage == "train":
        used = int(Path("/proc/self/statm").read_text().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 20), resource.RLIM_INFINITY))

try:
    train_detector(Experiment.model_validate({TINY!r}), load_version(Path({str(dataset)!r})), None,
                   Path({str(tmp_path)!r}), limit)
except ConfigError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert "memory ran out while training with batch 8 at 160x128 pixels" in done.stdout, (
        done.stderr
    )
    assert "--batch, for example 4" in done.stdout
