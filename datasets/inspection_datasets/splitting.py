"""Split a version again: whole groups, every class in every split where its groups allow.

    groups ─▶ former test groups stay ─▶ one group of each class for each split, rarest class first
           ─▶ the rest where its rarest class is missing most ─▶ next version

The order in which groups are taken is decided by a hash of seed and group name: the same pictures
and seed give the same split on every machine.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from inspection.errors import DatasetError
from inspection_datasets.check import compile_group
from inspection_datasets.duplicates import duplicate_groups, look_at
from inspection_datasets.manifest import DatasetVersion, Sample, write_version


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """How to split.

    Attributes:
        by: `group`, `regex:EXPR`, `csv:FILE:COLUMN` or `duplicates`.
        val: share of the pictures for val.
        test: share of the pictures for test.
        seed: which groups these are.
        anew: also take former test groups apart.
    """

    by: str = "group"
    val: float = 0.2
    test: float = 0.2
    seed: int = 0
    anew: bool = False


def split_dataset(version: DatasetVersion, plan: SplitPlan) -> DatasetVersion | None:
    """Write the next version with new splits; None when nothing would change, and nothing is written.

    Raises:
        DatasetError: the plan cannot be followed, or a picture cannot be read (`duplicates`).
    """
    samples = split_samples(version, plan)
    if samples == list(version.samples):
        return None
    return write_version(version.folder, version.name, version.classes, samples)


def split_samples(version: DatasetVersion, plan: SplitPlan) -> list[Sample]:
    """Return the samples with new group and split, in the old order. Raises as `split_dataset`."""
    if plan.val < 0 or plan.test < 0 or plan.val + plan.test >= 1:
        raise DatasetError(
            f"val {plan.val:g} and test {plan.test:g} leave nothing for train; they must sum to less than 1"
        )
    group_of = groups_by(version, plan.by)
    members: dict[str, list[Sample]] = {}
    for sample in version.samples:
        members.setdefault(group_of[sample.image], []).append(sample)
    kept = (
        set() if plan.anew else {g for g, m in members.items() if any(s.split == "test" for s in m)}
    )
    split_of = _assign(members, kept, plan)
    return [
        sample.model_copy(
            update={"group": group_of[sample.image], "split": split_of[group_of[sample.image]]}
        )
        for sample in version.samples
    ]


def groups_by(version: DatasetVersion, by: str) -> dict[str, str]:
    """Return image to group.

    Raises:
        DatasetError: `by` is not understood, or gives a picture no group.
    """
    kind, _, rest = by.partition(":")
    if by == "group":
        return {sample.image: sample.group for sample in version.samples}
    if by == "duplicates":
        return duplicate_groups(version, look_at(version))
    if kind == "regex" and rest:
        return _by_expression(version, rest)
    if kind == "csv" and rest:
        return _by_column(version, rest)
    raise DatasetError(
        f"--by {by!r} is not understood; write group, duplicates, regex:EXPR or csv:FILE:COLUMN"
    )


def _by_expression(version: DatasetVersion, pattern: str) -> dict[str, str]:
    expression = compile_group(pattern)
    found: dict[str, str] = {}
    for sample in version.samples:
        match = expression.search(sample.image)
        group = match and (match.group(1) if expression.groups else match.group(0))
        if not group:
            raise DatasetError(
                f"group expression {pattern!r} gives {sample.image} no group; correct it"
            )
        found[sample.image] = group
    return found


def _by_column(version: DatasetVersion, rest: str) -> dict[str, str]:
    name, _, column = rest.rpartition(":")
    path = Path(name)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"{name or rest} cannot be read ({error}); write csv:FILE:COLUMN, the file as UTF-8"
        ) from error
    if not rows or column not in rows[0] or "image" not in rows[0]:
        raise DatasetError(
            f"{path} has columns {list(rows[0]) if rows else []}; `image` and {column!r} are needed"
        )
    given: dict[str, set[str]] = {}
    for row in rows:
        given.setdefault(row["image"] or "", set()).add((row[column] or "").strip())
    found: dict[str, str] = {}
    for sample in version.samples:
        groups = given.get(sample.image) or given.get(PurePosixPath(sample.image).name) or {""}
        if len(groups) != 1 or groups == {""}:
            raise DatasetError(
                f"{path}: {sample.image} has groups {sorted(groups)} in {column!r}; each picture needs "
                "one, by its path in the dataset or its file name"
            )
        (found[sample.image],) = groups
    return found


def _assign(members: Mapping[str, list[Sample]], kept: set[str], plan: SplitPlan) -> dict[str, str]:
    shares = {"train": 1 - plan.val - plan.test, "test": plan.test, "val": plan.val}
    shares = {split: share for split, share in shares.items() if share > 0}
    traits = {group: _traits(found) for group, found in members.items()}
    total = Counter[str]()
    for counted in traits.values():
        total.update(counted)
    need = {s: {t: share * n for t, n in total.items()} for s, share in shares.items()}
    need.setdefault("test", {})
    split_of: dict[str, str] = {}
    order = sorted(members, key=lambda g: hashlib.sha256(f"{plan.seed}:{g}".encode()).hexdigest())

    def put(group: str, split: str) -> None:
        split_of[group] = split
        for trait, number in traits[group].items():
            need[split][trait] = need[split].get(trait, 0.0) - number

    for group in sorted(kept):
        put(group, "test")
    by_trait = {t: [g for g in order if t in traits[g]] for t in total}
    rarest = sorted(by_trait, key=lambda t: (len(by_trait[t]), t))
    for trait in rarest:
        for split in shares:
            if any(split_of.get(group) == split for group in by_trait[trait]):
                continue
            free = [group for group in by_trait[trait] if group not in split_of]
            if free:
                put(min(free, key=lambda group: len(members[group])), split)
    for trait in rarest:
        free = [group for group in by_trait[trait] if group not in split_of]
        for group in sorted(free, key=lambda g: -len(members[g])):
            put(group, max(shares, key=lambda s: (need[s][trait], sum(need[s].values()))))
    return split_of


def _traits(members: list[Sample]) -> Counter[str]:
    """Return what a group holds: number of pictures for each class, image label and state."""
    found = Counter[str]()
    for sample in members:
        found.update({f"class {box[0]}" for box in sample.boxes})
        if sample.label is not None:
            found[f"label {sample.label}"] += 1
        elif not sample.boxes:
            found[f"state {sample.state}"] += 1
    return found
