"""Releases: shown, compared, approved by a second person, put into a recipe, rolled back."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect
from release_builder import write_release
from web_process import PASSWORD, WebProcess, add_people
from web_shift import write_shift
from web_visit import enter

from inspection.cameras.render import CLASSES
from inspection.recipe import RecipeBook
from inspection.release import read_card, write_card
from inspection.store.config import StoreConfig
from inspection.store.web import approvals, audit, jobs
from inspection.store.web.access import WebStore
from inspection.store.web.jobs import JobState

SHOTS = os.environ.get("INSPECTION_SCREENSHOTS")
XSS = "<img src=x onerror=alert(1)>\"'{{7*7}}"
RECIPE = "# our first recipe\nnumber: 1  # as in the PLC\npart: plate\nrelease: 1  # now\ndeadline: 1.0\n"
OWN_LIMITS = (
    "part: plate\nnumber: 2\nrelease: 1\nlimits:\n  scratch: {t1: 0.2, t2: 0.5}\ndeadline: 2.0\n"
)
REPORT = "<!doctype html><style>p{color:red}</style><p id=p>report</p><script>document.title='ran'</script>"


def rate(count: int, of: int) -> dict[str, float]:
    return {"count": count, "of": of, "rate": count / of, "low": 0.01, "high": 0.08}


def measured() -> dict[str, Any]:
    gate = {
        "gate": "overkill",
        "passed": True,
        "asked": {"split": "test", "share": 0.05},
        "found": {"parts": 150, "failed": 2, "low": 0.001, "high": 0.04},
        "sentence": "stored",
    }
    return {
        "note": "the limits were chosen on val: its rates are flattered. The model learned from neither",
        "evaluations": [
            {
                "split": "test",
                "images": 300,
                "defective": {"escape": rate(5, 150)},
                "good": {"overkill": rate(2, 150), "review": rate(3, 150)},
                "map50": 0.85,
            }
        ],
        "gates": {"split": "test", "results": [gate], "not_asked": ["latency"]},
    }


class Shop:
    """Folders of a station: store, releases plate/1 to plate/5 (4 is damaged), three recipes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store: StoreConfig = write_shift(folder)
        add_people(self.store)
        self.releases, self.recipes = folder / "releases", folder / "recipes"
        for number in (1, 2, 3, 4, 5):
            variant = "flipped" if number == 4 else "ok"
            made = write_release(self.releases, "plate", number, tuple(CLASSES), variant=variant)
            write_card(made, read_card(made).model_copy(update={"metrics": measured()}))
        (self.releases / "plate" / "3" / "report.html").write_text(REPORT)
        (self.releases / "plate" / "9").mkdir()
        self.recipes.mkdir()
        (self.recipes / "plate.yaml").write_text(RECIPE)
        (self.recipes / "limits.yaml").write_text(OWN_LIMITS)
        (self.recipes / "broken.yaml").write_text("number: [1\n")

    def sha(self, number: int) -> str:
        card = self.releases / "plate" / str(number) / "release.json"
        return hashlib.sha256(card.read_bytes()).hexdigest()

    def recipe_sha(self, name: str = "plate") -> str:
        return hashlib.sha256((self.recipes / f"{name}.yaml").read_bytes()).hexdigest()

    def in_force(self, recipe: int = 1) -> str:
        """What the line would take now."""
        return RecipeBook(self.recipes, self.releases).get(recipe)[1].name


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def web(place: Shop) -> Iterator[WebProcess]:
    options = ["--releases", place.releases, "--recipes", place.recipes]
    with WebProcess(place.store.url, *options, log=place.folder / "web.log") as process:
        yield process


class Caller(httpx.Client):
    """A signed-in program: repeats the CSRF token of its session."""

    def enter(self, role: str) -> Caller:
        assert self.post("/sign-in", data={"name": role, "password": PASSWORD}).status_code == 303
        text = self.get("/people/me").text
        self.headers["X-CSRF-Token"] = text.split('name="csrf" content="')[1].split('"')[0]
        return self

    def step(self, place: Shop, number: int, step: str, **more: str) -> httpx.Response:
        body = {"step": step, "card_sha256": place.sha(number), **more}
        return self.post(f"/api/v1/models/plate/{number}/approval", json=body)

    def switch(self, place: Shop, number: int, **more: Any) -> httpx.Response:
        body = {"recipe": 1, "recipe_sha256": place.recipe_sha(), "card_sha256": place.sha(number)}
        return self.post(f"/api/v1/models/plate/{number}/switch", json={**body, **more})

    def back(self, place: Shop, number: int) -> httpx.Response:
        body = {"number": number, "recipe_sha256": place.recipe_sha()}
        return self.post("/api/v1/models/recipes/1/back", json=body)


@pytest.fixture(scope="module")
def engineer(web: WebProcess) -> Iterator[Caller]:
    with Caller(base_url=web.address, timeout=60) as client:
        yield client.enter("engineer")


@pytest.fixture(scope="module")
def administrator(web: WebProcess) -> Iterator[Caller]:
    with Caller(base_url=web.address, timeout=60) as client:
        yield client.enter("administrator")


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "")


def test_everything_is_listed_and_what_is_damaged_says_why(engineer: Caller) -> None:
    found = engineer.get("/api/v1/models").json()
    releases = {one["number"]: one for one in found["parts"]["plate"]}
    assert list(releases) == [9, 5, 4, 3, 2, 1]
    assert "model.onnx was altered" in releases[4]["problem"]
    assert "release.json" in releases[9]["problem"]
    assert releases[1]["recipes"] == [1, 2]
    assert releases[5]["current"] is True
    assert releases[3]["reports"] == ["report.html"]
    assert "2 of 150" in releases[3]["metrics"][0]["overkill_words"]
    assert releases[3]["gates"][0]["passed"] is True
    by_file = {one["file"]: one for one in found["recipes"]}
    assert "not YAML" in by_file["broken.yaml"]["problem"]
    assert by_file["limits.yaml"]["limits"] is True


BAD = {
    "date": "number: 7\npart: 8521-30-41\nrelease: 1\n",
    "tag": "number: 7\npart: !!timestamp 8521-30-41\nrelease: 1\n",
    "key": "[a]: 1\n",
    "deep": "part: " + "[" * 2000,
}


def test_no_recipe_file_stops_the_pages(place: Shop, engineer: Caller) -> None:
    for name, text in BAD.items():
        (place.recipes / f"bad-{name}.yaml").write_text(text)
    try:
        for path in ("/models", "/line", "/line/st1", "/quality", "/api/v1/line/st1"):
            assert engineer.get(path).status_code == 200, path
        found = {one["file"]: one for one in engineer.get("/api/v1/models").json()["recipes"]}
        assert not found["bad-date.yaml"]["problem"]
        for name in ("tag", "key", "deep"):
            assert "line 1" in found[f"bad-{name}.yaml"]["problem"] or name == "tag"
    finally:
        for name in BAD:
            (place.recipes / f"bad-{name}.yaml").unlink()


def test_a_second_person_approves_then_the_line_takes_it_and_goes_back(
    place: Shop, engineer: Caller, administrator: Caller
) -> None:
    assert code(engineer.switch(place, 2)) == (409, "not_approved")
    assert code(administrator.step(place, 2, "approved")) == (409, "not_asked")
    assert engineer.step(place, 2, "asked", comment=XSS).json()["state"] == "asked"
    assert code(engineer.step(place, 2, "asked")) == (409, "asked_already")
    assert code(engineer.step(place, 2, "approved")) == (409, "own_request")
    assert code(engineer.switch(place, 2)) == (409, "not_approved")
    assert administrator.step(place, 2, "approved").json()["state"] == "approved"
    old = (place.recipes / "plate.yaml").read_text()
    done = engineer.switch(place, 2)
    assert done.status_code == 200, done.text
    assert (place.recipes / "plate.yaml").read_text() == old.replace("release: 1 ", "release: 2 ")
    assert (place.recipes / "history" / done.json()["kept"]).read_text() == old
    assert place.in_force() == "plate/2"
    assert done.json()["recipe"]["back"] == 1
    assert code(engineer.switch(place, 2)) == (409, "same")
    assert code(engineer.back(place, 3)) == (409, "not_approved")
    gone_back = engineer.back(place, 1)
    assert gone_back.status_code == 200, gone_back.text
    assert gone_back.json()["recipe"]["back"] is None
    assert place.in_force() == "plate/1"
    assert (place.recipes / "plate.yaml").read_text() == old
    again = WebStore(place.store)
    with again.read("a test") as connection:
        told = audit.rows(connection, subject="recipe:1")
        assert list(audit.breaches(connection)) == []
    again.close()
    assert [row["action"] for row in told] == [
        "release.rolled_back", "release.switch_asked", "release.switched", "release.switch_asked",
    ]  # fmt: skip
    detail = json.loads(told[2]["detail"])
    assert detail["recipe_before"] == hashlib.sha256(old.encode()).hexdigest()
    assert detail["card_sha256"] == place.sha(2)
    assert (detail["before"], detail["now"]) == (1, 2)


def test_limits_of_the_recipe_are_asked_for_and_come_back(
    place: Shop, engineer: Caller, administrator: Caller
) -> None:
    engineer.step(place, 3, "asked")
    administrator.step(place, 3, "approved")
    path = place.recipes / "limits.yaml"
    told = {"recipe": 2, "recipe_sha256": place.recipe_sha("limits")}
    assert code(engineer.switch(place, 3, **told)) == (409, "limits_unsaid")
    assert engineer.switch(place, 3, **told, limits="release").status_code == 200
    config, release = RecipeBook(place.recipes, place.releases).get(2)
    assert release.name == "plate/3"
    assert config.limits["scratch"].t1 == 0.3
    assert config.deadline == 2.0
    body = {"number": 1, "recipe_sha256": place.recipe_sha("limits")}
    assert engineer.post("/api/v1/models/recipes/2/back", json=body).status_code == 200
    config, release = RecipeBook(place.recipes, place.releases).get(2)
    assert (release.name, config.limits["scratch"].t1) == ("plate/1", 0.2)
    assert path.is_file()


def test_a_changed_card_is_not_approved(
    place: Shop, engineer: Caller, administrator: Caller
) -> None:
    engineer.step(place, 5, "asked")
    seen = place.sha(5)
    folder = place.releases / "plate" / "5"
    write_card(folder, read_card(folder).model_copy(update={"licence": "changed"}))
    body = {"step": "approved", "card_sha256": seen}
    late = administrator.post("/api/v1/models/plate/5/approval", json=body)
    assert code(late) == (409, "card_changed")
    assert administrator.get("/api/v1/models/plate/5").json()["state"] is None
    assert code(administrator.step(place, 5, "approved")) == (409, "not_asked")
    assert code(engineer.switch(place, 5)) == (409, "not_approved")
    rows = engineer.get("/api/v1/models/plate/5/steps").json()
    assert [row["this_card"] for row in rows] == [False]


def test_a_damaged_release_gets_nowhere(place: Shop, engineer: Caller) -> None:
    assert code(engineer.step(place, 4, "asked")) == (409, "damaged")
    assert code(engineer.switch(place, 4)) == (409, "damaged")
    body = {"step": "asked", "card_sha256": "0" * 64}
    assert code(engineer.post("/api/v1/models/plate/9/approval", json=body)) == (
        409,
        "card_changed",
    )


def test_who_trained_it_does_not_approve_it(
    place: Shop, engineer: Caller, administrator: Caller
) -> None:
    store = WebStore(place.store)
    with store.write("a test") as connection:
        job = jobs.add(connection, "train", {}, "administrator")
        jobs.started(connection, job, {"pid": 1})
        jobs.ended(connection, job, JobState.DONE, 0, {"outcome": {"release": "plate/5"}})
    store.close()
    engineer.step(place, 5, "asked")
    assert code(administrator.step(place, 5, "approved")) == (409, "own_training")


def test_what_is_old_or_malformed_is_refused_and_changes_nothing(
    place: Shop, engineer: Caller, administrator: Caller
) -> None:
    before = (place.recipes / "plate.yaml").read_bytes()
    assert code(engineer.switch(place, 3, recipe_sha256="0" * 64)) == (409, "recipe_changed")
    assert code(engineer.switch(place, 3, card_sha256="0" * 64)) == (409, "card_changed")
    assert code(engineer.switch(place, 3, recipe=77)) == (409, "no_recipe")
    assert code(engineer.switch(place, 3, recipe="../x")) == (422, "malformed")
    for path in ("plate/0", "plate/70000", "..%2f..%2fetc/1", "-x/1"):
        assert engineer.get(f"/api/v1/models/{path}").status_code in (404, 422), path
    assert engineer.get("/api/v1/models/plate/77").status_code == 404
    engineer.step(place, 2, "asked")
    assert code(administrator.step(place, 2, "declined")) == (409, "no_comment")
    assert (place.recipes / "plate.yaml").read_bytes() == before


def test_a_recipe_that_cannot_be_written_stays(
    place: Shop, engineer: Caller, administrator: Caller
) -> None:
    history = place.recipes / "history"
    kept = history.rename(place.recipes / "elsewhere")
    history.write_text("a file where the folder should be")
    try:
        before = (place.recipes / "plate.yaml").read_bytes()
        assert code(engineer.switch(place, 3)) == (409, "not_written")
        assert (place.recipes / "plate.yaml").read_bytes() == before
    finally:
        history.unlink()
        kept.rename(history)


def test_a_switch_that_cannot_be_told_is_taken_back(
    place: Shop, engineer: Caller, administrator: Caller
) -> None:
    engineer.step(place, 3, "asked")
    administrator.step(place, 3, "approved")
    before = (place.recipes / "plate.yaml").read_bytes()
    with closing(sqlite3.connect(place.store.url)) as store:
        store.execute(
            "CREATE TRIGGER full BEFORE INSERT ON audit WHEN NEW.action = 'release.switched' "
            "BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
        )
        store.commit()
        failed = engineer.switch(place, 3)
        store.execute("DROP TRIGGER full")
        store.commit()
    assert code(failed) == (503, "store_failed")
    assert (place.recipes / "plate.yaml").read_bytes() == before


def test_operators_look_only(place: Shop, web: WebProcess) -> None:
    with Caller(base_url=web.address, timeout=60) as client:
        client.enter("operator")
        assert client.get("/api/v1/models").status_code == 200
        assert client.step(place, 2, "asked").status_code == 403
        assert client.switch(place, 2).status_code == 403
        assert client.back(place, 1).status_code == 403
        assert client.post("/api/v1/jobs", json={"kind": "train"}).status_code == 403


def test_two_are_compared(engineer: Caller) -> None:
    asked = {"part": "plate", "first": 1, "second": 2}
    found = engineer.get("/api/v1/models/compare", params=asked)
    assert found.json()["releases"] == ["plate/1", "plate/2"]
    broken = engineer.get("/api/v1/models/compare", params={**asked, "second": 4})
    assert broken.status_code == 400
    assert "altered" in broken.json()["detail"]


def test_a_report_is_shown_and_cannot_act(engineer: Caller, visit: Callable[..., Any]) -> None:
    path = "/models/part/plate/3/report/report.html"
    headers = engineer.get(path).headers
    assert headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert engineer.get("/models/part/plate/3/report/release.json").status_code == 422
    assert engineer.get("/models/part/plate/3/report/none.html").status_code == 404
    visitor = visit()
    visitor.expected = ["sandbox", "Blocked script", "script-src", "Content Security Policy"]
    enter(visitor, "viewer")
    page: Page = visitor.go(path)
    expect(page.locator("#p")).to_have_css("color", "rgb(255, 0, 0)")
    assert page.title() != "ran"


def test_the_card_is_given_as_it_is(place: Shop, engineer: Caller) -> None:
    data = engineer.get("/api/v1/models/plate/2/card").content
    assert hashlib.sha256(data).hexdigest() == place.sha(2)


def shot(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize("size", ["desk", "touch"])
def test_pages(visit: Callable[..., Any], size: str, language: str) -> None:
    visitor = visit(size, language)
    enter(visitor, "administrator")
    for name, path in {
        "models": "/models",
        "release": "/models/part/plate/2",
        "damaged": "/models/part/plate/4",
        "compare": "/models/compare?part=plate&first=1&second=2",
        "jobs": "/models/jobs",
    }.items():
        page: Page = visitor.go(path)
        expect(page.locator("h1")).to_be_visible()
        visitor.check_access()
        shot(page, f"{name}-{size}-{language}")


def test_asked_by_one_approved_by_another_switched_and_back_in_the_browser(
    place: Shop, visit: Callable[..., Any]
) -> None:
    first = visit("touch")
    enter(first, "engineer")
    page: Page = first.go("/models/part/plate/1")
    page.get_by_label("Comment").fill(XSS)
    page.get_by_role("button", name="Ask for approval").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Approval asked", timeout=60_000)
    expect(page.get_by_text(XSS)).to_be_visible()
    expect(page.locator("#approval")).to_contain_text("another person decides")
    second = visit("desk")
    enter(second, "administrator")
    other: Page = second.go("/models/part/plate/1")
    other.get_by_role("button", name="Approve").click()
    expect(other.get_by_role("heading", level=1)).to_contain_text("Approved", timeout=60_000)
    page = first.go("/models/part/plate/3")
    button = page.locator("form.switch[data-recipe='1'] button")
    button.click()
    expect(button).to_have_text("Really change recipe 1?")
    button.click()
    expect(page.locator(".recipe .force")).to_have_count(1, timeout=60_000)  # every file is read
    assert place.in_force() == "plate/3"
    page.get_by_label("Recipe number, as in the PLC").fill("7")
    make = page.locator("#new-recipe button")
    make.click()
    expect(make).to_have_text("Really make recipe 7?")
    make.click()
    expect(page.locator(".recipe .force")).to_have_count(2, timeout=60_000)
    assert place.in_force(7) == "plate/3"
    page = first.go("/models")
    back = page.get_by_role("button", name="Roll back to plate/1")
    back.click()
    page.get_by_role("button", name="Really go back to plate/1?").click()
    row = page.locator("tr", has_text="plate.yaml")
    expect(row.get_by_role("link", name="plate/1")).to_be_visible(timeout=60_000)
    assert place.in_force() == "plate/1"


def test_a_server_that_is_gone_says_not_saved(
    place: Shop, visit: Callable[..., Any], web: WebProcess
) -> None:
    visitor = visit()
    visitor.expected = ["ERR_CONNECTION_REFUSED", "/line/events"]
    enter(visitor, "engineer")
    page: Page = visitor.go("/models/part/plate/3")
    before = (place.recipes / "plate.yaml").read_bytes()
    button = page.locator("form.switch[data-recipe='1'] button")
    button.click()
    killed = web.process
    web.kill()
    try:
        button.click()
        expect(page.locator("#said")).to_contain_text("NOT SAVED")
    finally:
        web.start()
        if killed.stdout:
            killed.stdout.close()
    assert (place.recipes / "plate.yaml").read_bytes() == before


def test_the_release_before(place: Shop) -> None:
    rows = [
        {"step": "in_force", "comment": "recipe:1", "number": n, "card_sha256": "a"}
        for n in (1, 2, 3, 2)
    ]
    assert approvals.before(rows, 1, 2) == 1
    assert approvals.before(rows[:3], 1, 3) == 2
    assert approvals.before(rows[:1], 1, 1) is None
    assert approvals.before(rows[:3], 1, 8) == 3
    assert approvals.before(rows, 2, 2) is None
