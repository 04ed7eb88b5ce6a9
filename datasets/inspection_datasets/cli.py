"""`inspection dataset import | show`; the other verbs are in check_cli and version_cli."""

from __future__ import annotations

import json
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inspection.sentences.language import DEFAULT_LANGUAGE, check_language, phrase
from inspection_datasets.layouts import LayoutName
from inspection_datasets.text import TEXTS, texts

if TYPE_CHECKING:
    from inspection_datasets.manifest import DatasetVersion

app = typer.Typer(help="Labelled images: import them, look at them.", no_args_is_help=True)


class SplitName(StrEnum):
    """Splits."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


@app.command("import")
def import_command(
    source: Annotated[Path, typer.Argument(help="folder, annotation file, or zip or tar archive")],
    to: Annotated[
        Path, typer.Option("--to", help="dataset folder; a new version is added when it exists")
    ],
    layout: Annotated[
        LayoutName, typer.Option(help="layout of the source; auto recognises it")
    ] = LayoutName.AUTO,
    name: Annotated[str, typer.Option(help="name of the dataset; default: the folder's name")] = "",
    val: Annotated[
        float, typer.Option(min=0, max=0.9, help="share of groups for val, if the source has none")
    ] = 0.2,
    test: Annotated[
        float, typer.Option(min=0, max=0.9, help="share of groups for test, if the source has none")
    ] = 0,
    seed: Annotated[int, typer.Option(help="which groups these are")] = 0,
    group: Annotated[
        str, typer.Option(help="regular expression on the image name that gives its group")
    ] = "",
    in_place: Annotated[
        bool, typer.Option("--in-place", help="refer to the images instead of copying them")
    ] = False,
    language: Annotated[str, typer.Option(help="of what is printed: ko or en")] = DEFAULT_LANGUAGE,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Import labelled images as the next version of a dataset."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from inspection_datasets.importing import ImportPlan, import_dataset

    check_language(language)
    plan = ImportPlan(layout.value, name, val, test, seed, group, in_place)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description} {task.completed} images"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)
        version, incoming = import_dataset(
            source,
            to,
            plan,
            lambda stage, count: bar.update(task, description=stage, completed=count),
        )
    if as_json:
        found = {**summary(version), "layout": incoming.layout, "notes": list(incoming.notes)}
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    words = texts(language)
    file = to / f"{version.version}.jsonl"
    typer.echo(words["layout"].format(layout=incoming.layout, file=file))
    for note in incoming.notes:
        typer.echo(words["note"].format(note=note))
    print_version(version, language)


@app.command("show")
def show_command(
    dataset: Annotated[Path, typer.Argument(help="dataset folder")],
    version: Annotated[
        str | None, typer.Option(help="version, for example v0001; default: the newest")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="also open every image and compare hash and size")
    ] = False,
    sheet: Annotated[
        Path | None, typer.Option(help="PNG file: a contact sheet with the boxes drawn")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--class", help="on the sheet: only images with this class")
    ] = None,
    split: Annotated[
        SplitName | None, typer.Option(help="on the sheet: only images of this split")
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=400, help="images on the sheet, at most")] = 40,
    language: Annotated[str, typer.Option(help="of what is printed: ko or en")] = DEFAULT_LANGUAGE,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Summarise a dataset version in text, and as a contact sheet."""
    from inspection_datasets.check import check_version
    from inspection_datasets.manifest import load_version
    from inspection_datasets.sheet import choose, write_sheet

    check_language(language)
    loaded = load_version(dataset, version)
    if check:
        check_version(loaded)
    if sheet is not None:
        write_sheet(loaded, choose(loaded, count, split and split.value, name), sheet)
    if as_json:
        typer.echo(json.dumps(summary(loaded), ensure_ascii=False))
        return
    print_version(loaded, language)
    if check:
        typer.echo(phrase(TEXTS, "sound", language))
    if sheet is not None:
        typer.echo(phrase(TEXTS, "wrote", language, file=sheet))


def summary(version: DatasetVersion) -> dict[str, object]:
    """Return what a script wants to know of a version."""
    return {
        "name": version.name,
        "version": version.version,
        "sha256": version.sha256,
        "classes": list(version.classes),
        "samples": version.counts(),
        "boxes": {split: version.class_counts(split) for split in version.counts()},
    }


def print_version(version: DatasetVersion, language: str) -> None:
    """Print a table of pictures and boxes by split."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    words, splits = texts(language), list(version.counts())
    title = f"{version.name} {version.version} ({version.sha256[:12]})"
    table = Table(title=escape(title))
    table.add_column("")
    for split in splits:
        table.add_column(split, justify="right")
    states = version.counts()
    whole = Counter((s.split, s.label) for s in version.samples if s.label is not None)
    for state in ("labelled", "good"):
        table.add_row(words[state], *(str(states[split].get(state, 0)) for split in splits))
    known = Counter(s.split for s in version.samples if s.label and s.state == "unlabelled")
    left = [states[split].get("unlabelled", 0) - known[split] for split in splits]
    table.add_row(words["unlabelled"], *map(str, left))
    for name in version.classes:
        counts = [whole[split, name] for split in splits]
        if any(counts):
            table.add_row(escape(words["whole"].format(name=name)), *map(str, counts))
    for name in version.classes:
        counts = [version.class_counts(split)[name] for split in splits]
        table.add_row(escape(words["boxes"].format(name=name)), *map(str, counts))
    Console().print(table)


def _add_verbs() -> None:
    from inspection_datasets.check_cli import check_command
    from inspection_datasets.export_cli import export_command
    from inspection_datasets.publishing.cli import publish_command
    from inspection_datasets.version_cli import diff_command, harvest_command, split_command

    app.command("check")(check_command)
    app.command("split")(split_command)
    app.command("diff")(diff_command)
    app.command("harvest")(harvest_command)
    app.command("export")(export_command)
    app.command("publish")(publish_command)


_add_verbs()
