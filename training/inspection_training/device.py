"""Where a training runs: the CPU, one GPU, or several of one machine; and in which precision."""

from __future__ import annotations

import platform
import re
from pathlib import Path

from inspection.errors import ConfigError
from inspection_training.experiment import Experiment

_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


def places(experiment: Experiment) -> tuple[str, ...]:
    """Return torch's names of the devices, one for each process: ("cpu",) or ("cuda:0", ...).

    Raises:
        ConfigError: more GPUs are wanted than there are, or the batch is smaller than their number.
    """
    import torch

    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if experiment.device == "cpu" or (experiment.device == "auto" and not there):
        if experiment.devices > 1:
            raise ConfigError(
                f"the experiment wants {experiment.devices} GPUs and trains on the CPU; set devices: 1"
            )
        return ("cpu",)
    if not there:
        raise ConfigError("the experiment wants cuda and torch sees no GPU; set device: auto")
    count = experiment.devices or there
    if count > there:
        raise ConfigError(
            f"the experiment wants {count} GPUs, torch sees {there}; set devices: 0 for all of them"
        )
    if experiment.batch < count:
        raise ConfigError(
            f"a batch of {experiment.batch} cannot be shared by {count} GPUs; set batch: {count} or more"
        )
    return tuple(f"cuda:{number}" for number in range(count))


def device_name(where: tuple[str, ...]) -> str:
    """Return the devices of `places` in words, as the release card tells them."""
    if where == ("cpu",):
        return platform.machine() + " cpu"
    import torch

    name = torch.cuda.get_device_name(where[0])
    return f"{len(where)} x {name}" if len(where) > 1 else name


def use_bf16(experiment: Experiment, place: str) -> bool:
    """Tell whether to compute in bf16 on a device: as the experiment says, else where hardware does it."""
    if experiment.precision != "auto":
        return experiment.precision == "bf16"
    if place != "cpu":
        import torch

        return torch.cuda.is_bf16_supported()
    try:
        flags = set(re.findall(r"\w+", Path("/proc/cpuinfo").read_text(encoding="utf-8")))
    except OSError:
        return False
    return bool(flags & _BF16_FLAGS)
