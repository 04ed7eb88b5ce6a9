"""Train an ultralytics detector: YOLOv8, YOLO11, YOLO26; fine-tuned from a weight file, or from random.

    samples ─▶ albumentations + small pose ─▶ ultralytics' loop ─▶ averaged weights of the last epoch

ultralytics is AGPL-3.0, and so is what it makes; the release says so.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspection.errors import ConfigError, DatasetError
from inspection.release import sha256_file
from inspection.types import Image
from inspection_datasets.manifest import DatasetVersion, Sample
from inspection_training.augment import geometry, pipeline
from inspection_training.experiment import Experiment
from inspection_training.export import ExportSettings, export_detector
from inspection_training.family import Outputs, Task, Trained
from inspection_training.parity import trained_rows
from inspection_training.progress import Report
from inspection_training.quiet import quiet_ultralytics

if TYPE_CHECKING:
    from torch import nn

LICENCE = "AGPL-3.0 (ultralytics)"
_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


class UltralyticsFamily:
    """The family `ultralytics`; see the module's docstring."""

    task: Task = "detect"
    licence = LICENCE

    def train(
        self,
        experiment: Experiment,
        version: DatasetVersion,
        weights: Path | None,
        run: Path,
        report: Report,
    ) -> Trained:
        """Run ultralytics' training; see `train_detector` and `Family`."""
        return train_detector(experiment, version, weights, run, report)

    def export(
        self, trained: Trained, path: Path, experiment: Experiment, classes: Sequence[str]
    ) -> None:
        """Write network and suppression as one graph; see `export`."""
        export_detector(trained.model, path, _settings(experiment), classes)

    def reference(self, trained: Trained, experiment: Experiment, image: Image) -> Outputs:
        """Return what the torch network finds, after ultralytics' own suppression; see `Family`."""
        rows = trained_rows(trained.model, image, _settings(experiment))
        return {"detections": rows[None]}


def _settings(experiment: Experiment) -> ExportSettings:
    return ExportSettings(
        size=experiment.network_size,
        iou=experiment.nms_iou,
        candidates=experiment.candidates,
        detections=experiment.detections,
    )


def train_detector(
    experiment: Experiment, version: DatasetVersion, weights: Path | None, run: Path, report: Report
) -> Trained:
    """Train and return the network.

    Args:
        experiment: every setting.
        version: dataset version; its train split is learned, its val split only watched.
        weights: an ultralytics `.pt` file of the same architecture; None: random weights.
        run: folder of this run; everything is written here.
        report: told about every step.

    Raises:
        DatasetError: no training images with defects.
        ConfigError: the weights do not fit the experiment.
    """
    train = choose_samples(version, experiment)
    val = version.select("val")
    base = "random"
    if weights is not None:
        if not weights.is_file():
            raise ConfigError(f"weight file {weights} does not exist; name a .pt file, or random")
        base = f"{weights.name} sha256:{sha256_file(weights)}"
    with quiet_ultralytics(run):
        return _train(experiment, version, (train, val), (weights, base), run, report)


def choose_samples(version: DatasetVersion, experiment: Experiment) -> list[Sample]:
    """Return the training samples: defective ones, and good ones up to their share.

    Raises:
        DatasetError: none has a box.
    """
    labelled = version.select("train", ["labelled"])
    good = version.select("train", ["good"])
    if not labelled:
        raise DatasetError(
            f"{version.folder} {version.version} has no labelled training image; label some defects"
        )
    limit = experiment.train_images
    share = experiment.good_share
    if limit is not None:
        labelled = labelled[: max(1, limit - min(len(good), round(limit * share)))]
    room = round(len(labelled) * share / (1 - share))
    if limit is not None:
        room = min(room, limit - len(labelled))
    step = max(1.0, len(good) / room) if room else 1.0
    return labelled + [good[int(i * step)] for i in range(min(room, len(good)))]


def _train(
    experiment: Experiment,
    version: DatasetVersion,
    samples: tuple[Sequence[Sample], Sequence[Sample]],
    start: tuple[Path | None, str],
    run: Path,
    report: Report,
) -> Trained:
    import torch
    from ultralytics.nn.tasks import DetectionModel

    from inspection_training.ultralytics_trainer import SampleTrainer

    weights, base = start
    train, val = samples
    device = _device(experiment)
    bf16 = _use_bf16(experiment, device)
    threads = experiment.threads or os.cpu_count() or 1
    before = torch.get_num_threads()
    trainer = SampleTrainer(
        _overrides(experiment, run, device, bf16=bf16),
        version=version,
        size=experiment.network_size,
        crop=experiment.crop,
        train=train,
        val=val,
        validations=experiment.validations,
        seconds=experiment.minutes * 60 if experiment.minutes else None,
        threads=threads,
        workers=experiment.workers,
        bf16=bf16,
        report=report,
    )
    try:
        trainer.model = _network(trainer, experiment, weights)
        trainer.train()
    finally:
        torch.set_num_threads(before)
    model = trainer.ema.ema.float().cpu().eval()
    model.__class__ = DetectionModel
    model.criterion = None
    if hasattr(model.model[-1], "one2one_cv2"):
        model.model[-1].end2end = True  # yolo26: the head that needs no suppression
    return Trained(
        model=model,
        architecture=experiment.model,
        base_weights=base,
        epochs=trainer.epoch + 1,
        train=tuple(train),
        val=tuple(val),
        device=torch.cuda.get_device_name(0) if device != "cpu" else platform.machine() + " cpu",
        precision="bf16" if bf16 else "f32",
    )


def _overrides(experiment: Experiment, run: Path, device: str, *, bf16: bool) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "model": f"{experiment.model}.yaml",
        "data": "",
        "epochs": experiment.epochs,
        "patience": 0,
        "batch": experiment.batch,
        "nbs": experiment.batch,  # a step for each batch: small datasets have few
        "imgsz": max(experiment.network_size),
        "project": str(run),
        "name": "ultralytics",
        "exist_ok": True,
        "optimizer": experiment.optimizer,
        "warmup_epochs": experiment.warmup_epochs,
        "seed": experiment.seed,
        "deterministic": device != "cpu",
        "device": device,
        "amp": "bf16" if bf16 and device != "cpu" else False,
        "cache": "ram",
        "plots": False,
        "val": True,
        "verbose": True,
        "mosaic": experiment.mosaic,
        "close_mosaic": max(1, experiment.epochs // 10) if experiment.mosaic else 0,
        "augmentations": pipeline(experiment.augment),
        **geometry(experiment.augment),
    }
    if experiment.flip:
        settings |= {"fliplr": experiment.flip, "flipud": experiment.flip}
    if experiment.lr is not None:
        settings["lr0"] = experiment.lr
    return settings


def _network(trainer: Any, experiment: Experiment, weights: Path | None) -> nn.Module:
    """Return the network to train, with the dataset's classes."""
    from ultralytics.nn.tasks import load_checkpoint, yaml_model_load

    if weights is None:
        architecture = yaml_model_load(f"{experiment.model}.yaml")
        if experiment.width is not None:
            scale = list(architecture["scales"][architecture["scale"]])
            scale[1] = experiment.width
            architecture["scales"] = {architecture["scale"]: scale}
        return trainer.get_model(cfg=architecture, weights=None, verbose=False)
    if experiment.width is not None:
        raise ConfigError("width needs random weights; a weight file has its own width")
    loaded, _ = load_checkpoint(weights)
    name = re.sub(r"\.ya?ml$", "", Path(str(loaded.yaml.get("yaml_file", ""))).name)
    if name != experiment.model:
        raise ConfigError(
            f"{weights.name} holds {name or 'an unknown network'}, the experiment wants "
            f"{experiment.model}; set --model {name}"
        )
    return trainer.get_model(cfg=loaded.yaml, weights=loaded, verbose=False)


def _device(experiment: Experiment) -> str:
    import torch

    if experiment.device == "cpu" or (
        experiment.device == "auto" and not torch.cuda.is_available()
    ):
        return "cpu"
    if not torch.cuda.is_available():
        raise ConfigError("the experiment wants cuda and torch sees no GPU; set device: auto")
    return "0"


def _use_bf16(experiment: Experiment, device: str) -> bool:
    import torch

    if experiment.precision != "auto":
        return experiment.precision == "bf16"
    if device != "cpu":
        return torch.cuda.is_bf16_supported()
    try:
        flags = set(re.findall(r"\w+", Path("/proc/cpuinfo").read_text(encoding="utf-8")))
    except OSError:
        return False
    return bool(flags & _BF16_FLAGS)
