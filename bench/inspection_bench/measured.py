"""What a benchmark found: numbers, the machine they were taken on, and the files they go to.

times ─▶ summary ─▶ Findings ─┬─▶ table on the terminal
                              ├─▶ JSON: settings, rows, ratios, machine, load, versions
                              └─▶ plot, where matplotlib is
"""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from inspection.variants import processor

LIBRARIES = (
    "inspection", "numpy", "opencv-python", "openvino", "onnxruntime", "torch", "ultralytics", "sahi",
    "fastapi", "sqlalchemy", "pymodbus", "tritonclient",
)  # fmt: skip
HIDDEN = ("table", "part", "x")
"""Keys of a row that are no column: the heading of its table, what it is part of, its place on a plot."""


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value under which this share of all lies, by the nearest rank. Needs one value."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]


def milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    """Return number, p50 and p99 of some times; empty for none."""
    if not seconds:
        return {}
    return {
        "n": len(seconds),
        "p50_ms": round(1000 * quantile(seconds, 0.5), 3),
        "p99_ms": round(1000 * quantile(seconds, 0.99), 3),
    }


def machine() -> dict[str, Any]:
    """Return what numbers depend on: processor, cores, load, versions, time."""
    versions: dict[str, str] = {}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "processor": processor() or platform.processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions,
    }


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times better ours is.

    Attributes:
        of: what is compared, in words.
        value: theirs divided by ours (times), or ours by theirs (throughput).
        wanted: the least value that the project promises; None: none is promised.
        at_most: `wanted` is the largest value instead, for what should grow or differ little.
    """

    of: str
    value: float
    wanted: float | None = None
    at_most: bool = False

    @property
    def held(self) -> bool | None:
        """Whether the promise was kept."""
        if self.wanted is None:
            return None
        return self.value <= self.wanted if self.at_most else self.value >= self.wanted


@dataclass
class Findings:
    """All that one run found.

    Attributes:
        bench: name of the benchmark.
        title: what it measures, in words.
        settings: how it was run.
        rows: one for each contestant; the same keys where they have the same. Rows with the same `table`
            are shown as a table of their own, with that heading.
        ratios: ours against theirs.
        notes: what else a reader must know.
    """

    bench: str
    title: str
    settings: dict[str, Any]
    rows: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    ratios: list[Ratio] = field(default_factory=list[Ratio])
    notes: list[str] = field(default_factory=list[str])
    began: dict[str, Any] = field(default_factory=machine)

    def compare(
        self, ours: str, theirs: str, key: str = "p50_ms", wanted: float | None = None
    ) -> None:
        """Add theirs divided by ours, when both were measured."""
        found = {row["name"]: row.get(key) for row in self.rows}
        mine, other = found.get(ours), found.get(theirs)
        if mine and other:
            what = f"{key.removesuffix('_ms')}: {theirs} / {ours}"
            self.ratios.append(Ratio(what, round(other / mine, 2), wanted))

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "bench": self.bench, "title": self.title, "settings": self.settings, "rows": self.rows,
            "ratios": [{**asdict(ratio), "held": ratio.held} for ratio in self.ratios],
            "notes": self.notes, "machine": self.began, "load_at_end": os.getloadavg()[0],
        }  # fmt: skip


def finish(findings: Findings, as_json: Path | None, plot: Path | None) -> None:
    """Print the tables, and write the files that were asked for."""
    print_tables(findings)
    if as_json is not None:
        as_json.parent.mkdir(parents=True, exist_ok=True)
        as_json.write_text(json.dumps(findings.as_json(), indent=1) + "\n", encoding="utf-8")
    if plot is not None:
        plot.parent.mkdir(parents=True, exist_ok=True)
        draw(findings, plot)


def print_tables(findings: Findings) -> None:
    """Print rows, ratios and notes."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    began = findings.began
    load = f"load {began['load']} to {os.getloadavg()[0]:.1f}"
    title = f"{findings.title}\n{began['processor']}, {began['cores']} cores, {load}"
    for told, rows in tables(findings.rows):
        table = Table(title="\n".join(line for line in (title, told) if line))
        keys, title = columns(rows), ""
        for key in keys:
            table.add_column(heading(key), justify="left" if key == "name" else "right")
        for row in rows:
            table.add_row(*(cell(row.get(key)) for key in keys))
        console.print(table)
    for ratio in findings.ratios:
        least = "at most " if ratio.at_most else ""
        wanted = "" if ratio.wanted is None else f" (promised: {least}{ratio.wanted:g})"
        missed = "  [bold red]MISSED[/]" if ratio.held is False else ""
        console.print(f"{ratio.of} = {times(ratio.value)}{wanted}{missed}", highlight=False)
    for note in findings.notes:
        console.print(note, highlight=False)


def tables(rows: Sequence[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return heading and rows of each table, in the order in which they come."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row.get("table", ""), []).append(row)
    return list(found.items()) or [("", [])]


def columns(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the keys of all rows whose values fit a cell, in the order in which they come."""
    keys = [key for row in rows for key, value in row.items() if not isinstance(value, dict | list)]
    return [key for key in dict.fromkeys(keys) if key not in HIDDEN]


def times(value: float) -> str:
    """Return a ratio with the digits that mean something: 4.03, 0.012."""
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"


def heading(key: str) -> str:
    """Return a column's heading: `p50_ms` is `p50 ms`."""
    return "" if key == "name" else key.replace("_", " ")


def cell(value: Any) -> str:
    """Return a value as a cell of a table."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"
    return str(value)


def draw(findings: Findings, path: Path) -> None:
    """Draw the p50 of each row as a bar, and its p99 as a mark; nothing where no row has times."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    rows = [row for row in findings.rows if "p50_ms" in row]
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.4 * max(1, len(rows))))
    names = [row["name"] for row in rows]
    ours = ["#2a78d6" if name.startswith("ours") else "#9aa0a6" for name in names]
    axes.barh(names, [row["p50_ms"] for row in rows], color=ours)
    axes.plot([row["p99_ms"] for row in rows], names, "|", color="black", markersize=12)
    axes.invert_yaxis()
    axes.set_xlabel("milliseconds: bar p50, mark p99")
    axes.set_title(findings.title, fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
