"""The plant store: two stations are forwarded to PostgreSQL, over cut links, kills, backups and refusals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from fault_proxy import FaultProxy
from plant_rig import PlantStore, Station
from postgres_server import PostgresServer
from station_rig import until
from store_samples import PASSED, inspected, not_inspected, trigger, utc_now
from typer.testing import CliRunner

from inspection.errors import StoreError
from inspection.store.config import StoreConfig
from inspection.store.plant import cli, database, months
from inspection.store.queries import StoreReader
from inspection.store.sql import SqlStore
from inspection.store.tables import alarms, epochs, verdicts
from inspection.store.verify import verify
from inspection.store.web.access import WebStore
from inspection.store.web.intake import Intake
from inspection.store.web.tables import reviews
from inspection.types import Reason, StoredImage, Verdict
from inspection_serve.upward.plant import PlantConfig


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


def same(plant: PlantStore, *stations: Station) -> None:
    """Rows are equal, in the order of the outbox, none is doubled; both sides are clean."""
    for station in stations:
        until(lambda: plant.parts(station.name) == station.told(), 30, "equal rows")  # noqa: B023
        assert verify(station.config.store).is_clean
    report = verify(plant.config)
    assert report.is_clean, [f.as_dict() for f in report.findings if f.breaches]


def verb(*arguments: str, answer: str | None = None) -> tuple[int, str]:
    done = CliRunner().invoke(cli.app, list(arguments), input=answer)
    return done.exit_code, done.output


@pytest.mark.soak  # in short form: tests/line/test_plant_line.py
def test_two_stations_the_link_cut_twice_and_a_kill(
    plant: PlantStore, server: PostgresServer, tmp_path: Path
) -> None:
    """Must-hold 10: rows equal, in order, none doubled; `verify` clean on both sides."""
    with FaultProxy(("127.0.0.1", server.port)) as proxy:
        a = Station(tmp_path / "a", "press", plant.at(proxy.port))
        b = Station(tmp_path / "b", "oven", plant.url)
        a.parts(120)
        process = a.start()
        try:
            with b.forwarding():
                b.parts(30)
                until(lambda: len(plant.parts("press")) >= 50, 30, "the first parts")
                proxy.cut_next(7)  # in the middle of an answer
                a.parts(30)
                until(lambda: a.standing().waiting == 0, 30, "told over the cut")
                proxy.refuse()
                a.parts(20)
                until(lambda: a.standing().attempts > 0, 30, "the link is away")
                process.kill()
                server.stop(kill=True)
                b.parts(30)
                until(lambda: b.standing().attempts > 0, 30, "the server is away")
                server.start()
                proxy.heal()
                a.parts(20)
                with a.forwarding():
                    all_told(a, b)
                    same(plant, a, b)
            assert [s["station"] for s in plant.rows(sa.select(epochs.c.station))].count(
                "press"
            ) == 1
        finally:
            process.stop()
            a.store.close()
            b.store.close()


def test_the_mark_in_the_plant_is_what_counts(plant: PlantStore, press: Station) -> None:
    """A kill before it was noted doubles nothing; a plant that was restored is told again, in order.

    And `upward` that was taken out of the file and put back: the same rows, so it is the same station.
    """
    press.parts(10)
    with press.forwarding():
        all_told(press)
    press.do("UPDATE outbox_delivery SET delivered = 4")
    press.parts(10)
    with press.forwarding():
        all_told(press)
        same(plant, press)
    [key] = plant.rows(sa.text("SELECT id FROM part_keys WHERE record = 12"))
    [mark] = press.rows(sa.text("SELECT id FROM outbox WHERE kind = 'part' AND subject = 12"))
    plant.do(
        f"DELETE FROM parts WHERE id > {key['id']}",
        f"DELETE FROM part_keys WHERE id > {key['id']}",
        f"UPDATE plant_stations SET mark = {mark['id']}, last_message = 'part/1/1/12/' || "
        "(SELECT triggered_at FROM part_keys WHERE record = 12)",
    )
    press.store.tell_upward("press", {})
    press.parts(2)
    press.store.tell_upward("press", {"plant": 600.0})
    press.parts(2)
    with press.forwarding():
        until(lambda: len(plant.parts("press")) == 22, 30, "the missing ones")
        same(plant, press)


def test_what_happens_later_follows(plant: PlantStore, press: Station, tmp_path: Path) -> None:
    """Sent, acknowledged, picture, verdict, review, alarm; a replaced decision is the newer one."""
    first = press.part(done=False)
    key = trigger(first, station="press", epoch=press.epoch).key
    asked = trigger(99, station="press", epoch=press.epoch)
    with press.forwarding():
        all_told(press)
        press.store.sent(key, 1e9, utc_now())
        press.store.acknowledged(key, 1e9 + 1, utc_now())
        press.store.images(key, "saved", [StoredImage("press/1/0/1-1.jpg", "ab" * 32, 64, 48)])
        press.store.alarm("press", Reason.CAMERA_LOST, "unplugged", on=True)
        press.store.triggered(asked, 1)
        press.store.decided(inspected(asked, PASSED))
        press.store.decided(not_inspected(asked, Reason.DEADLINE))
        pages = WebStore(press.config.store)
        press.parts(3)
        assert Intake(pages).take_all() >= 1
        pages.close()
        with StoreReader(press.config.store) as reader:
            reader.add_verdict(1, Verdict.FALSE_CALL, "kim", version_seen=0, comment="먼지")
        all_told(press)
        same(plant, press)
        until(lambda: plant.rows(sa.select(reviews)), 20, "reviews")
    (said,) = plant.rows(sa.select(verdicts))
    assert (said["verdict"], said["who"], said["comment"]) == ("false_call", "kim", "먼지")
    (alarm,) = plant.rows(sa.select(alarms))
    assert (alarm["station"], alarm["reason"]) == ("press", "CAMERA_LOST")
    replaced = {p["sequence"]: p for p in plant.parts("press")}[99]
    assert (replaced["decision"], len(replaced["late"])) == ("NOT_INSPECTED", 1)


def test_pictures_go_before_the_row(plant: PlantStore, tmp_path: Path) -> None:
    """The site's folder: away until it is there; copied once, whole; a changed file is not copied."""
    import hashlib

    site = tmp_path / "site"
    press = Station(tmp_path / "press", "press", plant.url, pictures=str(site))
    folder = press.config.store.images.folder
    (folder / "press").mkdir(parents=True)
    for sequence, data in ((1, b"one"), (2, b"altered since")):
        (folder / f"press/{sequence}.jpg").write_bytes(data)
        press.part(done=False)
        key = trigger(sequence, station="press", epoch=press.epoch).key
        sha = hashlib.sha256(b"one").hexdigest()
        press.store.images(key, "saved", [StoredImage(f"press/{sequence}.jpg", sha, 64, 48)])
    with press.forwarding():
        until(lambda: press.standing().attempts > 1, 20, "the folder is missed")
        assert plant.parts("press") == []
        site.mkdir()
        all_told(press)
        same(plant, press)
    assert [p.name for p in sorted(site.rglob("*.*"))] == ["1.jpg"]
    codes = {f.code: f for f in verify(plant.config, images=site).findings}
    assert codes["I10"].breaches == 1
    press.store.close()


def test_what_the_plant_refuses_lies_in_quarantine(plant: PlantStore, press: Station) -> None:
    """A row that PostgreSQL cannot hold: the next ones follow; retry takes it when it can."""
    press.parts(2)
    press.do("UPDATE parts SET serial = 'S' || char(0) || 'x' WHERE id = 2")
    press.parts(5)
    with press.forwarding():
        all_told(press)
        assert [p["sequence"] for p in plant.parts("press")] == [1, 3, 4, 5, 6, 7]
        [held] = press.rows(sa.text("SELECT why FROM outbox_quarantine"))
        assert "NUL" in held["why"]
        press.do("UPDATE parts SET serial = 'S2' WHERE id = 2")
        press.do("UPDATE outbox_quarantine SET again = true")
        until(lambda: press.standing().quarantined == 0, 20, "the quarantine is empty")
    assert {p["sequence"] for p in plant.parts("press")} == set(range(1, 8))
    assert verify(plant.config).is_clean


def test_rows_that_cannot_be_read_or_held_block_nobody(plant: PlantStore, press: Station) -> None:
    """JSON that is none, an epoch that PostgreSQL cannot hold, a later change that it refuses."""
    press.parts(3)
    press.do("UPDATE parts SET detections = '[{' WHERE id = 2")
    with press.forwarding():
        until(lambda: press.standing().quarantined == 1, 20, "the row without JSON")
        press.part(done=False)
        all_told(press)
        press.do("UPDATE parts SET serial = char(0), state = 'sent' WHERE id = 4")
        until(lambda: plant.rows_of("part_keys")[-1]["is_final"], 20, "the change is given up")
        press.parts(2)
        all_told(press)
        press.store.begin_epoch("press", "reset")
        press.do("UPDATE epochs SET host = char(0) WHERE epoch = 2")
        press.epoch = 2
        press.parts(1)
        until(lambda: press.standing().quarantined == 2, 20, "the epoch")
        press.epoch = press.store.begin_epoch("press", "reset")
        press.parts(1)
        all_told(press)
    assert sorted(p["told"] for p in plant.parts("press")) == [1, 3, 4, 5, 6, 8]
    assert verify(plant.config).is_clean


def test_a_restored_backup_is_noticed_and_accepted(plant: PlantStore, press: Station) -> None:
    """A store that went back tells nothing; after `accept` what contradicts the plant is quarantined."""
    press.parts(5)
    asked = trigger(50, station="press", epoch=press.epoch)
    press.store.triggered(asked, 1)
    backup = press.copy()
    press.store.decided(inspected(asked, PASSED))
    press.store.sent(asked.key, 1e9, utc_now())
    press.sequence = 60
    press.parts(3)
    with press.forwarding():
        all_told(press)
    before = plant.parts("press")
    press.restore(backup)
    press.store.close_open_parts("press", Reason.RESTART)
    press.parts(9)
    with press.forwarding():
        until(lambda: press.standing().attempts > 1, 20, "it is noticed")
        assert "not the store that told the plant" in press.standing().detail
        assert plant.parts("press") == before
        assert verb("accept", plant.url, "press")[0] == 0
        all_told(press)
        [held] = press.rows(sa.text("SELECT why FROM outbox_quarantine"))
        assert "the plant has press/1/50 as PASS" in held["why"]
    now = plant.parts("press")
    assert [p["decision"] for p in now[: len(before)]] == [p["decision"] for p in before]
    assert len(now) == len(before) + 9
    assert verb("accept", plant.url, "oven")[0] == 2


def test_another_store_under_the_same_name_is_held(plant: PlantStore, tmp_path: Path) -> None:
    """A PC that was set up anew begins at epoch 1 again: nothing of it is mixed with the old one's."""
    old = Station(tmp_path / "old", "press", plant.url)
    old.parts(4)
    with old.forwarding():
        all_told(old)
        same(plant, old)
    new = Station(tmp_path / "new", "press", plant.url)
    new.parts(6)
    with new.forwarding():
        until(lambda: new.standing().attempts > 1, 20, "it is noticed")
        assert "give this station a name of its own" in new.standing().detail
        assert verb("accept", plant.url, "press")[0] == 0
        tried = new.standing().attempts
        until(lambda: new.standing().attempts > tried + 1, 20, "another attempt")
    assert len(plant.parts("press")) == 4
    old.store.close()
    new.store.close()


def test_months(plant: PlantStore, press: Station) -> None:
    """Each month has its partition, times that make no sense another; old months go, and stay away."""
    press.parts(6)
    for record, at in ((1, "2024-12-31"), (2, "2025-01-15"), (3, "1970-01-01"), (4, "2099-06-01")):
        press.do(
            f"UPDATE parts SET triggered_at = '{at}T10:00:00.000000+00:00' WHERE id = {record}"
        )
    with StoreReader(press.config.store) as reader:
        reader.add_verdict(1, Verdict.REAL_DEFECT, "kim", version_seen=0)
    with press.forwarding():
        all_told(press)
        same(plant, press)
        found = plant.months()
        assert (found["2024-12"], found["2025-01"], found["default"]) == (1, 1, 2)
        code, said = verb("drop-before", plant.url, "2025-01", answer="n\n")
        assert (code, "2024-12: 1 parts, 1 verdicts" in said) == (1, True)
        assert len(plant.parts("press")) == 6
        code, said = verb("drop-before", plant.url, "2025-01", "--yes")
        assert (code, "removed 1 months, 1 parts" in said) == (0, True)
        assert sorted(p["told"] for p in plant.parts("press")) == [2, 3, 4, 5, 6]
        press.do("UPDATE outbox_delivery SET delivered = 0")
        assert verb("accept", plant.url, "press")[0] == 0
    with press.forwarding():
        all_told(press)
    assert sorted(p["told"] for p in plant.parts("press")) == [2, 3, 4, 5, 6]
    assert verify(plant.config).is_clean
    with database.transaction(plant.config, "a test") as connection:
        months.make(connection, ["2099-06"])  # its rows lie in the default partition already
    assert (plant.months()["2099-06"], plant.months()["default"]) == (1, 1)
    assert verb("drop-before", plant.url, "2999-01")[0] == 2
    assert verb("drop-before", plant.url, "last")[0] == 2
    plan = plant.rows(
        sa.text(
            "EXPLAIN SELECT * FROM parts WHERE triggered_at >= '2025-01-03' AND triggered_at < '2025-01-09'"
        )
    )
    assert "2025_01" in str(plan)
    assert "2024" not in str(plan)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("results.db", "give postgresql"),
        ("postgresql://kim:secret@host/plant", "pgpass"),
        ("postgresql://kim@host/plant?password=secret", "pgpass"),
    ],
)
def test_an_address_that_cannot_be(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        PlantConfig.model_validate({"name": "plant", "url": url})


def test_who_may_use_which_database(
    plant: PlantStore, server: PostgresServer, tmp_path: Path
) -> None:
    """No line writes to a plant; a station's store is made into no plant; twice is once."""
    assert not database.init(plant.config)
    assert verb("init", plant.url)[1] == "the plant store is up to date\n"
    with pytest.raises(StoreError, match="no line writes to one"):
        SqlStore(StoreConfig.model_validate({"url": plant.url, "journal": tmp_path / "j"}))
    url = server.url("a_station_of_its_own")
    own = SqlStore(StoreConfig.model_validate({"url": url, "journal": tmp_path / "k"}))
    own.begin_epoch("st1", "start")
    own.close()
    assert verb("init", url)[0] == 2
    assert verb("status", url)[0] == 2
    assert verb("init", str(tmp_path / "results.db"))[0] == 2
    assert verb("status", plant.url)[0] == 0
    assert verb("status", "postgresql://nobody@127.0.0.1:1/nothing")[0] == 2
