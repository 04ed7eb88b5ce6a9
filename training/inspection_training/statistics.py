"""Statistics of the trade: intervals, sample sizes, limits with a claim, comparison, drift. Pure functions.

Every formula names its source; the tests reproduce published values. A wrong argument (a count over
its total, a share outside 0..1) raises ValueError. scipy is imported when a function needs it.

Words: `alpha` is the highest rate that is tolerated, `delta` the risk that the claim is wrong
(0.05 for 95 % confidence), `n` the number of parts, `k` the number of misses among them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Interval = tuple[float, float]


def _check_count(count: int, total: int) -> None:
    if total < 1 or not 0 <= count <= total:
        raise ValueError(f"{count} of {total} is no rate; use 0 <= count <= total, total >= 1")


def _check_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name} is {value}; it must lie between 0 and 1")


# ---------------------------------------------------------------------- intervals


def clopper_pearson(count: int, total: int, confidence: float = 0.95) -> Interval:
    """Return the exact two-sided interval of a rate (Clopper and Pearson, Biometrika 1934).

    For claims: it never covers less than it says.
    """
    from scipy.stats import beta

    _check_count(count, total)
    _check_share("confidence", confidence)
    tail = (1 - confidence) / 2
    low = 0.0 if count == 0 else float(beta.ppf(tail, count, total - count + 1))
    high = 1.0 if count == total else float(beta.isf(tail, count + 1, total - count))
    return low, high


def upper_bound(count: int, total: int, confidence: float = 0.95) -> float:
    """Return the exact one-sided upper bound of a rate: no higher with this confidence."""
    from scipy.stats import beta

    _check_count(count, total)
    _check_share("confidence", confidence)
    return 1.0 if count == total else float(beta.isf(1 - confidence, count + 1, total - count))


def wilson(count: int, total: int, confidence: float = 0.95) -> Interval:
    """Return the score interval of a rate (Wilson, JASA 1927). For displays, not for claims."""
    from scipy.stats import norm

    _check_count(count, total)
    _check_share("confidence", confidence)
    z = float(norm.isf((1 - confidence) / 2))
    rate, part = count / total, z * z / total
    middle = (rate + part / 2) / (1 + part)
    half = z * math.sqrt(rate * (1 - rate) / total + part / (4 * total)) / (1 + part)
    low = 0.0 if count == 0 else middle - half
    high = 1.0 if count == total else middle + half
    return low, high


# ---------------------------------------------------------------------- how many parts a claim needs


def parts_needed(alpha: float, delta: float = 0.05, misses: int = 0) -> int:
    """Return the fewest parts that show a rate of at most `alpha` with so many misses allowed.

    The smallest n with P(at most `misses` of n | rate alpha) <= delta. Without misses this is
    ln(delta) / ln(1 - alpha), rounded up: 59 for 5 %, 299 for 1 %.
    """
    from scipy.special import bdtr

    _check_share("alpha", alpha)
    _check_share("delta", delta)
    if misses < 0:
        raise ValueError(f"misses is {misses}; it must be 0 or more")
    low, high = misses, misses + 1
    while bdtr(misses, high, alpha) > delta:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        if bdtr(misses, middle, alpha) <= delta:
            high = middle
        else:
            low = middle
    return high


def allowed_misses(n: int, alpha: float, delta: float = 0.05) -> int:
    """Return how many of n held-out defects a limit may miss so that its rate is at most alpha.

    The order-statistic rule (Neyman-Pearson umbrella; Tong, Feng, Li, Science Advances 2018): the
    largest k with BinomCDF(k; n, alpha) <= delta. The limit is then the (k+1)-th smallest score.
    -1: n defects are not enough for this claim.
    """
    from scipy.special import bdtr

    _check_share("alpha", alpha)
    _check_share("delta", delta)
    if n < 1:
        return -1
    low, high = -1, n  # `low` misses are allowed, `high` are not
    while high - low > 1:
        middle = (low + high) // 2
        if bdtr(middle, n, alpha) <= delta:
            low = middle
        else:
            high = middle
    return low


def best_claim(n: int, delta: float = 0.05, misses: int = 0) -> float:
    """Return the lowest rate that n parts with so many misses can support; 1 for no parts.

    Without misses: 1 - delta^(1/n). 37 scratches support 7.8 % at 95 %.
    """
    return 1.0 if n < 1 else upper_bound(misses, n, 1 - delta)


def conformal_misses(n: int, alpha: float) -> int:
    """Return the misses that keep the expected rate at alpha: floor(alpha (n + 1) - 1), at least -1.

    Conformal risk control (Angelopoulos and others, ICLR 2024). Weaker than `allowed_misses`: it
    holds on average over many calibrations, not for this one with a confidence.
    """
    _check_share("alpha", alpha)
    return max(-1, math.floor(alpha * (n + 1) - 1 + 1e-9))


# ---------------------------------------------------------------------- comparison


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Return the two-sided exact p-value of two methods on the same parts (McNemar 1947).

    Args:
        only_first: parts that only the first method got wrong.
        only_second: parts that only the second got wrong. Parts both judged alike do not count.
    """
    from scipy.stats import binom

    if min(only_first, only_second) < 0:
        raise ValueError(f"counts {only_first}, {only_second} must be 0 or more")
    total = only_first + only_second
    if total == 0:
        return 1.0
    return min(1.0, 2 * float(binom.cdf(min(only_first, only_second), total, 0.5)))


def cluster_bootstrap(
    hits: Sequence[bool],
    groups: Sequence[Hashable],
    confidence: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Interval | None:
    """Return the percentile interval of a rate when parts of one group are alike.

    Whole groups are drawn with replacement (Davison and Hinkley 1997, 3.8). Fewer than two groups
    give None: nothing can be said of the next lot. A rate of exactly 0 or 1 gives a point; use the exact
    interval there.
    """
    if len(hits) != len(groups):
        raise ValueError(f"{len(hits)} parts but {len(groups)} groups")
    names = {name: index for index, name in enumerate(dict.fromkeys(groups))}
    if len(names) < 2:
        return None
    index = np.array([names[group] for group in groups])
    counts = np.bincount(index, np.asarray(hits, np.float64), len(names))
    sizes = np.bincount(index, minlength=len(names))
    drawn = np.random.default_rng(seed).integers(0, len(names), (draws, len(names)))
    rates = counts[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(rates, [tail, 1 - tail])
    return float(low), float(high)


# ---------------------------------------------------------------------- drift


def population_stability(expected: Sequence[float], actual: Sequence[float]) -> float:
    """Return PSI of two binned distributions: sum of (a - e) ln(a / e).

    Counts or shares; both are scaled to sum 1. By convention: under 0.1 nothing, to 0.25 watch, over it
    act. An empty bin counts as 1e-6, so that it shows but stays finite.
    """
    e, a = np.asarray(expected, np.float64), np.asarray(actual, np.float64)
    if e.shape != a.shape or e.ndim != 1 or not e.size or min(e.min(), a.min()) < 0:
        raise ValueError("both distributions need the same bins, none negative")
    if not (e.sum() > 0 and a.sum() > 0):
        raise ValueError("a distribution without any part cannot be compared")
    e, a = np.maximum(e / e.sum(), 1e-6), np.maximum(a / a.sum(), 1e-6)
    return float(((a - e) * np.log(a / e)).sum())


def kolmogorov_smirnov(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Return D and the two-sided p-value of two samples, exact for up to 10,000 values."""
    from scipy.stats import ks_2samp

    if not len(x) or not len(y):
        raise ValueError("both samples need at least one value")
    found: Any = ks_2samp(x, y, method="auto")
    return float(found.statistic), float(found.pvalue)


@dataclass(frozen=True, slots=True)
class MeanDiscrepancy:
    """Squared maximum mean discrepancy: `unbiased` may be negative, `biased` is never."""

    unbiased: float
    biased: float


def mean_discrepancy(x: Floats, y: Floats, sigma: float = 1.0) -> MeanDiscrepancy:
    """Return MMD² with kernel exp(-d² / (2 sigma²)) (Gretton and others, JMLR 2012, eq. 3 and 5).

    Args:
        x: [N] or [N, D], N >= 2.
        y: [M] or [M, D], M >= 2.
        sigma: width of the kernel.
    """
    a, b = _rows(x), _rows(y)
    if len(a) < 2 or len(b) < 2 or a.shape[1] != b.shape[1] or sigma <= 0:
        raise ValueError("both samples need two values or more of the same length, and sigma > 0")
    kernel = _gaussian(sigma)
    aa, bb, ab = kernel(a, a), kernel(b, b), kernel(a, b)
    n, m = len(a), len(b)
    unbiased = (aa.sum() - n) / (n * (n - 1)) + (bb.sum() - m) / (m * (m - 1)) - 2 * ab.mean()
    return MeanDiscrepancy(float(unbiased), float(aa.mean() + bb.mean() - 2 * ab.mean()))


def _rows(values: Floats) -> Floats:
    rows = np.asarray(values, np.float64)
    return rows[:, None] if rows.ndim == 1 else rows


def _gaussian(sigma: float) -> Callable[[Floats, Floats], Floats]:
    def kernel(a: Floats, b: Floats) -> Floats:
        squared = ((a[:, None, :] - b[None, :, :]) ** 2).sum(axis=2)
        return np.exp(-squared / (2 * sigma * sigma))

    return kernel
