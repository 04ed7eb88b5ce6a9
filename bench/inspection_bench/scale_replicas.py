"""Images per second of the inference service: alone, and as replicas on a Ray cluster of this PC.

clients, a thread each ─shared memory─▶ inspection serve            ─▶ one process, one thread
                                      └▶ inspection serve --ray     ─▶ n replicas, one thread each
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from inspection_bench.measured import Findings, Ratio, milliseconds
from inspection_bench.network import Network
from inspection_bench.process_use import cpu_seconds, free_port, memory_mb
from inspection_bench.service import Call, ask_together, our_client, serve_network

if TYPE_CHECKING:
    from inspection_bench.scale import ScalePlan

START = 300.0
"""Seconds that a cluster gets to start on a loaded PC."""
CLIENTS = 4
"""Clients for each replica of the largest number; the same for all, so that only replicas differ."""
HEADING = "one thread for each replica, many clients at once"


def measure_replicas(
    findings: Findings, network: Network, folder: Path, plan: ScalePlan, precision: str
) -> None:
    """Add a row for the service alone and one for each number of replicas; a note where Ray is not."""
    if importlib.util.find_spec("ray") is None:
        findings.notes.append("replicas were not measured: pip install inspection[ray]")
        return
    logs = folder / "replicas"
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    clients, processors = CLIENTS * max(plan.replicas), os.cpu_count() or 1
    for number in (0, *plan.replicas):
        share = min(1.0, processors / max(1, number))
        options = ["--ray", "--replicas", str(number), "--cpus", f"{share:g}"] if number else []
        port = free_port()
        with serve_network(
            network, precision, port, logs, "--threads", "1", *options, patience=START
        ) as served:
            url = f"http://127.0.0.1:{port}"

            def make(url: str = url) -> AbstractContextManager[Call]:
                return our_client(network, precision, url)

            ask_together(make, clients, min(1.0, plan.seconds))  # warm
            before = cpu_seconds(served.pid)
            took, lasted = ask_together(make, clients, plan.seconds)
            spent, memory = cpu_seconds(served.pid) - before, memory_mb(served.pid)
        name = f"{number} replica{'s' * (number > 1)} on Ray" if number else "without Ray"
        row = {
            "name": name, **milliseconds(took), "per_second": round(len(took) / lasted, 1),
            "cpu_ms_per_image": round(1000 * spent / max(1, len(took)), 1), "memory_mb": round(memory),
        }  # fmt: skip
        heading = f"{HEADING}: {clients} clients"
        findings.rows.append({"table": heading, "part": "replicas", "x": number, **row})
        told = f"{name}: {row['per_second']} images per second"
        print(f"{told}, load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    rate = {row["x"]: row["per_second"] for row in findings.rows if row["part"] == "replicas"}
    for number in plan.replicas:
        least = min(plan.replicas)
        if number != least and rate[least]:
            of = f"images per second: {number} replicas / {least}"
            findings.ratios.append(Ratio(of, round(rate[number] / rate[least], 2)))
    if len(plan.replicas) and max(plan.replicas) >= processors:
        findings.notes.append(
            f"clients, front and replicas share {processors} processors: as many replicas as that "
            "cannot be as many times as fast"
        )
