"""Turn the screws photos into a YOLO folder that `inspection dataset import` reads.

    python examples/screws.py SCREWS OUT
    inspection dataset import OUT --to datasets/cards/screws --val 0.2

The photos show four positions of a wooden block; the file name `34_1001.jpg` says image 34, and for
each position, left to right and top to bottom, whether a screw is there (1) or a hole (0). Their
README gives one set of boxes for all photos and a size of 700x789; the photos are 600x789 and the
boxes fit these. Half of the photos (even image numbers) are kept for the test.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from pathlib import Path

from inspection.errors import DatasetError
from inspection_datasets.incoming import image_size

CLASSES = ("hole", "screw")
BOXES = ((5, 69, 261, 326), (305, 69, 561, 326), (5, 429, 261, 686), (325, 429, 581, 686))
SIZE = (600, 789)
NAME = re.compile(r"^(\d+)_([01]{4})\.jpg$")


def write_yolo(source: Path, folder: Path) -> int:
    """Write `folder` (data.yaml, images/, labels/) from the photos in `source`; return how many.

    Raises:
        DatasetError: no photo there, or one of another name or size.
    """
    photos = sorted(source.glob("*.jpg")) or sorted(source.glob("*/*.jpg"))
    if not photos:
        raise DatasetError(f"{source} holds no photos like 34_1001.jpg; name their folder")
    for photo in photos:
        match = NAME.match(photo.name)
        if match is None:
            raise DatasetError(f"{photo} is not named like 34_1001.jpg")
        if image_size(photo) != SIZE:
            raise DatasetError(f"{photo} is not {SIZE[0]}x{SIZE[1]}; the boxes are for that size")
        split = "test" if int(match[1]) % 2 == 0 else "train"
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photo, folder / "images" / split / photo.name)
        lines = [label(int(bit), box) for bit, box in zip(match[2], BOXES, strict=True)]
        (folder / "labels" / split / f"{photo.stem}.txt").write_text("".join(lines))
    card = f"train: images/train\ntest: images/test\nnames: {list(CLASSES)}\n"
    (folder / "data.yaml").write_text(card)
    return len(photos)


def label(index: int, box: tuple[int, int, int, int]) -> str:
    """Return one line of a YOLO label file."""
    width, height = SIZE
    x1, y1, x2, y2 = box
    centre = f"{(x1 + x2) / 2 / width:.6f} {(y1 + y2) / 2 / height:.6f}"
    return f"{index} {centre} {(x2 - x1) / width:.6f} {(y2 - y1) / height:.6f}\n"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="folder with photos like 34_1001.jpg")
    parser.add_argument("out", type=Path, help="folder to write")
    options = parser.parse_args()
    try:
        count = write_yolo(options.source, options.out)
    except DatasetError as error:
        sys.exit(f"screws: {error}")
    sys.stdout.write(f"{count} photos written to {options.out}\n")


if __name__ == "__main__":
    main()
