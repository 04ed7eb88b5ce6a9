"""`inspection bench scale`: what it costs when there is more of it.

    cameras      1, 2, 4, 8 lines on one service, each with its PLC, at a fixed takt   ┐
    megapixels   1 to 20 through one line                                              ├─▶ findings ─▶ plot
    results      10^3 to 10^6 parts: what the review and the quality page ask          │
    replicas     of the service on Ray, images per second                              ┘

Each part can be left out. Only the sizes of `results` take turns; lines and replicas are started anew for
each size, one after the other.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspection.errors import ConfigError
from inspection_bench.measured import Findings
from inspection_bench.network import FRAME, Network

FULL: dict[str, tuple[float, ...]] = {
    "cameras": (1, 2, 4, 8),
    "megapixels": (1.0, 2.0, 5.0, 10.0, 20.0),
    "rows": (1_000, 10_000, 100_000, 1_000_000),
    "replicas": tuple(range(1, min(4, os.cpu_count() or 1) + 1)),
}
SHORT: dict[str, tuple[float, ...]] = {
    "cameras": (1, 2),
    "megapixels": (1.0, 5.0),
    "rows": (1_000, 10_000, 100_000),
    "replicas": (1, 2),
}
PARTS = ("cameras", "megapixels", "results", "replicas")


@dataclass(frozen=True, slots=True)
class ScalePlan:
    """What is measured; a part whose sizes are empty is left out.

    Attributes:
        cameras: lines at once.
        megapixels: of a frame.
        rows: parts in the store.
        replicas: of the service, on Ray.
        parts: of each line that count.
        takt: seconds from part to part of each line.
        frame: height and width of the frames of `cameras`, pixels.
        frames: that go round.
        times: each query, in each store.
        seconds: how long clients ask the replicas.
        precision: f32, bf16 or int8; empty: bf16 if there.
        days: that the results of every store are of; 0: the more results, the more days.
        postgres: stores are databases of a server that is started as the tests do.
    """

    cameras: tuple[int, ...]
    megapixels: tuple[float, ...]
    rows: tuple[int, ...]
    replicas: tuple[int, ...]
    parts: int = 40
    takt: float = 1.0
    frame: tuple[int, int] = FRAME
    frames: int = 4
    times: int = 100
    seconds: float = 6.0
    precision: str = ""
    days: float = 0.0
    postgres: bool = False

    @property
    def needs_network(self) -> bool:
        """Whether anything of it looks at pictures."""
        return bool(self.cameras or self.megapixels or self.replicas)


def sizes(what: str, text: str, *, short: bool) -> tuple[Any, ...]:
    """Return the sizes of a part, the smallest first.

    Args:
        what: cameras, megapixels, rows or replicas.
        text: sizes with commas between; `none` for no size; empty for those of FULL or SHORT.
        short: take SHORT.

    Raises:
        ConfigError: the text says no sizes.
    """
    if not text:
        return (SHORT if short else FULL)[what]
    if text.strip() == "none":
        return ()
    kind = float if what == "megapixels" else int
    try:
        found = sorted({kind(one) for one in text.split(",")})
    except ValueError as error:
        raise ConfigError(f"--{what} {text!r} is not sizes with commas between, or none") from error
    if found[0] <= 0:
        raise ConfigError(f"--{what} {text!r}: a size is more than 0; none leaves it out")
    return tuple(found)


def measure(network: Network | None, work: Path, plan: ScalePlan) -> Findings:
    """Measure the parts of the plan one after the other; return what was found.

    Args:
        network: None where the plan needs none.
        work: folder of the benchmarks; frames, stores and logs go into `scale` in it.
        plan: what is measured.

    Raises:
        InspectionError: a process did not start, or died.
        ConfigError: results are asked for, and this is no checkout.
    """
    folder = work / "scale"
    folder.mkdir(parents=True, exist_ok=True)
    findings = Findings("scale", "Cost, as work grows", {})
    if network is not None:
        precision = plan.precision or ("bf16" if "bf16" in network.precisions else "f32")
        findings.settings |= {**network.told, "precision": precision}
        if plan.cameras or plan.megapixels:
            from inspection_bench.scale_lines import measure_lines

            findings.settings |= {"parts": plan.parts, "takt": plan.takt}
            measure_lines(findings, network, folder, plan, precision)
        if plan.replicas:
            from inspection_bench.scale_replicas import measure_replicas

            findings.settings |= {"seconds": plan.seconds}
            measure_replicas(findings, network, folder, plan, precision)
    if plan.rows:
        from inspection_bench.scale_rows import measure_rows

        findings.settings |= {"times": plan.times, "days": plan.days or "100,000 results a month"}
        findings.settings["store"] = "PostgreSQL" if plan.postgres else "SQLite"
        measure_rows(findings, folder, plan)
    return findings


def draw_scale(found: dict[str, Any], path: Path) -> None:
    """Draw one plot for each part that was measured, two beside each other, into one PNG file.

    Args:
        found: of `Findings.as_json`, or of the JSON file.
        path: written; nothing where nothing was measured.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    rows = [(name, [row for row in found["rows"] if row["part"] == name]) for name in PARTS]
    there = [(name, own) for name, own in rows if own]
    if not there:
        return
    across, down = min(2, len(there)), -(-len(there) // 2)
    figure, grid = plt.subplots(down, across, figsize=(5 * across, 4.2 * down), squeeze=False)
    for axes in grid.flat[len(there) :]:
        axes.set_visible(False)
    for axes, (name, own) in zip(grid.flat, there, strict=False):
        if name == "results":
            _draw_queries(axes, own)
        elif name == "replicas":
            axes.bar([row["name"] for row in own], [row["per_second"] for row in own])
            axes.tick_params(axis="x", labelrotation=20)
            axes.set_ylabel("images per second")
        else:
            _draw_lines(axes, own, name)
        axes.set_title(name, fontsize=10)
        axes.grid(True, alpha=0.3)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_lines(axes: Any, rows: list[dict[str, Any]], name: str) -> None:
    words = {
        "p50_ms": "trigger to PLC, p50",
        "p99_ms": "trigger to PLC, p99",
        "cpu_ms_per_part": "CPU of a part",
    }
    for key, label in words.items():
        told = [(row["x"], row[key]) for row in rows if key in row]
        axes.plot([x for x, _ in told], [y for _, y in told], "o-", label=label)
    axes.set_xscale("log", base=2)
    axes.set_xticks([row["x"] for row in rows], [f"{row['x']:g}" for row in rows])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("lines on one service" if name == "cameras" else "megapixels of a frame")
    axes.set_ylabel("milliseconds")
    axes.legend(fontsize=8)


def _draw_queries(axes: Any, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        at = {int(size): told["p50_ms"] for size, told in row["at"].items()}
        style = "o-" if row["name"].startswith("review") else "s--"
        axes.plot(list(at), list(at.values()), style, label=row["name"], markersize=4)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("results in the store")
    axes.set_ylabel("milliseconds, p50")
    axes.legend(fontsize=6, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
