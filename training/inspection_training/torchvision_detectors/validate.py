"""Watch a training: mAP of the network as it stands on the val pictures, by the rules of the release."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from inspection.types import Detections
from inspection_training.evaluate import average_precision
from inspection_training.export_settings import ExportSettings
from inspection_training.torchvision_detectors.inference import ReleasedDetector
from inspection_training.torchvision_detectors.pictures import Shelf

BATCH = 8


@torch.no_grad()
def measure_shelf(
    network: nn.Module, shelf: Shelf, settings: ExportSettings, classes: tuple[str, ...]
) -> dict[str, float]:
    """Return mAP50 and mAP50_95 of a network on a shelf; neither where no box is labelled.

    Args:
        network: on any device; it is not changed.
        shelf: at least one picture.
        settings: how the released network suppresses.
        classes: names, in the network's order.
    """
    detector = ReleasedDetector(network, settings).eval()
    found: list[Detections] = []
    for start in range(0, len(shelf), BATCH):
        images = [shelf.picture(i).image for i in range(start, min(start + BATCH, len(shelf)))]
        batch = torch.from_numpy(np.stack(images)).to(next(network.parameters()).device)
        found += [_detections(rows, classes) for rows in detector(batch).cpu().numpy()]
    samples = [shelf.as_sample(i) for i in range(len(shelf))]
    precision = average_precision(classes, samples, found)
    values = {"mAP50": precision["map50"], "mAP50_95": precision["map50_95"]}
    return {name: value for name, value in values.items() if value is not None}


def _detections(rows: Any, classes: tuple[str, ...]) -> Detections:
    rows = rows[rows[:, 4] > 0]
    return Detections(
        boxes=rows[:, :4],
        scores=rows[:, 4],
        classes=rows[:, 5].astype(np.int64),
        class_names=classes,
        release="training",
        model_sha256="",
        anomaly_score=None,
    )
