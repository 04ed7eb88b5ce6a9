"""Train on crops around defects: small defects fill more of what the network computes.

Imported only while training: it imports ultralytics. The network is convolutional: what it learns on crops it
finds in whole images, as long as a crop shows enough of the surroundings to tell a defect.

What a crop or a move leaves of a defect that loses its label is painted over: nothing bad is learned as good.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ultralytics.data.augment import RandomPerspective

from inspection_training.pieces import MIN_VISIBLE, paint_over


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
        window = np.ascontiguousarray(image[top : top + height, left : left + width])
        labels["img"] = paint_over(window, instances.bboxes[~kept], instances.bboxes[kept])
        labels["resized_shape"] = (height, width)
        labels["cls"] = labels["cls"][kept]
        labels["instances"] = instances[kept]
        return labels


class PaintedPerspective(RandomPerspective):
    """ultralytics' random move, turn and scale; what is left of boxes that it drops is painted over."""

    def __init__(self, plain: RandomPerspective, size: tuple[int, int]) -> None:
        """Do as `plain` does, giving images of size (height, width), pixels."""
        super().__init__(
            degrees=plain.degrees,
            translate=plain.translate,
            scale=plain.scale,
            shear=plain.shear,
            perspective=plain.perspective,
            size=(size[1], size[0]),
            preserve_obb=plain.preserve_obb,
        )
        self._hidden = np.zeros((0, 4), np.float32)

    def apply_instances(
        self, labels: dict[str, Any], params: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Move the labels; the picture was moved before."""
        labels = super().apply_instances(labels, params)
        labels["img"] = paint_over(labels["img"], self._hidden, labels["instances"].bboxes)
        return labels

    def box_candidates(self, box1: Any, box2: Any, *args: Any, **more: Any) -> NDArray[np.bool_]:
        """Return which moved boxes are kept, and remember the others."""
        kept = RandomPerspective.box_candidates(box1, box2, *args, **more)
        self._hidden = box2.T[~kept & (_areas(box2.T) > 0)]
        return kept


def _areas(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1)


def _start(length: int, window: int, span: tuple[float, float] | None) -> int:
    """Return where the window starts: anywhere, or such that it holds as much of the span as it can."""
    last = length - window
    if span is None:
        return random.randint(0, last)
    low, high = sorted((int(span[1]) - window, int(span[0])))
    return random.randint(min(max(low, 0), last), min(max(high, 0), last))
