"""Many stations on one service, and large frames: real lines, each with a PLC of its own.

    simulated PLC 1 ◀─Modbus─▶ line 1 ─┐
    simulated PLC 2 ◀─Modbus─▶ line 2 ─┼─shared memory─▶ one `inspection serve`
    simulated PLC n ◀─Modbus─▶ line n ─┘

What counts is what is triggered from when every line is warm until every line has had its parts: all of
them run all that time, each at its own takt. The lines are not in step, as those of a plant are not.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspection.plc.simulated import SimulatedPlc
from inspection.plc.simulated_config import SimulatedPlcConfig
from inspection_bench.frames import prepare_frames
from inspection_bench.line import DECISIONS, WARM, write_station
from inspection_bench.measured import Findings, Ratio, milliseconds
from inspection_bench.network import FRAME, Network
from inspection_bench.process_use import (
    PATIENCE,
    Child,
    await_true,
    cpu_seconds,
    free_port,
    memory_mb,
)
from inspection_bench.service import serve_network

if TYPE_CHECKING:
    from inspection_bench.scale import ScalePlan

SCAN = 0.002
"""Cycle of a PLC's program, seconds; all of them run in this process."""
KEPT = 0.9
"""Share of the parts that the takt gives, under which it is not kept."""
DEADLINE = 10.0
"""Seconds that a part has: a busy PC is measured, too."""


@dataclass(frozen=True, slots=True)
class Station:
    """One line and its PLC, running, with the file that its PLC logs to."""

    plc: SimulatedPlc
    line: Child
    log: Path


def frame_size(megapixels: float) -> tuple[int, int]:
    """Return (height, width) of a frame of so many megapixels, with the shape of the network's."""
    height, width = FRAME
    factor = math.sqrt(megapixels * 1e6 / (height * width))
    if abs(factor - 1) < 0.01:
        return FRAME
    return 2 * round(height * factor / 2), 2 * round(width * factor / 2)


def measure_lines(
    findings: Findings, network: Network, folder: Path, plan: ScalePlan, precision: str
) -> None:
    """Add a row for each number of cameras, and for each size of a frame. All share one service."""
    logs = folder / "lines"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    port = free_port()
    runtime = {"type": "service", "url": f"http://127.0.0.1:{port}", "precision": precision}
    tasks = [("cameras", float(n), n, plan.frame) for n in plan.cameras]
    tasks += [("megapixels", x, 1, frame_size(x)) for x in plan.megapixels]
    words = {"cameras": "so many lines on one service", "megapixels": "one line"}
    with serve_network(network, precision, port, logs) as served:
        for part, x, lines, size in tasks:
            frames = prepare_frames(folder / "frames", size, plan.frames, ("rgb",))
            own = logs / "now"  # pictures are many: those of the size before are gone
            shutil.rmtree(own, ignore_errors=True)
            row = _run(network, frames, own, served, runtime, lines, plan)
            name = f"{x:g} {part if x != 1 else part.removesuffix('s')}"
            heading = f"{words[part]}, a part each {plan.takt:g} s: trigger to PLC"
            named = {"table": heading, "part": part, "x": x, "name": name}
            findings.rows.append({**named, "frame": f"{size[1]}x{size[0]}", **row})
            wanted = lines / plan.takt
            if row["parts_per_second"] < KEPT * wanted:
                findings.notes.append(
                    f"{name}: {row['parts_per_second']:g} parts a second of {wanted:g}: this PC cannot keep "
                    "the takt, so its times are those of a queue"
                )
            _say(f"{name}: p50 {row.get('p50_ms', 'none')} ms")
    shutil.rmtree(logs / "now", ignore_errors=True)
    _compare(findings, "cameras")
    _compare(findings, "megapixels")


def _run(
    network: Network,
    frames: Path,
    folder: Path,
    served: Child,
    runtime: dict[str, Any],
    lines: int,
    plan: ScalePlan,
) -> dict[str, Any]:
    """Run so many lines for the parts of the plan; return their row."""
    with ExitStack() as stack:
        stations = [
            _begin(stack, network, frames, folder / f"{number + 1}", runtime, plan.takt)
            for number in range(lines)
        ]
        processes = [served, *(one.line for one in stations)]

        def had(least: list[int]) -> bool:
            triggers = [one.plc.counters.triggers for one in stations]
            alive = all(child.check() for child in processes)
            return alive and all(t > n for t, n in zip(triggers, least, strict=True))

        await_true(lambda: had([WARM] * lines), f"{lines} lines: parts", PATIENCE + 20.0 * lines)
        begun, before = time.monotonic(), [cpu_seconds(child.pid) for child in processes]
        least = [one.plc.counters.triggers + plan.parts for one in stations]
        await_true(lambda: had(least), f"{lines} lines: their parts", 60 + plan.parts * 10.0)
        ended = time.monotonic()
        spent = [cpu_seconds(child.pid) - was for child, was in zip(processes, before, strict=True)]
        memory = [memory_mb(child.pid) for child in processes]
    seconds: list[float] = []
    answered = missed = 0
    for one in stations:
        for began, judged, inspected in _outcomes(one.log):
            answered += begun <= judged <= ended
            if begun <= began and judged <= ended:
                seconds += [judged - began] if inspected else []
                missed += not inspected
    service, own = (1000 * value / max(1, answered) for value in (spent[0], sum(spent[1:])))
    return {
        **milliseconds(seconds),
        "parts_per_second": round(answered / (ended - begun), 2),
        "not_inspected": missed,
        "cpu_ms_per_part": round(service + own, 1),
        "memory_mb": round(sum(memory)),
        "cpu_ms": {"line": round(own, 1), "service": round(service, 1)},
    }


def _begin(
    stack: ExitStack,
    network: Network,
    frames: Path,
    folder: Path,
    runtime: dict[str, Any],
    takt: float,
) -> Station:
    """Start a PLC and a line that answers it; both end with the stack."""
    folder.mkdir(parents=True)
    log = folder / "plc.log"
    config = SimulatedPlcConfig(
        port=free_port(), takt=takt, scan=SCAN, ack_timeout=5.0, result_timeout=2 * DEADLINE,
        ready_timeout=10 * PATIENCE, recipe=0, log=log,
    )  # fmt: skip
    plc = stack.enter_context(SimulatedPlc(config))
    write_station(network, folder, plc.port, runtime, DEADLINE)
    station, times = folder / "station.yaml", folder / "inference.json"
    arguments = ["-m", "inspection_bench.our_line", str(station), str(frames), str(times)]
    return Station(plc, stack.enter_context(Child(arguments, folder / "line.log")), log)


def _outcomes(log: Path) -> list[tuple[float, float, bool]]:
    """Return of each part when it was triggered and judged (monotonic), and whether it was inspected."""
    triggered: dict[int, float] = {}
    found: list[tuple[float, float, bool]] = []
    for line in log.read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "trigger":
            triggered[event["seq"]] = event["mono"]
        elif event["event"] == "outcome":
            found.append((triggered[event["seq"]], event["mono"], event["cause"] in DECISIONS))
    return found


def _compare(findings: Findings, part: str) -> None:
    """Add how the largest size compares with the smallest."""
    rows = [row for row in findings.rows if row["part"] == part and "p50_ms" in row]
    if len(rows) < 2:
        return
    first, last = rows[0], rows[-1]
    for key in ("p50_ms", "cpu_ms_per_part"):
        value = round(last[key] / first[key], 2) if first[key] else 0.0
        what = f"{key.removesuffix('_ms')}: {last['name']} / {first['name']}"
        findings.ratios.append(Ratio(what, value))


def _say(words: str) -> None:
    print(f"{words}, load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
