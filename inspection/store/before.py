"""A copy of a SQLite store as it is before a migration, which goes only forward.

results.db, held for writing ─▶ .results.db.before-0008.PID ─▶ fsync ─▶ results.db.before-0008
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

_SPARE = 64 << 20
"""Bytes that stay free beside the copy, and beside what the migration may write."""
_logger = logging.getLogger(__name__)


def keep_before(path: Path, revision: str) -> Path | None:
    """Copy the store as it was committed last; call it while nobody else can write. Never raises.

    Returns:
        The copy, over an older one of this name; None: there is no room, or it failed. The log says so.
    """
    copy = path.with_name(f"{path.name}.before-{revision}")
    part = path.with_name(f".{copy.name}.{os.getpid()}")
    try:
        size = sum(p.stat().st_size for p in (path, Path(f"{path}-wal")) if p.exists())
        volume = os.statvfs(path.parent)
        free = volume.f_bavail * volume.f_frsize
        if free < 2 * size + _SPARE:  # the migration may write as much again
            _logger.warning(
                "store %s is brought to migration %s without a copy: %.1f GB are free, %.1f are needed",
                path, revision, free / 1e9, (2 * size + _SPARE) / 1e9,
            )  # fmt: skip
            return None
        _copy(path, part)
        part.replace(copy)
        _sync(path.parent)
    except (OSError, sqlite3.Error) as error:
        _logger.warning(
            "store %s is brought to migration %s without a copy: %s", path, revision, error
        )
        with suppress(OSError):
            part.unlink(missing_ok=True)
        return None
    _logger.warning("store %s is brought to migration %s; as it was: %s", path, revision, copy)
    return copy


def _copy(path: Path, part: Path) -> None:
    about = path.stat()
    part.unlink(missing_ok=True)
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, about.st_mode & 0o777))
    if os.geteuid() == 0:
        os.chown(part, about.st_uid, about.st_gid)
    with (
        closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(part)) as target,
    ):
        source.backup(target)
        target.execute("PRAGMA journal_mode = DELETE")  # one file, whole by itself
    _sync(part)


def _sync(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
