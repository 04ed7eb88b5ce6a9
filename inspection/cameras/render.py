"""Pictures of a machined part that does not exist: a milled plate on a dark conveyor.

    plate ─▶ wear ─▶ defects ─▶ light, belt and lens ─▶ Scene ─▶ sensor noise ─▶ Rendered

The demo trains on these pictures and the simulated camera delivers them. Every number comes from
the random generator that is passed in: the same generator state gives the same picture, byte for
byte, on the same library versions. Good parts are not equal: pose, light, brushing, tool marks,
stains, rubbed places and dust vary. With the same generator state a part with defects equals the
part without them, but for the defects and the noise.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inspection.cameras.plate import (
    BASE_SIZE,
    PLATE,
    Box,
    Canvas,
    Plane,
    disc,
    draw_line,
    draw_plate,
    normal,
    soft,
    unit,
)
from inspection.cameras.plate_defects import DRAW
from inspection.types import Image

CLASSES = ("scratch", "dent", "missing_hole", "burr")
MIN_SIZE, MAX_SIZE = 64, 8192


@dataclass(frozen=True, slots=True)
class Rendered:
    """One picture and what is wrong with the part.

    Attributes:
        image: uint8 [H, W, 3] RGB.
        boxes: one for each defect, inside the image.
    """

    image: Image
    boxes: list[Box]


@dataclass(frozen=True, slots=True)
class Scene:
    """What the lens projects on the sensor, before its noise.

    Attributes:
        light: float32 [H, W, 3] RGB, grey levels 0..255, not clipped.
        boxes: one for each defect, inside the image.
    """

    light: Plane
    boxes: list[Box]


def render_part(
    rng: np.random.Generator,
    size: tuple[int, int] = BASE_SIZE,
    defects: Sequence[str] | None = None,
) -> Rendered:
    """Render one part with sensor noise.

    Args:
        rng: source of everything that varies.
        size: (width, height) in pixels; each 64..8192. Below about 256 x 192 the small defects
            come near one pixel.
        defects: one class of `CLASSES` for each defect; None or empty for a good part.

    Raises:
        ValueError: an unknown class, more than seven missing holes, or a size out of bounds.
    """
    scene = draw_scene(rng, size, defects or ())
    return Rendered(expose(rng, scene.light), scene.boxes)


def choose_defects(rng: np.random.Generator, rate: float) -> tuple[str, ...]:
    """Choose what is wrong with a part: nothing with probability 1 - rate, else 1 to 3 defects."""
    bad = rng.random() < rate
    count = 1 + int(rng.choice(3, p=(0.78, 0.18, 0.04)))
    chosen = tuple(str(name) for name in rng.choice(CLASSES, count))
    return chosen if bad else ()


def draw_scene(
    rng: np.random.Generator, size: tuple[int, int], defects: Sequence[str] = ()
) -> Scene:
    """Render one part up to the sensor, without noise. Arguments and errors as `render_part`."""
    width, height = size
    if not (MIN_SIZE <= width <= MAX_SIZE and MIN_SIZE <= height <= MAX_SIZE):
        raise ValueError(f"size {width} x {height} is out of bounds; use {MIN_SIZE}..{MAX_SIZE}")
    unknown = sorted(set(defects) - set(CLASSES))
    if unknown:
        raise ValueError(f"unknown defect class {unknown}; known are {', '.join(CLASSES)}")
    holes = sum(name == "missing_hole" for name in defects)
    canvas, missing = draw_plate(rng, size, holes)
    _draw_wear(rng, canvas)
    # own generator: the rest of the picture is the same with and without the defects
    own = np.random.default_rng(int(rng.integers(1 << 62)))
    for name in defects:
        if name in DRAW:
            DRAW[name](own, canvas, missing)
    return Scene(_light(rng, canvas), canvas.boxes)


def expose(rng: np.random.Generator, light: Plane) -> Image:
    """Return uint8 [H, W, 3] RGB: the scene with read and shot noise of one exposure."""
    variance = np.maximum(light, np.float32(0)) * np.float32(0.035) + np.float32(1.2)
    noisy = light + np.sqrt(variance) * normal(rng, light.shape)
    return np.clip(noisy + np.float32(0.5), 0, 255).astype(np.uint8)


def _draw_wear(rng: np.random.Generator, canvas: Canvas) -> None:
    """What good parts have too: brushing, tool marks, stains, rubbed places, dust."""
    scale = canvas.pose.scale
    canvas.tone += _brushing(rng, canvas) * np.float32(rng.uniform(0.012, 0.024))
    x, y = _grid(*canvas.size)
    far_x, far_y = rng.uniform(-0.2, 0.2), rng.choice([-1.6, 1.6])
    height = canvas.size[1]
    distance = cv2.magnitude(x - np.float32(far_x * height), y - np.float32(far_y * height))
    waves = np.cos(distance * np.float32(2 * np.pi / (rng.uniform(5.0, 8.0) * scale)))
    canvas.tone += waves * np.float32(rng.uniform(0, 0.02))
    canvas.tone += _clouds(rng, canvas.size, 16) * np.float32(rng.uniform(0.01, 0.035))
    for _ in range(int(rng.integers(0, 4))):
        _draw_rub(rng, canvas)
    dust = canvas.mask()
    for speck_x, speck_y in rng.uniform(-0.5, 0.5, (6, 2)) * PLATE[:2]:
        disc(dust, canvas.pose, (speck_x, speck_y), rng.uniform(0.4, 1.0))
    canvas.tone -= unit(dust) * np.float32(rng.uniform(0.05, 0.15))


def _brushing(rng: np.random.Generator, canvas: Canvas) -> Plane:
    """Fine lines along the plate, deviation about 1; [H, W]."""
    (width, height), scale = canvas.size, canvas.pose.scale
    length, rows = max(3, round(34 * scale)) | 1, max(1, round(0.6 * scale)) | 1
    lines = cv2.blur(normal(rng, (height, width)), (length, rows)) * math.sqrt(length * rows)
    turn = canvas.pose.matrix.copy()
    turn[:, :2] /= scale
    turn[:, 2] -= turn[:, :2] @ np.array([(width - 1) / 2, (height - 1) / 2])
    turned = cv2.warpAffine(lines, turn, (width, height), borderMode=cv2.BORDER_REFLECT)
    return np.asarray(turned, np.float32)


def _draw_rub(rng: np.random.Generator, canvas: Canvas) -> None:
    """A wide, soft, faint stroke: handling, not a scratch."""
    start = rng.uniform(-0.45, 0.45, 2) * PLATE[:2]
    ends = canvas.pose.points([start, start + rng.uniform(-50, 50, 2)])
    stroke = canvas.mask()
    draw_line(stroke, ends, 255, max(2, round(rng.uniform(4, 9) * canvas.pose.scale)))
    strength = rng.choice([-1, 1]) * rng.uniform(0.015, 0.045)
    canvas.tone += soft(stroke, 2.2 * canvas.pose.scale) * np.float32(strength)


def _light(rng: np.random.Generator, canvas: Canvas) -> Plane:
    """Shade the relief, put the plate on the belt, apply lamp, lens and colour; [H, W, 3]."""
    size, scale = canvas.size, canvas.pose.scale
    slope = _slope(rng, canvas)
    metal = np.float32(rng.uniform(138, 160)) * (1 + canvas.tone)
    metal += np.clip(slope * np.float32(70), np.float32(-75), np.float32(85))
    belt = 30 + 5 * _clouds(rng, size, 5) + normal(rng, slope.shape) * np.float32(2.5)
    offset = np.array([[1, 0, 5 * scale], [0, 1, 6 * scale]])
    wide = round(9 * scale) | 1
    belt *= 1 - np.float32(0.55) * cv2.blur(
        cv2.warpAffine(canvas.solid, offset, size), (wide, wide)
    )
    belt += np.maximum(slope, np.float32(0)) * np.float32(22)  # light on the walls of the holes
    grey = belt + (metal - belt) * canvas.solid
    grey *= _lamp(rng, size)
    sigma = rng.uniform(0.45, 0.8) * max(1.0, 0.45 * scale)
    sharp = cv2.GaussianBlur(grey, (0, 0), sigma)
    colour = np.array([1.0, 0.995, 0.975]) + rng.uniform(-0.02, 0.02, 3)
    return np.asarray(cv2.merge([sharp * np.float32(gain) for gain in colour]), np.float32)


def _slope(rng: np.random.Generator, canvas: Canvas) -> Plane:
    """How much each place faces the lamp, at the upper left; [H, W]."""
    lamp = math.radians(rng.uniform(205, 245))
    towards = np.array([math.cos(lamp), math.sin(lamp)]) * (-0.5 * canvas.pose.scale)
    across = cv2.Sobel(canvas.relief, cv2.CV_32F, 1, 0, ksize=1) * np.float32(towards[0])
    down = cv2.Sobel(canvas.relief, cv2.CV_32F, 0, 1, ksize=1) * np.float32(towards[1])
    return np.asarray(across + down, np.float32)


def _lamp(rng: np.random.Generator, size: tuple[int, int]) -> Plane:
    """Brightness of the lamp: its level, its gradient, and the lens' falling off; [H, W]."""
    width, height = size
    x, y = _grid(width, height)
    gradient, towards = rng.uniform(0, 0.22), rng.uniform(0, 2 * np.pi)
    along_x = np.float32(gradient * math.cos(towards) / width)
    along_y = np.float32(gradient * math.sin(towards) / height)
    falling = np.float32(4 / (width**2 + height**2) * rng.uniform(0.05, 0.28))
    level = np.float32(rng.uniform(0.82, 1.16))
    plane = (1 + x * along_x + y * along_y) * (1 - (x * x + y * y) * falling) * level
    return np.asarray(plane, np.float32)


def _clouds(rng: np.random.Generator, size: tuple[int, int], cells: int) -> Plane:
    """Smooth noise with `cells` bumps across, deviation about 1; [H, W]."""
    coarse = rng.standard_normal((max(2, cells * size[1] // size[0]), cells), np.float32)
    return np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC), np.float32)


@functools.lru_cache(maxsize=2)
def _grid(width: int, height: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pixel coordinates from the picture's centre: x and y, each [H, W], read only."""
    x = np.arange(width, dtype=np.float32) - np.float32((width - 1) / 2)
    y = np.arange(height, dtype=np.float32) - np.float32((height - 1) / 2)
    planes = np.tile(x, (height, 1)), np.tile(y[:, None], (1, width))
    for plane in planes:
        plane.setflags(write=False)
    return planes
