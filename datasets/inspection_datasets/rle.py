"""Run-length coded masks: COCO's, plain and compressed, and CVAT's.

COCO counts pixels down the columns, first those outside, then those inside, in turns. Compressed, each
count (from the fourth on less the one before the last) is written in groups of five bits, low bits first,
one printable character a group: 48 plus the bits plus 32 when another group follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspection.errors import DatasetError


def decode_coco(
    segmentation: dict[str, Any], size: tuple[int, int], where: str
) -> NDArray[np.bool_]:
    """Return bool [H, W] of a COCO run-length mask.

    Args:
        segmentation: `size` [height, width] and `counts`, a list or a string.
        size: (width, height) of the image.
        where: file and annotation, for the message.

    Raises:
        DatasetError: of another size, or counts that do not fill the image.
    """
    stated = segmentation.get("size")
    if stated != [size[1], size[0]]:
        raise DatasetError(
            f"{where}: the mask is stated as [height, width] {stated}, the image is {size[0]}x{size[1]} "
            "(width x height); was the image resized after labelling?"
        )
    counts = segmentation.get("counts")
    if isinstance(counts, str):
        counts = _uncompress(counts, where)
    return _fill(counts, size[0] * size[1], where).reshape(size[0], size[1]).T


def decode_rows(counts: object, size: tuple[int, int], where: str) -> NDArray[np.bool_]:
    """Return bool [H, W] of counts along the rows, as CVAT writes them. Raises as `decode_coco`."""
    return _fill(counts, size[0] * size[1], where).reshape(size[1], size[0])


def encode_coco(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Return `size` and plain `counts` of a bool [H, W] mask."""
    flat = mask.T.ravel()
    borders = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *borders.tolist(), flat.size]).tolist()
    if flat.size and flat[0]:
        counts = [0, *counts]
    return {"size": [int(mask.shape[0]), int(mask.shape[1])], "counts": counts}


def _fill(counts: object, pixels: int, where: str) -> NDArray[np.bool_]:
    if (
        not isinstance(counts, Sequence)
        or not all(isinstance(n, int) and 0 <= n <= pixels for n in counts)
        or sum(counts) != pixels
    ):
        raise DatasetError(
            f"{where}: the counts of the mask do not fill the image's {pixels} pixels; export it again"
        )
    return np.repeat(np.arange(len(counts)) % 2 == 1, np.asarray(counts, np.int64))


def _uncompress(text: str, where: str) -> list[int]:
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise DatasetError(
                f"{where}: the compressed mask is damaged at {letter!r}; export it again"
            )
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise DatasetError(f"{where}: the compressed mask is cut off; export it again")
    return counts
