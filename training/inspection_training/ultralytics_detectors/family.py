"""Train an ultralytics network: YOLOv8, YOLO11, YOLO26; fine-tuned from a weight file, or from random.

    samples ─▶ whole or as tiles, letterboxed as the line does it ─▶ albumentations + small pose
        ─▶ ultralytics' loop ─▶ averaged weights of the last epoch

A model name with -seg gives boxes with outlines (task segment), any other boxes (task detect).

ultralytics is AGPL-3.0, and so is what it makes; the release says so.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspection.errors import ConfigError, DatasetError, InspectionError
from inspection.release import sha256_file
from inspection.types import Image
from inspection_datasets.manifest import DatasetVersion, Sample
from inspection_training.augment import geometry, pipeline
from inspection_training.checkpoint import CHECKPOINT, load_checkpoint
from inspection_training.device import device_name, places, use_bf16
from inspection_training.experiment import Experiment
from inspection_training.export_settings import ExportSettings
from inspection_training.failures import in_words
from inspection_training.family import Outputs, Task, Trained
from inspection_training.parity import trained_outputs
from inspection_training.pieces import tiling_of
from inspection_training.progress import Report
from inspection_training.tracking import log_line, open_tracker
from inspection_training.training_images import check_classes, check_images, choose_samples
from inspection_training.ultralytics_detectors.export import MOST_OUTLINES, export_detector
from inspection_training.ultralytics_detectors.processes import train_together
from inspection_training.ultralytics_detectors.quiet import quiet_ultralytics

if TYPE_CHECKING:
    from inspection_training.ultralytics_detectors.trainer import SampleTraining

LICENCE = "AGPL-3.0 (ultralytics)"


class UltralyticsFamily:
    """The family `ultralytics`; see the module's docstring.

    Args:
        model: name of the network, which says the task.
    """

    licence = LICENCE

    def __init__(self, model: str = "") -> None:
        self.task: Task = "segment" if has_outlines(model) else "detect"

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
        return trained_outputs(trained.model, image, _settings(experiment))


def has_outlines(model: str) -> bool:
    """Tell whether a network of this name gives outlines."""
    return model.endswith("-seg")


def trainer_of(experiment: Experiment) -> type[SampleTraining]:
    """Return the trainer for the experiment's network."""
    if has_outlines(experiment.model):
        from inspection_training.ultralytics_detectors.segment import OutlineTrainer

        return OutlineTrainer
    from inspection_training.ultralytics_detectors.trainer import SampleTrainer

    return SampleTrainer


def _settings(experiment: Experiment) -> ExportSettings:
    most = MOST_OUTLINES if has_outlines(experiment.model) else experiment.detections
    return ExportSettings(
        size=experiment.network_size,
        iou=experiment.nms_iou,
        candidates=experiment.candidates,
        detections=min(experiment.detections, most),
    )


def train_detector(
    experiment: Experiment,
    version: DatasetVersion,
    weights: Path | None,
    run: Path,
    report: Report,
    processes: int = 0,
) -> Trained:
    """Train and return the network.

    Args:
        experiment: every setting.
        version: dataset version; its train split is learned, its val split only watched.
        weights: an ultralytics `.pt` file of the same architecture; None: random weights.
        run: folder of this run; everything is written here. When it holds a checkpoint of the same
            experiment, dataset and weights, training goes on from there: to the same weights on a CPU
            with the same number of threads.
        report: told about every step.
        processes: processes that train together on the CPU, to try out what several GPUs do; 0: as the
            experiment says.

    Raises:
        DatasetError: no training images with defects, a class without any, or a broken image.
        ConfigError: the weights do not fit the experiment, memory ran out, the training diverged, or the
            checkpoint is of another training.
    """
    if experiment.crop is not None and experiment.tile is not None:
        raise ConfigError("crop and tile exclude each other; leave one of them out")
    train = choose_samples(version, experiment)
    missing = check_classes(version, train, experiment)
    notes = [f"warning: no training image shows {', '.join(missing)}"] if missing else []
    notes += _about_outlines(version, train, experiment) + _about_tiles(train, experiment)
    state = _state(run, experiment, version, weights)
    check_images(version, [*train, *version.select("val")], report)
    with quiet_ultralytics(run):
        for note in notes:
            log_line(run, note)
        together = processes or len(places(experiment))
        if together > 1 and not _finished(state):
            train_together(experiment, version, weights, run, together, report)
        return train_share(experiment, version, weights, run, report)


def train_share(
    experiment: Experiment,
    version: DatasetVersion,
    weights: Path | None,
    run: Path,
    report: Report,
    together: int = 1,
) -> Trained:
    """Train in this process, alone or as one of several; see `train_detector` and its errors.

    Args:
        experiment: every setting.
        version: the dataset version.
        weights: weight file to start from, or None.
        run: folder of the run; a checkpoint there is gone on from, or taken as it is when it is finished.
        report: told about every step.
        together: processes that train together; ultralytics' RANK says which this one is.
    """
    try:
        return _train(experiment, version, weights, run, report, together)
    except InspectionError:
        raise
    except Exception as error:
        plain = in_words(error, experiment, run)
        if plain is None:
            raise
        raise plain from error


def _identity(
    experiment: Experiment, version: DatasetVersion, weights: Path | None
) -> tuple[str, str]:
    """Return the name and hash of the weights, and what a checkpoint of this training was made for."""
    base = "random"
    if weights is not None:
        if not weights.is_file():
            raise ConfigError(f"weight file {weights} does not exist; name a .pt file, or random")
        base = f"{weights.name} sha256:{sha256_file(weights)}"
    return base, f"{experiment.model_dump_json()} {version.sha256} {base}"


def _state(
    run: Path, experiment: Experiment, version: DatasetVersion, weights: Path | None
) -> dict[str, Any] | None:
    """Return the run's checkpoint, if any. ConfigError when it is of another training."""
    identity = _identity(experiment, version, weights)[1]
    state = load_checkpoint(run)
    if state is not None and state.get("identity") != identity:
        raise ConfigError(
            f"{run / CHECKPOINT} is of another experiment, dataset version or weight file; "
            "start a new run"
        )
    return state


def _finished(state: dict[str, Any] | None) -> bool:
    return state is not None and state["epoch"] >= state["epochs"]


def _about_outlines(
    version: DatasetVersion, train: Sequence[Sample], experiment: Experiment
) -> list[str]:
    """Return what is to be said of labels that are boxes where outlines are to be learned.

    Raises:
        DatasetError: no training label has an outline.
    """
    if not has_outlines(experiment.model):
        return []
    labels = sum(len(sample.boxes) for sample in train)
    drawn = sum(shape is not None for sample in train for shape in sample.shapes)
    if not drawn:
        raise DatasetError(
            f"{version.folder} {version.version} has {labels} training labels and none has an outline, so "
            f"{experiment.model} cannot learn any; set --model {experiment.model.removesuffix('-seg')}, or "
            "draw outlines"
        )
    if drawn == labels:
        return []
    return [
        f"warning: {labels - drawn} of {labels} training labels are boxes; their four corners are learned "
        "as their outline"
    ]


def _about_tiles(train: Sequence[Sample], experiment: Experiment) -> list[str]:
    """Return what is to be said of defects that no tile is sure to show whole."""
    tiling = tiling_of(experiment)
    if tiling is None:
        return []
    height, width = (side * tiling.overlap for side in tiling.size)
    sizes = [(x2 - x1, y2 - y1) for sample in train for _, x1, y1, x2, y2 in sample.boxes]
    longer = sum(across > width or down > height for across, down in sizes)
    if not longer:
        return []
    return [
        f"warning: {longer} of {len(sizes)} training labels are larger than the overlap of two tiles "
        f"({width:.0f} x {height:.0f} pixels), so a border between tiles may cut them in every tile; "
        "raise tile_overlap or tile"
    ]


def _train(
    experiment: Experiment,
    version: DatasetVersion,
    weights: Path | None,
    run: Path,
    report: Report,
    together: int,
) -> Trained:
    import torch
    from ultralytics.utils import RANK

    from inspection_training.ultralytics_detectors.network import activation_of, build_network
    from inspection_training.ultralytics_detectors.trainer import Session

    base, identity = _identity(experiment, version, weights)
    state = _state(run, experiment, version, weights)
    train, val = choose_samples(version, experiment), version.select("val")
    where = places(experiment)
    device = _device(where, together)
    bf16 = use_bf16(experiment, where[0])
    threads = experiment.threads or max(1, (os.cpu_count() or 1) // together)
    before = torch.get_num_threads()
    tracker = open_tracker(run, experiment) if RANK in {-1, 0} and not _finished(state) else None
    with tracker or nullcontext():
        session = Session(
            experiment=experiment,
            version=version,
            train=train,
            val=val,
            run=run,
            identity=identity,
            state=state,
            tracker=tracker,
            threads=threads,
            bf16=bf16,
            processes=together,
            report=report,
        )
        trainer = trainer_of(experiment)(settings_of(experiment, run, device, bf16=bf16), session)
        try:
            trainer.model, taken = build_network(trainer, experiment, weights)
            if taken and tracker is not None:
                log_line(run, f"weights: {taken}")
            if _finished(state):
                trainer.prepare()
            else:
                trainer.train()
        finally:
            torch.set_num_threads(before)
    model = trainer.ema.ema.float().cpu().eval()
    model.__class__ = trainer.plain
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
        device=device_name(where),
        precision="bf16" if bf16 else "f32",
        facts={"activation": activation_of(model), **({"taken_over": taken} if taken else {})},
    )


def _device(where: tuple[str, ...], together: int) -> str:
    """Return what ultralytics calls the devices: cpu, or the numbers of the GPUs."""
    return "cpu" if where == ("cpu",) else ",".join(str(number) for number in range(together))


def settings_of(experiment: Experiment, run: Path, device: str, *, bf16: bool) -> dict[str, Any]:
    """Return the experiment in ultralytics' words.

    Args:
        experiment: every setting.
        run: folder of the run.
        device: as ultralytics calls it.
        bf16: compute in bf16.
    """
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
