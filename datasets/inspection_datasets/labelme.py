"""The layout of LabelMe: one json for each picture, with `shapes`, `imagePath`, `imageWidth`, `imageHeight`.

Rectangles, polygons, circles and masks are read. Shapes with one `group_id` and one label are pieces of
one defect. A json without shapes means a good part, no json that nobody looked.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import posixpath
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np

from inspection.errors import DatasetError
from inspection_datasets.incoming import (
    Incoming,
    IncomingSample,
    Label,
    check_size,
    image_size,
    images_under,
    inside,
    looked_at,
    not_located,
    split_of,
)
from inspection_datasets.manifest import Shape
from inspection_datasets.shapes import box_ring, ellipse_ring, moved, rings_of, settle_shape


def find_labelme(source: Path) -> list[Path]:
    """Return the label files of a LabelMe folder; empty for another layout."""
    files = [source] if source.is_file() else sorted(source.rglob("*.json"))
    return [path for path in files if path.suffix == ".json" and _is_labelme(path)]


def _is_labelme(path: Path) -> bool:
    data = path.read_bytes()
    return b'"shapes"' in data and b'"imagePath"' in data


def read_labelme(source: Path, tick: Callable[[], None] = lambda: None) -> Incoming:
    """Read a LabelMe folder or one of its files. `tick` is called once an image.

    Raises:
        DatasetError: a file is missing or cannot be understood; the message names it.
    """
    files = find_labelme(source)
    if not files:
        raise DatasetError(f"{source} holds no LabelMe json with `shapes` and `imagePath`")
    root = source if source.is_dir() else source.parent
    classes: list[str] = []
    samples: list[IncomingSample] = []
    owner: dict[Path, Path] = {}
    for path in files:
        sample = _read_sample(root, path, classes)
        if sample.path in owner:
            raise DatasetError(
                f"{path} and {owner[sample.path]} label one image; remove one of them"
            )
        owner[sample.path] = path
        samples.append(sample)
        tick()
    rest = [path for path in images_under(root) if path not in owner] if source.is_dir() else []
    for path in rest:
        name = path.relative_to(root).as_posix()
        split = split_of(PurePosixPath(name))
        samples.append(not_located(path, name, split, None, image_size(path), f"labelme:{name}"))
        tick()
    notes = (f"{len(rest)} images have no json and stay unlabelled",) if rest else ()
    return Incoming("labelme", tuple(classes) or ("defect",), tuple(samples), notes)


def _read_sample(root: Path, path: Path, classes: list[str]) -> IncomingSample:
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
        written, shapes = str(document["imagePath"]), list(document["shapes"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{path} is no LabelMe json ({error!r}); save it again") from error
    folder = path.parent.relative_to(root).as_posix()
    name = written.replace("\\", "/")
    if not name.startswith("/"):
        name = posixpath.normpath(posixpath.join(folder, name))
    image = inside(root, name, str(path))
    if not image.is_file():
        raise DatasetError(f"{path} names {written!r}, which is not there; put the image there")
    size = image_size(image)
    check_size(
        (document.get("imageWidth") or size[0], document.get("imageHeight") or size[1]),
        size,
        str(path),
    )
    origin = f"labelme:{path.relative_to(root).as_posix()}"
    labels = _labels(shapes, size, path, classes)
    return looked_at(image, name, split_of(PurePosixPath(name)), labels, size, origin)


def _labels(
    shapes: list[Any], size: tuple[int, int], path: Path, classes: list[str]
) -> list[Label]:
    pieces: dict[tuple[str, object], Shape] = {}
    circles: set[tuple[str, object]] = set()
    for index, shape in enumerate(shapes, start=1):
        where = f"{path}: shape {index}"
        name = str(shape.get("label") or "").strip() if isinstance(shape, dict) else ""
        if not name:
            raise DatasetError(f"{where} has no label; correct it")
        if name not in classes:
            classes.append(name)
        group = shape.get("group_id")
        key = (name, ("alone", index) if group is None else group)
        pieces.setdefault(key, []).extend(_rings(shape, where))
        if shape.get("shape_type") == "circle":
            circles.add(key)
    labels: list[Label] = []
    for (name, group), rings in pieces.items():
        where = f"{path}: {name}" + (
            f" {group[1]}" if isinstance(group, tuple) else f" group {group}"
        )
        if (name, group) in circles:  # a circle may leave the image
            cut = [np.clip(np.reshape(r, (-1, 2)), 0, size).ravel().tolist() for r in rings]
            labels.append(settle_shape(name, cut, size, where))
        else:
            labels.append(settle_shape(name, rings, size, where))
    return labels


def _rings(shape: dict[str, Any], where: str) -> Shape:
    kind = shape.get("shape_type", "polygon")
    try:
        points = [(float(x), float(y)) for x, y in shape["points"]]
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{where} has no points [[x, y], ...]; correct the label") from error
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    if kind == "polygon" and len(points) >= 3:
        return [[v for p in points for v in p]]
    if kind == "rectangle" and len(points) in {2, 4}:
        return [box_ring((min(xs), min(ys), max(xs), max(ys)))]
    if kind == "circle" and len(points) == 2:
        radius = math.dist(*points)
        return [ellipse_ring(*points[0], radius, radius)]
    if kind == "mask" and len(points) == 2:
        return _mask_rings(shape, points[0], where)
    raise DatasetError(
        f"{where} is a {kind} of {len(points)} points; rectangles, polygons, circles and masks can be "
        "read. Draw it again as one of these"
    )


def _mask_rings(shape: dict[str, Any], corner: tuple[float, float], where: str) -> Shape:
    try:
        data = np.frombuffer(base64.b64decode(str(shape.get("mask") or "")), np.uint8)
    except binascii.Error as error:
        raise DatasetError(f"{where} has a mask that is not base64; save it again") from error
    mask = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if data.size else None
    if mask is None or not mask.any():
        raise DatasetError(f"{where} has a mask that is empty or no picture; draw it again")
    return moved(rings_of(mask > 0), round(corner[0]), round(corner[1]))
