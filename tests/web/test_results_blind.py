"""A first verdict is told to nobody before the second one: not by the page, the API, or an export."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from web_inside import Inside
from web_process import add_people
from web_shift import write_shift

from inspection.store.tables import verdicts
from inspection.store.web import audit
from inspection.store.web.search import Search, page
from inspection.store.web.tables import reviews

RECORD = 3
SAID = ("real_defect", "Real defect", "한눈에 보임", "first-person")


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    folder: Path = tmp_path_factory.mktemp("blind")
    config = write_shift(folder, 6)
    add_people(config)
    with Inside(config) as found:
        with found.site.store.write("a first verdict") as connection:
            connection.execute(
                sa.insert(verdicts),
                {
                    "record": RECORD, "version": 1, "verdict": "real_defect", "who": "first-person",
                    "at": "2026-01-01T00:00:00.000000+00:00", "reason_code": "", "comment": "한눈에 보임",
                },
            )  # fmt: skip
            values = {
                "record": RECORD, "state": "second", "why": "flagged", "probability": 1.0, "version": 1,
                "verdict": "real_defect", "who": "first-person", "first_who": "first-person",
                "first_verdict": "real_defect", "station": "st1", "decision": "FAIL", "reason": "DEFECT",
                "triggered_at": "2026-01-01T00:00:00.000000+00:00",
                "changed_at": "2026-01-01T00:00:00.000000+00:00",
            }  # fmt: skip
            connection.execute(sa.delete(reviews).where(reviews.c.record == RECORD))
            connection.execute(sa.insert(reviews), values)
            audit.append(
                connection, "first-person", "verdict", f"part:{RECORD}", verdict="real_defect"
            )
        yield found


def told(inside: Inside, path: str, role: str = "operator") -> str:
    answer = inside.ask("GET", path, inside.session(role))
    assert answer.status_code == 200
    return answer.content.decode("utf-8-sig")


@pytest.mark.parametrize("role", ["viewer", "operator", "engineer", "administrator"])
def test_nothing_tells_the_first_verdict(inside: Inside, role: str) -> None:
    body = told(inside, f"/results/{RECORD}", role)
    story = body[body.index('id="people"') :]  # not the words of the page's texts
    for word in SAID:
        assert word not in story, word
    for path in (f"/api/v1/results/{RECORD}", "/api/v1/results"):
        body = told(inside, path, role)
        for word in SAID:
            assert word not in body, (path, word)


def test_an_export_does_not_tell_it(inside: Inside) -> None:
    rows = csv.DictReader(io.StringIO(told(inside, "/api/v1/results/export?format=csv")))
    row = next(row for row in rows if row["Record"] == str(RECORD))
    assert row["Review"] == "Waits for a second person"
    assert row["Verdict"] == ""


def test_a_search_for_the_verdict_does_not_find_it(inside: Inside) -> None:
    """Else a person would learn it by asking for each verdict in turn."""
    with inside.site.store.read("searching") as connection:
        for wanted in (
            Search(verdict="real_defect"),
            Search(verdict="real_defect", part_id=1003),
            Search(verdict="real_defect", serial="S3"),
        ):
            assert page(connection, wanted).rows == []
        waiting = page(connection, Search(review="waiting")).rows
    assert RECORD in [row["id"] for row in waiting]
