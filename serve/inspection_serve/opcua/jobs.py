"""The book of jobs: which triggers were given, and what came of them; on disk before the line sees a trigger.

    job 17 begins ─▶ line on disk ─▶ trigger 812: line on disk, synced ─▶ TRIGGER ─▶ outcome: line on disk

After a kill the book tells which sequence comes next, and that a trigger without an outcome is lost: its part
was rejected, whatever the line still answers. A row of the store belongs to the job that gave its trigger.
Of jobs that are not kept any more the book still knows which parts they rejected.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from inspection.errors import ConfigError, PlcError
from inspection.plc.words import MAX_SEQUENCE, next_sequence

JUDGED = ("pass", "fail", "review", "not_inspected")
"""Outcomes that are the line's own answer; with all others the part was rejected without one."""
KEPT_JOBS = 10_000
_LINES = 200_000
"""So many lines make the book be written anew."""
_LOOK_BACK = 300
"""A trigger that never reached the line gets its row with a later one, of a later job."""


@dataclass
class Job:
    """One job.

    Attributes:
        number: never given twice.
        single: one part; else a continuous run.
        by: who began it.
        after: every row of it has a higher record id.
        first: sequence of its first trigger.
        count: triggers so far.
        refused: sequence to outcome, of parts that were rejected without the line's answer.
    """

    number: int
    single: bool
    by: str
    after: int
    first: int
    count: int = 0
    refused: dict[int, str] = field(default_factory=dict[int, str])

    def has(self, sequence: int) -> bool:
        """Tell whether it gave that trigger."""
        return (sequence - self.first) % MAX_SEQUENCE < self.count


class JobBook:
    """The book of one station, in one file. Any thread may use it; one process at a time."""

    def __init__(self, path: Path) -> None:
        """Read it, close what was open, and write it anew.

        Raises:
            ConfigError: it cannot be read or written, or is no book of jobs.
        """
        self.path = path
        self.halted = False
        self._jobs: list[Job] = []
        # By sequence, oldest first: what jobs rejected that are not kept any more, each as a job of that
        # one trigger, and the record id above which the sequence came again.
        self._gone: dict[int, list[tuple[Job, int | None]]] = {}
        self._open: int | None = None
        self._next, self._lines = 1, 0
        # Numbers of jobs go on above those of a book that was lost.
        self._next_job, self._triggers = int(time.time()), 0
        self._lock = threading.Lock()
        self._file = self._guard = -1
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._guard = _alone(path.with_name(f"{path.name}.lock"))
            if path.exists():
                self._read(path.read_bytes())
            # Without a trigger nobody knows whether the line saw RESET.
            self.is_new = self._triggers == 0
            self.lost = self._open
            if self._open is not None:
                self._apply({"outcome": self._open, "cause": "lost"})
            self._write_anew()
        except OSError as error:
            raise ConfigError(f"book of jobs {path}: {error}; check folder and disk") from error

    @property
    def next_sequence(self) -> int:
        """The sequence of the next trigger."""
        return self._next

    @property
    def triggers(self) -> int:
        """Triggers that were ever given."""
        return self._triggers

    def jobs(self) -> list[Job]:
        """Return the jobs that are kept, oldest first."""
        with self._lock:
            return list(self._jobs)

    def begin(self, *, single: bool, by: str, after: int) -> Job:
        """Write down a new job. Raises PlcError: it cannot be written."""
        with self._lock:
            told = {"job": self._next_job, "single": single, "by": by, "after": after}
            self._write({**told, "first": self._next, "at": datetime.now(UTC).isoformat()})
            return self._jobs[-1]

    def trigger(self) -> int:
        """Write down, to the disk itself, that the next trigger of the latest job comes; return its sequence.

        Raises:
            PlcError: it cannot be written; the trigger must not be given.
        """
        with self._lock:
            sequence = self._next
            self._write({"trigger": sequence}, sync=True)
            return sequence

    def outcome(self, cause: str) -> None:
        """Write down what came of the open trigger. Raises PlcError: it stays open."""
        with self._lock:
            if self._open is not None:
                self._write({"outcome": self._open, "cause": cause})

    def halt(self, *, halted: bool) -> None:
        """Write down that somebody halted the station, or let it go on. Raises PlcError."""
        with self._lock:
            self._write({"halted": halted}, sync=True)

    def job_of(self, record: int, sequence: int) -> Job | None:
        """Return the job that gave the trigger of a row; None when none that is known did.

        Of a job that is not kept any more only what it rejected is known.
        """
        with self._lock:
            seen = 0
            for job in reversed(self._jobs):
                if job.after < record:
                    seen += 1
                    if job.has(sequence):
                        return job
                    if seen > _LOOK_BACK:
                        break
            for job, until in reversed(self._gone.get(sequence, [])):
                if job.after < record and (until is None or record <= until):
                    return job
        return None

    def rejected(self) -> set[int]:
        """Return the sequences of all parts that were ever rejected without the line's answer."""
        with self._lock:
            return {*self._gone, *(at for job in self._jobs for at in job.refused)}

    def find(self, number: int) -> tuple[Job, int | None] | None:
        """Return a job, and the record id above which its sequences came again; None: it is not kept."""
        with self._lock:
            place = next((i for i, job in enumerate(self._jobs) if job.number == number), None)
            if place is None:
                return None
            job, given = self._jobs[place], 0
            for later in self._jobs[place + 1 :]:
                given += later.count
                if job.count + given > MAX_SEQUENCE:
                    return job, later.after
            return job, None

    def is_open(self, job: Job, sequence: int) -> bool:
        """Tell whether the outcome of a trigger is not known yet."""
        with self._lock:
            return self._open == sequence and bool(self._jobs) and self._jobs[-1] is job

    def close(self) -> None:
        """Close the files; may be called twice."""
        for handle in (self._file, self._guard):
            if handle >= 0:
                os.close(handle)
        self._file = self._guard = -1

    # ------------------------------------------------------------------ the file

    def _read(self, data: bytes) -> None:
        whole = data.rfind(b"\n") + 1  # a last line that was cut off: its effect never came
        for number, line in enumerate(data[:whole].splitlines(), 1):
            try:
                self._apply(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ConfigError(
                    f"{self.path}, line {number} is not of a book of jobs ({error!r}); move the file away: "
                    "a new one begins, and the jobs of the old one are not known any more"
                ) from error

    def _apply(self, told: dict[str, Any]) -> None:
        if "job" in told:
            job = Job(
                int(told["job"]), bool(told["single"]), str(told["by"]), int(told["after"]),
                int(told["first"]), int(told.get("count", 0)),
                {int(at): str(cause) for at, cause in told.get("refused", {}).items()},
            )  # fmt: skip
            self._next_job = max(self._next_job, job.number + 1)
            if "until" in told:
                until = None if told["until"] is None else int(told["until"])
                self._gone.setdefault(job.first, []).append((job, until))
            else:
                self._jobs.append(job)
                self._forget(len(self._jobs) - KEPT_JOBS)
        elif "trigger" in told:
            sequence, job = int(told["trigger"]), self._jobs[-1]
            if not 1 <= sequence <= MAX_SEQUENCE or self._open is not None:
                raise ValueError(f"trigger {sequence} while {self._open} is open")
            job.count += 1
            job.refused.pop(sequence, None)
            self._open, self._next = sequence, next_sequence(sequence)
            self._triggers += 1
        elif "outcome" in told:
            if told["outcome"] != self._open:
                raise ValueError(f"an outcome of {told['outcome']}, open is {self._open}")
            if told["cause"] not in JUDGED:
                self._jobs[-1].refused[int(told["outcome"])] = str(told["cause"])
            self._open = None
        elif "next" in told:
            self._next, self._triggers = int(told["next"]), int(told["triggers"])
        else:
            self.halted = bool(told["halted"])

    def _forget(self, count: int) -> None:
        """Keep so many of the oldest jobs no more, but what they rejected: a row may say PASS of it."""
        for job in self._jobs[: max(0, count)]:
            for sequence, entries in self._gone.items():
                if entries[-1][1] is None and job.has(sequence):
                    entries[-1] = entries[-1][0], job.after
            for sequence, cause in job.refused.items():
                one = replace(job, first=sequence, count=1, refused={sequence: cause})
                self._gone.setdefault(sequence, []).append((one, None))
        del self._jobs[: max(0, count)]

    def _write(self, told: dict[str, Any], *, sync: bool = False) -> None:
        """Append one line, then take it into account; a line that cannot be whole is taken back."""
        line = json.dumps(told).encode() + b"\n"
        try:
            end = os.fstat(self._file).st_size
            try:
                if os.write(self._file, line) != len(line):
                    raise OSError("the disk is full")
                if sync:
                    os.fdatasync(self._file)
            except OSError:
                os.ftruncate(self._file, end)
                raise
        except OSError as error:
            raise PlcError(
                f"book of jobs {self.path} cannot be written ({error}); free the disk"
            ) from error
        self._apply(told)
        self._lines += 1
        if self._lines > _LINES and self._open is None:
            try:
                self._write_anew()
            except OSError as error:
                raise PlcError(f"book of jobs {self.path}: {error}; free the disk") from error

    def _write_anew(self) -> None:
        """Write the book as it is now, in few lines, in the place of the old one."""
        lines: list[dict[str, Any]] = [
            vars(job) | {"job": job.number, "until": until}
            for entries in self._gone.values()
            for job, until in entries
        ]
        lines += [vars(job) | {"job": job.number} for job in self._jobs]
        lines.append({"next": self._next, "triggers": self._triggers})
        lines.append({"halted": self.halted})
        beside = self.path.with_name(f".{self.path.name}.new")
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        handle = os.open(beside, flags, 0o640)
        try:
            with os.fdopen(os.dup(handle), "wb") as file:
                file.writelines(json.dumps(line).encode() + b"\n" for line in lines)
            os.fsync(handle)
            beside.replace(self.path)
        except BaseException:
            os.close(handle)
            raise
        if self._file >= 0:
            os.close(self._file)
        self._file, self._lines = handle, 0


def _alone(path: Path) -> int:
    """Return a locked file. Raises ConfigError: another process has the lock."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise ConfigError(
            f"{path} is locked: another `inspection opcua` drives this station; end it first"
        ) from error
    return handle
