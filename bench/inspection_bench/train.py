"""Time of one training epoch: ours against the ultralytics command, in pairs, on the same images.

    dataset version ─▶ exported as YOLO ─▶ `yolo detect train` ┐ interleaved, a process each
                  └──────────────────────▶ our family ultralytics ┘ ─▶ seconds of an epoch ─▶ ratio

Both train the same network from the same weight file with the same settings, without validation and
plots. The first epoch is left out: it reads images and warms up. Run it with the project's Python:

    python -m inspection_bench.train DATASET WEIGHTS.pt [--imgsz 320 --pairs 3 --epochs 4 --batch 16]
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
    """Run the pairs and print the medians."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        os.environ["YOLO_CONFIG_DIR"] = str(work)
        _run([YOLO, "settings", *(f"{name}=False" for name in ("sync", "mlflow", "tensorboard"))])
        images = _export(options, work / "yolo")
        seconds: dict[str, list[float]] = {"ultralytics": [], "ours f32": [], "ours": []}
        for pair in range(options.pairs):
            turn = [
                ("ultralytics", lambda p=pair: _theirs(options, work, p)),
                ("ours f32", lambda p=pair: _ours(options, work / f"f32-{p}", "f32")),
                ("ours", lambda p=pair: _ours(options, work / f"auto-{p}", "auto")),
            ]
            for name, train in turn if pair % 2 == 0 else turn[::-1]:
                found = train()
                seconds[name] += found
                print(
                    f"pair {pair + 1}: {name}: {[round(x, 2) for x in found]} s an epoch",
                    flush=True,
                )
    _print(options, images, seconds)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--model", default="yolov8n")
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _export(options: argparse.Namespace, folder: Path) -> int:
    """Write the training images for their command; return how many."""
    from inspection_datasets.exporting import export_dataset
    from inspection_datasets.manifest import load_version

    version = load_version(options.data)
    export_dataset(version, "yolo", folder)
    return len(version.select("train"))


def _theirs(options: argparse.Namespace, work: Path, pair: int) -> list[float]:
    settings = {
        "model": options.weights.resolve(), "data": work / "yolo" / "data.yaml", "project": work / "runs",
        "imgsz": options.imgsz, "batch": options.batch, "nbs": options.batch, "epochs": options.epochs,
        "name": f"pair-{pair}", "val": False, "plots": False, "device": "cpu", "workers": 0,
        "cache": "ram", "amp": False, "seed": 0, "deterministic": False, "optimizer": "SGD",
        "augmentations": "[]", **dict.fromkeys(OFF, 0.0),
    }  # fmt: skip
    _run([YOLO, "detect", "train", *(f"{key}={value}" for key, value in settings.items())])
    ends = _column(work / "runs" / f"pair-{pair}" / "results.csv", "time")
    return [later - earlier for earlier, later in itertools.pairwise(ends)]


def _ours(options: argparse.Namespace, run: Path, precision: str) -> list[float]:
    experiment = {
        "model": options.model, "imgsz": options.imgsz, "batch": options.batch, "precision": precision,
        "epochs": options.epochs, "seed": 0, "augment": "none", "validations": 0, "optimizer": "SGD",
        "good_share": 0.99, "device": "cpu",
    }  # fmt: skip
    given = {
        "experiment": experiment,
        "run": str(run),
        "data": str(options.data),
        "weights": str(options.weights),
    }
    _run([sys.executable, "-c", OURS, json.dumps(given)])
    return _column(run / "curves.csv", "seconds")[1:]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, env=os.environ | {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "0"},
                          capture_output=True, text=True, check=False)  # fmt: skip
    if done.returncode:
        sys.exit(f"{' '.join(command[:4])} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


def _column(file: Path, name: str) -> list[float]:
    with file.open(newline="") as lines:
        return [float(row[name]) for row in csv.DictReader(lines, skipinitialspace=True)]


def _print(options: argparse.Namespace, images: int, seconds: dict[str, list[float]]) -> None:
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    print(
        f"{images} images, {options.imgsz} px, batch {options.batch}, {os.cpu_count()} cores, "
        f"{options.pairs} pairs"
    )
    for name, value in middle.items():
        print(f"{name:12} {value:7.2f} s an epoch  {images / value:6.1f} images/s  "
              f"{middle['ultralytics'] / value:.2f} x the command's speed")  # fmt: skip
    if options.json:
        options.json.write_text(
            json.dumps({"seconds": seconds, "median": middle, "images": images})
        )


if __name__ == "__main__":
    main()
