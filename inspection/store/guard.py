"""Disk space and age of pictures: which files go, and in what order. Also moves SQLite's log.

    row `saved` ─▶ `expiring` (committed) ─▶ file deleted ─▶ `expired`

The row goes first, so a row never claims a file that is gone; after a crash `expiring` rows are
done again. Only files named in a row are ever deleted: a new or empty database deletes nothing.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from inspection.store.config import StoreConfig
from inspection.store.database import discard, make_engine, move_log
from inspection.store.rows import stored_images
from inspection.store.tables import parts
from inspection.types import Decision

BATCH = 32
"""Pictures of one transaction, so that the line's own commits never wait long."""

_AGE_SECONDS = 60.0
_LOG_SECONDS = 2.0
_TRUSTED_JUMP = timedelta(days=7)
_logger = logging.getLogger(__name__)


class DiskGuard:
    """Keeps free space on the picture volume. Used by one thread; has its own connection."""

    def __init__(self, config: StoreConfig) -> None:
        """Remember the settings; nothing is opened yet."""
        self._stations: set[str] = set()
        self._config = config
        self._folder = config.images.folder
        self._reading = make_engine(config, read_only=True)
        self._writing: sa.Connection | None = None
        self._next_age = self._next_log = time.monotonic()
        self._started = time.monotonic()
        self._newest: datetime | None = None

    def watch(self, station: str) -> None:
        """Look after this station's pictures: others in the same store lie on other machines."""
        self._stations.add(station)

    def has_room(self) -> bool:
        """Tell whether a picture may be written; if not, first delete the oldest of passed parts."""
        if not self._short():
            return True
        passed = self._saved(Decision.PASS)
        try:
            while self._short():
                if not self._expire(passed):
                    return False
        except SQLAlchemyError:
            _logger.exception("no room can be made for pictures: the store cannot be used")
            self.close()
            return False
        return True

    def tend(self) -> None:
        """Delete a few pictures past their time, move SQLite's log; call often.

        Raises:
            SQLAlchemyError: the store cannot be used; once a minute.
            sqlite3.Error: the log cannot be moved; once a minute.
        """
        if time.monotonic() >= self._next_log:
            self._next_log = time.monotonic() + _AGE_SECONDS
            move_log(self._config)
            self._next_log = time.monotonic() + _LOG_SECONDS
        if time.monotonic() < self._next_age:
            return
        self._next_age = time.monotonic() + _AGE_SECONDS
        try:
            deleted = [self._expire(query) for query in self._due()]
        except SQLAlchemyError:
            self.close()
            raise
        if any(deleted):
            self._next_age = time.monotonic()

    def close(self) -> None:
        """Close the connections. May be called twice."""
        connection, self._writing = self._writing, None
        if connection is not None:
            discard(connection)

    def _short(self) -> bool:
        settings = self._config.images
        volume = os.statvfs(self._folder)
        free = volume.f_bavail * volume.f_frsize
        total = volume.f_blocks * volume.f_frsize
        return free < max(settings.min_free_gb * 1e9, settings.min_free_percent / 100 * total)

    def _read(self, query: sa.Executable) -> Sequence[Any]:
        """Read without the right to write, so that the line never waits for a search."""
        with self._reading.connect() as connection, connection.begin():
            return connection.execute(query).all()

    def _saved(self, decision: Decision) -> sa.Select[Any, Any]:
        return (
            self._pictures("saved")
            .where(parts.c.decision == decision.value)
            .order_by(parts.c.triggered_at)
            .limit(BATCH)
        )

    def _pictures(self, state: str) -> sa.Select[Any, Any]:
        mine = parts.c.station.in_(sorted(self._stations))
        return sa.select(parts.c.id, parts.c.images).where(parts.c.image_state == state, mine)

    def _due(self) -> list[sa.Select[Any, Any]]:
        """Return what to delete now: deletions cut short, then pictures past their time."""
        now, settings = self._trusted_now(), self._config.images
        queries = [self._pictures("expiring").limit(BATCH)]
        for decision in Decision:
            passed = decision is Decision.PASS
            days = settings.keep_ok_days if passed else settings.keep_ng_days
            before = (now - timedelta(days=days)).isoformat(timespec="microseconds")
            queries.append(self._saved(decision).where(parts.c.triggered_at < before))
        return queries

    def _trusted_now(self) -> datetime:
        """Return the time, at most a week past what the store knew: a wrong clock deletes little."""
        now = datetime.now(UTC)
        if self._newest is None:
            text = self._read(sa.select(sa.func.max(parts.c.triggered_at)))[0][0]
            self._newest = now if text is None else datetime.fromisoformat(text)
            if self._newest.tzinfo is None:
                self._newest = self._newest.replace(tzinfo=UTC)
        elapsed = timedelta(seconds=time.monotonic() - self._started)
        return min(now, self._newest + elapsed + _TRUSTED_JUMP)

    def _expire(self, query: sa.Select[Any, Any]) -> int:
        """Delete the pictures of the rows found; return how many rows."""
        found = self._read(query)
        if not found:
            return 0
        records = [row.id for row in found]
        self._set(records, "expiring")
        for row in found:
            self._delete_all(row)
        self._set(records, "expired")
        return len(found)

    def _set(self, records: Sequence[int], state: str) -> None:
        if self._writing is None:
            self._writing = make_engine(self._config).connect()
        with self._writing.begin():
            change = sa.update(parts).where(parts.c.id.in_(records)).values(image_state=state)
            self._writing.execute(change)

    def _delete_all(self, row: Any) -> None:
        try:
            images = stored_images(row.images)
        except (KeyError, TypeError, ValueError):
            _logger.exception("record %s: its list of pictures is malformed; none deleted", row.id)
            return
        for image in images:
            self._delete(image.path)

    def _delete(self, name: str) -> None:
        path = (self._folder / name).resolve()
        if not name or self._folder.resolve() not in path.parents:
            _logger.error(
                "a row names the picture %r outside the picture folder; it is not deleted", name
            )
            return
        try:
            Path(path).unlink(missing_ok=True)
        except OSError:
            _logger.exception("picture %s could not be deleted", path)
