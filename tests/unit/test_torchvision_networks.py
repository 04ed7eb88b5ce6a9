"""Networks of the torchvision family: what they find, how they are exported, where they start from."""

import copy
import functools
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models import mobilenet_v2

from inspection.errors import ConfigError
from inspection.runtimes.libraries import import_onnxruntime, openvino_core
from inspection_training.export_settings import ExportSettings
from inspection_training.parity import match_rows
from inspection_training.torchvision_detectors.export import export_network
from inspection_training.torchvision_detectors.inference import ReleasedDetector
from inspection_training.torchvision_detectors.networks import (
    FarSideConv,
    build_network,
    compute_in_bf16,
    has_background,
)
from inspection_training.torchvision_detectors.weights import load_weights

SIZE = (64, 96)
SMALL = [
    "fasterrcnn_mobilenet_v2_fpn",
    "retinanet_mobilenet_v2_fpn",
    "fcos_mobilenet_v2_fpn",
    "ssdlite320_mobilenet_v3_large",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
]
LARGE = [
    "fasterrcnn_mobilenet_v3_large_fpn",
    "retinanet_resnet50_fpn",
    "fcos_resnet50_fpn",
]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def a_batch(name: str):
    """Two pictures: two squares of two classes on noise, and nothing."""
    generator = torch.Generator().manual_seed(5)
    pixels = torch.rand(2, 3, *SIZE, generator=generator) * 0.2
    pixels[0, :, 8:40, 8:40] = 0.9
    pixels[0, 0, 24:56, 56:88] = 0.9
    first = int(has_background(name))
    boxes = torch.tensor([[8.0, 8, 40, 40], [56, 24, 88, 56]])
    targets = [
        {"boxes": boxes, "labels": torch.tensor([first, 1 + first])},
        {"boxes": boxes[:0], "labels": torch.zeros(0, dtype=torch.int64)},
    ]
    return pixels, targets


@functools.cache
def lively(name: str):
    """A network that has learned a little, so that its scores are not all alike."""
    steps = 4 if "mobilenet_v3_large_320" in name else 12
    torch.manual_seed(0)
    network = build_network(name, 3, "torchvision")
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.5  # what it saw is what it will see
    pixels, targets = a_batch(name)
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-4)
    network.train()
    for _ in range(steps):
        losses = torch.stack(list(network(pixels, targets).values())).sum()
        optimizer.zero_grad()
        losses.backward()
        optimizer.step()
    return network.eval()


def as_images(pixels: torch.Tensor) -> np.ndarray:
    return (pixels * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


@pytest.mark.parametrize("name", SMALL)
def test_the_export_finds_what_the_network_finds_at_any_batch(name, tmp_path):
    network = lively(name)
    settings = ExportSettings(SIZE, 0.5, 0.003, 200, 50)
    path = tmp_path / "model.onnx"
    export_network(network, path, settings, ["a", "b", "c"], "BSD-3-Clause")
    images = as_images(a_batch(name)[0])
    images = np.concatenate([images, images[::-1], 255 - images[:1]])
    with torch.no_grad():
        expected = ReleasedDetector(network, settings)(torch.from_numpy(images)).numpy()
    assert (expected[[0, 3], :, 4] > 0.05).any(axis=1).all(), "nothing to compare"
    session = import_onnxruntime().InferenceSession(str(path))
    compiled = openvino_core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for batch in (1, 2, 5):
        for rows in (
            session.run(None, {"images": images[:batch]})[0],
            next(iter(compiled([images[:batch]]).values())),
        ):
            assert rows.shape == (batch, *expected.shape[1:])
            assert rows.dtype == np.float32
            assert rows[..., 4].min() >= 0
            assert rows[..., 4].max() <= 1
            assert (np.diff(rows[..., 4], axis=1) <= 1e-6).all(), "best first"
            for mine, theirs in zip(expected, rows, strict=False):
                pairs, alone = match_rows(mine[mine[:, 4] > 0], theirs[theirs[:, 4] > 0], 0.02)
                assert alone == 0
                assert all(d < 1e-4 and overlap > 0.99 for d, overlap in pairs)


@pytest.mark.parametrize("name", SMALL)
def test_a_network_that_computes_nonsense_does_not_find_nothing(name, tmp_path):
    """Sorting and comparing lose what is no number: the rows of the image must be none, not empty."""
    network = copy.deepcopy(lively(name))
    scores = [value for key, value in network.named_parameters() if re.search("cls|classif", key)]
    with torch.no_grad():
        scores[-1].view(-1)[0] = torch.nan
    path = tmp_path / "model.onnx"
    export_network(network, path, ExportSettings(SIZE, 0.5, 0.003, 200, 50), ["a", "b", "c"], "")
    images = as_images(a_batch(name)[0])
    session = import_onnxruntime().InferenceSession(str(path))
    compiled = openvino_core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert np.isnan(session.run(None, {"images": images})[0]).all()
    assert np.isnan(next(iter(compiled([images]).values()))).all()


@pytest.mark.parametrize("name", SMALL[:4])
def test_it_finds_what_torchvision_itself_finds(name):
    """Torchvision's own post-processing finds the same boxes, scores and classes.

    Without suppression on either side: there a box has several classes, and its second-best may
    suppress another box that is whole with us.
    """
    network = lively(name)
    pixels, _ = a_batch(name)
    settings = ExportSettings(SIZE, 1.0, 0.01, 300, 100)
    owner = network.roi_heads if hasattr(network, "roi_heads") else network
    owner.score_thresh, owner.nms_thresh, owner.topk_candidates = 0.01, 1.0, 1000
    owner.detections_per_img = 3000
    images = torch.from_numpy(as_images(pixels))
    with torch.no_grad():
        rows = ReleasedDetector(network, settings)(images).numpy()
        theirs = network(images.permute(0, 3, 1, 2).float() / 255)
    first = int(has_background(name))
    for mine, found in zip(rows, theirs, strict=True):
        own = mine[mine[:, 4] > 0]
        labels = found["labels"].numpy()[:, None] - first
        their = np.concatenate([found["boxes"], found["scores"][:, None], labels], 1)
        assert len(own) or not len(their)
        for row in own:
            same = their[(their[:, 5] == row[5]) & (abs(their[:, 4] - row[4]) < 1e-4)]
            assert len(same)
            assert abs(same[:, :4] - row[:4]).max(axis=1).min() < 0.05


@pytest.mark.parametrize("name", LARGE)
def test_torchvisions_own_networks_are_built_and_learn(name):
    network = build_network(name, 2, "torchvision").train()
    losses = network(*a_batch(name))
    total = torch.stack(list(losses.values())).sum()
    total.backward()
    assert torch.isfinite(total)


def test_pictures_without_defects_are_learned_from():
    name = "fasterrcnn_mobilenet_v2_fpn"
    network = build_network(name, 2, "torchvision").train()
    pixels, targets = a_batch(name)
    losses = network(pixels[1:], targets[1:])
    assert all(torch.isfinite(value) for value in losses.values())


@pytest.mark.parametrize("name", SMALL[:3])
def test_bf16_gives_nearly_the_same_losses(name):
    torch.manual_seed(1)
    plain = build_network(name, 2, "torchvision").train()
    mixed = build_network(name, 2, "torchvision").train()
    mixed.load_state_dict(plain.state_dict())
    compute_in_bf16(mixed, "cpu")
    for module in (*plain.modules(), *mixed.modules()):
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()  # statistics of two pictures would make more of it than rounding does
    torch.manual_seed(2)
    expected = torch.stack(list(plain(*a_batch(name)).values())).sum()
    torch.manual_seed(2)
    found = torch.stack(list(mixed(*a_batch(name)).values())).sum()
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected.item(), rel=0.05)
    found.backward()
    assert all(p.grad.dtype == torch.float32 for p in mixed.parameters() if p.grad is not None)


def test_a_backbone_is_loaded_and_padded_as_tensorflow_does(tmp_path):
    classifier = mobilenet_v2(weights=None)
    path = tmp_path / "mobilenet_v2.pth"
    torch.save(classifier.state_dict(), path)
    name = "fcos_mobilenet_v2_fpn"
    network = build_network(name, 2, "tensorflow")
    assert load_weights(network, path, name) == "backbone"
    own = network.backbone.body
    assert torch.equal(own["17"].conv[0][0].weight, classifier.features[17].conv[0][0].weight)
    assert sum(isinstance(m, FarSideConv) for m in own.modules()) == 5
    assert network.transform.normalise(torch.ones(1, 3, 1, 1)).max() == 1.0
    assert network.transform.normalise(torch.zeros(1, 3, 1, 1)).min() == -1.0
    with torch.no_grad():
        far = network.backbone(torch.rand(1, 3, 64, 96))
    assert [v.shape[2:] for v in far.values()][:2] == [(8, 12), (4, 6)]


def test_a_detector_with_other_classes_is_loaded_without_its_class_layers(tmp_path):
    name = "fasterrcnn_mobilenet_v2_fpn"
    other = build_network(name, 7, "torchvision")
    path = tmp_path / "detector.pth"
    torch.save(other.state_dict(), path)
    network = build_network(name, 2, "torchvision")
    assert load_weights(network, path, name) == "detector"
    assert torch.equal(network.rpn.head.cls_logits.weight, other.rpn.head.cls_logits.weight)
    assert network.roi_heads.box_predictor.cls_score.out_features == 3
    same = build_network(name, 7, "torchvision")
    load_weights(same, path, name)
    assert torch.equal(
        same.roi_heads.box_predictor.cls_score.weight,
        other.roi_heads.box_predictor.cls_score.weight,
    )


def test_wrong_weight_files_are_refused(tmp_path: Path):
    name = "fcos_mobilenet_v2_fpn"
    network = build_network(name, 2, "torchvision")
    path = tmp_path / "w.pth"

    def refused(words: str) -> None:
        with pytest.raises(ConfigError, match=words):
            load_weights(network, path, name)

    path.write_bytes(b"no weights")
    refused("no weight file that can be read")
    torch.save([1, 2], path)
    refused("no state dict")
    torch.save({"features.0.0.weight": torch.full((32, 3, 3, 3), float("nan"))}, path)
    refused("no numbers in features.0.0.weight")
    torch.save({"features.0.0.weight": torch.zeros(32, 3, 3, 3)}, path)
    refused("does not fit fcos_mobilenet_v2_fpn: no backbone.body")
    torch.save(mobilenet_v2(weights=None, width_mult=0.5).state_dict(), path)
    refused("other shapes in")
    torch.save(build_network("retinanet_mobilenet_v2_fpn", 2, "torchvision").state_dict(), path)
    refused("does not fit")
    torch.save(mobilenet_v2(weights=None).state_dict(), path)
    with pytest.raises(ConfigError, match="starts from a whole detector only"):
        load_weights(
            build_network("ssdlite320_mobilenet_v3_large", 2, "torchvision"), path, "ssdlite320"
        )


def test_a_weight_file_with_code_in_it_is_not_run(tmp_path: Path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    path = tmp_path / "trap.pth"
    torch.save({"features.0.0.weight": Trap()}, path)
    with pytest.raises(ConfigError, match="no weight file"):
        load_weights(build_network("fcos_mobilenet_v2_fpn", 2, "torchvision"), path, "fcos")
    assert not (tmp_path / "ran").exists()
