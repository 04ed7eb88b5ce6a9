"""What counts as one part in a claim: a group of pictures, by the worst of them. Pure.

    pictures ─▶ the part of each: its group ─▶ what was found of each picture ─▶ one value a part: the worst

Pictures of one part (views, re-feeds) are alike: twenty looks at it prove little more than one. A bound with
a confidence is exact only for parts that are drawn independently, so it counts each group once. Where every
group has one picture, parts are pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

from inspection_datasets.manifest import Sample

T = TypeVar("T")


def parts_of(samples: Iterable[Sample]) -> list[str]:
    """Return the part that each picture counts for: its group; for a byte copy, that of the first copy."""
    first: dict[str, str] = {}
    return [first.setdefault(sample.sha256, sample.group) for sample in samples]


def count_parts(samples: Iterable[Sample]) -> int:
    """Return how many parts the pictures are of."""
    return len(set(parts_of(samples)))


def count_pictures(samples: Iterable[Sample]) -> int:
    """Return how many different pictures there are; byte copies are one."""
    return len({sample.sha256 for sample in samples})


def worst_of(
    values: Iterable[T], parts: Sequence[Hashable], worst: Callable[[Iterable[T]], T]
) -> list[T]:
    """Return one value for each part, the worst of its pictures', in the order of the first pictures.

    Args:
        values: of each picture.
        parts: part of each picture, see `parts_of`.
        worst: what makes one of several: `min` of scores that should be high, `max` of those that should be
            low, `any` of errors, `all` of what should be.
    """
    found: dict[Hashable, list[T]] = {}
    for value, part in zip(values, parts, strict=True):
        found.setdefault(part, []).append(value)
    return [worst(own) for own in found.values()]
