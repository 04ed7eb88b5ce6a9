"""The layout of class masks: `images/NAME.*` and `masks/NAME.png`, where each pixel's value is its class.

What the values mean stands in `classes.json`, `{"1": "scratch", "2": "dent"}`, or, for coloured masks,
`{"#ff0000": "scratch"}`, or in CVAT's `labelmap.txt`, lines `name:red,green,blue::`. Value 0, black and
the names background and `_background_` are no defect. A value that is not named is refused. Each
connected piece of a class is one label, with its holes. A mask without defects means a good part; no
mask means that nobody looked. VOC's and CVAT's folders JPEGImages and SegmentationClass are read too.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from inspection.errors import DatasetError
from inspection_datasets.incoming import (
    Incoming,
    IncomingSample,
    Label,
    check_one_label_file,
    check_size,
    image_size,
    images_under,
    looked_at,
    not_located,
    split_of,
)
from inspection_datasets.shapes import pieces_of, settle_shape

_FOLDERS = (("images", "masks"), ("JPEGImages", "SegmentationClass"))
_NAMES = ("classes.json", "labelmap.txt")
_BACKGROUND = {"background", "_background_"}
_Key = int | tuple[int, int, int]


def find_masks(source: Path) -> tuple[Path, Path, Path] | None:
    """Return the folders of images and masks and the file of class names; None for another layout."""
    for images, masks in _FOLDERS:
        for names in _NAMES:
            found = source / images, source / masks, source / names
            if found[0].is_dir() and found[1].is_dir() and found[2].is_file():
                return found
    return None


def read_masks(source: Path, tick: Callable[[], None] = lambda: None) -> Incoming:
    """Read a folder of images and class masks. `tick` is called once an image.

    Raises:
        DatasetError: a file is missing, of another size, or has a value that is not named.
    """
    found = find_masks(source)
    if found is None:
        raise DatasetError(
            f"{source} is not laid out for masks: it needs images/, masks/ and classes.json"
        )
    images, masks, names = found
    classes = read_class_values(names)
    samples: list[IncomingSample] = []
    for image in images_under(images):
        mask = (masks / image.relative_to(images)).with_suffix(".png")
        name = image.relative_to(source).as_posix()
        split, size = split_of(PurePosixPath(name)), image_size(image)
        if mask.is_file():
            origin = f"masks:{mask.relative_to(source).as_posix()}"
            labels = _read_mask(mask, classes, size)
            samples.append(looked_at(image, name, split, labels, size, origin))
        else:
            samples.append(not_located(image, name, split, None, size, f"masks:{name}"))
        tick()
    if not samples:
        raise DatasetError(f"{images} holds no images; put them there")
    check_one_label_file(samples)
    rest = sum(s.state == "unlabelled" for s in samples)
    notes = (f"{rest} images have no mask and stay unlabelled",) if rest else ()
    return Incoming("masks", tuple(dict.fromkeys(classes.values())), tuple(samples), notes)


def read_class_values(path: Path) -> dict[_Key, str]:
    """Return value (gray) or (red, green, blue) to class name, background left out.

    Raises:
        DatasetError: not readable, or no class in it.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".json":
            found = {_key(str(key)): str(name).strip() for key, name in json.loads(text).items()}
        else:
            lines = [line.split("#")[0].split(":") for line in text.splitlines()]
            found = {_key(fields[1]): fields[0].strip() for fields in lines if len(fields) > 1}
    except (OSError, ValueError, AttributeError, IndexError) as error:
        raise DatasetError(
            f'{path} cannot be read ({error}); write {{"1": "scratch"}} or {{"#ff0000": "scratch"}}'
        ) from error
    found = {
        key: name
        for key, name in found.items()
        if name.casefold() not in _BACKGROUND and key not in {0, (0, 0, 0)}
    }
    if not found or len({type(key) for key in found}) > 1:
        raise DatasetError(f"{path} must name values or colours of defects, one kind of the two")
    return found


def _key(text: str) -> _Key:
    text = text.strip()
    if text.startswith("#") and len(text) == 7:
        return (int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16))
    if "," in text:
        red, green, blue = (int(v) for v in text.split(","))
        return (red, green, blue)
    return int(text)


def _read_mask(path: Path, classes: dict[_Key, str], size: tuple[int, int]) -> list[Label]:
    values, named = _values(path, classes)
    check_size((values.shape[1], values.shape[0]), size, str(path))
    present = {int(v) for v in np.unique(values)} - {0}
    unknown = sorted(present - set(named))
    if unknown:
        shown = f"#{unknown[0]:06x}" if isinstance(next(iter(classes)), tuple) else unknown[0]
        raise DatasetError(
            f"{path} has pixels of {shown}, which names no class; known are {list(classes.values())}. "
            "Name it in the file of classes"
        )
    return [
        settle_shape(named[value], rings, size, f"{path}: {named[value]}")
        for value in sorted(present)
        for rings in pieces_of(values == value)
    ]


def _values(path: Path, classes: dict[_Key, str]) -> tuple[NDArray[np.int64], dict[int, str]]:
    """Return each pixel's value as a whole number, and these numbers' classes."""
    data = path.read_bytes()
    mask = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if mask is None:
        raise DatasetError(f"{path} is not a picture that can be read; save the mask again as PNG")
    if mask.ndim == 2:
        mask = mask[..., None]
    colours = mask[..., :3].astype(np.int64)
    packed = colours[..., 0]
    if mask.shape[2] >= 3:
        packed = colours[..., 2] << 16 | colours[..., 1] << 8 | colours[..., 0]
    if isinstance(next(iter(classes)), tuple):
        if mask.shape[2] < 3:
            packed = packed * 0x010101
        return packed, {_pack(key): name for key, name in classes.items()}
    if mask.shape[2] >= 3:
        packed = _indices(packed, data, path)
    return packed, {int(key): name for key, name in classes.items() if isinstance(key, int)}


def _pack(key: _Key) -> int:
    return key if isinstance(key, int) else key[0] << 16 | key[1] << 8 | key[2]


def _indices(packed: NDArray[np.int64], data: bytes, path: Path) -> NDArray[np.int64]:
    """Return the palette's numbers of a coloured PNG with a palette; gray colours stand for their value."""
    at = data.find(b"PLTE")
    if at < 0:
        if ((packed >> 16 == packed & 255) & (packed >> 8 & 255 == packed & 255)).all():
            return packed & 255
        raise DatasetError(
            f"{path} is coloured, and the classes are named by value; name the colours"
        )
    length = int.from_bytes(data[at - 4 : at], "big")
    entries = (
        np.frombuffer(data[at + 4 : at + 4 + length], np.uint8).reshape(-1, 3).astype(np.int64)
    )
    palette = entries[:, 0] << 16 | entries[:, 1] << 8 | entries[:, 2]
    used = {int(v) for v in np.unique(packed)}
    table: dict[int, int] = {}
    for index, colour in enumerate(palette.tolist()):
        if colour in used and table.setdefault(colour, index) != index and colour:
            raise DatasetError(
                f"{path} has one colour for two values of its palette; save it as gray"
            )
    out = np.zeros_like(packed)
    for colour in used:
        out[packed == colour] = table.get(colour, 0xFFFFFF)
    return out
