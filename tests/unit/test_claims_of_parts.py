"""A claim counts each part once: pictures of one part, and copies of a picture, prove no more than it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from release_builder import write_release

from inspection.release import load_release
from inspection.sentences.claims import release_claim
from inspection_datasets.manifest import DatasetVersion, Sample, sha256_of, write_version
from inspection_datasets.parts import count_parts, count_pictures, parts_of, worst_of
from inspection_training.experiment import Experiment
from inspection_training.measure import RUNTIMES, Measured, measure_candidate, open_runtime


def picture(image: str, group: str, sha256: str) -> Sample:
    return Sample(
        image=image, sha256=sha256, width=9, height=9, split="test", group=group, boxes=[], state="good",
        origin="test",
    )  # fmt: skip


def test_a_copy_counts_for_the_part_of_the_first() -> None:
    a, b = "a" * 64, "b" * 64
    samples = [picture("1", "one", a), picture("2", "two", a), picture("3", "two", b)]
    assert parts_of(samples) == ["one", "one", "two"]
    assert (count_parts(samples), count_pictures(samples)) == (2, 2)
    assert parts_of([]) == []


@given(st.lists(st.floats(0, 1)))
def test_one_picture_a_part_is_left_as_it_is(scores: list[float]) -> None:
    assert worst_of(scores, range(len(scores)), min) == scores
    assert worst_of(scores, range(len(scores)), max) == scores


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 4))))
def test_each_part_has_its_worst(pairs: list[tuple[float, int]]) -> None:
    scores, parts = [x for x, _ in pairs], [part for _, part in pairs]
    wanted = [min(x for x, own in pairs if own == part) for part in dict.fromkeys(parts)]
    assert worst_of(scores, parts, min) == wanted


def good_parts(folder: Path, pictures: int, parts: int, *, copies: bool = False) -> DatasetVersion:
    """Write different good val pictures of so many parts; with `copies` each again, as of another part."""
    (folder / "images").mkdir(parents=True)
    rows: list[Sample] = []
    for number in range(pictures * (2 if copies else 1)):
        path = folder / "images" / f"{number:03d}.png"
        image = np.full((64, 64, 3), 40, np.uint8)
        image[number % pictures // 64, number % pictures % 64] = 50 + number % pictures
        cv2.imwrite(str(path), image)
        again = "again" if number >= pictures else "part"
        rows.append(
            Sample(
                image=f"images/{path.name}", sha256=sha256_of(path), width=64, height=64, split="val",
                group=f"{again} {number % pictures % parts}", boxes=[], state="good", origin="test",
            )
        )  # fmt: skip
    return write_version(folder, "plate", ["spot"], rows)


def measured(folder: Path, version: DatasetVersion) -> Measured:
    release = load_release(
        write_release(folder / "releases", classes=("anomaly",), size=(64, 64), variant="anomaly")
    )
    runtimes = {name: open_runtime(name, release, 1) for name in RUNTIMES}
    try:
        experiment = Experiment(family="template", max_overkill=0.05)
        return measure_candidate(
            release, version, runtimes, lambda _step: None, experiment=experiment
        )
    finally:
        for runtime in runtimes.values():
            runtime.close()


@pytest.mark.parametrize(
    ("pictures", "parts", "copies", "said"),
    [
        (60, 60, False, "Overkill is at most 5 % with 95 % confidence, from 60 held-out good images"),
        (30, 30, True, "No overkill claim: 30 held-out good images support at best 9.6 % at 95 %"),
        (60, 20, False, "No overkill claim: 20 held-out good parts support at best 14 % at 95 %; 39 more"),
    ],
)  # fmt: skip
def test_a_release_claims_what_its_different_parts_support(
    tmp_path: Path, pictures: int, parts: int, copies: bool, said: str
) -> None:
    version = good_parts(tmp_path / "data", pictures, parts, copies=copies)
    found = measured(tmp_path, version)
    values = found.claims[0]["values"]
    assert (values["parts"], values["pictures"]) == (parts, pictures)
    words = release_claim(found.claims, "", "en")
    assert words.startswith(said)
    several = f"{pictures} pictures of {parts} parts: counted as {parts}, each part by its worst"
    assert (several in words) == (pictures > parts)
    assert (f"부품 {parts}개분" in release_claim(found.claims, "", "ko")) == (pictures > parts)
    assert len(set(found.parts.values())) == parts, "the gates count the same parts"
    overkill = found.metrics["evaluations"][0]["good"]["overkill"]
    assert overkill.get("parts", overkill["of"]) == parts, "and so does the interval"


def test_the_limit_stands_over_the_worst_picture_of_every_part(tmp_path: Path) -> None:
    """Of 100 pictures one might fail; of 20 parts none."""
    found = measured(tmp_path, good_parts(tmp_path / "data", 100, 20))
    assert found.limits["anomaly"].t2 > (50 + 99) / 256
