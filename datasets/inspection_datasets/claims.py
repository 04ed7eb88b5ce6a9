"""What the number of parts in a dataset can support, before anything is trained.

With n held-back defective parts and not one missed, the escape rate is below 1 - (1 - C)^(1/n) with
confidence C (exact binomial, zero failures). No result can be better, so this is the best claim. A part
counts once, however many pictures there are of it: see `parts`. The bound is shown rounded up, as
`inspection limits` shows it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from inspection.errors import DatasetError
from inspection.sentences.shares import exactly, percent
from inspection_datasets.findings import Finding
from inspection_datasets.manifest import SPLITS, DatasetVersion, Sample
from inspection_datasets.parts import count_parts, count_pictures


@dataclass(frozen=True, slots=True)
class Claim:
    """What somebody wants to promise.

    Attributes:
        max_escape: share of defective parts that may pass; None: not asked.
        max_overkill: share of good parts that may fail; None: not asked.
        confidence: 0..1.
    """

    max_escape: float | None = None
    max_overkill: float | None = None
    confidence: float = 0.95


def best_bound(parts: int, confidence: float = 0.95) -> float:
    """Return the lowest rate that `parts` without a failure support; 1 for none."""
    return 1.0 if parts < 1 else 1.0 - (1.0 - confidence) ** (1.0 / parts)


def parts_needed(rate: float, confidence: float = 0.95) -> int:
    """Return how many parts without a failure support `rate`."""
    return math.ceil(math.log(1.0 - confidence) / math.log(1.0 - rate) - 1e-9)


def read_share(text: str, option: str) -> float:
    """Return `1%` or `0.01` as 0.01.

    Raises:
        DatasetError: not a number, or not between 0 and 1, both excluded.
    """
    try:
        value = float(text.strip().removesuffix("%")) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        value = math.nan
    if not 0 < value < 1:
        raise DatasetError(
            f"{option} is {text!r}; write a share between 0 and 1, for example 1% or 0.01"
        )
    return value


def is_used(sample: Sample) -> bool:
    """Tell whether somebody looked at a sample: labelled, good, or a class of the whole picture."""
    return sample.state != "unlabelled" or sample.label is not None


def classes_of(sample: Sample) -> set[str]:
    """Return the classes of a sample, by its boxes and by the label of the whole picture."""
    return {box[0] for box in sample.boxes} | ({sample.label} if sample.label else set())


def check_counts(version: DatasetVersion, claim: Claim) -> Iterator[Finding]:
    """Return findings on empty splits, classes without examples, and what the counts support."""
    used = [sample for sample in version.samples if is_used(sample)]
    for split in SPLITS:
        if not any(sample.split == split for sample in used):
            yield Finding("train_empty" if split == "train" else "split_empty", {"split": split})
    for name in version.classes:
        members = [sample for sample in used if name in classes_of(sample)]
        splits = {sample.split for sample in members}
        if not members:
            yield Finding("class_empty", {"name": name})
            continue
        if "train" not in splits:
            yield Finding("class_untrained", {"name": name})
        elif splits == {"train"}:
            yield Finding("class_untested", {"name": name})
        boxes = sum(box[0] == name for sample in members for box in sample.boxes)
        yield _supports(name, members, boxes, claim)
    defective = [sample for sample in used if classes_of(sample)]
    if defective and len(version.classes) > 1:
        boxes = sum(len(sample.boxes) for sample in defective)
        yield _supports(" + ".join(version.classes), defective, boxes, claim)
    good = [sample for sample in used if sample.state == "good"]
    wanted = claim.max_overkill
    if wanted is not None and best_bound(count_parts(good), claim.confidence) > wanted + 1e-12:
        yield Finding("few_good", _values(good, wanted, claim))
    pictures = count_pictures(defective) + count_pictures(good)
    parts = count_parts(defective) + count_parts(good)
    if pictures > parts:
        yield Finding("counted_once", {"pictures": pictures, "parts": parts})


def _supports(name: str, members: list[Sample], boxes: int, claim: Claim) -> Finding:
    wanted = claim.max_escape
    values = {"name": name, "defects": boxes, **_values(members, wanted, claim)}
    enough = wanted is None or count_parts(members) >= parts_needed(wanted, claim.confidence)
    return Finding("claim" if enough else "few_defects", values)


def _values(members: list[Sample], wanted: float | None, claim: Claim) -> dict[str, object]:
    found: dict[str, object] = {
        "parts": count_parts(members),
        "bound": percent(best_bound(count_parts(members), claim.confidence)),
        "confidence": exactly(claim.confidence),
        "held_back": count_parts(sample for sample in members if sample.split != "train"),
    }
    if wanted is not None:
        found |= {
            "wanted": exactly(wanted),
            "needed": parts_needed(wanted, claim.confidence),
        }
    return found
