"""What an importer hands over, and the rules that all importers share.

An importer reads one layout and returns `Incoming`; `importing` copies, hashes and writes the version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from inspection.errors import DatasetError
from inspection_datasets.manifest import Box, State, contained_path

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
MAX_PIXELS = 200_000_000
_SLACK = 2.0


@dataclass(frozen=True, slots=True)
class IncomingSample:
    """One picture as a layout describes it.

    Attributes:
        path: the file.
        name: path relative to the source folder; names the copy.
        split: train, val, test, or None where the layout does not say.
        group: samples that belong together.
        boxes: class, x1, y1, x2, y2 in pixels.
        state: labelled, good or unlabelled.
        size: (width, height) of the picture, as read.
        origin: layout and annotation file.
    """

    path: Path
    name: str
    split: str | None
    group: str
    boxes: tuple[Box, ...]
    state: State
    size: tuple[int, int]
    origin: str


@dataclass(frozen=True, slots=True)
class Incoming:
    """Everything an importer found.

    Attributes:
        layout: deeppcb, yolo or coco.
        classes: class names in the order of the source.
        samples: in the order of the source.
        notes: what was left out or repaired, in words, for the person who imports.
    """

    layout: str
    classes: tuple[str, ...]
    samples: tuple[IncomingSample, ...]
    notes: tuple[str, ...] = field(default=())


def inside(root: Path, name: str, where: str) -> Path:
    """Return `root/name`, refusing paths and links that leave `root`.

    Raises:
        DatasetError: absolute, `..`, or a link that points outside.
    """
    path = root / contained_path(name, where)
    if not path.resolve().is_relative_to(root.resolve()):
        raise DatasetError(
            f"{where} names {name!r}, a link out of {root}; copy the file into the folder"
        )
    return path


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read a picture as uint8 RGB [H, W, 3]; gray and 16-bit pictures are converted.

    Raises:
        DatasetError: missing, empty, not a picture, or too large.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error}); is the image there?") from error
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except cv2.error as error:
        raise DatasetError(f"{path} cannot be decoded ({error}); replace the image") from error
    if image is None:
        raise DatasetError(f"{path} is not an image that can be read; replace or remove it")
    if image.shape[0] * image.shape[1] > MAX_PIXELS:
        raise DatasetError(
            f"{path} has {image.shape[1]}x{image.shape[0]} pixels, more than is allowed; cut it up"
        )
    return np.ascontiguousarray(image[..., ::-1]).astype(np.uint8, copy=False)


def image_size(path: Path) -> tuple[int, int]:
    """Return (width, height) of a picture by decoding it. Raises DatasetError as `read_image`."""
    height, width = read_image(path).shape[:2]
    return width, height


def settle_box(box: Box, size: tuple[int, int], where: str) -> Box:
    """Return a box cut to the image where it leaves it by at most two pixels (rounding of label tools).

    Raises:
        DatasetError: it leaves the image by more, or is empty: the label belongs to another image or size.
    """
    name, x1, y1, x2, y2 = box
    width, height = size
    outside = max(-x1, -y1, x2 - width, y2 - height)
    if not np.isfinite([x1, y1, x2, y2]).all() or outside > _SLACK:
        raise DatasetError(
            f"{where}: {name} box {_short(box)} leaves the {width}x{height} image; "
            "was the image resized after labelling?"
        )
    x1, y1 = max(x1, 0.0), max(y1, 0.0)
    x2, y2 = min(x2, float(width)), min(y2, float(height))
    if x2 <= x1 or y2 <= y1:
        raise DatasetError(f"{where}: {name} box {_short(box)} is empty; correct the label")
    return name, round(x1, 3), round(y1, 3), round(x2, 3), round(y2, 3)


def _short(box: Box) -> list[float]:
    return [round(float(v), 2) for v in box[1:]]


def state_of(boxes: Sequence[Box]) -> State:
    """Return the state of a sample that a person looked at: labelled with boxes, good without."""
    return "labelled" if boxes else "good"
