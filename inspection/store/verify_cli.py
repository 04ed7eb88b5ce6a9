"""`inspection verify STORE`: check the invariants of a results store."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from inspection.errors import InspectionError

if TYPE_CHECKING:
    from inspection.store.config import StoreConfig
    from inspection.store.verify import Report

app = typer.Typer(add_completion=False)


@app.command()
def verify(
    store: str = typer.Argument(
        help="SQLite file, or postgresql+psycopg://USER@HOST/DATABASE", metavar="STORE"
    ),
    plc_log: list[Path] = typer.Option([], "--plc-log", help="log of the PLC; may be given again"),
    images: Path | None = typer.Option(
        None, "--images", help="folder of the pictures; default: images beside STORE"
    ),
    as_json: bool = typer.Option(False, "--json", help="print one JSON object"),
) -> None:
    """Check that the store keeps its promises; nothing is written.

    Exit code 0: no invariant is broken. 1: at least one is. 2: the store or a log cannot be read.
    """
    from inspection.store.verify import verify as run

    try:
        config = _config(store)
        report = run(config, plc_log, _images(config, images), _progress)
    except (InspectionError, ValueError) as error:
        typer.echo(f"cannot verify: {error}", err=True)
        raise typer.Exit(2) from error
    if as_json:
        typer.echo(json.dumps(report.as_dict(), ensure_ascii=False, indent=2))
    else:
        _print(report)
    raise typer.Exit(0 if report.is_clean else 1)


def _config(store: str) -> StoreConfig:
    from inspection.store.config import StoreConfig

    return StoreConfig.model_validate({"url": store})


def _images(config: StoreConfig, given: Path | None) -> Path | None:
    """Return the folder of the pictures: as given, else beside the file when it is there."""
    path = config.sqlite_path
    if given is None and path is not None and (path.parent / "images").is_dir():
        return path.parent / "images"
    if given is not None and not given.is_dir():
        raise ValueError(f"there is no picture folder {given}; check --images")
    return given


def _progress(code: str) -> None:
    if sys.stderr.isatty():
        typer.echo(f"\rchecking {code:<6}", nl=False, err=True)


def _print(report: Report) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    colours = {"ok": "green", "BREACH": "bold red", "not checkable here": "yellow"}
    console = Console(soft_wrap=True)
    for finding in report.findings:
        status = f"[{colours[finding.status]}]{finding.status}[/]"
        number = (
            f", {finding.breaches} of {finding.checked}"
            if finding.breaches
            else f", {finding.checked} checked"
        )
        told = "" if finding.unchecked and not finding.checked else number
        console.print(f"{finding.code:<6}{status}{told}: {escape(finding.title)}")
        for example in finding.examples:
            console.print(f"        {escape(example)}")
        for note in [*finding.notes, *([finding.unchecked] if finding.unchecked else [])]:
            console.print(f"        note: {escape(note)}")
    table = Table("counted", "parts", box=None)
    for name, number in report.table.items():
        table.add_row(escape(name), str(number))
    console.print(table)
    console.print(
        "no invariant is broken"
        if report.is_clean
        else "[bold red]at least one invariant is broken[/]"
    )
