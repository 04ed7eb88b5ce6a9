"""`inspection bench runtime`: a five-megapixel frame in memory, until its boxes are known.

ours (f32, bf16, int8) ┐
ours on a GPU, if any  │
ultralytics predict    ├ a process each, called in turns on the same frames ─▶ times, decisions, boxes
raw OpenVINO           ┘
ours in tiles, SAHI: the same, in a run of their own
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inspection_bench.measured import Findings
from inspection_bench.network import Network
from inspection_bench.peers import FORMATS, RECTANGLES, limits_of, peer_model
from inspection_bench.turns import Contestant, Run, decision_of, same_boxes, take_turns

OVERLAP = 0.2
ON_GPU: dict[str, dict[str, str]] = {
    "ours cuda": {"type": "onnxruntime", "providers": "cuda"},
    "ours tensorrt": {"type": "onnxruntime", "providers": "tensorrt"},
    "ours pytorch cuda": {"type": "pytorch", "device": "cuda"},
}
"""Sides that run where a library sees a GPU."""


@dataclass(frozen=True, slots=True)
class RuntimePlan:
    """What is measured.

    Attributes:
        rounds: over all frames.
        times: calls in a turn; one more goes before them and does not count.
        sides: names of contestants; empty: all.
        tiles: measure tiles too.
    """

    rounds: int = 4
    times: int = 3
    sides: tuple[str, ...] = ()
    tiles: bool = True


def race(network: Network, frames: Path, work: Path, plan: RuntimePlan) -> Findings:
    """Run the contestants in turns and return what was found.

    Raises:
        InspectionError: one of them failed.
    """
    number = len(list(frames.glob("rgb-*.npy")))
    findings = Findings(
        "runtime",
        "Frame to boxes",
        {"rounds": plan.rounds, "times": plan.times, "frames": number, "frame": frames.name,
         **network.told},
    )  # fmt: skip
    wanted = plan.sides
    whole = _chosen(contestants(network, frames), network, wanted)
    runs = take_turns(whole, work / "runtime", number, plan.rounds, plan.times)
    findings.rows += [_row(run, runs, network) for run in runs]
    _compare(findings)
    if not wanted and (missing := gpu_sides()[1]):
        findings.notes.append(missing)
    if plan.tiles:
        pieces = _chosen(in_tiles(network, frames), network, wanted)
        found = take_turns(pieces, work / "tiles", min(number, 3), max(1, plan.rounds // 2), 1)
        findings.rows += [_row(run, found, network) for run in found]
        _compare_tiles(findings)
        if importlib.util.find_spec("sahi") is None:
            findings.notes.append("SAHI is not installed, so tiles have no peer: pip install sahi")
    return findings


def contestants(network: Network, frames: Path) -> list[Contestant]:
    """Return all that look at a whole frame."""
    base = {"frames": str(frames), "release": str(network.release.folder)}
    size = list(network.release.input_size)
    found = [
        Contestant(f"ours {precision}", "ours", {**base, "precision": precision})
        for precision in network.precisions
    ]
    found += [
        Contestant(name, "ours", {**base, "precision": "f32", "runtime": ON_GPU[name]})
        for name in gpu_sides()[0]
    ]
    for name in (*FORMATS, *RECTANGLES):
        settings = {**base, "conf": _least(network), "format": name}
        found.append(Contestant(f"ultralytics {name}", "ultralytics", settings))
    found += [
        Contestant(f"raw {precision}", "raw infer", {**base, "precision": precision, "input": size})
        for precision in network.precisions
    ]
    return found


def gpu_sides() -> tuple[list[str], str]:
    """Return which of `ON_GPU` can run here, and in words which were skipped and why; empty: none."""
    from inspection.runtimes.libraries import import_onnxruntime
    from inspection.runtimes.pytorch import has_cuda

    providers = {name.lower() for name in import_onnxruntime().get_available_providers()}
    missing: dict[str, str] = {}
    for name, block in ON_GPU.items():
        if block["type"] == "pytorch":
            if not has_cuda():
                missing[name] = "PyTorch sees no GPU here"
        elif f"{block['providers']}executionprovider" not in providers:
            missing[name] = f"this ONNX Runtime has no {block['providers']}"
    words = "; ".join(f"{name} was skipped: {why}" for name, why in missing.items())
    return [name for name in ON_GPU if name not in missing], words


def _chosen(found: list[Contestant], network: Network, wanted: tuple[str, ...]) -> list[Contestant]:
    return [_with_model(one, network) for one in found if not wanted or one.name in wanted]


def _with_model(one: Contestant, network: Network) -> Contestant:
    """Name the peer's file; it is exported when it is asked for, and only then."""
    if "format" not in one.settings:
        return one
    model, size = peer_model(network, one.settings["format"])
    settings = {**one.settings, "model": str(model), "imgsz": size}
    return Contestant(one.name, one.kind, settings)


def in_tiles(network: Network, frames: Path) -> list[Contestant]:
    """Return all that look at a frame tile by tile; a tile is as large as the network's input."""
    tile = list(network.release.input_size)
    base = {"frames": str(frames), "tile": tile, "overlap": OVERLAP}
    found = [
        Contestant(
            f"ours tiles {precision}",
            "ours",
            {**base, "release": str(network.release.folder), "precision": precision},
        )
        for precision in network.precisions
    ]
    if importlib.util.find_spec("sahi") is not None:
        for name in ("pytorch", "openvino rect"):
            settings = {**base, "conf": _least(network), "format": name}
            label = f"SAHI {name.partition(' ')[0]}"
            found.append(Contestant(label, "sahi", settings))
    return found


def _least(network: Network) -> float:
    return min(limits.t1 for limits in network.release.limits.values())


def _row(run: Run, runs: list[Run], network: Network) -> dict[str, Any]:
    row = run.row()
    base = runs[0]
    if run.name.startswith("raw"):
        return row
    limits = limits_of(network.release)
    equal = sum(
        decision_of(boxes, limits) == decision_of(base.boxes[frame], limits)
        for frame, boxes in run.boxes.items()
    )
    alike, total = same_boxes(run, base, min(limits["t1"].values()))
    row["equal_decisions"] = f"{equal} of {len(run.boxes)}"
    row["same_boxes"] = f"{alike} of {total}"
    return row


def _compare(findings: Findings) -> None:
    best = [row["name"] for row in findings.rows if row["name"] in {"ours bf16", "ours f32"}]
    ours = "ours bf16" if "ours bf16" in best else "ours f32"
    findings.compare(ours, "ultralytics openvino rect", wanted=1.15)
    findings.compare(ours, "ultralytics openvino", wanted=1.4)
    findings.compare(ours, "ultralytics pytorch", wanted=5.0)
    findings.compare(ours, "ultralytics onnx")
    for precision in ("f32", "int8"):
        findings.compare(f"ours {precision}", "ultralytics openvino rect")
    for precision in ("f32", "bf16", "int8"):
        findings.compare(f"raw {precision}", f"ours {precision}")


def _compare_tiles(findings: Findings) -> None:
    names = {row["name"] for row in findings.rows}
    ours = "ours tiles bf16" if "ours tiles bf16" in names else "ours tiles f32"
    findings.compare(ours, "SAHI openvino", wanted=1.6)
    findings.compare(ours, "SAHI pytorch", wanted=5.5)
