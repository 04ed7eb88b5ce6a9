"""Releases that decide stored pictures by the rules of the line: `Detector`, then `decide`.

A picture stands for a frame that came in time, from a camera that never repeats one: what is left of the
line's preconditions are the recipe's frame limits and what the model answers.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from inspection.decide import Evidence, decide
from inspection.detector import Detector
from inspection.errors import ConfigError, InferenceError, ReleaseError
from inspection.protocols import Runtime
from inspection.release import find_release
from inspection.types import (
    Code,
    Detections,
    Frame,
    Image,
    PartKey,
    Recipe,
    Release,
    Result,
    Trigger,
)
from inspection.variants import FLOAT, VARIANTS, in_precision
from inspection_training.evaluation import open_release

_TIMEOUT = 60.0


class Judge:
    """One release, loaded."""

    def __init__(self, release: Release, runtime: Runtime) -> None:
        self.release, self.runtime = release, runtime
        self._detector = Detector(release, runtime)

    def decide(
        self,
        image: Image,
        recipe: Recipe,
        key: PartKey,
        codes: tuple[Code, ...] | None = None,
        serial: str = "",
    ) -> tuple[Result, Detections | None]:
        """Decide one picture as the line decides a frame that came in time, with the codes read then."""
        seen = time.monotonic()
        trigger = Trigger(key, 0, serial, seen, "", float("inf"))
        evidence = Evidence(
            trigger=trigger,
            recipe=recipe,
            release=self.release,
            frame=Frame(image, 0, seen, "replay"),
            previous=None,
            live=False,
            detections=None,
            fault=None,
            now_mono=seen,
            codes=codes,
        )
        try:
            found = self._detector.detect(image, _TIMEOUT)
        except InferenceError as error:  # one part's answer, as in the line: not inspected
            return decide(replace(evidence, fault=error.reason)), None
        return decide(replace(evidence, detections=found)), found


class Judges:
    """The releases of a folder, each loaded once it is needed; use as a context manager."""

    def __init__(self, releases: Path, runtime: str, threads: int = 0) -> None:
        self._releases, self._runtime, self._threads = releases, runtime, threads
        self._open: dict[str, Judge] = {}
        self._old: dict[tuple[str, str], Release | None] = {}

    def __enter__(self) -> Judges:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for judge_of in self._open.values():
            judge_of.runtime.close()

    def of(self, release: Release) -> Judge:
        """Return the judge of a release, in the precision that it was found in.

        Raises:
            InferenceError: the runtime cannot load it.
        """
        key = f"{release.name} {release.model_sha256}"
        if key not in self._open:
            self._open[key] = Judge(release, open_release(self._runtime, release, self._threads))
        return self._open[key]

    def asked(self, part: str, number: int, precision: str) -> Release:
        """Return the release that decides again.

        Raises:
            ReleaseError: it is refused, or has no such variant for this runtime.
            ConfigError: no such precision.
        """
        if precision not in {FLOAT, *VARIANTS}:
            known = ", ".join((FLOAT, *VARIANTS))
            raise ConfigError(f"precision {precision!r} is not one of {known}")
        return in_precision(find_release(self._releases, part, number), precision, self._runtime)

    def find(self, row: dict[str, Any]) -> Release | None:
        """Return the very release that decided a row, in the precision that the row names.

        None when it is not in the releases folder, or this runtime or processor does not run it so.
        """
        key = (str(row["part_name"]), f"{row['release_number']}:{row['model_sha256']}")
        if key not in self._old:
            precision = str(row["model_sha256"]).rpartition(":")[0] or FLOAT
            try:
                found = self.asked(str(row["part_name"]), int(row["release_number"]), precision)
                same = found.model_sha256 == row["model_sha256"]
                self._old[key] = self.of(found).release if same else None
            except (ReleaseError, ConfigError, InferenceError, TypeError, ValueError):
                self._old[key] = None
        return self._old[key]
