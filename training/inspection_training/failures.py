"""What stops a training, in the words of the person who must do something about it."""

from __future__ import annotations

import errno
from pathlib import Path

from inspection.errors import ConfigError, DatasetError, InspectionError
from inspection_training.checkpoint import CHECKPOINT
from inspection_training.experiment import Experiment

_MEMORY = (
    *("out of memory", "can't allocate memory", "cublas_status_alloc_failed"),
    *("insufficient memory", "unable to allocate", "cannot allocate memory"),
    *("could not create a primitive", "could not create a memory"),  # oneDNN's words for it
)
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}


def kept(run: Path) -> str:
    """Return what is left of a training that failed, and how to go on, as the end of a message."""
    if (run / CHECKPOINT).is_file():
        return f"the last checkpoint stands; go on from it with: inspection train --resume {run}"
    return "there is no checkpoint yet, start again"


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether torch, numpy, OpenCV or Python had no memory left, on the GPU or beside it."""
    if isinstance(error, MemoryError):
        return True
    return any(words in str(error).lower() for words in _MEMORY)


def out_of_memory(error: BaseException, experiment: Experiment, run: Path) -> ConfigError:
    """Return the error for memory that ran out."""
    height, width = experiment.network_size
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    return ConfigError(
        f"memory ran out while training with batch {experiment.batch} at {width}x{height} pixels "
        f"({said}). Close other programs, and {kept(run)}. If it happens again, start with a smaller "
        f"--batch, for example {max(1, experiment.batch // 2)}, or a smaller --imgsz"
    )


def diverged(epoch: int, run: Path, experiment: Experiment) -> ConfigError:
    """Return the error for a loss or weights that are no longer numbers.

    Args:
        epoch: the epoch, from 1.
        run: folder of the run.
        experiment: its settings.
    """
    rate = "lr, for example optimizer: AdamW with lr: 0.0005"
    if experiment.lr is not None:
        rate = f"lr (now {experiment.lr})"
    return ConfigError(
        f"the training diverged in epoch {epoch}: the loss is no longer a number, nothing is released. "
        f"Start again with a smaller {rate}, more warmup_epochs, or precision: f32. What was learned "
        f"before is in {run / CHECKPOINT}"
        if (run / CHECKPOINT).is_file()
        else f"the training diverged in epoch {epoch}: the loss is no longer a number, nothing is "
        f"released. Start again with a smaller {rate}, more warmup_epochs, or precision: f32"
    )


def in_words(error: BaseException, experiment: Experiment, run: Path) -> InspectionError | None:
    """Return a library's error as one of ours; None when it is not one that a user can help.

    Args:
        error: what came out of a training.
        experiment: its settings.
        run: its folder; the message says whether a checkpoint stands there.
    """
    if is_out_of_memory(error):
        return out_of_memory(error, experiment, run)
    if isinstance(error, OSError) and error.errno in _DISK:
        return DatasetError(
            f"the run folder {run} cannot be written: {error}. Free space on that disk; {kept(run)}"
        )
    return None
