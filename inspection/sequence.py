"""TRIG_SEQ followed: which epoch a trigger belongs to, and which triggers never reached the station.

The PLC counts 1..65535 and then 1 again. A count that goes back begins a new epoch, so that station,
epoch and sequence name one trigger for ever. A count that jumps ahead means that the PLC raised
triggers while the station was away or the link was down; the PLC rejected these parts by itself, and
each still gets its row. RESET begins an epoch too, and the PLC may count from 1 again; when its count goes on
all the same, a little above where it was, what is between was missed.
"""

from __future__ import annotations

from collections.abc import Callable

LAST = 65535
MOST_MISSED = 200
"""A larger jump is a PLC that counts anew, not triggers that were missed."""


class TriggerCount:
    """Follows the PLC's count. Used by the station's loop alone."""

    def __init__(self, epoch: int, counted: int, begin_epoch: Callable[[int, str], None]) -> None:
        """Start in an epoch that the store has just begun.

        Args:
            epoch: of this start.
            counted: the sequence that the store knows last, from before this start; 0 for none.
            begin_epoch: told the number and the cause of each new epoch.
        """
        self.epoch = epoch
        self._counted = counted
        self._before_reset = 0
        self._in_epoch = 0
        self._begin_epoch = begin_epoch

    def take(self, sequence: int) -> list[tuple[int, int]]:
        """Go on to a trigger; `epoch` is its epoch afterwards.

        Returns:
            (epoch, sequence) of each trigger before it that was missed, oldest first.
        """
        missed: list[tuple[int, int]] = []
        last = self._counted
        if not last and sequence > self._before_reset:
            last = self._before_reset
        if last:
            ahead = (sequence - last - 1) % LAST
            for step in range(ahead if ahead <= MOST_MISSED else 0):
                missed.append(self._follow((last + step) % LAST + 1))
        self._follow(sequence)
        self._counted, self._before_reset = sequence, 0
        return missed

    def reset(self) -> None:
        """The PLC asked for a new start.

        A count that is not above the old one began anew, and nothing was missed. One that is a little above
        goes on, or began at 1 and was not seen before: either way what is between never came.
        """
        self._counted, self._before_reset = 0, self._counted or self._before_reset
        self._new_epoch("reset")

    def _follow(self, sequence: int) -> tuple[int, int]:
        if self._in_epoch and sequence <= self._in_epoch:
            self._new_epoch("sequence went back")
        self._in_epoch = sequence
        return self.epoch, sequence

    def _new_epoch(self, cause: str) -> None:
        self.epoch += 1
        self._in_epoch = 0
        self._begin_epoch(self.epoch, cause)
