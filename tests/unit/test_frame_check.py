"""Each image is looked at as it is: what was kept of another never vouches for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inspection.frame_check import check_frame
from inspection.types import Frame, FrameLimits, FrameView, Image, PartKey, Reason, Trigger

TRIGGER = Trigger(PartKey("test", 1, 1), 1, "", seen_mono=10.0, seen_at="", deadline_mono=11.0)


def picture(seed: int = 1, height: int = 300, width: int = 400) -> Image:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)


def frame(image: Any, number: int = 1, **more: Any) -> Frame:
    return Frame(image, number, exposed_mono=10.5, camera="camera", **more)


def reason(now: Frame, before: Frame | None = None) -> Reason:
    doubt = check_frame(TRIGGER, now, before, FrameLimits(), live=True)
    return Reason.NONE if doubt is None else doubt.reason


def test_a_replaced_image_is_looked_at_anew() -> None:
    good = frame(picture())
    assert reason(good) is Reason.NONE
    dark = replace(good, image=np.zeros_like(good.image))
    assert reason(dark) is Reason.FRAME_DARK
    assert reason(replace(dark, image=np.full_like(good.image, 100))) is Reason.FRAME_FLAT
    assert reason(good) is Reason.NONE


def test_one_pixel_beside_the_coarse_ones_tells_two_frames_apart() -> None:
    first, second = frame(picture()), frame(picture(), 2)
    assert reason(second, first) is Reason.FRAME_IDENTICAL
    other = second.image.copy()
    other[1, 1] ^= 255  # step 2: odd rows and columns are none of the coarse pixels
    assert reason(frame(other, 2), first) is Reason.NONE
    assert reason(frame(second.image.copy(), 2), first) is Reason.FRAME_IDENTICAL


@pytest.mark.parametrize(
    "before",
    [np.zeros(0, np.uint8), np.zeros(7, np.uint8), np.zeros((9, 9), np.float32), picture(2, 9, 9)],
    ids=["empty", "one row", "float", "other size"],
)
def test_whatever_the_frame_before_was(before: Any) -> None:
    assert reason(frame(picture(), 2), frame(before)) is Reason.NONE


def test_each_view_has_its_own_coarse_pixels() -> None:
    image = picture()
    image[:, 200:] = 0
    views = tuple(
        FrameView(name, box, frame_id=1, exposed_mono=10.5, live=True)
        for name, box in (("left", (0, 0, 200, 300)), ("right", (200, 0, 400, 300)))
    )
    doubt = check_frame(TRIGGER, frame(image, views=views), None, FrameLimits(), live=True)
    assert doubt is not None
    assert (doubt.reason, doubt.detail[:12]) == (Reason.FRAME_DARK, "camera right")


@pytest.mark.parametrize("order", [("right", "left"), ("left",), ()])
def test_cameras_in_another_order_than_the_recipe_knows(order: tuple[str, ...]) -> None:
    boxes = ((0, 0, 200, 300), (200, 0, 400, 300))
    views = tuple(
        FrameView(name, box, frame_id=1, exposed_mono=10.5, live=True)
        for name, box in zip(order, boxes, strict=False)
    )
    limits = FrameLimits(views=("left", "right"))
    doubt = check_frame(TRIGGER, frame(picture(), views=views), None, limits, live=True)
    assert doubt is not None
    assert doubt.reason is Reason.FRAME_INVALID
    assert "the recipe was made for left, right" in doubt.detail
