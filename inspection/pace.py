"""At an even takt it is known when the next part comes: CTRL is read more often then.

    trigger ──takt──▶ trigger ──the same takt──▶ [ due: read four times as often ] trigger

Nothing depends on it but how soon a trigger is seen. A part that comes at another time is seen as soon as on
a line without a takt, and a takt so short that a part would be due most of the time is none. A driver that
counts readings (`counts_readings`) is never asked more often.
"""

from __future__ import annotations

_AROUND = 5
"""Readings of CTRL, at the usual pace, by which two intervals may differ and a trigger be early or late."""
_LONG = 4
"""A takt is at least so many times as long as a trigger may be early: due is half of the time at most."""
_TIMES = 4
"""So many times as often CTRL is read while a part is due."""


class Pace:
    """Learns from triggers.

    Args:
        poll: seconds between two readings of CTRL while no part is due.
        learns: the driver may be asked more often; else no part is ever due.
    """

    def __init__(self, poll: float, *, learns: bool = True) -> None:
        self._poll = poll
        self._learns = learns
        self._around = _AROUND * poll
        self._last = float("-inf")
        self._interval = 0.0
        self._even = False

    def trigger(self, now: float) -> None:
        """Learn of one that was seen `now`, monotonic seconds."""
        interval = now - self._last
        is_like = abs(interval - self._interval) <= self._around
        self._even = self._learns and is_like and interval >= _LONG * self._around
        self._last, self._interval = now, interval

    def pause(self, now: float) -> float:
        """Return the seconds to the next reading of CTRL, while no part is in work."""
        if self._even and abs(now - self._last - self._interval) <= self._around:
            return self._poll / _TIMES
        return self._poll
