"""Limits of a model that learned from good parts only, what they support, and its measurement.

T2 keeps the overkill wanted, by the order statistics of held-out good scores: of n good parts, sorted,
the k highest may fail, with k the largest number for which

    P(Binomial(n, max_overkill) <= k) <= 1 - confidence.

T2 stands just over the next score. Then the true overkill is at most `max_overkill` with that confidence,
whatever the scores' distribution, for parts like these (Neyman-Pearson umbrella: Tong, Feng and Li 2018,
with good parts in the place of defects). Where n is too small for any k, T2 stands just over the highest
good score and nothing is claimed. No limit lets a score of 1 through: where more good parts than k have it,
what is claimed is the exact bound of their number.

A part with several pictures is one of the n, with the highest of their scores: its pictures are alike.

T1 is the lowest limit that at most `max_overkill + max_review` of these pictures reach. It is not on the
safe side for the review rate, on purpose: a doubt is looked at by a person rather than passed.

In no case is anything said of escapes: no defective part took part in the choice.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspection.decide import ANOMALY_CLASS
from inspection.release import LimitsCard
from inspection.sentences.claims import release_claim
from inspection.types import ClassLimits, Decision, Detections
from inspection_datasets.claims import classes_of
from inspection_datasets.manifest import DatasetVersion, Sample
from inspection_datasets.parts import parts_of, worst_of
from inspection_training.evaluate import CONFIDENCE, decisions, rate_of, rates_of
from inspection_training.experiment import Experiment
from inspection_training.statistics import allowed_misses, best_claim, parts_needed, upper_bound

Claims = tuple[dict[str, Any], ...]
"""Codes of `inspection.sentences.claims.RELEASE` with their values; a card keeps them."""
NO_ESCAPE: Claims = ({"code": "no_escape_claim", "values": {}},)
NO_ESCAPE_CLAIM = release_claim(NO_ESCAPE, "", "en")
LEAST_SHARE = 1e-6
"""A share under one in a million counts as none: nobody has the parts to show it."""
MARGIN = 1e-4
"""A limit stands this far over the good score it must pass; runtimes differ by less."""


def allowed_fails(n: int, share: float) -> int:
    """Return how many of n good parts may fail so that the true share is kept; -1: n is too small."""
    if share >= 1:
        return n
    return allowed_misses(n, share, 1 - CONFIDENCE) if share >= LEAST_SHARE else -1


def anomaly_limits(
    scores: NDArray[np.float64], parts: Sequence[Hashable], experiment: Experiment
) -> tuple[dict[str, LimitsCard], Claims]:
    """Return the limits of the anomaly score and the claims they support.

    Args:
        scores: of different good pictures that were not learned, at least one.
        parts: part of each.
        experiment: has the overkill and review wanted.
    """
    overkill, pictures = experiment.max_overkill, len(scores)
    highest = np.array(worst_of(scores.tolist(), parts, max), np.float64)
    n = len(highest)
    t2 = _limit(highest, max(allowed_fails(n, overkill), 0))
    t1 = _limit(scores, math.floor((overkill + experiment.max_review) * pictures + 1e-9))
    limits = {ANOMALY_CLASS: LimitsCard(t1=min(t1, t2), t2=t2, min_size=0)}
    values: dict[str, Any] = {"share": overkill, "confidence": CONFIDENCE, "parts": n}
    values |= {"pictures": pictures}
    code, allowed = "overkill_supported", allowed_fails(n, overkill)
    failing = int((highest >= t2).sum())
    if failing > max(allowed, 0):
        values |= {"best": upper_bound(failing, n, CONFIDENCE), "failing": failing}
        code = "overkill_top"
    elif allowed < 0:
        values["best"], code = best_claim(n, 1 - CONFIDENCE), "overkill_unsupported"
        if overkill >= LEAST_SHARE:
            values["needed"] = parts_needed(overkill, 1 - CONFIDENCE) - n
            code = "overkill_needs"
    return limits, ({"code": code, "values": values}, *NO_ESCAPE)


def _limit(scores: NDArray[np.float64], allowed: int) -> float:
    """Return the lowest limit that at most `allowed` scores reach, to four digits."""
    descending = np.sort(scores)[::-1]
    if allowed >= len(descending):
        return 0.0
    return min(math.ceil((float(descending[allowed]) + MARGIN) * 1e4) / 1e4, 1.0)


def part_scores(found: Sequence[Detections]) -> NDArray[np.float64]:
    """Return the anomaly score of each picture; 1 where a model gave none, which never passes."""
    values = [1.0 if x.anomaly_score is None else x.anomaly_score for x in found]
    return np.array(values, np.float64)


def auroc(good: NDArray[np.float64], bad: NDArray[np.float64]) -> float | None:
    """Return the chance that a defective part scores higher than a good one, ties half; None: no parts."""
    from scipy.stats import rankdata

    if not len(good) or not len(bad):
        return None
    ranks = rankdata(np.concatenate([good, bad]))[len(good) :].sum()
    return round(float((ranks - len(bad) * (len(bad) + 1) / 2) / (len(good) * len(bad))), 4)


def measure_anomaly(
    version: DatasetVersion,
    samples: Sequence[Sample],
    found: Sequence[Detections],
    limits: dict[str, ClassLimits],
    split: str,
) -> dict[str, Any]:
    """Return every number of an evaluation, with the keys that a detector's has, and the AUROC.

    A labelled part is defective, by boxes or as a whole picture. Recall of a class: parts that show it and
    do not pass. There are no boxes, so mAP is None.
    """
    bad = np.array([bool(classes_of(sample)) for sample in samples], bool)
    good, scores = ~bad, part_scores(found)
    made, parts = decisions(found, limits), parts_of(samples)
    recall: dict[str, Any] = {}
    for name in version.classes:
        shows = [i for i, sample in enumerate(samples) if name in classes_of(sample)]
        stopped = [made[i] is not Decision.PASS for i in shows]
        recall[name] = rate_of(stopped, [parts[i] for i in shows], all)
    return {
        "split": split,
        "images": len(samples),
        "interval": "Clopper-Pearson, two-sided 95 %",
        **rates_of(made, bad.tolist(), parts),
        "auroc": auroc(scores[good], scores[bad]),
        "class_recall": recall,
        "map50": None,
        "map50_95": None,
        "class_ap50": dict.fromkeys(version.classes),
    }
