"""The network to train: ultralytics' architecture with the dataset's classes, and weights to start from.

Imported only while training. A network with outlines may start from a detector's weights: the layers that
both have are taken over, the others start at random.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspection.errors import ConfigError
from inspection_training.experiment import Experiment

if TYPE_CHECKING:
    from torch import nn


def build_network(
    trainer: Any, experiment: Experiment, weights: Path | None
) -> tuple[nn.Module, str]:
    """Return the network to train, and in words what was taken over from the weights of another one.

    Args:
        trainer: makes the network with the dataset's classes.
        experiment: `model`, `width` and `activation`.
        weights: an ultralytics `.pt` file; None: random weights.

    Raises:
        ConfigError: there is no such architecture, or the weights are of another one.
    """
    from ultralytics.nn.tasks import load_checkpoint

    if weights is None:
        architecture = _architecture(experiment.model)
        if experiment.width is not None:
            scale = list(architecture["scales"][architecture["scale"]])
            scale[1] = experiment.width
            architecture["scales"] = {architecture["scale"]: scale}
        network = trainer.get_model(cfg=architecture, weights=None, verbose=False)
        _put_activation(network, experiment.activation)
        return network, ""
    if experiment.width is not None:
        raise ConfigError("width needs random weights; a weight file has its own width")
    loaded, _ = load_checkpoint(weights)
    name = re.sub(r"\.ya?ml$", "", Path(str(loaded.yaml.get("yaml_file", ""))).name)
    if name not in (experiment.model, experiment.model.removesuffix("-seg")):
        raise ConfigError(
            f"{weights.name} holds {name or 'an unknown network'}, the experiment wants "
            f"{experiment.model}; set --model {name}"
        )
    whole = name == experiment.model
    architecture = loaded.yaml if whole else _architecture(experiment.model)
    network = trainer.get_model(cfg=architecture, weights=loaded, verbose=False)
    taken = "" if whole else f"{_shared(network, loaded)} of {name}; the rest starts at random"
    own = activation_of(loaded)
    if own == "own" and experiment.activation != "own":
        raise ConfigError(
            f"{weights.name} holds a network with neither SiLU nor Hardswish throughout; leave activation out"
        )
    _put_activation(network, own if experiment.activation == "own" else experiment.activation)
    return network, taken


def activation_of(network: nn.Module) -> str:
    """Return silu or hardswish, whichever a network has; own: another one, or both."""
    from torch import nn

    kinds = {type(module) for module in network.modules()} & {nn.SiLU, nn.Hardswish}
    return {nn.SiLU: "silu", nn.Hardswish: "hardswish"}[kinds.pop()] if len(kinds) == 1 else "own"


def _put_activation(network: nn.Module, kind: str) -> None:
    """Put one activation in the place of the other in the whole network; own: leave it as it is."""
    from torch import nn

    if kind == "own":
        return
    wanted, other = (nn.Hardswish, nn.SiLU) if kind == "hardswish" else (nn.SiLU, nn.Hardswish)
    shared = wanted(inplace=True)
    for module in list(network.modules()):
        for name, child in list(module._modules.items()):
            if isinstance(child, other):
                setattr(module, name, shared)


def _architecture(name: str) -> dict[str, Any]:
    from ultralytics.nn.tasks import yaml_model_load

    try:
        return yaml_model_load(f"{name}.yaml")
    except FileNotFoundError as error:
        raise ConfigError(
            f"ultralytics has no network {name}; use for example yolo26n, yolo26n-seg or yolov8n-p2"
        ) from error


def _shared(network: nn.Module, loaded: nn.Module) -> str:
    """Return how many weights of the network came from the loaded one, in words."""
    import torch

    there = loaded.float().state_dict()
    own = {
        name: value for name, value in network.state_dict().items() if value.dtype.is_floating_point
    }
    same = [
        value
        for name, value in own.items()
        if name in there and there[name].shape == value.shape and torch.equal(there[name], value)
    ]
    share = sum(value.numel() for value in same) / sum(value.numel() for value in own.values())
    return f"{len(same)} of {len(own)} tensors ({share:.0%} of the weights)"
