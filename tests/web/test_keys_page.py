"""Keys of machines on the People page: made, shown once, revoked; Korean and English, desk and touch."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

SHOTS = os.environ.get("INSPECTION_PAGE_SHOTS", "")
SAID = {
    "ko": {"title": "키 (한 번만 표시)", "revoked": "폐기됨", "sure": "정말 폐기하시겠습니까?"},
    "en": {"title": "Key, shown once", "revoked": "Revoked", "sure": "Really revoke it?"},
}  # fmt: skip


def shot(visitor: Any, name: str) -> None:
    """Keep a picture for whoever looks at the pages, where a folder is named."""
    if SHOTS:
        size = visitor.page.viewport_size["width"]
        language = visitor.page.locator("html").get_attribute("lang")
        path = Path(SHOTS) / f"{name}-{size}-{language}.png"
        visitor.page.screenshot(path=path, full_page=True)


@pytest.mark.parametrize(("size", "language"), [("desk", "ko"), ("touch", "ko"), ("desk", "en")])
def test_a_key_is_made_shown_once_and_revoked(
    visit: Callable[..., Any], size: str, language: str
) -> None:
    visitor, said = visit(size, language), SAID[language]
    visitor.expected = ["409", "401"]
    page: Page = visitor.sign_in("administrator")
    visitor.go("/people")
    name = f"mes-{size}-{language}"
    form = page.locator("#make-key")
    form.locator("[name=name]").fill(name)
    form.locator("[name=last_day]").fill("2099-12-31")
    form.locator("[name=pictures]").check()
    form.locator("button").click()
    secret = page.locator("#key-once-secret")
    expect(secret).to_contain_text("ik_")
    expect(page.locator("#key-once-title")).to_have_text(said["title"])
    key = secret.inner_text()
    assert len(key) == 46
    shot(visitor, "key-once")
    visitor.check_access()
    page.locator("#key-once-close").click()
    row = page.locator(f"[data-key='{name}']")
    expect(row).to_contain_text("✓")
    assert key not in page.content()
    asked = {"headers": {"Authorization": f"Bearer {key}"}}
    assert httpx.get(f"{visitor.address}/api/v1/results", **asked).status_code == 200
    shot(visitor, "keys")
    visitor.check_access()
    wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0

    form.locator("[name=name]").fill(name)
    form.locator("button").click()
    expect(page.locator("#said")).to_contain_text("■")
    revoke = row.locator("button.revoke")
    revoke.click()
    expect(revoke).to_have_text(said["sure"])
    assert httpx.get(f"{visitor.address}/api/v1/results", **asked).status_code == 200
    revoke.click()
    expect(row).to_contain_text(said["revoked"])
    expect(row.locator("button")).to_have_count(0)
    shot(visitor, "keys-revoked")
    visitor.check_access()
    assert httpx.get(f"{visitor.address}/api/v1/results", **asked).status_code == 401
