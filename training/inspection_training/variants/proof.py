"""What of a comparison proves anything: different pictures, and the defects that the release itself stops."""

from __future__ import annotations

from collections.abc import Sequence

from inspection.decide import ANOMALY_CLASS
from inspection.types import ClassLimits, Decision, Detections, Release
from inspection.variants import ClassCount
from inspection_datasets.claims import classes_of
from inspection_datasets.manifest import Sample
from inspection_training.evaluate import decisions, is_defective

_ANY = 10**9


def defectives(release: Release, samples: Sequence[Sample]) -> list[bool]:
    """Tell of each image whether it is defective by its labels, as the release's task means it."""
    if release.task == "anomaly":
        return [bool(classes_of(sample)) for sample in samples]
    required = {name: x.expected for name, x in release.limits.items() if x.expected is not None}
    return [is_defective(sample, required) for sample in samples]


def once(release: Release, samples: Sequence[Sample]) -> list[int]:
    """Return the places of different pictures: of copies the first defective one."""
    found: dict[str, int] = {}
    bad = defectives(release, samples)
    for i, sample in enumerate(samples):
        other = found.setdefault(sample.sha256, i)
        if bad[i] and not bad[other]:
            found[sample.sha256] = i
    return list(found.values())


def stopped(
    release: Release, samples: Sequence[Sample], expected: Sequence[Detections]
) -> list[bool]:
    """Tell of each image whether it is defective and the release does not pass it."""
    made = decisions(expected, release.limits)
    bad = defectives(release, samples)
    return [b and x is not Decision.PASS for b, x in zip(bad, made, strict=True)]


def class_counts(
    release: Release,
    samples: Sequence[Sample],
    expected: Sequence[Detections],
    found: Sequence[Detections],
) -> dict[str, ClassCount]:
    """Return of each class of the release how many of its defective images it alone stops, and the variant.

    So a class that shows only beside another one is still looked for.
    """
    counts: dict[str, ClassCount] = {}
    for name in release.classes:
        alone = {other: ClassLimits(1.0, 1.0, allowed=_ANY) for other in release.limits}
        alone[name] = release.limits[name]
        own = [i for i, sample in enumerate(samples) if _shows(release, sample, name)]
        before = decisions([expected[i] for i in own], alone)
        after = decisions([found[i] for i in own], alone)
        both = [
            now is not Decision.PASS
            for was, now in zip(before, after, strict=True)
            if was is not Decision.PASS
        ]
        counts[name] = ClassCount(stopped=len(both), kept=sum(both))
    return counts


def _shows(release: Release, sample: Sample, name: str) -> bool:
    """Tell whether an image is labelled as defective by this class; one that must be there, by its number."""
    if release.task == "anomaly" and name == ANOMALY_CLASS:
        return bool(classes_of(sample))
    if sample.label is not None:
        return sample.label == name
    number, wanted = [box[0] for box in sample.boxes].count(name), release.limits[name].expected
    return number > 0 if wanted is None else number != wanted
