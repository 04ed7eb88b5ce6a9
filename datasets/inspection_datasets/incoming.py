"""What an importer hands over, and the rules that all importers share.

An importer reads one layout and returns `Incoming`; `importing` copies, hashes and writes the version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from inspection.cameras.picture import decode_picture
from inspection.errors import DatasetError, FrameError
from inspection_datasets.manifest import Box, Shape, State, contained_path

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
MAX_PIXELS = 200_000_000
SLACK = 2.0
"""Pixels by which a label may leave its picture and is cut; label tools round."""
GOOD_WORDS = frozenset(
    {"good", "ok", "normal", "no_defect", "no-defect", "defect_free", "none", "정상", "양품"}
)
_SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


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
        shapes: empty, or for each box its outline, None where the label was a box.
        label: class of the whole picture, where nobody said where the defect is.
    """

    path: Path
    name: str
    split: str | None
    group: str
    boxes: tuple[Box, ...]
    state: State
    size: tuple[int, int]
    origin: str
    shapes: tuple[Shape | None, ...] = ()
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Incoming:
    """Everything an importer found.

    Attributes:
        layout: one of `layouts.LAYOUTS`.
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
    """Read a picture as uint8 RGB [H, W, 3], with the very pixels that a folder camera gives the line.

    JPEG, PNG, BMP and TIFF go through the line's own decoder: gray becomes three equal channels,
    transparency is dropped, 16 bit keeps its upper 8 bit, the orientation noted by a camera (EXIF) is
    applied, CMYK is refused. WebP follows the same rules. Labels are in pixels of this picture.

    Raises:
        DatasetError: missing, empty, cut off, not a picture, CMYK, or too large.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error}); is the image there?") from error
    try:
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _decode_webp(data, path)
        return decode_picture(data, str(path), MAX_PIXELS)
    except FrameError as error:
        reason = str(error).removeprefix(f"{path} ").split("; replace the file", 1)[0]
        raise DatasetError(
            f"{path} is not an image that can be read: it {reason}; save it again as 8-bit RGB or gray "
            "PNG or JPEG, or remove it"
        ) from error


def _decode_webp(data: bytes, path: Path) -> NDArray[np.uint8]:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise DatasetError(f"{path} cannot be decoded ({error.err}); replace the image") from error
    if image is None:
        raise DatasetError(f"{path} is not an image that can be read; replace or remove it")
    if image.shape[0] * image.shape[1] > MAX_PIXELS:
        raise DatasetError(
            f"{path} has {image.shape[1]}x{image.shape[0]} pixels, more than is allowed; cut it up"
        )
    return np.ascontiguousarray(image, np.uint8)


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
    if not np.isfinite([x1, y1, x2, y2]).all() or outside > SLACK:
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


Label = tuple[Box, Shape | None]
"""One label: its box, and its outline where it has one."""


def looked_at(
    path: Path,
    name: str,
    split: str | None,
    labels: Sequence[Label],
    size: tuple[int, int],
    origin: str,
) -> IncomingSample:
    """Return the sample of a picture that a person looked at; its group is its name without the suffix."""
    boxes = tuple(box for box, _ in labels)
    shapes = tuple(shape for _, shape in labels)
    if not any(shapes):
        shapes = ()
    return IncomingSample(
        path, name, split, group_of(name), boxes, state_of(boxes), size, origin, shapes
    )


def not_located(
    path: Path, name: str, split: str | None, label: str | None, size: tuple[int, int], origin: str
) -> IncomingSample:
    """Return the sample of a picture without places: unlabelled, perhaps with a class of all of it."""
    return IncomingSample(
        path, name, split, group_of(name), (), "unlabelled", size, origin, (), label
    )


def group_of(name: str) -> str:
    """Return the group of a picture of which nothing is known: its name without the suffix."""
    return PurePosixPath(name).with_suffix("").as_posix()


def is_good(word: str) -> bool:
    """Return whether a folder or label of this name means a good part."""
    return word.strip().casefold() in GOOD_WORDS


def split_of(name: PurePosixPath | Path) -> str | None:
    """Return the split that a folder in a relative path names, or None."""
    for part in reversed(name.parts[:-1]):
        if part.casefold() in _SPLIT_FOLDERS:
            return _SPLIT_FOLDERS[part.casefold()]
    return None


def images_under(folder: Path) -> list[Path]:
    """Return the picture files under a folder, sorted; hidden files and folders are left out."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def check_size(stated: tuple[object, object], size: tuple[int, int], where: str) -> None:
    """Compare the (width, height) that an annotation states with the picture's.

    Raises:
        DatasetError: they differ; boxes would be in wrong places.
    """
    if stated == size:
        return
    turned = stated == (size[1], size[0])
    raise DatasetError(
        f"{where} is stated as {stated[0]}x{stated[1]} but is {size[0]}x{size[1]}; "
        + (
            "the label tool ignored the orientation note (EXIF). Save the image turned, label it again"
            if turned
            else "label it again"
        )
    )


def check_one_label_file(samples: Sequence[IncomingSample]) -> None:
    """Refuse two pictures that differ only in their suffix and so share one label file.

    Raises:
        DatasetError: naming both.
    """
    seen: dict[str, str] = {}
    for sample in samples:
        other = seen.setdefault(group_of(sample.name), sample.name)
        if other != sample.name:
            raise DatasetError(
                f"{sample.name} and {other} share one label file; rename one of the two images"
            )
