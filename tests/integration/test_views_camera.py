"""Several cameras joined into one image: what comes out, and that none hides beside the others."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from inspection.cameras.views import Views, ViewsConfig
from inspection.errors import CameraLostError, CameraTimeoutError, FrameError
from inspection.frame_check import check_frame
from inspection.letterbox import PAD
from inspection.tiles import cut, merge
from inspection.types import Detections, Frame, FrameLimits, PartKey, Reason, Tiling, Trigger

SIZE = (128, 96)


def trigger(part_id: int = 7) -> Trigger:
    now = time.monotonic()
    return Trigger(PartKey("s", 1, 1), part_id, "", now, "2026-01-01T00:00:00.000000Z", now + 5)


def simulated(name: str, **settings: Any) -> dict[str, Any]:
    return {"type": "simulated", "name": name, "size": SIZE, "exposure": 0.001, **settings}


def opencv(name: str) -> dict[str, Any]:
    return {"type": "opencv", "name": name, "source": "rtsp://192.168.10.20/main"}


@contextmanager
def opened(*cameras: dict[str, Any], **settings: Any) -> Iterator[Views]:
    camera = ViewsConfig(cameras=list(cameras), **{"size": SIZE, **settings}).open()
    yield camera
    camera.close()


def painted(folder: Path, name: str, level: int, size: tuple[int, int]) -> dict[str, Any]:
    """A folder camera whose one picture has this grey level."""
    path = folder / name
    path.mkdir()
    image = np.full((size[1], size[0], 3), level, np.uint8)
    assert cv2.imwrite(str(path / "1.png"), image)
    return {"type": "folder", "name": name, "path": str(path)}


def test_each_picture_has_its_place_and_a_border(tmp_path: Path) -> None:
    cameras = [
        painted(tmp_path, "top", 10, (100, 60)),
        painted(tmp_path, "side", 20, (80, 70)),
        painted(tmp_path, "back", 30, (100, 60)),
    ]
    config = ViewsConfig(
        cameras=cameras, size=(100, 60), sizes={"side": (80, 70)}, border=8, columns=2
    )
    assert config.cell == (78, 108)
    camera = config.open()
    frame = camera.grab(trigger(), 5)
    camera.close()
    assert frame.image.shape == (156, 216, 3)
    assert [view.camera for view in frame.views] == ["top", "side", "back"]
    grey = np.ones(frame.image.shape[:2], bool)
    for view, level in zip(frame.views, (10, 20, 30), strict=True):
        x1, y1, x2, y2 = view.box
        assert (frame.image[y1:y2, x1:x2] == level).all()
        grey[y1:y2, x1:x2] = False
    assert (frame.image[grey] == PAD).all()
    assert frame.source == "top 1 1.png, side 1 1.png, back 1 1.png"
    cells = cut(frame.image.shape[:2], Tiling(config.cell, 0.0))
    assert [cell[:2] for cell in cells] == [(0, 0), (108, 0), (0, 78), (108, 78)]
    assert camera.facts["tile"] == "[78, 108] (height, width), overlap 0"


@pytest.mark.parametrize(("count", "cells"), [(2, (1, 2)), (3, (1, 3)), (4, (2, 2)), (6, (2, 3))])
def test_no_place_is_empty_unless_it_is_asked_for(count: int, cells: tuple[int, int]) -> None:
    with opened(*(simulated(f"view{n}") for n in range(count))) as camera:
        height, width = camera.grab(trigger(), 5).image.shape[:2]
    assert (height // (96 + 32), width // (128 + 32)) == cells


def test_what_simulators_know_is_added_up_and_else_not_known(tmp_path: Path) -> None:
    sure = {"defect_rate": 1.0}
    with opened(simulated("top", **sure), simulated("side", **sure, seed=2)) as camera:
        found = [camera.grab(trigger(part), 5).truth for part in range(1, 6)]
    assert all(truth is not None and sum(truth.values()) >= 2 for truth in found)
    with opened(simulated("top"), painted(tmp_path, "side", 30, SIZE)) as camera:
        assert camera.grab(trigger(), 5).truth is None


def test_all_cameras_expose_at_once() -> None:
    slow = [simulated(f"view{n}", exposure=2.0) for n in range(4)]
    with opened(*slow) as camera:
        began = time.monotonic()
        asked = trigger()
        frame = camera.grab(asked, 5)
        assert time.monotonic() - began < 6, "one after the other takes 8 s"
    assert frame.exposed_mono == min(view.exposed_mono for view in frame.views)
    assert all(view.exposed_mono >= asked.seen_mono for view in frame.views)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("black", Reason.FRAME_DARK),
        ("white", Reason.FRAME_BRIGHT),
        ("flat", Reason.FRAME_FLAT),
        ("stale", Reason.FRAME_STALE),
        ("repeated", Reason.FRAME_REPEATED),
        ("frozen", Reason.FRAME_IDENTICAL),
    ],
)
@pytest.mark.parametrize("bad", ["top", "side", "back"])
def test_no_camera_hides_beside_the_others(fault: str, reason: Reason, bad: str) -> None:
    cameras = [
        simulated(name, seed=n, faults=[f"{fault}@2"] if name == bad else [])
        for n, name in enumerate(("top", "side", "back"))
    ]
    with opened(*cameras) as camera:
        first = camera.grab(trigger(1), 5)
        asked = trigger(2)
        frame = camera.grab(asked, 5)
    doubt = check_frame(asked, frame, first, FrameLimits(), live=camera.live)
    assert doubt is not None
    assert doubt.reason == reason
    assert doubt.detail.startswith(f"camera {bad}: ")


def test_pictures_of_a_folder_may_repeat_beside_a_sensor(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 255, (SIZE[1], SIZE[0], 3), np.uint8)
    (tmp_path / "side").mkdir()
    assert cv2.imwrite(str(tmp_path / "side" / "1.png"), noise)
    folder = {"type": "folder", "name": "side", "path": str(tmp_path / "side")}
    with opened(simulated("top"), folder) as camera:
        first, asked = camera.grab(trigger(1), 5), trigger(2)
        frame = camera.grab(asked, 5)
    assert check_frame(asked, frame, first, FrameLimits(), live=camera.live) is None


def test_the_picture_before_a_reopening_has_other_frame_ids() -> None:
    """After a reopening every camera counts anew; the same id is then no repeat, the same pixels are."""
    frames = []
    for part in (1, 2):
        with opened(simulated("top"), simulated("side")) as camera:
            frames.append(camera.grab(trigger(part), 5))
    before = replace(
        frames[0], frame_id=-1, views=tuple(replace(view, frame_id=-1) for view in frames[0].views)
    )
    late = replace(trigger(), seen_mono=0.0)
    assert check_frame(late, frames[1], before, FrameLimits(), live=True) is None
    frozen = replace(frames[1], image=frames[0].image)
    doubt = check_frame(late, frozen, before, FrameLimits(), live=True)
    assert doubt is not None
    assert doubt.reason == Reason.FRAME_IDENTICAL


def test_one_camera_that_fails_fails_the_part_and_the_next_part_is_whole() -> None:
    cameras = [simulated("top"), simulated("side", faults=["truncated@2", "wrong_size@3"])]
    with opened(*cameras) as camera:
        camera.grab(trigger(1), 5)
        for text, reason in (("side", Reason.FRAME_INVALID), ("64 x 48", Reason.FRAME_SIZE)):
            with pytest.raises(FrameError, match=text) as caught:
                camera.grab(trigger(2), 5)
            assert caught.value.reason == reason
        frame = camera.grab(trigger(4), 5)
        assert [view.frame_id for view in frame.views] == [4, 4]


@pytest.mark.parametrize("failing", ["truncated@2", "lost@2", "disconnect@2:0.01"])
@pytest.mark.parametrize(
    ("fault", "reason"), [("frozen", Reason.FRAME_IDENTICAL), ("repeated", Reason.FRAME_REPEATED)]
)
def test_a_picture_of_a_part_without_image_is_no_later_part(
    failing: str, fault: str, reason: Reason
) -> None:
    """Camera b delivered for part 2, a did not: at part 3 b must show something else."""
    lasting = fault == "frozen" and failing != "truncated@2"  # over the reopening
    given = "frozen@2:5" if lasting else f"{fault}@3"
    cameras = [simulated("a", faults=[failing]), simulated("b", faults=[given])]
    config = ViewsConfig(cameras=cameras, size=SIZE)
    camera = config.open()
    camera.grab(trigger(1), 5)
    with pytest.raises((FrameError, CameraLostError, CameraTimeoutError)) as caught:
        camera.grab(trigger(2), 0.5)
    reopened = not isinstance(caught.value, FrameError)
    if reopened:  # as the line does
        camera.close()
        time.sleep(0.02)
        camera = config.open()
    try:
        if reopened and fault == "repeated":
            camera.grab(trigger(3), 5)  # ids count anew: an equal one says nothing
            return
        with pytest.raises(FrameError, match="camera b") as doubt:
            camera.grab(trigger(3), 5)
        assert doubt.value.reason == reason
        if not lasting:
            assert camera.grab(trigger(4), 5).views
    finally:
        camera.close()


def test_lost_late_and_hanging_cameras_are_named() -> None:
    with opened(simulated("top"), simulated("side", faults=["disconnect@1:30"])) as camera:
        with pytest.raises(CameraLostError, match="camera side"):
            camera.grab(trigger(), 5)
        with pytest.raises(CameraLostError):
            camera.probe(1)
    with opened(simulated("top", faults=["hang@1:3"]), simulated("side")) as camera:
        began = time.monotonic()
        with pytest.raises(CameraTimeoutError, match="camera top does not answer"):
            camera.grab(trigger(), 0.3)
        assert time.monotonic() - began < 2


def test_a_camera_that_cannot_be_opened_leaves_none_open(tmp_path: Path) -> None:
    gone = {"type": "folder", "name": "side", "path": str(tmp_path / "gone")}
    config = ViewsConfig(cameras=[simulated("top"), gone], size=SIZE)
    with pytest.raises(CameraLostError, match="gone"):
        config.open()
    (tmp_path / "gone").mkdir()
    assert cv2.imwrite(str(tmp_path / "gone" / "1.png"), np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
    config.open().close()


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"cameras": [simulated("a")]}, "at least 2"),
        ({"cameras": [simulated("a"), simulated("a")]}, "different names"),
        ({"cameras": [simulated("a"), {"type": "views", "name": "b"}]}, "views cannot hold views"),
        ({"cameras": [simulated("a"), {"type": "nonsense"}]}, "not known"),
        ({"sizes": {"c": (100, 100)}}, "the cameras are"),
        ({"size": (2, 100)}, "16..32768"),
        ({"cameras": [opencv("a"), opencv("b")]}, "two views are one camera"),
        ({"border": 0}, "greater than or equal to 8"),
        ({"size": (2448, 2048), "border": 32}, "write 49 or more"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], text: str) -> None:
    good: dict[str, Any] = {"cameras": [simulated("a"), simulated("b")], "size": SIZE}
    with pytest.raises(ValidationError, match=text):
        ViewsConfig(**{**good, **settings})


@pytest.mark.parametrize("over", [0.0, 0.005], ids=["at the edge", "drawn over the edge"])
@pytest.mark.parametrize("size", [(64, 48), (1280, 1024), (2448, 2048), (4096, 3000), (8192, 5460)])
def test_defects_at_facing_edges_of_two_pictures_stay_two(
    size: tuple[int, int], over: float
) -> None:
    config = ViewsConfig(cameras=[simulated("a"), simulated("b")], size=size, columns=2)
    height, width = config.cell
    tiles = cut((height, 2 * width), Tiling((height, width), 0.0))
    boxes = [
        [size[0] - 30.0, 10.0, size[0] + over * width, 30.0],
        [width - over * width, 10.0, width + 30.0, 30.0],
    ]
    found = [
        Detections(
            boxes=np.array([box], np.float32), scores=np.array([0.9], np.float32),
            classes=np.array([0]), class_names=("scratch",), release="demo/1", model_sha256="0" * 64,
        )
        for box in boxes
    ]  # fmt: skip
    assert len(merge(found, tiles, (height, 2 * width))) == 2


def test_a_box_that_lies_outside_the_image_is_no_picture() -> None:
    with opened(simulated("top"), simulated("side")) as camera:
        asked = trigger()
        frame: Frame = camera.grab(asked, 5)
    away = replace(frame.views[1], box=(5000, 5000, 5100, 5100))
    broken = replace(frame, views=(frame.views[0], away))
    doubt = check_frame(asked, broken, None, FrameLimits(), live=True)
    assert doubt is not None
    assert doubt.reason == Reason.FRAME_INVALID
