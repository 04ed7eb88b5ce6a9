"""Where a training runs: which processor or GPUs, how many of them, in which precision."""

from __future__ import annotations

import platform
import re
from pathlib import Path

from inspection.errors import ConfigError
from inspection_training.experiment import Experiment

_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


def processes_of(experiment: Experiment) -> int:
    """Return how many GPUs train together; 1 on a CPU.

    Raises:
        ConfigError: the experiment wants more than there are.
    """
    import torch

    if experiment.devices == 1 or device_of(experiment) == "cpu":
        return 1
    there = torch.cuda.device_count()
    if experiment.devices > there:
        raise ConfigError(
            f"the experiment wants {experiment.devices} GPUs and torch sees {there}; set devices: 0 for all"
        )
    return experiment.devices or there


def device_of(experiment: Experiment, together: int = 1) -> str:
    """Return what ultralytics calls the device: cpu, or the numbers of the GPUs.

    Raises:
        ConfigError: the experiment wants a GPU and there is none.
    """
    import torch

    if experiment.device == "cpu" or (
        experiment.device == "auto" and not torch.cuda.is_available()
    ):
        return "cpu"
    if not torch.cuda.is_available():
        raise ConfigError("the experiment wants cuda and torch sees no GPU; set device: auto")
    return ",".join(str(number) for number in range(together))


def device_name(experiment: Experiment, device: str) -> str:
    """Return the device in words, for the release."""
    import torch

    if device == "cpu":
        return platform.machine() + " cpu"
    count, name = processes_of(experiment), torch.cuda.get_device_name(0)
    return f"{count} x {name}" if count > 1 else name


def use_bf16(experiment: Experiment, device: str) -> bool:
    """Tell whether to compute in bf16: as asked, or where the hardware does it."""
    import torch

    if experiment.precision != "auto":
        return experiment.precision == "bf16"
    if device != "cpu":
        return torch.cuda.is_bf16_supported()
    try:
        flags = set(re.findall(r"\w+", Path("/proc/cpuinfo").read_text(encoding="utf-8")))
    except OSError:
        return False
    return bool(flags & _BF16_FLAGS)
