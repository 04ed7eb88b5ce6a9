"""A list of pictures: lines `IMAGE LABEL` or `IMAGE,LABEL`, with or without a line of column names.

The label is a class, a word for good (good, ok, 정상 ...), or the probability of a defect from 0 to 1:
0 is a good part, 1 is a defect, and in between nobody was sure, so the picture stays unlabelled. A list
has no places, so a defective picture is `unlabelled` with a `label`. Known columns: image (or file,
filename, path), label (or class, defect, probability), split, group (or serial, lot).
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from inspection.errors import DatasetError
from inspection_datasets.incoming import (
    IMAGE_SUFFIXES,
    Incoming,
    IncomingSample,
    image_size,
    inside,
    is_good,
    looked_at,
    not_located,
    split_of,
)

_COLUMNS = {
    "image": ("image", "file", "filename", "file_name", "path", "name"),
    "label": ("label", "class", "defect", "probability", "defect_probability", "category"),
    "split": ("split", "set", "subset"),
    "group": ("group", "serial", "lot"),
}
_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


@dataclass(frozen=True, slots=True)
class _Row:
    where: str
    image: str
    label: str
    split: str | None
    group: str


def find_list(source: Path) -> Path | None:
    """Return the list of a folder (the only .csv or .txt with pictures), or the file; None without one."""
    if source.is_file():
        return source if source.suffix in {".csv", ".txt", ".tsv"} and _is_list(source) else None
    files = [*source.glob("*.csv"), *source.glob("*.tsv"), *source.glob("*.txt")]
    found = [path for path in sorted(files) if _is_list(path)]
    return found[0] if len(found) == 1 else None


def _is_list(path: Path) -> bool:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        lines = [line for line in (file.readline() for _ in range(3)) if line.strip()]
    rows = [_fields(line) for line in lines]
    return any(
        len(row) > 1
        and any(
            PurePosixPath(v).suffix.lower() in IMAGE_SUFFIXES and (path.parent / v).is_file()
            for v in row
        )
        for row in rows
    )


def _fields(line: str) -> list[str]:
    for mark in (",", "\t", ";"):
        if mark in line:
            return [field.strip() for field in next(csv.reader([line], delimiter=mark))]
    return line.split()


def read_list(source: Path, tick: Callable[[], None] = lambda: None) -> Incoming:
    """Read a list. `tick` is called once an image.

    Raises:
        DatasetError: a line cannot be understood, an image is missing or listed twice.
    """
    path = find_list(source)
    if path is None:
        raise DatasetError(f"{source} holds no single .csv or .txt list of image and label")
    rows = _rows(path)
    classes: list[str] = []
    samples: list[IncomingSample] = []
    seen: dict[str, str] = {}
    for row in rows:
        name = row.image.replace("\\", "/").removeprefix("./")
        if name in seen:
            raise DatasetError(f"{row.where}: {name} is listed already in {seen[name]}; remove one")
        seen[name] = row.where
        samples.append(_read_sample(path.parent, name, row, classes))
        tick()
    unsure = sum(s.state == "unlabelled" and s.label is None for s in samples)
    notes = [
        "a list has no places: defective images are unlabelled with a class of the whole image"
    ]
    if unsure:
        notes.append(f"{unsure} images with a probability between 0 and 1 stay unlabelled")
    return Incoming("list", tuple(classes) or ("defect",), tuple(samples), tuple(notes))


def _rows(path: Path) -> list[_Row]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read ({error}); save it as UTF-8") from error
    table = [(number, _fields(line)) for number, line in enumerate(lines, 1) if line.strip()]
    columns = _columns(table[0][1]) if table else {}
    if columns:
        table = table[1:]
    else:
        columns = {"image": 0, "label": 1}
    rows: list[_Row] = []
    for number, fields in table:
        where = f"{path}:{number}"
        if len(fields) <= max(columns.values()) or not fields[columns["label"]]:
            raise DatasetError(
                f"{where}: expected image and label, found {fields}; correct the line"
            )
        word = fields[columns["split"]].casefold() if "split" in columns else ""
        if word and word not in _SPLITS:
            raise DatasetError(f"{where}: split {word!r} is none of {sorted(_SPLITS)}; correct it")
        group = fields[columns["group"]] if "group" in columns else ""
        image, label = fields[columns["image"]], fields[columns["label"]]
        rows.append(_Row(where, image, label, _SPLITS.get(word), group))
    if not rows:
        raise DatasetError(f"{path} lists no image")
    return rows


def _columns(fields: list[str]) -> dict[str, int]:
    """Return what each column is; empty where the first line is already an image."""
    words = [field.casefold() for field in fields]
    found: dict[str, int] = {}
    for column, names in _COLUMNS.items():
        at = next((words.index(name) for name in names if name in words), None)
        if at is not None:
            found[column] = at
    return found if {"image", "label"} <= set(found) else {}


def _read_sample(root: Path, name: str, row: _Row, classes: list[str]) -> IncomingSample:
    path = inside(root, name, row.where)
    size = image_size(path)
    split = row.split or split_of(PurePosixPath(name))
    label = _class(row)
    if label == "":
        sample = looked_at(path, name, split, (), size, f"list:{row.where.rsplit('/', 1)[-1]}")
    else:
        if label is not None and label not in classes:
            classes.append(label)
        origin = f"list:{row.where.rsplit('/', 1)[-1]}"
        sample = not_located(path, name, split, label, size, origin)
    return replace(sample, group=row.group) if row.group else sample


def _class(row: _Row) -> str | None:
    """Return the class of a row; empty for a good part, None where nobody was sure."""
    try:
        probability = float(row.label)
    except ValueError:
        return "" if is_good(row.label) else row.label
    if not 0 <= probability <= 1:
        raise DatasetError(
            f"{row.where}: the label {row.label} is a number and no probability from 0 to 1; "
            "write class names"
        )
    return {0.0: "", 1.0: "defect"}.get(probability)
