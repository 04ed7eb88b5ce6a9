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
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from inspection.detector import Detector
from inspection.errors import ReleaseError
from inspection.release import (
    CARD,
    MODEL,
    ReleaseCard,
    current_number,
    list_releases,
    load_release,
    read_card,
    sha256_file,
    write_card,
)
from inspection.types import Image, Release

CARD_TEXT = "card.md"
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


def measure_latency(
    detector: Detector, images: Sequence[Image], runs: int = 50
) -> dict[str, float]:
    """Return milliseconds from image to boxes: median and 99th percentile, first runs left out."""
    spent: list[float] = []
    for index in range(runs + 5):
        start = time.perf_counter()
        detector.detect(images[index % len(images)], 60.0)
        spent.append((time.perf_counter() - start) * 1e3)
    p50, p99 = np.percentile(spent[5:], [50, 99])
    return {"p50_ms": round(float(p50), 2), "p99_ms": round(float(p99), 2), "runs": runs}


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


def not_in_force(release: Release) -> str:
    """Return why a release that was just published is not in force, and what to do; empty: it is.

    After a rollback the older release stays in force until a person says otherwise.
    """
    releases = release.folder.parent.parent
    current = current_number(releases, release.part)
    if current == release.number:
        return ""
    return (
        f"{release.name} is not in force: a rollback put {release.part}/{current} in force for clients "
        f"that name no number, and it stays so. To change that: `inspection release rollback {releases} "
        f"{release.part} --to {release.number}`"
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
    """Write `card.md`, the release in words, and return its sha256."""
    path = folder / CARD_TEXT
    path.write_text(describe(card, released=released), encoding="utf-8")
    return sha256_file(path)


def describe(card: ReleaseCard, *, released: bool = True) -> str:
    """Return the release in Markdown: what it is, what was measured, what is not claimed.

    Args:
        card: everything that is told.
        released: False: it is a candidate, and its number means nothing.
    """
    name = f"{card.part}/{card.number}" if released else f"{card.part}: candidate, not released"
    lines = [
        f"# {name}",
        "",
        f"- made {card.created_at} from {card.family}, start weights: {card.base_weights}",
        f"- dataset {card.dataset.name} {card.dataset.version}: {card.dataset.train_images} training "
        f"and {card.dataset.val_images} val images",
        f"- dataset version sha256 {card.dataset.sha256}",
        f"- input {card.input_size[1]}x{card.input_size[0]}, classes {', '.join(card.classes)}",
        f"- licence of the model: {card.licence}",
        f"- claim: {card.claim or 'none'}",
        *_measured_lines(card),
        *_limit_lines(card),
        *_gate_lines(card),
        *_parity_lines(card),
        *_latency_lines(card),
        *_file_lines(card),
    ]
    if released:
        lines += [
            *("", "## How to go back", ""),
            f"`inspection release rollback RELEASES {card.part}` makes the release before it the one in "
            "force for clients that name no number. A station goes by the number in its recipe: write the "
            "old number there and let the PLC request the recipe again.",
        ]
    return "\n".join([*lines, "", f"Everything else is in {CARD}.", ""])


def _measured_lines(card: ReleaseCard) -> list[str]:
    lines = [
        *("", "## Measured", ""),
        "| measured on | images | escape | overkill | review of good parts | mAP50 or AUROC |",
        "|---|---|---|---|---|---|",
    ]
    for metrics in card.metrics.get("evaluations", []):
        lines.append(
            f"| {metrics['split']} | {metrics['images']} "
            f"| {in_words(metrics['defective']['escape'])} "
            f"| {in_words(metrics['good']['overkill'])} | {in_words(metrics['good']['review'])} "
            f"| {metrics['map50'] if metrics.get('auroc') is None else metrics['auroc']} |"
        )
    note = card.metrics.get("note")
    return [*lines, "", f"Intervals are 95 %. Note: {note}."] if note else lines


def _limit_lines(card: ReleaseCard) -> list[str]:
    rows = [f"| {name} | {x.t1} | {x.t2} |" for name, x in card.limits.items()]
    return ["", "## Limits", "", "| class | T1 | T2 |", "|---|---|---|", *rows]


def _gate_lines(card: ReleaseCard) -> list[str]:
    gates = card.metrics.get("gates")
    if not gates:
        return []
    lines = ["", "## Gates", "", "| gate | passed | found |", "|---|---|---|"]
    for result in gates["results"]:
        words = str(result["sentence"]).replace("|", "/")
        lines.append(f"| {result['gate']} | {'yes' if result['passed'] else 'NO'} | {words} |")
    if gates["not_asked"]:
        lines += ["", f"Not asked: {', '.join(gates['not_asked'])}."]
    for change in gates.get("overridden", []):
        lines += ["", f"{gates['by']} changed {change['gate']}: asked was {change['before']}, "
                  f"asked is {change['after']} ({gates['at']})."]  # fmt: skip
    return lines


def _parity_lines(card: ReleaseCard) -> list[str]:
    lines = [
        f"- {result['runtime']}: scores differ by at most {result['max_score_difference']:.4f} "
        f"on {result['images']} images"
        for result in card.parity.get("results", [])
    ]
    return ["", "## Parity of the exported with the trained model", "", *(lines or ["- none"])]


def _latency_lines(card: ReleaseCard) -> list[str]:
    rows = [
        f"| {name} | {value['p50_ms']} | {value['p99_ms']} |"
        for name, value in card.latency.items()
        if isinstance(value, dict)
    ]
    title = f"## Latency on {card.latency.get('machine', 'an unknown machine')}"
    head = ["| runtime | median, ms | 99th percentile, ms |", "|---|---|---|"]
    return ["", title, "", *head, *rows]


def _file_lines(card: ReleaseCard) -> list[str]:
    rows = [f"- {name} {sha}" for name, sha in card.files.items() if name != CARD_TEXT]
    more = "Faster variants, if any were made since, lie in `variants/` with numbers of their own."
    return ["", "## Files, sha256", "", *rows, "", more]


def in_words(value: dict[str, Any]) -> str:
    """Return a rate as `3 of 48 = 6.2 % (1.3..17.2 %)`."""
    if not value["of"]:
        return "no such images"
    low, high = 100 * value["low"], 100 * value["high"]
    return (
        f"{value['count']} of {value['of']} = {100 * value['rate']:.1f} % ({low:.1f}..{high:.1f} %)"
    )
