"""`inspection suspects`: pictures whose labels a released model contradicts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from inspection.sentences.language import DEFAULT_LANGUAGE, check_language

app = typer.Typer(add_completion=False, help="Find wrong labels with a first model.")


@app.command()
def suspects(
    *,
    release: Annotated[Path, typer.Argument(help="release folder, releases/PART/NUMBER")],
    data: Annotated[Path, typer.Option(help="dataset folder")],
    data_version: Annotated[str | None, typer.Option(help="default: the newest")] = None,
    split: Annotated[str, typer.Option(help="train, val, test or all")] = "all",
    limit: Annotated[int, typer.Option(min=1, help="suspects to show at most")] = 50,
    runtime: Annotated[str, typer.Option(help="openvino, onnxruntime or pytorch")] = "openvino",
    html: Annotated[
        Path | None, typer.Option(help="HTML file: labels green, what the model found red")
    ] = None,
    language: Annotated[str, typer.Option(help="of the words: ko or en")] = DEFAULT_LANGUAGE,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Rank pictures by how surely the model contradicts their labels. Nothing is changed.

    Exit code 0: none. 1: there are suspects.
    """
    from inspection_datasets.manifest import load_version
    from inspection_training.label_suspects.find import find_suspects
    from inspection_training.label_suspects.report import write_suspects
    from inspection_training.label_suspects.text import head, reason, word
    from inspection_training.progress import TrainingBar

    check_language(language)
    version = load_version(data, data_version)
    with TrainingBar() as bar:
        found = find_suspects(
            release, version, split, runtime=runtime, limit=limit, report=bar.report
        )
    if html is not None:
        write_suspects(found, html, language)
    if as_json:
        typer.echo(json.dumps(found.as_dict(), ensure_ascii=False))
    else:
        for line in head(found, language):
            typer.echo(line)
        for suspect in found.suspects:
            told = f"{suspect.sample.image} ({suspect.sample.split}): {reason(suspect, language)}"
            typer.echo(f"{suspect.quality:.2f}  {told}")
        if not found.suspects:
            typer.echo(word("none", language))
        if html is not None:
            typer.echo(str(html))
    raise typer.Exit(1 if found.suspects else 0)
