"""A follower of parts waits until an answer cannot change any more, and keeps the order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from inspection.store import following

Told = tuple[str, str | None, float]


def row(number: int, told: Told) -> dict[str, Any]:
    state, decision, age = told
    at = (datetime.now(UTC) - timedelta(seconds=age)).isoformat()
    return {"id": number, "state": state, "decision": decision, "decided_at": at}


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([("sent", "PASS", 0.0), ("acknowledged", "FAIL", 0.0)], [1, 2]),
        ([("triggered", None, 0.0), ("sent", "PASS", 0.0)], []),
        ([("decided", "PASS", 0.0)], []),
        ([("decided", "PASS", 5.0)], [1]),
        ([("decided", "PASS", 0.0), ("sent", "PASS", 0.0)], [1, 2]),
        ([("decided", "NOT_INSPECTED", 0.0), ("decided", "FAIL", 0.0)], [1]),
    ],
)
def test_settled(rows: list[Told], told: list[int]) -> None:
    class Found:
        def mappings(self) -> list[dict[str, Any]]:
            return [row(number, one) for number, one in enumerate(rows, 1)]

    class Connection:
        def execute(self, _query: object) -> Found:
            return Found()

    found = following.settled_after(Connection(), "test", 0)  # type: ignore[arg-type]
    assert [one["id"] for one in found] == told
