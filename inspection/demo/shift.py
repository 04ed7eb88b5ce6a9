"""The demo's processes: service, line and simulated PLC, started together and watched."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Generator
from typing import Any

from inspection.demo.station_files import StationFiles
from inspection.errors import InspectionError
from inspection.up import Supervisor, station_processes

_START_TIMEOUT = 60.0


@contextlib.contextmanager
def running_station(
    station: StationFiles, *, parts: int, takt: float, pages: bool = False
) -> Generator[Supervisor]:
    """Run service, line and simulated PLC; `parts` 0 has no end. All are stopped on leaving.

    Args:
        station: its files.
        parts: how many parts the PLC brings.
        takt: seconds from part to part.
        pages: run the pages for people, too.
    """
    with Supervisor() as supervisor:
        for name, arguments in station_processes(station.station).items():
            if name == "web" and not pages:
                continue
            supervisor.start(name, arguments, station.folder / f"{name}.log")
        supervisor.start(
            "plc-sim",
            [
                "plc-sim", "--port", str(station.plc_port), "--parts", str(_total(station, parts)),
                "--takt", str(takt), "--log", str(station.plc_log), "--lot", "DEMO",
                # a disk that others keep busy may hold one commit for a second
                "--ack-timeout", "3", "--result-timeout", "6",
            ],
            station.folder / "plc-sim.log",
            finite=True,
        )  # fmt: skip
        yield supervisor


def wait_for_pages(station: StationFiles, supervisor: Supervisor) -> list[str]:
    """Return what the pages say of themselves: their address, and the code of the first start."""
    log, end = station.folder / "web.log", time.monotonic() + _START_TIMEOUT
    pause = threading.Event()
    while time.monotonic() < end:
        supervisor.mend()
        text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        said = [line for line in text.splitlines() if "http://" in line]
        if said:
            return said
        pause.wait(0.2)
    raise InspectionError(f"the pages do not start; {log} says why")


def wait_for_shift(console: Any, station: StationFiles, supervisor: Supervisor, parts: int) -> None:
    """Show progress until the PLC has run all parts.

    Raises:
        InspectionError: no part was answered for a long time; the message names the logs.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    pause = threading.Event()
    columns = (
        TextColumn("      inspected"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=parts)
        count, moved = 0, time.monotonic()
        while not supervisor.done("plc-sim"):
            supervisor.mend()
            answered = _answered(station)
            if answered > count:
                count, moved = answered, time.monotonic()
                progress.update(task, completed=count)
            if time.monotonic() - moved > _START_TIMEOUT:
                raise InspectionError(
                    f"no part was answered for {_START_TIMEOUT:.0f} s; see {station.folder}/line.log"
                )
            pause.wait(0.1)


def wait_for_interrupt(supervisor: Supervisor) -> None:
    """Keep the processes alive until Ctrl+C or SIGTERM."""
    stop = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        while not stop.wait(0.1):
            supervisor.mend()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _answered(station: StationFiles) -> int:
    try:
        return station.plc_log.read_bytes().count(b'"event": "outcome"')
    except FileNotFoundError:
        return 0


def _total(station: StationFiles, parts: int) -> int:
    """The simulated PLC goes on from its log: parts are counted from the first shift on."""
    return _answered(station) + parts if parts else 0
