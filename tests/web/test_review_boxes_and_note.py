"""Beside the decision: the list of boxes, the note, false calls struck through, a scanner set too slow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, Page, expect

from inspection.store.config import StoreConfig
from inspection.store.queries import StoreReader


def free(page: Page, record: int | None = None) -> Locator:
    """Wait until a part is painted and may be judged."""
    place = "" if record is None else f'[data-painted="{record}"]'
    found = page.locator(f'#review[data-phase="shown"][data-free="true"]{place}')
    expect(found).to_be_attached(timeout=15_000)
    return found


def shown(page: Page) -> int:
    return int(page.locator("#review").get_attribute("data-painted") or 0)


def comments(shop: StoreConfig, record: int) -> list[tuple[str, str]]:
    with StoreReader(shop) as reader:
        found = reader.part(record)
    assert found is not None
    return [(row["verdict"], row["comment"]) for row in found[1]]


def at_review(visit: Callable[..., Any], query: str = "", **options: Any) -> tuple[Any, Page]:
    visitor = visit(**options)
    visitor.expected = ["/line/events"]
    visitor.sign_in("operator")
    page: Page = visitor.go(f"/review{query}")
    free(page)
    return visitor, page


def test_the_list_of_boxes_and_the_picture_are_one(
    visit: Callable[..., Any], shop: StoreConfig
) -> None:
    """A box of the list leads to its place; false calls are struck through once that is saved."""
    _, page = at_review(visit, "?decision=FAIL")  # a passed part of the sample has no boxes
    record, box = shown(page), page.locator("#found button").first
    expect(page.locator("#found")).not_to_have_class("found struck")
    box.click()
    expect(box).to_have_attribute("aria-current", "true")
    expect(page.locator(".viewer-label").first).to_contain_class("viewer-marked")
    page.keyboard.press("o")
    page.locator("#choices button").first.click()
    expect(page.locator("#outcome")).to_contain_text(str(record))
    free(page)
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#review")).to_have_attribute("data-painted", str(record))
    expect(page.locator(".viewer-layer").first).to_contain_class("viewer-struck")
    expect(page.locator("#found")).to_contain_class("struck")
    page.keyboard.press("u")
    free(page, record)
    expect(page.locator(".viewer-layer").first).not_to_contain_class("viewer-struck")


def test_a_note_is_saved_with_the_decision_and_takes_no_scan(
    visit: Callable[..., Any], shop: StoreConfig
) -> None:
    visitor, page = at_review(visit, "?decision=FAIL", size="touch")
    record, note = shown(page), page.locator("#note textarea")
    page.locator("#add-note").tap()
    note.press_sequentially("no light", delay=40)
    page.keyboard.type("1018")
    page.keyboard.press("Enter")
    expect(note).to_have_value("no light")
    expect(page.locator("#note-problem")).to_contain_text("1018")
    visitor.check_access()
    page.locator("#note button.primary").tap()
    expect(page.locator("#add-note")).to_have_attribute("aria-pressed", "true")
    height = page.viewport_size["height"]
    assert page.evaluate("document.documentElement.scrollHeight") <= height
    for name in ("ng", "ok", "undo", "add-note", "found"):
        found = page.locator(f"#{name}").bounding_box()
        assert found is not None
        assert found["height"] >= 48
        assert found["y"] + found["height"] <= height
    page.keyboard.press("s")
    expect(page.locator("#outcome")).to_contain_text(str(record))
    assert comments(shop, record)[-1] == ("unsure", "no light")
    free(page)
    expect(page.locator("#add-note")).to_have_attribute("aria-pressed", "false")


def test_a_scanner_that_is_too_slow_is_told(visit: Callable[..., Any]) -> None:
    _, page = at_review(visit)
    page.keyboard.type("QWVY", delay=60)
    page.keyboard.press("Enter")
    expect(page.locator("#banner")).to_contain_text("scanner")


def test_the_limit_samples_open_in_the_same_tab(visit: Callable[..., Any]) -> None:
    """A kiosk has no tabs: the way back is the header, and the key back of the browser."""
    _, page = at_review(visit)
    page.keyboard.press("k")
    page.wait_for_url("**/book?part=*")
