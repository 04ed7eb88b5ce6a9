"""Which row belongs to which trigger of the PLC's log.

First by the record id that the PLC read, then by sequence and part id, nearest in time: the PLC's
sequence wraps, and the station's epoch changes at restarts, so neither names a part alone. Last, rows
of triggers that never reached the station, which it noticed by the gap: sequence alone, latest before.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from inspection.store.plc_log import ACCEPTED, NEVER_SEEN, Moment, PlcLog, PlcTrigger
from inspection.types import Reason

NEAR = 120.0
"""Seconds between a trigger in the log and its row, at most."""


@dataclass(frozen=True, slots=True)
class RowFact:
    """What matching and its checks need of a row.

    Attributes:
        id: record id.
        station: name of the station.
        epoch: its epoch.
        sequence: TRIG_SEQ.
        part_id: as given by the PLC.
        decision: the answer, or None.
        missed: the station never saw the trigger; it found the gap in TRIG_SEQ afterwards.
        triggered: when the station saw the trigger.
        decided: when it was decided.
        committed: monotonic seconds just before the decision was committed, or None.
    """

    id: int
    station: str
    epoch: int
    sequence: int
    part_id: int
    decision: str | None
    missed: bool
    triggered: Moment | None
    decided: Moment | None
    committed: float | None

    @classmethod
    def of(cls, row: Any) -> RowFact:
        """Return the fact of a row with these columns and their times."""
        return cls(
            row.id,
            row.station,
            row.epoch,
            row.sequence,
            row.part_id,
            row.decision,
            row.reason == Reason.MISSED.name,
            Moment.of(row.triggered_mono, row.triggered_at),
            Moment.of(row.decided_mono, row.decided_at),
            row.committed_mono,
        )

    def __str__(self) -> str:
        return f"{self.station}/{self.epoch}/{self.sequence} (record {self.id}, {self.decision})"


@dataclass(frozen=True, slots=True)
class Matched:
    """One log held against the store.

    Attributes:
        log: the log.
        pairs: every trigger with its row, or None.
        extra: rows of this station, in the time the log covers, that no trigger asked for.
        station: whose rows these are; None when no trigger has a row.
    """

    log: PlcLog
    pairs: list[tuple[PlcTrigger, RowFact | None]]
    extra: list[RowFact]
    station: str | None


def match(log: PlcLog, rows: Iterable[RowFact]) -> Matched:
    """Give each trigger its row; no row is given twice."""
    free = {row.id: row for row in rows}
    named: dict[tuple[int, int], list[RowFact]] = defaultdict(list)
    for row in free.values():
        named[row.sequence, row.part_id].append(row)
    found: dict[int, RowFact] = {}
    for index, trigger in enumerate(log.triggers):
        row = free.get(trigger.record) if trigger.cause in ACCEPTED else None
        if row is not None and (row.sequence, row.part_id) == (trigger.seq, trigger.part_id):
            found[index] = free.pop(row.id)
    for index, trigger in enumerate(log.triggers):
        if index not in found:
            nearest = _nearest(trigger, named[trigger.seq, trigger.part_id], free)
            if nearest is not None:
                found[index] = free.pop(nearest.id)
    for row in sorted((row for row in free.values() if row.missed), key=lambda row: row.id):
        index = _unseen_before(row, log, found)
        if index is not None:
            found[index] = free.pop(row.id)
    stations = Counter(row.station for row in found.values())
    station = stations.most_common(1)[0][0] if stations else None
    extra = [
        row
        for row in free.values()
        if row.station == station and not row.missed and _covers(log, row)
    ]
    pairs = [(trigger, found.get(index)) for index, trigger in enumerate(log.triggers)]
    return Matched(log, pairs, extra, station)


def _unseen_before(row: RowFact, log: PlcLog, found: dict[int, RowFact]) -> int | None:
    """Return the latest trigger of this sequence, before the row, that ended without the station."""
    return next(
        (
            index
            for index in range(len(log.triggers) - 1, -1, -1)
            if index not in found
            and log.triggers[index].seq == row.sequence
            and log.triggers[index].cause in NEVER_SEEN
            and row.triggered is not None
            and log.triggers[index].moment.wall <= row.triggered.wall
        ),
        None,
    )


def _nearest(trigger: PlcTrigger, rows: list[RowFact], free: dict[int, RowFact]) -> RowFact | None:
    near = [
        (trigger.moment.distance(row.triggered), row.id, row)
        for row in rows
        if row.id in free and row.triggered is not None
    ]
    best = min(near, default=None, key=lambda one: one[:2])
    return best[2] if best is not None and best[0] <= NEAR else None


def _covers(log: PlcLog, row: RowFact) -> bool:
    """Tell whether the row's trigger must be in the log: it lies between its first and last event."""
    if not log.triggers or log.last is None or row.triggered is None:
        return False
    return log.triggers[0].moment.wall <= row.triggered.wall <= log.last.wall


def window(log: PlcLog) -> tuple[str, str] | None:
    """Return the UTC texts between which rows of this log were triggered; None for an empty log."""
    if not log.triggers or log.last is None:
        return None
    walls = [trigger.moment.wall for trigger in log.triggers] + [log.last.wall]
    return _text(min(walls) - NEAR), _text(max(walls) + NEAR)


def _text(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="microseconds")
