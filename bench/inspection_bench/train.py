"""Training, ours against the ultralytics command: time of an epoch, and what the network then finds.

    dataset version ─▶ exported as YOLO ─▶ `yolo detect train` ┐ in turns, seed by seed, a process each
                  └──────────────────────▶ our family ultralytics ┘ ─┬─▶ seconds of an epoch
    the val images, exported ─▶ ultralytics' own `val` of each last.pt ◀─┘ ─▶ mAP50

Both train the same network from the same weight file, on the same images with the same settings for the
same number of epochs, without validation, plots and files in between. The first epoch does not count for
the time, since it reads images and warms up, nor does the last, at whose end the command validates in any
case. Run it with the project's Python:

    python -m inspection_bench.train DATASET WEIGHTS.pt [--imgsz 320 --seeds 3 --epochs 8 --batch 16]
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

OURS = """
import json, sys
from pathlib import Path
from inspection_datasets.manifest import load_version
from inspection_training.experiment import load_experiment
from inspection_training.family import open_family
from inspection_training.progress import silent
given = json.loads(sys.argv[1])
experiment = load_experiment(None, given["experiment"])
run = Path(given["run"])
run.mkdir()
version = load_version(Path(given["data"]))
open_family("ultralytics").train(experiment, version, Path(given["weights"]), run, silent)
"""
EVALUATE = """
import json, sys
from pathlib import Path
from ultralytics import YOLO
given = json.loads(sys.argv[1])
told = {key: given[key] for key in ("data", "imgsz", "batch", "project")}
found = [
    float(YOLO(file).val(**told, split="val", device="cpu", workers=0, plots=False, verbose=False).box.map50)
    for file in given["files"]
]
Path(given["out"]).write_text(json.dumps(found))
"""
LR, WARMUP = 0.001, 1.0
"""With AdamW: both sides find most of the simulated plates' defects after few epochs."""
SIDES = ("ultralytics", "ours f32", "ours")
YOLO = str(Path(sys.executable).with_name("yolo"))
OFF = (
    "hsv_h",
    "hsv_s",
    "hsv_v",
    "degrees",
    "translate",
    "scale",
    "fliplr",
    "flipud",
    "mosaic",
    "erasing",
)


def main() -> None:
    """Train each side with each seed, measure what came of it, and print medians and means."""
    options = _options()
    sides = [name for name in SIDES if name in (options.sides or SIDES)]
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        os.environ["YOLO_CONFIG_DIR"] = str(work)
        _run([YOLO, "settings", *(f"{name}=False" for name in ("sync", "mlflow", "tensorboard"))])
        images, val = _export(options, work / "yolo")
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        files: dict[str, list[str]] = {name: [] for name in sides}
        for seed in range(options.seeds):
            for name in sides if seed % 2 == 0 else sides[::-1]:
                run = work / f"{name.replace(' ', '-')}-{seed}"
                found, weights = _train(name, options, work, run, seed)
                seconds[name] += found[1:-1]
                files[name].append(str(weights))
                told = [round(x, 2) for x in found]
                print(f"seed {seed}: {name}: {told} s an epoch", flush=True)
        map50 = _evaluate(options, work, files)
    _print(options, images, val, seconds, map50)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--model", default="yolov8n")
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--sides", nargs="+", choices=SIDES, help="default: everybody")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.epochs < 3:
        parser.error("--epochs is at least 3: the first and the last do not count")
    return options


def _export(options: argparse.Namespace, folder: Path) -> tuple[int, int]:
    """Write the images for their command and for the evaluation; return how many of train and val."""
    from inspection_datasets.exporting import export_dataset
    from inspection_datasets.manifest import load_version

    version = load_version(options.data)
    export_dataset(version, "yolo", folder)
    return len(version.select("train")), len(version.select("val"))


def _train(
    name: str, options: argparse.Namespace, work: Path, run: Path, seed: int
) -> tuple[list[float], Path]:
    """Train one side; return the seconds of all epochs and the last weights."""
    if name == "ultralytics":
        return _theirs(options, work, run, seed)
    return _ours(options, run, "f32" if name == "ours f32" else "auto", seed)


def _theirs(
    options: argparse.Namespace, work: Path, run: Path, seed: int
) -> tuple[list[float], Path]:
    settings = {
        "model": options.weights.resolve(), "data": work / "yolo" / "data.yaml", "project": run.parent,
        "name": run.name, "imgsz": options.imgsz, "batch": options.batch, "nbs": options.batch,
        "epochs": options.epochs, "val": False, "save": False, "plots": False, "device": "cpu",
        "workers": 0, "cache": "ram", "amp": False, "seed": seed, "deterministic": False,
        "optimizer": "AdamW", "lr0": LR, "warmup_epochs": WARMUP, "augmentations": "[]",
        **dict.fromkeys(OFF, 0.0),
    }  # fmt: skip
    _run([YOLO, "detect", "train", *(f"{key}={value}" for key, value in settings.items())])
    ends = _column(run / "results.csv", "time")
    return list(_differences([0.0, *ends])), run / "weights" / "last.pt"


def _differences(ends: list[float]) -> Iterator[float]:
    return (later - earlier for earlier, later in itertools.pairwise(ends))


def _ours(
    options: argparse.Namespace, run: Path, precision: str, seed: int
) -> tuple[list[float], Path]:
    experiment = {
        "model": options.model, "imgsz": options.imgsz, "batch": options.batch, "precision": precision,
        "epochs": options.epochs, "seed": seed, "augment": "none", "validations": 0, "optimizer": "AdamW",
        "lr": LR, "warmup_epochs": WARMUP, "good_share": 0.99, "device": "cpu",
    }  # fmt: skip
    given = {
        "experiment": experiment,
        "run": str(run),
        "data": str(options.data),
        "weights": str(options.weights),
    }
    _run([sys.executable, "-c", OURS, json.dumps(given)])
    return _column(run / "curves.csv", "seconds"), run / "ultralytics" / "weights" / "last.pt"


def _evaluate(
    options: argparse.Namespace, work: Path, files: dict[str, list[str]]
) -> dict[str, list[float]]:
    """Return the mAP50 of each network on the val images, by side and seed: all by ultralytics' `val`."""
    out = work / "map50.json"
    given = {
        "files": [file for own in files.values() for file in own],
        "data": str(work / "yolo" / "data.yaml"),
        "imgsz": options.imgsz,
        "batch": options.batch,
        "project": str(work / "val"),
        "out": str(out),
    }
    _run([sys.executable, "-c", EVALUATE, json.dumps(given)])
    found = iter(json.loads(out.read_text()))
    return {name: [next(found) for _ in own] for name, own in files.items()}


def _run(command: list[str]) -> None:
    done = subprocess.run(command, env=os.environ | {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "0"},
                          capture_output=True, text=True, check=False)  # fmt: skip
    if done.returncode:
        sys.exit(f"{' '.join(command[:4])} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


def _column(file: Path, name: str) -> list[float]:
    with file.open(newline="") as lines:
        return [float(row[name]) for row in csv.DictReader(lines, skipinitialspace=True)]


def _print(
    options: argparse.Namespace,
    images: int,
    val: int,
    seconds: dict[str, list[float]],
    map50: dict[str, list[float]],
) -> None:
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    print(
        f"{images} images to learn, {val} to measure on, {options.imgsz} px, batch {options.batch}, "
        f"{options.epochs} epochs, {os.cpu_count()} cores, {options.seeds} seeds"
    )
    for name, value in middle.items():
        times = (
            f"{middle['ultralytics'] / value:.2f} x the command's speed  "
            if "ultralytics" in middle
            else ""
        )
        print(f"{name:12} {value:7.2f} s an epoch  {images / value:6.1f} images/s  {times}"
              f"mAP50 {statistics.fmean(map50[name]):.4f}")  # fmt: skip
    if options.json:
        told = {"seconds": seconds, "median": middle, "images": images, "val": val, "map50": map50}
        options.json.write_text(json.dumps(told))


if __name__ == "__main__":
    main()
