"""The plant store: clocks that are wrong, months that go, backups that come back, servers that are silent."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from fault_proxy import FaultProxy
from plant_rig import PlantStore, Station
from postgres_server import PostgresServer
from station_rig import until
from store_samples import REVIEWED, inspected, trigger, utc_now
from typer.testing import CliRunner

from inspection.errors import StoreError
from inspection.store.plant import cli, database, dropping
from inspection.store.plant.database import Plant, PlantError
from inspection.store.plant.tables import part_keys
from inspection.store.queries import StoreReader
from inspection.store.verify import verify
from inspection.store.web.access import WebStore
from inspection.store.web.intake import Intake
from inspection.store.web.tables import days, reviews, slots, tallies
from inspection.types import Verdict
from inspection_serve.upward import quarantine


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


def all_told(*stations: Station, limit: float = 60) -> None:
    until(lambda: all(s.standing().waiting == 0 for s in stations), limit, "everything is told")


def verb(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli.app, list(arguments))
    return done.exit_code, done.output


def dated(station: Station, at: str, *records: int) -> None:
    numbers = ", ".join(map(str, records))
    station.do(
        f"UPDATE parts SET triggered_at = '{at}T10:00:00.000000+00:00' WHERE id IN ({numbers})"
    )


def records(plant: PlantStore) -> list[int]:
    return sorted(part["told"] for part in plant.parts("press"))


def clean(plant: PlantStore) -> list[str]:
    """Notes of `verify`, which must find no breach."""
    report = verify(plant.config)
    assert report.is_clean, [f.as_dict() for f in report.findings if f.breaches]
    return [note for f in report.findings if f.code == "PLANT" for note in f.notes]


def test_a_clock_that_is_behind_loses_no_part_after_months_were_removed(
    plant: PlantStore, press: Station
) -> None:
    """What was removed stays away; a part of today with a time of long ago is kept, and people see it."""
    press.parts(4)
    dated(press, "2025-01-10", 1, 2)
    with press.forwarding():
        all_told(press)
        assert verb("drop-before", plant.url, "2025-03", "--yes")[0] == 0
        assert records(plant) == [3, 4]
    press.parts(2)
    dated(press, "2025-01-10", 5)
    dated(press, "2025-02-10", 6)
    press.parts(1)
    with press.forwarding():
        all_told(press)
    assert records(plant) == [3, 4, 5, 6, 7]
    assert (plant.months()["default"], sorted(plant.months())[0] >= "2025-03") == (2, True)
    code, said = verb("status", plant.url)
    assert (code, "default: 2 parts" in said) == (1, True)
    assert any("2 parts have times" in note for note in clean(plant))

    # months go again: record 5 now lies below what was removed, and is still the plant's
    dated(press, "2025-04-10", 7)
    plant.do(
        "UPDATE part_keys SET triggered_at = '2025-04-10T10:00:00.000000+00:00' WHERE record = 7",
        "CREATE TABLE parts_2025_04 PARTITION OF parts FOR VALUES FROM ('2025-04') TO ('2025-05')",
        "CREATE TABLE verdicts_2025_04 PARTITION OF verdicts FOR VALUES FROM ('2025-04') TO ('2025-05')",
        "UPDATE parts SET triggered_at = '2025-04-10T10:00:00.000000+00:00' WHERE id ="
        " (SELECT id FROM part_keys WHERE record = 7)",
    )
    assert verb("drop-before", plant.url, "2025-05", "--yes")[0] == 0
    with StoreReader(press.config.store) as reader:
        reader.add_verdict(5, Verdict.FALSE_CALL, "kim", version_seen=0)
        reader.add_verdict(1, Verdict.FALSE_CALL, "kim", version_seen=0)
    press.do("UPDATE outbox_delivery SET delivered = 0")
    assert verb("accept", plant.url, "press")[0] == 0
    with press.forwarding():
        all_told(press)
    assert records(plant) == [3, 4, 5, 6]
    [said] = plant.rows_of("verdicts")
    assert said["triggered_at"].startswith("2025-01-10")
    assert not {m for m in plant.months() if m < "2025-05"}
    clean(plant)


def test_removing_months_counts_them_first(plant: PlantStore, press: Station) -> None:
    """No page ever ran: the counts by half hour and day, of parts and of reviews, are there all the same."""
    press.parts(6)
    asked = trigger(90, station="press", epoch=press.epoch)
    press.store.triggered(asked, 1)
    press.store.decided(inspected(asked, REVIEWED))
    press.store.sent(asked.key, asked.seen_mono + 1, utc_now())
    dated(press, "2025-01-10", 1, 2, 3, 7)
    pages = WebStore(press.config.store)
    asked_for = Intake(pages).take_all()
    pages.close()
    with press.forwarding():
        all_told(press)
        until(lambda: len(plant.rows(sa.select(reviews))) == asked_for, 20, "the reviews")
    old = plant.rows(sa.select(reviews).where(reviews.c.triggered_at < "2025-02"))
    with (
        pytest.raises(StoreError, match="not counted yet"),
        database.transaction(plant.config, "a test") as connection,
    ):
        dropping.drop(connection, "2025-02")
    assert len(plant.parts("press")) == 7
    code, said = verb("drop-before", plant.url, "2025-02", "--yes")
    assert (code, "removed 1 months, 4 parts" in said) == (0, True)
    for table in (slots, days):
        kept = plant.rows(sa.select(table).where(table.c.slot < "2025-02"))
        assert sum(row["number"] for row in kept) == 4
    told = plant.rows(sa.select(tallies).where(tallies.c.slot < "2025-02"))
    assert sorted(row["decision"] for row in told) == ["FAIL", "REVIEW"]
    assert sum(row["number"] for row in told) == len(old) == 2
    clean(plant)


def test_months_stay_while_they_cannot_be_counted(plant: PlantStore, press: Station) -> None:
    """A transaction that was begun before the parts and is still open: it could write one of them."""
    engine = sa.create_engine(plant.url)
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT pg_current_xact_id()"))
        press.parts(2)
        dated(press, "2025-01-10", 1)
        with press.forwarding():
            all_told(press)
        with pytest.raises(StoreError, match="transaction that began long ago"):
            dropping.count_before(plant.config, "2025-02", patience=0.5)
    engine.dispose()
    dropping.count_before(plant.config, "2025-02", patience=20.0)
    assert sum(row["number"] for row in plant.rows(sa.select(slots))) == 2


def test_a_review_is_never_shown_on_another_part_of_its_record(
    plant: PlantStore, press: Station
) -> None:
    """A restored store gives a record again; what an earlier version showed wrongly is removed."""
    press.parts(1)
    backup = press.copy()
    press.sequence = 76
    press.part()
    with press.forwarding():
        all_told(press)
    press.restore(backup)
    press.sequence = 1
    asked = trigger(1, station="press", epoch=press.epoch)
    press.store.triggered(asked, 1)
    press.store.decided(inspected(asked, REVIEWED))
    press.store.sent(asked.key, asked.seen_mono + 1, utc_now())
    assert verb("accept", plant.url, "press")[0] == 0
    pages = WebStore(press.config.store)
    assert Intake(pages).take_all() == 1
    pages.close()

    def shown() -> list[tuple[int, int]]:
        query = sa.select(part_keys.c.epoch, part_keys.c.sequence).join(
            reviews, reviews.c.record == part_keys.c.id
        )
        return [(row["epoch"], row["sequence"]) for row in plant.rows(query)]

    with press.forwarding():
        all_told(press)
        until(lambda: shown() == [(2, 1)], 20, "the review")
        press.parts(1)
        all_told(press)
        assert shown() == [(2, 1)]
    clean(plant)
    copied = [c.name for c in reviews.columns if c.computed is None and c.name != "record"]
    names, values = ", ".join(copied), ", ".join(f"r.{name}" for name in copied)
    plant.do(
        f"INSERT INTO reviews (record, {names}) SELECT k.id, {values} FROM reviews r, part_keys k"
        " WHERE k.sequence = 77"
    )
    [found] = [f for f in verify(plant.config).findings if f.code == "PLANT"]
    assert (found.breaches, "waits for review twice" in str(found.notes)) == (1, True)
    with press.forwarding():
        until(lambda: shown() == [(2, 1)], 20, "the wrong one is removed")
    assert clean(plant) == []


def test_a_clock_that_jumps_ahead_freezes_no_part(plant: PlantStore, press: Station) -> None:
    """The age of a part that nobody acknowledged is taken since it was told, by the server's clock."""
    press.part(done=False)
    press.do("UPDATE parts SET decided_at = '2026-01-01T00:00:00.000000+00:00' WHERE id = 1")
    key = trigger(1, station="press", epoch=press.epoch).key
    with press.forwarding():
        all_told(press)
        until(lambda: plant.rows_of("part_keys"), 10, "the part")
        time.sleep(1.2)  # one look at least
        press.store.sent(key, 1e9, utc_now())
        press.store.acknowledged(key, 1e9 + 1, utc_now())
        press.store.images(key, "shed", [])
        until(lambda: plant.parts("press")[0]["state"] == "acknowledged", 20, "it follows")
        until(lambda: plant.rows_of("part_keys")[0]["is_final"], 20, "it is final")
    plant.do("UPDATE part_keys SET is_final = false, told_at = '2026-01-01T00:00:00.000000+00:00'")
    press.do("UPDATE parts SET state = 'decided' WHERE id = 1")
    with press.forwarding():
        until(lambda: plant.rows_of("part_keys")[0]["is_final"], 20, "it was told long ago")


@pytest.mark.parametrize("more", [0, 3])
def test_a_plant_that_was_restored_is_told_what_it_took_late(
    plant: PlantStore, press: Station, server: PostgresServer, more: int
) -> None:
    """A message that left the quarantine lies below the mark of the backup, whatever was told after it."""
    press.parts(2)
    press.do("UPDATE parts SET serial = 'S' || char(0) || 'x' WHERE id = 2")
    press.parts(2)
    name = plant.url.rpartition("/")[2]
    with press.forwarding():
        all_told(press)
        assert records(plant) == [1, 3, 4]
        server.dump(name, "backup")
        press.do("UPDATE parts SET serial = 'S2' WHERE id = 2")
        press.do("UPDATE outbox_quarantine SET again = true")
        until(lambda: press.standing().quarantined == 0, 20, "it is taken")
        press.parts(more)
        all_told(press)
    whole = list(range(1, 5 + more))
    assert records(plant) == whole
    assert quarantine.look(press.config.store, "press", "plant") == []
    assert quarantine.retry(press.config.store, "press", "plant") == 0
    assert quarantine.give_up(press.config.store, "press", "plant", "none") == []
    plant._plant.close()
    server.restore(name, "backup")
    assert records(plant) == [1, 3, 4]
    with press.forwarding():
        until(lambda: records(plant) == whole, 20, "all of it again")
    press.do("UPDATE parts SET serial = 'S' || char(0) WHERE id = 2")
    press.parts(1)
    with press.forwarding():
        all_told(press)
        assert press.standing().quarantined == 1
    assert records(plant) == [*whole, 5 + more]
    clean(plant)


def test_a_server_that_holds_the_link_in_silence_is_left(
    plant: PlantStore, server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is away, then there again, by new connections; who sends can be stopped in the silence."""
    monkeypatch.setattr(database, "SILENT", 1.5)
    with FaultProxy(("127.0.0.1", server.port)) as proxy:
        press = Station(tmp_path / "press", "press", plant.at(proxy.port))
        press.parts(5)
        with press.forwarding():
            all_told(press)
            proxy.half_open = True
            press.parts(5)
            until(lambda: press.standing().attempts > 0, 20, "the silence is noticed")
            assert press.standing().waiting == 5
            proxy.half_open = False
            all_told(press, limit=20)
            assert records(plant) == list(range(1, 11))
            proxy.half_open = True
            press.parts(5)
            time.sleep(0.5)
            begun = time.monotonic()
        assert time.monotonic() - begun < 12
        proxy.half_open = False
        with press.forwarding():
            all_told(press, limit=20)
        press.store.close()
    assert records(plant) == list(range(1, 16))
    clean(plant)


def test_silence_ends_each_wait_and_no_work(plant: PlantStore, server: PostgresServer) -> None:
    """While it is opened, asked, and committed; many statements and a slow caller are no silence."""
    with FaultProxy(("127.0.0.1", server.port)) as proxy:
        way = Plant(database.plant_config(plant.at(proxy.port)), silent=3.0)
        with way.transaction("a test") as connection:
            for _ in range(4):
                connection.execute(sa.text("SELECT pg_sleep(1)"))
            time.sleep(3.5)
            connection.execute(sa.text("SELECT 1"))

        def ask(where: str) -> None:
            with way.transaction("a test") as connection:
                connection.execute(sa.text("DELETE FROM marks"))
                proxy.half_open = True
                if where == "asked":
                    connection.execute(sa.text("SELECT 1"))

        for where in ("asked", "committed"):
            begun = time.monotonic()
            with pytest.raises(PlantError, match="did not answer"):
                ask(where)
            assert time.monotonic() - begun < 15
            proxy.half_open = False
        with way.transaction("a test") as connection:
            connection.execute(sa.text("SELECT 1"))
        proxy.half_open = True  # the connection that was kept is tried, then another is opened
        begun = time.monotonic()
        with pytest.raises(PlantError), way.transaction("a test"):
            pass
        assert time.monotonic() - begun < 45
        way.close()
        eager = Plant(database.plant_config(plant.url), silent=database.FOREVER)
        with eager.transaction("a test") as connection:
            connection.execute(sa.text("SELECT pg_sleep(1.5)"))
        eager.close()
    until(
        lambda: not [t for t in threading.enumerate() if t.name == "silence"],
        10,
        "nobody waits, so nobody watches",
    )


def test_who_is_gone_does_not_hold_the_mark(
    plant: PlantStore, press: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other half of a connection that was left may stay open: its transaction ends all the same."""
    press.parts(1)
    with press.forwarding():
        all_told(press)
    held = sa.text("SELECT mark FROM plant_stations FOR UPDATE")
    monkeypatch.setattr(database, "_IDLE", 1.0)
    left = Plant(plant.config)

    def leave() -> None:
        with left.transaction("a test") as gone:
            gone.execute(held)
            begun = time.monotonic()
            with database.transaction(plant.config, "a test") as connection:
                connection.execute(held)
            assert 0.5 < time.monotonic() - begun < 8

    with pytest.raises(PlantError, match="idle-in-transaction"):
        leave()
    left.close()


def test_a_server_that_never_answers_the_first_word(plant: PlantStore) -> None:
    """It accepts, and never says anything: no connection comes of it."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        way = Plant(database.plant_config(plant.at(mute.getsockname()[1])))
        begun = time.monotonic()
        with pytest.raises(PlantError, match="timeout"), way.transaction("a test"):
            pass
        assert time.monotonic() - begun < 15
        way.close()
