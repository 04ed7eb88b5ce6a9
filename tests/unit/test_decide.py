"""Decide: every precondition negated, and the rules of limits, counts and regions."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspection.decide import Evidence, decide, judge
from inspection.types import (
    ClassLimits,
    Decision,
    Detections,
    Frame,
    FrameLimits,
    PartKey,
    Reason,
    Recipe,
    Region,
    Release,
    Trigger,
)

CLASSES = ("scratch", "hole", "screw")
SHA = "a" * 64


def detections(
    *found: tuple[str, float, tuple[float, float, float, float]], **changes
) -> Detections:
    found = tuple(sorted(found, key=lambda f: -f[1]))
    made = Detections(
        boxes=np.array([f[2] for f in found], np.float32).reshape(-1, 4),
        scores=np.array([f[1] for f in found], np.float32),
        classes=np.array([CLASSES.index(f[0]) for f in found], np.int64),
        class_names=CLASSES,
        release="plate/3",
        model_sha256=SHA,
    )
    return dataclasses.replace(made, **changes)


def recipe(**changes) -> Recipe:
    limits = {
        "scratch": ClassLimits(0.25, 0.5, min_size=4),
        "hole": ClassLimits(0.25, 0.5, allowed=1),
        "screw": ClassLimits(0.25, 0.5, allowed=99),
    }
    return dataclasses.replace(Recipe(7, "plate", 3, limits), **changes)


def good() -> Evidence:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (48, 64, 3), np.uint8)
    key = PartKey("s", 1, 5)
    return Evidence(
        trigger=Trigger(key, 1, "", seen_mono=100.0, seen_at="", deadline_mono=101.0),
        recipe=recipe(),
        release=Release(
            "plate", 3, Path("x"), Path("x/model.onnx"), SHA, "detect", CLASSES, (64, 64), {}
        ),
        frame=Frame(image, 2, 100.1, "cam"),
        previous=Frame(image[::-1].copy(), 1, 99.0, "cam"),
        live=True,
        detections=detections(),
        fault=None,
        now_mono=100.5,
    )


def test_all_preconditions_hold():
    assert decide(good()).decision is Decision.PASS
    assert decide(good()).reason is Reason.NONE


def other_frame(**changes):
    def change(e: Evidence) -> Evidence:
        return dataclasses.replace(e, frame=dataclasses.replace(e.frame, **changes))

    return change


def other(**changes):
    return lambda e: dataclasses.replace(e, **changes)


NEGATED = {
    "fault": (other(fault=Reason.INFERENCE_FAILED), Reason.INFERENCE_FAILED),
    "no recipe": (other(recipe=None), Reason.RECIPE_NONE),
    "no release": (other(release=None), Reason.MODEL_LOADING),
    "other release number": (other(recipe=recipe(release=4)), Reason.MODEL_MISMATCH),
    "other part": (other(recipe=recipe(part="lid")), Reason.MODEL_MISMATCH),
    "class without limits": (other(recipe=recipe(limits={})), Reason.RECIPE_INVALID),
    "limits not a number": (
        other(recipe=recipe(limits=dict.fromkeys(CLASSES, ClassLimits(float("nan"), 0.5)))),
        Reason.RECIPE_INVALID,
    ),
    "limits reversed": (
        other(recipe=recipe(limits=dict.fromkeys(CLASSES, ClassLimits(0.9, 0.5)))),
        Reason.RECIPE_INVALID,
    ),
    "a size that nothing reaches": (
        other(recipe=recipe(limits=dict.fromkeys(CLASSES, ClassLimits(0.2, 0.5, float("inf"))))),
        Reason.RECIPE_INVALID,
    ),
    "an area that is no number": (
        other(
            recipe=recipe(
                limits=dict.fromkeys(CLASSES, ClassLimits(0.2, 0.5, min_area=float("nan")))
            )
        ),
        Reason.RECIPE_INVALID,
    ),
    "no frame": (other(frame=None), Reason.CAMERA_TIMEOUT),
    "stale frame": (other_frame(exposed_mono=99.99), Reason.FRAME_STALE),
    "frame of unknown age": (other_frame(exposed_mono=float("nan")), Reason.FRAME_STALE),
    "repeated frame id": (other_frame(frame_id=1), Reason.FRAME_REPEATED),
    "black": (other_frame(image=np.zeros((48, 64, 3), np.uint8)), Reason.FRAME_DARK),
    "white": (other_frame(image=np.full((48, 64, 3), 255, np.uint8)), Reason.FRAME_BRIGHT),
    "flat": (other_frame(image=np.full((48, 64, 3), 90, np.uint8)), Reason.FRAME_FLAT),
    "grey image": (other_frame(image=np.zeros((48, 64), np.uint8)), Reason.FRAME_INVALID),
    "float image": (other_frame(image=np.zeros((48, 64, 3))), Reason.FRAME_INVALID),
    "empty image": (other_frame(image=np.zeros((0, 0, 3), np.uint8)), Reason.FRAME_INVALID),
    "identical frame": (
        lambda e: dataclasses.replace(
            e, previous=dataclasses.replace(e.previous, image=e.frame.image.copy())
        ),
        Reason.FRAME_IDENTICAL,
    ),
    "wrong size": (other(recipe=recipe(frame=FrameLimits(size=(640, 480)))), Reason.FRAME_SIZE),
    "no detections": (other(detections=None), Reason.INFERENCE_FAILED),
    "other model answered": (
        other(detections=detections(model_sha256="b" * 64)),
        Reason.MODEL_MISMATCH,
    ),
    "other release answered": (
        other(detections=detections(release="plate/2")),
        Reason.MODEL_MISMATCH,
    ),
    "other classes": (
        other(detections=detections(class_names=("a", "b", "c"))),
        Reason.MODEL_MISMATCH,
    ),
    "NaN score": (
        other(detections=detections(("scratch", float("nan"), (0, 0, 9, 9)))),
        Reason.MODEL_OUTPUT,
    ),
    "NaN box": (
        other(detections=detections(("scratch", 0.1, (0, 0, 9, float("nan"))))),
        Reason.MODEL_OUTPUT,
    ),
    "score over 1": (
        other(detections=detections(("scratch", 1.5, (0, 0, 9, 9)))),
        Reason.MODEL_OUTPUT,
    ),
    "arrays differ": (
        other(detections=detections(boxes=np.zeros((2, 4), np.float32))),
        Reason.MODEL_OUTPUT,
    ),
    "unknown class": (
        other(
            detections=detections(("scratch", 0.1, (0, 0, 9, 9)), classes=np.array([9], np.int64))
        ),
        Reason.MODEL_OUTPUT,
    ),
    "anomaly release without score": (
        lambda e: dataclasses.replace(e, release=dataclasses.replace(e.release, task="anomaly")),
        Reason.MODEL_OUTPUT,
    ),
    "after the deadline": (other(now_mono=101.001), Reason.DEADLINE),
    "no clock": (other(now_mono=float("nan")), Reason.DEADLINE),
}


@pytest.mark.parametrize("name", NEGATED)
def test_no_precondition_may_fail(name):
    change, reason = NEGATED[name]
    result = decide(change(good()))
    assert (result.decision, result.reason) == (Decision.NOT_INSPECTED, reason)


@given(st.sets(st.sampled_from(sorted(NEGATED)), min_size=1), st.randoms())
def test_never_pass_with_any_combination_of_failures(names, random):
    evidence = good()
    order = sorted(names)
    random.shuffle(order)
    for name in order:
        try:
            evidence = NEGATED[name][0](evidence)
        except (AttributeError, TypeError):
            continue  # an earlier failure took away what this one changes
    assert decide(evidence).decision is Decision.NOT_INSPECTED


scores = st.floats(0, 1, width=32)
boxes = st.tuples(*[st.floats(0, 500, width=32)] * 2, *[st.floats(1, 100, width=32)] * 2).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)
found = st.lists(st.tuples(st.sampled_from(CLASSES), scores, boxes), max_size=12)


@given(found)
def test_one_more_defect_never_makes_a_part_better(items):
    order = [Decision.PASS, Decision.REVIEW, Decision.FAIL]
    before = judge(detections(*items), recipe())
    after = judge(detections(*items, ("scratch", 0.75, (10, 10, 40, 40))), recipe())
    assert after.decision is Decision.FAIL
    assert order.index(after.decision) >= order.index(before.decision)


@given(found)
def test_pass_means_nothing_over_the_limits(items):
    result = judge(detections(*items), recipe())
    scratches = [
        i for i in items if i[0] == "scratch" and np.float32(i[1]) >= 0.25 and max(
            np.float32(i[2][2]) - np.float32(i[2][0]), np.float32(i[2][3]) - np.float32(i[2][1])
        ) >= 4
    ]  # fmt: skip
    holes = [i for i in items if i[0] == "hole" and np.float32(i[1]) >= 0.25]
    screws = [i for i in items if i[0] == "screw" and np.float32(i[1]) >= 0.25]
    assert (result.decision is Decision.PASS) == (not scratches and len(holes) <= 1)
    assert result.over_t1 == len(result.counted) == len(scratches) + len(holes) + len(screws)
    seen = detections(*items)
    told = sorted((seen.class_names[seen.classes[n]], seen.scores[n]) for n in result.counted)
    assert told == sorted((name, np.float32(s)) for name, s, _ in scratches + holes + screws)


BOX = (10.0, 10.0, 30.0, 30.0)


@pytest.mark.parametrize(
    ("items", "decision", "reason"),
    [
        ([("scratch", 0.6, BOX)], Decision.FAIL, Reason.DEFECT),
        ([("scratch", 0.5, BOX)], Decision.FAIL, Reason.DEFECT),
        ([("scratch", 0.49, BOX)], Decision.REVIEW, Reason.BORDERLINE),
        ([("scratch", 0.25, BOX)], Decision.REVIEW, Reason.BORDERLINE),
        ([("scratch", 0.24, BOX)], Decision.PASS, Reason.NONE),
        ([("scratch", 0.9, (10, 10, 13, 13))], Decision.PASS, Reason.NONE),
        ([("hole", 0.9, BOX)], Decision.PASS, Reason.NONE),
        ([("hole", 0.9, BOX), ("hole", 0.8, BOX)], Decision.FAIL, Reason.TOO_MANY),
        ([("hole", 0.9, BOX), ("hole", 0.3, BOX)], Decision.REVIEW, Reason.BORDERLINE),
    ],
)
def test_limits(items, decision, reason):
    result = judge(detections(*items), recipe())
    assert (result.decision, result.reason) == (decision, reason)


def screws(*scores_: float) -> list[tuple[str, float, tuple[float, float, float, float]]]:
    return [("screw", s, (i * 50, 0, i * 50 + 20, 20)) for i, s in enumerate(scores_)]


@pytest.mark.parametrize(
    ("scores_", "decision", "reason"),
    [
        ((0.9, 0.9, 0.9, 0.9), Decision.PASS, Reason.NONE),
        ((0.9, 0.9, 0.9), Decision.FAIL, Reason.TOO_FEW),
        ((), Decision.FAIL, Reason.TOO_FEW),
        ((0.9, 0.9, 0.9, 0.9, 0.9), Decision.FAIL, Reason.TOO_MANY),
        ((0.9, 0.9, 0.9, 0.4), Decision.REVIEW, Reason.BORDERLINE),
        ((0.9, 0.9, 0.9, 0.9, 0.4), Decision.REVIEW, Reason.BORDERLINE),
    ],
)
def test_expected_count(scores_, decision, reason):
    limits = {**recipe().limits, "screw": ClassLimits(0.25, 0.5, expected=4)}
    result = judge(detections(*screws(*scores_)), recipe(limits=limits))
    assert (result.decision, result.reason) == (decision, reason)


def test_a_missing_screw_fails_even_when_another_place_has_two():
    places = tuple(
        Region((i * 50, 0, i * 50 + 20, 20), ("screw",), expected={"screw": 1}) for i in range(2)
    )
    twice = [("screw", 0.9, (0, 0, 20, 20)), ("screw", 0.9, (2, 0, 20, 20))]
    result = judge(detections(*twice), recipe(regions=places))
    assert result.decision is Decision.FAIL
    assert judge(detections(*screws(0.9, 0.9)), recipe(regions=places)).decision is Decision.PASS


def test_regions():
    inside, outside = ("scratch", 0.9, (10, 10, 30, 30)), ("scratch", 0.9, (110, 10, 130, 30))
    left = Region((0, 0, 60, 60))
    assert judge(detections(outside), recipe(regions=(left,))).decision is Decision.PASS
    assert judge(detections(inside), recipe(regions=(left,))).decision is Decision.FAIL
    ignored = dataclasses.replace(left, ignore=True)
    assert judge(detections(inside), recipe(regions=(ignored,))).decision is Decision.PASS
    assert judge(detections(outside), recipe(regions=(ignored,))).decision is Decision.FAIL
    only_holes = dataclasses.replace(left, classes=("hole",))
    for found in (inside, outside):  # a region for one class hides no other
        assert judge(detections(found), recipe(regions=(only_holes,))).decision is Decision.FAIL
    hole = ("hole", 0.9, (110, 10, 130, 30))
    assert judge(detections(hole), recipe(regions=(only_holes,))).decision is Decision.PASS


def boxes_of_whole_pixels():
    side = st.tuples(st.integers(0, 40), st.integers(0, 40)).map(sorted)
    return st.tuples(side, side).map(lambda xy: (xy[0][0], xy[1][0], xy[0][1], xy[1][1]))


@given(
    boxes_of_whole_pixels(),
    boxes_of_whole_pixels(),
    st.lists(
        st.builds(
            Region,
            boxes_of_whole_pixels(),
            st.sampled_from([(), ("scratch",), ("hole",)]),
            st.booleans(),
        ),
        max_size=3,
    ),
)
def test_a_box_around_another_is_never_judged_less(one, other, regions):
    """Boxes without area and regions of any kind are in it."""
    around = (*np.minimum(one[:2], other[:2]), *np.maximum(one[2:], other[2:]))
    plain = recipe(limits=dict.fromkeys(CLASSES, ClassLimits(0.25, 0.5)), regions=tuple(regions))
    small, large = (judge(detections(("scratch", 0.9, box)), plain) for box in (one, around))
    assert small.decision is Decision.PASS or large.decision is Decision.FAIL


@pytest.mark.parametrize(
    ("box", "looked_at", "ignored"),
    [
        ((50, 10, 90, 30), Decision.FAIL, Decision.FAIL),  # its centre outside, a part inside
        ((20, 10, 70, 30), Decision.FAIL, Decision.FAIL),  # its centre inside, a part outside
        ((10, 10, 60, 60), Decision.FAIL, Decision.PASS),  # wholly inside, at the edge
        ((60, 10, 90, 30), Decision.FAIL, Decision.FAIL),  # a common edge
        ((61, 10, 90, 30), Decision.PASS, Decision.FAIL),  # outside
        ((60, 10, 60, 30), Decision.FAIL, Decision.PASS),  # without area, on the edge
    ],
)
def test_a_defect_is_judged_by_its_whole_box(box, looked_at, ignored):
    left, found = Region((0, 0, 60, 60)), detections(("scratch", 0.9, box))
    hidden = dataclasses.replace(left, ignore=True)
    assert judge(found, recipe(regions=(left,))).decision is looked_at
    assert judge(found, recipe(regions=(hidden,))).decision is ignored
    others = dataclasses.replace(hidden, classes=("hole",))
    assert judge(found, recipe(regions=(others,))).decision is Decision.FAIL


def test_two_ignored_regions_do_not_hide_what_lies_across_both():
    halves = (Region((0, 0, 50, 60), ignore=True), Region((50, 0, 99, 60), ignore=True))
    across = detections(("scratch", 0.9, (40, 10, 60, 30)))
    assert judge(across, recipe(regions=halves)).decision is Decision.FAIL


def test_what_must_be_there_is_counted_by_its_centre():
    """A screw between two places cannot stand for the missing one, nor one that is mostly hidden."""
    places = tuple(Region((i * 50, 0, i * 50 + 50, 20), expected={"screw": 1}) for i in range(2))
    between = detections(("screw", 0.9, (35, 0, 55, 20)))
    result = judge(between, recipe(regions=places))
    assert (result.decision, result.reason) == (Decision.FAIL, Reason.TOO_FEW)
    limits = {**recipe().limits, "screw": ClassLimits(0.25, 0.5, expected=1)}
    for region in (Region((50, 0, 99, 20)), Region((0, 0, 50, 20), ignore=True)):
        result = judge(between, recipe(limits=limits, regions=(region,)))
        assert (result.decision, result.reason) == (Decision.FAIL, Reason.TOO_FEW)
    hidden = (places[0], Region((40, 0, 50, 20), ignore=True))
    assert judge(between, recipe(regions=hidden)).reason is Reason.TOO_FEW


def test_a_box_with_its_corners_changed_counts_like_the_right_one():
    """A runtime of another maker may give such; it was taken for one that is too small to count."""
    crossed = detections(("scratch", 0.9, (30, 30, 10, 10)))
    assert judge(crossed, recipe()).decision is Decision.FAIL
    assert judge(crossed, recipe(regions=(Region((12, 12, 60, 60), ignore=True),))).decision is (
        Decision.FAIL
    )


def test_a_place_where_something_must_be_hides_nothing():
    """It silently switched the inspection off everywhere else."""
    place = Region((0, 0, 60, 60), expected={"screw": 1})
    limits = {**recipe().limits, "screw": ClassLimits(0.25, 0.5, expected=1)}
    screw, scratch = ("screw", 0.9, (10, 10, 30, 30)), ("scratch", 0.95, (110, 10, 130, 30))
    only = judge(detections(screw), recipe(limits=limits, regions=(place,)))
    both = judge(detections(screw, scratch), recipe(limits=limits, regions=(place,)))
    assert (only.decision, both.decision) == (Decision.PASS, Decision.FAIL)
    second = ("screw", 0.9, (110, 10, 130, 30))
    assert judge(detections(screw, second), recipe(limits=limits, regions=(place,))).decision is (
        Decision.FAIL
    )


def test_an_answer_without_room_fails():
    """32 screws filled the answer, and a scratch behind them was never seen."""
    limits = {**recipe().limits, "screw": ClassLimits(0.25, 0.5, expected=3)}
    whole = detections(*screws(0.9, 0.9, 0.9))
    assert judge(whole, recipe(limits=limits)).decision is Decision.PASS
    full = dataclasses.replace(whole, full_from=0.9)
    result = judge(full, recipe(limits=limits))
    assert (result.decision, result.reason) == (Decision.FAIL, Reason.TOO_MANY)
    faint = dataclasses.replace(whole, full_from=0.1)  # what is missing is under every T1
    assert judge(faint, recipe(limits=limits)).decision is Decision.PASS


@pytest.mark.parametrize(
    ("score", "decision"), [(0.2, Decision.PASS), (0.3, Decision.REVIEW), (0.5, Decision.FAIL)]
)
def test_anomaly(score, decision):
    limits = {"anomaly": ClassLimits(0.3, 0.5)}
    empty = detections(class_names=("anomaly",), anomaly_score=score)
    assert judge(empty, recipe(limits=limits)).decision is decision
