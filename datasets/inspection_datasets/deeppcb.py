"""The layout of DeepPCB: pairs of a tested board image and its defect-free template.

trainval.txt, test.txt     lines `GROUP/ID/NAME.jpg GROUP/ID_not/NAME.txt`
GROUP/ID/NAME_test.jpg     the tested image; the lists leave `_test` out
GROUP/ID/NAME_temp.jpg     its template, a good part of the same group
GROUP/ID_not/NAME.txt      lines `x1 y1 x2 y2 class`, pixels, class 1..6; commas are accepted
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from inspection.errors import DatasetError
from inspection_datasets.incoming import (
    Incoming,
    IncomingSample,
    image_size,
    inside,
    settle_box,
    state_of,
)
from inspection_datasets.manifest import Box

CLASSES = ("open", "short", "mousebite", "spur", "copper", "pin-hole")
_LISTS = {"trainval.txt": None, "test.txt": "test"}


def find_root(source: Path) -> Path | None:
    """Return the folder that holds the two lists, or None when this is another layout."""
    for root in (source, source / "PCBData"):
        if all((root / name).is_file() for name in _LISTS):
            return root
    return None


def read_deeppcb(source: Path, tick: Callable[[], None] = lambda: None) -> Incoming:
    """Read a DeepPCB folder. `tick` is called once a pair.

    Pairs of trainval.txt have no split yet; pairs of test.txt are test.

    Raises:
        DatasetError: a file is missing or a line cannot be understood; the message names it.
    """
    root = find_root(source)
    if root is None:
        raise DatasetError(
            f"{source} is not laid out as DeepPCB: trainval.txt and test.txt are not there"
        )
    samples: list[IncomingSample] = []
    for list_name, split in _LISTS.items():
        for number, line in enumerate(
            (root / list_name).read_text(encoding="utf-8").splitlines(), start=1
        ):
            if line.strip():
                samples += _read_pair(root, line, split, f"{root / list_name}:{number}")
                tick()
    return Incoming("deeppcb", CLASSES, tuple(samples), ("templates are taken as good parts",))


def _read_pair(root: Path, line: str, split: str | None, where: str) -> list[IncomingSample]:
    fields = line.split()
    if len(fields) != 2 or not fields[0].endswith(".jpg"):
        raise DatasetError(
            f"{where}: expected `IMAGE.jpg LABELS.txt`, found {line!r}; correct the list"
        )
    stem = fields[0].removesuffix(".jpg")
    tested_name, template_name = f"{stem}_test.jpg", f"{stem}_temp.jpg"
    tested, template = inside(root, tested_name, where), inside(root, template_name, where)
    labels = inside(root, fields[1], where)
    size = image_size(tested)
    boxes = _read_boxes(labels, size)
    group = Path(stem).name
    origin = f"deeppcb:{fields[1]}"
    return [
        IncomingSample(tested, tested_name, split, group, boxes, state_of(boxes), size, origin),
        IncomingSample(
            template,
            template_name,
            split,
            group,
            (),
            "good",
            image_size(template),
            "deeppcb:template",
        ),
    ]


def _read_boxes(path: Path, size: tuple[int, int]) -> tuple[Box, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read ({error}); the list names it") from error
    boxes: list[Box] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            x1, y1, x2, y2, index = (int(v) for v in line.replace(",", " ").split())
        except ValueError as error:
            raise DatasetError(
                f"{where}: expected `x1 y1 x2 y2 class`, found {line!r}; correct the label"
            ) from error
        if not 1 <= index <= len(CLASSES):
            raise DatasetError(
                f"{where}: class {index} is not 1..{len(CLASSES)}; correct the label"
            )
        boxes.append(settle_box((CLASSES[index - 1], x1, y1, x2, y2), size, where))
    return tuple(boxes)
