"""The runner of jobs: starts one, tells how it stands, ends it. A job outlives the web process.

    form ─▶ plan (checked names) ─▶ row in the store ─▶ steps.py in a session of its own
    row + FOLDER/process.json + FOLDER/exit.json + /proc ─▶ settle: how it stands, whoever asks

Nothing is guessed: a job without exit.json whose process is gone is `lost`, whatever the clock says of its
age. Several machines may share a store: each asks only after its own jobs, for only there are their folder
and process. Of a machine that does not come back a person says so: `give_up`.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from inspection.errors import InspectionError, StoreError
from inspection.store.rows import Values
from inspection.store.web import jobs
from inspection.store.web.jobs import ACTIVE, JobState
from inspection_serve.web.models.steps import identity, write_whole
from inspection_serve.web.site import Site

LEAST_FREE = 1 << 30
"""Bytes that must be free on the disk of the work folder before a job starts."""
LEAVING = 3.0
"""Seconds that a job's process may take to leave after it has written how it ended."""
STARTING = 15.0
"""Seconds within which a started process must have said who it is."""
KILL_AFTER = 10.0
FORGOTTEN = 15 * 86400.0
"""Seconds after which a job of another machine counts as lost: the longest training takes 14 days."""
HOST = socket.gethostname()
LOG = "log.txt"
LOG_BYTES = 64 << 10
MAX_OUT = 32 << 20
_NO_SPACE = ("No space left on device", "ENOSPC", "Errno 28", "disk is full", "Disk quota exceeded")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class JobError(InspectionError):
    """A job cannot be started or ended; `code` is for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Jobs:
    """The jobs of a site. Safe in several threads."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._lock = threading.Lock()
        self._ours: dict[int, subprocess.Popen[bytes]] = {}

    def folder(self, job: int) -> Path:
        """Return the folder of a job."""
        return self._site.work.resolve() / "jobs" / str(job)

    def is_own(self, row: Values) -> bool:
        """Tell whether a job's folder and process are here: this machine and this work folder."""
        return row["host"] in ("", HOST) and row["folder"] in (
            jobs.folder_of(self._work, row["id"]),
            jobs.folder_of("", row["id"]),
        )

    @property
    def _work(self) -> str:
        return str(self._site.work.resolve())

    def start(
        self,
        kind: str,
        arguments: Values,
        plan: Callable[[Path], list[dict[str, Any]]],
        who: str,
    ) -> int:
        """Start a job; return its id.

        Args:
            kind: `train` or `replay`.
            arguments: what was asked, for people.
            plan: from the job's folder to its steps: name, arguments of `inspection`, exit codes with
                which it goes on; it is asked once before anything is written, and may refuse.
            who: login name.

        Raises:
            JobError: `disk_full`, `not_started`, or what `plan` says.
            jobs.JobBusyError: there is one already.
        """
        self.settle()
        with self._lock:
            plan(self.folder(0))
            self._room()
            with self._site.store.write("starting a job") as connection:
                job = jobs.add(connection, kind, arguments, who, host=HOST, work=self._work)
            try:
                self._start(job, plan(self.folder(job)))
            except (OSError, JobError) as error:
                self._end(job, JobState.FAILED, None, {"outcome": {"said": str(error)}})
                if isinstance(error, JobError):
                    raise
                code = "disk_full" if error.errno == errno.ENOSPC else "not_started"
                raise JobError(code, f"job {job} cannot start: {error}") from error
        return job

    def _room(self) -> None:
        work = self._site.work
        try:
            work.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(work).free
        except OSError as error:
            raise JobError("not_started", f"{work} cannot be used: {error}") from error
        if free < LEAST_FREE:
            raise JobError(
                "disk_full",
                f"{free >> 20} MiB are free for {work}, a job needs {LEAST_FREE >> 20} MiB: free some space",
            )

    def _start(self, job: int, steps: list[dict[str, Any]]) -> None:
        folder = self.folder(job)
        folder.mkdir(parents=True)
        write_whole(folder / "steps.json", steps)
        command = [sys.executable, "-m", "inspection_serve.web.models.steps", str(folder)]
        surroundings = {**os.environ, "PYTHONUNBUFFERED": "1"}
        with (folder / LOG).open("ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
                start_new_session=True, close_fds=True, env=surroundings,
            )  # fmt: skip
        self._ours[job] = process
        who = identity(process.pid) or {"pid": process.pid, "start": 0, "boot": ""}
        with suppress(StoreError):  # it runs, whatever the store says: `settle` notes it later
            self._note_start(job, who)

    def _note_start(self, job: int, who: Values) -> None:
        with self._site.store.write("starting a job") as connection:
            jobs.started(connection, job, who)

    def look(self) -> None:
        """Settle where the store takes it: a full or busy one keeps nobody from reading."""
        with suppress(StoreError):
            self.settle()

    def settle(self) -> None:
        """Bring the rows of this machine to what is true now: of a job that ended, say how.

        Raises:
            StoreError: what is true now cannot be noted.
        """
        with self._site.store.read("the job that runs") as connection:
            row = jobs.active(connection)
        if row is None:
            return
        if not self.is_own(row):
            if self._age(row) > FORGOTTEN:
                self._end(row["id"], JobState.LOST, None, row["process"] or {})
            return
        if (process := self._ours.get(row["id"])) is not None:
            process.poll()  # a child that ended stays in the list of processes until then
        alive = self._alive(row)
        ended = _read(self.folder(row["id"]) / "exit.json")
        if isinstance(ended, dict):
            if process is not None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(LEAVING)
            self._ended(row, ended)
        elif not alive and (row["process"] or abs(self._age(row)) > STARTING):
            asked = (self.folder(row["id"]) / "cancel").exists()
            state = JobState.CANCELLED if asked else JobState.LOST
            said = {**self._said(row["id"], row["kind"]), **self._last_words(row["id"])}
            self._end(row["id"], state, None, self._process(row, said))
        elif alive and not row["process"]:
            self._note_start(row["id"], self._known(row))

    def _known(self, row: Values) -> Values:
        """Return who runs a job: as the store says, or its own folder; empty when neither does."""
        known = row["process"] or _read(self.folder(row["id"]) / "process.json")
        return known if isinstance(known, dict) and "pid" in known else {}

    def _alive(self, row: Values) -> bool:
        known = self._known(row)
        now = identity(int(known["pid"])) if known else None
        return now is not None and all(now[name] == known.get(name) for name in ("start", "boot"))

    @staticmethod
    def _age(row: Values) -> float:
        return (datetime.now(UTC) - datetime.fromisoformat(row["at"])).total_seconds()

    def _ended(self, row: Values, ended: dict[str, Any]) -> None:
        code, step = int(ended.get("code", 1)), str(ended.get("step", ""))
        said = self._said(row["id"], row["kind"])
        state = JobState.FAILED
        if ended.get("cancelled"):
            state = JobState.CANCELLED
        elif row["kind"] == "train" and step == "train" and code == 1 and "gates" in said:
            state = JobState.REFUSED
        elif (step == "train" and code == 0) or (step == "replay" and code in (0, 1)):
            state = JobState.DONE
        outcome = {**said, "step": step}
        if state is JobState.FAILED:
            outcome |= self._last_words(row["id"])
            outcome["disk_full"] |= ended.get("errno") == errno.ENOSPC
        at = str(ended.get("ended_at") or "") or None
        self._end(row["id"], state, code, self._process(row, outcome), at)

    def _last_words(self, job: int) -> dict[str, Any]:
        """Return the last line of the log, and whether the disk was full."""
        tail = self.log(job, max(0, self._size(job) - LOG_BYTES))["text"]
        lines = [x for x in tail.splitlines() if x.strip() and not x.startswith("== ")]
        full = any(words in tail for words in _NO_SPACE)
        return {"disk_full": full, "said": lines[-1].strip()[:2000] if lines else ""}

    def _said(self, job: int, kind: str) -> dict[str, Any]:
        """Return what the steps printed as JSON, the part of it that is kept for good."""
        found: dict[str, Any] = {}
        folder = self.folder(job)
        if kind == "replay":
            told = _read(folder / "replay.out")
            names = ("release", "decided_again", "changes", "counts", "reviewed", "lossy_pictures")
            return {n: told[n] for n in names if n in told} if isinstance(told, dict) else {}
        if isinstance(told := _read(folder / "harvest.out"), dict):
            names = ("written", "added", "corrected", "left_out", "look_at")
            found["harvest"] = {n: told[n] for n in names if n in told}
        if isinstance(told := _read(folder / "train.out"), dict):
            if told.get("release"):
                found["release"] = str(told["release"])
            elif "gates" in told:
                found |= {"gates": told["gates"], "refused": told.get("refused")}
        return found

    def _process(self, row: Values, outcome: dict[str, Any]) -> Values:
        return {**self._known(row), "outcome": outcome}

    def _end(
        self, job: int, state: JobState, code: int | None, process: Values, at: str | None = None
    ) -> None:
        with self._site.store.write("noting the end of a job") as connection:
            jobs.ended(connection, job, state, code, process, at)
        self._ours.pop(job, None)

    def cancel(self, row: Values, who: str) -> None:
        """Ask the whole process group of a job to end; by force when it does not.

        Raises:
            JobError: `not_running`, or `elsewhere`: it runs on another machine.
        """
        if not self.is_own(row):
            raise JobError(
                "elsewhere",
                f"job {row['id']} runs on {row['host']}, {row['folder']}: cancel it there",
            )
        if row["state"] not in [s.value for s in ACTIVE] or not self._alive(row):
            raise JobError("not_running", f"job {row['id']} does not run")
        with self._site.store.write("cancelling a job") as connection:
            jobs.cancelled(connection, row["id"], who)
        with contextlib.suppress(OSError):  # a full disk must not keep anybody from ending a job
            (self.folder(row["id"]) / "cancel").write_text(who, encoding="utf-8")
        self._signal(row, signal.SIGTERM)
        timer = threading.Timer(KILL_AFTER, self._force, (row,))
        timer.daemon = True
        timer.start()

    def give_up(self, row: Values, who: str) -> None:
        """Count a job of another machine as lost, as a person says that it does not run there any more.

        Raises:
            JobError: `not_running`, or `here`: it is of this machine, where it can be cancelled.
        """
        if self.is_own(row):
            raise JobError("here", f"job {row['id']} is of this machine: cancel it")
        if row["state"] not in [s.value for s in ACTIVE]:
            raise JobError("not_running", f"job {row['id']} does not run")
        with self._site.store.write("giving up a job") as connection:
            if jobs.ended(connection, row["id"], JobState.LOST, None, row["process"] or {}):
                jobs.given_up(connection, row["id"], who, row["host"])

    def _force(self, row: Values) -> None:
        if self._alive(row):
            self._signal(row, signal.SIGKILL)

    def _signal(self, row: Values, number: signal.Signals) -> None:
        if known := self._known(row):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(known["pid"]), number)

    def _size(self, job: int) -> int:
        with contextlib.suppress(OSError):
            return (self.folder(job) / LOG).stat().st_size
        return 0

    def log(self, job: int, offset: int) -> dict[str, Any]:
        """Return a piece of a job's log: text, the offset after it, and the size of the whole."""
        size = self._size(job)
        offset = min(offset, size)
        data = b""
        with contextlib.suppress(OSError), (self.folder(job) / LOG).open("rb") as file:
            file.seek(offset)
            data = file.read(LOG_BYTES)
        if offset + len(data) < size and (cut := data.rfind(b"\n")) >= 0:
            data = data[: cut + 1]
        text = _ANSI.sub("", data.decode("utf-8", errors="replace"))
        text = "\n".join(line.rpartition("\r")[2] for line in text.split("\n"))
        return {"text": text, "offset": offset + len(data), "size": size}

    def progress(self, row: Values) -> dict[str, Any]:
        """Return the step, and of a training its epochs: done, of how many, the latest values.

        Nothing of it is known for a job of another machine.
        """
        folder = self.folder(row["id"])
        found: dict[str, Any] = {
            "step": "",
            "step_at": None,
            "done": None,
            "of": None,
            "latest": {},
        }
        if not self.is_own(row):
            return found
        if isinstance(step := _read(folder / "step.json"), dict):
            found |= {"step": str(step.get("name", "")), "step_at": step.get("started_at")}
        for run in sorted((folder / "runs").glob("*/run.json"))[-1:]:
            card = _read(run)
            if isinstance(card, dict):
                found["of"] = (card.get("experiment") or {}).get("epochs")
            found |= _curve(run.with_name("curves.csv"))
        return found


def _curve(path: Path) -> dict[str, Any]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        names, last = lines[0].split(","), lines[-1].split(",")
        if len(lines) < 2 or len(names) != len(last):
            return {}
        values = {n: float(v) for n, v in zip(names, last, strict=True) if v}
    except (OSError, ValueError, IndexError):
        return {}
    done = int(values.pop("epoch", 0))
    return {"done": done, "latest": values}


def _read(path: Path) -> Any:
    """Return a JSON file's content; None when it is not there, not whole or far too large."""
    try:
        if path.stat().st_size > MAX_OUT:
            return None
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
