"""Agreement of appraisers on good and bad (attribute MSA): people, or the machine as one of them.

Kappa after Cohen (1960) and Fleiss (1971); effectiveness, miss and false alarm as in the AIAG MSA
manual, 4th edition, p. 131 to 145. `miss` is a bad part called good, `false_alarm` a good part called bad.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ratings = NDArray[np.bool_]
"""bool [parts, trials] of one appraiser: True is bad."""


def cohen_kappa(table: Sequence[Sequence[int]]) -> float:
    """Return kappa of a square table of counts: rows one appraiser, columns the other.

    1 when both always use the same single category: they agree, though kappa is undefined there.
    """
    counts = np.asarray(table, np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or counts.sum() <= 0:
        raise ValueError("kappa needs a square table of counts that is not empty")
    shares = counts / counts.sum()
    agreed = float(np.trace(shares))
    chance = float(shares.sum(axis=0) @ shares.sum(axis=1))
    return 1.0 if chance >= 1 else (agreed - chance) / (1 - chance)


def fleiss_kappa(counts: Sequence[Sequence[int]]) -> float:
    """Return kappa of many ratings: one row a part, one column a category, the same sum in each row."""
    table = np.asarray(counts, np.float64)
    if table.ndim != 2 or not table.size:
        raise ValueError("kappa needs one row a part and one column a category")
    ratings = table.sum(axis=1)
    if ratings[0] < 2 or (ratings != ratings[0]).any():
        raise ValueError("every part needs the same number of ratings, two or more")
    n = ratings[0]
    agreed = float(((table**2).sum(axis=1) - n).mean() / (n * (n - 1)))
    chance = float(((table.sum(axis=0) / table.sum()) ** 2).sum())
    return 1.0 if chance >= 1 else (agreed - chance) / (1 - chance)


@dataclass(frozen=True, slots=True)
class Appraiser:
    """One appraiser of a study.

    Both conventions of a match are given, since reports mix them up: `*_parts` counts parts on which all
    trials agree; `*_ratings` counts every single rating.

    Attributes:
        parts: parts rated.
        within: parts whose trials all agree with each other.
        standard_parts: parts whose trials all agree with the reference.
        standard_ratings: ratings that agree with the reference.
        ratings: ratings in all.
        miss: ratings of bad parts that said good, as a share; None without bad parts.
        false_alarm: ratings of good parts that said bad, as a share; None without good parts.
        fleiss_within: kappa among the own trials; None for a single trial.
        fleiss_standard: mean over the trials of kappa (Fleiss, two ratings) against the reference.
        cohen_standard: kappa of all trials together against the reference.
    """

    parts: int
    within: int
    standard_parts: int
    standard_ratings: int
    ratings: int
    miss: float | None
    false_alarm: float | None
    fleiss_within: float | None
    fleiss_standard: float
    cohen_standard: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """A whole study.

    Attributes:
        appraisers: name to its numbers.
        between: parts on which all ratings of all appraisers agree.
        all_standard: parts on which they also agree with the reference.
        fleiss_between: kappa of all ratings of all appraisers; None for a single rating of each part.
    """

    appraisers: dict[str, Appraiser]
    between: int
    all_standard: int
    fleiss_between: float | None


def study_agreement(ratings: Mapping[str, Ratings], reference: NDArray[np.bool_]) -> Agreement:
    """Return the agreement of a study.

    Args:
        ratings: appraiser to bool [parts, trials], True is bad; all of the same shape.
        reference: bool [parts], True is bad.

    Raises:
        ValueError: no appraiser, or shapes that differ.
    """
    shapes = {np.shape(x) for x in ratings.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2 or next(iter(shapes))[0] != len(reference):
        raise ValueError("every appraiser must rate every part of the reference equally often")
    everything = np.concatenate([np.asarray(x, bool) for x in ratings.values()], axis=1)
    same = (everything == everything[:, :1]).all(axis=1)
    return Agreement(
        appraisers={
            name: _appraiser(np.asarray(x, bool), reference) for name, x in ratings.items()
        },
        between=int(same.sum()),
        all_standard=int((same & (everything[:, 0] == reference)).sum()),
        fleiss_between=_own_kappa(everything),
    )


def _appraiser(rated: Ratings, reference: NDArray[np.bool_]) -> Appraiser:
    same = (rated == rated[:, :1]).all(axis=1)
    right = rated == reference[:, None]
    trials = [np.stack([rated[:, t], reference], axis=1) for t in range(rated.shape[1])]
    pooled = np.repeat(reference, rated.shape[1]), rated.ravel()
    table = [
        [int(((pooled[0] == a) & (pooled[1] == b)).sum()) for b in (True, False)]
        for a in (True, False)
    ]
    return Appraiser(
        parts=len(rated),
        within=int(same.sum()),
        standard_parts=int(right.all(axis=1).sum()),
        standard_ratings=int(right.sum()),
        ratings=rated.size,
        miss=_share(~rated[reference]),
        false_alarm=_share(rated[~reference]),
        fleiss_within=_own_kappa(rated),
        fleiss_standard=float(np.mean([fleiss_kappa(_category_counts(x)) for x in trials])),
        cohen_standard=cohen_kappa(table),
    )


def _own_kappa(rated: Ratings) -> float | None:
    return fleiss_kappa(_category_counts(rated)) if rated.shape[1] > 1 else None


def _category_counts(rated: Ratings) -> list[list[int]]:
    bad = rated.sum(axis=1)
    return [[int(b), int(rated.shape[1] - b)] for b in bad]


def _share(values: NDArray[np.bool_]) -> float | None:
    return float(values.mean()) if values.size else None


def bowker_symmetry(table: Sequence[Sequence[int]]) -> tuple[float, int, float]:
    """Return chi², degrees of freedom and p-value of Bowker's test (1948; ISO 22514-7, 12).

    A square table that is not symmetric means that one appraiser leans to one side. Pairs without any
    count are left out of the degrees of freedom.
    """
    from scipy.stats import chi2

    counts = np.asarray(table, np.float64)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError("the test needs a square table of counts")
    upper = np.triu_indices(len(counts), 1)
    a, b = counts[upper], counts.T[upper]
    used = a + b > 0
    statistic = float((((a - b) ** 2)[used] / (a + b)[used]).sum())
    freedom = int(used.sum())
    return statistic, freedom, float(chi2.sf(statistic, freedom)) if freedom else 1.0


@dataclass(frozen=True, slots=True)
class GreyZone:
    """Where appraisers disagree about a measured part (signal detection, ISO 22514-7, 12.3).

    Attributes:
        lower: width of the zone at the lower limit of the tolerance, in the unit of the reference.
        upper: width at the upper limit.
        mean: mean of both: the spread of the attribute gauge.
        share: mean over the tolerance.
    """

    lower: float
    upper: float
    mean: float
    share: float


def grey_zone(
    reference: Sequence[float], accepted: Sequence[Sequence[bool]], tolerance: tuple[float, float]
) -> GreyZone:
    """Return the zones between the parts all ratings accept and those all reject, at both limits.

    Args:
        reference: measured value of each part.
        accepted: for each part, every rating; True is accepted.
        tolerance: lower and upper limit.

    Raises:
        ValueError: no part that all accept, or none that all reject on one side.
    """
    values = np.asarray(reference, np.float64)
    all_in = np.array([all(x) for x in accepted], bool)
    all_out = np.array([not any(x) for x in accepted], bool)
    if values.shape != all_in.shape or not all_in.any():
        raise ValueError("no part was accepted by every rating; the zone has no inner edge")
    low_in, high_in = values[all_in].min(), values[all_in].max()
    below, above = values[all_out & (values < low_in)], values[all_out & (values > high_in)]
    if not below.size or not above.size:
        raise ValueError("no part was rejected by every rating on both sides of the tolerance")
    lower, upper = float(low_in - below.max()), float(above.min() - high_in)
    mean = (lower + upper) / 2
    return GreyZone(lower, upper, mean, mean / (tolerance[1] - tolerance[0]))
