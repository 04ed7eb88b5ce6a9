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

A part is taken once. Where its verdict gives another label later than the newest version has, the sample
is corrected in the next version, in its place: picture, split and group stay, `origin` says what it was.

| the newest version holds the part's picture | what happens |
|---|---|
| with the label that a harvest wrote | corrected |
| so, and today's verdict gives no sample | set aside: unlabelled, `origin` says why |
| with a label that a person edited or imported | left, and told: a person must look |
| no more | nothing: what was removed on purpose does not come back |

Not the verdict alone is compared but the label it gives today. A sample that waited for its class, or for
a first good picture in the dataset, is corrected as well when that is there. A label never gets lost so:
boxes that were taken as confirmed stay while the verdict does, though a later program, more careful,
would ask for them.

Pictures of one physical part must be in one group, so that they are never in two splits. What names
the part is the serial, else the code that was read from it, else nothing: then each trigger is a part of
its own. A code may be that of the type and the same on many parts. They become one group then: more is
kept together than need be, and nothing is split. That is why a code says nothing beside a serial: a part
that came once with its serial and once without is two groups.
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
from inspection_datasets.earlier_harvests import (
    SET_ASIDE,
    EarlierHarvests,
    Taken,
    has_same_label,
    read_earlier_harvests,
    read_origin,
    write_origin,
)
from inspection_datasets.incoming import inside, settle_box
from inspection_datasets.manifest import (
    Box,
    DatasetVersion,
    Sample,
    Split,
    State,
    load_version,
    sha256_of,
    write_version,
)

_PAGE = 1000
_DONE = "done"
_CONFIRMED = "boxes by model, confirmed"
_NOT_COUNTED = "no usable detection counted"
_THERE = "the picture is in the dataset already"
_EDITED = "the verdict changed, and the labels were edited by hand"
_NO_WORD = {
    Verdict.ABORTED: "the review was aborted",
    Verdict.UNSURE: "the person was not sure",
    Verdict.NOT_REVIEWED: "the verdict was taken back",
}


@dataclass(slots=True)
class Harvest:
    """What a harvest found.

    Attributes:
        version: the new version; None when there was nothing to add and nothing to correct.
        added: kind of sample to number.
        corrected: `BEFORE -> AFTER` of samples that were there to number.
        left_out: why to number.
        look_at: images of the dataset whose verdict changed after a person had edited the labels.
    """

    version: DatasetVersion | None = None
    added: dict[str, int] = field(default_factory=dict)
    corrected: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    look_at: list[str] = field(default_factory=list)


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
        since: new samples only from parts triggered at or after this time, see `read_since`. Samples that
            are there are corrected whatever the time of their part.
        split: where new groups go. A group that is in the dataset stays where it is.

    Raises:
        StoreError: the store cannot be read.
        DatasetError: the dataset or a picture cannot be read or written.
    """
    version = load_version(dataset)
    earlier = read_earlier_harvests(version)
    has_good = any(sample.state == "good" for sample in version.samples)
    revision = _Revision(version, earlier.by_part(), has_good)
    report, known = revision.report, set(earlier.pictures)
    place = {sample.group: sample.split for sample in version.samples}
    samples: list[Sample] = []
    with StoreReader(store) as reader:
        group_of_code: dict[str, str] = {}
        for held, row, last in _taken_before(reader, earlier):
            revision.settle(row, last)
            if row["code"] and not row["serial"]:
                group_of_code.setdefault(row["code"], held.sample.group)
        for row, last in _judged(reader, since):
            if revision.settle(row, last):
                continue
            state, boxes, why = _label(row, last, version, has_good=has_good)
            picture = _picture(store.images.folder, row)
            if state is None or isinstance(picture, str):
                _count(report.left_out, why if state is None else str(picture))
            elif picture.sha256 in known:
                _count(report.left_out, _THERE)
            else:
                known.add(picture.sha256)
                note = _note(state, boxes, why, drawn=last["boxes"] is not None)
                sample = _sample(row, picture, state, boxes, note, _group(row, group_of_code))
                place.setdefault(sample.group, split)
                target = _copy(store.images.folder / picture.path, picture, dataset, sample.image)
                update = {"image": target, "split": place[sample.group]}
                samples.append(sample.model_copy(update=update))
                _count(report.added, _kind(state, why))
    if samples or revision.corrected:
        kept = [revision.corrected.get(sample.image, sample) for sample in version.samples]
        report.version = write_version(dataset, version.name, version.classes, [*kept, *samples])
    return report


@dataclass(slots=True)
class _Revision:
    """Compares samples of earlier harvests with what the verdicts of their parts say today.

    Attributes:
        version: the newest version.
        taken: what it holds of earlier harvests, by the part's key and the SHA-256 of its picture.
        has_good: whether it holds a good picture.
        report: what was corrected, and what a person must look at.
        corrected: image to the sample that takes the place of the one with this image.
        settled: images that are in the report.
    """

    version: DatasetVersion
    taken: dict[tuple[str, str], Taken]
    has_good: bool
    report: Harvest = field(default_factory=Harvest)
    corrected: dict[str, Sample] = field(default_factory=dict)
    settled: set[str] = field(default_factory=set)

    def settle(self, row: dict[str, Any], last: dict[str, Any]) -> bool:
        """Correct or report the sample of a part; False: there is none, or its label is today's."""
        picture = _first_picture(row)
        held = None if isinstance(picture, str) else self.taken.get((_key(row), picture.sha256))
        if held is None:
            return False
        before = held.sample
        if before.image in self.settled:
            return True
        state, boxes, why = _label(row, last, self.version, has_good=self.has_good)
        if why == _NOT_COUNTED and held.origin.note == _CONFIRMED:
            return False
        note = _note(state, boxes, why, drawn=last["boxes"] is not None)
        today = _corrected(held, state, boxes, note, self.version.version)
        if not _differ(today, held.written if held.is_edited else before):
            return False
        if held.is_edited and has_same_label(today, before):
            return False
        self.settled.add(before.image)
        if held.is_edited:
            self.report.look_at.append(before.image)
            _count(self.report.left_out, _EDITED)
        else:
            self.corrected[before.image] = today
            is_moved = state == before.state == "labelled"
            kind = _kind(state, "other boxes" if is_moved else why)
            was = _kind(None if _is_set_aside(before) else before.state)
            _count(self.report.corrected, f"{was} -> {kind}")
        return True


def _corrected(
    held: Taken, state: State | None, boxes: list[Box], note: str, version: str
) -> Sample:
    """Return the sample as today's verdict has it: the same picture, split and group."""
    before, part = held.sample, held.origin
    size = (before.width, before.height)
    return before.model_copy(
        update={
            "boxes": [settle_box(box, size, f"part {part.key}") for box in boxes],
            "shapes": [],
            "label": None,
            "state": state or "unlabelled",
            "origin": write_origin(part.key, part.record, note, (version, part.note)),
        }
    )


def _differ(one: Sample, other: Sample) -> bool:
    """Tell whether two samples of a harvest differ in their label, or in whether they ask for boxes."""
    return not has_same_label(one, other) or _is_set_aside(one) != _is_set_aside(other)


def _is_set_aside(sample: Sample) -> bool:
    origin = read_origin(sample.origin)
    return origin is not None and origin.note.startswith(SET_ASIDE)


def _kind(state: State | None, why: str = "") -> str:
    """Return the words under which a label is counted; None: the part gives no sample."""
    kind = state or "set aside"
    return f"{kind} ({why})" if why else kind


def _count(counted: dict[str, int], key: str) -> None:
    counted[key] = counted.get(key, 0) + 1


def _taken_before(
    reader: StoreReader, earlier: EarlierHarvests
) -> Iterator[tuple[Taken, dict[str, Any], dict[str, Any]]]:
    """Yield what earlier harvests took from this store with the part and its last verdict.

    A part is found by the record that the origin names. In another store with the same part, as a plant's,
    records are other numbers: it is left out here.
    """
    for start in range(0, len(earlier.taken), _PAGE):
        taken = earlier.taken[start : start + _PAGE]
        states = reader.review_states([held.origin.record for held in taken])
        for held in taken:
            found = reader.part(held.origin.record)
            if found is not None and found[1] and _key(found[0]) == held.origin.key:
                yield held, found[0], _last_verdict(found, states)


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
                yield found[0], _last_verdict(found, states)
        below = rows[-1]["id"]


def _last_verdict(
    found: tuple[dict[str, Any], list[dict[str, Any]]], states: dict[int, str]
) -> dict[str, Any]:
    """Return the row of a part's last verdict, and as `waits` whether its review is not done."""
    return found[1][-1] | {"waits": states.get(found[0]["id"], _DONE) != _DONE}


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
        return "unlabelled", [], _NOT_COUNTED
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
    picture = _first_picture(row)
    if isinstance(picture, str):
        return picture
    path = inside(folder, picture.path, "the results store")
    if not path.is_file():
        return "the picture is gone"
    return picture if sha256_of(path) == picture.sha256 else "the picture was altered"


def _first_picture(row: dict[str, Any]) -> StoredImage | str:
    """Return the part's first picture as its row names it; else why there is none."""
    try:
        files = stored_images(row["images"])
    except (KeyError, TypeError, ValueError):
        return "the row of its picture is malformed"
    return files[0] if files else "no picture was kept"


def _note(state: State | None, boxes: list[Box], why: str, *, drawn: bool) -> str:
    """Return why a label is what it is; None: the part gives no sample any more."""
    if state is None:
        return f"{SET_ASIDE}{why}"
    confirmed = "boxes by a person" if drawn else _CONFIRMED
    return confirmed if boxes else f"draw boxes: {why}" if why else "false call"


def _key(row: dict[str, Any]) -> str:
    return str(PartKey(row["station"], row["epoch"], row["sequence"]))


def _group(row: dict[str, Any], group_of_code: dict[str, str]) -> str:
    """Return what names the physical part.

    Args:
        row: of the part.
        group_of_code: the group that the dataset has for a code, where samples of it are there. Earlier
            harvests did not look at codes: it may be the key of a part.
    """
    if row["serial"]:
        return f"serial:{row['serial']}"
    code = row["code"]
    return group_of_code.get(code, f"code:{code}") if code else _key(row)


def _sample(
    row: dict[str, Any],
    picture: StoredImage,
    state: State,
    boxes: list[Box],
    note: str,
    group: str,
) -> Sample:
    key = PartKey(row["station"], row["epoch"], row["sequence"])
    size = (picture.width, picture.height)
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
            "origin": write_origin(str(key), row["id"], note),
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
