"""Train the good-parts-only family: no labels of defects, no gradient, minutes on two cores.

good train images ─▶ patch vectors ─▶ k-center selection ─▶ bank
good val images (never in the bank) ─▶ highest distance of each ─▶ the scale of the score
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from inspection.types import Image
from inspection_datasets.manifest import DatasetVersion, Sample
from inspection_training.anomaly import (
    check_device,
    export_anomaly,
    good_samples,
    reference_outputs,
    score_scale,
    tensors,
    thread_limit,
)
from inspection_training.experiment import Experiment
from inspection_training.family import Outputs, Task, Trained
from inspection_training.good_parts.backbone import load_backbone
from inspection_training.good_parts.bank import PatchBank, PatchFeatures, k_center
from inspection_training.progress import Report, Step

MOST_PATCHES = 60_000
"""So many patches enter the selection, spread over all images, so that it takes minutes, not hours."""


class GoodPartsFamily:
    """The family `good_parts`; see the module's docstring."""

    task: Task = "anomaly"
    licence = (
        "Apache-2.0; the backbone's weights inside keep the licence of the file they came from"
    )

    def train(
        self,
        experiment: Experiment,
        version: DatasetVersion,
        weights: Path | None,
        run: Path,
        report: Report,
    ) -> Trained:
        """Build the bank from good train images and the scale from good val images; see `Family`."""
        del run  # nothing is kept beside the release
        check_device(experiment)
        backbone = load_backbone(weights, experiment.backbone_input)
        train, val = good_samples(version, experiment)
        with thread_limit(experiment), torch.no_grad():
            features = PatchFeatures(backbone.layers, experiment.network_size).eval()
            vectors = _vectors(features, experiment, version, train, report)
            chosen = k_center(
                vectors,
                experiment.bank,
                experiment.seed,
                lambda done: report(Step("select", done, min(experiment.bank, len(vectors)))),
            )
            report(Step("select", len(chosen), len(chosen)))
            model = PatchBank(features, vectors[chosen]).eval()
            scale = score_scale(model, experiment, version, val, report)
        model.set_scale(scale)
        return Trained(
            model=model,
            architecture=backbone.name,
            base_weights=backbone.origin,
            epochs=1,
            train=tuple(train),
            val=tuple(val),
            device="cpu",
            precision="f32",
            facts={
                "patches_seen": len(vectors),
                "bank_vectors": len(chosen),
                "distance_at_score_half": scale,
                "scale_from": f"highest distance of {len(val)} good val images",
            },
        )

    def export(
        self, trained: Trained, path: Path, experiment: Experiment, classes: Sequence[str]
    ) -> None:
        """Write the bank and its backbone as one graph; see `Family`."""
        del classes  # an anomaly has no name
        export_anomaly(trained.model, path, experiment.network_size, self.licence)

    def reference(self, trained: Trained, experiment: Experiment, image: Image) -> Outputs:
        """Return map and score of the torch model; see `Family`."""
        del experiment
        return reference_outputs(trained.model, image)


def _vectors(
    features: PatchFeatures,
    experiment: Experiment,
    version: DatasetVersion,
    samples: Sequence[Sample],
    report: Report,
) -> Tensor:
    """Return patch vectors [N, dimensions], at most MOST_PATCHES, the same share of each image."""
    generator = torch.Generator().manual_seed(experiment.seed)
    share = max(1, MOST_PATCHES // len(samples))
    first = torch.cat(list(tensors(version, samples[:16], experiment.network_size)))
    features.balance(first)
    found: list[Tensor] = []
    for image in tensors(version, samples, experiment.network_size):
        patches = features(image)[0]
        if len(patches) > share:
            patches = patches[torch.randperm(len(patches), generator=generator)[:share]]
        found.append(patches)
        report(Step("learn", len(found), len(samples)))
    return torch.cat(found)
