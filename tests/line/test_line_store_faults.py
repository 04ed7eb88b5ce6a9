"""The store fails under a running line: NOT INSPECTED, READY off, no row lost, recovery by itself."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from station_rig import Rig, until

from inspection.plc.modbus import ModbusConfig
from inspection.plc.words import BLOCK_WORDS, Stat, StatFlag

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")


@contextlib.contextmanager
def small_disk(folder: Path, size: str = "24m") -> Iterator[Path]:
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=False
    )
    if mounted.returncode:
        pytest.skip("this machine does not allow mounting a tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def shift_through(rig: Rig, begin, end, *, parts: int = 12) -> None:
    """Run a shift; call `begin` after four parts, `end` after two more answers have been refused."""
    with rig.plc_running(parts=parts, takt=0.1, wait_ready=True) as plc, rig.line() as line:
        until(lambda: plc.counters.triggers >= 4, what="four parts")
        (rig.folder / "line.pid").write_text(str(line.popen.pid))
        begin()
        until(lambda: "not READY: STORE_FAILED" in line.text, what="READY off")
        end()
        assert plc.wait(60), plc.counters
        assert line.popen.poll() is None
    decisions = rig.decisions()
    assert len(decisions) == parts
    assert {d for d in decisions if d[0] == "NOT_INSPECTED"} <= {
        ("NOT_INSPECTED", "STORE_FAILED"), ("NOT_INSPECTED", "NOT_READY"),
    }  # fmt: skip
    assert decisions[-1] == ("PASS", "NONE")
    assert rig.outcomes() == ["pass" if d == "PASS" else "not_inspected" for d, _ in decisions]
    rig.verify()


@pytest.fixture
def good_parts() -> dict[str, float]:
    return {"defect_rate": 0.0}


def test_locked_by_another_process(tmp_path, good_parts):
    rig = Rig(tmp_path, camera=good_parts)
    locker: list[sqlite3.Connection] = []

    def lock() -> None:
        locker.append(sqlite3.connect(rig.database, isolation_level=None, timeout=10))
        locker[0].execute("begin exclusive")

    def unlock() -> None:
        locker[0].execute("rollback")
        locker[0].close()

    shift_through(rig, lock, unlock)


@needs_root
def test_full_disk(tmp_path, good_parts):
    with small_disk(tmp_path / "disk") as disk:
        images = {"min_free_gb": 0.0, "min_free_percent": 0.0, "ok_every": 0}
        store = {"url": str(disk / "results.db"), "images": images}
        rig = Rig(tmp_path, camera=good_parts, store=store)
        filler = disk / "filler"

        def fill() -> None:
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(b"\0" * 4096)

        shift_through(rig, fill, filler.unlink)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("error", ["EROFS", "EIO", "ENOSPC"])
def test_the_disk_gives_errors(tmp_path, good_parts, error):
    """Every write and sync of the line process fails: a disk gone read-only, broken, or full."""
    rig = Rig(tmp_path, camera=good_parts, store={"images": {"ok_every": 0}})
    tracer: list[subprocess.Popen] = []

    def begin() -> None:
        line = (tmp_path / "line.pid").read_text()
        calls = "pwrite64,fsync,fdatasync,ftruncate"
        tracer.append(
            subprocess.Popen(
                ["strace", "-qq", "-f", "-p", line, "-e", f"trace={calls}",
                 "-e", f"inject={calls}:error={error}", "-o", "/dev/null"],
            )
        )  # fmt: skip

    def end() -> None:
        tracer[0].terminate()
        tracer[0].wait()

    shift_through(rig, begin, end)


def test_the_database_is_deleted_under_the_line(tmp_path, good_parts):
    rig = Rig(tmp_path, camera=good_parts)
    with rig.plc_running(parts=10, takt=0.1) as plc, rig.line() as line:
        until(lambda: plc.counters.triggers >= 4, what="four parts")
        for name in ("results.db", "results.db-wal", "results.db-shm"):
            (tmp_path / name).unlink(missing_ok=True)
        until(lambda: "not READY: STORE_FAILED" in line.text, what="READY off")
        assert plc.wait(60), plc.counters
    assert rig.outcomes()[-1] == "pass"
    passed = [e["record"] for e in rig.events() if e["event"] == "outcome" and e["passed"]]
    assert len(passed) == len(set(passed)), "record ids must not start again"
    assert list((tmp_path / "images").rglob("*.jpg")), "pictures stay when the database is new"


def test_a_second_line_on_the_same_station_is_refused(tmp_path, good_parts):
    rig = Rig(tmp_path, camera=good_parts)
    with rig.plc_running(parts=3, takt=0.1) as plc, rig.line():
        until(lambda: plc.counters.triggers >= 1, what="a part")
        second = rig.start_line()
        assert second.popen.wait(20) != 0
        second.stop()
        assert plc.wait(30)
    assert rig.outcomes() == ["pass"] * 3


def test_pictures_that_cannot_be_kept_degrade_the_station_and_change_no_decision(tmp_path):
    """No room for pictures: FAIL parts are answered and rowed as ever, DEGRADED and an alarm say so."""
    images = {"min_free_gb": 10_000, "ok_every": 1}
    rig = Rig(tmp_path, camera={"defect_rate": 0.5}, store={"images": images})
    with rig.plc_running(parts=6, takt=0.1) as plc, rig.line() as line:
        assert plc.wait(30), plc.counters
        until(lambda: "pictures are not kept (disk_full)" in line.text, what="the log line")
        config = ModbusConfig(host="127.0.0.1", port=rig.plc_port)
        reader = config.open()
        reader.connect()
        stat = Stat.unpack(reader.read_words(config.stat_address, BLOCK_WORDS))
        reader.close()
        assert stat.has(StatFlag.DEGRADED)
        assert not stat.has(StatFlag.ERROR)
    rows = rig.rows()
    assert {row["image_state"] for row in rows} == {"disk_full"}
    assert {row["decision"] for row in rows} <= {"PASS", "FAIL"}
    with contextlib.closing(sqlite3.connect(rig.database)) as connection:
        alarms = connection.execute('select reason, "on" from alarms').fetchall()
    assert ("PICTURES_LOST", 1) in alarms
    rig.verify()
