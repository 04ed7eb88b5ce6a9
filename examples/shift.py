"""A shift of real part images on the line: every image is a part, through real sockets.

    python examples/shift.py RELEASES PART NUMBER --good DIR_OR_GLOB --bad DIR_OR_GLOB --to FOLDER

The folder camera shows the images in shuffled order, the simulated PLC triggers them, and the table
counts escapes (bad parts that passed) and overkill (good parts that did not). Prints one JSON object
with `--json`. Exit code 1 when store and PLC disagree or `inspection verify` finds a breach.
"""

from __future__ import annotations

import argparse
import glob
import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from inspection.demo.figures import read_rows
from inspection.demo.station_files import free_port
from inspection.plc.simulated import SimulatedPlc
from inspection.plc.simulated_config import SimulatedPlcConfig
from inspection.up import Supervisor, station_processes


@dataclass(frozen=True)
class Counted:
    """What a shift of real images came to."""

    bad: int
    escapes: int
    good: int
    overkill: int
    review: int
    not_inspected: int
    p50_ms: float
    p99_ms: float
    agrees: bool
    escaped: list[str]


def run_shift(
    folder: Path,
    images: Sequence[tuple[Path, bool]],
    *,
    releases: Path,
    part: str,
    number: int,
    recipe: dict[str, Any] | None = None,
    takt: float = 0.3,
    seed: int = 1,
    runtime: str = "service",
) -> Counted:
    """Run images through service, line and simulated PLC, in shuffled order.

    Args:
        folder: for everything that is written; must not hold an earlier shift.
        images: (path, defective) of each part.
        releases: folder of released models.
        part: name of the part.
        number: release number.
        recipe: more lines for the recipe: limits, regions.
        takt: seconds from part to part.
        seed: of the order.
        runtime: service, openvino or onnxruntime.
    """
    order = list(images)
    random.Random(seed).shuffle(order)
    station = _write_files(folder, order, releases, part, number, recipe or {}, runtime)
    truth = {index: (path.name, bad) for index, (path, bad) in enumerate(order, start=1)}
    port = int(yaml.safe_load(station.read_text())["plc"]["port"])
    log = folder / "plc.log"
    plc = SimulatedPlc(
        SimulatedPlcConfig(
            port=port, parts=len(order), takt=takt, log=log, ready_timeout=120.0, result_timeout=5.0
        )
    )
    with plc, Supervisor() as supervisor:
        for name, arguments in station_processes(station).items():
            supervisor.start(name, arguments, folder / f"{name}.log")
        end = time.monotonic() + 120 + 5 * len(order)
        while not plc.wait(0.2) and time.monotonic() < end:
            supervisor.mend()
    return _count(folder, log, truth)


def _write_files(
    folder: Path,
    order: Sequence[tuple[Path, bool]],
    releases: Path,
    part: str,
    number: int,
    recipe: dict[str, Any],
    runtime: str,
) -> Path:
    parts = folder / "parts"
    parts.mkdir(parents=True)
    (folder / "recipes").mkdir()
    for index, (path, _) in enumerate(order, start=1):
        shutil.copyfile(path, parts / f"{index}{path.suffix}")
    content = {"number": 1, "part": part, "release": number, "deadline": 3.0, **recipe}
    (folder / "recipes" / "1.yaml").write_text(yaml.safe_dump(content))
    where: dict[str, Any] = {"type": runtime}
    if runtime == "service":
        where["url"] = f"http://127.0.0.1:{free_port()}"
    station = {
        "station": "images",
        "plc": {"type": "modbus", "host": "127.0.0.1", "port": free_port()},
        "camera": {"type": "folder", "path": "parts", "order": "part_id"},
        "runtime": where,
        "releases": str(releases.resolve()),
        "recipe": 1,
        "store": {"url": "results.db"},
        "timing": {"poll": 0.003, "inference_timeout": 3.0, "camera_timeout": 2.0},
    }
    path = folder / "station.yaml"
    path.write_text(yaml.safe_dump(station))
    return path


def _count(folder: Path, log: Path, truth: dict[int, tuple[str, bool]]) -> Counted:
    events = [json.loads(line) for line in log.read_text().splitlines()]
    outcomes = {e["part_id"]: e for e in events if e["event"] == "outcome"}
    rows = {row["part_id"]: row for row in read_rows(folder / "results.db")}
    passed = {part for part, event in outcomes.items() if event["passed"]}
    bad = {part for part, (_, is_bad) in truth.items() if is_bad}
    good = truth.keys() - bad
    waited = sorted(event["waited"] for event in outcomes.values()) or [float("nan")]
    same = rows.keys() == outcomes.keys() == truth.keys() and all(
        rows[part]["decision"].lower() == event["cause"] for part, event in outcomes.items()
    )
    verify = subprocess.run(
        [
            sys.executable, "-m", "inspection", "verify", str(folder / "results.db"),
            "--images", str(folder / "images"), "--plc-log", str(log),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    (folder / "verify.txt").write_text(verify.stdout + verify.stderr)
    decisions = [row["decision"] for row in rows.values()]
    return Counted(
        bad=len(bad),
        escapes=len(bad & passed),
        good=len(good),
        overkill=len(good - passed),
        review=decisions.count("REVIEW"),
        not_inspected=decisions.count("NOT_INSPECTED"),
        p50_ms=waited[len(waited) // 2] * 1e3,
        p99_ms=waited[int(len(waited) * 0.99)] * 1e3,
        agrees=same and verify.returncode == 0,
        escaped=sorted(truth[part][0] for part in bad & passed),
    )


def main() -> int:
    """Run one shift from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("releases", type=Path)
    parser.add_argument("part")
    parser.add_argument("number", type=int)
    parser.add_argument("--good", nargs="+", required=True, help="images or patterns of good parts")
    parser.add_argument("--bad", nargs="+", required=True, help="images or patterns of bad parts")
    parser.add_argument("--to", type=Path, required=True, help="folder for the shift's files")
    parser.add_argument("--recipe", type=Path, help="YAML with limits and regions for the recipe")
    parser.add_argument("--takt", type=float, default=0.3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    images = [(Path(p), False) for pattern in options.good for p in sorted(glob.glob(pattern))]
    images += [(Path(p), True) for pattern in options.bad for p in sorted(glob.glob(pattern))]
    counted = run_shift(
        options.to,
        images,
        releases=options.releases,
        part=options.part,
        number=options.number,
        recipe=yaml.safe_load(options.recipe.read_text()) if options.recipe else None,
        takt=options.takt,
    )
    if options.json:
        print(json.dumps(vars(counted)))
    else:
        print(
            f"{counted.bad} bad parts: {counted.escapes} escaped; {counted.good} good parts: "
            f"{counted.overkill} overkill; {counted.review} in review, "
            f"{counted.not_inspected} not inspected; trigger→answer p50 {counted.p50_ms:.0f} ms, "
            f"p99 {counted.p99_ms:.0f} ms; store and PLC {'agree' if counted.agrees else 'DISAGREE'}"
        )
    return 0 if counted.agrees else 1


if __name__ == "__main__":
    sys.exit(main())
