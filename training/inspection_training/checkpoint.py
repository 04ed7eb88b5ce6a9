"""The last state of a training on disk: whole or not there, also when the disk is full or power fails.

state ─▶ RUN/checkpoint.part ─▶ flushed ─▶ renamed to RUN/checkpoint.pt
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from inspection.errors import ConfigError, DatasetError

CHECKPOINT = "checkpoint.pt"


def save_checkpoint(run: Path, state: dict[str, Any]) -> None:
    """Replace the checkpoint of a run; the one before stays until the new one is whole.

    Args:
        run: folder of the run.
        state: tensors, numbers, strings, and lists and dictionaries of them; nothing else.

    Raises:
        DatasetError: it cannot be written; the checkpoint before is still there.
    """
    import torch

    part = run / f"{CHECKPOINT}.part"
    try:
        with part.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(run / CHECKPOINT)
    except (OSError, RuntimeError) as error:  # torch turns a full disk into a RuntimeError
        part.unlink(missing_ok=True)
        raise DatasetError(
            f"checkpoint {run / CHECKPOINT} cannot be written: {error}; the one before is still there. "
            f"Free space, then go on with: inspection train --resume {run}"
        ) from error


def load_checkpoint(run: Path) -> dict[str, Any] | None:
    """Return the checkpoint of a run, on the CPU; None when there is none. No code in it is run.

    Raises:
        ConfigError: it is damaged.
    """
    import torch

    path = run / CHECKPOINT
    if not path.is_file():
        return None
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch each raise their own
        raise ConfigError(
            f"checkpoint {path} cannot be read: {error}; delete it to start this run again"
        ) from error
