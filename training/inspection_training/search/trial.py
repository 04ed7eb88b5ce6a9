"""One trial of a search: a training without a release, scored on the val images alone.

The test images choose nothing: whoever picks the best of many by them has no honest number left.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from inspection.errors import ConfigError, InspectionError
from inspection_datasets.manifest import DatasetVersion, load_version
from inspection_training.experiment import Experiment
from inspection_training.progress import Report

_LOG = logging.getLogger(__name__)
State = Literal["done", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class Job:
    """What all trials share. Paths are absolute; on a cluster every node sees them.

    Attributes:
        data: dataset folder.
        data_version: of it.
        data_sha256: hash of the version; a node that sees another one refuses.
        part: name of the part.
        weights: file to start from; None: random, or none is needed.
        releases: where the best one may be released.
        runs: where each trial makes its run folder.
    """

    data: Path
    data_version: str
    data_sha256: str
    part: str
    weights: Path | None
    releases: Path
    runs: Path

    def version(self) -> DatasetVersion:
        """Read the dataset version. Raises DatasetError, ConfigError: it is another one."""
        version = load_version(self.data, self.data_version)
        if version.sha256 != self.data_sha256:
            raise ConfigError(
                f"{self.data} {self.data_version} is not the version that the search began with; share the "
                "folder, at the same path on every node"
            )
        return version


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of a trial.

    Attributes:
        number: from 1, in the order of the search.
        tried: settings that differ between trials.
        state: done; stopped: others were better by then; failed.
        run: folder of its run; empty when none was made.
        score: what it found on val; empty unless done. See `score_of`.
        map50: latest mAP50 on val of a trial that was stopped.
        seconds: of the training.
        why: it failed.
    """

    number: int
    tried: dict[str, Any]
    state: State
    run: str = ""
    score: dict[str, float] = field(default_factory=dict[str, float])
    map50: float | None = None
    seconds: float = 0.0
    why: str = ""

    @property
    def order(self) -> tuple[Any, ...]:
        """Sorts the best trial first."""
        score = self.score
        if self.state != "done":
            return (1, -(self.map50 or 0.0), self.number)
        waste = score["overkill"] + score["good_review"]
        point = score.get("point", 0.0)
        return (0, score["escape"], score["review"], waste, -point, self.number)


def score_of(metrics: dict[str, Any]) -> dict[str, float]:
    """Return what trials are compared by, from a card's metrics: counts of val parts, and one figure.

    `escape`: defective parts that passed; `review`: defective parts that were not failed but reviewed;
    `overkill`: good parts that failed; `good_review`; `point`: mAP50-95, or the AUROC of a network that
    learns from good parts.

    Raises:
        ConfigError: the dataset has no val images; there is nothing to choose by.
    """
    for found in metrics["evaluations"]:
        if found["split"] == "val":
            bad, good = found["defective"], found["good"]
            point = found["auroc"] if found.get("map50_95") is None else found["map50_95"]
            return {
                "escape": bad["escape"]["count"],
                "review": bad["review"]["count"],
                "bad": bad["escape"]["of"],
                "overkill": good["overkill"]["count"],
                "good_review": good["review"]["count"],
                "good": good["overkill"]["of"],
                **({} if point is None else {"point": float(point)}),
            }
    raise ConfigError(
        "the dataset holds back no val images, so no trial can be chosen; import it with --val 0.2"
    )


def run_trial(
    job: Job, number: int, tried: dict[str, Any], experiment: Experiment, report: Report
) -> Trial:
    """Train one candidate and score it. A training that fails is told in the trial and ends nothing else."""
    from inspection_training.run import train_candidate

    try:
        made = train_candidate(
            experiment,
            job.version(),
            part=job.part,
            weights=job.weights,
            releases=job.releases,
            runs=job.runs,
            report=report,
        )
        score = score_of(made.card.metrics)
    except InspectionError as error:
        return Trial(number, tried, "failed", why=str(error))
    except Exception as error:  # the boundary of a trial: a library's own, of these settings alone
        _LOG.exception("trial %d failed", number)
        return Trial(number, tried, "failed", why=f"{type(error).__name__}: {error}")
    return Trial(
        number, tried, "done", run=str(made.run), score=score, seconds=made.seconds["train"]
    )


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """Return the best trial that was done; None when none was."""
    done = [trial for trial in trials if trial.state == "done"]
    return min(done, key=lambda trial: trial.order, default=None)
