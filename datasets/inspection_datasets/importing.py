"""Import: recognise the layout, read it, split it by group, copy the pictures, write the next version.

source ─▶ read (deeppcb | yolo | coco) ─▶ split by group ─▶ copy and hash ─▶ vNNNN.jsonl
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from inspection.errors import DatasetError
from inspection_datasets.coco import find_json_files, read_coco
from inspection_datasets.deeppcb import find_root, read_deeppcb
from inspection_datasets.incoming import Incoming, IncomingSample
from inspection_datasets.manifest import (
    DatasetVersion,
    Sample,
    contained_path,
    sha256_of,
    write_version,
)
from inspection_datasets.yolo import find_data_yaml, read_yolo

Layout = Literal["auto", "deeppcb", "yolo", "coco"]
Progress = Callable[[str, int], None]
_READERS = {"deeppcb": read_deeppcb, "yolo": read_yolo, "coco": read_coco}


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """How to import.

    Attributes:
        layout: auto recognises it.
        name: name of the dataset; empty: the dataset folder's name.
        val: share of the training groups that becomes val, where the source has no val.
        test: share of the training groups that becomes test, where the source has no test.
        seed: which groups these are.
        group: regular expression on the picture's name; its first group (or the whole match) names
            the group. Empty: the importer's own.
        in_place: refer to the pictures where they are; the source must lie inside the dataset folder.
    """

    layout: Layout = "auto"
    name: str = ""
    val: float = 0.2
    test: float = 0.0
    seed: int = 0
    group: str = ""
    in_place: bool = False


def recognise(source: Path) -> str:
    """Return the layout of a folder or file.

    Raises:
        DatasetError: it does not exist, or is none of the known layouts.
    """
    if not source.exists():
        raise DatasetError(
            f"{source} does not exist; name the folder that holds the images and labels"
        )
    if source.is_dir() and find_root(source):
        return "deeppcb"
    if find_data_yaml(source):
        return "yolo"
    if find_json_files(source):
        return "coco"
    raise DatasetError(
        f"{source} is no known layout: no trainval.txt with test.txt (deeppcb), no data.yaml (yolo), "
        "no json with images and annotations (coco). Name it with --layout"
    )


def import_dataset(
    source: Path,
    dataset: Path,
    plan: ImportPlan | None = None,
    progress: Progress = lambda _stage, _count: None,
) -> tuple[DatasetVersion, Incoming]:
    """Import a folder as the next version of a dataset.

    Args:
        source: folder or annotation file.
        dataset: dataset folder; made when it is not there.
        plan: how.
        progress: called with the stage and the number of pictures done in it.

    Returns:
        The new version, and what the importer found (layout and notes).

    Raises:
        DatasetError: anything missing or contradictory; no version was written then.
    """
    plan = plan or ImportPlan()
    layout = recognise(source) if plan.layout == "auto" else plan.layout
    done = _Counter(progress, "reading")
    incoming = _READERS[layout](source, done.tick)
    found = assign_splits(_regroup(incoming.samples, plan.group), plan.val, plan.test, plan.seed)
    if plan.in_place and not source.resolve().is_relative_to(dataset.resolve()):
        raise DatasetError(
            f"{source} is not inside {dataset}; in place works only there. Leave --in-place out to copy"
        )
    dataset.mkdir(parents=True, exist_ok=True)
    done = _Counter(progress, "checking" if plan.in_place else "copying")
    samples: list[Sample] = []
    for item in found:
        samples.append(_settle(item, dataset, in_place=plan.in_place))
        done.tick()
    name = plan.name or dataset.resolve().name
    return write_version(dataset, name, incoming.classes, samples), incoming


class _Counter:
    def __init__(self, progress: Progress, stage: str) -> None:
        self._progress, self._stage, self._count = progress, stage, 0

    def tick(self) -> None:
        self._count += 1
        self._progress(self._stage, self._count)


def _regroup(samples: Sequence[IncomingSample], pattern: str) -> list[IncomingSample]:
    if not pattern:
        return list(samples)
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise DatasetError(f"group expression {pattern!r} is not valid: {error}") from error
    found: list[IncomingSample] = []
    for sample in samples:
        match = expression.search(sample.name)
        if match is None:
            raise DatasetError(
                f"group expression {pattern!r} does not match {sample.name}; correct it"
            )
        found.append(replace(sample, group=match.group(1) if expression.groups else match.group(0)))
    return found


def assign_splits(
    samples: Sequence[IncomingSample], val: float, test: float, seed: int
) -> list[IncomingSample]:
    """Give every sample a split; whole groups only, the same groups for the same seed.

    What the source says is kept. Samples without a split are train; then, where the source has no test
    (no val), that share of the training groups becomes test (val), separately among groups of equal
    states, so that good and defective parts are in each split.
    """
    stated: dict[str, set[str]] = {}
    states: dict[str, set[str]] = {}
    for sample in samples:
        stated.setdefault(sample.group, set()).update({sample.split} - {None})
        states.setdefault(sample.group, set()).add(sample.state)
    given = set().union(*stated.values())
    moved: dict[str, str] = {}
    for groups in _strata([g for g, s in stated.items() if s <= {"train"}], states, seed):
        start = 0
        for split, share in (("test", test), ("val", val)):
            if split not in given and share > 0:
                taken = groups[start : start + math.ceil(share * len(groups))]
                start += len(taken)
                moved |= dict.fromkeys(taken, split)
    others = {group: min(splits) if splits else "train" for group, splits in stated.items()}
    return [replace(s, split=moved.get(s.group) or s.split or others[s.group]) for s in samples]


def _strata(groups: list[str], states: dict[str, set[str]], seed: int) -> list[list[str]]:
    """Return the groups in an order that the seed decides, apart by the states they hold."""
    strata: dict[tuple[str, ...], list[str]] = {}
    for group in sorted(groups, key=lambda g: hashlib.sha256(f"{seed}:{g}".encode()).hexdigest()):
        strata.setdefault(tuple(sorted(states[group])), []).append(group)
    return list(strata.values())


def _settle(item: IncomingSample, dataset: Path, *, in_place: bool) -> Sample:
    digest = sha256_of(item.path)
    if in_place:
        relative = item.path.resolve().relative_to(dataset.resolve())
    else:
        relative = _copy(item, dataset, digest)
    return Sample.model_validate(
        {
            "image": relative.as_posix(),
            "sha256": digest,
            "width": item.size[0],
            "height": item.size[1],
            "split": item.split,
            "group": item.group,
            "boxes": list(item.boxes),
            "state": item.state,
            "origin": item.origin,
        }
    )


def _copy(item: IncomingSample, dataset: Path, digest: str) -> Path:
    name = contained_path(item.name, str(item.path))
    if name.parts[0] == "images" and len(name.parts) > 1:
        name = name.relative_to("images")
    target = dataset / "images" / name
    if target.exists() and sha256_of(target) != digest:
        target = target.with_name(f"{target.stem}-{digest[:8]}{target.suffix}")
    if not target.exists():
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(item.path, temporary)
            if sha256_of(temporary) != digest:
                raise DatasetError(f"{item.path} changed while it was copied; import again")
            temporary.replace(target)
        except OSError as error:
            raise DatasetError(f"{item.path} cannot be copied to {target}: {error}") from error
        finally:
            if temporary.is_file():
                temporary.unlink()
    return target.relative_to(dataset)
