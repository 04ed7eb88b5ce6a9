"""The values that a column has: one step of its index for each, however many rows have it.

first ─▶ the first that is greater ─▶ … ─▶ none: the end
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa


def values_in(connection: sa.Connection, column: sa.Column[Any]) -> list[Any]:
    """Return every value of a column but NULL, in the order of its index, of which it is the first column."""
    first = sa.select(column.label("value")).order_by(column).limit(1).subquery()
    known = sa.select(first.c.value).cte("known", recursive=True)
    following = (
        sa.select(column)
        .where(column > known.c.value)
        .order_by(column)
        .limit(1)
        .correlate(known)
        .scalar_subquery()
    )
    known = known.union_all(sa.select(following).where(known.c.value.is_not(None)))
    query = sa.select(known.c.value).where(known.c.value.is_not(None))
    return list(connection.execute(query).scalars())
