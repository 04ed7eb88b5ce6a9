"""Measure a candidate: parity with the trained model, decisions on held-out images, latency.

    trained + runtimes ─▶ measure_parity ─▶ the same boxes or maps, or why not
    candidate + runtimes ─▶ measure_candidate ─▶ limits from val, rates, decision of each image, latency

Nothing is judged here: what was asked of the candidate is `gates`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from inspection.detector import Detector
from inspection.errors import ConfigError, DatasetError, ReleaseError
from inspection.protocols import Runtime
from inspection.release import LimitsCard
from inspection.sentences.claims import release_claim
from inspection.types import ClassLimits, Decision, Detections, Image, Release
from inspection_datasets.claims import classes_of
from inspection_datasets.incoming import read_image
from inspection_datasets.manifest import DatasetVersion, Sample
from inspection_datasets.parts import parts_of
from inspection_training.anomaly_limits import (
    Claims,
    anomaly_limits,
    measure_anomaly,
    part_scores,
)
from inspection_training.evaluate import (
    check_picture,
    decisions,
    detect_samples,
    is_defective,
    judged_samples,
    measure,
)
from inspection_training.experiment import Experiment
from inspection_training.family import Family, Outputs, Trained
from inspection_training.limits import choose_limits
from inspection_training.parity import ParityError, check_maps, check_rows
from inspection_training.pieces import draw, pieces_of
from inspection_training.progress import Report, Step
from inspection_training.release import LATENCY_RUNS, machine, measure_latency

PARITY_IMAGES = 16
RUNTIMES = ("onnxruntime", "openvino")
OPENED = (*RUNTIMES, "pytorch")
"""Those that `open_runtime` knows; a release is compared under the first two."""
MEASURED_WITH = "openvino"
"""The runtime whose decisions and latency count."""
HELD_OUT = ("val", "test")
DECISIONS = "decisions.json"
"""File of a release: split to image to [sha256, defective, decision, part it counts for]."""
_NOTE = "the limits were chosen on val: its rates are flattered. The model learned from neither"


@dataclass(frozen=True, slots=True)
class Measured:
    """What was found of a candidate.

    Attributes:
        limits: class name to limits, as chosen; empty where the candidate's own stayed.
        claims: what the limits support: codes and values; empty where the candidate's own stayed.
        metrics: rates of each held-out split, ready for the card.
        latency: of each runtime on this machine, ready for the card.
        decisions: image to decision, for every image that was looked at.
        rows: split to image to (sha256, defective, decision).
        parts: image to the part that it counts for, for every image of `rows`.
    """

    limits: dict[str, LimitsCard]
    claims: Claims
    metrics: dict[str, Any]
    latency: dict[str, Any]
    decisions: dict[str, Decision]
    rows: dict[str, dict[str, tuple[str, bool, str]]]
    parts: dict[str, str]

    @property
    def card(self) -> dict[str, Any]:
        """The fields of a release card that were measured; limits only where they were chosen."""
        told = {"metrics": self.metrics, "latency": self.latency}
        if not self.limits:
            return told
        metrics = {**self.metrics, "claims": list(self.claims)}
        claim = release_claim(self.claims, "", "en")
        return {**told, "limits": self.limits, "claim": claim, "metrics": metrics}

    @property
    def kept(self) -> bytes:
        """The content of `DECISIONS`."""
        rows = {
            split: {image: (*row, self.parts[image]) for image, row in images.items()}
            for split, images in self.rows.items()
        }
        return (json.dumps(rows, ensure_ascii=False) + "\n").encode()


def open_runtime(name: str, release: Release, threads: int = 0) -> Runtime:
    """Return a runtime of the line with the release loaded; threads 0: the library's choice.

    Raises:
        ConfigError: no such runtime.
        InferenceError: it cannot load the release.
    """
    if name == "onnxruntime":
        from inspection.runtimes.onnxruntime import OnnxRuntimeConfig

        runtime: Runtime = OnnxRuntimeConfig(type="onnxruntime", threads=threads).open()
    elif name == "openvino":
        from inspection.runtimes.openvino import OpenVinoConfig

        runtime = OpenVinoConfig(type="openvino", threads=threads).open()
    elif name == "pytorch":
        from inspection.runtimes.pytorch import PyTorchConfig

        runtime = PyTorchConfig(type="pytorch", threads=threads).open()
    else:
        raise ConfigError(f"runtime {name!r} is not known; use one of {', '.join(OPENED)}")
    runtime.load(release, 120.0)
    return runtime


def measure_parity(
    experiment: Experiment,
    learned: tuple[Family, Trained],
    version: DatasetVersion,
    runtimes: Mapping[str, Runtime],
    report: Report,
) -> dict[str, Any]:
    """Return how far the exported model agrees with the trained one, ready for the card.

    Where they differ by more than the tolerance, `refused` says so in words; that is no release.
    """
    family, trained = learned
    samples = _compared(version)
    images = [_as_shown(experiment, version, sample) for sample in samples]
    ticks = _Ticks("parity", len(images) * len(runtimes), report)

    def reference(image: Image) -> Outputs:
        return family.reference(trained, experiment, image)

    check = check_maps if family.task == "anomaly" else check_rows
    found: dict[str, Any] = {"images": [sample.image for sample in samples], "results": []}
    for name, runtime in runtimes.items():
        try:
            result = check(
                reference, runtime, name, images, experiment.network_size, tick=ticks.tick
            )
        except ReleaseError as error:  # the gate says it, and the candidate stays to be looked at
            why = error.why if isinstance(error, ParityError) else None
            return {**found, "refused": str(error), **({"why": why} if why else {})}
        found["results"].append(result.as_dict())
    return found


def _as_shown(experiment: Experiment, version: DatasetVersion, sample: Sample) -> Image:
    """Return the network's input for a sample; the tile that shows most labels where it is cut."""
    pieces = pieces_of([sample], experiment, learn=False)
    piece = max(pieces, key=lambda piece: len(piece.names))
    return draw(read_image(version.path(sample)), piece, experiment.network_size)


def measure_candidate(
    release: Release,
    version: DatasetVersion,
    runtimes: Mapping[str, Runtime],
    report: Report,
    *,
    experiment: Experiment | None = None,
    also: Sequence[str] = (),
) -> Measured:
    """Return limits, rates, decisions and latency.

    Args:
        release: the candidate.
        version: the dataset version it learned from.
        runtimes: name to runtime, each with the candidate loaded.
        report: told about every image.
        experiment: choose the limits on val by its settings; None: the candidate's own stay.
        also: names of images outside val and test whose decision is wanted too.

    Raises:
        DatasetError: nothing was held back, or a picture is not the one that was labelled.
    """
    held_out(version)
    expected = _expected(release, experiment)
    splits = {split: judged_samples(version, split, expected) for split in HELD_OUT}
    known = {sample.image for samples in splits.values() for sample in samples}
    wanted = set(also) - known
    others = [sample for sample in version.samples if sample.image in wanted]
    ticks = _Ticks("evaluate", sum(map(len, splits.values())) + len(others), report)
    detector = Detector(release, runtimes[MEASURED_WITH])
    found = {x: detect_samples(detector, version, s, ticks.tick) for x, s in splits.items()}
    limits, claims = release.limits, Claims()
    cards: dict[str, LimitsCard] = {}
    if experiment is not None:
        cards, claims = _choose_limits(release, version, splits["val"], found["val"], experiment)
        limits = {name: card.limits() for name, card in cards.items()}
    measured = measure_anomaly if release.task == "anomaly" else measure
    evaluations = [
        measured(version, samples, found[split], limits, split)
        for split, samples in splits.items()
        if samples
    ]
    rows = {
        split: _rows(release, samples, found[split], limits) for split, samples in splits.items()
    }
    outside = decisions(detect_samples(detector, version, others, ticks.tick), limits)
    made = {image: Decision(row[2]) for split in rows.values() for image, row in split.items()}
    made |= {sample.image: decision for sample, decision in zip(others, outside, strict=True)}
    pictures = _different(version, held_out(version), LATENCY_RUNS)
    latency = {
        name: measure_latency(Detector(release, runtime), pictures)
        for name, runtime in runtimes.items()
    }
    return Measured(
        limits=cards,
        claims=claims,
        metrics={"runtime": MEASURED_WITH, "note": _NOTE, "evaluations": evaluations},
        latency={"machine": machine(), **latency},
        decisions=made,
        rows=rows,
        parts={
            sample.image: part
            for samples in splits.values()
            for sample, part in zip(samples, parts_of(samples), strict=True)
        },
    )


def _different(
    version: DatasetVersion, samples: Sequence[Sample], most: int
) -> list[Callable[[], Image]]:
    """Return readers of up to `most` different pictures, evenly apart; they are read when asked."""
    once = {sample.sha256: sample for sample in samples}
    return [
        partial(read_image, version.path(sample)) for sample in _spread(list(once.values()), most)
    ]


def _choose_limits(
    release: Release,
    version: DatasetVersion,
    samples: Sequence[Sample],
    found: Sequence[Detections],
    experiment: Experiment,
) -> tuple[dict[str, LimitsCard], Claims]:
    once = _once(samples)
    if release.task == "anomaly":
        good = [i for i in once if samples[i].state == "good"]
        scores, parts = part_scores([found[i] for i in good]), parts_of(samples[i] for i in good)
        return anomaly_limits(scores, parts, experiment)
    counted = [i for i in once if samples[i].label is None or not experiment.expected]
    parts, seen = [samples[i] for i in counted], [found[i] for i in counted]
    return choose_limits(version.classes, parts, seen, experiment), ()


def _once(samples: Sequence[Sample]) -> list[int]:
    """Return where each picture stands; of byte copies the first, or the first that is labelled defective."""
    chosen: dict[str, int] = {}
    for i, sample in enumerate(samples):
        first = chosen.setdefault(sample.sha256, i)
        if classes_of(sample) and not classes_of(samples[first]):
            chosen[sample.sha256] = i
    return sorted(chosen.values())


def _expected(release: Release, experiment: Experiment | None) -> set[str]:
    """Return the classes that must be there: as asked, or as a release has them that keeps its limits."""
    if experiment is not None:
        return set(experiment.expected)
    return {name for name, limits in release.limits.items() if limits.expected is not None}


def _rows(
    release: Release,
    samples: Sequence[Sample],
    found: Sequence[Detections],
    limits: dict[str, ClassLimits],
) -> dict[str, tuple[str, bool, str]]:
    expected = {name: x.expected for name, x in limits.items() if x.expected is not None}
    anomaly = release.task == "anomaly"
    return {
        s.image: (
            s.sha256,
            bool(classes_of(s)) if anomaly else is_defective(s, expected),
            decision.value,
        )
        for s, decision in zip(samples, decisions(found, limits), strict=True)
    }


def held_out(version: DatasetVersion) -> list[Sample]:
    """Return the images that nothing is learned from, of which somebody said what they show.

    Raises:
        DatasetError: there are none, so that nothing could be measured.
    """
    samples = [*judged_samples(version, "test"), *judged_samples(version, "val")]
    if not samples:
        raise DatasetError(
            f"{version.folder} {version.version} holds nothing back: no image of val or test is labelled "
            "or good, so nothing of a model could be measured. Hold some back: "
            "`inspection dataset import … --val 0.2 --test 0.2`"
        )
    return samples


def check_pictures(version: DatasetVersion, also: Sequence[str]) -> None:
    """Make sure, before hours are spent, that every picture that will be measured is as it was labelled.

    Args:
        version: the dataset version.
        also: names of images outside val and test that are measured too.

    Raises:
        DatasetError: nothing was held back, or a picture is missing or altered.
    """
    for sample in [*held_out(version), *(x for x in version.samples if x.image in also)]:
        check_picture(version, sample)


def _compared(version: DatasetVersion) -> list[Sample]:
    """Return the images of the parity check: half of them with defects, where there are so many.

    A model finds nothing in most good parts, and where nothing is found nothing is compared.
    """
    samples = held_out(version)
    bad = [x for x in samples if classes_of(x)]
    bad = bad or [x for x in judged_samples(version, "train") if classes_of(x)]
    good = [x for x in samples if not classes_of(x)]
    few = max(PARITY_IMAGES // 2, PARITY_IMAGES - len(good))
    chosen = _spread(bad, few)
    return [*chosen, *_spread(good, PARITY_IMAGES - len(chosen))]


def _spread(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Return `count` samples, evenly apart; all where there are fewer."""
    if len(samples) <= count:
        return list(samples)
    return [samples[i * len(samples) // count] for i in range(count)]


class _Ticks:
    def __init__(self, stage: str, total: int, report: Report) -> None:
        self._stage, self._total, self._report, self._done = stage, total, report, 0

    def tick(self) -> None:
        self._done += 1
        self._report(Step(self._stage, self._done, self._total))
