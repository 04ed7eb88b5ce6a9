"""One station process for each station name in a store; a second one is refused."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pwd
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa

from inspection.errors import StoreError


class FileLock:
    """A lock file beside a SQLite store. The kernel frees it when the process dies.

    Made by root, it is given to the owner of its folder: `sudo inspection doctor` before the first start
    must not keep the line out.
    """

    def __init__(self, database: Path, station: str) -> None:
        """Take the lock. Raises StoreError when it is held, or the file cannot be made."""
        name = quote(station, safe="")
        if len(name) > 80:
            name = hashlib.sha256(station.encode()).hexdigest()[:32]
        self.path = database.with_name(f"{database.name}.{name}.lock")
        try:
            self._file = _open(self.path)
        except PermissionError as error:
            raise StoreError(
                f"lock file {self.path} cannot be opened: {whose(self.path)}"
            ) from error
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


def _open(path: Path) -> int:
    try:
        made = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    except FileExistsError:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    if os.geteuid() == 0:
        folder = path.parent.stat()
        with contextlib.suppress(OSError):  # a disk without owners
            os.fchown(made, folder.st_uid, folder.st_gid)
    return made


def whose(path: Path) -> str:
    """Say to whom a file, or the folder that it would lie in, belongs, and how to give it to this process."""
    there = next(
        (each for each in (path, *path.parents) if os.access(each, os.F_OK, effective_ids=True)),
        path,
    )
    me, owner = user_name(os.geteuid()), user_name(there.stat().st_uid)
    if owner == me:
        return f"{there} is {owner}'s, and its mode refuses: sudo chmod u+rwX {there}"
    return f"{there} belongs to {owner}, and this process runs as {me}: sudo chown {me}: {there}"


def user_name(number: int) -> str:
    """Return the name of a user of this PC, or its number where it has none."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


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
