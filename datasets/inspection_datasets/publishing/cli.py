"""`inspection dataset publish`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from inspection.sentences.language import DEFAULT_LANGUAGE, check_language


def publish_command(
    dataset: Annotated[Path, typer.Argument(help="dataset folder")],
    version: Annotated[str, typer.Argument(help="version, for example v0001")],
    to: Annotated[
        Path, typer.Option("--to", help="folder to write; it must be empty or not exist yet")
    ],
    approved_by: Annotated[
        str, typer.Option(help="name of the person who lets it go out; it stays in the log here")
    ],
    reason: Annotated[str, typer.Option(help="why it goes out, and to whom")],
    mask: Annotated[
        bool, typer.Option("--mask", help="paint out the private regions and classes of the card")
    ] = False,
    language: Annotated[str, typer.Option(help="of what is printed: ko or en")] = DEFAULT_LANGUAGE,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Write a version for people outside: images without metadata and names, COCO, CSV, card, licence.

    Refused without a licence in the card, an approval by name, or while the check finds an error.
    """
    from rich.console import Console
    from rich.progress import Progress

    from inspection_datasets.manifest import load_version
    from inspection_datasets.publishing.log import LOG
    from inspection_datasets.publishing.publish import Approval, publish
    from inspection_datasets.publishing.texts import finding_lines, told

    check_language(language)
    total = 2 * len(load_version(dataset, version).samples)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("publishing", total=total)
        done = publish(
            dataset,
            version,
            to,
            Approval(approved_by, reason),
            mask=mask,
            tick=lambda: bar.advance(task),
        )
    if as_json:
        found: dict[str, object] = {
            "folder": str(done.folder),
            "images": done.images,
            "sha256": done.sha256,
        }
        found |= {"masked": asdict(done.masked), "findings": done.findings}
        found["torn"] = None if done.torn is None else str(done.torn)
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    values = {"dataset": dataset.name, "version": version, "images": done.images, "to": to}
    typer.echo(told("published", language, **values))
    if mask:
        typer.echo(told("masked", language, **asdict(done.masked)))
    for line in finding_lines(done.findings, language):
        typer.echo(line)
    if done.torn is not None:
        typer.echo(told("torn", language, log=dataset / LOG, kept=done.torn))
    typer.echo(told("logged", language, log=dataset / LOG))
