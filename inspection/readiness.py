"""READY and its cause: whether a part could be inspected now, told to the PLC, the store and metrics.

PLC alive, map version, ENABLE ─▶ recipe ─▶ store ─▶ camera ─▶ scanner ─▶ model ─▶ READY
the first that does not hold is the cause: word 10, an alarm, a metric; ERROR when it needs repair
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from inspection.acquire import Acquire
from inspection.changeover import Changeover
from inspection.detect import DetectStage
from inspection.plc.exchange import Exchange
from inspection.plc.words import MAP_VERSION, Ctrl, CtrlFlag, StatFlag
from inspection.record import Record
from inspection.types import Reason

log = logging.getLogger(__name__)

FAULTS = {
    Reason.CAMERA_LOST, Reason.CAMERA_TIMEOUT, Reason.FRAME_STALE, Reason.FRAME_REPEATED,
    Reason.FRAME_IDENTICAL, Reason.FRAME_SIZE, Reason.FRAME_INVALID,
    Reason.INFERENCE_FAILED, Reason.INFERENCE_TIMEOUT,
    Reason.MODEL_OUTPUT, Reason.MODEL_MISMATCH, Reason.RELEASE_INVALID, Reason.STORE_FAILED,
    Reason.RECIPE_UNKNOWN, Reason.RECIPE_INVALID, Reason.MAP_VERSION, Reason.SCANNER_LOST,
}  # fmt: skip
"""Causes that need a person or a repair: the PLC sees ERROR until they are gone and acknowledged."""

_NOT_IDLE = (CtrlFlag.TRIGGER, CtrlFlag.RESULT_ACK, CtrlFlag.RECIPE_REQ, CtrlFlag.RESET)


class Readiness:
    """Looks at the stages and shows what it finds. Used by the station's loop alone."""

    def __init__(
        self,
        exchange: Exchange,
        changeover: Changeover,
        acquire: Callable[[], Acquire],
        detect: DetectStage,
        record: Record,
        changed: Callable[[Reason | None], None],
    ) -> None:
        """Nothing is shown yet.

        Args:
            exchange: where READY, ERROR and DEGRADED are shown.
            changeover: which recipe is in force.
            acquire: returns the acquire stage; it is another one after a hang.
            detect: the detect stage.
            record: the record stage, which also takes the alarms.
            changed: called when the cause changes; None means READY.
        """
        self._exchange = exchange
        self._changeover = changeover
        self._acquire = acquire
        self._detect = detect
        self._record = record
        self._changed = changed
        self._cause: Reason | None = None

    def find_cause(self, ctrl: Ctrl, *, in_work: bool, stopping: bool) -> Reason | None:
        """Return why a part could not be inspected now; None when it could.

        Args:
            ctrl: as just read.
            in_work: a part is in flight.
            stopping: the station is being stopped.
        """
        changeover, acquire, detect = self._changeover, self._acquire(), self._detect
        in_work = in_work or detect.finishing
        code_fault = detect.code_fault(changeover.setup)
        checks: tuple[tuple[bool, Reason | None], ...] = (
            (stopping, Reason.STOPPED),
            (not self._exchange.plc_alive(), Reason.PLC_HEARTBEAT),
            (ctrl.map_version != MAP_VERSION, Reason.MAP_VERSION),
            (not ctrl.has(CtrlFlag.ENABLE), Reason.PLC_DISABLED),
            (changeover.fault is not None, changeover.fault),
            (changeover.pending, Reason.MODEL_LOADING),
            (not self._record.healthy, Reason.STORE_FAILED),
            (not acquire.healthy, acquire.fault or Reason.CAMERA_LOST),
            (not in_work and acquire.busy, Reason.CAMERA_TIMEOUT),
            (not in_work and detect.busy, Reason.INFERENCE_TIMEOUT),
            (code_fault is not None, code_fault),
            (not detect.ready_for(changeover.setup), detect.fault or Reason.MODEL_LOADING),
        )
        return next((reason for is_so, reason in checks if is_so), None)

    @property
    def cause(self) -> Reason | None:
        """The cause as noted last; None means READY."""
        return self._cause

    def show(self, ctrl: Ctrl, *, in_work: bool, stopping: bool) -> None:
        """Find the cause and show it; while the model finishes a doubtful picture, as with a part in flight.

        Raises PlcError.
        """
        in_work = in_work or self._detect.finishing
        cause = self.find_cause(ctrl, in_work=in_work, stopping=stopping)
        self.note(cause)
        if ctrl.has(CtrlFlag.ERROR_ACK) and cause not in FAULTS:
            self._exchange.drop_flags(StatFlag.ERROR)
        idle = not in_work and not any(ctrl.has(flag) for flag in _NOT_IDLE)
        up = StatFlag.ONLINE | (StatFlag.ERROR if cause in FAULTS else StatFlag(0))
        down = StatFlag(0)
        for flag, is_up in (
            (StatFlag.READY, cause is None and idle),
            (StatFlag.DEGRADED, self._record.degraded),
        ):
            up, down = (up | flag, down) if is_up else (up, down | flag)
        self._exchange.raise_flags(up, drop=down)
        if not in_work and not self._exchange.stat.has(StatFlag.RESULT_VALID):
            self._exchange.drop_flags(StatFlag.BUSY)
            self._exchange.show(cause or Reason.NONE, self._changeover.number)

    def note(self, cause: Reason | None) -> None:
        """Tell store, log and metrics when the cause has changed."""
        if cause is self._cause:
            return
        if self._cause is not None:
            self._record.alarm(self._cause, "", on=False)
        self._cause = cause
        if cause is None:
            log.info("READY")
        else:
            self._record.alarm(cause, "", on=True)
            log.info("not READY: %s", cause.name)
        self._changed(cause)
