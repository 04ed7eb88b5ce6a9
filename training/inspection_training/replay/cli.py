"""`inspection replay STORE --release N`: what would change, before anyone switches."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inspection.errors import ConfigError, InspectionError

if TYPE_CHECKING:
    from inspection.recipe import RecipeConfig
    from inspection.store.config import StoreConfig
    from inspection_training.replay.decide_again import Asked, Replay

app = typer.Typer(add_completion=False, help="Decide stored parts again with another release.")
_LISTED = 40


@app.command("replay")
def replay_command(
    *,
    store: Annotated[
        str,
        typer.Argument(
            metavar="STORE", help="SQLite file, or postgresql+psycopg://USER@HOST/DATABASE"
        ),
    ],
    release: Annotated[int, typer.Option(help="number of the release that decides again")],
    releases: Annotated[Path, typer.Option(help="where releases are")] = Path("releases"),
    part: Annotated[
        str, typer.Option(help="name of the part; default: the recipe's, else the only one there")
    ] = "",
    recipe: Annotated[
        Path | None,
        typer.Option(help="recipe file: limits and regions; default: the release's own limits"),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(help="parts from this date or time on, ISO 8601, UTC without a zone"),
    ] = None,
    until: Annotated[str | None, typer.Option(help="parts before this date or time")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="look at the newest so many")] = None,
    images: Annotated[
        Path | None, typer.Option(help="folder of the pictures; default: images beside STORE")
    ] = None,
    runtime: Annotated[str, typer.Option(help="openvino or onnxruntime")] = "openvino",
    precision: Annotated[
        str, typer.Option(help="arithmetic that decides again: f32, or a variant: bf16 or int8")
    ] = "f32",
    html: Annotated[Path | None, typer.Option(help="write the report with pictures here")] = None,
    language: Annotated[str, typer.Option(help="of the report: ko or en")] = "ko",
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Decide stored parts again and list every decision that would change. The store is only read.

    Exit code 0: nothing would change. 1: something would. 2: it could not be told.
    """
    from inspection_datasets.harvest import read_since
    from inspection_training.replay.decide_again import Asked
    from inspection_training.replay.report import write_report
    from inspection_training.replay.text import LANGUAGES

    try:
        if language not in LANGUAGES:
            raise ConfigError(f"language {language!r} is not one of {', '.join(LANGUAGES)}")
        config, sha256 = _recipe(recipe)
        asked = Asked(
            store=_store(store, images),
            releases=releases,
            part=part or (config.part if config else _only_part(releases)),
            release=release,
            recipe=config,
            recipe_sha256=sha256,
            since=since and read_since(since),
            until=until and read_since(until),
            limit=limit,
            runtime=runtime,
            precision=precision,
        )
        found = _with_bar(asked)
        if html is not None:
            write_report(html, found, asked.store.images.folder, language)
    except InspectionError as error:
        typer.echo(f"inspection: {error}", err=True)
        raise typer.Exit(2) from error
    if as_json:
        typer.echo(json.dumps(found.as_dict(), ensure_ascii=False))
    else:
        _print(found, html)
    raise typer.Exit(1 if found.changed else 0)


def _store(store: str, images: Path | None) -> StoreConfig:
    from inspection.store.config import StoreConfig

    try:
        config = StoreConfig.model_validate({"url": store})
    except ValueError as error:
        raise ConfigError(f"{store} is no results store: {error}") from error
    path = config.sqlite_path
    folder = images or (path.parent if path is not None else Path()) / "images"
    if not folder.is_dir():
        raise ConfigError(f"there is no picture folder {folder}; name it with --images")
    return config.model_copy(update={"images": config.images.model_copy(update={"folder": folder})})


def _recipe(path: Path | None) -> tuple[RecipeConfig | None, str]:
    from inspection.recipe import RecipeConfig
    from inspection.yaml_file import read_yaml

    if path is None:
        return None, ""
    return read_yaml(path, RecipeConfig), hashlib.sha256(path.read_bytes()).hexdigest()


def _only_part(releases: Path) -> str:
    from inspection.release import list_releases

    parts = list(list_releases(releases))
    if len(parts) != 1:
        names = ", ".join(parts) or "none"
        raise ConfigError(
            f"{releases} holds releases of these parts: {names}; name one with --part"
        )
    return parts[0]


def _with_bar(asked: Asked) -> Replay:
    from rich.console import Console
    from rich.progress import Progress

    from inspection_training.replay.decide_again import replay

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("deciding again", total=None)
        return replay(asked, lambda done, of: bar.update(task, completed=done, total=of))


def _print(found: Replay, html: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from inspection.types import Decision
    from inspection.variants import precision_of

    kinds = (Decision.PASS, Decision.REVIEW, Decision.FAIL)
    name = f"{found.release.name} in {precision_of(found.release)}"
    table = Table(title=f"{name}: {len(found.parts)} stored parts decided again")
    table.add_column("then \\ now")
    for kind in (*kinds, Decision.NOT_INSPECTED):
        table.add_column(kind.value, justify="right")
    for old in kinds:
        counts = [found.counts.get((old, new), 0) for new in (*kinds, Decision.NOT_INSPECTED)]
        table.add_row(old.value, *map(str, counts))
    console = Console(soft_wrap=True, highlight=False)
    console.print(table)
    for line in _lines(found):
        console.print(line, markup=False)
    if html is not None:
        console.print(f"report {html}", markup=False)


def _lines(found: Replay) -> list[str]:
    lines: list[str] = []
    for part in found.changed[:_LISTED]:
        more = [
            part.new.detail or f"then {part.detail}",
            f"verdict {part.verdict.value}" if part.verdict else "",
        ]
        more += [part.error(part.new.decision)]
        more += ["the old release, too, decides this picture otherwise"] if part.noise else []
        told = "; ".join(text for text in more if text)
        lines.append(
            f"  {part.key} {part.at}: {part.old.value} -> {part.new.decision.value}  {told}"
        )
    if len(found.changed) > _LISTED:
        lines.append(f"  and {len(found.changed) - _LISTED} more: --html, --json")
    for name, told in found.reviewed().items():
        if told["parts"]:
            kind = "defective" if name == "escape" else "good"
            lines.append(
                f"of {told['parts']} {kind} parts by verdict, {name}: then {told['old']}, now {told['new']}"
            )
    differ = sum(part.noise for part in found.baseline)
    if found.baseline:
        lines.append(
            f"the old release on the stored pictures: {differ} of {len(found.baseline)} differ from the "
            "row; so much comes from the pictures alone"
        )
    lines += [f"no such comparison for {n} parts: {why}" for why, n in found.no_baseline.items()]
    if found.lossy:
        lines.append(
            f"{found.lossy} pictures are lossy (JPEG): near a limit a decision may differ for that alone"
        )
    if found.recipe_differs:
        lines.append(f"{found.recipe_differs} parts were decided by another recipe file")
    for why, keys in found.left_out.items():
        lines.append(f"cannot be re-decided: {len(keys)}: {why}, for example {', '.join(keys[:3])}")
    lines.append(f"{len(found.changed)} of {len(found.parts)} decisions would change")
    return lines
