"""`inspection bench hold`: a takt held for minutes: no missed trigger, no late answer, nothing that grows.

simulated PLC, its takt fixed ◀─▶ line ◀─▶ service        every few seconds: memory, open files
              └─ its log: triggered or withheld, each answer ─▶ counts, times
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspection.plc.plc_log import Counters
from inspection.plc.simulated import SimulatedPlc
from inspection.plc.simulated_config import SimulatedPlcConfig
from inspection_bench.line import WARM, Side, begin_ours
from inspection_bench.measured import Findings, milliseconds, quantile
from inspection_bench.network import Network
from inspection_bench.process_use import (
    PATIENCE,
    Child,
    await_true,
    cpu_seconds,
    family,
    free_port,
    memory_mb,
)

SAMPLE_EVERY = 5.0
GROWTH = 1.05
"""The last quarter of a run may use this much of the second quarter's memory."""


@dataclass(frozen=True, slots=True)
class HoldPlan:
    """What is held.

    Attributes:
        takt: seconds from part to part.
        minutes: how long.
        deadline: seconds from the trigger to the decision.
        side: of `line.side_names`, one of ours.
    """

    takt: float = 0.05
    minutes: float = 10.0
    deadline: float = 0.2
    side: str = "ours bf16"


@dataclass(frozen=True, slots=True)
class _Sample:
    memory: float
    files: int


def hold(network: Network, frames: Path, work: Path, plan: HoldPlan) -> Findings:
    """Run the shift and return what became of it. Raises InspectionError: a process died."""
    folder = work / "hold"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    parts = max(2, round(60 * plan.minutes / plan.takt))
    findings = Findings(
        "hold",
        f"{60 / plan.takt:.0f} parts a minute for {plan.minutes:g} minutes, "
        f"deadline {1000 * plan.deadline:.0f} ms",
        {"takt": plan.takt, "minutes": plan.minutes, "deadline": plan.deadline, "side": plan.side,
         **network.told},
    )  # fmt: skip
    config = SimulatedPlcConfig(
        port=free_port(), takt=plan.takt, parts=WARM + parts, scan=0.001, ack_timeout=1.0,
        result_timeout=1.0, ready_timeout=PATIENCE, recipe=0, log=folder / "plc.log",
    )  # fmt: skip
    side = Side(plan.side, deadline=plan.deadline)
    samples: dict[str, list[_Sample]] = {}
    cpu: dict[str, float] = {}
    with (
        SimulatedPlc(config) as plc,
        begin_ours(side, network, frames, folder, plc.port) as begun,
    ):
        await_true(lambda: _alive(begun.processes) and plc.counters.triggers > WARM, "parts", 180)
        began = time.monotonic()
        before = {name: cpu_seconds(child.pid) for name, child in begun.processes.items()}
        while not plc.wait(SAMPLE_EVERY):
            for name, child in begun.processes.items():
                child.check()
                samples.setdefault(name, []).append(
                    _Sample(memory_mb(child.pid), _files(child.pid))
                )
        took = time.monotonic() - began
        for name, child in begun.processes.items():
            cpu[name] = (cpu_seconds(child.pid) - before[name]) / took
        counted = plc.counters.copy()
    seconds, causes = _answers(folder / "plc.log")
    row: dict[str, Any] = {"name": plan.side, **milliseconds(seconds)}
    row["p999_ms"] = round(1000 * quantile(seconds, 0.999), 3) if seconds else None
    row["parts_a_minute"] = round(60 * len(seconds) / took)
    row["cpu_share"] = round(sum(cpu.values()), 2)
    findings.rows.append(row)
    _judge(findings, counted, causes, _reasons(folder / "results.db"), parts)
    for name, taken in samples.items():
        _growth(findings, name, taken)
    return findings


def _alive(processes: dict[str, Child]) -> bool:
    return all(child.check() for child in processes.values())


def _files(pid: int) -> int:
    total = 0
    for one in family(pid):
        try:
            total += len(list(Path(f"/proc/{one}/fd").iterdir()))
        except OSError:
            continue
    return total


def _answers(log: Path) -> tuple[list[float], Counter[str]]:
    """Return the seconds from trigger to judged answer of each part after the first, and all outcomes."""
    triggered: dict[int, float] = {}
    seconds: list[float] = []
    causes: Counter[str] = Counter()
    for line in log.read_text().splitlines():
        event: dict[str, Any] = json.loads(line)
        if event["event"] == "trigger":
            triggered[event["seq"]] = event["mono"]
        elif event["event"] == "outcome" and event.get("seq") in triggered:
            causes[event["cause"]] += 1
            seconds.append(event["mono"] - triggered.pop(event["seq"]))
    return seconds[WARM:], causes


def _reasons(database: Path) -> Counter[str]:
    """Return the reasons of all rows that are NOT_INSPECTED."""
    with closing(sqlite3.connect(database)) as connection:
        found = connection.execute(
            "select reason, count(*) from parts where decision = 'NOT_INSPECTED' group by reason"
        )
        return Counter(dict(found.fetchall()))


def _judge(
    findings: Findings, counted: Counters, causes: Counter[str], reasons: Counter[str], parts: int
) -> None:
    withheld = {name: number for name, number in counted.untriggered.items() if number}
    judged = sum(causes[name] for name in ("pass", "fail", "review"))
    others = {name: n for name, n in causes.items() if name not in ("pass", "fail", "review")}
    findings.notes += [
        f"parts {counted.parts} of {WARM + parts}, triggered {counted.triggers}, judged in time {judged}",
        f"withheld by the PLC, since the station was not READY in time: {withheld or 'none'}",
        f"answers that judged nothing: {others or 'none'}; reasons in the store: {dict(reasons) or 'none'}",
    ]
    held = not withheld and not others and judged == counted.triggers == WARM + parts
    findings.notes.append(
        "promised: no missed trigger, no late answer: " + ("held" if held else "MISSED")
    )


def _growth(findings: Findings, name: str, taken: list[_Sample]) -> None:
    """Compare the last quarter with the second: the first warms up."""
    quarter = len(taken) // 4
    if not quarter:
        findings.notes.append(f"{name}: too short a run to tell whether it grows")
        return
    early, late = taken[quarter : 2 * quarter], taken[-quarter:]
    memory = [max(one.memory for one in some) for some in (early, late)]
    files = [max(one.files for one in some) for some in (early, late)]
    flat = memory[1] <= GROWTH * memory[0] and files[1] <= files[0]
    findings.notes.append(
        f"{name}: memory {memory[0]:.0f} then {memory[1]:.0f} MB, open files {files[0]} then {files[1]}: "
        + ("flat" if flat else "MISSED: it grows")
    )
