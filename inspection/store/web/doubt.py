"""Which passed parts are in doubt: all from one on, or from a time, in the order in which they were made.

    missed part ─▶ last_good ─▶ first_after ─┐
    a time ──────────────────▶ first_since ──┴▶ records, up to last_until ─▶ in_doubt, by lot

That order is the order of records: at a station they are counted up, whatever the clock says. A plant counts
parts as they are told, and one may be told late; there epoch and sequence say which came first. Times are
labels: the clock is set back, or starts in a year that was. Where a time is all there is, every part that may
belong to it is taken, rather too many than one too few.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from inspection.store.plant.tables import is_plant
from inspection.store.rows import Values
from inspection.store.tables import parts
from inspection.store.web.kinds import PARTS, REVIEWS, Span, among, newest, numbers, oldest
from inspection.store.web.plan import kinds_that_match
from inspection.store.web.search import CHUNKS, Search, kinds_like
from inspection.store.web.story import ALIKE, part_at
from inspection.store.web.tables import reviews
from inspection.types import Decision, Verdict

LOTS = 500
"""Lots named one by one when parts must be sorted again."""
COMPARED = 2_000_000
"""Records of which each is compared with the one before; among more it takes longer than people wait."""
LOOKED = sum(CHUNKS)
"""Confirmed parts that are looked at for the last good one."""


@dataclass(frozen=True, slots=True)
class InDoubt:
    """Passed parts of a station, between two records.

    Attributes:
        number: of parts.
        first: record of the first; None: there is none.
        last: record of the last.
        earliest: the earliest time of a part; not always that of the first.
        latest: the latest.
        odd: so many have a time that does not fit their place: before that of the part before (not looked
            at among more than `COMPARED` records), or outside of the time that was asked for.
        lots: those of `LOTS` with the most parts: serial and the same values, the lowest record first.
    """

    number: int
    first: int | None
    last: int | None
    earliest: str | None
    latest: str | None
    odd: int
    lots: list[Values]


def last_missed(connection: sa.Connection, station: str) -> int | None:
    """Return the station's newest passed part of which people said that a defect was missed."""
    kinds = _judged(connection, station, Verdict.MISSED)
    query = sa.select(sa.func.max(_plain(reviews.c.record)))
    found = connection.execute(query.where(among(connection, REVIEWS, kinds))).scalar()
    return None if found is None else int(found)


def last_good(connection: sa.Connection, part: Values) -> Values | None:
    """Return the last passed part before this one that people confirmed to be good, judged alike; else None.

    Alike: all of `ALIKE` is the same. A good part that other limits, another region or another model let
    pass tells nothing of this one. Where it is not known what judged the part, no other is alike. The latest
    `LOOKED` confirmed parts of the same recipe number and release are looked at, none before.

    Args:
        connection: from `WebStore.read`.
        part: from `story.part_at`.
    """
    if not part["recipe_sha256"] or not part["model_sha256"]:
        return None
    asked = {"recipe_number": part["recipe_number"], "release": part["release"]}
    kinds = _judged(connection, part["station"], Verdict.FALSE_CALL, **asked)
    alike = [parts.c[name] == part[name] for name in ALIKE]
    order: tuple[sa.Column[int], ...] = (parts.c.id,)
    if is_plant(connection):
        order = (parts.c.epoch, parts.c.sequence)
        alike.append(_place() < _place_of(part))
    below, record = int(part["id"]), _plain(reviews.c.record)
    for size in CHUNKS:
        query = sa.select(reviews.c.record).where(among(connection, REVIEWS, kinds), record < below)
        found = connection.execute(query.order_by(record.desc()).limit(size)).scalars()
        records = [int(one) for one in found]
        query = sa.select(parts.c.id).where(numbers(connection, records), *alike)
        good = connection.execute(query.order_by(*(c.desc() for c in order)).limit(1)).scalar()
        if good is not None:
            who = sa.select(reviews.c.who).where(reviews.c.record == good)
            return part_at(connection, int(good)) | {"who": connection.execute(who).scalar()}
        if len(records) < size:
            break
        below = records[-1]
    return None


def first_after(connection: sa.Connection, part: Values) -> int:
    """Return the record from which on everything that the station made after this part is found.

    At a plant with parts that were told late, some of before are found as well, or this one itself.
    """
    record = int(part["id"])
    if not is_plant(connection):
        return record + 1
    later = sa.select(parts.c.id).where(
        parts.c.station == part["station"],
        _place() > _place_of(part),
        _plain(parts.c.id) < record,
    )
    found = later.cte("later").prefix_with("MATERIALIZED", dialect="postgresql")
    early = connection.execute(sa.select(sa.func.min(found.c.id))).scalar()
    return record + 1 if early is None else int(early)


def first_since(connection: sa.Connection, station: str, since: str) -> int:
    """Return the record from which on every passed part is found that may be of this time or later.

    It is the first that says so itself; or the one after the latest that says it is older: what comes between
    the two has a clock that was set back. Where the clock was set back in the day before, it may have been
    slow from there on, and that is where it begins. A clock that was slow all the time is not seen.
    """
    kinds = _passed(connection, station)
    query = sa.select(sa.func.min(_plain(parts.c.id))).where(
        among(connection, PARTS, kinds), parts.c.triggered_at >= since
    )
    first = connection.execute(query).scalar()
    older = newest(connection, PARTS, kinds, Span(until=since), 1)
    found = [record + 1 for _, record in older] + ([] if first is None else [int(first)])
    begin = min(found, default=1)
    return min(begin, _set_back(connection, kinds, since, begin) or begin)


def _set_back(connection: sa.Connection, kinds: list[str], since: str, before: int) -> int | None:
    """Return the first part below a record, in the day before a time, with an earlier time than the last."""
    at = parts.c.triggered_at
    day = (datetime.fromisoformat(since) - timedelta(days=1)).isoformat(timespec="microseconds")
    each = (
        sa.select(parts.c.id, at, sa.func.lag(at).over(order_by=parts.c.id).label("last"))
        .where(among(connection, PARTS, kinds), at >= day, at < since, _plain(parts.c.id) < before)
        .subquery()
    )
    query = sa.select(sa.func.min(each.c.id)).where(each.c.triggered_at < each.c.last)
    found = connection.execute(query).scalar()
    return None if found is None else int(found)


def last_until(connection: sa.Connection, station: str, until: str) -> int | None:
    """Return the record up to which every passed part is found that may be of before this time.

    None: all of them. As `first_since`: up to the last that says so itself, or to the one before the earliest
    that says it is younger.
    """
    kinds = _passed(connection, station)
    earliest = oldest(connection, PARTS, kinds, until)
    if earliest is None:
        return None
    older = sa.select(parts.c.id).where(
        parts.c.station == station,
        parts.c.decision == Decision.PASS.value,
        parts.c.triggered_at + ""
        < until,  # by record: an index of times would lead past all that is older
    )
    last = connection.execute(older.order_by(parts.c.id.desc()).limit(1)).scalar()
    return max(earliest - 1, int(last or 0))


def in_doubt(
    connection: sa.Connection,
    station: str,
    first: int,
    last: int | None,
    since: str | None = None,
    until: str | None = None,
) -> InDoubt:
    """Return the passed parts of a station from one record to another, both included, counted by lot.

    Args:
        connection: from `WebStore.read`.
        station: name.
        first: record; from `first_after` or `first_since`.
        last: record; None: the newest.
        since: UTC; a time before it is odd. That which was given, or that of the good part.
        until: UTC; a time that is not before it is odd.
    """
    conditions = [
        parts.c.station == station,
        parts.c.decision == Decision.PASS.value,
        parts.c.id >= first,
    ]
    conditions += [] if last is None else [parts.c.id <= last]
    at = parts.c.triggered_at
    end = last or connection.execute(sa.select(sa.func.max(parts.c.id))).scalar() or 0
    odd = [at < sa.func.lag(at).over(order_by=parts.c.id)] if end - first < COMPARED else []
    odd += [] if since is None else [at < since]
    odd += [] if until is None else [at >= until]
    is_odd = sa.case((sa.or_(sa.false(), *odd), 1), else_=0).label("odd")
    each = sa.select(parts.c.id, parts.c.serial, at, is_odd).where(*conditions).subquery()
    lots = [dict(row) for row in connection.execute(_by_lot(each)).mappings()]
    if not lots:
        return InDoubt(0, None, None, None, None, 0, [])
    whole = {name: lots[0][f"all_{name}"] for name in _WHOLE}
    lots = [{name: lot[name] for name in ("serial", *_WHOLE)} for lot in lots]
    return InDoubt(**whole, lots=sorted(lots, key=lambda lot: int(lot["first"])))


_WHOLE = {
    "number": sa.func.sum, "first": sa.func.min, "last": sa.func.max, "earliest": sa.func.min,
    "latest": sa.func.max, "odd": sa.func.sum,
}  # fmt: skip
"""What is told of each lot, and how it is put together for all of them."""


def _by_lot(each: sa.Subquery) -> sa.Select[Any]:
    """Count parts by lot; each row has the values of all lots, too: the parts are looked at once."""
    lots = (
        sa.select(
            each.c.serial,
            sa.func.count().label("number"),
            sa.func.min(each.c.id).label("first"),
            sa.func.max(each.c.id).label("last"),
            sa.func.min(each.c.triggered_at).label("earliest"),
            sa.func.max(each.c.triggered_at).label("latest"),
            sa.func.sum(each.c.odd).label("odd"),
        )
        .group_by(each.c.serial)
        .subquery()
    )
    whole = [
        sa.cast(put(lots.c[name]).over(), sa.BigInteger).label(f"all_{name}")
        if name in ("number", "odd")  # PostgreSQL adds large numbers up to a decimal one
        else put(lots.c[name]).over().label(f"all_{name}")
        for name, put in _WHOLE.items()
    ]
    return sa.select(lots, *whole).order_by(lots.c.number.desc(), lots.c.serial).limit(LOTS)


def _passed(connection: sa.Connection, station: str) -> list[str]:
    return kinds_like(connection, Search(station=station, decision=Decision.PASS.value))


def _judged(connection: sa.Connection, station: str, verdict: Verdict, **asked: Any) -> list[str]:
    """Return the kinds of reviews of passed parts about which that is the last word."""
    wanted = Search(
        station=station,
        decision=Decision.PASS.value,
        review="done",
        verdict=verdict.value,
        **asked,
    )
    return kinds_that_match(connection, REVIEWS, wanted)


def _place() -> Any:
    """Return what says at a plant which of a station's parts came first."""
    return sa.tuple_(parts.c.epoch, parts.c.sequence)


def _place_of(part: Values) -> Any:
    return sa.tuple_(sa.literal(part["epoch"]), sa.literal(part["sequence"]))


def _plain(record: sa.Column[int]) -> sa.ColumnElement[int]:
    """Return a record by which no table is walked: the index of the other conditions is the short way."""
    return record + 0
