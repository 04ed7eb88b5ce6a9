"""Lateness: a destination that is behind for too long is an alarm of the station, for people.

    standings ─▶ who is late, who refuses ─▶ rows of `alarms`, when those are others than before
                                                  └▶ outbox: told upward like every alarm, to all

The alarm goes when a destination has caught up: the alarm's own message never raises it again. What is on
is read from the store: a restart of this process raises nothing twice, and where the line ended all alarms
at its own start, what still holds comes again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from inspection.store.outbox_standing import Standing
from inspection.store.rows import Values
from inspection.store.web.access import WebStore
from inspection.store.web.alarms import Followed
from inspection.store.web.place import Place, place_of
from inspection.store.writes import alarm_values, insert_alarm
from inspection.types import Reason
from inspection_serve.upward.link import LinkConfig

REST = 60.0
"""Seconds between two times that an alarm comes, at least: one that comes and goes tells no stories."""
_ENDS_AT = 0.5
"""Share of a limit below which a destination has caught up."""


@dataclass(slots=True)
class _Known:
    """What is known of one alarm.

    Attributes:
        names: destinations that it names; empty: it is off.
        came: monotonic seconds, when this process raised it last.
    """

    names: set[str] = field(default_factory=set[str])
    came: float = float("-inf")


class Lateness:
    """The two alarms about a station's destinations. Used by one thread."""

    def __init__(self, station: str, links: Sequence[LinkConfig]) -> None:
        self._station = station
        self._links = {link.name: link for link in links}
        self._away: dict[str, float] = {}
        self._alarms = {Reason.UPWARD_LATE: _Known(), Reason.UPWARD_REFUSED: _Known()}
        self._followed = Followed()
        self._place: Place = ()

    def look(self, store: WebStore, standings: Sequence[Standing]) -> None:
        """Raise and end the alarms, as the destinations stand now.

        Args:
            store: of the station.
            standings: of its destinations.

        Raises:
            StoreError: the store cannot be used; the next look tries again.
        """
        now = time.monotonic()
        self._follow(standings, now)
        self._know(store)
        late = {one.destination for one in standings if self._is_late(one, now)}
        refused = {one.destination for one in standings if one.quarantined}
        self._tell(store, {Reason.UPWARD_LATE: late, Reason.UPWARD_REFUSED: refused}, now)

    def _follow(self, standings: Sequence[Standing], now: float) -> None:
        """Remember since when each one is away: a night without parts leaves no message that gets old."""
        away = {one.destination for one in standings if one.attempts}
        self._away = {name: self._away.get(name, now) for name in away}

    def _is_late(self, one: Standing, now: float) -> bool:
        link = self._links.get(one.destination)
        if link is None:  # the line's file has it, ours is older: nobody sends
            return one.late
        away = self._away.get(one.destination)
        was = one.destination in self._alarms[Reason.UPWARD_LATE].names
        if was and away is not None:
            return True
        share = _ENDS_AT if was else 1.0
        return (
            (away is not None and now - away > link.patience)
            or (one.oldest_age or 0.0) > share * link.patience
            or one.waiting >= share * link.behind
        )

    def _know(self, store: WebStore) -> None:
        """Read which alarms are on; in a backup that was put back, others may be."""
        file = store.file
        with store.read("reading alarms") as connection:
            place = place_of(connection, file)
            if place != self._place:
                self._followed, self._place = Followed(), place
            found = self._followed.look(connection)
        for reason, known in self._alarms.items():
            known.names = _named(found.get((self._station, reason.name)))

    def _tell(self, store: WebStore, wanted: Mapping[Reason, set[str]], now: float) -> None:
        """Write a row for each alarm that names others than before."""
        for reason, names in wanted.items():
            known = self._alarms[reason]
            if names == known.names or (names and now - known.came < REST):
                continue
            text = ", ".join(sorted(names))
            values = alarm_values(self._station, reason, text, on=bool(names))
            with store.write(f"alarm {reason.name}") as connection:
                insert_alarm(connection, values)
            known.names = names
            if names:
                known.came = now


def _named(row: Values | None) -> set[str]:
    """Return the destinations that an alarm names; none where it has gone."""
    if row is None or row["gone"]:
        return set()
    return set(filter(None, str(row["detail"]).split(", ")))
