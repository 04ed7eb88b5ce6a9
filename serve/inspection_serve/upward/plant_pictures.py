"""Pictures to the site's folder, before the row that names them goes.

    file of the station ─▶ .NAME.part in the site's folder, hashed on the way ─▶ fsync ─▶ NAME

A file that is there with the right hash is left alone, so a copy that was cut goes on with the next file. A
file that the station cannot read is left out, as one that is gone: one bad sector must not stop what is told.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from inspection.errors import InspectionError
from inspection.store.rows import Values, stored_images
from inspection.types import StoredImage
from inspection_serve.upward.link import AwayError

_PIECE = 1 << 20
_BUSY = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN}
"""Errors that speak of this process or PC, not of the file."""
log = logging.getLogger("inspection.upward")


class _UnreadableError(InspectionError):
    """The station does not have a file any more, or cannot read it."""


class Pictures:
    """Copies the pictures of parts; without a folder of the site, none. Used by one thread."""

    def __init__(self, station: Path, site: Path | None) -> None:
        self._station, self._site = station, site

    def carry(self, row: Values) -> None:
        """Copy the files that a part's row claims, as far as the station has them.

        Raises:
            AwayError: the site's folder cannot be read or written, or no file of this PC can be opened now.
        """
        if self._site is None or row["image_state"] != "saved":
            return
        try:
            images = stored_images(row["images"])
        except (KeyError, TypeError, ValueError) as error:
            log.error("record %s: its list of pictures is malformed: %r", row["id"], error)
            return
        if not self._site.is_dir():
            raise AwayError(f"picture folder {self._site} is not there; mount it, or make it")
        for image in images:
            self._copy(self._site, image)

    def _copy(self, site: Path, image: StoredImage) -> None:
        target = site / image.path
        if _lies_outside(image.path):
            log.error("picture %r lies outside the folder; it is not copied", image.path)
            return
        part = target.with_name(f".{target.name}.part")
        try:
            if _is_there(target, image.sha256):
                return
            with self._opened(image) as source:
                target.parent.mkdir(parents=True, exist_ok=True)
                digest = _pour(source, part)
            if digest == image.sha256:
                part.rename(target)
                return
            log.error("picture %s was altered at the station; it is not copied", image.path)
        except _UnreadableError as error:
            log.error("picture %s: %s; it is not copied", self._station / image.path, error)
        except OSError as error:
            with suppress(OSError):  # it is written anew at the next attempt
                part.unlink(missing_ok=True)
            raise AwayError(f"picture {target} cannot be written: {error}") from error
        with suppress(OSError):
            part.unlink(missing_ok=True)

    def _opened(self, image: StoredImage) -> BinaryIO:
        try:
            return (self._station / image.path).open("rb")
        except FileNotFoundError as error:
            raise _UnreadableError("it is gone at the station") from error
        except OSError as error:
            raise _unreadable(error) from error


def _lies_outside(path: str) -> bool:
    return ".." in Path(path).parts or Path(path).is_absolute() or "\0" in path


def _is_there(target: Path, sha256: str) -> bool:
    """Tell whether the site has this picture; another one under its name is replaced."""
    try:
        with target.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return False
    except IsADirectoryError as error:
        raise _UnreadableError("a folder has its name at the site") from error
    except (
        OSError
    ) as error:  # what nobody can read there is replaced; a folder that is away fails there
        log.warning("picture %s cannot be read at the site: %s; it is copied again", target, error)
        return False
    if found != sha256:
        log.warning("picture %s was altered at the site; it is copied again", target)
    return found == sha256


def _pour(source: BinaryIO, part: Path) -> str:
    """Write a file of the station to the site's disk; return the hash of what was read."""
    digest = hashlib.sha256()
    with part.open("wb") as file:
        while piece := _read(source):
            digest.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _read(source: BinaryIO) -> bytes:
    try:
        return source.read(_PIECE)
    except OSError as error:
        raise _unreadable(error) from error


def _unreadable(error: OSError) -> InspectionError:
    """Return what an error of the station's disk means: this file is lost, or nothing can be read now."""
    if error.errno in _BUSY:
        return AwayError(f"pictures of the station cannot be read now: {error}")
    return _UnreadableError(f"it cannot be read at the station: {error}")
