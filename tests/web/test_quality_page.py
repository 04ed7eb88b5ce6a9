"""The quality page in a browser: its numbers, charts, tables, links and files."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from playwright.sync_api import Page, expect
from web_process import WebProcess

from inspection.store.config import StoreConfig
from inspection.store.web.access import WebStore
from inspection.store.web.intake import Intake, insert, row_of
from inspection.store.web.tables import reviews


@pytest.fixture(scope="module", autouse=True)
def _judged(shop: StoreConfig, web: WebProcess) -> None:
    """Judge every part that failed: one of two was good. One passed part was drawn and lost its picture."""
    store = WebStore(shop)
    intake = Intake(store)
    intake.take_all()
    with store.write("verdicts for a test") as connection:
        connection.execute(
            sa.text(
                "UPDATE reviews SET state = 'done', verdict = CASE WHEN record % 2 = 1"
                " THEN 'false_call' ELSE 'real_defect' END WHERE decision = 'FAIL'"
            )
        )
        row = row_of(connection, 1)
        assert row is not None
        insert(connection, [row], b"", 0.0, why="sample")
        change = sa.update(reviews).where(reviews.c.record == 1)
        connection.execute(change.values(state="done", verdict="aborted"))
    store.close()


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize("size", ["desk", "touch"])
def test_the_page(visit: Callable[..., Any], size: str, language: str) -> None:
    visitor = visit(size, language)
    visitor.sign_in("viewer")
    page: Page = visitor.go("/quality?span=day")
    expect(page.locator("#time-chart canvas")).to_be_visible()
    expect(page.locator(".places svg rect").first).to_be_visible()
    visitor.check_access()
    for summary in page.locator("summary:visible").all():
        summary.click()
    visitor.check_access()


def test_numbers_links_and_words(visit: Callable[..., Any]) -> None:
    visitor = visit()
    visitor.sign_in("viewer")
    page: Page = visitor.go("/quality?span=day")
    totals = page.locator(".totals").inner_text()
    for text in ("OK 16", "NG 4", "Borderline 2", "Not inspected 2"):
        assert text in " ".join(totals.split())
    promise = page.locator(".promise").inner_text()
    assert "nothing can be said" in promise, "no passed part was drawn and judged"
    assert "Not in it: 1 that nobody can judge." in promise
    assert "Not enough reviews (4 of 4)" in promise or "Not enough reviews" in promise
    page.locator(".totals a").nth(1).click()
    page.wait_for_url("**/results?**")
    assert "decision=FAIL" in page.url
    page.go_back()
    page.locator(".pareto a").first.click()
    page.wait_for_url("**/results?**")
    assert "defect_class=" in page.url


def test_a_click_on_a_point_opens_its_parts(visit: Callable[..., Any]) -> None:
    visitor = visit()
    visitor.sign_in("viewer")
    page: Page = visitor.go("/quality?span=day")
    plot = page.locator("#time-chart .u-over")
    expect(plot).to_be_visible()
    box = plot.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] - 6, box["y"] + 40)
    page.mouse.click(box["x"] + box["width"] - 4, box["y"] + 40)
    page.wait_for_url("**/results?since=**")


def test_api_files_and_bad_input(visit: Callable[..., Any]) -> None:
    visitor = visit()
    page = visitor.sign_in("viewer")
    address = visitor.address
    found = page.request.get(f"{address}/api/v1/quality/summary?span=day").json()
    totals = found["totals"]
    assert (totals["PASS"], totals["FAIL"], totals["REVIEW"], totals["NOT_INSPECTED"]) == (
        16,
        4,
        2,
        2,
    )
    assert sum(point["PASS"] for point in found["points"]) == 16
    whole = found["estimates"][0]
    assert whole["escape"]["estimate"] is None
    assert whole["escape"]["upper"] == 1
    assert whole["overkill"]["reviewed"] == 4
    for name in ("time", "defects", "reasons", "estimates", "promises", "confusion", "control"):
        answer = page.request.get(f"{address}/api/v1/quality/tables/{name}.csv?span=day")
        assert answer.status == 200
        assert answer.body().startswith(b"\xef\xbb\xbf")
    assert page.request.get(f"{address}/api/v1/quality/tables/people.csv").status == 422
    for query in (
        "span=nonsense", "span=custom&since=2026-13-40", "span=custom&since=2026-11-02&until=2026-11-01",
        "span=custom&since=1999-01-01", "span=quarter&per=half_hour", "recipe=-1", "station=" + "x" * 99,
        "kind=%27%3BDROP", "span=custom&since=0001-01-01&until=0001-01-02",
    ):  # fmt: skip
        assert page.request.get(f"{address}/api/v1/quality/summary?{query}").status in {400, 422}, (
            query
        )
    empty = page.request.get(f"{address}/api/v1/quality/summary?station=%3Cb%3E").json()
    assert empty["totals"]["PASS"] == 0
    assert page.request.put(f"{address}/api/v1/quality/shifts", data=[]).status == 403
