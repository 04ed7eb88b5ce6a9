"""Run a release on a split: what `evaluate`, `limits` and the report all start from.

release folder, dataset version, split ─▶ load, check classes ─▶ detect every picture ─▶ SplitRun
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from inspection.decide import judge
from inspection.detector import Detector
from inspection.errors import ConfigError, DatasetError, ReleaseError
from inspection.protocols import Runtime
from inspection.release import ReleaseCard, load_release, read_card
from inspection.sentences.claims import warning_sentence
from inspection.types import Decision, Detections, Recipe, Release
from inspection.variants import FLOAT, VARIANTS, in_precision, precision_of
from inspection_datasets.manifest import SPLITS, DatasetVersion, Sample
from inspection_training.evaluate import detect_samples, judged_samples, measure
from inspection_training.progress import Report, Step, silent

Detect = Callable[[Release, DatasetVersion, Sequence[Sample], Callable[[], None]], list[Detections]]
"""Runs a checked release on samples, in order, and ticks after each; see `evaluate.detect_samples`."""


@dataclass(frozen=True, slots=True)
class Warned:
    """What a person must know before signing, as a code and its values.

    Attributes:
        code: a key of `inspection.sentences.claims.WARNINGS`.
        values: what its sentence names.
    """

    code: str
    values: dict[str, Any] = field(default_factory=dict[str, Any])

    def told(self, language: str) -> str:
        """Return the sentence in `ko` or `en`."""
        return warning_sentence(self.code, self.values, language)

    def __str__(self) -> str:
        return self.told("en")


@dataclass(frozen=True, slots=True)
class SplitRun:
    """A release and what it found in a split.

    Attributes:
        release: checked.
        card: its `release.json`.
        version: the dataset version.
        split: train, val or test.
        samples: pictures of which somebody said whether the part is good; see `judged_samples`.
        found: detections of each, in that order.
        runtime: who ran the model.
        warnings: why the numbers are flattered, or nobody knows whether they are; see `known_pictures`.
    """

    release: Release
    card: ReleaseCard
    version: DatasetVersion
    split: str
    samples: tuple[Sample, ...]
    found: tuple[Detections, ...]
    runtime: str
    warnings: tuple[Warned, ...] = ()

    @property
    def precision(self) -> str:
        """What the model computed in: f32, bf16 or int8."""
        return precision_of(self.release)

    @property
    def recipe(self) -> Recipe:
        """The release's own limits, without regions."""
        return plain_recipe(self.release)

    def decisions(self, recipe: Recipe) -> list[Decision]:
        """Return what the line decides of each part."""
        return [judge(found, recipe).decision for found in self.found]

    def metrics(self) -> dict[str, Any]:
        """Return the numbers of `evaluate` under the release's own limits."""
        from inspection_training.anomaly_limits import measure_anomaly

        measured = measure_anomaly if self.release.task == "anomaly" else measure
        return {
            "release": self.release.name,
            "model_sha256": self.release.model_sha256,
            "dataset": f"{self.version.name} {self.version.version} {self.version.sha256}",
            "runtime": self.runtime,
            "precision": self.precision,
            "warnings": [warning.told("en") for warning in self.warnings],
            "warning_codes": [asdict(warning) for warning in self.warnings],
            **measured(self.version, self.samples, self.found, self.release.limits, self.split),
        }


def plain_recipe(release: Release) -> Recipe:
    """Return a recipe that judges the whole picture by the release's own limits."""
    return Recipe(number=1, part=release.part, release=release.number, limits=release.limits)


def samples_for(release: Release, version: DatasetVersion, split: str) -> list[Sample]:
    """Return the samples of a split that can tell whether a release is right; see `judged_samples`."""
    expected = {name for name, limits in release.limits.items() if limits.expected is not None}
    return judged_samples(version, split, expected)


def inspect_split(
    folder: Path,
    version: DatasetVersion,
    split: str,
    runtime_name: str = "openvino",
    report: Report = silent,
    precision: str = FLOAT,
    trained_on: Path | None = None,
    detect: Detect | None = None,
) -> SplitRun:
    """Run a release on the pictures of a split of which somebody said whether the part is good.

    Args:
        folder: the release, releases/PART/NUMBER.
        version: dataset of the part.
        split: train, val or test.
        runtime_name: openvino, onnxruntime or pytorch.
        report: told about every picture.
        precision: f32, or a variant that the release has: bf16 or int8.
        trained_on: the dataset folder that the release learned from; default: the version's own.
        detect: what runs the release; default: this process, with `runtime_name`.

    Raises:
        ReleaseError: the release is refused, has no such variant for this runtime, or its classes are
            not the dataset's.
        DatasetError: no such split, or no picture in it that somebody looked at.
        ConfigError: no such runtime or precision.
    """
    release = _released(folder, precision, runtime_name)
    if release.task != "anomaly" and release.classes != version.classes[: len(release.classes)]:
        raise ReleaseError(
            f"{release.name} knows {list(release.classes)}, {version.folder} has "
            f"{list(version.classes)}; evaluate it on its own part"
        )
    if split not in SPLITS:
        raise DatasetError(f"split {split!r} is not one of {', '.join(SPLITS)}")
    samples = samples_for(release, version, split)
    if not samples:
        raise DatasetError(
            f"{version.folder} {version.version} has no labelled and no good image in {split}; "
            "label some, or name another split"
        )
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        report(Step("evaluate", done, len(samples)))

    found = (detect or partial(detect_here, runtime_name, 0))(release, version, samples, tick)
    run = SplitRun(
        release, read_card(folder), version, split, tuple(samples), tuple(found), runtime_name
    )
    return replace(run, warnings=tuple(known_pictures(run, trained_on)))


def _released(folder: Path, precision: str, runtime_name: str) -> Release:
    if precision not in {FLOAT, *VARIANTS}:
        raise ConfigError(f"precision {precision!r} is not one of {', '.join((FLOAT, *VARIANTS))}")
    return in_precision(load_release(folder), precision, runtime_name)


def detect_here(
    runtime_name: str,
    threads: int,
    release: Release,
    version: DatasetVersion,
    samples: Sequence[Sample],
    tick: Callable[[], None],
) -> list[Detections]:
    """Run a release on every sample, in order, in this process; threads 0: the library's choice."""
    runtime = open_release(runtime_name, release, threads)
    try:
        return detect_samples(Detector(release, runtime), version, samples, tick)
    finally:
        runtime.close()


def open_release(runtime_name: str, release: Release, threads: int = 0) -> Runtime:
    """Return the runtime with the release loaded, in the precision that it was found in.

    Raises:
        ConfigError: no such runtime.
        InferenceError: it cannot load the release.
    """
    if precision_of(release) == FLOAT:
        from inspection_training.measure import open_runtime

        return open_runtime(runtime_name, release, threads)
    from inspection.runtimes.openvino import OpenVinoConfig

    config = OpenVinoConfig.model_validate(
        {"type": runtime_name, "precision": precision_of(release), "threads": threads}
    )
    runtime: Runtime = config.open()
    runtime.load(release, 120.0)
    return runtime


def refuse_known_pictures(run: SplitRun, trained_on: Path | None = None) -> None:
    """Make sure that the release never learned from these pictures.

    Equal names of groups in a dataset of another name may be chance: that is a warning of the run.

    Args:
        run: the split.
        trained_on: the dataset folder that the release learned from; default: the run's own.

    Raises:
        DatasetError: it is the training split, the version the release learned from cannot be found, or
            a picture or group of the split is in its training split.
    """
    if run.split == "train":
        raise DatasetError(
            f"{run.release.name} learned from split train; limits chosen there promise nothing. "
            "Use --split test"
        )
    learned = _learned_version(run, trained_on)
    same, torn = _known(run, learned)
    if same:
        raise DatasetError(
            f"{len(same)} pictures of {run.version.folder} {run.version.version} {run.split} were "
            f"trained on, the first is {same[0]}; limits chosen there promise nothing. Leave them out"
        )
    if torn and learned.name == run.version.name:
        raise DatasetError(
            f"{len(torn)} pictures belong to groups (parts, lots) that were trained on, the first is "
            f"{torn[0]}; limits chosen there are flattered. Use parts of other groups"
        )


def known_pictures(run: SplitRun, trained_on: Path | None = None) -> list[Warned]:
    """Return why the numbers of a split are flattered, or nobody knows whether they are.

    Args:
        run: the split.
        trained_on: the dataset folder that the release learned from; default: the run's own.
    """
    card, version = run.card.dataset, run.version
    try:
        learned = _learned_version(run, trained_on)
    except DatasetError:
        where = {"folder": str(trained_on or version.folder), "sha256": card.sha256[:12]}
        names = {"release": run.release.name, "dataset": card.name, "version": card.version}
        return [Warned("learned_unknown", {**names, **where})]
    same, torn = _known(run, learned)
    if not same and not torn:
        return []
    values: dict[str, Any] = {
        "release": run.release.name,
        "name": version.name,
        "version": version.version,
        "split": run.split,
        "of": len(run.samples),
        "known": len(same or torn),
        "image": (same or torn)[0],
    }
    if same:
        return [Warned("trained_on", values)]
    if learned.name == version.name:
        return [Warned("groups_trained_on", values)]
    return [Warned("group_names", {**values, "dataset": learned.name})]


def _known(run: SplitRun, learned: DatasetVersion) -> tuple[list[str], list[str]]:
    """Return the images of a run that were trained on, and those whose group was."""
    train = [sample for sample in learned.samples if sample.split == "train"]
    known, groups = {s.sha256 for s in train}, {s.group for s in train}
    same = [s.image for s in run.samples if s.sha256 in known]
    return same, [s.image for s in run.samples if s.group in groups]


def _learned_version(run: SplitRun, trained_on: Path | None) -> DatasetVersion:
    from inspection_datasets.manifest import load_version

    card = run.card.dataset
    folder = trained_on or run.version.folder
    if run.version.sha256 == card.sha256:
        return run.version
    try:
        learned = load_version(folder, card.version)
    except DatasetError as error:
        raise _unknown(run, folder) from error
    if learned.sha256 != card.sha256:
        raise _unknown(run, folder)
    return learned


def _unknown(run: SplitRun, folder: Path) -> DatasetError:
    card = run.card.dataset
    return DatasetError(
        f"{run.release.name} learned from {card.name} {card.version} ({card.sha256[:12]}), which is not "
        f"in {folder}; so nobody can tell whether it saw these pictures. Name its folder: --trained-on"
    )
