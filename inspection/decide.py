"""Detections and recipe to a decision: pure, total, and PASS only when everything was proven.

preconditions ──any fails──▶ NOT_INSPECTED with its reason
│ all hold
▼
judge: regions ─ minimum size and area ─ counts against T1, T2, allowed, expected
├─ at or over T2, too many, too few ─▶ FAIL
├─ between T1 and T2 ────────────────▶ REVIEW
└─ nothing ──────────────────────────▶ PASS ─▶ the part's own code, where the recipe wants one (identity)
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inspection.frame_check import check_frame
from inspection.identity import identify, join
from inspection.regions import counted_in, judged, placed
from inspection.types import (
    ClassLimits,
    Code,
    Decision,
    Detections,
    Frame,
    Reason,
    Recipe,
    Region,
    Release,
    Result,
    Trigger,
)

ANOMALY_CLASS = "anomaly"
_SEVERITY = {Decision.PASS: 0, Decision.REVIEW: 1, Decision.FAIL: 2}


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything a decision rests on. Any part of it missing or doubtful means NOT_INSPECTED.

    Attributes:
        trigger: what the PLC asked.
        recipe: recipe in force when the trigger was taken.
        release: release loaded for that recipe.
        frame: frame of this trigger.
        previous: the frame before it from the same camera, to notice repeats; None for the first.
        live: the camera is a sensor: two identical images mean that it is frozen.
        detections: what the model found.
        fault: a failure some stage reported; it decides alone.
        now_mono: when this decision is made.
        codes: what was read from the part; None: nothing was looked for.
    """

    trigger: Trigger
    recipe: Recipe | None
    release: Release | None
    frame: Frame | None
    previous: Frame | None
    live: bool
    detections: Detections | None
    fault: Reason | None
    now_mono: float
    codes: tuple[Code, ...] | None = None


def decide(evidence: Evidence) -> Result:
    """Return the decision for one part. Never raises; PASS only if every precondition holds."""
    doubt = find_doubt(evidence)
    if doubt is not None:
        return doubt
    recipe, frame, detections, release = (
        evidence.recipe,
        evidence.frame,
        evidence.detections,
        evidence.release,
    )
    if recipe is None or frame is None or detections is None or release is None:
        return Result.not_inspected(Reason.INTERNAL, "evidence is incomplete")
    result = judge(detections, recipe)
    if recipe.code is None:
        return result
    if evidence.codes is None:
        return Result.not_inspected(Reason.INTERNAL, "nobody looked for the part's code")
    return join(result, identify(evidence.codes, recipe.code, evidence.trigger.serial))


def find_doubt(evidence: Evidence) -> Result | None:
    """Return the first precondition that does not hold, as a NOT_INSPECTED result; None if all hold."""
    if evidence.fault is not None:
        return Result.not_inspected(evidence.fault)
    if evidence.recipe is None:
        return Result.not_inspected(Reason.RECIPE_NONE)
    doubt = check_release(evidence.recipe, evidence.release)
    if doubt is None:
        doubt = check_frame(
            evidence.trigger,
            evidence.frame,
            evidence.previous,
            evidence.recipe.frame,
            live=evidence.live,
        )
    if doubt is None:
        doubt = check_detections(evidence.detections, evidence.release)
    if doubt is None and not evidence.now_mono <= evidence.trigger.deadline_mono:
        doubt = Result.not_inspected(Reason.DEADLINE)
    return doubt


def check_release(recipe: Recipe, release: Release | None) -> Result | None:
    """Check that the loaded release is the recipe's and every class has limits."""
    if release is None:
        return Result.not_inspected(Reason.MODEL_LOADING, "no release is loaded")
    if (release.part, release.number) != (recipe.part, recipe.release):
        return Result.not_inspected(
            Reason.MODEL_MISMATCH,
            f"{release.name} is loaded, the recipe wants {recipe.part}/{recipe.release}",
        )
    for name in release.classes:
        limits = recipe.limits.get(name)
        if (
            limits is None
            or not 0.0 <= limits.t1 <= limits.t2 <= 1.0
            or not math.isfinite(limits.min_size + limits.min_area)
        ):
            return Result.not_inspected(Reason.RECIPE_INVALID, f"no valid limits for class {name}")
    return None


def check_detections(detections: Detections | None, release: Release | None) -> Result | None:
    """Check that the right model answered and every number can be believed."""
    if detections is None or release is None:
        return Result.not_inspected(Reason.INFERENCE_FAILED, "the model gave no answer")
    if (detections.release, detections.model_sha256) != (release.name, release.model_sha256):
        return Result.not_inspected(
            Reason.MODEL_MISMATCH, f"{detections.release} answered, {release.name} was asked"
        )
    if detections.class_names != release.classes:
        return Result.not_inspected(Reason.MODEL_MISMATCH, "class names differ from the release")
    n = len(detections.scores)
    if (
        detections.boxes.shape != (n, 4)
        or detections.classes.shape != (n,)
        or detections.scores.shape != (n,)
    ):
        return Result.not_inspected(Reason.MODEL_OUTPUT, "arrays of different length")
    if not (np.isfinite(detections.boxes).all() and np.isfinite(detections.scores).all()):
        return Result.not_inspected(Reason.MODEL_OUTPUT, "not a number")
    if n and (detections.scores.min() < 0 or detections.scores.max() > 1):
        return Result.not_inspected(Reason.MODEL_OUTPUT, "score outside 0..1")
    if n and (detections.classes.min() < 0 or detections.classes.max() >= len(release.classes)):
        return Result.not_inspected(Reason.MODEL_OUTPUT, "class outside the release")
    if release.task == "anomaly" and not _is_rate(detections.anomaly_score):
        return Result.not_inspected(
            Reason.MODEL_OUTPUT, f"anomaly score {detections.anomaly_score}"
        )
    asked = release.task == "segment" or detections.areas is not None
    if asked and not _has_outlines(detections, n):
        return Result.not_inspected(Reason.MODEL_OUTPUT, "outlines are missing or not a number")
    return None


def _has_outlines(detections: Detections, n: int) -> bool:
    outlines, areas = detections.outlines, detections.areas
    if outlines is None or areas is None or len(outlines) != n or areas.shape != (n,):
        return False
    return bool((np.isfinite(areas) & (areas >= 0)).all()) and all(
        math.isfinite(value) for outline in outlines for corner in outline for value in corner
    )


def _is_rate(value: float | None) -> bool:
    return value is not None and 0.0 <= value <= 1.0


@dataclass(frozen=True, slots=True)
class _Finding:
    decision: Decision
    reason: Reason
    class_index: int = 0
    score: float = 0.0
    detail: str = ""


def judge(detections: Detections, recipe: Recipe) -> Result:
    """Return PASS, REVIEW or FAIL for detections that were checked.

    For a defect class, more than `allowed` counted detections at or over T2 fail the part; more than
    `allowed` at or over T1 send it to REVIEW. For something that must be there, fewer than expected
    over T1 or more than expected over T2 fail; any other doubt about the count is REVIEW.
    """
    counts = _Counts(detections, recipe)
    findings = [
        finding
        for index, name in enumerate(detections.class_names)
        for finding in counts.judge_class(index, recipe.limits[name])
    ]
    for region in recipe.regions:
        findings += counts.judge_region(region)
    findings += _judge_full(detections, recipe)
    if detections.anomaly_score is not None:
        findings += _judge_anomaly(detections, recipe)
    if not findings:
        return Result(Decision.PASS, Reason.NONE, over_t1=counts.over_t1, counted=counts.counted())
    findings.sort(key=lambda f: (_SEVERITY[f.decision], f.score), reverse=True)
    worst = findings[0]
    return Result(
        decision=worst.decision,
        reason=worst.reason,
        reasons=tuple(dict.fromkeys(f.reason for f in findings)),
        deciding_class=worst.class_index,
        deciding_score=worst.score,
        over_t1=counts.over_t1,
        detail="; ".join(f.detail for f in findings[:4]),
        counted=counts.counted(),
    )


class _Counts:
    """Counts of judged detections by class, at T1 and at T2."""

    def __init__(self, detections: Detections, recipe: Recipe) -> None:
        self._detections = detections
        self._judged = judged(detections, recipe)
        self._placed = placed(detections, recipe)
        sides = detections.boxes[:, 2:] - detections.boxes[:, :2]
        longer = np.abs(sides).max(axis=1) if len(detections) else np.zeros(0, np.float32)
        areas = np.abs(sides).prod(axis=1) if detections.areas is None else detections.areas
        limits = [recipe.limits[name] for name in detections.class_names]
        classes = detections.classes
        large = longer >= _per_class([x.min_size for x in limits], classes)
        large &= areas >= _per_class([x.min_area for x in limits], classes)
        scores = detections.scores.astype(np.float64)
        self._t1 = large & (scores >= _per_class([x.t1 for x in limits], classes))
        self._t2 = large & (scores >= _per_class([x.t2 for x in limits], classes))
        self._doubts = self._of_each_class(self._t1)
        self._fails = self._of_each_class(self._t2)
        self.over_t1 = sum(self._doubts)

    def counted(self) -> tuple[int, ...]:
        """Return the places of the judged detections at or over T1."""
        return tuple(np.flatnonzero(self._t1 & self._judged).tolist()) if self.over_t1 else ()

    def _of_each_class(self, mask: NDArray[np.bool_]) -> list[int]:
        """Return how many judged detections of each class are in the mask."""
        classes = self._detections.classes[mask & self._judged]
        return np.bincount(classes, minlength=len(self._detections.class_names)).tolist()

    def judge_class(self, index: int, limits: ClassLimits) -> Iterable[_Finding]:
        fails, doubts = self._fails[index], self._doubts[index]
        if limits.expected is None and max(fails, doubts) <= limits.allowed:
            return []
        of_class = self._judged & (self._detections.classes == index)
        if limits.expected is not None:
            return self._judge_expected(index, of_class, limits.expected, "")
        name, score = self._detections.class_names[index], self._best(self._t1 & of_class)
        if fails > limits.allowed:
            reason = Reason.TOO_MANY if limits.allowed else Reason.DEFECT
            return [
                _Finding(Decision.FAIL, reason, index + 1, score, f"{fails} {name} at {score:.2f}")
            ]
        detail = f"{doubts} {name} at {score:.2f}"
        return [_Finding(Decision.REVIEW, Reason.BORDERLINE, index + 1, score, detail)]

    def judge_region(self, region: Region) -> Iterable[_Finding]:
        inside = self._placed & counted_in(self._detections, region)
        findings: list[_Finding] = []
        for name, expected in region.expected.items():
            if name not in self._detections.class_names:
                findings.append(
                    _Finding(Decision.FAIL, Reason.TOO_FEW, detail=f"{name} is no class")
                )
                continue
            index = self._detections.class_names.index(name)
            of_class = inside & (self._detections.classes == index)
            findings += self._judge_expected(index, of_class, expected, f" in {region.box}")
        return findings

    def _judge_expected(
        self, index: int, of_class: NDArray[np.bool_], expected: int, where: str
    ) -> list[_Finding]:
        sure, seen = int((self._t2 & of_class).sum()), int((self._t1 & of_class).sum())
        if sure == seen == expected:
            return []
        name, score = self._detections.class_names[index], self._best(self._t1 & of_class)
        detail = f"{seen} {name}{where}, expected {expected}"
        if seen < expected:
            return [_Finding(Decision.FAIL, Reason.TOO_FEW, index + 1, score, detail)]
        if sure > expected:
            return [_Finding(Decision.FAIL, Reason.TOO_MANY, index + 1, score, detail)]
        return [_Finding(Decision.REVIEW, Reason.BORDERLINE, index + 1, score, detail)]

    def _best(self, mask: NDArray[np.bool_]) -> float:
        return float(self._detections.scores[mask].max()) if mask.any() else 0.0


def _per_class(values: list[float], classes: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(values, np.float64)[classes]


def _judge_anomaly(detections: Detections, recipe: Recipe) -> list[_Finding]:
    limits = recipe.limits.get(ANOMALY_CLASS)
    score = detections.anomaly_score
    if limits is None or score is None or score >= limits.t2:
        return [_Finding(Decision.FAIL, Reason.ANOMALY, 1, score or 0.0, f"anomaly {score}")]
    if score >= limits.t1:
        return [_Finding(Decision.REVIEW, Reason.BORDERLINE, 1, score, f"anomaly {score:.3f}")]
    return []


def _judge_full(detections: Detections, recipe: Recipe) -> list[_Finding]:
    """Fail a part whose answer had no room for all that counts: what is missing was never seen."""
    cut = detections.full_from
    if cut is None or cut < min(recipe.limits[name].t1 for name in detections.class_names):
        return []
    detail = f"the model's answer is full: {len(detections)} detections, more may be hidden"
    return [_Finding(Decision.FAIL, Reason.TOO_MANY, 0, cut, detail)]
