"""Keep ultralytics to itself: nothing sent, nothing fetched, nothing written outside the run folder."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

_SETTINGS_OFF = (
    *("sync", "clearml", "comet", "dvc", "hub", "mlflow", "neptune", "raytune", "tensorboard", "wandb"),
    "platform",
)


@contextmanager
def quiet_ultralytics(run: Path) -> Generator[None]:
    """Within this block ultralytics is offline, and what it prints goes to `run/train.log`.

    The environment is set before ultralytics is first imported; a process that imported it earlier
    keeps the folder it had.
    """
    config = run / "config"
    config.mkdir(parents=True, exist_ok=True)
    first = "ultralytics" not in sys.modules
    os.environ |= {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "0", "NO_ALBUMENTATIONS_UPDATE": "1"}
    if first:
        os.environ |= {"YOLO_CONFIG_DIR": str(config), "MPLCONFIGDIR": str(config)}
    with (run / "train.log").open("a", encoding="utf-8") as log:
        with redirect_stdout(log), redirect_stderr(log):
            handlers = _redirect_logger(log, off=first)
            try:
                yield
            finally:
                logger = logging.getLogger("ultralytics")
                logger.handlers = handlers


def _redirect_logger(log: object, *, off: bool) -> list[logging.Handler]:
    from ultralytics.utils import LOGGER, SETTINGS

    if off:
        known = {key: False for key in _SETTINGS_OFF if key in SETTINGS}
        SETTINGS.update(known)
    handlers = LOGGER.handlers[:]
    LOGGER.handlers = [logging.StreamHandler(log)]  # type: ignore[arg-type]
    return handlers
