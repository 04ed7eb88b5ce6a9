"""The curves of a training, for people: what was learned, epoch by epoch.

    epoch's values ─▶ RUN/curves.csv, RUN/train.log, RUN/tensorboard
                  └─▶ an MLflow server of one's own, when the experiment names one
    close ─▶ RUN/curves.png

Curves are a convenience: none of them ever ends a training. What cannot be written is said once in
`train.log`. A run that goes on from a checkpoint writes no point twice.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inspection_training.experiment import Experiment
from inspection_training.mlflow_curves import MlflowCurves

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

CURVES = "curves.csv"
PLOT = "curves.png"
TENSORBOARD = "tensorboard"
TRAIN_LOG = "train.log"
_PANELS = (("loss", "loss"), ("mAP", "mAP on the val images"), ("lr", "learning rate"))


def open_tracker(run: Path, experiment: Experiment) -> Tracker:
    """Return the tracker of a run. A server is looked for beside the training, which never waits.

    Args:
        run: folder of the run; curves that it holds already are gone on with.
        experiment: `mlflow` names the server that gets the curves too, if any.
    """
    return Tracker(run, MlflowCurves(run, experiment) if experiment.mlflow else None)


class Tracker:
    """Takes the values of each epoch. Use it as a context manager, in one process and one thread.

    Names of values are the same for every family: `loss/NAME` for each part of the loss, `mAP50` and
    `mAP50_95` when they were measured, `lr` for the learning rate, `seconds` for the epoch's time.
    """

    def __init__(self, run: Path, mlflow: MlflowCurves | None = None) -> None:
        self._run = run
        self._mlflow = mlflow
        self._rows = _read_curves(run / CURVES)
        self._board: SummaryWriter | None = None
        self._warned: set[str] = set()
        self._closed = False

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._finish(whole=kind is None)

    def scalars(self, epoch: int, values: Mapping[str, float]) -> None:
        """Write the values of an epoch that has ended.

        Args:
            epoch: number of the epoch, from 1; points of this epoch and later ones are replaced.
            values: name to value; see the class for the names. A value may be NaN.
        """
        plain = {name: float(value) for name, value in values.items()}
        self._rows = {e: row for e, row in self._rows.items() if e < epoch} | {epoch: plain}
        log_line(
            self._run, f"epoch {epoch}: " + ", ".join(f"{k} {v:.5g}" for k, v in plain.items())
        )
        try:
            _write_curves(self._run / CURVES, self._rows)
        except OSError as error:
            self._warn(CURVES, error)
        self._to_board(epoch, plain)
        if self._mlflow is not None:
            self._mlflow.put(epoch, plain)

    def image(self, name: str, epoch: int, image: NDArray[np.uint8]) -> None:
        """Show a picture beside the curves in TensorBoard.

        Args:
            name: what it shows; a picture of the same name and epoch replaces it.
            epoch: number of the epoch, from 1.
            image: uint8 RGB [H, W, 3].
        """
        try:
            self._open_board(epoch).add_image(name, image, epoch, dataformats="HWC")
        except OSError as error:
            self._warn(TENSORBOARD, error)

    def close(self) -> None:
        """Write the plot and close everything; later calls do nothing."""
        self._finish(whole=True)

    def _finish(self, *, whole: bool) -> None:
        if self._closed:
            return
        self._closed = True
        if self._mlflow is not None:
            self._mlflow.close(whole=whole)
        try:
            if self._board is not None:
                self._board.close()
        except Exception as error:  # its libraries raise their own; curves never end a training
            self._warn(TENSORBOARD, error)
        try:
            if self._rows:
                _draw_curves(self._run, self._rows)
        except Exception as error:  # as above; memory or disk may be why the training ended
            self._warn(PLOT, error)

    def _to_board(self, epoch: int, values: Mapping[str, float]) -> None:
        try:
            board = self._open_board(epoch)
            for name, value in values.items():
                board.add_scalar(name, value, epoch)
            board.flush()  # a killed run keeps what it has shown
        except OSError as error:
            self._warn(TENSORBOARD, error)

    def _open_board(self, epoch: int) -> SummaryWriter:
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self._run / TENSORBOARD), purge_step=epoch)
        return self._board

    def _warn(self, name: str, error: Exception) -> None:
        if name not in self._warned:
            self._warned.add(name)
            log_line(self._run, f"warning: {name} cannot be written: {error}; the training goes on")


def log_line(run: Path, text: str) -> None:
    """Add a line with the time to the run's `train.log`; when the disk is full, nothing happens."""
    stamp = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
    try:
        with (run / TRAIN_LOG).open("a", encoding="utf-8") as file:
            file.write(f"{stamp} {text}\n")
    except OSError:
        return


def _read_curves(path: Path) -> dict[int, dict[str, float]]:
    """Return epoch to values of a curves file; empty where there is none or it was cut off."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return {
                int(row.pop("epoch")): {k: float(v) for k, v in row.items() if v}
                for row in csv.DictReader(file)
            }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _write_curves(path: Path, rows: Mapping[int, Mapping[str, float]]) -> None:
    part = path.with_name(f"{path.name}.part")
    names = _names(rows.values())
    with part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["epoch", *names], restval="")
        writer.writeheader()
        for epoch, row in sorted(rows.items()):
            writer.writerow({"epoch": epoch, **{k: f"{v:.6g}" for k, v in row.items()}})
    part.replace(path)


def _names(rows: Iterable[Mapping[str, float]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _draw_curves(run: Path, rows: Mapping[int, Mapping[str, float]]) -> None:
    """Draw losses, mAP and learning rate over the epochs, without any window system."""
    os.environ.setdefault("MPLCONFIGDIR", str(run / "config"))
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 4), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (start, title) in zip(figure.subplots(1, len(_PANELS)), _PANELS, strict=True):
        _draw_panel(
            axes, title, [name for name in _names(rows.values()) if name.startswith(start)], rows
        )
    part = run / f"{PLOT}.part"
    figure.savefig(part, format="png")
    part.replace(run / PLOT)


def _draw_panel(
    axes: Any, title: str, names: list[str], rows: Mapping[int, Mapping[str, float]]
) -> None:
    for name in names:
        points = [
            (e, row[name])
            for e, row in sorted(rows.items())
            if math.isfinite(row.get(name, math.nan))
        ]
        axes.plot([e for e, _ in points], [v for _, v in points], marker=".", label=name)
    axes.set_title(title)
    axes.set_xlabel("epoch")
    axes.grid(alpha=0.3)
    if names:
        axes.legend(fontsize="small")
