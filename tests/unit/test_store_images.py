"""Pictures: what is kept, what is shed, what the files are called, what the guard deletes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest
from store_samples import (
    FAILED,
    PASSED,
    REVIEWED,
    frame,
    inspected,
    not_inspected,
    store_config,
    trigger,
)

from inspection.protocols import ImageSink
from inspection.store.config import StoreConfig
from inspection.store.guard import DiskGuard
from inspection.store.images import ImageWriter, find_picture, is_sampled, picture_stem
from inspection.store.queries import StoreReader
from inspection.store.sql import SqlStore
from inspection.store.strangers import find_strangers
from inspection.types import PartKey, Reason, StoredImage


class Told:
    """What the writer said of each part; `gate` holds its thread back while it is clear."""

    def __init__(self) -> None:
        self.states: dict[int, str] = {}
        self.files: dict[int, list[StoredImage]] = {}
        self.order: list[int] = []
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, key: PartKey, state: str, files: list[StoredImage]) -> None:
        assert key.sequence not in self.states, "told twice"
        self.states[key.sequence] = state
        self.files[key.sequence] = files
        self.order.append(key.sequence)
        self.entered.set()
        assert self.gate.wait(60)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


@pytest.fixture
def told() -> Told:
    return Told()


def test_pictures_are_written_and_told(tmp_path: Path, told: Told) -> None:
    config = store_config(tmp_path, images={"format": "png"})
    writer = ImageWriter(config, told)
    assert isinstance(writer, ImageSink)
    part = inspected(trigger(4321, epoch=7), FAILED)
    assert writer.offer(part) is None
    assert writer.offer(not_inspected(trigger(2))) == "none"
    writer.close()
    writer.close()
    assert told.states == {4321: "saved"}
    (stored,) = told.files[4321]
    assert stored.path == "st1/7/04/7-4321.png"
    data = (config.images.folder / stored.path).read_bytes()
    assert hashlib.sha256(data).hexdigest() == stored.sha256
    assert part.frame is not None
    read = cv2.cvtColor(
        cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB
    )
    assert np.array_equal(read, part.frame.image)
    assert (stored.width, stored.height) == (64, 48)
    assert not list(config.images.folder.rglob("*.tmp"))
    assert writer.offer(part) == "failed"  # closed


@pytest.mark.parametrize("kind", ["jpg", "bmp"])
def test_other_formats(tmp_path: Path, told: Told, kind: str) -> None:
    config = store_config(tmp_path, images={"format": kind, "quality": 70})
    writer = ImageWriter(config, told)
    writer.offer(inspected(trigger(1), FAILED))
    writer.close()
    assert find_picture(config.images.folder, PartKey("st1", 1, 1)) == told.files[1][0]


def test_passed_parts_are_sampled_the_others_are_not(tmp_path: Path, told: Told) -> None:
    config = store_config(tmp_path, images={"ok_every": 3, "queue": 100})
    writer = ImageWriter(config, told)
    answers = {n: writer.offer(inspected(trigger(n), PASSED)) for n in range(1, 31)}
    kept = {n for n, answer in answers.items() if answer is None}
    assert kept == {n for n in answers if is_sampled(trigger(n).key, 3)}
    assert 4 <= len(kept) <= 18
    assert set(answers.values()) == {None, "sampled_out"}
    for n, result in ((41, FAILED), (42, REVIEWED)):
        assert writer.offer(inspected(trigger(n), result)) is None
    assert writer.offer(not_inspected(trigger(43), Reason.FRAME_DARK, frame=frame(43))) is None
    writer.close()
    assert {n for n in told.states if n > 40} == {41, 42, 43}
    assert not any(is_sampled(PartKey("s", 1, n), 0) for n in range(1, 100))
    assert all(is_sampled(PartKey("s", 1, n), 1) for n in range(1, 100))


@pytest.mark.parametrize("every", [2, 8, 10, 64])
@pytest.mark.parametrize("nests", [2, 8, 10])
def test_each_nest_of_a_carousel_is_sampled_alike(every: int, nests: int) -> None:
    """Whatever the line's own period: each place gets the share, over epochs and sequences."""
    number = 40_000
    keys = [PartKey("st1", 1 + n // 20_000, 1 + n % 20_000) for n in range(number)]
    kept = [n % nests for n, key in enumerate(keys) if is_sampled(key, every)]
    share, each = 1 / every, number / nests
    spread = (each * share * (1 - share)) ** 0.5
    found = [kept.count(nest) for nest in range(nests)]
    assert all(abs(one - each * share) < 5 * spread for one in found), found


def test_which_part_is_sampled_is_the_same_in_every_process() -> None:
    """Python's own hash() of a text would differ from start to start."""
    kept = [n for n in range(1, 60) if is_sampled(PartKey("st1", 7, n), 10)]
    assert kept == [4, 23, 27, 32, 41, 44, 46, 54]
    assert kept != [n for n in range(1, 60) if is_sampled(PartKey("st2", 7, n), 10)]
    assert kept != [n for n in range(1, 60) if is_sampled(PartKey("st1", 8, n), 10)]


def test_a_full_queue_sheds_passed_parts_first(tmp_path: Path, told: Told) -> None:
    writer = ImageWriter(store_config(tmp_path, images={"queue": 3}), told)
    told.gate.clear()
    writer.offer(inspected(trigger(1), PASSED))
    assert told.entered.wait(30)  # the thread is held: from here the queue only fills
    for n in (2, 3, 4):
        assert writer.offer(inspected(trigger(n), PASSED if n == 3 else FAILED)) is None
    assert writer.offer(inspected(trigger(5), PASSED)) == "shed"
    assert writer.offer(inspected(trigger(6), FAILED)) is None  # takes the room of part 3
    assert writer.offer(inspected(trigger(7), FAILED)) == "shed"  # nothing passed is left to shed
    told.gate.set()
    writer.close()
    assert told.states == {1: "saved", 2: "saved", 3: "shed", 4: "saved", 6: "saved"}


def test_offer_never_waits_for_the_writer(tmp_path: Path, told: Told) -> None:
    writer = ImageWriter(store_config(tmp_path, images={"queue": 2}), told)
    told.gate.clear()
    writer.offer(inspected(trigger(1), FAILED))
    assert told.entered.wait(30)
    answers = [writer.offer(inspected(trigger(n), FAILED)) for n in range(2, 50)]
    assert answers.count(None) == 2
    told.gate.set()
    writer.close()


def test_a_file_is_never_overwritten(tmp_path: Path, told: Told) -> None:
    config = store_config(tmp_path)
    key = PartKey("st1", 1, 1)
    old = config.images.folder / f"{picture_stem(key)}.jpg"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"of a store that was lost")
    writer = ImageWriter(config, told)
    writer.offer(inspected(trigger(1), FAILED))
    writer.close()
    assert old.read_bytes() == b"of a store that was lost"
    assert told.files[1][0].path == "st1/1/00/1-1.2.jpg"


def test_station_names_cannot_leave_the_folder() -> None:
    for name in ("../../etc", "a/b", "..", ".", "라인 1", "a\0b"):
        first = picture_stem(PartKey(name, 1, 1)).split("/")[0]
        assert first not in {"", ".", ".."}
        assert "/" not in first


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)],
)
def test_what_is_no_picture_fails_and_the_next_is_written(
    tmp_path: Path, told: Told, image: np.ndarray
) -> None:
    writer = ImageWriter(store_config(tmp_path), told)
    bad = dataclasses.replace(frame(1), image=image)
    writer.offer(inspected(trigger(1), FAILED, frame=bad))
    writer.offer(inspected(trigger(2), FAILED))
    writer.close()
    assert told.states == {1: "failed", 2: "saved"}


def test_a_callback_that_raises_does_not_end_the_writer(tmp_path: Path) -> None:
    seen: list[int] = []

    def done(key: PartKey, state: str, files: list[StoredImage]) -> None:
        seen.append(key.sequence)
        raise RuntimeError("the store is gone")

    writer = ImageWriter(store_config(tmp_path), done)
    for n in (1, 2):
        writer.offer(inspected(trigger(n), FAILED))
    writer.close()
    assert seen == [1, 2]


def test_a_folder_that_vanishes_fails_the_picture_and_comes_back(
    tmp_path: Path, told: Told
) -> None:
    config = store_config(tmp_path)
    writer = ImageWriter(config, told)
    config.images.folder.rmdir()
    config.images.folder.write_text("a file is in the way")
    writer.offer(inspected(trigger(1), FAILED))
    wait_until(lambda: 1 in told.states)
    config.images.folder.unlink()
    config.images.folder.mkdir()
    writer.offer(inspected(trigger(2), FAILED))
    writer.close()
    assert told.states == {1: "failed", 2: "saved"}


class Stored:
    """A store whose pictures are all saved: 1 2 4 5 passed, 3 and 6 failed."""

    def __init__(self, folder: Path, *, days_old: float = 0.0) -> None:
        self.config = store_config(folder)
        self.store: SqlStore = SqlStore(self.config)
        self.store.begin_epoch("st1", "start")
        told = Told()
        writer = ImageWriter(self.config, told)
        for n in range(1, 7):
            part = inspected(trigger(n), PASSED if n % 3 else FAILED)
            self.store.decided(part)
            assert writer.offer(part) is None
            wait_until(lambda n=n: n in told.states)  # type: ignore[misc]
            self.store.images(part.trigger.key, told.states[n], told.files[n])
        writer.close()
        when = (datetime.now(UTC) - timedelta(days=days_old)).isoformat(timespec="microseconds")
        self.sql("UPDATE parts SET triggered_at = ?", when)
        self.sql("UPDATE parts SET triggered_mono = triggered_mono - ?", days_old * 86_400)
        self.sql("UPDATE epochs SET started_mono = started_mono - ?", days_old * 86_400)

    def sql(self, statement: str, *values: object) -> None:
        connection = sqlite3.connect(self.config.url, isolation_level=None)
        connection.execute(statement, values)
        connection.close()

    def states(self) -> dict[int, str]:
        with StoreReader(self.config) as reader:
            return {row["sequence"]: row["image_state"] for row in reader.page()}

    def files(self) -> set[str]:
        return {path.name for path in self.config.images.folder.rglob("*.jpg")}

    def guard(self, **images: object) -> DiskGuard:
        settings = self.config.images.model_copy(update=images)
        guard = DiskGuard(self.config.model_copy(update={"images": settings}))
        guard.watch("st1")
        return guard


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    return Stored(tmp_path)


def test_without_room_the_pictures_of_passed_parts_go_and_no_others(stored: Stored) -> None:
    guard = stored.guard(min_free_gb=10**9)  # never satisfied
    assert guard.has_room() is False
    assert stored.states() == {
        1: "expired",
        2: "expired",
        3: "saved",
        4: "expired",
        5: "expired",
        6: "saved",
    }
    assert stored.files() == {"1-3.jpg", "1-6.jpg"}
    guard.close()
    stored.store.decided(inspected(trigger(8)))  # the line's own connection is not disturbed
    stored.store.close()


def test_pictures_of_other_stations_are_left_alone(stored: Stored) -> None:
    stored.sql("UPDATE parts SET station = 'st2'")
    guard = stored.guard(min_free_gb=10**9)
    assert guard.has_room() is False
    assert set(stored.states().values()) == {"saved"}
    guard.close()
    stored.store.close()


def test_pictures_of_a_store_that_is_gone_are_told_and_kept(
    stored: Stored, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert find_strangers(stored.config, "st1") is None
    stored.store.close()
    for path in tmp_path.glob("results.db*"):
        path.unlink()
    again = SqlStore(stored.config)
    assert again.begin_epoch("st1", "start") == 2
    before = stored.files()
    guard = stored.guard(min_free_gb=10**9)
    for _ in range(3):
        assert guard.has_room() is False
    assert stored.files() == before
    assert caplog.text.count("6 files, 0.0 GB, in 1 folders") == 1
    found = find_strangers(stored.config, "st1")
    assert found is not None
    assert [path.name for path in found.folders] == ["1"]
    assert find_strangers(stored.config, "st2") is None
    guard.close()
    again.close()


def test_a_new_database_deletes_nothing(stored: Stored, tmp_path: Path) -> None:
    stored.store.close()
    before = stored.files()
    for path in tmp_path.glob("results.db*"):
        path.unlink()
    again = SqlStore(stored.config)
    guard = stored.guard(min_free_gb=10**9, keep_ok_days=1e-6, keep_ng_days=1e-6)
    assert guard.has_room() is False
    guard.tend()
    assert stored.files() == before
    guard.close()
    again.close()


def test_without_a_database_nothing_is_deleted(stored: Stored, tmp_path: Path) -> None:
    stored.store.close()
    before = stored.files()
    for path in tmp_path.glob("results.db*"):
        path.unlink()
    guard = stored.guard(min_free_gb=10**9)
    assert guard.has_room() is False
    assert stored.files() == before
    guard.close()


def test_old_pictures_go_by_their_own_time(tmp_path: Path) -> None:
    stored = Stored(tmp_path, days_old=40)
    guard = stored.guard(keep_ok_days=30, keep_ng_days=50)
    guard.tend()
    states = stored.states()
    assert {n for n, state in states.items() if state == "expired"} == {1, 2, 4, 5}
    guard.close()
    guard = stored.guard(keep_ok_days=30, keep_ng_days=35)
    guard.tend()
    assert {n for n, state in stored.states().items() if state == "expired"} == {1, 2, 3, 4, 5, 6}
    assert stored.files() == set()
    guard.close()
    stored.store.close()


def test_a_clock_in_the_future_deletes_nothing(tmp_path: Path) -> None:
    """All rows are 40 days old by their labels, and the PC has not run for so long."""
    stored = Stored(tmp_path)
    then = (datetime.now(UTC) - timedelta(days=40)).isoformat(timespec="microseconds")
    stored.sql("UPDATE parts SET triggered_at = ?", then)
    guard = stored.guard(keep_ok_days=30, keep_ng_days=30)
    guard.tend()
    assert set(stored.states().values()) == {"saved"}
    guard.close()
    stored.store.close()


def test_a_deletion_cut_short_is_finished_later(stored: Stored) -> None:
    stored.sql("UPDATE parts SET image_state = 'expiring' WHERE sequence IN (1, 3)")
    guard = stored.guard()
    guard.tend()
    assert stored.states()[1] == stored.states()[3] == "expired"
    assert stored.files() == {"1-2.jpg", "1-4.jpg", "1-5.jpg", "1-6.jpg"}
    guard.close()
    stored.store.close()


def test_a_row_that_names_a_file_outside_deletes_nothing(stored: Stored, tmp_path: Path) -> None:
    victim = tmp_path / "victim.txt"
    victim.write_text("precious")
    for sequence, name in ((1, "../victim.txt"), (2, ""), (4, str(victim))):
        image = json.dumps([{"path": name, "sha256": "", "width": 1, "height": 1}])
        stored.sql("UPDATE parts SET images = ? WHERE sequence = ?", image, sequence)
    stored.sql("""UPDATE parts SET images = '["nonsense"]' WHERE sequence = 5""")
    guard = stored.guard(min_free_gb=10**9)
    assert guard.has_room() is False
    assert victim.read_text() == "precious"
    guard.close()
    stored.store.close()


def test_pictures_in_memory_at_a_kill_are_lost_or_found(stored: Stored) -> None:
    """The rows say `pending`: one file was written before the kill, the other was not."""
    stored.sql("UPDATE parts SET image_state = 'pending', images = NULL WHERE sequence IN (1, 2)")
    (stored.config.images.folder / "st1/1/00/1-2.jpg").unlink()
    stored.store.close()
    again = SqlStore(stored.config)
    again.begin_epoch("st1", "start")
    assert stored.states() == {
        1: "saved",
        2: "lost",
        3: "saved",
        4: "saved",
        5: "saved",
        6: "saved",
    }
    again.close()


def test_the_writer_says_disk_full(tmp_path: Path, told: Told) -> None:
    config = store_config(tmp_path, images={"min_free_gb": 100_000})
    SqlStore(config).close()
    writer = ImageWriter(config, told)
    writer.offer(inspected(trigger(1), FAILED))
    writer.close()
    assert told.states == {1: "disk_full"}


def test_settings_refuse_nonsense() -> None:
    for wrong in (
        {"url": ":memory:"},
        {"url": "mysql://a/b"},
        {"url": ""},
        {"busy_timeout": 0},
        {"unknown": 1},
        {"images": {"quality": 0}},
        {"images": {"format": "gif"}},
        {"images": {"ok_every": -1}},
    ):
        with pytest.raises(ValueError, match="validation error"):
            StoreConfig.model_validate(wrong)
