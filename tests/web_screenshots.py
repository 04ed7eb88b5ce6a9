"""`make screenshots`: every page in both languages, at a desk and on a touch panel, as PNG files.

The pages look at a shift of rendered parts, some of them judged, and at one release. Addresses that need
a record get that of a FAIL part.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright
from release_builder import write_release
from web_process import PASSWORD, WebProcess, add_people
from web_shift import write_shift

from inspection.cameras.render import CLASSES
from inspection_serve.web.app import build_app
from inspection_serve.web.authorisation import rules
from inspection_serve.web.site import open_site

SIZES = {"desk": (1920, 1080), "touch": (1024, 768)}
RECORD = 3
VALUES = {"record": str(RECORD), "station": "st1", "part": "plate", "number": "1"}
LEFT_OUT = ("/static", "/api/v1", "/pictures", "/setup", "/sign-in")
QUERIES = {
    "/book/add": "?record=3",
    "/models/compare": "?part=plate&first=1&second=1",
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


def main() -> int:
    """Write the pictures into the folder given; return 1 when a page could not be shown."""
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "screenshots")
    target.mkdir(parents=True, exist_ok=True)
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = write_shift(folder)
        add_people(config)
        write_release(folder / "releases", "plate", 1, tuple(CLASSES))
        (folder / "recipes").mkdir()
        (folder / "datasets").mkdir()
        recipe = "number: 1\npart: plate\nrelease: 1\ndeadline: 1.0\n"
        (folder / "recipes" / "1.yaml").write_text(recipe)
        options = [
            item
            for name in ("releases", "recipes", "datasets")
            for item in (f"--{name}", folder / name)
        ]
        store = Path(config.url)
        with WebProcess(store, *options, log=folder / "web.log") as web, sync_playwright() as p:
            browser = p.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            for language in ("ko", "en"):
                for size, (width, height) in SIZES.items():
                    context = browser.new_context(viewport={"width": width, "height": height})
                    cookie = {"name": "inspection_language", "value": language, "url": web.address}
                    context.add_cookies([cookie])
                    page = context.new_page()
                    page.goto(f"{web.address}/sign-in")
                    page.screenshot(path=target / f"sign-in-{size}-{language}.png")
                    page.locator("input[name=name]").fill("administrator")
                    page.locator("input[name=password]").fill(PASSWORD)
                    page.locator("main button.primary").click()
                    page.wait_for_url(lambda url: "/sign-in" not in url)
                    for path in pages(store):
                        answer = page.goto(web.address + path, wait_until="load")
                        page.wait_for_timeout(1200)
                        called = path.partition("?")[0].strip("/").replace("/", "-")
                        page.screenshot(path=target / f"{called}-{size}-{language}.png")
                        if answer is None or answer.status != 200:
                            print(f"{path}: {answer.status if answer else 'no answer'}")
                            failed = 1
                    context.close()
            browser.close()
    print(f"{len(list(target.glob('*.png')))} pictures in {target}/")
    return failed


if __name__ == "__main__":
    sys.exit(main())
