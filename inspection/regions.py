"""Which detections the regions of a recipe leave: a defect by its whole box, a thing by its place.

    may be a defect:   ignored ◀── the box lies wholly in a region that ignores
                       judged  ◀── the box meets a region that is for its class, or none is for it
    must be there:     counted ◀── the same, by the centre of the box

A larger box is never judged less than one inside it: merging boxes of tiles, or a model that draws them
large, cannot hide a defect. A thing that must be there lies in one place only, so that two places cannot
both count it; its centre says in which.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from inspection.types import Detections, Recipe, Region

_Lies = Callable[[Detections, Region], NDArray[np.bool_]]


def judged(detections: Detections, recipe: Recipe) -> NDArray[np.bool_]:
    """Return [N], True for what counts against the limits of its class.

    A class is looked for in the regions that are for it; where none is, in the whole image. A region
    that expects a count hides nothing: what is found beside it counts as everywhere else. A common edge
    is enough for a box to meet a region. A class whose limits expect a count is counted by its centre.
    """
    by_box = _left(detections, recipe, _boxes_meet, _boxes_inside)
    by_place = placed(detections, recipe)
    expected = [recipe.limits[name].expected is not None for name in detections.class_names]
    return np.where(np.asarray(expected, bool)[detections.classes], by_place, by_box)


def placed(detections: Detections, recipe: Recipe) -> NDArray[np.bool_]:
    """Return [N], True for what may be counted as something that must be there: all by the centre."""
    return _left(detections, recipe, _centres_inside, _centres_inside)


def counted_in(detections: Detections, region: Region) -> NDArray[np.bool_]:
    """Return [N], True for what has its centre in a region, edges included, and is of its classes."""
    return _centres_inside(detections, region) & _of_classes(detections, region)


def _left(
    detections: Detections, recipe: Recipe, looked_at: _Lies, ignored: _Lies
) -> NDArray[np.bool_]:
    """Return what regions leave, by what it means to lie in one that is looked at, or ignored."""
    left = np.ones(len(detections), bool)
    if not recipe.regions:
        return left
    for index, name in enumerate(detections.class_names):
        own = [
            looked_at(detections, region)
            for region in recipe.regions
            if not region.ignore
            and not region.expected
            and (not region.classes or name in region.classes)
        ]
        if own:
            left &= (detections.classes != index) | np.logical_or.reduce(own)
    for region in recipe.regions:
        if region.ignore:
            left &= ~(ignored(detections, region) & _of_classes(detections, region))
    return left


def _boxes_meet(detections: Detections, region: Region) -> NDArray[np.bool_]:
    (x1, y1, x2, y2), (left, top, right, bottom) = region.box, _edges(detections)
    return (left <= x2) & (right >= x1) & (top <= y2) & (bottom >= y1)


def _boxes_inside(detections: Detections, region: Region) -> NDArray[np.bool_]:
    (x1, y1, x2, y2), (left, top, right, bottom) = region.box, _edges(detections)
    return (left >= x1) & (right <= x2) & (top >= y1) & (bottom <= y2)


def _centres_inside(detections: Detections, region: Region) -> NDArray[np.bool_]:
    (x1, y1, x2, y2), (left, top, right, bottom) = region.box, _edges(detections)
    x, y = (left + right) / 2, (top + bottom) / 2
    return (x >= x1) & (x <= x2) & (y >= y1) & (y <= y2)


def _edges(detections: Detections) -> NDArray[np.float64]:
    """Return left, top, right, bottom [4, N] in order; float64, so that a region's edge is as written."""
    corners = detections.boxes.astype(np.float64).reshape(-1, 2, 2)
    return np.hstack([corners.min(axis=1), corners.max(axis=1)]).T


def _of_classes(detections: Detections, region: Region) -> NDArray[np.bool_]:
    if not region.classes:
        return np.ones(len(detections), bool)
    wanted = [i for i, name in enumerate(detections.class_names) if name in region.classes]
    return np.isin(detections.classes, wanted)
