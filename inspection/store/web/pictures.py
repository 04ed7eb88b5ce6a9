"""What the pages must know of a part before they show its pictures."""

from __future__ import annotations

import sqlalchemy as sa

from inspection.store.rows import Values
from inspection.store.tables import MAX_RECORD, parts

_COLUMNS = tuple(
    parts.c[name]
    for name in (
        "id", "part_name", "recipe_number", "release", "release_number", "model_sha256", "decision",
        "anomaly_score", "defect_class", "detections", "image_state", "images",
    )
)  # fmt: skip


def find(connection: sa.Connection, record: int) -> Values | None:
    """Return a part's columns of `_COLUMNS`; None when there is no such record."""
    if not 1 <= record <= MAX_RECORD:
        return None
    row = connection.execute(sa.select(*_COLUMNS).where(parts.c.id == record)).mappings().first()
    return None if row is None else dict(row)
