"""The clock of a camera against ours: when was a frame exposed that the camera has stamped?"""

from __future__ import annotations

import logging
import time

log = logging.getLogger(__name__)

_LATCH_EVERY = 5.0
_DRIFT = 0.0005  # seconds between two comparisons: 100 ppm
_PRECISE = 0.005  # seconds: a worse comparison is made again before the next frame


class DeviceClock:
    """The camera's clock against ours: an offset, measured again every few seconds for the drift.

    Attributes:
        error: seconds by which the offset may be wrong.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.error = 0.0
        self._offset: float | None = None
        self._next = 0.0

    @property
    def known(self) -> bool:
        """The camera's clock was read."""
        return self._offset is not None

    def due(self) -> bool:
        """It is time to compare."""
        return time.monotonic() >= self._next

    def compare(self, device_ns: int | None, began: float, ended: float) -> None:
        """Note what the camera's clock said between two moments of ours; None: it cannot be read."""
        if device_ns is None:
            self._next, self._offset = float("inf"), None
            log.info("camera %s: its clock cannot be read; frames are dated by arrival", self._name)
            return
        self._offset = (began + ended) / 2 - device_ns / 1e9
        self.error = (ended - began) / 2 + _DRIFT
        self._next = ended + (_LATCH_EVERY if self.error < _PRECISE else 0.0)

    def host(self, device_ns: int) -> float | None:
        """Return the moment on our monotonic clock; None: not known."""
        if not device_ns or self._offset is None:
            return None
        return device_ns / 1e9 + self._offset
