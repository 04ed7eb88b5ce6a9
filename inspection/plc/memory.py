"""The memory of a simulated PLC, and the seam to the protocol that serves it.

station ──any protocol──▶ WordServer ──read / write──▶ Memory ◀── every scan ── the PLC's program
                                              CTRL is shown here, STAT is written by the station
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inspection.plc.words import BLOCK_WORDS, Stat


class Memory:
    """The words of the PLC, from the lower to the end of the upper block.

    A station may read all of it and write STAT; everything else is refused, so that a driver which does
    more than it should is noticed. Addresses are word numbers as in the station file.

    Attributes:
        ctrl_address: first word of CTRL.
        stat_address: first word of STAT.
        words: unsigned 16 bit, of any byte order. A server that keeps its words elsewhere puts its own
            array here when it starts.
    """

    def __init__(self, ctrl_address: int, stat_address: int) -> None:
        self.ctrl_address, self.stat_address = ctrl_address, stat_address
        self.first = min(ctrl_address, stat_address)
        self.count = max(ctrl_address, stat_address) + BLOCK_WORDS - self.first
        self._ctrl = ctrl_address - self.first
        self._stat = stat_address - self.first
        self.words: NDArray[np.uint16] = np.zeros(self.count, np.uint16)

    def read(self, address: int, count: int) -> list[int]:
        """Return words for a station. Raises ValueError: not all of them are in this memory."""
        at = address - self.first
        if not (count > 0 and 0 <= at <= self.count - count):
            raise ValueError(f"{count} words at {address} are outside the exchange area")
        return self.words[at : at + count].tolist()

    def write(self, address: int, words: list[int]) -> None:
        """Take words from a station. Raises ValueError: not all of them are in STAT."""
        at = address - self.first
        if not (words and self._stat <= at <= self._stat + BLOCK_WORDS - len(words)):
            raise ValueError(f"{len(words)} words at {address} are not all in STAT")
        self.words[at : at + len(words)] = words

    def stat(self) -> Stat:
        """Return STAT as the station left it."""
        return Stat.unpack(self.words[self._stat : self._stat + BLOCK_WORDS].tolist())

    def show(self, ctrl: list[int]) -> None:
        """Put CTRL where the station reads it."""
        self.words[self._ctrl : self._ctrl + BLOCK_WORDS] = ctrl

    def clear(self) -> None:
        """Forget all words, as without power."""
        self.words[:] = 0


class WordServer(Protocol):
    """A protocol's server over one memory, on the event loop of the PLC's program."""

    async def start(self, memory: Memory, host: str, port: int) -> int:
        """Listen; port 0 takes a free one. Returns the port. Raises OSError."""
        ...

    def drop_links(self) -> None:
        """Close every connection at once, as a PLC that loses power; new ones may come."""
        ...

    async def stop(self) -> None:
        """Close the port and every connection."""
        ...
