"""`inspection train`, `inspection evaluate`."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inspection.errors import ConfigError
from inspection.sentences.card import WORDS
from inspection.sentences.language import DEFAULT_LANGUAGE, check_language, phrase

if TYPE_CHECKING:
    from inspection_training.evaluation import Detect
    from inspection_training.run import Outcome

train_app = typer.Typer(add_completion=False, help="Train a model and release it.")
evaluate_app = typer.Typer(add_completion=False, help="Measure a release on labelled images.")


@train_app.command()
def train(
    *,
    experiment: Annotated[
        Path | None, typer.Argument(help="experiment YAML; options go over it")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="dataset folder; with --resume only where it was moved"),
    ] = None,
    data_version: Annotated[
        str | None, typer.Option(help="dataset version, for example v0001; default: the newest")
    ] = None,
    family: Annotated[
        str | None,
        typer.Option(
            help="ultralytics, torchvision, good_parts or template; default: the experiment's"
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="ultralytics .pt file to fine-tune, or `random`; for torchvision a .pth of a whole "
            "detector or a backbone, for good_parts of a backbone; not for template"
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="yolov8n, yolo11n, yolo26n, other sizes")
    ] = None,
    imgsz: Annotated[int | None, typer.Option(help="side of the images, pixels")] = None,
    epochs: Annotated[int | None, typer.Option(help="passes over the images")] = None,
    minutes: Annotated[float | None, typer.Option(help="training time, minutes")] = None,
    batch: Annotated[int | None, typer.Option(help="images in a step")] = None,
    seed: Annotated[int | None, typer.Option(help="seed")] = None,
    augment: Annotated[
        str | None,
        typer.Option(
            help="metal, binary, none, or a list: light,exposure,blur,noise,pose,quarter_turns"
        ),
    ] = None,
    part: Annotated[str, typer.Option(help="part name; default: the dataset's name")] = "",
    releases: Annotated[Path, typer.Option(help="where releases are")] = Path("releases"),
    out: Annotated[Path, typer.Option(help="where the runs' own files go")] = Path("runs"),
    resume: Annotated[
        Path | None,
        typer.Option(
            help="go on with a run that was cut off, runs/PART-TIME; settings are its own"
        ),
    ] = None,
    quick: Annotated[
        Path | None,
        typer.Option(
            help="dataset folder: choose every setting from its pictures and say why; options go over it"
        ),
    ] = None,
    preview: Annotated[
        Path | None,
        typer.Option(help="PNG or HTML file: what the model will see, the originals beside"),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="say what would be done, write --preview, do not train"),
    ] = False,
    language: Annotated[
        str, typer.Option(help="of the reasons, the preview, the gates and the card: ko or en")
    ] = DEFAULT_LANGUAGE,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Train a model, export it, check the export, measure it, ask its gates, and release it.

    Exit code 1: a gate was not passed; the candidate stays in the run folder, nothing is released.
    """
    from inspection_training.gates import RefusedError
    from inspection_training.progress import TrainingBar
    from inspection_training.release_cli import tell_refusal
    from inspection_training.run import train_release
    from inspection_training.run_card import resume_run
    from inspection_training.train_plan import Asked, make_plan

    check_language(language)
    given: dict[str, Any] = {
        "family": family,
        "model": model,
        "imgsz": imgsz,
        "epochs": epochs,
        "minutes": minutes,
    }
    given |= {"batch": batch, "seed": seed, "augment": augment}
    if resume is not None:
        also = {**given, "experiment": experiment, "weights": weights, "data-version": data_version}
        also |= {"quick": quick, "preview": preview, "dry-run": dry_run}
        if named := [name for name, value in (also | {"part": part or None}).items() if value]:
            raise ConfigError(
                f"--resume keeps the settings of its run; leave out {', '.join(named)}, or start a new "
                "training"
            )
        job: dict[str, Any] = resume_run(resume, data)
    else:
        plan = make_plan(
            Asked(
                experiment=experiment,
                data=data,
                quick=quick,
                data_version=data_version,
                weights=weights,
                given=given,
                preview=preview,
                language=language,
                dry_run=dry_run,
                as_json=as_json,
            )
        )
        if dry_run:
            return
        job = {
            "experiment": plan.experiment,
            "version": plan.version,
            "part": part or plan.version.name,
            "weights": plan.weights,
            "releases": releases,
            "runs": out,
            "explained": plan.explained,
        }
    try:
        with TrainingBar() as bar:
            outcome = train_release(**job, report=bar.report)
    except RefusedError as error:
        tell_refusal(error, language, as_json=as_json)
        raise typer.Exit(1) from error
    if as_json:
        typer.echo(json.dumps(summary(outcome), ensure_ascii=False))
        return
    _print_outcome(outcome, language)


def _print_outcome(outcome: Outcome, language: str) -> None:
    from inspection_training.card_text import describe
    from inspection_training.release import not_in_force

    def say(code: str, **values: object) -> None:
        typer.echo(phrase(WORDS, code, language, **values))

    typer.echo(describe(outcome.card, language))
    say("released", name=outcome.release.name, folder=outcome.release.folder)
    if words := not_in_force(outcome.release, language):
        typer.echo(f"! {words}")
    for precision, why in outcome.variants.items():
        say("variant_refused" if why else "variant_made", precision=precision, why=why)
    seconds = ", ".join(f"{stage} {spent:.1f}" for stage, spent in outcome.seconds.items())
    say("run", run=outcome.run, seconds=seconds)


def summary(outcome: Outcome) -> dict[str, Any]:
    """Return what a script wants to know of a training."""
    from inspection_training.release import not_in_force

    return {
        "release": outcome.release.name,
        "not_in_force": not_in_force(outcome.release),
        "folder": str(outcome.release.folder),
        "run": str(outcome.run),
        "seconds": outcome.seconds,
        "variants": outcome.variants,
        "base_weights": outcome.card.base_weights,
        "limits": {name: card.model_dump() for name, card in outcome.card.limits.items()},
        "metrics": outcome.card.metrics,
        "parity": outcome.card.parity,
        "latency": outcome.card.latency,
    }


@evaluate_app.command()
def evaluate(
    *,
    release: Annotated[Path, typer.Argument(help="release folder, releases/PART/NUMBER")],
    data: Annotated[Path, typer.Option(help="dataset folder")],
    data_version: Annotated[str | None, typer.Option(help="default: the newest")] = None,
    split: Annotated[str, typer.Option(help="train, val or test")] = "test",
    runtime: Annotated[str, typer.Option(help="openvino, onnxruntime or pytorch")] = "openvino",
    precision: Annotated[
        str, typer.Option(help="f32, or a variant the releases have: bf16, int8")
    ] = "f32",
    html: Annotated[Path | None, typer.Option(help="write the report to this file")] = None,
    language: Annotated[
        str, typer.Option(help="of the table, the report and the warnings: ko or en")
    ] = DEFAULT_LANGUAGE,
    against: Annotated[
        Path | None, typer.Option(help="another release folder, compared on the same parts")
    ] = None,
    trained_on: Annotated[
        Path | None, typer.Option(help="dataset folder the release learned from; default: --data")
    ] = None,
    threads: Annotated[
        int,
        typer.Option(
            help="of one inference; 0: the library's choice, with --ray 1", min=0, max=256
        ),
    ] = 0,
    ray: Annotated[
        bool, typer.Option("--ray", help="share the pictures among the nodes of a Ray cluster")
    ] = False,
    address: Annotated[
        str,
        typer.Option(help="with --ray: HOST:PORT of the cluster's head; default: start one here"),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Measure a release: escape, overkill, recall with intervals, and mAP."""
    from inspection_datasets.manifest import SPLITS, load_version
    from inspection_training.evaluation import inspect_split
    from inspection_training.progress import TrainingBar
    from inspection_training.report.compare import compare_runs
    from inspection_training.report.page import write_report
    from inspection_training.report.terminal import print_metrics

    if split not in SPLITS:
        raise ConfigError(f"split {split!r} is not one of {', '.join(SPLITS)}")
    if address and not ray:
        raise ConfigError("--address is for --ray; name both")
    check_language(language)
    version = load_version(data, data_version)
    where = _detecting(runtime, threads, address if ray else None)
    with TrainingBar() as bar, where as detect:
        asked = (version, split, runtime, bar.report, precision, trained_on, detect)
        run = inspect_split(release, *asked)
        other = inspect_split(against, *asked) if against else None
    comparison = compare_runs(run, other) if other else None
    warnings = [*run.warnings, *(other.warnings if other else ())]
    for warning in warnings:
        typer.echo(f"! {warning.told(language)}", err=True)
    metrics = {
        **run.metrics(),
        "warnings": [warning.told("en") for warning in warnings],
        "warning_codes": [asdict(warning) for warning in warnings],
    }
    if comparison is not None:
        metrics["comparison"] = comparison.as_dict()
    if html is not None:
        write_report(html, run, language, comparison)
    if as_json:
        typer.echo(json.dumps(metrics, ensure_ascii=False))
        return
    print_metrics(metrics, comparison, html, language)


def _detecting(runtime: str, threads: int, address: str | None) -> AbstractContextManager[Detect]:
    """Return what runs a release on pictures: this process, or a cluster where an address is told."""
    from inspection_training.evaluation import detect_here

    if address is None:
        return nullcontext(partial(detect_here, runtime, threads))
    from inspection_training.detect_on_cluster import cluster_detection

    return cluster_detection(address, runtime, threads)
