"""Publish a dataset version: a folder that others may have, or nothing.

    approval ─▶ card, log, check ─▶ paint, rename, encode ─▶ labels, card, licence, hashes ─▶ log ─▶ rename

    TARGET/images/SPLIT/HASH.png   pixels only: no metadata, no original name
    TARGET/ground_truth.csv, annotations/instances_SPLIT.json, card.json, README.md, LICENSE.txt, SHA256SUMS

What stays here: `publishing.jsonl`, and `publishing/HASH.csv`, which says what every picture was.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2

from inspection.errors import DatasetError
from inspection_datasets.check import check_dataset
from inspection_datasets.exporting import write_coco
from inspection_datasets.findings import Severity
from inspection_datasets.incoming import inside, read_image
from inspection_datasets.manifest import (
    CARD,
    DatasetVersion,
    Sample,
    load_version,
    read_card,
    sha256_of,
)
from inspection_datasets.publishing import private, texts
from inspection_datasets.publishing.card import SharingCard
from inspection_datasets.publishing.facts import facts_of
from inspection_datasets.publishing.log import PublishingLog, open_log

SUMS = "SHA256SUMS"
MAPPINGS = "publishing"
_FORMULA = re.compile(r"^(?=[=+\-@\t\r\n＝＋－＠])|;(?=[=+\-@\t\r\n＝＋－＠])")
"""Where a spreadsheet would begin a formula; the same rule as in the export of results."""
TOLD = frozenset({"near_duplicate_leak", "train_empty", "class_untrained"})
"""Errors for a training on this split, not in pictures and labels: told to whoever gets them, not refused.

Good parts under a fixed camera are nearly equal, and sets of good parts have no defects to train on.
"""
_NAME = 20
"""Hexadecimal digits of a picture's name."""


@dataclass(frozen=True, slots=True)
class Approval:
    """Who lets a dataset go out, and why.

    Attributes:
        by: name of a person.
        reason: in words.
    """

    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Published:
    """What went out.

    Attributes:
        folder: the new folder.
        images: pictures in it.
        sha256: of its `SHA256SUMS`, which stands for every file; it is in the log.
        masked: what was painted out and dropped.
        findings: what the check found and whoever gets it is told: code of `TOLD` to number.
        torn: half a line of the log, cut off and kept in this file; None: the log was whole.
    """

    folder: Path
    images: int
    sha256: str
    masked: private.Masked
    findings: dict[str, int]
    torn: Path | None


def publish(
    folder: Path,
    version: str,
    target: Path,
    approval: Approval,
    *,
    mask: bool = False,
    tick: Callable[[], None] = lambda: None,
) -> Published:
    """Write a dataset version for others. The folder appears whole, after the approval is on disk, or not.

    Args:
        folder: the dataset.
        version: `v0001` and so on.
        target: a folder that does not exist or is empty, outside the dataset.
        approval: who and why.
        mask: paint out what the card calls private; without it, a dataset with private parts is refused.
        tick: called twice for each picture: checked, written.

    Raises:
        DatasetError: no approval, no licence, errors found by the check, private parts without `mask`, a
            private region that hides nothing, a target that is in use, a damaged log, a card that changed
            meanwhile, or no room on the disk.
    """
    _check_approval(approval)
    loaded = load_version(folder, version)
    card = sha256_of(folder / CARD)
    sharing = _sharing(folder)
    licence = _licence(folder, sharing)
    _check_target(target, folder)
    _check_private(loaded, sharing, mask)
    staging = target.with_name(f".{target.name}.{os.getpid()}.part")
    with open_log(folder) as log:
        findings = _check_findings(loaded, tick)
        try:
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir()
            masked = private.Masked()
            public, names = _pictures(loaded, sharing, staging, masked, tick)
            _write_labels(public, texts.Told(facts_of(public), sharing, masked, findings), licence)
            digest = _write_sums(staging)
            _write_mapping(folder, digest, names)
            done = Published(target, len(public.samples), digest, masked, findings, log.torn)
            _approve(log, loaded, card, done, approval)
            _appear(staging, log, done)
        except OSError as error:
            raise DatasetError(
                f"{target} cannot be written: {error}; free space or name another folder. Nothing was "
                "published"
            ) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return done


def _check_approval(approval: Approval) -> None:
    for what, text in (("--approved-by", approval.by), ("--reason", approval.reason)):
        if not text.strip() or not text.isprintable() or len(text) > 200:
            raise DatasetError(
                f"{what} must be 1 to 200 printable characters: somebody must let this dataset go out, by "
                "name and with a reason"
            )


def _sharing(folder: Path) -> SharingCard:
    sharing = read_card(folder).sharing
    if sharing is None:
        raise DatasetError(
            f"card.yaml of {folder} has no `sharing` with a licence and a rights holder; without a licence "
            "nobody may use the images. Add it"
        )
    return sharing


def _licence(folder: Path, sharing: SharingCard) -> str:
    text = f"{sharing.licence}\n\n{sharing.holder}\n"
    if not sharing.licence_file:
        return text
    path = inside(folder, sharing.licence_file, "card.yaml")
    try:
        return text + "\n" + path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"licence_file {path} cannot be read ({error}); correct the card"
        ) from error


def _check_private(version: DatasetVersion, sharing: SharingCard, mask: bool) -> None:
    private.check_private_classes(version, sharing)
    private.check_private_regions(version, sharing)
    if private.has_private(version, sharing) and not mask:
        raise DatasetError(
            f"{version.folder} has private regions or classes; give --mask to paint them out"
        )


def _check_target(target: Path, folder: Path) -> None:
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise DatasetError(f"{target} is there and not empty; name a new folder")
    if not target.parent.is_dir():
        raise DatasetError(f"there is no folder {target.parent}; create it")
    if target.resolve().is_relative_to(folder.resolve()):
        raise DatasetError(f"{target} lies in the dataset {folder}; name a folder outside it")


def _check_findings(version: DatasetVersion, tick: Callable[[], None]) -> dict[str, int]:
    """Return how many errors of each kind of `TOLD` there are. Raises DatasetError for any other error."""
    errors = [f for f in check_dataset(version, tick=tick) if f.severity is Severity.ERROR]
    wrong = [finding for finding in errors if finding.code not in TOLD]
    if wrong:
        raise DatasetError(
            f"{version.folder} {version.version} has {len(wrong)} errors, the first: {wrong[0].text()}. "
            "Run `inspection dataset check`, correct them, publish the next version"
        )
    return dict(Counter(finding.code for finding in errors))


def _pictures(
    version: DatasetVersion,
    sharing: SharingCard,
    staging: Path,
    masked: private.Masked,
    tick: Callable[[], None],
) -> tuple[DatasetVersion, list[tuple[str, Sample]]]:
    """Write every picture; return the anonymous version, and published name with the sample it was."""
    groups = private.group_names(version)
    samples: list[Sample] = []
    names: list[tuple[str, Sample]] = []
    taken: set[str] = set()
    for sample in version.samples:
        path = inside(version.folder, sample.image, version.version)
        if sha256_of(path) != sample.sha256:
            raise DatasetError(f"{path} was altered while it was published; restore it")
        image, regions = read_image(path), private.regions_of(sample, sharing)
        private.paint(image, regions)
        data = cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()
        digest = hashlib.sha256(data).hexdigest()
        name = f"images/{sample.split}/{_free(digest[:_NAME], taken)}.png"
        (staging / name).parent.mkdir(parents=True, exist_ok=True)
        (staging / name).write_bytes(data)
        public = private.public_labels(sample, regions, sharing, masked)
        changed = {"image": name, "sha256": digest, "group": groups[sample.group], "origin": ""}
        samples.append(public.model_copy(update=changed))
        names.append((name, sample))
        tick()
    samples.sort(key=lambda sample: sample.image)  # the order of the dataset may tell of production
    classes = private.public_classes(version, sharing)
    return replace(version, folder=staging, classes=classes, samples=tuple(samples)), names


def _free(name: str, taken: set[str]) -> str:
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    taken.add(free)
    return free


def _write_labels(public: DatasetVersion, told: texts.Told, licence: str) -> None:
    staging = public.folder
    write_coco(public, staging)
    with (staging / "ground_truth.csv").open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_path", "split", "state", "label", "x1", "y1", "x2", "y2", "group"])
        writer.writerows(_rows(public.samples))
    card = json.dumps(texts.card(told), ensure_ascii=False, indent=2)
    (staging / "card.json").write_text(card + "\n", encoding="utf-8")
    (staging / "README.md").write_text(texts.readme(told), encoding="utf-8")
    (staging / "LICENSE.txt").write_text(licence, encoding="utf-8")


def _rows(samples: Sequence[Sample]) -> Iterator[list[object]]:
    """One row a label; a good picture and one without a place have one row without coordinates."""
    for sample in samples:
        start = [sample.image, sample.split, sample.state]
        for name, *sides in sample.boxes:
            yield [*start, harmless(name), *sides, sample.group]
        if not sample.boxes:
            label = "good" if sample.state == "good" else harmless(sample.label or "")
            yield [*start, label, "", "", "", "", sample.group]


def harmless(text: str) -> str:
    """Return a text that a spreadsheet takes for text: a quote stands before what begins like a formula."""
    return _FORMULA.sub(lambda found: f"{found[0]}'", text)


def _write_sums(staging: Path) -> str:
    """Write the hash of every file; return the hash of that list."""
    files = sorted(path for path in staging.rglob("*") if path.is_file())
    lines = [f"{sha256_of(path)}  {path.relative_to(staging).as_posix()}\n" for path in files]
    (staging / SUMS).write_text("".join(lines), encoding="utf-8")
    return sha256_of(staging / SUMS)


def _write_mapping(folder: Path, digest: str, names: Sequence[tuple[str, Sample]]) -> None:
    path = folder / MAPPINGS / f"{digest[:_NAME]}.csv"
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["published", "image", "sha256", "group"])
            for name, sample in names:
                row = [name, sample.image, sample.sha256, sample.group]
                writer.writerow([harmless(cell) for cell in row])
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _approve(
    log: PublishingLog, version: DatasetVersion, card: str, done: Published, approval: Approval
) -> None:
    """Log the approval; `card` is the hash of the card that was read. Raises DatasetError."""
    path = version.folder / CARD
    if sha256_of(path) != card:
        raise DatasetError(
            f"{path} was changed while {version.version} was published; nothing went out, publish again"
        )
    log.append(
        event="approved",
        by=approval.by,
        reason=approval.reason,
        dataset=version.name,
        version=version.version,
        version_sha256=version.sha256,
        card_sha256=card,
        to=str(done.folder),
        sha256=done.sha256,
        images=done.images,
        masked=asdict(done.masked),
        findings=done.findings,
    )


def _appear(staging: Path, log: PublishingLog, done: Published) -> None:
    """Let the folder appear; where it cannot, the log says that nothing went out."""
    try:
        staging.rename(done.folder)
    except OSError:
        log.append(event="not_published", sha256=done.sha256)
        raise
