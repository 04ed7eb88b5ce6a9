"""What the eight-bit form of a network leaves in float: activations whole, and all behind the network."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inspection.runtimes.libraries import openvino_core
from inspection.variants import IR_MODEL
from inspection_training.export_settings import ExportSettings
from inspection_training.ultralytics_detectors.export import export_detector
from inspection_training.ultralytics_detectors.quiet import quiet_ultralytics
from inspection_training.variants.quantize import Int8Graph, quantise

SIZE = (64, 96)
CLASSES = ("scratch", "dent")
QUANTISE = "FakeQuantize"


@pytest.fixture(scope="module", params=["yolov8n", "yolov8n-seg", "yolo26n"])
def graph(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Int8Graph:
    import torch
    from ultralytics.nn.tasks import DetectionModel, SegmentationModel, yaml_model_load

    folder = tmp_path_factory.mktemp(request.param)
    with quiet_ultralytics(folder / "run"):
        torch.manual_seed(0)
        architecture = yaml_model_load(f"{request.param}.yaml")
        architecture["scales"] = {"n": [0.33, 0.125, 1024]}
        kind = SegmentationModel if "-seg" in request.param else DetectionModel
        network = kind(architecture, nc=len(CLASSES), verbose=False).eval()
        export_detector(network, folder / "model.onnx", ExportSettings(SIZE), CLASSES)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (1, *SIZE, 3), np.uint8) for _ in range(4)]
    return quantise(folder / "model.onnx", images, symmetric=True)


def eight_bit_inputs(graph: Int8Graph) -> list[Any]:
    """Operators with an input in eight bits."""
    ops = graph.quantised.get_ordered_ops()
    return [op for op in ops if op.get_type_name() != QUANTISE and _quantised(op)]


def _quantised(op: Any) -> bool:
    sources = [place.get_source_output().get_node().get_type_name() for place in op.inputs()]
    return QUANTISE in sources


def test_convolutions_are_in_eight_bits(graph: Int8Graph) -> None:
    kinds = [op.get_type_name() for op in eight_bit_inputs(graph)]
    assert kinds.count("Convolution") > 50


def test_activations_are_one_operator_behind_their_convolution(graph: Int8Graph) -> None:
    """Eight bits between a Sigmoid and its Multiply would keep OpenVINO from computing SiLU in one go."""
    ops = graph.quantised.get_ordered_ops()
    kinds = [op.get_type_name() for op in ops]
    assert kinds.count("Swish") > 50
    for op in ops:
        if op.get_type_name() == "Swish":
            assert not _quantised(op), op.get_friendly_name()


def test_nothing_behind_the_network_is_in_eight_bits(graph: Int8Graph) -> None:
    behind = [op.get_friendly_name() for op in eight_bit_inputs(graph) if _is_behind(op)]
    assert behind == []


def test_a_form_with_all_layers_in_float_has_nothing_in_eight_bits(
    graph: Int8Graph, tmp_path: Path
) -> None:
    graph.write(graph.layers, tmp_path, "f32")
    model = openvino_core().read_model(tmp_path / IR_MODEL)
    ranges = [op for op in model.get_ordered_ops() if op.get_type_name() == QUANTISE]
    assert [op.get_friendly_name() for op in ranges if not _is_weight(op)] == []


def _is_weight(op: Any) -> bool:
    return op.input(0).get_source_output().get_node().get_type_name() in {"Constant", "Convert"}


def _is_behind(op: Any) -> bool:
    return op.get_friendly_name().startswith("post_") or op.get_type_name() in {
        *("Softmax", "ReduceSum", "Subtract", "GatherND", "TopK", "NonMaxSuppression"),
    }
