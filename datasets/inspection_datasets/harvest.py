"""Harvest: parts that people judged in the results store become samples of the next version.

| verdict (the last one of a part) | sample |
|---|---|
| false_call | good: a hard negative |
| real_defect on a part that did not pass | labelled with the detections that counted |
| missed, borderline, real_defect on a part that passed | unlabelled; `origin` asks for boxes |
| any of these but false_call, with boxes that the person corrected | labelled with their boxes |
| aborted, unsure, not_reviewed (taken back) | none |

A part that still waits in the review (for a second person, for the engineer) gives no sample: it is taken
by the first harvest after it is settled.

Which detections counted stands in the row; where an older row tells only how many, and there were more,
the sample stays unlabelled: a box that did not count is no defect, and one that is left out would be
learned as good. So it does where a class that the dataset does not have is among them, or none counted.
In a dataset without any good picture (a thing that must be there is on all of them), a false call stays
unlabelled too: it has boxes that nobody drew.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from inspection.errors import DatasetError
from inspection.store.config import StoreConfig
from inspection.store.images import picture_stem
from inspection.store.queries import PartFilter, StoreReader
from inspection.store.rows import counted, stored_images
from inspection.types import Decision, PartKey, StoredImage, Verdict
from inspection_datasets.incoming import inside, settle_box
from inspection_datasets.manifest import (
    Box,
    DatasetVersion,
    Sample,
    Split,
    State,
    load_version,
    sha256_of,
    version_files,
    write_version,
)

_PAGE = 1000
_DONE = "done"
_NO_WORD = {
    Verdict.ABORTED: "the review was aborted",
    Verdict.UNSURE: "the person was not sure",
    Verdict.NOT_REVIEWED: "the verdict was taken back",
}


@dataclass(slots=True)
class Harvest:
    """What a harvest found.

    Attributes:
        version: the new version; None when there was nothing to add.
        added: kind of sample to number.
        left_out: why to number.
    """

    version: DatasetVersion | None = None
    added: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)


def read_since(text: str) -> str:
    """Return a date or time as the UTC text that the store sorts by; without a zone it is UTC.

    Raises:
        DatasetError: not ISO 8601.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise DatasetError(
            f"--since is {text!r}; write a date or time as 2026-11-21 or 2026-11-21T06:00:00+09:00"
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def harvest(
    store: StoreConfig, dataset: Path, since: str | None = None, split: Split = "train"
) -> Harvest:
    """Write the next version of a dataset with the parts that have a verdict and a picture.

    Args:
        store: the results store; `images.folder` is where its pictures are.
        dataset: a dataset that exists; its classes are kept.
        since: only parts triggered at or after this time, see `read_since`.
        split: where new groups go. A group (serial, else the part) that is in the dataset stays where
            it is.

    Raises:
        StoreError: the store cannot be read.
        DatasetError: the dataset or a picture cannot be read or written.
    """
    version = load_version(dataset)
    known = _known_pictures(dataset)
    place = {sample.group: sample.split for sample in version.samples}
    has_good = any(sample.state == "good" for sample in version.samples)
    report, samples = Harvest(), list[Sample]()
    with StoreReader(store) as reader:
        for row, last in _judged(reader, since):
            state, boxes, why = _label(row, last, version, has_good=has_good)
            picture = _picture(store.images.folder, row)
            if state is None or isinstance(picture, str):
                _count(report.left_out, why if state is None else str(picture))
            elif picture.sha256 in known:
                _count(report.left_out, "the picture is in the dataset already")
            else:
                known.add(picture.sha256)
                sample = _sample(row, picture, state, boxes, why, drawn=last["boxes"] is not None)
                place.setdefault(sample.group, split)
                target = _copy(store.images.folder / picture.path, picture, dataset, sample.image)
                update = {"image": target, "split": place[sample.group]}
                samples.append(sample.model_copy(update=update))
                _count(report.added, state if state != "unlabelled" else f"unlabelled ({why})")
    if samples:
        report.version = write_version(
            dataset, version.name, version.classes, [*version.samples, *samples]
        )
    return report


def _count(counted: dict[str, int], key: str) -> None:
    counted[key] = counted.get(key, 0) + 1


def _known_pictures(dataset: Path) -> set[str]:
    """Hashes of every picture of every version: what was removed on purpose does not come back."""
    versions = [load_version(dataset, path.stem) for path in version_files(dataset)]
    return {sample.sha256 for version in versions for sample in version.samples}


def _judged(
    reader: StoreReader, since: str | None
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each part with a verdict, and the row of its last verdict, newest part first."""
    below: int | None = None
    while rows := reader.page(PartFilter(since=since), below=below, limit=_PAGE):
        open_ones = reader.page(PartFilter(since=since, unreviewed=True), below=below, limit=_PAGE)
        without = {row["id"] for row in open_ones}
        states = reader.review_states([row["id"] for row in rows if row["id"] not in without])
        for row in rows:
            found = None if row["id"] in without else reader.part(row["id"])
            if found is not None and found[1]:
                waits = states.get(row["id"], _DONE) != _DONE
                yield found[0], found[1][-1] | {"waits": waits}
        below = rows[-1]["id"]


def _label(
    row: dict[str, Any], last: dict[str, Any], version: DatasetVersion, *, has_good: bool
) -> tuple[State | None, list[Box], str]:
    """Return state and boxes of a part's sample, and why it is open or left out."""
    verdict = Verdict(last["verdict"])
    passed = row["decision"] == Decision.PASS
    if verdict in _NO_WORD or last["waits"]:
        return None, [], _NO_WORD.get(verdict, "the review is not done")
    if verdict is Verdict.FALSE_CALL:
        return ("good", [], "") if has_good else ("unlabelled", [], "no good picture here")
    if last["boxes"]:
        boxes = [_corners(box) for box in last["boxes"]]
    elif last["boxes"] is None and verdict is Verdict.REAL_DEFECT and not passed:
        boxes = _counted(row)
    else:
        return "unlabelled", [], "missed" if verdict is not Verdict.BORDERLINE else "borderline"
    if not boxes:
        return "unlabelled", [], "no usable detection counted"
    if {box[0] for box in boxes} - set(version.classes):
        return "unlabelled", [], "unknown class"
    return "labelled", boxes, ""


def _counted(row: dict[str, Any]) -> list[Box]:
    boxes = [_corners(found) for found in counted(row) or []]
    return boxes if all(b[3] > b[1] and b[4] > b[2] for b in boxes) else []


def _corners(found: dict[str, Any]) -> Box:
    x1, y1, x2, y2 = (float(value) for value in found["box"])
    return (str(found["class"]), x1, y1, x2, y2)


def _picture(folder: Path, row: dict[str, Any]) -> StoredImage | str:
    """Return the part's first picture, there and unchanged; else why there is none."""
    try:
        files = stored_images(row["images"])
    except (KeyError, TypeError, ValueError):
        return "the row of its picture is malformed"
    if not files:
        return "no picture was kept"
    path = inside(folder, files[0].path, "the results store")
    if not path.is_file():
        return "the picture is gone"
    return files[0] if sha256_of(path) == files[0].sha256 else "the picture was altered"


def _sample(
    row: dict[str, Any],
    picture: StoredImage,
    state: State,
    boxes: list[Box],
    why: str,
    *,
    drawn: bool,
) -> Sample:
    key = PartKey(row["station"], row["epoch"], row["sequence"])
    group = f"serial:{row['serial']}" if row["serial"] else str(key)
    size = (picture.width, picture.height)
    confirmed = "boxes by a person" if drawn else "boxes by model, confirmed"
    note = confirmed if boxes else f"draw boxes: {why}" if why else "false call"
    return Sample.model_validate(
        {
            "image": f"images/harvest/{picture_stem(key)}{Path(picture.path).suffix}",
            "sha256": picture.sha256,
            "width": picture.width,
            "height": picture.height,
            "split": "train",
            "group": group,
            "boxes": [settle_box(box, size, f"part {key}") for box in boxes],
            "state": state,
            "origin": f"store:{key} record {row['id']} ({note})",
        }
    )


def _copy(source: Path, picture: StoredImage, dataset: Path, name: str) -> str:
    """Copy a picture into the dataset and return its path there; an existing file is never replaced."""
    target = dataset / name
    if target.exists() and sha256_of(target) != picture.sha256:
        target = target.with_name(f"{target.stem}-{picture.sha256[:8]}{target.suffix}")
    if not target.exists():
        temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        try:
            data = source.read_bytes()
            if cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is None:
                raise DatasetError(f"{source} is not an image that can be read; restore it")
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(data)
            if sha256_of(temporary) != picture.sha256:
                raise DatasetError(f"{source} changed while it was copied; harvest again")
            temporary.replace(target)
        except OSError as error:
            raise DatasetError(f"{source} cannot be copied to {target}: {error}") from error
        finally:
            temporary.unlink(missing_ok=True)
    return target.relative_to(dataset).as_posix()
