"""A store that only pages use: its file alone is soon whole, and pages never make one."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from store_samples import store_config

from inspection.errors import StoreError
from inspection.store.config import StoreConfig
from inspection.store.sql import SqlStore
from inspection.store.web import counting, settings
from inspection.store.web.access import WebStore
from inspection.store.web.counting import Counting


def fresh(folder: Path) -> tuple[StoreConfig, Path]:
    config = store_config(folder)
    SqlStore(config).close()
    path = config.sqlite_path
    assert path is not None
    return config, path


def holds(path: Path, copy: Path, name: str) -> bool:
    """Tell whether a plain copy of the file alone holds a setting."""
    shutil.copyfile(path, copy)
    connection = sqlite3.connect(copy)
    try:
        found = connection.execute("SELECT 1 FROM settings WHERE name = ?", [name]).fetchone()
    except sqlite3.Error:
        return False
    finally:
        connection.close()
    return found is not None


def test_what_pages_saved_is_soon_in_the_file_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "EVERY", 0.05)
    config, path = fresh(tmp_path)
    store = WebStore(config)
    thread = Counting(store)
    thread.start()
    pause, end = threading.Event(), time.monotonic() + 30
    for number in range(2):
        with store.write("a test") as connection:
            settings.change(connection, f"test.{number}", number, "kim")
        while not holds(path, tmp_path / "copy.db", f"test.{number}"):
            assert time.monotonic() < end, "it is in the log alone"
            pause.wait(0.05)
    thread.close()
    store.close()


def test_a_log_that_cannot_be_moved_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once, and tried again."""
    tries, enough = [], threading.Event()

    def fails(config: StoreConfig) -> None:
        tries.append(config)
        if len(tries) > 2:
            enough.set()
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(counting, "EVERY", 0.02)
    monkeypatch.setattr(counting, "move_log", fails)
    store = WebStore(fresh(tmp_path)[0])
    thread = Counting(store)
    thread.start()
    assert enough.wait(30)
    thread.close()
    store.close()
    assert caplog.text.count("disk I/O error") == 1


def test_pages_never_make_a_store(tmp_path: Path) -> None:
    """While a person restores, the file is away; an empty one in its place would end up as the store."""
    config, path = fresh(tmp_path)
    store = WebStore(config)
    for file in list(tmp_path.glob("results.db*")):
        file.rename(file.with_name("aside-" + file.name))
    for derived in (False, True):
        with pytest.raises(StoreError), store.write("a verdict", derived=derived):
            raise AssertionError("it began")
    with pytest.raises(StoreError), store.read("a list"):
        raise AssertionError("it began")
    assert not path.exists()
    store.close()
    assert not list(tmp_path.glob("results.db*")), "nor when they end"
