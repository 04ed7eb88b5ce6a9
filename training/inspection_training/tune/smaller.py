"""When nothing keeps the deadline: which smaller model would. And what the camera's shape leaves unused.

    other releases of the part that are smaller ─▶ measured, in the same way
    none there, or none keeps it ─▶ estimated: smaller sizes of the family, smaller inputs

An estimate takes the measured time and the work of the other network, no more: small networks and small
inputs take a little longer than it says, since not all of the time is the network's.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from inspection.errors import InspectionError
from inspection.letterbox import Letterbox
from inspection.release import MODEL, ReleaseCard, list_releases, load_release, read_card
from inspection.tuned import Shape, Smaller
from inspection.types import Release

WORK = {
    "yolov8": {"n": 8.7, "s": 28.6, "m": 78.9, "l": 165.2, "x": 257.8},
    "yolo11": {"n": 6.6, "s": 21.7, "m": 68.5, "l": 87.6, "x": 196.0},
    "yolo26": {"n": 6.1, "s": 22.8, "m": 75.4, "l": 93.8, "x": 209.5},
}
"""Billions of operations for 640 x 640 pixels and 80 classes, as the family's makers give them."""
STRIDE = 32
"""Sides of a network's input are multiples of it."""
LEAST_SIDE = 160
MOST_RELEASES = 4
_CLEARLY = 0.9
_WORTH = 0.02
"""Less border than this is not worth another training."""


def shape_of(release: Release, frame: tuple[int, int], p50_ms: float | None) -> Shape | None:
    """Return how much of the input is border for a frame of (width, height).

    A release's input is fixed by its graph: another shape is another training. None: it looks at tiles.
    """
    if release.tiling is not None:
        return None
    height, width = release.input_size
    placed = Letterbox.of((frame[1], frame[0]), release.input_size).resized
    area = height * width
    used = placed[0] * placed[1]
    better = _ceil(placed[0]), _ceil(placed[1])
    share = better[0] * better[1] / area
    padding = round(1 - used / area, 4)
    if share > 1 - _WORTH:
        return Shape(padding=padding, better=None, estimate_ms=None)
    estimate = None if p50_ms is None else round(p50_ms * share, 1)
    return Shape(padding=padding, better=better, estimate_ms=estimate)


def _ceil(side: int) -> int:
    return math.ceil(side / STRIDE) * STRIDE


def smaller_releases(release: Release) -> list[Release]:
    """Return other releases of the part with a smaller file or input, the newest first, only a few.

    A release that is refused is left out: it would not run on a line either.
    """
    releases: Path = release.folder.parent.parent
    found: list[Release] = []
    seen = {release.model_sha256}
    for number in reversed(list_releases(releases).get(release.part, [])):
        if len(found) == MOST_RELEASES:
            break
        try:
            other = load_release(releases / release.part / str(number))
        except InspectionError:
            continue
        if other.model_sha256 not in seen and _smaller(other, release):
            seen.add(other.model_sha256)
            found.append(other)
    return found


def _smaller(other: Release, release: Release) -> bool:
    """Tell whether it has clearly less work: weights times places."""
    work = _size(other) / _size(release) * _area(other.input_size) / _area(release.input_size)
    return other.task == release.task and work < _CLEARLY


def _size(release: Release) -> int:
    return (release.folder / MODEL).stat().st_size


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def estimates(
    release: Release, runtime: dict[str, Any], p99_ms: float, deadline: float
) -> list[Smaller]:
    """Return smaller networks of the family, and the largest input of this one that would keep it.

    Args:
        release: it does not keep the deadline.
        runtime: its fastest runtime.
        p99_ms: its time there.
        deadline: seconds.
    """
    card = read_card(release.folder)
    wanted = deadline * 1e3
    found = [
        _estimated(f"{name} at {_by(release.input_size)}", runtime, p99_ms * ratio, wanted)
        for name, ratio in _family(card)
    ]
    size = _input_for(release.input_size, wanted / p99_ms)
    if size is not None:
        ratio = _area(size) / _area(release.input_size)
        network = card.family.rpartition("/")[2]
        found.append(_estimated(f"{network} at {_by(size)}", runtime, p99_ms * ratio, wanted))
    return found


def _estimated(model: str, runtime: dict[str, Any], p99_ms: float, wanted: float) -> Smaller:
    return Smaller(
        model=model,
        source="estimated",
        runtime=runtime,
        p99_ms=round(p99_ms, 1),
        keeps=p99_ms <= wanted,
    )


def _family(card: ReleaseCard) -> list[tuple[str, float]]:
    """Return smaller networks of the family, the largest first, with their share of the work."""
    name = card.family.rpartition("/")[2]
    stem, _, rest = name.partition("-")
    sizes = WORK.get(stem[:-1], {})
    if stem[-1:] not in sizes:
        return []
    own = sizes[stem[-1]]
    smaller = [(letter, work / own) for letter, work in sizes.items() if work < own]
    ending = f"-{rest}" if rest else ""
    return [(f"{stem[:-1]}{letter}{ending}", ratio) for letter, ratio in reversed(smaller)]


def _input_for(size: tuple[int, int], ratio: float) -> tuple[int, int] | None:
    """Return the largest input of this shape with so much of the area; None: too small to be of use."""
    for longest in range(max(size) - STRIDE, LEAST_SIDE - 1, -STRIDE):
        scale = longest / max(size)
        found = _floor(size[0] * scale), _floor(size[1] * scale)
        if _area(found) <= ratio * _area(size):
            return found
    return None


def _floor(side: float) -> int:
    return max(STRIDE, int(side) // STRIDE * STRIDE)


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
