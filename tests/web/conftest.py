"""The pages in a real browser: Debian's Chromium, at a desk and on a touch panel, in both languages.

A page that writes an error to the console fails its test, and so does a request that leaves the host.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)
from store_samples import store_config
from web_process import PASSWORD, WebProcess, add_people
from web_shift import write_shift

from inspection.store.config import StoreConfig

expect.set_options(timeout=15_000)

CHROMIUM = "/usr/bin/chromium"
AXE = Path(__file__).parent.parent / "vendor" / "axe.min.js"
SIZES: dict[str, dict[str, Any]] = {
    "desk": {"viewport": {"width": 1920, "height": 1080}},
    "touch": {"viewport": {"width": 1024, "height": 768}, "has_touch": True},
}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
AXE_OPTIONS = {"runOnly": RULES, "resultTypes": ["violations"]}


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def shift_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of 24 parts, their pictures and a person of each role: made once, copied."""
    folder = tmp_path_factory.mktemp("shift")
    add_people(write_shift(folder))
    return folder


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, shift_folder: Path) -> StoreConfig:
    """A store with 24 parts, their pictures and a person of each role, for the tests of one file."""
    folder = tmp_path_factory.mktemp("shop")
    shutil.copytree(shift_folder, folder, dirs_exist_ok=True)
    return store_config(folder)


@pytest.fixture(scope="module")
def web(shop: StoreConfig) -> Iterator[WebProcess]:
    """The pages of the shop, as a process."""
    with WebProcess(shop.url, log=Path(shop.url).with_name("web.log")) as process:
        yield process


class Visitor:
    """A person at a browser of their own."""

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.context, self.address = context, address
        self.complaints: list[str] = []
        self.expected: list[str] = []
        context.on("console", self._listen)
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        context.on("request", lambda request: self._watch(request.url))
        self.page: Page = context.new_page()

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.text} ({message.location.get('url', '')})")

    def _watch(self, url: str) -> None:
        if not url.startswith((self.address, "data:", "blob:", "about:")):
            self.complaints.append(f"a request left the host: {url}")

    def sign_in(self, role: str = "operator") -> Page:
        """Start a session of the person of a role without looking at a page; return the page."""
        form = {"name": role, "password": PASSWORD}
        answer = self.context.request.post(f"{self.address}/sign-in", form=form, max_redirects=0)
        assert answer.status == 303, answer.text()
        return self.page

    def type_in(self, role: str = "operator") -> Page:
        """Sign in with the form as the person of a role; return the page."""
        self.page.goto(f"{self.address}/sign-in")
        self.page.locator("input[name=name]").fill(role)
        self.page.locator("input[name=password]").fill(PASSWORD)
        self.page.locator("main button.primary").click()
        self.page.wait_for_url(lambda url: "/sign-in" not in url)
        return self.page

    def go(self, path: str) -> Page:
        """Open a page of the site."""
        self.page.goto(self.address + path)
        return self.page

    def check_access(self) -> None:
        """Fail on any violation of WCAG 2.2 AA that axe-core finds in the page with its styles."""
        self.page.wait_for_load_state("load")
        found = self.page.evaluate(
            AXE.read_text(encoding="utf-8")
            + f";axe.run(document, {json.dumps(AXE_OPTIONS)}).then(r => r.violations"
            ".map(v => v.id + ': ' + v.help + ' ' + v.nodes.map(n => n.html).join(' | ')))"
        )
        assert not found, "\n".join(found)

    def close(self) -> None:
        """Close the browser's window; fail when a page complained about something not expected.

        A test that ends its own server closes its window before: an open page asks again at once.
        """
        self.context.close()
        left = [c for c in self.complaints if not any(text in c for text in self.expected)]
        assert not left, "\n".join(left)


@pytest.fixture
def visit(chromium: Browser, web: WebProcess) -> Iterator[Callable[..., Visitor]]:
    """Return a function that opens a browser: `visit(size="touch", language="ko")`."""
    visitors: list[Visitor] = []

    def opening(
        size: str = "desk", language: str = "en", address: str | None = None, **options: Any
    ) -> Visitor:
        context = chromium.new_context(
            locale={"en": "en-US", "ko": "ko-KR"}[language],
            timezone_id="Asia/Seoul",
            **{**SIZES[size], **options},
        )
        context.set_default_timeout(15_000)
        where = address or web.address
        context.add_cookies([{"name": "inspection_language", "value": language, "url": where}])
        visitors.append(Visitor(context, where))
        return visitors[-1]

    yield opening
    for visitor in visitors:
        visitor.close()
