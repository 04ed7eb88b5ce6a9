"""A folder for each class: `good/`, `scratch/`, `dent/`, with or without `train/`, `val/`, `test/` above.

Folders named good, ok, normal, 정상 or 양품 hold good parts. Of the others only the class of the whole
picture is known and not the place, so their samples are `unlabelled` with a `label`: nothing for a
detector, a measure for a model trained on good parts. Where `ground_truth/CLASS/NAME_mask.png` shows
the place, as the public sets for good-parts-only models have it, its pieces become outlines and boxes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from inspection.errors import DatasetError
from inspection_datasets.incoming import (
    Incoming,
    IncomingSample,
    check_size,
    image_size,
    images_under,
    is_good,
    looked_at,
    not_located,
    split_of,
)
from inspection_datasets.shapes import pieces_of, settle_shape

_TRUTH = "ground_truth"
_SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing"}
_OTHER_LAYOUTS = {"images", "jpegimages", "masks", "labels", "annotations"}


def find_folders(source: Path) -> dict[str, list[Path]]:
    """Return class folder's name to its images; empty where this is another layout.

    It is this layout when pictures lie in a folder of good parts, or in two class folders or more.
    Folders around all of them are passed over.
    """
    if not source.is_dir():
        return {}
    names: dict[Path, list[str]] = {}
    for path in images_under(source):
        parts = path.relative_to(source).parts[:-1]
        if _TRUTH not in parts:
            names[path] = [part for part in parts if part.casefold() not in _SPLITS]
    while names and _one_folder_around(list(names.values())):
        names = {path: folders[1:] for path, folders in names.items()}
    found: dict[str, list[Path]] = {}
    for path, folders in names.items():
        if not folders or folders[0].casefold() in _OTHER_LAYOUTS:
            return {}
        found.setdefault(folders[0], []).append(path)
    return found if len(found) > 1 or any(is_good(name) for name in found) else {}


def _one_folder_around(names: list[list[str]]) -> bool:
    """Return whether every picture lies in one and the same folder, with class folders below it."""
    return (
        all(len(folders) > 1 for folders in names)
        and len({folders[0] for folders in names}) == 1
        and not is_good(names[0][0])
    )


def read_folders(source: Path, tick: Callable[[], None] = lambda: None) -> Incoming:
    """Read a folder for each class. `tick` is called once an image.

    Raises:
        DatasetError: no such folders, or a picture cannot be read.
    """
    found = find_folders(source)
    if not found:
        raise DatasetError(
            f"{source} is not laid out in class folders: every image must lie in one, and one must be "
            "named good, or there must be two"
        )
    samples: list[IncomingSample] = []
    for name, images in found.items():
        for image in images:
            samples.append(_read_sample(source, image, name))
            tick()
    classes = tuple(name for name in found if not is_good(name)) or ("defect",)
    labels = sum(s.label is not None for s in samples)
    good = [name for name in found if is_good(name)]
    notes = [f"folder {name} is taken as good parts" for name in good]
    if labels:
        notes.append(
            f"{labels} images have a class of the whole image and no place: unlabelled for detectors, "
            "usable to measure a model trained on good parts"
        )
    return Incoming("folders", classes, tuple(samples), tuple(notes))


def _read_sample(source: Path, image: Path, label: str) -> IncomingSample:
    name = image.relative_to(source)
    split, size = split_of(PurePosixPath(name)), image_size(image)
    origin = f"folders:{name.parent.as_posix()}"
    if is_good(label):
        return looked_at(image, name.as_posix(), split, (), size, origin)
    for suffix in ("_mask", ""):
        mask = source / _TRUTH / label / f"{image.stem}{suffix}.png"
        if split in {"test", None} and mask.is_file():
            values = cv2.imdecode(np.fromfile(mask, np.uint8), cv2.IMREAD_GRAYSCALE)
            if values is None:
                raise DatasetError(f"{mask} is not a picture; replace the mask")
            check_size((values.shape[1], values.shape[0]), size, str(mask))
            pieces = pieces_of(values > 0)
            if not pieces:
                raise DatasetError(f"{mask} is empty, the folder says {label}; correct one of them")
            labels = [settle_shape(label, rings, size, str(mask)) for rings in pieces]
            return looked_at(image, name.as_posix(), split, labels, size, origin)
    return not_located(image, name.as_posix(), split, label, size, origin)
