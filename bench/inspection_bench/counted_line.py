"""The real line process with a profiler's hook that counts its calls of Python and C, part by part.

    python -m inspection_bench.counted_line STATION.yaml FRAMES CALLS.json

    the runtime answers ─▶ every call of every thread, by module ─▶ the PLC has confirmed RESULT_VALID

The hook makes the line several times slower: counts are of use here, times are not.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

from inspection.plc.exchange import Exchange
from inspection_bench.our_line import run_prepared

COUNTED = ("call", "c_call")


class CallCount:
    """Counts while it is on. The hook is called by every thread, and takes no lock.

    Attributes:
        parts: for each part, module name to calls: of its functions, and of C from them.
    """

    def __init__(self) -> None:
        self.parts: list[dict[str, int]] = []
        self._on = False
        self._seen: list[str] = []  # to append is one step, whichever thread does it

    def hook(self, frame: FrameType, event: str, _argument: object) -> None:
        """Note one event; see `sys.setprofile`."""
        if self._on and event in COUNTED:
            self._seen.append(str(frame.f_globals.get("__name__", "")))

    def begin(self) -> None:
        """A part's inference has ended."""
        self._seen = []
        self._on = True

    def end(self) -> None:
        """Its answer stands valid in the PLC."""
        if self._on:
            self._on = False
            self.parts.append(dict(Counter(self._seen)))


class CountedRuntime:
    """A runtime's config whose driver begins the count when an `infer` has ended."""

    def __init__(self, config: Any, count: CallCount) -> None:
        self._config = config
        self._count = count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._config, name)

    def open(self) -> Any:
        """Return the driver, wrapped."""
        driver, begin = self._config.open(), self._count.begin
        infer = driver.infer

        def counted(images: Any, timeout: float) -> Any:
            answer = infer(images, timeout)
            begin()
            return answer

        driver.infer = counted
        return driver


def main() -> None:
    station, frames, calls = map(Path, sys.argv[1:])
    count = CallCount()
    announce = Exchange.announce

    def announced(exchange: Exchange) -> None:
        announce(exchange)
        count.end()

    Exchange.announce = announced  # type: ignore[method-assign]
    threading.setprofile(count.hook)
    sys.setprofile(count.hook)
    run_prepared(station, frames, lambda runtime: CountedRuntime(runtime, count))
    calls.write_text(json.dumps(count.parts))


if __name__ == "__main__":
    main()
