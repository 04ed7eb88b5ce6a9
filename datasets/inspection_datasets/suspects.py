"""Label suspects: pictures on which a released model and the labels disagree, the worst first.

    picture ─▶ Detector ─▶ detections against labels ─▶ disagreement 0..1 ─▶ ranked

* a detection that overlaps no label (IoU < 0.3): its score.
* a label that no detection overlaps: 1 minus the best score of any detection on it.
* a detection that overlaps a label of another class by IoU >= 0.5: its score, less the best score of
  a detection of the label's class there.

A picture has the largest of these. Pictures that the model was trained on are shown too, but a model
has learned the wrong labels there: a suspect of train is telling, its absence is not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from inspection.detector import Detector
from inspection.errors import ReleaseError
from inspection.release import load_release
from inspection.types import Detections
from inspection_datasets.check import iou
from inspection_datasets.findings import Finding, Mark, Shown, labels
from inspection_datasets.incoming import inside, read_image
from inspection_datasets.manifest import DatasetVersion, Sample

LEAST = 0.6
MOST = 100
_TIMEOUT = 60.0


def label_suspects(
    version: DatasetVersion,
    release: Path,
    tick: Callable[[], None] = lambda: None,
    *,
    skip: Collection[str] = (),
) -> list[Finding]:
    """Return at most `MOST` findings with a disagreement of at least `LEAST`, the worst first.

    Args:
        version: the version; its unlabelled samples are left out.
        release: folder of a release of task `detect` or `segment`.
        tick: called once a picture.
        skip: pictures that cannot be read, told elsewhere.

    Raises:
        ReleaseError: the release is refused, or cannot be compared with these labels.
        InferenceError: the model does not run.
        DatasetError: a picture cannot be read.
    """
    from inspection.runtimes.onnxruntime import OnnxRuntimeConfig

    loaded = load_release(release)
    if loaded.task == "anomaly" or not set(loaded.classes) & set(version.classes):
        raise ReleaseError(
            f"{release} ({loaded.task}, classes {list(loaded.classes)}) cannot be compared with the labels "
            f"{list(version.classes)} of {version.name}; name a release that detects these classes"
        )
    runtime = OnnxRuntimeConfig.model_validate({"type": "onnxruntime", "threads": 1}).open()
    found: list[tuple[float, str, Finding]] = []
    try:
        runtime.load(loaded, _TIMEOUT)
        detector = Detector(loaded, runtime)
        for sample in version.samples:
            if sample.state != "unlabelled" and sample.image not in skip:
                image = read_image(inside(version.folder, sample.image, version.version))
                score, finding = _judge(sample, detector.detect(image, _TIMEOUT))
                if score >= LEAST:
                    found.append((-score, sample.image, finding))
            tick()
    finally:
        runtime.close()
    return [finding for _, _, finding in sorted(found, key=lambda item: item[:2])[:MOST]]


def _judge(sample: Sample, detections: Detections) -> tuple[float, Finding]:
    rows = [(r["class"], float(r["score"]), tuple(r["box"])) for r in detections.as_rows()]
    told: list[tuple[float, str, dict[str, str]]] = []
    for name, score, box in rows:
        over = [(iou(box, label[1:]), label[0]) for label in sample.boxes]
        overlap, nearest = max(over, default=(0.0, ""))
        if overlap < 0.3:
            told.append((score, "suspect_no_label", {"name": name}))
        elif overlap >= 0.5 and name not in {label for value, label in over if value >= 0.5}:
            right = [s for n, s, b in rows if n == nearest and iou(b, box) >= 0.5]
            both = {"name": nearest, "seen": name}
            told.append((score - max(right, default=0.0), "suspect_class", both))
    for label in sample.boxes:
        best = max((s for _, s, box in rows if iou(box, label[1:]) >= 0.3), default=0.0)
        told.append((1 - best, "suspect_not_seen", {"name": label[0]}))
    score, code, names = max(told, key=lambda item: item[0], default=(0.0, "suspect_no_label", {}))
    marks = [Mark(f"{n} {s:.2f}", box, by_model=True) for n, s, box in rows if s >= 0.25]
    values = {"image": sample.image, "score": f"{score:.2f}", **names}
    return score, Finding(code, values, (Shown(sample, (*labels(sample), *marks)),))
