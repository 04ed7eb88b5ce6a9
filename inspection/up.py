"""`inspection up STATION.yaml`: the processes of one station on one PC, restarted when they end.

    up ─┬─ serve   (when the station's runtime is `service` on this host)
        ├─ line
        ├─ web     (when the station file sets `web`)
        ├─ upward  (when the station file sets `upward`)
        └─ opcua   (when the station file sets `opcua`)

A process that ends is started again, at once the first time and then slower. When `up` itself is killed
its children end too: nothing is left that could answer the PLC.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import typer

app = typer.Typer(add_completion=False)
log = logging.getLogger("inspection.up")

_BACKOFF = (0.1, 0.5, 1.0, 2.0, 5.0)
_STEADY = 30.0
_LOCAL = {"127.0.0.1", "localhost", "::1"}
_PR_SET_PDEATHSIG = 1


@app.command()
def up(
    station: Path = typer.Argument(help="the station file", metavar="STATION.yaml"),
) -> None:
    """Run the station's processes together until SIGTERM or Ctrl+C; restart those that end."""
    from inspection.line import start_logging

    start_logging(verbose=False)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with Supervisor() as supervisor:
        for name, arguments in station_processes(station).items():
            supervisor.start(name, arguments)
        while not stop.wait(0.1):
            supervisor.mend()


def station_processes(station: Path) -> dict[str, list[str]]:
    """Return process name to `inspection` arguments for one station file. Raises ConfigError."""
    from inspection.config import load_station

    config = load_station(station)
    processes: dict[str, list[str]] = {}
    address = urlsplit(str(getattr(config.runtime, "url", "")))
    if address.hostname in _LOCAL and address.port:
        processes["serve"] = [
            "serve", "--releases", str(config.releases), "--port", str(address.port),
            "--precision", str(getattr(config.runtime, "precision", "f32")),
        ]  # fmt: skip
    processes["line"] = ["line", str(station)]
    if config.web is not None:
        processes["web"] = ["web", str(station)]
    if config.upward:
        processes["upward"] = ["upward", str(station)]
    if config.opcua is not None:
        processes["opcua"] = ["opcua", str(station)]
    return processes


@dataclass
class _Child:
    arguments: list[str]
    output: IO[bytes] | None
    process: subprocess.Popen[bytes]
    started: float
    finite: bool
    failures: int = 0
    restart_at: float | None = None
    ended: list[int] = field(default_factory=list)


class Supervisor:
    """Starts `inspection` processes and starts them again when they end. One thread uses it."""

    def __init__(self, backoff: Sequence[float] = _BACKOFF) -> None:
        """`backoff`: seconds before the first, second … start after an end; the last one repeats."""
        self._backoff = backoff
        self._children: dict[str, _Child] = {}

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(
        self,
        name: str,
        arguments: Sequence[str],
        output: Path | None = None,
        *,
        finite: bool = False,
    ) -> None:
        """Start `inspection ARGUMENTS…`.

        Args:
            name: to speak of it.
            arguments: verb and options.
            output: its output goes to the end of this file; None: to ours.
            finite: it ends by itself with code 0 when its work is done, and is then left alone.
        """
        handle = output.open("ab") if output else None
        child = _Child(list(arguments), handle, _spawn(arguments, handle), time.monotonic(), finite)
        self._children[name] = child

    def mend(self) -> None:
        """Start again what has ended; call it often."""
        now = time.monotonic()
        for name, child in self._children.items():
            if child.restart_at is None:
                code = child.process.poll()
                if code is None or (code == 0 and child.finite):
                    continue
                child.failures = 1 if now - child.started > _STEADY else child.failures + 1
                wait = self._backoff[min(child.failures, len(self._backoff)) - 1]
                log.error("%s ended with code %d; starting again in %.1f s", name, code, wait)
                child.ended.append(code)
                child.restart_at = now + wait
            elif now >= child.restart_at:
                child.process = _spawn(child.arguments, child.output)
                child.started, child.restart_at = now, None

    def pid(self, name: str) -> int:
        """Return the process id of a running child."""
        return self._children[name].process.pid

    def done(self, name: str) -> bool:
        """Tell whether a finite child has done its work."""
        child = self._children[name]
        return child.finite and child.process.poll() == 0

    def kill(self, name: str) -> bool:
        """SIGKILL a child, as a power cut would; False when it is not running."""
        process = self._children[name].process
        if process.poll() is not None:
            return False
        process.kill()
        return True

    def restarts(self, name: str) -> int:
        """Return how often a child has ended by itself."""
        return len(self._children[name].ended)

    def stop(self, timeout: float = 8.0) -> None:
        """End all children: SIGTERM in reverse order of start, SIGKILL for what does not go."""
        for name in reversed(list(self._children)):
            child = self._children.pop(name)
            child.process.terminate()
            try:
                child.process.wait(timeout)
            except subprocess.TimeoutExpired:
                log.error("%s does not stop: killed", name)
                child.process.kill()
                child.process.wait()
            if child.output:
                child.output.close()


def _spawn(arguments: Sequence[str], output: IO[bytes] | None) -> subprocess.Popen[bytes]:
    parent = os.getpid()
    return subprocess.Popen(
        [sys.executable, "-m", "inspection", *arguments],
        stdout=output,
        stderr=output,
        stdin=subprocess.DEVNULL,
        preexec_fn=lambda: _die_with(parent),  # noqa: PLW1509  calls one libc function only
    )


def _die_with(parent: int) -> None:
    """In the child: ask the kernel for SIGTERM when the parent ends; leave if it has ended already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)
