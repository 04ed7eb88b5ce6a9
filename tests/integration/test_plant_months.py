"""The plant store's months: made without holding up others, also where rows came before their month."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from plant_rig import PlantStore, Station
from postgres_server import PostgresServer
from station_rig import until
from typer.testing import CliRunner

from inspection.store.plant import cli, database, months, writer
from inspection.store.queries import StoreReader
from inspection.store.verify import verify
from inspection.types import Reason, Verdict


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


def all_told(*stations: Station) -> None:
    until(lambda: all(s.standing().waiting == 0 for s in stations), 20, "everything is told")


def verb(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli.app, list(arguments))
    return done.exit_code, done.output


@contextlib.contextmanager
def reading(plant: PlantStore, where: str = "") -> Iterator[None]:
    """Somebody who has read and leaves the transaction open, as a dump does."""
    engine = sa.create_engine(plant.url)
    try:
        with engine.connect() as connection:
            connection.execute(sa.text(f"SELECT count(*) FROM parts {where}"))
            yield
    finally:
        engine.dispose()


def test_who_reads_does_not_hold_up_the_first_of_a_month(
    plant: PlantStore, press: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the next month is missing, which nobody needs yet: it is made when the reader has left."""
    monkeypatch.setattr(writer, "_AHEAD_EVERY", 0.5)
    press.parts(2)
    with press.forwarding():
        all_told(press)
        until(lambda: months.ahead() <= set(plant.months()), 20, "the months")
    latest = max(months.ahead())
    name = latest.replace("-", "_")
    plant.do(f"DROP TABLE verdicts_{name}", f"DROP TABLE parts_{name}")
    with press.forwarding():
        with reading(plant):
            press.parts(5)
            all_told(press)
            assert press.standing().attempts == 0
            assert latest not in plant.months()
        press.parts(1)
        until(lambda: press.standing().waiting == 0 and latest in made(plant, press), 20, latest)
    assert len(plant.parts("press")) > 7


def made(plant: PlantStore, press: Station) -> set[str]:
    press.parts(1)
    return set(plant.months())


def test_a_month_is_made_beside_those_who_read_others(plant: PlantStore) -> None:
    with database.transaction(plant.config, "a test") as connection:
        months.make(connection, ["2025-05"])
    of_may = "WHERE triggered_at >= '2025-05' AND triggered_at < '2025-06'"
    with reading(plant, of_may), database.transaction(plant.config, "a test") as connection:
        connection.execute(sa.text("SET LOCAL lock_timeout = '1s'"))
        months.make(connection, ["2025-06"])
    assert {"2025-05", "2025-06"} <= set(plant.months())


def test_parts_that_came_before_their_month_move_into_it(
    plant: PlantStore, press: Station, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that was ahead, then the month comes: it has a partition like any other, and goes like it."""
    press.parts(3)
    press.do(
        "UPDATE parts SET triggered_at = '2025-03-10T10:00:00.000000+00:00' WHERE id IN (1, 2)"
    )
    with StoreReader(press.config.store) as reader:
        reader.add_verdict(1, Verdict.FALSE_CALL, "kim", version_seen=0)
    monkeypatch.setattr(months, "ahead", lambda _now=None: {"2025-01", "2025-02"})
    with press.forwarding():
        all_told(press)
    assert plant.months()["default"] == 3
    monkeypatch.undo()
    with database.transaction(plant.config, "a test") as connection:
        months.make(connection, ["2025-03"], most=1)  # too many to have others wait for them
    assert "2025-03" not in plant.months()
    with database.transaction(plant.config, "a test") as connection:
        months.make(connection, ["2025-03"])
    assert (plant.months()["2025-03"], plant.months()["default"]) == (2, 1)
    code, _ = verb("init", plant.url)
    assert (code, plant.months()["default"]) == (0, 0)

    oven = Station(tmp_path / "oven", "oven", plant.url)
    oven.parts(4)
    oven.do("UPDATE parts SET triggered_at = '2025-03-15T10:00:00.000000+00:00'")
    with oven.forwarding(), press.forwarding():
        all_told(oven, press)
    oven.store.close()
    assert (plant.months()["2025-03"], verb("status", plant.url)[0]) == (6, 0)
    assert [row["record"] for row in plant.rows_of("verdicts_2025_03")] == [1]
    assert verify(plant.config).is_clean
    off = "SELECT tgname FROM pg_trigger WHERE tgenabled <> 'O' AND NOT tgisinternal"
    assert plant.rows(sa.text(off)) == []
    with pytest.raises(database.PlantError, match="append"):
        plant.do("UPDATE verdicts SET who = 'lee'")
    assert "removed 3 months, 6 parts" in verb("drop-before", plant.url, "2025-04", "--yes")[1]
    assert [part["told"] for part in plant.parts("press")] == [3]
    assert verify(plant.config).is_clean


def test_alarms_of_months_that_were_removed_stay_away(plant: PlantStore, press: Station) -> None:
    """Also when all is told again; one of today by a clock that is behind is not one of them."""
    press.parts(2)
    press.do("UPDATE parts SET triggered_at = '2025-01-10T10:00:00.000000+00:00' WHERE id = 1")
    for on in (True, False):
        press.store.alarm("press", Reason.CAMERA_LOST, "unplugged", on=on)
    press.do("UPDATE alarms SET at = '2025-01-10T10:00:00.000000+00:00' WHERE id = 1")
    with press.forwarding():
        all_told(press)
        assert len(plant.rows_of("alarms")) == 2
        assert verb("drop-before", plant.url, "2025-02", "--yes")[0] == 0
    assert len(plant.rows_of("alarms")) == 1
    press.store.alarm("press", Reason.CAMERA_LOST, "again", on=True)
    press.do("UPDATE alarms SET at = '2025-01-11T10:00:00.000000+00:00' WHERE id = 3")
    press.do("UPDATE outbox_delivery SET delivered = 0")
    assert verb("accept", plant.url, "press")[0] == 0
    with press.forwarding():
        all_told(press)
    assert [alarm["detail"] for alarm in plant.rows_of("alarms")] == ["unplugged", "again"]
    assert [part["told"] for part in plant.parts("press")] == [2]
