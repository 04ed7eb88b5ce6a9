"""`inspection replay STORE --release N`: what would change, before anyone switches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inspection.errors import ConfigError, InspectionError
from inspection.sentences.language import DEFAULT_LANGUAGE, check_language

if TYPE_CHECKING:
    from inspection.recipe import RecipeConfig
    from inspection.store.config import StoreConfig
    from inspection_training.replay.decide_again import Asked, Replay

app = typer.Typer(add_completion=False, help="Decide stored parts again with another release.")


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
    runtime: Annotated[str, typer.Option(help="openvino, onnxruntime or pytorch")] = "openvino",
    precision: Annotated[
        str, typer.Option(help="arithmetic that decides again: f32, or a variant: bf16 or int8")
    ] = "f32",
    threads: Annotated[
        int,
        typer.Option(
            help="of one inference; 0: the library's choice, with --ray 1", min=0, max=256
        ),
    ] = 0,
    ray: Annotated[
        bool, typer.Option("--ray", help="share the work among the nodes of a Ray cluster")
    ] = False,
    address: Annotated[
        str,
        typer.Option(help="with --ray: HOST:PORT of the cluster's head; default: start one here"),
    ] = "",
    html: Annotated[Path | None, typer.Option(help="write the report with pictures here")] = None,
    language: Annotated[
        str, typer.Option(help="of the table and the report: ko or en")
    ] = DEFAULT_LANGUAGE,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Decide stored parts again and list every decision that would change. The store is only read.

    Exit code 0: nothing would change. 1: something would. 2: it could not be told.
    """
    from inspection_datasets.harvest import read_since
    from inspection_training.replay.decide_again import Asked
    from inspection_training.replay.report import write_report
    from inspection_training.replay.terminal import print_replay

    try:
        check_language(language)
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
            threads=threads,
        )
        if address and not ray:
            raise ConfigError("--address is for --ray; name both")
        found = _with_bar(asked, language, address if ray else None)
        if html is not None:
            write_report(html, found, asked.store.images.folder, language)
    except InspectionError as error:
        typer.echo(f"inspection: {error}", err=True)
        raise typer.Exit(2) from error
    if as_json:
        typer.echo(json.dumps(found.as_dict(), ensure_ascii=False))
    else:
        print_replay(found, html, language)
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
    from inspection.yaml_file import read_hashed

    if path is None:
        return None, ""
    return read_hashed(path, RecipeConfig)


def _only_part(releases: Path) -> str:
    from inspection.release import list_releases

    parts = list(list_releases(releases))
    if len(parts) != 1:
        names = ", ".join(parts) or "none"
        raise ConfigError(
            f"{releases} holds releases of these parts: {names}; name one with --part"
        )
    return parts[0]


def _with_bar(asked: Asked, language: str, address: str | None) -> Replay:
    from rich.console import Console
    from rich.progress import Progress

    from inspection_training.replay.decide_again import replay
    from inspection_training.replay.text import texts

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(texts(language)["working"], total=None)

        def tick(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of)

        if address is None:
            return replay(asked, tick)
        from inspection_training.replay.blocks import replay_on_cluster

        return replay_on_cluster(asked, address, tick)
