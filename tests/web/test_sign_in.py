"""First start, signing in and out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from web_process import PASSWORD, WebProcess
from web_shift import write_shift


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize("size", ["desk", "touch"])
def test_sign_in_page(visit: Callable[..., Any], size: str, language: str) -> None:
    visitor = visit(size, language)
    visitor.go("/sign-in")
    assert visitor.page.locator("html").get_attribute("lang") == language
    visitor.check_access()
    visitor.type_in("viewer")
    visitor.check_access()


def test_a_wrong_password_says_so(visit: Callable[..., Any]) -> None:
    visitor = visit()
    visitor.expected = ["401"]
    page: Page = visitor.go("/sign-in")
    page.locator("input[name=name]").fill("operator")
    page.locator("input[name=password]").fill("not the password")
    page.locator("main button.primary").click()
    assert "Name or password is wrong" in page.locator("[role=alert]").inner_text()
    assert page.url.endswith("/sign-in")


def test_the_first_start_makes_the_administrator(tmp_path: Path, visit: Callable[..., Any]) -> None:
    config = write_shift(tmp_path, 3)
    with WebProcess(config.url, log=tmp_path / "web.log") as web:
        code = web.read_setup_code()
        visitor = visit(address=web.address)
        page: Page = visitor.go(f"/setup?code={code}")
        visitor.check_access()
        page.locator("input[name=name]").fill("kim")
        page.locator("input[name=password]").fill(PASSWORD)
        page.locator("main button.primary").click()
        page.wait_for_url(lambda url: "/setup" not in url)
        page.wait_for_load_state()
        assert page.locator("body").get_attribute("data-role") == "administrator"
        page.goto(f"{web.address}/setup?code={code}")
        assert "/setup" not in page.url
        visitor.close()


@pytest.mark.parametrize("language", ["ko", "en"])
def test_who_signed_out_is_told_and_comes_back_to_the_page(
    visit: Callable[..., Any], language: str
) -> None:
    visitor = visit("touch", language)
    visitor.expected = ["401"]
    page: Page = visitor.sign_in("viewer")
    visitor.go("/results?serial=S%26T")
    expect(page.locator("#strip-server")).to_contain_text("●")
    csrf = page.locator("meta[name=csrf]").get_attribute("content")
    elsewhere = visitor.context.request
    elsewhere.post(f"{visitor.address}/sign-out", form={"csrf": csrf or ""}, max_redirects=0)
    again = page.locator("#sign-in-again")
    expect(again).to_be_visible(timeout=15_000)
    said = {"ko": "로그아웃되었습니다", "en": "You are signed out"}[language]
    expect(page.get_by_role("alert")).to_contain_text(said)
    expect(page.locator("#strip-server")).to_contain_text("■")
    visitor.check_access()
    again.click()
    page.locator("input[name=name]").fill("viewer")
    page.locator("input[name=password]").fill(PASSWORD)
    page.locator("main button.primary").click()
    page.wait_for_url("**/results?serial=S%26T")


def test_the_language_is_changed_where_one_is(visit: Callable[..., Any]) -> None:
    visitor = visit("touch", "en")
    page: Page = visitor.sign_in("viewer")
    visitor.go("/results?serial=S%26T")
    page.evaluate("history.pushState(null, '', '/results?serial=U%26V')")
    page.get_by_role("button", name="한국어").click()
    expect(page.locator("html")).to_have_attribute("lang", "ko")
    assert page.url == f"{visitor.address}/results?serial=U%26V"
    visitor.go("/sign-in?next=%2F%2Fevil.example")
    page.get_by_role("button", name="English").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    assert page.url.startswith(f"{visitor.address}/sign-in")
    assert page.locator("main [name=next]").input_value() == "/"
