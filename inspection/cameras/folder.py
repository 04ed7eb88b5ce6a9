"""A camera that shows the pictures of a folder: to replay real parts, to try a station without one.

Pictures come in the order of their names, shuffled, or by part id. A picture that is missing or
broken costs its part the inspection (NOT_INSPECTED); the camera goes on.
"""

from __future__ import annotations

import random
import re
import threading
import time
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from inspection.cameras.picture import MAX_PIXELS, SUFFIXES, decode_picture
from inspection.errors import CameraLostError, CameraTimeoutError, FrameError
from inspection.types import Frame, Reason, Trigger

_LEADING_NUMBER = re.compile(r"[0-9]+")


class FolderCameraConfig(BaseModel):
    """A folder of pictures as a camera."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["folder"] = "folder"
    name: str = Field("camera", min_length=1, max_length=64, description="name in rows and logs")
    path: Path = Field(description="folder with JPEG, PNG, BMP or TIFF files")
    pattern: str = Field(
        "*",
        min_length=1,
        description="which files, as a glob below the folder: `*.png`, `**/*` for subfolders too",
    )
    order: Literal["name", "part_id", "shuffled"] = Field(
        "name",
        description="name: one after the other; shuffled: in a random order that `seed` fixes;"
        " part_id: the file whose name, or the number it begins with, is the part id",
    )
    seed: int = Field(0, ge=0, lt=2**32, description="fixes the order of `shuffled`")
    repeat: bool = Field(True, description="begin again after the last picture (not for part_id)")
    exposure: float = Field(0.0, ge=0, le=60, description="seconds that a grab takes at least")
    max_pixels: int = Field(
        MAX_PIXELS, ge=1, le=2**31 - 1, description="pictures with more pixels are refused"
    )

    @field_validator("pattern")
    @classmethod
    def _inside(cls, pattern: str) -> str:
        if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
            raise ValueError(f"pattern {pattern!r} leaves the folder; set `path` instead")
        return pattern

    def beside(self, base: Path) -> FolderCameraConfig:
        """Return the same with a relative `path` taken from the folder `base`."""
        return self.model_copy(update={"path": base / self.path})

    def open(self) -> FolderCamera:
        """List the folder and return the camera.

        Raises:
            CameraLostError: the folder cannot be read, or no picture matches.
        """
        return FolderCamera(self)


class FolderCamera:
    """The opened folder; see `inspection.protocols.Camera` for the promises.

    Files are listed once, when it is opened. `frame_id` counts the pictures shown since then.

    Attributes:
        name: as configured.
        live: False: two equal pictures are no fault.
        probe_every: seconds between two probes while idle.
    """

    live = False
    probe_every = 2.0

    def __init__(self, config: FolderCameraConfig) -> None:
        self.name = config.name
        self._config = config
        self._closed = threading.Event()
        self._files = _list_pictures(config)
        self._by_part = _index_by_part(self._files) if config.order == "part_id" else {}
        if config.order == "shuffled":
            random.Random(config.seed).shuffle(self._files)
        self._shown = 0

    def grab(self, trigger: Trigger, timeout: float) -> Frame:
        """Read the next picture, or that of the part.

        Raises:
            FrameError: FRAME_INVALID: none for this part, none left, or it cannot be used.
        """
        started = time.monotonic()
        self._check_open()
        path = self._next(trigger)
        name = path.relative_to(self._config.path).as_posix()
        try:
            data = path.read_bytes()
        except OSError as error:
            raise FrameError(
                Reason.FRAME_INVALID,
                f"camera {self.name}: picture {name} cannot be read ({error.strerror});"
                " put it back or open the camera again",
            ) from error
        image = decode_picture(data, f"camera {self.name}: picture {name}", self._config.max_pixels)
        self._wait(started, timeout)
        return Frame(image, self._shown, started, self.name, source=name)

    def probe(self, timeout: float) -> None:  # noqa: ARG002 - nothing to wait for
        """Check that the folder is still there."""
        self._check_open()
        if not self._config.path.is_dir():
            raise CameraLostError(
                f"camera {self.name}: folder {self._config.path} is gone; bring it back"
            )

    def close(self) -> None:
        """Wake a waiting grab, which then raises CameraLostError."""
        self._closed.set()

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise CameraLostError(f"camera {self.name} is closed; open it again")

    def _next(self, trigger: Trigger) -> Path:
        number = self._shown
        self._shown += 1
        if self._config.order == "part_id":
            return self._of_part(trigger.part_id)
        if number >= len(self._files) and not self._config.repeat:
            raise FrameError(
                Reason.FRAME_INVALID,
                f"camera {self.name}: all {len(self._files)} pictures of {self._config.path} were"
                " shown; set `repeat: true` or open the camera again",
            )
        return self._files[number % len(self._files)]

    def _of_part(self, part_id: int) -> Path:
        files = self._by_part.get(part_id, [])
        if len(files) == 1:
            return files[0]
        found = f"{len(files)} pictures ({', '.join(file.name for file in files[:3])})"
        raise FrameError(
            Reason.FRAME_INVALID,
            f"camera {self.name}: part {part_id} has {found if files else 'no picture'} in"
            f" {self._config.path}; name one file {part_id}.png or {part_id}_anything.png",
        )

    def _wait(self, started: float, timeout: float) -> None:
        deadline, ready = started + timeout, started + self._config.exposure
        if self._closed.wait(max(0.0, min(ready, deadline) - time.monotonic())):
            raise CameraLostError(f"camera {self.name} was closed during a grab; open it again")
        if ready > deadline or time.monotonic() > deadline:
            raise CameraTimeoutError(
                f"camera {self.name}: the picture was not there in {timeout:.3f} s; give it more"
                " time, a shorter exposure or a faster disk"
            )


def _list_pictures(config: FolderCameraConfig) -> list[Path]:
    try:
        if not config.path.is_dir():
            raise CameraLostError(
                f"camera {config.name}: {config.path} is no folder; correct `path`"
            )
        found = [file for file in config.path.glob(config.pattern) if file.is_file()]
    except (OSError, ValueError) as error:
        raise CameraLostError(
            f"camera {config.name}: {config.path} cannot be listed with {config.pattern!r}"
            f" ({error}); correct `path` or `pattern`"
        ) from error
    files = sorted(file for file in found if file.suffix.lower() in SUFFIXES)
    if not files:
        raise CameraLostError(
            f"camera {config.name}: no picture in {config.path} matches {config.pattern!r};"
            f" known are {', '.join(sorted(SUFFIXES))}"
        )
    return files


def _index_by_part(files: list[Path]) -> dict[int, list[Path]]:
    """Return part id to its files: those named by the number alone go first and stand alone."""
    exact: dict[int, list[Path]] = {}
    leading: dict[int, list[Path]] = {}
    for file in files:
        match = _LEADING_NUMBER.match(file.stem)
        if match is not None:
            index = exact if match.end() == len(file.stem) else leading
            index.setdefault(int(match.group()), []).append(file)
    return leading | exact
