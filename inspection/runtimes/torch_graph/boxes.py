"""Operators that choose: the best, suppression, and regions cut out of features.

Suppression runs on the processor. It is small (some thousand boxes at most), it branches with each box, and
what is tested without a GPU is then what runs with one.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import nms, roi_align

from inspection.runtimes.torch_graph.operator import (
    Attributes,
    Compute,
    Operator,
    not_known,
)


def _best(attributes: Attributes) -> Compute:
    """Of equal values the one before comes first: a stable sort, which torch's own topk is not."""
    axis, largest = attributes.take("axis", -1), bool(attributes.only("largest", 1, 0))
    attributes.only("sorted", 1, 0)

    def compute(x: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        count = int(k.item())
        values, places = torch.sort(x, dim=axis, descending=largest, stable=True)
        if count > x.shape[axis]:
            raise not_known(f"TopK of {count} of {x.shape[axis]}")
        return values.narrow(axis, 0, count), places.narrow(axis, 0, count)

    return compute


def _place_of_best(attributes: Attributes) -> Compute:
    """The first of equal values."""
    axis, kept = attributes.take("axis", 0), bool(attributes.only("keepdims", 1, 0))
    attributes.only("select_last_index", 0)
    return lambda x: torch.argmax(x, axis, kept)


def _suppression(attributes: Attributes) -> Compute:
    centred = bool(attributes.only("center_point_box", 0, 1))

    def compute(
        boxes: Tensor,
        scores: Tensor,
        most: Tensor | None = None,
        overlap: Tensor | None = None,
        floor: Tensor | None = None,
    ) -> Tensor:
        """Boxes [B, K, 4] and scores [B, classes, K] to int64 [found, 3]: image, class, box."""
        limit = 0 if most is None else int(most.item())
        greatest = 0.0 if overlap is None else float(overlap.item())
        least = None if floor is None else float(floor.item())
        corners = _corners(boxes, centred)
        found: list[Tensor] = []
        for image, classes in enumerate(scores):
            for number, values in enumerate(classes):
                real = _over(values, least)
                kept = real[nms(corners[image, real], values[real], greatest)[:limit]]
                where = torch.tensor([[image, number]]).expand(len(kept), 2)
                found.append(torch.cat([where, kept[:, None]], dim=1))
        return torch.cat(found) if found else torch.zeros(0, 3, dtype=torch.int64)

    return compute


def _over(values: Tensor, least: float | None) -> Tensor:
    """Return the places of values over the floor; all without one."""
    return torch.arange(len(values)) if least is None else torch.where(values > least)[0]


def _corners(boxes: Tensor, centred: bool) -> Tensor:
    """Return boxes as two corners, the lower one first."""
    first, second = boxes[..., :2], boxes[..., 2:]
    if centred:
        return torch.cat([first - second / 2, first + second / 2], dim=-1)
    return torch.cat([torch.minimum(first, second), torch.maximum(first, second)], dim=-1)


def _regions(attributes: Attributes) -> Compute:
    size = attributes.take("output_height", 1), attributes.take("output_width", 1)
    scale, samples = attributes.take("spatial_scale", 1.0), attributes.take("sampling_ratio", 0)
    place = attributes.only("coordinate_transformation_mode", "half_pixel", "output_half_pixel")
    attributes.only("mode", "avg")

    def compute(x: Tensor, boxes: Tensor, images: Tensor) -> Tensor:
        rows = torch.cat([images.to(boxes.dtype)[:, None], boxes], dim=1)
        return roi_align(x, rows, size, scale, samples, aligned=place == "half_pixel")

    return compute


OPERATORS: dict[str, Operator] = {
    "ArgMax": Operator(_place_of_best),
    "NonMaxSuppression": Operator(_suppression, read=(0, 1, 2, 3, 4), unsettled=True),
    "RoiAlign": Operator(_regions),
    "TopK": Operator(_best, read=(1,)),
}
