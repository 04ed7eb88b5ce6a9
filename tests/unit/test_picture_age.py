"""What the guard holds for old when the PC's clock was wrong: parts of several boots, with their labels."""

from __future__ import annotations

import sqlite3
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from store_samples import FAILED, inspected, store_config, trigger

from inspection.store import age, guard
from inspection.store.age import Moment, moment, odd_stop
from inspection.store.database import make_engine
from inspection.store.guard import DiskGuard
from inspection.store.sql import SqlStore
from inspection.store.writes import boot_id
from inspection.types import StoredImage

DAY = 86_400.0


class Life:
    """A station whose PC was started again and again: each boot has one epoch and one failed part."""

    def __init__(self, folder: Path) -> None:
        self.config = store_config(folder, images={"keep_ok_days": 30.0, "keep_ng_days": 365.0})
        self.config.images.folder.mkdir(parents=True)
        self.true = datetime.now(UTC)

    def boot(self, began: float, ended: float, clock: float = 0.0, name: str = "") -> None:
        """Run from `began` to `ended` days from now (negative: before), the clock ahead by `clock` days."""
        store = SqlStore(self.config)
        epoch = store.begin_epoch("st1", "start")
        part = inspected(trigger(1, epoch=epoch), FAILED)
        store.decided(part)
        store.images(part.trigger.key, "saved", [StoredImage(f"{epoch}.jpg", "0" * 64, 8, 8)])
        store.close()
        (self.config.images.folder / f"{epoch}.jpg").write_bytes(b"a picture")
        at = self.true + timedelta(days=clock)
        label = [
            (at + timedelta(days=days)).isoformat(timespec="microseconds")
            for days in (began, ended)
        ]
        mono = [1000.0, 1000.0 + (ended - began) * DAY]
        if name == "now":
            name, mono = boot_id(), [time.monotonic() + days * DAY for days in (began, ended)]
        self.sql(
            "UPDATE epochs SET boot_id = ?, started_mono = ?, started_at = ? WHERE epoch = ?",
            name or str(epoch), mono[0], label[0], epoch,
        )  # fmt: skip
        self.sql(
            "UPDATE parts SET triggered_mono = ?, frame_mono = ?, triggered_at = ? WHERE epoch = ?",
            mono[1], mono[1], label[1], epoch,
        )  # fmt: skip

    def sql(self, statement: str, *values: object) -> None:
        connection = sqlite3.connect(self.config.url, isolation_level=None)
        connection.execute(statement, values)
        connection.close()

    def kept(self) -> set[int]:
        """Let the guard look for pictures past their time; return the epochs whose picture is there."""
        found = DiskGuard(self.config)
        found.watch("st1")
        for _ in range(5):
            found.tend()
        found.close()
        return {int(path.stem) for path in self.config.images.folder.glob("*.jpg")}

    def moment(self, days: float) -> Moment | None:
        with make_engine(self.config).connect() as connection:
            return moment(connection, "st1", days * DAY)

    def odd_stop(self) -> timedelta | None:
        with make_engine(self.config).connect() as connection:
            return odd_stop(connection, "st1")


def ahead(days: float) -> type[datetime]:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz=None) -> datetime:
            return datetime.now(tz) + timedelta(days=days)

    return Ahead


@pytest.fixture
def life(tmp_path: Path) -> Life:
    return Life(tmp_path)


def test_a_clock_years_ahead_deletes_nothing_however_often_the_line_starts(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (age, guard):
        monkeypatch.setattr(module, "datetime", ahead(5 * 365))
    life.boot(-2, -1)
    life.boot(-0.5, -0.4, clock=5 * 365)
    life.boot(-0.3, -0.2, clock=5 * 365)
    life.boot(-0.1, 0, clock=5 * 365, name="now")
    assert life.kept() == {1, 2, 3, 4}


def test_labels_of_a_clock_that_was_behind_delete_nothing(
    life: Life, caplog: pytest.LogCaptureFixture
) -> None:
    life.boot(-3, -2, clock=-540)
    life.boot(-1, 0, name="now")
    assert life.kept() == {1, 2}
    assert "off for 541.0 days; for the age of pictures that counts as 7" in caplog.text


def test_a_clock_that_was_set_right_while_the_line_ran_deletes_nothing(life: Life) -> None:
    life.boot(-3, -2, clock=-540)
    life.boot(-1, -0.5, clock=-540, name="now")
    life.boot(-0.4, 0, name="now")
    assert life.kept() == {1, 2, 3}


def test_what_is_old_goes_though_the_pc_was_off_every_night(life: Life) -> None:
    for day in range(-40, 0):
        life.boot(day, day + 0.5, name="now" if day == -1 else "")
    life.config = store_config(life.config.images.folder.parent, images={"keep_ng_days": 30.0})
    assert life.kept() == set(range(11, 41)), (
        "label and age: the part came half a day after the start"
    )


def test_ages_over_boots(life: Life) -> None:
    life.boot(-100, -90)
    life.boot(-60, -50)  # off for 30 days: they count as 7
    life.boot(-49, -10, name="now")
    life.boot(-9, 0, name="now")
    now = time.monotonic()
    assert life.moment(5) == Moment(4, pytest.approx(now - 5 * DAY, abs=60))
    assert life.moment(20) == Moment(3, pytest.approx(now - 20 * DAY, abs=60))
    assert life.moment(49.5) == Moment(2, None), "while it was off"
    assert life.moment(55) == Moment(2, pytest.approx(1000 + 5 * DAY, abs=60))
    assert life.moment(65) == Moment(1, None)
    assert life.moment(70) == Moment(1, pytest.approx(1000 + 7 * DAY, abs=60))
    assert life.moment(78) is None
    assert life.odd_stop() is None


def test_a_label_that_cannot_be_read_counts_as_no_time(life: Life) -> None:
    life.boot(-100, -90)
    life.sql("UPDATE epochs SET started_at = 'then'")
    life.sql("UPDATE parts SET triggered_at = 'then'")
    life.boot(-5, 0, name="now")
    assert life.moment(6) == Moment(1, pytest.approx(1000 + 9 * DAY, abs=60))
