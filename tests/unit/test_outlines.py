"""Outlines: as large as the defect, where it is, and refused when the masks are nonsense."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from release_builder import paint, write_release
from store_samples import MODEL, PASSED, inspected, store_config, trigger

from inspection.decide import check_detections, judge
from inspection.detector import Detector, read_outputs
from inspection.errors import ModelOutputError, ReleaseError
from inspection.letterbox import Letterbox
from inspection.outlines import MOST_CORNERS, join, trace
from inspection.release import ReleaseCard, TilingCard, load_release, read_card
from inspection.runtimes.contract import check_outputs, join_outputs
from inspection.runtimes.onnxruntime import OnnxRuntimeConfig
from inspection.store.queries import PartFilter, StoreReader
from inspection.store.sql import SqlStore
from inspection.store.verify import verify
from inspection.types import ClassLimits, Decision, Detections, Reason, Recipe, Release, Tiling

NAMES = ("scratch", "dent")
RELEASE = Release(
    "demo", 1, Path(), Path("m.onnx"), "ab" * 32, "segment", NAMES, (128, 192), limits={}
)
PLACED = Letterbox.of((128, 192), (128, 192))
GRID = (32, 48)


def answer(*rows: list[float], masks: Any = None) -> dict[str, Any]:
    table = np.zeros((1, 8, 6), np.float32)
    for i, row in enumerate(rows):
        table[0, i] = row
    return {
        "detections": table,
        "masks": np.zeros((1, 8, *GRID), np.float32) if masks is None else masks,
    }


def drawn(shape: Any, placed: Letterbox) -> Any:
    """The mask that a perfect network gives for a uint8 drawing (0 or 1) of image size."""
    left, top = placed.pad
    height, width = placed.resized
    canvas = np.zeros(placed.input_size, np.float32)
    canvas[top : top + height, left : left + width] = cv2.resize(
        shape.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA
    )
    rows, columns = canvas.shape
    return canvas.reshape(rows // 4, 4, columns // 4, 4).mean(axis=(1, 3)).astype(np.float32)


def around(shape: Any) -> Any:
    ys, xs = np.nonzero(shape)
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.float32)


class TestTrace:
    @pytest.mark.parametrize("size", [(128, 192), (256, 384), (500, 700), (90, 300)])
    def test_an_ellipse_keeps_its_place_and_area(self, size: tuple[int, int]) -> None:
        placed = Letterbox.of(size, (128, 192))
        shape = np.zeros(size, np.uint8)
        centre, axes = (size[1] // 2, size[0] // 2), (size[1] // 5, size[0] // 4)
        cv2.ellipse(shape, centre, axes, 0, 0, 360, 1, -1)
        outline, area = trace(drawn(shape, placed), around(shape), placed.scale, placed.pad)
        assert area == pytest.approx(int(shape.sum()), rel=0.03)
        assert 8 <= len(outline) <= MOST_CORNERS
        again = cv2.fillPoly(np.zeros(size, np.uint8), [np.rint(outline).astype(np.int32)], 1)
        assert (again & shape).sum() / (again | shape).sum() > 0.9

    def test_a_small_square_is_not_a_multiple_of_the_grid(self) -> None:
        shape = np.zeros((128, 192), np.uint8)
        shape[40:50, 60:72] = 1  # 10 x 12 pixels on a grid of 4
        _, area = trace(drawn(shape, PLACED), around(shape), PLACED.scale, PLACED.pad)
        assert area == pytest.approx(120, rel=0.12)

    def test_a_defect_at_the_edge_of_the_image_reaches_the_edge(self) -> None:
        shape = np.zeros((128, 192), np.uint8)
        shape[:20, :40] = 1
        outline, area = trace(drawn(shape, PLACED), around(shape), PLACED.scale, PLACED.pad)
        assert area == pytest.approx(800, rel=0.02)
        assert min(x for x, _ in outline) <= 1
        assert min(y for _, y in outline) <= 1

    def test_a_faint_mask_gives_the_box(self) -> None:
        """A defect must not vanish below a minimum area because its mask is faint."""
        box = np.array([10, 20, 30, 50], np.float32)
        outline, area = trace(np.full(GRID, 0.49, np.float32), box, PLACED.scale, PLACED.pad)
        assert outline == ((10, 20), (30, 20), (30, 50), (10, 50))
        assert area == 600

    @pytest.mark.parametrize("peak", [0.3, 0.49, 0.52, 0.9])
    def test_one_place_over_the_cut_does_not_make_a_defect_small(self, peak: float) -> None:
        box = np.array([40, 40, 80, 80], np.float32)
        mask = np.full(GRID, 0.3, np.float32)
        mask[15, 15] = peak
        assert trace(mask, box, PLACED.scale, PLACED.pad)[1] == 1600

    def test_a_mask_over_a_tenth_of_its_box_tells_the_area(self) -> None:
        shape = np.zeros((128, 192), np.uint8)
        shape[40:60, 40:52] = 1
        box = np.array([40, 40, 80, 80], np.float32)  # 240 of 1600
        _, area = trace(drawn(shape, PLACED), box, PLACED.scale, PLACED.pad)
        assert area == pytest.approx(240, rel=0.1)

    def test_the_outline_is_the_largest_piece_and_the_area_that_of_all(self) -> None:
        shape = np.zeros((128, 192), np.uint8)
        shape[20:60, 20:60] = 1
        shape[20:40, 100:120] = 1
        outline, area = trace(drawn(shape, PLACED), around(shape), PLACED.scale, PLACED.pad)
        assert max(x for x, _ in outline) < 64
        assert area == pytest.approx(2000, rel=0.02)

    def test_an_empty_box_has_no_area(self) -> None:
        box = np.array([10, 20, 10, 50], np.float32)
        assert trace(np.ones(GRID, np.float32), box, PLACED.scale, PLACED.pad)[1] == 0

    @settings(max_examples=80, deadline=None)
    @given(st.integers(0, 10**6), st.floats(0, 1), st.tuples(*[st.floats(0, 500)] * 4))
    def test_noise_gives_a_small_polygon_inside_the_box(
        self, seed: int, share: float, sides: tuple[float, float, float, float]
    ) -> None:
        placed = Letterbox.of((400, 500), (128, 192))
        xs, ys = sorted(sides[:2]), sorted(min(v, 400) for v in sides[2:])
        box = np.array([xs[0], ys[0], xs[1], ys[1]], np.float32)
        mask = (np.random.default_rng(seed).random(GRID) < share).astype(np.float32)
        outline, area = trace(mask, box, placed.scale, placed.pad)
        assert 3 <= len(outline) <= MOST_CORNERS
        assert 0 <= area <= (box[2] - box[0]) * (box[3] - box[1]) * 1.001 + 1e-3
        corners = np.array(outline)
        assert (corners >= box[:2] - 1e-3).all()
        assert (corners <= box[2:] + 1e-3).all()

    def test_joined_pieces_are_one_outline(self) -> None:
        left = ((0.0, 10.0), (60.0, 10.0), (60.0, 20.0), (0.0, 20.0))
        right = ((50.0, 10.0), (120.0, 10.0), (120.0, 20.0), (50.0, 20.0))
        outline, area = join([left, right], [600, 700], np.array([0, 10, 120, 20], np.float32))
        assert area == pytest.approx(1200, rel=0.1)
        assert max(x for x, _ in outline) - min(x for x, _ in outline) > 115

    def test_what_the_outlines_do_not_show_still_counts(self) -> None:
        """A dotted defect: the outline is one dot, the area that of all."""
        dots = [((x, 10.0), (x + 4, 10.0), (x + 4, 14.0), (x, 14.0)) for x in (0.0, 100.0)]
        box = np.array([0, 10, 120, 20], np.float32)
        assert join(dots, [160, 200], box)[1] == pytest.approx(360, rel=0.1)
        assert join(dots, [160, 200], box)[1] >= 360 - 1e-3
        assert join(dots, [1, 2], np.array([0, 10, 0, 20], np.float32))[1] == 2

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(*[st.floats(0, 100)] * 4, st.floats(0, 20000)), min_size=1))
    def test_a_joined_defect_is_no_smaller_than_a_part(self, rows: list[Any]) -> None:
        outlines = [((a, b), (c, b), (c, d), (a, d)) for a, b, c, d, _ in rows]
        areas = [row[4] for row in rows]
        assert join(outlines, areas, np.array([0, 0, 100, 100], np.float32))[1] >= max(areas)


class TestReading:
    def test_rows_of_score_0_keep_nothing_and_the_order_is_that_of_the_scores(self) -> None:
        masks = np.zeros((1, 8, *GRID), np.float32)
        masks[0, 0, 2:8, 2:8] = 1  # 24 x 24 pixels
        masks[0, 2, 4:6, 20:30] = 1  # 40 x 8
        found = read_outputs(
            RELEASE,
            answer([8, 8, 32, 32, 0.4, 1], [0] * 6, [80, 16, 120, 24, 0.9, 0], masks=masks),
            PLACED,
        )
        assert found.scores.tolist() == pytest.approx([0.9, 0.4])
        assert found.areas is not None
        assert found.areas.dtype == np.float32
        assert found.areas.tolist() == pytest.approx([320, 576], rel=0.02)
        rows = found.as_rows()
        assert json.loads(json.dumps(rows)) == rows
        assert rows[0]["area"] == pytest.approx(320, rel=0.02)
        assert rows[0]["box"] == [80, 16, 120, 24]
        assert len(rows[0]["outline"]) >= 4

    def test_detect_rows_stay_as_they_were(self) -> None:
        release = dataclasses.replace(RELEASE, task="detect")
        outputs = answer([8, 8, 32, 32, 0.4, 1])
        del outputs["masks"]
        (row,) = read_outputs(release, outputs, PLACED).as_rows()
        assert set(row) == {"class", "score", "box"}

    def test_nothing_found(self) -> None:
        found = read_outputs(RELEASE, answer(), PLACED)
        assert (len(found), found.outlines) == (0, ())
        assert found.areas is not None
        assert found.as_rows() == []

    @pytest.mark.parametrize("value", [np.nan, np.inf, 1.1, -0.1])
    @pytest.mark.parametrize("row", [0, 5])
    def test_nonsense_is_an_error_and_never_nothing(self, value: float, row: int) -> None:
        masks = np.zeros((1, 8, *GRID), np.float32)
        masks[0, row, 3, 3] = value
        with pytest.raises(ModelOutputError):
            read_outputs(RELEASE, answer([8, 8, 32, 32, 0.4, 1], masks=masks), PLACED)

    @pytest.mark.parametrize("shape", [(1, 7, *GRID), (1, 8, 16, 24), (2, 8, *GRID), (8, *GRID)])
    def test_wrong_shapes(self, shape: tuple[int, ...]) -> None:
        outputs = answer([8, 8, 32, 32, 0.4, 1], masks=np.zeros(shape, np.float32))
        with pytest.raises(ModelOutputError):
            read_outputs(RELEASE, outputs, PLACED)
        with pytest.raises(ModelOutputError):
            check_outputs(RELEASE, outputs, 1)

    def test_missing(self) -> None:
        outputs = answer()
        del outputs["masks"]
        with pytest.raises(ModelOutputError):
            read_outputs(RELEASE, outputs, PLACED)

    def test_batches_with_unlike_numbers_of_rows_are_joined(self) -> None:
        first, second = answer([8, 8, 32, 32, 0.4, 1]), answer([9, 9, 32, 32, 0.5, 0])
        second = {name: value[:, :2] for name, value in second.items()}
        both = join_outputs([first, second])
        assert both["detections"].shape == (2, 8, 6)
        assert both["masks"].shape == (2, 8, *GRID)
        assert both["detections"][1, 0].tolist() == [9, 9, 32, 32, 0.5, 0]
        assert not both["detections"][1, 2:].any()


class TestDecision:
    found = Detections(
        np.array([[10, 10, 50, 50]], np.float32),
        np.array([0.9], np.float32),
        np.array([0], np.int64),
        NAMES,
        "demo/1",
        "ab" * 32,
        outlines=(((10, 10), (50, 10), (50, 50)),),
        areas=np.array([800], np.float32),
    )

    def decision(self, found: Detections, min_area: float) -> Decision:
        limits = {
            "scratch": ClassLimits(0.3, 0.6, min_area=min_area),
            "dent": ClassLimits(0.3, 0.6),
        }
        return judge(found, Recipe(1, "demo", 1, limits)).decision

    def test_smaller_areas_are_not_counted(self) -> None:
        assert self.decision(self.found, 0) is Decision.FAIL
        assert self.decision(self.found, 800) is Decision.FAIL
        assert self.decision(self.found, 801) is Decision.PASS

    def test_without_outlines_the_area_is_the_boxs(self) -> None:
        boxes_only = dataclasses.replace(self.found, outlines=None, areas=None)
        assert self.decision(boxes_only, 1600) is Decision.FAIL
        assert self.decision(boxes_only, 1601) is Decision.PASS

    def test_a_crossed_box_still_counts(self) -> None:
        boxes = np.array([[50, 10, 10, 50]], np.float32)
        crossed = dataclasses.replace(self.found, boxes=boxes, outlines=None, areas=None)
        assert self.decision(crossed, 0) is Decision.FAIL

    @pytest.mark.parametrize(
        "changes",
        [
            {"outlines": None},
            {"areas": None},
            {"outlines": ()},
            {"areas": np.array([np.nan], np.float32)},
            {"areas": np.array([-1], np.float32)},
            {"areas": np.array([1, 2], np.float32)},
            {"outlines": (((10, 10), (50, np.inf), (50, 50)),)},
        ],
    )
    def test_doubtful_outlines_are_never_a_pass(self, changes: dict[str, Any]) -> None:
        assert check_detections(self.found, RELEASE) is None
        doubt = check_detections(dataclasses.replace(self.found, **changes), RELEASE)
        assert doubt is not None
        assert (doubt.decision, doubt.reason) == (Decision.NOT_INSPECTED, Reason.MODEL_OUTPUT)


def test_outlines_are_stored_and_a_part_with_them_is_proven(tmp_path: Path) -> None:
    found = Detections(
        np.array([[1, 2, 30, 40]], np.float32),
        np.array([0.25], np.float32),
        np.array([0], np.int64),
        ("scratch",),
        "bottle/3",
        MODEL,
        outlines=(((1.04, 2.0), (30.0, 2.0), (30.0, 40.0)),),
        areas=np.array([551.26], np.float32),
    )
    store = SqlStore(store_config(tmp_path))
    asked = trigger(1, epoch=store.begin_epoch("st1", "start"))
    store.triggered(asked, 1)
    store.decided(inspected(asked, PASSED, detections=found))
    store.close()
    with StoreReader(store_config(tmp_path)) as reader:
        (row,) = reader.page(PartFilter(station="st1"), limit=10)
    assert row["detections"] == [
        {
            "class": "scratch",
            "score": 0.25,
            "box": [1.0, 2.0, 30.0, 40.0],
            "outline": [[1.0, 2.0], [30.0, 2.0], [30.0, 40.0]],
            "area": 551.3,
        }
    ]
    proven = {finding.code: finding for finding in verify(store_config(tmp_path)).findings}["I2"]
    assert (proven.checked, proven.breaches) == (1, 0), proven.examples


class TestRelease:
    def test_an_old_card_has_no_tiling(self, tmp_path: Path) -> None:
        folder = write_release(tmp_path)
        path = folder / "release.json"
        card = json.loads(path.read_text())
        del card["tiling"]
        for limits in card["limits"].values():
            del limits["min_area"]
        path.write_text(json.dumps(card))
        release = load_release(folder)
        assert (release.tiling, release.task) == (None, "detect")

    def test_tiling_survives_the_card(self, tmp_path: Path) -> None:
        tiling = Tiling((300, 400), 0.25, 0.4)
        assert load_release(write_release(tmp_path, tiling=tiling)).tiling == tiling

    @pytest.mark.parametrize(
        "values",
        [
            {"size": (16, 300), "overlap": 0.2},
            {"size": (300, 300), "overlap": 0.6},
            {"size": (300, 300), "overlap": -0.1},
            {"size": (300, 300), "overlap": 0.2, "iou": 0},
            {"size": (300, 300), "overlap": 0.2, "pad": 3},
        ],
    )
    def test_nonsense_tiling_is_refused(self, values: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            TilingCard.model_validate(values)

    def test_segment_needs_masks_and_sides_of_4(self, tmp_path: Path) -> None:
        folder = write_release(tmp_path, variant="segment", size=(64, 96))
        assert load_release(folder).task == "segment"
        values = read_card(folder).model_dump()
        with pytest.raises(ValidationError, match="multiples of 4"):
            ReleaseCard.model_validate({**values, "input_size": (64, 98)})
        other = write_release(tmp_path, number=2, size=(64, 96))
        card = json.loads((other / "release.json").read_text())
        (other / "release.json").write_text(json.dumps({**card, "task": "segment"}))
        with pytest.raises(ReleaseError, match="masks"):
            load_release(other)


def test_tiled_outlines_lie_where_the_defects_are(tmp_path: Path) -> None:
    """A real graph in a real session; one mark crosses a border, one is longer than the overlap."""
    tiling = Tiling((128, 128), 0.25)
    release = load_release(write_release(tmp_path, variant="segment", size=(64, 64), tiling=tiling))
    runtime = OnnxRuntimeConfig(threads=1, providers="cpu").open()
    runtime.load(release, 60.0)
    marks = {0: (110, 20, 140, 60), 1: (20, 150, 280, 166), 2: (250, 20, 290, 60)}
    image = paint((200, 300), *((k, box) for k, box in marks.items()))
    found = Detector(release, runtime).detect(image, 60.0)
    runtime.close()
    assert sorted(found.classes.tolist()) == [0, 1, 2]
    assert found.outlines is not None
    assert found.areas is not None
    for kind, box, outline, area in zip(
        found.classes.tolist(), found.boxes, found.outlines, found.areas, strict=True
    ):
        x1, y1, x2, y2 = marks[kind]
        assert box.tolist() == pytest.approx([x1, y1, x2, y2], abs=3)
        assert area == pytest.approx((x2 - x1) * (y2 - y1), rel=0.15)
        corners = np.array(outline)
        assert [*corners.min(axis=0), *corners.max(axis=0)] == pytest.approx(
            [x1, y1, x2, y2], abs=4
        )
