"""The torchvision family's loop: repeatable, goes on after a cut, on several processes, clear errors."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from inspection.demo.labelled_set import write_labelled_set
from inspection.errors import ConfigError, DatasetError
from inspection_datasets.importing import ImportPlan, import_dataset
from inspection_datasets.manifest import DatasetVersion, load_version
from inspection_training.checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint
from inspection_training.device import device_name, places, use_bf16
from inspection_training.experiment import Experiment
from inspection_training.progress import Step, silent
from inspection_training.torchvision_detectors import train
from inspection_training.torchvision_detectors.family import (
    TorchvisionFamily,
    check_settings,
)
from inspection_training.torchvision_detectors.train import Job, Training

TINY = {
    "family": "torchvision",
    "model": "fcos_mobilenet_v2_fpn",
    "imgsz": 96,
    "input_size": [64, 96],
    "epochs": 3,
    "batch": 6,
    "train_images": 12,
    "mosaic": 0.5,
    "validations": 1,
    "threads": 1,
    "device": "cpu",
    "precision": "f32",
}


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> DatasetVersion:
    root = tmp_path_factory.mktemp("data")
    write_labelled_set(root / "rendered", 36, seed=0, size=(96, 80), defect_rate=0.7)
    import_dataset(root / "rendered", root / "plate", ImportPlan())
    return load_version(root / "plate")


def settings(**changes) -> Experiment:
    return Experiment.model_validate(TINY | changes)


def learn(version, run: Path, report=silent, **changes):
    run.mkdir(exist_ok=True)

    def told(step: Step) -> None:
        if step.stage == "train":
            report(step)

    return TorchvisionFamily().train(settings(**changes), version, None, run, told)


def weights_of(trained) -> dict[str, torch.Tensor]:
    return trained.model.state_dict()


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[key], b[key]) for key in a)


@pytest.fixture(scope="module")
def whole(version, tmp_path_factory):
    """A run that nothing disturbed, and what it told."""
    run = tmp_path_factory.mktemp("whole")
    steps: list[Step] = []
    return learn(version, run, steps.append), run, steps


def test_a_run_tells_and_leaves_what_people_look_at(whole):
    trained, run, steps = whole
    assert trained.epochs == 3
    assert trained.precision == "f32"
    assert len(trained.train) == 12
    assert [s.done for s in steps] == sorted(s.done for s in steps)
    assert steps[-1].done == steps[-1].total == 3
    assert steps[-1].seconds_left == 0
    lines = (run / "curves.csv").read_text().splitlines()
    assert {"epoch", "loss/classification", "lr", "seconds", "mAP50"} <= set(lines[0].split(","))
    assert len(lines) == 4
    assert "epoch 3" in (run / "train.log").read_text()
    assert not trained.model.training
    assert {p.device.type for p in trained.model.parameters()} == {"cpu"}


def test_the_same_seed_gives_the_same_weights_another_does_not(version, whole, tmp_path):
    again = learn(version, tmp_path / "again")
    assert same(weights_of(whole[0]), weights_of(again))
    other = learn(version, tmp_path / "other", seed=1, epochs=1)
    assert not same(weights_of(whole[0]), weights_of(other))


def test_a_run_that_was_cut_off_goes_on_to_the_same_weights(version, whole, tmp_path):
    run = tmp_path / "cut"

    class Cut(Exception):  # noqa: N818
        pass

    def cut(step: Step) -> None:
        if step.done > 1.5:  # inside the second epoch
            raise Cut

    with pytest.raises(Cut):
        learn(version, run, cut)
    state = load_checkpoint(run)
    assert state is not None
    assert state["done"] == 1
    steps: list[Step] = []
    trained = learn(version, run, steps.append)
    assert steps[0].done > 1
    assert same(weights_of(whole[0]), weights_of(trained))
    assert trained.epochs == 3
    with pytest.raises(ConfigError, match="made with another experiment"):
        learn(version, run, lr=0.01)


def test_a_finished_run_is_not_trained_again(version, whole):
    trained, run, _ = whole
    steps: list[Step] = []
    again = learn(version, run, steps.append)
    assert steps == []
    assert same(weights_of(trained), weights_of(again))


def test_pictures_prepared_by_other_processes_give_the_same_weights(version, whole, tmp_path):
    trained = learn(version, tmp_path / "workers", workers=1)
    assert same(weights_of(whole[0]), weights_of(trained))


def job_of(version, run: Path, **changes) -> Job:
    x = settings(**changes)
    return Job(
        experiment=x,
        version=version,
        train=tuple(s for s in version.select("train") if s.boxes)[:12],
        val=tuple(version.select("val"))[:4],
        weights=None,
        base="random",
        run=run,
        places=("cpu",),
        threads=1,
        bf16=False,
    )


def test_minutes_cut_the_epochs(version, tmp_path):
    trained = learn(version, tmp_path / "short", epochs=500, minutes=0.02, validations=0)
    assert 1 <= trained.epochs < 10


def test_the_learning_rate_rises_and_falls(version, tmp_path):
    training = Training(job_of(version, tmp_path, epochs=10, warmup_epochs=2, lr=0.01), 0, silent)
    rates = []
    for step in range(20):
        training._steps_done = step
        rates.append(training._rate_now())
    assert rates[0] < rates[2] < rates[4]
    assert max(rates) == pytest.approx(0.01, rel=0.02)
    assert rates[-1] < 0.001


def test_a_loss_that_is_no_number_ends_the_training(version, tmp_path):
    training = Training(job_of(version, tmp_path), 0, silent)
    with torch.no_grad():
        next(training._network.head.parameters()).fill_(float("nan"))
    with pytest.raises(DatasetError, match=r"the loss became nan in epoch 1: .* set lr: 0\.0"):
        training.run(None)
    assert load_checkpoint(tmp_path) is None


@pytest.mark.parametrize("which", ["_network", "average"])
def test_weights_that_are_no_numbers_are_neither_kept_nor_released(version, tmp_path, which):
    """The last step of an epoch can spoil them, and no loss tells."""
    training = Training(job_of(version, tmp_path), 0, silent)
    training._save()
    kept = (tmp_path / CHECKPOINT).read_bytes()
    training.done = 1
    with torch.no_grad():
        next(getattr(training, which).head.parameters()).fill_(float("inf"))
    with pytest.raises(
        DatasetError, match=r"weights became no numbers .* in epoch 1: .* set lr: 0\.0"
    ):
        training._save()
    assert (tmp_path / CHECKPOINT).read_bytes() == kept


def test_a_checkpoint_with_values_that_are_no_numbers_is_refused(version, tmp_path):
    Training(job_of(version, tmp_path), 0, silent)._save()
    state = load_checkpoint(tmp_path)
    assert state is not None
    next(iter(state["average"].values())).fill_(float("nan"))
    save_checkpoint(tmp_path, state)
    with pytest.raises(ConfigError, match="has values that are no numbers in "):
        Training(job_of(version, tmp_path), 0, silent)


def test_too_little_memory_is_said_in_words(version, tmp_path, monkeypatch):
    def no_memory(*_args):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 1e12 bytes")

    monkeypatch.setattr(train.Training, "_epoch", no_memory)
    with pytest.raises(ConfigError, match="memory of cpu is not enough for a batch of 6"):
        learn(version, tmp_path / "memory")


def test_a_broken_picture_is_named(version, tmp_path):
    import shutil

    shutil.copytree(version.folder, tmp_path / "copy")
    broken = dataclasses.replace(version, folder=tmp_path / "copy")
    path = broken.path(broken.select("train", ["labelled"])[0])
    path.write_bytes(b"not a picture")
    with pytest.raises(DatasetError, match=path.name):
        learn(broken, tmp_path / "run")


def test_a_class_without_examples_is_named(version, tmp_path):
    wider = dataclasses.replace(version, classes=(*version.classes, "rust"))
    with pytest.raises(DatasetError, match="show no rust"):
        learn(wider, tmp_path / "refused")
    gates = {"clean_dataset": False}
    trained = learn(wider, tmp_path / "allowed", epochs=1, gates=gates)
    assert trained.epochs == 1
    assert "no training image shows rust" in (tmp_path / "allowed" / "train.log").read_text()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"optimizer": "MuSGD"}, "MuSGD"),
        ({"width": 0.5}, "width"),
        ({"crop": [64, 64], "tile": [64, 64]}, "exclude each other"),
        ({"model": "ssdlite320_mobilenet_v3_large", "batch": 1}, "set batch: 2"),
    ],
)
def test_settings_that_cannot_be_kept_are_refused(change, words):
    with pytest.raises(ConfigError, match=words):
        check_settings(settings(**change))


def test_gpus_that_are_not_there_are_refused(monkeypatch):
    assert places(settings(device="cpu")) == ("cpu",)
    with pytest.raises(ConfigError, match="wants 4 GPUs and trains on the CPU"):
        places(settings(devices=4, device="cpu"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="torch sees no GPU"):
        places(settings(device="cuda"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert places(settings(device="auto", devices=0)) == ("cuda:0", "cuda:1")
    assert places(settings(device="auto")) == ("cuda:0",)
    with pytest.raises(ConfigError, match="wants 3 GPUs, torch sees 2"):
        places(settings(device="auto", devices=3))
    with pytest.raises(ConfigError, match="cannot be shared"):
        places(settings(device="auto", devices=2, batch=1))


def test_devices_are_told_in_words(monkeypatch):
    assert device_name(("cpu",)).endswith(" cpu")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda place: f"GPU of {place}")
    assert device_name(("cuda:0",)) == "GPU of cuda:0"
    assert device_name(("cuda:0", "cuda:1")) == "2 x GPU of cuda:0"


@pytest.mark.parametrize("wanted", ["bf16", "f32"])
def test_precision_is_what_was_asked_for_or_what_the_gpu_does(monkeypatch, wanted):
    assert use_bf16(settings(precision=wanted), "cpu") is (wanted == "bf16")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: wanted == "bf16")
    assert use_bf16(settings(precision="auto"), "cuda:0") is (wanted == "bf16")


def test_tiles_and_crops_are_learned(version, tmp_path):
    for name, change in {"tile": {"tile": [48, 64]}, "crop": {"crop": [64, 64]}}.items():
        trained = learn(version, tmp_path / name, epochs=1, **change)
        assert trained.epochs == 1
        assert np.isfinite(next(iter(trained.model.parameters())).detach().numpy()).all()
