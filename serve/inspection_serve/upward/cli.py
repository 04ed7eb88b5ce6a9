"""`inspection upward STATION.yaml`: tell MES, QMS and dashboards what the station decides."""

from __future__ import annotations

import json
import logging
import signal
import threading
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from inspection.store.outbox_standing import Standing
    from inspection.store.quarantine import Refused

app = typer.Typer(add_completion=False)


@app.command()
def upward(
    station: Annotated[Path, typer.Argument(help="the station file", metavar="STATION.yaml")],
    status: Annotated[
        bool, typer.Option("--status", help="print how each destination stands, then leave")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="with --status: print one JSON object")
    ] = False,
    retry: Annotated[
        str | None,
        typer.Option(
            help="send the quarantine of this destination again, then leave", metavar="NAME"
        ),
    ] = None,
    quarantine: Annotated[
        str | None,
        typer.Option(help="list what this destination refused, then leave", metavar="NAME"),
    ] = None,
    discard: Annotated[
        str | None,
        typer.Option(
            help="give up what this destination refused, then leave; needs --why", metavar="NAME"
        ),
    ] = None,
    why: Annotated[
        str, typer.Option(help="with --discard: the reason, for the audit", metavar="TEXT")
    ] = "",
) -> None:
    """Send what the station decides to the destinations of its file, until SIGTERM or Ctrl+C.

    The line never waits for it. Exit code 0 after a stop. 2: the station file or the store cannot be used.
    With --status: 1 when a destination is away or late, holds a quarantine, or something waits and nothing
    sends.
    """
    from inspection.config import load_station
    from inspection.line import start_logging
    from inspection.store.outbox_standing import read_standings
    from inspection_serve.upward import process
    from inspection_serve.upward import quarantine as at_terminal

    config = load_station(station)
    names = {link.name for link in config.upward}
    for name in (retry, quarantine, discard):
        if name is not None and name not in names:
            raise typer.BadParameter(f"{name} is no destination of {station}")
    if discard is not None and not why.strip():
        raise typer.BadParameter("say why with --why: it stands in the audit")
    if retry is not None:
        found = at_terminal.retry(config.store, config.station, retry)
        typer.echo(f"{found} messages of {retry} are sent again")
        return
    if quarantine is not None:
        _print_quarantine(at_terminal.look(config.store, config.station, quarantine))
        return
    if discard is not None:
        gone = at_terminal.give_up(config.store, config.station, discard, why.strip())
        typer.echo(f"{len(gone)} messages of {discard} are given up; the audit names them")
        return
    if status:
        standings = read_standings(config.store, config.station)
        running = process.is_running(config)
        _print(config.station, standings, running=running, as_json=as_json)
        bad = any(one.attempts or one.quarantined or one.late for one in standings)
        raise typer.Exit(1 if bad or (not running and any(one.waiting for one in standings)) else 0)
    start_logging(verbose=False)
    logging.getLogger("inspection").setLevel(logging.INFO)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    process.run(config, stop)


def _print(station: str, standings: list[Standing], *, running: bool, as_json: bool) -> None:
    if as_json:
        said = {
            "station": station,
            "running": running,
            "destinations": [{**asdict(one), "oldest_age": one.oldest_age} for one in standings],
        }
        typer.echo(json.dumps(said, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("destination", "waiting", "oldest", "quarantine", "last taken", "state", box=None)
    for one in standings:
        old = one.oldest_age
        state = f"away, attempt {one.attempts}: {one.detail}" if one.attempts else "ok"
        if one.late:
            state = f"LATE, {state}"
        table.add_row(
            one.destination,
            str(one.waiting),
            "" if old is None else f"{old:.0f} s",
            str(one.quarantined),
            (one.delivered_at or "never")[:19],
            escape(state),
        )
    console = Console(soft_wrap=True)
    console.print(table)
    console.print(
        "the process runs" if running else "the process does NOT run: start inspection up"
    )


def _print_quarantine(refused: list[Refused]) -> None:
    for one in refused:
        told = f"{one.kind} {one.subject}"
        again = "  (is sent again)" if one.again else ""
        typer.echo(f"message {one.message}  {told}  refused {one.at[:19]}  {one.why}{again}")
    if not refused:
        typer.echo("nothing lies in quarantine")
