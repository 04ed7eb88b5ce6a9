"""One training run, from a dataset version to a release.

    train ─▶ export ─▶ parity (ONNX Runtime, OpenVINO) ─▶ detect val and test images
        ─▶ limits from val ─▶ measure ─▶ publish releases/PART/NUMBER

Everything of the run stays in `RUNS/PART-TIME/`: train.log, checkpoint, candidate release. Which family
of models it is does not matter here: all go through `family.Family`.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from inspection.decide import ANOMALY_CLASS
from inspection.detector import Detector
from inspection.errors import ConfigError, ReleaseError
from inspection.protocols import Runtime
from inspection.release import (
    MODEL,
    PART_NAME,
    DatasetCard,
    ReleaseCard,
    load_release,
    sha256_file,
    write_card,
)
from inspection.types import Detections, Image, Release
from inspection_datasets.incoming import read_image
from inspection_datasets.manifest import DatasetVersion, Sample
from inspection_training.anomaly_limits import (
    NO_ESCAPE_CLAIM,
    anomaly_limits,
    measure_anomaly,
    part_scores,
)
from inspection_training.evaluate import detect_samples, measure
from inspection_training.experiment import Experiment
from inspection_training.family import Family, Outputs, Trained, open_family
from inspection_training.limits import WITHOUT_VAL, choose_limits
from inspection_training.parity import check_maps, check_rows
from inspection_training.progress import Report, Step, silent
from inspection_training.release import (
    CARD_TEXT,
    library_versions,
    machine,
    measure_latency,
    now,
    publish,
    write_text_card,
)

PARITY_IMAGES = 16
RUNTIMES = ("onnxruntime", "openvino")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run made.

    Attributes:
        release: as published.
        card: its card.
        run: folder of the run.
        seconds: stage name to seconds.
    """

    release: Release
    card: ReleaseCard
    run: Path
    seconds: dict[str, float]


def train_release(
    experiment: Experiment,
    version: DatasetVersion,
    *,
    part: str,
    weights: Path | None,
    releases: Path,
    runs: Path,
    report: Report = silent,
) -> Outcome:
    """Train, export, check, measure and publish one release.

    Args:
        experiment: every setting.
        version: the dataset version.
        part: name of the part; the folder below releases.
        weights: weight file to start from; None: random, or none where the family needs none.
        releases: where releases are published.
        runs: where the run's folder is made.
        report: told about every step.

    Raises:
        InspectionError: anything wrong; nothing was published then.
    """
    if not re.fullmatch(PART_NAME, part):
        raise ConfigError(
            f"part {part!r} is not allowed; use letters, digits, dot, dash, underscore"
        )
    unknown = sorted(set(experiment.expected) - set(version.classes))
    if unknown:
        raise ConfigError(f"expected names {unknown}; the dataset has {list(version.classes)}")
    family = open_family(experiment.family)
    run = _new_run(runs, part)
    clock = _Clock()
    trained = family.train(experiment, version, weights, run, report)
    clock.lap("train")
    candidate = run / "candidate" / part / "1"
    candidate.mkdir(parents=True)
    report(Step("export", 0, 1))
    family.export(trained, candidate / MODEL, experiment, version.classes)
    report(Step("export", 1, 1))
    card = _card(experiment, version, (family, trained), candidate, part)
    write_card(candidate, card)
    release = load_release(candidate)
    clock.lap("export")
    runtimes = {name: open_runtime(name, release) for name in RUNTIMES}
    try:
        parity = _parity(experiment, (family, trained), version, runtimes, report)
        clock.lap("parity")
        measured = _measure(experiment, version, release, runtimes, report)
        clock.lap("evaluate")
    finally:
        for runtime in runtimes.values():
            runtime.close()
    card = card.model_copy(update={**measured, "parity": parity})
    files = {**card.files, CARD_TEXT: write_text_card(candidate, card)}
    card = card.model_copy(update={"files": files})
    published = publish(candidate, card, releases)
    clock.lap("release")
    report(Step("release", 1, 1))
    card = card.model_copy(update={"number": published.number})
    return Outcome(published, card, run, clock.seconds)


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, stage: str) -> None:
        now_mono = time.monotonic()
        self.seconds[stage] = round(now_mono - self._last, 2)
        self._last = now_mono


def _new_run(runs: Path, part: str) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    for attempt in range(100):
        run = runs.resolve() / (f"{part}-{stamp}" + (f"-{attempt}" if attempt else ""))
        try:
            run.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise ConfigError(f"run folder {run} cannot be made: {error}") from error
        return run
    raise ConfigError(f"{runs} has too many runs of this second; try again")


def open_runtime(name: str, release: Release) -> Runtime:
    """Return a runtime of the line with the release loaded.

    Raises:
        ConfigError: no such runtime.
        InferenceError: it cannot load the release.
    """
    if name == "onnxruntime":
        from inspection.runtimes.onnxruntime import OnnxRuntimeConfig

        runtime: Runtime = OnnxRuntimeConfig(type="onnxruntime").open()
    elif name == "openvino":
        from inspection.runtimes.openvino import OpenVinoConfig

        runtime = OpenVinoConfig(type="openvino").open()
    else:
        raise ConfigError(f"runtime {name!r} is not known; use one of {', '.join(RUNTIMES)}")
    runtime.load(release, 120.0)
    return runtime


def _held_out(version: DatasetVersion) -> list[Sample]:
    samples = [*version.select("test"), *version.select("val")]
    return samples or version.select("train")


def _parity(
    experiment: Experiment,
    learned: tuple[Family, Trained],
    version: DatasetVersion,
    runtimes: dict[str, Runtime],
    report: Report,
) -> dict[str, Any]:
    family, trained = learned
    samples = _held_out(version)
    samples = samples[:: max(1, len(samples) // PARITY_IMAGES)][:PARITY_IMAGES]
    images = [read_image(version.path(sample)) for sample in samples]
    ticks = _Ticks("parity", len(images) * len(runtimes), report)

    def reference(image: Image) -> Outputs:
        return family.reference(trained, experiment, image)

    check = check_maps if family.task == "anomaly" else check_rows
    size = experiment.network_size
    results = [
        check(reference, runtime, name, images, size, tick=ticks.tick).as_dict()
        for name, runtime in runtimes.items()
    ]
    return {"images": [sample.image for sample in samples], "results": results}


class _Ticks:
    def __init__(self, stage: str, total: int, report: Report) -> None:
        self._stage, self._total, self._report, self._done = stage, total, report, 0

    def tick(self) -> None:
        self._done += 1
        self._report(Step(self._stage, self._done, self._total))


def _measure(
    experiment: Experiment,
    version: DatasetVersion,
    release: Release,
    runtimes: dict[str, Runtime],
    report: Report,
) -> dict[str, Any]:
    """Return limits, claim, metrics and latency for the card."""
    splits = {split: version.select(split) for split in ("val", "test")}
    ticks = _Ticks("evaluate", sum(map(len, splits.values())), report)
    detector = Detector(release, runtimes["openvino"])
    found: dict[str, list[Detections]] = {
        split: detect_samples(detector, version, samples, ticks.tick)
        for split, samples in splits.items()
    }
    anomaly = release.task == "anomaly"
    if anomaly:
        good = [d for s, d in zip(splits["val"], found["val"], strict=True) if s.state == "good"]
        limits, claim = anomaly_limits(part_scores(good), experiment)
    else:
        limits = choose_limits(version.classes, splits["val"], found["val"], experiment)
        claim = ""
    plain = {name: card.limits() for name, card in limits.items()}
    measured = measure_anomaly if anomaly else measure
    evaluations = [
        measured(version, samples, found[split], plain, split)
        for split, samples in splits.items()
        if samples
    ]
    image = read_image(version.path(_held_out(version)[0]))
    latency = {
        name: measure_latency(Detector(release, runtime), [image])
        for name, runtime in runtimes.items()
    }
    return {
        "limits": limits,
        "claim": claim,
        "metrics": {
            "runtime": "openvino",
            "note": "the limits were chosen on val: its rates are flattered. The model learned "
            "from neither",
            "evaluations": evaluations,
        },
        "latency": {"machine": machine(), **latency},
    }


def _card(
    experiment: Experiment,
    version: DatasetVersion,
    learned: tuple[Family, Trained],
    candidate: Path,
    part: str,
) -> ReleaseCard:
    """Return the card before anything was measured; its limits and claim are replaced."""
    family, trained = learned
    classes = [ANOMALY_CLASS] if family.task == "anomaly" else list(version.classes)
    return ReleaseCard(
        part=part,
        number=1,
        created_at=now(),
        task=family.task,
        family=f"{experiment.family}/{trained.architecture}",
        classes=classes,
        input_size=experiment.network_size,
        files={MODEL: sha256_file(candidate / MODEL)},
        limits=dict.fromkeys(classes, WITHOUT_VAL),
        claim=NO_ESCAPE_CLAIM if family.task == "anomaly" else "",
        dataset=DatasetCard(
            name=version.name,
            version=version.version,
            sha256=version.sha256,
            train_images=len(trained.train),
            val_images=len(trained.val),
        ),
        base_weights=trained.base_weights,
        experiment={
            **experiment.model_dump(mode="json"),
            "epochs_done": trained.epochs,
            "precision_used": trained.precision,
            "trained_on": trained.device,
            **({"learned": trained.facts} if trained.facts else {}),
        },
        seeds={"training": experiment.seed},
        libraries=library_versions(),
        licence=family.licence,
        metrics={},
        parity={},
        latency={},
    )


def evaluate_release(
    folder: Path, version: DatasetVersion, split: str, runtime_name: str, report: Report = silent
) -> dict[str, Any]:
    """Measure a published release on a split with its own limits.

    Raises:
        ReleaseError: the release is refused, or its classes are not the dataset's.
        ConfigError: the split has no images that somebody looked at.
    """
    release = load_release(folder)
    anomaly = release.task == "anomaly"
    if not anomaly and release.classes != version.classes[: len(release.classes)]:
        raise ReleaseError(
            f"{release.name} knows {list(release.classes)}, {version.folder} has "
            f"{list(version.classes)}; evaluate it on its own part"
        )
    samples = version.select(split)
    if not samples:
        raise ConfigError(f"{version.folder} {version.version} has no labelled image in {split}")
    runtime = open_runtime(runtime_name, release)
    ticks = _Ticks("evaluate", len(samples), report)
    try:
        found = detect_samples(Detector(release, runtime), version, samples, ticks.tick)
    finally:
        runtime.close()
    measured = measure_anomaly if anomaly else measure
    metrics = measured(version, samples, found, release.limits, split)
    return {
        "release": release.name,
        "model_sha256": release.model_sha256,
        "dataset": f"{version.name} {version.version} {version.sha256}",
        "runtime": runtime_name,
        **metrics,
    }
