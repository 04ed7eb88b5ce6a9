"""`inspection dataset split | diff | harvest`: verbs that make or compare versions."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inspection.sentences.language import DEFAULT_LANGUAGE, check_language
from inspection_datasets.text import harvest_words, texts

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
    language: Annotated[str, typer.Option(help="of what is printed: ko or en")] = DEFAULT_LANGUAGE,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Split by whole groups, every class in every split where its groups allow; write the next version.

    Former test groups stay in test, so that results stay comparable, unless --anew is given.
    """
    from inspection_datasets.cli import print_version, summary
    from inspection_datasets.manifest import load_version
    from inspection_datasets.splitting import SplitPlan, split_dataset

    check_language(language)
    loaded = load_version(dataset, version)
    written = split_dataset(loaded, SplitPlan(by, val, test, seed, anew))
    if as_json:
        told = {**summary(written or loaded), "written": written is not None}
        typer.echo(json.dumps(told, ensure_ascii=False))
        return
    print_version(written or loaded, language)
    words = texts(language)
    if written:
        typer.echo(words["wrote"].format(file=dataset / f"{written.version}.jsonl"))
    else:
        typer.echo(words["split_already"].format(version=loaded.version))


def diff_command(
    dataset: Annotated[Path, typer.Argument(help="dataset folder")],
    older: Annotated[str, typer.Argument(help="version before, for example v0001")],
    newer: Annotated[str, typer.Argument(help="version after, for example v0002")],
    language: Annotated[str, typer.Option(help="of what is printed: ko or en")] = DEFAULT_LANGUAGE,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """List what changed between two versions: images added and removed, labels, splits, groups."""
    from inspection_datasets.difference import compare_versions
    from inspection_datasets.manifest import load_version

    check_language(language)
    words = texts(language)
    found = compare_versions(load_version(dataset, older), load_version(dataset, newer))
    if as_json:
        typer.echo(json.dumps(found.as_dict(), ensure_ascii=False))
        return
    if found.is_empty:
        typer.echo(words["same"].format(older=older, newer=newer))
    for code, lines in _lines(found, words).items():
        if lines:
            typer.echo(f"{words[code]}: {len(lines)}")
            for line in lines[:_LISTED]:
                typer.echo(f"    {line}")
            if len(lines) > _LISTED:
                typer.echo("    " + words["more"].format(more=len(lines) - _LISTED))


def _lines(found: Difference, words: dict[str, str]) -> dict[str, list[str]]:
    labels: list[str] = []
    for item in found.relabelled:
        told = [f"{item.state[0]} -> {item.state[1]}"] if item.state else []
        told += _label(item.label, words)
        told += [f"+{box[0]}" for box in item.added] + [f"-{box[0]}" for box in item.removed]
        told += [f"{a[0]} -> {b[0]}" for a, b in item.renamed]
        told += [words["moved"].format(name=a[0]) for a, _ in item.moved]
        labels.append(f"{item.image}: {', '.join(told)}")
    return {
        "classes_added": found.classes_added,
        "added": found.added,
        "removed": found.removed,
        "renamed": [f"{a} -> {b}" for a, b in found.renamed],
        "replaced": found.replaced,
        "relabelled": labels,
        "other_split": [f"{image}: {a} -> {b}" for image, (a, b) in found.split.items()],
        "other_group": [f"{image}: {a} -> {b}" for image, (a, b) in found.group.items()],
    }


def _label(change: tuple[str | None, str | None] | None, words: dict[str, str]) -> list[str]:
    return [words["label"].format(before=change[0], after=change[1])] if change else []


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
        typer.Option(
            help="new samples only from parts of this date or time on, ISO 8601, UTC without a zone"
        ),
    ] = None,
    split: Annotated[
        HarvestSplit,
        typer.Option(help="where they go; parts of a group that is there already join it"),
    ] = HarvestSplit.TRAIN,
    images: Annotated[
        Path | None, typer.Option(help="folder of the pictures; default: images beside STORE")
    ] = None,
    language: Annotated[str, typer.Option(help="of what is printed: ko or en")] = DEFAULT_LANGUAGE,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Take parts with a verdict from a results store into the next version.

    False calls become good images, confirmed defects are labelled with the detections that counted, misses
    stay unlabelled until somebody draws the boxes. No image is taken twice. A sample whose verdict changed
    is corrected in its place, or set aside; one whose labels a person edited since is named and left.
    """
    from inspection.errors import ConfigError
    from inspection.store.config import StoreConfig
    from inspection_datasets.harvest import harvest, read_since

    check_language(language)
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
        told = {
            "written": written,
            "added": found.added,
            "corrected": found.corrected,
            "left_out": found.left_out,
            "look_at": found.look_at,
        }
        typer.echo(json.dumps(told, ensure_ascii=False))
        return
    words = texts(language)
    for what, number in found.added.items():
        typer.echo(words["taken"].format(number=number, what=harvest_words(what, language)))
    for what, number in found.corrected.items():
        typer.echo(words["corrected"].format(number=number, what=harvest_words(what, language)))
    for why, number in found.left_out.items():
        typer.echo(words["left_out"].format(number=number, why=harvest_words(why, language)))
    if found.look_at:
        typer.echo(words["look_at"])
        for image in found.look_at:
            typer.echo(f"    {image}")
    if found.version:
        typer.echo(words["wrote"].format(file=to / f"{found.version.version}.jsonl"))
    else:
        typer.echo(words["nothing_to_add"])
