"""`inspection plc`: the PLC's side as files, and a look at the link with a person at the PLC."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inspection.errors import ConfigError
from inspection.sentences.language import DEFAULT_LANGUAGE, check_language

if TYPE_CHECKING:
    from inspection.commission.map.families import Area

app = typer.Typer(add_completion=False, help="Commission a PLC.", no_args_is_help=True)


@app.command("map")
def map_command(
    *,
    family: Annotated[
        str, typer.Option("--for", help="melsec, xgt, s7, modbus, opcua or ethernet_ip")
    ] = "",
    station: Annotated[
        Path | None,
        typer.Option(help="station file: its PLC and addresses", metavar="STATION.yaml"),
    ] = None,
    ctrl: Annotated[int | None, typer.Option(help="first word of CTRL")] = None,
    stat: Annotated[int | None, typer.Option(help="first word of STAT")] = None,
    device: Annotated[
        str, typer.Option(help="device area: D, W, R or ZR (melsec); M or D (xgt)")
    ] = "",
    db: Annotated[int, typer.Option(help="number of the data block (s7)")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="write the tool's import files and the program here")
    ] = None,
    language: Annotated[
        str, typer.Option(help="of the table, the comments and the files: ko or en")
    ] = DEFAULT_LANGUAGE,
) -> None:
    """Print the exchange area in the PLC's own addresses; with --out write what its tool imports.

    The files are labels or variables, the PLC's program in Structured Text, and a text that says what to
    do with them and what was not verified.
    """
    from inspection.commission.map.files import write
    from inspection.commission.map.table import print_map

    check_language(language)
    area = _area(family, station, ctrl, stat, device=device, db=db)
    print_map(area, language)
    if out is not None:
        for path in write(out, area, language):
            typer.echo(path)


@app.command("probe")
def probe_command(
    *,
    station: Annotated[Path, typer.Argument(help="the station file", metavar="STATION.yaml")],
    write: Annotated[
        bool, typer.Option("--write", help="write patterns to STAT and read them back")
    ] = False,
    handshake: Annotated[
        bool,
        typer.Option(
            "--handshake", help="go through the handshake with the person at the PLC; also writes"
        ),
    ] = False,
    answer: Annotated[
        str,
        typer.Option(help="answer of each part: NOT_INSPECTED, FAIL, REVIEW, or PASS if you must"),
    ] = "NOT_INSPECTED",
    parts: Annotated[int, typer.Option(min=1, help="parts of the handshake")] = 2,
    wait: Annotated[
        float, typer.Option(min=0.1, help="longest wait for each step, in seconds")
    ] = 60.0,
    count: Annotated[int, typer.Option(min=1, help="round trips to measure")] = 200,
    language: Annotated[str, typer.Option(help="of the sentences: ko or en")] = DEFAULT_LANGUAGE,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Look at the link to a station's PLC, while no line process of this station runs.

    It reads CTRL alone unless --write or --handshake is given. Exit code 0: nothing is wrong. 1: something
    is. 2: it could not be tried.
    """
    from inspection.commission.probe.handshake import Manner
    from inspection.commission.probe.report import Report
    from inspection.commission.probe.run import Wanted, probe
    from inspection.config import load_station
    from inspection.types import Decision

    check_language(language)
    if answer not in set(Decision):
        raise ConfigError(f"--answer {answer!r} is not one of {', '.join(Decision)}")
    config = load_station(station)
    report = Report(language, as_json=as_json)
    manner = Manner(Decision(answer), parts, wait, config.timing.poll) if handshake else None
    found = probe(config, Wanted(count, write, manner), report.ask, report.note)
    if as_json:
        typer.echo(report.as_json(config.station, found))
    raise typer.Exit(1 if any(finding.state == "fail" for finding in found) else 0)


def _area(
    family: str, station: Path | None, ctrl: int | None, stat: int | None, *, device: str, db: int
) -> Area:
    from inspection.commission.map.families import FAMILIES, area_of, is_family, open_area

    if station is not None:
        if family or device or db != 1 or ctrl is not None or stat is not None:
            raise ConfigError("--station names PLC and addresses: leave the other options out")
        from inspection.config import load_station

        return area_of(load_station(station).plc)
    if not is_family(family):
        raise ConfigError(
            f"--for {family!r} is not one of {', '.join(FAMILIES)}; or give --station"
        )
    return open_area(family, ctrl, stat, device=device, db=db)
