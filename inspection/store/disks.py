"""Whether the disks of the store and of its pictures take what a station writes."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from inspection.errors import StoreError
from inspection.store.config import ImagesConfig, StoreConfig
from inspection.store.lock import whose

MIN_FREE = 4 << 20
"""Free bytes below which the store says so before a commit fails."""


def free_bytes(folder: Path) -> tuple[int, int]:
    """Return the free bytes of a folder's volume for who asks, and its size. Raises OSError."""
    volume = os.statvfs(folder)
    return volume.f_bavail * volume.f_frsize, volume.f_blocks * volume.f_frsize


def wanted_free(images: ImagesConfig, total: int) -> float:
    """Return the bytes that are to stay free on the pictures' volume of this size."""
    return max(images.min_free_gb * 1e9, images.min_free_percent / 100 * total)


def is_short(images: ImagesConfig) -> bool:
    """Tell whether the pictures' volume has less room than is to stay free. Raises OSError."""
    free, total = free_bytes(images.folder)
    return free < wanted_free(images, total)


def check_store(config: StoreConfig) -> None:
    """Raise StoreError when the line could not write its store and journal; leaves nothing behind."""
    folders = {config.journal_path.parent}
    if config.sqlite_path is not None:
        folders.add(config.sqlite_path.parent)
    for folder in sorted(folders):
        check_folder(folder)
    for path in (config.sqlite_path, config.journal_path):
        if (
            path is not None
            and path.exists()
            and not os.access(path, os.R_OK | os.W_OK, effective_ids=True)
        ):
            raise StoreError(f"{path} cannot be written: {whose(path)}")


def check_folder(folder: Path) -> Path:
    """Return the folder, or where it would be made, when files can be written there.

    Raises:
        StoreError: it is full, read-only, or somebody else's.
    """
    there = _nearest(folder)
    try:
        with tempfile.TemporaryFile(dir=there):
            free, _ = free_bytes(there)
    except PermissionError as error:
        raise StoreError(f"nothing can be written to {there}: {whose(there)}") from error
    except OSError as error:
        raise StoreError(f"nothing can be written to {there}: {error}; check the disk") from error
    if free < MIN_FREE:
        raise StoreError(f"the disk of {there} is full; free some space")
    return there


def room_for_copy(config: StoreConfig, folder: Path) -> int:
    """Return how many bytes a copy in this folder may have before new pictures lose their room.

    Raises:
        OSError: nobody knows.
    """
    free, total = free_bytes(folder)
    if os.stat(folder).st_dev == os.stat(_nearest(config.images.folder)).st_dev:
        free -= int(wanted_free(config.images, total))
    return free


def _nearest(folder: Path) -> Path:
    return next((path for path in (folder, *folder.absolute().parents) if path.exists()), folder)
