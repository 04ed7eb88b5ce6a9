"""How large the network's input must be: from the sizes of pictures and defects.

A defect should be 32 network pixels wide, as the objects are that detectors were made for, and must be
`LEAST`. Within that the input is no larger than the picture and than 640, which costs time and nothing
else; where `LEAST` asks for more than `MOST`, the part is cut into tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from inspection_datasets.manifest import DatasetVersion

LEAST = 10
"""Network pixels of the shorter side that one defect in ten may fall under, and no more."""
PLENTY = 32
USUAL, MOST = 640, 1280
TILE_SEEN = 12
_SMALLEST, _SMALL = 224, 320
_ONE_SHAPE = 1.25
Choose = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Objects:
    """What the training split's boxes look like. Shares are of the picture they are in.

    Attributes:
        pictures: pictures with a box.
        classes: classes with a box.
        short_share: tenth percentile of shorter side / picture's longer side.
        usual_share: median of longer side / picture's shorter side.
        large_share: 99th percentile of longer side / picture's longer side.
    """

    pictures: int
    classes: int
    short_share: float
    usual_share: float
    large_share: float


def measure_objects(version: DatasetVersion) -> Objects:
    """Measure the boxes of the train split; at least one picture must be labelled."""
    samples = version.select("train", ["labelled"])
    rows: list[tuple[float, float, float]] = []
    for sample in samples:
        longer, shorter = max(sample.width, sample.height), min(sample.width, sample.height)
        for _, x1, y1, x2, y2 in sample.boxes:
            sides = sorted((x2 - x1, y2 - y1))
            rows.append((sides[0] / longer, sides[1] / shorter, sides[1] / longer))
    table = np.array(rows)
    return Objects(
        pictures=len(samples),
        classes=len({box[0] for sample in samples for box in sample.boxes}),
        short_share=float(np.percentile(table[:, 0], 10)),
        usual_share=float(np.percentile(table[:, 1], 50)),
        large_share=float(np.percentile(table[:, 2], 99)),
    )


def choose_size(
    choose: Choose, version: DatasetVersion, objects: Objects | None
) -> tuple[int, tuple[int, int]]:
    """Choose imgsz, and input_size or tile where they differ from it.

    Args:
        choose: `setting, value, reason, **facts` to the value that holds.
        version: its train split's pictures are measured.
        objects: its defects; None: a family that learns good parts.

    Returns:
        The longer side and (height, width) of the network's input.
    """
    sizes = [(s.height, s.width) for s in version.samples if s.split == "train"]
    longer = round(float(np.median([max(size) for size in sizes])))
    if objects is None:
        side = choose("imgsz", _up(min(max(longer, 224), 640)), "size_good", longer=longer)
        return side, _shape(choose, sizes, side)
    needed = LEAST / objects.short_share
    if needed > MOST:
        return _tiles(choose, objects, longer, needed)
    side = min(PLENTY / objects.short_share, USUAL, longer)
    side = _up(max(side, needed, min(max(longer, _SMALLEST), _SMALL)))
    short = f"{objects.short_share * longer:.3g}"
    seen = round(objects.short_share * side)
    side = choose("imgsz", side, "size", longer=longer, short=short, seen=seen, least=LEAST)
    return side, _shape(choose, sizes, side)


def _up(value: float) -> int:
    return max(32, int(-(-value // 32)) * 32)


def _shape(choose: Choose, sizes: list[tuple[int, int]], side: int) -> tuple[int, int]:
    """Keep the pictures' aspect where they all have nearly the same, and it saves something."""
    aspects = np.array([width / height for height, width in sizes])
    low, middle, high = np.percentile(aspects, [5, 50, 95])
    if high / low > _ONE_SHAPE:
        return side, side
    squarest = high if middle < 1 else 1 / low
    short = _up(side * squarest)  # the picture nearest to a square fits too
    if short >= side:
        return side, side
    shape = [short, side] if middle >= 1 else [side, short]
    saved = round(100 * (1 - short / side))
    shape = choose("input_size", shape, "shape", aspect=f"{middle:.2f}", saved=saved)
    return shape[0], shape[1]


def _tiles(
    choose: Choose, objects: Objects, longer: int, needed: float
) -> tuple[int, tuple[int, int]]:
    short, large = objects.short_share * longer, objects.large_share * longer
    tile = max(256, _up(min(USUAL, USUAL * short / TILE_SEEN) - 31))
    facts = {"longer": longer, "short": f"{short:.3g}", "needed": _up(needed)}
    tile = choose("tile", [tile, tile], "tile", **facts)[0]
    overlap = round(min(max(large / tile, 0.2), 0.5), 2)
    choose("tile_overlap", overlap, "tile_overlap", large=round(large))
    seen = round(short * USUAL / tile)
    side = choose("imgsz", USUAL, "tile_size", tile=tile, seen=seen)
    return side, (side, side)
