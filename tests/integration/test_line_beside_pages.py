"""The line beside the pages: they write into its store, are killed while they do, and it does not notice."""

from __future__ import annotations

import contextlib
import http.client
import random
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from station_rig import Rig, until
from store_samples import PASSED, inspected, store_config, trigger
from web_process import PASSWORD, WebProcess, add_people
from web_shift import bulk

from inspection.config import load_station
from inspection.store.config import StoreConfig
from inspection.store.guard import DiskGuard
from inspection.store.sql import SqlStore
from inspection.store.tables import parts
from inspection.store.web import access, settings
from inspection.store.web.access import WebStore

# Takes everything in, counts it, changes settings and writes audit rows, again and again, until it is killed.
WRITER = """
import sys, threading
from pathlib import Path
import sqlalchemy as sa
from inspection.config import load_station
from inspection.store.web import access, intake, settings
from inspection.store.web.access import WebStore
from inspection.store.web.counting import Counting
from inspection.store.web.intake import Intake, write_mark
from inspection.store.web.tables import marks

intake.PAUSE = access.REST = 0.0
store = WebStore(load_station(Path(sys.argv[1])).store)

def count():
    counting = Counting(store)
    while True:
        counting.step(worth=1)

def judge():
    while True:
        with store.write("a setting") as connection:
            settings.change(connection, intake.PASS_SHARE, 1.0, "engineer", told=True)

for work in (count, judge):
    threading.Thread(target=work, daemon=True).start()
print("writing", flush=True)
while True:
    Intake(store).take_all()
    with store.write("all of it again") as connection:
        connection.execute(sa.delete(marks).where(marks.c.name == intake.MARK))
"""


def test_the_line_gets_its_turn_while_pages_write_without_a_pause(tmp_path: Path) -> None:
    """Three threads hold the store for 30 ms each, one after the other; the line waits 250 ms at most."""
    config = store_config(
        tmp_path, busy_timeout=1.0
    )  # who only takes its chance waits longer once in 60
    store = SqlStore(config)
    epoch = store.begin_epoch("st1", "start")
    pages, stop, held = WebStore(config), threading.Event(), threading.Event()

    def write() -> None:
        while not stop.is_set():
            with pages.write("a slow page") as connection:
                held.set()
                settings.change(connection, "test", 1, "engineer", told=False)
                stop.wait(0.03)
                held.clear()

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for sequence in range(1, 31):
            asked = trigger(sequence, epoch=epoch)
            assert held.wait(10)
            store.triggered(asked, 1)
            assert held.wait(10)
            store.decided(inspected(asked, PASSED))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        pages.close()
        store.close()


def test_a_page_that_waits_too_long_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "WAIT", 0.05)
    config = store_config(tmp_path)
    SqlStore(config).close()
    pages = WebStore(config)
    with (
        pages.write("the first"),
        pytest.raises(access.StoreError, match="the second: other pages are being saved"),
        pages.write("the second"),
    ):
        pass
    with pages.write("the third"):
        pass
    pages.close()


def test_what_can_be_made_again_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    config = store_config(tmp_path)
    SqlStore(config).close()
    pages = WebStore(config)
    for derived, synchronous in ((False, 2), (True, 1), (False, 2)):  # 2: FULL, 1: NORMAL
        with pages.write("a test", derived=derived) as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == synchronous
    pages.close()


def test_the_log_of_the_store_is_moved_beside_the_line(tmp_path: Path) -> None:
    """No commit of a part moves SQLite's log; the thread of the pictures does."""
    config = store_config(tmp_path)
    store = SqlStore(config)
    path = config.sqlite_path
    assert path
    epoch = store.begin_epoch("st1", "start")
    before = path.stat().st_size
    for sequence in range(1, 200):
        asked = trigger(sequence, epoch=epoch)
        store.triggered(asked, 1)
        store.decided(inspected(asked, PASSED))
    assert store.log_bytes > 1000 * 4096  # SQLite alone would have moved it by now
    assert path.stat().st_size == before
    guard = DiskGuard(config)
    guard.tend()
    assert path.stat().st_size > before
    asked = trigger(200, epoch=epoch)
    size = store.log_bytes
    store.triggered(asked, 1)  # begins at the log's start again
    assert store.log_bytes == size
    guard.close()
    store.close()


@pytest.mark.slow
def test_pages_that_are_killed_while_they_write_are_not_noticed(tmp_path: Path) -> None:
    rig = Rig(tmp_path, timing={"camera_timeout": 10.0}, store={"busy_timeout": 5.0})
    rig.recipe(deadline=20.0)
    config = rig.folder / "station.yaml"
    bulk(load_station(config).store, 5000)
    with contextlib.closing(sqlite3.connect(rig.database)) as store, store:
        store.execute("update parts set release = 'old/1', part_name = 'old', images = null")
        store.execute("update parts set image_state = 'sampled_out'")
    generator = random.Random(4)
    with rig.plc_running(takt=0.1), rig.line() as line:
        until(lambda: rig.rows("station = 'test' and sent_mono is not null"), 60, "parts")
        for _ in range(6):
            before = rig.rows("station = 'test'")[-1]["id"]
            with subprocess.Popen(
                [sys.executable, "-c", WRITER, str(config)], stdout=subprocess.PIPE, text=True
            ) as writer:
                assert writer.stdout
                assert writer.stdout.readline() == "writing\n"
                threading.Event().wait(generator.uniform(0.05, 0.6))
                writer.kill()
            mine = f"id > {before} and station = 'test' and sent_mono is not null"
            until(lambda mine=mine: len(rig.rows(mine)) >= 3, 30, "parts after a kill")
        assert "results store failed" not in line.text
    assert set(rig.decisions()[5000:]) <= {
        ("PASS", "NONE"),
        ("FAIL", "DEFECT"),
        ("REVIEW", "BORDERLINE"),
    }
    with contextlib.closing(sqlite3.connect(rig.database)) as store:
        assert store.execute("select count(*) from reviews").fetchone()[0] > 10
        assert store.execute("select count(*) from audit").fetchone()[0] > 8
    rig.verify()


@contextlib.contextmanager
def busy(number: int) -> Iterator[None]:
    """Keep the processors busy with so many processes."""
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()


def follow(address: str, number: int) -> list[int]:
    """Open so many streams of the station's page; return how many events each has got, live."""
    host, events = address.removeprefix("http://"), [0] * number
    connection = http.client.HTTPConnection(host, timeout=60)
    body = urlencode({"name": "viewer", "password": PASSWORD})
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", "/sign-in", body, kind)
    found = re.search(
        r"inspection_session\w*=[^;]+", connection.getresponse().headers["set-cookie"]
    )
    connection.close()
    assert found

    def read(place: int) -> None:
        stream = http.client.HTTPConnection(host, timeout=60)
        stream.request("GET", "/line/events?station=test", headers={"Cookie": found[0]})
        with (
            contextlib.suppress(OSError, http.client.HTTPException),
            contextlib.closing(stream),
            stream.getresponse() as answer,
        ):
            for line in answer:
                events[place] += line.startswith(b"data: ")

    for place in range(number):
        threading.Thread(target=read, args=(place,), daemon=True).start()
    return events


def backlog(config: StoreConfig, number: int) -> None:
    """Write so many older parts: the first ten thousand, and copies of them."""
    bulk(config, 10_000)
    names = [column.name for column in parts.columns if column.computed is None]
    for copy in range(1, number // 10_000):
        instead = {"id": f"id + {copy * 10_000}", "epoch": f"epoch + {copy * 1000}"}
        chosen = ", ".join(instead.get(name, name) for name in names)
        with contextlib.closing(sqlite3.connect(str(config.sqlite_path))) as store, store:
            store.execute(
                f"insert into parts ({', '.join(names)}) select {chosen} from parts where id <= 10000"
            )


@pytest.mark.slow
def test_a_large_backlog_ten_streams_and_a_busy_machine_fail_no_part(tmp_path: Path) -> None:
    """100,000 rows to take in and to count from zero, while the line runs; patient, for slow machines."""
    timing = {
        "camera_timeout": 10.0,
        "plc_dead_after": 10.0,
    }  # the PLC is played in this busy process
    rig = Rig(tmp_path, timing=timing, store={"busy_timeout": 5.0})
    rig.recipe(deadline=20.0)
    config = rig.folder / "station.yaml"
    backlog(load_station(config).store, 100_000)
    with rig.plc_running(takt=0.1), rig.line() as line:
        until(lambda: rig.rows("station = 'test' and sent_mono is not null"), 60, "parts")
        add_people(load_station(config).store)
        with WebProcess(config, log=rig.folder / "web.log") as web, busy(4):
            events = follow(web.address, 10)
            until(lambda: min(events) > 3, 60, "streams")
            before = rig.rows("station = 'test'")[-1]["id"]
            mine = f"id > {before} and station = 'test' and sent_mono is not null"
            until(lambda: len(rig.rows(mine)) >= 30, 60, "parts")
        assert "results store failed" not in line.text
    found = {(row["decision"], row["reason"]) for row in rig.rows("station = 'test'")}
    assert found <= {("PASS", "NONE"), ("FAIL", "DEFECT"), ("REVIEW", "BORDERLINE")}
    with contextlib.closing(sqlite3.connect(rig.database)) as store:
        taken, counted = (
            store.execute(f"select {what}").fetchone()[0]
            for what in ("count(*) from reviews", "sum(number) from slots")
        )
    assert taken > 100
    assert counted > 100
