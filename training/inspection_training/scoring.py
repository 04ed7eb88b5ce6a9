"""What the line would do with a part at any limit: scores of whole parts, found by `judge` itself.

The score of a part for a defect class is the highest limit at which `inspection.decide.judge` still stops
the part for that class: regions, minimum size and allowed counts are in it. So the rule for limits and the
line cannot disagree: a part passes exactly when every class's score lies under its T1 and everything that
must be there is there.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from inspection.decide import ANOMALY_CLASS, judge
from inspection.types import ClassLimits, Decision, Detections, Recipe
from inspection_datasets.manifest import Sample

COUNT = "(count)"
"""Stands for a part on which something that must be there is missing or doubled."""
_ANY = 10**9


def must_be_there(recipe: Recipe) -> set[str]:
    """Return the classes that are no defects: the recipe expects a number of them."""
    whole = {name for name, limits in recipe.limits.items() if limits.expected is not None}
    return whole.union(*(region.expected for region in recipe.regions))


def defects_of(sample: Sample, recipe: Recipe) -> set[str]:
    """Return what is wrong with a part by its labels: defect classes, and `COUNT` for wrong numbers.

    A labelled defect counts wherever it is: a recipe that does not look there lets it escape. Of a part
    whose whole picture has a label nothing was counted: its numbers are taken for right, and for wrong only
    where the label names something that must be there.
    """
    if sample.label is not None:
        return _defect_of_picture(sample.label, recipe)
    names = [box[0] for box in sample.boxes]
    there = must_be_there(recipe)
    found = {name for name in names if name not in there}
    if ANOMALY_CLASS in recipe.limits and ANOMALY_CLASS not in names and found:
        return {ANOMALY_CLASS}
    wrong = any(
        x.expected is not None and names.count(name) != x.expected
        for name, x in recipe.limits.items()
    )
    for region in recipe.regions:
        x1, y1, x2, y2 = region.box
        inside = [
            box[0]
            for box in sample.boxes
            if x1 <= (box[1] + box[3]) / 2 <= x2 and y1 <= (box[2] + box[4]) / 2 <= y2
        ]
        wrong = wrong or any(inside.count(n) != count for n, count in region.expected.items())
    return found | {COUNT} if wrong else found


def _defect_of_picture(label: str, recipe: Recipe) -> set[str]:
    if label in must_be_there(recipe):
        return {COUNT}
    anomalies = ANOMALY_CLASS in recipe.limits
    return {ANOMALY_CLASS} if anomalies else {label}


def part_score(detections: Detections, name: str, recipe: Recipe) -> float:
    """Return the highest limit at which the part is stopped for this class; 0 when at none.

    Args:
        detections: of the whole part.
        name: a defect class, or `anomaly` for the anomaly score.
        recipe: regions, minimum sizes and allowed counts; its T1 and T2 are not used.
    """
    own = _only(detections, {name})
    scores = {float(s) for s in own.scores}
    if own.anomaly_score is not None:
        scores.add(own.anomaly_score)
    candidates = sorted(score for score in scores if score > 0)
    low, high = 0, len(candidates)  # stopped at every candidate before `low`, at none from `high`
    while low < high:
        middle = (low + high) // 2
        if _stops(own, name, recipe, candidates[middle]):
            low = middle + 1
        else:
            high = middle
    return candidates[low - 1] if low else 0.0


def _stops(own: Detections, name: str, recipe: Recipe, limit: float) -> bool:
    limits = {other: ClassLimits(1.0, 1.0, allowed=_ANY) for other in recipe.limits}
    limits[name] = replace(recipe.limits[name], t1=limit, t2=limit, expected=None)
    # a region that counts what must be there restricts nothing; without its count it would
    regions = tuple(
        replace(region, expected={})
        for region in recipe.regions
        if region.ignore or not region.expected
    )
    lone = replace(recipe, limits=limits, regions=regions)
    return judge(own, lone).decision is not Decision.PASS


def count_decision(detections: Detections, recipe: Recipe) -> Decision:
    """Return what the line decides of a part for the things that must be there alone."""
    return judge(_only(detections, must_be_there(recipe)), recipe).decision


def _only(detections: Detections, names: set[str]) -> Detections:
    wanted = [i for i, name in enumerate(detections.class_names) if name in names]
    keep = np.isin(detections.classes, wanted)
    return replace(
        detections.take(np.flatnonzero(keep)),
        anomaly_score=detections.anomaly_score if ANOMALY_CLASS in names else None,
    )
