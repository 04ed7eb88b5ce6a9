"""Rates with exact intervals, limits from val parts, matching of two models' boxes."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspection.sentences.shares import rate_sentence
from inspection.types import ClassLimits, Decision, Detections
from inspection_datasets.manifest import DatasetVersion, Sample
from inspection_training.evaluate import (
    average_precision,
    decisions,
    is_defective,
    judged_samples,
    measure,
    rate,
    rate_of,
)
from inspection_training.experiment import Experiment
from inspection_training.limits import choose_limits
from inspection_training.parity import iou_matrix, match_rows

CLASSES = ("scratch", "dent")


def part(index: int, *boxes: tuple[str, float, float, float, float]) -> Sample:
    return Sample(
        image=f"images/{index}.jpg",
        sha256=f"{index:064x}",
        width=100,
        height=100,
        split="val",
        group=str(index),
        boxes=list(boxes),
        state="labelled" if boxes else "good",
        origin="test",
    )


def seen(*rows: tuple[str, float, tuple[float, float, float, float]]) -> Detections:
    rows = tuple(sorted(rows, key=lambda row: -row[1]))
    return Detections(
        boxes=np.array([r[2] for r in rows], np.float32).reshape(-1, 4),
        scores=np.array([r[1] for r in rows], np.float32),
        classes=np.array([CLASSES.index(r[0]) for r in rows], np.int64),
        class_names=CLASSES,
        release="plate/1",
        model_sha256="0" * 64,
    )


BOX = (10.0, 10.0, 30.0, 30.0)


# R binom.confint, NIST and SciPy's documentation, as collected in quality-methods.md B1
@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [
        (18, 20, 0.6830172859809176, 0.9876514728297052),
        (4, 20, 0.05733399705003284, 0.436614002996668),
        (7, 50, 0.05819170033997342, 0.26739600249700846),
        (3, 48, 0.013079, 0.171960),
    ],
)
def test_intervals_are_clopper_pearson(count: int, total: int, low: float, high: float) -> None:
    found = rate(count, total)
    assert found["low"] == pytest.approx(low, abs=1e-6)
    assert found["high"] == pytest.approx(high, abs=1e-6)


@pytest.mark.parametrize(("count", "total"), [(18, 20), (4, 20), (7, 50), (0, 0)])
def test_one_picture_a_part_changes_nothing(count: int, total: int) -> None:
    hits = [i < count for i in range(total)]
    assert rate_of(hits, range(total)) == rate(count, total)


def test_an_interval_counts_parts_by_their_worst_picture() -> None:
    """Four of 60 pictures, of four of 20 parts: the share is of pictures, the interval 4 of 20."""
    hits = [i < 4 for i in range(60)]
    found = rate_of(hits, [i % 20 for i in range(60)])
    assert (found["count"], found["of"], found["rate"]) == (4, 60, 0.066667)
    assert (found["worst"], found["parts"]) == (4, 20)
    assert found["low"] == pytest.approx(0.05733399705003284, abs=1e-6)
    assert found["high"] == pytest.approx(0.436614002996668, abs=1e-6)
    assert rate_sentence(found, "en") == (
        "4 of 60 = 6.7 %; by parts, each by its worst picture, 4 of 20 (5.7..43.7 %)"
    )
    assert "20개 중 4개 (5.7..43.7 %)" in rate_sentence(found, "ko")
    stopped = rate_of([not x for x in hits], [i % 20 for i in range(60)], all)
    assert (stopped["count"], stopped["worst"]) == (56, 16), "a part is found where all of it is"


def test_no_images_give_no_rate() -> None:
    assert rate(0, 0) == {"count": 0, "of": 0, "rate": None, "low": None, "high": None}


def test_a_part_is_defective_by_its_labels() -> None:
    assert not is_defective(part(1), {})
    assert is_defective(part(1, ("dent", *BOX)), {})
    screw = {"scratch": 2}  # two of these must be there
    assert is_defective(part(1, ("scratch", *BOX)), screw)
    assert not is_defective(part(1, ("scratch", *BOX), ("scratch", *BOX)), screw)
    assert is_defective(part(1, ("scratch", *BOX), ("scratch", *BOX), ("dent", *BOX)), screw)


def named(index: int, label: str, split: str = "val") -> Sample:
    """A part of which somebody said what is wrong, and not where."""
    update = {"label": label, "state": "unlabelled", "split": split}
    return part(index).model_copy(update=update)


def test_a_part_is_defective_by_the_label_of_its_whole_picture() -> None:
    assert is_defective(named(1, "dent"), {})
    assert is_defective(named(1, "dent"), {"scratch": 2})
    limits = dict.fromkeys(CLASSES, ClassLimits(0.3, 0.5))
    samples = [part(0), part(1, ("dent", *BOX)), named(2, "dent"), named(3, "scratch")]
    found = [seen(), seen(("dent", 0.9, BOX)), seen(("dent", 0.9, BOX)), seen()]
    version = DatasetVersion(Path(), "plate", "v0001", "0" * 64, CLASSES, tuple(samples))
    measured = measure(version, samples, found, limits, "val")
    escape = measured["defective"]["escape"]
    assert (escape["count"], escape["of"]) == (1, 3)
    assert measured["good"]["pass"]["of"] == 1
    assert measured["map50"] == 1.0, "nobody said where it is, so finding it is no false call"
    assert measured["class_recall"]["dent"]["of"] == 1


def test_parts_are_judged_that_somebody_looked_at() -> None:
    unknown = part(4).model_copy(update={"state": "unlabelled"})
    samples = (
        part(0),
        part(1, ("dent", *BOX)),
        named(2, "dent"),
        named(3, "dent", "test"),
        unknown,
    )
    version = DatasetVersion(Path(), "plate", "v0001", "0" * 64, CLASSES, samples)
    assert [s.image for s in judged_samples(version, "val")] == [s.image for s in samples[:3]]
    assert judged_samples(version, "test") == [samples[3]]
    assert judged_samples(version, "test", {"dent"}) == [], "nobody counted what must be there"


scores = st.lists(st.floats(0.011, 0.989), min_size=1, max_size=30)


@given(good=scores, bad=scores, overkill=st.floats(0, 0.5), review=st.floats(0, 0.5))
def test_limits_keep_to_the_shares(
    good: list[float], bad: list[float], overkill: float, review: float
) -> None:
    samples = [part(i) for i in range(len(good))]
    samples += [part(100 + i, ("dent", *BOX)) for i in range(len(bad))]
    found = [seen(("scratch", s, BOX)) for s in [*good, *bad]]
    experiment = Experiment(max_overkill=overkill, max_review=review)
    limits = choose_limits(CLASSES, samples, found, experiment)
    assert set(limits) == set(CLASSES)
    made = decisions(found, {name: card.limits() for name, card in limits.items()})[: len(good)]
    failed = sum(d is Decision.FAIL for d in made)
    stopped = sum(d is not Decision.PASS for d in made)
    assert failed <= overkill * len(good) + 1e-6
    assert stopped <= (overkill + review) * len(good) + 1e-6
    assert limits["dent"].t1 <= limits["dent"].t2


def test_without_good_parts_the_limits_are_said_plainly() -> None:
    limits = choose_limits(CLASSES, [], [], Experiment())
    assert (limits["dent"].t1, limits["dent"].t2) == (0.25, 0.5)


def test_a_class_that_must_be_there_gets_its_count() -> None:
    two = (("scratch", *BOX), ("scratch", *BOX))
    samples = [part(1, *two), part(2, *two), part(3, two[0])]
    found = [
        seen(("scratch", 0.9, BOX), ("scratch", 0.8, BOX), ("scratch", 0.3, BOX)),
        seen(("scratch", 0.95, BOX), ("scratch", 0.7, BOX)),
        seen(("scratch", 0.9, BOX), ("scratch", 0.4, BOX)),
    ]
    limits = choose_limits(CLASSES, samples, found, Experiment(expected={"scratch": 2}))
    assert limits["scratch"].expected == 2
    assert 0.4 < limits["scratch"].t1 <= 0.7
    made = decisions(found, {name: card.limits() for name, card in limits.items()})
    assert made == [Decision.PASS, Decision.PASS, Decision.FAIL]


class FakeVersion:
    classes = CLASSES


def test_escape_overkill_and_review_are_counted_apart() -> None:
    limits = {name: ClassLimits(0.2, 0.6) for name in CLASSES}
    samples = [part(1, ("dent", *BOX)), part(2, ("dent", *BOX)), part(3, ("dent", *BOX))]
    samples += [part(4), part(5), part(6)]
    found = [
        seen(("dent", 0.9, BOX)),
        seen(("scratch", 0.4, BOX)),
        seen(("dent", 0.1, BOX)),
        seen(("dent", 0.7, BOX)),
        seen(("dent", 0.3, BOX)),
        seen(),
    ]
    metrics = measure(FakeVersion(), samples, found, limits, "test")  # type: ignore[arg-type]
    assert metrics["defective"]["escape"]["count"] == 1
    assert metrics["defective"]["fail"]["count"] == 1
    assert metrics["defective"]["review"]["count"] == 1
    assert metrics["good"]["overkill"]["count"] == 1
    assert metrics["good"]["review"]["count"] == 1
    assert metrics["class_recall"]["dent"]["count"] == 2  # found under a wrong name is found
    assert metrics["class_recall"]["scratch"]["of"] == 0
    assert "parts" not in metrics["defective"]["escape"], "one picture a part"
    views = [sample.model_copy(update={"group": "one"}) for sample in samples]
    metrics = measure(FakeVersion(), views, found, limits, "test")  # type: ignore[arg-type]
    escape, good = metrics["defective"]["escape"], metrics["good"]["pass"]
    assert (escape["count"], escape["of"], escape["worst"], escape["parts"]) == (1, 3, 1, 1)
    assert (good["count"], good["worst"], good["parts"]) == (1, 0, 1), "not all of it passed"
    assert metrics["class_ap50"]["scratch"] is None


def test_average_precision_of_known_detections() -> None:
    samples = [part(1, ("dent", *BOX)), part(2, ("dent", *BOX))]
    perfect = [seen(("dent", 0.9, BOX)), seen(("dent", 0.8, BOX))]
    assert average_precision(CLASSES, samples, perfect)["map50_95"] == 1.0
    half = [seen(("dent", 0.9, BOX)), seen()]
    assert average_precision(CLASSES, samples, half)["map50"] == pytest.approx(51 / 101, abs=1e-4)
    nothing = [seen(), seen()]
    assert average_precision(CLASSES, samples, nothing)["map50"] == 0.0


def test_boxes_are_matched_within_their_class() -> None:
    a = np.array([[0, 0, 10, 10, 0.9, 0], [20, 0, 30, 10, 0.8, 1]], np.float32)
    same = match_rows(a, a[::-1].copy(), 0.05)
    assert same == ([(0.0, 1.0), (0.0, 1.0)], 0)
    other = a.copy()
    other[:, 5] = 1 - other[:, 5]
    assert match_rows(a, other, 0.05) == ([], 4)
    assert match_rows(a, a[:1], 0.05)[1] == 1
    assert match_rows(a, a[:1], 0.85)[1] == 0, "weak ones are not compared"
    assert match_rows(a[:0], a[:0], 0.05) == ([], 0)
    assert iou_matrix(a[:1, :4], np.array([[5, 0, 15, 10]], np.float32)) == pytest.approx(1 / 3)
