"""Train on crops around defects: small defects fill more of what the network computes.

Imported only while training. The network is convolutional: what it learns on crops it finds in whole
images, as long as a crop shows enough of the surroundings to tell a defect.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from numpy.typing import NDArray

MIN_VISIBLE = 0.4
"""A box is kept when at least this share of it is inside the crop."""


class DefectCrop:
    """Cuts a window that holds a random box of the image; any window where there is none.

    Args:
        size: (height, width) of the window, pixels.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size

    def __call__(self, labels: dict[str, Any]) -> dict[str, Any]:
        """Cut `img`, `cls` and `instances` of one ultralytics sample."""
        image = labels["img"]
        rows, columns = image.shape[:2]
        height, width = min(self.size[0], rows), min(self.size[1], columns)
        instances = labels["instances"]
        instances.convert_bbox("xyxy")
        instances.denormalize(columns, rows)
        box = random.choice(instances.bboxes) if len(instances) else None
        left = _start(columns, width, None if box is None else (box[0], box[2]))
        top = _start(rows, height, None if box is None else (box[1], box[3]))
        before = _areas(instances.bboxes)
        instances.add_padding(-left, -top)
        instances.clip(width, height)
        kept = _areas(instances.bboxes) >= np.maximum(MIN_VISIBLE * before, 1.0)
        labels["img"] = np.ascontiguousarray(image[top : top + height, left : left + width])
        labels["resized_shape"] = (height, width)
        labels["cls"] = labels["cls"][kept]
        labels["instances"] = instances[kept]
        return labels


def _areas(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1)


def _start(length: int, window: int, span: tuple[float, float] | None) -> int:
    """Return where the window starts: anywhere, or such that it holds as much of the span as it can."""
    last = length - window
    if span is None:
        return random.randint(0, last)
    low, high = sorted((int(span[1]) - window, int(span[0])))
    return random.randint(min(max(low, 0), last), min(max(high, 0), last))
