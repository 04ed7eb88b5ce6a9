"""Copies of pictures that the book keeps: `book/SHA256.jpg` in the site's work folder, never deleted."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from inspection.types import StoredImage
from inspection_serve.web.pictures.files import PictureError

FOLDER = "book"


def copy_picture(work: Path, file: StoredImage, data: bytes) -> str:
    """Write a copy durably and return its name in the folder; an equal one is left as it is.

    Args:
        work: the site's work folder.
        file: what the store says of the picture; its sha256 was compared with `data`.
        data: the file's bytes.

    Raises:
        PictureError: the disk refused; nothing is left behind.
    """
    name = f"{file.sha256}{Path(file.path).suffix.lower()}"
    target = work / FOLDER / name
    temporary: Path | None = None
    try:
        if target.is_file() and target.stat().st_size == len(data) and target.read_bytes() == data:
            return name
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as opened:
            temporary = Path(opened.name)
            opened.write(data)
            opened.flush()
            os.fsync(opened.fileno())
        temporary.replace(target)
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise PictureError(507, "not_written") from error
    return name
