"""Intervals of shares: exact for counts, and for samples drawn with known probabilities.

    reviewed parts ─▶ sampled_share (weights 1 / probability) ─▶ estimate, interval, upper limit

Sources: Clopper and Pearson, Biometrika 1934; Horvitz and Thompson, JASA 1952; Korn and Graubard, Survey
Methodology 1998; Kish, Survey Sampling 1965. The incomplete beta function is the continued fraction of
Abramowitz and Stegun 26.5.8. A wrong argument (a count over its total, a share outside 0..1)
raises ValueError.

What is shown is rounded outwards: `round_up` for an upper limit, `round_down` for a lower one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from functools import lru_cache

Interval = tuple[float, float]

CONFIDENCE = 0.95
_STEPS = 100_000
_TINY = 1e-300
_LARGEST_LOG = 690.0


def incomplete_beta(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b).

    Args:
        x: 0 to 1.
        a: over 0; need not be whole.
        b: over 0; need not be whole.
    """
    if not 0 <= x <= 1 or a <= 0 or b <= 0:
        raise ValueError(f"I_x(a, b) is not defined for x = {x}, a = {a}, b = {b}")
    if x in (0.0, 1.0):
        return x
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1.0 - front * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """Return the continued fraction by Lentz's method; converges for x < (a + 1) / (a + b + 2)."""
    c, d = 1.0, 1.0 / _away(1.0 - (a + b) * x / (a + 1))
    found = d
    for m in range(1, _STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1.0 / _away(1.0 + even * d)
        c = _away(1.0 + even / c)
        found *= d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1.0 / _away(1.0 + odd * d)
        c = _away(1.0 + odd / c)
        change = d * c
        found *= change
        if abs(change - 1.0) < 1e-16:
            break
    return found


def _away(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


@lru_cache(maxsize=8192)
def beta_quantile(share: float, a: float, b: float) -> float:
    """Return x with I_x(a, b) = `share`: Newton's steps, kept between bounds; 0 where x is too small to hold.

    Where the density has no number in floats (a small `a` near 0), the bounds are halved instead.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"{share} is no probability")
    if share in (0.0, 1.0):
        return share
    low, high, x = 0.0, 1.0, a / (a + b)
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    for _ in range(_STEPS):
        difference = incomplete_beta(x, a, b) - share
        if difference < 0:
            low = x
        else:
            high = x
        log_slope = (a - 1) * math.log(x) + (b - 1) * math.log1p(-x) - log_beta
        after = x - difference / math.exp(log_slope) if abs(log_slope) < _LARGEST_LOG else low
        if not low < after < high:
            after = (low + high) / 2
        if abs(after - x) <= 1e-14 * x or after in (low, high):
            return after
        x = after
    return x


def exact_interval(found: float, size: float, confidence: float = CONFIDENCE) -> Interval:
    """Return the two-sided interval of Clopper and Pearson; counts need not be whole numbers."""
    tail = (1 - _checked(found, size, confidence)) / 2
    return _lower(found, size, tail), _upper(found, size, tail)


def upper_limit(found: float, size: float, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided upper limit: with this confidence the share is no higher."""
    return _upper(found, size, 1 - _checked(found, size, confidence))


def lower_limit(found: float, size: float, confidence: float = CONFIDENCE) -> float:
    """Return the one-sided lower limit: with this confidence the share is no lower."""
    return _lower(found, size, 1 - _checked(found, size, confidence))


def _checked(found: float, size: float, confidence: float) -> float:
    if not size > 0 or not 0 <= found <= size:
        raise ValueError(f"{found} of {size} is no share; use 0 <= found <= size, size > 0")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it must lie between 0 and 1")
    return confidence


def _lower(found: float, size: float, tail: float) -> float:
    return 0.0 if found <= 0 else beta_quantile(tail, found, size - found + 1)


def _upper(found: float, size: float, tail: float) -> float:
    # I_x(a, b) = 1 - I_(1-x)(b, a): the small tail keeps its digits
    return 1.0 if found >= size else 1.0 - beta_quantile(tail, size - found, found + 1)


@dataclass(frozen=True, slots=True)
class Share:
    """A share as far as the reviewed parts can tell.

    Attributes:
        reviewed: parts that people judged.
        found: how many of them had what is asked for.
        estimate: weighted share; None when nothing was reviewed.
        low: lower end of the two-sided interval; 0 when nothing was reviewed.
        high: upper end; 1 when nothing was reviewed.
        upper: one-sided upper limit; 1 when nothing was reviewed.
        effective: parts that a plain random sample would need for the same interval.
    """

    reviewed: int
    found: int
    estimate: float | None
    low: float
    high: float
    upper: float
    effective: float


NOTHING = Share(0, 0, None, 0.0, 1.0, 1.0, 0.0)
"""Nobody looked: everything is possible."""


def sampled_share(
    groups: Iterable[tuple[float, int, int]], confidence: float = CONFIDENCE
) -> Share:
    """Return a share from parts that were drawn with known probabilities.

    The estimate is the sum of 1 / probability over the parts found, by that over all reviewed. Its interval
    is that of Korn and Graubard: Clopper and Pearson's at the effective sample size. That size is never
    over the number of reviewed parts, nor over Kish's for these weights, which also stands where none or all
    were found; so nothing is claimed that a plain sample of as many parts could not say.

    Assumed: the parts were drawn at random, each by itself; those judged are like those not judged yet;
    who judged them was right.

    Args:
        groups: (probability, reviewed, found) of parts drawn with the same probability, over 0 to 1.
        confidence: of both the interval and the one-sided limit.
    """
    kept = [(float(p), int(n), int(k)) for p, n, k in groups if n]
    if any(not 0 < p <= 1 or not 0 <= k <= n for p, n, k in kept):
        raise ValueError(f"{kept}: a probability is over 0 to 1, and 0 <= found <= reviewed")
    reviewed, found = sum(n for _, n, _ in kept), sum(k for _, _, k in kept)
    if not reviewed:
        return NOTHING
    total = sum(n / p for p, n, _ in kept)
    kish = total * total / sum(n / (p * p) for p, n, _ in kept)
    estimate = min(1.0, sum(k / p for p, _, k in kept) / total)
    effective = min(float(reviewed), kish)
    if 0 < found < reviewed:
        squares = sum(
            (k * (1 - estimate) ** 2 + (n - k) * estimate**2) / (p * p) for p, n, k in kept
        )
        variance = squares / (total * total) * reviewed / (reviewed - 1)
        effective = min(effective, estimate * (1 - estimate) / variance)
    count = min(estimate * effective, effective)
    low, high = exact_interval(count, effective, confidence)
    upper = upper_limit(count, effective, confidence)
    return Share(reviewed, found, estimate, low, high, upper, effective)


def parts_to_show(limit: float, confidence: float = CONFIDENCE) -> int:
    """Return how many parts must be reviewed, with none found, to show a share of at most `limit`."""
    if not 0 < limit < 1 or not 0 < confidence < 1:
        raise ValueError(f"limit {limit} and confidence {confidence} must lie between 0 and 1")
    return math.ceil(math.log(1 - confidence) / math.log1p(-limit) - 1e-9)


def round_up(share: float, digits: int) -> float:
    """Return the share with so many digits after the point, never smaller than it was."""
    return _rounded(share, digits, ROUND_CEILING)


def round_down(share: float, digits: int) -> float:
    """Return the share with so many digits after the point, never larger than it was."""
    return _rounded(share, digits, ROUND_FLOOR)


def _rounded(share: float, digits: int, how: str) -> float:
    return float(Decimal(share).quantize(Decimal(1).scaleb(-digits), rounding=how))
