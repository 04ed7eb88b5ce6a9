"""`inspection plant`: make a plant store, look at it, let a station in again, remove old months."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from inspection.store.plant.months import Month

app = typer.Typer(add_completion=False, no_args_is_help=True)
Url = Annotated[str, typer.Argument(help="postgresql+psycopg://USER@HOST/DATABASE", metavar="URL")]


@app.callback()
def plant() -> None:
    """The plant's results store on PostgreSQL, which stations write to by `upward`."""


@app.command()
def init(url: Url) -> None:
    """Make a plant store in an empty database, or bring one of an older program up to date.

    Exit code 2: the database cannot be used, or holds something else.
    """
    from inspection.errors import StoreError
    from inspection.store.plant import database, months

    try:
        config = database.plant_config(url)
        made = database.init(config)
        making = database.transaction(config, "making partitions", silent=database.FOREVER)
        with making as connection:
            months.make_due(connection)
    except StoreError as error:
        _fail(error)
    typer.echo("the plant store was made" if made else "the plant store is up to date")


@app.command()
def status(
    url: Url,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Print the stations with how far they are, and the months with their sizes.

    Exit code 1: rows lie in the default partition, by times that no month has. 2: it cannot be read.
    """
    from inspection.errors import StoreError
    from inspection.store.plant import database, months, standing
    from inspection.store.plant.removed import dropped_before

    try:
        with database.transaction(database.plant_config(url), "reading") as connection:
            database.check(connection)
            stations, found = standing.stations(connection), months.overview(connection)
            dropped = dropped_before(connection)
    except StoreError as error:
        _fail(error)
    if as_json:
        rows = [
            {"month": m.month, "parts": m.parts, "verdicts": m.verdicts, "bytes": m.size}
            for m in found
        ]
        said = {"stations": stations, "months": rows, "dropped_before": dropped or None}
        typer.echo(json.dumps(said, ensure_ascii=False))
    else:
        for row in stations:
            state = "" if row["since"] else ", waits for the store that was accepted"
            typer.echo(
                f"{row['station']}: {row['parts']} parts, message {row['mark']}, told {row['told_at']}{state}"
            )
        _print(found)
        if dropped:
            typer.echo(f"months before {dropped} were removed")
    raise typer.Exit(int(any(m.month == "default" and m.parts for m in found)))


@app.command()
def accept(
    url: Url,
    station: Annotated[str, typer.Argument(help="name of the station", metavar="STATION")],
) -> None:
    """Take what a station tells again after its store was restored from a backup or made anew.

    Its next link tells everything once more; what the plant has stays, and what contradicts it goes to the
    quarantine of the station. Exit code 2: the plant does not know the station, or cannot be used.
    """
    from inspection.errors import StoreError
    from inspection.store.plant import database, identity

    try:
        with database.transaction(database.plant_config(url), "accepting") as connection:
            database.check(connection)
            known = identity.accept(connection, station)
    except StoreError as error:
        _fail(error)
    if not known:
        typer.echo(
            f"the plant knows no station {station}; look with: inspection plant status", err=True
        )
        raise typer.Exit(2)
    typer.echo(f"the next store that tells of {station} is taken, from its first message on")


@app.command("drop-before")
def drop_before(
    url: Url,
    month: Annotated[str, typer.Argument(help="first month to keep, as 2025-01", metavar="MONTH")],
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> None:
    """Remove all parts, verdicts and alarms of the months before MONTH; counts by half hour are kept.

    It says what it removes, asks, and counts what the pages have not counted yet. Exit code 1: told not to.
    2: no such month, or it cannot be done.
    """
    from inspection.errors import StoreError
    from inspection.store.plant import database, dropping, months

    try:
        config = database.plant_config(url)
        with database.transaction(config, "reading") as connection:
            database.check(connection)
            found = months.old(connection, month)
        _print(found)
        if not found:
            typer.echo(f"there is no month before {month}")
        if found and not yes:
            typer.confirm("remove these for good?", abort=True)
        dropping.count_before(config, month)
        removing = database.transaction(config, "removing old months", silent=database.FOREVER)
        with removing as connection:
            gone = dropping.drop(connection, month)
    except StoreError as error:
        _fail(error)
    total = sum(m.parts for m in gone)
    typer.echo(f"removed {len(gone)} months, {total} parts; they are not taken again")


def _print(found: list[Month]) -> None:
    for m in found:
        typer.echo(f"{m.month}: {m.parts} parts, {m.verdicts} verdicts, {m.size / 1e6:.1f} MB")


def _fail(error: Exception) -> NoReturn:
    typer.echo(f"plant: {error}", err=True)
    raise typer.Exit(2) from error
