"""The process of a job: runs its steps one after the other and writes how they ended. Standard library only.

    python -m inspection_serve.web.models.steps FOLDER

FOLDER/steps.json lists the steps: name, arguments of `inspection`, exit codes with which it goes on. Written
are FOLDER/process.json (who runs it), step.json (which step since when), NAME.out (what a step printed on
standard output), log.txt (standard error, by whoever started us) and, at the end, exit.json. Each appears
whole or not at all. A reserve of disk space is given back before exit.json is written.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

NICE = 15
RESERVE = 64 << 10
GRACE = 5.0
"""Seconds between the request to end and the end by force."""
STOPPED = 143


def write_whole(path: Path, value: Any) -> None:
    """Write JSON so that after a crash either the old or the new content is there."""
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def identity(pid: int) -> dict[str, Any] | None:
    """Return what tells a process from every other one, also after a restart; None: it does not run.

    Returns:
        pid, its start in clock ticks since the boot, and the id of the boot.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    if fields[0] in {"Z", "X"}:
        return None
    return {"pid": pid, "start": int(fields[19]), "boot": boot}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _step_aside() -> None:
    """Let the line go first: lowest useful priority, and the disk only when nobody else wants it."""
    os.setpriority(os.PRIO_PROCESS, 0, max(NICE, os.getpriority(os.PRIO_PROCESS, 0)))
    if ionice := shutil.which("ionice"):
        subprocess.run([ionice, "-c3", "-p", str(os.getpid())], check=False, capture_output=True)


class _AskedError(Exception):
    """Somebody asked us to end."""


def _ask(_signal: int, _frame: object) -> None:
    raise _AskedError


def run(folder: Path) -> int:
    """Run the steps of a job; return the exit code of the last one that ran."""
    write_whole(folder / "process.json", identity(os.getpid()))
    reserve = folder / "reserve"
    reserve.write_bytes(b"\0" * RESERVE)
    _step_aside()
    signal.signal(signal.SIGTERM, _ask)
    ended: dict[str, Any] = {"code": 1, "step": ""}
    try:
        for step in json.loads((folder / "steps.json").read_text(encoding="utf-8")):
            ended = {"code": _one(folder, step), "step": step["name"]}
            if ended["code"] not in step["go_on"]:
                break
    except _AskedError:
        ended |= {"code": STOPPED, "cancelled": True}
    except OSError as error:
        ended |= {"code": 1, "error": str(error), "errno": error.errno}
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    reserve.unlink(missing_ok=True)
    write_whole(folder / "exit.json", {**ended, "ended_at": _now()})
    return int(ended["code"])


def _one(folder: Path, step: dict[str, Any]) -> int:
    write_whole(folder / "step.json", {"name": step["name"], "started_at": _now()})
    command = [sys.executable, "-m", "inspection", *step["arguments"]]
    _say(f"== {step['name']}: inspection {' '.join(step['arguments'])}")
    with (folder / f"{step['name']}.out").open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, cwd=folder)
        try:
            code = process.wait()
        except _AskedError:
            process.terminate()
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
    _say(f"== {step['name']}: exit code {code}")
    return code


def _say(words: str) -> None:
    with contextlib.suppress(OSError):  # a full disk: the step itself will say so
        sys.stderr.write(f"{words}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    code = run(Path(sys.argv[1]))
    os.killpg(os.getpgid(0), signal.SIGTERM if code != STOPPED else signal.SIGKILL)
    sys.exit(code)
