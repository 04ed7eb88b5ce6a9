"""`inspection bench calls`: how much Python a part's answer takes, in calls, which no other work changes.

    network, frames ─▶ the real line under a profiler's hook ◀─▶ simulated PLC
                              └─▶ calls of each part, by package ─▶ the median

Counted are the calls of Python functions and, from them, of C, in all threads of the line process, from
the moment the runtime has answered until the PLC has confirmed RESULT_VALID.
"""

from __future__ import annotations

import json
import shutil
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from inspection.plc.simulated import SimulatedPlc
from inspection.plc.simulated_config import SimulatedPlcConfig
from inspection_bench.line import AFTER_LINE, SCAN, WARM, Side, begin_ours
from inspection_bench.measured import Findings
from inspection_bench.network import Network
from inspection_bench.process_use import PATIENCE, await_true, free_port

TAKT = 0.3


def count(network: Network, frames: Path, work: Path, parts: int, side: str) -> Findings:
    """Return the calls of a part, the median of some.

    Args:
        network: that looks.
        frames: folder of prepared frames.
        work: folder for the store; what it held is removed.
        parts: how many.
        side: `ours bf16`, `ours in process bf16`, …

    Raises:
        InspectionError: a process did not start, or died.
    """
    folder = work / "calls"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = SimulatedPlcConfig(
        port=free_port(), takt=TAKT, parts=WARM + parts, scan=SCAN, ack_timeout=5.0,
        result_timeout=20.0, ready_timeout=PATIENCE, recipe=0,
    )  # fmt: skip
    with (
        SimulatedPlc(config) as plc,
        begin_ours(
            Side(side), network, frames, folder, plc.port, "inspection_bench.counted_line"
        ) as begun,
    ):
        await_true(
            lambda: all(one.check() for one in begun.processes.values()) and plc.wait(0.05),
            f"{side}: the parts", 60 + 2 * parts,
        )  # fmt: skip
    counted = json.loads((folder / AFTER_LINE).read_text())[WARM:]
    findings = Findings(
        "calls",
        "Calls of Python and C for a part, from the runtime's answer to RESULT_VALID, the median",
        {"parts": parts, "side": side, **network.told},
    )
    findings.rows = rows(counted)
    return findings


def rows(counted: Sequence[Mapping[str, int]]) -> list[dict[str, object]]:
    """Return a row for each package and one for all, the most first.

    Args:
        counted: for each part, module name to calls.
    """
    parts = [_by_package(one) for one in counted]
    names = {name for part in parts for name in part}
    median = {name: statistics.median(part[name] for part in parts) for name in names}
    all_of_them = statistics.median(part.total() for part in parts)
    found: list[dict[str, object]] = [{"name": "all", "calls": round(all_of_them)}]
    for name in sorted(names, key=lambda name: (-median[name], name)):
        if median[name] >= 1:
            found.append({"name": name, "calls": round(median[name])})
    return found


def _by_package(modules: Mapping[str, int]) -> Counter[str]:
    found: Counter[str] = Counter()
    for module, calls in modules.items():
        found[_package(module)] += calls
    return found


def _package(module: str) -> str:
    """Return what a module is counted under: `sqlalchemy`, `inspection.store`, `inspection.station`, …"""
    names = module.split(".")
    return ".".join(names[:2]) if names[0] == "inspection" else names[0]
