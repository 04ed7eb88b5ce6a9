"""The statistics reproduce published numbers, to the digits that were published.

Sources: R binom.confint and SciPy's documentation (intervals), NIST/SEMATECH handbook prc242 and pmc332,
Tong-Feng-Li 2018 (misses allowed), AIAG MSA manual 4th edition (agreement p. 134-140, gage R&R),
jaspQualityControl's test set (agreement of 15 parts), Fleiss 1971, ISO 22514-7:2012 (signal detection,
Bowker), ISO 2859-1 (code letter J), Western Electric Handbook.
"""

import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from inspection.quality.charts import laney_chart, np_chart, p_chart, western_electric
from inspection_training.statistics import (
    allowed_misses,
    best_claim,
    clopper_pearson,
    cluster_bootstrap,
    conformal_misses,
    kolmogorov_smirnov,
    mcnemar_exact,
    mean_discrepancy,
    parts_needed,
    population_stability,
    upper_bound,
    wilson,
)
from inspection_training.studies.agreement import (
    bowker_symmetry,
    cohen_kappa,
    fleiss_kappa,
    grey_zone,
    study_agreement,
)
from inspection_training.studies.gage import anova_study, range_study
from inspection_training.studies.sampling import SamplingPlan

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("INSPECTION_SHARED", ROOT.parent / "shared"))
PUBLISHED = SHARED / "reference" / "expected_values.json"
CLOPPER_PEARSON = [
    ("0/59", 0.0, 0.06060890095033985),
    ("0/300", 0.0, 0.012220974694293554),
    ("1/500", 5.0634334007415215e-05, 0.01109247689896879),
    ("3/300", 0.0020670072350923163, 0.02894451125569261),
    ("4/20", 0.05733399705003277, 0.4366140029966683),
    ("18/20", 0.6830172859809177, 0.9876514728297052),
    ("4/200", 0.0054755658795564485, 0.0504136090898963),
    ("7/50", 0.05819170034037209, 0.2673960024970084),
    ("51/235", 0.16606332980830793, 0.27526836402892535),
    ("42/50", 0.7088736934048891, 0.9282992328167138),
    ("45/50", 0.7818646335657977, 0.9667249064109775),
    ("40/50", 0.6628168916165122, 0.899697762527429),
]
WILSON = [
    ("0/59", 0.0, 0.06112937052678842),
    ("0/300", 0.0, 0.01264297122454604),
    ("1/500", 0.00035313639455927543, 0.01124070670514676),
    ("3/300", 0.0034066184377152826, 0.028983493362339838),
    ("4/20", 0.080657662579798, 0.4160174322518936),
    ("18/20", 0.6989663547715127, 0.9721335187862318),
    ("4/200", 0.0078044264163494685, 0.05028708690582645),
    ("19/38", 0.348499283643951, 0.651500716356049),
    ("42/50", 0.7148578393696499, 0.9166257932196658),
    ("45/50", 0.7863976856252034, 0.9565242350681095),
    ("40/50", 0.6696289406777458, 0.8875624998422389),
]
UMBRELLA = [
    (59, 0.05, 0),
    (59, 0.02, -1),
    (59, 0.01, -1),
    (93, 0.05, 1),
    (93, 0.02, -1),
    (93, 0.01, -1),
    (200, 0.05, 4),
    (200, 0.02, 0),
    (200, 0.01, -1),
    (300, 0.05, 8),
    (300, 0.02, 1),
    (300, 0.01, 0),
    (500, 0.05, 16),
    (500, 0.02, 4),
    (500, 0.01, 1),
    (1000, 0.05, 38),
    (1000, 0.02, 12),
    (1000, 0.01, 4),
]
GAGE = np.array(
    [
        [
            [0.29, -0.56, 1.34, 0.47, -0.8, 0.02, 0.59, -0.31, 2.26, -1.36],
            [0.41, -0.68, 1.17, 0.5, -0.92, -0.11, 0.75, -0.2, 1.99, -1.25],
            [0.64, -0.58, 1.27, 0.64, -0.84, -0.21, 0.66, -0.17, 2.01, -1.31],
        ],
        [
            [0.08, -0.47, 1.19, 0.01, -0.56, -0.2, 0.47, -0.63, 1.8, -1.68],
            [0.25, -1.22, 0.94, 1.03, -1.2, 0.22, 0.55, 0.08, 2.12, -1.62],
            [0.07, -0.68, 1.34, 0.2, -1.28, 0.06, 0.83, -0.34, 2.19, -1.5],
        ],
        [
            [0.04, -1.38, 0.88, 0.14, -1.46, -0.29, 0.02, -0.46, 1.77, -1.49],
            [-0.11, -1.13, 1.09, 0.2, -1.07, -0.67, 0.01, -0.56, 1.45, -1.77],
            [-0.15, -0.96, 0.67, 0.11, -1.45, -0.49, 0.21, -0.49, 1.87, -2.16],
        ],
    ]
)
JUICE = [
    12,
    15,
    8,
    10,
    4,
    7,
    16,
    9,
    14,
    10,
    5,
    6,
    17,
    12,
    22,
    8,
    10,
    5,
    13,
    11,
    20,
    18,
    24,
    15,
    9,
    12,
    7,
    13,
    9,
    6,
]
WAFERS = [
    8,
    7,
    11,
    3,
    6,
    11,
    4,
    4,
    5,
    8,
    8,
    6,
    7,
    6,
    10,
    7,
    9,
    5,
    6,
    8,
    8,
    10,
    4,
    11,
    4,
    11,
    6,
    6,
    9,
    5,
    4,
    7,
    5,
    7,
    8,
    5,
    10,
    9,
    7,
    9,
    4,
    9,
    4,
    7,
    11,
    8,
    10,
    8,
    7,
    5,
]


def counted(text: str) -> tuple[int, int]:
    count, total = text.split("/")
    return int(count), int(total)


# ---------------------------------------------------------------------- intervals


@pytest.mark.parametrize(("rate", "low", "high"), CLOPPER_PEARSON)
def test_exact_intervals(rate: str, low: float, high: float) -> None:
    assert clopper_pearson(*counted(rate)) == pytest.approx((low, high), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize(("rate", "low", "high"), WILSON)
def test_score_intervals(rate: str, low: float, high: float) -> None:
    assert wilson(*counted(rate)) == pytest.approx((low, high), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize(
    ("rate", "low", "high"),
    [
        ("18/20", 0.6830172859809176, 0.9876514728297052),  # R binom.confint
        ("4/20", 0.05733399705003284, 0.436614002996668),
        ("7/50", 0.05819170033997342, 0.26739600249700846),  # SciPy's documentation
        ("3/48", 0.013079, 0.171960),
    ],
)
def test_exact_intervals_of_other_programs(rate: str, low: float, high: float) -> None:
    assert clopper_pearson(*counted(rate)) == pytest.approx((low, high), abs=5e-7)


@pytest.mark.parametrize(
    ("rate", "low", "high"),
    [
        ("18/20", 0.6989663547715128, 0.972133518786232),  # R binom.confint
        ("4/20", 0.0806576625797981, 0.4160174322518935),
        ("19/38", 0.348499283643951, 0.651500716356049),
    ],
)
def test_score_intervals_of_r(rate: str, low: float, high: float) -> None:
    assert wilson(*counted(rate)) == pytest.approx((low, high), rel=1e-12)


def test_interval_at_90_percent() -> None:  # NIST prc242
    found = clopper_pearson(4, 20, 0.90)
    assert found == pytest.approx((0.0713538843086182, 0.40102811733197463), rel=1e-12)


def test_one_sided_bounds() -> None:
    assert upper_bound(0, 300) == pytest.approx(0.009936, abs=5e-7)
    assert upper_bound(0, 59) == pytest.approx(0.049508, abs=5e-7)
    assert upper_bound(0, 48) == pytest.approx(0.0605, abs=5e-5)  # 48 cannot prove 2 %
    assert upper_bound(5, 5) == 1.0


# Clopper-Pearson in percent, as the JASP test set and the AIAG manual print it
@pytest.mark.parametrize(
    ("rate", "low", "high"),
    [
        ("7/15", 21.267, 73.414), ("9/15", 32.287, 83.664), ("11/15", 44.900, 92.213),
        ("12/15", 51.911, 95.669), ("14/15", 68.052, 99.831),
        ("42/50", 70.89, 92.83), ("45/50", 78.19, 96.67), ("40/50", 66.28, 89.97),
    ],
)  # fmt: skip
def test_intervals_in_percent(rate: str, low: float, high: float) -> None:
    found = clopper_pearson(*counted(rate))
    assert (found[0] * 100, found[1] * 100) == pytest.approx((low, high), abs=6e-3)


# ---------------------------------------------------------------------- how many parts


@pytest.mark.parametrize(
    ("alpha", "none", "one", "two"),
    [
        (0.1, 29, 46, 61), (0.05, 59, 93, 124), (0.02, 149, 236, 313), (0.01, 299, 473, 628),
        (0.005, 598, 947, 1258), (0.001, 2995, 4742, 6294),
    ],
)  # fmt: skip
def test_parts_needed(alpha: float, none: int, one: int, two: int) -> None:
    assert [parts_needed(alpha, misses=k) for k in (0, 1, 2)] == [none, one, two]
    assert none == math.ceil(math.log(0.05) / math.log1p(-alpha))


@pytest.mark.parametrize(("n", "alpha", "misses"), UMBRELLA)
def test_misses_allowed(n: int, alpha: float, misses: int) -> None:
    assert allowed_misses(n, alpha) == misses


@given(
    n=st.integers(0, 5000), alpha=st.floats(0.001, 0.5), delta=st.sampled_from([0.01, 0.05, 0.1])
)
def test_misses_allowed_is_the_largest_that_keeps_the_claim(
    n: int, alpha: float, delta: float
) -> None:
    k = allowed_misses(n, alpha, delta)
    if k >= 0:
        assert binom.cdf(k, n, alpha) <= delta
        assert parts_needed(alpha, delta, k) <= n
    if n:
        assert binom.cdf(k + 1, n, alpha) > delta


def test_best_claim() -> None:
    assert best_claim(37) == pytest.approx(0.0778, abs=5e-5)
    assert parts_needed(0.01) - 37 == 262
    assert best_claim(37) == pytest.approx(1 - 0.05 ** (1 / 37), rel=1e-12)
    assert best_claim(0) == 1.0
    assert allowed_misses(0, 0.01) == -1


def test_conformal_misses() -> None:
    assert conformal_misses(99, 0.05) == 4
    assert conformal_misses(99, 0.01) == 0
    assert conformal_misses(50, 0.02) == 0
    assert conformal_misses(10, 0.01) == -1


# ---------------------------------------------------------------------- comparison and drift


def test_mcnemar() -> None:
    assert mcnemar_exact(2, 10) == 0.03857421875
    assert mcnemar_exact(10, 2) == 0.03857421875
    assert mcnemar_exact(0, 0) == mcnemar_exact(3, 3) == 1.0


def test_parts_of_one_lot_are_one_observation() -> None:
    hits = [True] * 10 + [False] * 90
    lots = [i // 10 for i in range(100)]
    clustered, spread = cluster_bootstrap(hits, lots), cluster_bootstrap(hits, list(range(100)))
    assert clustered is not None
    assert spread is not None
    assert clustered[1] - clustered[0] > 1.5 * (spread[1] - spread[0])
    assert clustered == cluster_bootstrap(hits, lots), "a seed fixes it"
    assert cluster_bootstrap(hits, [1] * 100) is None
    with pytest.raises(ValueError, match="groups"):
        cluster_bootstrap(hits, [1])


def test_stability_index() -> None:
    found = population_stability([0.1, 0.2, 0.3, 0.4], [0.2, 0.2, 0.3, 0.3])
    assert found == pytest.approx(0.09808292530117264, rel=1e-12)
    assert population_stability([10, 20], [100, 200]) == pytest.approx(0)
    assert math.isfinite(population_stability([1, 0], [0, 1]))


def test_two_samples() -> None:
    d, p = kolmogorov_smirnov([1, 2, 3, 4, 5], [3, 4, 5, 6, 7])
    assert (d, p) == pytest.approx((0.4, 0.873015873015873), rel=1e-12)
    found = mean_discrepancy(np.array([0.0, 1.0]), np.array([1.0, 2.0]))
    assert found.unbiased == pytest.approx(0.038863, abs=5e-7)
    assert found.biased == pytest.approx(0.432332, abs=5e-7)


# ---------------------------------------------------------------------- agreement


# crosstab and kappa, AIAG MSA manual p. 134-140 (prints two digits)
@pytest.mark.parametrize(
    ("table", "kappa"),
    [
        ([[44, 6], [3, 97]], 0.8629441624365481),
        ([[42, 5], [9, 94]], 0.7880072683222289),
        ([[43, 7], [8, 92]], 0.7761194029850746),
        ([[45, 5], [3, 97]], 0.8787878787878788),
        ([[45, 2], [3, 100]], 0.9229821318545903),
        ([[42, 9], [6, 93]], 0.7739602169981917),
    ],
)
def test_kappa_of_two(table: list[list[int]], kappa: float) -> None:
    assert cohen_kappa(table) == pytest.approx(kappa, rel=1e-12)


# the same study as ratings: bad called bad, bad called good, good called bad, good called good
@pytest.mark.parametrize(
    ("cells", "miss", "false_alarm", "kappa"),
    [
        ((45, 3, 5, 97), 0.0625, 0.049019607843137254, 0.8787878787878788),
        ((45, 3, 2, 100), 0.0625, 0.0196078431372549, 0.9229821318545903),
        ((42, 6, 9, 93), 0.125, 0.08823529411764706, 0.7739602169981917),
    ],
)
def test_miss_and_false_alarm(
    cells: tuple[int, int, int, int], miss: float, false_alarm: float, kappa: float
) -> None:
    reference = np.repeat([True, True, False, False], cells)
    said = np.repeat([True, False, True, False], cells)[:, None]
    found = study_agreement({"A": said}, reference).appraisers["A"]
    assert found.miss == pytest.approx(miss, rel=1e-12)
    assert found.false_alarm == pytest.approx(false_alarm, rel=1e-12)
    assert found.cohen_standard == pytest.approx(kappa, rel=1e-12)
    assert found.fleiss_within is None


# jaspQualityControl, msaAttributeKappa: N is No (bad). Trials of parts 1..15 of each operator.
REFERENCE = "YNYYYNYNNYNYYYY"
STUDY = {
    "EG": ("YNYYYYYNNYNYYNY", "YNYNYYYNNYNYYNY", "YNYNYYYNNYNYYNY"),
    "BL": ("YNYYYYNNNYNYYNY", "YNYNYYNNNYNYYNY", "YNYNYYNNNYNYYNY"),
    "MH": ("YYYYYYYNYYYYYNY", "YYYYYYYNNYNYYNY", "YYYYYYYYNYYYYNY"),
}


def test_agreement_of_three_operators() -> None:
    ratings = {
        name: np.array([[mark == "N" for mark in trial] for trial in trials]).T
        for name, trials in STUDY.items()
    }
    found = study_agreement(ratings, np.array([mark == "N" for mark in REFERENCE]))
    who = found.appraisers
    assert {k: v.within for k, v in who.items()} == {"EG": 14, "BL": 14, "MH": 12}
    assert {k: v.standard_parts for k, v in who.items()} == {"EG": 12, "BL": 11, "MH": 9}
    assert (found.between, found.all_standard) == (9, 7)
    expected = {
        "EG": (0.2, 0.16666666666666666, 0.905462184873949, 0.612918660287081, 0.612903225806452),
        "BL": (0.2, 0.26666666666666666, 0.91, 0.48608895977317, 0.492307692307692),
        "MH": (0.6666666666666666, 0.1, 0.543918918918919, 0.220151828847481, 0.264150943396226),
    }
    for name, values in expected.items():
        x = who[name]
        assert (
            x.miss, x.false_alarm, x.fleiss_within, x.fleiss_standard, x.cohen_standard,
        ) == pytest.approx(values, rel=1e-12)  # fmt: skip
    assert found.fleiss_between == pytest.approx(0.641666666666666, rel=1e-12)
    assert who["EG"].standard_ratings == 45 - 3 - 5  # each rating counted: the other convention
    assert who["EG"].ratings == 45


# Fleiss 1971, table 1: depression, personality disorder, schizophrenia, neurosis, other
FLEISS = [
    "00060", "03003", "01401", "00006", "03030", "20400", "00402", "20310", "20040", "00006",
    "10050", "11040", "03300", "10050", "02031", "00501", "30012", "51000", "02040", "10203",
    "00006", "01050", "02013", "20040", "10041", "05010", "40002", "02040", "10500", "00006",
]  # fmt: skip


def test_kappa_of_many() -> None:
    table = [[int(digit) for digit in row] for row in FLEISS]
    assert fleiss_kappa(table) == pytest.approx(0.43024452006014074, rel=1e-12)
    wikipedia = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    assert fleiss_kappa(wikipedia) == pytest.approx(0.20993, abs=5e-6)
    assert fleiss_kappa([[2, 0], [2, 0]]) == 1.0


def test_symmetry() -> None:  # ISO 22514-7:2012, table 12; chi2 0.95 with 3 degrees is 7.815
    statistic, freedom, p = bowker_symmetry([[7, 3, 1], [10, 4, 7], [2, 1, 5]])
    assert (round(statistic, 3), freedom) == (8.603, 3)
    assert p < 0.05
    assert bowker_symmetry([[3, 0], [0, 4]]) == (0.0, 0, 1.0)


def test_grey_zone() -> None:  # ISO 22514-7:2012 12.3; the parts that bound the zones
    reference = [0.446697, 0.45, 0.460, 0.470832, 0.5, 0.542704, 0.55, 0.56, 0.566152]
    accepted = [[False] * 9] + [[True] * 5 + [False] * 4] * 2 + [[True] * 9] * 3
    accepted += [[True] + [False] * 8] * 2 + [[False] * 9]
    found = grey_zone(reference, accepted, (0.45, 0.55))
    assert (found.upper, found.lower, found.mean) == pytest.approx((0.023448, 0.024135, 0.0237915))
    assert found.share * 100 == pytest.approx(23.79, abs=5e-3)
    with pytest.raises(ValueError, match="rejected by every rating"):
        grey_zone(reference[:-1], accepted[:-1], (0.45, 0.55))


# ---------------------------------------------------------------------- gage R&R, AIAG


def test_gage_by_ranges() -> None:
    found = range_study(GAGE)
    parts = found.components
    assert found.mean_range == pytest.approx(0.3417, abs=5e-5)
    assert found.spread == pytest.approx(0.4446, abs=1.1e-4)  # the manual rounds its means
    assert found.part_range == pytest.approx(3.5111, abs=5e-5)
    assert found.range_limit == pytest.approx(0.8795, abs=5e-5)
    assert found.out_of_control == ((1, 3),), "appraiser B, part 4"
    values = (parts.ev, parts.av, parts.grr, parts.pv, parts.tv)
    assert values == pytest.approx((0.20188, 0.22963, 0.30575, 1.10456, 1.14610), abs=5e-5)
    percent = [parts.percent(name) for name in ("ev", "av", "grr", "pv")]
    assert percent == pytest.approx([17.62, 20.04, 26.68, 96.38], abs=1e-2)  # of rounded values
    assert parts.ndc == 5


def test_gage_by_anova() -> None:
    found = anova_study(GAGE)
    sums = [found.sums[name] for name in ("appraiser", "part", "interaction", "error", "total")]
    assert sums == pytest.approx([3.16726, 88.36193, 0.35898, 2.75893, 94.64711], abs=5e-6)
    assert found.f_interaction == pytest.approx(0.43372, abs=5e-6)
    assert found.pooled
    parts = found.components
    values = (parts.ev, parts.av, parts.grr, parts.pv, parts.tv)
    assert values == pytest.approx((0.199933, 0.226838, 0.302372, 1.042327, 1.0853), abs=5e-7)
    assert parts.percent("grr") == pytest.approx(27.86, abs=5e-3)


def test_gage_of_nonsense() -> None:
    with pytest.raises(ValueError, match="two or more"):
        anova_study(np.zeros((1, 3, 10)))
    with pytest.raises(ValueError, match="Use the ANOVA"):
        range_study(np.zeros((3, 4, 10)))
    still = anova_study(np.zeros((2, 2, 2)))
    assert still.components.tv == still.components.percent("grr") == 0.0


# ---------------------------------------------------------------------- charts and sampling


def test_p_chart() -> None:  # NIST pmc332, Montgomery's orange juice; samples counted from 1 there
    chart = p_chart(JUICE, 50)
    assert chart.centre == pytest.approx(0.23133333333333334, rel=1e-12)
    assert chart.upper[0] == pytest.approx(0.41023911859473844, rel=1e-12)
    assert chart.lower[0] == pytest.approx(0.05242754807192823, rel=1e-12)
    assert [i + 1 for i in chart.outside] == [15, 23]
    again = p_chart(JUICE, 50, leave_out=chart.outside)
    assert again.centre == pytest.approx(0.215, rel=1e-12)
    assert again.upper[0] == pytest.approx(0.38929716004571047, rel=1e-12)
    assert again.lower[0] == pytest.approx(0.040702839954289555, rel=1e-12)
    assert [i + 1 for i in again.outside] == [15, 21, 23]


def test_np_chart() -> None:  # wafers, as qcc prints them
    chart = np_chart(WAFERS, 200)
    assert chart.centre == pytest.approx(7.14, rel=1e-12)
    assert chart.upper[0] == pytest.approx(15.011843367344145, rel=1e-12)
    assert chart.lower[0] == 0
    assert chart.outside == ()


def test_laney_widens_what_varies_between_samples() -> None:
    random = np.random.default_rng(1)
    sizes = [5000] * 60
    steady = random.binomial(5000, 0.02, 60)
    wandering = random.binomial(5000, 0.02 * np.exp(random.normal(0, 0.4, 60)))
    assert laney_chart(steady.tolist(), sizes).sigma_z == pytest.approx(1, abs=0.3)
    wide = laney_chart(wandering.tolist(), sizes)
    assert wide.sigma_z > 2
    assert len(wide.outside) < len(p_chart(wandering.tolist(), sizes).outside)
    assert laney_chart([0, 0, 0], 50).outside == ()


@pytest.mark.parametrize(
    ("z", "rule", "point"),
    [
        ([0, 0, 3.1], 1, 3), ([2.1, 0, 2.1], 2, 3), ([1.1, 1.2, 0.2, 1.3, 1.4], 3, 5),
        ([0.1] * 8, 4, 8), ([-0.1] * 8, 4, 8),
    ],
)  # fmt: skip
def test_western_electric(z: list[float], rule: int, point: int) -> None:
    assert western_electric(z, [rule]) == ((point - 1, rule),)
    assert western_electric([0.1] * 7 + [-0.1]) == ()


def test_sampling_plan() -> None:  # ISO 2859-1, code letter J, AQL 1.0
    plan = SamplingPlan(80, 2)
    assert plan.acceptance(0.01) == pytest.approx(0.9534468142640684, rel=1e-12)
    assert plan.acceptance(0.05) == pytest.approx(0.23062050491649155, rel=1e-12)
    assert plan.quality_at_risk(0.1) == pytest.approx(0.06515966699162976, rel=1e-12)
    assert plan.acceptance(0) == 1.0


@pytest.mark.parametrize(
    "call",
    [
        lambda: clopper_pearson(3, 2), lambda: clopper_pearson(0, 0), lambda: wilson(-1, 5),
        lambda: upper_bound(0, 5, 1.0), lambda: parts_needed(0), lambda: parts_needed(1),
        lambda: parts_needed(0.1, misses=-1), lambda: allowed_misses(5, float("nan")),
        lambda: mcnemar_exact(-1, 2), lambda: population_stability([1], [1, 2]),
        lambda: population_stability([0, 0], [1, 1]), lambda: kolmogorov_smirnov([], [1]),
        lambda: mean_discrepancy(np.zeros(1), np.zeros(3)), lambda: cohen_kappa([[1, 2]]),
        lambda: fleiss_kappa([[1, 2], [1, 1]]), lambda: p_chart([3, 4], 2),
        lambda: western_electric([1], [5]), lambda: SamplingPlan(5, 5),
        lambda: bowker_symmetry([[1, 2]]), lambda: study_agreement({}, np.zeros(3, bool)),
    ],
)  # fmt: skip
def test_nonsense_is_refused(call) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        call()


def numbers_in(value: object, where: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from numbers_in(inner, f"{where}/{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from numbers_in(inner, where)
    elif isinstance(value, (int, float)):
        yield where, float(value)


@pytest.mark.shared
@pytest.mark.skipif(not PUBLISHED.is_file(), reason=f"no published values at {PUBLISHED}")
def test_every_published_number_stands_in_these_tests() -> None:
    """A number that is added to the list and asked by no test fails here, with its name."""
    said = Path(__file__).read_text(encoding="utf-8")
    here = np.array([float(x) for x in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", said)])
    missing = [
        where
        for where, number in numbers_in(json.loads(PUBLISHED.read_text(encoding="utf-8")))
        if not (np.abs(here - number) <= 1e-9 * max(1.0, abs(number))).any()
        and not (np.abs(here / 100 - number) <= 1e-9).any()
    ]
    assert missing == []
