"""What is done soon after the start: it changes no answer, and its failure stops nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from store_samples import store_config

from inspection.store.config import StoreConfig
from inspection.store.sql import SqlStore
from inspection.store.web import settings
from inspection_serve.web import warm
from inspection_serve.web.pages import environment
from inspection_serve.web.quality.period import SHIFTS
from inspection_serve.web.site import Site, open_site
from inspection_serve.web.warm import Warm


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    config: StoreConfig = store_config(tmp_path)
    SqlStore(config).close()
    monkeypatch.setattr(warm, "AFTER", 0.0)
    monkeypatch.setattr(warm, "PAUSE", 0.0)
    monkeypatch.setattr(warm, "settle", lambda: None)  # of the pages' process, not of this one
    found = open_site(config.url)
    yield found
    found.close()


def run(site: Site) -> None:
    thread = Warm(site)
    thread.start()
    thread._thread.join(60)
    assert not thread._thread.is_alive()
    thread.close()


def test_every_template_is_read(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    environment.cache_clear()
    run(site)
    cache = environment().cache
    assert cache is not None
    assert len(cache) >= len(environment().list_templates(extensions=["html"]))
    own = [
        r for r in caplog.records if r.name.startswith("inspection")
    ]  # others may tidy up meanwhile
    assert not own


def test_a_store_that_cannot_be_asked_is_told(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with site.store.write("a test") as connection:
        settings.change(connection, SHIFTS, "nonsense", "kim")
    run(site)
    assert "quality page was not tried" in caplog.text


def test_it_ends_before_it_began(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm, "AFTER", 600.0)
    thread = Warm(site)
    thread.close()
    thread.start()
    thread.close()
    assert not thread._thread.is_alive()
