"""A variant against its release on the same images: decisions, boxes, outlines, rates, time, side by side."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspection.detector import Detector
from inspection.release import read_card
from inspection.types import ClassLimits, Decision, Detections, Image, Outline, Release
from inspection.variants import (
    HELD_OUT,
    MIN_MASK_IOU,
    Change,
    MaskParity,
    SplitCount,
    VariantParity,
    list_variants,
)
from inspection_datasets.manifest import DatasetVersion, Sample
from inspection_training.anomaly_limits import measure_anomaly
from inspection_training.evaluate import decisions, measure
from inspection_training.parity import matched_pairs
from inspection_training.variants.float_layers import LOWEST_SCORE
from inspection_training.variants.proof import class_counts, defectives, once, stopped

TURNS = 60
"""Runs of each in the comparison of time."""
_WARM = 5
_SAMPLES = 4, 16, 512
"""Samples for each pixel where two outlines are laid over each other; fewest and most each way."""


def compare(
    release: Release,
    samples: Sequence[Sample],
    expected: Sequence[Detections],
    found: Sequence[Detections],
    min_equal: float,
) -> VariantParity:
    """Compare what a variant found with what the release found, under the release's limits.

    A picture counts once, however many copies of it there are.

    Args:
        release: its limits decide; its task tells what a defective part is.
        samples: the images.
        expected: what the release found in each.
        found: what the variant found in each.
        min_equal: share of equal decisions to ask for.
    """
    kept = once(release, samples)
    samples, expected, found = ([x[i] for i in kept] for x in (samples, expected, found))
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
    scores = [pair.score_difference for pair in pairs]
    return VariantParity(
        images=len(samples),
        defective=sum(bad_ones),
        stopped=sum(stopped(release, samples, expected)),
        classes=class_counts(release, samples, expected, found),
        equal=len(samples) - len(changed),
        min_equal=min_equal,
        lost=lost,
        changed=changed,
        max_score_difference=round(max(scores, default=0.0), 6),
        mean_score_difference=round(float(np.mean(scores)) if scores else 0.0, 6),
        min_iou=round(min((min(pair.iou, 1.0) for pair in pairs), default=1.0), 6),
        unmatched=unmatched,
        splits=_by_split(samples, {change.image for change in changed}),
        masks=_masks(pairs, release.limits) if release.task == "segment" else None,
    )


def _by_split(samples: Sequence[Sample], changed: Collection[str]) -> dict[str, SplitCount]:
    found: dict[str, SplitCount] = {}
    for split in dict.fromkeys(sample.split for sample in samples):
        own = [sample.image not in changed for sample in samples if sample.split == split]
        found[split] = SplitCount(images=len(own), equal=sum(own))
    return found


@dataclass(frozen=True, slots=True)
class _Pair:
    """One box, or the anomaly score of one image, as both gave it; `rows` are None for a score."""

    expected: Detections
    found: Detections
    rows: tuple[int, int] | None
    score_difference: float
    iou: float


def _matched(
    expected: Sequence[Detections], found: Sequence[Detections]
) -> tuple[list[_Pair], int]:
    """Return all matched boxes and anomaly scores, and how many boxes were left alone."""
    pairs: list[_Pair] = []
    alone = 0
    for a, b in zip(expected, found, strict=True):
        if a.anomaly_score is not None and b.anomaly_score is not None:
            pairs.append(_Pair(a, b, None, abs(a.anomaly_score - b.anomaly_score), 1.0))
        more, left = matched_pairs(_rows(a), _rows(b), LOWEST_SCORE)
        pairs += [_Pair(a, b, (i, j), difference, iou) for i, j, difference, iou in more]
        alone += left
    return pairs, alone


def _masks(pairs: Sequence[_Pair], limits: Mapping[str, ClassLimits]) -> MaskParity:
    """Compare outlines and areas of the boxes that either of both gives at or over T1 of its class."""
    overlaps: list[float] = []
    ratios: list[float] = []
    for pair in pairs:
        a, b = pair.expected, pair.found
        if pair.rows is None or a.outlines is None or a.areas is None:
            continue
        i, j = pair.rows
        t1 = limits[a.class_names[int(a.classes[i])]].t1
        if max(a.scores[i], b.scores[j]) < t1:
            continue  # no decision looks at it
        if b.outlines is None or b.areas is None:
            overlaps.append(0.0)
            ratios.append(0.0)
            continue
        overlaps.append(outline_iou(a.outlines[i], b.outlines[j]))
        small, large = sorted((float(a.areas[i]), float(b.areas[j])))
        ratios.append(small / large if large > 0 else 1.0)
    alike = [min(pair) >= MIN_MASK_IOU for pair in zip(overlaps, ratios, strict=True)]
    return MaskParity(
        outlines=len(alike),
        equal=sum(alike),
        asked_iou=MIN_MASK_IOU,
        min_iou=round(min(overlaps, default=1.0), 6),
        mean_iou=round(float(np.mean(overlaps)) if overlaps else 1.0, 6),
        min_area_ratio=round(min(ratios, default=1.0), 6),
    )


def outline_iou(a: Outline, b: Outline) -> float:
    """Return the area that two polygons share over the area that they cover together, 0..1."""
    import cv2

    corners = [np.asarray(outline, np.float64) for outline in (a, b)]
    both = np.concatenate(corners)
    low = both.min(axis=0)
    span = np.maximum(both.max(axis=0) - low, 1e-6)
    each, least, most = _SAMPLES
    counts = np.clip(np.ceil(span * each), least, most).astype(int)
    inside: list[NDArray[np.bool_]] = []
    for places in corners:
        canvas = np.zeros((counts[1], counts[0]), np.uint8)
        drawn = np.rint((places - low) / span * (counts - 1)).astype(np.int32)
        inside.append(cv2.fillPoly(canvas, [drawn], 1).astype(bool))
    return float((inside[0] & inside[1]).sum() / (inside[0] | inside[1]).sum())


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
    if parity.unseen:
        text += (
            f"; it stops none of the parts that the release stops for {', '.join(parity.unseen)}"
        )
    if (masks := parity.masks) is not None and not masks.outlines:
        text += "; no detection reached T1, so no outline could be compared"
    elif masks is not None:
        text += (
            f"; {masks.outlines - masks.equal} of {masks.outlines} outlines overlap or cover less than "
            f"{100 * masks.asked_iou:g} % of the other (the worst {100 * masks.min_iou:.0f} %)"
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
    """Return the rates of one precision: escape, overkill, review with intervals; mAP or AUROC.

    Task segment has mask_map50 and mask_map50_95 as well.
    """
    measured = measure_anomaly if release.task == "anomaly" else measure
    full = measured(version, samples, found, release.limits, split)
    return {
        "escape": full["defective"]["escape"],
        "overkill": full["good"]["overkill"],
        "review": full["good"]["review"],
        "map50": full["map50"],
        "map50_95": full["map50_95"],
        "auroc": full.get("auroc"),
        **{key: full[key] for key in ("mask_map50", "mask_map50_95") if key in full},
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
    mask_map50 and mask_map50_95 (task segment), escape, overkill (rates with count and interval), images
    and split they were taken on, equal, judged (decisions alike, of so many), outlines (`MaskParity`;
    task segment), unproven (classes), changed, kept_float, quantised, float_arithmetic, runtimes,
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
                **({"outlines": parity.masks.model_dump()} if parity.masks else {}),
                "unproven": parity.unproven,
                "changed": [change.model_dump() for change in parity.changed],
                "kept_float": len(variant.kept_float),
                "quantised": variant.quantised,
                "float_arithmetic": variant.float_arithmetic,
                "runtimes": variant.runtimes,
                "machine": variant.machine,
            }
        )
    return rows
