"""What nobody outside may see: regions painted out, labels under them dropped, names taken away.

regions of the card + boxes of private classes ─▶ paint ─▶ labels that are left ─▶ anonymous sample
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from inspection.errors import DatasetError
from inspection_datasets.manifest import DatasetVersion, Sample
from inspection_datasets.publishing.card import SharingCard

PAINT = 114
"""Grey level of what is painted out, in all three channels."""

Rectangle = tuple[int, int, int, int]
"""x1, y1, x2, y2 in whole pixels, far edges exclusive."""


@dataclass(slots=True)
class Masked:
    """What masking did to a version.

    Attributes:
        regions: rectangles painted.
        dropped: labels that lay wholly inside one.
        touched: labels that meet one and were kept.
        emptied: pictures that lost every label; they count as unlabelled, not as good.
    """

    regions: int = 0
    dropped: int = 0
    touched: int = 0
    emptied: int = 0


def check_private_classes(version: DatasetVersion, sharing: SharingCard) -> None:
    """Make sure that private classes exist and can be painted, and that a class is left.

    Raises:
        DatasetError: a name is not known (its boxes would stay visible), a picture is labelled with one as a
            whole (nobody said where it is), or all are private.
    """
    unknown = sorted(set(sharing.private_classes) - set(version.classes))
    if unknown:
        raise DatasetError(
            f"private_classes of {version.folder}: {unknown} are no classes of {version.version}; "
            f"known are {list(version.classes)}. Correct the card"
        )
    if not public_classes(version, sharing):
        raise DatasetError(
            f"every class of {version.folder} is private: there is nothing to publish"
        )
    whole = [one.image for one in version.samples if one.label in sharing.private_classes]
    if whole:
        raise DatasetError(
            f"{len(whole)} pictures of {version.folder} are labelled with a private class as a whole, "
            f"first {whole[0]}: nobody said where it is, so it cannot be painted out. Draw boxes, or leave "
            "them out of the version"
        )


def check_private_regions(version: DatasetVersion, sharing: SharingCard) -> None:
    """Make sure that each private region is painted, whole, in every picture that it is for.

    Raises:
        DatasetError: a region is for no picture, or reaches out of one: what it should hide may be elsewhere.
    """
    for number, region in enumerate(sharing.private_regions, start=1):
        what = f"private region {number} of {version.folder} (images: {region.images!r})"
        meant = [one for one in version.samples if fnmatchcase(one.image, region.images)]
        if not meant:
            raise DatasetError(
                f"{what} is for no picture of {version.version}: it would hide nothing. Paths begin with "
                "images/, and * is any text; correct the pattern in card.yaml, or remove the region if "
                "this version has none of its pictures"
            )
        x1, y1, x2, y2 = region.box
        for one in meant:
            if x1 < 0 or y1 < 0 or x2 > one.width or y2 > one.height:
                raise DatasetError(
                    f"{what}: box {list(region.box)} lies partly or wholly outside {one.image}, which is "
                    f"{one.width} x {one.height} pixels. Correct the box in card.yaml; for pictures of "
                    "several sizes write a region for each, with its own pattern"
                )


def public_classes(version: DatasetVersion, sharing: SharingCard) -> tuple[str, ...]:
    """Return the classes that are published, in the model's order."""
    return tuple(name for name in version.classes if name not in sharing.private_classes)


def regions_of(sample: Sample, sharing: SharingCard) -> list[Rectangle]:
    """Return what must be painted in a picture, grown to whole pixels and cut to the picture."""
    boxes = [
        region.box for region in sharing.private_regions if fnmatchcase(sample.image, region.images)
    ]
    boxes += [box[1:] for box in sample.boxes if box[0] in sharing.private_classes]
    found = [
        (
            max(0, math.floor(x1)),
            max(0, math.floor(y1)),
            min(sample.width, math.ceil(x2)),
            min(sample.height, math.ceil(y2)),
        )
        for x1, y1, x2, y2 in boxes
    ]
    return [(x1, y1, x2, y2) for x1, y1, x2, y2 in found if x1 < x2 and y1 < y2]


def has_private(version: DatasetVersion, sharing: SharingCard) -> bool:
    """Tell whether anything in the version must be painted out."""
    return any(regions_of(sample, sharing) for sample in version.samples)


def paint(image: NDArray[np.uint8], regions: Iterable[Rectangle]) -> None:
    """Paint rectangles of an image [H, W, 3] in place."""
    for x1, y1, x2, y2 in regions:
        image[y1:y2, x1:x2] = PAINT


def public_labels(
    sample: Sample, regions: Sequence[Rectangle], sharing: SharingCard, masked: Masked
) -> Sample:
    """Return the sample with the labels that may be seen, and count what was taken.

    A picture that loses its last label becomes `unlabelled`: something was there.
    """
    kept: list[int] = []
    for index, box in enumerate(sample.boxes):
        if box[0] in sharing.private_classes:
            continue
        if any(_inside(box[1:], region) for region in regions):
            masked.dropped += 1
            continue
        masked.touched += any(_meets(box[1:], region) for region in regions)
        kept.append(index)
    masked.regions += len(regions)
    shapes = [sample.shapes[index] for index in kept] if sample.shapes else []
    changed = {
        "boxes": [sample.boxes[index] for index in kept],
        "shapes": shapes if any(shapes) else [],
    }
    if sample.boxes and not kept:
        masked.emptied += 1
        changed["state"] = "unlabelled"
    return sample.model_copy(update=changed)


def _inside(box: tuple[float, float, float, float], region: Rectangle) -> bool:
    x1, y1, x2, y2 = region
    return x1 <= box[0] and y1 <= box[1] and box[2] <= x2 and box[3] <= y2


def _meets(box: tuple[float, float, float, float], region: Rectangle) -> bool:
    x1, y1, x2, y2 = region
    return box[0] < x2 and x1 < box[2] and box[1] < y2 and y1 < box[3]


def group_names(version: DatasetVersion) -> dict[str, str]:
    """Return group to a number without meaning: serials and lots are in the groups' own names.

    The order is that of a hash, so that the numbers do not tell the order of production.
    """

    def order(group: str) -> str:
        return hashlib.sha256(f"{version.sha256} {group}".encode()).hexdigest()

    groups = sorted({sample.group for sample in version.samples}, key=order)
    return {group: f"g{number:05d}" for number, group in enumerate(groups, start=1)}
