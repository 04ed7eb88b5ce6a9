"""Long shifts with real processes: throughput and memory, and kill -9 at random moments.

    python tests/soak.py                    the long versions, a summary line each, exit 0 when clean
    python tests/soak.py --parts 200 --kills 9 --seed 3

The tests in tests/line run the same functions for a shorter time.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from station_rig import Rig, until

from inspection.plc.plc_log import Counters, History
from inspection.up import Supervisor


@dataclass(frozen=True)
class Report:
    """What one shift came to; `breaches` is empty when everything held."""

    parts: int
    rows: int
    passes: int
    kills: dict[str, int]
    seconds: float
    p50: float
    p99: float
    memory: dict[str, tuple[float, float]]
    breaches: list[str]

    def line(self, name: str) -> str:
        """One line for people and logs."""
        memory = ", ".join(f"{k} {a:.0f}→{b:.0f} MB" for k, (a, b) in self.memory.items())
        kills = ", ".join(f"{k} {n}" for k, n in self.kills.items())
        verdict = "CLEAN" if not self.breaches else "BREACH: " + "; ".join(self.breaches)
        return (
            f"{name}: {self.parts} parts, {self.rows} rows, {self.passes} passed, "
            f"trigger→answer p50 {self.p50 * 1e3:.1f} ms p99 {self.p99 * 1e3:.1f} ms, "
            f"{self.seconds:.0f} s" + (f", kills: {kills}" if kills else "")
            + (f", memory: {memory}" if memory else "") + f" — {verdict}"
        )  # fmt: skip


class Shift:
    """Service, line and simulated PLC as supervised processes in one folder."""

    def __init__(
        self, folder: Path, *, parts: int, takt: float, patience: float, seed: int
    ) -> None:
        self.rig = Rig(
            folder,
            runtime={"type": "service"},
            camera={"seed": seed, "defect_rate": 0.2},
            store={"images": {"ok_every": 10}},
        )
        self.parts = parts
        self.supervisor = Supervisor(backoff=(0.05,))
        self.memory: dict[str, list[float]] = {"line": [], "serve": []}
        self.started = time.monotonic()
        self._plc = [
            "plc-sim", "--port", str(self.rig.plc_port), "--parts", str(parts), "--takt", str(takt),
            "--ack-timeout", str(patience), "--result-timeout", str(patience),
            "--log", str(self.rig.plc_log), "--json",
        ]  # fmt: skip

    def start(self) -> None:
        rig, logs = self.rig, self.rig.folder
        service = ["serve", "--releases", str(rig.releases), "--port", str(rig.service_port)]
        self.supervisor.start("serve", [*service, "--threads", "1"], logs / "serve.log")
        self.supervisor.start("line", ["line", str(logs / "station.yaml")], logs / "line.log")
        self.supervisor.start("plc", self._plc, logs / "plc-sim.log", finite=True)

    def done(self) -> bool:
        self.supervisor.mend()
        return self.supervisor.done("plc")

    def sample_memory(self) -> None:
        for name, values in self.memory.items():
            try:
                statm = Path(f"/proc/{self.supervisor.pid(name)}/statm").read_text().split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            values.append(int(statm[1]) * 4096 / 1e6)

    def report(self, kills: dict[str, int]) -> Report:
        """Stop everything, run `verify`, and compare the PLC's counters with the store."""
        self.supervisor.stop()
        rig = self.rig
        rows = rig.rows()
        history = History(next_seq=1)
        for event in rig.events():
            history.apply(event)
        counters = history.counters
        breaches = self._compare(rows, counters)
        checked = subprocess.run(
            [
                sys.executable, "-m", "inspection", "verify", str(rig.database),
                "--images", str(rig.folder / "images"), "--plc-log", str(rig.plc_log),
            ],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if checked.returncode:
            breaches.append("verify: " + checked.stdout[-2000:] + checked.stderr[-500:])
        waited = sorted(
            e["waited"] for e in rig.events() if e["event"] == "outcome" and e["record"]
        )
        memory = {
            name: (sum(v[len(v) // 4 : len(v) // 2]) / max(1, len(v) // 2 - len(v) // 4), v[-1])
            for name, v in self.memory.items()
            if len(v) >= 8
        }
        return Report(
            parts=counters.triggers,
            rows=len(rows),
            passes=counters.passes,
            kills=kills,
            seconds=time.monotonic() - self.started,
            p50=waited[len(waited) // 2] if waited else float("nan"),
            p99=waited[int(len(waited) * 0.99)] if waited else float("nan"),
            memory=memory,
            breaches=breaches,
        )

    def _compare(self, rows: list[dict], counters: Counters) -> list[str]:
        breaches = []
        if counters.triggers != self.parts:
            breaches.append(f"{counters.triggers} triggers for {self.parts} parts")
        keys = {(row["part_id"], row["sequence"]) for row in rows}
        if len(rows) != counters.triggers or len(keys) != len(rows):
            breaches.append(
                f"{len(rows)} rows, {len(keys)} different, {counters.triggers} triggers"
            )
        passed = {
            e["part_id"] for e in self.rig.events() if e["event"] == "outcome" and e["passed"]
        }
        proven = {row["part_id"] for row in rows if row["decision"] == "PASS"}
        if not passed <= proven:
            breaches.append(f"passed without a PASS row: parts {sorted(passed - proven)[:5]}")
        bad = {row["part_id"] for row in rows if (row["truth"] or "{}") != "{}"}
        seen = {row["part_id"] for row in rows if any(c in (row["truth"] or "") for c in _FOUND)}
        if seen & passed:
            breaches.append(f"defective parts passed: {sorted(seen & passed)[:5]} of {len(bad)}")
        return breaches


_FOUND = ("scratch", "dent", "missing_hole")  # what the marker release can see


def run_steady(folder: Path, *, parts: int, takt: float = 0.15, seed: int = 1) -> Report:
    """A shift without disturbance: every part answered in time, memory flat."""
    shift = Shift(folder, parts=parts, takt=takt, patience=2.0, seed=seed)
    with shift.supervisor:
        shift.start()
        pause = threading.Event()
        end = time.monotonic() + 60 + parts * takt * 3
        while not shift.done() and time.monotonic() < end:
            shift.sample_memory()
            pause.wait(0.5)
        done = shift.done()
        report = shift.report({})
    breaches = list(report.breaches) + ([] if done else ["the shift did not end in time"])
    rows = shift.rig.rows()
    late = [row["id"] for row in rows if row["decision"] == "NOT_INSPECTED"]
    if late:
        breaches.append(f"not inspected: {len(late)} parts, {rows[late[0] - 1]['reason']}")
    for name, (before, after) in report.memory.items():
        if after > before * 1.1 + 8:
            breaches.append(f"{name} grew from {before:.0f} to {after:.0f} MB")
    return Report(**{**report.__dict__, "breaches": breaches})


def run_kills(folder: Path, *, kills: int, seed: int = 1) -> Report:
    """A shift in which line, service and PLC are killed in turn, at random moments."""
    chance = random.Random(seed)
    shift = Shift(folder, parts=kills * 25, takt=0.05, patience=30.0, seed=seed)
    counts = {"line": 0, "serve": 0, "plc": 0}
    pause = threading.Event()
    with shift.supervisor:
        shift.start()
        until(lambda: shift.rig.plc_log.exists() and _outcomes(shift) > 3, 60, "the first parts")
        while sum(counts.values()) < kills and not shift.done():
            name = list(counts)[sum(counts.values()) % 3]
            before = _outcomes(shift)
            pause.wait(chance.uniform(0.0, 0.4))
            if not shift.supervisor.kill(name):
                shift.done()
                continue
            counts[name] += 1
            end = time.monotonic() + 60
            while _outcomes(shift) < before + 3 and not shift.done() and time.monotonic() < end:
                pause.wait(0.02)
        end = time.monotonic() + 120 + shift.parts * 0.5
        while not shift.done() and time.monotonic() < end:
            pause.wait(0.1)
        done = shift.done()
        report = shift.report(counts)
    breaches = list(report.breaches)
    if not done:
        breaches.append("the shift did not end in time")
    if sum(counts.values()) < kills:
        breaches.append(f"only {sum(counts.values())} kills before the shift was over")
    return Report(**{**report.__dict__, "breaches": breaches, "memory": {}})


def _outcomes(shift: Shift) -> int:
    return shift.rig.plc_log.read_bytes().count(b'"event": "outcome"')


def main() -> int:
    """Run both; exit 1 on any breach."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", type=int, default=1000, help="parts of the steady shift")
    parser.add_argument("--takt", type=float, default=0.15, help="seconds from part to part")
    parser.add_argument("--kills", type=int, default=60, help="kill -9 in all")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in ("steady", "kills"):
            (Path(folder) / name).mkdir()
        steady = run_steady(
            Path(folder) / "steady", parts=options.parts, takt=options.takt, seed=options.seed
        )
        print(steady.line("steady shift"), flush=True)
        killed = run_kills(Path(folder) / "kills", kills=options.kills, seed=options.seed)
        print(killed.line("shift with kills"), flush=True)
    return 1 if steady.breaches or killed.breaches else 0


if __name__ == "__main__":
    sys.exit(main())
