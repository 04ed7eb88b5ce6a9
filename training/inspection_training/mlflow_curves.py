"""Send the curves of a training to an MLflow server of one's own, beside the training.

    epoch's values ─▶ queue ─▶ a thread of its own ─▶ server

The training never waits for the server: a server that cannot be reached is one line in `train.log`.
"""

from __future__ import annotations

import json
import os
import queue
import threading
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from inspection_training.experiment import Experiment

STATE = "mlflow.json"
CLOSE_SECONDS = 10.0
"""Longest wait for the server at the end of a training, seconds."""
_PATIENCE = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "4",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}


class MlflowCurves:
    """One MLflow run for one run folder; a resumed training goes on in the same one.

    Args:
        run: folder of the run; `mlflow.json` in it keeps the MLflow run and its last epoch.
        experiment: `mlflow` is the server's address; all settings become parameters.
    """

    def __init__(self, run: Path, experiment: Experiment) -> None:
        self._run = run
        self._experiment = experiment
        self._queue: queue.Queue[tuple[int, Mapping[str, float]] | bool] = queue.Queue(20_000)
        self._thread = threading.Thread(target=self._work, name="mlflow curves", daemon=True)
        self._warned = False
        os.environ |= _PATIENCE
        self._thread.start()

    def put(self, epoch: int, values: Mapping[str, float]) -> None:
        """Hand over the values of an epoch; returns at once."""
        if self._thread.is_alive():
            self._queue.put_nowait((epoch, dict(values)))

    def close(self, *, whole: bool) -> None:
        """Send what is left, for at most `CLOSE_SECONDS`, and mark the run as finished or failed."""
        if self._thread.is_alive():
            self._queue.put_nowait(whole)
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            self._warn("it is too slow")

    def _work(self) -> None:
        try:
            self._send()
        except Exception as error:  # its libraries raise their own; curves never end a training
            self._warn(str(error) or type(error).__name__)

    def _send(self) -> None:
        from mlflow.tracking import MlflowClient

        client = MlflowClient(self._experiment.mlflow)
        state = self._open(client)
        while True:
            item = self._queue.get()
            if isinstance(item, bool):
                client.set_terminated(state["run_id"], "FINISHED" if item else "FAILED")
                return
            epoch, values = item
            if (
                epoch <= state["epoch"]
            ):  # sent before this training was cut off; values are the same
                continue
            for name, value in values.items():
                client.log_metric(state["run_id"], name, value, step=epoch, synchronous=True)
            state["epoch"] = epoch
            self._keep(state)

    def _open(self, client: Any) -> dict[str, Any]:
        try:
            state = json.loads((self._run / STATE).read_text(encoding="utf-8"))
            client.update_run(state["run_id"], "RUNNING")
        except (OSError, ValueError):
            name = "inspection"
            known = client.get_experiment_by_name(name)
            number = known.experiment_id if known else client.create_experiment(name)
            made = client.create_run(number, run_name=self._run.name)
            state = {"run_id": made.info.run_id, "epoch": 0}
            for key, value in self._experiment.model_dump(mode="json").items():
                if key != "mlflow":  # the address may hold a password
                    client.log_param(made.info.run_id, key, value, synchronous=True)
        self._keep(state)
        return state

    def _keep(self, state: Mapping[str, Any]) -> None:
        part = self._run / f"{STATE}.part"
        part.write_text(json.dumps(state), encoding="utf-8")
        part.replace(self._run / STATE)

    def _warn(self, why: str) -> None:
        if self._warned:
            return
        self._warned = True
        stamp = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")
        line = f"{stamp} warning: MLflow gets no more curves: {why.splitlines()[0]}; the training goes on\n"
        try:
            with (self._run / "train.log").open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError:
            return
