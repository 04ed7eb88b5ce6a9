"""Watch: one thread that looks at the line's files and the store, for all browsers together.

    LIVE/*.json   four times a second ──┐
    store         once a second ────────┴─▶ Look: what is known now, replaced as a whole

When the store is another one than before (put aside, restored), everything is read anew.
Ten browsers cost the line no more than one. The thread starts when somebody first looks.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from inspection.errors import StoreError
from inspection.readiness import FAULTS
from inspection.store.outbox_standing import Standing, standings
from inspection.store.rows import Values
from inspection.store.web import alarms, commands, settings
from inspection.store.web.alarms import Computed, Followed, Rules, is_shelved
from inspection.store.web.commands import Control
from inspection.store.web.people import after
from inspection.store.web.place import Place, place_of
from inspection.types import Reason
from inspection_serve.web.line.state import LiveState, read_state, stations_in
from inspection_serve.web.quality.period import DEFAULT_SHIFTS, SHIFTS, running_shift
from inspection_serve.web.site import Site

FILES_EVERY, STORE_EVERY, NAMES_EVERY = 0.25, 1.0, 10.0
BEAT = 1.0
"""Seconds between two looks that show nothing new but the ages."""
STALE = 2.0
"""Seconds without news of the line after which what is shown is called old."""
STRIP = 12
"""Parts that the strip shows."""
_GONE_FOR = 12 * 3600.0
_KEPT = {
    reason.name
    for reason in (
        *FAULTS,
        Reason.PICTURES_LOST,
        Reason.PLC_NO_ACK,
        Reason.UPWARD_LATE,
        Reason.UPWARD_REFUSED,
    )
}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm of a station.

    Attributes:
        key: `row:ID` or `rule:CODE`; names it in the API.
        code: a reason's name, `REPEATED_NG`, `NG_RATE` or `OVERRULE_RATE`.
        on: its cause still holds.
        at: UTC, when it came.
        detail: as the line or the rule says.
        record: the part with which it began, 0 for none.
        who: who acknowledged it; empty for nobody.
        acknowledged_at: UTC.
        note: of the acknowledgement.
        shelved_until: UTC; None when not put aside.
    """

    key: str
    code: str
    on: bool
    at: str
    detail: str
    record: int = 0
    who: str = ""
    acknowledged_at: str | None = None
    note: str = ""
    shelved_until: str | None = None

    @property
    def shelved(self) -> bool:
        """It is put aside now."""
        return is_shelved(self.shelved_until)


@dataclass(frozen=True, slots=True)
class StationLook:
    """What is known of one station.

    Attributes:
        name: of the station.
        state: as the line wrote it last; None when it never did.
        age: seconds since the line's last news; None when there never were any.
        parts: the latest parts, newest first.
        alarms: on, or gone and not acknowledged; newest first.
        control: who holds it.
        command: the newest command.
        shift: name of the shift that runs now.
        upward: how the destinations stand that it tells upward.
    """

    name: str
    state: LiveState | None = None
    age: float | None = None
    parts: tuple[Values, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    control: Control | None = None
    command: Values | None = None
    shift: str = ""
    upward: tuple[Standing, ...] = ()

    @property
    def stale(self) -> bool:
        """The line says nothing (any more), or its loop hangs."""
        return (
            self.age is None
            or self.age > STALE
            or (self.state is not None and self.state.loop_age > STALE)
        )


@dataclass(frozen=True, slots=True)
class Look:
    """What is known of all stations.

    Attributes:
        stations: by name, in order.
        store_down: what is wrong with the store; empty when it can be read.
        number: counts the looks that showed something new, and one each second in any case.
        told: events of this look as they were sent; what is the same for several browsers is made once.
    """

    stations: dict[str, StationLook] = field(default_factory=dict)
    store_down: str = ""
    number: int = 0
    told: dict[tuple[object, ...], str] = field(default_factory=dict, compare=False)


class Watch:
    """Looks for everybody. `look` may be called from any thread."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._look = Look()
        self._news: dict[str, tuple[tuple[float, str], float]] = {}
        self._names: list[str] = []
        self._names_due = self._store_due = self._beat_due = 0.0
        self._followed = Followed()
        self._place: Place = ()
        self._rules = Rules()
        self._judged: dict[str, list[Values]] = {}
        self._shifts: object = DEFAULT_SHIFTS
        self._stop = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def rules(self) -> Rules:
        """The rules in force, as read last."""
        return self._rules

    def look(self) -> Look:
        """Return what is known now. The first call looks itself, then the thread does."""
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._once()
                    self._thread = threading.Thread(target=self._run, name="line", daemon=True)
                    self._thread.start()
                    self._site.on_close.append(self.close)
        return self._look

    def refresh(self) -> None:
        """Read the store at the next turn: somebody has changed something."""
        self._store_due = 0.0

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(5)

    def _run(self) -> None:
        while not self._stop.wait(FILES_EVERY):
            try:
                self._once()
            except Exception:  # the boundary: the next look may be better
                _log.exception("looking at the line failed")

    def _once(self) -> None:
        now = time.monotonic()
        look = self._look
        if now >= self._store_due:
            self._store_due = now + STORE_EVERY
            try:
                look = replace(look, stations=self._read_store(now), store_down="")
            except StoreError as error:
                look = replace(look, store_down=str(error))
        stations = {name: self._with_state(found, now) for name, found in look.stations.items()}
        for name in stations_in(self._site.live):
            if name not in stations:  # it writes, but not into this store yet, or the store is down
                stations[name] = self._with_state(StationLook(name), now)
        before = self._look
        new = look.store_down != before.store_down or _ageless(stations) != _ageless(
            before.stations
        )
        if new or now >= self._beat_due:
            self._beat_due = now + BEAT
            self._look = Look(stations, look.store_down, before.number + 1)

    def _with_state(self, found: StationLook, now: float) -> StationLook:
        state = read_state(self._site.live, found.name)
        if state is None:
            return replace(found, state=None, age=None)
        news, seen = self._news.get(found.name, (None, 0.0))
        if news != (state.mono, state.at):
            # a file found at the start may be old: its label is all that is known of it
            age = 0.0 if news is not None else max(0.0, _label_age(state.at))
            seen = now - age
            self._news[found.name] = (state.mono, state.at), seen
        age = now - seen
        return replace(found, state=state, age=age)

    def _forget_another_store(self, place: Place) -> None:
        """Forget what was read where the store is not any more: in a backup ids come again."""
        if place != self._place:
            self._place = place
            self._followed, self._names_due = Followed(), 0.0

    def _read_store(self, now: float) -> dict[str, StationLook]:
        file = self._site.store.file
        with self._site.store.read("looking at the line") as connection:
            self._forget_another_store(place_of(connection, file))
            if now >= self._names_due:
                self._names = alarms.stations(connection)
                self._rules = alarms.rules(connection)
                self._shifts = settings.read(connection, SHIFTS, DEFAULT_SHIFTS)
                self._judged = {
                    name: alarms.latest_judged(connection, name, self._rules.overrule_window)
                    for name in self._names
                }
                self._names_due = now + NAMES_EVERY
            came = self._followed.look(connection)
            held = commands.holders(connection)
            acknowledged = alarms.acknowledgements(connection, [row["id"] for row in came.values()])
            upward = standings(connection)
            found: dict[str, StationLook] = {}
            for name in self._names:
                parts = alarms.latest_parts(
                    connection, name, max(STRIP + 1, self._rules.window, self._rules.repeated)
                )
                listed = _listed(name, came, acknowledged)
                overruled = alarms.compute_overruled(self._judged.get(name, []), self._rules)
                for computed in [*alarms.compute(parts, self._rules), *overruled]:
                    done = alarms.computed_acknowledgement(connection, name, computed)
                    listed.append(_rule_alarm(computed, done))
                found[name] = StationLook(
                    name,
                    parts=tuple(parts[: STRIP + 1]),
                    alarms=tuple(sorted(listed, key=lambda alarm: alarm.at, reverse=True)),
                    control=held.get(name),
                    command=commands.latest(connection, name),
                    shift=running_shift(self._shifts, datetime.now(UTC)),
                    upward=tuple(one for one in upward if one.station == name),
                )
        return found

    def rules_changed(self) -> None:
        """Read names and rules anew at the next turn."""
        self._names_due = 0.0
        self.refresh()


def _listed(
    station: str, came: dict[tuple[str, str], Values], acknowledged: dict[int, Values]
) -> list[Alarm]:
    """Return the alarms of a station that are on, and those that are gone but should still be seen."""
    listed: list[Alarm] = []
    recent = after(-_GONE_FOR)
    for (name, reason), row in came.items():
        done = acknowledged.get(row["id"])
        if name != station:
            continue
        if row["gone"] and (done is not None or reason not in _KEPT or row["at"] < recent):
            continue
        listed.append(_line_alarm(row, done))
    return listed


def _ageless(stations: dict[str, StationLook]) -> list[StationLook]:
    return [replace(found, age=float(found.stale)) for found in stations.values()]


def _line_alarm(row: Values, done: Values | None) -> Alarm:
    alarm = Alarm(f"row:{row['id']}", row["reason"], not row["gone"], row["at"], row["detail"])
    if done is None:
        return alarm
    return replace(
        alarm,
        who=done["who"],
        acknowledged_at=done["at"],
        note=done["note"],
        shelved_until=done["shelved_until"],
    )


def _rule_alarm(computed: Computed, done: Values | None) -> Alarm:
    alarm = Alarm(
        f"rule:{computed.code}",
        computed.code,
        on=True,
        at=computed.at,
        detail=f"{computed.number:g}",
        record=computed.record,
    )
    if done is None:
        return alarm
    return replace(
        alarm,
        who=done["who"],
        acknowledged_at=done["at"],
        note=done["note"],
        shelved_until=done["shelved_until"],
    )


def _label_age(at: str) -> float:
    try:
        return (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()
    except (ValueError, TypeError):
        return float("inf")
