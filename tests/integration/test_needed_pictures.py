"""Which pictures of passed parts go first, on SQLite and PostgreSQL: never one that a person still needs."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from store_samples import FAILED, PASSED, inspected, store_config, trigger

from inspection.store import guard as guarding
from inspection.store.config import StoreConfig
from inspection.store.database import make_engine
from inspection.store.guard import DiskGuard
from inspection.store.sql import SqlStore
from inspection.store.tables import epochs, parts
from inspection.store.web import review, settings
from inspection.store.web.access import WebStore
from inspection.store.web.intake import PASS_SHARE, Intake
from inspection.store.web.people import Person, Role
from inspection.store.web.review import Rules, Word
from inspection.types import StoredImage, Verdict

NUMBER = 24
FAILING = 12
MISSED, BORDERLINE, GOOD, TAKEN_BACK, SECOND, UNSURE, WAITING = 1, 2, 3, 4, 5, 6, 7
NEEDED = {MISSED, BORDERLINE, TAKEN_BACK, SECOND, UNSURE, WAITING}
ENGINEER = Person(1, "kim", "kim", Role.ENGINEER, "ko", False, {}, "", "", "")


class Shift:
    """Parts a minute apart with their pictures; the twelfth failed, the others passed."""

    def __init__(self, config: StoreConfig, days_old: float) -> None:
        self.config = config
        config.images.folder.mkdir(parents=True, exist_ok=True)
        line = SqlStore(config)
        epoch = line.begin_epoch("st1", "start")
        for sequence in range(1, NUMBER + 1):
            part = inspected(
                trigger(sequence, epoch=epoch), FAILED if sequence == FAILING else PASSED
            )
            key = part.trigger.key
            line.triggered(part.trigger, 1)
            line.decided(part)
            line.sent(key, part.decided_mono, part.decided_at)
            line.images(key, "saved", [StoredImage(f"{sequence}.jpg", "0" * 64, 8, 8)])
            self.file(sequence).write_bytes(b"a picture")
        line.close()
        self.engine = make_engine(config)
        self.web = WebStore(config)
        start = datetime.now(UTC) - timedelta(days=days_old)
        with self.engine.begin() as connection:
            for record in range(1, NUMBER + 1):
                at = (start + timedelta(minutes=record)).isoformat(timespec="microseconds")
                there = sa.update(parts).where(parts.c.id == record)
                mono = parts.c.triggered_mono - days_old * 86_400
                connection.execute(there.values(triggered_at=at, triggered_mono=mono))
            begun = epochs.c.started_mono - days_old * 86_400
            connection.execute(sa.update(epochs).values(started_mono=begun))

    def file(self, sequence: int) -> Path:
        return self.config.images.folder / f"{sequence}.jpg"

    def draw_and_judge(self) -> None:
        """Draw every passed part; all but those of `NEEDED` are then confirmed good."""
        with self.web.write("every passed part") as connection:
            settings.change(connection, PASS_SHARE, 1.0, "test")
        Intake(self.web).take_all()
        for record in (MISSED, TAKEN_BACK, SECOND):
            self.say(record, Verdict.MISSED, twice=record == SECOND)
        with self.web.write("taking back") as connection:
            review.undo(connection, TAKEN_BACK, 1, "undo", ENGINEER)
        self.say(BORDERLINE, Verdict.BORDERLINE)
        self.say(UNSURE, Verdict.UNSURE)
        for record in {*range(1, NUMBER + 1)} - NEEDED - {FAILING}:
            self.say(record, Verdict.FALSE_CALL)

    def say(self, record: int, verdict: Verdict, *, twice: bool = False) -> None:
        seen = {"image_sha256": "0" * 64}
        word = Word(verdict, 0, f"{record}-{verdict}", defect_class="dent", seen=seen)
        rules = Rules(frozenset(), frozenset({"dent"} if twice else ()))
        with self.web.write("a verdict") as connection:
            review.decide(connection, record, word, ENGINEER, rules)

    def guard(self, **images: float) -> DiskGuard:
        kept = self.config.images.model_copy(update=images)
        found = DiskGuard(self.config.model_copy(update={"images": kept}))
        found.watch("st1")
        return found

    def kept(self) -> set[int]:
        """Return the records whose picture is kept, after checking that the files say the same."""
        query = sa.select(parts.c.id).where(parts.c.image_state == "saved")
        with self.engine.connect() as connection:
            found = set(connection.execute(query).scalars())
        assert {n for n in range(1, NUMBER + 1) if self.file(n).exists()} == found
        return found

    def close(self) -> None:
        self.web.close()
        self.engine.dispose()


@pytest.fixture
def shift(
    config: StoreConfig, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shift]:
    """A shift whose pages and transactions are smaller than what there is."""
    monkeypatch.setattr(guarding, "PAGE", 4)
    monkeypatch.setattr(guarding, "BATCH", 2)
    made = Shift(config, getattr(request, "param", 0.0))
    yield made
    made.close()


def short_for(guard: DiskGuard, looks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the disk be short for so many looks at it."""
    left = [True] * looks
    monkeypatch.setattr(guard, "_short", lambda: bool(left) and left.pop())


def test_for_room_the_pictures_that_nobody_needs_go_first(
    shift: Shift, monkeypatch: pytest.MonkeyPatch
) -> None:
    shift.draw_and_judge()
    guard = shift.guard()
    short_for(guard, 2, monkeypatch)
    assert guard.has_room()
    assert shift.kept() == {*range(1, NUMBER + 1)} - {GOOD}, "one of the first page was not needed"
    short_for(guard, 2, monkeypatch)
    assert guard.has_room()
    assert shift.kept() == {*range(1, NUMBER + 1)} - {GOOD, 8}, "it goes on where it was"
    short_for(guard, 100, monkeypatch)
    assert not guard.has_room()
    assert shift.kept() == {FAILING}, "at last every picture of a passed part goes, and no other"
    guard.close()


def test_needed_pictures_go_when_no_other_is_left_the_oldest_first(
    shift: Shift, monkeypatch: pytest.MonkeyPatch
) -> None:
    shift.draw_and_judge()
    guard = shift.guard()
    looks = 0
    while shift.kept() > NEEDED | {FAILING}:
        short_for(guard, 2, monkeypatch)
        assert guard.has_room()
        assert shift.kept() >= NEEDED | {FAILING}
        looks += 1
    assert 8 <= looks <= NUMBER
    short_for(guard, 2, monkeypatch)
    assert guard.has_room()
    assert shift.kept() == (NEEDED | {FAILING}) - {MISSED, BORDERLINE}
    guard.close()


def test_what_nobody_needs_any_more_goes_at_the_next_sweep(
    shift: Shift, monkeypatch: pytest.MonkeyPatch
) -> None:
    shift.draw_and_judge()
    guard = shift.guard()
    while shift.kept() > NEEDED | {FAILING}:
        short_for(guard, 2, monkeypatch)
        guard.has_room()
    shift.say(WAITING, Verdict.FALSE_CALL)
    monkeypatch.setitem(guarding._SWEEP_SECONDS, "room", 0.0)
    short_for(guard, 2, monkeypatch)
    assert guard.has_room()
    assert shift.kept() == (NEEDED | {FAILING}) - {WAITING}
    guard.close()


@pytest.mark.parametrize("shift", [40.0], indirect=True)
def test_needed_pictures_are_kept_as_long_as_those_of_failed_parts(
    shift: Shift, monkeypatch: pytest.MonkeyPatch
) -> None:
    shift.draw_and_judge()
    guard = shift.guard(keep_ok_days=30, keep_ng_days=50)
    for _ in range(NUMBER):
        guard.tend()
    assert shift.kept() == NEEDED | {FAILING}
    guard.close()
    for ok, ng in ((30, 35), (35, 30)):
        guard = shift.guard(keep_ok_days=ok, keep_ng_days=ng)
        for _ in range(NUMBER):
            guard.tend()
        assert shift.kept() == {FAILING}, (
            "it waits for a person, who has all the time there is room"
        )
        guard.close()
    short_for(guard, 2, monkeypatch)
    assert guard.has_room()
    assert shift.kept() == set(), "for room it goes, as the last"
    guard.close()


@pytest.mark.parametrize("shift", [40.0], indirect=True)
def test_a_failed_part_that_was_judged_goes_by_its_time(shift: Shift) -> None:
    shift.draw_and_judge()
    shift.say(FAILING, Verdict.REAL_DEFECT)
    guard = shift.guard(keep_ok_days=30, keep_ng_days=35)
    for _ in range(NUMBER):
        guard.tend()
    assert shift.kept() == set()
    guard.close()


@pytest.mark.parametrize("shift", [40.0], indirect=True)
def test_without_reviews_passed_parts_go_by_age_alone(shift: Shift) -> None:
    guard = shift.guard(keep_ok_days=30, keep_ng_days=50)
    for _ in range(NUMBER):
        guard.tend()
    assert shift.kept() == {FAILING}
    guard.close()


def test_a_page_is_read_by_the_index_of_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many rows there are: no sort, and looks by key for each row of the page."""
    config = store_config(tmp_path)
    SqlStore(config).close()
    guard, asked = DiskGuard(config), []
    guard.watch("st1")
    sa.event.listen(
        guard._reading, "before_cursor_execute", lambda *given: asked.append(given[2:4])
    )
    monkeypatch.setattr(guard, "_short", iter((True, True, False)).__next__)
    guard.has_room()
    statement, values = next(given for given in asked if "verdicts" in given[0])
    with closing(sqlite3.connect(config.sqlite_path)) as store:
        plan = store.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
    told = " / ".join(row[3] for row in plan)
    assert "parts_pictures" in told
    assert "SCAN" not in told
    assert "TEMP B-TREE" not in told
    guard.close()
