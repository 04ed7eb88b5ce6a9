"""The tables of the quality page as files: whatever a name holds, no spreadsheet takes it for a formula."""

from __future__ import annotations

import csv
import io
import re

import pytest

from inspection_serve.web.quality.answers import (
    Bar,
    Estimate,
    Numbers,
    Point,
    Promise,
    ShareAnswer,
    Summary,
)
from inspection_serve.web.quality.estimates import Group
from inspection_serve.web.quality.summary import control
from inspection_serve.web.quality.tables import NAMES, write_csv

FORMULAS = (
    '=cmd|"/c calc"!A1', "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\u00a0=1", "＝1+1",
    "＋1", "－1", "＠x", "x;=1", "\x00=1", '"=1', "=1\n=2",
)  # fmt: skip


def summary(name: str) -> Summary:
    """Return a summary whose every text is `name`."""
    points = tuple(
        Point(start="2026-11-21T08:00", end="2026-11-21T09:00", shift=name, PASS=90, FAIL=10)
        for _ in range(2)
    )
    share = ShareAnswer.of(Group().escape(), 2)
    promise = Promise(
        what="escape", recipe=1, release=name, claimed=0.05, confidence=0.95, why_none="", older=False,
        state="open", estimate=None, low=0.0, upper=1.0, more=-3, missing="",
    )  # fmt: skip
    bar = Bar(name=name, number=1, share=1.0, cumulative=1.0, decisions=Numbers(FAIL=1))
    estimate = Estimate(
        group="release", name=name, passed=1, failed=1, escape=share, overkill=share
    )
    return Summary(
        at="", since="2026-11-21T08:00", until="2026-11-21T09:00", per="hour", totals=Numbers(),
        points=points, defects=(bar,), reasons=(bar,), estimates=(estimate,), missed=None,
        missed_upper=1.0, promises=(promise,), confusion=(), control=control(list(points), "fail", "p"),
        unkept=False,
    )  # fmt: skip


@pytest.mark.parametrize("table", NAMES)
@pytest.mark.parametrize("name", FORMULAS)
def test_no_text_is_read_as_a_formula(table: str, name: str) -> None:
    text = write_csv(table, summary(name)).decode("utf-8-sig")
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert len({len(row) for row in rows}) == 1
    for cell in (cell for row in rows[1:] for cell in row):
        assert "\x00" not in cell
        if re.fullmatch(r"-?[0-9.e-]+", cell):
            continue  # a number stays a number
        for begin in cell.split(";"):
            assert not re.match(r"\s*[=+\-@＝＋－＠]|[\t\r\n]", begin), cell


def test_plain_names_and_numbers_stay_as_they_are() -> None:
    rows = list(
        csv.reader(io.StringIO(write_csv("defects", summary("긁힘, 2-mm")).decode("utf-8-sig")))
    )
    assert rows[1][:3] == ["긁힘, 2-mm", "1", "1.0"]
    promised = write_csv("promises", summary("plate/1")).decode("utf-8-sig").splitlines()
    assert promised[1].split(",")[:4] == ["1", "plate/1", "escape", "0.05"]


def test_the_chart_of_the_page_is_the_published_one() -> None:
    """Montgomery's orange juice (NIST pmc332): 30 samples of 50."""
    juice = [12, 15, 8, 10, 4, 7, 16, 9, 14, 10, 5, 6, 17, 12, 22, 8, 10, 5, 13, 11, 20, 18, 24, 15, 9, 12,
             7, 13, 9, 6]  # fmt: skip
    points = [
        Point(start=f"2026-11-{day:02}T00:00", end="", shift="", PASS=40 - x + 10, FAIL=x)
        for day, x in enumerate(juice, start=1)
    ]
    chart = control(points, "fail", "p")
    assert chart.centre == pytest.approx(0.23133333333333334, rel=1e-12)
    assert {round(point.upper, 6) for point in chart.points} == {0.410239}
    assert {round(point.lower, 6) for point in chart.points} == {0.052428}
    broken = [place for place, point in enumerate(chart.points, start=1) if 1 in point.rules]
    assert broken == [15, 23]
    empty = Point(start="2026-12-01T00:00", end="", shift="")
    assert len(control([*points, empty], "fail", "p").points) == 30, (
        "an hour without parts is no point"
    )
    assert control([*points[:1], empty], "fail", "p").points == ()
