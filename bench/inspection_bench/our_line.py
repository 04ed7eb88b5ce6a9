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
from pathlib import Path
from typing import Any

from inspection.config import load_station
from inspection.line import run_station, start_logging
from inspection_bench.frames import PreparedCameraConfig


class TimedRuntime:
    """A runtime's config whose driver notes the seconds of each `infer`."""

    def __init__(self, config: Any) -> None:
        self._config = config
        self.seconds: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._config, name)

    def open(self) -> Any:
        """Return the driver with its `infer` timed."""
        driver, seconds = self._config.open(), self.seconds
        infer = driver.infer

        def timed(images: Any, timeout: float) -> Any:
            begun = time.perf_counter()
            try:
                return infer(images, timeout)
            finally:
                seconds.append(time.perf_counter() - begun)

        driver.infer = timed
        return driver


def main() -> None:
    station, frames, times = map(Path, sys.argv[1:])
    config = load_station(station)
    runtime = TimedRuntime(config.runtime)
    camera = PreparedCameraConfig(folder=frames)
    config = config.model_copy(update={"camera": camera, "runtime": runtime})
    start_logging(False)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    run_station(config, stop)
    times.write_text(json.dumps(runtime.seconds))


if __name__ == "__main__":
    main()
