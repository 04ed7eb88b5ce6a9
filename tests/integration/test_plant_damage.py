"""The plant store: what is damaged at a station, or too much for the plant, stops nothing after it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from plant_rig import PlantStore, Station
from postgres_server import PostgresServer
from station_rig import until
from store_samples import REVIEWED, inspected, trigger, utc_now

from inspection.store.outbox import Batch, Outbox, Told
from inspection.store.verify import verify
from inspection.store.web.access import WebStore
from inspection.store.web.intake import Intake
from inspection.store.web.tables import reviews
from inspection.types import PartKey, StoredImage
from inspection_serve.upward.csv_drop import CsvConfig
from inspection_serve.upward.sender import Sender
from inspection_serve.upward.state import StationState


@pytest.fixture
def plant(server: PostgresServer | None, tmp_path: Path) -> Iterator[PlantStore]:
    if server is None:
        pytest.skip("no PostgreSQL server installed (Debian package postgresql)")
    with PlantStore(server, tmp_path) as made:
        yield made


@pytest.fixture
def press(plant: PlantStore, tmp_path: Path) -> Iterator[Station]:
    station = Station(tmp_path / "press", "press", plant.url)
    yield station
    station.store.close()


def all_told(station: Station) -> None:
    until(lambda: station.standing().waiting == 0, 20, "everything is told")


def records(plant: PlantStore) -> list[int]:
    return [part["told"] for part in plant.parts("press")]


def held(press: Station) -> list[str]:
    return [row["why"] for row in press.rows(sa.text("SELECT why FROM outbox_quarantine"))]


def test_a_damaged_cell_goes_to_quarantine_and_the_rest_on(
    plant: PlantStore, press: Station
) -> None:
    """A column that every message has; how the destination stands is known before, at it and after."""
    press.parts(3)
    press.do("UPDATE parts SET reasons = '[{' WHERE id IN (1, 3)")
    assert press.standing().oldest_age is not None
    press.parts(2)
    with press.forwarding():
        all_told(press)
        assert records(plant) == [2, 4, 5]
        assert [why for why in held(press) if "is not readable" in why] == held(press)
        press.do("UPDATE parts SET reasons = NULL", "UPDATE outbox_quarantine SET again = true")
        until(lambda: press.standing().quarantined == 0, 20, "they are taken")
    assert sorted(records(plant)) == [1, 2, 3, 4, 5]
    assert verify(plant.config).is_clean


def test_a_part_that_is_damaged_after_it_was_told_stays_as_told(
    plant: PlantStore, press: Station
) -> None:
    """While it is followed, and when the link is opened anew: its damage stops no other part."""
    press.part(done=False)
    with press.forwarding():
        all_told(press)
        press.do("UPDATE parts SET timings = '[{', state = 'sent' WHERE id = 1")
        until(lambda: plant.rows_of("part_keys")[0]["is_final"], 20, "it is given up")
        press.parts(2)
        all_told(press)
    press.parts(2)
    with press.forwarding():
        all_told(press)
    assert records(plant) == [1, 2, 3, 4, 5]
    assert plant.parts("press")[0]["state"] == "decided"


def test_a_review_that_the_plant_refuses_stops_no_other(plant: PlantStore, press: Station) -> None:
    for sequence in (1, 2):
        asked = trigger(sequence, station="press", epoch=press.epoch)
        press.store.triggered(asked, 1)
        press.store.decided(inspected(asked, REVIEWED))
        press.store.sent(asked.key, asked.seen_mono + 1, utc_now())
    press.sequence = 2
    pages = WebStore(press.config.store)
    assert Intake(pages).take_all() == 2
    pages.close()
    press.do("UPDATE reviews SET why = 'x' || char(0) WHERE record = 1")
    with press.forwarding():
        all_told(press)
        until(lambda: len(plant.rows(sa.select(reviews))) == 1, 20, "the other review")
        press.parts(2)
        all_told(press)
        assert press.standing().attempts == 0
    assert records(plant) == [1, 2, 3, 4]


def test_a_text_that_is_too_long_for_an_index_is_refused(plant: PlantStore, press: Station) -> None:
    """PostgreSQL has limits that SQLite does not have: such a row is one to look at, no outage."""
    press.parts(3)
    text = random.Random(1).randbytes(9000).hex()
    press.do(f"UPDATE parts SET serial = '{text}' WHERE id = 2")
    with press.forwarding():
        all_told(press)
    assert records(plant) == [1, 3]
    [why] = held(press)
    assert "index row" in why


def test_a_time_that_is_none_is_waited_for_by_nobody(tmp_path: Path) -> None:
    """Of the first row of a file that is gathered."""
    config = CsvConfig.model_validate({"name": "csv", "folder": tmp_path, "seconds": 60.0})
    sender = Sender(config, "st1", Outbox.__new__(Outbox), list, lambda: StationState("ready"))
    for at in ("?", "2026-11-01T00:00:00"):
        told = Told(1, "st1", "part", 1, 1, {"decided_at": at})
        assert not sender._gathers(Batch([told], 0, 0, "", (0, 0)))


def saved(press: Station, number: int, data: bytes) -> Path:
    """Write a part with a picture; return the picture's file, which is not there yet."""
    sequence, name = press.part(done=False), f"press/{number}.jpg"
    image = StoredImage(name, hashlib.sha256(data).hexdigest(), 64, 48)
    press.store.images(PartKey("press", press.epoch, sequence), "saved", [image])
    file = press.config.store.images.folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def test_a_picture_that_cannot_be_read_stops_nothing(
    plant: PlantStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A bad sector, a folder in its place: it is left out, and the log names the file and the disk."""
    site = tmp_path / "site"
    site.mkdir()
    press = Station(tmp_path / "press", "press", plant.url, pictures=str(site))
    saved(press, 1, b"1").symlink_to("/proc/self/mem")  # opens, and gives EIO when it is read
    saved(press, 2, b"2").mkdir()
    saved(press, 3, b"3").write_bytes(b"3")
    with press.forwarding():
        all_told(press)
    assert records(plant) == [1, 2, 3]
    assert [p.name for p in site.rglob("*.*")] == ["3.jpg"]
    for number in (1, 2):
        [said] = {m for m in caplog.messages if f"{number}.jpg" in m}
        assert "cannot be read at the station" in said
    press.store.close()


def test_a_picture_that_was_altered_at_the_site_is_copied_again(
    plant: PlantStore, tmp_path: Path
) -> None:
    """What is there under its name is its picture only when it has its hash."""
    site = tmp_path / "site"
    (site / "press").mkdir(parents=True)
    (site / "press/1.jpg").write_bytes(b"of somebody else")
    press = Station(tmp_path / "press", "press", plant.url, pictures=str(site))
    saved(press, 1, b"right").write_bytes(b"right")
    with press.forwarding():
        all_told(press)
    assert (site / "press/1.jpg").read_bytes() == b"right"
    press.store.close()
