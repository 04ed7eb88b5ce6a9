"""The pages on a plant store: two stations side by side, to read; what is said is said at the station."""

from __future__ import annotations

from pathlib import Path

import pytest
from plant_rig import PlantStore, Station
from postgres_server import PostgresServer
from station_rig import until
from store_samples import FAILED, inspected, trigger
from web_inside import Inside
from web_process import add_people

from inspection.store.web import doubt, story
from inspection.store.web.access import WebStore
from inspection.store.web.counting import Counting
from inspection.store.web.intake import Intake
from inspection.types import StoredImage
from inspection_serve.web.results.sorting import AskedSorting, answer


def name_in(plant: PlantStore, table: str, *names: str) -> bool:
    return {str(row["station"]) for row in plant.rows_of(table)} >= set(names)


def fill(plant: PlantStore, station: Station) -> None:
    """Parts with pictures, taken in for review as the pages of the station do, then told."""
    for _ in range(6):
        station.part(done=False)
        key = trigger(station.sequence, station=station.name, epoch=station.epoch).key
        path = f"{station.name}/{station.sequence}.jpg"
        station.store.images(key, "saved", [StoredImage(path, "ab" * 32, 64, 48)])
        station.store.sent(key, 1e9, "2026-11-21T10:00:00.000000+00:00")
    asked = trigger(90, station=station.name, epoch=station.epoch)
    station.store.decided(inspected(asked, FAILED))
    store = WebStore(station.config.store)
    Intake(store).take_all()
    store.close()
    with station.forwarding():
        until(lambda: station.standing().waiting == 0, 60, "everything is told")
        until(lambda: name_in(plant, "reviews", station.name), 30, "the review of a part")
    station.store.close()


def test_the_pages_show_both_stations(server: PostgresServer | None, tmp_path: Path) -> None:
    if server is None:
        pytest.skip("no PostgreSQL server installed (Debian package postgresql)")
    with PlantStore(server, tmp_path) as plant:
        look(plant, tmp_path)


def look(plant: PlantStore, tmp_path: Path) -> None:
    for name in ("press", "oven"):
        fill(plant, Station(tmp_path / name, name, plant.url))
    add_people(plant.config)
    with Inside(plant.config, tmp_path) as inside:
        who = inside.session("engineer")
        counting = Counting(inside.site.store)

        def is_counted() -> bool:
            counting.step(worth=1)
            return name_in(plant, "slots", "press", "oven")

        until(is_counted, 30, "the counts of both")
        for path in ("/results", "/quality", "/review", "/line", "/results/3"):
            assert inside.ask("GET", path, who).status_code == 200, path
        found = inside.ask("GET", "/api/v1/results", who).json()
        text = str(found)
        assert ("press" in text, "oven" in text) == (True, True)
        assert "judged at their station" in inside.ask("GET", "/review", who).text
        summary = inside.ask("GET", "/api/v1/quality/summary?days=36500", who)
        assert summary.status_code == 200, summary.text
        picture = inside.ask("GET", "/pictures/1/0", who)
        assert (picture.status_code, picture.json()["code"]) == (404, "at_station")
        waiting = inside.ask("GET", "/api/v1/reviews", who).json()
        record = plant.rows_of("reviews")[0]["record"]
        part = inside.ask("GET", f"/api/v1/reviews/{record}", who).json()
        assert waiting
        assert part["allowed"] == []
        word = {"verdict": "unsure", "version": 0, "client": "abcdefgh-1"}
        said = inside.ask("POST", f"/api/v1/reviews/{record}/verdict", who, json=word)
        assert (said.status_code, said.json()["code"]) == (403, "at_station")
        asked = inside.ask("POST", "/api/v1/reviews/1", who)
        assert (asked.status_code, asked.json()["code"]) == (403, "at_station")
    assert plant.rows_of("verdicts") == []


def test_a_good_part_that_was_told_late_hides_none_after_it(
    server: PostgresServer | None, tmp_path: Path
) -> None:
    """It was refused first and told again when others had been: the plant counts it above them."""
    if server is None:
        pytest.skip("no PostgreSQL server installed (Debian package postgresql)")
    with PlantStore(server, tmp_path) as plant:
        station = Station(tmp_path / "press", "press", plant.url)
        station.parts(8)  # every third fails
        station.do("UPDATE outbox SET id = id + 100 WHERE kind = 'part' AND subject = 2")
        with station.forwarding():
            until(lambda: station.standing().waiting == 0, 60, "everything is told")
        station.store.close()
        at_plant = {int(row["sequence"]): int(row["id"]) for row in plant.rows_of("parts")}
        assert at_plant[2] == max(at_plant.values())
        store = WebStore(plant.config)
        try:
            found = answer(store, AskedSorting(station="press", good=at_plant[2]))
            assert (found.first, found.last) == (at_plant[4], at_plant[2])
            assert found.number == len((4, 5, 7, 8, 2))
            with store.read("the part before") as connection:
                missed = story.part_at(connection, at_plant[4])
                assert doubt.first_after(connection, missed) == at_plant[4] + 1
        finally:
            store.close()
