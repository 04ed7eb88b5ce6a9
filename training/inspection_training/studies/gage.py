"""Gage repeatability and reproducibility of a measured dimension (AIAG MSA manual, 4th edition).

EV is repeatability, AV reproducibility, GRR both, PV the parts' own variation, TV the total: standard
deviations. Under 10 % of TV is good, to 30 % may do, over it is not a gage; `ndc` should be 5 or more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Study = NDArray[np.float64]
"""[appraisers, trials, parts], one unit."""

# 1 / d2*, AIAG MSA appendix C, for one group of the size given; D4 of the range chart
_K1 = {2: 0.8862, 3: 0.5908}
_K2 = {2: 0.7071, 3: 0.5231}
_K3 = {2: 0.7071, 3: 0.5231, 4: 0.4467, 5: 0.4030, 6: 0.3742, 7: 0.3534, 8: 0.3375, 9: 0.3249,
       10: 0.3146}  # fmt: skip
_D4 = {2: 3.267, 3: 2.574}


@dataclass(frozen=True, slots=True)
class Components:
    """Standard deviations of a study, in the unit measured."""

    ev: float
    av: float
    grr: float
    pv: float
    tv: float

    def percent(self, name: str) -> float:
        """Return a component as percent of the total variation; 0 when nothing varies."""
        return 100 * float(getattr(self, name)) / self.tv if self.tv else 0.0

    @property
    def ndc(self) -> int:
        """Number of distinct categories, 1.41 PV / GRR, cut to an integer; at least 1."""
        return max(1, int(1.41 * self.pv / self.grr)) if self.grr else 1


@dataclass(frozen=True, slots=True)
class RangeStudy:
    """Average and range method.

    Attributes:
        mean_range: mean of all ranges.
        spread: highest minus lowest appraiser mean.
        part_range: range of the part means.
        range_limit: upper control limit of the ranges.
        out_of_control: (appraiser, part), from 0, whose range is over it.
        components: the result.
    """

    mean_range: float
    spread: float
    part_range: float
    range_limit: float
    out_of_control: tuple[tuple[int, int], ...]
    components: Components


def _check(study: Study) -> tuple[int, int, int]:
    if study.ndim != 3 or min(study.shape) < 2 or not np.isfinite(study).all():
        raise ValueError(
            "a study is [appraisers, trials, parts], two or more of each, all measured"
        )
    return study.shape


def range_study(study: Study) -> RangeStudy:
    """Return the average and range method for 2 or 3 appraisers, 2 or 3 trials, 2 to 10 parts.

    Raises:
        ValueError: another size (the factors are tabled for these), or values missing.
    """
    values = np.asarray(study, np.float64)
    appraisers, trials, parts = _check(values)
    if trials not in _K1 or appraisers not in _K2 or parts not in _K3:
        raise ValueError(
            f"{appraisers} appraisers x {trials} trials x {parts} parts: the factors exist for 2 or 3 "
            "appraisers, 2 or 3 trials, 2 to 10 parts. Use the ANOVA method"
        )
    ranges = values.max(axis=1) - values.min(axis=1)
    means = values.mean(axis=(1, 2))
    part_means = values.mean(axis=(0, 1))
    mean_range, spread = float(ranges.mean()), float(means.max() - means.min())
    part_range = float(part_means.max() - part_means.min())
    limit = _D4[trials] * mean_range
    ev = mean_range * _K1[trials]
    av = math.sqrt(max(0.0, (spread * _K2[appraisers]) ** 2 - ev**2 / (parts * trials)))
    grr, pv = math.hypot(ev, av), part_range * _K3[parts]
    outside = tuple((int(a), int(p)) for a, p in np.argwhere(ranges > limit))
    components = Components(ev, av, grr, pv, math.hypot(grr, pv))
    return RangeStudy(mean_range, spread, part_range, limit, outside, components)


@dataclass(frozen=True, slots=True)
class AnovaStudy:
    """ANOVA method.

    Attributes:
        sums: sum of squares of appraiser, part, interaction, error and total.
        f_interaction: F of the interaction.
        p_interaction: its p-value.
        pooled: the interaction was not significant and went into the error.
        components: the result; a negative variance counts as 0.
    """

    sums: dict[str, float]
    f_interaction: float
    p_interaction: float
    pooled: bool
    components: Components


def anova_study(study: Study, significance: float = 0.05) -> AnovaStudy:
    """Return the two-way random ANOVA with interaction, pooled where the interaction is not significant.

    Raises:
        ValueError: fewer than two appraisers, trials or parts, or values missing.
    """
    from scipy.stats import f as f_distribution

    values = np.asarray(study, np.float64)
    appraisers, trials, parts = _check(values)
    sums = _sums_of_squares(values)
    free_inter, free_error = (appraisers - 1) * (parts - 1), appraisers * parts * (trials - 1)
    ms_inter, ms_error = sums["interaction"] / free_inter, sums["error"] / free_error
    ratio = ms_inter / ms_error if ms_error else math.inf if ms_inter else 0.0
    p = float(f_distribution.sf(ratio, free_inter, free_error))
    pooled = p > significance
    if pooled:
        ms_error = (sums["interaction"] + sums["error"]) / (free_inter + free_error)
    base = ms_error if pooled else ms_inter
    v_appraiser = max(0.0, (sums["appraiser"] / (appraisers - 1) - base) / (parts * trials))
    v_part = max(0.0, (sums["part"] / (parts - 1) - base) / (appraisers * trials))
    v_inter = 0.0 if pooled else max(0.0, (ms_inter - ms_error) / trials)
    ev, av, pv = math.sqrt(ms_error), math.sqrt(v_appraiser + v_inter), math.sqrt(v_part)
    grr = math.hypot(ev, av)
    components = Components(ev, av, grr, pv, math.hypot(grr, pv))
    return AnovaStudy(sums, ratio, p, pooled, components)


def _sums_of_squares(values: Study) -> dict[str, float]:
    appraisers, trials, parts = values.shape
    grand = values.mean()
    total = float(((values - grand) ** 2).sum())
    appraiser = float(((values.mean(axis=(1, 2)) - grand) ** 2).sum()) * parts * trials
    part = float(((values.mean(axis=(0, 1)) - grand) ** 2).sum()) * appraisers * trials
    error = float(((values - values.mean(axis=1, keepdims=True)) ** 2).sum())
    return {
        "appraiser": appraiser,
        "part": part,
        "interaction": total - appraiser - part - error,
        "error": error,
        "total": total,
    }
