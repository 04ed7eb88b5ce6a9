"""Limits with a claim: T1 and T2 by order statistics of parts that training never saw. Pure.

* A part counts once, by the worst of its pictures (`inspection_datasets.parts`): its lowest score where it
  must be stopped, its highest where it must pass. Scores here come with the part of each.
* T1 of a class, for the escape rate: of n held-out parts with that defect, k may score under T1, with k
  from `statistics.allowed_misses`. T1 is the (k+1)-th smallest score. Whatever the scores'
  distribution, the true miss rate is then over the target with a chance of at most 1 - confidence. A
  part escapes only if every class misses it, so the escape rate of its class is no higher.
* No T1 is lower than `LOWEST`. Where the rule asks for less, T1 is `LOWEST` and the claim is the exact
  bound of what was missed there. Both together still err with at most 1 - confidence: when the rate at
  `LOWEST` is over the target, both fail for few misses only; when it is not, that bound cannot fail.
* T2, for the overkill: with the T1s fixed, a good part's score is the highest of those at or over their
  T1. T2 stands just over the (k+1)-th largest, by the same rule; it is never under T1. Good parts that FAIL
  whatever T2 is (things that must be there were not seen) are among those k. Where they alone are more than
  k, two rates stand side by side: theirs, and that of good parts over the highest score of the others.
  Each has its bound at a tenth of the risk, since the rule was then chosen by the same parts; with what
  the first rule errs, the sum stays within the risk (a test computes it). Review is what lies between T1
  and T2; it is measured, not chosen.
* A class that the release does not know gets a claim too, which is never met.

In words they are said by `inspection.sentences.claims`, from the plain form.

The claims hold for parts like these, class by class. Few parts are few: see the warnings.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from inspection_datasets.parts import worst_of
from inspection_training.limits import LOWEST
from inspection_training.statistics import allowed_misses, best_claim, parts_needed, upper_bound

FEW_GROUPS = 10
FAILS_BY_COUNT = math.inf
"""Score of a picture that FAILs whatever T2 is, for the number of things that must be there."""
_STEP = 1e-6
_SHARE = 0.1
"""Of the risk, for each of two bounds where the parts that are counted choose the rule as well."""


@dataclass(frozen=True, slots=True)
class Targets:
    """What the quality engineer asks.

    Attributes:
        escape: highest share of defective parts that may pass.
        overkill: highest share of good parts that may fail.
        review: highest share of good parts that may be REVIEW.
        confidence: of every claim.
    """

    escape: float = 0.01
    overkill: float = 0.05
    review: float = 0.03
    confidence: float = 0.95

    def __post_init__(self) -> None:
        for name in ("escape", "overkill", "review", "confidence"):
            value = getattr(self, name)
            if not 0 < value < 1:
                raise ValueError(f"{name} is {value}; it must lie between 0 and 1, for example 1%")

    @property
    def delta(self) -> float:
        """The risk that a claim is wrong."""
        return 1 - self.confidence


@dataclass(frozen=True, slots=True)
class EscapeClaim:
    """What one class's held-out defects support.

    Attributes:
        name: the class, `all defects`, or `scoring.COUNT`.
        parts: parts with that defect; each group of pictures is one.
        pictures: pictures of them.
        largest_group: pictures of the largest group.
        t1: the limit; None where no part has this defect, and for counts.
        allowed: misses the rule allows; -1: too few parts for the target.
        missed: parts under T1, or not stopped.
        supported: escape rate that is claimed; None: nothing can be claimed.
        target: escape rate asked.
        missing: more defective parts needed for the target, if none of them is missed; 0 for a class
            that is not known, since no number of parts helps there.
        known: the release knows this class.
    """

    name: str
    parts: int
    pictures: int
    largest_group: int
    t1: float | None
    allowed: int
    missed: int
    supported: float | None
    target: float
    missing: int
    known: bool = True

    @property
    def met(self) -> bool:
        """Tell whether the target is proven."""
        return self.known and self.supported is not None and self.supported <= self.target

    @property
    def few_groups(self) -> bool:
        """Tell whether the defects come from so few groups that the claim is about these groups."""
        return 0 < self.parts < FEW_GROUPS

    def as_dict(self) -> dict[str, Any]:
        """Return the plain form."""
        return {
            "class": self.name, "parts": self.parts, "pictures": self.pictures,
            "groups": self.parts, "t1": self.t1,
            "allowed_misses": self.allowed, "missed": self.missed, "supported": self.supported,
            "target": self.target, "met": self.met, "more_parts_needed": self.missing, "known": self.known,
        }  # fmt: skip


def escape_claim(
    name: str, scores: Sequence[float], parts: Sequence[Hashable], targets: Targets
) -> EscapeClaim:
    """Return T1 and what it supports.

    Args:
        name: class.
        scores: of every held-out picture with this defect, 0 for never found.
        parts: part of each.
        targets: what is asked.
    """
    ordered = sorted(worst_of(scores, parts, min))
    n = len(ordered)
    allowed = allowed_misses(n, targets.escape, targets.delta)
    missing = max(0, parts_needed(targets.escape, targets.delta) - n)
    t1: float | None = None
    supported: float | None = None
    missed = 0
    if n:
        wanted = ordered[max(allowed, 0)]
        if wanted >= LOWEST:
            t1 = max(math.floor(wanted / _STEP) * _STEP, LOWEST)
            t1 = min(round(t1, 6), wanted)
            supported = targets.escape if allowed >= 0 else best_claim(n, targets.delta)
            missed = sum(score < t1 for score in ordered)
        else:
            t1, missed = LOWEST, sum(score < LOWEST for score in ordered)
            supported = upper_bound(missed, n, targets.confidence)
            missing = max(0, parts_needed(targets.escape, targets.delta, missed) - n)
    return EscapeClaim(
        name, n, len(parts), _largest(parts), t1, allowed, missed,
        supported if supported is None or supported < 1 else None, targets.escape, missing,
    )  # fmt: skip


def fixed_claim(
    name: str, passed: Sequence[bool], parts: Sequence[Hashable], targets: Targets
) -> EscapeClaim:
    """Return what held-out parts support for limits that were fixed before: an exact bound.

    Args:
        name: class.
        passed: whether each held-out picture with this defect passes.
        parts: part of each.
        targets: what is asked.
    """
    own = worst_of(passed, parts, any)
    n, missed = len(own), sum(own)
    supported = upper_bound(missed, n, targets.confidence) if n else None
    return EscapeClaim(
        name, n, len(parts), _largest(parts), None,
        allowed_misses(n, targets.escape, targets.delta), missed,
        supported if supported is None or supported < 1 else None, targets.escape,
        max(0, parts_needed(targets.escape, targets.delta, missed) - n),
    )  # fmt: skip


def unknown_claim(
    name: str, passed: Sequence[bool], parts: Sequence[Hashable], targets: Targets
) -> EscapeClaim:
    """Return that nothing is claimed for a class of the labels that the release does not know.

    Args:
        name: the class.
        passed: whether each picture with it passes.
        parts: part of each.
        targets: what is asked.
    """
    own = worst_of(passed, parts, any)
    return EscapeClaim(
        name, len(own), len(parts), _largest(parts), None, -1, sum(own), None,
        targets.escape, 0, known=False,
    )  # fmt: skip


def _largest(parts: Sequence[Hashable]) -> int:
    return max(Counter(parts).values(), default=0)


@dataclass(frozen=True, slots=True)
class OverkillLimit:
    """T2 for all defect classes.

    Attributes:
        t2: every class's T2 is this or its T1, whichever is higher.
        parts: good parts; each group of pictures is one.
        allowed: good parts that may fail; -1: too few good parts for the target.
        supported: overkill that is claimed; None: nothing.
        by_count: good parts that FAIL whatever T2 is, for the number of things that must be there.
        pictures: pictures of the good parts.
    """

    t2: float
    parts: int
    allowed: int
    supported: float | None
    by_count: int = 0
    pictures: int = 0


def overkill_limit(
    scores: Sequence[float],
    parts: Sequence[Hashable],
    targets: Targets,
    *,
    counted: bool = False,
) -> OverkillLimit:
    """Return T2 from the good parts.

    Args:
        scores: of every held-out good picture: the highest score at or over its class's T1, else 0;
            `FAILS_BY_COUNT` for one that FAILs by its counts.
        parts: part of each.
        targets: what is asked.
        counted: parts may FAIL by their counts, whether or not one of these did.
    """
    descending = sorted(worst_of(scores, parts, max), reverse=True)
    n, pictures = len(descending), len(scores)
    by_count = descending.count(FAILS_BY_COUNT)
    descending = descending[by_count:]
    if not n:
        return OverkillLimit(1.0, 0, -1, None)
    allowed = allowed_misses(n, targets.overkill, targets.delta)
    over = descending[max(allowed - by_count, 0)] if descending else 1.0
    t2 = max(round((math.floor(over / _STEP) + 1) * _STEP, 6), LOWEST)
    chosen = by_count > allowed and (counted or by_count > 0)
    if t2 > 1:  # a score of 1 cannot be let through
        failing = by_count + sum(score >= 1.0 for score in descending)
        risk = targets.delta * (_SHARE if chosen else 1.0)
        bound = upper_bound(failing, n, 1 - risk)
        return OverkillLimit(1.0, n, allowed, bound, by_count, pictures)
    if by_count <= allowed:
        supported = targets.overkill
    elif chosen:
        supported = _beside_counts(by_count, n, targets.delta)
    else:
        supported = best_claim(n, targets.delta)
    return OverkillLimit(t2, n, allowed, supported, by_count, pictures)


def _beside_counts(by_count: int, n: int, delta: float) -> float:
    """Return the bound of parts that FAIL by count together with parts over the highest score of the rest."""
    risk = _SHARE * delta
    return 1 - (1 - upper_bound(by_count, n, 1 - risk)) * (1 - best_claim(n - by_count, risk))
