"""One training run, from a dataset version to a release.

    dataset gate ─▶ train ─▶ export ─▶ parity (ONNX Runtime, OpenVINO) ─▶ detect val and test images
        ─▶ limits from val ─▶ measure ─▶ gates ─▶ publish releases/PART/NUMBER ─▶ variants

Everything of the run stays in `RUNS/PART-TIME/`: train.log, checkpoint, candidate release. A candidate
that does not pass its gates stays there with its card and is not published. Which family of models it
is does not matter here: all go through `family.Family`.
"""

from __future__ import annotations

import logging
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from inspection.decide import ANOMALY_CLASS
from inspection.errors import ConfigError, InspectionError
from inspection.release import (
    MODEL,
    PART_NAME,
    DatasetCard,
    ReleaseCard,
    TilingCard,
    load_release,
    read_card,
    sha256_file,
    write_atomic,
    write_card,
)
from inspection.types import Release
from inspection_datasets.check import check_dataset
from inspection_datasets.findings import Finding
from inspection_datasets.manifest import DatasetVersion
from inspection_training.anomaly_limits import NO_ESCAPE_CLAIM
from inspection_training.candidate import finish_candidate
from inspection_training.experiment import Experiment, settings_yaml
from inspection_training.family import Family, Trained, open_family
from inspection_training.gates import (
    TRAINING_SAYS,
    GateResult,
    RefusedError,
    candidate_gates,
    check_asked,
    dataset_gate,
    for_card,
)
from inspection_training.limits import WITHOUT_VAL
from inspection_training.measure import (
    RUNTIMES,
    Measured,
    check_pictures,
    held_out,
    measure_candidate,
    measure_parity,
    open_runtime,
)
from inspection_training.progress import Report, Step, silent
from inspection_training.release import library_versions, now, publish
from inspection_training.run_card import finish_run, start_run

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run made.

    Attributes:
        release: as published.
        card: its card.
        run: folder of the run.
        seconds: stage name to seconds.
        variants: precision asked for to why it was not made; empty text: it was.
    """

    release: Release
    card: ReleaseCard
    run: Path
    seconds: dict[str, float]
    variants: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a training made, measured, its gates asked; nothing is published.

    Attributes:
        folder: of the candidate, inside the run's.
        card: its card, as it lies there.
        run: folder of the run.
        gates: every gate that was asked.
        seconds: stage name to seconds.
    """

    folder: Path
    card: ReleaseCard
    run: Path
    gates: tuple[GateResult, ...]
    seconds: dict[str, float]


def train_release(
    experiment: Experiment,
    version: DatasetVersion,
    *,
    part: str,
    weights: Path | None,
    releases: Path,
    runs: Path,
    resume: Path | None = None,
    explained: str = "",
    report: Report = silent,
) -> Outcome:
    """Train, export, check, measure and publish one release.

    Arguments are those of `train_candidate`.

    Raises:
        RefusedError: a gate was not passed; the candidate and its card stay in the run's folder.
        InspectionError: anything else wrong; nothing was published either.
    """
    made = train_candidate(
        experiment,
        version,
        part=part,
        weights=weights,
        releases=releases,
        runs=runs,
        resume=resume,
        explained=explained,
        report=report,
    )
    clock = _Clock(made.seconds)
    if not all(result.passed for result in made.gates):
        raise RefusedError(part, made.gates, version.folder, made.folder)
    published = publish(made.folder, made.card, releases)
    finish_run(made.run, published.name)
    clock.lap("release")
    report(Step("release", 1, 1))
    variants = _make_variants(experiment, version, published, report)
    clock.lap("variants")
    card = read_card(published.folder)
    return Outcome(published, card, made.run, clock.seconds, variants)


def train_candidate(
    experiment: Experiment,
    version: DatasetVersion,
    *,
    part: str,
    weights: Path | None,
    releases: Path,
    runs: Path,
    resume: Path | None = None,
    explained: str = "",
    report: Report = silent,
) -> Candidate:
    """Train, export, check and measure; publish nothing.

    Args:
        experiment: every setting.
        version: the dataset version.
        part: name of the part; the folder below releases.
        weights: weight file to start from; None: random, or none where the family needs none.
        releases: where a release of it would be published; kept in the run's card.
        runs: where the run's folder is made.
        resume: a run folder that was cut off; its family goes on from its checkpoint; see
            `run_card.resume_run` for all arguments of it.
        explained: the experiment as YAML with its reasons, kept as `RUN/experiment.yaml`; default: its
            settings.
        report: told about every step.

    Raises:
        RefusedError: the dataset is not as its gate asks; nothing was trained.
        InspectionError: anything else wrong.
    """
    if not re.fullmatch(PART_NAME, part):
        raise ConfigError(
            f"part {part!r} is not allowed; use letters, digits, dot, dash, underscore"
        )
    unknown = sorted(set(experiment.expected) - set(version.classes))
    if unknown:
        raise ConfigError(f"expected names {unknown}; the dataset has {list(version.classes)}")
    check_asked(experiment.gates, version)
    held_out(version)
    family = open_family(experiment.family, experiment.model)
    _check_tiles(experiment, family)
    clean = _check_dataset(experiment, version, part, family, report)
    check_pictures(version, experiment.gates.must_catch)
    run = resume or _new_run(runs, part)
    if resume is None:
        start_run(run, experiment, version, part=part, weights=weights, releases=releases)
        write_atomic(run / "experiment.yaml", (explained or settings_yaml(experiment)).encode())
    clock = _Clock({})
    trained = family.train(experiment, version, weights, run, report)
    clock.lap("train")
    folder = run / "candidate" / part / "1"
    card = _export(experiment, version, (family, trained), folder, report)
    clock.lap("export")
    parity, measured = _measure(experiment, version, (family, trained), folder, report)
    clock.lap("measure")
    results = (*clean, *candidate_gates(experiment.gates, parity, measured))
    metrics = {**measured.card["metrics"], "gates": for_card(experiment.gates, results)}
    card = card.model_copy(update={**measured.card, "metrics": metrics, "parity": parity})
    card = finish_candidate(folder, card, measured)
    return Candidate(folder, card, run, results, clock.seconds)


def _make_variants(
    experiment: Experiment, version: DatasetVersion, published: Release, report: Report
) -> dict[str, str]:
    """Make the variants that are asked for; one that cannot be made says why, and the release stands."""
    why = dict.fromkeys(experiment.variants, "")
    for precision in experiment.variants:
        from inspection_training.variants.make import make_variant

        try:
            make_variant(published.folder, precision, version, report=report)
        except InspectionError as error:
            why[precision] = str(error)
        except Exception as error:  # a library's own; the release is published, and stands
            _LOG.exception("variant %s of %s was not made", precision, published.name)
            make = f"{published.folder} --precision {precision} --data {version.folder}"
            why[precision] = (
                f"{type(error).__name__}: {error}; nothing was added to {published.name}. Make it again: "
                f"`inspection variant make {make}`"
            )
    return why


def _export(
    experiment: Experiment,
    version: DatasetVersion,
    learned: tuple[Family, Trained],
    candidate: Path,
    report: Report,
) -> ReleaseCard:
    """Write the candidate's model and its first card, whose numbers are still empty."""
    family, trained = learned
    shutil.rmtree(candidate, ignore_errors=True)
    candidate.mkdir(parents=True)
    report(Step("export", 0, 1))
    family.export(trained, candidate / MODEL, experiment, version.classes)
    report(Step("export", 1, 1))
    card = _card(experiment, version, learned, candidate)
    write_card(candidate, card)
    return card


def _check_tiles(experiment: Experiment, family: Family) -> None:
    """Raise ConfigError where tiles are asked of a family that learns whole pictures only."""
    if experiment.tile is not None and family.task == "anomaly":
        raise ConfigError(
            f"family {experiment.family} learns whole pictures, so tile {list(experiment.tile)} cannot be "
            "kept; leave it out, or use family ultralytics or torchvision"
        )


def _check_dataset(
    experiment: Experiment, version: DatasetVersion, part: str, family: Family, report: Report
) -> list[GateResult]:
    """Ask the dataset gate before time is spent on training.

    Raises:
        RefusedError: it is not passed. Only where a training runs into all that is wrong, the family says
            it, in its own words; if it does not, the gate is not passed after the training.
    """
    if not experiment.gates.clean_dataset:
        return []
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        report(Step("check", done, len(version.samples)))

    findings = check_dataset(version, tick=tick)
    result = dataset_gate(version, findings, good_only=family.task == "anomaly")
    splits = {sample.image: sample.split for sample in version.samples}
    wrong = [finding for finding in findings if finding.code in result.found["codes"]]
    if not result.passed and not all(_training_says(finding, splits) for finding in wrong):
        raise RefusedError(part, [result], version.folder, None)
    return [result]


def _training_says(finding: Finding, splits: Mapping[str, str]) -> bool:
    """Tell whether an error is said before or while a network learns.

    A test picture that cannot be read is not: nothing reads it until the model is measured. That one is
    missing is said by `check_pictures`.
    """
    read = splits.get(finding.values.get("image", "")) != "test" or finding.code == "image_missing"
    return finding.code in TRAINING_SAYS and read


def _measure(
    experiment: Experiment,
    version: DatasetVersion,
    learned: tuple[Family, Trained],
    candidate: Path,
    report: Report,
) -> tuple[dict[str, Any], Measured]:
    """Return parity and everything measured of a candidate."""
    release = load_release(candidate)
    runtimes = {name: open_runtime(name, release) for name in RUNTIMES}
    try:
        parity = measure_parity(experiment, learned, version, runtimes, report)
        return parity, measure_candidate(
            release,
            version,
            runtimes,
            report,
            experiment=experiment,
            also=experiment.gates.must_catch,
        )
    finally:
        for runtime in runtimes.values():
            runtime.close()


class _Clock:
    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds = dict(seconds)
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


def _card(
    experiment: Experiment,
    version: DatasetVersion,
    learned: tuple[Family, Trained],
    candidate: Path,
) -> ReleaseCard:
    """Return the card before anything was measured; its limits and claim are replaced."""
    family, trained = learned
    classes = [ANOMALY_CLASS] if family.task == "anomaly" else list(version.classes)
    return ReleaseCard(
        part=candidate.parent.name,
        number=1,
        created_at=now(),
        task=family.task,
        family=f"{experiment.family}/{trained.architecture}",
        classes=classes,
        input_size=experiment.network_size,
        tiling=(
            TilingCard(size=experiment.tile, overlap=experiment.tile_overlap)
            if experiment.tile
            else None
        ),
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
