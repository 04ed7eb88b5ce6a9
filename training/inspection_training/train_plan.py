"""What `inspection train` is asked to do: settings from a file or chosen from the data, then a preview.

options ─▶ experiment file, or `--quick` (quick.facts ─▶ quick.rules) ─▶ told ─▶ preview ─▶ Plan
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from inspection.errors import ConfigError
from inspection.sentences.language import phrase
from inspection_datasets.manifest import DatasetVersion, load_version
from inspection_training.experiment import Experiment, load_experiment, settings_yaml
from inspection_training.quick.facts import look, read_weights, this_machine
from inspection_training.quick.proposal import Proposal
from inspection_training.quick.rules import propose
from inspection_training.quick.text import RANDOM


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of the command.

    Attributes:
        experiment: experiment file.
        data: dataset folder of `--data`.
        quick: dataset folder of `--quick`.
        data_version: version of either; None: the newest.
        weights: file name, `random`, or None.
        given: settings of `Experiment` on the command line; None among them is left out.
        preview: file of the preview sheet.
        language: ko or en.
        dry_run: settings are printed, nothing is trained.
        as_json: they are printed as JSON.
    """

    experiment: Path | None
    data: Path | None
    quick: Path | None
    data_version: str | None
    weights: str | None
    given: Mapping[str, Any]
    preview: Path | None
    language: str
    dry_run: bool
    as_json: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be trained.

    Attributes:
        experiment: every setting.
        version: what it learns from.
        weights: weight file to start from; None: random, or none is needed.
        explained: the experiment as YAML, with reasons where it was chosen.
    """

    experiment: Experiment
    version: DatasetVersion
    weights: Path | None
    explained: str


def make_plan(asked: Asked) -> Plan:
    """Settle the settings, tell them where somebody wants to know, and write the preview.

    Raises:
        ConfigError: options that do not go together, or a wrong setting.
        DatasetError: nothing can be learned from the dataset.
    """
    folder = asked.quick or asked.data
    if folder is None:
        raise ConfigError(
            "say what to learn from: --data DATASET, --quick DATASET, or --resume RUN to go on"
        )
    if asked.quick is not None and (asked.data or asked.experiment) is not None:
        raise ConfigError(
            "--quick chooses the settings for its own dataset; leave out the experiment file and --data"
        )
    version = load_version(folder, asked.data_version)
    weights = None if asked.weights in {None, "random"} else Path(str(asked.weights))
    if asked.quick is not None:
        proposal = start_quickly(version, weights, asked.given)
        explained = proposal.as_yaml(version, asked.language)
        _tell(proposal, explained, asked)
        plan = Plan(proposal.experiment, version, weights, explained)
    else:
        settings = load_experiment(asked.experiment, dict(asked.given))
        plan = Plan(settings, version, weights, settings_yaml(settings))
        if asked.dry_run:
            typer.echo(_as_json(settings) if asked.as_json else plan.explained.rstrip("\n"))
        elif asked.weights is None and settings.family == "ultralytics":
            raise ConfigError("say what to start from: --weights FILE.pt, or --weights random")
    if asked.preview is not None:
        _preview(asked.preview, plan, asked.language)
    if weights is None and plan.experiment.family == "ultralytics" and not asked.dry_run:
        typer.echo(phrase(RANDOM, "random", asked.language), err=True)
    return plan


def start_quickly(
    version: DatasetVersion, weights: Path | None, given: Mapping[str, Any]
) -> Proposal:
    """Return the proposal for a version on this machine.

    Args:
        version: the dataset version; a few of its pictures are opened.
        weights: weight file; None: none is there.
        given: settings of `Experiment` that are not to be chosen.

    Raises:
        DatasetError: nothing can be learned from it, or a picture cannot be read.
        ConfigError: the weight file or a given setting is not possible.
    """
    held = read_weights(weights) if weights is not None else None
    return propose(version, look(version), this_machine(), held, given)


def _tell(proposal: Proposal, explained: str, asked: Asked) -> None:
    """Print the file with its reasons, or JSON, on a dry run; before a training tell why."""
    if not asked.dry_run:
        typer.echo(proposal.in_words(asked.language), err=True)
    elif asked.as_json:
        typer.echo(json.dumps(proposal.as_dict(), ensure_ascii=False))
    else:
        typer.echo(explained, nl=False)


def _as_json(settings: Experiment) -> str:
    return json.dumps({"experiment": settings.model_dump(mode="json")}, ensure_ascii=False)


def _preview(path: Path, plan: Plan, language: str) -> None:
    from inspection_training.preview import check_target, samples_as_seen, write_preview

    check_target(path)
    rows = samples_as_seen(plan.experiment, plan.version)
    write_preview(path, plan.experiment, plan.version, rows, language)
    typer.echo(f"preview {path}", err=True)
