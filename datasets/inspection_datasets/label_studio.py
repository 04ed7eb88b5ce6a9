"""The JSON export of Label Studio: a list of tasks with `data`, `annotations` and places in percent.

Rectangles, polygons, ellipses and choices are read; brush masks are refused, export them as COCO. A task
without annotations means that nobody looked, one with an empty result that the part is good.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from inspection.errors import DatasetError
from inspection_datasets.incoming import (
    IMAGE_SUFFIXES,
    Incoming,
    IncomingSample,
    Label,
    check_size,
    image_size,
    inside,
    is_good,
    looked_at,
    not_located,
    settle_box,
    split_of,
)
from inspection_datasets.shapes import ellipse_ring, settle_shape, turned_box

_UPLOAD = re.compile(r"^[0-9a-f]{8}-")


def find_label_studio(source: Path) -> Path | None:
    """Return the export's file, or None for another layout."""
    files = [source] if source.is_file() else sorted(source.glob("*.json"))
    return next((path for path in files if path.suffix == ".json" and _is_export(path)), None)


def _is_export(path: Path) -> bool:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        head = file.read(1 << 20)
    return head.lstrip().startswith("[") and '"annotations"' in head and '"data"' in head


def read_label_studio(source: Path, tick: Callable[[], None] = lambda: None) -> Incoming:
    """Read an export or the folder that holds it. `tick` is called once an image.

    Raises:
        DatasetError: a file is missing, a label cannot be read, sizes contradict each other.
    """
    path = find_label_studio(source)
    if path is None:
        raise DatasetError(f"{source} holds no JSON export of Label Studio (a list of tasks)")
    try:
        tasks = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path} cannot be read ({error}); export it again") from error
    classes: list[str] = []
    samples: list[IncomingSample] = []
    notes: list[str] = []
    seen: dict[str, str] = {}
    for task in tasks:
        where = f"{path}: task {task.get('id') if isinstance(task, dict) else task!r}"
        if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
            raise DatasetError(f"{where} has no data; export as JSON, not as JSON-MIN")
        sample = _read_sample(path, task, where, classes, notes)
        if sample.name in seen:
            raise DatasetError(
                f"{where} and {seen[sample.name]} have one image; remove one of them"
            )
        seen[sample.name] = where
        samples.append(sample)
        tick()
    if not samples:
        raise DatasetError(f"{path} lists no task; export it again")
    rest = sum(s.state == "unlabelled" and s.label is None for s in samples)
    if rest:
        notes.append(f"{rest} tasks have no annotation and stay unlabelled")
    return Incoming("label-studio", tuple(classes) or ("defect",), tuple(samples), tuple(notes))


def _read_sample(
    path: Path, task: dict[str, Any], where: str, classes: list[str], notes: list[str]
) -> IncomingSample:
    image = _find_image(path, task, where)
    size = image_size(image)
    name = image.relative_to(path.parent).as_posix()
    split, origin = split_of(PurePosixPath(name)), f"label-studio:{path.name}"
    done = [
        a
        for a in task.get("annotations") or []
        if isinstance(a, dict) and not a.get("was_cancelled")
    ]
    if not done:
        return not_located(image, name, split, None, size, origin)
    if len(done) > 1:
        notes.append(f"{name} has {len(done)} annotations; the last one is taken")
    labels: list[Label] = []
    choices: list[str] = []
    for item in done[-1].get("result") or []:
        found = _read_item(item, size, where)
        for label in [found] if isinstance(found, str) else [found[0][0]]:
            if label not in classes and not (isinstance(found, str) and is_good(label)):
                classes.append(label)
        choices.append(found) if isinstance(found, str) else labels.append(found)
    defects = [choice for choice in choices if not is_good(choice)]
    if not labels and defects:
        if len(defects) > 1:
            raise DatasetError(
                f"{where} has choices {defects}; one class of the whole image can be kept"
            )
        return not_located(image, name, split, defects[0], size, origin)
    return looked_at(image, name, split, labels, size, origin)


def _find_image(path: Path, task: dict[str, Any], where: str) -> Path:
    texts = [str(task["data"][key]) for key in ("image", "img") if key in task["data"]]
    texts += [str(v) for v in task["data"].values() if isinstance(v, str)]
    text = next((t for t in texts if _path(t).suffix.lower() in IMAGE_SUFFIXES), "")
    wanted = _path(text)
    if not text:
        raise DatasetError(f"{where} names no image in data; export it again")
    names = [wanted.as_posix().lstrip("/"), wanted.name, _UPLOAD.sub("", wanted.name)]
    for name in names:
        for folder in (".", "images"):
            found = inside(path.parent, f"{folder}/{name}", where)
            if found.is_file():
                return found
    raise DatasetError(
        f"{where} names {wanted.name}, which is not beside {path.name} nor in images/; put the image there"
    )


def _path(text: str) -> PurePosixPath:
    """Return the path in an address of Label Studio; local files stand behind `?d=`."""
    parts = urlsplit(text)
    local = parse_qs(parts.query).get("d")
    return PurePosixPath(local[0] if local else unquote(parts.path))


def _read_item(item: Any, size: tuple[int, int], where: str) -> Label | str:
    """Return a label, or the choice for the whole picture."""
    kind = item.get("type") if isinstance(item, dict) else None
    value = item.get("value") if isinstance(item, dict) else None
    if not isinstance(kind, str) or not isinstance(value, dict):
        raise DatasetError(f"{where} has a result without type and value; export it again")
    names = value.get(kind)
    if not isinstance(names, list) or len(names) != 1:
        raise DatasetError(f"{where}: a {kind} has the labels {names}; give it exactly one")
    name = str(names[0])
    if kind == "choices":
        return name
    if item.get("image_rotation"):
        raise DatasetError(f"{where}: the image was turned in Label Studio; save the image turned")
    stated = item.get("original_width", size[0]), item.get("original_height", size[1])
    check_size(stated, size, where)
    try:
        return _place(kind, name, value, size, f"{where}: {name}")
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{where}: a {kind} has no proper place ({error!r}); export it again"
        ) from error


def _place(kind: str, name: str, value: dict[str, Any], size: tuple[int, int], where: str) -> Label:
    across, down = size[0] / 100, size[1] / 100
    turn = float(value.get("rotation") or 0)
    if kind == "rectanglelabels":
        x, y = float(value["x"]) * across, float(value["y"]) * down
        box = x, y, x + float(value["width"]) * across, y + float(value["height"]) * down
        if not turn:
            return settle_box((name, *box), size, where), None
        return settle_shape(name, [turned_box(box, turn, (x, y))], size, where)
    if kind == "polygonlabels":
        ring = [v for x, y in value["points"] for v in (float(x) * across, float(y) * down)]
        return settle_shape(name, [ring], size, where)
    if kind == "ellipselabels":
        ring = ellipse_ring(
            float(value["x"]) * across,
            float(value["y"]) * down,
            float(value["radiusX"]) * across,
            float(value["radiusY"]) * down,
            turn,
        )
        return settle_shape(name, [ring], size, where)
    raise DatasetError(
        f"{where}: a {kind} cannot be read; rectangles, polygons and ellipses can. Export brush masks as COCO"
    )
