"""Where CTRL really is, told by its words: map version, a heartbeat that moves, flags that exist.

Pure. A block is recognised whole or with its bytes swapped, at its address or one word aside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inspection.plc.words import BLOCK_WORDS, MAP_VERSION

_HEARTBEAT, _VERSION, _FLAGS = 1, 7, 0x3F


@dataclass(frozen=True, slots=True)
class Place:
    """How CTRL was recognised.

    Attributes:
        shift: words that CTRL lies above the address that was read.
        swapped: the bytes of each word are exchanged.
        moving: its heartbeat moved.
    """

    shift: int
    swapped: bool
    moving: bool


def swap(word: int) -> int:
    """Return a word with its bytes exchanged."""
    return (word & 0xFF) << 8 | word >> 8


def find_place(first: Sequence[int], second: Sequence[int]) -> Place | None:
    """Return how CTRL stands in two readings of the same 16 words, some heartbeats apart.

    A place whose heartbeat moves goes before one whose heartbeat does not, and the simple before the odd.
    """
    found: list[Place] = []
    for shift in (0, -1, 1):
        for swapped in (False, True):
            place = _look(first, second, shift, swapped)
            if place is not None:
                found.append(place)
    return max(found, key=lambda place: place.moving, default=None)


def _look(first: Sequence[int], second: Sequence[int], shift: int, swapped: bool) -> Place | None:
    def word(block: Sequence[int], offset: int) -> int | None:
        at = offset + shift
        if not 0 <= at < BLOCK_WORDS:
            return None
        return swap(block[at]) if swapped else block[at]

    flags = word(second, 0)
    if word(second, _VERSION) != MAP_VERSION or (flags is not None and flags > _FLAGS):
        return None
    moving = word(first, _HEARTBEAT) != word(second, _HEARTBEAT)
    return Place(shift, swapped, moving)


def tell_difference(wrote: Sequence[int], read: Sequence[int]) -> tuple[str, dict[str, object]]:
    """Name what happened to words that were read back otherwise than they were written."""
    wrote, read = list(wrote), list(read)
    if read == [swap(word) for word in wrote]:
        return "write_swapped", {}
    if read[1:] == wrote[:-1]:
        return "write_shifted", {"shift": "+1"}
    if read[:-1] == wrote[1:]:
        return "write_shifted", {"shift": "-1"}
    wrong = [at for at, (a, b) in enumerate(zip(wrote, read, strict=True)) if a != b]
    values: dict[str, object] = {"wrote": wrote[wrong[0]], "read": read[wrong[0]], "word": wrong[0]}
    if all(wrote[at] > 0x7FFF for at in wrong):
        return "write_signed", values
    return "write_differs", values
