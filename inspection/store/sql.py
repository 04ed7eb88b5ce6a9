"""SqlStore: what the line calls. A method returns only when its row is durable.

    call ─▶ one transaction ─▶ is the file still ours? ─▶ return
                 │ fails                │ no
                 ▼                      ▼
          connection thrown away, StoreError; what must not be lost waits in memory (parts: also in
          the journal) until `recover` has opened the database again and written it, in order

After an error the old connection is never used again: a disk that failed once may report success
for data it lost.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from inspection.errors import StoreError
from inspection.store import commands, database, images, rows, writes
from inspection.store.config import StoreConfig
from inspection.store.journal import Journal, Marks, Note
from inspection.store.lock import FileLock, lock_on_server
from inspection.types import (
    Command,
    CommandState,
    Decision,
    Inspected,
    PartKey,
    Reason,
    Result,
    StoredAnswer,
    StoredImage,
    Trigger,
)

MAX_WAITING = 20_000
"""Calls kept in memory while the database cannot be written; an alarm says how many more came."""

RESERVE = 1_000_000
"""Record ids marked as given ahead of time: the journal is written once in a million parts."""

_T = TypeVar("_T")
_logger = logging.getLogger(__name__)


class RefusedError(StoreError):
    """The database refuses this row for what it says; trying again cannot help."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A call that could not be written yet."""

    what: str
    station: str
    apply: Callable[[sa.Connection], object]
    key: PartKey | None = None
    note: Note | None = None


class SqlStore:
    """Satisfies `protocols.Store`, over SQLite and PostgreSQL. Several threads take turns."""

    def __init__(self, config: StoreConfig) -> None:
        """Open, check and migrate; write what the journal holds. See `open_store`."""
        self._config = config
        self._turn = threading.RLock()
        self._connection: sa.Connection | None = None
        self._identity: list[tuple[int, int]] = []
        self._locks: dict[str, FileLock | None] = {}
        self._settled: set[str] = set()
        self._check = True
        self._met_damage = False
        self._lost = 0
        self._waiting: deque[_Waiting] = deque()
        self._journal = Journal(config.journal_path)
        for note in self._journal.notes:
            self._take_up(note)
        for text in self._journal.damaged:
            self._wait_for_alarm("", text)
        try:
            self.recover()
        except BaseException:
            self.close()
            raise

    @property
    def waiting(self) -> int:
        """Calls in memory that `recover` must still write."""
        return len(self._waiting)

    @property
    def journal_free(self) -> int:
        """Parts that the journal can still take."""
        return self._journal.free

    @property
    def log_bytes(self) -> int:
        """Size of SQLite's write-ahead log; it grows while a reader stays open. 0 on PostgreSQL."""
        path = self._config.sqlite_path
        try:
            return 0 if path is None else path.with_name(path.name + "-wal").stat().st_size
        except OSError:
            return 0

    # -- the life of a part

    def begin_epoch(self, station: str, cause: str) -> int:
        """See `protocols.Store`. Also refuses a second process, and settles pictures left pending.

        Raises:
            StoreError: not durable, or another process runs this station.
        """
        with self._turn:
            marks = self._journal.marks
            above = marks.epochs.get(station, 0)
            first = station not in self._settled
            self._claim(station)
            number = self._transact(
                f"station {station}: a new epoch ({cause})",
                lambda c: writes.insert_epoch(c, station, cause, above),
            )
            epochs = {**marks.epochs, station: number}
            self._journal.mark(Marks(epochs, marks.record or RESERVE))
            if first:
                self._settle_pictures(station)
                self._settled.add(station)
            return number

    def last_part(self, station: str) -> StoredAnswer | None:
        """See `protocols.Store`."""
        with self._turn:
            row = self._transact(
                f"station {station}: reading its last part", lambda c: writes.latest(c, station)
            )
            return None if row is None else rows.stored_answer(row)

    def close_open_parts(self, station: str, reason: Reason) -> int:
        """See `protocols.Store`."""
        with self._turn:
            self._claim(station)
            self._transact(
                f"station {station}: ending alarms", lambda c: writes.end_alarms(c, station)
            )
            self._transact(
                f"station {station}: closing commands", lambda c: commands.close_open(c, station)
            )
            return self._transact(
                f"station {station}: closing open parts",
                lambda c: writes.close_open(c, station, reason),
            )

    def triggered(self, trigger: Trigger, recipe_number: int) -> int:
        """See `protocols.Store`. The same trigger again returns its record id."""
        with self._turn:
            return self._given(
                self._transact(
                    f"part {trigger.key}: triggered",
                    lambda c: writes.insert_triggered(c, trigger, recipe_number),
                )
            )

    def decided(self, inspected: Inspected) -> int:
        """See `protocols.Store`.

        Raises:
            StoreError: not durable; or a PASS that is not proven: no frame of this trigger, no
                model, no detections, a reason, past its deadline, or a number that is not finite.
        """
        with self._turn:
            key = inspected.trigger.key
            values = rows.part_values(inspected)
            was_sent = any(w.key == key and w.what == "sent" for w in self._waiting)
            return self._given(
                self._transact(
                    f"part {key}: {inspected.result.decision}",
                    lambda c: writes.write_decision(c, values, was_sent=was_sent),
                )
            )

    def remember(self, inspected: Inspected) -> bool:
        """See `protocols.Store`."""
        if inspected.result.decision is not Decision.NOT_INSPECTED:
            raise ValueError(f"only NOT_INSPECTED is remembered, not {inspected.result.decision}")
        with self._turn:
            try:
                try:
                    values = rows.part_values(inspected)
                    note = self._journal.add(rows.journal_values(values))
                except Exception:
                    _logger.exception("part %s: kept without its findings", inspected.trigger.key)
                    bare = dataclasses.replace(inspected, frame=None, detections=None, timings={})
                    values = rows.part_values(bare)
                    note = self._journal.add(rows.journal_values(values))
                self._wait_for_part(values, note)
            except Exception:  # the promise is: never raises
                _logger.exception("part %s could not be remembered", inspected.trigger.key)
                self._lost += 1
                return False
            return note is not None

    def late(self, key: PartKey, result: Result) -> None:
        """See `protocols.Store`. Remembered when it cannot be written."""
        values = {
            **rows.result_values(result),
            "decided_mono": time.monotonic(),
            "decided_at": rows.utc_now(),
        }
        entry = rows.late_entry(values, "after the answer")
        self._keep("late", key, lambda c: writes.add_late(c, key, entry))

    def sent(self, key: PartKey, mono: float, at: str) -> None:
        """See `protocols.Store`."""
        self._keep("sent", key, lambda c: writes.mark_sent(c, key, mono, at))

    def acknowledged(self, key: PartKey, mono: float, at: str) -> None:
        """See `protocols.Store`."""
        self._keep("acknowledged", key, lambda c: writes.mark_acknowledged(c, key, mono, at))

    def images(self, key: PartKey, state: str, files: list[StoredImage]) -> None:
        """See `protocols.Store`. Remembered when it cannot be written."""
        listed = rows.image_rows(files)
        self._keep("images", key, lambda c: writes.set_images(c, key, state, listed))

    def alarm(self, station: str, reason: Reason, detail: str, on: bool) -> None:
        """See `protocols.Store`. Remembered when it cannot be written."""
        values = writes.alarm_values(station, reason, detail, on=on)
        with self._turn:
            try:
                self._transact(f"alarm {reason.name}", lambda c: writes.insert_alarm(c, values))
            except RefusedError:
                raise
            except StoreError:
                self._wait(_Waiting("alarm", station, lambda c: writes.insert_alarm(c, values)))
                raise

    def take_command(self, station: str) -> Command | None:
        """See `protocols.Store`."""
        with self._turn:
            return self._transact(
                f"station {station}: reading commands", lambda c: commands.take(c, station)
            )

    def command_done(self, command: int, state: CommandState, detail: str) -> None:
        """See `protocols.Store`."""
        with self._turn:
            self._transact(
                f"command {command}: {state}", lambda c: commands.finish(c, command, state, detail)
            )

    # -- bad times

    def check(self) -> None:
        """See `protocols.Store`. Takes and gives back the right to write; looks at the disk."""
        with self._turn:
            if self._waiting:
                raise StoreError(
                    f"{len(self._waiting)} calls wait to be written; recover the store"
                )
            database.check_disk(self._config)
            self._transact("the store is checked", database.check_writable)

    def recover(self) -> None:
        """See `protocols.Store`. A corrupt SQLite file is put aside; pictures are not touched."""
        with self._turn:
            self._drop()
            if self._check:
                aside = database.put_aside_if_corrupt(self._config, thorough=self._met_damage)
                self._check = self._met_damage = False
                if aside is not None:
                    station = next(iter(self._locks), "")
                    self._wait_for_alarm(
                        station, f"the store was corrupt; it is kept as {aside.name}"
                    )
            try:
                self._connection = database.open_connection(self._config)
            except StoreError as error:
                self._met_damage = database.is_corrupt(error)
                self._check |= self._met_damage
                raise
            self._identity = self._file_identity()
            marked = self._journal.marks.record
            if marked:
                self._transact(
                    "setting the next record id", lambda c: writes.start_records_above(c, marked)
                )
            for station in list(self._locks):
                self._lock(station)
            self._drain()

    def close(self) -> None:
        """Close files and connections. May be called twice."""
        with self._turn:
            self._drop()
            self._journal.close()
            for lock in self._locks.values():
                if lock is not None:
                    lock.close()
            self._locks.clear()
            only_here = sum(1 for waiting in self._waiting if waiting.note is None)
            if only_here:
                _logger.error("the store closes with %d calls that were never written", only_here)
            self._waiting.clear()

    def _transact(self, what: str, apply: Callable[[sa.Connection], _T]) -> _T:
        connection = self._connection
        if connection is None:
            raise StoreError(f"{what}: the store is closed after an error; recover it first")
        try:
            with connection.begin():
                answer = apply(connection)
        except StoreError:
            raise
        except Exception as error:
            said = database.store_error(error, self._config, what)
            if database.is_refused(error):
                raise RefusedError(str(said)) from error
            self._met_damage |= database.is_corrupt(error)
            self._check |= not database.is_busy(error)
            self._drop()
            raise said from error
        if self._identity != self._file_identity():
            self._drop()
            raise StoreError(
                f"{what}: store {self._config.sqlite_path} or its log was deleted or replaced; recover it"
            )
        return answer

    def _keep(self, what: str, key: PartKey, apply: Callable[[sa.Connection], object]) -> None:
        """Write now; else remember, and raise."""
        with self._turn:
            try:
                self._transact(f"part {key}: {what}", apply)
            except RefusedError:
                raise
            except writes.RowMissingError:
                if any(waiting.key == key for waiting in self._waiting):
                    self._wait(_Waiting(what, key.station, apply, key))
                raise
            except StoreError:
                self._wait(_Waiting(what, key.station, apply, key))
                raise

    def _take_up(self, note: Note) -> None:
        try:
            self._wait_for_part(note.values, note)
        except (KeyError, TypeError) as error:
            self._journal.put_aside(note)
            self._wait_for_alarm("", f"journal slot {note.slot} names no part ({error!r})")

    def _wait_for_part(self, values: rows.Values, note: Note | None) -> None:
        key = PartKey(values["station"], values["epoch"], values["sequence"])

        def apply(connection: sa.Connection) -> None:
            self._given(writes.write_decision(connection, values, was_sent=False))

        self._wait(_Waiting("part", key.station, apply, key, note))

    def _wait_for_alarm(self, station: str, detail: str) -> None:
        values = writes.alarm_values(station, Reason.STORE_FAILED, detail, on=True)
        self._wait(_Waiting("alarm", station, lambda c: writes.insert_alarm(c, values)))

    def _wait(self, waiting: _Waiting) -> None:
        if len(self._waiting) >= MAX_WAITING and waiting.note is None:
            self._lost += 1
            _logger.error(
                "the store cannot be written and memory is full: lost %s %s",
                waiting.what,
                waiting.key,
            )
            return
        self._waiting.append(waiting)

    def _drain(self) -> None:
        """Write everything that waits, in order; what the database refuses becomes an alarm."""
        while self._waiting:
            waiting = self._waiting[0]
            try:
                self._transact(
                    f"{waiting.what} {waiting.key or waiting.station} from memory", waiting.apply
                )
            except (RefusedError, writes.RowMissingError) as error:
                _logger.exception("a remembered call cannot be written")
                self._waiting.popleft()
                if waiting.note is not None:
                    self._journal.put_aside(waiting.note)
                if waiting.what != "alarm":
                    text = f"a remembered call was refused: {error}"
                    self._wait_for_alarm(waiting.station, text[:2000])
            else:
                self._waiting.popleft()
                if waiting.note is not None:
                    self._journal.clear(waiting.note)
        if self._lost:
            lost, self._lost = self._lost, 0
            self._wait_for_alarm(
                next(iter(self._locks), ""), f"{lost} calls were lost: memory was full"
            )
            self._drain()

    def _drop(self) -> None:
        """Throw the connection away; the next `recover` opens a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            database.discard(connection)

    def _given(self, record: int) -> int:
        """Mark record ids as given, well ahead, so that a new database never gives them again."""
        marks = self._journal.marks
        if record > marks.record - RESERVE // 2:
            try:
                self._journal.mark(Marks(marks.epochs, record + RESERVE))
            except StoreError:
                _logger.exception("record ids could not be marked; the next part tries again")
        return record

    def _claim(self, station: str) -> None:
        """Refuse a second process before anything of this station is changed."""
        if station not in self._locks:
            self._lock(station)

    def _lock(self, station: str) -> None:
        path, connection = self._config.sqlite_path, self._connection
        held = self._locks.get(station)
        if path is None:
            if connection is None:
                raise StoreError(
                    f"station {station}: the store is closed after an error; recover it first"
                )
            try:
                lock_on_server(connection, station)
            except SQLAlchemyError as error:
                self._drop()
                raise database.store_error(
                    error, self._config, f"locking station {station}"
                ) from error
            self._locks[station] = None
        elif held is None or not held.is_in_place():
            if held is not None:
                held.close()
            self._locks[station] = FileLock(path, station)

    def _settle_pictures(self, station: str) -> None:
        """Pictures that an earlier process still had in memory: written after all, or lost."""
        keys = self._transact(
            f"station {station}: reading pending pictures",
            lambda c: writes.pending_pictures(c, station),
        )
        folder = self._config.images.folder
        for key in keys:
            found = images.find_picture(folder, key)
            state = "saved" if found is not None else "lost"
            listed = rows.image_rows([] if found is None else [found])

            def apply(
                c: sa.Connection,
                key: PartKey = key,
                state: str = state,
                listed: list[rows.Values] = listed,
            ) -> None:
                writes.set_images(c, key, state, listed)

            self._transact(f"part {key}: its picture is {state}", apply)

    def _file_identity(self) -> list[tuple[int, int]]:
        """Return which files lie where the database and its log should; empty on PostgreSQL."""
        path = self._config.sqlite_path
        if path is None:
            return []
        try:
            found = [path.stat(), path.with_name(path.name + "-wal").stat()]
        except OSError:
            return []
        return [(one.st_dev, one.st_ino) for one in found]
