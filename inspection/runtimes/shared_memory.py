"""A piece of POSIX shared memory that carries the images to a service on the same host.

The file's name carries our process id, for people. Whether its owner lives is told by the lock that
the owner holds on it, which the kernel drops at death: ids are reused, and differ between containers.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import mmap
import os
import secrets
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FOLDER = Path("/dev/shm")  # noqa: S108
PREFIX = "inspection-line-"


class Segment:
    """Shared memory of `size` bytes, ours alone to write. Readable by the same user only."""

    def __init__(self, size: int) -> None:
        """Create it. Raises OSError: no POSIX shared memory here, or it is full."""
        self.size = size
        self._fd = -1
        while not self._make():
            pass

    def _make(self) -> bool:
        """Return False when somebody who tidies up held the new file before we had locked it."""
        self.name = f"{PREFIX}{os.getpid()}-{secrets.token_hex(8)}"
        path = FOLDER / self.name
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.close()
                return False
            os.posix_fallocate(
                self._fd, 0, self.size
            )  # full memory fails here, not with a bus error
            if os.fstat(self._fd).st_nlink == 0:
                self.close()
                return False
            self._bytes = np.frombuffer(mmap.mmap(self._fd, self.size), np.uint8)
            self._start = self._bytes.ctypes.data
        except OSError:
            self.close()
            raise
        return True

    @property
    def key(self) -> str:
        """The name for shm_open."""
        return f"/{self.name}"

    def room(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Return the memory itself, from its start, as uint8 of a shape that fits into it."""
        return self._bytes[: math.prod(shape)].reshape(shape)

    def write(self, images: NDArray[np.uint8]) -> None:
        """Have C-contiguous images at the start: copied, unless they were made there (`room`)."""
        if images.ctypes.data != self._start:
            self._bytes[: images.nbytes] = images.reshape(-1)

    def close(self) -> None:
        """Remove it. The memory itself goes with its last user. May be called twice."""
        with contextlib.suppress(OSError):
            (FOLDER / self.name).unlink()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def remove_leftovers() -> int:
    """Remove segments whose owner is dead; return how many."""
    removed = 0
    for path in FOLDER.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while the owner lives
                path.unlink()
                removed += 1
            finally:
                os.close(fd)
    return removed
