"""Build a release folder and publish it under the next number.

    candidate folder: model.onnx ─▶ checked and measured ─▶ release.json, card.md
        ─▶ copied beside the releases, flushed to disk ─▶ renamed to releases/PART/NUMBER

A release appears whole or not at all.
"""

from __future__ import annotations

import os
import platform
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from inspection.detector import Detector
from inspection.errors import ReleaseError
from inspection.release import (
    MODEL,
    ReleaseCard,
    current_number,
    list_releases,
    load_release,
    read_card,
    sha256_file,
    write_card,
)
from inspection.sentences.card import WORDS
from inspection.sentences.language import phrase
from inspection.sentences.shares import rate_sentence
from inspection.types import Image, Release
from inspection_training.card_text import CARD_TEXT, describe

_LIBRARIES = (
    *("inspection", "torch", "torchvision", "ultralytics", "albumentations", "opencv-python"),
    *("numpy", "onnx", "onnxruntime", "openvino", "faster-coco-eval", "scipy"),
)


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that made the release."""
    found: dict[str, str] = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def machine() -> str:
    """Return processor and cores in words."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(x.split(":", 1)[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, {os.cpu_count()} cores"


LATENCY_RUNS = 50
"""A latency is measured over so many runs, and no more pictures."""


def measure_latency(
    detector: Detector, pictures: Sequence[Callable[[], Image]], runs: int = LATENCY_RUNS
) -> dict[str, float]:
    """Return milliseconds from image to boxes: median and 99th percentile, first runs left out.

    Args:
        detector: has the release loaded.
        pictures: readers, asked one after the other, outside the time that is measured.
        runs: how many times are taken.
    """
    spent: list[float] = []
    for index in range(runs + 5):
        image = pictures[index % len(pictures)]()
        start = time.perf_counter()
        detector.detect(image, 60.0)
        spent.append((time.perf_counter() - start) * 1e3)
    p50, p99 = np.percentile(spent[5:], [50, 99])
    return {
        "p50_ms": round(float(p50), 2),
        "p99_ms": round(float(p99), 2),
        "runs": runs,
        "pictures": min(len(pictures), runs),
    }


def now() -> str:
    """Return the time as UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def next_number(releases: Path, part: str) -> int:
    """Return the first number over every folder of the part."""
    folder = releases / part
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return max((int(name) for name in names if name.isdigit()), default=0) + 1


def released_as(releases: Path, part: str, model_sha256: str) -> str | None:
    """Return PART/NUMBER of the release that holds this very model; None: there is none."""
    for number in list_releases(releases).get(part, []):
        if read_card(releases / part / str(number)).files[MODEL] == model_sha256:
            return f"{part}/{number}"
    return None


def not_in_force(release: Release, language: str = "en") -> str:
    """Return why a release that was just published is not in force, and what to do; empty: it is.

    After a rollback the older release stays in force until a person says otherwise.
    """
    releases = release.folder.parent.parent
    try:
        current = current_number(releases, release.part)
    except ReleaseError as error:  # it is published all the same
        return f"{release.name}: {error}"
    if current == release.number:
        return ""
    before = f"{release.part}/{current}"
    command = f"inspection release rollback {releases} {release.part} --to {release.number}"
    return phrase(
        WORDS, "not_in_force", language, name=release.name, current=before, command=command
    )


def publish(
    candidate: Path,
    card: ReleaseCard,
    releases: Path,
    instead: Mapping[str, bytes] | None = None,
) -> Release:
    """Put a candidate folder among the releases under the next free number.

    Nothing is written to the candidate, so that it can be asked again after a crash.

    Args:
        candidate: folder with every file that the card lists.
        card: its number is replaced; `card.md` is written again with it.
        releases: the releases folder; made when it is not there.
        instead: files whose content differs from the candidate's.

    Returns:
        The release, loaded and checked where it now is.

    Raises:
        ReleaseError: it cannot be written, or is refused by `load_release`; nothing is left behind.
    """
    part = releases / card.part
    staging = part / f".staging.{os.getpid()}"
    try:
        part.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        for name in card.files:
            target = staging / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if instead is not None and name in instead:
                target.write_bytes(instead[name])
            else:
                shutil.copyfile(candidate / name, target)
            _flush(target)
        return _rename(staging, card, part)
    except OSError as error:
        raise ReleaseError(
            f"the release cannot be written to {part}: {error}; free space or check the rights"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _rename(staging: Path, card: ReleaseCard, part: Path) -> Release:
    while True:
        number = next_number(part.parent, card.part)
        numbered = card.model_copy(update={"number": number})
        if CARD_TEXT in card.files:
            files = {**card.files, CARD_TEXT: write_text_card(staging, numbered)}
            numbered = numbered.model_copy(update={"files": files})
            _flush(staging / CARD_TEXT)
        write_card(staging, numbered)
        target = part / str(number)
        try:
            staging.rename(target)
        except OSError:
            if target.exists():
                continue  # another training took this number
            raise
        break
    _flush(part)
    try:
        return load_release(target)
    except ReleaseError:
        shutil.rmtree(target, ignore_errors=True)
        raise


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text_card(folder: Path, card: ReleaseCard, *, released: bool = True) -> str:
    """Write `card.md`, the release in words of both languages, and return its sha256."""
    path = folder / CARD_TEXT
    both = [describe(card, language, released=released) for language in ("en", "ko")]
    path.write_text("\n---\n\n".join(both), encoding="utf-8")
    return sha256_file(path)


def in_words(value: dict[str, Any], language: str = "en") -> str:
    """Return a rate as `3 of 48 = 6.2 % (1.3..17.2 %)`."""
    return rate_sentence(value, language)
