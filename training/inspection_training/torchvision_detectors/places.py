"""Where a network is trained: the CPU, one GPU, or several of one machine, a process each.

the first place: this process ─┐
every other place: a process ──┴─▶ gradients averaged after every step (torch's own DDP)
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed, multiprocessing

from inspection.errors import ConfigError
from inspection_training.experiment import Experiment

_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
_PATIENCE = timedelta(minutes=30)
"""How long one process waits for the others: rank 0 measures on the val images meanwhile."""


def places(experiment: Experiment) -> tuple[str, ...]:
    """Return torch's names of the devices, one for each process: ("cpu",) or ("cuda:0", ...).

    Raises:
        ConfigError: more GPUs are wanted than there are, or the batch is smaller than their number.
    """
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
        raise ConfigError(f"the experiment wants {count} GPUs, torch sees {there}; set devices: 0")
    if experiment.batch < count:
        raise ConfigError(
            f"a batch of {experiment.batch} cannot be shared by {count} GPUs; set batch: {count} or more"
        )
    return tuple(f"cuda:{number}" for number in range(count))


def device_name(place: str) -> str:
    """Return the name of a place as the release card tells it."""
    import platform

    return platform.machine() + " cpu" if place == "cpu" else torch.cuda.get_device_name(place)


def use_bf16(experiment: Experiment, place: str) -> bool:
    """Tell whether to compute in bf16: as the experiment says, else where hardware does it."""
    if experiment.precision != "auto":
        return experiment.precision == "bf16"
    if place != "cpu":
        return torch.cuda.is_bf16_supported()
    try:
        flags = set(re.findall(r"\w+", Path("/proc/cpuinfo").read_text(encoding="utf-8")))
    except OSError:
        return False
    return bool(flags & _BF16_FLAGS)


@contextmanager
def together(where: tuple[str, ...], work: Any, job: Any) -> Generator[None]:
    """Within this block `work(job, rank)` runs for ranks 1.. in processes of their own; the block is rank 0.

    Raises:
        ConfigError: one of the processes ended with an error.
    """
    if len(where) == 1:
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"file://{folder}/meeting"
        context = multiprocessing.spawn(
            _member, (work, job, where, meeting), nprocs=len(where) - 1, join=False
        )
        assert context is not None
        try:
            join(0, where, meeting)
            yield
            while not context.join(timeout=60):
                pass
        except Exception as error:
            for process in context.processes:
                process.join(5.0)  # one that failed is about to end
            failed = any(process.exitcode for process in context.processes)
            if failed or isinstance(error, multiprocessing.ProcessRaisedException):
                raise ConfigError(
                    f"a process of the training on {', '.join(where)} failed: {error}; train on one "
                    "device (devices: 1) to see the cause. The last checkpoint stands"
                ) from error
            raise
        finally:
            for process in context.processes:
                process.kill()
            if distributed.is_initialized():
                distributed.destroy_process_group()


def join(rank: int, where: tuple[str, ...], meeting: str) -> None:
    """Meet the other processes; gloo on the CPU, nccl on GPUs."""
    backend = "gloo" if where[rank] == "cpu" else "nccl"
    if backend == "nccl":
        torch.cuda.set_device(where[rank])
    distributed.init_process_group(
        backend, init_method=meeting, rank=rank, world_size=len(where), timeout=_PATIENCE
    )


def _member(number: int, work: Any, job: Any, where: tuple[str, ...], meeting: str) -> None:
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    join(number + 1, where, meeting)
    try:
        work(job, number + 1)
    finally:
        distributed.destroy_process_group()
