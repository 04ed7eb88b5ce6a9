"""`inspection VERB`: verbs are entry points of every installed package, loaded only when they run."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from typing import Any

import typer
import typer.core
import typer.main

from inspection import __version__
from inspection.errors import InspectionError, how_to_install

GROUP = "inspection.verbs"


class Verbs(typer.core.TyperGroup):
    """Finds verbs by entry point, so that `inspection line` never imports what `inspection train` needs."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the installed verbs, sorted."""
        del ctx
        return sorted(point.name for point in entry_points(group=GROUP))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Load one verb; a verb whose extra is not installed explains itself when run."""
        del ctx
        for point in entry_points(group=GROUP):
            if point.name == cmd_name:
                command = typer.main.get_command(_load(point))
                command.name = cmd_name
                return command
        return None


def _load(point: Any) -> typer.Typer:
    try:
        return point.load()
    except ImportError as error:
        missing = typer.Typer()
        text = f"not installed here: {error}; {how_to_install('all')}"

        @missing.command(
            help=text, context_settings={"ignore_unknown_options": True, "allow_extra_args": True}
        )
        def explain() -> None:
            typer.echo(f"inspection {point.name}: {text}", err=True)
            raise typer.Exit(2)

        return missing


app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    add_completion=False,
    help="Machine vision for production lines.",
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False,
        "--version",
        help="Print the version and leave.",
        callback=_print_version,
        is_eager=True,
    ),
) -> None:
    """Machine vision for production lines: a part passes only when it was proven good."""


def main() -> None:
    """Run a verb. Errors raised on purpose end as one message and exit code 2."""
    try:
        app()
    except InspectionError as error:
        sys.stderr.write(f"inspection: {error}\n")
        sys.exit(2)
