"""Pictures written by another process: as good as here, and never lost when it dies or hangs."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from store_samples import FAILED, PASSED, inspected, store_config, trigger

from inspection.store import picture_process
from inspection.store.images import ImageWriter
from inspection.store.picture_process import PictureProcess, write_picture_file
from inspection.types import Image, PartKey, StoredImage

NOISE: Image = np.random.default_rng(3).integers(0, 256, (60, 80, 3), np.uint8)


@pytest.fixture
def process() -> Iterator[PictureProcess]:
    made = PictureProcess()
    yield made
    made.close()


def children() -> dict[int, str]:
    """Return process id and state of every picture process that this one started."""
    found: dict[int, str] = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            state, parent = (path / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if b"inspection.store.picture_process" in words and int(parent) == os.getpid():
            found[int(path.name)] = state
    return found


def the_child() -> int:
    (pid,) = children()
    return pid


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("ending", ["jpg", "png", "bmp"])
def test_it_writes_what_the_line_would(
    tmp_path: Path, process: PictureProcess, ending: str
) -> None:
    small, large = NOISE, np.tile(NOISE, (9, 9, 1))
    for number, image in enumerate([small, large, small, large[::2, ::-1]]):
        here, there = tmp_path / f"{number}.here", tmp_path / f"{number}.there"
        sha256 = process.write(image, there, ending, 90)
        assert sha256 == write_picture_file(image, here, ending, 90)
        assert here.read_bytes() == there.read_bytes()
        assert hashlib.sha256(there.read_bytes()).hexdigest() == sha256
    assert os.getpriority(os.PRIO_PROCESS, the_child()) >= 10


def test_a_killed_process_loses_no_picture(
    tmp_path: Path,
    process: PictureProcess,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    expected = process.write(NOISE, tmp_path / "0", "jpg", 90)
    first = the_child()
    os.kill(first, signal.SIGKILL)
    assert process.write(NOISE, tmp_path / "1", "jpg", 90) == expected
    assert "written by the line itself" in caplog.text
    assert not children()  # for a while none is tried
    assert process.write(NOISE, tmp_path / "2", "jpg", 90) == expected
    assert not children()
    monkeypatch.setattr(process, "_not_before", 0.0)
    assert process.write(NOISE, tmp_path / "3", "jpg", 90) == expected
    assert the_child() != first
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {(tmp_path / "0").read_bytes()}


def test_a_process_that_hangs_is_ended(
    tmp_path: Path, process: PictureProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_process, "_PATIENCE", 0.3)
    while not children():  # its start may take longer than so short a patience
        monkeypatch.setattr(process, "_not_before", 0.0)
        process.write(NOISE, tmp_path / "0", "jpg", 90)
        monkeypatch.setattr(picture_process, "_PATIENCE", 20.0)
    monkeypatch.setattr(picture_process, "_PATIENCE", 0.3)
    os.kill(the_child(), signal.SIGSTOP)
    sha256 = process.write(NOISE, tmp_path / "1", "jpg", 90)
    assert sha256 == hashlib.sha256((tmp_path / "1").read_bytes()).hexdigest()
    assert not children()


def test_a_late_answer_is_never_the_next_pictures(
    tmp_path: Path, process: PictureProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread fails when the question is out; what is answered then is nobody's."""
    others = [np.full((9, 9, 3), grey, np.uint8) for grey in (10, 20, 30)]
    process.write(NOISE, tmp_path / "0", "png", 90)

    def fails(*_: object) -> bytes:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(os, "read", fails)
        process.write(others[0], tmp_path / "1", "png", 90)
    monkeypatch.setattr(process, "_not_before", 0.0)
    for number, image in enumerate(others, start=2):
        path = tmp_path / str(number)
        sha256 = process.write(image, path, "png", 90)
        assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
    assert the_child()


def test_a_process_without_memory_loses_no_picture(tmp_path: Path, process: PictureProcess) -> None:
    process.write(NOISE, tmp_path / "0", "jpg", 90)
    limit = 1000 * int(Path(f"/proc/{the_child()}/statm").read_text().split()[0]) * 4
    resource.prlimit(the_child(), resource.RLIMIT_AS, (limit, limit))
    large = np.tile(NOISE, (40, 40, 1))
    sha256 = process.write(large, tmp_path / "1", "bmp", 90)
    assert sha256 == hashlib.sha256((tmp_path / "1").read_bytes()).hexdigest()


def test_no_process_and_no_memory_lose_no_picture(
    tmp_path: Path, process: PictureProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no memory")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        assert process.write(NOISE, tmp_path / "0", "jpg", 90)  # never taken for a full disk
    monkeypatch.setattr(process, "_not_before", 0.0)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    assert process.write(NOISE, tmp_path / "1", "jpg", 90)
    assert (tmp_path / "0").read_bytes() == (tmp_path / "1").read_bytes()


def test_the_disks_error_is_the_lines_own(tmp_path: Path, process: PictureProcess) -> None:
    with pytest.raises(OSError, match="Is a directory") as told:
        process.write(NOISE, tmp_path, "jpg", 90)
    assert told.value.errno == errno.EISDIR
    if Path("/dev/full").exists():
        with pytest.raises(OSError, match="No space left") as told:
            process.write(NOISE, Path("/dev/full"), "jpg", 90)
        assert told.value.errno == errno.ENOSPC
    with pytest.raises(ValueError, match="not an RGB image"):
        process.write(NOISE[..., 0], tmp_path / "grey", "jpg", 90)
    with pytest.raises(ValueError, match=r"set store\.images\.format to png"):
        process.write(np.zeros((65_501, 2, 3), np.uint8), tmp_path / "long", "jpg", 90)
    assert process.write(NOISE, tmp_path / "after", "jpg", 90)
    assert the_child()  # the same process went on


def test_signals_for_the_line_do_not_end_it(tmp_path: Path, process: PictureProcess) -> None:
    process.write(NOISE, tmp_path / "0", "jpg", 90)
    pid = the_child()
    os.kill(pid, signal.SIGINT)
    os.kill(pid, signal.SIGTERM)
    process.write(NOISE, tmp_path / "1", "jpg", 90)
    assert the_child() == pid


def test_it_ends_with_a_line_that_was_killed(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys, numpy as np; from pathlib import Path\n"
        "from inspection.store.picture_process import PictureProcess\n"
        "one = PictureProcess(); image = np.zeros((8, 8, 3), np.uint8)\n"
        f"one.write(image, Path({str(tmp_path / 'a')!r}), 'jpg', 90)\n"
        "print(one._process.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL
    left = Path(f"/proc/{int(done.stdout)}/stat")
    wait_until(lambda: not left.exists() or left.read_text().rpartition(")")[2].split()[0] == "Z")


def test_the_writer_starts_and_ends_it(tmp_path: Path) -> None:
    told: list[tuple[str, list[StoredImage]]] = []

    def done(_key: PartKey, state: str, files: list[StoredImage]) -> None:
        told.append((state, files))

    config = store_config(tmp_path)
    writer = ImageWriter(config, done)
    assert not children()
    for number, result in enumerate([FAILED, PASSED], start=1):
        writer.offer(inspected(trigger(number), result))
    wait_until(lambda: len(told) == 2)
    assert len(children()) == 1
    writer.close()
    assert not children()
    for state, (file,) in told:
        assert state == "saved"
        data = (config.images.folder / file.path).read_bytes()
        assert hashlib.sha256(data).hexdigest() == file.sha256
