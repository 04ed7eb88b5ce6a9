"""The benchmarks that are programs of their own: what they print becomes the findings.

`web`: four of them, in short form or as they are by default. `plc`: every PLC link. `train`: both sides,
seed by seed.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from inspection.errors import InspectionError
from inspection_bench.checkout import ROOT, tests_folder
from inspection_bench.measured import Findings, Ratio, milliseconds, quantile
from inspection_datasets.manifest import load_version

WEB = ("review", "results", "quality", "line")
SEEDS = 3
"""Over so many seeds the mAP50 of both sides is promised to be the same."""
MAP50_WITHIN = 0.01
LEARNED = 0.5
"""Under this mAP50 of the command a difference means nothing."""


def web(work: Path, pages: tuple[str, ...], results: int, *, short: bool) -> Findings:
    """Run the benchmarks of the pages, one after the other.

    Args:
        work: folder for stores.
        pages: of WEB; empty: all.
        results: rows in the store of each; 0: its own default.
        short: few parts, presses and repeats.

    Raises:
        InspectionError: one failed.
        ConfigError: this is no checkout.
    """
    tests_folder()
    findings = Findings(
        "web", "The pages, in seconds that a person waits", {"results": results, "short": short}
    )
    few = {
        "review": ["--presses", "10"],
        "results": [],
        "quality": ["--times", "5"],
        "line": ["--parts", "20", "--rounds", "1"],
    }
    option = {"results": "--rows"}
    for name in pages or WEB:
        arguments = [str(work / f"web-{name}")] if name in {"results", "quality"} else []
        for folder in arguments:
            Path(folder).mkdir(parents=True, exist_ok=True)
        if results:
            arguments += [option.get(name, "--results"), str(results)]
        if short:
            arguments += few[name]
        begun = time.monotonic()
        lines = run(f"web_{name}", arguments)
        took = round(time.monotonic() - begun, 1)
        findings.rows.append({"name": name, "took_s": took, "lines": lines})
        findings.notes += [f"{name}: {line}" for line in lines]
    return findings


def plc(work: Path, parts: int, rounds: int) -> Findings:
    """Run the links in turns; the ratio is to Modbus.

    Raises:
        InspectionError: a link failed.
        ConfigError: this is no checkout.
    """
    tests_folder()
    file = _file(work, "plc_links.json")
    run("plc_links", ["--parts", str(parts), "--rounds", str(rounds), "--json", str(file)])
    findings = Findings(
        "plc",
        "Trigger to answer over every PLC link, a small model",
        {"parts": parts, "rounds": rounds},
    )
    for name, of in json.loads(file.read_text()).items():
        row: dict[str, Any] = {"name": name, **milliseconds(of["answers"])}
        row["read_p50_ms"] = round(1000 * quantile(of["reads"], 0.5), 3)
        row["not_inspected"] = of["not_inspected"]
        findings.rows.append(row)
    return findings


def train(work: Path, data: Path, weights: Path, options: list[str]) -> Findings:
    """Train both sides with each seed; speed and mAP50 are compared with ultralytics' command.

    Raises:
        InspectionError: a training failed.
    """
    file = _file(work, "train.json")
    run("train", [str(data), str(weights), *options, "--json", str(file)])
    found = json.loads(file.read_text())
    findings = Findings(
        "train", "Training: images a second, and mAP50 of the val images", {"options": options}
    )
    findings.settings["dataset"] = load_version(data).name
    findings.settings |= {"images": found["images"], "val": found["val"]}
    for name, seconds in found["median"].items():
        rate = round(found["images"] / seconds, 1)
        row: dict[str, Any] = {
            "name": name,
            "epoch_s": round(seconds, 2),
            "images_per_second": rate,
        }
        row["map50_mean"] = f"{statistics.fmean(found['map50'][name]):.4f}"
        row["map50"] = [round(value, 4) for value in found["map50"][name]]
        findings.rows.append(row)
    findings.compare("ours", "ultralytics", "epoch_s", 1.8)
    findings.compare("ours f32", "ultralytics", "epoch_s")
    compare_map50(findings, found["map50"])
    return findings


def compare_map50(findings: Findings, map50: dict[str, list[float]]) -> None:
    """Add how far the mean mAP50 of ours lies from the command's; promised over `SEEDS` seeds.

    Networks that found little are not judged: they are alike in that.

    Args:
        findings: gets a ratio for each of ours, and a note with its sign and its seeds.
        map50: of each side, seed by seed.
    """
    theirs = map50.get("ultralytics")
    if theirs is None:
        return
    learned = statistics.fmean(theirs) >= LEARNED
    enough = learned and len(theirs) >= SEEDS
    for name in ("ours", "ours f32"):
        if name not in map50:
            continue
        by_seed = [mine - other for mine, other in zip(map50[name], theirs, strict=True)]
        mean = statistics.fmean(by_seed)
        findings.ratios.append(
            Ratio(
                f"mAP50: difference of {name} and ultralytics, mean of {len(theirs)} seeds",
                round(abs(mean), 4),
                MAP50_WITHIN if enough else None,
                at_most=True,
            )
        )
        told = f"by seed: {', '.join(f'{value:+.4f}' for value in by_seed)}"
        if len(by_seed) > 1:
            told += f"; the mean of all seeds, 95 %: {_mean_interval(by_seed)}"
        findings.notes.append(f"mAP50 of {name} less ultralytics: {mean:+.4f} ({told})")
    if not learned:
        findings.notes.append(
            f"the command's mAP50 is under {LEARNED:g}: too little was learned to compare; more --epochs"
        )
    if len(theirs) < SEEDS:
        findings.notes.append(
            f"mAP50 within {MAP50_WITHIN:g} is promised over {SEEDS} seeds: --seeds {SEEDS}"
        )


def _mean_interval(values: list[float]) -> str:
    """Return the bounds of Student's interval for the mean, two-sided 95 %."""
    from scipy.stats import t

    reach = float(t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
    middle = statistics.fmean(values)
    return f"{middle - reach:+.4f} to {middle + reach:+.4f}"


def _file(work: Path, name: str) -> Path:
    work.mkdir(parents=True, exist_ok=True)
    return (work / name).resolve()


def run(module: str, arguments: list[str]) -> list[str]:
    """Run a benchmark's program; return the lines it printed.

    Raises:
        InspectionError: it failed; the message holds its last words.
    """
    command = [sys.executable, "-m", f"inspection_bench.{module}", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr)[-2000:]
        raise InspectionError(f"the benchmark {module} failed ({done.returncode}):\n{said}")
    return done.stdout.splitlines()
