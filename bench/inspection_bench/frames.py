"""Frames of the simulated camera, rendered beforehand: rendering costs neither side.

    FOLDER/rgb-0.npy …    what our camera hands out        FOLDER/bgr-0.npy …   what a cv2 camera would

Part N is shown frame N modulo their number, on both sides.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from inspection.cameras.simulated import SimulatedCameraConfig
from inspection.part import utc_now
from inspection.types import Frame, Image, PartKey, Trigger

SEED = 5
"""Of the first six parts three are defective, of the first four two."""
DEFECT_RATE = 0.5


def prepare_frames(
    folder: Path, size: tuple[int, int], number: int, orders: tuple[str, ...] = ("rgb", "bgr")
) -> Path:
    """Render `number` frames of (height, width) pixels into a folder, where they are not there yet.

    `orders` are those of the channels that are wanted: rgb, bgr or both.
    """
    height, width = size
    folder = folder / f"{width}x{height}-{SEED}"
    folder.mkdir(parents=True, exist_ok=True)
    config = SimulatedCameraConfig(
        size=(width, height), seed=SEED, defect_rate=DEFECT_RATE, exposure=0
    )
    camera = config.open()
    for index in range(number):
        files = {order: folder / f"{order}-{index}.npy" for order in orders}
        if all(file.exists() for file in files.values()):
            continue
        now = time.monotonic()
        trigger = Trigger(PartKey("bench", 1, 1), index + 1, "", now, utc_now(), now + 60.0)
        image = camera.grab(trigger, 60.0).image
        for order, file in files.items():
            np.save(file, image if order == "rgb" else np.ascontiguousarray(image[..., ::-1]))
    camera.close()
    return folder


def load_frames(folder: Path, order: str = "rgb") -> list[Image]:
    """Return the frames of a folder, uint8 [H, W, 3], in memory; `order` is rgb or bgr."""
    paths = sorted(folder.glob(f"{order}-*.npy"), key=lambda path: int(path.stem[4:]))
    return [np.load(path) for path in paths]


class PreparedCameraConfig(BaseModel):
    """A camera whose frames lie in memory, as after a grabber's transfer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path = Field(description="folder that `prepare_frames` made")

    def open(self) -> PreparedCamera:
        """Return the opened camera."""
        return PreparedCamera(load_frames(self.folder))


class PreparedCamera:
    """Hands out its frames by part id; see `inspection.protocols.Camera`. It checks as a sensor does."""

    name = "prepared"
    live = True
    probe_every = 2.0

    def __init__(self, images: list[Image]) -> None:
        self._images = images
        self._count = 0

    def grab(self, trigger: Trigger, timeout: float) -> Frame:  # noqa: ARG002
        """Return the frame of this part, exposed now."""
        self._count += 1
        image = self._images[trigger.part_id % len(self._images)]
        return Frame(image, self._count, time.monotonic(), self.name)

    def probe(self, timeout: float) -> None:
        """It always delivers."""

    def close(self) -> None:
        """Nothing is held."""
