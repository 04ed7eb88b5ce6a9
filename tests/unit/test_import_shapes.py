"""Outlines and masks: a mask comes back exactly from its rings and from its run lengths."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from inspection.errors import DatasetError
from inspection_datasets.manifest import Sample, check_sample, load_version, write_version
from inspection_datasets.rle import decode_coco, decode_rows, encode_coco
from inspection_datasets.shapes import (
    ellipse_ring,
    has_holes,
    mask_of,
    one_ring,
    pieces_of,
    rings_of,
    settle_shape,
)

MASKS = arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 12)))


@given(MASKS)
def test_a_mask_comes_back_from_its_rings(mask: np.ndarray) -> None:
    rings = rings_of(mask)
    size = mask.shape[1], mask.shape[0]
    assert (mask_of(rings, size) == mask).all()
    assert all(len(ring) >= 8 and len(ring) % 2 == 0 for ring in rings)
    if rings:
        assert (mask_of([one_ring(rings)], size) == mask).all()
        ys, xs = np.nonzero(mask)
        box, shape = settle_shape("dent", rings, size, "test")
        assert box[1:] == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
        assert shape is None or (mask_of(shape, size) == mask).all()


@given(MASKS)
def test_pieces_together_are_the_mask(mask: np.ndarray) -> None:
    size = mask.shape[1], mask.shape[0]
    masks = [mask_of(piece, size) for piece in pieces_of(mask)]
    assert (sum((m.astype(int) for m in masks), np.zeros(mask.shape, int)) == mask).all()


@given(MASKS)
def test_run_lengths_come_back(mask: np.ndarray) -> None:
    size = mask.shape[1], mask.shape[0]
    assert (decode_coco(encode_coco(mask), size, "test") == mask).all()


@given(MASKS)
def test_compressed_run_lengths_of_the_coco_tool_are_read(mask: np.ndarray) -> None:
    tool = pytest.importorskip("faster_coco_eval.core.mask")
    written = tool.encode(np.asfortranarray(mask.astype(np.uint8)))
    counts = written["counts"]
    text = counts.decode() if isinstance(counts, bytes) else counts
    read = decode_coco(
        {"size": list(mask.shape), "counts": text}, (mask.shape[1], mask.shape[0]), "test"
    )
    assert (read == mask).all()


def test_a_hole_stays_a_hole() -> None:
    mask = np.ones((5, 5), bool)
    mask[2, 2] = False
    rings = rings_of(mask)
    assert len(rings) == 2
    assert sorted(map(len, rings)) == [8, 8]
    assert has_holes(rings, (5, 5))
    assert not has_holes([[0, 0, 1, 0, 0, 1], [3, 3, 4, 3, 4, 4]], (5, 5))


def test_a_rectangle_is_a_box_and_a_turned_one_is_not() -> None:
    closed = [1, 2, 5, 2, 5, 4, 1, 4, 1, 2]
    assert settle_shape("dent", [closed], (10, 10), "x") == (("dent", 1, 2, 5, 4), None)
    box, shape = settle_shape("dent", [[2, 1, 4, 3, 2, 5, 0, 3]], (10, 10), "x")
    assert (box, shape) == (("dent", 0, 1, 4, 5), [[2, 1, 4, 3, 2, 5, 0, 3]])


def test_an_ellipse_reaches_its_radii() -> None:
    ring = np.reshape(ellipse_ring(10, 20, 4, 6), (-1, 2))
    assert ring.min(axis=0) == pytest.approx([6, 14])
    assert ring.max(axis=0) == pytest.approx([14, 26])


@pytest.mark.parametrize(
    ("rings", "words"),
    [
        ([[1, 2, 3, 4]], "at least three points"),
        ([[1, 2, 3, 4, 5, 6, 7]], "at least three points"),
        ([[1, 2, 3, 4, float("nan"), 6]], "at least three points"),
        ([[1, 1, 5, 1, 9, 1]], "is empty"),
        ([[1, 1, 5, 1, 99, 9]], "leaves the 10x10 image"),
    ],
)
def test_broken_outlines_are_named(rings: list[list[float]], words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        settle_shape("dent", rings, (10, 10), "a.json: shape 1")


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ([3, 2], "do not fill"),
        ([10, -4], "do not fill"),
        ("zz", "compressed mask is damaged"),
        ("P", "compressed mask is cut off"),
        (None, "do not fill"),
        ([6.0], "do not fill"),
    ],
)
def test_broken_run_lengths_are_named(counts: object, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        decode_coco({"size": [2, 3], "counts": counts}, (3, 2), "a")
    with pytest.raises(DatasetError, match="was the image resized"):
        decode_coco({"size": [3, 2], "counts": [6]}, (3, 2), "a")
    assert decode_rows([1, 2, 3], (3, 2), "a").tolist() == [[False, True, True], [False] * 3]


def sample(**changes: object) -> Sample:
    values: dict[str, object] = {
        "image": "images/a.png",
        "sha256": "0" * 64,
        "width": 30,
        "height": 20,
        "split": "train",
        "group": "a",
        "boxes": [("dent", 1, 2, 10, 12)],
        "shapes": [[[1, 2, 10, 2, 5, 12]]],
        "state": "labelled",
        "origin": "test",
    }
    return Sample.model_validate(values | changes)


def test_shapes_and_labels_are_kept_and_older_lines_stay_as_they_were(tmp_path: Path) -> None:
    samples = [
        sample(),
        sample(image="images/b.png", group="b", shapes=[]),
        sample(
            image="images/c.png", group="c", boxes=[], shapes=[], state="unlabelled", label="dent"
        ),
    ]
    version = write_version(tmp_path, "plate", ["dent"], samples)
    assert load_version(tmp_path) == version
    assert list(version.samples) == samples
    lines = (tmp_path / "v0001.jsonl").read_text(encoding="utf-8").splitlines()
    assert ['"shapes"' in line for line in lines] == [True, False, False]
    assert ['"label"' in line for line in lines] == [False, False, True]
    assert version.select("train") == samples[:2]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shapes": [None, None]}, "2 shapes for 1 boxes"),
        ({"shapes": [[]]}, "less than three points"),
        ({"shapes": [[[1, 2, 3, 4]]]}, "less than three points"),
        ({"shapes": [[[1, 2, 10, 2, 5, 13]]]}, "the box of an outline is its extent"),
        ({"shapes": [[[1, 2, 10, 2, float("nan"), 12]]]}, "not finite"),
        ({"label": "dent"}, "is labelled with the label 'dent'"),
        (
            {"label": "rust", "boxes": [], "shapes": [], "state": "unlabelled"},
            "must be one of",
        ),
        ({"label": "dent", "boxes": [], "shapes": [], "state": "good"}, "is good with the label"),
    ],
)
def test_wrong_samples_are_named(changes: dict[str, object], words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        check_sample(sample(**changes), {"dent"}, "v0001.jsonl:1")


def test_one_picture_cannot_be_in_a_version_twice(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="listed twice"):
        write_version(tmp_path, "plate", ["dent"], [sample(), sample()])
    assert not list(tmp_path.glob("v*.jsonl"))
