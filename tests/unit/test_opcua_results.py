"""Which parts a client is told of when it asks: settled ones, in the list of their ResultState."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from inspection.store.following import PATIENCE, part_of
from inspection.store.tables import parts
from inspection_serve.opcua import reporting
from inspection_serve.opcua.jobs import JobBook
from inspection_serve.opcua.reporting import Reporting

COMPLETED, ABORTED = 1, 3


class Store:
    """Parts of station `test`, in memory."""

    def __init__(self) -> None:
        self.engine = sa.create_engine("sqlite://")
        parts.create(self.engine)

    def add(self, sequence: int, decision: str, state: str = "sent", age: float = 60.0) -> None:
        at = (datetime.now(UTC) - timedelta(seconds=age)).isoformat()
        row = {
            "station": "test", "epoch": 1, "sequence": sequence, "state": state, "part_id": 0,
            "serial": "", "decision": decision, "reason": "DEFECT", "simulated": False,
            "triggered_mono": 0.0, "triggered_at": at, "deadline_mono": 0.0, "decided_at": at,
            "image_state": "none",
        }  # fmt: skip
        with self.engine.begin() as connection:
            connection.execute(parts.insert().values(row))

    @contextmanager
    def read(self, _what: str) -> Iterator[sa.Connection]:
        with self.engine.connect() as connection:
            yield connection


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    def result(row: dict[str, Any], job: Any) -> Any:
        is_out = row["decision"] == "NOT_INSPECTED" or (job and row["sequence"] in job.refused)
        return SimpleNamespace(ResultState=ABORTED if is_out else COMPLETED, at=row["sequence"])

    monkeypatch.setattr(reporting, "result_of", result)
    made = Store()
    yield made
    made.engine.dispose()


def listed(found: Reporting, state: int, most: int = 0, start: int = 0) -> tuple[bool, list[int]]:
    values: list[Any] = [state, *[None] * 8, most, start, 0]
    said = found.get_list(None, *(SimpleNamespace(Value=value) for value in values))
    return said[0].Value, [one.at for one in said[3].Value]


def test_a_part_that_the_drive_rejected_is_in_the_list_of_rejected_ones(
    store: Store, tmp_path: Path
) -> None:
    book = JobBook(tmp_path / "jobs.jsonl")
    for sequence, cause in enumerate(("pass", "no_result", "pass", "not_inspected", "fail"), 1):
        book.begin(single=True, by="mes", after=sequence - 1)
        assert book.trigger() == sequence
        book.outcome(cause)
        store.add(sequence, "NOT_INSPECTED" if cause == "not_inspected" else "FAIL")
    found = Reporting(None, store, "test", book)  # type: ignore[arg-type]
    assert listed(found, 0) == (True, [5, 4, 3, 2, 1])
    assert listed(found, COMPLETED) == (True, [5, 3, 1])
    assert listed(found, ABORTED) == (True, [4, 2])
    assert listed(found, ABORTED, 1) == (False, [4])
    assert listed(found, ABORTED, 1, 1) == (True, [2])
    book.close()


@pytest.mark.parametrize(
    ("state", "age", "told"), [("decided", 0.0, False), ("decided", PATIENCE + 2, True), ("sent", 0.0, True)]
)  # fmt: skip
def test_an_answer_that_may_still_change_is_not_told(
    store: Store, state: str, age: float, told: bool
) -> None:
    found = Reporting(None, store, "test")  # type: ignore[arg-type]
    store.add(1, "FAIL")
    store.add(2, "FAIL", state, age)

    def is_there(sequence: int) -> bool:
        with store.read("") as connection:
            return part_of(connection, "test", 1, sequence) is not None

    assert (is_there(1), is_there(2)) == (True, told)
    assert listed(found, 0) == (True, [2, 1] if told else [1])
    assert listed(found, 0, 1) == (False, [2] if told else [])
    store.add(3, "NOT_INSPECTED", "decided", 0.0)
    assert (is_there(2), is_there(3)) == (told, True)
    store.add(4, "FAIL")  # was sent, and so was what came before
    assert is_there(2)
    assert listed(found, 0) == (True, [4, 3, 2, 1])
