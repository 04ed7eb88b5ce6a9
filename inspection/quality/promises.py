"""Promises: what limits were set for, beside what reviewed parts show of it.

    escape: share of the defective parts that were passed     ─┐
    overkill: share of the good parts that were failed        ─┴▶ kept, open (not shown yet), or broken

A promise is kept or broken only where the reviews show it with 95 % confidence; everything else is open. Both
limits of a measured share take the worse ends of two intervals of 95 %, each of which errs on that side with
2.5 % at most, so together they err with 5 % at most. Parts between the limits (REVIEW) were neither passed
nor failed; nobody need know how many of them are defective: each limit takes what is worse for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from inspection.quality.intervals import Share, exact_interval

State = Literal["kept", "open", "broken"]
MOST = 10_000_000
"""More reviews than this are never asked for."""


@dataclass(frozen=True, slots=True)
class Produced:
    """Parts of one recipe and release, and what people found among them.

    Attributes:
        passed: parts passed.
        failed: parts failed.
        held: parts between the limits.
        escape: share of the passed parts that are defective.
        overkill: share of the failed parts that are good.
    """

    passed: int
    failed: int
    held: int
    escape: Share
    overkill: Share


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
            reviewed to know of good ones; `never`: more would be needed than there are.
    """

    state: State
    low: float
    upper: float
    estimate: float | None
    more: int | None = 0
    missing: Literal["", "defects", "passed", "never"] = ""


def missed_share(made: Produced) -> tuple[float, float | None, float]:
    """Return lower limit, estimate and upper limit of the passed ones among all defective parts."""
    return _share_of(made.passed, made.escape, made.failed, made.overkill, made.held)


def rejected_share(made: Produced) -> tuple[float, float | None, float]:
    """Return lower limit, estimate and upper limit of the failed ones among all good parts."""
    return _share_of(made.failed, made.overkill, made.passed, made.escape, made.held)


def _share_of(
    wrong: int, share: Share, right: int, other: Share, held: int
) -> tuple[float, float | None, float]:
    """Return the share that `wrong x share` is of itself and `right x (1 - other)`."""
    most, least = wrong * share.high, wrong * share.low
    upper = 1.0 if not most else most / (most + right * (1 - other.high))
    low = 0.0 if not least else least / (least + right * (1 - other.low) + held)
    if share.estimate is None or other.estimate is None:
        return low, None, upper
    found = wrong * share.estimate
    whole = found + right * (1 - other.estimate)
    return low, (found / whole if whole else None), upper


def keep_escape(claimed: float, made: Produced) -> Kept:
    """Compare a promised share of passed ones among the defective parts with what was measured."""
    low, estimate, upper = missed_share(made)
    state = _state(claimed, low, upper)
    if state != "open":
        return Kept(state, low, upper, estimate)
    stopped = made.failed * (1 - made.overkill.high)
    if stopped <= 0:
        return Kept(state, low, upper, estimate, None, "defects")
    allowed = claimed * stopped / (made.passed * (1 - claimed))
    return _asking(Kept(state, low, upper, estimate), made.escape, allowed, made.passed)


def keep_overkill(claimed: float, made: Produced) -> Kept:
    """Compare a promised share of failed ones among the good parts with what was measured."""
    low, estimate, upper = rejected_share(made)
    state = _state(claimed, low, upper)
    if state != "open":
        return Kept(state, low, upper, estimate)
    good = made.passed * (1 - made.escape.high)
    if good <= 0:
        return Kept(state, low, upper, estimate, None, "passed")
    allowed = claimed * good / (made.failed * (1 - claimed))
    return _asking(Kept(state, low, upper, estimate), made.overkill, allowed, made.failed)


def _state(claimed: float, low: float, upper: float) -> State:
    if upper <= claimed:
        return "kept"
    return "broken" if low > claimed else "open"


def _asking(kept: Kept, share: Share, allowed: float, parts: int) -> Kept:
    """Add how many more of the parts must be reviewed until the share's high end is allowed."""
    count = 0.0 if share.estimate is None else share.estimate * share.effective
    needed = reviews_for(count, allowed)
    more = None if needed is None else max(1, math.ceil(needed - share.effective))
    if more is None or share.reviewed + more > parts:
        return Kept(kept.state, kept.low, kept.upper, kept.estimate, None, "never")
    return Kept(kept.state, kept.low, kept.upper, kept.estimate, more)


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
