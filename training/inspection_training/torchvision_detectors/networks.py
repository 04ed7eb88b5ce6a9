"""The networks: torchvision's own detectors, for pictures of one size that come letterboxed.

    RGB 0..1 [B, 3, H, W] ─▶ normalised ─▶ backbone ─▶ pyramid of features ─▶ heads

Three ways from features to boxes are here: Faster R-CNN proposes regions and looks at each again; RetinaNet
and SSD correct a grid of boxes; FCOS measures the distances from a place to the edges around it. Names
ending in `mobilenet_v2_fpn` are put together from torchvision's parts, small enough for a CPU and with
boxes for small defects; the others are torchvision's as they are. Nothing is ever downloaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import get_model, mobilenet_v2
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.fcos import FCOSHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops import MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

CHANNELS = 128
"""Channels of the pyramid on MobileNetV2; torchvision's 256 cost four times as much."""
TOWER = 2
"""Convolutions in each head on MobileNetV2; torchvision's own networks have four."""
STRIDES = (8, 16, 32, 64)
_RATIOS = (0.5, 1.0, 2.0)
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_SYMMETRIC = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


class OneSize(nn.Module):
    """Stands where torchvision resizes pictures: ours have the network's size, and are normalised only."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, normal: tuple[tuple[float, ...], ...]) -> None:
        super().__init__()
        shape = (1, 3, 1, 1)
        self.register_buffer("mean", torch.tensor(normal[0]).view(shape), persistent=False)
        self.register_buffer("deviation", torch.tensor(normal[1]).view(shape), persistent=False)

    def normalise(self, pixels: Tensor) -> Tensor:
        """RGB 0..1 [B, 3, H, W] to what the backbone was trained on."""
        return (pixels - self.mean) / self.deviation

    def forward(self, images: Tensor, targets: Any = None) -> tuple[ImageList, Any]:
        """Return the batch as torchvision's networks take it; targets are left as they are."""
        height, width = images.shape[-2:]
        return ImageList(self.normalise(images), [(height, width)] * len(images)), targets

    def postprocess(self, found: Any, _sizes: Any, _original: Any) -> Any:
        """Return the detections as they are: the picture was not resized."""
        return found


class FarSideConv(nn.Conv2d):
    """A stride-2 convolution padded right and bottom only, as TensorFlow pads an even picture."""

    def forward(self, input: Tensor) -> Tensor:
        """Pad, then convolve."""
        return super().forward(functional.pad(input, (0, 1, 0, 1)))


def has_background(name: str) -> bool:
    """Tell whether the network's class 0 is the background, so that ours begin at 1."""
    return name.startswith(("fasterrcnn", "ssdlite"))


def build_network(name: str, classes: int, source: str) -> nn.Module:
    """Return a network with random weights.

    Args:
        name: as in `Experiment.model`.
        classes: number of the dataset's classes.
        source: `Experiment.backbone_input`: how pictures were normalised and padded for the backbone.

    Returns:
        A torchvision detector. While it is trained it takes RGB 0..1 [B, 3, H, W] and a list of targets
        (boxes in pixels, labels from `has_background`), and gives its losses by name.
    """
    number = classes + int(has_background(name))
    if "mobilenet_v2" in name:
        network = _on_mobilenet_v2(name, number)
    else:
        network = get_model(name, weights=None, weights_backbone=None, num_classes=number)
    tensorflow = source == "tensorflow"
    if tensorflow:
        _pad_far_side(network.backbone.body)
    symmetric = tensorflow or name.startswith("ssdlite")
    network.transform = OneSize(_SYMMETRIC if symmetric else _IMAGENET)
    return network


def _on_mobilenet_v2(name: str, number: int) -> Any:
    if name.startswith("fasterrcnn"):
        return _faster_rcnn(number)
    backbone = _pyramid(LastLevelP6P7(CHANNELS, CHANNELS))
    if name.startswith("fcos"):
        steps = AnchorGenerator(tuple((s,) for s in (*STRIDES, 128)), ((1.0,),) * 5)
        head = FCOSHead(CHANNELS, 1, number, num_convs=TOWER)
        return FCOS(backbone, number, anchor_generator=steps, head=head)
    sizes = tuple(_octaves(stride, 3) for stride in (*STRIDES, 128))
    boxes = AnchorGenerator(sizes, (_RATIOS,) * len(sizes))
    head = RetinaNetHead(CHANNELS, boxes.num_anchors_per_location()[0], number)
    for part in (head.classification_head, head.regression_head):
        part.conv = part.conv[:TOWER]
    return RetinaNet(backbone, number, anchor_generator=boxes, head=head)


def _faster_rcnn(number: int) -> FasterRCNN:
    sizes = tuple(_octaves(stride, 2) for stride in STRIDES)
    return FasterRCNN(
        _pyramid(None),
        number,
        rpn_anchor_generator=AnchorGenerator(sizes, (_RATIOS,) * len(sizes)),
        box_roi_pool=MultiScaleRoIAlign(["0", "1", "2"], 7, 2),
        rpn_pre_nms_top_n_train=500,
        rpn_post_nms_top_n_train=300,
        rpn_pre_nms_top_n_test=300,
        rpn_post_nms_top_n_test=150,
        box_batch_size_per_image=128,
    )


def _octaves(stride: int, steps: int) -> tuple[int, ...]:
    """Return sides of boxes at this stride, from twice the stride up to the next stride's, in pixels."""
    return tuple(round(2 * stride * 2 ** (step / steps)) for step in range(steps))


def _pyramid(extra: Any) -> BackboneWithFPN:
    """Return MobileNetV2 with a feature pyramid at strides 8, 16 and 32, and what `extra` adds."""
    features = mobilenet_v2(weights=None).features
    layers = {"6": "0", "13": "1", "17": "2"}
    return BackboneWithFPN(features, layers, [32, 96, 320], CHANNELS, extra_blocks=extra)


def _pad_far_side(body: nn.Module) -> None:
    for module in body.modules():
        if isinstance(module, nn.Conv2d) and module.stride == (2, 2) and module.padding == (1, 1):
            module.__class__ = FarSideConv
            module.padding = (0, 0)


def compute_in_bf16(network: nn.Module, device: str) -> None:
    """Make the large parts compute in bf16 while weights, boxes and losses stay float32.

    The network cannot be copied afterwards: a copy would compute with these weights.
    """
    parts: Sequence[Any] = [network.backbone]
    if isinstance(network, FasterRCNN):
        parts = [*parts, network.rpn.head, network.roi_heads.box_head]
    else:
        parts = [*parts, network.head]
    for part in parts:
        part.forward = _mixed(part.forward, device)


def _mixed(forward: Any, device: str) -> Any:
    def run(*inputs: Any) -> Any:
        with torch.autocast(device, torch.bfloat16):
            outputs = forward(*inputs)
        return _as_float(outputs)

    return run


def _as_float(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float()
    if isinstance(value, dict):
        return {key: _as_float(item) for key, item in value.items()}
    return type(value)(_as_float(item) for item in value)
