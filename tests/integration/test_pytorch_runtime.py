"""Runtime pytorch: every family's export gives ONNX Runtime's answers, and what it cannot run is refused."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from pydantic import ValidationError
from release_builder import write_release
from service_process import PATIENCE, ServiceProcess
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._pytree import tree_leaves
from torchvision import models
from variant_parts import SIZE
from variant_parts import write_release as write_colours

from inspection.detector import Detector
from inspection.errors import ConfigError, InferenceError, ModelOutputError
from inspection.protocols import FallsBack
from inspection.release import load_release, sha256_file
from inspection.runtimes.onnxruntime import OnnxRuntimeConfig
from inspection.runtimes.pytorch import PyTorchConfig, built_for_cuda, has_cuda
from inspection.runtimes.service import ServiceConfig
from inspection.runtimes.torch_graph.plan import Planner, run_steps
from inspection.runtimes.torch_graph.read import INPUT, read_network
from inspection.runtimes.torch_graph.run import RunningNetwork
from inspection.types import Release, Task
from inspection_bench.runtime import gpu_sides
from inspection_serve.inference.process import Settings, choose_runtime
from inspection_training.detect_on_cluster import cluster_detection
from inspection_training.export_settings import ExportSettings
from inspection_training.good_parts.anomaly import export_anomaly
from inspection_training.good_parts.backbone import load_backbone
from inspection_training.good_parts.bank import PatchBank, PatchFeatures
from inspection_training.good_parts.template import learn_template
from inspection_training.torchvision_detectors.export import export_network
from inspection_training.torchvision_detectors.networks import build_network
from inspection_training.tune.candidates import Precision, list_candidates
from inspection_training.ultralytics_detectors.export import export_detector
from inspection_training.ultralytics_detectors.quiet import quiet_ultralytics

CLASSES = ("scratch", "dent", "burr")
INPUT_SIZE = (64, 96)
CLOSE = np.array([2e-4] * 4 + [1e-5, 0], np.float32)
"""Pixels, score, class."""
needs_cuda = pytest.mark.skipif(not has_cuda(), reason="PyTorch sees no GPU here")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def enliven(network: Any) -> Any:
    """Spread what normalisation passes on, so that scores are not all alike."""
    torch.manual_seed(3)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.2, 1.0)
    return network.eval()


def ultralytics_export(name: str, activation: str = "own") -> Callable[[Path], None]:
    def export(path: Path) -> None:
        from ultralytics.nn.tasks import DetectionModel, SegmentationModel, yaml_model_load

        from inspection_training.ultralytics_detectors.network import _put_activation

        with quiet_ultralytics(path.parent / "run"):
            architecture = yaml_model_load(f"{name}.yaml")
            architecture["scales"] = {"n": [0.33, 0.125, 1024]}
            kind = SegmentationModel if name.endswith("-seg") else DetectionModel
            torch.manual_seed(0)
            model = enliven(kind(architecture, nc=len(CLASSES), verbose=False))
            head = model.model[-1]
            for part in ("cv3", "one2one_cv3"):
                for branch in getattr(head, part, None) or []:
                    branch[-1].weight.data.normal_(0, 2.0)
                    branch[-1].bias.data.fill_(-2.0)
            head.end2end = hasattr(head, "one2one_cv2")
            if activation != "own":
                _put_activation(model, activation)
            settings = ExportSettings(INPUT_SIZE, candidates=200, detections=32)
            export_detector(model, path, settings, CLASSES)

    return export


def torchvision_export(name: str, source: str = "torchvision") -> Callable[[Path], None]:
    def export(path: Path) -> None:
        torch.manual_seed(0)
        network = enliven(build_network(name, len(CLASSES), source))
        settings = ExportSettings(INPUT_SIZE, 0.5, 0.003, 200, 50)
        export_network(network, path, settings, CLASSES, "BSD-3-Clause")

    return export


def bank_export(name: str) -> Callable[[Path], None]:
    def export(path: Path) -> None:
        torch.manual_seed(0)
        weights = path.with_name("weights.pth")
        torch.save(models.get_model(name, weights=None).state_dict(), weights)
        features = PatchFeatures(load_backbone(weights, "torchvision").layers, INPUT_SIZE).eval()
        good = torch.randint(0, 255, (2, *INPUT_SIZE, 3), dtype=torch.uint8)
        with torch.no_grad():
            features.balance(good)
            vectors = features(good).flatten(0, 1)[::3]
        export_anomaly(PatchBank(features, vectors).eval(), path, INPUT_SIZE, "none")

    return export


def template_export(path: Path) -> None:
    torch.manual_seed(0)
    good = [torch.randint(0, 255, (1, *INPUT_SIZE, 3), dtype=torch.uint8) for _ in range(2)]
    export_anomaly(learn_template(good, shift=1, edge=1), path, INPUT_SIZE, "none")


EXPORTS: dict[str, tuple[Task, Callable[[Path], None]]] = {
    **{name: ("detect", ultralytics_export(name)) for name in ("yolov8n", "yolo26n")},
    "yolo11n hardswish": ("detect", ultralytics_export("yolo11n", "hardswish")),
    "yolov8n-seg": ("segment", ultralytics_export("yolov8n-seg")),
    **{
        name: ("detect", torchvision_export(name))
        for name in (
            "retinanet_mobilenet_v2_fpn",
            "fasterrcnn_mobilenet_v2_fpn",
            "ssdlite320_mobilenet_v3_large",
        )
    },
    "fcos tensorflow": ("detect", torchvision_export("fcos_mobilenet_v2_fpn", "tensorflow")),
    "bank": ("anomaly", bank_export("resnet18")),
    "template": ("anomaly", template_export),
}


def as_release(folder: Path, task: Task, model: Path) -> Release:
    """Return a release around a model file, as the line gets it."""
    variant = {"detect": "ok", "segment": "segment", "anomaly": "anomaly"}[task]
    place = write_release(folder, classes=CLASSES, size=INPUT_SIZE, variant=variant)
    release = load_release(place)
    release.model.write_bytes(model.read_bytes())
    digest = sha256_file(release.model)
    return dataclasses.replace(release, model_sha256=digest)


USUAL = {"yolov8n", "yolo26n", "yolov8n-seg", "fcos tensorflow", "bank", "template"}
"""One for each way to decode; the others in `make soak`."""


@pytest.fixture(
    scope="module",
    params=[
        name if name in USUAL else pytest.param(name, marks=pytest.mark.soak) for name in EXPORTS
    ],
)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Release:
    task, export = EXPORTS[request.param]
    folder = tmp_path_factory.mktemp("export")
    export(folder / "model.onnx")
    return as_release(folder / "releases", task, folder / "model.onnx")


def opened(config: Any, release: Release) -> Any:
    runtime = config.open()
    runtime.load(release, 60.0)
    return runtime


def pictures(count: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(count).integers(0, 256, (count, *INPUT_SIZE, 3), np.uint8)


def compare(mine: dict[str, Any], other: dict[str, Any]) -> None:
    """Every row has its like; two whose scores differ in the last bit may stand the other way round."""
    assert list(mine) == list(other)
    assert all(mine[name].shape == other[name].shape for name in other)
    for name in ("anomaly_map", "anomaly_score"):
        if name in other:
            np.testing.assert_allclose(mine[name], other[name], atol=1e-4)
    if "detections" not in other:
        return
    for image, (ours, theirs) in enumerate(
        zip(mine["detections"], other["detections"], strict=True)
    ):
        alike = (np.abs(ours[:, None] - theirs) <= CLOSE).all(axis=2)
        free = list(range(len(theirs)))
        for row in range(len(ours)):
            partner = next((number for number in free if alike[row, number]), None)
            assert partner is not None, ours[row]
            free.remove(partner)
            if "masks" in other:
                found, expected = mine["masks"][image, row], other["masks"][image, partner]
                np.testing.assert_allclose(found, expected, atol=1e-4)


def test_it_gives_what_onnx_runtime_gives(exported: Release) -> None:
    mine = opened(PyTorchConfig(device="cpu"), exported)
    other = opened(OnnxRuntimeConfig(providers="cpu", threads=1), exported)
    found = 0
    for images in (pictures(3), pictures(1), np.full((2, *INPUT_SIZE, 3), 114, np.uint8)):
        outputs = mine.infer(images, 60.0)
        compare(outputs, other.infer(images, 60.0))
        found += np.count_nonzero(outputs.get("detections", np.ones((1, 1, 6)))[..., 4] > 0)
    assert found, "the test must compare something"


def test_a_network_that_computes_nonsense_does_not_find_nothing(
    exported: Release, tmp_path: Path
) -> None:
    document = onnx.load(exported.model)
    first = next((node for node in document.graph.node if node.op_type == "Conv"), None)
    if first is None:
        pytest.skip("the template has no network")
    stored = next(one for one in document.graph.initializer if one.name == first.input[1])
    weight = numpy_helper.to_array(stored).copy()
    weight.reshape(-1)[0] = np.nan
    stored.CopyFrom(numpy_helper.from_array(weight, stored.name))
    path = tmp_path / "nan.onnx"
    onnx.save(document, path)
    broken = as_release(tmp_path / "releases", exported.task, path)
    runtime = opened(PyTorchConfig(device="cpu"), broken)
    outputs = runtime.infer(pictures(2), 60.0)
    name = "anomaly_map" if exported.task == "anomaly" else "detections"
    assert np.isnan(outputs[name]).any(axis=(1, 2)).all()
    with pytest.raises(ModelOutputError, match="NaN"):
        Detector(broken, runtime).detect(pictures(1)[0], 60.0)


class ImaginedGpu(FakeTensorMode):
    """PyTorch's tensors without values: what is on `cuda` knows its place and shape alone.

    Reading a value of it, or mixing it with a tensor on the processor, is an error, as it would cost a wait
    or be refused on a GPU. What lies on the processor is real.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        leaves = tree_leaves((args, kwargs or {}))
        if any(
            isinstance(x, FakeTensor) or (isinstance(x, torch.device) and x.type == "cuda")
            for x in leaves
        ):
            return super().__torch_dispatch__(func, types, args, kwargs)
        return func(*args, **(kwargs or {}))


def test_no_step_before_suppression_waits_for_the_gpu_or_leaves_it(exported: Release) -> None:
    """The suppression of the test picks two boxes whatever they are: what is imagined has no values."""
    places: list[str] = []

    def picked(boxes: Any, scores: Any, *_others: Any) -> Any:
        places.extend((boxes.device.type, scores.device.type))
        return torch.tensor([[0, 0, 0], [1, 0, 1]])

    network = read_network(exported.model.read_bytes())
    nodes = tuple(
        dataclasses.replace(node, compute=picked) if node.operator.unsettled else node
        for node in network.nodes
    )
    device = torch.device("cuda", 0)
    with ImaginedGpu(allow_non_fake_inputs=True):
        images = torch.empty((2, *INPUT_SIZE, 3), dtype=torch.uint8, device=device)
        plan = Planner(dataclasses.replace(network, nodes=nodes), device).plan(images)
        values = {INPUT: images}
        run_steps(plan.early, values, device)
        values = {name: values[name] for name in plan.kept}
        assert all(value.device == device for value in values.values())
        run_steps(plan.late, values, device)
        assert all(values[name].device == device for name in plan.outputs)
    assert not any(step.to_device or step.to_cpu for step in plan.early)
    assert set(places) <= {"cpu"}
    if not places:
        assert not plan.late
    assert len(plan.early) > len(plan.late)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return load_release(write_colours(tmp_path_factory.mktemp("colours")))


def test_a_smaller_number_of_images_finds_a_plan(release: Release) -> None:
    """Places that are left over hold grey, never what came before."""
    size = (SIZE, SIZE)
    network = RunningNetwork(read_network(release.model.read_bytes()), size, torch.device("cpu"))
    images = np.random.default_rng(1).integers(0, 256, (6, SIZE, SIZE, 3), np.uint8)
    together = network.run(images)["detections"]
    assert sorted(network._prepared) == [1, 2, 4, 6]
    for count in (1, 2, 3, 5):
        found = network.run(images[:count])["detections"]
        np.testing.assert_allclose(found, together[:count], atol=1e-5)
    assert sorted(network._prepared) == [1, 2, 4, 6]
    left_over = network._prepared[6]._images[5]
    assert (left_over == 114).all()


def test_an_operator_that_is_not_known_is_refused_and_the_old_release_stays(
    release: Release, tmp_path: Path
) -> None:
    runtime = opened(PyTorchConfig(device="cpu"), release)
    slow = load_release(write_release(tmp_path, variant="slow"))
    with pytest.raises(
        InferenceError,
        match=r"demo/1: operator Loop is not known to the runtime pytorch; use the runtime onnxruntime",
    ):
        runtime.load(slow, 60.0)
    assert runtime.alive(1.0)
    assert runtime.infer(np.zeros((1, SIZE, SIZE, 3), np.uint8), 1.0)


def test_what_is_refused_while_it_is_planned_says_what_to_use(
    release: Release, tmp_path: Path
) -> None:
    document = onnx.load(release.model)
    document.graph.node.insert(3, onnx.helper.make_node("Mod", ["x", "one"], ["rest"], name="odd"))
    onnx.save(document, tmp_path / "model.onnx")
    changed = dataclasses.replace(
        release, model=tmp_path / "model.onnx", model_sha256=sha256_file(tmp_path / "model.onnx")
    )
    words = "colours/1: Mod odd: Mod of floats without fmod is not known to the runtime pytorch"
    with pytest.raises(InferenceError, match=words) as caught:
        PyTorchConfig(device="cpu").open().load(changed, 60.0)
    assert str(caught.value).endswith("use the runtime onnxruntime")


def test_what_is_missing_is_said_and_what_to_install(
    release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(
        InferenceError, match=r"needs PyTorch and torchvision .*pip install .*train"
    ):
        PyTorchConfig().open().load(release, 60.0)
    assert not has_cuda()


def test_a_fault_keeps_the_librarys_words(tmp_path: Path) -> None:
    """The service looks for cuda and its like in them, and ends: never in our own names."""
    faulty = load_release(write_release(tmp_path, part="gpu", size=INPUT_SIZE, variant="faulty"))
    runtime = opened(PyTorchConfig(device="cpu"), faulty)
    images = np.full((1, *INPUT_SIZE, 3), 255, np.uint8)
    with pytest.raises(InferenceError, match="PyTorch failed on gpu/1: Reshape") as caught:
        runtime.infer(images, 60.0)
    assert type(caught.value.__cause__) is RuntimeError
    assert "gpu" not in str(caught.value.__cause__)
    assert not runtime.alive(1.0)


@pytest.mark.skipif(has_cuda(), reason="PyTorch sees a GPU here")
@pytest.mark.parametrize("name", ["cuda", "cuda:3"])
def test_a_device_that_is_not_there_is_refused(release: Release, name: str) -> None:
    runtime = PyTorchConfig(device=name).open()
    with pytest.raises(InferenceError, match=rf"device is {name}, but .* sees 0 GPUs"):
        runtime.load(release, 60.0)
    assert not runtime.alive(1.0)
    with pytest.raises(ConfigError, match="PyTorch sees no GPU"):
        choose_runtime(Settings(Path("releases"), device="cuda", runtime="pytorch"))
    if built_for_cuda():
        with pytest.raises(ConfigError, match="device auto: PyTorch sees no GPU"):
            choose_runtime(Settings(Path("releases"), runtime="pytorch"))
    chosen = choose_runtime(Settings(Path("releases"), device="cpu", runtime="pytorch", threads=2))
    assert chosen == PyTorchConfig(device="cpu", threads=2)


@pytest.mark.skipif(has_cuda(), reason="PyTorch sees a GPU here")
def test_the_processor_that_stands_in_says_how_long_it_takes(
    release: Release, caplog: pytest.LogCaptureFixture
) -> None:
    """The line then holds it against the recipe's deadline: see test_stand_in.py."""
    assert opened(PyTorchConfig(device="cpu"), release).fell_back is None
    assert not caplog.records
    runtime = opened(PyTorchConfig(), release)
    assert isinstance(runtime, FallsBack)
    if built_for_cuda():
        assert 0 < runtime.fell_back < 60
        assert "sees no GPU: it runs colours/1 on the processor" in caplog.text
    else:
        assert runtime.fell_back is None


def test_other_devices_and_precisions_are_refused() -> None:
    for name in ("gpu", "cuda:", "CUDA", "mps"):
        with pytest.raises(ValidationError, match="device"):
            PyTorchConfig(device=name)
    with pytest.raises(ConfigError, match="precision bf16 runs with openvino"):
        choose_runtime(Settings(Path("releases"), runtime="pytorch", precision="bf16"))


def test_the_service_runs_it(release: Release) -> None:
    asked = ("--runtime", "pytorch", "--device", "cpu", "--threads", "1", "--max-batch", "3")
    images = np.random.default_rng(2).integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)
    with ServiceProcess(release.folder.parent.parent, *asked) as running:
        served = opened(ServiceConfig(url=running.url, timeout=PATIENCE), release)
        compare(served.infer(images, 60.0), opened(PyTorchConfig(), release).infer(images, 60.0))
        served.close()


def test_a_cluster_that_could_differ_is_refused() -> None:
    with (
        pytest.raises(ConfigError, match="takes a GPU where a node has one"),
        cluster_detection("", "pytorch", 1),
    ):
        pass


@pytest.mark.skipif(has_cuda(), reason="PyTorch sees a GPU here")
def test_tune_and_bench_say_that_there_is_no_gpu() -> None:
    found, out = list_candidates([Precision("f32"), Precision("bf16")], None, ["pytorch"])
    assert not found
    assert [why for _, why in out] == ["PyTorch sees no GPU here, or is not installed"]
    sides, why = gpu_sides()
    assert "ours pytorch cuda" not in sides
    assert "ours pytorch cuda was skipped: PyTorch sees no GPU here" in why


@needs_cuda
def test_tune_tries_the_gpu() -> None:
    found, _ = list_candidates([Precision("f32"), Precision("bf16")], None, ["pytorch"])
    assert [one.runtime for one in found] == [{"type": "pytorch", "device": "cuda"}]


@needs_cuda
def test_cuda_gives_what_the_processor_gives(exported: Release) -> None:
    mine = opened(PyTorchConfig(device="cuda"), exported)
    other = opened(PyTorchConfig(device="cpu"), exported)
    for images in (pictures(3), pictures(1), pictures(2)):
        compare(mine.infer(images, 60.0), other.infer(images, 60.0))


@needs_cuda
def test_the_recorded_graph_is_used(release: Release) -> None:
    runtime = opened(PyTorchConfig(device="cuda"), release)
    _, network = runtime._loaded
    assert all(prepared._recorded is not None for prepared in network._prepared.values())
