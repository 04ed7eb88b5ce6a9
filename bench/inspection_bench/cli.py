"""`inspection bench`: ours against its peers, interleaved in one run, on the same frames.

bench line | runtime | service ─▶ network and frames (made once, kept in --work) ─▶ turns ─▶ findings
bench calls ─▶ the line of `bench line` under a profiler's hook                  ─▶ findings
bench scale ─▶ the same network, frames of many sizes, stores of many results    ─▶ findings
bench store | web | plc | train ─▶ their own rigs                                ─▶ findings
findings ─▶ table, JSON, plot          bench report ─▶ JSON files ─▶ docs/performance.md
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from inspection.errors import ConfigError

if TYPE_CHECKING:
    from inspection_bench.measured import Findings
    from inspection_bench.network import Network

app = typer.Typer(
    add_completion=False,
    help="Measure this PC: ours against its peers, in turns, on the same frames.",
    no_args_is_help=True,
)

Work = Annotated[
    Path,
    typer.Option(help="folder for network, frames and stores; kept", resolve_path=True),
]
Weights = Annotated[
    Path | None,
    typer.Option(help="ultralytics yolov8n .pt to begin with, for the first training"),
]
Activation = Annotated[
    Literal["own", "hardswish"],
    typer.Option(
        help="of everybody's network: own, as the weights have it, or trained with hardswish"
    ),
]
Sides = Annotated[
    str, typer.Option(help="who takes part, by name, with commas between; default: everybody")
]
AsJson = Annotated[Path | None, typer.Option("--json", help="write everything to this file")]
Plot = Annotated[Path | None, typer.Option(help="write a plot to this PNG file")]
Frames = Annotated[int, typer.Option(help="frames that go round, at least", min=2, max=100)]
FrameSize = Annotated[str, typer.Option(help="width x height of a frame, pixels")]

WORK = Path("bench-data")
FIVE_MEGAPIXELS = "2448x2048"


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _check_names(wanted: tuple[str, ...], known: list[str]) -> tuple[str, ...]:
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ConfigError(f"nobody is called {unknown[0]!r}; known are: {', '.join(known)}")
    return wanted


def _open(
    work: Path, weights: Path | None, size: str, frames: int, activation: str
) -> tuple[Network, Path]:
    """Return network and frames of a work folder; both are made when they are not there."""
    from inspection_bench.frames import prepare_frames
    from inspection_bench.network import open_network

    pixels = _pixels(size)
    network = open_network(work, weights, activation=activation)
    return network, prepare_frames(work / "frames", pixels, frames)


def _pixels(size: str) -> tuple[int, int]:
    """Return (height, width) of what `--frame` says."""
    width, _, height = size.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise ConfigError(f"--frame {size!r} is not WIDTHxHEIGHT, for example {FIVE_MEGAPIXELS}")
    return int(height), int(width)


def _finish(findings: Findings, as_json: Path | None, plot: Path | None) -> None:
    from inspection_bench.measured import finish

    finish(findings, as_json, plot)


@app.command()
def line(
    *,
    work: Work = WORK,
    weights: Weights = None,
    activation: Activation = "own",
    parts: Annotated[int, typer.Option(help="parts of each side", min=1)] = 60,
    rounds: Annotated[int, typer.Option(help="turns of each side", min=1)] = 3,
    takt: Annotated[float, typer.Option(help="seconds from part to part", min=0)] = 0.3,
    sides: Sides = "",
    frame: FrameSize = FIVE_MEGAPIXELS,
    frames: Frames = 6,
    as_json: AsJson = None,
    plot: Plot = None,
) -> None:
    """From the PLC's trigger to the answer in its memory: the line against what most people write."""
    from inspection_bench.line import LinePlan, race, side_names

    network, folder = _open(work, weights, frame, frames, activation)
    wanted = _check_names(_names(sides), side_names(network))
    _finish(race(network, folder, work, LinePlan(parts, rounds, takt, wanted)), as_json, plot)


@app.command()
def hold(
    *,
    work: Work = WORK,
    weights: Weights = None,
    activation: Activation = "own",
    side: Annotated[str, typer.Option(help="`ours bf16`, `ours in process bf16`, …")] = "ours bf16",
    takt: Annotated[float, typer.Option(help="seconds from part to part", min=0.01)] = 0.05,
    minutes: Annotated[float, typer.Option(help="how long", min=0.05)] = 10.0,
    deadline: Annotated[float, typer.Option(help="seconds that a part has", min=0.01)] = 0.2,
    frame: FrameSize = FIVE_MEGAPIXELS,
    frames: Frames = 6,
    as_json: AsJson = None,
    plot: Plot = None,
) -> None:
    """A takt held for minutes: no missed trigger, no late answer, no memory that grows."""
    from inspection_bench.hold import HoldPlan
    from inspection_bench.hold import hold as hold_takt
    from inspection_bench.line import side_names

    network, folder = _open(work, weights, frame, frames, activation)
    _check_names((side,), [name for name in side_names(network) if name.startswith("ours")])
    plan = HoldPlan(takt, minutes, deadline, side)
    _finish(hold_takt(network, folder, work, plan), as_json, plot)


@app.command()
def calls(
    *,
    work: Work = WORK,
    weights: Weights = None,
    activation: Activation = "own",
    side: Annotated[str, typer.Option(help="`ours bf16`, `ours in process bf16`, …")] = "ours bf16",
    parts: Annotated[int, typer.Option(help="parts that are counted", min=1)] = 30,
    frame: FrameSize = FIVE_MEGAPIXELS,
    frames: Frames = 6,
    as_json: AsJson = None,
) -> None:
    """Calls of Python and C that the line makes for a part's answer: a cost that no other work changes."""
    from inspection_bench.calls import count
    from inspection_bench.line import side_names

    network, folder = _open(work, weights, frame, frames, activation)
    _check_names((side,), [name for name in side_names(network) if name.startswith("ours")])
    _finish(count(network, folder, work, parts, side), as_json, None)


@app.command()
def runtime(
    *,
    work: Work = WORK,
    weights: Weights = None,
    activation: Activation = "own",
    rounds: Annotated[int, typer.Option(help="times over all frames", min=1)] = 4,
    times: Annotated[int, typer.Option(help="calls in a turn", min=1)] = 3,
    sides: Sides = "",
    tiles: Annotated[bool, typer.Option(help="measure tiles too, against SAHI")] = True,
    frame: FrameSize = FIVE_MEGAPIXELS,
    frames: Frames = 6,
    as_json: AsJson = None,
    plot: Plot = None,
) -> None:
    """From a frame in memory to its boxes: ours, ultralytics' predict, raw OpenVINO, tiles, SAHI."""
    from inspection_bench.runtime import RuntimePlan, contestants, in_tiles, race

    network, folder = _open(work, weights, frame, frames, activation)
    known = [one.name for one in (*contestants(network, folder), *in_tiles(network, folder))]
    wanted = _check_names(_names(sides), known)
    _finish(race(network, folder, work, RuntimePlan(rounds, times, wanted, tiles)), as_json, plot)


@app.command()
def service(
    *,
    work: Work = WORK,
    weights: Weights = None,
    activation: Activation = "own",
    calls: Annotated[int, typer.Option(help="calls of each, one at a time", min=1)] = 60,
    stations: Annotated[int, typer.Option(help="clients at once", min=1, max=64)] = 8,
    seconds: Annotated[float, typer.Option(help="how long they ask, each round", min=0.1)] = 4.0,
    rounds: Annotated[int, typer.Option(help="rounds", min=1)] = 3,
    precision: Annotated[str, typer.Option(help="f32, bf16 or int8; default: bf16 if there")] = "",
    as_json: AsJson = None,
    plot: Plot = None,
) -> None:
    """What the inference service adds to the runtime, and what eight stations at once get."""
    from inspection_bench.service import ServicePlan, race

    network, folder = _open(work, weights, "640x544", 2, activation)
    if precision:
        _check_names((precision,), list(network.precisions))
    plan = ServicePlan(calls, stations, seconds, rounds, precision)
    _finish(race(network, folder, work, plan), as_json, plot)


@app.command()
def store(
    *,
    work: Work = WORK,
    parts: Annotated[int, typer.Option(help="parts that each side writes", min=1)] = 500,
    rows: Annotated[int, typer.Option(help="rows to look among; 0: do not look", min=0)] = 100_000,
    as_json: AsJson = None,
    plot: Plot = None,
) -> None:
    """A part on disk, and a page of parts: ours against SQLAlchemy's ORM with its defaults."""
    from inspection_bench.store import StorePlan, race

    _finish(race(work, StorePlan(parts, rows)), as_json, plot)


@app.command()
def web(
    *,
    work: Work = WORK,
    pages: Annotated[str, typer.Option(help="review,results,quality,line; default: all")] = "",
    results: Annotated[int, typer.Option(help="rows in each store; 0: its default", min=0)] = 0,
    short: Annotated[bool, typer.Option("--short", help="few parts, presses and repeats")] = False,
    as_json: AsJson = None,
) -> None:
    """How long a person waits for the pages, and what the pages cost the line. Needs a checkout."""
    from inspection_bench import programs

    chosen = _check_names(_names(pages), list(programs.WEB))
    _finish(programs.web(work, chosen, results, short=short), as_json, None)


@app.command()
def plc(
    *,
    work: Work = WORK,
    parts: Annotated[int, typer.Option(help="parts of a round", min=2)] = 60,
    rounds: Annotated[int, typer.Option(help="rounds", min=1)] = 2,
    as_json: AsJson = None,
    plot: Plot = None,
) -> None:
    """From trigger to answer over every PLC link, in turns. Needs a checkout."""
    from inspection_bench import programs

    _finish(programs.plc(work, parts, rounds), as_json, plot)


@app.command()
def train(
    *,
    work: Work = WORK,
    data: Annotated[Path | None, typer.Option(help="dataset; default: the network's own")] = None,
    weights: Weights = None,
    imgsz: Annotated[int, typer.Option(help="side of the images, pixels")] = 320,
    seeds: Annotated[int, typer.Option(help="trainings of each side; 3 for mAP50", min=1)] = 1,
    epochs: Annotated[
        int, typer.Option(help="the first and the last do not count for the time", min=3)
    ] = 8,
    sides: Sides = "",
    as_json: AsJson = None,
) -> None:
    """Speed and mAP50 of training against the command `yolo detect train`, on the same images."""
    from inspection_bench import programs
    from inspection_bench.network import find_weights, open_network
    from inspection_bench.train import SIDES

    start = find_weights(weights)
    dataset = data or open_network(work, weights).data
    options = ["--imgsz", str(imgsz), "--seeds", str(seeds), "--epochs", str(epochs)]
    if wanted := _check_names(_names(sides), list(SIDES)):
        options += ["--sides", *wanted]
    _finish(programs.train(work, dataset.resolve(), start.resolve(), options), as_json, None)


@app.command()
def scale(
    *,
    work: Work = WORK,
    weights: Weights = None,
    activation: Activation = "own",
    cameras: Annotated[str, typer.Option(help="lines on one service: 1,2,4,8; none")] = "",
    megapixels: Annotated[str, typer.Option(help="of a frame: 1,2,5,10,20; none")] = "",
    rows: Annotated[
        str, typer.Option(help="results in the store: 1000,10000,100000,1000000; none")
    ] = "",
    replicas: Annotated[
        str, typer.Option(help="of the service on Ray: 1,2; default: 1 to the processors; none")
    ] = "",
    parts: Annotated[int, typer.Option(help="parts of each line; 0: 40", min=0)] = 0,
    takt: Annotated[float, typer.Option(help="seconds from part to part", min=0.01)] = 1.0,
    frame: FrameSize = FIVE_MEGAPIXELS,
    times: Annotated[int, typer.Option(help="each query; 0: 100", min=0)] = 0,
    precision: Annotated[str, typer.Option(help="f32, bf16 or int8; default: bf16 if there")] = "",
    days: Annotated[
        float, typer.Option(help="all results are of so many days; 0: 100,000 a month", min=0)
    ] = 0,
    postgres: Annotated[
        bool, typer.Option("--postgres", help="results in PostgreSQL instead of SQLite")
    ] = False,
    short: Annotated[bool, typer.Option("--short", help="fewer sizes, parts and times")] = False,
    as_json: AsJson = None,
    plot: Plot = None,
) -> None:
    """What it costs when there is more: cameras, megapixels, results, replicas of the service."""
    from inspection_bench import scale as scaling
    from inspection_bench.measured import finish
    from inspection_bench.network import open_network

    plan = scaling.ScalePlan(
        cameras=scaling.sizes("cameras", cameras, short=short),
        megapixels=scaling.sizes("megapixels", megapixels, short=short),
        rows=scaling.sizes("rows", rows, short=short),
        replicas=scaling.sizes("replicas", replicas, short=short),
        parts=parts or (15 if short else 40),
        takt=takt,
        frame=_pixels(frame),
        times=times or (20 if short else 100),
        seconds=3.0 if short else 6.0,
        precision=precision,
        days=days,
        postgres=postgres,
    )
    network = None
    if plan.needs_network:
        network = open_network(work, weights, activation=activation)
    if precision and network is not None:
        _check_names((precision,), list(network.precisions))
    findings = scaling.measure(network, work, plan)
    finish(findings, as_json, None)
    if plot is not None:
        scaling.draw_scale(findings.as_json(), plot)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="folder of the JSON files of a run")],
    page: Annotated[Path, typer.Argument(help="Markdown file to write")],
) -> None:
    """Write docs/performance.md from the JSON files of the benchmarks."""
    from inspection_bench.performance_page import write_page

    write_page(folder, page)
