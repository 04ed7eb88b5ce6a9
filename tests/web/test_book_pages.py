"""The book: adding, taking out, naming classes; every page at both sizes in both languages."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect
from web_process import PASSWORD, WebProcess
from web_visit import enter

from inspection.store.config import StoreConfig
from inspection.store.web import audit
from inspection.store.web.access import WebStore

XSS = "<img src=x onerror=alert(1)>\"'{{7*7}}"
SHOTS = os.environ.get("INSPECTION_SCREENSHOTS")


class Caller(httpx.Client):
    """A signed-in program: repeats the CSRF token of its session."""

    def enter(self, role: str) -> Caller:
        assert self.post("/sign-in", data={"name": role, "password": PASSWORD}).status_code == 303
        text = self.get("/people/me").text
        self.headers["X-CSRF-Token"] = text.split('name="csrf" content="')[1].split('"')[0]
        return self


@pytest.fixture(scope="module")
def engineer(web: WebProcess) -> Iterator[Caller]:
    with Caller(base_url=web.address, timeout=30) as client:
        yield client.enter("engineer")


@pytest.fixture(scope="module")
def filled(engineer: Caller) -> list[dict[str, Any]]:
    """A golden part and two limit samples, and names of a class."""
    bodies = [
        {"record": 1, "kind": "golden", "note": "Edges are clean\nno stains"},
        {"record": 3, "kind": "limit_ng", "defect_class": "scratch", "note": "longer than 2 mm"},
        {"record": 6, "kind": "limit_ok", "defect_class": "scratch", "note": XSS},
    ]
    names = {"defect_class": "scratch", "ko": "긁힘", "en": "Scratch"}
    assert engineer.post("/api/v1/book/classes", json=names).status_code == 200
    found = []
    for body in bodies:
        answer = engineer.post("/api/v1/book", json=body)
        assert answer.status_code == 201, answer.text
        found.append(answer.json())
    return found


def test_the_api_gives_the_book_of_a_part(engineer: Caller, filled: list[dict[str, Any]]) -> None:
    found = engineer.get("/api/v1/book", params={"part": "plate", "recipe": 1}).json()
    assert found["golden"]["id"] == filled[0]["id"]
    assert {e["kind"] for e in found["entries"]} >= {"golden", "limit_ok", "limit_ng"}
    assert found["names"] == {"scratch": {"ko": "긁힘", "en": "Scratch"}}
    other = engineer.get("/api/v1/book", params={"part": "plate", "recipe": 2}).json()
    assert other["golden"] is None
    assert {e["kind"] for e in other["entries"]} == {"limit_ok", "limit_ng"}
    assert engineer.get("/api/v1/book", params={"part": "unknown"}).json()["entries"] == []


def test_the_same_picture_twice_is_one_entry(
    engineer: Caller, filled: list[dict[str, Any]]
) -> None:
    again = engineer.post("/api/v1/book", json={"record": 1, "kind": "golden"})
    assert again.json()["id"] == filled[0]["id"]


def test_the_copy_stays_when_the_picture_goes(
    shop: StoreConfig, engineer: Caller, filled: list[dict[str, Any]]
) -> None:
    added = engineer.post("/api/v1/book", json={"record": 2, "kind": "golden"}).json()
    before = engineer.get("/pictures/2/0").content
    for path in (shop.images.folder / "st1").rglob("1-2.jpg"):
        path.unlink()
    assert engineer.get("/pictures/2/0").status_code == 404
    assert engineer.get(added["picture"]).content == before
    assert engineer.get(added["thumb"]).status_code == 200
    copy = next((shop.images.folder.parent / "web" / "book").glob("*.jpg"))
    assert copy.parent.is_dir()
    gone = engineer.post(f"/api/v1/book/{added['id']}/deactivate")
    assert gone.json()["active"] is False
    listed = engineer.get("/api/v1/book", params={"part": "plate"}).json()["entries"]
    assert added["id"] not in {e["id"] for e in listed}
    everything = engineer.get("/api/v1/book", params={"part": "plate", "inactive": True}).json()
    assert added["id"] in {e["id"] for e in everything["entries"]}
    assert engineer.get(added["picture"]).content == before


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"record": 3, "kind": "golden"}, 409, "not_good"),
        ({"record": 6, "kind": "golden"}, 409, "not_good"),
        ({"record": 1, "kind": "golden", "defect_class": "scratch"}, 409, "no_class"),
        ({"record": 1, "kind": "limit_ok"}, 409, "no_class"),
        ({"record": 12, "kind": "limit_ng", "defect_class": "x"}, 404, "no_picture"),
        ({"record": 9999, "kind": "golden"}, 404, "no_part"),
        ({"record": 0, "kind": "golden"}, 422, "malformed"),
        ({"record": 1, "kind": "best"}, 422, "malformed"),
        ({"record": 1, "kind": "golden", "note": "x" * 501}, 422, "malformed"),
        ({"record": 1, "kind": "golden", "note": "a\u0000b"}, 422, "malformed"),
        ({"record": 1, "kind": "limit_ng", "defect_class": "y" * 65}, 422, "malformed"),
        ({"record": 1, "kind": "golden", "path": "../x"}, 422, "malformed"),
    ],
)
def test_what_would_be_wrong_is_refused_and_changes_nothing(
    engineer: Caller, filled: list[dict[str, Any]], body: dict[str, Any], status: int, code: str
) -> None:
    before = engineer.get("/api/v1/book", params={"part": "plate", "inactive": True}).json()
    answer = engineer.post("/api/v1/book", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    after = engineer.get("/api/v1/book", params={"part": "plate", "inactive": True}).json()
    assert after == before


def test_a_copy_that_cannot_be_written_adds_nothing(
    shop: StoreConfig, engineer: Caller, filled: list[dict[str, Any]]
) -> None:
    folder = shop.images.folder.parent / "web" / "book"
    aside = folder.with_name("aside")
    before = engineer.get("/api/v1/book", params={"part": "plate", "inactive": True}).json()
    folder.rename(aside)
    folder.write_text("in the way")
    try:
        answer = engineer.post("/api/v1/book", json={"record": 5, "kind": "golden"})
        assert (answer.status_code, answer.json()["code"]) == (507, "not_written")
        shown = engineer.get(filled[0]["picture"])
        assert (shown.status_code, shown.json()["code"]) == (404, "file_missing")
    finally:
        folder.unlink()
        aside.rename(folder)
    after = engineer.get("/api/v1/book", params={"part": "plate", "inactive": True}).json()
    assert after == before


def test_operators_may_look_only(web: WebProcess, filled: list[dict[str, Any]]) -> None:
    with Caller(base_url=web.address, timeout=30) as client:
        client.enter("operator")
        assert client.get("/api/v1/book", params={"part": "plate"}).status_code == 200
        for path, body in (
            ("", {"record": 1, "kind": "golden"}),
            (f"/{filled[0]['id']}/deactivate", {}),
            ("/classes", {"defect_class": "a"}),
        ):
            assert client.post(f"/api/v1/book{path}", json=body).status_code == 403
        assert client.get("/book/add?record=1").status_code == 403
    assert (
        httpx.get(
            f"{web.address}{filled[0]['picture']}", headers={"Accept": "application/json"}
        ).status_code
        == 401
    )


def test_every_change_is_in_the_audit(shop: StoreConfig, filled: list[dict[str, Any]]) -> None:
    store = WebStore(shop)
    with store.read("a test") as connection:
        rows = audit.rows(connection, subject=f"book:{filled[0]['id']}")
        assert list(audit.breaches(connection)) == []
    store.close()
    assert rows[-1]["action"] == "book.added"
    assert rows[-1]["who"] == "engineer"


def shot(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize("size", ["desk", "touch"])
def test_pages(
    visit: Callable[..., Any], filled: list[dict[str, Any]], size: str, language: str
) -> None:
    visitor = visit(size, language)
    enter(visitor, "engineer")
    page: Page = visitor.go("/book?part=plate")
    name = {"ko": "긁힘", "en": "Scratch"}[language]
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    expect(page.get_by_text(XSS)).to_be_visible()
    visitor.check_access()
    shot(page, f"book-{size}-{language}")
    visitor.go("/book/add?record=9")
    visitor.check_access()
    shot(page, f"book-add-{size}-{language}")
    visitor.go(f"/book/{filled[2]['id']}")
    expect(page.locator("#stage")).to_have_attribute("aria-busy", "false")
    visitor.check_access()
    shot(page, f"book-entry-{size}-{language}")


def test_an_engineer_adds_and_takes_out_in_the_browser(visit: Callable[..., Any]) -> None:
    visitor = visit("touch")
    enter(visitor, "engineer")
    page: Page = visitor.go("/book/add?record=9")
    page.get_by_label("Limit sample, NG").check()
    page.get_by_label("Defect class of the limit sample").select_option(index=1)
    page.get_by_label("What to look at").fill("at the edge")
    page.get_by_role("button", name="Add to the book").click()
    expect(page.locator("#said")).to_contain_text("✓ Saved in the book as entry")
    page.get_by_role("link", name="To the book").click()
    card = page.locator(".sample", has_text="at the edge")
    expect(card).to_have_count(1)
    card.get_by_role("button").click()
    expect(card.get_by_role("button")).to_have_text("Really take it out?")
    card.get_by_role("button").click()
    expect(card).to_have_count(0)
    expect(page.locator("#said")).to_contain_text("Taken out")


def test_a_refusal_says_not_saved(visit: Callable[..., Any]) -> None:
    visitor = visit()
    visitor.expected = ["409"]
    enter(visitor, "engineer")
    page: Page = visitor.go("/book/add?record=3")
    page.get_by_label("Golden part").check()
    page.get_by_role("button", name="Add to the book").click()
    expect(page.locator("#said")).to_contain_text("NOT SAVED")


def test_a_server_that_is_gone_says_not_saved(visit: Callable[..., Any], web: WebProcess) -> None:
    visitor = visit()
    visitor.expected = ["ERR_CONNECTION_REFUSED", "/line/events"]
    enter(visitor, "engineer")
    page: Page = visitor.go("/book/add?record=1")
    page.get_by_label("Golden part").check()
    killed = web.process
    web.kill()
    try:
        page.get_by_role("button", name="Add to the book").click()
        expect(page.locator("#said")).to_contain_text("NOT SAVED")
    finally:
        web.start()
        if killed.stdout:
            killed.stdout.close()
    page.get_by_role("button", name="Add to the book").click()
    expect(page.locator("#said")).to_contain_text("✓")
