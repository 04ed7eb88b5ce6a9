"""Outlines of labels: rings from masks and masks from rings, without loss; ellipses; rings in one line.

Coordinates are pixel edges: the first pixel reaches from 0 to 1, its centre is at 0.5. `rings_of` walks
along the edges of pixels, so a mask comes back exactly from its rings (`mask_of`), holes too, and the
extent of the rings is the box of the mask.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from inspection.errors import DatasetError
from inspection_datasets.incoming import SLACK, Label, settle_box
from inspection_datasets.manifest import Shape

_STEPS = 72
"""Corners of a polygon that stands for an ellipse; a multiple of four, so that its extent is exact."""


def rings_of(mask: NDArray[np.bool_]) -> Shape:
    """Return the outline of a mask as rings along pixel edges; holes are rings of their own.

    Args:
        mask: bool [H, W].

    Returns:
        Rings of whole numbers, only corners, in the order found from the top left; empty for an empty
        mask. Pixels that touch only at a corner are in rings of their own.
    """
    following = _edges(mask)
    rings: Shape = []
    for start in sorted(following):
        while following.get(start):
            rings.append(_walk(following, start))
    return rings


_Point = tuple[int, int]


def _edges(mask: NDArray[np.bool_]) -> dict[_Point, list[_Point]]:
    """Return (y, x) of each edge's start to its ends; the mask is on the right-hand side of an edge."""
    padded = np.pad(mask.astype(np.int8), 1)
    down = np.diff(padded, axis=0)[:, 1:-1]
    across = np.diff(padded, axis=1)[1:-1, :]
    found: dict[_Point, list[_Point]] = {}
    for cells, step, sign in (
        (down == 1, (0, 1), 1),
        (down == -1, (0, 1), -1),
        (across == -1, (1, 0), 1),
        (across == 1, (1, 0), -1),
    ):
        for y, x in np.argwhere(cells).tolist():
            ends = ((y, x), (y + step[0], x + step[1]))
            first, last = ends if sign == 1 else ends[::-1]
            found.setdefault(first, []).append(last)
    return found


def _walk(following: dict[_Point, list[_Point]], start: _Point) -> list[float]:
    """Take one closed walk out of `following` and return its corners as flat x, y."""
    corners: list[_Point] = []
    here, step = start, (0, 0)
    while True:
        ends = following[here]
        # where two pixels touch at a corner, turn right: stay with the pixel
        turn = (step[1], -step[0])
        wanted = (here[0] + turn[0], here[1] + turn[1])
        there = ends.pop(ends.index(wanted) if len(ends) > 1 and wanted in ends else 0)
        if not ends:
            del following[here]
        new = (there[0] - here[0], there[1] - here[1])
        if new != step:
            corners.append(here)
        here, step = there, new
        if here == start:
            break
    first = corners[1] if len(corners) > 1 else corners[0]
    if (np.sign(first[0] - start[0]), np.sign(first[1] - start[1])) == step:
        corners = corners[1:]
    return [float(v) for y, x in corners for v in (x, y)]


def mask_of(shape: Shape, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return bool [H, W]: the pixels whose centre is inside an odd number of rings.

    Args:
        shape: rings in pixels.
        size: (width, height), pixels.
    """
    width, height = size
    crossings = np.zeros((height, width + 1), np.int64)
    for ring in shape:
        points = np.asarray(ring, np.float64).reshape(-1, 2)
        for (x1, y1), (x2, y2) in zip(points, np.roll(points, -1, axis=0), strict=True):
            (xa, ya), (xb, yb) = ((x1, y1), (x2, y2)) if y1 <= y2 else ((x2, y2), (x1, y1))
            rows = np.arange(max(0, math.ceil(ya - 0.5)), min(height, math.ceil(yb - 0.5)))
            if rows.size:
                xs = xa + (rows + 0.5 - ya) * (xb - xa) / (yb - ya)
                columns = np.clip(np.ceil(xs - 0.5), 0, width).astype(np.int64)
                np.add.at(crossings, (rows, columns), 1)
    return crossings.cumsum(axis=1)[:, :width] % 2 == 1


def pieces_of(mask: NDArray[np.bool_]) -> list[Shape]:
    """Return the outline of each connected piece of a mask; pixels that touch at a corner are connected."""
    count, numbered, stats, _ = cv2.connectedComponentsWithStats(
        mask.astype(np.uint8), connectivity=8
    )
    pieces: list[Shape] = []
    for index in range(1, count):
        x, y, w, h = (int(v) for v in stats[index, :4])
        pieces.append(moved(rings_of(numbered[y : y + h, x : x + w] == index), x, y))
    return pieces


def moved(shape: Shape, x: float, y: float) -> Shape:
    """Return rings moved by x and y pixels."""
    return [[v + (y if i % 2 else x) for i, v in enumerate(ring)] for ring in shape]


def ellipse_ring(cx: float, cy: float, rx: float, ry: float, degrees: float = 0.0) -> list[float]:
    """Return a polygon that stands for an ellipse, turned clockwise (y points down) by `degrees`."""
    turn = math.radians(degrees)
    ring: list[float] = []
    for index in range(_STEPS):
        angle = 2 * math.pi * index / _STEPS
        x, y = rx * math.cos(angle), ry * math.sin(angle)
        ring += [
            cx + x * math.cos(turn) - y * math.sin(turn),
            cy + x * math.sin(turn) + y * math.cos(turn),
        ]
    return ring


def turned_box(
    box: tuple[float, float, float, float], degrees: float, about: tuple[float, float]
) -> list[float]:
    """Return the ring of a box turned clockwise (y points down) by `degrees` about a point."""
    x1, y1, x2, y2 = box
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    ring: list[float] = []
    for x, y in ((x1, y1), (x2, y1), (x2, y2), (x1, y2)):
        dx, dy = x - about[0], y - about[1]
        ring += [about[0] + dx * cos - dy * sin, about[1] + dx * sin + dy * cos]
    return ring


def settle_shape(
    name: str,
    rings: Sequence[Sequence[float]],
    size: tuple[int, int],
    where: str,
) -> Label:
    """Return box and outline of a label, cut to the image where it leaves it by at most two pixels.

    A closing point that repeats the first is dropped. An outline that is nothing but a rectangle along
    the axes is a box, and its outline None.

    Args:
        name: class.
        rings: flat x, y in pixels.
        size: (width, height) of the image.
        where: file and label, for the message.

    Raises:
        DatasetError: less than three points, not finite, empty, or outside the image.
    """
    shape: Shape = []
    for ring in rings:
        points = np.asarray(ring, np.float64)
        if points.size < 6 or points.size % 2 or not np.isfinite(points).all():
            raise DatasetError(
                f"{where}: the outline of {name} has a ring of {points.size} numbers; a ring needs at "
                "least three points x, y. Correct the label"
            )
        shape.append(_cut(points.reshape(-1, 2), size))
    corners = np.concatenate([np.asarray(ring).reshape(-1, 2) for ring in shape])
    (x1, y1), (x2, y2) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    box = settle_box((name, x1, y1, x2, y2), size, where)
    if any(len(ring) < 6 for ring in shape):
        raise DatasetError(f"{where}: the outline of {name} has no area; correct the label")
    return box, None if _is_box(shape) else shape


def _cut(points: NDArray[np.float64], size: tuple[int, int]) -> list[float]:
    limit = np.asarray(size, np.float64)
    over = max(float((-points).max()), float((points - limit).max()))
    if over <= SLACK:
        points = np.clip(points, 0, limit)
    points = np.round(points, 3)
    if len(points) > 3 and (points[0] == points[-1]).all():
        points = points[:-1]
    return [float(v) for v in points.ravel()]


def _is_box(shape: Shape) -> bool:
    if len(shape) != 1 or len(shape[0]) != 8:
        return False
    points = [(shape[0][i], shape[0][i + 1]) for i in range(0, 8, 2)]
    across = {p[0] for p in points}, {p[1] for p in points}
    return (
        len(set(points)) == 4
        and len(across[0]) == len(across[1]) == 2
        and all((a[0] == b[0]) != (a[1] == b[1]) for a, b in pairwise(points))
    )


def box_ring(box: tuple[float, float, float, float]) -> list[float]:
    """Return the four corners of a box as a ring."""
    x1, y1, x2, y2 = box
    return [x1, y1, x2, y1, x2, y2, x1, y2]


def one_ring(shape: Shape) -> list[float]:
    """Return several rings as one, joined by bridges without width: the same inside, odd rings counted."""
    first = shape[0]
    ring = list(first)
    for other in shape[1:]:
        ring += [*first[:2], *other, *other[:2]]
    return ring if len(shape) == 1 else [*ring, *first[:2]]


def has_holes(shape: Shape, size: tuple[int, int]) -> bool:
    """Return whether rings overlap, so that the area of all rings together is not the shape's."""
    if len(shape) == 1:
        return False
    together = np.zeros((size[1], size[0]), bool)
    for ring in shape:
        together |= mask_of([ring], size)
    return bool((together != mask_of(shape, size)).any())
