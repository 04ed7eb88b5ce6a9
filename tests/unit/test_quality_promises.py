"""Estimates and promises: against an independent computation, and by simulation with a fixed seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from scipy import stats

from inspection.quality.intervals import NOTHING, Share, exact_interval
from inspection.quality.promises import (
    Produced,
    keep_escape,
    keep_overkill,
    missed_share,
    rejected_share,
    reviews_for,
)
from inspection_serve.web.quality.answers import Promise
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


def made_from(rows: list[Any], passed: int, failed: int, held: int = 0) -> Produced:
    found = group(((), one) for one in rows)[()]
    found.passed, found.failed = passed, failed
    return found.made(held)


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
    made = made_from(rows, passed, failed)
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
    drawn = reviewed / passed
    rows = [row("PASS", "missed", bad, drawn), row("PASS", "false_call", reviewed - bad, drawn)]
    rows += [row("FAIL", "false_call", good), row("FAIL", "real_defect", failed - good)]
    return made_from([one for one in rows if one["number"]], passed, failed)


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


def test_parts_between_the_limits_take_the_worse_side() -> None:
    plain = made_of(100_000, 2_000, 40, 1_000, 10)
    held = replace(plain, held=5_000)
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


def told(
    passed: int, failed: int, rows: list[Any], *, escape: float | None, overkill: float | None
) -> list[Promise]:
    """Return what the page tells of one recipe."""
    counted = {(1, "plate", "plate/1", "PASS"): passed, (1, "plate", "plate/1", "FAIL"): failed}
    found = promises([Claim(1, "plate/1", escape, overkill)], counted, rows, "2026-11-01T00:00")
    return [one for one in found if one.state != "none"]


@pytest.mark.parametrize("number", [0, 1, 200])
def test_without_any_part_that_could_break_it_a_promise_is_kept(number: int) -> None:
    """Parts with one decision only, reviewed or not: no part with the other one is good or defective."""
    drawn = [row("PASS", "false_call", number, 0.1)] if number else []
    (kept,) = told(2_000, 0, drawn, escape=None, overkill=0.01)
    assert (kept.state, kept.low, kept.upper, kept.estimate) == ("kept", 0, 0, None)
    judged = [row("FAIL", "real_defect", number)] if number else []
    (kept,) = told(0, 2_000, judged, escape=0.01, overkill=None)
    assert (kept.state, kept.low, kept.upper, kept.estimate) == ("kept", 0, 0, None)
    assert missed_share(made_from([], 0, 0))[2] == rejected_share(made_from([], 0, 0))[2] == 1
    for one in told(2_000, 0, drawn, escape=0.01, overkill=None):
        assert (one.state, one.missing) == ("open", "defects")
    for one in told(0, 2_000, judged, escape=None, overkill=0.01):
        assert (one.state, one.missing) == ("open", "passed")


def test_failed_parts_in_doubt_may_be_good() -> None:
    rows = [row("PASS", "false_call", 1_000, 0.02), row("FAIL", "real_defect", 1_000)]
    waiting = [*rows, row("FAIL", "unsure", 1_000, state="engineer")]
    (kept,) = told(50_000, 2_000, waiting, escape=None, overkill=0.01)
    assert (kept.state, kept.missing, kept.low) == ("open", "doubts", 0)
    assert kept.upper > 0.02
    settled = [*rows, row("FAIL", "false_call", 1_000)]
    assert told(50_000, 2_000, settled, escape=None, overkill=0.01)[0].state == "broken"
    share = group(((), one) for one in waiting)[()].overkill()
    assert (share.estimate, share.low) == (0, 0)
    assert share.high > share.upper > 0.5


def test_passed_parts_in_doubt_may_be_good() -> None:
    rows = [row("PASS", "missed", 5), row("PASS", "false_call", 15)]
    waiting = [*rows, row("PASS", "unsure", 500, state="second")]
    failed = [row("FAIL", "real_defect", 60)]
    claimed = {"escape": 0.25, "overkill": None}
    assert told(1_000, 60, [*rows, *failed], **claimed)[0].state == "broken"
    assert told(1_000, 60, [*waiting, *failed], **claimed)[0].state == "open"
    share = escape_of(waiting)
    assert share.estimate == 0.25
    assert share.low < 0.01
    assert share.high > 0.96


def test_failed_parts_on_the_limit_are_no_stopped_defects() -> None:
    drawn = [row("PASS", "false_call", 2_000, 0.02)]
    both = [*drawn, row("FAIL", "real_defect", 10), row("FAIL", "borderline", 990)]
    (kept,) = told(100_000, 1_000, both, escape=0.5, overkill=None)
    assert kept.state == "open"
    assert kept.upper > 0.95
    only = [*drawn, row("FAIL", "real_defect", 10)]
    assert kept.upper >= told(100_000, 10, only, escape=0.5, overkill=None)[0].upper
    passed = [row("PASS", "borderline", 1_000, 0.02), row("FAIL", "real_defect", 1_000)]
    assert told(50_000, 1_000, passed, escape=0.5, overkill=None)[0].state == "open"
    few = [row("PASS", "borderline", 990, 0.02), row("PASS", "false_call", 10, 0.02)]
    few.append(row("FAIL", "false_call", 20))
    (kept,) = told(50_000, 1_000, few, escape=None, overkill=0.5)
    assert kept.state == "open", "passed parts on the limit are no good parts that passed"


def test_an_estimate_needs_reviews_of_both() -> None:
    drawn = [row("PASS", "false_call", 1_000, 0.1), row("PASS", "missed", 5, 0.1)]
    for number, shown in ((58, False), (59, True)):
        rows = [*drawn, row("FAIL", "real_defect", number - 9), row("FAIL", "false_call", 9)]
        for one in told(10_000, 500, rows, escape=0.1, overkill=0.1):
            assert (one.estimate is not None) == shown
        for one in told(10_000, 500, [*rows[2:], *rows[:1]], escape=0.1, overkill=0.1):
            assert (one.estimate is not None) == shown
    rows = [row("PASS", "false_call", 58, 0.1), row("FAIL", "real_defect", 400)]
    assert {one.estimate for one in told(9_000, 400, rows, escape=0.1, overkill=0.1)} == {None}


def settlements(doubted: int, dice: np.random.Generator) -> list[dict[str, int]]:
    """Return the ends, and some ways between them, in which so many parts in doubt may be settled."""
    verdicts = ("missed", "false_call", "borderline", "aborted")
    ways = [{verdict: doubted} for verdict in verdicts]
    for _ in range(3):
        numbers = dice.multinomial(doubted, dice.dirichlet([0.5] * 4)).tolist()
        ways.append(dict(zip(verdicts, numbers, strict=True)))
    return ways


def test_settling_doubts_never_turns_what_was_told() -> None:
    """However doubts are settled, kept is not broken after it, nor broken kept; limits hold both ends."""
    dice = np.random.default_rng(23)
    seen: Counter[str] = Counter()
    for _ in range(30):
        rows, open_, parts = [], [], {"PASS": 0, "FAIL": 0}
        for decision, drawn in (("PASS", 0.02), ("PASS", 0.1), ("FAIL", 1.0)):
            number, doubted = int(dice.integers(20, 2_000)), int(dice.choice([0, 1, 5, 60]))
            rate = (
                float(dice.choice([0, 0.01, 0.1])) if decision == "PASS" else float(dice.random())
            )
            bad, middle = int(dice.binomial(number, rate)), int(dice.binomial(number // 50, 0.5))
            middle = min(middle, number - bad)
            for verdict, some in (
                ("missed", bad), ("borderline", middle), ("false_call", number - bad - middle),
            ):  # fmt: skip
                rows.append(row(decision, verdict, some, drawn))
            open_.append((decision, drawn, doubted))
            parts[decision] += round((number + doubted) / drawn)
        waiting = [row(d, "unsure", n, p, state="engineer") for d, p, n in open_ if n]
        made = made_from(rows + waiting, parts["PASS"], parts["FAIL"])
        limits = {"escape": missed_share(made), "overkill": rejected_share(made)}
        for way in zip(*(settlements(n, dice) for *_, n in open_), strict=True):
            after = rows + [
                row(decision, verdict, number, drawn)
                for (decision, drawn, _), of in zip(open_, way, strict=True)
                for verdict, number in of.items()
                if number
            ]
            settled = made_from(after, parts["PASS"], parts["FAIL"])
            for what, keep, found in (
                ("escape", keep_escape, missed_share(settled)),
                ("overkill", keep_overkill, rejected_share(settled)),
            ):
                low, _, upper = limits[what]
                assert low <= found[1] <= upper
                for claimed in (0.1, upper, low * 0.999999):
                    if 0 < claimed < 1:
                        state = keep(claimed, made).state
                        seen[state] += 1
                        if state != "open":
                            assert keep(claimed, settled).state in {state, "open"}
        for ends in product(("missed", "false_call"), repeat=2):
            after = rows + [
                row(decision, ends[decision == "PASS"], n, p) for decision, p, n in open_ if n
            ]
            settled = made_from(after, parts["PASS"], parts["FAIL"])
            for what, found in (
                ("escape", missed_share(settled)), ("overkill", rejected_share(settled)),
            ):  # fmt: skip
                assert limits[what][0] <= found[0] <= found[2] <= limits[what][2]
    assert min(seen["kept"], seen["open"], seen["broken"]) > 50
