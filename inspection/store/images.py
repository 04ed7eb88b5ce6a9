"""Picture files of parts: a bounded queue, one thread, names that never collide.

    offer ─▶ queue ─▶ room on the disk? ─▶ encode, in its process ─▶ temporary file, fsync, link ─▶ done

A file is named by its part's key, `STATION/EPOCH/THOUSAND/EPOCH-SEQUENCE.jpg`, never by time. A
file that exists is never overwritten: another one of the same part gets `.2` and so on.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np

from inspection.errors import StoreError
from inspection.store.config import Done, ImagesConfig, StoreConfig
from inspection.store.guard import DiskGuard
from inspection.store.picture_process import PictureProcess, write_picture_file
from inspection.store.strangers import station_folder
from inspection.types import Decision, Image, Inspected, PartKey, StoredImage

_FORMATS = ("jpg", "png", "bmp")
_GUARD_SECONDS = 30.0
"""Between two looks at age and disk space while no picture comes."""
_ANSWER_FIRST = 0.01
"""Seconds from a part's decision in which its picture is left alone."""

_logger = logging.getLogger(__name__)


def picture_stem(key: PartKey) -> str:
    """Return a picture's path in the folder, without its ending."""
    return f"{station_folder(key.station)}/{key.epoch}/{key.sequence // 1000:02d}/{key.epoch}-{key.sequence}"


def find_picture(folder: Path, key: PartKey) -> StoredImage | None:
    """Return the picture of a part whose row was not told of it; None when absent or unreadable."""
    import cv2

    for ending in _FORMATS:
        name = f"{picture_stem(key)}.{ending}"
        try:
            data = (folder / name).read_bytes()
        except OSError:
            continue
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if image is not None:
            height, width = image.shape[:2]
            return StoredImage(name, hashlib.sha256(data).hexdigest(), width, height)
    return None


def is_sampled(key: PartKey, every: int) -> bool:
    """Tell whether a passed part's picture is kept: one of `every`, 1 all, 0 none.

    A hash of the part's key decides, so the same part always gets the same answer, and a line with a period
    of its own (nests of a carousel, cavities of a mould) gets every place into the sample alike.
    """
    if every <= 1:
        return every == 1
    named = f"{key.epoch}/{key.sequence}/{key.station}".encode()
    drawn = int.from_bytes(hashlib.blake2b(named, digest_size=8).digest())
    return drawn * every < 2**64


class ImageWriter:
    """Satisfies `protocols.ImageSink`. Calls `done` from its thread, once for each queued picture."""

    def __init__(self, config: StoreConfig, done: Done) -> None:
        """Make the folder and start the thread. Raises StoreError when it cannot be made."""
        self._config = config.images
        self._done = done
        self._guard = DiskGuard(config)
        self._process = PictureProcess()
        self._queue: deque[Inspected] = deque()
        self._shed: deque[PartKey] = deque()
        self._changed = threading.Condition()
        self._closing = False
        try:
            self._config.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"picture folder {self._config.folder} cannot be made: {error}"
            ) from error
        self._thread = threading.Thread(target=self._run, name="images", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Pictures in the queue."""
        return len(self._queue)

    def offer(self, inspected: Inspected) -> str | None:
        """See `protocols.ImageSink`. Final states: `none`, `sampled_out`, `shed`, `failed` (ended)."""
        if inspected.frame is None:
            return "none"
        passed = inspected.result.decision is Decision.PASS
        if passed and not is_sampled(inspected.trigger.key, self._config.ok_every):
            return "sampled_out"
        with self._changed:
            if self._closing or not self._thread.is_alive():
                return "failed"
            if len(self._queue) >= self._config.queue and (passed or not self._make_room()):
                return "shed"
            self._queue.append(inspected)
            self._changed.notify()
        return None

    def decided_again(self, inspected: Inspected) -> None:
        """See `protocols.ImageSink`."""
        with self._changed:
            for place, queued in enumerate(self._queue):
                if queued.trigger.key == inspected.trigger.key:
                    self._queue[place] = inspected
                    return

    def close(self) -> None:
        """See `protocols.ImageSink`."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _make_room(self) -> bool:
        """Take the oldest queued picture of a passed part out; its row is told by the thread."""
        for index, queued in enumerate(self._queue):
            if queued.result.decision is Decision.PASS:
                del self._queue[index]
                self._shed.append(queued.trigger.key)
                return True
        return False

    def _run(self) -> None:
        while True:
            with self._changed:
                if not (self._queue or self._shed or self._closing):
                    self._changed.wait(_GUARD_SECONDS)
                shed = self._shed.popleft() if self._shed else None
                inspected = self._queue.popleft() if shed is None and self._queue else None
                last = self._closing and shed is None and inspected is None
            if shed is not None:
                self._tell(shed, "shed", [])
            elif inspected is not None:
                self._save(inspected)
            if last:
                break
            self._tend()
        self._process.close()
        self._guard.close()

    def _tend(self) -> None:
        try:
            self._guard.tend()
        except Exception:  # a failing guard must not end the writing of pictures
            _logger.exception("old pictures could not be deleted")

    def _save(self, inspected: Inspected) -> None:
        key = inspected.trigger.key
        try:
            self._guard.watch(key.station)
            if not self._guard.has_room():
                self._tell(key, "disk_full", [])
                return
            self._await_answer(inspected)
            stored = write_picture(self._config, inspected, self._process.write)
        except OSError as error:
            _logger.exception("picture of part %s was not written", key)
            full = error.errno in {errno.ENOSPC, errno.EDQUOT}
            self._tell(key, "disk_full" if full else "failed", [])
        except Exception:
            _logger.exception("picture of part %s was not written", key)
            self._tell(key, "failed", [])
        else:
            self._tell(key, "saved", [stored])

    def _await_answer(self, inspected: Inspected) -> None:
        """Let the answer reach the PLC first: a picture makes both processors busy."""
        left = inspected.decided_mono + _ANSWER_FIRST - time.monotonic()
        time.sleep(min(max(left, 0.0), _ANSWER_FIRST))

    def _tell(self, key: PartKey, state: str, files: list[StoredImage]) -> None:
        try:
            self._done(key, state, files)
        except Exception:  # the next picture must still be written; the row stays `pending`
            _logger.exception("the row of part %s was not told that its picture is %s", key, state)


def write_picture(
    config: ImagesConfig,
    inspected: Inspected,
    write: Callable[[Image, Path, str, int], str] = write_picture_file,
) -> StoredImage:
    """Encode and write a part's picture durably; `write` does it, here or in another process.

    Raises:
        OSError: the disk refused; nothing is left behind.
        ValueError: the image cannot be encoded.
    """
    frame = inspected.frame
    if frame is None:
        raise ValueError(f"part {inspected.trigger.key} has no frame")
    image, stem = frame.image, picture_stem(inspected.trigger.key)
    name, sha256 = _write_new(
        config.folder,
        stem,
        config.format,
        lambda path: write(image, path, config.format, config.quality),
    )
    height, width = image.shape[:2]
    return StoredImage(name, sha256, width, height)


def _write_new(
    folder: Path, stem: str, ending: str, write: Callable[[Path], str]
) -> tuple[str, str]:
    """Write a new file; return its name in the folder and its hash. After a crash it is whole or absent."""
    target = folder / f"{stem}.{ending}"
    _make_folders(target.parent, folder)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        sha256 = write(temporary)
        name, copy = f"{stem}.{ending}", 1
        while True:
            try:
                os.link(temporary, folder / name)
                break
            except FileExistsError:
                copy += 1
                name = f"{stem}.{copy}.{ending}"
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(target.parent)
    return name, sha256


def _make_folders(path: Path, top: Path) -> None:
    """Make the folders below `top`, each made durable in its parent."""
    if path.is_dir():
        return
    if path != top:
        _make_folders(path.parent, top)
    path.mkdir(exist_ok=True)
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
