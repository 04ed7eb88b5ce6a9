"""The real line process, with two things put in: prepared frames, and a clock around the runtime.

    python -m inspection_bench.our_line STATION.yaml FRAMES TIMES.json

`inspection line` runs the same `run_station`. What the runtime took, part by part, is written at the end.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inspection.config import load_station
from inspection.line import run_station, start_logging
from inspection_bench.frames import PreparedCameraConfig


class TimedRuntime:
    """A runtime's config whose driver notes the seconds of each `infer`."""

    def __init__(self, config: Any, seconds: list[float]) -> None:
        self._config = config
        self._seconds = seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._config, name)

    def open(self) -> Any:
        """Return the driver with its `infer` timed."""
        driver, seconds = self._config.open(), self._seconds
        infer = driver.infer

        def timed(images: Any, timeout: float) -> Any:
            begun = time.perf_counter()
            try:
                return infer(images, timeout)
            finally:
                seconds.append(time.perf_counter() - begun)

        driver.infer = timed
        return driver


def run_prepared(station: Path, frames: Path, wrap: Callable[[Any], Any]) -> None:
    """Run the station of a file on prepared frames until a signal says stop.

    Args:
        station: its file.
        frames: folder of the frames.
        wrap: given the runtime's config, returns what is run in its place.
    """
    config = load_station(station)
    camera = PreparedCameraConfig(folder=frames)
    config = config.model_copy(update={"camera": camera, "runtime": wrap(config.runtime)})
    start_logging(False)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    run_station(config, stop)


def main() -> None:
    station, frames, times = map(Path, sys.argv[1:])
    seconds: list[float] = []
    run_prepared(station, frames, lambda runtime: TimedRuntime(runtime, seconds))
    times.write_text(json.dumps(seconds))


if __name__ == "__main__":
    main()
