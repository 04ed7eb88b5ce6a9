"""Start from a weight file: a whole torchvision detector, or only its backbone.

Which of the two a file holds is told from the names in it. Of a whole detector everything is taken but the
layers that name classes, when they were made for another number of them. Of a classifier (MobileNet, ResNet)
the backbone is taken. Files are read without running code in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from inspection.errors import ConfigError
from inspection.release import sha256_file

CLASS_LAYERS = (
    "roi_heads.box_predictor.",
    "head.classification_head.cls_logits.",
    "head.classification_head.module_list.",
)
WANTED = (
    "give a torchvision state dict (.pth): of this detector, or of its backbone as a classifier "
    "(mobilenet_v2, mobilenet_v3_large, resnet50); or --weights random"
)
_LEFT_OUT = ("classifier.", "fc.")


def origin(path: Path | None) -> str:
    """Return file name and sha256 of a weight file, or `random`. Raises ConfigError: no such file."""
    if path is None:
        return "random"
    if not path.is_file():
        raise ConfigError(f"weight file {path} does not exist; {WANTED}")
    return f"{path.name} sha256:{sha256_file(path)}"


def load_weights(network: nn.Module, path: Path, name: str) -> str:
    """Put the weights of a file into a network.

    Args:
        network: from `build_network`.
        path: the file.
        name: name of the network, for messages.

    Returns:
        `detector` or `backbone`: what the file held.

    Raises:
        ConfigError: no state dict, another network, or values that are no numbers.
    """
    state = _read(path)
    whole = any(key.startswith(("rpn.", "head.")) for key in state)
    taken = state if whole else _as_backbone(state, network, path, name)
    own = network.state_dict()
    other = {k for k, v in taken.items() if k in own and own[k].shape != v.shape}
    wrong = sorted(k for k in other if not (whole and k.startswith(CLASS_LAYERS)))
    needed = own if whole else {k: v for k, v in own.items() if k.startswith("backbone.body.")}
    missing = sorted(k for k in needed if k not in taken and "num_batches_tracked" not in k)
    unknown = sorted(k for k in taken if k not in own)
    if wrong or missing or unknown:
        found = wrong or missing or unknown
        what = "other shapes in" if wrong else "no" if missing else "unknown weights such as"
        raise ConfigError(
            f"{path.name} does not fit {name}: {what} {found[0]} ({len(found)} in all); {WANTED}"
        )
    network.load_state_dict({k: v for k, v in taken.items() if k not in other}, strict=False)
    return "detector" if whole else "backbone"


def _read(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and pickle raise their own kinds
        raise ConfigError(f"{path.name} is no weight file that can be read; {WANTED}") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ConfigError(f"{path.name} is no state dict (names with tensors); {WANTED}")
    broken = first_not_finite(state)
    if broken:
        raise ConfigError(f"{path.name} has values that are no numbers in {broken}; get it again")
    return state


def first_not_finite(*states: Mapping[str, Tensor]) -> str:
    """Return the name of the first weight with a value that is no finite number; empty: there is none."""
    named = (item for state in states for item in state.items())
    return next((name for name, value in named if not torch.isfinite(value).all()), "")


def _as_backbone(
    state: dict[str, Tensor], network: nn.Module, path: Path, name: str
) -> dict[str, Tensor]:
    """Return the weights under the names that they have inside the detector."""
    if not hasattr(network.backbone, "body"):
        raise ConfigError(
            f"{path.name} holds no detector, and {name} starts from a whole detector only; give "
            "torchvision's weights of it, or --weights random"
        )
    body = {k: v for k, v in state.items() if not k.startswith(_LEFT_OUT)}
    named = {f"backbone.body.{k.removeprefix('features.')}": v for k, v in body.items()}
    deepest = {
        key.split(".")[2] for key in network.state_dict() if key.startswith("backbone.body.")
    }
    return {k: v for k, v in named.items() if k.split(".")[2] in deepest}
