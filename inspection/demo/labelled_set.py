"""A labelled set of rendered parts: what the demo trains on.

    FOLDER/data.yaml                  names, and where the splits are (written last)
    FOLDER/parts.csv                  file, serial, lot, split, defects: one row for each part
    FOLDER/images/{train,val,test}/   JPEG, quality 95, no chroma subsampling
    FOLDER/labels/{train,val,test}/   YOLO: class, centre x, centre y, width, height, each 0..1

A label file without lines says that the part is good. Lots are never torn apart: of every six lots
one goes to val and one to test. The pictures differ from those of the simulated camera for every
seed, so a model is never judged on a part that it was trained on.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from inspection.cameras.plate import BASE_SIZE
from inspection.cameras.render import CLASSES, Rendered, choose_defects, render_part
from inspection.errors import DatasetError

SPLITS = ("train", "val", "test")
_STREAM = 1  # keeps the parts of this set apart from those of the simulated camera
_LOTS_PER_ROUND = 6
_LOT_SIZE = 20


def write_labelled_set(
    folder: Path,
    parts: int,
    seed: int,
    size: tuple[int, int] = BASE_SIZE,
    defect_rate: float = 0.5,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Render `parts` parts and write them with their labels; return the path of data.yaml.

    The same arguments give the same files on the same library versions.

    Args:
        folder: made if it is not there; must be empty.
        parts: how many, from 6.
        seed: from 0; another seed gives other parts.
        size: (width, height) of the pictures in pixels.
        defect_rate: share of parts with at least one defect, 0..1.
        progress: called with (done, parts) after each part.

    Raises:
        DatasetError: the folder holds something already, or cannot be written.
        ValueError: an argument is out of its bounds.
    """
    if parts < _LOTS_PER_ROUND:
        raise ValueError(f"parts is {parts}; a split by lot needs at least {_LOTS_PER_ROUND}")
    if not 0 <= defect_rate <= 1:
        raise ValueError(f"defect_rate is {defect_rate}; it is a share, 0..1")
    try:
        _start(folder)
        lots = _write_parts(folder, parts, seed, size, defect_rate)
        for done, _ in enumerate(lots, 1):
            if progress is not None:
                progress(done, parts)
        return _write_card(folder)
    except OSError as error:
        raise DatasetError(
            f"the labelled set could not be written to {folder} ({error});"
            " free space or choose another folder"
        ) from error


def _start(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise DatasetError(f"{folder} is not empty; remove it or choose another folder")
    for split in SPLITS:
        (folder / "images" / split).mkdir(parents=True)
        (folder / "labels" / split).mkdir(parents=True)


def _write_parts(
    folder: Path, parts: int, seed: int, size: tuple[int, int], defect_rate: float
) -> Iterator[str]:
    """Write picture, label and row of each part; yield each file name when it is written."""
    lot_size = min(_LOT_SIZE, parts // _LOTS_PER_ROUND)
    with (folder / "parts.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["file", "serial", "lot", "split", "defects"])
        for index in range(parts):
            lot = index // lot_size
            split = {4: "val", 5: "test"}.get(lot % _LOTS_PER_ROUND, "train")
            serial = f"P{seed:03d}-{index + 1:05d}"
            name = f"images/{split}/{serial}.jpg"
            rng = np.random.default_rng([_STREAM, seed, index])
            part = render_part(rng, size, choose_defects(rng, defect_rate))
            (folder / name).write_bytes(_jpeg(part))
            label = folder / "labels" / split / f"{serial}.txt"
            label.write_text(yolo_lines(part, size), encoding="ascii", newline="\n")
            defects = " ".join(box.name for box in part.boxes)
            table.writerow([name, serial, f"L{seed:03d}-{lot + 1:03d}", split, defects])
            yield name


def _write_card(folder: Path) -> Path:
    names = "".join(f"  {i}: {name}\n" for i, name in enumerate(CLASSES))
    splits = "".join(f"{split}: images/{split}\n" for split in SPLITS)
    card = folder / "data.yaml"
    card.write_text(f"{splits}names:\n{names}", encoding="ascii", newline="\n")
    return card


def yolo_lines(part: Rendered, size: tuple[int, int]) -> str:
    """Return the label file's text; empty for a good part."""
    width, height = size
    lines = [
        f"{CLASSES.index(box.name)} {(box.x1 + box.x2) / 2 / width:.6f}"
        f" {(box.y1 + box.y2) / 2 / height:.6f}"
        f" {(box.x2 - box.x1) / width:.6f} {(box.y2 - box.y1) / height:.6f}\n"
        for box in part.boxes
    ]
    return "".join(lines)


def _jpeg(part: Rendered) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, 95]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(part.image, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise DatasetError("OpenCV could not encode a JPEG; reinstall opencv-python")
    return data.tobytes()
