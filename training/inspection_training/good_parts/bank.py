"""The patch memory bank: what good patches look like, and how far a patch is from the nearest of them.

    images ─▶ backbone, two middle layers ─▶ each averaged over 3x3, joined: one vector for each patch
        ─▶ distance to the nearest of the bank's vectors ─▶ anomaly_map ─▶ its highest: anomaly_score

The idea is PatchCore's (Roth et al., CVPR 2022, arXiv 2106.08265): locally averaged middle features, a bank
thinned by greedy k-center selection, the nearest distance as the anomaly. Two things are simpler here:
both layers count equally because each is scaled to the same mean length, and the part's score is the
plain highest distance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from inspection_datasets.manifest import DatasetVersion, Sample
from inspection_training.experiment import Experiment
from inspection_training.good_parts.anomaly import AnomalyModel, Learned, tensors
from inspection_training.good_parts.backbone import MiddleLayers, load_backbone
from inspection_training.progress import Report, Step

PROJECTED = 64
"""Dimensions of the random projection in which the selection measures distances."""
MOST_PATCHES = 60_000
"""So many patches enter the selection, spread over all images, so that it takes minutes, not hours."""


class PatchFeatures(nn.Module):
    """Images to one vector for each patch."""

    weights: Tensor

    def __init__(self, layers: MiddleLayers, size: tuple[int, int]) -> None:
        super().__init__()
        self.layers = layers
        self.grid = (size[0] // 8, size[1] // 8)
        self.register_buffer("weights", torch.ones(2))

    def forward(self, images: Tensor) -> Tensor:
        """Uint8 RGB [B, H, W, 3] to float32 [B, patches, dimensions], patches row by row."""
        first, second = self.layers(images.permute(0, 3, 1, 2).float() / 255)
        first = F.avg_pool2d(first, 3, 1, 1) * self.weights[0]
        second = F.avg_pool2d(second, 3, 1, 1) * self.weights[1]
        second = F.interpolate(second, size=self.grid, mode="bilinear", align_corners=False)
        return torch.cat([first, second], dim=1).flatten(2).permute(0, 2, 1)

    def balance(self, images: Tensor) -> None:
        """Scale both layers so that their mean squared length over these images is one each."""
        self.weights.fill_(1.0)
        layers = self.layers(images.permute(0, 3, 1, 2).float() / 255)
        lengths = [F.avg_pool2d(x, 3, 1, 1).square().sum(1).mean().sqrt() for x in layers]
        self.weights.copy_(1 / torch.stack(lengths).clamp_min(1e-6))


class PatchBank(AnomalyModel):
    """Images to the distance of each patch from the nearest good one."""

    bank: Tensor
    squares: Tensor

    def __init__(self, features: PatchFeatures, bank: Tensor) -> None:
        """Bank float32 [vectors, dimensions]: the good patches to remember."""
        super().__init__()
        self.features = features
        self.register_buffer("bank", bank.T.contiguous())
        self.register_buffer("squares", bank.square().sum(1))

    def distances(self, images: Tensor) -> Tensor:
        """Uint8 RGB [B, H, W, 3] to float32 [B, H/8, W/8], from 0; no number where the network gave none."""
        patches = self.features(images)
        products = torch.matmul(patches, self.bank)
        nearest = (self.squares - 2 * products).amin(dim=2)
        squared = nearest + patches.square().sum(dim=2)
        height, width = self.features.grid
        doubt = squared * 0  # the lower bound makes 0, which is good, of what is no number
        return (squared.clamp_min(0).sqrt() + doubt).reshape(-1, height, width)


def k_center(
    vectors: Tensor, count: int, seed: int, tick: Callable[[int], None] = lambda _done: None
) -> Tensor:
    """Choose vectors so that every vector is near a chosen one: always the farthest from those chosen.

    Args:
        vectors: float32 [N, dimensions].
        count: how many to choose; all when there are not more.
        seed: of the first choice and of the projection; the same seed gives the same choice.
        tick: told how many are chosen, now and then.

    Returns:
        int64 [min(count, N)], indices in the order of choice.
    """
    if count >= len(vectors):
        return torch.arange(len(vectors))
    generator = torch.Generator().manual_seed(seed)
    if vectors.shape[1] > PROJECTED:
        projection = torch.randn(vectors.shape[1], PROJECTED, generator=generator)
        vectors = vectors @ (projection / PROJECTED**0.5)
    chosen = torch.zeros(count, dtype=torch.int64)
    chosen[0] = torch.randint(len(vectors), (1,), generator=generator)
    nearest = torch.full((len(vectors),), torch.inf)
    for index in range(1, count):
        step = (vectors - vectors[chosen[index - 1]]).square().sum(1)
        nearest = torch.minimum(nearest, step)
        chosen[index] = nearest.argmax()
        if index % 100 == 0:
            tick(index)
    return chosen


class BankLearner:
    """Chooses the patches of good train images to remember; see `family.Learner`."""

    def __init__(self, experiment: Experiment, weights: Path | None) -> None:
        self._experiment = experiment
        self._backbone = load_backbone(weights, experiment.backbone_input)

    def learn(self, version: DatasetVersion, train: Sequence[Sample], report: Report) -> Learned:
        """Return the bank of these images."""
        experiment, backbone = self._experiment, self._backbone
        features = PatchFeatures(backbone.layers, experiment.network_size).eval()
        vectors = _vectors(features, experiment, version, train, report)
        chosen = k_center(
            vectors,
            experiment.bank,
            experiment.seed,
            lambda done: report(Step("select", done, min(experiment.bank, len(vectors)))),
        )
        report(Step("select", len(chosen), len(chosen)))
        return Learned(
            model=PatchBank(features, vectors[chosen]).eval(),
            architecture=backbone.name,
            origin=backbone.origin,
            facts={"patches_seen": len(vectors), "bank_vectors": len(chosen)},
        )


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
