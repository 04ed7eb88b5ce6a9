"""Faults that a simulated camera can be told to have.

Written as `name@n` or `name@n:seconds` in the camera's config: n counts the grabs of the device from
1, over every reopening. Written as `name` or `name:seconds` for the next grab: by `FaultPlan.add`,
or as a line of the control file, from outside the process.

    lost        no frame comes
    late        the frame comes `seconds` (0.5) after its exposure
    frozen      the previous image again, byte for byte, with a new frame id; with `seconds`, so long,
                over every reopening
    repeated    a new image with the previous frame id
    stale       a picture of the previous part, exposed before the trigger
    black, white, flat      no light, too much light, no contrast
    wrong_size  half the width and half the height
    truncated   the transfer broke off: FrameError
    disconnect  the device goes away and cannot be opened for `seconds` (2)
    hang        grab blocks for `seconds` (5), whatever its timeout, then returns the frame
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_log = logging.getLogger(__name__)

FAULTS = (
    *("lost", "late", "frozen", "repeated", "stale", "black", "white", "flat"),
    *("wrong_size", "truncated", "disconnect", "hang"),
)
_SECONDS = {"late": 0.5, "frozen": 0.0, "disconnect": 2.0, "hang": 5.0}
_FORM = re.compile(r"(?P<name>[a-z_]+)(@(?P<grab>[1-9][0-9]*))?(:(?P<seconds>[0-9]+(\.[0-9]+)?))?")


class Fault(NamedTuple):
    """One fault: its name and, for those that last, its seconds."""

    name: str
    seconds: float = 0.0


def parse_fault(text: str) -> tuple[int | None, Fault]:
    """Return grab number (None: the next one) and fault.

    Raises:
        ValueError: unknown fault, malformed text, or seconds for a fault that takes none.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"fault {text!r} is malformed; write name@grab or name@grab:seconds")
    name = match["name"]
    if name not in FAULTS:
        raise ValueError(f"fault {name!r} is unknown; known are {', '.join(FAULTS)}")
    if match["seconds"] and name not in _SECONDS:
        raise ValueError(f"fault {name!r} takes no seconds; only {', '.join(_SECONDS)} do")
    seconds = float(match["seconds"]) if match["seconds"] else _SECONDS.get(name, 0.0)
    return (int(match["grab"]) if match["grab"] else None), Fault(name, seconds)


def parse_schedule(texts: Sequence[str]) -> dict[int, Fault]:
    """Return grab number to fault. Raises ValueError as `parse_fault`, or for two at one grab."""
    schedule: dict[int, Fault] = {}
    for text in texts:
        grab, fault = parse_fault(text)
        if grab is None:
            raise ValueError(f"fault {text!r} names no grab; write {text}@12 for the 12th grab")
        if grab in schedule:
            raise ValueError(f"grab {grab} has two faults, {schedule[grab].name} and {fault.name}")
        schedule[grab] = fault
    return schedule


class FaultPlan:
    """Which fault each grab gets. Safe to use from several threads.

    A scheduled fault goes before those that wait for the next grab; they then wait for the one
    after.
    """

    def __init__(self, scheduled: Sequence[str] = (), control: Path | None = None) -> None:
        """Raises ValueError as `parse_schedule`."""
        self._schedule = parse_schedule(scheduled)
        self._control = control
        self._waiting: deque[Fault] = deque()
        self._lock = threading.Lock()

    def add(self, text: str) -> None:
        """Give the next grab that has none this fault. Raises ValueError as `parse_fault`."""
        grab, fault = parse_fault(text)
        with self._lock:
            if grab is None:
                self._waiting.append(fault)
            else:
                self._schedule[grab] = fault

    def take(self, grab: int) -> Fault | None:
        """Return the fault of a grab, and forget it."""
        for line in self._read_control():
            try:
                self.add(line)
            except ValueError as error:
                _log.error("control file %s: %s; the line was ignored", self._control, error)
        with self._lock:
            fault = self._schedule.pop(grab, None)
            return fault or (self._waiting.popleft() if self._waiting else None)

    def _read_control(self) -> list[str]:
        """Take the control file away under another name, then read it: no line counts twice."""
        if self._control is None:
            return []
        taken = self._control.with_name(
            f"{self._control.name}.{os.getpid()}-{threading.get_ident()}.taken"
        )
        try:
            self._control.replace(taken)
            text = taken.read_text(encoding="utf-8", errors="replace")
            taken.unlink()
        except FileNotFoundError:
            return []
        except OSError as error:
            _log.error("control file %s cannot be taken (%s)", self._control, error)
            return []
        return [line for line in text.splitlines() if line.strip()]
