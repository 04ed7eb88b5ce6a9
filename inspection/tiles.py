"""A frame cut into tiles, and what was found in them made one.

    cut ─▶ (network) ─▶ Detections of each tile ─▶ merge: whole boxes ─▶ partial boxes ─▶ joined boxes

A box that touches a border between tiles was cut there: it is partial. Of one class,

* whole boxes of different tiles are one object when they overlap by `iou`;
* a partial box belongs to a whole one that is larger, crosses the border and covers half of it, or
  that overlaps by `iou`;
* partial boxes that no tile saw whole are one object when they continue each other over the border,
  one covers half of another that its border cut, or they overlap by `iou`.

No object takes two boxes that one tile told apart. An object has the box around all that it stands for,
the highest of their scores, and at least the largest of their areas. So no limit of score, size or area,
and no region of a recipe, lets a part pass because boxes were merged: `inspection.regions` never judges
a larger box less. A whole box inside another is kept: it may be a defect of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspection.outlines import join
from inspection.types import MASK_STRIDE, Detections, Release, Tiling

Tile = tuple[int, int, int, int]
"""x1 y1 x2 y2, image pixels, far edges exclusive."""
MOST_TOGETHER = 8
"""Most tiles in one batch: more are not faster, and memory stays bounded."""
MOST_BYTES = 32 << 20
"""Most bytes of one batch, of pictures and of masks each: the service refuses a body over 64 MiB."""
COVERED = 0.5
"""Share of a partial box that a whole one must cover to stand for it."""
_MASKS = 32


def tiles_together(release: Release) -> int:
    """Return how many tiles of a release are shown to the network at once; 1 without tiling.

    A batch is as small as keeps its pictures, uint8, within 32 MiB; for task `segment` also 32 masks
    for each tile, float32. One picture is always shown, however large.
    """
    if release.tiling is None:
        return 1
    height, width = release.input_size
    each = height * width * 3
    if release.task == "segment":
        each = max(each, _MASKS * (height // MASK_STRIDE) * (width // MASK_STRIDE) * 4)
    return min(max(MOST_BYTES // each, 1), MOST_TOGETHER)


def cut(image_size: tuple[int, int], tiling: Tiling | None) -> list[Tile]:
    """Return the tiles of an image, row by row; together they cover it.

    The last row and column are shifted inward. An image smaller than a tile is one tile of its own
    size. Without tiling there is one tile, the image.

    Args:
        image_size: (height, width), pixels.
        tiling: how to cut.
    """
    height, width = image_size
    tile_height, tile_width = tiling.size if tiling else image_size
    overlap = tiling.overlap if tiling else 0.0
    return [
        (x, y, min(x + tile_width, width), min(y + tile_height, height))
        for y in _starts(height, tile_height, overlap)
        for x in _starts(width, tile_width, overlap)
    ]


def _starts(length: int, tile: int, overlap: float) -> list[int]:
    if length <= tile:
        return [0]
    step = max(1, int(tile * (1 - overlap)))
    return [*range(0, length - tile, step), length - tile]


def merge(
    found: Sequence[Detections],
    tiles: Sequence[Tile],
    image_size: tuple[int, int],
    iou: float = 0.5,
) -> Detections:
    """Make one answer of the answers of all tiles; see the module's docstring.

    Args:
        found: what each tile shows, in pixels of the whole image.
        tiles: the tiles, in the same order.
        image_size: (height, width) of the image.
        iou: `Tiling.iou`.

    Returns:
        Detections of the image, scores descending; the same whatever the order of the tiles. The
        anomaly score is the highest.
    """
    if len(found) == 1:
        return found[0]
    rows = _concatenate(found)
    numbers = np.repeat(np.arange(len(found)), [len(one) for one in found])
    order = _order(rows, numbers)
    rows, numbers = rows.take(order), numbers[order]
    marks = _Marks.of(rows.boxes, np.asarray(tiles, np.float64)[numbers], numbers, image_size)
    pairs = _Pairs.of(rows.boxes, rows.classes, marks)
    objects = _Objects(numbers)
    _join_whole(objects, marks, pairs, iou)
    _give_partial(objects, marks, pairs, rows.boxes, iou)
    _join_partial(objects, marks, pairs, rows.boxes, iou)
    return _answer(rows, objects.lead, marks.partial)


class _Objects:
    """Which rows are one object: every row names its lead, the best row of its object.

    Attributes:
        lead: [N], index of a row; its own for a lead.
    """

    def __init__(self, numbers: NDArray[np.intp]) -> None:
        self.lead = np.arange(len(numbers))
        self._numbers = numbers
        self._tiles: dict[int, frozenset[int]] = {}

    def tiles(self, lead: int) -> frozenset[int]:
        """Return the tiles that told this object apart from others."""
        return self._tiles.get(lead) or frozenset({int(self._numbers[lead])})

    def give(self, row: int, lead: int) -> None:
        """Make a row part of an object; its tile may have other parts of it."""
        self.lead[row] = lead

    def unite(self, one: int, other: int) -> None:
        """Make two objects one, unless a tile told them apart."""
        one, other = int(self.lead[one]), int(self.lead[other])
        if one == other or self.tiles(one) & self.tiles(other):
            return
        one, other = min(one, other), max(one, other)
        self._tiles[one] = self.tiles(one) | self.tiles(other)
        self.lead[self.lead == other] = one


@dataclass(frozen=True, slots=True)
class _Marks:
    """Where each box was found and what cut it.

    Attributes:
        numbers: [N], number of the tile.
        borders: [N, 4], x1 y1 x2 y2 of that tile.
        slack: [N, 4], so near to a border is at it, pixels.
        cuts: [N, 4], True where a border between tiles cut the box: left, top, right, bottom.
        partial: [N], True for a box that any border cut.
    """

    numbers: NDArray[np.intp]
    borders: NDArray[np.float64]
    slack: NDArray[np.float64]
    cuts: NDArray[np.bool_]
    partial: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        boxes: NDArray[np.float32],
        borders: NDArray[np.float64],
        numbers: NDArray[np.intp],
        image_size: tuple[int, int],
    ) -> _Marks:
        height, width = image_size
        borders = borders.reshape(-1, 4)
        inner = borders != np.array([0, 0, width, height])
        sides = borders[:, 2:] - borders[:, :2]
        slack = np.maximum(2.0, 0.01 * np.hstack([sides, sides]))
        cuts = inner & (np.abs(boxes - borders) <= slack)
        return cls(numbers, borders, slack, cuts, cuts.any(axis=1))


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Rows of one class and of different tiles whose boxes meet, or nearly.

    Attributes:
        a: [P], the better row of each pair.
        b: [P], the other.
        common: [P], common area, square pixels.
        iou: [P], intersection over union.
    """

    a: NDArray[np.intp]
    b: NDArray[np.intp]
    common: NDArray[np.float64]
    iou: NDArray[np.float64]

    @classmethod
    def of(cls, boxes: NDArray[np.float32], classes: NDArray[np.int64], marks: _Marks) -> _Pairs:
        near = float(marks.slack.max(initial=0.0))
        low, high = boxes[:, :2] - near, boxes[:, 2:] + near
        apart = float(np.ptp(boxes)) + 4 * near + 1 if len(boxes) else 0.0
        start, end = low[:, 0] + classes * apart, high[:, 0] + classes * apart
        order = np.argsort(start, kind="stable")  # a sweep over x, one class after the other
        last = np.searchsorted(start[order], end[order], side="right")
        counts = np.maximum(last - np.arange(len(order)) - 1, 0)
        first = np.repeat(np.arange(len(order)), counts)
        second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
        a, b = order[first], order[second]
        meet = (low[a, 1] <= high[b, 1]) & (low[b, 1] <= high[a, 1])
        meet &= (classes[a] == classes[b]) & (marks.numbers[a] != marks.numbers[b])
        a, b = np.minimum(a, b)[meet], np.maximum(a, b)[meet]
        common = _areas(
            np.hstack(
                [np.maximum(boxes[a, :2], boxes[b, :2]), np.minimum(boxes[a, 2:], boxes[b, 2:])]
            )
        )
        union = _areas(boxes[a]) + _areas(boxes[b]) - common
        iou = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
        return cls(a, b, common, iou)

    def only(self, which: NDArray[np.bool_]) -> _Pairs:
        return _Pairs(self.a[which], self.b[which], self.common[which], self.iou[which])

    def each(self, *keys: NDArray[Any]) -> list[tuple[int, int]]:
        """Return the pairs (a, b) sorted by the keys, the first the strongest, then by a and b."""
        order = np.lexsort((self.b, self.a, *reversed(keys)))
        return list(zip(self.a[order].tolist(), self.b[order].tolist(), strict=True))


def _join_whole(objects: _Objects, marks: _Marks, pairs: _Pairs, iou: float) -> None:
    """Unite whole boxes with the best one of their object."""
    both = ~marks.partial[pairs.a] & ~marks.partial[pairs.b] & (pairs.iou >= iou)
    near = pairs.only(both)
    for a, b in near.each(near.a, -near.iou):
        if objects.lead[a] == a and objects.lead[b] == b:
            objects.unite(a, b)


def _give_partial(
    objects: _Objects, marks: _Marks, pairs: _Pairs, boxes: NDArray[np.float32], iou: float
) -> None:
    """Give partial boxes to the whole one that they are a part of."""
    mixed = pairs.only(marks.partial[pairs.a] != marks.partial[pairs.b])
    is_a = marks.partial[mixed.a]
    part, whole = np.where(is_a, mixed.a, mixed.b), np.where(is_a, mixed.b, mixed.a)
    mixed = _Pairs(part, whole, mixed.common, mixed.iou)
    larger = (_longer(boxes[whole]) >= _longer(boxes[part])) & (
        _areas(boxes[whole]) >= _areas(boxes[part])
    )
    fits = mixed.only((mixed.iou >= iou) | (larger & _covers(mixed, marks, boxes)))
    for row, lead in fits.each(fits.a, -fits.common):
        free = objects.lead[row] == row and objects.lead[lead] == lead
        if free and int(marks.numbers[row]) not in objects.tiles(lead):
            objects.give(row, lead)


def _join_partial(
    objects: _Objects, marks: _Marks, pairs: _Pairs, boxes: NDArray[np.float32], iou: float
) -> None:
    """Join partial boxes that no tile saw whole; those that fit best first."""
    left = marks.partial & (objects.lead == np.arange(len(boxes)))
    here = pairs.only(left[pairs.a] & left[pairs.b])
    back = _Pairs(here.b, here.a, here.common, here.iou)
    fits = (here.iou >= iou) | _covers(here, marks, boxes) | _covers(back, marks, boxes)
    fits |= _continues(here, marks, boxes) | _continues(back, marks, boxes)
    here = here.only(fits)
    for a, b in here.each(-here.iou):
        objects.unite(a, b)


def _covers(pairs: _Pairs, marks: _Marks, boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell where b reaches a border that cut a, and covers half of a."""
    a, b = pairs.a, pairs.b
    border, slack = marks.borders[a], marks.slack[a]
    reaches = np.hstack(
        [
            boxes[b, :2] <= border[:, :2] + slack[:, :2],
            boxes[b, 2:] >= border[:, 2:] - slack[:, 2:],
        ]
    )
    half = (pairs.common > 0) & (pairs.common >= COVERED * _areas(boxes[a]))
    return half & (reaches & marks.cuts[a]).any(axis=1)


def _continues(pairs: _Pairs, marks: _Marks, boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell where b goes on, to the right or below, where the border of a's tile cut a."""
    a, b = pairs.a, pairs.b
    continues = np.zeros(len(a), bool)
    for axis in (0, 1):
        across = 1 - axis
        end, start = marks.borders[a, axis + 2], marks.borders[b, axis]
        slack = marks.slack[a, axis]
        continues |= (
            (
                np.minimum(boxes[a, across + 2], boxes[b, across + 2])
                > np.maximum(boxes[a, across], boxes[b, across])
            )
            & marks.cuts[a, axis + 2]
            & marks.cuts[b, axis]
            & (marks.borders[a, axis] < start)
            & (start <= end)
            & (boxes[a, axis] <= start + slack)
            & (boxes[b, axis + 2] >= end - slack)
        )
    return continues


def _order(rows: Detections, numbers: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the rows by falling score; equal ones by place, so that the order of tiles is nothing."""
    return np.lexsort((numbers, rows.classes, *rows.boxes.T[::-1], -rows.scores))


def _concatenate(found: Sequence[Detections]) -> Detections:
    scores = [one.anomaly_score for one in found if one.anomaly_score is not None]
    outlines = [one.outlines for one in found if one.outlines is not None]
    areas = [one.areas for one in found if one.areas is not None]
    return replace(
        found[0],
        boxes=np.concatenate([one.boxes for one in found]),
        scores=np.concatenate([one.scores for one in found]),
        classes=np.concatenate([one.classes for one in found]),
        anomaly_score=max(scores) if scores else None,
        outlines=tuple(outline for one in outlines for outline in one) if outlines else None,
        areas=np.concatenate(areas) if areas else None,
    )


def _answer(rows: Detections, lead: NDArray[np.intp], partial: NDArray[np.bool_]) -> Detections:
    """Return one row for each object: the box around its rows, the best score, the largest area."""
    leads, place = np.unique(lead, return_inverse=True)
    merged = rows.take(leads)
    scores = merged.scores.copy()
    low, high = merged.boxes[:, :2].copy(), merged.boxes[:, 2:].copy()
    np.maximum.at(scores, place, rows.scores)
    np.minimum.at(low, place, rows.boxes[:, :2])
    np.maximum.at(high, place, rows.boxes[:, 2:])
    merged = replace(merged, scores=scores, boxes=np.hstack([low, high]))
    merged = _with_outlines(merged, rows, place, partial[leads])
    return merged.take(_order(merged, leads))


def _with_outlines(
    merged: Detections, rows: Detections, place: NDArray[np.intp], in_pieces: NDArray[np.bool_]
) -> Detections:
    """Return the objects with the outline of their largest row, or around all pieces of one in pieces."""
    if merged.outlines is None or rows.outlines is None or rows.areas is None:
        return merged
    outlines, areas = list(merged.outlines), np.zeros(len(merged), np.float32)
    np.maximum.at(areas, place, rows.areas)
    for number in np.flatnonzero(np.bincount(place) > 1).tolist():
        own = np.flatnonzero(place == number)
        outlines[number] = rows.outlines[own[np.argmax(rows.areas[own])]]
        if in_pieces[number]:
            parts = [rows.outlines[i] for i in own]
            box, sizes = merged.boxes[number], rows.areas[own].tolist()
            outlines[number], areas[number] = join(parts, sizes, box)
    return replace(merged, outlines=tuple(outlines), areas=areas)


def _areas(boxes: NDArray[np.float32]) -> NDArray[np.float64]:
    sides = np.clip(boxes[:, 2:].astype(np.float64) - boxes[:, :2], 0, None)
    return sides[:, 0] * sides[:, 1]


def _longer(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.max(boxes[:, 2:] - boxes[:, :2], axis=1)
