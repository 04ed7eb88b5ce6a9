"""`inspection web STORE`: the pages for operators and quality engineers, until it is told to stop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command()
def web(
    store: Annotated[
        str,
        typer.Argument(
            help="a station file, or a results store: SQLite file or postgresql+psycopg://USER@HOST/DATABASE",
            metavar="STORE",
        ),
    ],
    host: Annotated[
        str | None,
        typer.Option(help="address to listen on; default: the station file's, or 127.0.0.1"),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            help="0 takes a free one; default: the station file's, or 8080", min=0, max=65535
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option(help="a name by which browsers may call this PC; may be given again"),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="folder of the pictures; default: images beside STORE")
    ] = None,
    releases: Annotated[Path | None, typer.Option(help="folder of released models")] = None,
    recipes: Annotated[Path | None, typer.Option(help="folder of recipe files")] = None,
    datasets: Annotated[
        Path | None, typer.Option(help="folder of datasets, for harvest and training")
    ] = None,
    work: Annotated[
        Path | None, typer.Option(help="folder for jobs and exports; default: web beside STORE")
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(help="TLS certificate (PEM); with --key, or with its key in it", exists=True),
    ] = None,
    key: Annotated[Path | None, typer.Option(help="TLS key (PEM)", exists=True)] = None,
    reset_password: Annotated[
        str | None,
        typer.Option(
            help="give this person a new password, print it, then leave: for the only administrator who "
            "forgot theirs",
            metavar="LOGIN",
        ),
    ] = None,
) -> None:
    """Serve the review station and the quality pages.

    The first start prints an address with a code: whoever opens it becomes the administrator. Exit code 71:
    the address cannot be used. 72: the store or the station file cannot be used.
    """
    if reset_password is not None:
        raise typer.Exit(_reset(store, reset_password))
    from inspection_serve.web.process import Settings, run

    settings = Settings(
        store=store,
        host=host,
        port=port,
        names=tuple(name or ()),
        images=images,
        releases=releases,
        recipes=recipes,
        datasets=datasets,
        work=work,
        certificate=certificate,
        key=key,
    )
    raise typer.Exit(run(settings))


def _reset(store: str, name: str) -> int:
    from inspection.errors import InspectionError
    from inspection_serve.web.people.at_terminal import reset_password
    from inspection_serve.web.process import NO_STORE

    try:
        password = reset_password(store, name)
    except (InspectionError, ValueError) as error:
        typer.echo(f"no password was changed: {error}", err=True)
        return NO_STORE
    typer.echo(f"{name} signs in with {password} once, and chooses a password then")
    return 0
