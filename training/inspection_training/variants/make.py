"""Make a faster form of a release, prove that it decides alike, and put it beside the release.

    release, dataset ─▶ enough to prove it, never learned from ─▶ the release's decisions on val and test
      bf16: the same file, computed in bfloat16 ─────────────────────────┐
      int8: calibrate ─▶ search which layers stay in float (val, train) ─┤
                                                                         ▼
            compare decisions on val and test ─▶ metrics, latency in turns ─▶ variants/NAME/

What does not pass is refused and leaves nothing behind; what a kill leaves behind is never read as a
variant, and the next make removes it. The release itself is never touched.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path

from inspection.errors import ConfigError, DatasetError, ReleaseError
from inspection.release import load_release, read_card, write_atomic
from inspection.types import Release
from inspection.variants import (
    FOLDER,
    MIN_IMAGES,
    VARIANT_CARD,
    VARIANTS,
    VariantCard,
    in_precision,
)
from inspection_datasets.manifest import DatasetVersion
from inspection_training.evaluation import (
    SplitRun,
    known_pictures,
    refuse_known_pictures,
    samples_for,
)
from inspection_training.progress import Report, silent
from inspection_training.variants.int8 import make_int8
from inspection_training.variants.judge import JUDGED, RUNTIME, Judged, Wanted, Work, open_in
from inspection_training.variants.proof import defectives

_LOG = logging.getLogger(__name__)
_STAGING = ".staging."


def make_variant(
    folder: Path,
    precision: str,
    version: DatasetVersion,
    wanted: Wanted | None = None,
    report: Report = silent,
) -> VariantCard:
    """Make `variants/PRECISION` of a release and return its card.

    Args:
        folder: the release, releases/PART/NUMBER.
        precision: bf16 or int8.
        version: dataset of the part; its training images calibrate, val and test judge.
        wanted: what it must reach; default: 99 % equal decisions, ten minutes, split test.
        report: told about every step.

    Raises:
        ReleaseError: the release is refused, the variant is there already, cannot be written, or does
            not decide alike; nothing is left behind then.
        DatasetError: no images to calibrate with, too few to judge with, none of them defective and stopped
            by the release, or the release learned from some of them.
        ConfigError: no such precision or split.
    """
    wanted = wanted or Wanted()
    release = _checked(folder, precision, version, wanted)
    staging = folder / FOLDER / f"{_STAGING}{os.getpid()}"
    try:
        _remove_dead(folder / FOLDER)
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        work = Work(release, version, wanted, staging, report)
        card = make_int8(work) if precision == "int8" else _make_bf16(work)
        return _publish(staging, card, release)
    except OSError as error:
        raise ReleaseError(
            f"variant {precision} of {release.name} cannot be written to {folder}: {error}; "
            "free space or check the rights"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        _remove_if_empty(folder / FOLDER)


def _checked(folder: Path, precision: str, version: DatasetVersion, wanted: Wanted) -> Release:
    if precision not in VARIANTS:
        raise ConfigError(f"precision {precision!r} is no variant; use {' or '.join(VARIANTS)}")
    if wanted.split not in JUDGED:
        raise ConfigError(f"split {wanted.split!r} was learned from or is none; use test or val")
    release = load_release(folder)
    if (folder / FOLDER / precision).exists():
        raise ReleaseError(
            f"{release.name} has a variant {precision}; rows may name it, so it is never replaced. "
            f"Release the model again, or delete {folder / FOLDER / precision} if it never ran"
        )
    check_data(release, version, wanted)
    return release


def check_data(release: Release, version: DatasetVersion, wanted: Wanted) -> None:
    """Make sure that a dataset can judge a variant.

    Raises:
        ReleaseError: it is the dataset of another part.
        DatasetError: its images are too few, or none has a defect, or the release learned from them.
    """
    if release.task != "anomaly" and release.classes != version.classes[: len(release.classes)]:
        raise ReleaseError(
            f"{release.name} knows {list(release.classes)}, {version.folder} has "
            f"{list(version.classes)}; name the dataset of this part"
        )
    if not samples_for(release, version, wanted.split):
        raise DatasetError(
            f"{version.folder} {version.version} has no labelled and no good image in "
            f"{wanted.split}; label some, or name another split"
        )
    _check_proof(release, version, wanted)


def _check_proof(release: Release, version: DatasetVersion, wanted: Wanted) -> None:
    """Raise DatasetError unless the images can prove anything about the release."""
    where = f"{version.folder} {version.version}"
    judged = {split: tuple(samples_for(release, version, split)) for split in JUDGED}
    count = len({sample.sha256 for samples in judged.values() for sample in samples})
    if count < MIN_IMAGES:
        raise DatasetError(
            f"{where} has {count} different labelled and good images in {' and '.join(JUDGED)}; fewer than "
            f"{MIN_IMAGES} prove nothing about a variant. Label more"
        )
    if not any(defectives(release, judged[wanted.split])):
        raise DatasetError(
            f"{where} has no defective image in {wanted.split}, so nobody could tell whether a variant "
            "lets defects pass; label some"
        )
    card = read_card(release.folder)
    for split, samples in judged.items():
        run = SplitRun(release, card, version, split, samples, (), RUNTIME)
        try:
            refuse_known_pictures(run, wanted.trained_on)
        except DatasetError as error:
            raise DatasetError(f"{where} cannot judge a variant: {error}") from error
        for warning in known_pictures(run, wanted.trained_on):
            _LOG.warning("%s", warning)


def _make_bf16(work: Work) -> VariantCard:
    release = work.release
    faster = replace(release, model_sha256=f"bf16:{release.model_sha256}")
    base, other = open_in(release, "f32"), open_in(faster, "bf16")
    try:
        samples = work.judged()
        expected = work.detect(base, samples, "f32")
        judged = Judged(work, samples, expected)
        judged.judge("bf16", work.detect(other, samples, "bf16"))
        return judged.card("bf16", base, other)
    finally:
        base.close()
        other.close()


def _publish(staging: Path, card: VariantCard, release: Release) -> VariantCard:
    """Flush the files and let the folder appear whole, then check it as a station does."""
    checked = VariantCard.model_validate(card.model_dump())
    for name in checked.files:
        with (staging / name).open("rb") as file:
            os.fsync(file.fileno())
    write_atomic(staging / VARIANT_CARD, (checked.model_dump_json(indent=2) + "\n").encode())
    target = release.folder / FOLDER / checked.name
    try:
        staging.rename(target)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
        raise ReleaseError(
            f"another make of {release.name} in {checked.name} was first; its variant stays, see "
            f"inspection variant list {release.folder}"
        ) from error
    try:
        in_precision(release, checked.name, checked.runtimes[0])
    except ReleaseError:
        shutil.rmtree(target, ignore_errors=True)
        raise
    return checked


def _remove_dead(folder: Path) -> None:
    """Remove the staging folders of processes that have ended."""
    for staging in folder.glob(f"{_STAGING}*"):
        process = staging.name.removeprefix(_STAGING)
        if not (process.isdigit() and Path("/proc", process).exists()):
            shutil.rmtree(staging, ignore_errors=True)


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not empty, or never made
        folder.rmdir()
