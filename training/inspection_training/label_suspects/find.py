"""Label suspects: pictures whose labels a released model contradicts, the most suspicious first.

release, pictures ─▶ detections ─▶ cleanlab: overlooked, swapped, badly located ─▶ quality 0..1 a picture

Boxes are scored by cleanlab's ObjectLab (Tkachenko, Thyagarajan, Mueller 2023). Its thresholds suppose
scores near 1; here "sure" is what this model scores where it agrees with the labels. A label that the model
found nothing at is added, behind the others: it may be a wrong label or a weak model. For a model of good
parts the whole picture is judged: good and yet over T2, or a defect and yet under T1.

A model that was trained on a picture has learned its wrong label too: see `trained_on`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspection.decide import ANOMALY_CLASS
from inspection.detector import Detector
from inspection.errors import DatasetError, ReleaseError
from inspection.release import load_release, read_card
from inspection.types import ClassLimits, Detections, Release
from inspection_datasets.manifest import SPLITS, DatasetVersion, Sample, load_version
from inspection_training.evaluate import detect_samples
from inspection_training.parity import iou_matrix
from inspection_training.progress import Report, Step, silent

KINDS = ("overlooked", "swapped", "badly_located", "not_found", "looks_defective", "looks_good")
SWAPPED, LOCATED = 0.5, 0.6
"""Box scores of cleanlab under which a label is called swapped, or badly located (IoU of about 0.6)."""
_LEAST_SURE = 0.3
_AGREE_IOU = 0.5


@dataclass(frozen=True, slots=True)
class Suspect:
    """One picture whose labels are doubted.

    Attributes:
        sample: the picture with its labels.
        found: what the model found, scores of at least half of `sure`.
        quality: 0..1; the lower, the more is wrong.
        kind: the worst reason, one of `KINDS`.
        box: x1 y1 x2 y2 of the label or detection in question, pixels; None: the whole picture.
        names: `label` and `seen`, the classes in question, where there are any.
        trained_on: the model learned from this picture; None: nobody can tell.
    """

    sample: Sample
    found: Detections
    quality: float
    kind: str
    box: tuple[float, float, float, float] | None
    names: dict[str, str] = field(default_factory=dict[str, str])
    trained_on: bool | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        box = None if self.box is None else [round(v, 1) for v in self.box]
        return {
            "image": self.sample.image, "split": self.sample.split, "group": self.sample.group,
            "kind": self.kind, "quality": round(self.quality, 4), "box": box, **self.names,
            "trained_on": self.trained_on, "found": self.found.as_rows(),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Suspicions:
    """What a release says of the labels of a dataset version.

    Attributes:
        release: as checked.
        version: the dataset version.
        split: train, val, test or all.
        pictures: pictures that were looked at.
        trained_on: so many of them the model learned from; None: nobody can tell.
        sure: score from which the model is taken at its word.
        suspects: the most suspicious first, as many as were asked for.
        total: suspects in all.
    """

    release: Release
    version: DatasetVersion
    split: str
    pictures: int
    trained_on: int | None
    sure: float
    suspects: tuple[Suspect, ...]
    total: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "release": self.release.name, "model_sha256": self.release.model_sha256,
            "dataset": f"{self.version.name} {self.version.version} {self.version.sha256}",
            "split": self.split, "pictures": self.pictures, "trained_on": self.trained_on,
            "sure": round(self.sure, 4), "total": self.total,
            "suspects": [s.as_dict() for s in self.suspects],
        }  # fmt: skip


def find_suspects(
    folder: Path,
    version: DatasetVersion,
    split: str = "all",
    *,
    runtime: str = "openvino",
    limit: int = 50,
    report: Report = silent,
) -> Suspicions:
    """Run a release over labelled pictures and rank those whose labels it contradicts.

    Args:
        folder: release folder.
        version: dataset version.
        split: train, val, test or all.
        runtime: openvino, onnxruntime or pytorch.
        limit: suspects to return at most.
        report: told about every picture.

    Raises:
        ReleaseError: the release is refused, or knows none of the version's classes.
        DatasetError: no such split, or no picture in it that somebody looked at.
    """
    from inspection_training.measure import open_runtime

    release = load_release(folder)
    anomaly = release.task == "anomaly"
    if not anomaly and not set(release.classes) & set(version.classes):
        raise ReleaseError(
            f"{release.name} knows {list(release.classes)}, {version.folder} has "
            f"{list(version.classes)}; name a release of this part"
        )
    samples = _looked_at(version, split, release)
    opened = open_runtime(runtime, release)
    done = iter(range(1, len(samples) + 1))
    try:
        found = detect_samples(
            Detector(release, opened),
            version,
            samples,
            lambda: report(Step("evaluate", next(done), len(samples))),
        )
    finally:
        opened.close()
    known = learned_pictures(folder, version)
    sure = 0.5 if anomaly else usual_confidence(samples, found)
    judged = (
        judge_pictures(samples, found, release.limits[ANOMALY_CLASS])
        if anomaly
        else judge_boxes(version.classes, samples, found, sure)
    )
    judged = sorted(judged, key=lambda s: (s.quality, s.sample.image))
    return Suspicions(
        release=release,
        version=version,
        split=split,
        pictures=len(samples),
        trained_on=None if known is None else sum(s.sha256 in known for s in samples),
        sure=sure,
        suspects=tuple(
            replace(s, trained_on=None if known is None else s.sample.sha256 in known)
            for s in judged[:limit]
        ),
        total=len(judged),
    )


def _looked_at(version: DatasetVersion, split: str, release: Release) -> list[Sample]:
    if split not in (*SPLITS, "all"):
        raise DatasetError(f"split {split!r} is not one of {', '.join(SPLITS)}, all")
    found = [
        sample
        for sample in version.samples
        if split in {sample.split, "all"}
        and (
            sample.state != "unlabelled" or (release.task == "anomaly" and sample.label is not None)
        )
    ]
    if not found:
        raise DatasetError(
            f"{version.folder} {version.version} has no labelled and no good image in {split}; "
            "label some, or name another split"
        )
    return found


def learned_pictures(folder: Path, version: DatasetVersion) -> set[str] | None:
    """Return the hashes of the pictures that a release learned from; None: its version is not here."""
    card = read_card(folder).dataset
    learned = version
    if version.sha256 != card.sha256:
        try:
            learned = load_version(version.folder, card.version)
        except DatasetError:
            return None
    if learned.sha256 != card.sha256:
        return None
    return {sample.sha256 for sample in learned.samples if sample.split == "train"}


def usual_confidence(samples: Sequence[Sample], found: Sequence[Detections]) -> float:
    """Return the lower quartile of the scores of detections that agree with a label in class and place.

    Between 0.3 and 0.95; 0.5 where nothing agrees.
    """
    agreed: list[float] = []
    for sample, detections in zip(samples, found, strict=True):
        overlaps = iou_matrix(_corners(sample), detections.boxes)
        for row, label in zip(overlaps, sample.boxes, strict=True):
            same = np.array(
                [detections.class_names[k] == label[0] for k in detections.classes], bool
            )
            scores = detections.scores[(row >= _AGREE_IOU) & same]
            agreed += [float(scores.max())] if len(scores) else []
    return min(max(float(np.percentile(agreed, 25)), _LEAST_SURE), 0.95) if agreed else 0.5


def _corners(sample: Sample) -> NDArray[np.float32]:
    return np.array([box[1:] for box in sample.boxes], np.float32).reshape(-1, 4)


def judge_boxes(
    classes: Sequence[str], samples: Sequence[Sample], found: Sequence[Detections], sure: float
) -> list[Suspect]:
    """Return every picture in which a label is doubted, unordered.

    Args:
        classes: of the dataset.
        samples: pictures with their boxes; a good picture has none.
        found: detections of each.
        sure: score from which a detection contradicts a label.
    """
    from cleanlab.object_detection import rank

    found = [d.take(np.flatnonzero(d.scores >= sure / 2)) for d in found]
    labels = [_as_labels(classes, sample) for sample in samples]
    predictions = [_as_predictions(classes, detections) for detections in found]
    both: dict[str, Any] = {"labels": labels, "predictions": predictions}
    overlooked = rank.compute_overlooked_box_scores(**both, high_probability_threshold=sure)
    swapped = rank.compute_swap_box_scores(
        **both, high_probability_threshold=sure, overlapping_label_check=False
    )
    located = rank.compute_badloc_box_scores(**both, low_probability_threshold=sure / 2)
    pooled = [rank.pool_box_scores_per_image(kind) for kind in (overlooked, swapped, located)]
    quality = np.exp(np.log(np.clip(pooled, 1e-100, 1.0)).mean(axis=0))
    suspects: list[Suspect] = []
    for index, (sample, detections) in enumerate(zip(samples, found, strict=True)):
        rows = _rows(classes, detections)
        scores = (overlooked[index], swapped[index], located[index])
        told = _worst(sample, rows, scores, float(quality[index]))
        if told is None:
            told = _not_found(sample, detections)
        if told is not None:
            suspects.append(Suspect(sample, detections, *told))
    return suspects


_Told = tuple[float, str, tuple[float, float, float, float], dict[str, str]]
_Row = tuple[str, tuple[float, float, float, float]]


def _as_labels(classes: Sequence[str], sample: Sample) -> dict[str, Any]:
    kinds = np.array([list(classes).index(box[0]) for box in sample.boxes], np.int64)
    return {"bboxes": _corners(sample), "labels": kinds, "image_name": sample.image}


def _as_predictions(classes: Sequence[str], found: Detections) -> Any:
    """Return, for each class, its boxes and scores [M, 5], in the order cleanlab counts them."""
    table = np.column_stack([found.boxes, found.scores]).astype(np.float64)
    names = np.array([found.class_names[k] for k in found.classes], object)
    each = np.empty(len(classes), object)
    for index, name in enumerate(classes):
        each[index] = table[names == name] if len(table) else np.zeros((0, 5))
    return each


def _rows(classes: Sequence[str], found: Detections) -> list[_Row]:
    """Return class and box of each detection, in the order cleanlab counts them."""
    return [
        (name, (row[0], row[1], row[2], row[3]))
        for name, table in zip(classes, _as_predictions(classes, found), strict=True)
        for row in table.tolist()
    ]


def _worst(
    sample: Sample, rows: list[_Row], scores: tuple[Any, Any, Any], quality: float
) -> _Told | None:
    """Return the worst contradiction of a picture, if there is one."""
    overlooked, swapped, located = (np.asarray(kind, float) for kind in scores)
    told: list[tuple[float, _Told]] = []
    if len(overlooked) and not np.isnan(overlooked).all():
        index = int(np.nanargmin(overlooked))
        name, box = rows[index]
        told.append((float(overlooked[index]), (quality, "overlooked", box, {"seen": name})))
    if len(swapped) and swapped.min() < SWAPPED:
        label = sample.boxes[int(swapped.argmin())]
        near = iou_matrix(
            np.array([label[1:]], np.float32),
            np.array([box for _, box in rows], np.float32).reshape(-1, 4),
        )[0]
        other = [(v, name) for v, (name, _) in zip(near, rows, strict=True) if name != label[0]]
        names = {"label": label[0], "seen": max(other)[1]}
        told.append((float(swapped.min()), (quality, "swapped", label[1:], names)))
    if len(located) and located.min() < LOCATED:
        label = sample.boxes[int(located.argmin())]
        names = {"label": label[0]}
        told.append((float(located.min()), (quality, "badly_located", label[1:], names)))
    return min(told, key=lambda item: item[0])[1] if told else None


def _not_found(sample: Sample, found: Detections) -> _Told | None:
    """Return a label at which the model found nothing at all; behind every contradiction."""
    overlaps = iou_matrix(_corners(sample), found.boxes)
    for row, label in zip(overlaps, sample.boxes, strict=True):
        if not len(row) or row.max() <= 0:
            return 1.0, "not_found", label[1:], {"label": label[0]}
    return None


def judge_pictures(
    samples: Sequence[Sample], found: Sequence[Detections], limits: ClassLimits
) -> list[Suspect]:
    """Return pictures that a model of good parts judges surely and otherwise, unordered.

    Args:
        samples: good pictures, and pictures with a defect (boxes, or a label of the whole).
        found: the anomaly score of each.
        limits: T1 and T2 of the score.
    """
    from cleanlab.rank import get_label_quality_scores

    scores = np.array([detections.anomaly_score or 0.0 for detections in found])
    middle = min(max((limits.t1 + limits.t2) / 2, 1e-6), 1 - 1e-6)
    chance = np.where(
        scores < middle, 0.5 * scores / middle, 0.5 + 0.5 * (scores - middle) / (1 - middle)
    )
    bad = np.array([sample.state != "good" for sample in samples], np.int64)
    quality = get_label_quality_scores(
        bad, np.column_stack([1 - chance, chance]), method="self_confidence"
    )
    suspects: list[Suspect] = []
    for sample, detections, score, value in zip(samples, found, scores, quality, strict=True):
        if sample.state == "good" and score >= limits.t2:
            suspects.append(Suspect(sample, detections, float(value), "looks_defective", None))
        elif sample.state != "good" and score < limits.t1:
            suspects.append(Suspect(sample, detections, float(value), "looks_good", None))
    return suspects
