"""SqlStore: what the line calls. A method returns only when its row is durable.

    call ─▶ `transactions`: written and durable ─▶ return
                 │ not
                 ▼
          StoreError; what must not be lost waits (`waiting`; parts also in the journal) until `recover` has
          opened the database again and written it, in order

Here is what the calls promise; how one is written, and what waits, is in those two.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from inspection.errors import StoreError, SupersededError
from inspection.store import commands, database, images, outbox, rows, writes
from inspection.store.config import StoreConfig
from inspection.store.journal import Journal, Marks
from inspection.store.lock import FileLock, lock_on_server
from inspection.store.transactions import RefusedError, Transactions
from inspection.store.waiting import Waiting, WaitingCalls
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

RESERVE = 1_000_000
"""Record ids marked as given ahead of time: the journal is written once in a million parts."""

_MOST_EARLY = 100
"""Late results kept that came before their part's row; the decision of each comes next."""

_T = TypeVar("_T")
_logger = logging.getLogger(__name__)


class SqlStore:
    """Satisfies `protocols.Store`, over SQLite and PostgreSQL. Several threads take turns."""

    def __init__(
        self, config: StoreConfig, upward: Mapping[str, Mapping[str, float]] | None = None
    ) -> None:
        """Open, check and migrate; write what the journal holds. See `open_store`.

        Args:
            config: which store.
            upward: for each station of this process its destinations, as for `tell_upward`; entered before
                anything that waits is written, so that it is told, too.
        """
        self._config = config
        self._turn = threading.RLock()
        self._database = Transactions(config)
        self._locks: dict[str, FileLock | None] = {}
        self._settled: set[str] = set()
        self._epochs: dict[str, rows.Values] = {}  # the latest of each station, of this process
        self._unmarked = False  # the journal refused an epoch's number
        self._early: dict[
            PartKey, rows.Values
        ] = {}  # late results that came before their part's row
        self._upward = {station: dict(names) for station, names in (upward or {}).items()}
        self._journal = Journal(config.journal_path)
        self._waiting = WaitingCalls(self._journal, self._given, self._any_station())
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

    def tell_upward(self, station: str, destinations: Mapping[str, float]) -> None:
        """Have every decision, verdict and alarm of a station noted in the outbox; for nobody: no more.

        `destinations` has for each one the seconds that a message may wait before people are to be told.
        Call it before the first part. It holds for a new store, too, when this one must be put aside.

        Raises:
            StoreError: not durable, or another process runs this station.
        """
        with self._turn:
            self._claim(station)
            self._upward[station] = dict(destinations)
            self._register(station)

    def _register(self, station: str) -> None:
        names = self._upward[station]
        what = f"station {station}: what is told upward"
        self._transact(what, lambda c: outbox.register(c, station, names))
        self._transact(what, lambda c: outbox.settle(c, station))

    # -- the life of a part

    def begin_epoch(self, station: str, cause: str) -> int:
        """See `protocols.Store`. Also refuses a second process, and settles pictures left pending.

        Raises:
            StoreError: not durable, or another process runs this station.
        """
        with self._turn:
            above = self._journal.marks.epochs.get(station, 0)
            first = station not in self._settled
            self._claim(station)

            def write(connection: sa.Connection) -> rows.Values:
                number = writes.next_epoch(connection, station, above)
                values = self._epoch_values(station, number, cause)
                writes.enter_epoch(connection, values)
                return values

            values = self._transact(f"station {station}: a new epoch ({cause})", write)
            self._epochs[station] = values
            self._mark_epochs()
            if first:
                self._settle_pictures(station)
                self._settled.add(station)
            return int(values["epoch"])

    def enter_epoch(self, station: str, number: int, cause: str) -> None:
        """See `protocols.Store`. Remembered when it cannot be written."""
        with self._turn:
            values = self._epochs[station] = self._epoch_values(station, number, cause)
            what = f"station {station}: epoch {number} ({cause})"
            call = Waiting("epoch", station, lambda c: writes.enter_epoch(c, values))
            if self._waiting:  # what belongs to the epoch before is final once this one is there
                self._waiting.add(call)
                raise StoreError(f"{what}: calls before it wait to be written; recover the store")
            self._write_or_keep(what, call)
            self._try_marking()

    def _epoch_values(self, station: str, number: int, cause: str) -> rows.Values:
        return writes.epoch_values(station, number, cause, self._config.images.ok_every)

    def _mark_epochs(self) -> None:
        """Keep the epochs' numbers in the journal, so that a new database never gives them again."""
        marks = self._journal.marks
        given = {station: int(values["epoch"]) for station, values in self._epochs.items()}
        if any(marks.epochs.get(station, 0) < number for station, number in given.items()):
            self._journal.mark(Marks({**marks.epochs, **given}, marks.record or RESERVE))

    def _try_marking(self) -> None:
        """Do that where parts go on: a journal that refuses must not keep their rows waiting."""
        try:
            self._mark_epochs()
        except StoreError:
            if not self._unmarked:
                _logger.exception("an epoch could not be marked; every check tries again")
            self._unmarked = True
        else:
            self._unmarked = False

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

    def decided(self, inspected: Inspected, wanted: Callable[[], bool] | None = None) -> int:
        """See `protocols.Store`.

        Raises:
            SupersededError: not wanted any more when its turn came; nothing was written.
            StoreError: not durable; or a PASS that is not proven: no frame of this trigger, no
                model, no detections, a reason, past its deadline, or a number that is not finite.
        """
        with self._turn:
            key = inspected.trigger.key
            values = rows.part_values(inspected)
            was_sent = self._waiting.of_part(key, "sent")

            early = self._early.get(key)

            def write(connection: sa.Connection) -> int:
                if wanted is not None and not wanted():
                    raise SupersededError(f"part {key}: the answer was taken back while it waited")
                record = writes.write_decision(connection, values, was_sent=was_sent)
                if early is not None:
                    writes.add_late(connection, key, early)
                return record

            record = self._transact(f"part {key}: {inspected.result.decision}", write)
            self._early.pop(key, None)
            return self._given(record)

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
                    if inspected.frame is not None:
                        values["image_state"] = "pending"  # it is offered all the same
                    note = self._journal.add(rows.journal_values(values))
                self._waiting.add_part(values, note)
                if early := self._early.pop(inspected.trigger.key, None):
                    self._waiting.add(self._late_call(inspected.trigger.key, early))
            except Exception:  # the promise is: never raises
                _logger.exception("part %s could not be remembered", inspected.trigger.key)
                self._waiting.count_lost()
                return False
            return note is not None

    def late(self, key: PartKey, result: Result) -> None:
        """See `protocols.Store`. Remembered when it cannot be written."""
        values = {
            **rows.result_values(result),
            "decided_mono": time.monotonic(),
            "decided_at": rows.utc_now(),
        }
        entry = rows.storable(rows.late_entry(values, "after the answer"))
        try:
            self._keep(self._late_call(key, entry))
        except writes.RowMissingError:  # its trigger's row failed, and its decision comes next
            _logger.warning("part %s: a late result came before its row", key)
            self._early[key] = entry
            while len(self._early) > _MOST_EARLY:
                self._early.pop(next(iter(self._early)))

    @staticmethod
    def _late_call(key: PartKey, entry: rows.Values) -> Waiting:
        return Waiting("late", key.station, lambda c: writes.add_late(c, key, entry), key)

    def sent(self, key: PartKey, mono: float, at: str) -> None:
        """See `protocols.Store`."""
        self._keep(Waiting("sent", key.station, lambda c: writes.mark_sent(c, key, mono, at), key))

    def acknowledged(self, key: PartKey, mono: float, at: str) -> None:
        """See `protocols.Store`."""
        call = Waiting(
            "acknowledged", key.station, lambda c: writes.mark_acknowledged(c, key, mono, at), key
        )
        self._keep(call)

    def images(self, key: PartKey, state: str, files: list[StoredImage]) -> None:
        """See `protocols.Store`. Remembered when it cannot be written."""
        listed = rows.image_rows(files)
        call = Waiting(
            "images", key.station, lambda c: writes.set_images(c, key, state, listed), key
        )
        self._keep(call)

    def alarm(self, station: str, reason: Reason, detail: str, on: bool) -> None:
        """See `protocols.Store`. Remembered when it cannot be written."""
        values = writes.alarm_values(station, reason, detail, on=on)
        call = Waiting("alarm", station, lambda c: writes.insert_alarm(c, values))
        with self._turn:
            if self._waiting.alarms_of(station):  # or one that ended stays on: the newest counts
                self._waiting.add(call)
                raise StoreError(
                    f"alarm {reason.name}: others wait to be written; recover the store"
                )
            self._write_or_keep(f"alarm {reason.name}", call)

    def take_command(self, station: str) -> Command | None:
        """See `protocols.Store`."""
        with self._turn:
            return self._transact(
                f"station {station}: reading commands", lambda c: commands.take(c, station)
            )

    def command_done(self, command: int, state: CommandState, detail: str) -> None:
        """See `protocols.Store`. Remembered when it cannot be written."""
        told = rows.readable(detail)
        call = Waiting(
            "command", self._any_station(), lambda c: commands.finish(c, command, state, told)
        )
        with self._turn:
            self._write_or_keep(f"command {command}: {state}", call)

    # -- bad times

    def check(self) -> None:
        """See `protocols.Store`. Takes and gives back the right to write; looks at the disk."""
        with self._turn:
            if self._waiting:
                raise StoreError(
                    f"{len(self._waiting)} calls wait to be written; recover the store"
                )
            self._try_marking()
            database.check_disk(self._config)
            self._transact("the store is checked", database.check_writable)

    def recover(self) -> None:
        """See `protocols.Store`. A corrupt SQLite file is put aside; pictures are not touched."""
        with self._turn:
            self._drop()
            aside = self._database.put_aside_if_corrupt()
            if aside is not None:
                self._waiting.add_alarm(
                    self._any_station(), f"the store was corrupt; it is kept as {aside}"
                )
            self._database.open()
            try:
                self._take_up()
            except BaseException:
                self._drop()  # or later calls would overtake those that wait
                raise

    def _take_up(self) -> None:
        """In a database that was just opened: what this process holds, knows and still has to write."""
        marked = self._journal.marks.record
        if marked:
            self._transact(
                "setting the next record id", lambda c: writes.start_records_above(c, marked)
            )
        for station in list(self._locks):
            self._lock(station)
        for station in self._upward:
            self._claim(station)
            self._register(station)
        self._waiting.write(self._database, self._any_station())
        for station, values in self._epochs.items():  # a new database does not know them

            def enter(c: sa.Connection, values: rows.Values = values) -> None:
                writes.enter_epoch(c, values)

            self._transact(f"station {station}: its epoch", enter)
        self._try_marking()

    def close(self) -> None:
        """Close files and connections. May be called twice."""
        with self._turn:
            self._drop()
            self._journal.close()
            for lock in self._locks.values():
                if lock is not None:
                    lock.close()
            self._locks.clear()
            if only_here := self._waiting.forget():
                _logger.error("the store closes with %d calls that were never written", only_here)

    def _transact(self, what: str, apply: Callable[[sa.Connection], _T]) -> _T:
        return self._database.transact(what, apply)

    def _keep(self, call: Waiting) -> None:
        """Write now; else remember, and raise. What is said of a part waits behind the part's own row."""
        what = f"part {call.key}: {call.what}"
        with self._turn:
            if call.key is not None and self._waiting.of_part(call.key):
                self._waiting.add(call)
                raise StoreError(f"{what}: its row waits to be written; recover the store")
            self._write_or_keep(what, call)

    def _write_or_keep(self, what: str, call: Waiting) -> None:
        """Write now; else remember, and raise. What the database or the row refuses is not remembered."""
        try:
            self._transact(what, call.apply)
        except (RefusedError, writes.RowMissingError):
            raise
        except StoreError:
            self._waiting.add(call)
            raise

    def _drop(self) -> None:
        """Throw the connection away; the next `recover` opens a new one."""
        self._database.drop()

    def _any_station(self) -> str:
        return next(iter(self._locks or self._upward), "")

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
        path, connection = self._config.sqlite_path, self._database.connection
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
