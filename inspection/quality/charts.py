"""Control charts of reject counts: p, np, Laney p′, and the Western Electric rules.

Sources: Montgomery, Introduction to Statistical Quality Control; NIST/SEMATECH handbook 6.3.3; Laney,
Quality Engineering 2002; Western Electric Handbook 1956. Points are numbered from 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart.

    Attributes:
        points: what is plotted, one each sample.
        centre: the centre line.
        upper: upper limit of each sample.
        lower: lower limit of each sample, never under 0.
        outside: samples beyond a limit.
        sigma_z: Laney's factor: 1 when counts vary as a binomial says; over it they vary more.
    """

    points: Floats
    centre: float
    upper: Floats
    lower: Floats
    outside: tuple[int, ...]
    sigma_z: float = 1.0


def _counts(counts: Sequence[int], sizes: Sequence[int] | int) -> tuple[Floats, Floats]:
    x = np.asarray(counts, np.float64)
    n = np.broadcast_to(np.asarray(sizes, np.float64), x.shape)
    if x.ndim != 1 or len(x) < 2 or (n < 1).any() or (x < 0).any() or (x > n).any():
        raise ValueError(
            "a chart needs two samples or more, each with 0 <= count <= size, size >= 1"
        )
    return x, n


def _outside(points: Floats, upper: Floats, lower: Floats) -> tuple[int, ...]:
    return tuple(int(i) for i in np.flatnonzero((points > upper) | (points < lower)))


def p_chart(
    counts: Sequence[int], sizes: Sequence[int] | int, leave_out: Sequence[int] = ()
) -> Chart:
    """Return the chart of shares, with limits at three sigma for each sample's own size.

    Args:
        counts: rejects of each sample.
        sizes: parts of each sample, or one size for all.
        leave_out: samples with a known cause: plotted, not part of the centre line.
    """
    x, n = _counts(counts, sizes)
    kept = np.ones(len(x), bool)
    kept[list(leave_out)] = False
    centre = float(x[kept].sum() / n[kept].sum())
    half = 3 * np.sqrt(centre * (1 - centre) / n)
    upper, lower = np.minimum(centre + half, 1.0), np.maximum(centre - half, 0.0)
    return Chart(x / n, centre, upper, lower, _outside(x / n, upper, lower))


def np_chart(counts: Sequence[int], size: int) -> Chart:
    """Return the chart of counts for samples of one size."""
    shares = p_chart(counts, size)
    return Chart(
        shares.points * size,
        shares.centre * size,
        shares.upper * size,
        shares.lower * size,
        shares.outside,
    )


def laney_chart(counts: Sequence[int], sizes: Sequence[int] | int) -> Chart:
    """Return Laney's p′ chart, for large samples whose rate itself varies from sample to sample.

    Binomial limits are far too tight there: three sigma are widened by sigma_z, the mean moving range of the
    standardised shares over 1.128.
    """
    x, n = _counts(counts, sizes)
    plain = p_chart(counts, sizes)
    sigma = np.sqrt(plain.centre * (1 - plain.centre) / n)
    if not sigma.all():
        return plain  # no rejects at all, or nothing else: nothing varies
    z = (x / n - plain.centre) / sigma
    sigma_z = float(np.abs(np.diff(z)).mean() / 1.128)
    half = 3 * sigma * sigma_z
    upper = np.minimum(plain.centre + half, 1.0)
    lower = np.maximum(plain.centre - half, 0.0)
    return Chart(x / n, plain.centre, upper, lower, _outside(x / n, upper, lower), sigma_z)


def western_electric(
    z: Sequence[float], rules: Sequence[int] = (1, 4)
) -> tuple[tuple[int, int], ...]:
    """Return (point, rule) for every rule that a point completes, in order.

    Rule 1: beyond 3 sigma. 2: two of three beyond 2 on one side. 3: four of five beyond 1 on one side.
    4: eight in a row on one side. All four together raise a false alarm every 92 points, rule 1
    alone every 370; the default is 1 and 4.

    Args:
        z: distance of each point from the centre line, in sigma.
        rules: which rules are asked.
    """
    unknown = sorted(set(rules) - set(_RULES))
    if unknown:
        raise ValueError(f"rules {unknown} are not known; use 1, 2, 3, 4")
    values = np.asarray(z, np.float64)
    found: list[tuple[int, int]] = []
    for end in range(len(values)):
        for rule in sorted(set(rules)):
            needed, window, beyond = _RULES[rule]
            if end + 1 < window and rule == 4:
                continue
            seen = values[max(0, end + 1 - window) : end + 1]
            for side in (1, -1):
                if side * values[end] > beyond and (side * seen > beyond).sum() >= needed:
                    found.append((end, rule))
    return tuple(found)


_RULES: dict[int, tuple[int, int, float]] = {1: (1, 1, 3), 2: (2, 3, 2), 3: (4, 5, 1), 4: (8, 8, 0)}
"""rule: how many, of how many, beyond how many sigma."""
