"""The review when the server dies, and the word of a first person that nobody may read."""

import json
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from playwright.sync_api import Page, expect
from web_process import PASSWORD, WebProcess, add_people
from web_shift import write_shift

from inspection.store.database import make_engine
from inspection.store.queries import StoreReader
from inspection.store.tables import parts
from inspection.store.web import review, review_queue, settings
from inspection.store.web.access import WebStore
from inspection.store.web.intake import Intake, insert, row_of
from inspection.store.web.people import Person, Role
from inspection.store.web.review_queue import QueueFilter
from inspection.types import Verdict

WAIT = 30_000


@pytest.mark.parametrize(
    "point",
    [pytest.param(0.0, marks=pytest.mark.soak), 0.012, pytest.param(0.03, marks=pytest.mark.soak)],
)
def test_a_kill_in_the_middle_of_a_decision(
    visit: Callable[..., Any], tmp_path: Path, point: float
) -> None:
    """NOT SAVED is said; after the restart the same press is sent again; one verdict, whatever happened."""
    config = write_shift(tmp_path, 9)
    add_people(config)
    with WebProcess(config.url, log=tmp_path / "web.log") as web:
        visitor = visit(address=web.address)
        visitor.expected = ["net::ERR", "/api/v1/book", "/line/events", "Failed to load"]
        page: Page = visitor.sign_in("operator")
        visitor.go("/review")
        free = page.locator('#review[data-phase="shown"][data-free="true"]')
        expect(free).to_be_attached(timeout=WAIT)
        record = int(free.get_attribute("data-painted") or 0)
        killed = threading.Event()

        def killing(route: Any) -> None:
            timer = threading.Timer(point + random.Random(record).random() / 200, web.process.kill)
            timer.start()
            route.continue_()
            killed.set()

        page.route("**/verdict", killing)
        page.keyboard.press("n")
        banner = page.locator("#banner")
        button = page.locator("#banner button").first
        saved = page.locator("#outcome", has_text=f"part {record}")
        expect(button.or_(saved).first).to_be_visible(timeout=WAIT)
        assert killed.is_set()
        expect(page.locator("#lost")).to_be_visible(timeout=WAIT)
        page.unroute("**/verdict")
        web.kill()
        unsaved = "NOT SAVED" in banner.inner_text()
        if unsaved:
            expect(page.locator("#ng")).to_be_disabled()
            assert free.count() == 0, "no other part can be judged meanwhile"
        else:
            expect(page.locator("#outcome")).to_contain_text(f"part {record}")
        web.start()
        if button.is_visible():  # saved, with the next part held ready, there is nothing to press
            page.get_by_role("button", name="Send again" if unsaved else "Try again").click()
        expect(free).to_be_attached(timeout=WAIT)
        expect(page.locator("#outcome")).to_contain_text(f"part {record}")
        expect(page.locator("#lost")).to_have_count(0, timeout=WAIT)
    with StoreReader(config) as reader:
        found = reader.part(record)
    assert found is not None
    assert [row["verdict"] for row in found[1]] == ["real_defect"]


def test_nobody_reads_the_first_word(tmp_path: Path) -> None:
    """The second person finds neither verdict nor name in any answer of the review."""
    config = write_shift(tmp_path, 9)
    add_people(config)
    store = WebStore(config)
    Intake(store).take_all()
    first = Person(9, "first-person", "F", Role.OPERATOR, "ko", False, {}, "", "", "")
    with store.write("a test") as connection:
        settings.change(connection, "review.second_classes", ["dent"], "engineer")
        record = review_queue.waiting(connection, QueueFilter(defect_class="dent"), first)[0][
            "record"
        ]
        found = review.find_review(connection, record)
        assert found is not None
        word = review.Word(
            Verdict.FALSE_CALL, 0, "first-press", "glare", comment="secret words",
            seen={"image_sha256": found[1]["images"][0]["sha256"]},
        )  # fmt: skip
        rules = review.Rules(frozenset({"glare"}), frozenset({"dent"}))
        assert review.decide(connection, record, word, first, rules).state == "second"
    store.close()
    with (
        WebProcess(config.url, log=tmp_path / "web.log") as web,
        httpx.Client(base_url=web.address) as client,
    ):
        client.post("/sign-in", data={"name": "engineer", "password": PASSWORD})
        part = client.get(f"/api/v1/reviews/{record}").json()
        assert (part["blind"], part["said"], part["who"]) == (True, [], None)
        answers = [
            client.get(path).text
            for path in (
                f"/api/v1/reviews/{record}",
                "/api/v1/reviews?state=second",
                f"/api/v1/reviews/news?newest=0&record={record}&state=second&strip=st1",
                "/review?state=second",
            )
        ]
        assert f'"record":{record}' in answers[1]
        for answer in answers:
            for secret in ("first-person", "secret words", "first-press"):
                assert secret not in answer
        for answer in answers[:3]:
            assert "false_call" not in json.dumps(_without(json.loads(answer), "allowed"))


def _without(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return {key: _without(inner, name) for key, inner in value.items() if key != name}
    return [_without(inner, name) for inner in value] if isinstance(value, list) else value


def test_nonsense_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    config = write_shift(tmp_path, 3)
    add_people(config)
    store = WebStore(config)
    Intake(store).take_all()
    store.close()
    with (
        WebProcess(config.url, log=tmp_path / "web.log") as web,
        httpx.Client(base_url=web.address) as client,
    ):
        client.post("/sign-in", data={"name": "engineer", "password": PASSWORD})
        page = client.get("/review").text
        client.headers["X-CSRF-Token"] = page.split('name="csrf" content="')[1].split('"')[0]
        word = {"verdict": "real_defect", "version": 0, "client": "press-0001"}
        sha = client.get("/api/v1/reviews/3").json()["pictures"][0]["sha256"]
        seen = {**word, "image_sha256": sha}
        box = {"class": "dent", "box": [1, 1, 9, 9]}
        tries = [
            (word, 400), ({**seen, "verdict": "good"}, 422), ({**seen, "version": 2**40}, 422),
            ({**seen, "client": "'; DROP"}, 422), ({**seen, "more": 1}, 422), ({**seen, "version": 1}, 409),
            ({**seen, "boxes": [{**box, "box": [0, 0, 9999, 9]}]}, 422),
            ({**seen, "boxes": [{**box, "box": [5, 5, 5, 5]}]}, 422),
            ({**seen, "comment": "x" * 501}, 422), ({**seen, "comment": "a\0b"}, 422),
            ({**seen, "verdict": "false_call"}, 400),
        ]  # fmt: skip
        for body, status in tries:
            answer = client.post("/api/v1/reviews/3/verdict", json=body)
            assert answer.status_code == status, (body, answer.text)
        for path in ("/api/v1/reviews/0", "/api/v1/reviews/1099511627776", "/api/v1/reviews/x"):
            assert client.get(path).status_code == 422
        assert client.get("/api/v1/reviews/1").status_code == 404
        for query in (
            "since=yesterday",
            "state=done",
            "limit=0",
            "since=0001-01-01T00:00:00%2B14:00",
        ):
            assert client.get(f"/api/v1/reviews?{query}").status_code == 422
        keys = {"confirm": "KeyB"}, {"confirm": "F5"}, {"fly": "KeyQ"}
        for given in keys:
            assert client.put("/api/v1/me/keys", json={"keys": given}).status_code == 400
        assert client.post("/api/v1/reviews/999").status_code == 404
        assert client.post("/api/v1/reviews/1").status_code == 201
        good = client.post("/api/v1/reviews/3/verdict", json={**seen, "boxes": [box]})
        assert good.status_code == 200
        again = client.post("/api/v1/reviews/3/verdict", json={**seen, "boxes": [box]})
        assert again.json()["repeated"]
    with StoreReader(config) as reader:
        found = reader.part(3)
    assert found is not None
    assert [row["boxes"] for row in found[1]] == [[{"class": "dent", "box": [1, 1, 9, 9]}]]


def test_rules_of_the_review(tmp_path: Path) -> None:
    config = write_shift(tmp_path, 3)
    add_people(config)
    with (
        WebProcess(config.url, log=tmp_path / "web.log") as web,
        httpx.Client(base_url=web.address) as client,
    ):
        client.post("/sign-in", data={"name": "engineer", "password": PASSWORD})
        page = client.get("/review/rules").text
        token = page.split('name="csrf" content="')[1].split('"')[0]
        form = {
            "csrf": token, "share": "5", "second_classes": "dent\n",
            "reasons": "dust | 먼지 | Dust\n[1]\noil | 기름 | Oil",
        }  # fmt: skip
        for wrong in ({"share": "500"}, {"share": "x"}, {"reasons": "Dust"}, {"reasons": ""}):
            answer = client.post("/review/rules", data=form | wrong)
            assert answer.status_code == 400, wrong
        assert client.post("/review/rules", data=form).status_code == 303
        rules = client.get("/api/v1/review/rules").json()
        assert (rules["pass_share"], rules["second_classes"]) == (0.05, ["dent"])
        assert [r["code"] for r in rules["reasons"]["1"]] == ["oil"]


def test_a_picture_that_comes_after_its_part_is_filled_in(
    visit: Callable[..., Any], tmp_path: Path
) -> None:
    config = write_shift(tmp_path, 3)
    add_people(config)
    engine = make_engine(config)

    def change(**values: Any) -> None:
        with engine.begin() as connection:
            connection.execute(sa.update(parts).where(parts.c.id == 3).values(**values))

    with engine.begin() as connection:
        kept = connection.execute(sa.select(parts.c.images).where(parts.c.id == 3)).scalar_one()
    change(images=None, image_state="pending")
    with WebProcess(config.url, log=tmp_path / "web.log") as web:
        visitor = visit(address=web.address)
        page: Page = visitor.sign_in("operator")
        visitor.go("/review")
        expect(page.locator('#review[data-painted="3"]')).to_be_attached(timeout=WAIT)
        told = page.get_by_text("The picture is still being written.")
        expect(told).to_be_visible()
        expect(page.locator("#ng")).to_be_disabled()
        change(images=kept, image_state="saved")
        expect(page.locator("#ng")).to_be_enabled(timeout=WAIT)
        expect(told).to_be_hidden()
        page.keyboard.press("n")
        expect(page.locator("#outcome")).to_contain_text("part 3")
        visitor.close()
    engine.dispose()


def test_parts_whose_picture_is_gone_are_ended_by_a_key(
    visit: Callable[..., Any], tmp_path: Path
) -> None:
    """Deleted, lost before it was written, and a file that is away: the page says why, and is not stuck."""
    config = write_shift(tmp_path, 9)
    add_people(config)
    store = WebStore(config)
    with store.write("a draw, and what became of the pictures") as connection:
        passed = row_of(connection, 1)
        assert passed is not None
        insert(connection, [passed], b"", 0.0, why="sample")
        change = sa.update(parts)
        connection.execute(change.where(parts.c.id == 1).values(image_state="lost", images=None))
        connection.execute(change.where(parts.c.id == 3).values(image_state="expired"))
        images = connection.execute(sa.select(parts.c.images).where(parts.c.id == 6)).scalar_one()
    store.close()
    (tmp_path / "images" / images[0]["path"]).unlink()
    with WebProcess(config.url, log=tmp_path / "web.log") as web:
        visitor = visit(address=web.address)
        visitor.expected = ["404"]
        page: Page = visitor.sign_in("operator")
        visitor.go("/review")
        told = {
            1: "The picture was lost: the line stopped before it was written.",
            3: "The picture was deleted",
            6: "The picture file is missing from its folder.",
        }
        for record, text in told.items():
            free = f'#review[data-painted="{record}"][data-phase="shown"][data-free="true"]'
            expect(page.locator(free)).to_be_attached(timeout=WAIT)
            expect(page.locator(".viewer-notice")).to_contain_text(text)
            expect(page.locator("#gone")).to_be_visible()
            expect(page.locator("#unsure")).to_be_enabled()
            expect(page.locator("#aborted")).to_be_enabled()
            for judging in ("#ng", "#ok", "#borderline"):
                expect(page.locator(judging)).not_to_be_enabled()
            page.keyboard.press("x")
            expect(page.locator("#outcome")).to_contain_text(f"part {record}")
        expect(page.locator('#review[data-painted="9"]')).to_be_attached(timeout=WAIT)
        expect(page.locator("#gone")).to_be_hidden()
        expect(page.locator("#ng")).to_be_enabled()
        visitor.close()
