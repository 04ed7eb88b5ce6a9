"""What both families that learn from good parts only share: model, images, scale, export.

    distances [B, h, w], from 0 without end ─▶ distance / (distance + scale) ─▶ anomaly_map 0..1
        ─▶ highest ─▶ anomaly_score 0..1

The scale is the highest distance of any held-out good part: a score of 0.5 is as strange as the strangest
good part that was not learned. The squashing keeps the order, so limits lose nothing by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from inspection.errors import DatasetError
from inspection.letterbox import letterbox
from inspection_datasets.incoming import read_image
from inspection_datasets.manifest import DatasetVersion, Sample
from inspection_training.experiment import Experiment
from inspection_training.graph_file import traced, write_graph
from inspection_training.progress import Report, Step


class AnomalyModel(nn.Module):
    """A model of the anomaly contract; a family writes `distances` only."""

    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(1.0))

    def distances(self, images: Tensor) -> Tensor:
        """Uint8 RGB [B, H, W, 3] to float32 [B, h, w], 0 where nothing is strange."""
        raise NotImplementedError

    def set_scale(self, scale: float) -> None:
        """Set the distance that becomes a score of one half."""
        self.scale.fill_(scale)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Uint8 RGB [B, H, W, 3] to anomaly_map [B, h, w] and anomaly_score [B], both 0..1."""
        distances = self.distances(images)
        scores = distances / (distances + self.scale)
        return scores, scores.amax(dim=(1, 2))


@dataclass(frozen=True, slots=True)
class Learned:
    """What a family made of its good train images; its scale is not set yet.

    Attributes:
        model: in eval mode, on the CPU.
        architecture: its name within the family.
        origin: file name and sha256 of the weights it started from, or that there are none.
        facts: what else was found; goes into release.json as it is.
    """

    model: AnomalyModel
    architecture: str
    origin: str
    facts: dict[str, Any]


def good_samples(
    version: DatasetVersion, experiment: Experiment
) -> tuple[list[Sample], list[Sample]]:
    """Return the good images of train, at most `train_images` of them evenly spread, and those of val.

    Raises:
        DatasetError: either has none.
    """
    train, val = version.select("train", ["good"]), version.select("val", ["good"])
    for name, samples in (("train", train), ("val", val)):
        if not samples:
            raise DatasetError(
                f"{version.folder} {version.version} has no good image in {name}; this family learns "
                "from good train images and sets its limits on good val images. Add some to both"
            )
    limit = experiment.train_images
    if limit is not None and limit < len(train):
        train = [train[i * len(train) // limit] for i in range(limit)]
    return train, val


def tensors(
    version: DatasetVersion, samples: Sequence[Sample], size: tuple[int, int]
) -> Iterator[Tensor]:
    """Yield each image letterboxed as the line does it, uint8 [1, H, W, 3]."""
    for sample in samples:
        yield torch.from_numpy(letterbox(read_image(version.path(sample)), size)[0])[None]


def score_scale(
    model: AnomalyModel,
    experiment: Experiment,
    version: DatasetVersion,
    samples: Sequence[Sample],
    report: Report,
) -> float:
    """Return the highest distance of any of these images, which were not learned.

    Raises:
        DatasetError: it is 0: the held-out images are those that were learned.
    """
    highest = 0.0
    for done, image in enumerate(tensors(version, samples, experiment.network_size), start=1):
        highest = max(highest, float(model.distances(image).amax()))
        report(Step("scale", done, len(samples)))
    if not 0 < highest < float("inf"):
        raise DatasetError(
            f"the {len(samples)} good val images of {version.folder} {version.version} are not to be "
            f"told from the training images (largest difference {highest:g}): they are copies, or the "
            "images are empty. Hold back other good parts"
        )
    return highest


def export_anomaly(model: AnomalyModel, path: Path, size: tuple[int, int], licence: str) -> None:
    """Write `path` (model.onnx), task anomaly. The model is not changed.

    Raises:
        ReleaseError: it cannot be written, or is not to the contract (a defect of the family).
    """
    document = traced(model, size, "anomaly_map", "anomaly_score")
    told = "anomaly_map [B, h, w] and anomaly_score [B], 0..1"
    properties = {"license": licence, "inspection.output": told}
    write_graph(document, path, "anomaly", size, properties)
