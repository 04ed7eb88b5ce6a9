"""Which state of OPC 40100-1 the station is in, from what the line wrote. What is not known is an error."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from inspection.types import Reason
from inspection_serve.opcua.drive import DriveView
from inspection_serve.web.line.state import LiveState, read_state

SILENT_AFTER = 0.9
"""Seconds without news of the line, or without a turn of its loop, after which it counts as gone. The line
writes twice a second."""


class Vision(enum.IntEnum):
    """States of VisionStateMachineType, with their state numbers."""

    PREOPERATIONAL = 1
    HALTED = 2
    ERROR = 3
    OPERATIONAL = 4


class Automatic(enum.IntEnum):
    """States of VisionAutomaticModeStateMachineType, with their state numbers."""

    INITIALIZED = 5
    READY = 6
    SINGLE_EXECUTION = 7
    CONTINUOUS_EXECUTION = 8


class SystemState(enum.IntEnum):
    """SystemStateDataType, after SEMI E10."""

    PRODUCTIVE = 1
    STANDBY = 2
    ENGINEERING = 3
    SCHEDULED_DOWNTIME = 4
    UNSCHEDULED_DOWNTIME = 5
    NONSCHEDULED_TIME = 6


@dataclass(frozen=True, slots=True)
class StationState:
    """How the station stands, in the words of OPC 40100-1.

    Attributes:
        vision: state of the vision state machine.
        automatic: state of the automatic mode; None unless `vision` is OPERATIONAL.
        system: what the SystemState variable says.
        cause: name of the reason, `STOPPED`, `SILENT` or `NO_NEWS`; empty while parts can be inspected.
        recipe: number in force; 0 for none.
        release: PART/NUMBER in force; empty for none.
    """

    vision: Vision
    automatic: Automatic | None
    system: SystemState
    cause: str = ""
    recipe: int = 0
    release: str = ""


_SETTING_UP = {Reason.MODEL_LOADING.name}
_NOT_STARTED = {Reason.PLC_DISABLED.name, Reason.RECIPE_NONE.name}


def state_of(found: LiveState | None, age: float) -> StationState:
    """Return the state for what the line wrote last. Pure.

    Args:
        found: as read; None where there is nothing whole.
        age: seconds since the line's last news.
    """
    if found is None:
        return _down(Vision.ERROR, "NO_NEWS")
    if not found.running:
        return _down(Vision.HALTED, Reason.STOPPED.name)
    if age > SILENT_AFTER or found.loop_age > SILENT_AFTER:
        return _down(Vision.ERROR, "SILENT")
    known = {"recipe": found.recipe, "release": found.release}
    if found.ready:
        # Another PLC holds ENABLE and triggers when it likes: what 40100-1 calls continuous.
        return StationState(
            Vision.OPERATIONAL, Automatic.CONTINUOUS_EXECUTION, SystemState.PRODUCTIVE, **known
        )
    cause = found.cause or "NOT_READY"
    if cause == Reason.STOPPED.name:
        return StationState(Vision.HALTED, None, SystemState.STANDBY, cause, **known)
    if cause in _SETTING_UP:
        return StationState(Vision.PREOPERATIONAL, None, SystemState.STANDBY, cause, **known)
    if cause in _NOT_STARTED:
        return StationState(
            Vision.OPERATIONAL, Automatic.INITIALIZED, SystemState.STANDBY, cause, **known
        )
    return StationState(Vision.ERROR, None, SystemState.UNSCHEDULED_DOWNTIME, cause, **known)


def driven(found: StationState, view: DriveView) -> StationState:
    """Return the state of a station that OPC UA clients drive. Pure.

    Args:
        found: what the line says of itself; its errors count, not its readiness: the drive knows more.
        view: how the drive stands.
    """
    if view.halted and found.vision is not Vision.HALTED:
        return replace(
            found, vision=Vision.HALTED, automatic=None, system=SystemState.STANDBY, cause="HALTED"
        )
    if found.vision is not Vision.OPERATIONAL:
        return found
    if view.job:
        automatic = Automatic.SINGLE_EXECUTION if view.single else Automatic.CONTINUOUS_EXECUTION
        return replace(found, automatic=automatic, system=SystemState.PRODUCTIVE, cause="")
    automatic = Automatic.READY if view.ready else Automatic.INITIALIZED
    cause = "" if view.ready else found.cause or "NOT_READY"
    return replace(found, automatic=automatic, system=SystemState.STANDBY, cause=cause)


def _down(vision: Vision, cause: str) -> StationState:
    system = SystemState.STANDBY if vision is Vision.HALTED else SystemState.UNSCHEDULED_DOWNTIME
    return StationState(vision, None, system, cause)


class StateReader:
    """Reads one station's live file. One thread uses it."""

    def __init__(
        self, folder: Path, station: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder, self._station, self._clock = folder, station, clock
        self._news: tuple[float, str] | None = None
        self._seen = 0.0
        self.last = state_of(None, 0.0)

    def read(self) -> StationState:
        """Return how the station stands now, and keep it in `last`; never raises.

        A file that was there before us proves nothing: until it changes, nothing is known.
        """
        self.last = self._read()
        return self.last

    def _read(self) -> StationState:
        found = read_state(self._folder, self._station)
        if found is None:
            return state_of(None, 0.0)
        now, news = self._clock(), (found.mono, found.at)
        if self._news is None:
            self._seen = now - 2 * SILENT_AFTER
            self._news = news
        elif news != self._news:
            self._news, self._seen = news, now
        return state_of(found, now - self._seen)
