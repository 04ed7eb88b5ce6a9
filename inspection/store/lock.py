"""One station process for each station name in a store; a second one is refused."""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa

from inspection.errors import StoreError


class FileLock:
    """A lock file beside a SQLite store. The kernel frees it when the process dies."""

    def __init__(self, database: Path, station: str) -> None:
        """Take the lock. Raises StoreError when it is held, or the file cannot be made."""
        name = quote(station, safe="")
        if len(name) > 80:
            name = hashlib.sha256(station.encode()).hexdigest()[:32]
        self.path = database.with_name(f"{database.name}.{name}.lock")
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise StoreError(
                f"lock file {self.path} cannot be made: {error}; check folder and disk"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise refusal(station) from error

    def is_in_place(self) -> bool:
        """Tell whether the locked file still lies at its path, where another process meets it."""
        try:
            here, there = os.fstat(self._file), self.path.stat()
        except OSError:
            return False
        return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)

    def close(self) -> None:
        """Give up the lock. May be called twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def lock_on_server(connection: sa.Connection, station: str) -> None:
    """Take PostgreSQL's lock for a station; it lasts as long as this connection.

    Raises:
        StoreError: another process holds it.
    """
    digest = hashlib.sha256(f"inspection station {station}".encode()).digest()
    number = int.from_bytes(digest[:8], "big", signed=True)
    with connection.begin():
        query = sa.text("SELECT pg_try_advisory_lock(:number)")
        if not connection.execute(query, {"number": number}).scalar():
            raise refusal(station)


def refusal(station: str) -> StoreError:
    """Return the error for a station name that is in use."""
    return StoreError(
        f"station {station!r} already writes to this store from another process; "
        "stop that one, or give this station another name"
    )
