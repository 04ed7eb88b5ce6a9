"""What ends the demo with exit code 1: disagreement always, bad luck of a shift hardly ever."""

from __future__ import annotations

from collections import Counter

import pytest

from inspection.demo.figures import Figures


def figures(caught: tuple[int, int], overkill: tuple[int, int]) -> Figures:
    return Figures(
        decisions=Counter(PASS=70, FAIL=30),
        outcomes=Counter(),
        triggers=100,
        caught=caught,
        overkill=overkill,
        escapes={},
        by_class={},
        answer=[0.04],
        disagreements=[],
    )


@pytest.mark.parametrize(
    ("caught", "overkill", "reasons"),
    [
        ((28, 31), (3, 69), 0),
        ((27, 31), (9, 74), 0),  # a model of 90 % and 10 % often does so
        ((24, 31), (3, 69), 1),  # of 90 %: in 4 of 100 shifts
        ((20, 31), (14, 69), 2),
        ((0, 0), (0, 0), 0),
    ],
)
def test_only_what_chance_hardly_explains_is_a_failure(
    caught: tuple[int, int], overkill: tuple[int, int], reasons: int
) -> None:
    assert len(figures(caught, overkill).failures(100)) == reasons
