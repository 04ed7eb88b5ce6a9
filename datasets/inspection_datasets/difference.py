"""What changed from one dataset version to another."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from inspection_datasets.check import iou
from inspection_datasets.manifest import Box, DatasetVersion, Sample

SAME_IOU = 0.5


@dataclass(frozen=True, slots=True)
class Relabelled:
    """What changed in the labels of one picture.

    Attributes:
        image: path in the newer version.
        state: (before, after) where it changed, else None.
        added: boxes that are new.
        removed: boxes that are gone.
        moved: (before, after) of boxes of one class that overlap (IoU >= 0.5).
        renamed: (before, after) of boxes that overlap and changed their class.
        label: (before, after) of the label of the whole picture where it changed, else None.
    """

    image: str
    state: tuple[str, str] | None = None
    added: list[Box] = field(default_factory=list)
    removed: list[Box] = field(default_factory=list)
    moved: list[tuple[Box, Box]] = field(default_factory=list)
    renamed: list[tuple[Box, Box]] = field(default_factory=list)
    label: tuple[Any, Any] | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """What changed between two versions.

    Attributes:
        older: version before.
        newer: version after.
        classes_added: class names that are new.
        added: pictures that are new.
        removed: pictures that are gone.
        renamed: (before, after) of pictures with the same bytes and another path.
        replaced: pictures of one path whose bytes changed.
        relabelled: pictures with other labels.
        split: picture to (before, after).
        group: picture to (before, after).
    """

    older: str
    newer: str
    classes_added: list[str]
    added: list[str]
    removed: list[str]
    renamed: list[tuple[str, str]]
    replaced: list[str]
    relabelled: list[Relabelled]
    split: dict[str, tuple[str, str]]
    group: dict[str, tuple[str, str]]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @property
    def is_empty(self) -> bool:
        """Whether nothing changed."""
        named = self.as_dict()
        return not any(value for name, value in named.items() if name not in {"older", "newer"})


def compare_versions(older: DatasetVersion, newer: DatasetVersion) -> Difference:
    """Return what changed; a picture is the same by its path, else by the hash of its file."""
    before = {sample.image: sample for sample in older.samples}
    after = {sample.image: sample for sample in newer.samples}
    gone = {image: sample for image, sample in before.items() if image not in after}
    fresh = [sample for image, sample in after.items() if image not in before]
    by_hash: dict[str, list[str]] = {}
    for image, sample in gone.items():
        by_hash.setdefault(sample.sha256, []).append(image)
    renamed: list[tuple[str, str]] = []
    added: list[str] = []
    for sample in fresh:
        old = by_hash.get(sample.sha256)
        if old:
            renamed.append((old.pop(0), sample.image))
        else:
            added.append(sample.image)
    pairs = [(before[image], after[image]) for image in before if image in after]
    pairs += [(before[a], after[b]) for a, b in renamed]
    left = {a for a, _ in renamed}
    return Difference(
        older=older.version,
        newer=newer.version,
        classes_added=[name for name in newer.classes if name not in older.classes],
        added=added,
        removed=[image for image in gone if image not in left],
        renamed=renamed,
        replaced=[a.image for a, b in pairs if a.image == b.image and a.sha256 != b.sha256],
        relabelled=[found for a, b in pairs if (found := _relabelled(a, b)) is not None],
        split={b.image: (a.split, b.split) for a, b in pairs if a.split != b.split},
        group={b.image: (a.group, b.group) for a, b in pairs if a.group != b.group},
    )


def _relabelled(before: Sample, after: Sample) -> Relabelled | None:
    old = list((Counter(before.boxes) - Counter(after.boxes)).elements())
    new = list((Counter(after.boxes) - Counter(before.boxes)).elements())
    moved = _take_pairs(old, new, same_class=True)
    renamed = _take_pairs(old, new, same_class=False)
    labels = (before.label, after.label)
    found = Relabelled(
        image=after.image,
        state=(before.state, after.state) if before.state != after.state else None,
        added=new,
        removed=old,
        moved=moved,
        renamed=renamed,
        label=labels if labels[0] != labels[1] else None,
    )
    return None if found == Relabelled(after.image) else found


def _take_pairs(old: list[Box], new: list[Box], *, same_class: bool) -> list[tuple[Box, Box]]:
    """Take overlapping pairs out of both lists, those that overlap most first."""
    pairs = [(iou(a[1:], b[1:]), a, b) for a in old for b in new if (a[0] == b[0]) is same_class]
    found: list[tuple[Box, Box]] = []
    for overlap, a, b in sorted(pairs, key=lambda pair: -pair[0]):
        if overlap >= SAME_IOU and a in old and b in new:
            old.remove(a)
            new.remove(b)
            found.append((a, b))
    return found
