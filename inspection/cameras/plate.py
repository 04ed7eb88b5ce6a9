"""The part that `render` draws: a milled plate with a bore, a boss, a slot and seven holes.

Geometry is in *base units*: pixels of a 320 x 256 picture, origin in the plate's centre, x right,
y down. `Pose` maps them to pixels of the picture. The `Canvas` holds what is drawn: where there is
metal, how high it is, and how bright it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Mask = NDArray[np.uint8]

BASE_SIZE = (320, 256)
PLATE = (244.0, 180.0, 20.0)  # width, height, corner radius
BORE = (-14.0, 0.0, 24.0)  # x, y, radius; never missing
HOLES = (  # x, y, radius: the ones that can be missing
    *((x, y, 9.5) for x in (-98.0, 98.0) for y in (-66.0, 66.0)),
    *((-78.0, y, 5.5) for y in (-28.0, 0.0, 28.0)),
)
_BOSS = 38.0  # radius of the raised ring round the bore
_SLOT = (66.0, 0.0, 9.0, 30.0)  # x, y, half width, half length between its round ends
_SHIFT = 4  # fractional bits of OpenCV's drawing functions


class Box(NamedTuple):
    """A defect of a picture: class name and corners in pixels, x2 and y2 exclusive."""

    name: str
    x1: float
    y1: float
    x2: float
    y2: float


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the plate lies in the picture.

    Attributes:
        scale: pixels of one base unit.
        matrix: float64 [2, 3], from base units to pixels.
    """

    scale: float
    matrix: NDArray[np.float64]

    def points(self, points: Any) -> NDArray[np.float64]:
        """Return pixels [N, 2] of points in base units."""
        flat = np.asarray(points, np.float64).reshape(-1, 2)
        return flat @ self.matrix[:, :2].T + self.matrix[:, 2]


@dataclass(slots=True)
class Canvas:
    """What features and defects draw into.

    Attributes:
        pose: where the plate lies.
        size: (width, height) of the picture in pixels.
        solid: [H, W], 0..1, where there is metal.
        relief: [H, W], height over the plate's face, in steps of about one chamfer.
        tone: [H, W], brightness relative to bare metal; 0 is bare.
        boxes: one for each defect drawn, inside the picture.
    """

    pose: Pose
    size: tuple[int, int]
    solid: Plane
    relief: Plane
    tone: Plane
    boxes: list[Box] = field(default_factory=list[Box])

    def mask(self) -> Mask:
        """Return an empty mask of the picture's size."""
        return np.zeros((self.size[1], self.size[0]), np.uint8)

    def add_box(self, name: str, low: NDArray[np.float64], high: NDArray[np.float64]) -> Box:
        """Record a defect's box, rounded outwards to whole pixels and clipped to the picture."""
        x1, y1 = np.clip(np.floor(low), 0, np.subtract(self.size, 1))
        x2, y2 = np.clip(np.ceil(high), 1, self.size)
        box = Box(name, float(x1), float(y1), float(x2), float(y2))
        self.boxes.append(box)
        return box


def draw_plate(
    rng: np.random.Generator, size: tuple[int, int], missing_holes: int
) -> tuple[Canvas, dict[int, float]]:
    """Draw the plate without wear; return it and the index of each hole that was not drilled.

    Raises:
        ValueError: more missing holes than there are holes.
    """
    pose = _draw_pose(rng, size)
    missing = _choose_missing(rng, missing_holes)
    plane = np.zeros((size[1], size[0]), np.float32)
    canvas = Canvas(pose, size, plane, plane.copy(), plane.copy())
    plate, sunk = canvas.mask(), canvas.mask()
    fill(plate, pose.points(_rounded_rectangle(*PLATE)))
    for index, (x, y, nominal) in enumerate((*HOLES, BORE)):
        radius = nominal * rng.uniform(0.97, 1.03)
        if index in missing:
            _draw_missing(canvas, (x, y), radius, missing[index])
            continue
        disc(plate, pose, (x, y), radius, 0)
        disc(sunk, pose, (x, y), radius + 1.6)
    fill(plate, pose.points(_capsule(*_SLOT)), 0)
    boss = canvas.mask()
    disc(boss, pose, BORE[:2], _BOSS)
    canvas.solid += unit(plate)
    canvas.relief += soft(plate, 1.1 * pose.scale) * 1.3
    canvas.relief -= soft(sunk, 0.6 * pose.scale) * 0.7  # chamfers
    canvas.relief += soft(boss, 0.9 * pose.scale) * 1.4
    return canvas, missing


def _draw_missing(
    canvas: Canvas, centre: tuple[float, float], radius: float, centre_mark: float
) -> None:
    pose = canvas.pose
    pixel, reach = pose.points([centre])[0], (radius + 2.0) * pose.scale
    canvas.add_box("missing_hole", pixel - reach, pixel + reach)
    if centre_mark > 0:  # the drill only touched
        mark = canvas.mask()
        disc(mark, pose, centre, 1.6)
        canvas.relief -= soft(mark, 0.8 * pose.scale) * centre_mark


def _draw_pose(rng: np.random.Generator, size: tuple[int, int]) -> Pose:
    width, height = size
    scale = min(width / BASE_SIZE[0], height / BASE_SIZE[1]) * rng.uniform(0.985, 1.015)
    angle = math.radians(rng.uniform(-2.0, 2.0))
    cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
    dx, dy = rng.uniform(-5.0, 5.0, 2) * scale
    centre_x, centre_y = (width - 1) / 2 + dx, (height - 1) / 2 + dy
    return Pose(scale, np.array([[cos, -sin, centre_x], [sin, cos, centre_y]]))


def _choose_missing(rng: np.random.Generator, count: int) -> dict[int, float]:
    """Return index of each hole that was not drilled, with the depth of its centre mark or 0."""
    if count > len(HOLES):
        raise ValueError(f"{count} missing holes were asked for; the plate has {len(HOLES)}")
    chosen = rng.permutation(len(HOLES))[:count]
    marks = np.where(rng.random(len(HOLES)) < 0.35, rng.uniform(0.4, 1.0, len(HOLES)), 0.0)
    return {int(index): float(marks[index]) for index in chosen}


def _rounded_rectangle(width: float, height: float, radius: float) -> NDArray[np.float64]:
    turn = np.arange(4)[:, None] * (np.pi / 2) + np.linspace(0, np.pi / 2, 10)
    sign = np.array([(1, 1), (-1, 1), (-1, -1), (1, -1)], np.float64)
    corner = sign * (width / 2 - radius, height / 2 - radius)
    arcs = corner[:, None, :] + radius * np.stack([np.cos(turn), np.sin(turn)], axis=-1)
    return arcs.reshape(-1, 2)


def _capsule(x: float, y: float, radius: float, half: float) -> NDArray[np.float64]:
    turn = np.linspace(0, np.pi, 17)
    lower = np.stack([x + radius * np.cos(turn), y + half + radius * np.sin(turn)], axis=-1)
    upper = np.stack([x - radius * np.cos(turn), y - half - radius * np.sin(turn)], axis=-1)
    return np.concatenate([lower, upper])


def is_bare(x: float, y: float, missing: dict[int, float], margin: float) -> bool:
    """Tell whether a place is plain face, `margin` base units away from holes and edges."""
    if abs(x) > PLATE[0] / 2 - margin - 3 or abs(y) > PLATE[1] / 2 - margin - 3:
        return False
    if math.hypot(x - BORE[0], y - BORE[1]) < _BOSS + margin:
        return False
    if abs(x - _SLOT[0]) < _SLOT[2] + margin and abs(y - _SLOT[1]) < _SLOT[3] + _SLOT[2] + margin:
        return False
    return all(
        math.hypot(x - hole[0], y - hole[1]) > hole[2] + margin + (4 if index in missing else 0)
        for index, hole in enumerate(HOLES)
    )


def fixed(points: Any) -> NDArray[np.int32]:
    """Return pixels as the fixed-point numbers that OpenCV draws with; see `draw_line`."""
    return np.round(np.asarray(points) * (1 << _SHIFT)).astype(np.int32)


def fill(mask: Mask, pixels: NDArray[np.float64], value: int = 255) -> None:
    """Fill a polygon given in pixels, anti-aliased."""
    cv2.fillPoly(mask, [fixed(pixels)], (value,), cv2.LINE_AA, _SHIFT)


def disc(
    mask: Mask, pose: Pose, centre: tuple[float, float], radius: float, value: int = 255
) -> None:
    """Fill a circle given in base units, anti-aliased."""
    middle = fixed(pose.points([centre])[0]).tolist()
    size = round(radius * pose.scale * (1 << _SHIFT))
    cv2.circle(mask, middle, size, (value,), -1, cv2.LINE_AA, _SHIFT)


def draw_line(mask: Mask, pixels: NDArray[np.float64], value: float, thickness: int) -> None:
    """Draw a polyline given in pixels, anti-aliased."""
    cv2.polylines(mask, [fixed(pixels)], False, (value,), thickness, cv2.LINE_AA, _SHIFT)


def unit(mask: Mask) -> Plane:
    """Return a mask as 0..1."""
    return mask * np.float32(1 / 255)


def soft(mask: Mask, sigma: float) -> Plane:
    """Return a mask as 0..1 with edges blurred by `sigma` pixels."""
    return np.asarray(cv2.GaussianBlur(unit(mask), (0, 0), max(0.3, sigma)), np.float32)


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Plane:
    """Return white noise of deviation 1. It repeats beyond 2^20 values, which nobody sees."""
    count = math.prod(shape)
    noise = rng.standard_normal(min(count, 1 << 20), np.float32)
    return np.resize(noise, shape)
