"""Measures candidates in turns, so that other work on the PC hits all alike and does not choose.

    all ─▶ a few rounds ─▶ those far slower than the fastest are dropped
        ─▶ rounds until the time is over ─▶ one run each after idle, several times

In a round each candidate runs a few times in a row, the first not counted: it puts right what the one before
did to caches and threads. Each round begins with another candidate.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from inspection.detector import Detector
from inspection.errors import InspectionError
from inspection.protocols import Runtime
from inspection.tuned import Times
from inspection.types import Image, Release
from inspection_training.progress import Report, Step

BURST = 3
"""Counted runs of one candidate in one round."""
SCREENING = 4
"""Rounds in which all take part."""
FAR = 1.5
"""Those whose quick time is over so many times the fastest's are dropped."""
QUICK = 25
"""Percentile that screening compares: with few runs it hears less of other work than the median."""
FINALISTS = 8
MOST_RUNS = 400
IDLE_RUNS = 5
MOST_IDLE = 1.0
"""Longest idle before a run, seconds; shorter where there is little time."""
_IDLE_SHARE = 0.25
_PATIENCE = 60.0


@dataclass
class Runner:
    """One candidate, loaded and warm.

    Attributes:
        name: to speak of it.
        runtime: closed when it is dropped.
        kept: never dropped for being slow.
        why: why it was dropped; empty: it was not.
        failed: it was dropped because it failed.
    """

    name: str
    release: Release
    runtime: Runtime
    kept: bool = False
    why: str = ""
    failed: bool = False
    spent: list[float] = field(default_factory=list[float])
    idle: list[float] = field(default_factory=list[float])
    _detector: Detector | None = None

    def run(self, picture: Image) -> float:
        """Return the milliseconds from a frame to its boxes, as the line does it."""
        if self._detector is None:
            self._detector = Detector(self.release, self.runtime)
        start = time.perf_counter()
        self._detector.detect(picture, _PATIENCE)
        return (time.perf_counter() - start) * 1e3

    @property
    def p50(self) -> float:
        """Median of the warm runs, milliseconds."""
        return float(np.median(self.spent))

    @property
    def quick(self) -> float:
        """Lower quartile of the warm runs, milliseconds."""
        return float(np.percentile(self.spent, QUICK))

    def times(self) -> Times | None:
        """Return what was measured; None: nothing."""
        if not self.spent:
            return None
        p50, p99 = np.percentile(self.spent, [50, 99])
        told: dict[str, Any] = {}
        if self.idle:
            told = {
                "idle_runs": len(self.idle),
                "idle_p50_ms": round(float(np.median(self.idle)), 2),
                "idle_worst_ms": round(max(self.idle), 2),
            }
        runs = len(self.spent)
        return Times(runs=runs, p50_ms=round(float(p50), 2), p99_ms=round(float(p99), 2), **told)

    def drop(self, why: str, *, failed: bool = False) -> None:
        """Let go of the runtime and say why."""
        self.why, self.failed = why, failed
        self.runtime.close()


def measure(
    runners: Sequence[Runner], pictures: Sequence[Image], seconds: float, report: Report
) -> float:
    """Measure them in turns for about so many seconds; at least one whole round.

    One that fails is dropped with the reason, the others go on. All are closed at the end.

    Returns:
        The seconds of idle before each run after idle.
    """
    start = time.monotonic()
    running = [one for one in runners if not one.why]
    try:
        end = start + seconds * (1 - _IDLE_SHARE)

        def tick() -> None:
            report(Step("measure", min(time.monotonic() - start, seconds), seconds))

        _rounds(running, pictures, SCREENING, min(end, start + seconds / 2), tick)
        finalists = _screened(running)
        most = MOST_RUNS // BURST - SCREENING
        _rounds(finalists, pictures, most, end, tick)
        return _after_idle(finalists, pictures, start + seconds, tick)
    finally:
        for one in running:
            if not one.why:
                one.runtime.close()


def _rounds(
    runners: Sequence[Runner],
    pictures: Sequence[Image],
    rounds: int,
    end: float,
    tick: Callable[[], None],
) -> None:
    """Run so many rounds, or until the time is over; the first is always whole."""
    for turn in range(rounds):
        for index in range(len(runners)):
            if turn and time.monotonic() > end:
                return
            one = runners[(turn + index) % len(runners)]
            _guarded(one, lambda one=one, turn=turn: _burst(one, pictures, turn))
            tick()


def _burst(one: Runner, pictures: Sequence[Image], turn: int) -> None:
    picture = pictures[turn % len(pictures)]
    one.run(picture)
    for number in range(BURST):
        one.spent.append(one.run(pictures[(turn + number) % len(pictures)]))


def _guarded(one: Runner, work: Callable[[], object]) -> None:
    """Do the work unless it was dropped; drop it when it fails."""
    if one.why:
        return
    try:
        work()
    except InspectionError as error:
        one.drop(str(error), failed=True)


def _screened(running: Sequence[Runner]) -> list[Runner]:
    """Return those that go on; the others are dropped."""
    left = sorted((one for one in running if not one.why), key=lambda one: one.quick)
    if not left:
        return []
    fastest, far = left[0], FAR * left[0].quick
    room = FINALISTS
    finalists: list[Runner] = []
    for one in left:
        if one.kept or (one.quick <= far and room > 0):
            finalists.append(one)
            room -= not one.kept
        else:
            one.drop(
                f"dropped early: {one.quick:.1f} ms against {fastest.quick:.1f} of {fastest.name}"
            )
    return finalists


def _after_idle(
    finalists: Sequence[Runner], pictures: Sequence[Image], end: float, tick: Callable[[], None]
) -> float:
    """Let each wait and then run once, several times over; return the wait, seconds."""
    pause = threading.Event()
    times = max(1, len(finalists) * IDLE_RUNS)
    idle = max(0.01, min(MOST_IDLE, (end - time.monotonic()) / times))
    for turn in range(IDLE_RUNS):
        for one in finalists:
            pause.wait(idle)
            picture = pictures[turn % len(pictures)]
            _guarded(one, lambda one=one, picture=picture: one.idle.append(one.run(picture)))
            tick()
    return round(idle, 3)
