"""Masks to outlines: polygons and areas in image pixels.

    mask on the network's grid ─▶ sampled over its box ─▶ 0.5 ─▶ largest piece ─▶ few corners
                                                           └──▶ area of all pieces

A mask is coarse: one place for 4 x 4 network pixels. It is interpolated before it is cut at 0.5, so
that the area of a small defect is not a multiple of such places.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inspection.types import MASK_STRIDE, Outline

CUT = 0.5
"""Probability from which a place belongs to the defect."""
LEAST_SHARE = 0.1
"""A mask that covers less of its box is not trusted to tell the area."""
MOST_CORNERS = 64
_SAMPLES = (16, 256)
"""Fewest and most samples over each side of a box; in between two for each image pixel."""


def trace(
    mask: NDArray[np.float32],
    box: NDArray[np.float32],
    scale: tuple[float, float],
    pad: tuple[int, int],
) -> tuple[Outline, float]:
    """Return the outline and the area of one detection.

    Args:
        mask: float32 [h, w], 0..1, one place for 4 x 4 network pixels.
        box: float32 [4], x1 y1 x2 y2 in image pixels; nothing outside it is looked at.
        scale: network pixels per image pixel, (x, y).
        pad: (left, top) border, network pixels.

    Returns:
        Corners (x, y) of the largest piece, image pixels, at most 64; and the area of all pieces,
        square image pixels, without holes. Where the mask is nowhere 0.5 both are the box's; where it
        is so in less than a tenth of the box, the area is the box's. A defect must not vanish
        because its mask is faint. A thin slanting scratch may so count for more than it covers.
    """
    import cv2

    counts, steps = _grid(box)
    if min(counts) == 0:
        return _corners(box), 0.0
    matrix = np.zeros((2, 3))
    for axis in (0, 1):  # sample k lies at column (or row) matrix * k of the mask
        factor = scale[axis] / MASK_STRIDE
        first = (float(box[axis]) + steps[axis] / 2) * factor + pad[axis] / MASK_STRIDE - 0.5
        matrix[axis, axis], matrix[axis, 2] = steps[axis] * factor, first
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    samples = cv2.warpAffine(mask, matrix, counts, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    outline, area = _measure((samples >= CUT).astype(np.uint8), box, steps)
    whole = float(box[2] - box[0]) * float(box[3] - box[1])
    return outline, area if area >= LEAST_SHARE * whole else whole


def join(
    outlines: Sequence[Outline], areas: Sequence[float], box: NDArray[np.float32]
) -> tuple[Outline, float]:
    """Return outline and area of one defect of which several tiles saw a part.

    Args:
        outlines: of the parts, image pixels: the largest piece of each.
        areas: of the parts, all pieces of each, in the same order.
        box: float32 [4], around all of them.

    Returns:
        Corners of the largest piece; and the area that the outlines cover together, with all that a
        part has beyond its outline. It is never less than the area of a part.
    """
    import cv2

    counts, steps = _grid(box)
    if min(counts) == 0:
        return _corners(box), max(areas, default=0.0)
    canvas = np.zeros((counts[1], counts[0]), np.uint8)
    beyond = 0.0
    for outline, area in zip(outlines, areas, strict=True):
        corners = (np.asarray(outline, np.float64) - box[:2]) / steps - 0.5
        part = np.zeros_like(canvas)
        cv2.fillPoly(part, [np.rint(corners).astype(np.int32)], 1)
        beyond += max(area - np.count_nonzero(part) * steps[0] * steps[1], 0.0)
        canvas = np.maximum(canvas, part)
    joined, covered = _measure(canvas, box, steps)
    return joined, max(covered + beyond, *areas)


def _grid(box: NDArray[np.float32]) -> tuple[tuple[int, int], tuple[float, float]]:
    """Return how many samples lie over a box, (x, y), and their distance; none over an empty box."""
    width, height = float(box[2] - box[0]), float(box[3] - box[1])
    if width <= 0 or height <= 0:
        return (0, 0), (0.0, 0.0)
    low, high = _SAMPLES
    columns, rows = (min(max(int(np.ceil(2 * side)), low), high) for side in (width, height))
    return (columns, rows), (width / columns, height / rows)


def _measure(
    inside: NDArray[np.uint8], box: NDArray[np.float32], steps: tuple[float, float]
) -> tuple[Outline, float]:
    import cv2

    area = float(np.count_nonzero(inside)) * steps[0] * steps[1]
    if area == 0:
        return _corners(box), float((box[2] - box[0]) * (box[3] - box[1]))
    pieces, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    largest = max(pieces, key=lambda piece: (cv2.contourArea(piece), len(piece)))
    places = (largest.reshape(-1, 2) + 0.5) * steps + box[:2]
    corners = _simplified(places.astype(np.float32))
    if len(corners) < 3:  # one sample wide: the rectangle around it
        left, top, columns, rows = cv2.boundingRect(largest)
        edges = np.array([[left, top], [left + columns, top + rows]]) * steps + box[:2]
        return _corners(edges.astype(np.float32).reshape(4)), area
    return tuple((float(x), float(y)) for x, y in corners), area


def _simplified(places: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the polygon with fewer corners: off by 1 pixel, less for a small one, more for too many."""
    import cv2

    width, height = np.ptp(places, axis=0).tolist()
    off = min(1.0, 0.02 * (width + height))
    while True:
        corners = cv2.approxPolyDP(places.reshape(-1, 1, 2), off, closed=True)
        if len(corners) <= MOST_CORNERS:
            return corners.reshape(-1, 2).astype(np.float32)
        off *= 1.5


def _corners(box: NDArray[np.float32]) -> Outline:
    x1, y1, x2, y2 = (float(value) for value in box)
    return ((x1, y1), (x2, y1), (x2, y2), (x1, y2))
