"""The network that looks at patches: a torchvision classifier's first half, from the user's weight file.

    RGB 0..1 ─▶ normalise ─▶ stride 8 ─▶ first [B, C1, H/8, W/8]
                                 └─▶ stride 16 ─▶ second [B, C2, H/16, W/16]

Middle layers know edges and textures and not yet the objects of the pictures they were trained on.
Which network a file holds is told from the names and shapes in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from inspection.errors import ConfigError
from inspection.release import sha256_file

Source = Literal["torchvision", "tensorflow"]
_HEADS = ("fc.", "classifier.")
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_SYMMETRIC = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
NEEDED = (
    "family good_parts looks at parts through a trained backbone and has none of its own: give "
    "--weights FILE, a torchvision state dict (.pth) of mobilenet_v2, resnet18 or resnet50"
)


class MiddleLayers(nn.Module):
    """Two middle layers of a classifier, with its input normalisation; frozen."""

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, first: nn.Module, second: nn.Module, normal: tuple[tuple[float, ...], ...]
    ) -> None:
        super().__init__()
        self.first, self.second = first, second
        self.register_buffer("mean", torch.tensor(normal[0]).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(normal[1]).view(1, 3, 1, 1))
        self.requires_grad_(False)
        self.eval()

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Float32 RGB 0..1 [B, 3, H, W] to both layers, stride 8 and stride 16."""
        first = self.first((pixels - self.mean) / self.deviation)
        return first, self.second(first)


@dataclass(frozen=True, slots=True)
class Backbone:
    """A loaded backbone.

    Attributes:
        name: mobilenet_v2, resnet18 or resnet50.
        layers: gives both middle layers.
        origin: file name and sha256.
    """

    name: str
    layers: MiddleLayers
    origin: str


def load_backbone(path: Path | None, source: Source) -> Backbone:
    """Load a weight file.

    Args:
        path: a state dict as torchvision names its weights; the classifier may be missing.
        source: how its pictures were normalised and padded when it was trained.

    Raises:
        ConfigError: no file, not a state dict, another network, or broken weights.
    """
    if path is None:
        raise ConfigError(NEEDED)
    state = _read(path)
    name = recognise(state, path)
    if source == "tensorflow" and name != "mobilenet_v2":
        raise ConfigError(
            f"{path.name} holds {name}; backbone_input tensorflow is for mobilenet_v2 only, "
            "set it to torchvision"
        )
    layers = (
        _mobilenet(state, path, source) if name == "mobilenet_v2" else _resnet(name, state, path)
    )
    return Backbone(name, layers, f"{path.name} sha256:{sha256_file(path)}")


def recognise(state: dict[str, Tensor], path: Path) -> str:
    """Return which network the names and shapes belong to. Raises ConfigError for any other."""
    if "features.18.0.weight" in state and "features.17.conv.0.0.weight" in state:
        return "mobilenet_v2"
    if "layer1.0.conv1.weight" in state and "layer4.1.conv1.weight" in state:
        width = state["layer1.0.conv1.weight"].shape[0]
        deep = "layer1.0.conv3.weight" in state
        if not deep and "layer1.2.conv1.weight" not in state:
            return "resnet18"
        if deep and width == 64 and "layer3.6.conv1.weight" not in state:
            return "resnet50"
    raise ConfigError(f"{path.name} holds none of the known backbones; {NEEDED}")


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ConfigError(f"weight file {path} does not exist; {NEEDED}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and pickle raise their own kinds
        raise ConfigError(f"{path.name} is no weight file that can be read; {NEEDED}") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ConfigError(f"{path.name} is no state dict (names with tensors); {NEEDED}")
    broken = [name for name, value in state.items() if not torch.isfinite(value).all()]
    if broken:
        raise ConfigError(
            f"{path.name} has values that are no numbers in {broken[0]}; get it again"
        )
    return state


def _fill(network: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    body = {name: value for name, value in state.items() if not name.startswith(_HEADS)}
    try:
        missing, unexpected = network.load_state_dict(body, strict=False)
    except RuntimeError as error:
        raise ConfigError(f"{path.name} has weights of other shapes: {error}; {NEEDED}") from error
    missing = [x for x in missing if not x.startswith(_HEADS) and "num_batches" not in x]
    if missing or unexpected:
        raise ConfigError(
            f"{path.name} lacks {missing[:3]} and has unknown {unexpected[:3]}; {NEEDED}"
        )


def _mobilenet(state: dict[str, Tensor], path: Path, source: Source) -> MiddleLayers:
    from torchvision.models import mobilenet_v2

    network: Any = mobilenet_v2(weights=None)
    _fill(network, state, path)
    layers = network.features
    if source == "tensorflow":
        _pad_far_side(layers)
    normal = _SYMMETRIC if source == "tensorflow" else _IMAGENET
    return MiddleLayers(layers[:7], layers[7:14], normal)


def _pad_far_side(layers: nn.Module) -> None:
    """TensorFlow pads a stride-2 convolution of an even picture on the right and bottom only."""
    for module in list(layers.modules()):
        if isinstance(module, nn.Sequential):
            for index, inner in enumerate(module):
                if isinstance(inner, nn.Conv2d) and inner.stride == (2, 2):
                    inner.padding = (0, 0)
                    module[index] = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), inner)


def _resnet(name: str, state: dict[str, Tensor], path: Path) -> MiddleLayers:
    from torchvision import models

    network: Any = models.get_model(name, weights=None)
    _fill(network, state, path)
    stem = (network.conv1, network.bn1, network.relu, network.maxpool)
    first = nn.Sequential(*stem, network.layer1, network.layer2)
    return MiddleLayers(first, network.layer3, _IMAGENET)
