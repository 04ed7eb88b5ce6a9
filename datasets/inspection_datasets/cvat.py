"""The layout "CVAT for images 1.1": `annotations.xml` and the pictures, in `images/` or beside it.

Boxes (turned ones become polygons), polygons, ellipses and masks are read; a tag is a class of the whole
picture. CVAT does not say whether somebody looked at an image without annotations; it is taken as good.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element

from inspection.errors import DatasetError
from inspection_datasets.incoming import (
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
from inspection_datasets.manifest import Shape
from inspection_datasets.rle import decode_rows
from inspection_datasets.shapes import ellipse_ring, moved, rings_of, settle_shape, turned_box
from inspection_datasets.xml_file import number, read_xml

_PASSED = {"tag", "attribute"}


def find_cvat(source: Path) -> Path | None:
    """Return CVAT's xml file, or None for another layout."""
    files = [source] if source.is_file() else sorted(source.glob("*.xml"))
    return next((path for path in files if path.suffix == ".xml" and _is_cvat(path)), None)


def _is_cvat(path: Path) -> bool:
    with path.open("rb") as file:
        data = file.read(4096).replace(b"\0", b"")
    return b"<annotations>" in data


def read_cvat(source: Path, tick: Callable[[], None] = lambda: None) -> Incoming:
    """Read CVAT's xml or the folder that holds it. `tick` is called once an image.

    Raises:
        DatasetError: a file is missing, a form cannot be read, sizes contradict each other.
    """
    path = find_cvat(source)
    if path is None:
        raise DatasetError(f"{source} holds no xml of CVAT for images 1.1 (`<annotations>`)")
    document = read_xml(path)
    if document.find("track") is not None:
        raise DatasetError(f"{path} is of CVAT for video; export it as CVAT for images 1.1")
    classes = [name.text or "" for name in document.iterfind("meta//labels/label/name")]
    classes = [name for name in dict.fromkeys(classes) if name and not is_good(name)]
    samples: list[IncomingSample] = []
    seen: set[str] = set()
    for entry in document.iterfind("image"):
        sample = _read_sample(path, entry, classes)
        if sample.name in seen:
            raise DatasetError(f"{path} lists {sample.name} twice; export one task at a time")
        seen.add(sample.name)
        samples.append(sample)
        tick()
    if not samples:
        raise DatasetError(f"{path} lists no image; export the task again")
    good = sum(s.state == "good" for s in samples)
    notes = (f"{good} images without annotations are taken as good",) if good else ()
    return Incoming("cvat", tuple(classes) or ("defect",), tuple(samples), notes)


def _read_sample(path: Path, entry: Element, classes: list[str]) -> IncomingSample:
    where = f"{path}: image {entry.get('name')}"
    image = _find_image(path, entry, where)
    size = image_size(image)
    sides = int(number(entry, "width", where)), int(number(entry, "height", where))
    check_size(sides, size, where)
    labels: list[Label] = []
    tags: list[str] = []
    for form in entry:
        name = (form.get("label") or "").strip()
        if not name:
            raise DatasetError(f"{where}: a {form.tag} has no label; correct it in CVAT")
        if not is_good(name) and name not in classes:
            classes.append(name)
        if form.tag == "tag":
            tags.append(name)
        else:
            labels.append(_read_form(form, name, size, where))
    name = image.relative_to(path.parent).as_posix()
    subset = (entry.get("subset") or "").casefold()
    split = split_of(PurePosixPath(subset, "x")) or split_of(PurePosixPath(name))
    origin = f"cvat:{path.name}"
    defects = [tag for tag in tags if not is_good(tag)]
    if not labels and defects:
        if len(defects) > 1:
            raise DatasetError(
                f"{where} has tags {defects}; one class of the whole image can be kept"
            )
        return not_located(image, name, split, defects[0], size, origin)
    return looked_at(image, name, split, labels, size, origin)


def _find_image(path: Path, entry: Element, where: str) -> Path:
    name = entry.get("name") or ""
    subset = entry.get("subset")
    folders = ["images", *([f"images/{subset}"] if subset else []), "."]
    inside(path.parent, name, where)  # the name alone must stay inside, whatever it is joined to
    for folder in folders:
        found = inside(path.parent, f"{folder}/{name}", where)
        if found.is_file():
            return found
    raise DatasetError(
        f"{where} is not in images/ nor beside {path.name}; export the task with images, or put them there"
    )


def _read_form(form: Element, name: str, size: tuple[int, int], where: str) -> Label:
    where = f"{where}: {form.tag} {name}"
    if form.tag == "box":
        x1, y1, x2, y2 = (number(form, key, where) for key in ("xtl", "ytl", "xbr", "ybr"))
        turn = float(form.get("rotation") or 0)
        if not turn:
            return settle_box((name, x1, y1, x2, y2), size, where), None
        ring = turned_box((x1, y1, x2, y2), turn, ((x1 + x2) / 2, (y1 + y2) / 2))
        return settle_shape(name, [ring], size, where)
    if form.tag == "polygon":
        return settle_shape(name, [_points(form, where)], size, where)
    if form.tag == "ellipse":
        cx, cy, rx, ry = (number(form, key, where) for key in ("cx", "cy", "rx", "ry"))
        ring = ellipse_ring(cx, cy, rx, ry, float(form.get("rotation") or 0))
        return settle_shape(name, [ring], size, where)
    if form.tag == "mask":
        return settle_shape(name, _mask(form, size, where), size, where)
    raise DatasetError(
        f"{where} cannot be read; boxes, polygons, ellipses, masks and tags can. Draw it as one of these"
    )


def _points(form: Element, where: str) -> list[float]:
    try:
        pairs = [pair.split(",") for pair in (form.get("points") or "").split(";")]
        return [float(v) for x, y in pairs for v in (x, y)]
    except ValueError as error:
        raise DatasetError(f"{where} has no points x,y;x,y; export it again") from error


def _mask(form: Element, size: tuple[int, int], where: str) -> Shape:
    left, top, width, height = (
        int(number(form, key, where)) for key in ("left", "top", "width", "height")
    )
    if (
        min(left, top) < 0
        or min(width, height) < 1
        or left + width > size[0]
        or top + height > size[1]
    ):
        raise DatasetError(f"{where} leaves the {size[0]}x{size[1]} image; export it again")
    try:
        counts = [int(v) for v in (form.get("rle") or "").split(",")]
    except ValueError as error:
        raise DatasetError(f"{where} has no counts in `rle`; export it again") from error
    rings = rings_of(decode_rows(counts, (width, height), where))
    if not rings:
        raise DatasetError(f"{where} is empty; remove it in CVAT")
    return moved(rings, left, top)
