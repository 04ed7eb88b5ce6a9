"""Families that learn from good parts only: no labels of defects, no gradient, minutes on two cores.

good train images ─▶ learn: a bank of patches (`bank`) or a golden image (`template`)
good val images (never learned) ─▶ highest distance of each ─▶ the scale of the score
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Protocol

import torch

from inspection.errors import ConfigError
from inspection.types import Image
from inspection_datasets.manifest import DatasetVersion, Sample
from inspection_training.experiment import Experiment
from inspection_training.family import Outputs, Task, Trained
from inspection_training.good_parts.anomaly import (
    Learned,
    export_anomaly,
    good_samples,
    score_scale,
)
from inspection_training.good_parts.bank import BankLearner
from inspection_training.good_parts.template import GoldenLearner
from inspection_training.progress import Report


class Learner(Protocol):
    """What differs between the families: how good train images become a model."""

    def learn(self, version: DatasetVersion, train: Sequence[Sample], report: Report) -> Learned:
        """Return the model; its scale is not set. torch records no gradient meanwhile."""
        ...


_LEARNERS: dict[str, Callable[[Experiment, Path | None], Learner]] = {
    "good_parts": BankLearner,
    "template": GoldenLearner,
}
"""Made of settings and weights; raises ConfigError where they do not fit the family."""
_LICENCE = {
    "good_parts": "Apache-2.0; the backbone's weights inside keep the licence of the file they came from",
    "template": "Apache-2.0",
}


class GoodPartsFamily:
    """The families `good_parts` and `template`; see the module's docstring."""

    task: Task = "anomaly"

    def __init__(self, name: Literal["good_parts", "template"]) -> None:
        self._learner = _LEARNERS[name]
        self.licence = _LICENCE[name]

    def train(
        self,
        experiment: Experiment,
        version: DatasetVersion,
        weights: Path | None,
        run: Path,
        report: Report,
    ) -> Trained:
        """Learn from good train images and scale by good val images; see `Family`."""
        del run  # nothing is kept beside the release
        if experiment.device == "cuda":
            raise ConfigError(
                f"family {experiment.family} learns on the CPU; set device to auto or cpu"
            )
        learner = self._learner(experiment, weights)
        train, val = good_samples(version, experiment)
        with _thread_limit(experiment), torch.no_grad():
            learned = learner.learn(version, train, report)
            scale = score_scale(learned.model, experiment, version, val, report)
        learned.model.set_scale(scale)
        return Trained(
            model=learned.model,
            architecture=learned.architecture,
            base_weights=learned.origin,
            epochs=1,
            train=tuple(train),
            val=tuple(val),
            device="cpu",
            precision="f32",
            facts={
                **learned.facts,
                "distance_at_score_half": scale,
                "scale_from": f"highest distance of {len(val)} good val images",
            },
        )

    def export(
        self, trained: Trained, path: Path, experiment: Experiment, classes: Sequence[str]
    ) -> None:
        """Write the model, with all that it remembers inside, as one graph; see `Family`."""
        del classes  # an anomaly has no name
        export_anomaly(trained.model, path, experiment.network_size, self.licence)

    def reference(self, trained: Trained, experiment: Experiment, image: Image) -> Outputs:
        """Return map and score of the torch model; see `Family`."""
        del experiment
        with torch.no_grad():
            anomaly_map, score = trained.model(torch.from_numpy(image)[None])
        return {"anomaly_map": anomaly_map.numpy(), "anomaly_score": score.numpy()}


@contextmanager
def _thread_limit(experiment: Experiment) -> Generator[None]:
    """Within this block torch uses the experiment's threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(experiment.threads or os.cpu_count() or 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
