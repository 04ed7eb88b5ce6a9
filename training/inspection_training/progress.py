"""What a training tells while it runs, and the bar that shows it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


@dataclass(frozen=True, slots=True)
class Step:
    """One moment of a training run.

    Attributes:
        stage: train, export, parity, evaluate or release.
        done: units done in this stage; may be a fraction of an epoch.
        total: units of this stage.
        loss: mean loss of the epoch so far, in stage train.
        map50: latest mAP50 on the val images, or None before the first.
        seconds_left: for this stage, or None while it cannot be told.
    """

    stage: str
    done: float
    total: float
    loss: float | None = None
    map50: float | None = None
    seconds_left: float | None = None


Report = Callable[[Step], None]


def silent(_step: Step) -> None:
    """Show nothing."""


class TrainingBar:
    """A progress bar on standard error; use as a context manager and pass `report`."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._bar: Progress = Progress(
            TextColumn("{task.description:<9}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            console=Console(file=sys.stderr),  # kept: ultralytics' prints are redirected meanwhile
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._stage = ""
        self._task = self._bar.add_task("start", total=None, detail="")

    def __enter__(self) -> TrainingBar:
        self._bar.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._bar.stop()

    def report(self, step: Step) -> None:
        """Show a step."""
        if step.stage != self._stage:
            if self._stage:
                self._task = self._bar.add_task(step.stage, total=step.total, detail="")
            self._stage = step.stage
        self._bar.update(
            self._task,
            description=step.stage,
            completed=step.done,
            total=step.total,
            detail=describe(step),
        )


def describe(step: Step) -> str:
    """Return a step in words: epoch, loss, mAP and time left."""
    if step.stage != "train":
        return f"{step.done:.0f}/{step.total:.0f}"
    text = f"epoch {min(int(step.done) + 1, int(step.total))}/{step.total:.0f}"
    if step.loss is not None:
        text += f"  loss {step.loss:.2f}"
    if step.map50 is not None:
        text += f"  mAP50 {step.map50:.2f}"
    if step.seconds_left is not None:
        text += f"  {step.seconds_left // 60:.0f}:{step.seconds_left % 60:02.0f} left"
    return text
