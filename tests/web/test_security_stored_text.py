"""Stored texts that would like to be scripts, in every field people or machines fill, on every page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from web_inside import Inside, fill, places
from web_process import WebProcess, add_people
from web_shift import write_shift

from inspection.store.config import StoreConfig
from inspection.store.tables import metadata
from inspection.store.web import audit, people
from inspection.store.web.access import WebStore
from inspection_serve.web.authorisation import rules

MARKS = (
    "<script>window.hit=1</script>",
    '"><img src=x onerror=window.hit=1>',
    "'-window.hit=1-'",
    "</title></script></textarea></style><svg onload=window.hit=1>",
    "javascript:window.hit=1",
    "{{ 7*7 }}${7*7}<%= 7*7 %>",
    "</script><!--<script>",
)
"""One payload for each way out: text, attribute, script, other elements, address, template, comment."""
EVIL = "".join(MARKS)
SHORT = MARKS[1]
"""For what the pages hold to 64 characters."""
TYPED = (
    "/results?serial=%3Cscript%3Ewindow.hit%3D1%3C/script%3E",
    "/sign-in?next=%22%3E%3Cscript%3E",
    "/audit?who=%22%3E%3Csvg%20onload%3Dwindow.hit%3D1%3E",
)
"""Texts that come in an address."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> StoreConfig:
    """A store in which every text field holds the corpus."""
    config = write_shift(tmp_path_factory.mktemp("evil"), 12)
    add_people(config)
    fill_rows(config)
    return config


def fill_rows(config: StoreConfig) -> None:
    store = WebStore(config)
    with store.write("evil texts") as connection:
        row = people.find(connection, "administrator")
        assert row is not None
        audit.append(connection, "kim", EVIL, EVIL, detail=EVIL)
        at = people.after(-60)
        for kind in ("golden", "limit_ng"):
            connection.execute(
                sa.insert(metadata.tables["book"]),
                {
                    "part_name": SHORT, "recipe_number": 1, "kind": kind, "defect_class": SHORT,
                    "path": EVIL, "sha256": "0" * 64, "note": EVIL, "record": 3, "who": EVIL,
                    "at": at, "active": True,
                },
            )  # fmt: skip
        connection.execute(
            sa.insert(metadata.tables["terminals"]),
            {"token_sha256": "0" * 64, "name": EVIL, "trusted_by": EVIL, "at": at},
        )
        connection.execute(
            sa.insert(metadata.tables["alarms"]),
            {
                "station": "st1",
                "reason": "CAMERA_LOST",
                "detail": EVIL,
                "on": True,
                "at": at,
                "mono": 1.0,
            },
        )
        for record in (3, 6):
            connection.execute(
                sa.insert(metadata.tables["verdicts"]),
                {
                    "record": record, "version": 1, "verdict": "false_call", "who": "kim", "at": at,
                    "reason_code": EVIL, "comment": EVIL, "defect_class": SHORT,
                },
            )  # fmt: skip
        found = metadata.tables["parts"]
        connection.execute(
            sa.update(found)
            .where(found.c.decision.in_(("FAIL", "REVIEW")))
            .values(
                serial=EVIL, defect_class=SHORT, detail=EVIL, part_name=SHORT,
                detections=[{"class": SHORT, "score": 0.9, "box": [10.0, 10.0, 60.0, 60.0]}],
            )
        )  # fmt: skip
        connection.execute(sa.update(metadata.tables["people"]).values(display=EVIL[:64]))
    store.close()


@pytest.fixture(scope="module")
def web(shop: StoreConfig) -> Iterator[WebProcess]:
    with WebProcess(shop.url, log=Path(shop.url).with_name("web.log")) as process:
        yield process


def pages(shop: StoreConfig) -> list[str]:
    """Return every page that the router has, with the record of an evil part in its places."""
    with Inside(shop) as inside:
        found = [r.path for r in rules(inside.app) if r.method == "GET" and "/api/v1" not in r.path]
        admin, shown = inside.session("administrator"), []
        for path in found:
            for value in ("3", "1", "st1") if places(path) else ("",):
                address = fill(path, value)
                answer = inside.ask("GET", address, admin)
                if answer.headers.get("content-type", "").startswith("text/html"):
                    shown.append(address)
    return sorted(set(shown) - {"/sign-out", "/setup"})


def test_no_stored_text_becomes_a_script(visit: Callable[..., Any], shop: StoreConfig) -> None:
    visitor = visit("desk", "en")
    page = visitor.sign_in("administrator")
    visitor.expected = ["404", "400", "422", "409", "503"]
    found = pages(shop)
    assert {"/results", "/people", "/audit", "/review", "/book"} <= set(found)
    seen = 0
    for path in [*found, *TYPED]:
        visitor.go(path)
        page.wait_for_timeout(150)  # what modules fill in
        assert page.evaluate("window.hit") is None, path
        assert page.locator("[onerror], [onload], main svg[onload], img[src=x]").count() == 0, path
        assert page.locator("a[href^='javascript:' i], form[action^='javascript:' i]").count() == 0
        text = page.locator("body").inner_text()
        assert not re.search(r"(?<!\d)49\$49", text), path
        seen += "window.hit=1" in page.content()
    assert seen >= 5, "the texts were on the pages"


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
