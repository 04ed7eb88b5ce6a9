"""Estimates and promises: against an independent computation, and by simulation with a fixed seed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from scipy import stats

from inspection.quality.intervals import NOTHING, Share, exact_interval, sampled_share
from inspection.quality.promises import (
    Produced,
    keep_escape,
    keep_overkill,
    missed_share,
    rejected_share,
    reviews_for,
)
from inspection_serve.web.quality.claims import Claim
from inspection_serve.web.quality.estimates import group
from inspection_serve.web.quality.promises import promises


def row(decision: str, verdict: str, number: int, probability: float = 1.0, **more: Any) -> Any:
    """Return a group as the store counts it."""
    found = {
        "decision": decision, "verdict": verdict, "number": number, "probability": probability,
        "why": "sample" if decision == "PASS" else "flagged", "state": "done" if verdict else "open",
        "recipe_number": 1, "part_name": "plate", "release": "plate/1",
    }  # fmt: skip
    return found | more


def escape_of(rows: list[Any]) -> Share:
    return group(((), one) for one in rows)[()].escape()


def independent(parts: list[tuple[float, int]]) -> tuple[float, float, float]:
    """Return estimate and limits of (probability, defective) part by part: Korn and Graubard, with SciPy."""
    weight = np.array([1 / p for p, _ in parts])
    bad = np.array([float(k) for _, k in parts])
    n, share = len(parts), float((weight * bad).sum() / weight.sum())
    size = min(n, weight.sum() ** 2 / (weight**2).sum())
    if 0 < bad.sum() < n:
        variance = (weight**2 * (bad - share) ** 2).sum() / weight.sum() ** 2 * n / (n - 1)
        size = min(size, share * (1 - share) / variance)
    count = share * size
    low = 0.0 if not count else float(stats.beta.ppf(0.025, count, size - count + 1))
    high = 1.0 if count >= size else float(stats.beta.isf(0.025, count + 1, size - count))
    return share, low, high


@pytest.mark.parametrize(
    "drawn",
    [
        [(0.02, 300, 0)],
        [(0.02, 300, 3)],
        [(0.02, 300, 1), (0.1, 900, 4)],  # the rate was changed within the time
        [(0.5, 40, 0), (0.01, 60, 2), (1.0, 200, 1)],
        [(1.0, 500, 7)],  # every part was reviewed
        [(1.0, 60, 60)],
    ],
)
def test_escapes_of_sampled_reviews(drawn: list[tuple[float, int, int]]) -> None:
    rows, parts = [], []
    for probability, number, found in drawn:
        rows.append(row("PASS", "missed", found, probability))
        rows.append(row("PASS", "false_call", number - found, probability))
        parts += [(probability, 1)] * found + [(probability, 0)] * (number - found)
    # neither somebody's choice, nor what waits, nor what nobody could judge, says anything
    rows += [row("PASS", "missed", 50, why="asked"), row("PASS", "", 70, 0.02)]
    rows += [row("PASS", "aborted", 9, 0.02), row("FAIL", "real_defect", 80)]
    share = escape_of(rows)
    assert (share.estimate, share.low, share.high) == pytest.approx(
        independent(parts), rel=1e-7, abs=1e-12
    )


def test_zero_reviews_say_nothing() -> None:
    assert escape_of([row("PASS", "", 500, 0.02)]) == NOTHING
    assert group(())[()].overkill() == NOTHING
    doubted = escape_of([row("PASS", "unsure", 3, 0.02, state="engineer")])
    assert doubted.estimate is None
    assert doubted.upper == 1.0


def test_overkill_of_reviewed_failures() -> None:
    rows = [
        row("FAIL", "false_call", 6),
        row("FAIL", "real_defect", 90),
        row("FAIL", "borderline", 4),
    ]
    share = group(((), one) for one in rows)[()].overkill()
    assert share.estimate == pytest.approx(0.06)
    low, high = stats.binomtest(6, 100).proportion_ci(method="exact")
    assert share.low <= low < share.high
    assert share.high >= high


def simulate(
    dice: np.random.Generator, rate: float, reject: float, miss: float
) -> tuple[Produced, float, float]:
    """Make parts of two weeks, draw passed ones at two rates; return what is known, and the truths."""
    rows, passed, failed, missed, bad = [], 0, 0, 0, 0
    for drawn in (0.02, 0.08):
        parts = 20_000
        defective = int(dice.binomial(parts, rate))
        gone = int(dice.binomial(defective, miss))
        rejected = int(dice.binomial(parts - defective, reject))
        good = parts - defective - rejected
        seen_bad, seen_good = int(dice.binomial(gone, drawn)), int(dice.binomial(good, drawn))
        rows += [
            row("PASS", "missed", seen_bad, drawn),
            row("PASS", "false_call", seen_good, drawn),
        ]
        looked = int(dice.binomial(rejected, 0.7)), int(dice.binomial(defective - gone, 0.7))
        rows += [row("FAIL", "false_call", looked[0]), row("FAIL", "real_defect", looked[1])]
        passed, failed = passed + gone + good, failed + rejected + defective - gone
        missed, bad = missed + gone, bad + defective
    found = group(((), one) for one in rows)[()]
    made = Produced(passed, failed, 0, found.escape(), found.overkill())
    return made, missed / bad, (failed - (bad - missed)) / (40_000 - bad)


def test_limits_hold_as_often_as_they_say() -> None:
    """The truth of each time lies under the upper limit, and over the lower one, 95 times of 100."""
    dice, rounds = np.random.default_rng(20), 300
    wrong: Counter[str] = Counter()
    for _ in range(rounds):
        made, missed, rejected = simulate(dice, rate=0.03, reject=0.01, miss=0.1)
        for name, truth, (low, estimate, upper) in (
            ("missed", missed, missed_share(made)),
            ("rejected", rejected, rejected_share(made)),
        ):
            assert estimate is not None
            assert low <= estimate <= upper
            wrong[f"{name} over"] += truth > upper
            wrong[f"{name} under"] += truth < low
    assert max(wrong.values()) <= 0.05 * rounds, wrong


def test_a_promise_is_rarely_called_kept_or_broken_wrongly() -> None:
    dice, rounds = np.random.default_rng(21), 120
    states: Counter[str] = Counter()
    for _ in range(rounds):
        made, missed, _ = simulate(dice, rate=0.03, reject=0.01, miss=0.1)
        states["kept"] += keep_escape(missed * 0.999, made).state == "kept"
        states["broken"] += keep_escape(missed * 1.001, made).state == "broken"
        states["shown"] += keep_escape(0.5, made).state == "kept"
        states["seen"] += keep_escape(0.001, made).state == "broken"
    assert states["kept"] <= 0.05 * rounds
    assert states["broken"] <= 0.05 * rounds
    assert states["shown"] > 0.9 * rounds, "a promise that is kept by far is shown"
    assert states["seen"] > 0.9 * rounds, "a promise that is broken by far is seen"


def made_of(passed: int, reviewed: int, bad: int, failed: int, good: int) -> Produced:
    overkill = sampled_share([(1.0, failed, good)]) if failed else NOTHING
    escape = sampled_share([(reviewed / passed, reviewed, bad)]) if reviewed else NOTHING
    return Produced(passed, failed, 0, escape, overkill)


def test_how_many_more_reviews() -> None:
    """So many more passed parts without a defect, and the promise is kept; one less, and it is not."""
    made = made_of(100_000, 500, 0, 5_000, 100)
    kept = keep_escape(0.05, made)
    assert kept.state == "open"
    assert kept.more is not None
    assert keep_escape(0.05, made_of(100_000, 500 + kept.more, 0, 5_000, 100)).state == "kept"
    assert keep_escape(0.05, made_of(100_000, 499 + kept.more, 0, 5_000, 100)).state == "open"
    for found, allowed in ((0, 0.01), (3, 0.02), (0, 0.9)):
        number = reviews_for(found, allowed)
        assert number is not None
        assert exact_interval(found, number)[1] <= allowed
        assert number <= max(1, found) or exact_interval(found, number - 1)[1] > allowed
    assert reviews_for(0, 1e-9) is None
    assert reviews_for(0, 1.0) == 1


def test_what_is_missing_is_said() -> None:
    assert keep_escape(0.05, made_of(1_000, 100, 0, 0, 0)).missing == "defects"
    assert keep_escape(0.05, made_of(1_000, 100, 0, 40, 40)).missing == "defects"
    few = keep_escape(0.0001, made_of(1_000, 100, 0, 40, 1))
    assert (few.state, few.more, few.missing) == ("open", None, "never")
    assert keep_overkill(0.05, made_of(1_000, 0, 0, 40, 30)).missing == "passed"
    assert keep_overkill(0.9, made_of(1_000, 100, 0, 40, 30)).state == "kept"
    assert keep_overkill(0.001, made_of(10_000, 300, 0, 400, 300)).state == "broken"
    idle = Produced(0, 5, 0, NOTHING, NOTHING)
    assert keep_escape(0.01, idle).state in {"open", "kept"}
    assert keep_overkill(0.01, Produced(5, 0, 0, NOTHING, NOTHING)).state in {"open", "kept"}


def test_parts_between_the_limits_take_the_worse_side() -> None:
    plain = made_of(100_000, 2_000, 40, 1_000, 10)
    held = Produced(plain.passed, plain.failed, 5_000, plain.escape, plain.overkill)
    assert missed_share(held)[2] == missed_share(plain)[2]
    assert missed_share(held)[0] < missed_share(plain)[0]


def test_promises_are_by_recipe_and_release() -> None:
    counted = {
        (1, "plate", "plate/1", "PASS"): 10_000, (1, "plate", "plate/1", "FAIL"): 500,
        (1, "plate", "plate/2", "PASS"): 77, (2, "plate", "plate/1", "PASS"): 5,
    }  # fmt: skip
    said = [
        row("PASS", "false_call", 1_000, 0.1), row("FAIL", "real_defect", 490), row("FAIL", "false_call", 10),
        row("PASS", "missed", 60, 0.9, release="plate/2"),
    ]  # fmt: skip
    claims = [
        Claim(1, "plate/1", 0.2, 0.0001), Claim(2, "plate/1", why_none="changed"), Claim(3, "x/1", 0.1),
    ]  # fmt: skip
    found = list(promises(claims, counted, said, "2026-11-01T00:00"))
    assert [(one.recipe, one.what, one.state) for one in found] == [
        (1, "escape", "kept"), (1, "overkill", "broken"), (2, "escape", "none"), (2, "overkill", "none"),
    ]  # fmt: skip
    assert found[2].why_none == "changed"
    assert not found[0].older
    late = Claim(1, "plate/1", 0.2, since=2e9)
    assert next(promises([late], counted, said, "2026-11-01T00:00")).older
