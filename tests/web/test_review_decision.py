"""The review shows the machine's decision as it is now, and offers only what can be said of it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from web_inside import Inside
from web_process import add_people
from web_shift import write_shift

from inspection.store.web.intake import insert, row_of
from inspection.store.web.tables import reviews

RECORD = 12


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    """A part that was drawn while it passed; it was NOT_INSPECTED before that was sent."""
    config = write_shift(tmp_path_factory.mktemp("replaced"), 12)
    add_people(config)
    with Inside(config) as found:
        with found.site.store.write("a review of another decision") as connection:
            row = row_of(connection, RECORD)
            assert row is not None
            insert(connection, [row], b"", 0.0, why="asked")
            old = {"decision": "PASS", "reason": "NONE", "why": "sample"}
            connection.execute(sa.update(reviews).where(reviews.c.record == RECORD).values(old))
        yield found


def test_a_replaced_decision_is_shown_as_it_is(inside: Inside) -> None:
    answer = inside.ask("GET", f"/api/v1/reviews/{RECORD}", inside.session("operator"))
    assert answer.status_code == 200
    part = json.loads(answer.content)
    assert (part["decision"], part["reason"]) == ("NOT_INSPECTED", "CAMERA_TIMEOUT")
    assert "missed" not in part["allowed"]
    assert "aborted" in part["allowed"]
