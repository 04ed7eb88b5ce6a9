"""The PLC's own account of a run, read for `verify`: triggers, and how each one ended.

The log is JSON lines, written before the effect they describe, so its last line may be torn.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from inspection.errors import StoreError
from inspection.types import Decision

ACCEPTED = {
    "pass": Decision.PASS,
    "fail": Decision.FAIL,
    "review": Decision.REVIEW,
    "not_inspected": Decision.NOT_INSPECTED,
}
"""Outcomes in which the PLC took the station's answer, and the answer it took."""

NEVER_SEEN = ("no_ack", "heartbeat")
"""Outcomes of triggers that the station may never have seen: no row is no breach."""

SAME_CLOCK = 2.0
"""Seconds by which wall minus monotonic time may differ on one boot of one host."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A time on both clocks.

    Attributes:
        mono: seconds of a monotonic clock.
        wall: seconds since 1970, UTC.
    """

    mono: float
    wall: float

    @classmethod
    def of(cls, mono: Any, at: Any) -> Moment | None:
        """Return the moment, or None when it was not recorded, or is no time at all."""
        try:
            return cls(float(mono), datetime.fromisoformat(str(at)).timestamp())
        except (TypeError, ValueError):
            return None

    def on_the_clock_of(self, other: Moment) -> bool:
        """Tell whether both monotonic times are of one clock, so that they can be compared."""
        return abs((self.wall - self.mono) - (other.wall - other.mono)) < SAME_CLOCK

    def distance(self, other: Moment) -> float:
        """Return the seconds between both, by the clock that says less."""
        return min(abs(self.mono - other.mono), abs(self.wall - other.wall))


@dataclass(slots=True)
class PlcTrigger:
    """One trigger as the PLC knows it.

    Attributes:
        seq: TRIG_SEQ.
        part_id: part id told to the station.
        moment: when it was raised.
        cause: how it ended; empty while it is outstanding.
        code: RESULT_CODE the PLC read; 0 for none.
        record: record id the PLC read; 0 for none.
        ended: when it ended.
    """

    seq: int
    part_id: int
    moment: Moment
    cause: str = ""
    code: int = 0
    record: int = 0
    ended: Moment | None = None

    def __str__(self) -> str:
        return f"sequence {self.seq} part {self.part_id} ({self.cause or 'outstanding'})"


@dataclass(slots=True)
class PlcLog:
    """Everything `verify` takes from one log.

    Attributes:
        path: the file.
        triggers: in the order they were raised; repeats are not listed again.
        untriggered: parts rejected without a trigger, by cause.
        wrong_repeats: answers to a repeated trigger that differed from the first.
        counters: the PLC's own counts at its last stop, or None.
        counted: triggers before that stop.
        last: the latest moment in the log.
        torn: the last line was not written to its end.
    """

    path: Path
    triggers: list[PlcTrigger] = field(default_factory=list[PlcTrigger])
    untriggered: Counter[str] = field(default_factory=Counter[str])
    wrong_repeats: list[str] = field(default_factory=list[str])
    counters: dict[str, Any] | None = None
    counted: int = 0
    last: Moment | None = None
    torn: bool = False

    @property
    def causes(self) -> Counter[str]:
        """Return how many triggers ended in which way; `outstanding` for those that did not."""
        return Counter(trigger.cause or "outstanding" for trigger in self.triggers)


def read_plc_log(path: Path) -> PlcLog:
    """Read a log.

    Raises:
        StoreError: it cannot be read, or a line other than the last is not an event.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise StoreError(f"PLC log {path} cannot be read: {error}; check the path") from error
    log = PlcLog(path)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            _apply(log, json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if number == len(lines):  # no line end after it: the process was killed here
                log.torn = True
                continue
            raise StoreError(
                f"PLC log {path}, line {number} is not an event ({error!r})"
            ) from error
    return log


def _apply(log: PlcLog, event: dict[str, Any]) -> None:
    moment = Moment.of(event.get("mono"), event.get("at"))
    kind = event["event"]
    if kind == "trigger":
        if moment is None:
            raise ValueError("a trigger without mono and at")
        log.triggers.append(PlcTrigger(int(event["seq"]), int(event["part_id"]), moment))
    elif kind == "outcome":
        _end(log, event, moment)
    elif kind == "reject":
        log.untriggered[str(event["cause"])] += 1
    elif kind == "repeat_answer" and not event["same"]:
        log.wrong_repeats.append(f"sequence {event['seq']} part {event['part_id']}")
    elif kind == "stop":
        log.counters = event.get("counters")
        log.counted = len(log.triggers)
    log.last = moment or log.last


def _end(log: PlcLog, event: dict[str, Any], moment: Moment | None) -> None:
    trigger = log.triggers[-1] if log.triggers else None
    if trigger is None or trigger.cause or trigger.seq != int(event["seq"]):
        raise ValueError(f"an outcome of sequence {event['seq']} that was not outstanding")
    trigger.cause = str(event["cause"])
    trigger.code = int(event.get("code") or 0)
    trigger.record = int(event.get("record") or 0)
    trigger.ended = moment
