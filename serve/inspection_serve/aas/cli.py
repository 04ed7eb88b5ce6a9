"""`inspection aas export`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="The Asset Administration Shell of the station: what it is, what it runs, what it decided.",
    no_args_is_help=True,
    add_completion=False,
)


@app.callback()
def _verbs() -> None:
    """Keep `export` a verb of its own, though it is the only one."""


@app.command("export")
def export_command(
    station: Annotated[Path, typer.Argument(help="the station file", metavar="STATION.yaml")],
    releases: Annotated[
        list[str] | None,
        typer.Option(
            "--releases", help="PART/NUMBER, may be given again; default: those of the recipes"
        ),
    ] = None,
    dataset: Annotated[
        list[Path] | None,
        typer.Option(
            help="dataset folder, may be given again; those that the releases learned from are found in "
            "the pages' folder of datasets"
        ),
    ] = None,
    nameplate: Annotated[
        Path | None,
        typer.Option(help="what no program can know; default: nameplate.yaml beside the station"),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="file to write; the same as JSON is written beside it")
    ] = Path("station.aasx"),
    redact: Annotated[
        bool,
        typer.Option(
            "--redact",
            help="leave out hosts, addresses, the serial number and the counts of production",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Write the shells of a station and its releases as AASX and JSON. The store is only read.

    Neither pictures nor names of persons are in it.
    """
    from inspection.config import load_station
    from inspection.errors import ConfigError, how_to_install
    from inspection_serve.aas.nameplate_file import read_nameplate

    try:
        from inspection_serve.aas.gathered import gather
        from inspection_serve.aas.package import write
        from inspection_serve.aas.shells import shells
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"the package {error.name} is not installed; {how_to_install('aas')}"
        ) from error
    config = load_station(station)
    file = read_nameplate(nameplate or station.resolve().parent / "nameplate.yaml")
    gathered = gather(config, file, releases or (), dataset or (), redact=redact)
    found = shells(gathered)
    package, plain = write(found, out, gathered.at)
    told = {
        "aasx": str(package),
        "json": str(plain),
        "releases": [one.name for one in gathered.releases],
        "datasets": [f"{one.name}/{one.version}" for one, _ in gathered.datasets],
        "elements": len(found),
        "notes": list(gathered.notes),
    }
    if as_json:
        typer.echo(json.dumps(told, ensure_ascii=False))
        return
    typer.echo(f"wrote {package} and {plain}: {len(found)} shells and submodels")
    for note in gathered.notes:
        typer.echo(f"note: {note}")
