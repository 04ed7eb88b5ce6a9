"""The header of every page: the sound, and a store that is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect
from web_visit import enter

from inspection.store.config import StoreConfig


def test_the_key_of_the_sound_goes_both_ways(visit: Callable[..., Any]) -> None:
    visitor = visit()
    enter(visitor, "operator")
    page = visitor.go("/review")
    button, outcome = page.locator("#sound"), page.locator("#outcome")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("m")
    expect(button).to_have_attribute("aria-pressed", "false")
    expect(outcome).to_have_text("The sound is off.")
    page.keyboard.press("m")
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(outcome).to_have_text("The sound is on.")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")


@pytest.mark.parametrize("language", ["ko", "en"])
def test_a_lost_store_is_told_on_every_page(
    visit: Callable[..., Any], shop: StoreConfig, language: str
) -> None:
    visitor = visit("touch", language)
    visitor.expected = ["503"]
    enter(visitor, "viewer")
    page = visitor.go("/results")
    expect(page.locator("#strip-server")).to_contain_text("●")
    folder = Path(str(shop.sqlite_path)).parent
    away = folder.with_name("away")
    said = {"ko": "저장소를 읽을 수 없습니다", "en": "The store cannot be read"}[language]
    folder.rename(away)
    try:
        expect(page.get_by_role("alert")).to_contain_text(said)
        visitor.check_access()
    finally:
        away.rename(folder)
    expect(page.locator("#connection")).to_be_hidden()
