"""One part's story: its row, what people said and did."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from inspection.store.rows import Values
from inspection.store.tables import MAX_RECORD, parts, verdicts
from inspection.store.web import audit
from inspection.store.web.search import SearchError
from inspection.store.web.tables import reviews


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
    """Return place, time, decision, serial and `ALIKE` of a part. Raises SearchError when there is none."""
    names = ("id", "epoch", "sequence", "triggered_at", "decision", "serial", *ALIKE)
    row = None
    if 0 < record <= MAX_RECORD:
        query = sa.select(*(parts.c[name] for name in names)).where(parts.c.id == record)
        row = connection.execute(query).mappings().first()
    if row is None:
        raise SearchError("There is no record {record}; look it up in the results.", record=record)
    return dict(row)
