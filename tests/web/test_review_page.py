"""The review station in a browser: judged by keys and by touch, never a part that was not seen."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect
from web_shift import add_part

from inspection.store.config import StoreConfig
from inspection.store.queries import StoreReader
from inspection.store.sql import SqlStore
from inspection.store.web import review
from inspection.store.web.access import WebStore
from inspection.store.web.people import Person, Role
from inspection.types import Verdict


def free(page: Page, record: int | None = None) -> Locator:
    """Wait until a part is painted and may be judged."""
    place = "" if record is None else f'[data-painted="{record}"]'
    found = page.locator(f'#review[data-phase="shown"][data-free="true"]{place}')
    expect(found).to_be_attached(timeout=15_000)
    return found


def shown(page: Page) -> int:
    return int(page.locator("#review").get_attribute("data-painted") or 0)


def said(shop: StoreConfig, record: int) -> list[dict[str, Any]]:
    with StoreReader(shop) as reader:
        found = reader.part(record)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize("size", ["desk", "touch"])
def test_the_page(visit: Callable[..., Any], size: str, language: str) -> None:
    visitor = visit(size, language)
    visitor.expected = ["/line/events"]
    visitor.sign_in("engineer")
    page: Page = visitor.go("/review")
    free(page)
    visitor.check_access()
    for name in ("ng", "ok"):
        box = page.locator(f"#{name}").bounding_box()
        assert box is not None
        assert box["height"] >= 96
        assert box["y"] + box["height"] <= page.viewport_size["height"], "in the window"
    ng, ok = page.locator("#ng").bounding_box(), page.locator("#ok").bounding_box()
    assert ok["y"] - (ng["y"] + ng["height"]) >= 16
    nothing_is_below_the_window(page)
    page.locator("[data-action=adjust]").click()
    for button in page.locator(".tools:visible button, .tools:visible a").all():
        box = button.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= 48, button.inner_text()
    nothing_is_below_the_window(page)
    visitor.check_access()
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    visitor.check_access()
    page.keyboard.press("Escape")
    visitor.go("/review/rules")
    visitor.check_access()


def nothing_is_below_the_window(page: Page) -> None:
    """The picture and what decides are seen without scrolling, whatever rows the header has."""
    height = page.viewport_size["height"]
    assert page.evaluate("document.documentElement.scrollHeight") <= height
    assert page.locator(".panel").evaluate("(e) => e.scrollHeight - e.clientHeight") <= 0
    for name in ("ng", "ok", "unsure", "undo", "viewer"):
        box = page.locator(f"#{name}").bounding_box()
        assert box is not None
        assert box["height"] >= (200 if name == "viewer" else 48)
        assert box["y"] + box["height"] <= height


def at_review(
    visit: Callable[..., Any], role: str = "operator", *, query: str = "", **options: Any
) -> tuple[Any, Page]:
    visitor = visit(**options)
    visitor.expected = ["/line/events"]
    visitor.sign_in(role)
    page: Page = visitor.go(f"/review{query}")
    free(page)
    return visitor, page


def test_keys_judge_what_was_seen(visit: Callable[..., Any], shop: StoreConfig) -> None:
    """Confirm, overrule with a reason, undo; a double press judges one part."""
    _, page = at_review(visit, language="ko")
    first = shown(page)
    page.keyboard.type("nnn", delay=60)
    expect(page.locator("#outcome")).to_contain_text(str(first))
    free(page)
    second = shown(page)
    assert second != first
    assert [row["verdict"] for row in said(shop, first)] == ["real_defect"]
    assert said(shop, second) == [], "the second press came before the second part was seen"
    skip_to(page, "FAIL")
    third = shown(page)
    hangul(page, "ㅐ", "KeyO")
    expect(page.locator("#choose")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#choose")).to_be_hidden()
    assert said(shop, third) == [], "Esc saves nothing"
    page.keyboard.press("o")
    expect(page.locator("#choose")).to_be_visible()
    page.keyboard.press("Numpad2")
    expect(page.locator("#outcome")).to_contain_text(str(third))
    row = said(shop, third)[-1]
    assert (row["verdict"], row["reason_code"], row["who"]) == ("false_call", "glare", "operator")
    assert row["seen"]["shown"] >= 0.3
    free(page)
    page.keyboard.press("Control+z")
    free(page, third)
    assert [row["verdict"] for row in said(shop, third)] == ["false_call", "not_reviewed"]
    assert said(shop, third)[-1]["reason_code"] == "UNDO"
    expect(page.locator("#outcome")).to_contain_text("PLC")


def test_the_next_part_waits_until_the_server_said_saved(
    visit: Callable[..., Any], shop: StoreConfig
) -> None:
    """Drawn unseen beforehand, and shown not a moment too early; no key judges anything meanwhile."""
    _, page = at_review(visit)
    first, held = shown(page), []

    def hold(route: Any) -> None:
        held.append(route)

    page.route("**/verdict", hold)
    page.keyboard.press("s")
    expect(page.locator('#review[data-phase="saving"]')).to_be_attached()
    page.keyboard.press("n")
    page.wait_for_timeout(400)
    assert shown(page) == first
    expect(page.locator("#part-title")).to_contain_text(str(first))
    expect(page.locator("#ng")).to_be_disabled()
    assert len(held) == 1
    held[0].continue_()
    free(page)
    assert shown(page) != first
    assert [row["verdict"] for row in said(shop, first)] == ["unsure"]


def skip_to(page: Page, decision: str) -> None:
    """Go on until the machine's decision is this."""
    for _ in range(12):
        free(page)
        if decision in (page.locator("#machine").get_attribute("class") or ""):
            return
        before = shown(page)
        page.keyboard.press("ArrowRight")
        expect(page.locator("#review")).not_to_have_attribute("data-painted", str(before))
    raise AssertionError(decision)


def hangul(page: Page, key: str, code: str) -> None:
    """Press a key as Chromium tells it in Hangul mode."""
    page.evaluate(
        "([key, code]) => document.body.dispatchEvent(new KeyboardEvent('keydown',"
        "{key, code, keyCode: 229, bubbles: true, cancelable: true}))",
        [key, code],
    )


def test_hangul_keys(visit: Callable[..., Any]) -> None:
    """By place; by jamo where there is no place; by letting go where the input method took the key."""
    _, page = at_review(visit, language="ko")
    boxes = page.locator("[data-action=boxes]")
    on = True
    for key, code in [("ㅠ", "KeyB"), ("ㅠ", ""), ("Process", "KeyB"), ("b", "")]:
        expect(boxes).to_have_attribute("aria-pressed", str(on).lower())
        hangul(page, key, code)
        on = not on
        expect(boxes).to_have_attribute("aria-pressed", str(on).lower())
    hangul(page, "Process", "")
    page.evaluate(
        "() => document.body.dispatchEvent(new KeyboardEvent('keyup',"
        "{key: 'b', code: 'KeyB', bubbles: true}))"
    )
    expect(boxes).to_have_attribute("aria-pressed", str(not on).lower())


def test_a_scanner_opens_its_part_and_presses_no_key(
    visit: Callable[..., Any], shop: StoreConfig
) -> None:
    visitor, page = at_review(visit)
    visitor.expected += ["find?text=NSOB"]
    before = shown(page)
    page.keyboard.type("NSOB")
    page.keyboard.press("Enter")
    expect(page.locator("#outcome")).to_contain_text("NSOB")
    assert shown(page) == before
    page.keyboard.type("1018")
    page.keyboard.press("Enter")
    free(page, 18)
    assert said(shop, 18) == []
    expect(page.locator("[data-action=boxes]")).to_have_attribute("aria-pressed", "true")


def test_two_browsers_on_one_part(visit: Callable[..., Any], shop: StoreConfig) -> None:
    """One decides; the other is told within two seconds, or by the refusal, and cannot judge."""
    first_visitor, one = at_review(visit)
    second_visitor, two = at_review(visit, "engineer")
    one.goto(first_visitor.address + "/review?")
    free(one)
    record = shown(one)
    before = len(said(shop, record))
    two.keyboard.press("Escape")
    if shown(two) != record:
        two.locator(f"#items button[data-record='{record}']").click()
    free(two, record)
    one.keyboard.press("l")
    expect(one.locator("#outcome")).to_contain_text(str(record))
    expect(two.locator("#banner")).to_be_visible(timeout=2_500)
    expect(two.locator("#banner")).to_contain_text("operator")
    assert shown(two) == record, "the part on the screen stays"
    expect(two.locator("#ng")).to_be_disabled()
    two.keyboard.press("n")
    assert [row["who"] for row in said(shop, record)[before:]] == ["operator"]
    second_visitor.expected += ["409"]
    two.get_by_role("button", name="Go on").click()
    free(two)
    assert shown(two) != record


def test_the_refusal_tells_when_the_look_was_too_late(
    visit: Callable[..., Any], shop: StoreConfig
) -> None:
    visitor = visit()
    visitor.expected = ["/line/events", "409", "net::ERR"]
    page: Page = visitor.sign_in("operator")
    # Before the page is opened: a look that is under way already would tell of the other's verdict.
    page.route("**/api/v1/reviews/news*", lambda route: route.abort())
    visitor.go("/review")
    free(page)
    record = shown(page)
    before = len(said(shop, record))
    _judge_behind(shop, record, before)
    page.keyboard.press("s")  # soon after midnight a drawn part comes first, which asks after `n`
    expect(page.locator("#banner")).to_contain_text("NOT SAVED")
    assert shown(page) == record, "the part that was not saved is on the screen"
    assert [row["who"] for row in said(shop, record)[before:]] == ["kim"]


def _judge_behind(shop: StoreConfig, record: int, version: int) -> None:
    """Somebody else judges the part."""
    store = WebStore(shop)
    kim = Person(99, "kim", "Kim", Role.OPERATOR, "ko", False, {}, "", "", "")
    word = review.Word(Verdict.UNSURE, version, "another-browser")
    with store.write("a test") as connection:
        review.decide(connection, record, word, kim, review.Rules(frozenset(), frozenset()))
    store.close()


def test_the_view_is_set_by_touch(visit: Callable[..., Any]) -> None:
    """Light, 1:1 and a zoom that stays have buttons with a text; what is set is said."""
    _, page = at_review(visit, size="touch")
    canvas = page.locator(".viewer-canvas canvas").first
    page.locator("[data-action=adjust]").tap()
    for name in ("brighter", "flatter", "stronger", "one", "keep"):
        page.locator(f"[data-action={name}]").tap()
    assert canvas.evaluate("(e) => e.style.filter") == "brightness(1.2) contrast(0.8)"
    expect(page.locator("#view-state")).to_have_text("Brightness 120%, contrast 80%, heat map 80%")
    expect(page.locator("[data-action=adjust]")).to_have_text("Adjusted")
    expect(page.locator("[data-action=keep]")).to_have_attribute("aria-pressed", "true")
    page.locator("[data-action=plain]").tap()
    expect(page.locator("[data-action=adjust]")).to_have_text("Adjust")
    page.locator("[data-action=adjust]").tap()
    expect(page.locator("#adjusting")).to_be_hidden()


def test_keys_can_be_changed(visit: Callable[..., Any]) -> None:
    visitor, page = at_review(visit, "administrator")
    page.keyboard.press("?")
    page.locator("[data-change=boxes]").click()
    page.keyboard.press("n")
    expect(page.locator("#help-problem")).to_contain_text("Confirm NG")
    page.keyboard.press("v")
    expect(page.locator("[data-action=boxes] kbd")).to_have_text("V")
    page.keyboard.press("Escape")
    visitor.go("/review")
    free(page)
    page.keyboard.press("v")
    expect(page.locator("[data-action=boxes]")).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("?")
    page.locator("#help-restore").click()
    expect(page.locator("[data-action=boxes] kbd")).to_have_text("B")


def test_a_new_part_is_told_and_changes_nothing(
    visit: Callable[..., Any], shop: StoreConfig
) -> None:
    _, page = at_review(visit)
    before, rows = shown(page), page.locator("#items li").count()
    store = SqlStore(shop)
    epoch = store.begin_epoch("st2", "start")
    add_part(store, shop, 3, epoch, "st2")
    store.close()
    expect(page.locator("#came")).to_be_visible(timeout=4_000)
    assert (shown(page), page.locator("#items li").count()) == (before, rows)
    page.locator("#came").click()
    expect(page.locator("#items li")).to_have_count(rows + 1)
    assert shown(page) == before
