"""Tiles: they cover the frame, and merging what they saw loses no defect."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspection.decide import judge
from inspection.detector import Detector, read_views
from inspection.errors import InferenceTimeoutError, ModelOutputError
from inspection.letterbox import fill, letterbox, plan_views
from inspection.tiles import MOST_BYTES, MOST_TOGETHER, cut, merge, tiles_together
from inspection.types import ClassLimits, Decision, Detections, Recipe, Region, Release, Tiling

NAMES = ("scratch", "dent")
FRAME = (300, 500)
TILING = Tiling((128, 160), 0.25)
TILES = cut(FRAME, TILING)


def release(
    task: Any = "detect", tiling: Tiling | None = TILING, size: Any = (128, 160)
) -> Release:
    names = ("anomaly",) if task == "anomaly" else NAMES
    return Release("demo", 1, Path(), Path("m.onnx"), "ab" * 32, task, names, size, {}, tiling)


def found(*rows: tuple[float, ...], names: tuple[str, ...] = NAMES) -> Detections:
    """Rows x1 y1 x2 y2 score class."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    table = table[np.argsort(-table[:, 4], kind="stable")]
    return Detections(
        table[:, :4], table[:, 4], table[:, 5].astype(np.int64), names, "demo/1", "ab" * 32
    )


def rows_of(answer: Detections) -> list[tuple[float, ...]]:
    return [
        (*map(float, b), round(float(s), 3), int(c))
        for b, s, c in zip(answer.boxes, answer.scores, answer.classes, strict=True)
    ]


def with_areas(answer: Detections, *areas: float, dot: Any = None) -> Detections:
    """Outlines are the boxes, or one dot."""
    boxes = answer.boxes.tolist() if dot is None else [dot] * len(answer)
    outlines = tuple(((a, b), (c, b), (c, d), (a, d)) for a, b, c, d in boxes)
    return dataclasses.replace(answer, outlines=outlines, areas=np.array(areas, np.float32))


def two(left: Detections, right: Detections) -> Detections:
    """Merge what tiles [0, 100) and [80, 180) of an image of 100 x 180 saw."""
    return merge([left, right], [(0, 0, 100, 100), (80, 0, 180, 100)], (100, 180))


class TestCut:
    @given(
        st.integers(1, 700),
        st.integers(1, 700),
        st.integers(32, 300),
        st.integers(32, 300),
        st.floats(0, 0.5),
    )
    def test_tiles_cover_every_pixel_and_overlap_as_promised(
        self, height: int, width: int, tile_height: int, tile_width: int, overlap: float
    ) -> None:
        tiles = cut((height, width), Tiling((tile_height, tile_width), overlap))
        seen = np.zeros((height, width), bool)
        for x1, y1, x2, y2 in tiles:
            assert (x2 - x1, y2 - y1) == (min(tile_width, width), min(tile_height, height))
            assert x1 >= 0
            assert y1 >= 0
            assert x2 <= width
            assert y2 <= height
            seen[y1:y2, x1:x2] = True
        assert seen.all()
        assert len(set(tiles)) == len(tiles)
        starts = sorted({tile[0] for tile in tiles})
        for a, b in itertools.pairwise(starts):
            assert b - a <= max(1, tile_width * (1 - overlap))

    def test_five_megapixels_are_twenty_tiles(self) -> None:
        tiles = cut((2048, 2448), Tiling((640, 640), 0.2))
        assert len(tiles) == 20
        assert tiles[-1] == (1808, 1408, 2448, 2048)

    def test_without_tiling_there_is_one(self) -> None:
        assert cut((30, 50), None) == [(0, 0, 50, 30)]


class TestViews:
    image = np.random.default_rng(1).integers(0, 256, (*FRAME, 3), np.uint8)

    def test_tiles_of_the_inputs_size_are_shown_unchanged(self) -> None:
        views = plan_views(FRAME, (128, 160), TILING)
        batch = fill(self.image, views, (128, 160))
        for (x1, y1, x2, y2), picture in zip(TILES, batch, strict=True):
            assert np.array_equal(picture, self.image[y1:y2, x1:x2])

    def test_other_tiles_are_scaled_as_any_image(self) -> None:
        views = plan_views(FRAME, (64, 96), TILING)
        batch = fill(self.image, views, (64, 96))
        for (x1, y1, x2, y2), picture in zip(TILES, batch, strict=True):
            assert np.array_equal(picture, letterbox(self.image[y1:y2, x1:x2], (64, 96))[0])

    def test_an_image_smaller_than_a_tile_keeps_the_scale(self) -> None:
        small = self.image[:60, :40]
        (view,) = plan_views((60, 40), (256, 320), TILING)  # tiles are shown at twice their size
        assert view.placed.scale == (2.0, 2.0)
        (picture,) = fill(small, [view], (256, 320))
        assert view.placed.resized == (120, 80)
        assert (picture[:60] == 114).all()

    def test_what_is_no_image_is_refused(self) -> None:
        wrong = np.zeros((5, 5), np.uint8)
        with pytest.raises(ValueError, match="uint8"):
            fill(wrong, plan_views((5, 5), (64, 64), None), (64, 64))

    @pytest.mark.parametrize("shape", [(480, 320), (320, 480), (64, 96), (7, 200)])
    def test_room_that_was_used_before_shows_nothing_of_it(self, shape):
        image = np.random.default_rng(3).integers(0, 255, (*shape, 3), np.uint8)
        room = np.full((2, 64, 96, 3), 77, np.uint8)
        batch = fill(image, plan_views(shape, (64, 96), None), (64, 96), room)
        assert np.shares_memory(batch, room)
        assert len(batch) == 1
        assert np.array_equal(batch[0], letterbox(image, (64, 96))[0])

    def test_room_of_another_size_is_refused(self):
        views = plan_views((5, 5), (64, 64), None)
        for room in (np.zeros((1, 64, 96, 3), np.uint8), np.zeros((0, 64, 64, 3), np.uint8)):
            with pytest.raises(ValueError, match="room"):
                fill(np.zeros((5, 5, 3), np.uint8), views, (64, 64), room)


class TestMerge:
    def test_one_defect_seen_whole_twice_is_one_with_the_higher_score_and_the_larger_size(
        self,
    ) -> None:
        answer = two(found((84, 10, 96, 30, 0.5, 0)), found((84, 11, 95, 31, 0.8, 0)))
        assert rows_of(answer) == [(84, 10, 96, 31, 0.8, 0)]

    def test_a_partial_box_longer_than_the_whole_one_lends_it_its_size(self) -> None:
        answer = two(found((87, 10, 98.5, 19, 0.6, 0)), found((87, 10, 96, 19, 0.9, 0)))
        assert rows_of(answer) == [(87, 10, 98.5, 19, 0.9, 0)]

    def test_one_defect_seen_twice_has_the_larger_area_and_its_outline(self) -> None:
        small = with_areas(found((84, 10, 96, 30, 0.9, 0)), 40)
        large = with_areas(found((84, 11, 95, 31, 0.8, 0)), 220)
        answer = two(small, large)
        assert answer.areas is not None
        assert answer.areas.tolist() == [220]
        assert answer.outlines == large.outlines

    def test_the_pieces_of_a_dotted_defect_keep_the_area_of_all_dots(self) -> None:
        """The outline of a piece is one dot; its area is that of all its dots."""
        left = with_areas(found((20, 10, 100, 20, 0.9, 0)), 100, dot=(20, 10, 24, 15))
        right = with_areas(found((80, 10, 160, 20, 0.9, 0)), 90, dot=(150, 10, 154, 15))
        answer = two(left, right)
        assert rows_of(answer) == [(20, 10, 160, 20, 0.9, 0)]
        assert answer.areas is not None
        assert answer.areas[0] == pytest.approx(190, rel=0.25)
        assert answer.areas[0] >= 190

    def test_the_whole_box_stands_for_the_partial_one_and_takes_its_score(self) -> None:
        answer = two(found((85, 10, 100, 30, 0.9, 0)), found((84, 10, 120, 30, 0.4, 0)))
        assert rows_of(answer) == [(84, 10, 120, 30, 0.9, 0)]

    def test_a_partial_box_that_only_one_tile_saw_stays(self) -> None:
        alone = (85, 10, 100, 30, 0.3, 0)
        assert rows_of(two(found(alone), found())) == [alone]

    def test_nothing_found_anywhere_is_nothing(self) -> None:
        answer = two(found(), found())
        assert len(answer) == 0
        assert answer.boxes.shape == (0, 4)

    def test_another_class_is_another_defect(self) -> None:
        answer = two(found((85, 10, 100, 30, 0.9, 0)), found((84, 10, 120, 30, 0.4, 1)))
        assert len(answer) == 2

    def test_a_whole_box_inside_another_stays(self) -> None:
        answer = two(found((70, 10, 95, 90, 0.9, 0)), found((84, 40, 90, 46, 0.4, 0)))
        assert len(answer) == 2

    def test_a_whole_box_that_does_not_reach_the_border_takes_no_partial_one(self) -> None:
        answer = two(found((88, 10, 100, 30, 0.9, 0)), found((84, 5, 95, 40, 0.4, 0)))
        assert len(answer) == 2

    def test_what_one_tile_told_apart_stays_apart(self) -> None:
        left = found((84, 10, 96, 30, 0.9, 0), (84, 14, 96, 34, 0.8, 0))
        right = found((84, 11, 96, 31, 0.7, 0))
        assert [row[4] for row in rows_of(two(left, right))] == [0.9, 0.8]

    def test_a_defect_longer_than_the_overlap_is_joined_to_its_full_length(self) -> None:
        """Else a minimum size could let the pieces of a long scratch pass."""
        answer = two(found((40, 10, 100, 22, 0.5, 0)), found((80, 15, 150, 30, 0.7, 0)))
        assert rows_of(answer) == [(40, 10, 150, 30, 0.7, 0)]

    def test_pieces_are_joined_without_overlap_too(self) -> None:
        tiles = [(0, 0, 100, 100), (100, 0, 200, 100), (200, 0, 300, 100)]
        answers = [
            found((40, 10, 100, 20, 0.5, 0)),
            found((100, 10, 200, 20, 0.6, 0)),
            found((200, 12, 250, 20, 0.7, 0)),
        ]
        assert rows_of(merge(answers, tiles, (100, 300))) == [(40, 10, 250, 20, 0.7, 0)]

    def test_tiles_that_do_not_touch_join_nothing(self) -> None:
        tiles = [(0, 0, 100, 100), (80, 0, 180, 100), (160, 0, 260, 100)]
        answers = [found((40, 10, 100, 20, 0.5, 0)), found(), found((160, 10, 200, 20, 0.7, 0))]
        assert len(merge(answers, tiles, (100, 260))) == 2

    def test_a_defect_on_the_corner_of_four_tiles_is_one(self) -> None:
        tiles = cut((180, 180), Tiling((100, 100), 0.2))
        whole = (60, 60, 130, 120)
        answers = []
        for x1, y1, x2, y2 in tiles:
            box = (max(60, x1), max(60, y1), min(130, x2), min(120, y2))
            answers.append(found((*box, 0.5, 0)))
        assert rows_of(merge(answers, tiles, (180, 180))) == [(*whole, 0.5, 0)]

    def test_the_anomaly_score_is_the_highest(self) -> None:
        scores = (0.2, 0.7, 0.1)
        answers = [_anomaly(score) for score in scores]
        assert merge(answers, TILES[:3], FRAME).anomaly_score == 0.7


def _anomaly(score: float) -> Detections:
    empty = np.zeros((0, 4), np.float32)
    return Detections(
        empty, empty[:, 0], np.zeros(0, np.int64), ("anomaly",), "demo/1", "ab" * 32, score
    )


@st.composite
def answers(draw: st.DrawFn) -> list[Detections]:
    """Boxes of a few defects as each tile might see them, and boxes from nowhere."""
    made: list[Detections] = []
    coordinate = st.integers(0, 500).map(float)
    defects = draw(
        st.lists(
            st.tuples(coordinate, coordinate, st.integers(2, 250), st.integers(2, 250)), max_size=5
        )
    )
    for x1, y1, x2, y2 in TILES:
        rows: list[tuple[float, ...]] = []
        for left, top, width, height in defects:
            shake = draw(st.integers(-2, 2))
            box = (
                max(left + shake, x1),
                max(top, y1),
                min(left + width, x2),
                min(top + height + shake, y2),
            )
            if box[0] < box[2] and box[1] < box[3] and draw(st.integers(0, 4)):
                rows.append((*box, draw(st.integers(1, 100)) / 100, draw(st.integers(0, 1))))
        for _ in range(draw(st.integers(0, 2))):
            a, b = sorted(draw(st.tuples(*[st.integers(x1, x2)] * 2)))
            c, d = sorted(draw(st.tuples(*[st.integers(y1, y2)] * 2)))
            if a < b and c < d:
                rows.append((a, c, b, d, draw(st.integers(1, 100)) / 100, draw(st.integers(0, 1))))
        made.append(found(*rows))
    return made


def is_partial(box: Any, tile: Any) -> bool:
    sides = (0, 0, FRAME[1], FRAME[0])
    return any(t != s and abs(b - t) <= 2 for b, t, s in zip(box, tile, sides, strict=True))


@settings(max_examples=150, deadline=None)
@given(answers(), st.randoms(use_true_random=False))
def test_merging_never_loses_a_defect(made: list[Detections], random: Any) -> None:
    merged = merge(made, TILES, FRAME, 0.5)
    for one in made:
        for box, score, kind in zip(one.boxes, one.scores, one.classes, strict=True):
            low = np.maximum(merged.boxes[:, :2], box[:2])
            high = np.minimum(merged.boxes[:, 2:], box[2:])
            overlaps = (high > low).all(axis=1)
            stands = overlaps & (merged.classes == kind) & (merged.scores >= score)
            sides = (merged.boxes[:, 2:] - merged.boxes[:, :2]).max(axis=1)
            assert (stands & (sides >= (box[2:] - box[:2]).max())).any()
    assert len(merged) <= sum(map(len, made))
    assert (np.diff(merged.scores) <= 0).all()
    for one, tile in zip(made, TILES, strict=True):  # no tile's objects became fewer
        for kind in (0, 1):
            boxes = one.boxes[one.classes == kind]
            whole = sum(not is_partial(box, tile) for box in boxes)
            assert int((merged.classes == kind).sum()) >= whole
    order = list(range(len(made)))
    random.shuffle(order)
    again = merge([made[i] for i in order], [TILES[i] for i in order], FRAME, 0.5)
    assert rows_of(again) == rows_of(merged)


@settings(max_examples=60, deadline=None)
@given(answers())
def test_every_box_is_the_one_around_what_tiles_saw(made: list[Detections]) -> None:
    merged = merge(made, TILES, FRAME, 0.5)
    inputs = np.concatenate([one.boxes for one in made])
    for box in merged.boxes:
        inside = ((inputs[:, :2] >= box[:2]) & (inputs[:, 2:] <= box[2:])).all(axis=1)
        assert inside.any()
        around = np.hstack([inputs[inside, :2].min(axis=0), inputs[inside, 2:].max(axis=0)])
        assert np.array_equal(around, box)


@st.composite
def seen_twice(draw: st.DrawFn) -> list[Detections]:
    """One defect near the border between the tiles of `two`, as each tile might see it."""
    shake, share = st.floats(-3, 3, width=32), st.floats(0, 1, width=32)
    left, width = draw(st.integers(60, 95)), draw(st.integers(3, 60))
    top, height = draw(st.integers(5, 60)), draw(st.integers(3, 30))
    areas, dotted = draw(st.booleans()), draw(st.booleans())
    made: list[Detections] = []
    for start, end in ((0, 100), (80, 180)):
        edges = np.array([left, top, left + width, top + height], np.float32)
        edges += np.array([draw(shake) for _ in range(4)], np.float32)
        edges[[0, 2]] = edges[[0, 2]].clip(start, end)
        seen = edges[2] - edges[0] >= 1 and edges[3] - edges[1] >= 1
        one = found((*edges, draw(st.integers(1, 100)) / 100, 0)) if seen else found()
        if areas:
            box = edges.tolist() if not dotted else [*edges[:2].tolist(), *(edges[:2] + 1).tolist()]
            sizes = [float((edges[2:] - edges[:2]).prod()) * draw(share)] * len(one)
            made.append(with_areas(one, *sizes, dot=box))
        else:
            made.append(one)
    return made


def together(made: list[Detections]) -> Detections:
    """All rows of all tiles, as if nothing was merged."""
    outlines, areas = None, None
    if made[0].areas is not None:
        outlines = tuple(outline for one in made for outline in one.outlines or ())
        areas = np.concatenate([one.areas for one in made if one.areas is not None])
    rows = dataclasses.replace(
        made[0],
        boxes=np.concatenate([one.boxes for one in made]),
        scores=np.concatenate([one.scores for one in made]),
        classes=np.concatenate([one.classes for one in made]),
        outlines=outlines,
        areas=areas,
    )
    return rows.take(np.argsort(-rows.scores, kind="stable"))


def merged_at(made: list[Detections], iou: float) -> Detections:
    if len(made) == 2:
        return merge(made, [(0, 0, 100, 100), (80, 0, 180, 100)], (100, 180), iou)
    return merge(made, TILES, FRAME, iou)


def decide(answer: Detections, limits: ClassLimits, *regions: Region) -> Decision:
    return judge(answer, Recipe(1, "demo", 1, dict.fromkeys(NAMES, limits), regions)).decision


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(answers(), seen_twice(), seen_twice()),
    st.floats(0.05, 1),
    st.tuples(*[st.integers(1, 101)] * 2),
    st.floats(0, 100),
    st.floats(0, 4000),
)
def test_a_part_never_passes_because_boxes_were_merged(
    made: list[Detections],
    iou: float,
    scores: tuple[int, int],
    min_size: float,
    min_area: float,
) -> None:
    """For any limits; and each row lies in one that is no smaller, in nothing that a limit looks at."""
    merged, unmerged = merged_at(made, iou), together(made)
    t1, t2 = (score / 100 for score in sorted(scores))
    any_limits = ClassLimits(t1, t2, min_size=min_size, min_area=min_area)
    before, after = decide(unmerged, any_limits), decide(merged, any_limits)
    assert before is Decision.PASS or after is not Decision.PASS
    assert before is not Decision.FAIL or after is Decision.FAIL
    sides = unmerged.boxes[:, 2:] - unmerged.boxes[:, :2]
    areas = sides.prod(axis=1) if unmerged.areas is None else unmerged.areas
    longer = (merged.boxes[:, 2:] - merged.boxes[:, :2]).max(axis=1)
    sizes = (merged.boxes[:, 2:] - merged.boxes[:, :2]).prod(axis=1)
    sizes = sizes if merged.areas is None else merged.areas
    for row, (score, side, area) in enumerate(
        zip(unmerged.scores, sides.max(axis=1), areas, strict=True)
    ):
        stands = (merged.scores >= score) & (longer >= side) & (sizes >= area)
        stands &= merged.classes == unmerged.classes[row]
        stands &= (merged.boxes[:, :2] <= unmerged.boxes[row, :2]).all(axis=1)
        stands &= (merged.boxes[:, 2:] >= unmerged.boxes[row, 2:]).all(axis=1)
        assert stands.any()


@st.composite
def any_regions(draw: st.DrawFn) -> tuple[Region, ...]:
    """Regions to look at and to ignore, for any classes; edges often on whole pixels, as boxes have them."""
    made: list[Region] = []
    for _ in range(draw(st.integers(1, 4))):
        x, y = draw(st.integers(0, 180)), draw(st.integers(0, 150))
        width, height = draw(st.integers(1, 320)), draw(st.integers(1, 200))
        classes = draw(st.sampled_from([(), ("scratch",), ("dent",)]))
        made.append(Region((x, y, x + width, y + height), classes, draw(st.booleans())))
    return tuple(made)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(answers(), seen_twice(), seen_twice()),
    any_regions(),
    st.tuples(*[st.integers(1, 101)] * 2),
    st.floats(0, 60),
)
def test_no_regions_let_a_part_pass_because_boxes_were_merged(
    made: list[Detections],
    regions: tuple[Region, ...],
    scores: tuple[int, int],
    min_size: float,
) -> None:
    """Whatever a recipe looks at or ignores: what failed fails, and what was no PASS is none."""
    t1, t2 = (score / 100 for score in sorted(scores))
    limits = ClassLimits(t1, t2, min_size=min_size)
    before = decide(together(made), limits, *regions)
    after = decide(merged_at(made, 0.5), limits, *regions)
    assert before is Decision.PASS or after is not Decision.PASS
    assert before is not Decision.FAIL or after is Decision.FAIL


def test_a_defect_that_was_merged_into_an_ignored_hole_still_fails() -> None:
    """Its centre lies in the hole, and with the centre it was ignored."""
    left, right = found((20, 90, 100, 99, 0.9, 0)), found((80, 90, 165, 99, 0.9, 0))
    hole = Region((85, 80, 100, 100), ignore=True)
    limits = ClassLimits(0.3, 0.5)
    merged = two(left, right)
    assert rows_of(merged) == [(20, 90, 165, 99, 0.9, 0)]
    assert decide(together([left, right]), limits, hole) is Decision.FAIL
    assert decide(merged, limits, hole) is Decision.FAIL
    looked_at = Region((20, 80, 70, 100))
    assert decide(left, limits, looked_at) is Decision.FAIL
    assert decide(merged, limits, looked_at) is Decision.FAIL


class Scripted:
    """A runtime that answers with one box in the middle of every tile."""

    def __init__(self, spoil: str = "") -> None:
        self.batches: list[int] = []
        self.timeouts: list[float] = []
        self.spoil = spoil

    def infer(self, images: Any, timeout: float) -> dict[str, Any]:
        assert images.flags.c_contiguous
        self.batches.append(len(images))
        self.timeouts.append(timeout)
        table = np.zeros((len(images), 3, 6), np.float32)
        table[:, 0] = [60, 50, 80, 70, 0.5, 0]
        if self.spoil == "nan":
            table[-1, 0, 4] = np.nan
        if self.spoil == "short":
            table = table[:-1]
        return {"detections": table}


class TestDetector:
    frame = np.zeros((*FRAME, 3), np.uint8)

    def test_batches_are_bounded_and_the_deadline_is_shared(self) -> None:
        runtime = Scripted()
        answer = Detector(release(), runtime).detect(self.frame, 5.0)
        assert len(TILES) == 12
        assert runtime.batches == [8, 4]
        assert runtime.timeouts[0] == 5.0
        assert runtime.timeouts[1] < 5.0
        assert len(answer) == 12
        assert sorted(map(tuple, answer.boxes.tolist())) == sorted(
            (x + 60.0, y + 50.0, x + 80.0, y + 70.0) for x, y, _, _ in TILES
        )

    def test_a_long_picture_of_a_line_scan_camera_is_seen_from_end_to_end(self) -> None:
        runtime = Scripted()
        frame = np.zeros((30_000, FRAME[1], 3), np.uint8)
        answer = Detector(release(), runtime).detect(frame, 60.0)
        assert sum(runtime.batches) == len(answer) > 300
        tops = np.unique(answer.boxes[:, 1]) - 50.0
        assert tops[0] == 0
        assert np.diff(tops).max() <= 128
        assert tops[-1] == 30_000 - 128

    def test_no_time_left_for_the_next_tiles_is_a_timeout_and_never_a_part_of_the_answer(
        self,
    ) -> None:
        with pytest.raises(InferenceTimeoutError, match="8 of 12 tiles"):
            Detector(release(), Scripted()).detect(self.frame, 1e-9)

    @pytest.mark.parametrize("spoil", ["nan", "short"])
    def test_one_bad_tile_spoils_the_answer(self, spoil: str) -> None:
        with pytest.raises(ModelOutputError):
            Detector(release(), Scripted(spoil)).detect(self.frame, 5.0)

    def test_answers_for_other_tiles_are_refused(self) -> None:
        views = plan_views(FRAME, (128, 160), TILING)
        outputs = {"detections": np.zeros((3, 8, 6), np.float32)}
        with pytest.raises(ModelOutputError, match="12 images"):
            read_views(release(), outputs, views)


def test_batches_are_small_where_masks_are_large() -> None:
    assert tiles_together(release(tiling=None)) == 1
    assert tiles_together(release()) == MOST_TOGETHER
    assert tiles_together(release("segment", size=(640, 640))) == 8
    assert tiles_together(release("segment", size=(1024, 1024))) == 4
    assert tiles_together(release("segment", size=(2048, 2048))) == 1


@pytest.mark.parametrize(
    "size", [(640, 640), (1280, 1280), (1920, 1920), (2048, 2448), (8192,) * 2]
)
@pytest.mark.parametrize("task", ["detect", "segment", "anomaly"])
def test_a_batch_of_pictures_is_within_what_the_service_takes(
    task: str, size: tuple[int, int]
) -> None:
    count = tiles_together(release(task, size=size))
    assert 1 <= count <= MOST_TOGETHER
    assert count == 1 or count * size[0] * size[1] * 3 <= MOST_BYTES
    assert tiles_together(release(size=(1920, 1920))) == 3
