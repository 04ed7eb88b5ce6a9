"""A copy of a SQLite store as it is before a migration, which goes only forward.

results.db, held for writing ─▶ .results.db.before-0008 ─▶ fsync ─▶ results.db.before-0008
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing, suppress
from glob import escape
from pathlib import Path

from inspection.store.config import StoreConfig
from inspection.store.disks import room_for_copy

_SPARE = 64 << 20
"""Bytes that stay free beside the copy, and beside what the migration may write."""
_logger = logging.getLogger(__name__)


def keep_before(config: StoreConfig, revision: str) -> Path | None:
    """Copy the SQLite store as it was committed last; call it while nobody else can write. Never raises.

    No copy is made where it, or what the migration may write, would take the room of new pictures.

    Returns:
        The copy, over an older one of this name; None: there is no room, or it failed. The log says so.
    """
    path = config.sqlite_path
    if path is None:
        return None
    copy = path.with_name(f"{path.name}.before-{revision}")
    part = path.with_name(f".{copy.name}")
    try:
        for left in path.parent.glob(f".{escape(path.name)}.before-*"):  # a copy that was cut off
            left.unlink(missing_ok=True)
        size = sum(p.stat().st_size for p in (path, Path(f"{path}-wal")) if p.exists())
        room, wanted = room_for_copy(config, path.parent), 2 * size + _SPARE
        if room < wanted:  # the migration may write as much again
            _logger.warning(
                "store %s is brought to migration %s without a copy: beside the room of pictures "
                "(images.min_free_gb) %.1f GB are free, %.1f are needed",
                path, revision, max(room, 0) / 1e9, wanted / 1e9,
            )  # fmt: skip
            return None
        _logger.warning(
            "store %s is copied (%.1f GB) and then brought to migration %s; nothing else can write meanwhile",
            path, size / 1e9, revision,
        )  # fmt: skip
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
    _logger.warning("store %s as it was before migration %s: %s", path, revision, copy)
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
