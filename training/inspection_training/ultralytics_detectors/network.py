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
        experiment: `model` and `width`.
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
        return trainer.get_model(cfg=architecture, weights=None, verbose=False), ""
    if experiment.width is not None:
        raise ConfigError("width needs random weights; a weight file has its own width")
    loaded, _ = load_checkpoint(weights)
    name = re.sub(r"\.ya?ml$", "", Path(str(loaded.yaml.get("yaml_file", ""))).name)
    if name == experiment.model:
        return trainer.get_model(cfg=loaded.yaml, weights=loaded, verbose=False), ""
    if f"{name}-seg" != experiment.model:
        raise ConfigError(
            f"{weights.name} holds {name or 'an unknown network'}, the experiment wants "
            f"{experiment.model}; set --model {name}"
        )
    network = trainer.get_model(cfg=_architecture(experiment.model), weights=loaded, verbose=False)
    return network, f"{_shared(network, loaded)} of {name}; the rest starts at random"


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
