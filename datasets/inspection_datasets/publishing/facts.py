"""Facts of a dataset version in the words of IDTA 02058 (AI Dataset): sizes, splits, labels, balance.

DatasetVersion ─▶ facts_of ─▶ DatasetFacts ─▶ the published card, and the Asset Administration Shell
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import PurePosixPath

from inspection_datasets.manifest import SPLITS, DatasetVersion


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """What can be counted in a version.

    Attributes:
        name: of the dataset.
        version: `v0001` and so on.
        sha256: of the version's file.
        images: all of them.
        splits: split to number of images, every split named.
        states: labelled, good, unlabelled to number of images, every state named.
        labels: class to number of occurrences: boxes, and labels of whole pictures.
        file_types: suffixes of the pictures, as `.png`, sorted.
    """

    name: str
    version: str
    sha256: str
    images: int
    splits: dict[str, int]
    states: dict[str, int]
    labels: dict[str, int]
    file_types: tuple[str, ...]

    @property
    def ratio(self) -> str:
        """Split ratio train:val:test in percent; splits without an image are left out."""
        shares = [100 * self.splits[s] / self.images for s in SPLITS if self.splits[s]]
        return ":".join(f"{round(share, 1):g}" for share in shares)

    @property
    def balance(self) -> str:
        """Rarest to most frequent class, as a share; 1 is balanced, 0 means that a class is missing."""
        most = max(self.labels.values(), default=0)
        return f"{min(self.labels.values()) / most:.3f}" if most else "0"


def facts_of(version: DatasetVersion) -> DatasetFacts:
    """Count a version. Pictures are not opened."""
    samples = version.samples
    states = Counter(sample.state for sample in samples)
    found = Counter(box[0] for sample in samples for box in sample.boxes)
    found.update(sample.label for sample in samples if sample.label is not None)
    return DatasetFacts(
        name=version.name,
        version=version.version,
        sha256=version.sha256,
        images=len(samples),
        splits={split: sum(s.split == split for s in samples) for split in SPLITS},
        states={state: states[state] for state in ("labelled", "good", "unlabelled")},
        labels={name: found[name] for name in version.classes},
        file_types=tuple(sorted({PurePosixPath(s.image).suffix.lower() for s in samples})),
    )
