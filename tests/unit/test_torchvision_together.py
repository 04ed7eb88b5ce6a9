"""The torchvision family's loop on two processes."""

from pathlib import Path

import pytest
import torch

from inspection.demo.labelled_set import write_labelled_set
from inspection_datasets.importing import ImportPlan, import_dataset
from inspection_datasets.manifest import load_version
from inspection_training.checkpoint import CHECKPOINT
from inspection_training.experiment import Experiment
from inspection_training.progress import Step
from inspection_training.torchvision_detectors.processes import together
from inspection_training.torchvision_detectors.train import Job, train_rank


@pytest.mark.slow
def test_two_processes_train_one_detector(tmp_path: Path):
    write_labelled_set(tmp_path / "rendered", 30, seed=0, size=(96, 80), defect_rate=0.7)
    import_dataset(tmp_path / "rendered", tmp_path / "plate", ImportPlan())
    version = load_version(tmp_path / "plate")
    run = tmp_path / "run"
    run.mkdir()
    settings = {"model": "fcos_mobilenet_v2_fpn", "imgsz": 64, "epochs": 2, "batch": 4}
    job = Job(
        experiment=Experiment.model_validate({"family": "torchvision", **settings}),
        version=version,
        train=tuple(version.select("train", ["labelled"]))[:8],
        val=tuple(version.select("val"))[:2],
        weights=None,
        base="random",
        run=run,
        places=("cpu", "cpu"),
        threads=1,
        bf16=False,
    )
    steps: list[Step] = []
    before = torch.get_num_threads()
    with together(job.places, train_rank, job):
        training = train_rank(job, 0, steps.append)
    torch.set_num_threads(before)
    assert training.done == 2
    assert len(steps) == 4, "a batch of four is two pictures for each of the two"
    assert (run / CHECKPOINT).is_file()
    assert all(torch.isfinite(v).all() for v in training.average.state_dict().values())
    assert (run / "train.log").read_text().count("epoch ") == 2, "one of them writes"
