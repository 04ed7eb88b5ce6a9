"""Every family exports to the one contract, and gives the trained model's answers in both runtimes."""

import copy
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

from inspection.errors import ReleaseError
from inspection.release import (
    MODEL,
    DatasetCard,
    LimitsCard,
    ReleaseCard,
    load_release,
    sha256_file,
    write_card,
)
from inspection.types import Release
from inspection_training.export_settings import ExportSettings
from inspection_training.parity import check_parity, match_rows, trained_rows
from inspection_training.run import open_runtime
from inspection_training.ultralytics_detectors.export import export_detector
from inspection_training.ultralytics_detectors.quiet import quiet_ultralytics

CLASSES = ("scratch", "dent", "burr")
FAMILIES = {"yolov8n": (96, 96), "yolo11n": (64, 96), "yolo26n": (96, 64)}


def lively_model(family: str, seed: int = 0) -> Any:
    """A network with random weights whose scores spread over 0..1."""
    import torch
    from ultralytics.nn.tasks import DetectionModel, yaml_model_load

    torch.manual_seed(seed)
    architecture = yaml_model_load(f"{family}.yaml")
    architecture["scales"] = {"n": [0.33, 0.125, 1024]}
    model = DetectionModel(architecture, nc=len(CLASSES), verbose=False)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.2, 1.0)
    head = model.model[-1]
    for name in ("cv3", "one2one_cv3"):
        for branch in getattr(head, name, None) or []:
            branch[-1].weight.data.normal_(0, 2.0)
            branch[-1].bias.data.fill_(-2.0)
    head.end2end = hasattr(head, "one2one_cv2")
    return model.eval()


def parts(count: int, size: tuple[int, int], seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    small = [rng.integers(0, 255, (12, 12, 3), np.uint8) for _ in range(count)]
    return [cv2.resize(image, size, interpolation=cv2.INTER_CUBIC) for image in small]


def released(folder: Path, size: tuple[int, int]) -> Release:
    card = ReleaseCard(
        part="plate",
        number=1,
        created_at="2026-01-01T00:00:00+00:00",
        task="detect",
        family="test",
        classes=list(CLASSES),
        input_size=size,
        files={MODEL: sha256_file(folder / MODEL)},
        limits={name: LimitsCard(t1=0.2, t2=0.5, min_size=0) for name in CLASSES},
        claim="",
        dataset=DatasetCard(
            name="none", version="v0001", sha256="0" * 64, train_images=0, val_images=0
        ),
        base_weights="random",
        experiment={},
        seeds={},
        libraries={},
        licence="none",
        metrics={},
        parity={},
        latency={},
    )
    write_card(folder, card)
    return load_release(folder)


@pytest.fixture(scope="module", params=FAMILIES)
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, Release, ExportSettings]:
    root = tmp_path_factory.mktemp(request.param)
    size = FAMILIES[request.param]
    settings = ExportSettings(size, candidates=200, detections=50)
    folder = root / "releases" / "plate" / "1"
    folder.mkdir(parents=True)
    with quiet_ultralytics(root / "run"):
        model = lively_model(request.param)
        export_detector(model, folder / MODEL, settings, CLASSES)
    return model, released(folder, size), settings


@pytest.mark.parametrize("runtime_name", ["onnxruntime", "openvino", "pytorch"])
def test_the_export_answers_as_the_trained_model(
    exported: tuple[Any, Release, ExportSettings], runtime_name: str
) -> None:
    model, release, settings = exported
    runtime = open_runtime(runtime_name, release)
    found = check_parity(model, runtime, runtime_name, parts(6, (130, 100)), settings)
    runtime.close()
    assert found.detections > 20, "the test must compare something"
    assert found.max_score_difference < 1e-3


@pytest.mark.parametrize("runtime_name", ["onnxruntime", "openvino", "pytorch"])
def test_a_batch_answers_as_its_images_alone(
    exported: tuple[Any, Release, ExportSettings], runtime_name: str
) -> None:
    _, release, settings = exported
    runtime = open_runtime(runtime_name, release)
    images = np.stack(parts(4, settings.size[::-1], seed=5))
    together = runtime.infer(images, 60.0)["detections"]
    alone = np.concatenate([runtime.infer(image[None], 60.0)["detections"] for image in images])
    runtime.close()
    assert together.shape == (4, 50, 6)
    assert together.dtype == np.float32
    for a, b in zip(together, alone, strict=True):
        pairs, left = match_rows(a[a[:, 4] > 0], b[b[:, 4] > 0], 0.05)
        assert left == 0
        assert max(difference for difference, _ in pairs) < 1e-3


def test_padding_rows_are_zero_and_rows_fall(
    exported: tuple[Any, Release, ExportSettings],
) -> None:
    _, release, settings = exported
    runtime = open_runtime("onnxruntime", release)
    rows = runtime.infer(np.stack(parts(3, settings.size[::-1])), 60.0)["detections"]
    blank = runtime.infer(np.zeros((1, *settings.size, 3), np.uint8), 60.0)["detections"]
    runtime.close()
    for image in (*rows, *blank):
        assert (np.diff(image[:, 4]) <= 0).all()
        real = image[:, 4] > 0
        assert (image[real, 4] > settings.floor).all()
        assert not image[~real].any()


def test_the_graph_says_what_it_is(exported: tuple[Any, Release, ExportSettings]) -> None:
    _, release, settings = exported
    model = onnx.load(release.model)
    properties = {item.key: item.value for item in model.metadata_props}
    assert properties["names"] == str(dict(enumerate(CLASSES)))
    assert properties["imgsz"] == str(list(settings.size))
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    assert {opset.domain for opset in model.opset_import} == {""}


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("place", ["first layer", "scores", "boxes"])
def test_a_network_that_computes_nonsense_does_not_find_nothing(
    exported: tuple[Any, Release, ExportSettings], place: str, value: float, tmp_path: Path
) -> None:
    """Sorting and comparing lose what is no number: the rows of the image must be none, not empty."""
    import torch

    model, release, settings = exported
    broken = copy.deepcopy(model)
    head = broken.model[-1]
    heads = head.one2one if head.end2end else head.one2many
    layer = {
        "first layer": broken.model[0].conv.weight,
        "scores": heads["cls_head"][0][-1].bias,
        "boxes": heads["box_head"][0][-1].bias,
    }[place]
    with torch.no_grad():
        layer.view(-1)[0] = value
    folder = tmp_path / "releases" / "plate" / "1"
    folder.mkdir(parents=True)
    with quiet_ultralytics(tmp_path / "run"):
        export_detector(broken, folder / MODEL, settings, CLASSES)
    for name in ("onnxruntime", "openvino", "pytorch"):
        runtime = open_runtime(name, released(folder, release.input_size))
        images = parts(2, settings.size[::-1])
        rows = runtime.infer(np.stack(images), 60.0)["detections"]
        assert np.isnan(rows).all(), name
        with pytest.raises(ReleaseError, match="it was not released"):  # torch finds nothing, too
            check_parity(broken, runtime, name, images, settings)
        runtime.close()


def test_another_model_fails_parity(
    exported: tuple[Any, Release, ExportSettings], tmp_path: Path
) -> None:
    _, release, settings = exported
    family = max(FAMILIES, key=lambda name: FAMILIES[name] == settings.size)
    with quiet_ultralytics(tmp_path / "run"):
        other = lively_model(family, seed=1)
    runtime = open_runtime("onnxruntime", release)
    with pytest.raises(ReleaseError, match="it was not released"):
        check_parity(other, runtime, "onnxruntime", parts(2, (130, 100)), settings)
    runtime.close()


def test_few_candidates_change_only_what_is_weak(tmp_path: Path) -> None:
    """More candidates than anchors: exactly ultralytics' suppression, row by row."""
    settings = ExportSettings((96, 96), candidates=3000, detections=300)
    folder = tmp_path / "releases" / "plate" / "1"
    folder.mkdir(parents=True)
    with quiet_ultralytics(tmp_path / "run"):
        model = lively_model("yolov8n", seed=3)
        export_detector(model, folder / MODEL, settings, CLASSES)
    runtime = open_runtime("onnxruntime", released(folder, (96, 96)))
    for image in parts(4, (96, 96), seed=9):
        expected = trained_rows(model, image, settings)
        actual = runtime.infer(image[None], 60.0)["detections"][0]
        actual = actual[actual[:, 4] > 0]
        assert len(actual) == len(expected)
        np.testing.assert_allclose(actual, expected, atol=2e-2)
    runtime.close()
