"""What the simulated PLC did: the log on disk, and what is known from it.

One JSON object a line, appended with one write before the effect it describes, so the log of a
killed process ends exactly where the process ended. `History.apply` is the only place that counts:
live and after a restart the same events give the same counters.

    Ladder ──events──▶ PlcLog.write ──▶ file          PlcLog.open ◀── file
             └──────▶ History.apply ◀─────────────────────┘
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from inspection.errors import ConfigError, PlcError
from inspection.plc.words import next_sequence

Event = dict[str, Any]

CAUSES = (
    "pass", "fail", "review", "not_inspected",
    "no_ack", "no_result", "bad_check", "heartbeat", "lost",
)  # fmt: skip
"""How a trigger can end; all but `pass` reject the part."""
UNTRIGGERED = ("not_ready", "not_alive", "result_valid_up")
"""Why a part can be rejected without a trigger."""


@dataclass
class Counters:
    """What the PLC counted over the whole log.

    Attributes:
        triggers: parts for which TRIGGER was raised, repeats not counted.
        passes: parts let through.
        rejects: parts rejected after a trigger, by cause.
        untriggered: parts rejected without a trigger, by cause.
        retriggers: the same sequence raised again, after a restart or by a fault.
        repeat_answers: answers to a repeated trigger of a part that had its outcome already.
        repeat_mismatches: those that differed from the first answer.
        discarded_results: results nobody waited for, acknowledged and thrown away.
        restarts: times the PLC program started over, with or without its memory.
    """

    triggers: int = 0
    passes: int = 0
    rejects: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CAUSES[1:], 0))
    untriggered: dict[str, int] = field(default_factory=lambda: dict.fromkeys(UNTRIGGERED, 0))
    retriggers: int = 0
    repeat_answers: int = 0
    repeat_mismatches: int = 0
    discarded_results: int = 0
    restarts: int = 0

    @property
    def rejected(self) -> int:
        """Parts rejected, with and without a trigger."""
        return sum(self.rejects.values()) + sum(self.untriggered.values())

    @property
    def parts(self) -> int:
        """Parts that arrived."""
        return self.triggers + sum(self.untriggered.values())

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers and dictionaries, for JSON; a copy."""
        return {k: dict(v) if isinstance(v, dict) else v for k, v in vars(self).items()}

    def copy(self) -> Counters:
        """Return a copy that no longer counts."""
        return Counters(**self.as_dict())


@dataclass(frozen=True, slots=True)
class Part:
    """One part under the camera.

    Attributes:
        seq: TRIG_SEQ, 1..65535.
        part_id: u32 told to the station.
        serial: serial or lot, at most 16 ASCII characters.
        number: it is the n-th counted trigger, from 1.
        repeat: it had its outcome already and is triggered once more.
    """

    seq: int
    part_id: int
    serial: str
    number: int
    repeat: bool = False


@dataclass
class History:
    """What a PLC program must know after a restart, told by its events.

    Attributes:
        counters: all counts.
        next_seq: sequence of the next new trigger.
        outstanding: a triggered part without an outcome, or None.
        answer: (code, record id) of the latest outcome, to compare a repeated answer with.
        rejects_in_row: rejects since the last pass.
        faults_done: (kind, number) of the faults that were played.
    """

    next_seq: int
    counters: Counters = field(default_factory=Counters)
    outstanding: Part | None = None
    answer: tuple[int, int] = (0, 0)
    rejects_in_row: int = 0
    faults_done: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])

    def apply(self, event: Event) -> None:
        """Take one event into account. A malformed one raises ValueError, KeyError or TypeError."""
        counters = self.counters
        match event["event"]:
            case "trigger":
                if self.outstanding is not None:
                    raise ValueError(f"a trigger while {self.outstanding} has no outcome")
                counters.triggers += 1
                self.outstanding = Part(
                    int(event["seq"]),
                    int(event["part_id"]),
                    str(event["serial"]),
                    counters.triggers,
                )
                self.next_seq = next_sequence(self.outstanding.seq)
            case "retrigger":
                counters.retriggers += 1
            case "outcome":
                self._outcome(event)
            case "reject":
                counters.untriggered[event["cause"]] += 1
                self.rejects_in_row += 1
            case "repeat_answer":
                counters.repeat_answers += 1
                counters.repeat_mismatches += not event["same"]
            case "discard":
                counters.discarded_results += 1
            case "fault":
                self.faults_done.add((str(event["fault"]), int(event["number"])))
            case "start" | "restart":
                counters.restarts += bool(event["resumed"])
                self.next_seq = int(event["next_seq"])
            case "line_stopped":
                self.rejects_in_row = 0
            case _:  # labels for the reader: stop, recipe, station_error
                pass

    def _outcome(self, event: Event) -> None:
        if self.outstanding is None or self.outstanding.seq != event["seq"]:
            raise ValueError(
                f"an outcome of sequence {event['seq']}, outstanding is {self.outstanding}"
            )
        if event["cause"] == "pass":
            self.counters.passes += 1
            self.rejects_in_row = 0
        else:
            self.counters.rejects[event["cause"]] += 1
            self.rejects_in_row += 1
        self.answer = (int(event["code"]), int(event["record"]))
        self.outstanding = None


class PlcLog:
    """The log file of one simulated PLC; locked while it is open."""

    def __init__(self, path: Path) -> None:
        """Open or create the file, and cut off a last line that was not written to its end.

        Raises:
            ConfigError: it cannot be opened, or another simulated PLC writes to it.
        """
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ConfigError(
                f"PLC log {path} cannot be opened ({error}); choose another file"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise ConfigError(
                f"PLC log {path} is in use by another simulated PLC; stop it first"
            ) from error
        self._closed = False

    def read(self, first_sequence: int) -> tuple[History, bool]:
        """Return what the log tells, and whether it told anything.

        Raises:
            ConfigError: a whole line is not an event; the message names the line.
        """
        history = History(next_seq=first_sequence)
        data = self.path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):  # its effect never came: the line is written first
            os.ftruncate(self._file, whole)
        lines = data[:whole].splitlines()
        for number, line in enumerate(lines, 1):
            try:
                history.apply(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise ConfigError(
                    f"PLC log {self.path}, line {number} is not an event of a simulated PLC "
                    f"({error!r}); move the file away to start a new log"
                ) from error
        return history, bool(lines)

    def write(self, event: Event) -> None:
        """Append one event in one write; it survives a kill of this process.

        Raises:
            PlcError: it could not be written whole; the effect must not happen.
        """
        at = datetime.now(UTC).isoformat(timespec="microseconds")
        line = json.dumps({**event, "at": at}, ensure_ascii=False).encode() + b"\n"
        try:
            written = os.write(self._file, line)
        except OSError as error:
            raise PlcError(
                f"PLC log {self.path} cannot be written ({error}); free the disk"
            ) from error
        if written != len(line):
            raise PlcError(f"PLC log {self.path} was written in part only; free the disk")

    def close(self) -> None:
        """Close the file and free its lock. May be called twice."""
        if not self._closed:
            self._closed = True
            os.close(self._file)
