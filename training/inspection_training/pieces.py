"""What the network sees at once of a training sample: all of it, or a tile, as the line will show it.

    sample ─▶ plan_views (the line's own) ─▶ a piece for each view, with the labels that it shows
        ─▶ pieces without a defect up to their share ─▶ draw (the line's own `fill`)

A label belongs to every tile that shows at least `MIN_VISIBLE` of what the best tile shows of it, so a
defect longer than a tile is learned too, piece by piece. A tile that shows less than that of a defect, and
no other one, is left out: it is no example of a defect, and none of a good part. Where it shows another one,
what it shows of the first is painted over for the training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inspection.letterbox import PAD, View, fill, plan_views
from inspection.tiles import Tile
from inspection.types import Image, Tiling
from inspection_datasets.manifest import Sample, Shape
from inspection_datasets.shapes import one_ring
from inspection_training.experiment import Experiment

MIN_VISIBLE = 0.4
"""A label is learned from a picture that shows at least this share of it; of less it is painted over."""

Points = NDArray[np.float32]
"""float32 [K, 2]: corners x, y of a closed polygon; inside is what an odd number of turns encloses."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One view of a sample with the labels that it shows.

    Attributes:
        sample: where it comes from.
        view: which part of it, and how that lies in the network's input.
        names: class of each label.
        boxes: float32 [N, 4], x1 y1 x2 y2 in network pixels, cut to the view.
        outlines: for each label its outline in network pixels, cut to the view; None: it was a box.
        hidden: float32 [M, 4], boxes of what is painted over: remains of labels that are not learned here.
    """

    sample: Sample
    view: View
    names: tuple[str, ...]
    boxes: NDArray[np.float32]
    outlines: tuple[Points | None, ...]
    hidden: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Part:
    """What a tile shows of a label, image pixels.

    Attributes:
        box: x1 y1 x2 y2, cut to the tile.
        share: visible share of the label's area, 0..1.
        shape: rings, cut to the tile; None: the label is a box.
    """

    box: tuple[float, float, float, float]
    share: float
    shape: Shape | None


def tiling_of(experiment: Experiment) -> Tiling | None:
    """Return how an experiment cuts pictures; None: it shows them whole."""
    return Tiling(experiment.tile, experiment.tile_overlap) if experiment.tile else None


def pieces_of(samples: Sequence[Sample], experiment: Experiment, *, learn: bool) -> list[Piece]:
    """Return the pieces of samples, in order.

    Args:
        samples: labelled or good.
        experiment: size of the network, `tile`, `tile_overlap`, and `good_share` for tiles.
        learn: leave out tiles without a defect over `good_share`, and paint over what is left of a label
            that a tile hardly shows; False: all tiles stay, as the line shows them.
    """
    tiling = tiling_of(experiment)
    found: list[Piece] = []
    for sample in samples:
        views = plan_views((sample.height, sample.width), experiment.network_size, tiling)
        found += _pieces(sample, views, hide=learn)
    if not learn or tiling is None:
        return found
    empty = [index for index, piece in enumerate(found) if not piece.names]
    full = len(found) - len(empty)
    room = min(round(full * experiment.good_share / (1 - experiment.good_share)), len(empty))
    step = len(empty) / room if room else 1.0
    kept = {empty[int(i * step)] for i in range(room)}
    return [piece for index, piece in enumerate(found) if piece.names or index in kept]


def draw(image: Image, piece: Piece, size: tuple[int, int]) -> Image:
    """Return a piece of a sample's picture as the network's input, uint8 RGB [H, W, 3]."""
    return paint_over(fill(image, [piece.view], size)[0], piece.hidden, piece.boxes)


def paint_over(image: Image, hidden: NDArray[np.float32], kept: NDArray[np.float32]) -> Image:
    """Return a picture in which nothing defective is shown without a label: the rest of it is grey 114.

    What is inside a label that stays is not changed: it is learned as a defect.

    Args:
        image: uint8 [H, W, 3]; not changed.
        hidden: float32 [M, 4], x1 y1 x2 y2 of what lost its label.
        kept: float32 [N, 4], labels that stay.
    """
    if not len(hidden):
        return image
    painted = image.copy()
    for place in _whole_pixels(hidden):
        painted[place] = PAD
    for place in _whole_pixels(kept):
        painted[place] = image[place]
    return painted


def _whole_pixels(boxes: NDArray[np.float32]) -> list[tuple[slice, slice]]:
    """Return rows and columns of every pixel that a box touches."""
    low = np.maximum(np.floor(boxes[:, :2]), 0).astype(int).tolist()
    high = np.maximum(np.ceil(boxes[:, 2:]), 0).astype(int).tolist()
    return [(slice(y1, y2), slice(x1, x2)) for (x1, y1), (x2, y2) in zip(low, high, strict=True)]


def outline_points(piece: Piece, index: int) -> Points:
    """Return the outline of a label of a piece; the corners of its box where there is none."""
    outline = piece.outlines[index]
    if outline is not None:
        return outline
    x1, y1, x2, y2 = piece.boxes[index].tolist()
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.float32)


def _pieces(sample: Sample, views: Sequence[View], *, hide: bool) -> list[Piece]:
    shapes = sample.shapes or [None] * len(sample.boxes)
    labels = list(zip(sample.boxes, shapes, strict=True))
    shown = [[_part(box[1:], shape, view.tile) for box, shape in labels] for view in views]
    best = [max(parts[i].share for parts in shown) for i in range(len(labels))]
    pieces: list[Piece] = []
    for view, parts in zip(views, shown, strict=True):
        kept = [i for i, part in enumerate(parts) if part.share >= max(MIN_VISIBLE * best[i], 1e-9)]
        if kept or all(part.share == 0 for part in parts):
            rest = [p.box for i, p in enumerate(parts) if hide and p.share > 0 and i not in kept]
            pieces.append(_piece(sample, view, [(labels[i][0][0], parts[i]) for i in kept], rest))
    return pieces


def _piece(
    sample: Sample,
    view: View,
    parts: Sequence[tuple[str, _Part]],
    rest: Sequence[tuple[float, float, float, float]],
) -> Piece:
    corner = np.array([*view.tile[:2], *view.tile[:2]], np.float32)
    boxes = np.array([part.box for _, part in parts], np.float32).reshape(-1, 4) - corner
    hidden = np.array(rest, np.float32).reshape(-1, 4) - corner
    outlines: list[Points | None] = []
    for _, part in parts:
        if part.shape is None:
            outlines.append(None)
            continue
        ring = np.asarray(one_ring(part.shape), np.float32).reshape(1, -1, 2) - corner[:2]
        outlines.append(view.placed.to_network(np.tile(ring[0], 2))[:, :2])
    names = tuple(name for name, _ in parts)
    to_network = view.placed.to_network
    return Piece(sample, view, names, to_network(boxes), tuple(outlines), to_network(hidden))


def _part(box: tuple[float, float, float, float], shape: Shape | None, tile: Tile) -> _Part:
    """Return what a tile shows of a label; share 0 where it shows nothing."""
    x1, y1 = max(box[0], tile[0]), max(box[1], tile[1])
    x2, y2 = min(box[2], tile[2]), min(box[3], tile[3])
    if x1 >= x2 or y1 >= y2:
        return _Part(box, 0.0, None)
    if (x1, y1, x2, y2) == tuple(box):
        return _Part(box, 1.0, shape)
    if shape is None:
        whole = (box[2] - box[0]) * (box[3] - box[1])
        return _Part((x1, y1, x2, y2), (x2 - x1) * (y2 - y1) / whole, None)
    cut = [ring for ring in (clip_ring(ring, tile) for ring in shape) if len(ring) >= 6]
    area = sum(map(_area, cut))
    if area <= 0:
        return _Part(box, 0.0, None)
    xs, ys = [x for ring in cut for x in ring[::2]], [y for ring in cut for y in ring[1::2]]
    share = min(area / max(sum(map(_area, shape)), area), 1.0)
    return _Part((min(xs), min(ys), max(xs), max(ys)), share, cut)


def clip_ring(ring: Sequence[float], tile: Tile) -> list[float]:
    """Return the part of a ring inside a tile, flat x, y; empty when there is none.

    Sutherland and Hodgman (1974). Pieces that hang together only outside the tile are joined along its
    border by edges without width.
    """
    points = [(ring[i], ring[i + 1]) for i in range(0, len(ring), 2)]
    for axis, edge, sign in ((0, tile[0], 1), (1, tile[1], 1), (0, tile[2], -1), (1, tile[3], -1)):
        before, points = points, []
        for index, there in enumerate(before):
            here = before[index - 1]
            inside = sign * (there[axis] - edge) >= 0
            if inside != (sign * (here[axis] - edge) >= 0):
                along = (edge - here[axis]) / (there[axis] - here[axis])
                across = here[1 - axis] + along * (there[1 - axis] - here[1 - axis])
                points.append((edge, across) if axis == 0 else (across, edge))
            if inside:
                points.append(there)
    return [float(value) for point in points for value in point]


def _area(ring: Sequence[float]) -> float:
    x, y = np.asarray(ring[::2], np.float64), np.asarray(ring[1::2], np.float64)
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
