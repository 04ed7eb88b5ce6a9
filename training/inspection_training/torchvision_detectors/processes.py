"""Train one network on several GPUs of one machine, a process for each.

the first place: this process ─┐
every other place: a process ──┴─▶ gradients averaged after every step (torch's own DDP)
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import distributed, multiprocessing

from inspection.errors import ConfigError

_PATIENCE = timedelta(minutes=30)
"""How long one process waits for the others: rank 0 measures on the val images meanwhile."""


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
