"""`inspection doctor` says what would keep the line from starting: disks, owners; and all that it found."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from station_rig import Rig

from inspection.config import StationConfig, load_station
from inspection.doctor import Check, _guarded, _pictures, _pictures_disk, _print, _store_disk
from inspection.errors import StoreError
from inspection.store import disks
from inspection.store.alone import no_line_runs
from inspection.store.lock import FileLock
from inspection.store.sql import SqlStore

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")


@pytest.fixture
def config(tmp_path: Path) -> StationConfig:
    rig = Rig(tmp_path)
    return load_station(rig.folder / "station.yaml")


def look(config: StationConfig) -> tuple[Check, Check]:
    return (
        _guarded("store", lambda: _store_disk(config)),
        _guarded("pictures", lambda: _pictures_disk(config)),
    )


def volume(monkeypatch: pytest.MonkeyPatch, free: float, total: float = 1e12) -> None:
    monkeypatch.setattr(disks, "free_bytes", lambda folder: (int(free), int(total)))


def test_before_the_first_start_nothing_is_made(config: StationConfig, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    store, pictures = look(config)
    assert "writable" in store.found
    assert str(tmp_path) in store.found
    assert pictures.state in ("ok", "warn")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_full_disk_is_a_fault(config: StationConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    volume(monkeypatch, 1e6)
    for check in look(config):
        assert check.state == "fail"
        assert "full" in check.found


def test_a_disk_below_its_limits_is_a_warning(
    config: StationConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume(monkeypatch, 49e9)  # 5 % of 1000 GB are to stay free
    store, pictures = look(config)
    assert store.state == "ok"
    assert pictures.state == "warn"
    assert "50.0 are to stay free" in pictures.found
    assert "min_free_percent" in pictures.todo
    volume(monkeypatch, 51e9)
    assert [check.state for check in look(config)] == ["ok", "ok"]
    volume(monkeypatch, 0.5e9)
    assert [check.state for check in look(config)] == ["warn", "warn"]


def test_pictures_of_a_store_that_is_gone_are_told(config: StationConfig) -> None:
    assert _pictures(config).state == "ok"
    store = SqlStore(config.store)
    assert store.begin_epoch("test", "start") == 1
    store.close()
    for epoch in (1, 77):
        folder = config.store.images.folder / "test" / str(epoch) / "00"
        folder.mkdir(parents=True)
        (folder / f"{epoch}-1.jpg").write_bytes(b"x" * 100)
    check = _pictures(config)
    assert check.state == "warn"
    assert "1 files, 0.0 GB, in 1 folders" in check.found


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user reaches, of nobody."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chown(folder, NOBODY, NOBODY)
        yield folder


@as_root
def test_a_lock_that_root_made_is_given_to_the_owner_of_the_folder(
    config: StationConfig, shared: Path
) -> None:
    store = config.store.model_copy(update={"url": str(shared / "results.db")})
    with no_line_runs(store, "test"):
        pass
    (made,) = shared.iterdir()
    assert made.stat().st_uid == NOBODY
    os.seteuid(NOBODY)
    try:
        FileLock(shared / "results.db", "test").close()
    finally:
        os.seteuid(0)


@as_root
def test_a_lock_of_somebody_else_says_whose_it_is(shared: Path) -> None:
    lock = shared / "results.db.test.lock"
    lock.touch(0o640)
    os.seteuid(NOBODY)
    try:
        with pytest.raises(StoreError) as caught:
            FileLock(shared / "results.db", "test")
    finally:
        os.seteuid(0)
    assert f"{lock} belongs to root, and this process runs as nobody" in str(caught.value)
    assert f"chown nobody: {lock}" in str(caught.value)


@as_root
def test_a_link_that_waits_for_root_is_not_followed(shared: Path) -> None:
    lock = shared / "results.db.test.lock"
    lock.symlink_to(shared / "elsewhere")
    os.chown(shared, NOBODY, NOBODY)
    with pytest.raises(StoreError):
        FileLock(shared / "results.db", "test")
    assert not (shared / "elsewhere").exists()


@as_root
def test_files_of_somebody_else_are_a_fault(config: StationConfig, shared: Path) -> None:
    images = config.store.images.model_copy(update={"folder": shared / "images"})
    changed = {"url": str(shared / "results.db"), "images": images}
    theirs = config.model_copy(update={"store": config.store.model_copy(update=changed)})
    SqlStore(theirs.store).close()
    (shared / "images").mkdir()
    os.seteuid(NOBODY)
    try:
        store, pictures = look(theirs)
    finally:
        os.seteuid(0)
    assert store.state == pictures.state == "fail"
    assert "results.db belongs to root, and this process runs as nobody" in store.found
    assert "images belongs to root" in pictures.found


def test_what_is_in_brackets_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    name, found, todo = "a [b]", "no [/x] pypylon", "write views: [left, right]"
    _print([Check(name, "warn", found, todo)])
    told = capsys.readouterr().out
    assert "[b]" in told
    assert "[/x]" in told
    assert "[left," in told
