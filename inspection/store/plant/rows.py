"""Rows of a station as rows of the plant. Each function runs in the caller's transaction.

A part keeps everything but its id, which `part_keys` gives in the order in which parts are told. The same
part again changes nothing; a higher version takes the place of a lower one, never the other way round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from inspection.errors import StoreError
from inspection.store.plant.source import PART_COLUMNS, REVIEW_COLUMNS
from inspection.store.plant.tables import part_keys, plant_verdicts
from inspection.store.rows import Values
from inspection.store.tables import alarms, parts
from inspection.store.web.tables import reviews
from inspection.types import PartState

LATE = 30.0
"""Seconds after its decision in which something may still happen to a part that was acknowledged."""
NEVER = 3600.0
"""Seconds after it was told in which something is expected to happen to a part that was not."""
_SETTLED = {"saved", "sampled_out", "shed", "disk_full", "failed", "none", "lost", "expired"}
_VERDICT = (
    "version",
    "verdict",
    "who",
    "at",
    "reason_code",
    "comment",
    "defect_class",
    "boxes",
    "seen",
)


class ConflictError(StoreError):
    """The plant has something else under the same key.

    Attributes:
        number: row of the outbox; 0: not known.
    """

    def __init__(self, message: str, number: int = 0) -> None:
        super().__init__(message)
        self.number = number


@dataclass(frozen=True, slots=True)
class ToldPart:
    """A part that is told.

    Attributes:
        number: row of the outbox.
        version: of its decision, read before the row was.
        row: all of it, as the station has it.
    """

    number: int
    version: int
    row: Values


def is_final(row: Values, told_at: str, now: datetime) -> bool:
    """Tell whether nothing is expected to happen any more to a part.

    Args:
        row: the part, as the station has it.
        told_at: when it was told, by the plant server's clock; that of the station may jump meanwhile.
        now: by the same clock.
    """
    if row["state"] == PartState.ACKNOWLEDGED.value and row["image_state"] in _SETTLED:
        return _age(str(row["decided_at"]), datetime.now(UTC)) > LATE
    return _age(told_at, now) > NEVER


def _age(at: str, now: datetime) -> float:
    """Return seconds, never below 0; infinite for what is no time."""
    try:
        return abs((now - datetime.fromisoformat(at)).total_seconds())
    except (ValueError, TypeError):
        return float("inf")


def server_now(connection: sa.Connection) -> datetime:
    """Return the time of the plant's server, in UTC."""
    found = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
    return found.astimezone(UTC)


def write_parts(connection: sa.Connection, told: Sequence[ToldPart]) -> dict[int, int]:
    """Write parts of one station; return the plant's id of each, by the station's record id.

    A version that is read before the row can be too low for it, never too high: the next message mends that.

    Raises:
        ConflictError: the plant has another part, or another decision, under the same key and version.
    """
    latest: dict[tuple[int, int], ToldPart] = {}
    for one in told:
        key = (int(one.row["epoch"]), int(one.row["sequence"]))
        if key not in latest or latest[key].version < one.version:
            latest[key] = one
    if not latest:
        return {}
    known = _known(connection, str(told[0].row["station"]), list(latest))
    ids = {int(latest[key].row["id"]): int(row["id"]) for key, row in known.items()}
    now = server_now(connection)
    for key, row in known.items():
        _again(connection, latest[key], row, now)
    new = [one for key, one in latest.items() if key not in known]
    return ids | _insert(connection, new, now)


def _known(
    connection: sa.Connection, station: str, keys: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], Values]:
    """Return what the plant has of these parts, by epoch and sequence."""
    query = (
        sa.select(part_keys, parts.c.decision, parts.c.decided_at)
        .join(parts, parts.c.id == part_keys.c.id)
        .where(
            part_keys.c.station == station,
            sa.tuple_(part_keys.c.epoch, part_keys.c.sequence).in_(keys),
            parts.c.triggered_at == part_keys.c.triggered_at,
        )
    )
    found = connection.execute(query).mappings()
    return {(int(row["epoch"]), int(row["sequence"])): dict(row) for row in found}


def _again(connection: sa.Connection, one: ToldPart, known: Values, now: datetime) -> None:
    """Write a part that is there: a higher version, or what happened to it since."""
    row, name = one.row, f"{one.row['station']}/{one.row['epoch']}/{one.row['sequence']}"
    if (row["id"], row["triggered_at"]) != (known["record"], known["triggered_at"]):
        raise ConflictError(
            f"the plant has another part as {name}: record {known['record']}, triggered at "
            f"{known['triggered_at']}",
            one.number,
        )
    if one.version < int(known["version"]):
        return
    same = (row["decision"], row["decided_at"]) == (known["decision"], known["decided_at"])
    if one.version == int(known["version"]) and not same:
        raise ConflictError(
            f"the plant has {name} as {known['decision']}, decided at {known['decided_at']}; the station "
            f"says {row['decision']}, decided at {row['decided_at']}",
            one.number,
        )
    change_part(connection, int(known["id"]), row)
    final = is_final(row, str(known["told_at"]), now)
    values = {"version": one.version, "is_final": final}
    connection.execute(sa.update(part_keys).where(part_keys.c.id == known["id"]).values(**values))


def change_part(connection: sa.Connection, number: int, row: Values) -> None:
    """Let the plant's row of a part say what the station's says."""
    values = {name: row[name] for name in PART_COLUMNS if name not in ("id", "triggered_at")}
    here = (parts.c.id == number, parts.c.triggered_at == row["triggered_at"])
    connection.execute(sa.update(parts).where(*here).values(**values))


def _insert(connection: sa.Connection, told: Sequence[ToldPart], now: datetime) -> dict[int, int]:
    if not told:
        return {}
    told_at = now.isoformat(timespec="microseconds")
    names = ("station", "epoch", "sequence", "triggered_at")
    keys: list[Values] = [
        {
            **{name: one.row[name] for name in names},
            "record": one.row["id"],
            "version": one.version,
            "is_final": is_final(one.row, told_at, now),
            "told_at": told_at,
        }
        for one in told
    ]
    adding = sa.insert(part_keys).returning(
        part_keys.c.id, part_keys.c.record, sort_by_parameter_order=True
    )
    ids = {int(row.record): int(row.id) for row in connection.execute(adding, keys)}
    new = [{**{n: one.row[n] for n in PART_COLUMNS}, "id": ids[one.row["id"]]} for one in told]
    connection.execute(sa.insert(parts), new)
    return ids


def write_verdicts(
    connection: sa.Connection, number: int, part: Values, said: Sequence[Values]
) -> None:
    """Add what people said of a part, where it is not there. Raises ConflictError."""
    values: list[Values] = [
        {
            **{name: one[name] for name in _VERDICT},
            "record": number,
            "triggered_at": part["triggered_at"],
        }
        for one in said
    ]
    adding: Any = postgresql.insert(plant_verdicts).values(values).on_conflict_do_nothing()
    connection.execute(adding)
    query = sa.select(plant_verdicts).where(
        plant_verdicts.c.record == number, plant_verdicts.c.triggered_at == part["triggered_at"]
    )
    there = {int(row["version"]): row for row in connection.execute(query).mappings()}
    for one in said:
        if any(there[one["version"]][name] != one[name] for name in ("verdict", "who", "at")):
            raise ConflictError(
                f"the plant has another verdict {one['version']} of part {part['station']}/"
                f"{part['epoch']}/{part['sequence']}"
            )


def write_review(connection: sa.Connection, number: int, review: Values) -> None:
    """Let the plant show how the review of a part stands; never go back to an older version."""
    values = {**{name: review[name] for name in REVIEW_COLUMNS}, "record": number}
    adding = postgresql.insert(reviews).values(values)
    change = {name: adding.excluded[name] for name in REVIEW_COLUMNS if name != "record"}
    newer = adding.excluded.version >= reviews.c.version
    connection.execute(
        adding.on_conflict_do_update(index_elements=["record"], set_=change, where=newer)
    )


def write_alarm(connection: sa.Connection, alarm: Values) -> None:
    """Add that an alarm came or went, where it is not there."""
    values = {name: value for name, value in alarm.items() if name != "id"}
    connection.execute(postgresql.insert(alarms).values(values).on_conflict_do_nothing())
