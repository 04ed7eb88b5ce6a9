"""Is this station the only one that writes STAT? Its own heartbeat must stand there.

    connect ─▶ another heartbeat than ours? ─▶ watch it: it moves ─▶ PlcSharedError, nothing is written
    later   ─▶ three readings in a row, each another heartbeat and none of them ours ─▶ PlcSharedError

Heartbeats begin at a number drawn by chance, so those of two stations are told apart even where a PLC or a
gateway shows what was written a while ago: our own last few are ours. 0 means that the PLC was started.

Two stations at one PLC answer each other's parts: what one failed, the other passes. The second one to come
stays out until it is started anew: it may not take over when the first one's cable is pulled. When two came
at once both stop: nobody can tell which of them sees the parts.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from inspection.errors import PlcSharedError

_WATCHED = 1.0
"""Seconds; a heartbeat that stands so long is dead, see docs/line-protocol.md."""
_LOOKED_EVERY = 0.05
_OFTEN = 20
"""So many heartbeats after a connection, or after a rest, are all compared; then one a second."""
_EVERY = 1.0
_REST = 0.5
_STRANGE = 3
_LATE = 10
"""So many heartbeats ago we wrote what may still be shown."""


class SoleWriter:
    """Compares the heartbeat in STAT with our own. Used by the station's loop alone."""

    def __init__(self) -> None:
        """Nothing was written yet."""
        self._wrote = False
        self._other: str = ""
        self._often = _OFTEN
        self._due = self._beaten = float("-inf")
        self._strange: list[int] = []

    def enter(self, read: Callable[[], int], own: int) -> None:
        """Return when nobody else writes.

        Args:
            read: reads the heartbeat in STAT; may raise PlcError.
            own: as it was written last, or would have been.

        Raises:
            PlcSharedError: another station writes, or did before.
        """
        if self._other:
            raise PlcSharedError(self._other)
        seen = read()
        ours = self._wrote and _is_ours(seen, own)
        if seen and not ours:  # 0: nobody has written since the PLC was started
            end = time.monotonic() + _WATCHED
            while time.monotonic() < end:
                time.sleep(_LOOKED_EVERY)
                before, seen = seen, read()
                if seen not in {0, before}:  # to 0 it goes when the program clears its memory
                    self._other = (
                        "another station writes STAT at this PLC: its heartbeat moves. Nothing was written. "
                        "Stop that station or give this one its own addresses, and start this one anew"
                    )
                    raise PlcSharedError(self._other)
        self._wrote = True
        self._often, self._strange = _OFTEN, []

    def wants_look(self, now: float, *, busy: bool) -> bool:
        """Tell whether the heartbeat in STAT is to be read before the next one is written.

        Args:
            now: monotonic seconds.
            busy: a part waits for its answer; a look has time.
        """
        if now - self._beaten > _REST:  # this loop stood still: who knows what happened meanwhile
            self._often = _OFTEN
        self._beaten = now
        return self._often > 0 or now >= self._due + (_EVERY if busy else 0.0)

    def look(self, shown: int, own: int, now: float) -> None:
        """Compare the heartbeat in STAT with ours.

        Raises:
            PlcSharedError: another station writes as well; from now on `enter` refuses.
        """
        self._often, self._due = max(0, self._often - 1), now + _EVERY
        if not shown or _is_ours(shown, own) or shown in self._strange[-1:]:
            self._strange = []  # ours; or the PLC was started; or its program writes there
            return
        self._strange.append(shown)
        self._often = max(self._often, _STRANGE)
        if len(self._strange) >= _STRANGE:
            self._other = (
                "another station writes STAT at this PLC as well: its heartbeats stand where ours were. Stop "
                "that station, or give it its own addresses, and start this one anew"
            )
            raise PlcSharedError(self._other)


def _is_ours(shown: int, own: int) -> bool:
    """Tell whether we wrote this heartbeat lately, the last one being `own`."""
    return (own - shown) & 0xFFFF <= _LATE
