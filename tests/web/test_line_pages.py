"""The line's pages over a running line: state, picture, alarms, control; and when it is gone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from station_rig import Process, Rig, until
from web_process import WebProcess, add_people

from inspection.config import load_station
from inspection.store.web import alarms
from inspection.store.web.access import WebStore
from inspection.store.web.alarms import Rules


class Plant:
    """A PLC without parts of its own, a line and its pages."""

    def __init__(self, folder: Path) -> None:
        self.rig = Rig(folder, camera={"defect_rate": 1.0})
        self.rig.recipe(2)
        self.rig.station["recipe"] = 1
        self.rig.write()
        self.plc = self.rig.plc(takt=0.4, recipe=0)  # a PLC that leaves the recipe to people
        self.line: Process = self.rig.start_line()
        until(lambda: self.plc.counters.triggers >= 6, 60, "parts")
        config = load_station(folder / "station.yaml").store
        add_people(config)
        store = WebStore(config)
        with store.write("rules for a test") as connection:
            alarms.set_rules(connection, Rules(0, 1.0, 5), "engineer")
        store.close()

    def close(self) -> None:
        self.line.stop()
        self.plc.stop()


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    found = Plant(tmp_path_factory.mktemp("plant"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def web(plant: Plant) -> Iterator[WebProcess]:
    folder = plant.rig.folder
    with WebProcess(folder / "station.yaml", log=folder / "web.log") as process:
        yield process


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize("size", ["desk", "touch"])
def test_every_page_shows_the_line(visit: Callable[..., Any], size: str, language: str) -> None:
    visitor = visit(size, language)
    visitor.sign_in("engineer")
    page = visitor.go("/line")
    expect(page.locator("[data-part=card] .stands")).to_contain_text("●")
    expect(page.locator("#strip-server")).to_contain_text("●")
    expect(page.locator(".strip-release")).to_have_text(re.compile("(Recipe|레시피) 1 · .+/1"))
    expect(page.locator(".strip-shift")).to_be_visible(visible=size == "desk")
    visitor.check_access()
    page = visitor.go("/line/test")
    expect(page.locator("[data-frame-age]")).to_contain_text(re.compile("[0-9]"))
    expect(page.locator("#live")).to_have_attribute("src", re.compile("^blob:"))
    expect(page.locator("#boxes rect").first).to_be_attached()
    expect(page.locator(".parts li")).to_have_count(12)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    visitor.check_access()


@pytest.mark.parametrize("language", ["ko", "en"])
def test_the_header_of_an_administrator_has_two_rows(
    visit: Callable[..., Any], language: str
) -> None:
    """With every area, a running line and a trusted terminal; each target is 48 px, also at 200 % zoom."""
    visitor = visit("touch", language)
    page = visitor.sign_in("administrator")
    visitor.go("/people/me")
    page.locator("#trust [name=name]").fill(f"Line 1 {language}")
    page.locator("#trust button.primary").click()
    expect(page.locator("#change-person")).to_be_enabled()
    for width, height, most in (
        (1920, 1080, 96),
        (1024, 768, 96),
        (800, 600, 144),
        (512, 384, 288),
    ):
        page.set_viewport_size({"width": width, "height": height})
        expect(page.locator("#strip-line .device")).to_have_count(4)
        box = page.locator("header.top").bounding_box()
        assert box
        assert box["height"] <= most + 1, width
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), width
        found = page.locator("header.top a, header.top button").all()
        assert len(found) >= 12
        for target in found:
            size = target.bounding_box()
            assert size
            assert min(size["width"], size["height"]) >= 48, (width, target.inner_text())
            assert size["x"] >= 0
            assert size["x"] + size["width"] <= width
        visitor.check_access()


def test_freeze_keeps_the_picture_and_says_so(visit: Callable[..., Any]) -> None:
    visitor = visit()
    visitor.sign_in("viewer")
    page = visitor.go("/line/test")
    expect(page.locator("#live")).to_have_attribute("src", re.compile("^blob:"))
    page.locator("#freeze").click()
    expect(page.locator("#picture-state")).to_contain_text("Frozen")
    kept, part = page.locator("#live").get_attribute("src"), page.locator(".parts li").first
    newest = part.inner_text()
    expect(part).not_to_have_text(newest)
    assert page.locator("#live").get_attribute("src") == kept
    page.locator("#freeze").click()
    expect(page.locator("#live")).not_to_have_attribute("src", str(kept))


def test_a_high_ng_rate_is_an_alarm_that_an_operator_acknowledges(
    visit: Callable[..., Any],
) -> None:
    visitor = visit("touch")
    visitor.sign_in("operator")
    page = visitor.go("/line/test")
    alarm = page.locator(".alarm", has_text="NG rate is high")
    expect(alarm).to_be_visible()
    alarm.get_by_role("button", name="Acknowledge").click()
    visitor.check_access()
    page.locator("dialog textarea").fill("<b>feeder cleaned</b>")
    page.locator("dialog select").select_option("10")
    page.locator("dialog button.primary").click()
    expect(alarm).to_contain_text("acknowledged by operator")
    expect(alarm).to_contain_text("<b>feeder cleaned</b>")
    expect(alarm).to_contain_text("shelved until")


def test_a_viewer_may_only_look(visit: Callable[..., Any]) -> None:
    visitor = visit()
    visitor.expected = ["403"]
    visitor.sign_in("viewer")
    page = visitor.go("/line/test")
    expect(page.locator("[data-frame-age]")).to_contain_text(re.compile("[0-9]"))
    assert page.locator("#take").count() == 0
    expect(page.locator(".acknowledge").first).to_be_hidden()
    status = page.evaluate(
        """async () => (await fetch("/api/v1/line/test/control", {method: "POST", body: "{}", headers: {
        "Content-Type": "application/json",
        "X-CSRF-Token": document.querySelector("meta[name=csrf]").content}})).status"""
    )
    assert status == 403


def test_an_engineer_takes_control_and_changes_the_recipe(
    visit: Callable[..., Any], plant: Plant
) -> None:
    first, second = visit(), visit()
    second.expected = ["409"]
    first.sign_in("engineer")
    page = first.go("/line/test")
    second.sign_in("administrator")
    other = second.go("/line/test")
    page.locator("#take").click()
    expect(page.locator("#holder")).to_contain_text("You have control")
    expect(other.locator("#holder")).to_contain_text("engineer has control")
    expect(other.locator("#take")).to_be_hidden()
    page.locator("#change select").select_option("2")
    page.locator("#change button").click()
    expect(page.locator("[data-part=recipe]")).to_contain_text("Recipe 2: in force")
    expect(page.locator("[data-part=recipe] dd").first).to_have_text("2")
    until(lambda: plant.rig.rows("recipe_number = 2 and decision = 'FAIL'"), what="a part")
    other.locator("#force").click()
    expect(other.locator("#holder")).to_contain_text("You have control")
    expect(page.locator("#holder")).to_contain_text("administrator has control")
    other.locator("#back").click()
    expect(page.locator("#holder")).to_contain_text("Nobody has control")


def test_a_killed_line_is_told_within_three_seconds(
    visit: Callable[..., Any], plant: Plant
) -> None:
    visitor = visit()
    visitor.sign_in("operator")
    page = visitor.go("/line/test")
    expect(page.locator("[data-part=state] .stands")).to_contain_text("Ready")
    page.locator("#sound").click()
    expect(page.locator("#sound")).to_have_attribute("aria-pressed", "true")
    plant.line.kill()
    expect(page.locator("[data-part=state] .stands")).to_contain_text(
        "The line says nothing", timeout=6000
    )
    expect(page.locator("#picture-state")).to_contain_text("Old picture")
    expect(page.locator(".strip-state")).to_contain_text("The line says nothing")
    expect(page.locator("body")).to_have_attribute("data-tone", "fault")
    expect(page.locator(".station [data-age]")).to_have_class(re.compile("old"))
    visitor.check_access()
    plant.line = plant.rig.start_line()
    expect(page.locator("[data-part=state] .stands")).to_contain_text("Ready", timeout=30_000)


def test_a_killed_server_is_told_and_comes_back_by_itself(
    visit: Callable[..., Any], web: WebProcess
) -> None:
    visitor = visit("touch")
    visitor.expected = ["ERR_"]
    visitor.sign_in("viewer")
    page = visitor.go("/line/test")
    expect(page.locator("#strip-server")).to_contain_text("● Server")
    web.kill()
    expect(page.locator("#connection")).to_be_visible(timeout=6000)
    expect(page.locator("#strip-server")).to_contain_text("Server lost")
    visitor.check_access()
    web.start()
    expect(page.locator("#connection")).to_be_hidden(timeout=30_000)
    expect(page.locator("#strip-server")).to_contain_text("● Server")
