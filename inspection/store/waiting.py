"""Calls that could not be written yet: kept in memory, parts also in the journal, written in order.

    call fails ─▶ kept ─▶ the database is open again ─▶ written in order ─▶ forgotten
                              │ the database refuses what it says
                              ▼
                           an alarm says so; the journal keeps its copy aside

Memory is bounded; how many calls were lost is told by an alarm, too.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from inspection.store import rows, writes
from inspection.store.journal import Journal, Note
from inspection.store.transactions import RefusedError, Transactions
from inspection.types import PartKey, Reason

MAX_WAITING = 20_000
"""Calls kept in memory while the database cannot be written; an alarm says how many more came."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A call that could not be written yet."""

    what: str
    station: str
    apply: Callable[[sa.Connection], object]
    key: PartKey | None = None
    note: Note | None = None
    bare: Callable[[sa.Connection], object] | None = None
    """Writes what must not be missing where the database refuses the whole."""


class WaitingCalls:
    """The calls that wait, oldest first. Used by one thread at a time."""

    def __init__(self, journal: Journal, given: Callable[[int], int], station: str = "") -> None:
        """Take up what the journal holds from an earlier process.

        Args:
            journal: open; calls with a note are cleared from it once they are written.
            given: told the record id of each part that is written.
            station: that alarms about the journal name.
        """
        self._journal, self._given, self._station = journal, given, station
        self._calls: deque[Waiting] = deque()
        self._lost = 0
        for note in journal.notes:
            self._take_up(note)
        for text in journal.damaged:
            self.add_alarm(station, text)

    def __len__(self) -> int:
        return len(self._calls)

    def of_part(self, key: PartKey, what: str = "") -> bool:
        """Tell whether a call about a part waits; of one kind, where it is named."""
        return any(call.key == key and what in {"", call.what} for call in self._calls)

    def alarms_of(self, station: str) -> bool:
        """Tell whether an alarm of a station waits."""
        return any(call.what == "alarm" and call.station == station for call in self._calls)

    def add(self, call: Waiting) -> None:
        """Keep a call; one that only memory holds is lost when memory is full, and counted."""
        if len(self._calls) >= MAX_WAITING and call.note is None:
            self._lost += 1
            _logger.error(
                "the store cannot be written and memory is full: lost %s %s", call.what, call.key
            )
            return
        self._calls.append(call)

    def add_part(self, values: rows.Values, note: Note | None) -> None:
        """Keep the row of a part; KeyError or TypeError when the values name none."""
        key = PartKey(values["station"], values["epoch"], values["sequence"])

        def apply(connection: sa.Connection) -> None:
            self._given(writes.write_decision(connection, values, was_sent=False))

        def apply_bare(connection: sa.Connection) -> None:
            self._given(writes.write_decision(connection, rows.bare(values), was_sent=False))

        self.add(Waiting("part", key.station, apply, key, note, apply_bare))

    def add_alarm(self, station: str, detail: str) -> None:
        """Keep an alarm about the store."""
        values = writes.alarm_values(station, Reason.STORE_FAILED, detail, on=True)
        self.add(Waiting("alarm", station, lambda c: writes.insert_alarm(c, values)))

    def count_lost(self) -> None:
        """Count a call that could not be kept; an alarm will say so."""
        self._lost += 1

    def write(self, store: Transactions, station: str) -> None:
        """Write everything that waits, in order; what the database refuses becomes an alarm.

        Args:
            store: open.
            station: that an alarm about lost calls names.

        Raises:
            StoreError: it cannot be written; what is left goes on waiting.
        """
        while self._calls:
            call = self._calls[0]
            try:
                store.transact(f"{call.what} {call.key or call.station} from memory", call.apply)
            except (RefusedError, writes.RowMissingError) as error:
                if isinstance(error, writes.RowMissingError) and self._put_behind_row():
                    continue
                _logger.exception("a remembered call cannot be written")
                said = self._write_bare(store, call)
                self._calls.popleft()
                if call.note is not None:
                    self._journal.put_aside(call.note)
                if call.what != "alarm":
                    text = f"a remembered call was refused{said}: {error}"
                    self.add_alarm(call.station, text[:2000])
            else:
                self._calls.popleft()
                if call.note is not None:
                    self._journal.clear(call.note)
        if self._lost:
            lost, self._lost = self._lost, 0
            self.add_alarm(station, f"{lost} calls were lost: memory was full")
            self.write(store, station)

    def _put_behind_row(self) -> bool:
        """Move the calls about a part behind its own row, where that waits, too; False where it does not."""
        calls, key = list(self._calls), self._calls[0].key
        rows_of = (n for n, call in enumerate(calls) if call.what == "part" and call.key == key)
        place = next(rows_of, None)
        if key is None or not place:
            return False
        before = calls[:place]
        early = [call for call in before if call.key == key]
        others = [call for call in before if call.key != key]
        self._calls = deque([*others, calls[place], *early, *calls[place + 1 :]])
        return True

    def _write_bare(self, store: Transactions, call: Waiting) -> str:
        """Write the answer alone of a part whose row was refused; return what to tell of it."""
        if call.bare is None:
            return ""
        try:
            store.transact(f"part {call.key} from memory, its answer alone", call.bare)
        except RefusedError:
            _logger.exception("part %s: its answer alone is refused, too", call.key)
            return ""
        return f", part {call.key} is written without what was found"

    def forget(self) -> int:
        """Forget everything; return how many calls were in memory alone."""
        only_here = sum(1 for call in self._calls if call.note is None)
        self._calls.clear()
        return only_here

    def _take_up(self, note: Note) -> None:
        try:
            self.add_part(note.values, note)
        except (KeyError, TypeError) as error:
            self._journal.put_aside(note)
            self.add_alarm(self._station, f"journal slot {note.slot} names no part ({error!r})")
