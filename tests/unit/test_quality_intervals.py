"""Intervals of the quality pages against published values, SciPy, and by simulation."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from inspection.quality import intervals
from inspection.quality.intervals import (
    NOTHING,
    exact_interval,
    incomplete_beta,
    lower_limit,
    parts_to_show,
    round_down,
    round_up,
    sampled_share,
    upper_limit,
)

ROOT = Path(__file__).parents[2]
SHARED = Path(os.environ.get("INSPECTION_SHARED", ROOT.parent / "shared"))
EXPECTED = SHARED / "reference" / "expected_values.json"


@pytest.mark.shared
@pytest.mark.skipif(not EXPECTED.is_file(), reason=f"no published values at {EXPECTED}")
def test_published_values() -> None:
    expected = json.loads(EXPECTED.read_text())
    for rate, limits in expected["clopper_pearson_95"].items():
        found, size = map(int, rate.split("/"))
        assert exact_interval(found, size) == pytest.approx(limits, rel=1e-11, abs=1e-15)
    assert exact_interval(4, 20, 0.9) == pytest.approx(expected["nist_prc242_4_20_90pct"], rel=1e-9)
    for limit, number in expected["zero_failure_n_95"].items():
        assert parts_to_show(float(limit)) == number
        assert upper_limit(0, number) <= float(limit) < upper_limit(0, number - 1)


@pytest.mark.parametrize(
    ("found", "size"),
    [(0, 1), (1, 1), (1, 500), (3, 48), (18, 20), (2, 1e6), (40_000, 1e6), (999_999, 1e6), (1.7, 233.4)],
)  # fmt: skip
def test_against_scipy(found: float, size: float) -> None:
    low = 0.0 if found == 0 else stats.beta.ppf(0.025, found, size - found + 1)
    high = 1.0 if found == size else stats.beta.isf(0.025, found + 1, size - found)
    assert exact_interval(found, size) == pytest.approx((low, high), rel=1e-8, abs=1e-15)
    if 0 < found < size:
        assert upper_limit(found, size) == pytest.approx(
            stats.beta.isf(0.05, found + 1, size - found), rel=1e-8
        )
        assert lower_limit(found, size) == pytest.approx(
            stats.beta.ppf(0.05, found, size - found + 1), rel=1e-8
        )


def test_incomplete_beta_against_scipy() -> None:
    generator = np.random.default_rng(5)
    for _ in range(400):
        a, b = 10 ** generator.uniform(-1, 5, 2)
        x = generator.beta(a, b)
        assert incomplete_beta(x, a, b) == pytest.approx(
            stats.beta.cdf(x, a, b), rel=1e-8, abs=1e-14
        )


def test_equal_probabilities_are_a_plain_sample() -> None:
    none = sampled_share([(0.02, 300, 0)])
    assert (none.low, none.high) == pytest.approx(exact_interval(0, 300))
    assert none.upper == pytest.approx(upper_limit(0, 300))
    three = sampled_share([(0.02, 300, 3)])
    assert three.estimate == pytest.approx(0.01)
    assert three.effective == pytest.approx(299)  # the variance of a sample has n - 1
    low, high = exact_interval(3, 300)
    assert three.low <= low
    assert three.high >= high


def test_weights_count() -> None:
    # 1000 of 10 000 drawn in the first week, 10 of 10 000 in the second: one miss there stands for 1000 parts
    share = sampled_share([(0.1, 1000, 0), (0.001, 10, 1)])
    assert share.estimate == pytest.approx(1000 / 20_000)
    assert share.effective < 45
    assert share.high > 0.12
    none = sampled_share([(0.1, 1000, 0), (0.001, 10, 0)])
    assert none.effective < 40, "few parts speak for half of all: no comfort from the other week"
    assert none.upper > 0.07


def test_the_interval_holds_as_often_as_it_says() -> None:
    generator = np.random.default_rng(11)
    sizes, rates, draws = (20_000, 20_000), (0.02, 0.006), (0.05, 0.01)
    truth = sum(n * r for n, r in zip(sizes, rates, strict=True)) / sum(sizes)
    inside = below = 0
    for _ in range(400):
        groups = []
        for size, rate, draw in zip(sizes, rates, draws, strict=True):
            reviewed = int(generator.binomial(size, draw))
            groups.append((draw, reviewed, int(generator.binomial(reviewed, rate))))
        share = sampled_share(groups)
        inside += share.low <= truth <= share.high
        below += truth <= share.upper
    assert inside >= 0.93 * 400
    assert below >= 0.93 * 400


DRAWN = st.tuples(
    st.one_of(st.just(1.0), st.floats(1e-6, 1.0), st.floats(-6, 0).map(lambda power: 10.0**power)),
    st.integers(0, 5000),
    st.one_of(st.just(0.0), st.just(1.0), st.floats(0, 1)),
).map(lambda row: (row[0], row[1], round(row[1] * row[2])))


@given(groups=st.lists(DRAWN, max_size=5))
@example(groups=[(1.0, 41, 1), (0.0005, 300, 0)])  # every part at first, then a small share
@example(groups=[(1.0, 11, 1), (1e-6, 5000, 0)])
@example(groups=[(1e-6, 1, 1), (1.0, 5000, 0)])
@settings(max_examples=150, deadline=None)
def test_any_shares_of_the_draw_have_an_interval(groups: list[tuple[float, int, int]]) -> None:
    share = sampled_share(groups)
    if share.estimate is None:
        assert share == NOTHING
        return
    assert 0 <= share.low <= share.estimate <= share.high <= 1
    assert share.upper <= 1


@pytest.mark.parametrize("a", [1e-6, 1e-3, 0.01, 0.3])
@pytest.mark.parametrize("b", [1.0, 40.0, 1300.0])
def test_a_small_count_has_a_quantile(a: float, b: float) -> None:
    for share in (0.025, 0.5, 0.975):
        found = intervals.beta_quantile(share, a, b)
        assert found == pytest.approx(stats.beta.ppf(share, a, b), rel=1e-7, abs=1e-300)


def test_nothing_reviewed_says_nothing() -> None:
    assert sampled_share([]) == NOTHING
    assert sampled_share([(0.5, 0, 0)]) == NOTHING
    assert NOTHING.upper == 1.0
    assert NOTHING.estimate is None


def test_limits_are_rounded_outwards() -> None:
    assert round_up(0.00990001, 4) == 0.0100
    assert round_up(0.25, 2) == 0.25
    assert round_down(0.00999, 3) == 0.009
    assert round_up(1.0, 3) == 1.0
    assert round_up(1e-9, 4) == 0.0001


@pytest.mark.parametrize(
    "call",
    [
        lambda: exact_interval(3, 2),
        lambda: exact_interval(0, 0),
        lambda: upper_limit(-1, 5),
        lambda: upper_limit(1, 5, 1.0),
        lambda: sampled_share([(0.0, 3, 0)]),
        lambda: sampled_share([(1.1, 3, 0)]),
        lambda: sampled_share([(0.5, 3, 4)]),
        lambda: incomplete_beta(1.5, 1, 1),
        lambda: intervals.beta_quantile(2, 1, 1),
        lambda: parts_to_show(0.0),
    ],
)
def test_nonsense_is_refused(call: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        call()  # type: ignore[operator]
