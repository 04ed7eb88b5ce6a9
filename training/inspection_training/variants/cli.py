"""`inspection variant`: faster forms of a release."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from inspection.errors import ConfigError

app = typer.Typer(
    add_completion=False,
    help="Make and show faster forms of a release: bf16, int8.",
    no_args_is_help=True,
)


@app.command("make")
def make_command(
    *,
    release: Annotated[Path, typer.Argument(help="release folder, releases/PART/NUMBER")],
    precision: Annotated[str, typer.Option(help="bf16 or int8")],
    data: Annotated[Path, typer.Option(help="dataset folder")],
    data_version: Annotated[
        str | None, typer.Option(help="dataset version, for example v0001; default: the newest")
    ] = None,
    min_equal: Annotated[
        str, typer.Option(help="share of val and test images that must be decided alike")
    ] = "99%",
    minutes: Annotated[
        float, typer.Option(help="longest search for layers to keep in float", min=0)
    ] = 10.0,
    split: Annotated[
        str, typer.Option(help="images that rates and mAP are given for: test or val")
    ] = "test",
    trained_on: Annotated[
        Path | None,
        typer.Option(help="dataset folder that the release learned from, if it is not --data"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print variant.json")] = False,
) -> None:
    """Make a faster form, compare its decisions with the release's, and keep it if they agree.

    Exit code 2 when it decides differently: nothing is left behind then.
    """
    from inspection.variants import HELD_OUT
    from inspection_datasets.manifest import load_version
    from inspection_training.progress import TrainingBar
    from inspection_training.variants.judge import Wanted
    from inspection_training.variants.make import make_variant

    wanted = Wanted(_share(min_equal), minutes, split, trained_on)
    version = load_version(data, data_version)
    with TrainingBar() as bar:
        card = make_variant(release, precision, version, wanted, bar.report)
    if as_json:
        typer.echo(card.model_dump_json())
        return
    _print_table(release)
    if card.quantised:
        kept, layers = len(card.kept_float), len(card.kept_float) + card.quantised
        typer.echo(
            f"{kept} of {layers} layers stayed in {card.float_arithmetic}, {len(card.tries)} sets were tried"
        )
    _print_unproven(release)
    if HELD_OUT in card.selected_on:
        typer.echo(
            f"{HELD_OUT} refused an earlier set, so it took part in the choice and flatters the numbers a "
            "little: evaluate it on new images"
        )
    typer.echo(
        f"to use it, write into the station file: runtime: {{type: {card.runtimes[0]}, "
        f"precision: {card.name}}}"
    )


@app.command("list")
def list_command(
    release: Annotated[Path, typer.Argument(help="release folder, releases/PART/NUMBER")],
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON list")] = False,
) -> None:
    """Show a release and its variants side by side: time, mAP, equal decisions, escape, overkill."""
    from inspection_training.variants.parity import variant_table

    if as_json:
        typer.echo(json.dumps(variant_table(release), ensure_ascii=False))
        return
    _print_table(release)
    _print_unproven(release)


def _share(text: str) -> float:
    """Return `99%` or `0.99` as 0.99. Raises ConfigError."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError as error:
        raise ConfigError(f"--min-equal {text!r} is no share; write 99% or 0.99") from error
    if not 0 < value <= 1:
        raise ConfigError(f"--min-equal {text!r} must be over 0 and at most 100%")
    return value


def _print_table(release: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from inspection_training.variants.parity import variant_table

    rows = variant_table(release)
    table = Table(title=f"{release.parent.name}/{release.name} on {rows[0].get('machine', '')}")
    for name in ("", "p50 ms", "p99 ms", "f32 in turns", "mAP50 or AUROC", "decided alike"):
        table.add_column(name)
    table.add_column("escape")
    table.add_column("overkill")
    for row in rows:
        alike = f"{row['equal']} of {row['judged']}" if "equal" in row else ""
        accuracy = row.get("map50") if row.get("auroc") is None else row["auroc"]
        table.add_row(
            *(_cell(row.get(key)) for key in ("precision", "p50_ms", "p99_ms", "f32_p50_ms")),
            *(_cell(accuracy), alike, _rate(row.get("escape")), _rate(row.get("overkill"))),
        )
    Console().print(table)


def _print_unproven(release: Path) -> None:
    """Name the classes that no image proves, and cards that cannot tell."""
    from inspection.variants import list_variants

    for card in list_variants(release):
        parities = [card.parity[runtime] for runtime in card.runtimes]
        for name in sorted({name for parity in parities for name in parity.unproven}):
            typer.echo(
                f"{card.name} is not proven for {name}: the release stops no val or test image of it"
            )
        if any(parity.stopped is None for parity in parities):
            typer.echo(
                f"{card.name} was made before it was counted which defects the release itself stops: "
                "evaluate it on defective parts, or release the model again and make it anew"
            )


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def _rate(value: dict[str, Any] | None) -> str:
    return f"{value['count']} of {value['of']}" if value else ""
