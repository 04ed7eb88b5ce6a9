"""What ultralytics' crops and moves leave of a label that is dropped is painted over."""

import random

import cv2
import numpy as np
import pytest
from ultralytics.data.augment import RandomPerspective
from ultralytics.utils.instance import Instances

from inspection_training.ultralytics_detectors.crops import DefectCrop, PaintedPerspective

RED = (0, 0, 255)
BOXES = [(1, 2, 41, 30), (50, 30, 74, 60), (90, 70, 130, 90), (120, 4, 158, 50)]


def labels_of(*boxes: tuple[int, int, int, int], segments: bool = False) -> dict:
    """A picture 160 x 120, BGR, with red boxes, as ultralytics hands it on."""
    image = np.full((120, 160, 3), 90, np.uint8)
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = RED
    rows = np.array(boxes, np.float32)
    rings = [
        np.stack([np.interp(np.linspace(0, 4, 100), range(5), r) for r in ring], 1)
        for ring in (((a, c, c, a, a), (b, b, d, d, b)) for a, b, c, d in boxes)
    ]
    outlines = np.array(rings, np.float32) if segments else np.zeros((0, 1000, 2), np.float32)
    return {
        "img": image,
        "cls": np.zeros((len(boxes), 1), np.float32),
        "instances": Instances(rows, outlines, bbox_format="xyxy", normalized=False),
    }


def unlabelled(labels: dict) -> np.ndarray:
    """Red pixels outside of every label, without edges of two pixels."""
    image = labels["img"].astype(int)
    red = ((image[..., 2] - image[..., 1]) > 90).astype(np.uint8)
    for x1, y1, x2, y2 in labels["instances"].bboxes:
        red[int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))] = 0
    return cv2.erode(red, np.ones((3, 3), np.uint8))


@pytest.mark.parametrize("segments", [False, True])
def test_a_crop_shows_no_defect_without_its_label(segments: bool) -> None:
    random.seed(0)
    kept = 0
    for _ in range(60):
        labels = labels_of(*BOXES, segments=segments)
        original = labels["img"].copy()
        source = labels["img"]
        found = DefectCrop((48, 64))(labels)
        assert found["img"].shape == (48, 64, 3)
        assert not unlabelled(found).any()
        assert np.array_equal(source, original), "the picture that is kept in memory stays"
        kept += len(found["cls"])
        assert len(found["cls"]) == len(found["instances"])
    assert kept >= 60


def test_a_crop_as_large_as_the_picture_leaves_the_kept_picture_as_it_is() -> None:
    labels = labels_of((0, 0, 40, 30), (60, 60, 60, 80))
    source = labels["img"]
    original = source.copy()
    found = DefectCrop((120, 160))(labels)
    assert np.array_equal(source, original)
    assert len(found["cls"]) == 1


@pytest.mark.parametrize("segments", [False, True])
def test_a_move_shows_no_defect_without_its_label(segments: bool) -> None:
    random.seed(0)
    plain = RandomPerspective(degrees=3.0, translate=0.5, scale=0.2)
    moved = PaintedPerspective(plain, (120, 160))
    dropped = 0
    for _ in range(200):
        found = moved(labels_of(*BOXES, segments=segments))
        assert found["img"].shape == (120, 160, 3)
        assert not unlabelled(found).any()
        dropped += int((found["img"] == 114).all(axis=2).any())
    assert dropped


def test_without_labels_nothing_is_painted() -> None:
    moved = PaintedPerspective(RandomPerspective(translate=0.0, scale=0.0, degrees=0.0), (120, 160))
    found = moved(labels_of((10, 10, 40, 40)))
    assert len(found["cls"]) == 1
    empty = labels_of((10, 10, 40, 40))
    empty["instances"], empty["cls"] = empty["instances"][[]], empty["cls"][[]]
    assert (moved(empty)["img"] != 114).all()
