"""What can be wrong with the plate. Each function draws one defect and records its box.

Sizes and contrasts are drawn on a log scale, so that some are faint or small. The smallest were
chosen by eye: every one can be seen in the picture by a person who looks. Missing holes are drawn
with the plate itself.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from inspection.cameras.plate import (
    BORE,
    HOLES,
    PLATE,
    Canvas,
    draw_line,
    fill,
    is_bare,
    normal,
    soft,
    unit,
)

_PIECES = 24  # of a scratch
_TEETH = 14  # of a burr


def draw_scratch(rng: np.random.Generator, canvas: Canvas, missing: dict[int, float]) -> None:
    """Draw a bright or dark groove that fades at its ends, on the plain face."""
    scale = canvas.pose.scale
    path = _scratch_path(rng, missing)
    pixels = canvas.pose.points(path + rng.normal(0, 0.12, path.shape))
    strength = _log_uniform(rng, 0.2, 0.6)
    thickness = max(1, round(rng.uniform(0.7, 2.1) * scale))
    groove = canvas.mask()
    piece = np.arange(_PIECES)
    fade = np.clip((np.minimum(piece, _PIECES - 1 - piece) + 1) / 4.0, 0.45, 1.0)
    for i, value in enumerate(fade):
        draw_line(groove, pixels[i : i + 2], 255 * float(value), thickness)
    bright = 1.0 if rng.random() < 0.7 else -0.85
    canvas.tone += unit(groove) * np.float32(strength * bright)
    canvas.relief -= soft(groove, 0.5 * scale) * np.float32(strength * 0.8)
    reach = thickness / 2 + 1
    canvas.add_box("scratch", pixels.min(axis=0) - reach, pixels.max(axis=0) + reach)


def draw_dent(rng: np.random.Generator, canvas: Canvas, missing: dict[int, float]) -> None:
    """Draw a bowl in the plain face: seen by its shaded and its lit side."""
    radius = _log_uniform(rng, 3.8, 10.0)
    centre = _bare_place(rng, missing, radius + 2.0)
    depth = _log_uniform(rng, 0.6, 1.7)
    stretch, turn = rng.uniform(0.75, 1.0), rng.uniform(0, np.pi)
    pixel, scale = canvas.pose.points([centre])[0], canvas.pose.scale
    long, short = radius * scale, radius * scale * stretch
    box = canvas.add_box("dent", pixel - long, pixel + long)
    x1, y1, x2, y2 = (round(value) for value in box[1:])
    x = np.arange(x1, x2, dtype=np.float32)[None, :] - pixel[0]
    y = np.arange(y1, y2, dtype=np.float32)[:, None] - pixel[1]
    u = (x * math.cos(turn) + y * math.sin(turn)) / long
    v = (y * math.cos(turn) - x * math.sin(turn)) / short
    bowl = np.clip(1.0 - u * u - v * v, 0.0, 1.0) ** 1.5
    # what is seen is the slope: with this depth it depends little on the size
    canvas.relief[y1:y2, x1:x2] -= bowl * (depth * 0.55 * radius**0.7)
    canvas.tone[y1:y2, x1:x2] -= bowl * (depth * 0.10)


def draw_burr(rng: np.random.Generator, canvas: Canvas, missing: dict[int, float]) -> None:
    """Draw a jagged lip at the rim of a hole or at the plate's outer edge."""
    rims = [hole for index, hole in enumerate(HOLES) if index not in missing]
    if rims and rng.random() < 0.65:
        rim = rims[int(rng.integers(len(rims)))] if rng.random() < 0.8 else BORE
        root, away = _rim(rng, *rim)
    else:
        root, away = _edge(rng)
    rise = np.sin(np.linspace(0.15, np.pi - 0.15, _TEETH)) ** 0.5
    teeth = rng.uniform(2.6, 6.0) * rng.uniform(0.35, 1.0, _TEETH) * rise
    lip = rng.uniform(0.8, 1.8)
    outline = np.concatenate([root - away * lip, (root + away * teeth[:, None])[::-1]])
    pixels = canvas.pose.points(outline)
    flash = canvas.mask()
    fill(flash, pixels)
    np.maximum(canvas.solid, unit(flash), out=canvas.solid)
    strength = rng.uniform(0.5, 1.2)
    canvas.relief += soft(flash, 0.5 * canvas.pose.scale) * np.float32(strength)
    sparkle = 1.0 + 0.5 * normal(rng, flash.shape)
    canvas.tone += unit(flash) * sparkle * np.float32(0.22 * strength)
    canvas.add_box("burr", pixels.min(axis=0) - 1, pixels.max(axis=0) + 1)


DRAW = {"scratch": draw_scratch, "dent": draw_dent, "burr": draw_burr}


def _scratch_path(rng: np.random.Generator, missing: dict[int, float]) -> NDArray[np.float64]:
    length = _log_uniform(rng, 20, 105)
    while True:
        centre = _bare_place(rng, missing, 4.0)
        heading = rng.uniform(0, np.pi) + rng.uniform(-0.5, 0.5) * np.linspace(-0.5, 0.5, _PIECES)
        step = np.stack([np.cos(heading), np.sin(heading)], axis=-1) * (length / _PIECES)
        start = centre - step.sum(axis=0) / 2
        path = np.vstack([start, start + np.cumsum(step, axis=0)])
        if all(is_bare(x, y, missing, 2.0) for x, y in path[::2]):
            return path


def _rim(
    rng: np.random.Generator, x: float, y: float, radius: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return points on a hole's rim and the direction into the hole at each; each [14, 2]."""
    arc = min(rng.uniform(9.0, 22.0) / radius, 4.0)
    turn = rng.uniform(0, 2 * np.pi) + np.linspace(-0.5, 0.5, _TEETH) * arc
    outward = np.stack([np.cos(turn), np.sin(turn)], axis=-1)
    return np.asarray((x, y)) + outward * radius, -outward


def _edge(rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return points [14, 2] on a straight outer edge and the direction [1, 2] off the plate."""
    along = np.linspace(-0.5, 0.5, _TEETH) * rng.uniform(12.0, 40.0)
    side = int(rng.integers(4))
    away = np.array([[(1, 0), (0, 1), (-1, 0), (0, -1)][side]], np.float64)
    room = PLATE[1 - side % 2] / 2 - PLATE[2] - 22
    root = away * (PLATE[side % 2] / 2) + away[:, ::-1] * (
        along[:, None] + rng.uniform(-room, room)
    )
    return root, away


def _bare_place(
    rng: np.random.Generator, missing: dict[int, float], margin: float
) -> tuple[float, float]:
    while True:
        x = rng.uniform(-PLATE[0] / 2, PLATE[0] / 2)
        y = rng.uniform(-PLATE[1] / 2, PLATE[1] / 2)
        if is_bare(x, y, missing, margin):
            return x, y


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
