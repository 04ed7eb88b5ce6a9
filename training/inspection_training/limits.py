"""Choose T1 and T2 on the val images, which the network never learned from.

The rule, for defect classes, works on whole parts, since whole parts are passed or rejected. Let s be
the highest score of any defect class on a part.

* T2: as low as possible while at most `max_overkill` of the good val parts have s >= T2.
* T1: as low as possible while at most `max_overkill + max_review` of them have s >= T1; never over T2.

Each limit is put in the middle (of the logits) of the gap between the good part it must pass and the
next higher part, so that it does not sit on one picture's score. All defect classes share the limits.
A class that must be there gets one limit, in the middle of the range that counts most val parts right.

No escape rate is claimed here: `inspection limits` sets limits by order statistics on held-out defects,
and says what they support (`claims`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inspection.release import LimitsCard
from inspection.types import Detections
from inspection_datasets.manifest import Sample
from inspection_training.evaluate import is_defective
from inspection_training.experiment import Experiment

LOWEST = 0.05
"""No limit is set lower: scores there are noise that any new lot may exceed."""
WITHOUT_VAL = LimitsCard(t1=0.25, t2=0.5, min_size=0)


def choose_limits(
    classes: Sequence[str],
    samples: Sequence[Sample],
    found: Sequence[Detections],
    experiment: Experiment,
) -> dict[str, LimitsCard]:
    """Return limits for every class; without good val parts, 0.25 and 0.5."""
    expected = experiment.expected
    bad = np.array([is_defective(sample, expected) for sample in samples], bool)
    defects = [index for index, name in enumerate(classes) if name not in expected]
    highest = np.array([_highest(detections, defects) for detections in found])
    shared = WITHOUT_VAL
    if (~bad).any():
        share = experiment.max_overkill
        t2 = _lowest_limit(highest[~bad], highest[bad], share)
        t1 = _lowest_limit(highest[~bad], highest[bad], share + experiment.max_review)
        shared = LimitsCard(t1=min(t1, t2), t2=t2, min_size=0)
    limits = dict.fromkeys(classes, shared)
    for name, count in expected.items():
        limit = _counting_limit(list(classes).index(name), name, count, samples, found)
        limits[name] = LimitsCard(t1=limit, t2=limit, min_size=0, expected=count)
    return limits


def _highest(detections: Detections, classes: list[int]) -> float:
    scores = detections.scores[np.isin(detections.classes, classes)]
    return float(scores.max()) if scores.size else 0.0


def _lowest_limit(good: NDArray[np.float64], bad: NDArray[np.float64], share: float) -> float:
    """Return the lowest limit that at most `share` of the good parts reach, within its gap."""
    descending = np.sort(good)[::-1]
    allowed = math.floor(share * len(good) + 1e-9)
    below = float(descending[allowed]) if allowed < len(good) else 0.0
    higher = np.concatenate([descending[:allowed], bad])
    higher = higher[higher > below]
    above = float(higher.min()) if higher.size else 1.0
    middle = 1 / (1 + math.exp(-(_logit(below) + _logit(above)) / 2))
    return min(math.ceil(max(middle, below + 1e-6, LOWEST) * 1e4) / 1e4, 1.0)


def _logit(score: float) -> float:
    score = min(max(score, 0.01), 0.99)
    return math.log(score / (1 - score))


def _counting_limit(
    index: int, name: str, count: int, samples: Sequence[Sample], found: Sequence[Detections]
) -> float:
    candidates = np.linspace(LOWEST, 0.95, 91)
    right = np.zeros(len(candidates), int)
    for sample, detections in zip(samples, found, strict=True):
        complete = sum(box[0] == name for box in sample.boxes) == count
        scores = detections.scores[detections.classes == index]
        seen = (scores[None, :] >= candidates[:, None]).sum(axis=1) == count
        right += seen == complete
    best = candidates[right == right.max()] if len(samples) else np.array([0.5])
    return round(float(np.median(best)), 4)
