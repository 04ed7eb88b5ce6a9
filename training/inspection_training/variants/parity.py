"""A variant against its release on the same images: decisions, boxes, rates and time, side by side."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspection.detector import Detector
from inspection.release import read_card
from inspection.types import Decision, Detections, Image, Release
from inspection.variants import HELD_OUT, Change, SplitCount, VariantParity, list_variants
from inspection_datasets.manifest import DatasetVersion, Sample
from inspection_training.anomaly_limits import measure_anomaly
from inspection_training.evaluate import decisions, is_defective, measure
from inspection_training.parity import match_rows
from inspection_training.variants.float_layers import LOWEST_SCORE

TURNS = 60
"""Runs of each in the comparison of time."""
_WARM = 5


def defectives(release: Release, samples: Sequence[Sample]) -> list[bool]:
    """Tell of each image whether it is defective by its labels, as the release's task means it."""
    if release.task == "anomaly":
        return [sample.state == "labelled" for sample in samples]
    required = {name: x.expected for name, x in release.limits.items() if x.expected is not None}
    return [is_defective(sample, required) for sample in samples]


def compare(
    release: Release,
    samples: Sequence[Sample],
    expected: Sequence[Detections],
    found: Sequence[Detections],
    min_equal: float,
) -> VariantParity:
    """Compare what a variant found with what the release found, under the release's limits.

    Args:
        release: its limits decide; its task tells what a defective part is.
        samples: the images.
        expected: what the release found in each.
        found: what the variant found in each.
        min_equal: share of equal decisions to ask for.
    """
    before, after = decisions(expected, release.limits), decisions(found, release.limits)
    changed: list[Change] = []
    lost = 0
    bad_ones = defectives(release, samples)
    for sample, bad, was, is_now in zip(samples, bad_ones, before, after, strict=True):
        lost += bad and was is not Decision.PASS and is_now is Decision.PASS
        if was is not is_now:
            changed.append(
                Change(image=sample.image, defective=bad, f32=was.value, variant=is_now.value)
            )
    pairs, unmatched = _matched(expected, found)
    scores = [score for score, _ in pairs]
    return VariantParity(
        images=len(samples),
        defective=sum(bad_ones),
        equal=len(samples) - len(changed),
        min_equal=min_equal,
        lost=lost,
        changed=changed,
        max_score_difference=round(max(scores, default=0.0), 6),
        mean_score_difference=round(float(np.mean(scores)) if scores else 0.0, 6),
        min_iou=round(min((min(iou, 1.0) for _, iou in pairs), default=1.0), 6),
        unmatched=unmatched,
        splits=_by_split(samples, {change.image for change in changed}),
    )


def _by_split(samples: Sequence[Sample], changed: Collection[str]) -> dict[str, SplitCount]:
    found: dict[str, SplitCount] = {}
    for split in dict.fromkeys(sample.split for sample in samples):
        own = [sample.image not in changed for sample in samples if sample.split == split]
        found[split] = SplitCount(images=len(own), equal=sum(own))
    return found


def _matched(
    expected: Sequence[Detections], found: Sequence[Detections]
) -> tuple[list[tuple[float, float]], int]:
    """Return (score difference, IoU) of all matched boxes or anomaly scores, and boxes left alone."""
    pairs: list[tuple[float, float]] = []
    alone = 0
    for a, b in zip(expected, found, strict=True):
        if a.anomaly_score is not None and b.anomaly_score is not None:
            pairs.append((abs(a.anomaly_score - b.anomaly_score), 1.0))
        more, left = match_rows(_rows(a), _rows(b), LOWEST_SCORE)
        pairs += more
        alone += left
    return pairs, alone


def _rows(found: Detections) -> NDArray[np.float32]:
    columns = [found.boxes, found.scores[:, None], found.classes[:, None]]
    return np.concatenate(columns, axis=1).astype(np.float32)


def in_words(parity: VariantParity) -> str:
    """Return what differs, for an error and for people."""
    text = (
        f"{len(parity.changed)} of {parity.images} decisions differ ({100 * parity.share:.1f} % are "
        f"equal, asked were {100 * parity.min_equal:g} %), {parity.lost} defective parts that the "
        "release stops would pass"
    )
    held = parity.splits.get(HELD_OUT)
    if held is not None:
        text += f"; of {HELD_OUT} alone {held.equal} of {held.images} are equal"
    worst = sorted(parity.changed, key=lambda c: (not c.defective, c.variant != "PASS"))
    if worst:
        first = worst[0]
        kind = "defective" if first.defective else "good"
        text += f"; the first is {first.image} ({kind}): {first.f32} became {first.variant}"
    return text


def numbers(
    release: Release,
    version: DatasetVersion,
    samples: Sequence[Sample],
    found: Sequence[Detections],
    split: str,
) -> dict[str, Any]:
    """Return the rates of one precision: escape, overkill, review with intervals; mAP or AUROC."""
    measured = measure_anomaly if release.task == "anomaly" else measure
    full = measured(version, samples, found, release.limits, split)
    return {
        "escape": full["defective"]["escape"],
        "overkill": full["good"]["overkill"],
        "review": full["good"]["review"],
        "map50": full["map50"],
        "map50_95": full["map50_95"],
        "auroc": full.get("auroc"),
    }


def latency_in_turns(
    detectors: Mapping[str, Detector], images: Sequence[Image]
) -> dict[str, dict[str, float]]:
    """Return milliseconds from image to boxes of each, measured in turns so that load hits all alike."""
    spent: dict[str, list[float]] = {name: [] for name in detectors}
    for turn in range(TURNS + _WARM):
        image = images[turn % len(images)]
        for name, detector in detectors.items():
            start = time.perf_counter()
            detector.detect(image, 60.0)
            spent[name].append((time.perf_counter() - start) * 1e3)
    found: dict[str, dict[str, float]] = {}
    for name, times in spent.items():
        p50, p99 = np.percentile(times[_WARM:], [50, 99])
        found[name] = {"p50_ms": round(float(p50), 2), "p99_ms": round(float(p99), 2)}
    return found


def variant_table(release_folder: Path) -> list[dict[str, Any]]:
    """Return one row for f32 and one for each variant, ready for a report.

    Keys: precision, p50_ms, p99_ms, f32_p50_ms (measured in turns with this variant), map50, auroc,
    escape, overkill (rates with count and interval), images and split they were taken on, equal, judged
    (decisions alike, of so many), changed, kept_float, quantised, float_arithmetic, runtimes,
    machine. The f32 row takes its numbers from the newest variant; with no variant, time from the release's
    own card.

    Raises:
        ReleaseError: the release or a variant has no readable card.
    """
    card = read_card(release_folder)
    cards = list_variants(release_folder)
    first: dict[str, Any] = {"precision": "f32", "machine": card.latency.get("machine", "")}
    if not cards:
        return [{**first, **card.latency.get("openvino", {})}]
    newest = max(cards, key=lambda x: x.created_at)
    rows = [
        {
            **first,
            **newest.latency["f32"],
            **newest.metrics["f32"],
            "split": newest.metrics["split"],
            "images": newest.metrics["images"],
            "machine": newest.machine,
        }
    ]
    for variant in cards:
        parity = variant.parity[variant.runtimes[0]]
        rows.append(
            {
                "precision": variant.name,
                **variant.latency[variant.name],
                "f32_p50_ms": variant.latency["f32"]["p50_ms"],
                **variant.metrics[variant.name],
                "split": variant.metrics["split"],
                "images": variant.metrics["images"],
                "equal": parity.equal,
                "judged": parity.images,
                "changed": [change.model_dump() for change in parity.changed],
                "kept_float": len(variant.kept_float),
                "quantised": variant.quantised,
                "float_arithmetic": variant.float_arithmetic,
                "runtimes": variant.runtimes,
                "machine": variant.machine,
            }
        )
    return rows
