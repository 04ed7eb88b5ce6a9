"""`make screenshots`: every page in both languages, at a desk and on a touch panel, as PNG files.

The pages look at a shift of rendered parts, at some hours of many parts without pictures, one release, one
limit sample, and one job that has ended. Addresses that need a record get that of a FAIL part.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import httpx
from playwright.sync_api import Browser, Page, sync_playwright
from release_builder import write_release
from store_samples import store_config
from web_process import PASSWORD, WebProcess, add_people
from web_shift import bulk, write_shift

from inspection.cameras.render import CLASSES
from inspection.store.config import StoreConfig
from inspection.store.sql import SqlStore
from inspection.store.web import jobs
from inspection.store.web.access import WebStore
from inspection.store.web.intake import Intake
from inspection_serve.web.app import build_app
from inspection_serve.web.authorisation import rules
from inspection_serve.web.site import open_site

SIZES = {"desk": (1920, 1080), "touch": (1024, 768)}
RECORD = 3
VALUES = {
    "record": str(RECORD), "station": "st1", "part": "plate", "number": "1", "entry": "1", "job": "1",
}  # fmt: skip
LEFT_OUT = ("/static", "/api/v1", "/pictures", "/setup", "/sign-in")
QUERIES = {
    "/book/add": "?record=3",
    "/models/compare": "?part=plate&first=1&second=1",
    "/quality": "?span=day",
    "/quality/cell": "?column=1&row=1",
}
NO_PAGE = {"live.jpg", "events", "report", "picture", "thumb", "export", "log"}


def pages(store: Path) -> list[str]:
    """Return the address of every page: what answers GET with HTML."""
    site = open_site(str(store))
    try:
        addresses = [
            rule.path for rule in rules(build_app(site, names=["x"])) if rule.method == "GET"
        ]
    finally:
        site.close()
    found: list[str] = []
    for path in addresses:
        filled = path
        for name, value in VALUES.items():
            filled = filled.replace(f"{{{name}}}", value)
        last = filled.rsplit("/", 1)[-1]
        if path == "/" or path.startswith(LEFT_OUT) or "{" in filled or last in NO_PAGE:
            continue
        found.append(filled + QUERIES.get(filled, ""))
    return sorted(set(found))


def fill(folder: Path) -> StoreConfig:
    """Write what the pages look at, all but the limit sample."""
    config = write_shift(folder)
    add_people(config)
    bulk(config, 6000, days=0.5)
    write_release(folder / "releases", "plate", 1, tuple(CLASSES))
    (folder / "recipes").mkdir()
    (folder / "datasets").mkdir()
    recipe = "number: 1\npart: plate\nrelease: 1\ndeadline: 1.0\n"
    (folder / "recipes" / "1.yaml").write_text(recipe)
    store = WebStore(config)
    Intake(store).take_all()
    with store.write("a job that has ended") as connection:
        job = jobs.add(connection, "train", {"part": "plate", "dataset": "plate"}, "engineer")
        jobs.ended(connection, job, jobs.JobState.FAILED, 1, {})
    store.close()
    return config


def add_sample(address: str) -> None:
    """Add the FAIL part to the limit samples."""
    with httpx.Client(base_url=address, follow_redirects=False) as engineer:
        engineer.post("/sign-in", data={"name": "engineer", "password": PASSWORD})
        csrf = engineer.get("/people/me").text.split('name="csrf" content="')[1].split('"')[0]
        body = {"record": RECORD, "kind": "limit_ng", "defect_class": CLASSES[0], "note": ""}
        engineer.post("/api/v1/book", json=body, headers={"X-CSRF-Token": csrf}).raise_for_status()


def opened(browser: Browser, address: str, size: str, language: str) -> Page:
    """Open a window in a language."""
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height})
    context.add_cookies([{"name": "inspection_language", "value": language, "url": address}])
    return context.new_page()


def shoot(page: Page, address: str, store: Path, target: Path, end: str) -> list[str]:
    """Take every page as an administrator; return what could not be shown."""
    page.goto(f"{address}/sign-in")
    page.screenshot(path=target / f"sign-in-{end}.png")
    page.locator("input[name=name]").fill("administrator")
    page.locator("input[name=password]").fill(PASSWORD)
    page.locator("main button.primary").click()
    page.wait_for_url(lambda url: "/sign-in" not in url)
    failed: list[str] = []
    for path in pages(store):
        answer = page.goto(address + path, wait_until="load")
        page.wait_for_timeout(1200)
        called = path.partition("?")[0].strip("/").replace("/", "-")
        page.screenshot(path=target / f"{called}-{end}.png")
        if answer is None or answer.status != 200:
            failed.append(f"{path}: {answer.status if answer else 'no answer'}")
    page.goto(f"{address}/review?decision=FAIL")
    page.locator('#review[data-phase="shown"][data-free="true"]').wait_for(state="attached")
    page.keyboard.press("o")
    page.locator("#choose[open]").wait_for()
    page.screenshot(path=target / f"review-overrule-{end}.png")
    return failed


def main() -> int:
    """Write the pictures into the folder given; return 1 when a page could not be shown."""
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "screenshots")
    target.mkdir(parents=True, exist_ok=True)
    failed: list[str] = []
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        ends = [(size, language) for language in ("ko", "en") for size in SIZES]
        empty = store_config(folder / "first")
        SqlStore(empty).close()
        with WebProcess(empty.url, log=folder / "first.log") as web:
            for size, language in ends:
                page = opened(browser, web.address, size, language)
                page.goto(f"{web.address}/setup?code={web.setup_code}")
                page.screenshot(path=target / f"setup-{size}-{language}.png")
                page.context.close()
        store = Path(fill(folder).url)
        options = [
            item
            for name in ("releases", "recipes", "datasets")
            for item in (f"--{name}", folder / name)
        ]
        with WebProcess(store, *options, log=folder / "web.log") as web:
            add_sample(web.address)
            for size, language in ends:
                page = opened(browser, web.address, size, language)
                failed += shoot(page, web.address, store, target, f"{size}-{language}")
                page.context.close()
        browser.close()
    print("\n".join([*failed, f"{len(list(target.glob('*.png')))} pictures in {target}/"]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
