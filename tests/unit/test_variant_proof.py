"""A variant is proven by different pictures of defects that the release itself stops, class by class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from inspection.types import ClassLimits, Detections, Release
from inspection_datasets.manifest import Sample
from inspection_training.variants.parity import compare, in_words

NAMES = ("scratch", "crack")
LIMITS = {"scratch": ClassLimits(0.3, 0.6), "crack": ClassLimits(0.3, 0.6)}
SEEN = (1.0, 1.0, 20.0, 20.0)


def release(**limits: ClassLimits) -> Release:
    return Release(
        part="plate", number=1, folder=Path("x"), model=Path("x"), model_sha256="0" * 64, task="detect",
        classes=NAMES, input_size=(64, 64), limits={**LIMITS, **limits}, tiling=None,
    )  # fmt: skip


def part(number: int, *names: str, sha256: str | None = None) -> Sample:
    return Sample(
        image=f"{number}.png", sha256=sha256 or f"{number:064x}", width=100, height=100, split="test",
        group=str(number), boxes=[(name, *SEEN) for name in names], origin="test",
        state="labelled" if names else "good",
    )  # fmt: skip


def saw(**scores: float) -> Detections:
    return Detections(
        np.array([SEEN for _ in scores], np.float32).reshape(-1, 4),
        np.array(list(scores.values()), np.float32),
        np.array([NAMES.index(name) for name in scores], np.int64),
        NAMES, "plate/1", "0" * 64,
    )  # fmt: skip


GOOD = [part(100 + i) for i in range(9)]
NOTHING = [saw() for _ in GOOD]


def test_defects_that_the_release_passes_prove_nothing() -> None:
    samples, expected = [part(0, "scratch"), *GOOD], [saw(scratch=0.25), *NOTHING]
    parity = compare(release(), samples, expected, [saw(), *NOTHING], 0.99)
    assert (parity.images, parity.defective, parity.equal, parity.stopped) == (10, 1, 10, 0)
    assert parity.alike
    assert not parity.passed, "it sees nothing at all"
    seen = [saw(scratch=0.9), *NOTHING]
    assert compare(release(), samples, seen, seen, 0.99).passed


def test_copies_of_a_picture_are_one() -> None:
    samples = [part(i, "scratch", sha256="a" * 64) for i in range(10)]
    found = [saw(scratch=0.9)] * 10
    parity = compare(release(), samples, found, found, 0.99)
    assert (parity.images, parity.stopped, parity.passed) == (1, 1, False)
    torn = [part(0, sha256="a" * 64), part(1, "scratch", sha256="a" * 64)]
    assert compare(release(), torn, found[:2], found[:2], 0.99).defective == 1


def test_a_class_without_a_picture_is_named() -> None:
    samples, found = [part(0, "scratch"), *GOOD], [saw(scratch=0.9), *NOTHING]
    parity = compare(release(), samples, found, found, 0.99)
    assert parity.passed
    assert parity.unproven == ["crack"]


def test_a_class_that_shows_only_beside_another_is_looked_for() -> None:
    samples = [part(0, "scratch", "crack"), *GOOD]
    expected = [saw(scratch=0.9, crack=0.9), *NOTHING]
    blind = [saw(scratch=0.9), *NOTHING]
    parity = compare(release(), samples, expected, blind, 0.99)
    assert (parity.equal, parity.lost, parity.unseen) == (10, 0, ["crack"])
    assert not parity.passed
    assert "it stops none of the parts that the release stops for crack" in in_words(parity)
    assert compare(release(), samples, expected, expected, 0.99).unseen == []


@pytest.mark.parametrize(("wanted", "unproven"), [(1, ["scratch"]), (2, [])])
def test_what_must_be_there_is_proven_by_a_wrong_number(wanted: int, unproven: list[str]) -> None:
    limits = {"crack": ClassLimits(0.3, 0.6, expected=1)}
    limits["scratch"] = ClassLimits(0.3, 0.6, expected=wanted)
    there = [part(200 + i, "scratch", "crack") for i in range(9)]
    samples, found = (
        [part(0, "scratch"), *there],
        [saw(scratch=0.9), *[saw(scratch=0.9, crack=0.9)] * 9],
    )
    assert compare(release(**limits), samples, found, found, 0.99).unproven == unproven
