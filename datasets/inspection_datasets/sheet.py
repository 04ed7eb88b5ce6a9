"""Pictures with their boxes drawn: thumbnails for a report, and a contact sheet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from inspection.errors import DatasetError
from inspection.release import write_atomic
from inspection_datasets.claims import classes_of
from inspection_datasets.findings import Mark, labels
from inspection_datasets.incoming import inside, read_image
from inspection_datasets.manifest import DatasetVersion, Sample

_PAPER, _INK = (250, 250, 248), (30, 30, 30)
_MODEL = (235, 90, 0)
_COLOURS = (
    (0, 120, 210), (0, 140, 90), (190, 40, 140), (150, 100, 0), (90, 70, 200), (60, 130, 130),
)  # fmt: skip
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LINE, _GAP = 18, 8


def thumbnail(
    image: NDArray[np.uint8], marks: Sequence[Mark], classes: Sequence[str], side: int
) -> NDArray[np.uint8]:
    """Return a picture with boxes, its longer side at most `side` pixels; RGB in and out.

    Labels have a colour for each class, boxes of a model are orange.
    """
    height, width = image.shape[:2]
    scale = min(side / max(height, width), 4.0)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    small = np.ascontiguousarray(cv2.resize(image, size, interpolation=how), np.uint8)
    for mark in marks:
        x1, y1, x2, y2 = (round(value * scale) for value in mark.box)
        colour = _MODEL if mark.by_model else _colour(mark.name, classes)
        cv2.rectangle(small, (x1 - 1, y1 - 1), (x2, y2), colour, 1)
        base = y2 + 10 if mark.by_model or y1 < 12 else y1 - 3
        base = min(max(base, 9), small.shape[0] - 2)
        cv2.putText(small, mark.name, (max(x1, 0), base), _FONT, 0.35, colour, 1, cv2.LINE_AA)
    return small


def _colour(name: str, classes: Sequence[str]) -> tuple[int, int, int]:
    return _COLOURS[list(classes).index(name) % len(_COLOURS) if name in classes else 0]


def jpeg(image: NDArray[np.uint8]) -> bytes:
    """Return an RGB picture as JPEG."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()


def choose(
    version: DatasetVersion, count: int, split: str | None = None, name: str | None = None
) -> list[Sample]:
    """Return at most `count` samples, spread evenly over those of a split and with a class.

    Raises:
        DatasetError: the class is unknown, or no sample is left.
    """
    if name is not None and name not in version.classes:
        raise DatasetError(f"class {name!r} is not known; the classes are {list(version.classes)}")
    found = [
        sample
        for sample in version.samples
        if (split is None or sample.split == split) and (name is None or name in classes_of(sample))
    ]
    if not found:
        raise DatasetError(
            f"{version.name} {version.version} has no picture for this sheet "
            f"(split {split or 'any'}, class {name or 'any'}); ask for less"
        )
    step = max(len(found) / count, 1.0)
    return [found[int(index * step)] for index in range(min(count, len(found)))]


def write_sheet(
    version: DatasetVersion, samples: Sequence[Sample], path: Path, side: int = 240
) -> None:
    """Write a contact sheet as PNG; each picture with its boxes, name, split and state.

    Raises:
        DatasetError: a picture cannot be read, or the file cannot be written.
    """
    cells = [_cell(version, sample, side) for sample in samples]
    columns = min(5, len(cells))
    rows = -(-len(cells) // columns)
    high, wide = side + 2 * _LINE + _GAP, side + _GAP
    sheet = np.full((rows * high + _GAP, columns * wide + _GAP, 3), _PAPER, np.uint8)
    for index, cell in enumerate(cells):
        top, left = _GAP + index // columns * high, _GAP + index % columns * wide
        sheet[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
    done, data = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    if not done:
        raise DatasetError(f"{path}: the sheet could not be made as PNG; ask for fewer pictures")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data.tobytes())
    except OSError as error:
        raise DatasetError(f"{path} cannot be written: {error}; choose another place") from error


def _cell(version: DatasetVersion, sample: Sample, side: int) -> NDArray[np.uint8]:
    image = read_image(inside(version.folder, sample.image, version.version))
    cell = np.full((side + 2 * _LINE, side, 3), _PAPER, np.uint8)
    small = thumbnail(image, labels(sample), version.classes, side)
    top, left = (side - small.shape[0]) // 2, (side - small.shape[1]) // 2
    cell[top : top + small.shape[0], left : left + small.shape[1]] = small
    for line, text in enumerate(
        (sample.image.rsplit("/", 1)[-1], f"{sample.split} {sample.state}")
    ):
        at = (2, side + (line + 1) * _LINE - 5)
        cv2.putText(cell, _fit(text, side), at, _FONT, 0.4, _INK, 1, cv2.LINE_AA)
    return cell


def _fit(text: str, width: int) -> str:
    while text and cv2.getTextSize(text, _FONT, 0.4, 1)[0][0] > width - 4:
        text = text[:-1]
    return text
