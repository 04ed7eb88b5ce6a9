"""The numbers of the quality page from counts and verdicts of one moment."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from inspection.quality.charts import laney_chart, p_chart, western_electric
from inspection.quality.intervals import round_up
from inspection.quality.promises import missed_share
from inspection.store.rows import Values, utc_now
from inspection.store.web.access import WebStore
from inspection.store.web.counts import NONE, Counts, Wanted
from inspection.store.web.tallies import judged, none_kept
from inspection.types import Decision
from inspection_serve.web.quality.answers import (
    Bar,
    Confusion,
    Control,
    ControlPoint,
    Estimate,
    Kind,
    Measure,
    Numbers,
    Point,
    Summary,
)
from inspection_serve.web.quality.claims import Claim
from inspection_serve.web.quality.estimates import ENOUGH, Group, group
from inspection_serve.web.quality.period import Period
from inspection_serve.web.quality.promises import promises

RULES = (1, 4)
MOST_GROUPS = 70
"""Shifts, recipes or releases listed, the newest or largest."""
_COUNTED: dict[Measure, tuple[str, ...]] = {
    "fail": ("FAIL",),
    "flagged": ("FAIL", "REVIEW"),
    "not_inspected": ("NOT_INSPECTED",),
}
_INSPECTED = ("PASS", "FAIL", "REVIEW")
_OF = ("recipe_number", "part_name", "release")


def summarise(
    store: WebStore,
    period: Period,
    wanted: Wanted,
    measure: Measure,
    kind: Kind,
    claims: Sequence[Claim] = (),
) -> Summary:
    """Return the summary of a period. `wanted` has the period's times. Raises StoreError."""
    at, told = utc_now(), replace(wanted, decisions=(Decision.PASS.value, Decision.FAIL.value))
    long = period.per in ("shift", "day")  # many half hours are summed by the database
    whole = [(bucket.start, bucket.end) for bucket in period.buckets] if long else []
    with store.read("counting for the quality page") as connection:
        counts = Counts(connection, wanted)
        times = counts.by("slot", "decision", buckets=whole)
        both = counts.by(*_OF, "decision", "reason", "defect_class")
        said = judged(connection, wanted, *_OF)
        by_slot = judged(connection, told, "slot", buckets=whole) if period.per == "shift" else []
        unkept = none_kept(connection, wanted)
    why, groups = _by(both, 3, 4, 5), _by(both, 0, 1, 2, 3)
    places = period.places({slot for slot, _ in times} | {row["slot"] for row in by_slot})
    points = _points(period, times, places)
    totals = _numbers(times)
    every = group(((), row) for row in said)[()]
    every.passed, every.failed = totals.PASS, totals.FAIL
    flagged = {k: n for k, n in why.items() if k[0] in (Decision.FAIL.value, Decision.REVIEW.value)}
    stopped = {k: n for k, n in why.items() if k[0] != Decision.PASS.value and k[1]}
    missed, missed_upper = _missed(every)
    return Summary(
        at=at,
        since=period.since,
        until=period.until,
        per=period.per,
        totals=totals,
        points=tuple(points),
        defects=_bars(flagged, 2),
        reasons=_bars(stopped, 1),
        estimates=(
            Estimate.of(every, group="all", name=""),
            *_by_shift(period, points, by_slot, places),
            *_by_column(groups, said, ("recipe_number", "part_name"), "recipe"),
            *_by_column(groups, said, ("release",), "release"),
        ),
        unkept=unkept,
        missed=missed,
        missed_upper=round_up(missed_upper, 6),
        promises=tuple(promises(claims, groups, said, period.since)),
        confusion=tuple(
            Confusion.of(d.value, getattr(totals, d.value), every.by[d.value]) for d in Decision
        ),
        control=control(points, measure, kind),
    )


def _by(counted: dict[tuple[Any, ...], int], *places: int) -> dict[tuple[Any, ...], int]:
    """Return the sums by some of the keys alone."""
    found: dict[tuple[Any, ...], int] = defaultdict(int)
    for key, number in counted.items():
        found[tuple(key[place] for place in places)] += number
    return found


def _numbers(counted: dict[tuple[Any, ...], int]) -> Numbers:
    total: Counter[str] = Counter()
    for (_, decision), number in counted.items():
        total[decision] += number
    return Numbers(**total)


def _points(
    period: Period, times: dict[tuple[Any, ...], int], places: dict[str, int]
) -> list[Point]:
    sums: list[Counter[str]] = [Counter() for _ in period.buckets]
    for (slot, decision), number in times.items():
        sums[places[slot]][decision] += number
    return [
        Point(start=bucket.start, end=bucket.end, shift=bucket.shift, **total)
        for bucket, total in zip(period.buckets, sums, strict=True)
    ]


def _bars(counted: dict[tuple[Any, ...], int], place: int) -> tuple[Bar, ...]:
    sums: dict[str, Counter[str]] = defaultdict(Counter)
    for key, number in counted.items():
        sums[key[place]][key[0]] += number
    whole, so_far, found = sum(total.total() for total in sums.values()), 0, []
    for name, total in sorted(sums.items(), key=lambda pair: (-pair[1].total(), pair[0])):
        number = total.total()
        so_far += number
        found.append(
            Bar(
                name=name,
                number=number,
                share=number / whole,
                cumulative=so_far / whole,
                decisions=Numbers(**total),
            )
        )
    return tuple(found)


def _missed(every: Group) -> tuple[float | None, float]:
    """Return the passed ones among all defective parts: estimate, None below `ENOUGH`, and upper limit."""
    made = every.made()
    _, estimate, upper = missed_share(made)
    enough = min(made.passed.reviewed, made.failed.reviewed) >= ENOUGH
    return estimate if enough else None, upper


def _by_shift(
    period: Period, points: list[Point], said: list[Values], places: dict[str, int]
) -> list[Estimate]:
    if period.per != "shift":
        return []
    groups = group((places[row["slot"]], row) for row in said)
    found = []
    for place in range(max(0, len(points) - MOST_GROUPS), len(points)):
        point, one = points[place], groups.get(place, Group())
        if point.all:
            one.passed, one.failed = point.PASS, point.FAIL
            named = {"name": point.shift, "start": point.start, "end": point.end}
            found.append(Estimate.of(one, group="shift", **named))
    return found


def _by_column(
    counted: dict[tuple[Any, ...], int], said: list[Values], names: tuple[str, ...], what: str
) -> list[Estimate]:
    columns = (*_OF, "decision")
    chosen = [columns.index(name) for name in names]
    sums: dict[tuple[Any, ...], Counter[str]] = defaultdict(Counter)
    for key, number in counted.items():
        sums[tuple(key[place] for place in chosen)][key[3]] += number
    groups = group((tuple(row[name] for name in names), row) for row in said)
    found = []
    for key, total in sorted(sums.items(), key=lambda pair: -pair[1].total())[:MOST_GROUPS]:
        if key[0] in ("", NONE):
            continue  # no model or recipe judged them: nothing was passed
        one = groups.get(key, Group())
        one.passed, one.failed = total["PASS"], total["FAIL"]
        named: dict[str, Any] = {"name": str(key[0])}
        if what == "recipe":
            named = {"name": f"{key[0]} {key[1]}".strip(), "recipe": key[0]}
        found.append(Estimate.of(one, group=what, **named))
    return found


def control(points: list[Point], measure: Measure, kind: Kind) -> Control:
    """Return the control chart of the points that have parts, with the rules that they break."""
    counted = _COUNTED[measure]
    of_all = (*_INSPECTED, "NOT_INSPECTED") if measure == "not_inspected" else _INSPECTED
    used = [point for point in points if any(getattr(point, name) for name in of_all)]
    if len(used) < 2:
        return Control(kind=kind, measure=measure, centre=0.0, sigma_z=1.0, points=())
    sizes = [sum(getattr(point, name) for name in of_all) for point in used]
    found = [sum(getattr(point, name) for name in counted) for point in used]
    chart = (laney_chart if kind == "laney" else p_chart)(found, sizes)
    sigma = chart.sigma_z * np.sqrt(chart.centre * (1 - chart.centre) / np.asarray(sizes, float))
    rules: dict[int, list[int]] = defaultdict(list)
    if sigma.all():
        for place, rule in western_electric(
            ((chart.points - chart.centre) / sigma).tolist(), RULES
        ):
            rules[place].append(rule)
    return Control(
        kind=kind,
        measure=measure,
        centre=chart.centre,
        sigma_z=chart.sigma_z,
        points=tuple(
            ControlPoint(
                start=point.start,
                end=point.end,
                shift=point.shift,
                size=sizes[i],
                count=found[i],
                share=float(chart.points[i]),
                lower=float(chart.lower[i]),
                upper=float(chart.upper[i]),
                rules=tuple(rules[i]),
            )
            for i, point in enumerate(used)
        ),
    )
