"""The curves of a training: no point twice, and nothing of them ever ends a training."""

import csv
import socket
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from inspection_training import mlflow_curves
from inspection_training.experiment import Experiment
from inspection_training.tracking import open_tracker


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "curves.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def points(run: Path, tag: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(run / "tensorboard"))
    board.Reload()
    return [(event.step, round(event.value, 4)) for event in board.Scalars(tag)]


def test_a_run_that_goes_on_has_no_point_twice(tmp_path: Path) -> None:
    killed = open_tracker(tmp_path, Experiment())
    for epoch in (1, 2, 3):
        killed.scalars(epoch, {"loss/box": 9.0, "lr": 0.1})
    time.sleep(1.1)  # TensorBoard reads files in the order of their names, which hold the second
    with open_tracker(tmp_path, Experiment()) as tracker:
        tracker.scalars(2, {"loss/box": 1.0, "lr": 0.1, "mAP50": 0.5})
        tracker.image("batch", 2, np.zeros((20, 30, 3), np.uint8))
        tracker.scalars(3, {"loss/box": 0.5, "lr": float("nan")})
    killed.close()
    assert [(r["epoch"], r["loss/box"], r["mAP50"]) for r in rows(tmp_path)] == [
        ("1", "9", ""),
        ("2", "1", "0.5"),
        ("3", "0.5", ""),
    ]
    assert points(tmp_path, "loss/box") == [(1, 9.0), (2, 1.0), (3, 0.5)]
    plot = cv2.imread(str(tmp_path / "curves.png"))
    assert plot is not None
    assert min(plot.shape[:2]) > 100
    assert "epoch 2: loss/box 1, lr 0.1, mAP50 0.5" in (tmp_path / "train.log").read_text()
    assert not list(tmp_path.glob("*.part"))


def test_a_damaged_curves_file_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "curves.csv").write_bytes(b"epoch,loss/box\n1,0.5\n2,\xff\xfe")
    with open_tracker(tmp_path, Experiment()) as tracker:
        tracker.scalars(3, {"loss/box": 0.5})
    assert [r["epoch"] for r in rows(tmp_path)] == ["3"]


def test_a_disk_that_takes_nothing_ends_no_training(tmp_path: Path) -> None:
    (tmp_path / "curves.csv").mkdir()
    (tmp_path / "curves.png").mkdir()
    (tmp_path / "tensorboard").write_text("a file where a folder must be")
    with open_tracker(tmp_path, Experiment()) as tracker:
        tracker.scalars(1, {"loss/box": 0.5})
        tracker.scalars(2, {"loss/box": 0.4})
    log = (tmp_path / "train.log").read_text()
    assert log.count("curves.csv cannot be written") == 1
    assert log.count("curves.png cannot be written") == 1
    assert log.count("tensorboard cannot be written") == 1


def test_a_server_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}"
    tracker = open_tracker(tmp_path, Experiment(mlflow=address))
    began = time.monotonic()
    for epoch in range(1, 200):
        tracker.scalars(epoch, {"loss/box": 0.5})
    assert rows(tmp_path)[-1]["epoch"] == "199"
    tracker.close()
    assert time.monotonic() - began < mlflow_curves.CLOSE_SECONDS + 30
    log = (tmp_path / "train.log").read_text()
    assert log.count("MLflow gets no more curves") == 1


@pytest.mark.filterwarnings("ignore")  # of MLflow's own database code
def test_mlflow_gets_each_point_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking import MlflowClient

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mlflow_curves, "CLOSE_SECONDS", 60.0)
    address = f"sqlite:///{tmp_path}/mlflow.db"
    run = tmp_path / "plate-1"
    run.mkdir()
    first = open_tracker(run, Experiment(mlflow=address, epochs=7))
    first.scalars(1, {"loss/box": 0.5})
    first.scalars(2, {"loss/box": 0.4})
    first.close()
    with open_tracker(run, Experiment(mlflow=address, epochs=7)) as second:
        second.scalars(2, {"loss/box": 0.4})
        second.scalars(3, {"loss/box": 0.3})
    client = MlflowClient(address)
    experiment = client.get_experiment_by_name("inspection")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    assert [x.info.run_name for x in found] == ["plate-1"]
    assert (found[0].info.status, found[0].data.params["epochs"]) == ("FINISHED", "7")
    assert "mlflow" not in found[0].data.params
    history = client.get_metric_history(found[0].info.run_id, "loss/box")
    assert [(p.step, p.value) for p in history] == [(1, 0.5), (2, 0.4), (3, 0.3)]
    assert not [t for t in threading.enumerate() if t.name == "mlflow curves"]
