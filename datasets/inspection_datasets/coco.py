"""COCO json: `images`, `annotations` with `bbox` [x, y, width, height] in pixels, `categories`.

The split is read from the file's name or folder (train, val or valid, test). A category that no
annotation uses and that is only the supercategory of others (some tools write one) is left out.
An image without annotations counts as good: COCO cannot say that nobody looked.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inspection.errors import DatasetError
from inspection_datasets.incoming import (
    Incoming,
    IncomingSample,
    image_size,
    inside,
    settle_box,
    state_of,
)
from inspection_datasets.manifest import Box, contained_path

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
        by_image, skipped = _annotations(document, names, path)
        crowds += skipped
        for entry in document["images"]:
            samples.append(
                _read_sample(root, path, entry, by_image.get(entry.get("id"), []), names)
            )
            tick()
    if not samples or not classes:
        raise DatasetError(f"{source} holds no images or no classes")
    notes = [f"category {name} is only a supercategory and is left out" for name in sorted(dropped)]
    if crowds:
        notes.append(f"{crowds} crowd annotations are left out; look at these images again")
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
) -> tuple[dict[Any, list[dict[str, Any]]], int]:
    images = {entry.get("id") for entry in document["images"]}
    found: dict[Any, list[dict[str, Any]]] = {}
    skipped = 0
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
        if annotation.get("iscrowd"):
            skipped += 1
            continue
        found.setdefault(annotation["image_id"], []).append(annotation)
    return found, skipped


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
    stated = (entry.get("width", size[0]), entry.get("height", size[1]))
    if stated != size:
        raise DatasetError(
            f"{where} is stated as {stated[0]}x{stated[1]} but is {size[0]}x{size[1]}; label it again"
        )
    boxes: list[Box] = []
    for annotation in annotations:
        box = annotation.get("bbox")
        if (
            not isinstance(box, list)
            or len(box) != 4
            or not all(isinstance(v, int | float) for v in box)
        ):
            raise DatasetError(
                f"{where}: annotation {annotation.get('id')} has no bbox [x, y, width, height]"
            )
        x, y, w, h = (float(v) for v in box)
        boxes.append(
            settle_box((names[annotation["category_id"]], x, y, x + w, y + h), size, where)
        )
    name = image.relative_to(root).as_posix()
    origin = f"coco:{path.relative_to(root).as_posix()}"
    return IncomingSample(
        image, name, _split_of(root, path), image.stem, tuple(boxes), state_of(boxes), size, origin
    )


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
