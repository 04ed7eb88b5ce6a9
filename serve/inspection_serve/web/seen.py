"""Seen: notes that a session or a key is in use, beside the requests: nobody waits, and no page fails."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from inspection.errors import StoreError
from inspection.store.web import people
from inspection.store.web.access import WebStore

if TYPE_CHECKING:
    from sqlalchemy import Connection

EVERY = 60.0
"""Seconds between two notes of one session, also after one that failed."""
MOST = 10_000
"""Sessions remembered; of more, the ones noted longest ago are noted too early."""
_log = logging.getLogger(__name__)


class Seen:
    """Notes sessions, from one thread that ends when there is nothing to note."""

    def __init__(
        self, store: WebStore, note: Callable[[Connection, str], None] = people.note_seen
    ) -> None:
        """`note` writes that one of them, given by its hash, is in use now."""
        self._store, self._note = store, note
        self._tried: dict[str, float] = {}
        self._waiting: set[str] = set()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def note(self, session: str) -> None:
        """Note that a session is in use now, unless that was tried just before. Returns at once."""
        now = time.monotonic()
        with self._lock:
            if now - self._tried.get(session, -EVERY) < EVERY:
                return
            self._tried.pop(session, None)
            self._tried[session] = now
            if len(self._tried) > MOST:
                del self._tried[next(iter(self._tried))]
            self._waiting.add(session)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="seen", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Wait until what was to be noted is noted or has failed, for some seconds at most."""
        thread = self._thread
        if thread is not None:
            thread.join(5)

    def _run(self) -> None:
        while True:
            with self._lock:
                sessions, self._waiting = self._waiting, set()
                if not sessions:
                    self._thread = None
                    return
            try:
                with self._store.write("noting sessions", derived=True) as connection:
                    for session in sessions:
                        self._note(connection, session)
            except StoreError as error:
                _log.warning("%s", error)
            except Exception:  # the boundary: pages do not depend on it
                _log.exception("noting sessions failed")
