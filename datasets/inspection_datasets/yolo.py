"""The YOLO layout: `data.yaml`, `images/`, `labels/` with lines in fractions of the image.

A line is a box, `class cx cy w h`, or a polygon, `class x1 y1 x2 y2 ...` with three points or more.
CVAT's "YOLO 1.1" is read too: `obj.data` instead of `data.yaml`, class names in a file of their own,
labels beside the images.

An empty label file means that somebody looked and the part is good. A missing label file means that
nobody looked: the sample is unlabelled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from inspection.errors import DatasetError
from inspection_datasets.incoming import (
    Incoming,
    IncomingSample,
    Label,
    check_one_label_file,
    image_size,
    images_under,
    inside,
    looked_at,
    settle_box,
)
from inspection_datasets.shapes import settle_shape

_FILES = ("data.yaml", "data.yml", "dataset.yaml", "obj.data")


def find_data_yaml(source: Path) -> Path | None:
    """Return the dataset's yaml file, or None when this is another layout."""
    if source.is_file():
        return source if source.suffix in {".yaml", ".yml", ".data"} else None
    return next((source / name for name in _FILES if (source / name).is_file()), None)


def read_yolo(source: Path, tick: Callable[[], None] = lambda: None) -> Incoming:
    """Read a YOLO folder or its yaml file. `tick` is called once an image.

    Raises:
        DatasetError: a file is missing, a path leaves the folder, or a line cannot be understood.
    """
    path = find_data_yaml(source)
    if path is None:
        raise DatasetError(f"{source} is not laid out for YOLO: there is no data.yaml")
    data = _read_darknet(path) if path.suffix == ".data" else _read_yaml(path)
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
    check_one_label_file(samples)
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


def _read_darknet(path: Path) -> dict[str, Any]:
    """Return `obj.data` (lines `key = value`) as the entries that a data.yaml has."""
    data: dict[str, Any] = {}
    for line in _lines(path):
        key, _, value = line.partition("=")
        key = "val" if key.strip() == "valid" else key.strip()
        data[key] = value.strip()
    name = _existing(path.parent, str(data.get("names", "")), f"{path}: names")
    data["names"] = [line.strip() for line in _lines(name) if line.strip()]
    return {key: data[key] for key in ("names", "train", "val", "test") if key in data}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read ({error}); export it again in UTF-8") from error


def _existing(root: Path, name: str, where: str) -> Path:
    """Return the path of an entry. Roboflow writes `../` and CVAT `data/` before names that lie in root."""
    for prefix in ("../", "data/"):
        short = name.removeprefix(prefix)
        if name.startswith(prefix) and short and not _existing_inside(root, name):
            found = inside(root, short, where)
            if found.exists():
                return found
    return inside(root, name, where)


def _existing_inside(root: Path, name: str) -> Path | None:
    """Return `root/name` where it exists inside root."""
    path = root / name
    return path if path.exists() and path.resolve().is_relative_to(root.resolve()) else None


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
        path = _existing(root, str(name), where)
        if path.is_dir():
            found += [p.relative_to(root).as_posix() for p in images_under(path)]
        elif path.suffix == ".txt" and path.is_file():
            names = [line.strip().removeprefix("./") for line in _lines(path) if line.strip()]
            found += [_existing(root, n, str(path)).relative_to(root).as_posix() for n in names]
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
    origin = f"yolo:{labels.relative_to(root).as_posix()}"
    sample = looked_at(path, image, split, _read_labels(labels, size, classes), size, origin)
    return replace(sample, group=name.stem)


def _label_name(image: PurePosixPath) -> PurePosixPath:
    parts = list(image.parts)
    for i in range(len(parts) - 2, -1, -1):
        if parts[i] == "images":
            parts[i] = "labels"
            break
    return PurePosixPath(*parts).with_suffix(".txt")


def _read_labels(path: Path, size: tuple[int, int], classes: tuple[str, ...]) -> list[Label]:
    return [
        _read_line(line, f"{path}:{number}", size, classes)
        for number, line in enumerate(_lines(path), start=1)
        if line.strip()
    ]


def _read_line(line: str, where: str, size: tuple[int, int], classes: tuple[str, ...]) -> Label:
    fields = line.split()
    try:
        index = int(fields[0])
        values = [float(v) for v in fields[1:]]
        if len(values) != 4 and (len(values) < 6 or len(values) % 2):
            raise ValueError(line)
    except ValueError as error:
        raise DatasetError(
            f"{where}: expected `class cx cy w h` or `class x1 y1 x2 y2 x3 y3 ...`, found {line!r}; "
            "correct the label"
        ) from error
    if not 0 <= index < len(classes):
        raise DatasetError(
            f"{where}: class {index} is not 0..{len(classes) - 1}; correct the label or data.yaml"
        )
    if max(map(abs, values)) > 1.5:
        raise DatasetError(
            f"{where}: {line!r} is in pixels; YOLO labels are fractions of the image"
        )
    width, height = size
    if len(values) > 4:
        ring = [v * (height if i % 2 else width) for i, v in enumerate(values)]
        return settle_shape(classes[index], [ring], size, where)
    cx, cy, w, h = values
    box = (
        classes[index],
        (cx - w / 2) * width,
        (cy - h / 2) * height,
        (cx + w / 2) * width,
        (cy + h / 2) * height,
    )
    return settle_box(box, size, where), None
