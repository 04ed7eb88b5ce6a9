"""Every page at 200 % zoom of a 1024 x 768 panel: nothing is wider than the window, nothing is cut off."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from web_screenshots import pages

from inspection.store.config import StoreConfig

ZOOMED = {"width": 512, "height": 384}
"""What is left of 1024 x 768 at 200 %, in CSS pixels."""
CUT_OFF = """() => [...document.querySelectorAll('main button, main a, main label, main h1, main h2')]
  .filter(e => e.getClientRects().length && !e.closest('.scrolls, table, [role=dialog], dialog'))
  .filter(e => { const b = e.getBoundingClientRect(); return b.left < -1 || b.right > innerWidth + 1; })
  .map(e => e.outerHTML.slice(0, 120))"""


@pytest.mark.parametrize("language", ["ko", "en"])
def test_every_page_is_usable(visit: Callable[..., Any], shop: StoreConfig, language: str) -> None:
    visitor = visit("touch", language, viewport=ZOOMED)
    page = visitor.sign_in("administrator")
    visitor.expected.append("404")  # pages of what this shop does not have
    found: list[str] = []
    for path in pages(Path(shop.url)):
        visitor.go(path)
        if page.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
            found.append(f"{path}: the page scrolls sideways")
        found.extend(f"{path}: cut off: {each}" for each in page.evaluate(CUT_OFF))
    assert not found, "\n".join(found)
