"""Results in the browser: search, a part's story, what must be sorted again."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from playwright.sync_api import Page, expect

from inspection.store.config import StoreConfig
from inspection.store.web import story
from inspection.store.web.access import WebStore
from inspection.store.web.tables import reviews

SHOTS = os.environ.get("INSPECTION_SHOTS")


def shoot(page: Page, name: str) -> None:
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/{name}.png", full_page=True)


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize("size", ["desk", "touch"])
def test_every_page(visit: Callable[..., Any], size: str, language: str) -> None:
    visitor = visit(size, language)
    visitor.sign_in("viewer")
    paths = {
        "search": "/results",
        "none": "/results?serial=nothing",
        "wrong": "/results?since=yesterday&part=x",
        "pass": "/results/1",
        "fail": "/results/3",
        "blind": "/results/12",
        "sorting": "/results/sorting",
        "sorted": "/results/sorting?station=st1&good=2",
    }
    for name, path in paths.items():
        visitor.expected = ["422"]
        page = visitor.go(path)
        expect(page.locator("h1")).to_be_visible()
        shoot(page, f"{name}-{size}-{language}")
        visitor.check_access()
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, f"{path} is {wide} pixels too wide"


def test_a_search_swaps_the_table_and_keeps_the_address(visit: Callable[..., Any]) -> None:
    visitor = visit()
    visitor.sign_in("viewer")
    page = visitor.go("/results")
    expect(page.locator("#found tbody tr")).to_have_count(24)
    page.evaluate("window.stayed = true")
    page.locator("select[name=decision]").select_option("FAIL")
    expect(page.locator("#found tbody tr")).to_have_count(4)
    expect(page).to_have_url(re.compile("decision=FAIL"))
    assert page.evaluate("window.stayed") is True
    expect(page.locator("#found")).to_contain_text("4 parts")
    page.locator("input[name=serial]").fill("S3")
    page.locator("#search button.primary").click()
    expect(page.locator("#found tbody tr")).to_have_count(1)
    page.reload()
    expect(page.locator("#found tbody tr")).to_have_count(1)
    expect(page.locator("select[name=decision]")).to_have_value("FAIL")


def test_a_search_without_an_answer_says_so(visit: Callable[..., Any]) -> None:
    visitor = visit()
    visitor.expected = ["ERR_", "Failed to load", "fetch"]
    visitor.sign_in("viewer")
    page = visitor.go("/results")
    visitor.context.set_offline(True)
    page.locator("select[name=decision]").select_option("FAIL")
    expect(page.locator("#busy")).to_contain_text("No answer")
    visitor.context.set_offline(False)


def test_it_works_without_scripts(visit: Callable[..., Any]) -> None:
    visitor = visit(java_script_enabled=False)
    visitor.sign_in("viewer")
    page = visitor.go("/results")
    page.locator("select[name=decision]").select_option("REVIEW")
    page.locator("#search button.primary").click()
    expect(page.locator("#found tbody tr")).to_have_count(2)
    page.locator("#found a.open").first.click()
    expect(page.locator("h1")).to_contain_text("Part 18")
    page.locator("a[rel=prev]").click()
    expect(page.locator("h1")).to_contain_text("Part 17")
    expect(page.locator(".why")).to_contain_text("was exposed 1 ms after the trigger")


def test_sorting_begins_at_the_last_part_that_people_confirmed(
    visit: Callable[..., Any], shop: StoreConfig
) -> None:
    store = WebStore(shop)
    with store.write("reviews") as connection:
        for record, verdict in ((4, "false_call"), (10, "missed")):
            connection.execute(sa.delete(reviews).where(reviews.c.record == record))
            row = story.part_at(connection, record)
            values = {
                "record": record, "state": "done", "why": "sample", "probability": 0.1, "version": 1,
                "verdict": verdict, "who": "kim", "station": "st1", "decision": "PASS", "reason": "NONE",
                "recipe_number": 1, "part_name": "plate", "release": "plate/1",
                "triggered_at": row["triggered_at"], "changed_at": row["triggered_at"],
            }  # fmt: skip
            connection.execute(sa.insert(reviews), values)
    store.close()
    visitor = visit()
    visitor.sign_in("viewer")
    page = visitor.go("/results/10")
    page.get_by_text("what must be sorted again?").click()
    expect(page.locator("h2")).to_contain_text("13 passed parts")
    expect(page.locator("main")).to_contain_text("Part 10 passed and was bad")
    expect(page.locator("main")).to_contain_text(
        "same recipe and model judged (1, plate/1, with the same"
    )
    expect(page.locator("main")).to_contain_text("is 4 of")
    page.get_by_role("link", name="Show the parts").click()
    expect(page.locator("#found")).to_contain_text("13 parts")


def test_a_finding_leads_to_its_place_in_the_viewer(visit: Callable[..., Any]) -> None:
    visitor = visit()
    visitor.sign_in("engineer")
    page = visitor.go("/results/3?finding=1")
    expect(page.locator("#stage[data-shown=yes]")).to_be_visible()
    expect(page.locator("a.finding[aria-current=true]")).to_have_count(1)
    page = visitor.go("/results/3")
    page.locator("a.finding").first.click()
    expect(page.locator("a.finding").first).to_have_attribute("aria-current", "true")
    expect(page).to_have_url(re.compile(r"finding=1$"))
    page.get_by_role("link", name="Add to the limit samples").click()
    expect(page.locator("#add")).to_have_attribute("data-record", "3")
