"""`inspection dataset split | diff | harvest`: verbs that make or compare versions."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from inspection_datasets.difference import Difference

_LISTED = 12


class HarvestSplit(StrEnum):
    """Where harvested parts go."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


def split_command(
    dataset: Annotated[Path, typer.Argument(help="dataset folder")],
    by: Annotated[
        str,
        typer.Option(
            help="what belongs together: group, regex:EXPR on the image path, csv:FILE:COLUMN (with a "
            "column image), or duplicates (groups that share nearly equal images become one)"
        ),
    ],
    version: Annotated[
        str | None, typer.Option(help="version to start from; default: the newest")
    ] = None,
    val: Annotated[float, typer.Option(min=0, max=0.9, help="share of images for val")] = 0.2,
    test: Annotated[float, typer.Option(min=0, max=0.9, help="share of images for test")] = 0.2,
    seed: Annotated[int, typer.Option(help="which groups these are")] = 0,
    anew: Annotated[
        bool, typer.Option("--anew", help="former test groups may leave test; old results end here")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Split by whole groups, every class in every split where its groups allow; write the next version.

    Former test groups stay in test, so that results stay comparable, unless --anew is given.
    """
    from inspection_datasets.cli import print_version, summary
    from inspection_datasets.manifest import load_version
    from inspection_datasets.splitting import SplitPlan, split_dataset

    loaded = load_version(dataset, version)
    written = split_dataset(loaded, SplitPlan(by, val, test, seed, anew))
    if as_json:
        told = {**summary(written or loaded), "written": written is not None}
        typer.echo(json.dumps(told, ensure_ascii=False))
        return
    print_version(written or loaded)
    typer.echo(
        f"wrote {dataset / written.version}.jsonl"
        if written
        else f"nothing changed; {loaded.version} is split like this already"
    )


def diff_command(
    dataset: Annotated[Path, typer.Argument(help="dataset folder")],
    older: Annotated[str, typer.Argument(help="version before, for example v0001")],
    newer: Annotated[str, typer.Argument(help="version after, for example v0002")],
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """List what changed between two versions: images added and removed, labels, splits, groups."""
    from inspection_datasets.difference import compare_versions
    from inspection_datasets.manifest import load_version

    found = compare_versions(load_version(dataset, older), load_version(dataset, newer))
    if as_json:
        typer.echo(json.dumps(found.as_dict(), ensure_ascii=False))
        return
    if found.is_empty:
        typer.echo(f"{older} and {newer} hold the same")
    for title, lines in _lines(found).items():
        if lines:
            typer.echo(f"{title}: {len(lines)}")
            for line in lines[:_LISTED]:
                typer.echo(f"    {line}")
            if len(lines) > _LISTED:
                typer.echo(f"    and {len(lines) - _LISTED} more; --json lists all")


def _lines(found: Difference) -> dict[str, list[str]]:
    labels: list[str] = []
    for item in found.relabelled:
        told = [f"{item.state[0]} -> {item.state[1]}"] if item.state else []
        told += [f"label {item.label[0]} -> {item.label[1]}"] if item.label else []
        told += [f"+{box[0]}" for box in item.added] + [f"-{box[0]}" for box in item.removed]
        told += [f"{a[0]} -> {b[0]}" for a, b in item.renamed]
        told += [f"{a[0]} moved" for a, _ in item.moved]
        labels.append(f"{item.image}: {', '.join(told)}")
    return {
        "classes added": found.classes_added,
        "images added": found.added,
        "images removed": found.removed,
        "images renamed": [f"{a} -> {b}" for a, b in found.renamed],
        "images replaced": found.replaced,
        "relabelled": labels,
        "other split": [f"{image}: {a} -> {b}" for image, (a, b) in found.split.items()],
        "other group": [f"{image}: {a} -> {b}" for image, (a, b) in found.group.items()],
    }


def harvest_command(
    store: Annotated[
        str,
        typer.Argument(
            metavar="STORE", help="SQLite file, or postgresql+psycopg://USER@HOST/DATABASE"
        ),
    ],
    to: Annotated[Path, typer.Option("--to", help="dataset folder; it must exist")],
    since: Annotated[
        str | None,
        typer.Option(help="only parts from this date or time on, ISO 8601, UTC without a zone"),
    ] = None,
    split: Annotated[
        HarvestSplit,
        typer.Option(help="where they go; parts of a group that is there already join it"),
    ] = HarvestSplit.TRAIN,
    images: Annotated[
        Path | None, typer.Option(help="folder of the pictures; default: images beside STORE")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Take parts with a verdict from a results store into the next version.

    False calls become good images, confirmed defects are labelled with the detections that counted, misses
    stay unlabelled until somebody draws the boxes. No image is taken twice.
    """
    from inspection.errors import ConfigError
    from inspection.store.config import StoreConfig
    from inspection_datasets.harvest import harvest, read_since

    try:
        config = StoreConfig.model_validate({"url": store})
    except ValueError as error:
        raise ConfigError(f"{store} is no results store: {error}") from error
    path = config.sqlite_path
    folder = images or (path.parent if path is not None else Path()) / "images"
    if not folder.is_dir():
        raise ConfigError(f"there is no picture folder {folder}; name it with --images")
    pictures = config.images.model_copy(update={"folder": folder})
    config = config.model_copy(update={"images": pictures})
    found = harvest(config, to, since and read_since(since), split.value)
    if as_json:
        written = found.version and found.version.version
        told = {"written": written, "added": found.added, "left_out": found.left_out}
        typer.echo(json.dumps(told, ensure_ascii=False))
        return
    for what, number in found.added.items():
        typer.echo(f"added {number}: {what}")
    for why, number in found.left_out.items():
        typer.echo(f"left out {number}: {why}")
    typer.echo(f"wrote {to / found.version.version}.jsonl" if found.version else "nothing to add")
