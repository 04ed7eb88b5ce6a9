"""`inspection train`, `inspection evaluate`, `inspection release`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inspection.errors import ConfigError

if TYPE_CHECKING:
    from inspection_training.run import Outcome

train_app = typer.Typer(add_completion=False, help="Train a model and release it.")
evaluate_app = typer.Typer(add_completion=False, help="Measure a release on labelled images.")
release_app = typer.Typer(
    add_completion=False, help="List and show releases.", no_args_is_help=True
)


@train_app.command()
def train(
    *,
    experiment: Annotated[
        Path | None, typer.Argument(help="experiment YAML; options go over it")
    ] = None,
    data: Annotated[Path, typer.Option(help="dataset folder")],
    data_version: Annotated[
        str | None, typer.Option(help="dataset version, for example v0001; default: the newest")
    ] = None,
    family: Annotated[
        str | None,
        typer.Option(help="ultralytics, good_parts or template; default: the experiment's"),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="ultralytics .pt file to fine-tune, or `random`; a torchvision .pth backbone for "
            "good_parts; not for template"
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
    augment: Annotated[str | None, typer.Option(help="metal, binary or none")] = None,
    part: Annotated[str, typer.Option(help="part name; default: the dataset's name")] = "",
    releases: Annotated[Path, typer.Option(help="where releases are")] = Path("releases"),
    out: Annotated[Path, typer.Option(help="where the runs' own files go")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Train a model, export it, check the export, measure it, and release it."""
    from inspection_datasets.manifest import load_version
    from inspection_training.experiment import load_experiment
    from inspection_training.progress import TrainingBar
    from inspection_training.run import train_release

    given: dict[str, Any] = {
        "family": family,
        "model": model,
        "imgsz": imgsz,
        "epochs": epochs,
        "minutes": minutes,
    }
    given |= {"batch": batch, "seed": seed, "augment": augment}
    settings = load_experiment(experiment, given)
    version = load_version(data, data_version)
    if weights is None and settings.family == "ultralytics":
        raise ConfigError("say what to start from: --weights FILE.pt, or --weights random")
    start = None if weights in {None, "random"} else Path(str(weights))
    if weights == "random" and settings.family == "ultralytics":
        typer.echo("weights are random: this network has never seen an image before", err=True)
    with TrainingBar() as bar:
        outcome = train_release(
            settings,
            version,
            part=part or version.name,
            weights=start,
            releases=releases,
            runs=out,
            report=bar.report,
        )
    if as_json:
        typer.echo(json.dumps(summary(outcome), ensure_ascii=False))
        return
    from inspection_training.release import describe

    typer.echo(describe(outcome.card))
    typer.echo(f"released {outcome.release.name} in {outcome.release.folder}")
    typer.echo(f"run folder {outcome.run}; seconds: {outcome.seconds}")


def summary(outcome: Outcome) -> dict[str, Any]:
    """Return what a script wants to know of a training."""
    return {
        "release": outcome.release.name,
        "folder": str(outcome.release.folder),
        "run": str(outcome.run),
        "seconds": outcome.seconds,
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
    runtime: Annotated[str, typer.Option(help="openvino or onnxruntime")] = "openvino",
    html: Annotated[Path | None, typer.Option(help="write the report to this file")] = None,
    language: Annotated[str, typer.Option(help="of the report: ko or en")] = "ko",
    against: Annotated[
        Path | None, typer.Option(help="another release folder, compared on the same parts")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Measure a release: escape, overkill, recall with intervals, and mAP."""
    from inspection_datasets.manifest import SPLITS, load_version
    from inspection_training.compare import compare_runs
    from inspection_training.evaluation import inspect_split
    from inspection_training.progress import TrainingBar
    from inspection_training.report import write_report
    from inspection_training.report_text import LANGUAGES

    if split not in SPLITS:
        raise ConfigError(f"split {split!r} is not one of {', '.join(SPLITS)}")
    if language not in LANGUAGES:
        raise ConfigError(f"language {language!r} is not one of {', '.join(LANGUAGES)}")
    version = load_version(data, data_version)
    with TrainingBar() as bar:
        run = inspect_split(release, version, split, runtime, bar.report)
        other = inspect_split(against, version, split, runtime, bar.report) if against else None
    comparison = compare_runs(run, other) if other else None
    metrics = run.metrics()
    if comparison is not None:
        metrics["comparison"] = comparison.as_dict()
    if html is not None:
        write_report(html, run, language, comparison)
    if as_json:
        typer.echo(json.dumps(metrics, ensure_ascii=False))
        return
    _print_metrics(metrics)
    if comparison is not None:
        typer.echo(comparison.in_words())
    if html is not None:
        typer.echo(f"report {html}")


def _print_metrics(metrics: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from inspection_training.release import in_words

    table = Table(title=f"{metrics['release']} on {metrics['images']} {metrics['split']} images")
    table.add_column("")
    table.add_column(metrics["interval"])
    defective, good = metrics["defective"], metrics["good"]
    table.add_row("escape (defective, PASS)", in_words(defective["escape"]))
    table.add_row("defective, FAIL", in_words(defective["fail"]))
    table.add_row("defective, REVIEW", in_words(defective["review"]))
    table.add_row("overkill (good, FAIL)", in_words(good["overkill"]))
    table.add_row("good, REVIEW", in_words(good["review"]))
    for name, value in metrics["class_recall"].items():
        table.add_row(f"recall, {name}", in_words(value))
    if metrics.get("auroc") is not None:
        table.add_row("AUROC of the score", str(metrics["auroc"]))
    else:
        table.add_row("mAP50, mAP50:95", f"{metrics['map50']}, {metrics['map50_95']}")
    Console().print(table)


@release_app.command("list")
def list_command(
    releases: Annotated[Path, typer.Argument(help="releases folder")],
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """List releases; the one in force is marked."""
    from inspection.release import current_number, list_releases

    found = list_releases(releases)
    if as_json:
        entries = {
            p: {"numbers": n, "current": current_number(releases, p)} for p, n in found.items()
        }
        typer.echo(json.dumps(entries))
        return
    if not found:
        typer.echo(f"no releases in {releases}")
    for part, numbers in found.items():
        current = current_number(releases, part)
        marked = ", ".join(f"{n} (in force)" if n == current else str(n) for n in numbers)
        typer.echo(f"{part}: {marked}")


@release_app.command("show")
def show_command(
    folder: Annotated[Path, typer.Argument(help="release folder, releases/PART/NUMBER")],
    as_json: Annotated[bool, typer.Option("--json", help="print release.json")] = False,
) -> None:
    """Check a release's files and show its card."""
    from inspection.release import load_release, read_card

    release = load_release(folder)
    card = read_card(folder)
    if as_json:
        typer.echo(card.model_dump_json(indent=2))
        return
    from inspection_training.release import describe

    typer.echo(describe(card))
    typer.echo(f"{release.name}: every file is as released (model {release.model_sha256[:12]})")
