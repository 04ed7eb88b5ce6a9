"""Measure a release on labelled images: what the trade asks, and mAP.

Everything goes through the released model as the line runs it: `Detector`, then `judge` with limits.

* escape: PASS although the part is defective. overkill: FAIL although the part is good.
  review: REVIEW although the part is good. Each with its count and exact (Clopper-Pearson) interval.
* counts are of pictures. Where there are several of a part, the interval counts parts, each by its worst
  picture: see `rate_of`.
* a part of which only its class is known (`label` of the whole picture) is a defective part in these rates.
  Nobody said where its defects are, so it has no part in recall and mAP.
* recall of a class: its labelled defects that some detection at or over T1 covers (IoU >= 0.3, any
  class: a defect found under a wrong name is found).
* mAP50 and mAP50:95 as COCO defines them, by faster-coco-eval, 100 detections in an image; where labels
  and detections have outlines also mask_map50 and mask_map50_95, by the overlap of outlines.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspection.decide import judge
from inspection.detector import Detector
from inspection.errors import DatasetError
from inspection.types import ClassLimits, Decision, Detections, Image, Recipe
from inspection_datasets.claims import is_used
from inspection_datasets.incoming import read_image
from inspection_datasets.manifest import DatasetVersion, Sample, Shape, sha256_of
from inspection_datasets.parts import parts_of, worst_of
from inspection_datasets.shapes import box_ring, mask_of
from inspection_training.parity import iou_matrix

CONFIDENCE = 0.95
FOUND_IOU = 0.3


def judged_samples(
    version: DatasetVersion, split: str, expected: Collection[str] = ()
) -> list[Sample]:
    """Return the samples of a split of which somebody said whether they are good, in order.

    Args:
        version: the dataset version.
        split: train, val or test.
        expected: classes that must be there. Where one of them is the label of a whole picture, nobody
            counted, and whether the part is good is not known: it is left out.
    """
    return [
        sample
        for sample in version.samples
        if sample.split == split and is_used(sample) and sample.label not in expected
    ]


def detect_samples(
    detector: Detector,
    version: DatasetVersion,
    samples: Sequence[Sample],
    tick: Callable[[], None] = lambda: None,
) -> list[Detections]:
    """Run the release on every sample, in order.

    Raises:
        DatasetError: a picture is missing, unreadable, or not the one that was labelled.
    """
    found: list[Detections] = []
    for sample in samples:
        found.append(detector.detect(_as_labelled(version, sample), 60.0))
        tick()
    return found


def _as_labelled(version: DatasetVersion, sample: Sample) -> Image:
    image = read_image(version.path(sample))
    check_picture(version, sample)
    return image


def check_picture(version: DatasetVersion, sample: Sample) -> None:
    """Make sure that a picture is the one that was labelled.

    Raises:
        DatasetError: it is missing, or its file has another sha256.
    """
    path = version.path(sample)
    try:
        actual = sha256_of(path)
    except OSError as error:
        raise DatasetError(f"{path} cannot be read ({error}); is the image there?") from error
    if actual != sample.sha256:
        raise DatasetError(
            f"{path} was altered since {version.name} {version.version} was written: its sha256 is "
            f"{actual[:12]}, the version has {sample.sha256[:12]}; so its label need not hold and nothing "
            "is measured. Put the picture back, or import it and label it again"
        )


def is_defective(sample: Sample, expected: dict[str, int]) -> bool:
    """Tell from its labels whether a part must not pass.

    A class that must be there (`expected`) makes a part defective when its count differs; every other
    class is a defect, also as the label of a whole picture.
    """
    if sample.label is not None:
        return True
    names = [box[0] for box in sample.boxes]
    if any(names.count(name) != count for name, count in expected.items()):
        return True
    return any(name not in expected for name in names)


def decisions(found: Sequence[Detections], limits: dict[str, ClassLimits]) -> list[Decision]:
    """Return the decision for each image under these limits, as the line would judge it."""
    recipe = Recipe(number=1, part="evaluation", release=1, limits=limits)
    return [judge(detections, recipe).decision for detections in found]


def rate(count: int, total: int) -> dict[str, Any]:
    """Return a rate with its count and exact two-sided 95 % interval; an empty total has none."""
    from scipy.stats import binomtest

    if total == 0:
        return {"count": 0, "of": 0, "rate": None, "low": None, "high": None}
    interval = binomtest(count, total).proportion_ci(CONFIDENCE, method="exact")
    return {
        "count": count,
        "of": total,
        "rate": round(count / total, 6),
        "low": round(float(interval.low), 6),
        "high": round(float(interval.high), 6),
    }


def rate_of(
    hits: Sequence[bool],
    parts: Sequence[Hashable],
    worst: Callable[[Iterable[bool]], bool] = any,
) -> dict[str, Any]:
    """Return the rate of what was counted, with the interval that its parts support.

    Where there is more than one of a part, `low` and `high` are of `worst` of `parts` parts.

    Args:
        hits: of each picture, or of each labelled defect.
        parts: part of each.
        worst: `any` of what should not be, `all` of what should.
    """
    shown, own = rate(sum(hits), len(hits)), worst_of(hits, parts, worst)
    if len(own) == len(hits):
        return shown
    counted = rate(sum(own), len(own))
    interval = {"low": counted["low"], "high": counted["high"]}
    return {**shown, **interval, "worst": counted["count"], "parts": counted["of"]}


def rates_of(
    made: Sequence[Decision], bad: Sequence[bool], parts: Sequence[Hashable]
) -> dict[str, dict[str, Any]]:
    """Return the rates of defective and of good parts.

    Args:
        made: decision of each picture.
        bad: whether each is defective.
        parts: part of each.
    """

    def share(
        decision: Decision, worst: Callable[[Iterable[bool]], bool], *, defective: bool
    ) -> dict[str, Any]:
        own = [i for i, x in enumerate(bad) if bool(x) is defective]
        return rate_of([made[i] is decision for i in own], [parts[i] for i in own], worst)

    return {
        "defective": {
            "escape": share(Decision.PASS, any, defective=True),
            "fail": share(Decision.FAIL, all, defective=True),
            "review": share(Decision.REVIEW, any, defective=True),
        },
        "good": {
            "overkill": share(Decision.FAIL, any, defective=False),
            "review": share(Decision.REVIEW, any, defective=False),
            "pass": share(Decision.PASS, all, defective=False),
        },
    }


def measure(
    version: DatasetVersion,
    samples: Sequence[Sample],
    found: Sequence[Detections],
    limits: dict[str, ClassLimits],
    split: str,
) -> dict[str, Any]:
    """Return every number of an evaluation, ready for `release.json`."""
    expected = {name: x.expected for name, x in limits.items() if x.expected is not None}
    bad = [is_defective(sample, expected) for sample in samples]
    drawn = [(s, d) for s, d in zip(samples, found, strict=True) if s.label is None]
    labelled, there = [s for s, _ in drawn], [d for _, d in drawn]
    return {
        "split": split,
        "images": len(samples),
        "interval": "Clopper-Pearson, two-sided 95 %",
        **rates_of(decisions(found, limits), bad, parts_of(samples)),
        "class_recall": _class_recall(version.classes, samples, found, limits),
        **average_precision(version.classes, labelled, there),
        **_mask_precision(version.classes, labelled, there),
    }


def _class_recall(
    classes: Sequence[str],
    samples: Sequence[Sample],
    found: Sequence[Detections],
    limits: dict[str, ClassLimits],
) -> dict[str, Any]:
    hits: dict[str, list[bool]] = {name: [] for name in classes}
    parts: dict[str, list[str]] = {name: [] for name in classes}
    for sample, part, detections in zip(samples, parts_of(samples), found, strict=True):
        t1 = np.array([limits[name].t1 for name in detections.class_names])
        boxes = detections.boxes[detections.scores >= t1[detections.classes]]
        labelled = np.array([box[1:] for box in sample.boxes], np.float32).reshape(-1, 4)
        covered = _covered(labelled, boxes)
        for box, hit in zip(sample.boxes, covered, strict=True):
            hits[box[0]].append(bool(hit))
            parts[box[0]].append(part)
    return {name: rate_of(hits[name], parts[name], all) for name in classes}


def _covered(labelled: NDArray[np.float32], boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
    if not len(labelled) or not len(boxes):
        return np.zeros(len(labelled), bool)
    return iou_matrix(labelled, boxes).max(axis=1) >= FOUND_IOU


def average_precision(
    classes: Sequence[str], samples: Sequence[Sample], found: Sequence[Detections]
) -> dict[str, Any]:
    """Return mAP50, mAP50:95 and AP50 of each class; None where no box is labelled."""
    precision = _precision(_as_coco(classes, samples), _as_results(found), "bbox")
    by_class = {name: _mean(precision[0, :, index]) for index, name in enumerate(classes)}
    return {
        "map50": _mean(precision[0]),
        "map50_95": _mean(precision),
        "class_ap50": by_class,
    }


def _mask_precision(
    classes: Sequence[str], samples: Sequence[Sample], found: Sequence[Detections]
) -> dict[str, Any]:
    """Return mAP of outlines; nothing where the labels or the release have none.

    A label without an outline counts with its box. Of a detection only the largest piece is known.
    """
    drawn = any(shape is not None for sample in samples for shape in sample.shapes)
    if not drawn or all(detections.outlines is None for detections in found):
        return {}
    truth, rows = _as_coco(classes, samples), _as_results(found)
    labels = [
        (sample, box, shape)
        for sample in samples
        for box, shape in zip(
            sample.boxes, sample.shapes or [None] * len(sample.boxes), strict=True
        )
    ]
    for annotation, (sample, box, shape) in zip(truth["annotations"], labels, strict=True):
        rings = shape or [box_ring(box[1:])]
        annotation["segmentation"] = _run_lengths(rings, (sample.width, sample.height))
    outlines = [
        (sample, outline)
        for sample, detections in zip(samples, found, strict=True)
        for outline in detections.outlines or ()
    ]
    for row, (sample, outline) in zip(rows, outlines, strict=True):
        ring = [value for corner in outline for value in corner]
        row["segmentation"] = _run_lengths([ring], (sample.width, sample.height))
    precision = _precision(truth, rows, "segm")
    return {"mask_map50": _mean(precision[0]), "mask_map50_95": _mean(precision)}


def _run_lengths(shape: Shape, size: tuple[int, int]) -> dict[str, Any]:
    """Return an outline as COCO's run lengths, which know holes; size is (width, height)."""
    from faster_coco_eval.core import mask

    width, height = size
    if len(shape) == 1:
        return mask.frPyObjects([shape[0]], height, width)[0]
    return mask.encode(np.asfortranarray(mask_of(shape, size).astype(np.uint8)))


def _precision(truth: dict[str, Any], rows: list[dict[str, Any]], kind: str) -> Any:
    """Return precision by IoU, recall and class, for all sizes and 100 detections in an image."""
    from faster_coco_eval import COCO, COCOeval_faster

    known = COCO(truth)
    evaluation = COCOeval_faster(known, known.loadRes(rows), kind, print_function=_say_nothing)
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation.eval["precision"][:, :, :, 0, 2]


def _say_nothing(*_words: object) -> None:
    """faster-coco-eval prints through a function."""


def _mean(values: NDArray[np.float64]) -> float | None:
    there = values[values > -1]
    return round(float(there.mean()), 4) if there.size else None


def _as_coco(classes: Sequence[str], samples: Sequence[Sample]) -> dict[str, Any]:
    boxes = [(i, box) for i, sample in enumerate(samples, 1) for box in sample.boxes]
    return {
        "images": [
            {"id": i, "width": s.width, "height": s.height} for i, s in enumerate(samples, 1)
        ],
        "categories": [{"id": i, "name": name} for i, name in enumerate(classes, 1)],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": classes.index(name) + 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": 0,
            }
            for number, (image, (name, x1, y1, x2, y2)) in enumerate(boxes, 1)
        ],
    }


def _as_results(found: Sequence[Detections]) -> list[dict[str, Any]]:
    return [
        {
            "image_id": image,
            "category_id": int(index) + 1,
            "bbox": [float(b[0]), float(b[1]), float(b[2] - b[0]), float(b[3] - b[1])],
            "score": float(score),
        }
        for image, detections in enumerate(found, 1)
        for b, score, index in zip(
            detections.boxes, detections.scores, detections.classes, strict=True
        )
    ]
