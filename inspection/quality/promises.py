"""Promises: what limits were set for, beside what reviewed parts show of it.

    escape: share of the defective parts that were passed     ─┐
    overkill: share of the good parts that were failed        ─┴▶ kept, open (not shown yet), or broken

A promise is kept or broken only where the reviews show it with 95 % confidence; everything else is open. Both
limits of a measured share take the worse ends of two intervals of 95 %, each of which errs on that side with
2.5 % at most, so together they err with 5 % at most. Each limit takes what is worse for it wherever nobody
knows: parts in doubt and borderline parts are defective or good, and parts between the limits (REVIEW) were
neither passed nor failed, and all of them may be defective, or none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from inspection.quality.intervals import Share, exact_interval

State = Literal["kept", "open", "broken"]
MOST = 10_000_000
"""More reviews than this are never asked for."""


@dataclass(frozen=True, slots=True)
class Side:
    """Parts with one decision, and what people found among them.

    Attributes:
        parts: parts with this decision.
        reviewed: how many of them were judged.
        defective: estimated share of defective ones; None when nothing was judged.
        good: estimated share of good ones; borderline parts are neither.
        least: the defective share, with parts in doubt and borderline ones as its low end is lowest.
        most: alike, as its high end is highest.
        doubted: parts that wait for a second person or an engineer.
    """

    parts: int
    reviewed: int
    defective: float | None
    good: float | None
    least: Share
    most: Share
    doubted: int = 0


@dataclass(frozen=True, slots=True)
class Produced:
    """Parts of one recipe and release, and what people found among them.

    Attributes:
        passed: parts passed.
        failed: parts failed.
        held: parts between the limits.
    """

    passed: Side
    failed: Side
    held: int = 0


@dataclass(frozen=True, slots=True)
class Kept:
    """A promise beside what was measured.

    Attributes:
        state: as far as it is shown.
        low: with confidence the share is no lower.
        upper: with confidence the share is no higher.
        estimate: None when nothing was reviewed.
        more: so many more parts must be reviewed, if none of them counts; 0 where it is not open, None
            where reviews of these parts cannot show it: see `missing`.
        missing: `defects`: no failed part is known to be defective; `passed`: too few passed parts were
            reviewed to know of good ones; `doubts`: parts in doubt must be settled first; `never`: more
            would be needed than there are.
    """

    state: State
    low: float
    upper: float
    estimate: float | None
    more: int | None = 0
    missing: Literal["", "defects", "passed", "doubts", "never"] = ""


def missed_share(made: Produced) -> tuple[float, float | None, float]:
    """Return lower limit, estimate and upper limit of the passed ones among all defective parts.

    The upper limit is 0 where no part was passed, and 1 where there are no parts.
    """
    passed, failed = made.passed, made.failed
    low = _part_of(passed.parts * passed.least.low, failed.parts * failed.most.high + made.held)
    upper = _part_of(passed.parts * passed.most.high, failed.parts * failed.least.low)
    estimate = _estimate(passed.parts, passed.defective, failed.parts, failed.defective)
    return low or 0.0, estimate, _upper(upper, passed, failed)


def rejected_share(made: Produced) -> tuple[float, float | None, float]:
    """Return lower limit, estimate and upper limit of the failed ones among all good parts.

    The upper limit is 0 where no part was failed, and 1 where there are no parts.
    """
    passed, failed = made.passed, made.failed
    good = passed.parts * (1 - passed.least.low) + made.held
    low = _part_of(failed.parts * (1 - failed.most.high), good)
    upper = _part_of(failed.parts * (1 - failed.least.low), passed.parts * (1 - passed.most.high))
    estimate = _estimate(failed.parts, failed.good, passed.parts, passed.good)
    return low or 0.0, estimate, _upper(upper, failed, passed)


def _part_of(wrong: float, right: float) -> float | None:
    return wrong / (wrong + right) if wrong + right > 0 else None


def _upper(found: float | None, wrong: Side, right: Side) -> float:
    """Return the upper limit: without any part that could count it is 0, whatever the reviews say."""
    if not wrong.parts and right.parts:
        return 0.0
    return 1.0 if found is None else found


def _estimate(wrong: int, share: float | None, right: int, other: float | None) -> float | None:
    return None if share is None or other is None else _part_of(wrong * share, right * other)


def keep_escape(claimed: float, made: Produced) -> Kept:
    """Compare a promised share of passed ones among the defective parts with what was measured."""
    low, estimate, upper = missed_share(made)
    kept = Kept(_state(claimed, low, upper), low, upper, estimate)
    if kept.state != "open":
        return kept
    stopped = made.failed.parts * made.failed.least.low
    if stopped <= 0:
        return replace(kept, more=None, missing="defects")
    allowed = claimed * stopped / (made.passed.parts * (1 - claimed))
    share = made.passed.most
    found = 0.0 if share.estimate is None else share.estimate
    return _asking(kept, share, found, allowed, made.passed.parts, made)


def keep_overkill(claimed: float, made: Produced) -> Kept:
    """Compare a promised share of failed ones among the good parts with what was measured."""
    low, estimate, upper = rejected_share(made)
    kept = Kept(_state(claimed, low, upper), low, upper, estimate)
    if kept.state != "open":
        return kept
    good = made.passed.parts * (1 - made.passed.most.high)
    if good <= 0:
        return replace(kept, more=None, missing="passed")
    allowed = claimed * good / (made.failed.parts * (1 - claimed))
    share = made.failed.least
    found = 0.0 if share.estimate is None else 1 - share.estimate
    return _asking(kept, share, found, allowed, made.failed.parts, made)


def _state(claimed: float, low: float, upper: float) -> State:
    if upper <= claimed:
        return "kept"
    return "broken" if low > claimed else "open"


def _asking(
    kept: Kept, share: Share, found: float, allowed: float, parts: int, made: Produced
) -> Kept:
    """Add how many more of the parts must be reviewed until the high end of what was found is allowed."""
    needed = reviews_for(found * share.effective, allowed)
    more = None if needed is None else max(1, math.ceil(needed - share.effective))
    if more is None or share.reviewed + more > parts:
        doubted = made.passed.doubted + made.failed.doubted
        return replace(kept, more=None, missing="doubts" if doubted else "never")
    return replace(kept, more=more)


def reviews_for(found: float, allowed: float) -> int | None:
    """Return how many reviews with so many found show a share of at most `allowed`; None: over `MOST`.

    The share's high end is that of the two-sided interval of 95 %.
    """
    if allowed >= 1:
        return max(1, math.ceil(found))
    low, high = max(1, math.ceil(found)), max(2, math.ceil(found) * 2)
    while exact_interval(found, high)[1] > allowed:
        low, high = high, high * 2
        if high > MOST:
            return None
    while low < high:
        middle = (low + high) // 2
        if exact_interval(found, middle)[1] > allowed:
            low = middle + 1
        else:
            high = middle
    return high
