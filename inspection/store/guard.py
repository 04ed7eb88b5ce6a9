"""Disk space and age of pictures: which files go, and in what order.

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
from inspection.store.database import discard, make_engine
from inspection.store.rows import stored_images
from inspection.store.tables import parts
from inspection.types import Decision

BATCH = 32
"""Pictures of one transaction, so that the line's own commits never wait long."""

_AGE_SECONDS = 60.0
_TRUSTED_JUMP = timedelta(days=7)
_logger = logging.getLogger(__name__)


class DiskGuard:
    """Keeps free space on the picture volume. Used by one thread; has its own connection."""

    def __init__(self, config: StoreConfig) -> None:
        """Remember the settings; nothing is opened yet."""
        self._config = config
        self._folder = config.images.folder
        self._connection: sa.Connection | None = None
        self._next_age = time.monotonic()
        self._started = time.monotonic()
        self._newest: datetime | None = None

    def has_room(self) -> bool:
        """Tell whether a picture may be written; if not, first delete the oldest of passed parts."""
        if not self._short():
            return True
        try:
            while self._short():
                if not self._expire(self._oldest_passed()):
                    return False
        except SQLAlchemyError:
            _logger.exception("no room can be made for pictures: the store cannot be read")
            self.close()
            return False
        return True

    def tend(self) -> None:
        """Delete a few pictures past their time; call often."""
        if time.monotonic() < self._next_age:
            return
        try:
            left = self._expire(self._unfinished()) or self._expire(self._too_old())
        except SQLAlchemyError:
            self.close()
            self._next_age = time.monotonic() + _AGE_SECONDS
            raise
        if not left:
            self._next_age = time.monotonic() + _AGE_SECONDS

    def close(self) -> None:
        """Close the connection. May be called twice."""
        connection, self._connection = self._connection, None
        if connection is not None:
            discard(connection)

    def _short(self) -> bool:
        settings = self._config.images
        volume = os.statvfs(self._folder)
        free = volume.f_bavail * volume.f_frsize
        total = volume.f_blocks * volume.f_frsize
        return free < max(settings.min_free_gb * 1e9, settings.min_free_percent / 100 * total)

    def _open(self) -> sa.Connection:
        if self._connection is None:
            self._connection = make_engine(self._config).connect()
        return self._connection

    def _oldest_passed(self) -> sa.Select[Any, Any]:
        return (
            sa.select(parts.c.id, parts.c.images)
            .where(parts.c.image_state == "saved", parts.c.decision == Decision.PASS.value)
            .order_by(parts.c.id)
            .limit(BATCH)
        )

    def _unfinished(self) -> sa.Select[Any, Any]:
        return (
            sa.select(parts.c.id, parts.c.images)
            .where(parts.c.image_state == "expiring")
            .limit(BATCH)
        )

    def _too_old(self) -> sa.Select[Any, Any]:
        now, settings = self._trusted_now(), self._config.images
        passed = parts.c.decision == Decision.PASS.value
        ok_before = (now - timedelta(days=settings.keep_ok_days)).isoformat(timespec="microseconds")
        ng_before = (now - timedelta(days=settings.keep_ng_days)).isoformat(timespec="microseconds")
        return (
            sa.select(parts.c.id, parts.c.images)
            .where(
                parts.c.image_state == "saved",
                sa.or_(
                    sa.and_(passed, parts.c.triggered_at < ok_before),
                    sa.and_(sa.not_(passed), parts.c.triggered_at < ng_before),
                ),
            )
            .order_by(parts.c.id)
            .limit(BATCH)
        )

    def _trusted_now(self) -> datetime:
        """Return the time, at most a week past what the store knew: a wrong clock deletes little."""
        now = datetime.now(UTC)
        if self._newest is None:
            with self._open().begin():
                text = self._open().execute(sa.select(sa.func.max(parts.c.triggered_at))).scalar()
            self._newest = now if text is None else datetime.fromisoformat(text)
            if self._newest.tzinfo is None:
                self._newest = self._newest.replace(tzinfo=UTC)
        elapsed = timedelta(seconds=time.monotonic() - self._started)
        return min(now, self._newest + elapsed + _TRUSTED_JUMP)

    def _expire(self, query: sa.Select[Any, Any]) -> int:
        """Delete the pictures of the rows found; return how many rows."""
        connection = self._open()
        with connection.begin():
            found = connection.execute(query).all()
            self._set(connection, [row.id for row in found], "expiring")
        if not found:
            return 0
        for row in found:
            self._delete_all(row)
        with connection.begin():
            self._set(connection, [row.id for row in found], "expired")
        return len(found)

    @staticmethod
    def _set(connection: sa.Connection, records: Sequence[int], state: str) -> None:
        if records:
            connection.execute(
                sa.update(parts).where(parts.c.id.in_(records)).values(image_state=state)
            )

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
