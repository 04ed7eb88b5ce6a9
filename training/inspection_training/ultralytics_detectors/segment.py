"""ultralytics' segmentation trainer, fed from a dataset version; what differs from boxes is here.

Imported only while training: it imports torch and ultralytics.

    outline ─▶ augmented with the picture ─▶ drawn 16 times finer than the network's masks ─▶ mask of a place
        for 4 x 4 pixels
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from ultralytics.data.augment import Format
from ultralytics.models.yolo.segment import SegmentationTrainer
from ultralytics.nn.tasks import SegmentationModel

from inspection_training.pieces import Points
from inspection_training.ultralytics_detectors.dataset import SampleDataset
from inspection_training.ultralytics_detectors.trainer import InBf16, SampleTraining

_FINER = 4
"""Samples over each side of a pixel. cv2 draws the border of a polygon too, a half sample wide."""


class OutlineFormat(Format):
    """Draws masks exactly, holes too; ultralytics' own are a pixel too large, and lose small defects."""

    def _format_segments(
        self, instances: Any, cls: NDArray[np.float32], w: int, h: int
    ) -> tuple[NDArray[np.int32], Any, NDArray[np.float32]]:
        size = (h // self.mask_ratio, w // self.mask_ratio)
        masks = [mask_on_grid(points, size, self.mask_ratio) for points in instances.segments]
        order = np.argsort([-mask.sum() for mask in masks], kind="stable")
        together = np.zeros(size, np.int32)
        for number, index in enumerate(order, start=1):  # smaller ones over larger ones
            together[masks[index]] = number
        return together[None], instances[order], cls[order]


def mask_on_grid(points: Points, size: tuple[int, int], stride: int) -> NDArray[np.bool_]:
    """Return the mask [h, w] of a polygon: places of which it covers half; at least one.

    Args:
        points: corners in pixels; inside is what an odd number of turns encloses.
        size: (h, w) of the mask.
        stride: pixels, each way, of one place.
    """
    height, width = size
    mask = np.zeros(size, bool)
    low = np.clip(np.floor(points.min(axis=0) / stride).astype(int), 0, [width - 1, height - 1])
    high = np.ceil(points.max(axis=0) / stride).astype(int)
    high = np.clip(high, low + 1, [width, height])
    (x1, y1), (x2, y2) = low.tolist(), high.tolist()
    finer = stride * _FINER
    canvas = np.zeros(((y2 - y1) * finer, (x2 - x1) * finer), np.uint8)
    corners = (points - low * stride) * _FINER - 0.5
    cv2.fillPoly(canvas, [np.rint(corners * 16).astype(np.int32)], 1, shift=4)
    cells = canvas.reshape(y2 - y1, finer, x2 - x1, finer).mean(axis=(1, 3))
    mask[y1:y2, x1:x2] = cells >= min(0.5, cells.max())
    return mask


class OutlineDataset(SampleDataset):
    """Pieces of samples with outlines."""

    format_class = OutlineFormat


class Bf16Outliner(InBf16, SegmentationModel):
    """A network with outlines in bf16."""


class OutlineTrainer(SampleTraining, SegmentationTrainer):
    """Trains a network with outlines."""

    plain = SegmentationModel
    in_bf16 = Bf16Outliner
    task = "segment"
    dataset_class = OutlineDataset
