"""Stored texts that would like to be scripts, in every field people or machines fill, on every page."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from web_evil import CODES, EVIL, FILLED, MARKS, columns, fill_reviews, held, write_station
from web_inside import Inside, fill, places
from web_process import WebProcess

from inspection.store.config import StoreConfig
from inspection_serve.web.authorisation import rules

TYPED = (
    "/results?serial=%3Cscript%3Ewindow.hit%3D1%3C/script%3E",
    "/sign-in?next=%22%3E%3Cscript%3E",
    "/audit?who=%22%3E%3Csvg%20onload%3Dwindow.hit%3D1%3E",
    "/models/compare?part=plate&first=1&second=2",
    "/book?part=%22%3E%3Cimg%20src%3Dx%20onerror%3Dwindow.hit%3D1%3E",
    "/results/sorting?missed=3",
    "/book/add?record=3",
)
"""Texts that come in an address, and pages that need one."""
VALUES = {"part": ("plate",), "number": ("1",), "station": ("st1",), "job": ("1", "2", "3", "4")}
"""What the parameters of an address are; any other one is tried with 3 and 1."""


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> tuple[StoreConfig, list[str | Path]]:
    return write_station(tmp_path_factory.mktemp("evil"))


@pytest.fixture(scope="module")
def shop(station: tuple[StoreConfig, list[str | Path]]) -> StoreConfig:
    return station[0]


@pytest.fixture(scope="module")
def web(station: tuple[StoreConfig, list[str | Path]]) -> Iterator[WebProcess]:
    config, options = station
    with WebProcess(config.url, *options, log=Path(config.url).with_name("web.log")) as process:
        end = time.monotonic() + 60
        while not fill_reviews(config):  # the pages take the parts in by themselves
            assert time.monotonic() < end
            threading.Event().wait(0.1)
        yield process


def test_every_text_column_is_filled_or_takes_no_free_text() -> None:
    """A column that is added to the store is named here: does it hold the corpus, or only codes?"""
    unknown = {
        f"{table}.{name}"
        for table, names in columns().items()
        for name in names - FILLED.get(table, set()) - CODES
    }
    assert not unknown
    for table, names in FILLED.items():
        assert names <= columns()[table], table


def test_the_store_holds_the_corpus_in_every_column(shop: StoreConfig, web: WebProcess) -> None:
    found = held(shop)
    missing = {
        f"{table}.{name}"
        for table, names in FILLED.items()
        for name in names - found.get(table, set())
    }
    assert not missing


def addresses(path: str) -> list[str]:
    """Return a route's path with values in its places."""
    names = places(path)
    if not names:
        return [path]
    found = path
    for name in names:
        if name in VALUES and len(VALUES[name]) == 1:
            found = found.replace(f"{{{name}}}", VALUES[name][0])
    left = places(found)
    return [fill(found, value) for value in (VALUES.get(left[0], ("3", "1")) if left else ("",))]


def pages(shop: StoreConfig) -> list[str]:
    """Return every page that the router has."""
    folder = Path(shop.url).parent
    with Inside(shop) as inside:
        inside.site.releases, inside.site.recipes = folder / "releases", folder / "recipes"
        inside.site.datasets = folder / "datasets"
        found = [r.path for r in rules(inside.app) if r.method == "GET" and "/api/v1" not in r.path]
        admin, shown = inside.session("administrator"), []
        for path in found:
            for address in addresses(path):
                answer = inside.ask("GET", address, admin)
                assert answer.status_code < 500, (address, answer.text)
                if answer.headers.get("content-type", "").startswith("text/html"):
                    shown.append(address)
    return sorted(set(shown) - {"/sign-out", "/setup"})


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_stored_text_becomes_a_script(visit: Callable[..., Any], shop: StoreConfig) -> None:
    visitor = visit("desk", "en")
    page = visitor.sign_in("administrator")
    page.set_default_navigation_timeout(60_000)  # /models/compare starts a program
    visitor.expected = ["404", "400", "422", "409", "503"]
    found = pages(shop)
    assert {
        "/results", "/people", "/audit", "/review", "/review/rules", "/book", "/line/st1", "/quality",
        "/models", "/models/part/plate/1", "/models/jobs", "/models/jobs/1", "/models/jobs/3",
        "/results/3", "/book/1",
    } <= set(found)  # fmt: skip
    shown = set()
    for path in [*found, *TYPED]:
        visitor.go(path)
        page.wait_for_timeout(150)  # what modules fill in
        assert page.evaluate("window.hit") is None, path
        assert page.locator("[onerror], [onload], main svg[onload], img[src=x]").count() == 0, path
        assert page.locator("a[href^='javascript:' i], form[action^='javascript:' i]").count() == 0
        text = page.locator("body").inner_text()
        assert not re.search(r"(?<!\d)49\$49", text), path
        if "window.hit=1" in page.locator("main").evaluate(SAID):
            shown.add(path)
    assert {
        "/results", "/results/3", "/people", "/audit", "/review", "/review/rules", "/book", "/book/1",
        "/line/st1", "/quality", "/models", "/models/part/plate/1", "/models/jobs", "/models/jobs/1",
        "/models/jobs/3", "/models/compare?part=plate&first=1&second=2",
    } <= shown, "the texts were on the pages"  # fmt: skip


SAID = """e => e.innerText + [...e.querySelectorAll('*')].map(
    x => [...x.attributes].map(a => a.value).join(' ') + (x.value ?? '')).join(' ')"""
"""Texts, attributes and values of fields: what a person could see of the corpus."""


def test_no_stored_text_becomes_a_script_in_a_dialog(visit: Callable[..., Any]) -> None:
    visitor = visit("touch", "ko")
    page = visitor.sign_in("administrator")
    visitor.go("/people")
    page.locator("#add-person [name=name]").fill("evil")
    page.locator("#add-person [name=display]").fill(MARKS[1])
    page.locator("#add-person button").click()
    page.locator("#once-close").click()
    form = page.locator("form.account[data-name=evil]")
    assert form.locator("[name=display]").input_value() == MARKS[1]
    assert page.evaluate("window.hit") is None


def test_no_answer_of_the_api_is_shown_as_a_page(shop: StoreConfig) -> None:
    with Inside(shop) as inside:
        admin = inside.session("administrator")
        for rule in rules(inside.app):
            if rule.method != "GET" or not rule.path.startswith("/api/v1"):
                continue
            for value in ("3", EVIL.replace("/", "")):
                answer = inside.ask("GET", fill(rule.path, value), admin)
                assert "text/html" not in answer.headers.get("content-type", ""), rule
                assert answer.headers["x-content-type-options"] == "nosniff"
