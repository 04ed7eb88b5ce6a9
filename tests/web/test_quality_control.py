"""The control chart with sixty hours of parts, the promises beside it, the places, the form of shifts."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from playwright.sync_api import Page, expect
from store_samples import store_config
from web_process import WebProcess, add_people
from web_shift import bulk
from web_visit import enter

from inspection.store.config import StoreConfig
from inspection.store.tables import parts
from inspection.store.web.access import WebStore
from inspection.store.web.intake import Intake
from inspection.store.web.tables import audit

HOURS, EACH = 60, 60
RAISED, HIGH = range(20, 32), (44, 45)
"""Hours in which every fourth part fails too, and every second: clear wherever the clock cuts the hours."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> StoreConfig:
    """Parts of sixty hours, what failed and a tenth of what passed judged; a recipe with its claim."""
    folder = tmp_path_factory.mktemp("shop")
    config = store_config(folder)
    bulk(config, HOURS * EACH, days=HOURS / 24)
    add_people(config)
    fail = "decision = 'FAIL', reason = 'DEFECT', defect_class = 'dent', over_t1 = 1"
    store = WebStore(config)
    with store.write("a process out of control") as connection:
        for hour in range(HOURS):
            every = 2 if hour in HIGH else 4 if hour in RAISED else 0
            if every:
                first, last = hour * EACH + 1, (hour + 1) * EACH
                connection.execute(
                    sa.text(
                        f"UPDATE parts SET {fail} WHERE id BETWEEN :a AND :b AND id % :n = 0"
                        " AND decision = 'PASS'"
                    ),
                    {"a": first, "b": last, "n": every},
                )
    Intake(store).take_all()
    with store.write("verdicts for a test") as connection:
        connection.execute(sa.text("DELETE FROM reviews WHERE decision = 'PASS'"))
        connection.execute(
            sa.text(
                "INSERT INTO reviews (record, state, why, probability, version, verdict, station, part_name,"
                " recipe_number, release, decision, reason, triggered_at, changed_at) SELECT id, 'done',"
                " 'sample', 0.1, 1, 'false_call', station, part_name, recipe_number, release, decision,"
                " reason, triggered_at, triggered_at FROM parts WHERE decision = 'PASS' AND id % 10 = 0"
            )
        )
        connection.execute(
            sa.text(
                "UPDATE reviews SET state = 'done', verdict = CASE WHEN record % 10 = 0 THEN 'false_call'"
                " ELSE 'real_defect' END WHERE decision = 'FAIL'"
            )
        )
    store.close()
    write_claim(folder / "recipes", escape=0.5, overkill=0.001)
    return config


def write_claim(folder: Path, *, escape: float, overkill: float) -> None:
    """Write recipe 1 with limits, and what they promise."""
    folder.mkdir(exist_ok=True)
    text = "number: 1\npart: plate\nrelease: 1\ndeadline: 1.0\nlimits: {dent: {t1: 0.3, t2: 0.6}}\n"
    (folder / "1.yaml").write_text(text)
    claim = {
        "recipe_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "targets": {"escape": escape, "overkill": overkill, "review": 0.1, "confidence": 0.95},
        "claims": [
            {"class": "dent", "supported": escape / 2, "met": True, "known": True},
            {"class": "burr", "supported": escape, "met": True, "known": True},
            {"class": "all defects", "supported": 0.9, "met": False, "known": True},
        ],
        "claims_in_force": ["dent", "burr"],
        "overkill": {"supported": overkill},
    }
    (folder / "1.claim.json").write_text(json.dumps(claim))


@pytest.fixture
def visit(visit: Callable[..., Any]) -> Callable[..., Any]:
    """These parts have no files of pictures."""

    def opening(*arguments: Any, **named: Any) -> Any:
        visitor = visit(*arguments, **named)
        visitor.expected = ["/pictures/"]
        return visitor

    return opening


@pytest.fixture(scope="module")
def web(shop: StoreConfig) -> Iterator[WebProcess]:
    folder = Path(shop.url).parent
    log = folder / "web.log"
    with WebProcess(shop.url, "--recipes", folder / "recipes", log=log) as process:
        yield process


def hours(config: StoreConfig) -> dict[str, Counter[str]]:
    """Return decisions by UTC hour, part by part."""
    found: dict[str, Counter[str]] = {}
    store = WebStore(config)
    with store.read("a test") as connection:
        for at, decision in connection.execute(sa.select(parts.c.triggered_at, parts.c.decision)):
            found.setdefault(at[:13] + ":00", Counter())[decision] += 1
    store.close()
    return found


def asked(**more: str) -> str:
    since = (datetime.now(UTC) - timedelta(hours=HOURS + 2)).strftime("%Y-%m-%dT%H:00:00+00:00")
    fields = {"span": "custom", "since": since.replace("+", "%2B"), "per": "hour", **more}
    return "&".join(f"{name}={value}" for name, value in fields.items())


@pytest.mark.parametrize("kind", ["p", "laney"])
def test_the_chart_is_that_of_the_parts(
    visit: Callable[..., Any], shop: StoreConfig, kind: str
) -> None:
    """Shares, centre, limits and rules, computed here from the parts themselves."""
    visitor = visit()
    enter(visitor, "viewer")
    address = f"{visitor.address}/api/v1/quality/summary?{asked(kind=kind)}"
    chart = visitor.context.request.get(address).json()["control"]
    by_hour = {
        start: c for start, c in sorted(hours(shop).items()) if c.total() > c["NOT_INSPECTED"]
    }
    sizes = [c["PASS"] + c["FAIL"] + c["REVIEW"] for c in by_hour.values()]
    fails = [c["FAIL"] for c in by_hour.values()]
    assert [point["start"] for point in chart["points"]] == list(by_hour)
    assert [(p["count"], p["size"]) for p in chart["points"]] == list(
        zip(fails, sizes, strict=True)
    )
    centre = sum(fails) / sum(sizes)
    plain = [math.sqrt(centre * (1 - centre) / n) for n in sizes]
    z = [(x / n - centre) / s for x, n, s in zip(fails, sizes, plain, strict=True)]
    factor = 1.0
    if kind == "laney":
        factor = sum(abs(b - a) for a, b in pairwise(z)) / (len(z) - 1) / 1.128
        assert abs(factor - 1) > 1e-4
    assert chart["centre"] == pytest.approx(centre, rel=1e-12)
    assert chart["sigma_z"] == pytest.approx(factor, rel=1e-9)
    for point, s, one in zip(chart["points"], plain, z, strict=True):
        assert point["upper"] == pytest.approx(min(1, centre + 3 * s * factor), rel=1e-9)
        assert point["lower"] == pytest.approx(max(0, centre - 3 * s * factor), abs=1e-12)
        assert (1 in point["rules"]) == (abs(one) / factor > 3)
    for i, point in enumerate(chart["points"]):
        last = z[max(0, i - 7) : i + 1]
        alike = len(last) == 8 and (all(v > 0 for v in last) or all(v < 0 for v in last))
        assert (4 in point["rules"]) == alike
    assert {rule for point in chart["points"] for rule in point["rules"]} == {1, 4}


def test_a_time_without_failed_parts_has_a_page(
    visit: Callable[..., Any], shop: StoreConfig
) -> None:
    """Passed parts only, some of them judged good: the promise of few rejects is kept, and no error."""
    times: dict[datetime, Counter[str]] = {}
    store = WebStore(shop)
    with store.read("a test") as connection:
        for at, decision in connection.execute(sa.select(parts.c.triggered_at, parts.c.decision)):
            moment = datetime.fromisoformat(at).astimezone(UTC).replace(second=0, microsecond=0)
            moment -= timedelta(minutes=moment.minute % 30)
            times.setdefault(moment, Counter())[decision] += 1
    store.close()
    start = next(at for at, c in times.items() if c["PASS"] > 20 and not c["FAIL"])
    written = [f"{at:%Y-%m-%dT%H:%M}:00%2B00:00" for at in (start, start + timedelta(minutes=30))]
    query = asked(since=written[0], until=written[1], per="half_hour")
    visitor = visit()
    enter(visitor, "viewer")
    page: Page = visitor.go(f"/quality?{query}")
    expect(page.locator(".promises li").nth(1).locator("strong")).to_contain_text("●")
    found = visitor.context.request.get(f"{visitor.address}/api/v1/quality/summary?{query}").json()
    assert found["estimates"][0]["escape"]["reviewed"] > 0
    assert (found["missed"], found["missed_upper"]) == (None, 1)
    escape, overkill = found["promises"]
    assert (escape["state"], escape["missing"]) == ("open", "defects")
    assert (overkill["state"], overkill["upper"]) == ("kept", 0)
    table = f"{visitor.address}/api/v1/quality/tables/promises.csv?{query}"
    assert visitor.context.request.get(table).status == 200


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize("size", ["desk", "touch"])
def test_the_page_with_a_process_out_of_control(
    visit: Callable[..., Any], size: str, language: str
) -> None:
    visitor = visit(size, language)
    enter(visitor, "viewer")
    page: Page = visitor.go(f"/quality?{asked()}")
    expect(page.locator("#control-chart canvas")).to_be_visible()
    expect(page.locator(".violations li")).not_to_have_count(0)
    assert "▲" in page.locator(".violations").inner_text()
    assert "■" in page.locator(".violations").inner_text()
    promises = page.locator(".promises li")
    expect(promises).to_have_count(2)
    expect(promises.nth(0).locator("strong")).to_contain_text("●")
    expect(promises.nth(1).locator("strong")).to_contain_text("▲")
    visitor.check_access()


def test_a_click_on_a_point_out_of_control_opens_its_parts(
    visit: Callable[..., Any], shop: StoreConfig
) -> None:
    visitor = visit()
    enter(visitor, "viewer")
    page: Page = visitor.go(f"/quality?{asked(kind='p')}")
    found = json.loads(page.locator("#charts").text_content() or "")["control"]
    points = found["points"]
    place = max(range(len(points)), key=lambda i: points[i]["share"])
    assert 1 in points[place]["rules"]
    plot = page.locator("#control-chart .u-over")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box
    at = box["x"] + box["width"] * place / (len(points) - 1)
    page.mouse.move(at - 3, box["y"] + 60)
    page.mouse.move(at, box["y"] + 60)
    page.mouse.click(at, box["y"] + 60)
    page.wait_for_url("**/results?**")
    start, end = points[place]["start"], points[place]["end"]
    assert f"since={start}".replace(":", "%3A") in page.url
    assert f"until={end}".replace(":", "%3A") in page.url
    assert hours(shop)[start]["FAIL"] == points[place]["count"]
    page.go_back()
    page.locator(".violations a").first.click()
    page.wait_for_url("**/results?**")
    assert "since=" in page.url


def test_it_prints_its_charts_and_tables(visit: Callable[..., Any]) -> None:
    visitor = visit()
    enter(visitor, "viewer")
    page: Page = visitor.go(f"/quality?{asked()}")
    expect(page.locator("#control-chart canvas")).to_be_visible()
    page.emulate_media(media="print")
    narrowed = "e => { e.style.width = '500px'; return e.querySelector('canvas').clientWidth }"
    assert page.locator("#control-chart").evaluate(narrowed) <= 500, "before it could be drawn anew"
    page.locator("#control-chart").evaluate("e => { e.style.width = '' }")
    page.set_viewport_size({"width": 720, "height": 1000})  # a sheet of A4
    expect(page.locator("#asked")).to_be_hidden()
    expect(page.locator("#control-chart canvas")).to_be_visible()
    frame, drawn = page.locator("#control-chart"), page.locator("#control-chart .uplot")
    expect(frame).to_have_js_property("scrollWidth", frame.evaluate("e => e.clientWidth"))
    assert drawn.evaluate("e => e.clientWidth") <= frame.evaluate("e => e.clientWidth") < 720
    expect(page.locator("section:has(#h-control) details table")).to_be_visible()
    assert len(page.pdf()) > 20_000


def test_a_place_opens_the_list_of_its_parts(visit: Callable[..., Any]) -> None:
    visitor = visit()
    visitor.expected += ["422", "400"]
    enter(visitor, "viewer")
    page: Page = visitor.go(f"/quality?{asked()}")
    cell = page.locator(".places svg a").first
    expect(cell).to_be_visible()
    number = int(cell.text_content().replace(",", ""))
    cell.click()
    page.wait_for_url("**/quality/cell?**")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(min(number, 500))
    visitor.check_access()
    rows.first.locator("a").click()
    page.wait_for_url("**/results/*")
    for query in ("column=0&row=1", "column=1&row=99", "column=x&row=1", "row=1"):
        answer = visitor.context.request.get(f"{visitor.address}/quality/cell?{query}")
        assert answer.status in {400, 422}, query
    empty = visitor.context.request.get(f"{visitor.address}/quality/cell?column=32&row=24")
    assert empty.status == 200


def test_an_engineer_sets_shifts_over_midnight(
    visit: Callable[..., Any], shop: StoreConfig
) -> None:
    visitor = visit("touch", "en")
    visitor.expected += ["400", "422"]
    enter(visitor, "engineer")
    page: Page = visitor.go("/quality?span=shift&per=shift")
    form = page.locator("#shifts")
    expect(form.locator("li output").nth(1)).to_have_text("until 08:00 on the next day")
    form.locator("button.add").click()
    form.locator("[name=name]").nth(2).fill("<b>밤</b>")
    form.locator("[name=start]").nth(2).fill("20:00")
    form.locator("button.primary").click()
    expect(form.locator(".said")).to_contain_text("NOT SAVED")
    for place, start in enumerate(("06:00", "14:00", "22:30")):
        form.locator("[name=start]").nth(place).fill(start)
    expect(form.locator("li output").nth(0)).to_have_text("until 14:00")
    expect(form.locator("li output").nth(2)).to_have_text("until 06:00 on the next day")
    visitor.check_access()
    form.locator("button.primary").click()
    expect(page.locator("#h-shifts + p")).to_contain_text("<b>밤</b> 22:30–06:00")
    expect(form.locator("li output").nth(2)).to_have_text("until 06:00 on the next day")
    page.locator("#shifts .remove").nth(2).click()
    expect(form.locator("li output")).to_have_count(2)
    page.locator("#shifts button.primary").click()
    expect(page.locator("#h-shifts + p")).not_to_contain_text("밤")
    store = WebStore(shop)
    with store.read("a test") as connection:
        rows = connection.execute(
            sa.select(audit.c.who, audit.c.detail).where(audit.c.subject == "setting:shifts")
        ).all()
    store.close()
    assert [who for who, _ in rows] == ["engineer", "engineer"]
    assert "22:30" in rows[0].detail


def test_a_viewer_has_no_form_of_shifts(visit: Callable[..., Any]) -> None:
    visitor = visit()
    enter(visitor, "viewer")
    page: Page = visitor.go("/quality?span=day")
    expect(page.locator("#h-shifts")).to_be_visible()
    expect(page.locator("#shifts")).to_have_count(0)
