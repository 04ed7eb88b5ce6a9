"""The store under the storage faults of the fault matrix: nothing acknowledged is lost, nothing passes."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from postgres_server import NoServerError, PostgresServer
from store_samples import FAILED, inspected, not_inspected, store_config, trigger, utc_now

from inspection.errors import StoreError
from inspection.store import before
from inspection.store.config import StoreConfig
from inspection.store.images import ImageWriter
from inspection.store.queries import StoreReader
from inspection.store.sql import SqlStore
from inspection.store.verify import verify
from inspection.types import PartKey, StoredImage

WRITER = Path(__file__).parents[1] / "store_writer.py"


def rows(config: StoreConfig) -> dict[tuple[int, int], dict[str, object]]:
    with StoreReader(config) as reader:
        return {(row["epoch"], row["sequence"]): row for row in reader.page(limit=1000)}


def command(folder: Path, count: int) -> list[str]:
    return [sys.executable, str(WRITER), str(folder), str(count)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(WRITER.parent), "OMP_NUM_THREADS": "1"}


def check_acknowledged(config: StoreConfig, told: str) -> int:
    """Every row the writer was told is durable is there, with that decision or as not inspected."""
    stored = rows(config)
    epoch, acknowledged = 0, 0
    for line in told.splitlines():
        name, _, decision = line.partition(" ")
        if name == "epoch":
            epoch = int(decision)
        elif name != "end":
            found = stored[epoch, int(name)]
            assert found["state"] != "triggered"
            allowed = (
                {decision, "NOT_INSPECTED"}
                if decision != "KNOWN"
                else {"PASS", "FAIL", "NOT_INSPECTED"}
            )
            assert found["decision"] in allowed
            acknowledged += decision != "KNOWN"
    report = verify(config)
    assert report.is_clean, report.as_dict()
    return acknowledged


def restart(config: StoreConfig) -> None:
    """As the line starts again: the journal is written, open rows are closed."""
    from inspection.types import Reason

    store = SqlStore(config)
    store.close_open_parts("st1", Reason.RESTART)
    store.close()


# -- kill


def test_acknowledged_rows_survive_kill_at_random_times(tmp_path: Path) -> None:
    config = store_config(tmp_path)
    told, chance = "", random.Random(20261121)
    for _ in range(5):
        with subprocess.Popen(
            command(tmp_path, 100_000), stdout=subprocess.PIPE, text=True, env=environment()
        ) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(chance.randrange(2, 60))]
            process.kill()
            lines += process.stdout.read().splitlines(keepends=True)
        told += "".join(line for line in lines if line.endswith("\n"))
    restart(config)
    assert check_acknowledged(config, told) > 20


def has_strace() -> bool:
    if shutil.which("strace") is None:
        return False
    probe = subprocess.run(
        ["strace", "-o", "/dev/null", "-e", "trace=fsync", "true"], check=False, capture_output=True
    )
    return probe.returncode == 0


needs_strace = pytest.mark.skipif(
    not has_strace(), reason="strace cannot trace here (Debian package strace)"
)


def run_with_fault(folder: Path, inject: str, count: int = 3) -> subprocess.CompletedProcess[str]:
    tracing = [
        "strace",
        "-f",
        "-o",
        str(folder.parent / "trace"),
        "-e",
        "trace=pwrite64,fsync,fdatasync,ftruncate",
    ]
    return subprocess.run(
        [*tracing, "-e", f"inject={inject}", *command(folder, count)],
        check=False, capture_output=True, text=True, env=environment(), timeout=100,
    )  # fmt: skip


def prepared(tmp_path: Path) -> tuple[Path, StoreConfig]:
    """A store that has run before, so that a run's system calls are only those of its parts."""
    folder = tmp_path / "store"
    folder.mkdir()
    config = store_config(folder)
    store = SqlStore(config)
    store.begin_epoch("st1", "start")
    store.close()
    return folder, config


def fault_at_every_call(
    tmp_path: Path, inject: str, numbers: Iterator[int], count: int = 3
) -> None:
    folder, config = prepared(tmp_path)
    for number in numbers:
        done = run_with_fault(folder, f"{inject}:when={number}", count)
        struck = (
            "INJECTED" in (tmp_path / "trace").read_text()
            or "SIGKILL" in (tmp_path / "trace").read_text()
        )
        restart(config)
        check_acknowledged(config, done.stdout)
        if "SIGKILL" not in inject:
            assert done.returncode == 0, done.stderr
        if not struck:
            assert done.stdout.endswith("end\n")
            return


ERRORS = [
    "fsync,fdatasync:error=EIO",
    "pwrite64:error=ENOSPC",
    "pwrite64:error=EIO",
    "pwrite64,fsync,fdatasync:signal=SIGKILL",
]


@needs_strace
@pytest.mark.parametrize("inject", ERRORS)
def test_a_fault_at_some_system_calls(tmp_path: Path, inject: str) -> None:
    fault_at_every_call(tmp_path, inject, iter((2, 9)))


@needs_strace
@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("inject", ERRORS)
def test_a_fault_at_every_system_call(tmp_path: Path, inject: str) -> None:
    fault_at_every_call(tmp_path, inject, iter(range(1, 200)), count=1)


@needs_strace
def test_a_disk_that_fails_for_good_never_passes_a_part(tmp_path: Path) -> None:
    folder, config = prepared(tmp_path)
    done = run_with_fault(folder, "fsync,fdatasync:error=EIO:when=1+")
    assert "PASS" not in done.stdout
    assert done.returncode != 0
    restart(config)
    check_acknowledged(config, done.stdout)


# -- the disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mounted = tmp_path / "disk"
    mounted.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(mounted)]
    if os.getuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting a small disk needs root")
    yield mounted
    subprocess.run(["umount", "-l", str(mounted)], check=True)


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue
    return filler


def until_it_fails(store: SqlStore, start: int = 100) -> int:
    """Write parts until the store refuses one; return its sequence."""
    for sequence in range(start, start + 2000):
        try:
            store.decided(inspected(trigger(sequence), FAILED))
        except StoreError:
            return sequence
    raise AssertionError("the store never failed")


def test_a_full_disk(small_disk: Path) -> None:
    config = store_config(small_disk)
    store = SqlStore(config)
    store.check()
    filler = fill(small_disk)
    with pytest.raises(StoreError, match="full"):
        store.check()
    failed = until_it_fails(store)
    assert store.remember(not_inspected(trigger(failed))) is True, "the journal needs no space"
    with pytest.raises(StoreError):
        store.sent(PartKey("st1", 1, failed), 1.0, utc_now())
    with pytest.raises(StoreError):
        store.decided(inspected(trigger(failed + 1)))
    filler.unlink()
    store.recover()
    store.check()
    found = rows(config)
    assert (found[1, failed]["decision"], found[1, failed]["state"]) == ("NOT_INSPECTED", "sent")
    assert set(found) == {(1, n) for n in range(100, failed + 1)}
    store.close()


def test_a_disk_that_is_full_at_the_start(small_disk: Path) -> None:
    filler = fill(small_disk)
    with pytest.raises(StoreError, match="free some space"):
        SqlStore(store_config(small_disk))
    filler.unlink()
    store = SqlStore(store_config(small_disk))
    assert store.begin_epoch("st1", "start") == 1
    store.close()


def test_a_part_remembered_on_a_full_disk_survives_a_kill(small_disk: Path) -> None:
    config = store_config(small_disk)
    store = SqlStore(config)
    filler = fill(small_disk)
    failed = until_it_fails(store)
    assert store.remember(not_inspected(trigger(failed)))
    store.close()  # what a kill leaves behind is no more than this
    filler.unlink()
    SqlStore(config).close()
    assert rows(config)[1, failed]["reason"] == "STORE_FAILED"


def test_a_full_picture_disk_stops_pictures_and_no_rows(small_disk: Path, tmp_path: Path) -> None:
    config = store_config(tmp_path, images={"folder": str(small_disk / "images"), "format": "bmp"})
    store = SqlStore(config)
    told: dict[int, tuple[str, list[StoredImage]]] = {}
    writer = ImageWriter(
        config, lambda key, state, files: told.update({key.sequence: (state, files)})
    )
    fill(small_disk)
    part = inspected(trigger(1), FAILED)
    store.decided(part)
    writer.offer(part)
    writer.close()
    assert told == {1: ("disk_full", [])}
    store.images(part.trigger.key, *told[1])
    store.close()
    assert verify(config, images=config.images.folder).is_clean
    assert not [path for path in config.images.folder.rglob("*") if path.is_file()]


def test_a_read_only_disk(small_disk: Path) -> None:
    config = store_config(small_disk)
    store = SqlStore(config)
    store.decided(inspected(trigger(1)))
    store.close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StoreError):
        SqlStore(config)
    assert verify(config).is_clean
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert not list(small_disk.glob("*.corrupt.*"))
    SqlStore(config).close()


# -- others at the same file


HOLD = """
import sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
"""


def test_locked_by_another_process(tmp_path: Path) -> None:
    config = store_config(tmp_path, busy_timeout=0.1)
    store = SqlStore(config)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, config.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match="locked"):
            store.check()
        with pytest.raises(StoreError):
            store.decided(inspected(trigger(1)))
        with StoreReader(config) as reader:  # reading goes on
            assert reader.counts()["PASS"] == 0
        assert store.remember(not_inspected(trigger(1)))
        with pytest.raises(StoreError, match="locked"):
            store.recover()
        holder.stdin.write("\n")
        holder.stdin.flush()
        holder.wait(30)
    store.recover()
    assert rows(config)[1, 1]["decision"] == "NOT_INSPECTED"
    assert not list(tmp_path.glob("*.corrupt.*"))
    store.close()


def test_a_reader_never_blocks_the_line(tmp_path: Path) -> None:
    config = store_config(tmp_path)
    store = SqlStore(config)
    reader = sqlite3.connect(config.url, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM parts").fetchone()
    for n in range(1, 20):
        store.decided(inspected(trigger(n)))
    reader.execute("COMMIT")
    reader.close()
    assert len(rows(config)) == 19
    store.close()


def damage_everywhere(path: Path) -> None:
    path.write_bytes(random.Random(1).randbytes(path.stat().st_size))


def damage_a_page(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xa5" * 8192)


def cut_short(path: Path) -> None:
    os.truncate(path, 4096 * 2 + 100)


@pytest.mark.parametrize("damage", [damage_everywhere, damage_a_page, cut_short])
def test_a_corrupt_file_is_put_aside_at_the_start(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    config = store_config(tmp_path)
    picture = config.images.folder / "st1/1/00/1-1.jpg"
    picture.parent.mkdir(parents=True)
    picture.write_bytes(b"picture")
    store = SqlStore(config)
    assert store.begin_epoch("st1", "start") == 1
    for n in range(1, 30):
        record = store.decided(inspected(trigger(n)))
    store.remember(not_inspected(trigger(77)))
    store.close()
    path = Path(config.url)
    damage(path)
    bytes_before = path.read_bytes()
    again = SqlStore(config)
    (aside,) = tmp_path.glob("results.db.corrupt.*Z")
    assert aside.read_bytes() == bytes_before
    assert picture.read_bytes() == b"picture"
    assert set(rows(config)) == {(1, 77)}  # the journal was written into the new one
    assert again.begin_epoch("st1", "start") == 2
    assert again.decided(inspected(trigger(1, epoch=2))) > record
    with StoreReader(config) as reader:
        assert "corrupt" in reader.alarms()[0]["detail"]
    again.close()
    report = verify(config)
    assert report.is_clean
    assert "corrupt" in report.findings[0].notes[0]


def test_a_file_that_becomes_corrupt_while_running(tmp_path: Path) -> None:
    config = store_config(tmp_path)
    store = SqlStore(config)
    store.begin_epoch("st1", "start")
    store.decided(inspected(trigger(1)))
    store._drop()  # as after a disk error
    damage_everywhere(Path(config.url))
    deadline = time.monotonic() + 30
    while True:
        try:
            store.recover()
            break
        except StoreError:
            assert time.monotonic() < deadline
    store.decided(inspected(trigger(2)))
    assert set(rows(config)) == {(1, 2)}
    store.close()


def test_another_program_s_database_is_left_alone(tmp_path: Path) -> None:
    config = store_config(tmp_path)
    other = sqlite3.connect(config.url)
    other.execute("CREATE TABLE recipes (name TEXT)")
    other.commit()
    other.close()
    before = Path(config.url).read_bytes()
    with pytest.raises(StoreError, match="other tables"):
        SqlStore(config)
    other = sqlite3.connect(config.url)
    assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("recipes",)]
    other.close()
    assert len(before) == Path(config.url).stat().st_size


@pytest.mark.parametrize("name", ["results.db", "results.db-wal"])
@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_file_deleted_or_replaced_while_running_is_noticed(
    tmp_path: Path, name: str, how: str
) -> None:
    config = store_config(tmp_path)
    store = SqlStore(config)
    store.begin_epoch("st1", "start")
    store.decided(inspected(trigger(1)))
    if how == "replaced":
        (tmp_path / name).rename(tmp_path / "moved")
        (tmp_path / name).touch()
    else:
        (tmp_path / name).unlink()
    with pytest.raises(StoreError, match="deleted or replaced"):
        store.decided(inspected(trigger(2)))
    store.remember(not_inspected(trigger(2)))
    store.recover()
    assert rows(config)[1, 2]["decision"] == "NOT_INSPECTED"
    store.close()
    assert verify(config).is_clean


def test_the_whole_folder_is_deleted_while_running(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    config = store_config(folder)
    store = SqlStore(config)
    store.begin_epoch("st1", "start")
    shutil.rmtree(folder)
    with pytest.raises(StoreError):
        store.decided(inspected(trigger(2)))
    assert store.remember(not_inspected(trigger(2))) in (True, False)
    store.recover()
    assert rows(config)[1, 2]["decision"] == "NOT_INSPECTED"
    assert store.begin_epoch("st1", "restart") >= 1
    with pytest.raises(StoreError):
        SqlStore(config)  # the locks were made again too
    store.close()


def test_an_interrupted_migration_is_done_again(tmp_path: Path) -> None:
    """A kill inside the migration's transaction leaves nothing of it."""
    config = store_config(tmp_path)
    code = (
        "import os, sys, inspection.store.database as d, sqlalchemy as sa\n"
        "from store_samples import store_config; from pathlib import Path\n"
        "from inspection.store.sql import SqlStore\n"
        "e = d.make_engine\n"
        "def make(config, **kw):\n"
        "    engine = e(config, **kw)\n"
        "    def before(conn, cursor, statement, *rest):\n"
        "        if 'CREATE TABLE verdicts' in statement: os.kill(os.getpid(), 9)\n"
        "    sa.event.listen(engine, 'before_cursor_execute', before)\n"
        "    return engine\n"
        "d.make_engine = make\n"
        "SqlStore(store_config(Path(sys.argv[1])))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=False, env=environment()
    )
    assert done.returncode == -9
    store = SqlStore(config)
    assert store.begin_epoch("st1", "start") == 1
    store.close()
    assert verify(config).is_clean


def older(config: StoreConfig, revision: str, parts: int) -> None:
    """Make a store as a program before this one did, with so many parts."""
    store = SqlStore(config)
    store.begin_epoch("st1", "start")
    for n in range(1, parts + 1):
        store.decided(inspected(trigger(n)))
    store.close()
    assert config.sqlite_path is not None
    with closing(sqlite3.connect(config.sqlite_path)) as connection, connection:
        connection.execute("ALTER TABLE parts DROP COLUMN card_sha256")
        if revision < "0007":
            connection.execute("ALTER TABLE epochs DROP COLUMN ok_every")
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))


def test_a_store_is_copied_before_it_is_migrated(tmp_path: Path) -> None:
    config = store_config(tmp_path)
    older(config, "0006", 3)
    config.sqlite_path.chmod(0o640)
    report = verify(config)
    assert report.is_clean
    assert "0006, of an older program" in " ".join(report.findings[0].notes)
    for left in ("", "-journal", ".4711"):  # of a copy that power cut off
        (tmp_path / f".results.db.before-0008{left}").write_bytes(b"half")
    SqlStore(config).close()
    copy = tmp_path / "results.db.before-0008"
    assert copy.stat().st_mode & 0o777 == 0o640
    with closing(sqlite3.connect(f"file:{copy}?mode=ro", uri=True)) as kept:
        assert kept.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert kept.execute("SELECT version_num FROM alembic_version").fetchone() == ("0006",)
        assert kept.execute("SELECT count(*) FROM parts").fetchone() == (3,)
    assert verify(config).findings[0].notes == []
    before = copy.stat().st_mtime_ns
    SqlStore(config).close()
    assert copy.stat().st_mtime_ns == before, "no migration, no copy"
    assert [path.name for path in tmp_path.glob(".results*")] == []


def test_going_back_is_putting_the_copy_back(tmp_path: Path) -> None:
    config = store_config(tmp_path)
    older(config, "0007", 2)
    store = SqlStore(config)
    store.begin_epoch("st1", "start")
    store.decided(inspected(trigger(1, epoch=2)))
    store.close()
    for path in tmp_path.glob("results.db-*"):
        path.unlink()
    (tmp_path / "results.db.before-0008").rename(tmp_path / "results.db")
    report = verify(config)
    assert report.is_clean
    assert report.table["rows PASS"] == 2
    store = SqlStore(config)
    assert store.begin_epoch("st1", "start") == 3, "the journal knows which were given"
    store.close()


def test_without_room_a_store_is_migrated_without_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = store_config(tmp_path)
    older(config, "0007", 1)
    monkeypatch.setattr(before, "_SPARE", 1 << 60)
    SqlStore(config).close()
    assert "without a copy" in caplog.text
    assert not (tmp_path / "results.db.before-0008").exists()
    assert verify(config).is_clean


def test_the_copy_before_a_migration_leaves_new_pictures_their_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = store_config(tmp_path, images={"min_free_percent": 90})
    older(config, "0007", 1)
    SqlStore(config).close()
    assert "without a copy: beside the room of pictures" in caplog.text
    assert not (tmp_path / "results.db.before-0008").exists()


def test_two_threads_take_turns(tmp_path: Path) -> None:
    config = store_config(tmp_path)
    store = SqlStore(config)
    errors: list[BaseException] = []

    def work(station: str) -> None:
        try:
            for n in range(1, 60):
                asked = trigger(n, station=station)
                store.decided(inspected(asked))
                store.images(asked.key, "shed", [])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    store.close()
    assert len(rows(config)) == 59  # keyed by epoch and sequence: both stations have the same
    with StoreReader(config) as reader:
        assert reader.counts()["PASS"] == 118


# -- PostgreSQL


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    try:
        running = PostgresServer()
    except NoServerError as error:
        pytest.skip(str(error))
    yield running
    running.close()


def test_a_postgresql_server_that_is_killed_and_comes_back(
    server: PostgresServer, tmp_path: Path
) -> None:
    config = store_config(tmp_path, url=server.url("plant"), busy_timeout=1)
    store = SqlStore(config)
    store.begin_epoch("st1", "start")
    store.decided(inspected(trigger(1)))
    server.stop(kill=True)
    with pytest.raises(StoreError):
        store.decided(inspected(trigger(2)))
    assert store.remember(not_inspected(trigger(2))) is True
    with pytest.raises(StoreError):
        store.sent(PartKey("st1", 1, 2), 1.0, utc_now())
    with pytest.raises(StoreError):
        store.recover()
    server.start()
    deadline = time.monotonic() + 60
    while True:
        try:
            store.recover()
            break
        except StoreError:
            assert time.monotonic() < deadline
    found = rows(config)
    assert found[1, 1]["decision"] == "PASS"
    assert (found[1, 2]["decision"], found[1, 2]["state"]) == ("NOT_INSPECTED", "sent")
    store.check()
    store.close()
    assert verify(config).is_clean


def test_a_lock_in_postgresql_ends_at_its_timeout(server: PostgresServer, tmp_path: Path) -> None:
    import psycopg

    config = store_config(tmp_path, url=server.url("locked"), busy_timeout=0.2)
    store = SqlStore(config)
    store.triggered(trigger(1), 1)
    with psycopg.connect(f"host=127.0.0.1 port={server.port} user=postgres dbname=locked") as other:
        other.execute("LOCK TABLE parts IN EXCLUSIVE MODE")
        with pytest.raises(StoreError, match="lock timeout"):
            store.decided(inspected(trigger(2)))
    store.recover()
    store.decided(inspected(trigger(2)))
    store.close()
