"""Disk space and age of pictures: which files go, and in what order. Also moves SQLite's log.

    row `saved` ─▶ `expiring` (committed) ─▶ file deleted ─▶ `expired`

The row goes first, so a row never claims a file that is gone; after a crash `expiring` rows are
done again. Only files named in a row are ever deleted: a new or empty database deletes nothing.

    saved pictures, oldest first ─▶ sweep: a page at a time ─┬▶ still needed: passed by
                                                             └▶ the others go

A passed part's picture is still needed while a person is to judge the part, and when somebody found a defect
on it: it is the proof, and the rarest picture to learn from. It is kept like that of a part that did not
pass, and for room it goes last. Any other part's picture is needed past its time while a person is to judge
the part; then it goes for room only, after those of passed parts. A sweep remembers where it is, so what it
passed by is not read again with every picture.

A picture is past its time when its label says so and its age does (`age`): a clock that was wrong, then or
now, deletes nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from inspection.store.age import LONGEST_STOP, Moment, moment, odd_stop
from inspection.store.config import StoreConfig
from inspection.store.database import discard, make_engine, move_log
from inspection.store.disks import is_short
from inspection.store.rows import stored_images
from inspection.store.strangers import find_strangers
from inspection.store.tables import parts, verdicts
from inspection.store.web.tables import reviews
from inspection.types import Decision, Verdict

BATCH = 32
"""Pictures of one transaction, so that the line's own commits never wait long."""
PAGE = 1000
"""Pictures of passed parts looked at together."""

_AGE_SECONDS = 60.0
_LOG_SECONDS = 2.0
_SWEEP_SECONDS = {"room": 60.0, "age": 86_400.0}
"""From the end of a sweep until the next begins at the oldest: what was needed may not be any more."""
_DEFECT = (Verdict.MISSED.value, Verdict.REAL_DEFECT.value, Verdict.BORDERLINE.value)
_last_word = (
    sa.select(verdicts.c.verdict)
    .where(verdicts.c.record == parts.c.id)
    .order_by(verdicts.c.version.desc())
    .limit(1)
    .correlate(parts)
    .scalar_subquery()
)
_WAITS = (
    sa.exists().where(reviews.c.record == parts.c.id, reviews.c.state != "done").correlate(parts)
)
_NEEDED = {
    decision: _WAITS
    if decision is not Decision.PASS
    else sa.or_(_WAITS, sa.func.coalesce(_last_word, "").in_(_DEFECT))
    for decision in Decision
}
"""Somebody is to judge the part, or found a defect on it. Both are looked up by the part's record."""
_logger = logging.getLogger(__name__)


def _tell_odd_stop(station: str, stop: timedelta | None) -> None:
    if stop is not None:
        _logger.warning(
            "station %s: by the clock, the PC was off for %.1f days; for the age of pictures that counts as "
            "%d: check the clock",
            station, stop / timedelta(days=1), 0 if stop < timedelta() else LONGEST_STOP.days,
        )  # fmt: skip


@dataclass(slots=True)
class _Sweep:
    """A walk through the pictures of parts of one decision, from the oldest on.

    Attributes:
        at: time of the last row looked at, as in `triggered_at`.
        record: its id.
        ended: when it first came to the newest, monotonic; None: not yet.
    """

    at: str = ""
    record: int = 0
    ended: float | None = None


class DiskGuard:
    """Keeps free space on the picture volume. Used by one thread; has its own connection."""

    def __init__(self, config: StoreConfig) -> None:
        """Remember the settings; nothing is opened yet."""
        self._stations: set[str] = set()
        self._clocked: set[str] = set()
        self._told: set[str] = set()
        self._config = config
        self._folder = config.images.folder
        self._reading = make_engine(config, read_only=True)
        self._writing: sa.Connection | None = None
        self._next_age = self._next_log = time.monotonic()
        self._sweeps: dict[tuple[str, Decision], _Sweep] = {}
        self._moments: dict[tuple[str, float], Moment | None] = {}
        self._next_moments = self._next_age

    def watch(self, station: str) -> None:
        """Look after this station's pictures: others in the same store lie on other machines."""
        if station not in self._stations:
            self._stations.add(station)
            self._sweeps.clear()
            self._moments.clear()

    def has_room(self) -> bool:
        """Tell whether a picture may be written; if not, first delete the oldest of passed parts.

        Those that are still needed go when no other of a passed part is left; then those of other parts
        that only wait for a person, past their time.
        """
        if not self._short():
            return True
        try:
            while self._short():
                if not self._make_room():
                    self._tell_strangers()
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
            busy = self._expire(self._pictures("expiring").limit(BATCH)) > 0
            busy |= self._expire(self._saved(Decision.PASS).where(*self._past("needed"))) > 0
            for decision in Decision:
                kind = "ok" if decision is Decision.PASS else "ng"
                busy |= any(self._sweep("age", decision, *self._past(kind)))
        except SQLAlchemyError:
            self.close()
            raise
        if busy:
            self._next_age = time.monotonic()

    def close(self) -> None:
        """Close the connections, and begin at the oldest picture again. May be called twice."""
        self._sweeps.clear()
        connection, self._writing = self._writing, None
        if connection is not None:
            discard(connection)

    def _tell_strangers(self) -> None:
        """Log once what fills the disk and belongs to no row: it is never deleted here."""
        for station in self._stations - self._told:
            self._told.add(station)
            try:
                found = find_strangers(self._config, station)
            except OSError:
                _logger.exception("the pictures of station %s cannot be counted", station)
                continue
            if found is not None:
                _logger.error(
                    "no room for pictures: %s; see docs/how-to/back-up-and-verify.md", found
                )

    def _short(self) -> bool:
        return is_short(self._config.images)

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

    def _past(self, kind: str) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
        """Return the conditions of pictures past their time: `ok`, `ng`, or `needed` of passed parts."""
        settings = self._config.images
        days = {"ok": settings.keep_ok_days, "ng": settings.keep_ng_days}
        kept = timedelta(days=max(days.values()) if kind == "needed" else days[kind])
        before = (datetime.now(UTC) - kept).isoformat(timespec="microseconds")
        moments = {
            station: self._moment(station, kept.total_seconds()) for station in self._stations
        }
        old = [found.is_after(station) for station, found in moments.items() if found is not None]
        return parts.c.triggered_at < before, sa.or_(sa.false(), *old)

    def _moment(self, station: str, seconds: float) -> Moment | None:
        """Return where the station was so long ago; looked up once a minute."""
        if time.monotonic() >= self._next_moments:
            self._moments.clear()
            self._next_moments = time.monotonic() + _AGE_SECONDS
        if (station, seconds) not in self._moments:
            with self._reading.connect() as connection, connection.begin():
                self._moments[station, seconds] = moment(connection, station, seconds)
                if station not in self._clocked:
                    self._clocked.add(station)
                    _tell_odd_stop(station, odd_stop(connection, station))
        return self._moments[station, seconds]

    def _make_room(self) -> bool:
        """Delete some pictures of passed parts, those that are still needed last; False: there are none.

        When none is left, those of other parts that are past their time go, though they wait for a person.
        """
        more = True
        while more:
            deleted, more = self._sweep("room", Decision.PASS)
            if deleted:
                return True
        if self._expire(self._saved(Decision.PASS)):
            return True
        others = [decision for decision in Decision if decision is not Decision.PASS]
        return any(self._expire(self._saved(one).where(*self._past("ng"))) for one in others)

    def _sweep(
        self, why: str, decision: Decision, *where: sa.ColumnElement[bool]
    ) -> tuple[int, bool]:
        """Look at a page of parts of a decision behind the sweep; delete the pictures that nobody needs.

        Returns:
            How many rows, and whether there is more to look at.
        """
        now, at, sweep = time.monotonic(), parts.c.triggered_at, self._sweeps.get((why, decision))
        if sweep is None or (sweep.ended is not None and now >= sweep.ended + _SWEEP_SECONDS[why]):
            sweep = self._sweeps[why, decision] = _Sweep()
        behind = sa.and_(at >= sweep.at, sa.or_(at > sweep.at, parts.c.id > sweep.record))
        query = self._saved(decision).with_only_columns(
            parts.c.id, at, _NEEDED[decision].label("needed")
        )
        page = self._read(query.where(behind, *where).order_by(parts.c.id).limit(PAGE))
        found = [row for row in page if not row.needed][:BATCH]
        more = len(page) == PAGE or len(found) == BATCH
        if page:
            last = found[-1] if len(found) == BATCH else page[-1]
            sweep.at, sweep.record = last.triggered_at, last.id
        if not more and sweep.ended is None:
            sweep.ended = now
        if not found:
            return 0, more
        unneeded = parts.c.id.in_([row.id for row in found])
        return self._expire(self._pictures("saved").where(unneeded)), more

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
