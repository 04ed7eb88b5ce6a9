"""First start, signing in and out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page
from web_process import PASSWORD, WebProcess
from web_shift import write_shift


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize("size", ["desk", "touch"])
def test_sign_in_page(visit: Callable[..., Any], size: str, language: str) -> None:
    visitor = visit(size, language)
    visitor.go("/sign-in")
    assert visitor.page.locator("html").get_attribute("lang") == language
    visitor.check_access()
    visitor.sign_in("viewer")
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
        assert web.setup_code
        visitor = visit(address=web.address)
        page: Page = visitor.go(f"/setup?code={web.setup_code}")
        visitor.check_access()
        page.locator("input[name=name]").fill("kim")
        page.locator("input[name=password]").fill(PASSWORD)
        page.locator("main button.primary").click()
        page.wait_for_url(lambda url: "/setup" not in url)
        page.wait_for_load_state()
        assert page.locator("body").get_attribute("data-role") == "administrator"
        page.goto(f"{web.address}/setup?code={web.setup_code}")
        assert "/setup" not in page.url
