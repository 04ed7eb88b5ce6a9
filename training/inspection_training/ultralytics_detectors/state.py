"""The state of ultralytics' trainer between two epochs, as tensors and numbers, and back.

Random numbers are not in it: every epoch starts from numbers that follow from seed, epoch and process
alone, see `seed_epoch`.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from ultralytics.utils.torch_utils import unwrap_model


def seed_epoch(seed: int, epoch: int, rank: int) -> int:
    """Start all random numbers of this process anew for an epoch, and return the number it used.

    albumentations follows torch's number; the data loader's generator is the caller's.

    Args:
        seed: of the experiment.
        epoch: from 0.
        rank: number of this process in a training on several GPUs, -1 where there is one.
    """
    number = int(np.random.SeedSequence([seed, epoch, rank + 1]).generate_state(1)[0])
    random.seed(number)
    np.random.seed(number)  # ultralytics' own augmentation draws from this one
    torch.manual_seed(number)
    return number


def capture(trainer: Any) -> dict[str, Any]:
    """Return everything the next epoch depends on, for `checkpoint.save_checkpoint`."""
    return {
        "epoch": trainer.epoch + 1,
        "epochs": trainer.epochs,
        "model": unwrap_model(trainer.model).state_dict(),
        "ema": trainer.ema.ema.state_dict(),
        "updates": trainer.ema.updates,
        "optimizer": trainer.optimizer.state_dict(),
        "scaler": trainer.scaler.state_dict(),
    }


def restore(trainer: Any, state: dict[str, Any]) -> None:
    """Put a state into a trainer that was set up for the same experiment; the next epoch follows it.

    Raises:
        RuntimeError, ValueError, KeyError: the state is of another network.
    """
    model = unwrap_model(trainer.model)
    model.load_state_dict(state["model"])
    trainer.ema.ema.load_state_dict(state["ema"])
    trainer.ema.updates = state["updates"]
    trainer.optimizer.load_state_dict(state["optimizer"])
    trainer.scaler.load_state_dict(state["scaler"])
    trainer.start_epoch = state["epoch"]
    trainer.epochs = state["epochs"]
    if getattr(model.model[-1], "one2one_cv2", None) is not None:
        model.criterion = (
            model.init_criterion()
        )  # its weights follow from the number of epochs done
        model.criterion.updates = state["epoch"] - 1
        model.criterion.update()


def is_finite(trainer: Any) -> bool:
    """Tell whether all weights, live and averaged, are numbers."""
    states = (unwrap_model(trainer.model).state_dict(), trainer.ema.ema.state_dict())
    return all(
        bool(torch.isfinite(value).all())
        for state in states
        for value in state.values()
        if value.is_floating_point()
    )
