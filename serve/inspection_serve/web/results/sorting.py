"""Which passed parts must be looked at again: since the last good check, until now or the repair.

a time, or a part  ─┐
the missed part ────┴▶ last passed part that people confirmed good ─▶ passed parts from there, by lot

That part must have been judged by the recipe and the model of the missed one: a good part of another
recipe, or of other limits, tells nothing of it. All passed parts of the station from there are in doubt,
those of other recipes too: what spoiled one may have spoiled all. "Before" and "from there" are by record,
not by time: a clock that was set back makes later parts look older.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from inspection.store.rows import Values
from inspection.store.web import doubt, story
from inspection.store.web.access import WebStore
from inspection.store.web.search import SearchError
from inspection_serve.web.pages import language_of
from inspection_serve.web.results.asked import Asked, Moment, Record, Text, label


def _mark(message: str) -> str:
    """Mark a text for the catalogue where it is translated later."""
    return message


class AskedSorting(BaseModel):
    """From where to where. Name one of `since`, `good` and `missed`; none: the newest missed part."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    station: Text = Field(None, description="name of the station")
    since: Moment = Field(
        None, description="parts were good up to this time; local when without a zone"
    )
    good: Record = Field(None, description="record of a part that was checked and good")
    missed: Record = Field(
        None,
        description="record of a passed part that was bad: from the last confirmed good part before it that "
        "the same recipe and model judged",
    )
    until: Moment = Field(None, description="the fault was mended at this time; none: now")


class Lot(BaseModel):
    """Passed parts of one lot or serial."""

    serial: str = Field(description="lot or serial; empty: the PLC gave none")
    number: int = Field(description="passed parts")
    first_at: str = Field(description="the earliest time of them, UTC")
    last_at: str = Field(description="the latest time of them, UTC")

    @classmethod
    def of(cls, lot: Values) -> Lot:
        """Return the answer of a lot of `doubt.InDoubt`."""
        return cls(
            serial=lot["serial"],
            number=lot["number"],
            first_at=lot["earliest"],
            last_at=lot["latest"],
        )


class Sorting(BaseModel):
    """What must be sorted again, and how that was found."""

    station: str = Field(description="name of the station")
    chosen: str = Field(
        description="how the start was found: time, part, confirmed; beginning: no confirmed part was found "
        "that the same recipe and model judged"
    )
    good: int | None = Field(
        description="record of the part that was good; the list begins after it"
    )
    good_at: str | None = Field(description="when it was triggered, UTC")
    good_who: str | None = Field(description="who confirmed it")
    missed: int | None = Field(description="record of the part that was missed; it is in the list")
    recipe: int | None = Field(description="recipe that judged the part that was missed")
    release: str | None = Field(description="release that judged it; none: no model did")
    since: str | None = Field(
        description="the time that was given as the start, UTC; none: none was"
    )
    until: str | None = Field(description="the time that was given as the end, UTC; none: now")
    number: int = Field(description="passed parts, by their records and whatever their times say")
    first: int | None = Field(description="record of the first; none: there is none")
    last: int | None = Field(description="record of the last")
    earliest: str | None = Field(description="the earliest time of a part, UTC")
    latest: str | None = Field(description="the latest time of a part, UTC")
    odd: int = Field(
        description="so many parts have a time that does not fit their place: the clock was wrong"
    )
    lots: list[Lot] = Field(description="by lot, that of the lowest record first; at most 500")
    export: str = Field(
        description="the search that lists them, as the query of an address; empty: there is none"
    )


@dataclass(frozen=True, slots=True)
class _Start:
    chosen: str
    first: int
    since: str | None = None
    good: int | None = None
    at: str | None = None
    who: str | None = None
    missed: int | None = None
    recipe: int | None = None
    release: str | None = None


def answer(store: WebStore, asked: AskedSorting) -> Sorting:
    """Return what must be sorted again.

    Raises:
        SearchError: no station, more than one start, or a part that is not there or not of this station.
    """
    if not asked.station:
        raise SearchError(_mark("Choose a station."))
    if sum(value is not None for value in (asked.since, asked.good, asked.missed)) > 1:
        raise SearchError(_mark("Give one start only: a time, a good part or a missed part."))
    until, since, station = label(asked.until), label(asked.since), asked.station
    end_first = SearchError(_mark("The end is before the start; change one of the two."))
    if until is not None and since is not None and until <= since:
        raise end_first
    with store.read("what must be sorted again") as connection:
        start = _start(connection, asked, station)
        last = None if until is None else doubt.last_until(connection, station, until)
        found = doubt.in_doubt(
            connection, station, start.first, last, start.since or start.at, until
        )
    if until is not None and start.at is not None and until <= start.at and not found.number:
        raise end_first
    return Sorting(
        station=station,
        chosen=start.chosen,
        good=start.good,
        good_at=start.at,
        good_who=start.who,
        missed=start.missed,
        recipe=start.recipe,
        release=start.release,
        since=start.since,
        until=until,
        number=found.number,
        first=found.first,
        last=found.last,
        earliest=found.earliest,
        latest=found.latest,
        odd=found.odd,
        lots=[Lot.of(lot) for lot in found.lots],
        export=_search(station, found),
    )


def _search(station: str, found: doubt.InDoubt) -> str:
    """Return the search for the same parts: their records say which, their times where to look.

    In whole seconds: the form of the results takes no others.
    """
    if found.earliest is None or found.latest is None:
        return ""
    since, latest = (
        datetime.fromisoformat(at).replace(microsecond=0) for at in (found.earliest, found.latest)
    )
    asked = {"since": since, "until": latest + timedelta(seconds=1), "station": station}
    asked |= {"decision": "PASS", "first": found.first, "last": found.last}
    return Asked.model_validate(asked).query()


def _start(connection: Any, asked: AskedSorting, station: str) -> _Start:
    if (since := label(asked.since)) is not None:
        return _Start("time", doubt.first_since(connection, station, since), since)
    if asked.good is not None:
        row = _of_station(connection, asked.good, station)
        first = doubt.first_after(connection, row)
        return _Start("part", first, good=asked.good, at=row["triggered_at"])
    missed = asked.missed
    if missed is None:
        missed = doubt.last_missed(connection, station)
    if missed is None:
        raise SearchError(
            _mark(
                "No passed part of this station was found to be bad; give a time, a good part or a "
                "missed part."
            )
        )
    row = _of_station(connection, missed, station)
    told: dict[str, Any] = {
        "missed": missed, "recipe": row["recipe_number"], "release": row["release"]
    }  # fmt: skip
    good = doubt.last_good(connection, row)
    if good is None:
        return _Start("beginning", 1, **told)
    told |= {"good": good["id"], "at": good["triggered_at"], "who": good["who"]}
    return _Start("confirmed", doubt.first_after(connection, good), **told)


def _of_station(connection: Any, record: int, station: str) -> dict[str, Any]:
    row = story.part_at(connection, record)
    if row["station"] != station:
        raise SearchError(
            _mark("Record {record} is a part of station {station}; choose that one."),
            record=record,
            station=row["station"],
        )
    return row


def sentence(request: Request, found: Sorting) -> str:
    """Return in words how the start was found."""
    language = language_of(request)
    _, when = language.text, language.when
    if found.chosen == "time":
        return _("You gave the time: {at}.", at=when(found.since))
    if found.chosen == "part":
        return _(
            "You gave part {record} of {at} as the last good one.",
            record=found.good,
            at=when(found.good_at),
        )
    judged = {"recipe": _or_dash(found.recipe), "release": _or_dash(found.release)}
    if found.chosen == "confirmed":
        return _(
            "Part {missed} passed and was bad. The last passed part before it that the same recipe and model "
            "judged ({recipe}, {release}, with the same limits) and that people confirmed to be good is "
            "{record} of {at} ({who}). Everything after it is in doubt, parts of other recipes too.",
            missed=found.missed,
            record=found.good,
            at=when(found.good_at),
            who=found.good_who or "–",
            **judged,
        )
    return _(
        "Part {missed} passed and was bad. Of the passed parts before it that the same recipe and model "
        "judged ({recipe}, {release}, with the same limits) none was found that people confirmed to be good; "
        "at most {looked} confirmed parts were looked at. Everything from the first part on is in doubt, "
        "parts of other recipes too.",
        missed=found.missed,
        looked=language.number(doubt.LOOKED),
        **judged,
    )


def _or_dash(value: int | str | None) -> str:
    return "–" if value is None else str(value)
