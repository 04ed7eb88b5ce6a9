"""The review shows the machine's decision as it is now, and offers only what can be said of it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from web_inside import Inside
from web_process import add_people
from web_shift import write_shift

from inspection.store.tables import parts
from inspection.store.web.intake import Intake, insert, row_of
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


def give(inside: Inside, role: str, record: int, **word: object) -> tuple[int, dict]:
    """Give a verdict as the page does; return status and answer."""
    path = f"/api/v1/reviews/{record}/verdict"
    given = {"version": 0, "client": f"{role}-{record}-{word['verdict']}".replace("_", "-"), **word}
    answer = inside.ask("POST", path, inside.session(role), json=given)
    return answer.status_code, json.loads(answer.content)


def shown(inside: Inside, record: int, role: str = "operator") -> dict:
    return json.loads(inside.ask("GET", f"/api/v1/reviews/{record}", inside.session(role)).content)


def test_a_deleted_picture_is_not_shown_and_its_hash_judges_nothing(inside: Inside) -> None:
    Intake(inside.site.store).take_all()
    sha256 = shown(inside, 3)["pictures"][0]["sha256"]
    with inside.site.store.write("the guard") as connection:
        connection.execute(sa.update(parts).where(parts.c.id == 3).values(image_state="expired"))
    part = shown(inside, 3)
    assert (part["pictures"], part["allowed"]) == ([], ["unsure", "aborted"])
    assert part["picture_text"].startswith("The picture was deleted")
    seen = {"image_sha256": sha256, "reason_code": "lighting"}
    assert give(inside, "operator", 3, verdict="false_call", **seen)[1]["code"] == "gone"
    assert give(inside, "operator", 3, verdict="real_defect", **seen)[1]["code"] == "gone"
    status, saved = give(inside, "operator", 3, verdict="aborted")
    assert (status, saved["state"]) == (200, "done")


def test_a_missing_file_of_a_passed_part_is_ended_by_an_engineer_alone(inside: Inside) -> None:
    """While the file is there nobody can; once it is away the server sees so itself."""
    record = 1
    with inside.site.store.write("a draw") as connection:
        row = row_of(connection, record)
        assert row is not None
        insert(connection, [row], b"", 0.0, why="sample")
        images = connection.execute(sa.select(parts.c.images).where(parts.c.id == record)).scalar()
    assert give(inside, "engineer", record, verdict="aborted")[1]["code"] == "verdict"
    (inside.site.images / images[0]["path"]).unlink()
    assert shown(inside, record)["unseen"] == ["unsure"]
    assert shown(inside, record, "engineer")["unseen"] == ["unsure", "aborted"]
    assert give(inside, "operator", record, verdict="aborted")[1]["code"] == "verdict"
    judged = {"verdict": "false_call", "image_sha256": images[0]["sha256"]}
    assert give(inside, "engineer", record, **judged)[1]["code"] == "gone"
    status, saved = give(inside, "engineer", record, verdict="aborted")
    assert (status, saved["state"]) == (200, "done")
