"""What can be told of the link from this side: where CTRL is, round trips, heartbeat, the right answers.

A reply that comes after its time cannot be asked for from here: only a proxy between both can delay one.
What is looked at instead: questions of different lengths get their own answers, also right after a
connection was closed and opened again.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from statistics import median

from inspection.commission.probe.finding import Finding, WrongError
from inspection.commission.probe.place import find_place, tell_difference
from inspection.errors import PlcError
from inspection.plc.words import BLOCK_WORDS, MAP_VERSION
from inspection.protocols import Plc

_BETWEEN = 0.6
"""Seconds in which a heartbeat of 100 ms must have moved."""
_SLOW_TRIP, _SLOW_BEAT = 0.05, 0.5
_STATIC = ((7, 1), (0, 16), (6, 3), (7, 2), (0, 8), (15, 1))
"""Offset and count of the questions whose answers are compared."""
FIRST_RESULT = 3
PATTERN: tuple[int, ...] = (
    0x0102, 0x7FFF, 0x8000, 0xFFFF, 0x00FF, 0x0100, 0xFF00, 0x8001, 0xFFFE, 0x1234, 0xABCD, 2, 0x5A5A,
)  # fmt: skip
"""For STAT 3..15, in any turn: no word is 1, so none is a PASS, and RESULT_VALID stays off all the time."""


@dataclass(frozen=True, slots=True)
class Link:
    """A connected driver and where its blocks are.

    Attributes:
        plc: the driver.
        ctrl: first word of CTRL, as configured.
        stat: first word of STAT.
        dead_after: seconds after which the station takes the PLC for dead.
        count: round trips to measure.
        watch: seconds for which the PLC's heartbeat is watched, at least.
    """

    plc: Plc
    ctrl: int
    stat: int
    dead_after: float
    count: int
    watch: float

    def read(self, address: int) -> list[int]:
        """Read a block."""
        return self.plc.read_words(address, BLOCK_WORDS)


def look_for_ctrl(link: Link) -> Finding:
    """Read CTRL twice and recognise it.

    Raises:
        WrongError: it is elsewhere, or not to be seen.
        PlcError: the PLC refuses the address, and CTRL is not near it either.
    """
    try:
        first, second = _twice(link, link.ctrl)
    except PlcError:
        link.plc.close()
        link.plc.connect()
        _look_around(link)
        raise
    place = find_place(first, second)
    if place is not None and place.shift == 0:
        if place.swapped:
            raise WrongError("ctrl_swapped", address=link.ctrl)
        return Finding("ctrl_found", values={"address": link.ctrl})
    if place is not None and place.moving:
        raise _elsewhere(link, link.ctrl + place.shift, place.swapped)
    _look_around(link)
    if not any(first) and not any(second):
        raise WrongError("ctrl_empty", address=link.ctrl)
    raise WrongError("ctrl_version", address=link.ctrl + 7, version=second[7], expected=MAP_VERSION)


def _look_around(link: Link) -> None:
    """Raise WrongError where CTRL is one word aside, at STAT's address, or words were taken for bytes."""
    for address in (link.ctrl - 1, link.ctrl + 1, link.stat, 2 * link.ctrl, link.ctrl // 2):
        if address < 0 or address == link.ctrl:
            continue
        with _curious(link):
            there = find_place(*_twice(link, address))
            if there is not None and there.shift == 0 and there.moving:
                raise _elsewhere(link, address, there.swapped)


def _elsewhere(link: Link, address: int, swapped: bool) -> WrongError:
    code = "ctrl_and_stat_exchanged" if address == link.stat else "ctrl_elsewhere"
    if swapped:
        code = "ctrl_elsewhere_swapped"
    return WrongError(code, address=link.ctrl, found=address)


def _twice(link: Link, address: int) -> tuple[list[int], list[int]]:
    """Read a block, and again until a heartbeat is seen to move in it or time is up."""
    first = second = link.read(address)
    ended = time.monotonic() + _BETWEEN
    pause = threading.Event()
    while time.monotonic() < ended:
        pause.wait(0.02)
        second = link.read(address)
        place = find_place(first, second)
        if place is not None and place.moving:
            break
    return first, second


@contextlib.contextmanager
def _curious(link: Link) -> Generator[None]:
    """Read where the PLC may refuse it; the driver is connected again afterwards."""
    try:
        yield
    except (PlcError, ValueError):
        link.plc.close()
        link.plc.connect()


def measure_reads(link: Link) -> list[Finding]:
    """Measure round trips of CTRL and watch the PLC's heartbeat meanwhile."""
    trips: list[float] = []
    changed: list[float] = []
    beat: int | None = None
    started = time.monotonic()
    pause = threading.Event()
    while len(trips) < link.count or time.monotonic() - started < link.watch:
        asked = time.monotonic()
        words = link.read(link.ctrl)
        now = time.monotonic()
        if len(trips) < link.count:
            trips.append(now - asked)
        else:
            pause.wait(0.01)
        if beat is not None and words[1] != beat:
            changed.append(now)
        beat = words[1]
    return [
        _trips("read_trips", trips),
        _beats(changed, started, time.monotonic(), link.dead_after),
    ]


def _trips(code: str, trips: Sequence[float]) -> Finding:
    ordered = sorted(trips)
    p99 = ordered[math.ceil(0.99 * len(ordered)) - 1]
    values = {
        "count": len(ordered),
        "p50_ms": round(median(ordered) * 1e3, 2),
        "p99_ms": round(p99 * 1e3, 2),
        "most_ms": round(ordered[-1] * 1e3, 2),
    }
    return Finding(code, "warn" if p99 > _SLOW_TRIP else "ok", dict(values))


def _beats(changed: list[float], started: float, ended: float, dead_after: float) -> Finding:
    if not changed:
        return Finding("beat_still", "fail", {"seconds": round(ended - started, 1)})
    edges = [started, *changed, ended]
    longest = max(b - a for a, b in itertools.pairwise(edges))
    values: dict[str, object] = {
        "rate": round(len(changed) / (ended - started), 1),
        "longest_ms": round(longest * 1e3),
        "dead_ms": round(dead_after * 1e3),
    }
    if longest > dead_after:
        return Finding("beat_late", "fail", values)
    if longest > _SLOW_BEAT:
        return Finding("beat_slow", "warn", values)
    return Finding("beat", values=values)


def compare_answers(link: Link, block: str, known: Sequence[int], fixed: Sequence[int]) -> Finding:
    """Ask for parts of a block of different lengths; each must be its own part of what is known.

    Args:
        link: connected; it is closed and connected again in between.
        block: CTRL or STAT.
        known: the block as it stands.
        fixed: offsets of words that do not change meanwhile; the others are not compared.
    """
    address = link.ctrl if block == "CTRL" else link.stat
    asked = 0
    for again in (False, True):
        if again:
            link.plc.close()
            link.plc.connect()
        for offset, count in _STATIC:
            words = link.plc.read_words(address + offset, count)
            asked += 1
            for at, word in enumerate(words, offset):
                if at in fixed and word != known[at]:
                    raise WrongError(
                        "answer_wrong", address=address + at, expected=known[at], read=word
                    )
    return Finding("answers_right", values={"block": block, "count": asked})


def check_nobody_writes_stat(link: Link) -> None:
    """Watch STAT for a while. Raises WrongError when its heartbeat moves: a line runs somewhere."""
    first = link.read(link.stat)
    ended = time.monotonic() + min(link.watch, 1.0)
    pause = threading.Event()
    while time.monotonic() < ended:
        pause.wait(0.1)
        if link.read(link.stat)[1] != first[1]:
            raise WrongError("stat_in_use", address=link.stat + 1)


def write_patterns(link: Link) -> list[Finding]:
    """Write patterns to STAT 3..15 and read them back; flags and heartbeat stay 0. Measures the writes."""
    clear_stat(link.plc, link.stat)
    first = link.stat + FIRST_RESULT
    trips: list[float] = []
    back: list[int] = []
    for number in range(link.count):
        turn = number % len(PATTERN)
        words = [*PATTERN[turn:], *PATTERN[:turn]] if number % 2 else list(PATTERN)
        asked = time.monotonic()
        link.plc.write_words(first, words)
        trips.append(time.monotonic() - asked)
        if number % 10 == 0:
            back = link.read(link.stat)
            if back[FIRST_RESULT:] != words:
                code, values = tell_difference(words, back[FIRST_RESULT:])
                raise WrongError(code, **{**values, "address": first})
    link.plc.write_words(first, list(PATTERN))
    known = [0, 0, 0, *PATTERN]
    found = [
        _trips("write_trips", trips),
        Finding("patterns_right", values={"count": len(PATTERN)}),
    ]
    found.append(compare_answers(link, "STAT", known, range(BLOCK_WORDS)))
    clear_stat(link.plc, link.stat)
    return found


def clear_stat(plc: Plc, stat: int) -> None:
    """Zero STAT but the map version, flags first."""
    plc.write_words(stat, [0, 0])
    plc.write_words(stat + 2, [*[0] * 12, MAP_VERSION, 0])


def measure(link: Link, *, write: bool, note: Callable[[Finding], None]) -> None:
    """Look at the link, one finding after the other. Raises WrongError and PlcError."""
    note(look_for_ctrl(link))
    found = measure_reads(link)
    for finding in found:
        note(finding)
    block = link.read(link.ctrl)
    note(compare_answers(link, "CTRL", block, (7,)))
    if write:
        check_nobody_writes_stat(link)
        for finding in write_patterns(link):
            note(finding)
