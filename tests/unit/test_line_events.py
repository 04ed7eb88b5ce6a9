"""Events of the line: made once for all browsers, and only when there is something to tell."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from store_samples import store_config

from inspection.store.sql import SqlStore
from inspection.store.web.access import WebStore
from inspection.store.web.commands import Control
from inspection.store.web.people import Person, Role
from inspection_serve.web.line import routes, watch
from inspection_serve.web.line.watch import Look, StationLook, Watch
from inspection_serve.web.texts import load_texts


def person(session: str) -> Person:
    return Person(1, "engineer", "Engineer", Role.ENGINEER, "en", False, {}, session, "token", "")


def test_an_event_is_made_once_for_all_who_see_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    real = routes.fragment

    def fragment(name: str, *rest: Any, **more: Any) -> str:
        made.append(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(routes, "fragment", fragment)
    held = StationLook("test", control=Control("engineer", "s1", "2026", "2027"))
    look, texts = Look({"test": held}), load_texts()

    def event(session: str, code: str = "en", station: str | None = "test") -> dict[str, Any]:
        language = texts.choose(code)
        return json.loads(
            routes.event_of(look, language, person(session), station=station, cards=False)
        )

    first = event("s2")
    number = len(made)
    assert number == 1 + len(routes.DETAIL)
    assert [event("s2"), event("s3"), event("s2")] == [first] * 3
    assert len(made) == number
    assert not first["stations"][0]["mine"]
    assert event("s1")["stations"][0]["mine"]  # who holds the control is told so
    assert event("s2", "ko")["stations"][0]["html"] != first["stations"][0]["html"]
    assert set(event("s2", station=None)["stations"][0]["html"]) == {"strip"}
    assert event("s2") == first


def test_a_look_is_new_when_something_but_the_age_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "BEAT", 3600.0)
    monkeypatch.setattr(watch, "STORE_EVERY", 0.0)
    config = store_config(tmp_path)
    line = SqlStore(config)
    line.begin_epoch("test", "start")
    pages = WebStore(config)
    site: Any = SimpleNamespace(store=pages, live=tmp_path / "live", on_close=[])
    watching = Watch(site)
    watching._once()
    first = watching._look
    watching._once()
    assert watching._look is first
    line.begin_epoch("second", "start")
    watching.rules_changed()
    watching._names_due = 0.0
    watching._once()
    assert watching._look.number == first.number + 1
    watching._beat_due = 0.0
    watching._once()
    assert watching._look.number == first.number + 2  # one each second in any case
    pages.close()
    line.close()
