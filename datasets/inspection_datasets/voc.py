"""The Pascal VOC layout: Annotations/NAME.xml, JPEGImages/NAME.*, ImageSets/Main/{train,val,test}.txt.

The devkit counts pixels from 1 and names the first and the last pixel of a box, so a box reaches from
`xmin - 1` to `xmax`. Tools that count from 0 show themselves by a box that begins at 0; then no box of
the source is moved. An xml without objects means a good part, no xml that nobody looked. VOC has no
polygons in its xml; pictures of SegmentationClass are read by the layout `masks`.
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
    check_one_label_file,
    check_size,
    image_size,
    images_under,
    inside,
    looked_at,
    not_located,
    settle_box,
    split_of,
)
from inspection_datasets.xml_file import number, read_xml

_SIDES = ("xmin", "ymin", "xmax", "ymax")
_SETS = {"train": "train", "trainval": "train", "val": "val", "test": "test"}


def find_voc(source: Path) -> Path | None:
    """Return the folder of the annotation files, or None for another layout."""
    if not source.is_dir():
        return None
    folder = source / "Annotations"
    if not folder.is_dir():
        folder = source
    files = sorted(folder.rglob("*.xml"))
    if files:
        return folder if _head(files[0]) else None
    # annotations that are still to be made: every image is unlabelled
    return folder if folder != source and (source / "JPEGImages").is_dir() else None


def _head(path: Path) -> bool:
    with path.open("rb") as file:
        data = file.read(4096).replace(b"\0", b"")
    return b"<annotation>" in data or b"<annotation " in data


def read_voc(source: Path, tick: Callable[[], None] = lambda: None) -> Incoming:
    """Read a VOC folder. `tick` is called once an image.

    Raises:
        DatasetError: a file is missing or cannot be understood; the message names it.
    """
    base = find_voc(source)
    if base is None:
        raise DatasetError(f"{source} is not laid out for VOC: there is no Annotations/*.xml")
    roots = {path: read_xml(path) for path in sorted(base.rglob("*.xml"))}
    shift = _shift(roots)
    splits = _splits(source)
    classes: list[str] = []
    samples: list[IncomingSample] = []
    for path, root in roots.items():
        samples.append(_read_sample(source, base, path, root, shift, splits, classes))
        tick()
    seen = {sample.path for sample in samples}
    rest = [path for path in images_under(source) if path not in seen and not _is_mask(path)]
    for path in rest:
        name = path.relative_to(source).as_posix()
        split = splits.get(_key(source, path)) or split_of(PurePosixPath(name))
        samples.append(not_located(path, name, split, None, image_size(path), f"voc:{name}"))
        tick()
    check_one_label_file(samples)
    notes = ["some box begins at 0, so boxes are taken as counted from 0"] if shift == 0 else []
    if rest:
        notes.append(f"{len(rest)} images have no xml and stay unlabelled")
    return Incoming("voc", tuple(classes) or ("defect",), tuple(samples), tuple(notes))


def _is_mask(path: Path) -> bool:
    return path.parent.name in {"SegmentationClass", "SegmentationObject"}


def _shift(roots: dict[Path, Element]) -> int:
    """Return what xmin and ymin are moved by: 1 where they are counted from 1, as in the devkit."""
    for path, root in roots.items():
        for box in root.iter("bndbox"):
            if min(number(box, "xmin", str(path)), number(box, "ymin", str(path))) < 1:
                return 0
    return 1


def _splits(source: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, split in _SETS.items():
        path = source / "ImageSets" / "Main" / f"{name}.txt"
        if path.is_file():
            for line in path.read_text(encoding="utf-8-sig").splitlines():
                if line.strip():
                    found.setdefault(line.strip().strip('"'), split) if name == "trainval" else (
                        found.update({line.strip().strip('"'): split})
                    )
    return found


def _key(source: Path, image: Path) -> str:
    folder = source / "JPEGImages"
    base = folder if image.is_relative_to(folder) else source
    return image.relative_to(base).with_suffix("").as_posix()


def _read_sample(
    source: Path,
    base: Path,
    path: Path,
    root: Element,
    shift: int,
    splits: dict[str, str],
    classes: list[str],
) -> IncomingSample:
    image = _find_image(source, base, path, root)
    size = image_size(image)
    stated = root.find("size")
    if stated is not None:
        sides = number(stated, "width", str(path)), number(stated, "height", str(path))
        check_size((int(sides[0]), int(sides[1])), size, str(path))
    labels: list[Label] = []
    for index, entry in enumerate(root.findall("object"), start=1):
        where = f"{path}: object {index}"
        name = (entry.findtext("name") or "").strip()
        box = entry.find("bndbox")
        if not name or box is None:
            raise DatasetError(f"{where} has no name or no bndbox; correct the label")
        if name not in classes:
            classes.append(name)
        x1, y1, x2, y2 = (number(box, side, where) for side in _SIDES)
        labels.append((settle_box((name, x1 - shift, y1 - shift, x2, y2), size, where), None))
    name = image.relative_to(source).as_posix()
    split = splits.get(_key(source, image)) or split_of(PurePosixPath(name))
    return looked_at(image, name, split, labels, size, f"voc:{path.relative_to(source).as_posix()}")


def _find_image(source: Path, base: Path, path: Path, root: Element) -> Path:
    """Return the picture: of the xml's own name first, then of the name written in it."""
    name = (root.findtext("filename") or "").strip()
    stem = path.relative_to(base).with_suffix("")
    suffix = PurePosixPath(name.replace("\\", "/")).suffix
    wanted = [f"{stem.as_posix()}{suffix}"] if suffix else []
    if name:
        wanted.append((stem.parent / name).as_posix())
    for candidate in wanted:
        for folder in ("JPEGImages", "images", "."):
            found = inside(source, f"{folder}/{candidate}", str(path))
            if found.is_file():
                return found
    raise DatasetError(
        f"{path} names {name!r}, which is not in JPEGImages, images or beside it; put the image there"
    )
