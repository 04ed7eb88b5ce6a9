"""`inspection tune RELEASE`: the fastest way to run it on this PC, against a deadline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inspection.errors import ConfigError

if TYPE_CHECKING:
    from inspection.tuned import Tried, TuneCard
    from inspection_training.tune.station_file import Change

app = typer.Typer(add_completion=False)

_BUSY = 1.0
"""Load before it from which other work is told of."""
NOTHING_KEEPS_IT = 1
"""Exit code: measured, and nothing keeps the deadline."""


@app.command()
def tune(
    *,
    release: Annotated[Path, typer.Argument(help="release folder, releases/PART/NUMBER")],
    deadline: Annotated[
        float, typer.Option(help="longest time from a frame to its boxes, seconds", max=60)
    ],
    data: Annotated[
        Path | None, typer.Option(help="dataset folder: makes variants that are not there")
    ] = None,
    data_version: Annotated[
        str | None, typer.Option(help="dataset version, for example v0001; default: the newest")
    ] = None,
    station: Annotated[
        Path | None, typer.Option(help="station file to compare with and to show the change of")
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="write the runtime block into the station file")
    ] = False,
    frame: Annotated[
        str | None,
        typer.Option(help="camera's frame, WIDTHxHEIGHT; default: of --data, else 2448x2048"),
    ] = None,
    types: Annotated[
        list[str] | None,
        typer.Option("--type", help="runtime that may be chosen; repeat it; default: all"),
    ] = None,
    minutes: Annotated[
        float,
        typer.Option(help="time for measuring; an int8 that is made may search as long", max=600),
    ] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="print what is stored")] = False,
) -> None:
    """Try runtimes, precisions and threads on this PC and keep the fastest that keeps the deadline.

    Exit code 1: nothing keeps it; then smaller models that would are named.
    """
    from inspection.config import load_station
    from inspection.tuned import write_tune
    from inspection_datasets.manifest import load_version
    from inspection_training.progress import TrainingBar
    from inspection_training.tune.station_file import change_of
    from inspection_training.tune.station_file import write as write_station
    from inspection_training.tune.tune import Asked, read_frame, read_types
    from inspection_training.tune.tune import tune as measure

    if not deadline > 0 or not minutes > 0:
        raise ConfigError("--deadline and --minutes must be over 0")
    if write and station is None:
        raise ConfigError("--write needs the file to write: --station STATION.yaml")
    config = load_station(station) if station is not None else None
    asked = Asked(
        deadline=deadline,
        minutes=minutes,
        frame=read_frame(frame) if frame else None,
        version=load_version(data, data_version) if data else None,
        station=config.runtime if config is not None else None,
        types=read_types(types or []),
    )
    with TrainingBar() as bar:
        card = measure(release, asked, bar.report)
    change = change_of(station, card.chosen.runtime) if station and card.chosen else None
    if as_json:
        typer.echo(card.model_dump_json())
    else:
        _print(card, change)
    stored = write_tune(release, card)
    if not as_json:
        typer.echo(f"stored in {stored}")
    if card.chosen is None:
        raise typer.Exit(NOTHING_KEEPS_IT)
    if write and change is not None and config is not None and change.difference():
        write_station(change, config)
        typer.echo(f"{change.path} was written; start the line again", err=as_json)


def _print(card: TuneCard, change: Change | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from inspection.tuned import block

    width, height = card.frame
    table = Table(
        title=f"{card.release} on {card.machine}: frame {width} x {height} to boxes, ms",
        title_justify="left",
    )
    for name in (
        "",
        "runtime",
        "p50",
        "p99",
        "idle p50",
        "idle worst",
        "runs",
        "why not, and notes",
    ):
        table.add_column(name)
    for one in card.tried:
        said = "; ".join(filter(None, (one.why, one.note)))
        table.add_row(one.state, block(one.runtime), *_cells(one), said)
    Console(width=max(Console().width, 150)).print(table, markup=False)
    for line in _conclusion(card, change):
        typer.echo(line)


def _cells(one: Tried) -> list[str]:
    times = one.times
    if times is None:
        return [""] * 5
    values = (times.p50_ms, times.p99_ms, times.idle_p50_ms, times.idle_worst_ms)
    return [*("" if value is None else f"{value:.1f}" for value in values), str(times.runs)]


def _conclusion(card: TuneCard, change: Change | None) -> list[str]:
    """Return what follows, in lines."""
    from inspection.tuned import block

    lines = _circumstances(card)
    chosen = card.chosen
    if chosen is None:
        return [*lines, *_what_would(card)]
    lines.append(f"runtime: {block(chosen.runtime)}")
    if chosen.runtime.get("precision"):
        lines.append("choose the limits again with it: inspection limits --precision")
    if change is not None:
        lines.append(change.difference().rstrip() or f"{change.path.name} says so already")
    return lines


def _circumstances(card: TuneCard) -> list[str]:
    """Return what to know of the numbers, and of the camera's shape."""
    from inspection_training.tune.tune import few_runs

    lines = [
        f"load {card.load[0]} before, {card.load[1]} after; shown: {card.pictures}; "
        f"after idle of {card.idle:g} s"
    ]
    if card.load[0] > _BUSY:
        lines.append("other work is running, so all of this is slower than the PC can be")
    if few_runs(card):
        lines.append("few runs: p99 is little more than the slowest; give more --minutes")
    shape = card.shape
    if shape is not None and shape.better is not None:
        height, width = shape.better
        time = f", about {shape.estimate_ms:g} ms (estimate by area)" if shape.estimate_ms else ""
        lines.append(
            f"{100 * shape.padding:.0f} % of the network's input is grey border: a training with "
            f"input_size: [{height}, {width}] has less{time}"
        )
    return lines


def _what_would(card: TuneCard) -> list[str]:
    """Return that nothing keeps the deadline, and which smaller models would."""
    from inspection.tuned import block

    lines = [f"nothing keeps the deadline of {1e3 * card.deadline:g} ms at p99 and after idle"]
    if not any(one.keeps for one in card.smaller):
        lines.append(
            "  no smaller release here, network of the family or useful input would either"
        )
    for one in card.smaller:
        keeps = "would keep it" if one.keeps else "would not"
        lines.append(
            f"  {one.model} in {block(one.runtime)}: p99 {one.p99_ms:.1f} ms ({one.source}): {keeps}"
        )
    return lines
