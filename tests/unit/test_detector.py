"""The detector: geometry that inverts, and answers that are checked before they are believed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspection.detector import Detector, read_outputs
from inspection.errors import ModelOutputError
from inspection.letterbox import Letterbox, letterbox
from inspection.types import Release

NAMES = ("scratch", "dent", "hole")
RELEASE = Release(
    "demo", 1, Path(), Path("model.onnx"), "ab" * 32, "detect", NAMES, (256, 320), limits={}
)
HEAT = Release("heat", 2, Path(), Path("model.onnx"), "cd" * 32, "anomaly", ("odd",), (64, 64), {})
PLACED = Letterbox.of((512, 640), (256, 320))
sides = st.integers(1, 4000)
inputs = st.sampled_from([(32, 32), (256, 256), (640, 640), (544, 640), (640, 32)])


def answer(*rows: list[float]) -> dict[str, Any]:
    table = np.zeros((1, 8, 6), np.float32)
    for i, row in enumerate(rows):
        table[0, i] = row
    return {"detections": table}


@given(sides, sides, inputs, st.data())
def test_to_image_inverts_to_network(
    height: int, width: int, size: tuple[int, int], data: st.DataObject
) -> None:
    placed = Letterbox.of((height, width), size)
    xs = sorted(data.draw(st.tuples(*[st.floats(0, width)] * 2)))
    ys = sorted(data.draw(st.tuples(*[st.floats(0, height)] * 2)))
    box = np.array([[xs[0], ys[0], xs[1], ys[1]]], np.float32)
    back = placed.to_image(placed.to_network(box))
    tolerance = 1e-5 * max(height, width) / min(1.0, *placed.scale) + 1e-3
    assert np.allclose(back, box, atol=tolerance)


@given(sides, sides, inputs, st.lists(st.floats(-1e6, 1e6, width=32), min_size=4, max_size=4))
def test_to_image_never_leaves_the_image(
    height: int, width: int, size: tuple[int, int], box: list[float]
) -> None:
    moved = Letterbox.of((height, width), size).to_image(np.array([box], np.float32))
    assert (moved >= 0).all()
    assert (moved[:, ::2] <= width).all()
    assert (moved[:, 1::2] <= height).all()


@given(sides, sides, inputs)
def test_placement_lies_inside_the_input_and_is_centred(
    height: int, width: int, size: tuple[int, int]
) -> None:
    placed = Letterbox.of((height, width), size)
    inner_height, inner_width = placed.resized
    left, top = placed.pad
    assert 1 <= inner_height <= size[0]
    assert 1 <= inner_width <= size[1]
    assert abs(size[1] - inner_width - 2 * left) <= 1
    assert abs(size[0] - inner_height - 2 * top) <= 1


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), inputs, st.integers(0, 9))
def test_pixels_are_those_of_ultralytics(
    height: int, width: int, size: tuple[int, int], seed: int
) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    tensor, _ = letterbox(image, size)
    assert tensor.shape == (*size, 3)
    assert tensor.flags.c_contiguous
    assert tensor.dtype == np.uint8
    ratio = min(size[0] / height, size[1] / width)  # their published arithmetic, written out
    inner = (max(round(width * ratio), 1), max(round(height * ratio), 1))
    dw, dh = (size[1] - inner[0]) / 2, (size[0] - inner[1]) / 2
    theirs = image if (width, height) == inner else cv2.resize(image, inner)
    theirs = cv2.copyMakeBorder(
        theirs,
        round(dh - 0.1),
        round(dh + 0.1),
        round(dw - 0.1),
        round(dw + 0.1),
        cv2.BORDER_CONSTANT,
        value=(114, 114, 114),
    )
    assert np.array_equal(tensor, theirs)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((5, 5), np.uint8),
        np.zeros((5, 5, 4), np.uint8),
        np.zeros((5, 5, 3), np.float32),
    ],
)
def test_what_is_no_image_is_refused(image: Any) -> None:
    with pytest.raises(ValueError, match="uint8"):
        letterbox(image, (32, 32))


def test_boxes_come_back_in_image_pixels_by_descending_score() -> None:
    found = read_outputs(
        RELEASE, answer([10, 20, 30, 40, 0.4, 1], [0, 0, 0, 0, 0, 0], [1, 2, 3, 4, 0.9, 2]), PLACED
    )
    assert found.scores.tolist() == pytest.approx([0.9, 0.4])
    assert found.classes.tolist() == [2, 1]
    assert found.boxes.tolist() == [[2, 4, 6, 8], [20, 40, 60, 80]]
    assert found.boxes.dtype == np.float32
    assert found.classes.dtype == np.int64
    assert found.release == "demo/1"
    assert found.model_sha256 == "ab" * 32
    assert found.anomaly_score is None


def test_boxes_over_the_edge_are_clipped_and_slightly_crossed_ones_ordered() -> None:
    found = read_outputs(
        RELEASE, answer([-5, -5, 400, 300, 0.5, 0], [10.2, 5, 10.0, 9, 0.4, 0]), PLACED
    )
    assert found.boxes[0].tolist() == [0, 0, 640, 512]
    assert found.boxes[1].tolist() == pytest.approx([20, 10, 20.4, 18])


def test_score_a_hair_over_one_is_cut() -> None:
    found = read_outputs(RELEASE, answer([1, 1, 2, 2, 1.0005, 0]), PLACED)
    assert found.scores.tolist() == [1.0]


nan, inf = float("nan"), float("inf")


@pytest.mark.parametrize(
    "row",
    [
        [1, 1, 2, 2, nan, 0],
        [nan, 1, 2, 2, 0.5, 0],
        [1, 1, 2, inf, 0.5, 0],
        [nan, 0, 0, 0, 0, 0],  # in a padding row too
        [1, 1, 2, 2, -0.1, 0],
        [1, 1, 2, 2, 1.01, 0],
        [1, 1, 2, 2, 0.5, 3],
        [1, 1, 2, 2, 0.5, -1],
        [1, 1, 2, 2, 0.5, 0.5],
        [9, 1, 2, 2, 0.5, 0],
        [1, 1, 9000, 2, 0.5, 0],
    ],
)
def test_nonsense_is_an_error_and_never_nothing(row: list[float]) -> None:
    with pytest.raises(ModelOutputError):
        read_outputs(RELEASE, answer([1, 1, 2, 2, 0.9, 0], row), PLACED)


@pytest.mark.parametrize(
    "outputs",
    [
        {},
        {"other": np.zeros((1, 8, 6), np.float32)},
        {"detections": np.zeros((1, 8, 5), np.float32)},
        {"detections": np.zeros((2, 8, 6), np.float32)},
        {"detections": np.zeros((8, 6), np.float32)},
        {"detections": np.zeros((1, 8, 6), np.float64)},
    ],
)
def test_wrong_shapes_are_an_error(outputs: dict[str, Any]) -> None:
    with pytest.raises(ModelOutputError):
        read_outputs(RELEASE, outputs, PLACED)


def test_an_answer_without_padding_says_from_where_it_is_full() -> None:
    rows = [[20 * i, 1, 20 * i + 9, 9, 0.9 - 0.1 * i, 0] for i in range(8)]
    assert read_outputs(RELEASE, answer(*rows), PLACED).full_from == pytest.approx(0.2)
    assert read_outputs(RELEASE, answer(*rows[:7]), PLACED).full_from is None


def test_no_rows_at_all_is_nothing_found() -> None:
    empty = read_outputs(RELEASE, {"detections": np.zeros((1, 0, 6), np.float32)}, PLACED)
    assert len(empty) == 0
    assert empty.boxes.shape == (0, 4)


class TestAnomaly:
    placed = Letterbox.of((64, 64), (64, 64))

    def outputs(self, score: float, heat: float = 0.1) -> dict[str, Any]:
        return {
            "anomaly_map": np.full((1, 8, 8), heat, np.float32),
            "anomaly_score": np.array([score], np.float32),
        }

    def test_score(self) -> None:
        found = read_outputs(HEAT, self.outputs(0.75), self.placed)
        assert found.anomaly_score == 0.75
        assert len(found) == 0

    @pytest.mark.parametrize(("score", "heat"), [(nan, 0.1), (0.5, nan), (-1, 0), (1.5, 0)])
    def test_nonsense(self, score: float, heat: float) -> None:
        with pytest.raises(ModelOutputError):
            read_outputs(HEAT, self.outputs(score, heat), self.placed)

    def test_missing_map(self) -> None:
        with pytest.raises(ModelOutputError):
            read_outputs(HEAT, {"anomaly_score": np.zeros(1, np.float32)}, self.placed)


def test_detector_gives_the_runtime_one_letterboxed_image() -> None:
    seen: list[Any] = []

    class Recorder:
        def infer(self, images: Any, timeout: float) -> dict[str, Any]:
            seen.append((images, timeout))
            return answer([0, 0, 320, 256, 0.5, 0])

    found = Detector(RELEASE, Recorder()).detect(np.zeros((512, 640, 3), np.uint8), 0.7)
    images, timeout = seen[0]
    assert images.shape == (1, 256, 320, 3)
    assert images.flags.c_contiguous
    assert timeout == 0.7
    assert found.boxes.tolist() == [[0, 0, 640, 512]]
