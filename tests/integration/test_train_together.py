"""Several processes train one model, as several GPUs do; here on the CPU, over gloo."""

import contextlib
import threading
import time
from pathlib import Path

import psutil
import pytest
import torch

from inspection.demo.labelled_set import write_labelled_set
from inspection.errors import ConfigError
from inspection_datasets.importing import ImportPlan, import_dataset
from inspection_datasets.manifest import load_version
from inspection_training.checkpoint import load_checkpoint
from inspection_training.experiment import Experiment
from inspection_training.progress import Step
from inspection_training.ultralytics_detectors.family import train_detector

TINY = {
    "model": "yolov8n",
    "width": 0.0625,
    "imgsz": 160,
    "input_size": [128, 160],
    "epochs": 4,
    "batch": 8,
    "augment": "metal",
    "validations": 2,
    "threads": 1,
    "gates": {"clean_dataset": False},
}


def workers() -> list[psutil.Process]:
    found = psutil.Process().children(recursive=True)
    return [process for process in found if _trains(process)]


def _trains(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):  # it may end while it is looked at
        return "inspection_training.ultralytics_detectors.processes" in process.cmdline()
    return False


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_two_processes_train_one_model_and_go_on_after_one_was_killed(tmp_path: Path) -> None:
    write_labelled_set(tmp_path / "rendered", 24, seed=0, size=(96, 80), defect_rate=0.5)
    import_dataset(tmp_path / "rendered", tmp_path / "plate", ImportPlan())
    version = load_version(tmp_path / "plate")
    run = tmp_path / "run"
    run.mkdir()
    experiment = Experiment.model_validate(TINY)
    odd = experiment.model_copy(update={"batch": 7})
    with pytest.raises(ConfigError, match="batch 7 cannot be shared out to 2 processes"):
        train_detector(odd, version, None, run, lambda _step: None, processes=2)

    def kill(step: Step) -> None:
        if step.stage == "train" and step.done > 2:
            for process in workers():
                with contextlib.suppress(psutil.Error):  # killed already
                    if process.environ().get("RANK") == "1":
                        process.kill()

    with pytest.raises(ConfigError, match=r"training process \d ended with .*--resume"):
        train_detector(experiment, version, None, run, kill, processes=2)
    assert workers() == []
    state = load_checkpoint(run)
    assert state is not None
    assert 1 <= state["epoch"] < 4

    steps: list[Step] = []
    trained = train_detector(experiment, version, None, run, steps.append, processes=2)
    assert trained.epochs == 4
    told = [step for step in steps if step.stage == "train"]
    assert told[0].done > state["epoch"]
    assert told[-1].done == pytest.approx(4)
    rows = (run / "curves.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["1", "2", "3", "4"]
    last = load_checkpoint(run)
    assert last is not None
    assert last["epoch"] == last["epochs"] == 4
    values = trained.model.state_dict()
    assert all(torch.equal(values[name], value) for name, value in last["ema"].items())
    pause, deadline = threading.Event(), time.monotonic() + 30
    while workers():
        assert time.monotonic() < deadline
        pause.wait(0.05)
