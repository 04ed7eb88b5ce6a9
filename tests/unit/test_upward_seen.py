"""How the destinations upward stand is seen by people: on the Line page, in its API, in `doctor`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml
from station_rig import Rig
from store_samples import inspected, trigger

from inspection.config import load_station
from inspection.doctor import _upward
from inspection.store.config import StoreConfig
from inspection.store.outbox import Outbox
from inspection.store.outbox_standing import Standing
from inspection.store.sql import SqlStore
from inspection.store.web.access import WebStore
from inspection_serve.web.line.watch import StationLook, Watch
from inspection_serve.web.line.words import fragment
from inspection_serve.web.site import open_site
from inspection_serve.web.texts import Language, load_texts


def language(code: str) -> Language:
    return load_texts().languages[code]


WELL = Standing("test", "mes", 0, None, 0, None, 0, None, "", late=False)


@pytest.mark.parametrize(
    ("change", "english", "korean"),
    [
        ({}, ["●", "Waiting: 0"], ["대기: 0"]),
        ({"attempts": 2, "waiting": 7}, ["○", "away · Waiting: 7"], ["연결 안 됨 · 대기: 7"]),
        (
            {"late": True, "oldest_at": "2026-01-01T00:00:00.000000+00:00"},
            ["■", "oldest: "],
            ["가장 오래된 대기"],
        ),
        ({"quarantined": 1200}, ["■", "Refused: 1,200"], ["거부: 1,200"]),
    ],
)
def test_the_line_page_shows_it(
    change: dict[str, object], english: list[str], korean: list[str]
) -> None:
    look = StationLook("test", upward=(dataclasses.replace(WELL, **change),))
    for code, words in (("en", english), ("ko", korean)):
        piece = fragment("state", language(code), look)
        assert "mes" in piece
        assert all(word in piece for word in words), piece
    assert "mes" not in fragment("state", language("en"), StationLook("test"))


def test_the_watch_and_doctor_read_it(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    (tmp_path / "drop").mkdir()
    rig.station["upward"] = [{"type": "csv", "name": "drop", "folder": "drop"}]
    rig.write()
    assert yaml.safe_load((tmp_path / "station.yaml").read_text())["upward"]
    config = load_station(tmp_path / "station.yaml")
    assert _upward(config).state == "warn"  # no store yet
    store = SqlStore(StoreConfig.model_validate({"url": str(rig.database)}))
    store.tell_upward("test", {"drop": 600})
    store.begin_epoch("test", "start")
    store.decided(inspected(trigger(1, station="test")))
    check = _upward(config)
    assert (check.state, check.found[:16]) == ("ok", "drop: 1 waiting,")
    pages = WebStore(config.store)
    box = Outbox(pages, "test", "drop")
    batch = box.batch(1)
    assert batch is not None
    box.away(batch, 1, "2099-01-01T00:00:00.000000+00:00", "no disk")
    assert _upward(config).state == "warn"
    box.refuse(batch, batch.told[0].id, "no")
    assert "1 refused" in _upward(config).found
    site = open_site(str(rig.database))
    watch = Watch(site)
    [one] = watch.look().stations["test"].upward
    assert (one.destination, one.waiting, one.quarantined) == ("drop", 0, 1)
    site.close()
    pages.close()
    store.close()
