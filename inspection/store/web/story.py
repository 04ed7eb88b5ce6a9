"""One part's story: its row, what people said and did; and where parts were last known to be good."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from inspection.store.rows import Values
from inspection.store.tables import MAX_RECORD, parts, verdicts
from inspection.store.web import audit
from inspection.store.web.kinds import PARTS, REVIEWS, Span, among, newest, numbers
from inspection.store.web.plan import kinds_that_match
from inspection.store.web.search import CHUNKS, Search, SearchError, kinds_like
from inspection.store.web.tables import reviews
from inspection.types import Decision, Verdict

LOTS = 500
"""Lots named one by one when parts must be sorted again."""
LOOKED = sum(CHUNKS)
"""Confirmed parts that are looked at for the last good one."""


@dataclass(frozen=True, slots=True)
class Story:
    """Everything that the store holds of one part.

    Attributes:
        row: of `parts`.
        review: of `reviews`; None: nobody was asked.
        verdicts: oldest first, without those that the reader must not know yet.
        audit: oldest first, likewise.
        hidden: so many verdicts the reader must not know yet.
        before: the station's record before it, None at the first.
        after: the station's record after it, None at the newest.
    """

    row: Values
    review: Values | None
    verdicts: list[Values]
    audit: list[Values]
    hidden: int
    before: int | None
    after: int | None


def read(connection: sa.Connection, record: int, who: str) -> Story | None:
    """Return a part's story as `who` may read it; None when there is no such part.

    While a part waits for a second person, only the first one sees the first verdict and what was noted
    of it: the second must not know it, whatever page they open.
    """
    if not 0 < record <= MAX_RECORD:
        return None
    row = connection.execute(sa.select(parts).where(parts.c.id == record)).mappings().first()
    if row is None:
        return None
    shown = [column for column in reviews.c if column.name != "kind"]  # it holds the verdict
    found = connection.execute(sa.select(*shown).where(reviews.c.record == record)).mappings()
    review = next((dict(values) for values in found), None)
    query = sa.select(verdicts).where(verdicts.c.record == record).order_by(verdicts.c.version)
    said = [dict(values) for values in connection.execute(query).mappings()]
    done = audit.rows(connection, subject=f"part:{record}")[::-1]
    blind = review is not None and review["state"] == "second"
    told = [verdict for verdict in said if not blind or verdict["who"] == who]
    if blind and review is not None and review["first_who"] != who:
        review |= dict.fromkeys(("verdict", "who", "first_who", "first_verdict"))
    return Story(
        row=dict(row),
        review=review,
        verdicts=told,
        audit=[entry for entry in done if not blind or entry["who"] == who],
        hidden=len(said) - len(told),
        before=_neighbour(connection, row["station"], record, newer=False),
        after=_neighbour(connection, row["station"], record, newer=True),
    )


def _neighbour(connection: sa.Connection, station: str, record: int, *, newer: bool) -> int | None:
    query = sa.select(parts.c.id).where(parts.c.station == station)
    if newer:
        query = query.where(parts.c.id > record).order_by(parts.c.id)
    else:
        query = query.where(parts.c.id < record).order_by(parts.c.id.desc())
    found = connection.execute(query.limit(1)).scalar()
    return None if found is None else int(found)


ALIKE = (
    "station", "recipe_number", "recipe_sha256", "part_name", "release", "model_sha256", "card_sha256",
)  # fmt: skip
"""Columns of `parts` that say what judged a part: files of the recipe, the model and the release's card."""


def part_at(connection: sa.Connection, record: int) -> Values:
    """Return time, decision, serial and `ALIKE` of a part. Raises SearchError when there is none."""
    names = ("id", "triggered_at", "decision", "serial", *ALIKE)
    row = None
    if 0 < record <= MAX_RECORD:
        query = sa.select(*(parts.c[name] for name in names)).where(parts.c.id == record)
        row = connection.execute(query).mappings().first()
    if row is None:
        raise SearchError("There is no record {record}; look it up in the results.", record=record)
    return dict(row)


def last_good(connection: sa.Connection, part: Values) -> Values | None:
    """Return the last passed part before this one that people confirmed to be good, judged alike; else None.

    Alike: all of `ALIKE` is the same. A good part that other limits, another region or another model let
    pass tells nothing of this one. Where it is not known what judged the part, no other is alike. The latest
    `LOOKED` confirmed parts of the same recipe number and release are looked at, none before.

    Args:
        connection: from `WebStore.read`.
        part: from `part_at`.
    """
    if not part["recipe_sha256"] or not part["model_sha256"]:
        return None
    wanted = Search(
        station=part["station"],
        recipe_number=part["recipe_number"],
        release=part["release"],
        decision=Decision.PASS.value,
        review="done",
        verdict=Verdict.FALSE_CALL.value,
    )
    kinds = kinds_that_match(connection, REVIEWS, wanted)
    alike = [parts.c[name] == part[name] for name in ALIKE]
    span = Span(until=part["triggered_at"])
    for size in CHUNKS:
        places = newest(connection, REVIEWS, kinds, span, size)
        among_them = numbers(connection, [record for _, record in places])
        same = set(connection.execute(sa.select(parts.c.id).where(among_them, *alike)).scalars())
        found = next(((at, record) for at, record in places if record in same), None)
        if found is not None:
            at, record = found
            query = sa.select(reviews.c.who).where(reviews.c.record == record)
            who = connection.execute(query).scalar()
            return {"record": record, "triggered_at": at, "who": who}
        if len(places) < size:
            break
        span = Span(until=part["triggered_at"], after=places[-1])
    return None


def last_missed(connection: sa.Connection, station: str) -> int | None:
    """Return the station's newest passed part of which people said that a defect was missed."""
    query = (
        sa.select(reviews.c.record)
        .where(
            reviews.c.state == "done",
            reviews.c.verdict == Verdict.MISSED.value,
            reviews.c.station == station,
            reviews.c.decision == Decision.PASS.value,
        )
        .order_by(reviews.c.triggered_at.desc(), reviews.c.record.desc())
        .limit(1)
    )
    found = connection.execute(query).scalar()
    return None if found is None else int(found)


def lots(connection: sa.Connection, wanted: Search) -> tuple[int, list[dict[str, Any]]]:
    """Return how many passed parts a station made in a span of time, and of each lot how many and when.

    The lots are those of `LOTS` with the most parts, oldest first; the number counts all.
    """
    kinds = kinds_like(connection, replace(wanted, decision=Decision.PASS.value))
    conditions = [among(connection, PARTS, kinds), parts.c.triggered_at >= (wanted.since or "")]
    if wanted.until is not None:
        conditions.append(parts.c.triggered_at < wanted.until)
    number = connection.execute(sa.select(sa.func.count()).where(*conditions)).scalar() or 0
    count, first = sa.func.count().label("number"), sa.func.min(parts.c.triggered_at)
    query = (
        sa.select(
            parts.c.serial,
            count,
            first.label("first_at"),
            sa.func.max(parts.c.triggered_at).label("last_at"),
        )
        .where(*conditions)
        .group_by(parts.c.serial)
        .order_by(count.desc(), parts.c.serial)
        .limit(LOTS)
    )
    found = [dict(row) for row in connection.execute(query).mappings()]
    return int(number), sorted(found, key=lambda lot: str(lot["first_at"]))
