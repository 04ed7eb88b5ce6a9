"""A network trained with another activation keeps it: in training, export, and as weights of the next one."""

from pathlib import Path

import onnx
import pytest
from pydantic import ValidationError

from inspection.demo.labelled_set import write_labelled_set
from inspection_datasets.importing import ImportPlan, import_dataset
from inspection_datasets.manifest import DatasetVersion, load_version
from inspection_training.experiment import Experiment
from inspection_training.family import Trained, open_family
from inspection_training.progress import silent
from inspection_training.ultralytics_detectors.family import train_detector

TINY = {
    "model": "yolov8n",
    "imgsz": 64,
    "epochs": 1,
    "batch": 8,
    "augment": "none",
    "validations": 0,
    "threads": 1,
}
THIN = {"width": 0.0625}


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> DatasetVersion:
    root = tmp_path_factory.mktemp("data")
    write_labelled_set(root / "rendered", 12, seed=0, size=(96, 80), defect_rate=0.5)
    import_dataset(root / "rendered", root / "plate", ImportPlan())
    return load_version(root / "plate")


def train(version: DatasetVersion, run: Path, weights: Path | None, **settings: object) -> Trained:
    run.mkdir(exist_ok=True)
    experiment = Experiment.model_validate({**TINY, **settings})
    return train_detector(experiment, version, weights, run, silent)


def activations(trained: Trained) -> set[str]:
    kinds = {type(module).__name__ for module in trained.model.modules()}
    found = kinds & {"SiLU", "Hardswish"}
    assert {kind.lower() for kind in found} == {trained.facts["activation"]}
    return found


@pytest.fixture(scope="module")
def hardswish(version: DatasetVersion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("hardswish")
    trained = train(version, run, None, activation="hardswish", **THIN)
    assert activations(trained) == {"Hardswish"}
    again = train(version, run, None, activation="hardswish", **THIN)
    assert activations(again) == {"Hardswish"}, "gone on from the checkpoint"
    return run


def test_random_weights_have_the_familys_own_activation(
    version: DatasetVersion, tmp_path: Path
) -> None:
    assert activations(train(version, tmp_path, None, **THIN)) == {"SiLU"}


@pytest.mark.parametrize(
    ("wanted", "kept"), [("own", "Hardswish"), ("hardswish", "Hardswish"), ("silu", "SiLU")]
)
def test_the_next_training_keeps_what_the_weights_have(
    version: DatasetVersion, hardswish: Path, tmp_path: Path, wanted: str, kept: str
) -> None:
    """Verdicts train the next model from the last one's weights; nobody says its activation again."""
    weights = hardswish / "ultralytics" / "weights" / "last.pt"
    assert activations(train(version, tmp_path, weights, activation=wanted)) == {kept}


def test_the_released_graph_has_it(
    version: DatasetVersion, hardswish: Path, tmp_path: Path
) -> None:
    experiment = Experiment.model_validate({**TINY, **THIN, "activation": "hardswish"})
    trained = train_detector(experiment, version, None, hardswish, silent)
    family = open_family("ultralytics", "yolov8n")
    family.export(trained, tmp_path / "model.onnx", experiment, version.classes)
    kinds = [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    assert kinds.count("HardSwish") > 50
    assert kinds.count("Sigmoid") == 1, "of the scores"


def test_families_without_it_refuse_it() -> None:
    with pytest.raises(ValidationError, match="is for family ultralytics, not for torchvision"):
        Experiment.model_validate({"family": "torchvision", "activation": "hardswish"})
