"""`inspection dataset export`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from inspection.sentences.language import DEFAULT_LANGUAGE, check_language
from inspection_datasets.layouts import ExportName
from inspection_datasets.text import texts


def export_command(
    dataset: Annotated[Path, typer.Argument(help="dataset folder")],
    to: Annotated[Path, typer.Option("--to", help="folder to write; it must not exist yet")],
    layout: Annotated[ExportName, typer.Option(help="layout to write")] = ExportName.YOLO,
    version: Annotated[
        str | None, typer.Option(help="version, for example v0001; default: the newest")
    ] = None,
    language: Annotated[str, typer.Option(help="of what is printed: ko or en")] = DEFAULT_LANGUAGE,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Write a dataset version as YOLO, COCO or Pascal VOC, for other tools."""
    from rich.console import Console
    from rich.progress import Progress

    from inspection_datasets.exporting import export_dataset
    from inspection_datasets.manifest import load_version

    check_language(language)
    loaded = load_version(dataset, version)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("copying images", total=len(loaded.samples))
        done = export_dataset(
            loaded, layout.value, to, lambda count: bar.update(task, completed=count)
        )
    if as_json:
        found = {"folder": str(done.folder), "layout": done.layout, "images": done.images}
        typer.echo(json.dumps({**found, "losses": list(done.losses)}, ensure_ascii=False))
        return
    words = texts(language)
    told = {"images": done.images, "version": loaded.version, "layout": done.layout}
    typer.echo(words["exported"].format(**told, to=to))
    for loss in done.losses:
        typer.echo(words["not_carried"].format(loss=loss))
