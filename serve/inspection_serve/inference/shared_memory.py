"""Triton's system shared memory extension: images and outputs in POSIX shared memory.

Nothing is mapped. Bytes are read from and written to the region's file, so that a client that
shortens or removes its memory gets an error and cannot take the service down with a bus error, and
nothing stays behind when a region is given back.

Clients name regions, and nobody knows which client it is that names one. So the memory of a line, from whose
picture a decision is made, is never written, and is known by its own name alone, from its start.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inspection.runtimes.shared_memory import PREFIX
from inspection_serve.inference.protocol import MemorySlice, RequestError

FOLDER = Path("/dev/shm")  # noqa: S108
MAX_REGIONS = 64
MAX_SPARE = 2
"""Copies whose memory is kept for later ones."""


@dataclass(frozen=True, slots=True)
class _Region:
    name: str
    key: str
    offset: int
    size: int
    fd: int

    def is_gone(self) -> bool:
        """Tell whether its file was removed: nobody new can come to it."""
        return os.fstat(self.fd).st_nlink == 0


class SharedMemory:
    """The regions that clients registered. Any thread; a region's file stays open while one reads it."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._regions: dict[str, _Region] = {}
        self._spare: list[NDArray[np.uint8]] = []

    def register(self, name: str, key: Any, offset: Any, size: Any) -> None:
        """Open a region. Raises RequestError: name taken, key not there, smaller than said, a line's.

        A line may have been killed: regions of it that are gone are forgotten here, others for want of room.
        """
        with self._lock:
            self._register(name, key, offset, size)

    def _register(self, name: str, key: Any, offset: Any, size: Any) -> None:
        if name in self._regions:
            raise RequestError(f"shared memory region {name!r} is registered already")
        self._forget_gone()
        if len(self._regions) >= MAX_REGIONS:
            raise RequestError(f"{MAX_REGIONS} regions are registered; unregister some first")
        plain = key.removeprefix("/") if isinstance(key, str) else ""
        if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}", plain):
            raise RequestError("`key` must be a plain name of POSIX shared memory, like /name")
        for number in (offset, size):
            if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 1 << 40:
                raise RequestError("`offset` and `byte_size` must be whole numbers from 0")
        of_line = plain.startswith(PREFIX) or name.startswith(PREFIX)
        if of_line and (name != plain or offset != 0):
            raise RequestError(
                f"memory of a line ({PREFIX}*) is registered by its own name, from offset 0",
                403,
                "forbidden",
            )
        fd = self._open(plain, os.O_RDONLY if of_line else os.O_RDWR)
        status = os.fstat(fd)
        if status.st_nlink > 1:  # which of its names tells whose it is?
            os.close(fd)
            raise RequestError(f"shared memory {key!r} has several names", 403, "forbidden")
        if not stat.S_ISREG(status.st_mode) or offset + size > status.st_size or size == 0:
            os.close(fd)
            raise RequestError(
                f"shared memory {key!r} has {status.st_size} bytes, "
                f"{size} from {offset} were to be registered"
            )
        self._regions[name] = _Region(name, key, offset, size, fd)

    def _forget_gone(self) -> None:
        full = len(self._regions) >= MAX_REGIONS
        for region in list(self._regions.values()):
            if (full or region.name.startswith(PREFIX)) and region.is_gone():
                del self._regions[region.name]
                os.close(region.fd)

    def unregister(self, name: str | None = None) -> None:
        """Close one region, or all. An unknown one is no error, as in Triton."""
        with self._lock:
            for known in [name] if name is not None else list(self._regions):
                region = self._regions.pop(known, None)
                if region is not None:
                    os.close(region.fd)

    def status(self, name: str | None = None) -> list[dict[str, Any]]:
        """Describe one region, or all. Raises RequestError when the one is unknown."""
        with self._lock:
            regions = [self._find(name)] if name is not None else list(self._regions.values())
        return [
            {"name": r.name, "key": r.key, "offset": r.offset, "byte_size": r.size} for r in regions
        ]

    def read(self, where: MemorySlice, shape: tuple[int, int, int, int]) -> NDArray[np.uint8]:
        """Return a copy of the images there; `give_back` it once nobody reads it any more.

        Raises:
            RequestError: outside the region, or the region became shorter.
        """
        with self._lock:
            region = self._inside(where)
            spare = next((one for one in self._spare if one.shape == shape), None)
            if spare is not None:
                self._spare = [one for one in self._spare if one is not spare]
            images = np.empty(shape, np.uint8) if spare is None else spare
            view = memoryview(images).cast("B")
            done = 0
            while done < where.size:
                got = os.preadv(region.fd, [view[done:]], region.offset + where.offset + done)
                if got == 0:
                    raise RequestError(f"shared memory region {where.region!r} became shorter")
                done += got
            return images

    def give_back(self, images: NDArray[np.uint8]) -> None:
        """Keep the memory of a copy for the next one: new memory is cleared page by page, which is slow."""
        with self._lock:
            self._spare = [images, *self._spare][:MAX_SPARE]

    def write(self, where: MemorySlice, value: NDArray[np.float32]) -> None:
        """Put an output there. Raises RequestError: no room, a line's, or the client made it read-only."""
        with self._lock:
            self._write(where, value)

    def _write(self, where: MemorySlice, value: NDArray[np.float32]) -> None:
        region = self._inside(where)
        if region.name.startswith(PREFIX):
            raise RequestError("memory of a line is read, never written", 403, "forbidden")
        if value.nbytes > where.size:
            raise RequestError(
                f"the output has {value.nbytes} bytes, there is room for {where.size}"
            )
        start = region.offset + where.offset
        if os.fstat(region.fd).st_size < start + value.nbytes:
            raise RequestError(f"shared memory region {where.region!r} became shorter")
        data = np.ascontiguousarray(value, "<f4").tobytes()
        try:
            written = os.pwrite(region.fd, data, start)
        except OSError as error:
            raise RequestError(
                f"shared memory region {where.region!r} cannot be written: {error}"
            ) from error
        if written != len(data):
            raise RequestError(f"shared memory region {where.region!r} took {written} bytes only")

    def close(self) -> None:
        """Give everything back."""
        self.unregister()

    def _open(self, plain: str, mode: int) -> int:
        flags = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            with contextlib.suppress(PermissionError):
                return os.open(self._folder / plain, mode | flags)
            return os.open(self._folder / plain, os.O_RDONLY | flags)
        except OSError as error:
            raise RequestError(
                f"shared memory /{plain} cannot be opened: {error.strerror}"
            ) from error

    def _find(self, name: str) -> _Region:
        try:
            return self._regions[name]
        except KeyError:
            raise RequestError(
                f"unknown shared memory region {name[:256]!r}; register it"
            ) from None

    def _inside(self, where: MemorySlice) -> _Region:
        region = self._find(where.region)
        if where.offset + where.size > region.size:
            raise RequestError(
                f"{where.size} bytes from {where.offset} are outside region {where.region!r}, "
                f"which has {region.size}"
            )
        return region
