"""Pictures to the site's folder, before the row that names them goes.

    file of the station ─▶ .NAME.part in the site's folder, hashed on the way ─▶ fsync ─▶ NAME

A file that is there is whole and is left alone, so a copy that was cut goes on with the next file.
"""

from __future__ import annotations

import hashlib
import logging
import os
from contextlib import suppress
from pathlib import Path

from inspection.store.rows import Values, stored_images
from inspection.types import StoredImage
from inspection_serve.upward.link import AwayError

_PIECE = 1 << 20
log = logging.getLogger("inspection.upward")


class Pictures:
    """Copies the pictures of parts; without a folder of the site, none. Used by one thread."""

    def __init__(self, station: Path, site: Path | None) -> None:
        self._station, self._site = station, site

    def carry(self, row: Values) -> None:
        """Copy the files that a part's row claims, as far as the station has them.

        Raises:
            AwayError: the site's folder cannot be written.
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
        if ".." in Path(image.path).parts or Path(image.path).is_absolute():
            log.error("picture %r lies outside the folder; it is not copied", image.path)
            return
        part = target.with_name(f".{target.name}.part")
        try:
            if target.exists():
                return
            try:
                source = (self._station / image.path).open("rb")
            except FileNotFoundError:
                log.warning("picture %s is gone at the station; it is not copied", image.path)
                return
            with source:
                target.parent.mkdir(parents=True, exist_ok=True)
                digest = hashlib.sha256()
                with part.open("wb") as file:
                    while piece := source.read(_PIECE):
                        digest.update(piece)
                        file.write(piece)
                    file.flush()
                    os.fsync(file.fileno())
            if digest.hexdigest() != image.sha256:
                log.error("picture %s was altered at the station; it is not copied", image.path)
                part.unlink()
                return
            part.rename(target)
        except OSError as error:
            with suppress(OSError):  # it is written anew at the next attempt
                part.unlink(missing_ok=True)
            raise AwayError(f"picture {target} cannot be written: {error}") from error
