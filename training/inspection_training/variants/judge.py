"""A variant on trial: what every step needs, and the comparison that decides.

Work: release, dataset, wishes, staging folder ─▶ Judged: the release's decisions ─▶ a card, or no
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspection.detector import Detector
from inspection.errors import DatasetError, ReleaseError
from inspection.protocols import Runtime
from inspection.release import read_card
from inspection.types import Detections, Image, Release
from inspection.variants import VariantCard, VariantParity
from inspection_datasets.incoming import read_image
from inspection_datasets.manifest import DatasetVersion, Sample
from inspection_training.evaluate import detect_samples
from inspection_training.evaluation import samples_for
from inspection_training.progress import Report, Step
from inspection_training.release import library_versions, machine, now
from inspection_training.variants.parity import compare, in_words, latency_in_turns, numbers
from inspection_training.variants.proof import stopped

JUDGED = ("val", "test")
DEVICE = "CPU"
RUNTIME = "openvino"
"""The one that computes bf16 and int8 faster, see decision 0011."""
_ADVICE = {"bf16": "", "int8": " or bf16, or search longer: --minutes"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a variant must reach.

    Attributes:
        min_equal: share of equal decisions on val and test, over 0 to 1.
        minutes: longest search for layers to keep in float.
        split: images that rates and mAP are given for: test or val.
        trained_on: dataset folder that the release learned from; None: the one that judges.
    """

    min_equal: float = 0.99
    minutes: float = 10.0
    split: str = "test"
    trained_on: Path | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """What every step of one variant needs."""

    release: Release
    version: DatasetVersion
    wanted: Wanted
    staging: Path
    report: Report

    def samples(self, split: str) -> list[Sample]:
        """Return the images of a split of which somebody said whether the part is good."""
        return samples_for(self.release, self.version, split)

    def judged(self) -> list[Sample]:
        """Return those of val and test."""
        return [sample for split in JUDGED for sample in self.samples(split)]

    def detect(self, runtime: Runtime, samples: Sequence[Sample], stage: str) -> list[Detections]:
        """Run the release on the images, in order, and report under the name of the stage."""
        done = 0

        def tick() -> None:
            nonlocal done
            done += 1
            self.report(Step(stage, done, len(samples)))

        return detect_samples(Detector(self.release, runtime), self.version, samples, tick)

    def images(self, count: int) -> list[Image]:
        """Return so many of the judged pictures, evenly from all."""
        return [read_image(self.version.path(sample)) for sample in spread(self.judged(), count)]


def spread(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Return so many samples, evenly from all."""
    step = max(1.0, len(samples) / count)
    return [samples[int(i * step)] for i in range(min(count, len(samples)))]


def open_in(release: Release, precision: str) -> Runtime:
    """Return OpenVINO with a release loaded that is of this precision already.

    Raises:
        InferenceError: it cannot load it.
    """
    from inspection.runtimes.openvino import OpenVinoConfig

    config = OpenVinoConfig.model_validate(
        {"type": RUNTIME, "device": DEVICE, "precision": precision}
    )
    runtime: Runtime = config.open()
    runtime.load(release, 120.0)
    return runtime


class Judged:
    """The release's decisions, and what variants of it were found to decide.

    Raises:
        DatasetError: the release stops no defective image, so a variant that sees nothing would decide alike.
    """

    def __init__(
        self, work: Work, samples: Sequence[Sample], expected: Sequence[Detections]
    ) -> None:
        if not any(stopped(work.release, samples, expected)):
            raise DatasetError(
                f"{work.release.name} stops no defective image of {work.version.folder} "
                f"{work.version.version} in {' and '.join(JUDGED)}, so a variant that sees nothing would "
                "decide alike; label defects that it finds, or lower its T1"
            )
        self._work = work
        self.samples = samples
        self._expected = expected
        self.parity: VariantParity | None = None
        self._found: Sequence[Detections] = ()

    def accepts(self, found: Sequence[Detections]) -> bool:
        """Compare and tell whether it passes."""
        work = self._work
        self._found = found
        self.parity = compare(
            work.release, self.samples, self._expected, found, work.wanted.min_equal
        )
        return self.parity.passed

    def judge(self, name: str, found: Sequence[Detections]) -> None:
        """Compare. Raises ReleaseError when it does not pass."""
        if not self.accepts(found):
            raise self.refusal(name)

    def refusal(self, name: str) -> ReleaseError:
        """Return the error that names what would change. Something was compared before."""
        release = self._work.release
        if self.parity is None:
            raise ValueError("nothing was compared yet")
        return ReleaseError(
            f"variant {name} of {release.name} is refused: {in_words(self.parity)}. "
            f"Run this release in f32{_ADVICE[name]}"
        )

    def card(self, name: Any, base: Runtime, other: Runtime) -> VariantCard:
        """Measure both and return the card; files and layers are filled in by int8."""
        work, release = self._work, self._work.release
        split = work.wanted.split
        chosen = [i for i, sample in enumerate(self.samples) if sample.split == split]
        samples = [self.samples[i] for i in chosen]
        found = {"f32": self._expected, name: self._found}
        return VariantCard.model_construct(
            format=1,
            name=name,
            created_at=now(),
            release=release.name,
            base_sha256=release.model_sha256,
            files={},
            model_sha256=release.model_sha256,
            runtimes=[RUNTIME],
            device=DEVICE,
            dataset={
                "name": work.version.name,
                "version": work.version.version,
                "sha256": work.version.sha256,
            },
            splits=[s for s in JUDGED if work.samples(s)],
            limits=read_card(release.folder).limits,
            calibration_images=0,
            kept_float=[],
            float_arithmetic="bf16" if name == "bf16" else "f32",
            quantised=0,
            tries=[],
            selected_on=[],
            parity={RUNTIME: self.parity},
            metrics={
                "split": split,
                "images": len(samples),
                **{
                    key: numbers(release, work.version, samples, [made[i] for i in chosen], split)
                    for key, made in found.items()
                },
            },
            latency=latency_in_turns(
                {"f32": Detector(release, base), name: Detector(release, other)}, work.images(8)
            ),
            machine=machine(),
            libraries=_libraries(),
        )


def _libraries() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return {**library_versions(), "nncf": version("nncf")}
    except PackageNotFoundError:
        return library_versions()
