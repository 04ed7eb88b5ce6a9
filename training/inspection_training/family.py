"""The seam between a training run and the families of models.

    Family.train ─▶ Trained ─▶ Family.export ─▶ model.onnx, to the contract of `inspection.release`
                       └─────▶ Family.reference ─▶ what the export is compared with

`run.train_release` knows no family: it trains, exports, compares, measures and publishes over this
Protocol. A family of task `detect` finds boxes of the dataset's classes, one of task `segment` their
outlines too; one of task `anomaly` learned
from good parts only and gives one score for a part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from inspection.errors import ConfigError
from inspection.types import Image
from inspection_datasets.manifest import DatasetVersion, Sample
from inspection_training.experiment import Experiment
from inspection_training.progress import Report

Task = Literal["detect", "segment", "anomaly"]
Outputs = dict[str, NDArray[np.float32]]
"""Output name of the contract to its value, for a batch of one."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained model, in memory.

    Attributes:
        model: the family's own network (a torch module), float32, on the CPU, in eval mode.
        architecture: its name within the family, for example yolov8n.
        base_weights: file name and sha256 of the weights it started from, or `random`.
        epochs: epochs that were done.
        train: samples it learned from.
        val: samples it never learned from.
        device: cpu or the GPU's name.
        precision: f32 or bf16.
        facts: what else was found while learning; goes into release.json as it is.
    """

    model: Any
    architecture: str
    base_weights: str
    epochs: int
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    device: str
    precision: str
    facts: dict[str, Any] = field(default_factory=dict[str, Any])


class Family(Protocol):
    """One family of models. It keeps no state: everything learned is in `Trained`."""

    @property
    def task(self) -> Task:
        """What its releases do: find boxes of classes, or judge a whole part."""
        ...

    @property
    def licence(self) -> str:
        """Licence that a release of this family carries, in words."""
        ...

    def train(
        self,
        experiment: Experiment,
        version: DatasetVersion,
        weights: Path | None,
        run: Path,
        report: Report,
    ) -> Trained:
        """Learn from the train split; the val split is never learned from.

        Args:
            experiment: every setting.
            version: dataset version.
            weights: weight file to start from; None: random, or none where the family needs none.
            run: folder of this run; everything that is written goes here. When it holds a checkpoint
                of the same experiment, training goes on from there, to the same result.
            report: told about every step.

        Raises:
            DatasetError: the images are not enough for this family; the message says what is missing.
            ConfigError: weights or settings do not fit the family.
        """
        ...

    def export(
        self, trained: Trained, path: Path, experiment: Experiment, classes: Sequence[str]
    ) -> None:
        """Write `path` (model.onnx) to the released-model contract. The model is not changed.

        Raises:
            ReleaseError: the graph is not to the contract.
        """
        ...

    def reference(self, trained: Trained, experiment: Experiment, image: Image) -> Outputs:
        """Return what the trained model itself gives for one letterboxed image.

        Args:
            trained: as trained.
            experiment: every setting.
            image: uint8 RGB [H, W, 3] of the network's input size.

        Returns:
            The outputs of the contract with a batch of one.
        """
        ...


def open_family(name: str, model: str = "") -> Family:
    """Return the family that an experiment names. Its libraries are imported here, not before.

    Args:
        name: `Experiment.family`.
        model: `Experiment.model`, where a family has networks of several tasks.

    Raises:
        ConfigError: no such family, or its library is not installed.
    """
    try:
        if name == "ultralytics":
            from inspection_training.ultralytics_detectors.family import UltralyticsFamily

            return UltralyticsFamily(model)
        if name == "torchvision":
            from inspection_training.torchvision_detectors.family import TorchvisionFamily

            return TorchvisionFamily()
        if name in {"good_parts", "template"}:
            from inspection_training.good_parts.family import GoodPartsFamily

            return GoodPartsFamily(name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"family {name} needs {error.name}, which is not installed; install the extra `train`"
        ) from error
    raise ConfigError(
        f"family {name!r} is not known; use ultralytics, torchvision, good_parts or template"
    )
