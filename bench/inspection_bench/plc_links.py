"""Trigger to answer over every PLC link: the PLC raises TRIGGER, until its program has judged the answer.

    python -m inspection_bench.plc_links [--parts 100] [--rounds 3] [--scan 0.001] [--json FILE]

For each link a whole station runs on loopback: the simulated PLC serves the link's protocol, the line takes
a simulated picture, runs a small model, commits the row and answers. The links take turns, round by round,
so that the load of the PC is the same for all. Beside it stands what the link itself costs: one read of CTRL.

Prints one row for each link: p50 and p99 in milliseconds, the ratio to Modbus, and what was not inspected.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from inspection_bench.checkout import tests_folder

sys.path.insert(0, str(tests_folder()))

from plc_links import LINKS, Link
from plc_links.link import config
from station_rig import Rig


def measure(link: Link, folder: Path, parts: int, scan: float) -> dict[str, Any]:
    """Run one station for some parts; return the times in seconds."""
    log = folder / "plc.log"
    settings = config(
        parts=parts, takt=0.02, scan=scan, ack_timeout=5.0, result_timeout=10.0, log=log
    )
    with link.simulated(settings) as plc:
        rig = Rig(folder, camera={"defect_rate": 0.2}, timing={"poll": 0.002})
        rig.station["plc"] = link.settings(plc.port).model_dump(mode="json")
        rig.write()
        with rig.line():
            if not plc.wait(parts * 1.0 + 60):
                raise SystemExit(f"{link.label}: the shift did not end")
    triggered: dict[int, float] = {}
    answers: list[float] = []
    for line in log.read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "trigger":
            triggered[event["seq"]] = event["mono"]
        elif event["event"] == "outcome":
            answers.append(event["mono"] - triggered[event["seq"]])
    bad = sum(decision == "NOT_INSPECTED" for decision, _ in rig.decisions())
    return {"answers": answers[1:], "not_inspected": bad, "parts": plc.counters.triggers}


def read_times(link: Link, number: int) -> list[float]:
    """Return the seconds of so many readings of CTRL."""
    times: list[float] = []
    with link.simulated(config(takt=3600.0, recipe=0)) as plc:
        driver = link.open(plc.port)
        driver.connect()
        for _ in range(number):
            begun = time.perf_counter()
            driver.read_words(0, 16)
            times.append(time.perf_counter() - begun)
        driver.close()
    return times


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--parts", type=int, default=100, help="parts of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scan", type=float, default=0.001, help="cycle of the PLC program, s")
    parser.add_argument("--json", type=Path, help="write all times to this file")
    options = parser.parse_args()
    links = [link for link in LINKS if link.plc is not None]
    found: dict[str, dict[str, Any]] = {
        link.label: {"answers": [], "reads": [], "not_inspected": 0, "parts": 0} for link in links
    }
    for turn in range(options.rounds):
        for link in links:
            with tempfile.TemporaryDirectory() as folder:
                told = measure(link, Path(folder), options.parts, options.scan)
            of = found[link.label]
            of["answers"] += told["answers"]
            of["reads"] += read_times(link, 200)
            of["not_inspected"] += told["not_inspected"]
            of["parts"] += told["parts"]
            print(f"round {turn + 1}: {link.label}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    base = statistics.median(found["modbus"]["answers"])
    print("| link | read p50 | read p99 | answer p50 | answer p99 | to Modbus | not inspected |")
    print("|---|---|---|---|---|---|---|")
    for name, of in found.items():
        read, answer = of["reads"], of["answers"]
        cells = [1000 * quantile(read, 0.5), 1000 * quantile(read, 0.99)]
        cells += [1000 * quantile(answer, 0.5), 1000 * quantile(answer, 0.99)]
        times = " | ".join(f"{ms:.2f}" for ms in cells)
        ratio = statistics.median(answer) / base
        print(f"| {name} | {times} | {ratio:.2f} | {of['not_inspected']} of {of['parts']} |")
    print(f"load {os.getloadavg()[0]:.1f}; times in milliseconds")
    if options.json:
        options.json.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
