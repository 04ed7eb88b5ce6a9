"""`inspection demo`: the whole job on one PC, with simulated camera and PLC.

render a labelled set ─▶ train (from random weights) ─▶ release
─▶ inference service + line + PLC: a shift of 100 parts that training never saw
─▶ one table, a contact sheet, `verify`; exit code 0 only when everything agrees
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import typer

from inspection.errors import ConfigError, InspectionError

app = typer.Typer(add_completion=False)

MARKER = ".inspection-demo"
TRAINING_SEED = 11
SHIFT_SEED = 2611
DEFECT_RATE = 0.3
TRAINING_PARTS = 1800


@app.command()
def demo(
    *,
    folder: Path = typer.Option(Path("demo-data"), help="where everything goes; replaced"),
    parts: int = typer.Option(100, min=1, help="parts of the shift"),
    takt: float = typer.Option(0.3, min=0.0, help="seconds from part to part"),
    minutes: float | None = typer.Option(
        None,
        min=0.1,
        help="longest training time; the epochs are cut to it, and fewer learn less [default: 45]",
        show_default=False,
    ),
    keep: bool = typer.Option(False, "--keep", help="leave the station running until Ctrl+C"),
) -> None:
    """Train a detector on rendered parts, release it, and inspect a shift of parts with it.

    Exit code 0 when store, PLC and `verify` agree, and the shift does not speak against 90 % of defective
    parts caught and 10 % of good parts rejected (exact test, 5 %); else 1, and the reason is printed.
    """
    from rich.console import Console

    console = Console()
    started = time.monotonic()
    _prepare(folder)
    console.print(f"[bold]1/4[/] Rendering {TRAINING_PARTS} labelled parts")
    dataset = _labelled_set(folder)
    console.print("[bold]2/4[/] Training on them, from random weights, on this PC alone")
    release = _train(folder, dataset, minutes)
    console.print(f"      released {release['release']} after {time.monotonic() - started:.0f} s")
    if cut := cut_short(folder / "releases", release["release"]):
        console.print(f"[bold yellow]      {cut}[/]")
    console.print(f"[bold]3/4[/] A shift of {parts} parts that training never saw")
    station = _write_station(folder)
    failures = _run_shift(console, station, parts, takt, keep)
    console.print(f"Finished in {time.monotonic() - started:.0f} s. Everything is in {folder}/")
    raise typer.Exit(1 if failures else 0)


def _prepare(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARKER).exists():
            raise ConfigError(
                f"{folder} holds something that is not a demo; choose another --folder"
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).write_text("made by `inspection demo`; replaced by the next run\n")


def _labelled_set(folder: Path) -> Path:
    from rich.progress import Progress

    from inspection.demo.labelled_set import write_labelled_set
    from inspection.demo.station_files import SIZE

    with Progress(transient=True) as progress:
        task = progress.add_task("      parts", total=TRAINING_PARTS)

        def show(done: int, _parts: int) -> None:
            progress.update(task, completed=done)

        write_labelled_set(folder / "labelled", TRAINING_PARTS, TRAINING_SEED, SIZE, progress=show)
    _inspection(
        "dataset", "import", folder / "labelled", "--to", folder / "dataset", "--name", "plate"
    )
    return folder / "dataset"


def _train(folder: Path, dataset: Path, minutes: float | None) -> dict[str, Any]:
    """Train by `inspection train`, its progress shown; return its summary."""
    with as_file(files("inspection.demo") / "experiment.yaml") as experiment:
        told = _inspection(
            "train", experiment, "--data", dataset, "--weights", "random", "--part", "plate",
            "--releases", folder / "releases", "--out", folder / "runs", "--json",
            "--language", "en",  # as the demo's own words
            *([] if minutes is None else ["--minutes", str(minutes)]),
        )  # fmt: skip
    return json.loads(told)


def cut_short(releases: Path, name: str) -> str:
    """Return, in words, that the clock ended the training early; empty: every epoch was done."""
    from inspection.release import read_card

    learned = read_card(releases / name).experiment
    done, wanted = learned["epochs_done"], learned["epochs"]
    if done >= wanted:
        return ""
    return (
        f"{learned['minutes']:g} minutes were enough for {done} of {wanted} epochs; it learned less. "
        "Give it longer: --minutes"
    )


def _inspection(*arguments: str | Path) -> str:
    """Run a verb, its progress on our terminal; return its standard output."""
    command = [sys.executable, "-m", "inspection", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise InspectionError(f"`inspection {arguments[0]}` failed; its message is above")
    return done.stdout


def _write_station(folder: Path) -> Any:
    from inspection.demo.station_files import write_station

    return write_station(folder, seed=SHIFT_SEED, defect_rate=DEFECT_RATE, marks=False)


def _run_shift(console: Any, station: Any, parts: int, takt: float, keep: bool) -> list[str]:
    """Run the shift and print its table; return what does not agree, in words."""
    from inspection.demo.figures import count_shift, read_rows
    from inspection.demo.shift import running_station, wait_for_shift
    from inspection.demo.table import print_table, write_flagged
    from inspection.recipe import RecipeBook

    with running_station(station, parts=parts, takt=takt) as supervisor:
        wait_for_shift(console, station, supervisor, parts)
    rows = read_rows(station.database)
    figures = count_shift(rows, station.plc_log)
    checked, report = _verify(station)
    (station.folder / "verify.txt").write_text(report, encoding="utf-8")
    sheet = station.folder / "flagged.png"
    recipe, _ = RecipeBook(station.folder / "recipes", station.folder / "releases").get(1)
    flagged = write_flagged(rows, station.folder / "images", sheet, recipe.limits)
    failures = figures.failures(parts) + ([] if checked else ["`inspection verify` found a breach"])
    console.print("[bold]4/4[/] What came of it")
    print_table(console, figures, parts, verified=checked, flagged=flagged, sheet=sheet)
    for failure in failures:
        console.print(f"[bold red]Does not agree:[/] {failure}")
    if not failures:
        console.print("[bold green]Everything agrees.[/]")
    if keep:
        _keep_running(console, station)
    return failures


def _verify(station: Any) -> tuple[bool, str]:
    command = [
        sys.executable, "-m", "inspection", "verify", str(station.database),
        "--images", str(station.folder / "images"), "--plc-log", str(station.plc_log),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stdout + done.stderr


def _keep_running(console: Any, station: Any) -> None:
    from inspection.demo.shift import running_station, wait_for_interrupt, wait_for_pages

    console.print(
        f"The station goes on, a part every second, with the files in {station.folder}/. "
        f"Service: http://127.0.0.1:{station.service_port}/v2  Ctrl+C ends it."
    )
    with running_station(station, parts=0, takt=1.0, pages=True) as supervisor:
        for line in wait_for_pages(station, supervisor):
            console.print(line, soft_wrap=True)
        wait_for_interrupt(supervisor)
