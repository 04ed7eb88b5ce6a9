"""Import: recognise the layout, read it, split it by group, copy the pictures, write the next version.

source (folder, file, archive) ─▶ recognise ─▶ read ─▶ split by group ─▶ copy and hash ─▶ vNNNN.jsonl
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
from typing import Any

from inspection.errors import DatasetError
from inspection_datasets.archives import is_archive, unpacked
from inspection_datasets.coco import find_json_files, read_coco
from inspection_datasets.cvat import find_cvat, read_cvat
from inspection_datasets.deeppcb import find_root, read_deeppcb
from inspection_datasets.folders import find_folders, read_folders
from inspection_datasets.incoming import Incoming, IncomingSample
from inspection_datasets.label_studio import find_label_studio, read_label_studio
from inspection_datasets.labelme import find_labelme, read_labelme
from inspection_datasets.layouts import LAYOUTS
from inspection_datasets.listing import find_list, read_list
from inspection_datasets.manifest import (
    DatasetVersion,
    Sample,
    contained_path,
    sha256_of,
    write_version,
)
from inspection_datasets.masks import find_masks, read_masks
from inspection_datasets.voc import find_voc, read_voc
from inspection_datasets.yolo import find_data_yaml, read_yolo

Progress = Callable[[str, int], None]
_Reader = Callable[[Path, Callable[[], None]], Incoming]
_READERS: dict[str, tuple[Callable[[Path], Any], _Reader]] = {
    "deeppcb": (find_root, read_deeppcb),
    "yolo": (find_data_yaml, read_yolo),
    "label-studio": (find_label_studio, read_label_studio),
    "coco": (find_json_files, read_coco),
    "cvat": (find_cvat, read_cvat),
    "voc": (find_voc, read_voc),
    "labelme": (find_labelme, read_labelme),
    "masks": (find_masks, read_masks),
    "list": (find_list, read_list),
    "folders": (find_folders, read_folders),
}


@dataclass(frozen=True, slots=True)
class ImportPlan:
    """How to import.

    Attributes:
        layout: one of `layouts.LAYOUTS`; auto recognises it.
        name: name of the dataset; empty: the dataset folder's name.
        val: share of the training groups that becomes val, where the source has no val.
        test: share of the training groups that becomes test, where the source has no test.
        seed: which groups these are.
        group: regular expression on the picture's name; its first group (or the whole match) names
            the group. Empty: the importer's own.
        in_place: refer to the pictures where they are; the source must lie inside the dataset folder.
    """

    layout: str = "auto"
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
    for layout, (find, _) in _READERS.items():
        if find(source):
            return layout
    known = "; ".join(f"{name}: {what}" for name, what in LAYOUTS.items())
    raise DatasetError(
        f"{source} is no known layout. Looked for {known}. Put the missing file there, or name the layout "
        "with --layout"
    )


def why(source: Path, layout: str) -> str:
    """Return the sentence that says what was recognised, and by which file or folder."""
    found = _READERS[layout][0](source)
    if isinstance(found, list | tuple):
        found = found[0] if found else ""
    if isinstance(found, dict):
        found = "folders " + ", ".join(sorted(found)[:8])
    if isinstance(found, Path):
        found = found.relative_to(source) if found.is_relative_to(source) else found.name
        found = found if str(found) != "." else "trainval.txt and test.txt"
    return f"recognised as {layout} by {found} ({LAYOUTS[layout]})"


def import_dataset(
    source: Path,
    dataset: Path,
    plan: ImportPlan | None = None,
    progress: Progress = lambda _stage, _count: None,
) -> tuple[DatasetVersion, Incoming]:
    """Import a folder, an annotation file or an archive as the next version of a dataset.

    Args:
        source: folder, annotation file, or zip or tar archive of either.
        dataset: dataset folder; made when it is not there.
        plan: how.
        progress: called with the stage and the number of pictures done in it.

    Returns:
        The new version, and what the importer found (layout and notes).

    Raises:
        DatasetError: anything missing or contradictory; no version was written then.
    """
    plan = plan or ImportPlan()
    if plan.layout != "auto" and plan.layout not in LAYOUTS:
        raise DatasetError(f"there is no layout {plan.layout!r}; known are {', '.join(LAYOUTS)}")
    if not is_archive(source):
        return _import(source, dataset, plan, progress)
    if plan.in_place:
        raise DatasetError(f"{source} is an archive; leave --in-place out, its images are copied")
    with unpacked(source, dataset) as folder:
        return _import(folder, dataset, plan, progress)


def _import(
    source: Path, dataset: Path, plan: ImportPlan, progress: Progress
) -> tuple[DatasetVersion, Incoming]:
    layout = recognise(source) if plan.layout == "auto" else plan.layout
    done = _Counter(progress, "reading")
    incoming = _READERS[layout][1](source, done.tick)
    if plan.layout == "auto":
        incoming = replace(incoming, notes=(why(source, layout), *incoming.notes))
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
    states (or class of the whole picture), so that good and defective parts are in each split.
    """
    stated: dict[str, set[str]] = {}
    states: dict[str, set[str]] = {}
    for sample in samples:
        stated.setdefault(sample.group, set()).update({sample.split} - {None})
        states.setdefault(sample.group, set()).add(sample.label or sample.state)
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
            "shapes": list(item.shapes),
            "label": item.label,
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
