"""An inference service of our own, for the time of a tune: this release alone, on a free port.

It runs as `inspection up` starts it: with the library's own number of threads.
"""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

from inspection.errors import InferenceError
from inspection.types import Release
from inspection.up import Supervisor

_START = 60.0
_POLL = 0.05
_TOLD = "listening on "


class OwnServices:
    """Services by precision, started when asked for. They end with `close`, and with this process."""

    def __init__(self, release: Release) -> None:
        self._release = release
        self._folder = tempfile.TemporaryDirectory(prefix="inspection-tune-")
        self._supervisor = Supervisor()
        self._urls: dict[str, str] = {}

    def url(self, precision: str) -> str:
        """Return where the service of this precision listens; starts it when there is none.

        Raises:
            InferenceError: it did not start.
        """
        if precision not in self._urls:
            self._urls[precision] = self._start(precision)
        return self._urls[precision]

    def close(self) -> None:
        """End them all. May be called twice."""
        self._supervisor.stop()
        self._folder.cleanup()

    def _start(self, precision: str) -> str:
        releases, log = self._alone(), Path(self._folder.name) / f"{precision}.log"
        options = ["--releases", str(releases), "--port", "0", "--precision", precision]
        self._supervisor.start(precision, ["serve", *options], log)
        pid = Path("/proc", str(self._supervisor.pid(precision)), "exe")
        end = time.monotonic() + _START
        pause = threading.Event()
        while time.monotonic() < end:
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            told = [line for line in lines if line.startswith(_TOLD)]
            if told:
                return told[-1].removeprefix(_TOLD)
            if not pid.exists():
                break
            pause.wait(_POLL)
        text = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise InferenceError(
            f"the service did not start within {_START:.0f} s or ended: "
            f"{text[-1] if text else 'it said nothing'}"
        )

    def _alone(self) -> Path:
        """Return a folder of releases in which only this one is."""
        releases = Path(self._folder.name) / "releases"
        link = releases / self._release.part / str(self._release.number)
        if not link.exists():
            link.parent.mkdir(parents=True)
            link.symlink_to(self._release.folder.resolve(), target_is_directory=True)
        return releases
