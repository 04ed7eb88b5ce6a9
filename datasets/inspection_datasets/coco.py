"""COCO json: `images`, `annotations` with `bbox` [x, y, width, height] in pixels, `categories`.

The split is read from the file's name or folder (train, val or valid, test). A category that no
annotation uses and that is only the supercategory of others (some tools write one) is left out.
An image without annotations counts as good: COCO cannot say that nobody looked. `segmentation` may be
polygons (their union is the defect) or a run-length mask; the box of such a label is the extent of its
outline. Masks with `iscrowd` are kept, since CVAT marks every mask so.

Our own export writes what COCO has no word for under `inspection` of an image: state, group, label.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from inspection.errors import DatasetError
from inspection_datasets.incoming import (
    Incoming,
    IncomingSample,
    Label,
    check_size,
    image_size,
    inside,
    looked_at,
    not_located,
    settle_box,
)
from inspection_datasets.manifest import contained_path
from inspection_datasets.rle import decode_coco
from inspection_datasets.shapes import has_holes, mask_of, rings_of, settle_shape

_SPLIT_WORDS = {"train": "train", "valid": "val", "val": "val", "test": "test"}


def find_json_files(source: Path) -> list[Path]:
    """Return the annotation files of a COCO folder, or the file itself; empty for another layout."""
    if source.is_file():
        return [source] if source.suffix == ".json" and _is_coco(source) else []
    found = [
        *source.glob("*.json"),
        *source.glob("annotations/*.json"),
        *source.glob("*/_annotations.coco.json"),
    ]
    return [path for path in sorted(set(found)) if _is_coco(path)]


def _is_coco(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        head = file.read(1 << 20)
    return '"images"' in head or '"annotations"' in head


def read_coco(source: Path, tick: Callable[[], None] = lambda: None) -> Incoming:
    """Read a COCO file, or every COCO file of a folder. `tick` is called once an image.

    Raises:
        DatasetError: a file is missing, a path leaves the folder, sizes or ids contradict each other.
    """
    files = find_json_files(source)
    if not files:
        raise DatasetError(f"{source} holds no COCO json with `images` and `annotations`")
    root = source if source.is_dir() else source.parent
    documents = {path: _read_json(path) for path in files}
    dropped: set[str] = set()
    classes: list[str] = []
    for path, document in documents.items():
        kept, dummies = _classes(document, path)
        dropped |= dummies
        classes += [name for name in kept if name not in classes]
    samples: list[IncomingSample] = []
    crowds = 0
    for path, document in documents.items():
        names = {
            c["id"]: str(c["name"]) for c in document["categories"] if str(c["name"]) in classes
        }
        by_image = _annotations(document, names, path)
        crowds += sum(bool(a.get("iscrowd")) for a in document["annotations"])
        for entry in document["images"]:
            samples.append(
                _read_sample(root, path, entry, by_image.get(entry.get("id"), []), names)
            )
            tick()
    if not samples or not classes:
        raise DatasetError(f"{source} holds no images or no classes")
    notes = [f"category {name} is only a supercategory and is left out" for name in sorted(dropped)]
    if crowds:
        notes.append(f"{crowds} crowd annotations are kept as one label each (CVAT marks masks so)")
    good = sum(s.state == "good" for s in samples)
    if good:
        notes.append(f"{good} images without annotations are taken as good")
    return Incoming("coco", tuple(classes), tuple(samples), tuple(notes))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} is not JSON: {error}") from error
    for key in ("images", "annotations", "categories"):
        if not isinstance(document, dict) or not isinstance(document.get(key), list):
            raise DatasetError(f"{path} has no list `{key}`; export it again as COCO")
    return document


def _classes(document: dict[str, Any], path: Path) -> tuple[list[str], set[str]]:
    used = {a.get("category_id") for a in document["annotations"]}
    try:
        categories = sorted(document["categories"], key=lambda c: c["id"])
        names = [str(c["name"]) for c in categories]
        parents = {
            str(c.get("supercategory") or "")
            for c in categories
            if str(c.get("supercategory")) != c["name"]
        }
        dummies = {
            str(c["name"]) for c in categories if c["id"] not in used and str(c["name"]) in parents
        }
    except (KeyError, TypeError) as error:
        raise DatasetError(
            f"{path}: a category has no id or name; export it again as COCO"
        ) from error
    if len(set(names)) != len(names):
        raise DatasetError(f"{path}: two categories have one name: {names}; rename one")
    return [name for name in names if name not in dummies], dummies


def _annotations(
    document: dict[str, Any], names: dict[int, str], path: Path
) -> dict[Any, list[dict[str, Any]]]:
    images = {entry.get("id") for entry in document["images"]}
    names_seen = Counter(entry.get("file_name") for entry in document["images"])
    twice = [name for name, count in names_seen.items() if count > 1]
    if twice or len(images) != len(document["images"]):
        raise DatasetError(
            f"{path} lists {twice[0] if twice else 'an image id'} twice; two images may not share name or id"
        )
    found: dict[Any, list[dict[str, Any]]] = {}
    for annotation in document["annotations"]:
        where = f"{path}: annotation {annotation.get('id')}"
        if annotation.get("image_id") not in images:
            raise DatasetError(
                f"{where} belongs to image {annotation.get('image_id')}, which is not listed"
            )
        if annotation.get("category_id") not in names:
            raise DatasetError(
                f"{where} has category {annotation.get('category_id')}, known are {sorted(names)}"
            )
        found.setdefault(annotation["image_id"], []).append(annotation)
    return found


def _read_sample(
    root: Path,
    path: Path,
    entry: dict[str, Any],
    annotations: list[dict[str, Any]],
    names: dict[int, str],
) -> IncomingSample:
    image = _find_image(root, path, entry)
    size = image_size(image)
    where = f"{path}: image {entry.get('file_name')}"
    check_size((entry.get("width", size[0]), entry.get("height", size[1])), size, where)
    labels = [
        _read_label(a, names[a["category_id"]], size, f"{where}: annotation {a.get('id')}")
        for a in annotations
    ]
    name = image.relative_to(root).as_posix()
    origin = f"coco:{path.relative_to(root).as_posix()}"
    ours = entry.get("inspection")
    ours = ours if isinstance(ours, dict) else {}
    split = _split_of(root, path)
    if ours.get("state") == "unlabelled" and not labels:
        label = ours.get("label")
        sample = not_located(image, name, split, label and str(label), size, origin)
    else:
        sample = looked_at(image, name, split, labels, size, origin)
    return replace(sample, group=str(ours.get("group") or image.stem))


def _read_label(annotation: dict[str, Any], name: str, size: tuple[int, int], where: str) -> Label:
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, dict):
        rings = rings_of(decode_coco(segmentation, size, where))
        if not rings:
            raise DatasetError(f"{where}: the mask is empty; correct the label")
        return settle_shape(name, rings, size, where)
    if isinstance(segmentation, list) and segmentation:
        try:
            rings = [[float(v) for v in ring] for ring in segmentation]
        except (TypeError, ValueError) as error:
            raise DatasetError(
                f"{where} has a segmentation that is no list of polygons; export it again"
            ) from error
        box, shape = settle_shape(name, rings, size, where)
        if shape and has_holes(shape, size):  # COCO means the union of overlapping polygons
            together = np.zeros((size[1], size[0]), bool)
            for ring in shape:
                together |= mask_of([ring], size)
            return settle_shape(name, rings_of(together), size, where)
        return box, shape
    box = annotation.get("bbox")
    if (
        not isinstance(box, list)
        or len(box) != 4
        or not all(isinstance(v, int | float) for v in box)
    ):
        raise DatasetError(f"{where} has no bbox [x, y, width, height]")
    x, y, w, h = (float(v) for v in box)
    return settle_box((name, x, y, x + w, y + h), size, where), None


def _find_image(root: Path, path: Path, entry: dict[str, Any]) -> Path:
    where = f"{path}: image {entry.get('id')}"
    name = contained_path(str(entry.get("file_name", "")), where)
    split = path.stem.removeprefix("instances_")
    for folder in (
        path.parent.relative_to(root),
        *map(Path, (".", "images", split, f"images/{split}")),
    ):
        candidate = inside(root, (folder / name).as_posix(), where)
        if candidate.is_file():
            return candidate
    raise DatasetError(
        f"{where}: {name} is not beside {path.name}, nor in images/; put the images there"
    )


def _split_of(root: Path, path: Path) -> str | None:
    words = [*path.relative_to(root).parts[:-1], path.stem]
    for word in reversed(words):
        for key, split in _SPLIT_WORDS.items():
            if key in word.lower():
                return split
    return None
