"""The YOLO layout: `data.yaml`, `images/`, `labels/` with lines `class cx cy w h` in fractions of the image.

An empty label file means that somebody looked and the part is good. A missing label file means that
nobody looked: the sample is unlabelled.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from inspection.errors import DatasetError
from inspection_datasets.incoming import (
    IMAGE_SUFFIXES,
    Incoming,
    IncomingSample,
    image_size,
    inside,
    settle_box,
    state_of,
)
from inspection_datasets.manifest import Box

_FILES = ("data.yaml", "data.yml", "dataset.yaml")


def find_data_yaml(source: Path) -> Path | None:
    """Return the dataset's yaml file, or None when this is another layout."""
    if source.is_file():
        return source if source.suffix in {".yaml", ".yml"} else None
    return next((source / name for name in _FILES if (source / name).is_file()), None)


def read_yolo(source: Path, tick: Callable[[], None] = lambda: None) -> Incoming:
    """Read a YOLO folder or its yaml file. `tick` is called once an image.

    Raises:
        DatasetError: a file is missing, a path leaves the folder, or a line cannot be understood.
    """
    path = find_data_yaml(source)
    if path is None:
        raise DatasetError(f"{source} is not laid out for YOLO: there is no data.yaml")
    data = _read_yaml(path)
    classes = _class_names(data.get("names"), path)
    root = path.parent
    if data.get("path") not in (None, "", "."):
        root = inside(root, str(data["path"]), str(path))
    samples: list[IncomingSample] = []
    for split in ("train", "val", "test"):
        for image in _images(root, data.get(split), f"{path}: {split}"):
            samples.append(_read_sample(root, image, split, classes))
            tick()
    if not samples:
        raise DatasetError(f"{path} names no image under train, val or test; fill in these paths")
    unlabelled = sum(s.state == "unlabelled" for s in samples)
    notes = (f"{unlabelled} images have no label file and stay unlabelled",) if unlabelled else ()
    return Incoming("yolo", classes, tuple(samples), notes)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise DatasetError(
            f"{path} must hold `names:` and `train:`; it holds {type(data).__name__}"
        )
    return data


def _class_names(names: Any, path: Path) -> tuple[str, ...]:
    if isinstance(names, dict) and sorted(names) == list(range(len(names))):
        names = [names[i] for i in range(len(names))]
    if not isinstance(names, list) or not names or len(set(map(str, names))) != len(names):
        raise DatasetError(
            f"{path}: `names` must list each class once, numbered from 0; found {names!r}"
        )
    return tuple(str(name) for name in names)


def _images(root: Path, entry: Any, where: str) -> list[str]:
    """Return image paths relative to root for one split entry: a folder, a list file, or a list of these."""
    found: list[str] = []
    for name in entry if isinstance(entry, list) else [entry] if entry else []:
        path = inside(root, str(name), where)
        if path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
            found += [p.relative_to(root).as_posix() for p in files]
        elif path.suffix == ".txt" and path.is_file():
            lines = path.read_text(encoding="utf-8-sig").splitlines()
            found += [line.strip().removeprefix("./") for line in lines if line.strip()]
        else:
            raise DatasetError(
                f"{where} names {path}, which is no folder and no list of images; correct data.yaml"
            )
    return found


def _read_sample(root: Path, image: str, split: str, classes: tuple[str, ...]) -> IncomingSample:
    path = inside(root, image, f"{root} ({split})")
    size = image_size(path)
    name = PurePosixPath(image)
    labels = root / _label_name(name)
    if not labels.is_file():
        return IncomingSample(
            path, image, split, name.stem, (), "unlabelled", size, f"yolo:{image}"
        )
    boxes = _read_boxes(labels, size, classes)
    origin = f"yolo:{labels.relative_to(root).as_posix()}"
    return IncomingSample(path, image, split, name.stem, boxes, state_of(boxes), size, origin)


def _label_name(image: PurePosixPath) -> PurePosixPath:
    parts = list(image.parts)
    for i in range(len(parts) - 2, -1, -1):
        if parts[i] == "images":
            parts[i] = "labels"
            break
    return PurePosixPath(*parts).with_suffix(".txt")


def _read_boxes(path: Path, size: tuple[int, int], classes: tuple[str, ...]) -> tuple[Box, ...]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read ({error})") from error
    boxes: list[Box] = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            boxes.append(_read_line(line, f"{path}:{number}", size, classes))
    return tuple(boxes)


def _read_line(line: str, where: str, size: tuple[int, int], classes: tuple[str, ...]) -> Box:
    fields = line.split()
    if len(fields) > 6 and len(fields) % 2:
        raise DatasetError(
            f"{where}: this is a polygon; this importer reads boxes only. Convert the polygons to boxes"
        )
    try:
        index = int(fields[0])
        cx, cy, w, h = (float(v) for v in fields[1:])
    except ValueError as error:
        raise DatasetError(
            f"{where}: expected `class cx cy w h`, found {line!r}; correct the label"
        ) from error
    if not 0 <= index < len(classes):
        raise DatasetError(
            f"{where}: class {index} is not 0..{len(classes) - 1}; correct the label or data.yaml"
        )
    if max(abs(cx), abs(cy), abs(w), abs(h)) > 1.5:
        raise DatasetError(
            f"{where}: {line!r} is in pixels; YOLO labels are fractions of the image"
        )
    width, height = size
    box = (
        classes[index],
        (cx - w / 2) * width,
        (cy - h / 2) * height,
        (cx + w / 2) * width,
        (cy + h / 2) * height,
    )
    return settle_box(box, size, where)
