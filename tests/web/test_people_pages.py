"""People, the own account, changing the person, audit and the API in the browser."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from web_process import PASSWORD

SHOTS = os.environ.get("INSPECTION_PAGE_SHOTS", "")
PIN = "4711"


def shot(visitor: Any, name: str) -> None:
    """Keep a picture for whoever looks at the pages, where a folder is named."""
    if SHOTS:
        size = visitor.page.viewport_size["width"]
        language = visitor.page.locator("html").get_attribute("lang")
        visitor.page.screenshot(path=Path(SHOTS) / f"{name}-{size}-{language}.png")


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize("size", ["desk", "touch"])
def test_pages(visit: Callable[..., Any], size: str, language: str) -> None:
    visitor = visit(size, language)
    visitor.sign_in("administrator")
    for name, path in {
        "people": "/people", "me": "/people/me", "audit": "/audit?check=true", "api": "/api",
    }.items():  # fmt: skip
        page: Page = visitor.go(path)
        expect(page.locator("h1")).to_be_visible()
        shot(visitor, name)
        visitor.check_access()
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, path


def test_add_change_and_deactivate(visit: Callable[..., Any]) -> None:
    visitor = visit("desk", "en")
    visitor.expected = ["409"]
    page: Page = visitor.sign_in("administrator")
    visitor.go("/people")
    form = page.locator("#add-person")
    form.locator("[name=name]").fill("park.m")
    form.locator("[name=display]").fill("박민수 <b>")
    form.locator("button").click()
    once = page.locator("#once-password")
    expect(once).to_have_text(re.compile(r"^\w{5}-\w{5}-\w{5}$"))
    password = once.inner_text()
    shot(visitor, "once")
    visitor.check_access()
    page.locator("#once-close").click()
    account = page.locator("form.account[data-name='park.m']")
    expect(account.locator("[name=display]")).to_have_value("박민수 <b>")
    assert password not in page.content()
    account.locator("[name=role]").select_option("engineer")
    account.get_by_role("button", name="Save").click()
    expect(page.locator("#said")).to_contain_text("Saved: park.m")
    last = page.locator("form.account[data-name='administrator']")
    last.get_by_role("button", name="Deactivate").click()
    expect(page.locator("#said")).to_contain_text("NOT SAVED: This is the last administrator")

    other = visit("touch", "ko")
    other.expected = ["401"]  # its stream ends with the session
    theirs: Page = other.go("/sign-in")
    theirs.locator("input[name=name]").fill("park.m")
    theirs.locator("input[name=password]").fill(password)
    theirs.locator("main button.primary").click()
    theirs.wait_for_url("**/people/me")
    other.check_access()
    theirs.locator("input[name=old]").fill(password)
    theirs.locator("input[name=password]").fill("내 비밀번호 2026!")
    theirs.locator("main button.primary").click()
    expect(theirs.locator("#said")).to_contain_text("저장했습니다.")

    account.get_by_role("button", name="Deactivate").click()
    expect(account).to_contain_text("May not sign in")
    theirs.reload()
    theirs.wait_for_url("**/sign-in?next=**")


@pytest.mark.parametrize("language", ["ko", "en"])
def test_changing_the_person_leaves_the_page_where_it_is(
    visit: Callable[..., Any], language: str
) -> None:
    visitor = visit("touch", language)
    visitor.expected = ["401"]
    page: Page = visitor.sign_in("operator")
    visitor.go("/people/me")
    page.locator("#set-pin [name=pin]").fill(PIN)
    page.locator("#set-pin [name=password]").fill(PASSWORD)
    page.locator("#set-pin button.primary").click()
    expect(page.locator("#said")).to_contain_text("✓")
    visitor.sign_in("engineer")
    visitor.go("/people/me")
    assert page.locator("#change-person").count() == 0
    page.locator("#trust [name=name]").fill(f"Line 1 {language}")
    page.locator("#trust button.primary").click()
    expect(page.locator("#change-person")).to_be_enabled()

    visitor.go("/results?serial=S")
    page.locator("#change-person").click()
    page.locator("#switch-who button").first.click()
    shot(visitor, "pin")
    visitor.check_access()
    for box in page.locator(".keypad button").all():
        found = box.bounding_box()
        assert found
        assert found["height"] >= 60
        assert found["width"] >= 80
    for digit in "0000":
        page.locator(f"[data-digit='{digit}']").click()
    page.locator("#pin-go").click()
    expect(page.locator("#switch-said")).to_be_visible()
    assert page.locator("body").get_attribute("data-person") == "engineer"
    for digit in PIN:
        page.locator(f"[data-digit='{digit}']").click()
    page.locator("#pin-go").click()
    expect(page.locator("body[data-person=operator]")).to_be_visible()
    assert page.url.endswith("/results?serial=S")

    page.locator("form[action='/sign-out'] button").click()
    page.wait_for_url("**/sign-in")
    shot(visitor, "sign-in-terminal")
    visitor.check_access()
    page.locator("#change-person").click()
    page.locator("#switch-who button").first.click()
    page.keyboard.type(PIN)
    page.keyboard.press("Enter")
    expect(page.locator("body[data-person=operator]")).to_be_visible()


def test_a_digit_of_the_pin_judges_no_part(visit: Callable[..., Any]) -> None:
    visitor = visit("desk", "en")
    page: Page = visitor.sign_in("engineer")
    visitor.go("/people/me")
    page.locator("#trust [name=name]").fill("Line 2")
    page.locator("#trust button.primary").click()
    expect(page.locator("#change-person")).to_be_enabled()
    visitor.go("/review")
    expect(page.locator("#change-person")).to_be_enabled()
    page.evaluate(
        "window.heard = []; document.addEventListener('keydown', (e) => window.heard.push(e.code))"
    )
    page.locator("#change-person").click()
    page.locator("#switch-close").focus()
    page.keyboard.press("Digit1")
    page.keyboard.press("KeyN")
    assert page.evaluate("window.heard") == []
    page.keyboard.press("Escape")
    expect(page.locator("#switch")).to_be_hidden()


def test_audit_is_filtered(visit: Callable[..., Any]) -> None:
    visitor = visit("desk", "en")
    page: Page = visitor.sign_in("engineer")
    visitor.go("/audit")
    page.locator("[name=action]").select_option("sign_in")
    page.locator("[name=who]").fill("engineer")
    page.locator("form.filter button").click()
    page.wait_for_url("**who=engineer**")
    cells = page.locator(".audit-table tbody td:nth-child(4)").all_inner_texts()
    assert cells
    assert set(cells) <= {"Signed in", "Signed in with a PIN"}
    page.get_by_role("link", name="Check the whole chain").click()
    expect(page.locator(".notice")).to_contain_text("the chain is whole")
