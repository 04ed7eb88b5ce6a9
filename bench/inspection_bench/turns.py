"""Contestants in processes of their own, called one after the other: round by round, frame by frame."""

from __future__ import annotations

import json
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inspection.errors import InspectionError
from inspection_bench.measured import milliseconds
from inspection_bench.process_use import Child, cpu_seconds, memory_mb

Boxes = list[list[float]]
SAME_BOX = 0.5
"""Overlap from which two boxes of a class are the same object."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """Who takes part: its name, its kind in `contestant`, and its settings."""

    name: str
    kind: str
    settings: dict[str, Any]


@dataclass
class Run:
    """What was found of one contestant: seconds, boxes by frame, CPU seconds, megabytes."""

    name: str
    seconds: list[float] = field(default_factory=list[float])
    boxes: dict[int, Boxes] = field(default_factory=dict[int, Boxes])
    cpu: float = 0.0
    calls: int = 0
    memory: float = 0.0

    def row(self) -> dict[str, Any]:
        """Return it as a row of the findings."""
        return {
            "name": self.name,
            **milliseconds(self.seconds),
            "cpu_ms_per_call": round(1000 * self.cpu / max(1, self.calls), 1),
            "memory_mb": round(self.memory),
        }


def take_turns(
    contestants: list[Contestant], folder: Path, frames: int, rounds: int, times: int
) -> list[Run]:
    """Call each contestant on each frame `times` times, `rounds` times over, in turns.

    Raises:
        InspectionError: one of them failed; the message holds its last words.
    """
    folder.mkdir(parents=True, exist_ok=True)
    runs = [Run(one.name) for one in contestants]
    with ExitStack() as stack:
        children: list[Child] = []
        for number, one in enumerate(contestants):
            settings = folder / f"{number}.json"
            settings.write_text(json.dumps(one.settings))
            child = Child(
                ["-m", "inspection_bench.contestant", one.kind, str(settings)],
                folder / f"{number}-{one.name.replace(' ', '-')}.log",
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            children.append(stack.enter_context(child))
            _read(child)  # one after the other: all at once would crowd a small PC
        for turn in range(rounds * frames):
            order = list(zip(runs, children, strict=True))
            for run, child in order if turn % 2 == 0 else order[::-1]:
                _call(run, child, turn % frames, times)
        for run, child in zip(runs, children, strict=True):
            run.memory = memory_mb(child.pid)
    return runs


def _call(run: Run, child: Child, frame: int, times: int) -> None:
    before = cpu_seconds(child.pid)
    if child.popen.stdin is None:
        raise InspectionError(f"{run.name} cannot be talked to")
    child.popen.stdin.write(json.dumps({"frame": frame, "times": times}) + "\n")
    child.popen.stdin.flush()
    told = _read(child)
    run.seconds += told["seconds"]
    run.boxes[frame] = told["boxes"]
    run.cpu += cpu_seconds(child.pid) - before
    run.calls += times + 1


def _read(child: Child) -> dict[str, Any]:
    line = child.popen.stdout.readline() if child.popen.stdout is not None else ""
    if not line:
        child.popen.wait()
        child.check()
    return json.loads(line)


def decision_of(boxes: Boxes, limits: dict[str, dict[str, float]]) -> str:
    """Return PASS, REVIEW or FAIL, as a recipe with these limits alone decides."""
    from inspection_bench.naive.service import decide

    return decide(boxes, list(limits["t1"]), limits)


def same_boxes(one: Run, other: Run, least: float) -> tuple[int, int]:
    """Return how many boxes at or over a score have their like in the other run, and how many there are.

    Boxes of both are counted; a like one has the class and overlaps by half.
    """
    alike = total = 0
    for frame, boxes in one.boxes.items():
        theirs = other.boxes.get(frame, [])
        for mine, others in ((boxes, theirs), (theirs, boxes)):
            for box in [box for box in mine if box[4] >= least]:
                total += 1
                alike += any(
                    box[5] == like[5] and overlap(box, like) >= SAME_BOX for like in others
                )
    return alike, total


def overlap(one: list[float], other: list[float]) -> float:
    """Return intersection over union of two boxes."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    if across <= 0 or down <= 0:
        return 0.0
    both = across * down
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return both / (sum(areas) - both)
