"""Keep the libraries to themselves: nothing sent, nothing fetched, nothing written outside the run."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from inspection.runtimes.libraries import silence_runtimes

_SETTINGS_OFF = (
    *(
        "sync",
        "clearml",
        "comet",
        "dvc",
        "hub",
        "mlflow",
        "neptune",
        "raytune",
        "tensorboard",
        "wandb",
    ),
    "platform",
)


@contextmanager
def quiet_ultralytics(run: Path) -> Generator[None]:
    """Within this block ultralytics is offline, and what it prints goes to `run/train.log`.

    The environment is set before ultralytics is first imported; a process that imported it earlier
    keeps the folder it had.
    """
    silence_runtimes()
    config = run / "config"
    config.mkdir(parents=True, exist_ok=True)
    first = "ultralytics" not in sys.modules
    os.environ |= {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "0", "NO_ALBUMENTATIONS_UPDATE": "1"}
    if first:
        os.environ |= {"YOLO_CONFIG_DIR": str(config), "MPLCONFIGDIR": str(config)}
        # Threads that wait must sleep: on a shared PC spinning ones took nine tenths of the time.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    path = run / "train.log"
    with (
        path.open("a", encoding="utf-8", buffering=1) as log,  # whole lines: others add theirs
        redirect_stdout(log),
        redirect_stderr(log),
    ):
        handlers = _redirect_logger(log, off=first)
        try:
            yield
        finally:
            logging.getLogger("ultralytics").handlers = handlers


def _redirect_logger(log: object, *, off: bool) -> list[logging.Handler]:
    from ultralytics.utils import LOGGER, SETTINGS

    known = {key: False for key in _SETTINGS_OFF if key in SETTINGS}
    if off:
        SETTINGS.update(known)  # also writes them down, in the run's folder
    else:
        dict.update(SETTINGS, known)
    handlers = LOGGER.handlers[:]
    LOGGER.handlers = [logging.StreamHandler(log)]  # type: ignore[arg-type]
    return handlers
