"""Does a frame show this part? Pure: fresh, new, the right size, neither dark, bright nor flat.

An image may join the pictures of several cameras; each is then checked by itself, so that none that is
late, frozen or dark hides beside the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inspection.types import CoarseView, Frame, FrameLimits, Image, Reason, Result, Trigger

PIXEL_DOUBTS = frozenset(
    {Reason.FRAME_IDENTICAL, Reason.FRAME_DARK, Reason.FRAME_BRIGHT, Reason.FRAME_FLAT}
)
"""What `check_pixels` can say; a model may have seen such a picture."""


def check_frame(
    trigger: Trigger,
    frame: Frame | None,
    previous: Frame | None,
    limits: FrameLimits,
    *,
    live: bool,
) -> Result | None:
    """Return what is wrong with a frame as a NOT_INSPECTED result; None: it can be judged.

    Args:
        trigger: the part's.
        frame: of this trigger.
        previous: the frame before it from the same camera; None for the first.
        limits: what the recipe asks of an image.
        live: the camera is a sensor: two identical images mean that it is frozen.
    """
    if frame is None:
        return Result.not_inspected(Reason.CAMERA_TIMEOUT, "no frame")
    doubt = check_told(trigger, frame, previous, limits)
    return doubt if doubt is not None else check_pixels(frame, previous, limits, live=live)


def check_told(
    trigger: Trigger, frame: Frame, previous: Frame | None, limits: FrameLimits
) -> Result | None:
    """Check what the camera says of a frame, which costs next to nothing: fresh, counted on, its size.

    A frame without doubt can be shown to a model; `check_pixels` says whether what was found counts.
    """
    image = frame.image
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        return Result.not_inspected(Reason.FRAME_INVALID, f"image is {image.dtype} {image.shape}")
    before = _by_camera(previous)
    doubt = _first((one, _check_new(trigger, one, before.get(one.camera))) for one in _shots(frame))
    if doubt is not None:
        return doubt
    size = (image.shape[1], image.shape[0])
    if limits.size is not None and size != limits.size:
        return Result.not_inspected(
            Reason.FRAME_SIZE, f"image is {size}, the recipe was made for {limits.size}"
        )
    shown = tuple(view.camera for view in frame.views)
    if limits.views and shown != limits.views:
        seen, wanted = (", ".join(names) or "one camera" for names in (shown, limits.views))
        return Result.not_inspected(
            Reason.FRAME_INVALID, f"the image shows {seen}, the recipe was made for {wanted}"
        )
    return None


def check_pixels(
    frame: Frame, previous: Frame | None, limits: FrameLimits, *, live: bool
) -> Result | None:
    """Check a picture that `check_told` has no doubt of: not the one before again, dark, bright or flat."""
    shots, before = _shots(frame), _by_camera(previous)
    doubt = _first((one, _check_changed(one, before.get(one.camera), live=live)) for one in shots)
    if doubt is not None:
        return doubt
    return _first((one, _check_light(one.light, limits)) for one in shots)


@dataclass(frozen=True, slots=True)
class _Shot:
    """What one camera saw; `camera` is empty where the whole image is its own.

    `live`: of a view, where its camera says so itself. `place`: which of the frame's views it is.
    """

    camera: str
    image: Image
    frame_id: int
    exposed_mono: float
    live: bool | None
    frame: Frame
    place: int = 0

    @property
    def coarse(self) -> Image:
        """Every so many pixels of the image, uint8 [h, w, 3], C-contiguous."""
        return _coarse(self.frame)[self.place][0]

    @property
    def light(self) -> tuple[float, float]:
        """Mean and standard deviation of these pixels."""
        return _coarse(self.frame)[self.place][1]


def _by_camera(frame: Frame | None) -> dict[str, _Shot]:
    return {} if frame is None else {one.camera: one for one in _shots(frame)}


def _shots(frame: Frame) -> list[_Shot]:
    image = frame.image
    if not frame.views:
        return [_Shot("", image, frame.frame_id, frame.exposed_mono, None, frame)]
    return [
        _Shot(
            view.camera,
            image[y1:y2, x1:x2],
            view.frame_id,
            view.exposed_mono,
            view.live,
            frame,
            place,
        )
        for place, view in enumerate(frame.views)
        for x1, y1, x2, y2 in [view.box]
    ]


def _coarse(frame: Frame) -> tuple[CoarseView, ...]:
    """Return few pixels of the image, or of each view, and their light; a large image is read but once."""
    kept = frame.coarse
    if kept and kept[0][0] is frame.image:
        return kept[0][1]
    image = frame.image
    boxes = [view.box for view in frame.views] or [(0, 0, image.shape[1], image.shape[0])]
    few = [_few(image[y1:y2, x1:x2]) for x1, y1, x2, y2 in boxes]
    found = tuple((one, _light(one)) for one in few)
    kept[:] = [(image, found)]
    return found


def _light(pixels: Image) -> tuple[float, float]:
    if not pixels.size:
        return 0.0, 0.0  # dark and flat; `check_told` refused it before
    levels = pixels.reshape(-1).astype(np.float64)
    return float(levels.mean()), float(levels.std())


def _few(image: Image) -> Image:
    step = max(1, min(image.shape[:2]) // 64)  # each of them costs a fetch from memory
    step -= (
        step > 2 and step % 2 == 0
    )  # odd: what repeats on a part does so by even numbers, mostly
    return np.ascontiguousarray(image[::step, ::step])


def _first(checked: Iterable[tuple[_Shot, Result | None]]) -> Result | None:
    """Return the first doubt, with the camera's name where there are several."""
    for shot, doubt in checked:
        if doubt is not None and shot.camera:
            return replace(doubt, detail=f"camera {shot.camera}: {doubt.detail}")
        if doubt is not None:
            return doubt
    return None


def _check_new(trigger: Trigger, shot: _Shot, before: _Shot | None) -> Result | None:
    """Check that it was exposed for this part, and is not the picture of another one."""
    if shot.image.size == 0:
        return Result.not_inspected(Reason.FRAME_INVALID, "no picture in its place")
    if not shot.exposed_mono >= trigger.seen_mono:
        age = trigger.seen_mono - shot.exposed_mono
        return Result.not_inspected(Reason.FRAME_STALE, f"exposed {age:.4f} s before the trigger")
    if before is None:
        return None
    if shot.frame_id == before.frame_id:
        return Result.not_inspected(
            Reason.FRAME_REPEATED, f"frame id {shot.frame_id} was used before"
        )
    return None


def _check_changed(shot: _Shot, before: _Shot | None, *, live: bool) -> Result | None:
    """Check that a sensor does not give the same picture again. `live`: where the shot does not say."""
    if before is None or not (live if shot.live is None else shot.live):
        return None
    if _is_same(shot, before):
        return Result.not_inspected(Reason.FRAME_IDENTICAL, "byte-identical to the previous frame")
    return None


def _is_same(shot: _Shot, other: _Shot) -> bool:
    """Tell whether two are byte-identical; few pixels settle nearly every case."""
    return (
        shot.image.shape == other.image.shape
        and np.array_equal(shot.coarse, other.coarse)
        and np.array_equal(shot.image, other.image)
    )


def same_image(image: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    """Tell whether two images are byte-identical; a coarse grid settles nearly every case."""
    if image.shape != other.shape:
        return False
    return np.array_equal(image[::16, ::16], other[::16, ::16]) and np.array_equal(image, other)


def _check_light(light: tuple[float, float], limits: FrameLimits) -> Result | None:
    mean, std = light
    if mean < limits.min_mean:
        return Result.not_inspected(
            Reason.FRAME_DARK, f"mean {mean:.1f} is under {limits.min_mean}"
        )
    if mean > limits.max_mean:
        return Result.not_inspected(
            Reason.FRAME_BRIGHT, f"mean {mean:.1f} is over {limits.max_mean}"
        )
    if std < limits.min_std:
        return Result.not_inspected(
            Reason.FRAME_FLAT, f"contrast {std:.1f} is under {limits.min_std}"
        )
    return None
