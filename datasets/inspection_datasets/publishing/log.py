"""`publishing.jsonl` beside a dataset: who let what go out, when and why. Lines are only ever added.

Each line holds the hash of the line before it, so that a changed or removed line is found out by the next
publishing. The end of the file can still be cut off by whoever may write to it: keep a copy elsewhere.

After a power cut half a line may stand at the end. It is moved into a file of its own: nothing goes out
before its line is whole.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

from inspection.errors import DatasetError

LOG = "publishing.jsonl"
FIRST = "0" * 64
"""Stands for the line before the first one."""


@contextmanager
def open_log(folder: Path) -> Generator[PublishingLog]:
    """Open a dataset's log for one publishing; nobody else publishes from the dataset meanwhile.

    Raises:
        DatasetError: it is damaged, another publishing runs, or it cannot be written.
    """
    path = folder / LOG
    try:
        file = path.open("a+b", buffering=0)
    except OSError as error:
        raise DatasetError(f"{path} cannot be written ({error}); check the rights") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DatasetError(f"{folder} is being published by another process; wait") from error
        yield PublishingLog(path, file)


class PublishingLog:
    """An open log, checked.

    Attributes:
        torn: file that now holds the half line that stood at the end; None: the log was whole.
    """

    def __init__(self, path: Path, file: FileIO) -> None:
        """Check every line, and put a half one at the end aside. Raises DatasetError."""
        self._file, self._path = file, path
        self.torn: Path | None = None
        file.seek(0)
        data = file.read()
        whole = data.rfind(b"\n") + 1
        self._last = check(data[:whole], path)
        if tail := data[whole:]:
            self._finish(tail, whole)

    def _finish(self, tail: bytes, whole: int) -> None:
        """Give a last line its newline if it is an entry that follows; else move it into a file."""
        try:
            self._last = check(tail, self._path, self._last)
        except DatasetError:
            self.torn = self._keep(tail)
            os.truncate(self._path, whole)
            self.append(event="torn", kept=self.torn.name, bytes=len(tail))
        else:
            self._write(b"\n")

    def _keep(self, tail: bytes) -> Path:
        """Write the half line beside the log, durably. Raises DatasetError; the log is then as it was."""
        kept = self._path.with_name(f"publishing.torn-{hashlib.sha256(tail).hexdigest()[:12]}.txt")
        try:
            with kept.open("wb") as file:
                file.write(tail)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise DatasetError(
                f"{self._path} ends with half a line, and {kept} cannot be written to keep it ({error}); "
                "free space or check the rights, then publish again"
            ) from error
        return kept

    def append(self, **entry: Any) -> None:
        """Add a line, durably. Raises DatasetError when it cannot be written; then nothing went out."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        line = json.dumps({"at": at, **entry, "before": self._last}, ensure_ascii=False).encode()
        self._write(line + b"\n")
        self._last = hashlib.sha256(line).hexdigest()

    def _write(self, data: bytes) -> None:
        whole = self._file.seek(0, os.SEEK_END)
        try:
            if self._file.write(data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file.fileno())
        except OSError as error:
            os.truncate(self._path, whole)  # half a line would make the log unreadable
            raise DatasetError(
                f"{self._path} cannot be written ({error}); free space, then publish again"
            ) from error


def check(data: bytes, path: Path, last: str = FIRST) -> str:
    """Return the hash of the last line of a log; `last` is that of the line before `data`.

    Raises:
        DatasetError: a line was changed, removed or put in.
    """
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            before = json.loads(line)["before"]
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetError(
                f"{path}:{number} is no entry; restore the log from its backup"
            ) from error
        if before != last:
            raise DatasetError(
                f"{path}:{number} does not follow the line before it: the log was changed. "
                "Restore it from its backup"
            )
        last = hashlib.sha256(line).hexdigest()
    return last
