"""Alarms as people see them: on, gone, acknowledged, shelved; and those that follow from the answers.

The line writes when an alarm comes and goes (`alarms`). People acknowledge the row with which it came; a
mute horn is not an acknowledgement. Repeated NG and the NG rate are computed from the latest answers, the
overrule rate from what people said of the latest judged FAIL parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from inspection.errors import StoreError
from inspection.store.final import Final
from inspection.store.rows import Values, utc_now
from inspection.store.tables import alarms, epochs, parts
from inspection.store.web import audit
from inspection.store.web.people import AHEAD, after
from inspection.store.web.tables import alarm_acks, reviews, settings
from inspection.types import Decision, Verdict

REPEATED_NG, NG_RATE, OVERRULE_RATE = "REPEATED_NG", "NG_RATE", "OVERRULE_RATE"
LONGEST_SHELF = 86400.0
"""Seconds for which an alarm may be put aside."""
_SETTING = "line.alarms"
_BATCH = 5000
_LATEST = 5000


@dataclass(frozen=True, slots=True)
class Rules:
    """When the answers themselves are an alarm; 0 switches a rule off.

    Attributes:
        repeated: so many FAIL one after the other.
        rate_percent: share of FAIL among the latest `window` parts, in percent.
        window: number of parts.
        overrule_percent: share that people overruled among the latest `overrule_window` FAIL parts that
            they judged, in percent.
        overrule_window: number of judged parts.
    """

    repeated: int = 3
    rate_percent: float = 20.0
    window: int = 50
    overrule_percent: float = 30.0
    overrule_window: int = 50


@dataclass(frozen=True, slots=True)
class Computed:
    """An alarm that follows from the answers.

    Attributes:
        code: `REPEATED_NG`, `NG_RATE` or `OVERRULE_RATE`.
        record: the first part of it; an acknowledgement is for this record.
        at: when that part was triggered.
        number: parts in a row, or the share in percent.
    """

    code: str
    record: int
    at: str
    number: float


class Followed:
    """Which alarms are on, from look to look. Used by one thread at a time.

    PostgreSQL gives ids before it commits: a row may appear below others that were read. So what is known
    for good ends where the rows are final, see `Final`; those above it are read anew at each look.
    """

    def __init__(self) -> None:
        self._final = Final(alarms)
        self._upto = self._read = 0
        self._known: dict[tuple[str, str], Values] = {}

    def look(self, connection: sa.Connection) -> dict[tuple[str, str], Values]:
        """Return the row with which each alarm came last, by station and reason.

        `gone` is added: it tells whether a later row says that the alarm went.
        """
        found, last = None, self._read
        while rows := since(connection, last):
            for row in rows:
                if row["id"] <= self._upto:
                    _take(self._known, row)
                    continue
                found = dict(self._known) if found is None else found
                _take(found, row)
            last = rows[-1]["id"]
        self._read = self._upto
        self._upto = max(self._upto, self._final.up_to(connection))  # holds from the next look on
        return dict(self._known) if found is None else found


def _take(known: dict[tuple[str, str], Values], row: Values) -> None:
    """Follow one row: the latest time an alarm came, and whether it has gone since."""
    key = (row["station"], row["reason"])
    if row["on"]:
        known[key] = {**row, "gone": False}
    elif key in known:
        known[key] = {**known[key], "gone": True}


def stations(connection: sa.Connection) -> list[str]:
    """Return the names of all stations that ever wrote to the store."""
    found = connection.execute(sa.select(epochs.c.station).distinct()).scalars()
    return sorted(str(name) for name in found)


def since(connection: sa.Connection, above: int) -> list[Values]:
    """Return rows of alarms with ids above that one, oldest first; at most some thousands."""
    query = sa.select(alarms).where(alarms.c.id > above).order_by(alarms.c.id).limit(_BATCH)
    return [dict(row) for row in connection.execute(query).mappings()]


def acknowledgements(connection: sa.Connection, ids: Sequence[int]) -> dict[int, Values]:
    """Return alarm id to its acknowledgement."""
    if not ids:
        return {}
    query = sa.select(alarm_acks).where(alarm_acks.c.alarm.in_(list(ids)))
    return {int(row["alarm"]): dict(row) for row in connection.execute(query).mappings()}


def latest_parts(connection: sa.Connection, station: str, limit: int) -> list[Values]:
    """Return the latest decided parts of a station, newest first, as the strip shows them."""
    wanted = [
        parts.c[name]
        for name in (
            "id", "sequence", "part_id", "serial", "decision", "reason", "defect_class",
            "triggered_at", "triggered_mono", "sent_mono", "image_state",
        )
    ]  # fmt: skip
    query = (
        sa.select(*wanted)
        .where(parts.c.station == station, parts.c.decision.is_not(None))
        .order_by(parts.c.id.desc())
        .limit(limit)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def latest_judged(connection: sa.Connection, station: str, limit: int) -> list[Values]:
    """Return the latest FAIL parts of a station of which people have said the last word, newest first.

    Only the 5000 latest parts that are judged at all are looked at. What a first person said while a second
    one must still look is not among them.
    """
    columns = [
        reviews.c[name] for name in ("record", "station", "decision", "verdict", "triggered_at")
    ]
    latest = (
        sa.select(*columns)
        .where(reviews.c.state == "done")
        .order_by(reviews.c.record.desc())
        .limit(_LATEST)
        .subquery()
    )
    said = (Verdict.REAL_DEFECT.value, Verdict.FALSE_CALL.value, Verdict.BORDERLINE.value)
    query = (
        sa.select(latest.c.record.label("id"), latest.c.verdict, latest.c.triggered_at)
        .where(
            latest.c.station == station,
            latest.c.decision == Decision.FAIL.value,
            latest.c.verdict.in_(said),
        )
        .order_by(latest.c.record.desc())
        .limit(limit)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def compute_overruled(rows: Sequence[Values], rules: Rules) -> list[Computed]:
    """Return the alarm of false calls that follows from `latest_judged`, newest first. Pure."""
    window = rows[: rules.overrule_window]
    if not rules.overrule_percent or len(window) < rules.overrule_window:
        return []
    overruled = [row for row in window if row["verdict"] == Verdict.FALSE_CALL.value]
    percent = 100 * len(overruled) / len(window)
    if percent < rules.overrule_percent:
        return []
    first = overruled[-1]
    return [Computed(OVERRULE_RATE, first["id"], first["triggered_at"], percent)]


def compute(rows: Sequence[Values], rules: Rules) -> list[Computed]:
    """Return the alarms that follow from the latest parts, given newest first. Pure."""
    found: list[Computed] = []
    run: list[Values] = []
    for row in rows:
        if row["decision"] != Decision.FAIL.value:
            break
        run.append(row)
    if rules.repeated and len(run) >= rules.repeated:
        first = run[-1]
        found.append(Computed(REPEATED_NG, first["id"], first["triggered_at"], len(run)))
    window = rows[: rules.window]
    if rules.rate_percent and rules.window and len(window) >= rules.window:
        failed = [row for row in window if row["decision"] == Decision.FAIL.value]
        percent = 100 * len(failed) / len(window)
        if percent >= rules.rate_percent:
            first = failed[-1]
            found.append(Computed(NG_RATE, first["id"], first["triggered_at"], percent))
    return found


def is_shelved(until: str | None) -> bool:
    """Tell whether an alarm that was put aside until then is aside now.

    One that would stay so longer than `LONGEST_SHELF` was put aside while the clock was ahead: it is not.
    """
    return until is not None and after(0) < until <= after(LONGEST_SHELF + AHEAD)


def acknowledge(connection: sa.Connection, alarm: int, who: str, note: str, shelve: float) -> None:
    """Acknowledge the alarm that came with this row; again replaces note and shelf.

    Args:
        connection: from `WebStore.write`.
        alarm: id of the row with which it came.
        who: login name.
        note: may be empty.
        shelve: seconds for which it is put aside, at most `LONGEST_SHELF`; 0: not.

    Raises:
        StoreError: there is no such alarm.
    """
    query = sa.select(alarms.c.station, alarms.c.reason).where(
        alarms.c.id == alarm, alarms.c.on.is_(True)
    )
    row = connection.execute(query).first()
    if row is None:
        raise StoreError(f"there is no alarm {alarm}; reload the page")
    values: Values = {
        "alarm": alarm,
        "who": who,
        "at": utc_now(),
        "note": note,
        "shelved_until": after(shelve) if shelve else None,
    }
    connection.execute(sa.delete(alarm_acks).where(alarm_acks.c.alarm == alarm))
    connection.execute(sa.insert(alarm_acks), values)
    audit.append(
        connection, who, "alarm.acknowledged", f"station:{row.station}",
        alarm=alarm, reason=row.reason, note=note, shelved_until=values["shelved_until"],
    )  # fmt: skip


def acknowledge_computed(
    connection: sa.Connection,
    station: str,
    code: str,
    record: int,
    who: str,
    note: str,
    shelve: float,
) -> None:
    """Acknowledge a computed alarm; it comes again when it is not the same any more."""
    value = {"record": record, "note": note, "shelved_until": after(shelve) if shelve else None}
    _set(connection, _ack_name(station, code), value, who)
    audit.append(connection, who, "alarm.acknowledged", f"station:{station}", reason=code, **value)


def computed_acknowledgement(
    connection: sa.Connection, station: str, alarm: Computed
) -> Values | None:
    """Return the acknowledgement of this computed alarm, None without one."""
    row = _get(connection, _ack_name(station, alarm.code))
    if row is None or row["value"].get("record", 0) < alarm.record:
        return None
    return {**row["value"], "who": row["who"], "at": row["at"]}


def rules(connection: sa.Connection) -> Rules:
    """Return the rules in force."""
    row = _get(connection, _SETTING)
    return Rules() if row is None else Rules(**row["value"])


def set_rules(connection: sa.Connection, chosen: Rules, who: str) -> None:
    """Change the rules."""
    before = asdict(rules(connection))
    _set(connection, _SETTING, asdict(chosen), who)
    audit.append(connection, who, "setting.changed", _SETTING, before=before, now=asdict(chosen))


def _ack_name(station: str, code: str) -> str:
    return f"line.acknowledged/{station}/{code}"


def _get(connection: sa.Connection, name: str) -> Any:
    return connection.execute(sa.select(settings).where(settings.c.name == name)).mappings().first()


def _set(connection: sa.Connection, name: str, value: Values, who: str) -> None:
    connection.execute(sa.delete(settings).where(settings.c.name == name))
    row: Values = {"name": name, "value": value, "who": who, "at": utc_now()}
    connection.execute(sa.insert(settings), row)
