"""Comparison with a golden template, where parts always lie in the same place.

    image ─▶ grey ─▶ small blur ─▶ light matched to the golden image
        ─▶ the rigid move (whole pixels, up to `shift`) with the smallest difference
        ─▶ difference outside the golden range within `edge` pixels, in units of the usual deviation
        ─▶ mean over a small window ─▶ anomaly_map (a quarter of the size) ─▶ highest: anomaly_score

The golden image is the mean of the good training images, each moved and lit like the first; one image is
enough, and more of them teach how much good parts differ at each pixel. Light is matched by gain and
offset of the whole picture; a gain beyond 0.5..2 is not matched, so that a part in the wrong light is
strange. No network, no weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from inspection.errors import ConfigError
from inspection_datasets.manifest import DatasetVersion, Sample
from inspection_training.experiment import Experiment
from inspection_training.good_parts.anomaly import AnomalyModel, Learned, tensors
from inspection_training.progress import Report, Step

WINDOW = 5
"""Side of the window over which a difference is averaged, pixels: smaller specks are noise."""
FLOOR = 0.02
"""Deviation (of grey 0..1) that every good part is granted everywhere."""
GAINS = (0.5, 2.0)


class Template(AnomalyModel):
    """Images to their difference from a golden image, in units of the usual deviation."""

    low: Tensor
    high: Tensor
    golden: Tensor
    tolerance: Tensor

    def __init__(self, golden: Tensor, deviation: Tensor, shift: int, edge: int) -> None:
        """Golden and deviation float32 [H, W], grey 0..1; shift and edge in pixels."""
        super().__init__()
        self.shift = shift
        golden, deviation = golden[None, None], deviation[None, None]
        around = 2 * edge + 1
        self.register_buffer("golden", golden)
        self.register_buffer("high", F.max_pool2d(golden, around, 1, edge))
        self.register_buffer("low", -F.max_pool2d(-golden, around, 1, edge))
        self.register_buffer("tolerance", F.max_pool2d(deviation, around, 1, edge) + FLOOR)

    def distances(self, images: Tensor) -> Tensor:
        """Uint8 RGB [B, H, W, 3] to float32 [B, H/4, W/4]."""
        grey = match_light(as_grey(images), self.golden)
        best, least = None, None
        for moved in _moves(grey, self.shift):
            outside = F.relu(moved - self.high) + F.relu(self.low - moved)
            total = outside.mean(dim=(1, 2, 3), keepdim=True)
            if best is None or least is None:
                best, least = outside, total
            else:
                best = torch.where(total < least, outside, best)
                least = torch.minimum(total, least)
        assert best is not None
        strange = F.avg_pool2d(best / self.tolerance, WINDOW, 1, WINDOW // 2)
        return F.max_pool2d(strange, 4)[:, 0]


def as_grey(images: Tensor) -> Tensor:
    """Uint8 RGB [B, H, W, 3] to float32 grey 0..1 [B, 1, H, W], blurred over 3x3."""
    grey = images.float().mean(dim=3)[:, None] / 255
    return F.avg_pool2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), 3, 1)


def match_light(grey: Tensor, golden: Tensor) -> Tensor:
    """Return grey [B, 1, H, W] with the golden image's mean and, within GAINS, its contrast."""
    mean, target = grey.mean(dim=(1, 2, 3), keepdim=True), golden.mean()
    contrast = (grey - mean).square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
    wanted = (golden - target).square().mean().sqrt()
    gain = (wanted / contrast.clamp_min(1e-3)).clamp(*GAINS)
    # The offset is bounded as the gain is: a part in another light stays strange.
    centre = mean + (target - mean).clamp(-0.25, 0.25)
    return (grey - mean) * gain + centre


def _moves(grey: Tensor, shift: int) -> list[Tensor]:
    """Return grey moved by every whole number of pixels up to `shift` each way, nearest first."""
    height, width = grey.shape[2:]
    padded = F.pad(grey, (shift, shift, shift, shift), mode="replicate") if shift else grey
    steps = range(2 * shift + 1)
    order = sorted(((y, x) for y in steps for x in steps), key=lambda p: _reach(*p, shift))
    return [padded[:, :, y : y + int(height), x : x + int(width)] for y, x in order]


def _reach(y: int, x: int, shift: int) -> tuple[int, int, int]:
    return ((y - shift) ** 2 + (x - shift) ** 2, y, x)


def learn_template(images: Sequence[Tensor], shift: int, edge: int) -> Template:
    """Return the template of good images uint8 [1, H, W, 3], all of one size; the first is the pattern.

    With one image the deviation is 0 everywhere, and only `FLOOR` is granted.
    """
    first = as_grey(images[0])
    aligned: list[Tensor] = []
    for image in images:
        moves = _moves(match_light(as_grey(image), first), shift)
        errors = torch.stack([(moved - first).abs().mean() for moved in moves])
        aligned.append(moves[int(errors.argmin())][0, 0])
    stack = torch.stack(aligned)
    return Template(stack.mean(0), stack.std(0, correction=0), shift, edge).eval()


class GoldenLearner:
    """Averages good train images; see `family.Learner`."""

    def __init__(self, experiment: Experiment, weights: Path | None) -> None:
        if weights is not None:
            raise ConfigError(
                f"family template has no network and starts from no weights; leave {weights.name} out"
            )
        self._experiment = experiment

    def learn(self, version: DatasetVersion, train: Sequence[Sample], report: Report) -> Learned:
        """Return the golden image of these images, and how far they differ from it."""
        experiment = self._experiment
        images: list[Tensor] = []
        for image in tensors(version, train, experiment.network_size):
            images.append(image)
            report(Step("learn", len(images), len(train)))
        model = learn_template(images, experiment.shift, experiment.edge)
        return Learned(
            model=model,
            architecture="golden",
            origin="none: a golden template has no network",
            facts={"mean_deviation": float(model.tolerance.mean()) - FLOOR},
        )
