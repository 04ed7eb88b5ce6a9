"""`inspection opcua STATION.yaml`: the station as an OPC UA server."""

from __future__ import annotations

import logging
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command()
def opcua(
    station: Annotated[Path, typer.Argument(help="the station file", metavar="STATION.yaml")],
) -> None:
    """Show the station to OPC UA clients, after the model of OPC 40100-1, until SIGTERM or Ctrl+C.

    With `opcua.drives` they also trigger it, and this process is its PLC; else the line never waits for it.
    Exit code 0 after a stop. 2: the station file, the certificate, the address or the book of jobs cannot be
    used.
    """
    from inspection.config import load_station
    from inspection.errors import ConfigError
    from inspection.line import start_logging
    from inspection_serve.opcua import process

    config = load_station(station)
    if config.opcua is None:
        raise ConfigError(f"{station} has no `opcua`; add it, {{}} takes the defaults")
    start_logging(verbose=False)
    logging.getLogger("inspection").setLevel(logging.INFO)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    process.run(config, config.opcua, stop)
