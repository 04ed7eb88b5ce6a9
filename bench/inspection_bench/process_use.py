"""What processes use: CPU time and memory, children included."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from inspection.errors import InspectionError

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
PATIENCE = 120.0
"""Seconds that a loaded PC gets to start anything."""


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def family(pid: int) -> list[int]:
    """Return a process and all that it started and that still run."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*"):
        fields = _stat(int(path.name))
        if fields:
            parents[int(path.name)] = int(fields[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and its children, so far.

    From each process's CPU clock: /proc/PID/stat counts in hundredths of a second, which a small network
    does not use for a part.
    """
    return sum(_cpu_clock(one) for one in family(pid))


def _cpu_clock(pid: int) -> float:
    """Return a process's CPU time, seconds; 0 when it has ended."""
    clock = ctypes.c_int()
    if _LIBC.clock_getcpuclockid(pid, ctypes.byref(clock)) == 0:
        with contextlib.suppress(OSError):  # it ended just now
            return time.clock_gettime(clock.value)
    return 0.0


def memory_mb(pid: int) -> float:
    """Return the memory of a process and its children, shared pages counted by share."""
    total = 0
    for one in family(pid):
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def free_port() -> int:
    """Return a TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_true(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> None:
    """Poll until a condition holds.

    Raises:
        InspectionError: it never did.
    """
    end, pause = time.monotonic() + patience, threading.Event()
    while not condition():
        if time.monotonic() > end:
            raise InspectionError(f"{what} did not happen within {patience:.0f} s")
        pause.wait(0.02)


def _die_with_us() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Child:
    """A process of a benchmark, its output in a file; ended with the block, and when we are killed.

    Args:
        arguments: of Python.
        log: file for what it says.
        stdin: given to Popen, to talk with it.
    """

    def __init__(self, arguments: list[str], log: Path, **streams: Any) -> None:
        offline = {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "0", "YOLO_CONFIG_DIR": str(log.parent)}
        env = {**os.environ, **offline}
        env.pop("OMP_NUM_THREADS", None)  # every side may use the whole PC
        self.log = log
        self._file = log.open("ab")
        streams.setdefault("stdin", subprocess.DEVNULL)
        streams.setdefault("stdout", self._file)
        self.popen = subprocess.Popen(
            [sys.executable, *arguments],
            stderr=self._file,
            env=env,
            preexec_fn=_die_with_us,  # noqa: PLW1509  it only asks the kernel for a signal
            **streams,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.popen.pid

    def check(self) -> bool:
        """Return True while it runs. Raises InspectionError with its last words when it ended."""
        if self.popen.poll() is None:
            return True
        words = self.log.read_text(errors="replace")[-1500:]
        raise InspectionError(f"{self.log.stem} ended with {self.popen.returncode}:\n{words}")

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(15)
            except subprocess.TimeoutExpired:
                self.popen.kill()
        self.popen.wait()
        for stream in (self.popen.stdin, self.popen.stdout, self._file):
            if stream is not None:
                stream.close()
