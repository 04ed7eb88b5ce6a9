"""How long to wait until CTRL is read again.

    trigger ──takt──▶ trigger ──the same takt──▶ [ due: read four times as often ] trigger
       └─▶ [ with the model: read less often ]

At an even takt it is known when the next part comes. Nothing depends on it but how soon a trigger is seen: a
part that comes at another time is seen as soon as on a line without a takt, and a takt so short that a part
would be due most of the time is none. A driver that counts readings (`counts_readings`) is asked neither more
often nor less: for it the pace of readings says how long an input must stand.
"""

from __future__ import annotations

_AROUND = 5
"""Readings of CTRL, at the usual pace, by which two intervals may differ and a trigger be early or late."""
_LONG = 4
"""A takt is at least so many times as long as a trigger may be early: due is half of the time at most."""
_TIMES = 4
"""So many times as often CTRL is read while a part is due."""
_BESIDE_MODEL = 0.01
"""Seconds between two readings, at least, while a part is with the model: it is left the processor."""


class Pace:
    """Learns from triggers.

    Args:
        poll: seconds between two readings of CTRL while no part is due.
        steady: the driver counts readings; it is asked at the usual pace, whatever happens.
    """

    def __init__(self, poll: float, *, steady: bool = False) -> None:
        self._poll = poll
        self._steady = steady
        self._around = _AROUND * poll
        self._last = float("-inf")
        self._interval = 0.0
        self._even = False

    def trigger(self, now: float) -> None:
        """Learn of one that was seen `now`, monotonic seconds."""
        interval = now - self._last
        is_like = abs(interval - self._interval) <= self._around
        self._even = not self._steady and is_like and interval >= _LONG * self._around
        self._last, self._interval = now, interval

    def pause(self, now: float) -> float:
        """Return the seconds to the next reading of CTRL, while no part is in work."""
        if self._even and abs(now - self._last - self._interval) <= self._around:
            return self._poll / _TIMES
        return self._poll

    def pause_beside_model(self, left: float) -> float:
        """Return the seconds to the next reading while a part is with the model and its trigger is down.

        Args:
            left: seconds until the part's deadline; it is looked at then.
        """
        if self._steady:
            return self._poll
        return max(self._poll, min(_BESIDE_MODEL, left))
