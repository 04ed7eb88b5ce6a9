"""Export a dataset version to YOLO, COCO or Pascal VOC, so that the import of it gives the version back.

    TARGET/images (JPEGImages)/SPLIT/...   copies of the pictures
    yolo: data.yaml, labels/SPLIT/*.txt    coco: annotations/instances_SPLIT.json
    voc: Annotations/SPLIT/*.xml, ImageSets/Main/SPLIT.txt

What a layout has no word for is said, never dropped in silence: YOLO and VOC have no groups and no class
of the whole picture; VOC has no outlines; YOLO joins the rings of one label by bridges without width.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

import yaml

from inspection.errors import DatasetError
from inspection_datasets.incoming import inside
from inspection_datasets.layouts import EXPORTS
from inspection_datasets.manifest import SPLITS, Box, DatasetVersion, Sample, Shape, sha256_of
from inspection_datasets.rle import encode_coco
from inspection_datasets.shapes import box_ring, has_holes, mask_of, one_ring

_PAIR = list[tuple[Box, Shape | None]]


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote.

    Attributes:
        folder: the new folder.
        layout: yolo, coco or voc.
        images: pictures written.
        losses: sentences on what the layout cannot carry; empty when everything came along.
    """

    folder: Path
    layout: str
    images: int
    losses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Placed:
    sample: Sample
    name: PurePosixPath
    """SPLIT/..., the picture's place below the folder of images."""


def export_dataset(
    version: DatasetVersion,
    layout: str,
    target: Path,
    progress: Callable[[int], None] = lambda _count: None,
) -> Exported:
    """Write a version in a layout that other tools read. The folder appears whole or not at all.

    Args:
        version: the version.
        layout: one of `layouts.EXPORTS`.
        target: a folder that does not exist yet.
        progress: called with the number of pictures written.

    Raises:
        DatasetError: an unknown layout, the target exists, or a picture is missing or was altered.
    """
    if layout not in EXPORTS:
        raise DatasetError(f"there is no export to {layout!r}; known are {', '.join(EXPORTS)}")
    if target.exists():
        raise DatasetError(f"{target} exists already; name a new folder")
    images = "JPEGImages" if layout == "voc" else "images"
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        placed = _place(version.samples)
        for count, item in enumerate(placed, start=1):
            _copy(version, item.sample, temporary / images / item.name)
            progress(count)
        _WRITERS[layout](version, placed, temporary)
        temporary.rename(target)
    except OSError as error:
        raise DatasetError(f"{target} cannot be written: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Exported(target, layout, len(placed), _losses(version, layout))


def _place(samples: Sequence[Sample]) -> list[_Placed]:
    """Give every picture a place whose name without the suffix is its own: label files are named after it."""
    taken: set[str] = set()
    placed: list[_Placed] = []
    for sample in samples:
        parts = PurePosixPath(sample.image).parts
        parts = parts[1:] if len(parts) > 1 and parts[0] == "images" else parts
        parts = parts[1:] if len(parts) > 1 and parts[0] == sample.split else parts
        name = PurePosixPath(sample.split, *parts)
        if name.with_suffix("").as_posix().casefold() in taken:
            name = name.with_name(f"{name.stem}-{sample.sha256[:8]}-{len(placed)}{name.suffix}")
        taken.add(name.with_suffix("").as_posix().casefold())
        placed.append(_Placed(sample, name))
    return placed


def _copy(version: DatasetVersion, sample: Sample, target: Path) -> None:
    source = inside(version.folder, sample.image, version.version)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError as error:
        raise DatasetError(f"{source} is missing; restore it") from error
    if sha256_of(target) != sample.sha256:
        raise DatasetError(f"{source} was altered after {version.version} was written; restore it")


def _pairs(sample: Sample) -> _PAIR:
    shapes = sample.shapes or [None] * len(sample.boxes)
    return list(zip(sample.boxes, shapes, strict=True))


def _used(placed: Sequence[_Placed]) -> list[str]:
    return [split for split in SPLITS if any(p.sample.split == split for p in placed)]


def _write_yolo(version: DatasetVersion, placed: Sequence[_Placed], folder: Path) -> None:
    index = {name: i for i, name in enumerate(version.classes)}
    for item in placed:
        if item.sample.state == "unlabelled":
            continue
        path = (folder / "labels" / item.name).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [_yolo_line(item.sample, index, pair) for pair in _pairs(item.sample)]
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    data = {split: f"images/{split}" for split in _used(placed)}
    names = dict(enumerate(version.classes))
    # No `path`: readers then take the folder of this file; "." would be the folder they were started in.
    text = yaml.safe_dump({**data, "names": names}, allow_unicode=True, sort_keys=False)
    (folder / "data.yaml").write_text(text, encoding="utf-8")


def _yolo_line(sample: Sample, index: dict[str, int], label: tuple[Box, Shape | None]) -> str:
    """Return one line. Beside outlines a box is written as four corners: readers take a file as one kind."""
    (name, *sides), shape = label
    x1, y1, x2, y2 = sides
    if shape is None and not any(sample.shapes):
        values = [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]
    else:
        values = one_ring(shape) if shape else box_ring((x1, y1, x2, y2))
    scale = (sample.width, sample.height)
    return " ".join([str(index[name]), *(f"{v / scale[i % 2]:.9f}" for i, v in enumerate(values))])


def write_coco(version: DatasetVersion, folder: Path) -> None:
    """Write `annotations/instances_SPLIT.json` of pictures that lie under `folder/images` already."""
    _write_coco(version, _place(version.samples), folder)


def _write_coco(version: DatasetVersion, placed: Sequence[_Placed], folder: Path) -> None:
    (folder / "annotations").mkdir(parents=True)
    number = {name: i for i, name in enumerate(version.classes, start=1)}
    for split in _used(placed):
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for item in (p for p in placed if p.sample.split == split):
            sample = item.sample
            ours = {"state": sample.state, "group": sample.group}
            if sample.label is not None:
                ours["label"] = sample.label
            images.append(
                {
                    "id": len(images) + 1,
                    "file_name": item.name.relative_to(split).as_posix(),
                    "width": sample.width,
                    "height": sample.height,
                    "inspection": ours,
                }
            )
            for pair in _pairs(sample):
                found = _coco_label(sample, number, pair)
                annotations.append({"id": len(annotations) + 1, "image_id": len(images), **found})
        document = {
            "info": {"description": f"{version.name} {version.version}", "sha256": version.sha256},
            "images": images,
            "annotations": annotations,
            "categories": [{"id": i, "name": n, "supercategory": ""} for n, i in number.items()],
        }
        path = folder / "annotations" / f"instances_{split}.json"
        path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")


def _coco_label(
    sample: Sample, number: dict[str, int], label: tuple[Box, Shape | None]
) -> dict[str, Any]:
    """Return category, box and outline. COCO's polygons have no holes, so an outline with holes is a mask."""
    (name, x1, y1, x2, y2), shape = label
    size = sample.width, sample.height
    found: dict[str, Any] = {
        "category_id": number[name],
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1),
        "iscrowd": 0,
        "segmentation": [],
    }
    if shape:
        mask = mask_of(shape, size)
        found["area"] = int(mask.sum())
        found["segmentation"] = encode_coco(mask) if has_holes(shape, size) else shape
    return found


def _write_voc(version: DatasetVersion, placed: Sequence[_Placed], folder: Path) -> None:
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    (folder / "Annotations").mkdir()
    for split in _used(placed):
        names = [p.name.with_suffix("").as_posix() for p in placed if p.sample.split == split]
        path = folder / "ImageSets" / "Main" / f"{split}.txt"
        path.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    for item in placed:
        if item.sample.state != "unlabelled":
            path = (folder / "Annotations" / item.name).with_suffix(".xml")
            path.parent.mkdir(parents=True, exist_ok=True)
            _voc_xml(version, item).write(path, encoding="utf-8", xml_declaration=True)


def _voc_xml(version: DatasetVersion, item: _Placed) -> ElementTree.ElementTree[Any]:
    root = ElementTree.Element("annotation")

    def add(parent: ElementTree.Element, tag: str, value: object) -> None:
        ElementTree.SubElement(parent, tag).text = str(value)

    add(root, "folder", "JPEGImages")
    add(root, "filename", item.name.name)
    source = ElementTree.SubElement(root, "source")
    add(source, "database", f"{version.name} {version.version}")
    size = ElementTree.SubElement(root, "size")
    for tag, value in (("width", item.sample.width), ("height", item.sample.height), ("depth", 3)):
        add(size, tag, value)
    add(root, "segmented", 0)
    for name, x1, y1, x2, y2 in item.sample.boxes:
        if not name.isprintable() or name != name.strip():
            raise DatasetError(f"class {name!r} cannot be written to xml; rename the class")
        entry = ElementTree.SubElement(root, "object")
        for tag, value in (("name", name), ("pose", "Unspecified"), ("truncated", 0)):
            add(entry, tag, value)
        add(entry, "difficult", 0)
        box = ElementTree.SubElement(entry, "bndbox")
        sides = (("xmin", x1 + 1), ("ymin", y1 + 1), ("xmax", x2), ("ymax", y2))  # counted from 1
        for tag, value in sides:
            add(box, tag, f"{value:.3f}".rstrip("0").rstrip("."))
    return ElementTree.ElementTree(root)


_WRITERS = {"yolo": _write_yolo, "coco": _write_coco, "voc": _write_voc}


def _losses(version: DatasetVersion, layout: str) -> tuple[str, ...]:
    """Return what the layout cannot carry of this version, in sentences."""
    samples = version.samples
    shapes = [(s, shape) for s in samples for shape in s.shapes if shape]
    found: list[tuple[int, str]] = []
    if layout != "coco":
        grouped = len({s.group for s in samples})
        found += [
            (
                len(samples) - grouped,
                f"groups are not written ({grouped} groups); give --group at import",
            ),
            (sum(s.label is not None for s in samples), "classes of whole images are not written"),
        ]
    if layout == "voc":
        found += [(len(shapes), f"{len(shapes)} outlines are written as their boxes only")]
        unused = set(version.classes) - {box[0] for s in samples for box in s.boxes}
        found += [(len(unused), f"classes without a box are not written: {sorted(unused)}")]
    if layout == "yolo":
        joined = sum(len(shape) > 1 for _, shape in shapes)
        found += [
            (joined, f"{joined} outlines of several rings are joined; their area is the same")
        ]
    if layout == "coco":
        drawn = sum(
            has_holes(shape, (s.width, s.height)) and not _whole(shape) for s, shape in shapes
        )
        found += [(drawn, f"{drawn} outlines with holes are written as masks, exact to the pixel")]
    return tuple(text for count, text in found if count)


def _whole(shape: Shape) -> bool:
    return all(v == int(v) for ring in shape for v in ring)
