"""Equal and nearly equal pictures.

    picture ─▶ hash of the decoded pixels ─▶ equal
            ─▶ perceptual hash, 64 bit ─▶ Hamming <= 4 ─▶ thumbnails correlate ─▶ nearly equal

The perceptual hash is the sign of the 8x8 lowest frequencies (cosine transform) of a 32x32 grey
thumbnail about their median. A fixed camera makes all parts look alike, so thumbnails must also
correlate after the median picture of the dataset is taken away, once there are `ENOUGH` pictures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from inspection.errors import DatasetError
from inspection_datasets.incoming import inside, read_image
from inspection_datasets.manifest import DatasetVersion

HAMMING = 4
CORRELATION = 0.98
RESIDUAL = 0.90
ENOUGH = 20
_THUMB = 32
_BLOCK = 512
T = TypeVar("T", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Looks:
    """What a picture looks like.

    Attributes:
        pixels: hash of the decoded pixels and their size.
        bits: perceptual hash, 64 bit.
        thumb: float32 [1024], grey thumbnail, 0..255.
    """

    pixels: str
    bits: int
    thumb: NDArray[np.float32]


def looks_of(image: NDArray[np.uint8]) -> Looks:
    """Return what an RGB picture [H, W, 3] looks like."""
    pixels = hashlib.sha256(repr(image.shape).encode())
    pixels.update(image.tobytes())
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    thumb = cv2.resize(grey, (_THUMB, _THUMB), interpolation=cv2.INTER_AREA)
    low = cv2.dct(thumb)[:8, :8].ravel()
    bits = low > np.median(low[1:])
    bits[0] = False  # brightness says nothing
    packed = int.from_bytes(np.packbits(bits).tobytes(), "big")
    return Looks(pixels.hexdigest(), packed, thumb.astype(np.float32).ravel())


def look_at(version: DatasetVersion, tick: Callable[[], None] = lambda: None) -> dict[str, Looks]:
    """Return image name to its looks. Raises DatasetError when a picture cannot be read."""
    found: dict[str, Looks] = {}
    for sample in version.samples:
        path = inside(version.folder, sample.image, version.version)
        if not path.is_file():
            raise DatasetError(f"{path} is missing; restore it, or import again as a new version")
        found[sample.image] = looks_of(read_image(path))
        tick()
    return found


def equal_clusters(looks: Mapping[str, Looks]) -> list[list[str]]:
    """Return the sets of pictures with equal pixels, two or more each, in the order given."""
    found: dict[str, list[str]] = {}
    for image, seen in looks.items():
        found.setdefault(seen.pixels, []).append(image)
    return [images for images in found.values() if len(images) > 1]


def near_pairs(looks: Mapping[str, Looks]) -> list[tuple[str, str]]:
    """Return every pair of pictures that are nearly equal, equal ones too."""
    names = list(looks)
    if len(names) < 2:
        return []
    bits = np.array([looks[name].bits for name in names], np.uint64)
    thumbs = np.stack([looks[name].thumb for name in names])
    plain = _normalised(thumbs)
    enough = len(names) >= ENOUGH
    rest = _normalised(thumbs - np.median(thumbs, axis=0)) if enough else plain
    found: list[tuple[str, str]] = []
    for start in range(0, len(names), _BLOCK):
        block = slice(start, start + _BLOCK)
        near = np.bitwise_count(bits[block, None] ^ bits[None, start:]) <= HAMMING
        near &= np.triu(np.ones_like(near), 1)
        if not near.any():
            continue
        near &= plain[block] @ plain[start:].T >= CORRELATION
        near &= rest[block] @ rest[start:].T >= (RESIDUAL if enough else CORRELATION)
        found += [(names[start + i], names[start + j]) for i, j in np.argwhere(near)]
    equal = [(a, b) for a, *others in equal_clusters(looks) for b in others]
    return list(dict.fromkeys(found + equal))


def _normalised(thumbs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows of mean 0 and length 1; a flat row becomes zeros and is like nothing."""
    centred = thumbs - thumbs.mean(axis=1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.where(length > 1.0, centred / np.maximum(length, 1.0), 0.0).astype(np.float32)


def join(pairs: Iterable[tuple[T, T]]) -> list[list[T]]:
    """Return the connected sets of pairs, in the order in which they were first named."""
    parent: dict[T, T] = {}

    def top(item: T) -> T:
        parent.setdefault(item, item)
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for a, b in pairs:
        first, second = top(a), top(b)
        if first != second:
            parent[second] = first
    found: dict[T, list[T]] = {}
    for item in parent:
        found.setdefault(top(item), []).append(item)
    return list(found.values())


def duplicate_groups(version: DatasetVersion, looks: Mapping[str, Looks]) -> dict[str, str]:
    """Return image to group, where groups that share nearly equal pictures became one."""
    group_of = {sample.image: sample.group for sample in version.samples}
    pairs = [(group_of[a], group_of[b]) for a, b in near_pairs(looks)]
    name: dict[str, str] = {}
    for joined in join(pairs):
        name |= dict.fromkeys(joined, min(joined))
    return {image: name.get(group, group) for image, group in group_of.items()}


def names_of(images: Sequence[str], limit: int = 6) -> str:
    """Return image names for a message, the rest counted."""
    more = f" … (+{len(images) - limit})" if len(images) > limit else ""
    return ", ".join(images[:limit]) + more
