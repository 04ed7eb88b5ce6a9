"""`RUN/run.json`: what a training was started with, so that it can go on after it was cut off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from inspection.errors import ConfigError
from inspection.release import MODEL, sha256_file, write_atomic
from inspection_datasets.manifest import DatasetVersion, load_version
from inspection_training.experiment import Experiment

RUN_CARD = "run.json"


class RunCard(BaseModel):
    """What a run was started with. Paths are absolute."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    part: str = Field(description="part name; the folder below releases")
    data: Path = Field(description="dataset folder")
    data_version: str = Field(description="dataset version, for example v0001")
    data_sha256: str = Field(description="hash of the version file")
    weights: Path | None = Field(description="weight file it started from; null: none")
    weights_sha256: str | None = Field(description="hash of that file")
    releases: Path = Field(description="where its release goes")
    experiment: Experiment = Field(description="every setting")
    released: str | None = Field(None, description="PART/NUMBER once it is released")


def start_run(
    run: Path,
    experiment: Experiment,
    version: DatasetVersion,
    *,
    part: str,
    weights: Path | None,
    releases: Path,
) -> RunCard:
    """Write the card of a run that begins, and return it.

    Raises:
        ConfigError: it cannot be written.
    """
    there = (
        weights if weights is not None and weights.is_file() else None
    )  # else the family says so
    card = RunCard(
        part=part,
        data=version.folder.resolve(),
        data_version=version.version,
        data_sha256=version.sha256,
        weights=weights.resolve() if weights else None,
        weights_sha256=sha256_file(there) if there else None,
        releases=releases.resolve(),
        experiment=experiment,
        released=None,
    )
    _write(run, card)
    return card


def finish_run(run: Path, released: str) -> None:
    """Write into a run's card what it released; a run without a card is left alone."""
    if (run / RUN_CARD).is_file():
        _write(run, read_run(run).model_copy(update={"released": released}))


def read_run(run: Path) -> RunCard:
    """Read a run's card.

    Raises:
        ConfigError: it is missing or damaged.
    """
    path = run / RUN_CARD
    try:
        return RunCard.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"{run} is no run that can go on: {RUN_CARD} cannot be read ({error}); name a folder below "
            "runs, as it was printed"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"{path}: {'.'.join(str(x) for x in first['loc'])}: {first['msg']}; it is damaged or of "
            "another version of this program; start the training again"
        ) from error


def resume_run(run: Path, data: Path | None = None) -> dict[str, Any]:
    """Return the arguments of `run.train_release` that go on with a run.

    Args:
        run: folder of a run that was cut off.
        data: where the dataset is now, when its folder was moved.

    Raises:
        ConfigError: the run is finished, or its dataset version or weights changed since.
        ReleaseError: a release of the part is damaged, so that nobody can tell whether it is finished.
        DatasetError: the dataset version is not there.
    """
    card = read_run(run)
    if card.released is None and (name := _published(run, card)) is not None:
        finish_run(run, name)  # it was cut off before it could write this down
        card = read_run(run)
    if card.released is not None:
        raise ConfigError(f"{run} is finished: it released {card.released}; start a new training")
    version = load_version(data or card.data, card.data_version)
    if version.sha256 != card.data_sha256:
        raise ConfigError(
            f"{version.folder} {version.version} was changed since {run} began: its sha256 is "
            f"{version.sha256[:12]}…, it was {card.data_sha256[:12]}…; start a new training"
        )
    if card.weights is not None:
        if not card.weights.is_file():
            raise ConfigError(f"weight file {card.weights} of {run} is gone; put it back")
        now = sha256_file(card.weights)
        if now != card.weights_sha256:
            raise ConfigError(
                f"weight file {card.weights} was changed since {run} began: its sha256 is {now[:12]}…, "
                f"it was {str(card.weights_sha256)[:12]}…; put it back, or start a new training"
            )
    return {
        "experiment": card.experiment,
        "version": version,
        "part": card.part,
        "weights": card.weights,
        "releases": card.releases,
        "runs": run.parent,
        "resume": run.resolve(),
    }


def _published(run: Path, card: RunCard) -> str | None:
    """Return PART/NUMBER of the release that holds the model of the run's candidate, if any does."""
    from inspection_training.release import released_as

    model = run / "candidate" / card.part / "1" / MODEL
    return released_as(card.releases, card.part, sha256_file(model)) if model.is_file() else None


def _write(run: Path, card: RunCard) -> None:
    try:
        write_atomic(run / RUN_CARD, (card.model_dump_json(indent=2) + "\n").encode())
    except OSError as error:
        raise ConfigError(f"{run / RUN_CARD} cannot be written: {error}; free space") from error
