"""A camera that renders the part of each trigger, with faults that can be switched on.

    trigger ─▶ part number ─▶ scene (seed, part) ─▶ exposure + fresh noise ─▶ fault? ─▶ Frame

The part on the belt follows from seed and part id alone: `truth_of` knows it without a camera. The
*device* outlives its openings, as a real one does: it counts grabs and remembers that it was
unplugged. One config object is one device.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator

from inspection.cameras.faults import Fault, FaultPlan, parse_schedule
from inspection.cameras.plate import BASE_SIZE, Box
from inspection.cameras.render import (
    CLASSES,
    MAX_SIZE,
    MIN_SIZE,
    Scene,
    choose_defects,
    draw_scene,
    expose,
)
from inspection.errors import CameraLostError, CameraTimeoutError, FrameError
from inspection.types import Frame, Image, Reason, Trigger

_log = logging.getLogger(__name__)

_STREAM = 2  # keeps these parts apart from those of the demo's labelled set
_NOISE_STREAM = 3
_MARKS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
_OTHER_MARK = (255, 0, 255)
_BLANKS = {"black": (0, 3), "white": (253, 256), "flat": (127, 130)}  # grey levels, upper exclusive


def truth_of(seed: int, part_id: int, defect_rate: float) -> dict[str, int]:
    """Return what is wrong with a part of the simulated camera: class to count; empty: good."""
    return dict(Counter(choose_defects(_part_rng(seed, part_id), defect_rate)))


class SimulatedCameraConfig(BaseModel):
    """A simulated camera. Open it again after a fault with the same object: it is the device."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["simulated"] = "simulated"
    name: str = Field("camera", min_length=1, max_length=64, description="name in rows and logs")
    size: tuple[int, int] = Field(BASE_SIZE, description="width and height, pixels, each 64..8192")
    seed: int = Field(1, ge=0, lt=2**32, description="which parts come; another seed, other parts")
    defect_rate: float = Field(0.2, ge=0, le=1, description="share of parts with a defect, 0..1")
    exposure: float = Field(
        0.01, ge=0, le=60, description="seconds from trigger to frame; at least the rendering time"
    )
    marks: bool = Field(
        False,
        description="paint each defect's box in the pure colour of its class (0 red, 1 green,"
        " 2 blue, others magenta), to commission a station with a marker model",
    )
    faults: tuple[str, ...] = Field(
        (), description="faults by number of the grab, from 1: `frozen@12`, `late@20:0.8` (seconds)"
    )
    control: Path | None = Field(
        None,
        description="file looked for at each grab and taken away: one fault a line, for the next"
        " grabs in order; write it under another name and rename it",
    )

    _device: _Device | None = PrivateAttr(None)
    _making: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    @field_validator("size")
    @classmethod
    def _bounded(cls, size: tuple[int, int]) -> tuple[int, int]:
        if not all(MIN_SIZE <= value <= MAX_SIZE for value in size):
            raise ValueError(f"size {size} is out of bounds; each is {MIN_SIZE}..{MAX_SIZE} pixels")
        return size

    @field_validator("faults")
    @classmethod
    def _parsable(cls, faults: tuple[str, ...]) -> tuple[str, ...]:
        parse_schedule(faults)
        return faults

    def beside(self, base: Path) -> SimulatedCameraConfig:
        """Return the same with a relative `control` taken from the folder `base`."""
        control = self.control and base / self.control
        return self.model_copy(update={"control": control})

    def open(self) -> SimulatedCamera:
        """Return the opened camera.

        Raises:
            CameraLostError: the fault `disconnect` still lasts.
        """
        with self._making:
            if self._device is None:
                self._device = _Device(FaultPlan(self.faults, self.control))
        return SimulatedCamera(self, self._device)


class _Device:
    """What outlives an opening of the camera: counters, faults, and whether it is plugged in."""

    def __init__(self, plan: FaultPlan) -> None:
        self.plan = plan
        self._grabs = 0
        self._exposures = 0
        self._absent_until = 0.0
        self._frozen: tuple[float, Image] | None = None
        self._lock = threading.Lock()

    def next_grab(self) -> int:
        with self._lock:
            self._grabs += 1
            return self._grabs

    def next_exposure(self) -> int:
        with self._lock:
            self._exposures += 1
            return self._exposures

    def unplug(self, seconds: float) -> None:
        self._absent_until = time.monotonic() + seconds

    def freeze(self, image: Image, seconds: float) -> None:
        self._frozen = (time.monotonic() + seconds, image)

    def frozen(self) -> Image | None:
        """The image that the sensor is stuck with; None when it is not."""
        frozen = self._frozen
        return frozen[1] if frozen is not None and time.monotonic() < frozen[0] else None

    def absent(self) -> float:
        """Seconds until the device is back; 0 when it is there."""
        return max(0.0, self._absent_until - time.monotonic())


@dataclass(frozen=True, slots=True)
class _Shot:
    scene: Scene
    frame: Frame


class SimulatedCamera:
    """The opened simulated camera; see `inspection.protocols.Camera` for the promises.

    `frame_id` counts the exposures since it was opened, those of `probe` included. The scene is
    rendered while the exposure lasts; where rendering takes longer (about 10 ms at 320 x 256, a
    second at 2448 x 2048) the frame comes later, and the log says so once.

    Attributes:
        name: as configured.
        live: True.
        probe_every: seconds between two probes while idle.
    """

    live = True
    probe_every = 2.0

    def __init__(self, config: SimulatedCameraConfig, device: _Device) -> None:
        self.name = config.name
        self._config = config
        self._device = device
        self._closed = threading.Event()
        self._lost = False
        self._frame_id = 0
        self._last: _Shot | None = None
        self._told_slow = False
        self._check_present()

    def fault(self, text: str) -> None:
        """Give the next grab a fault: `black`, `late:0.8`. Raises ValueError when unknown."""
        self._device.plan.add(text)

    def grab(self, trigger: Trigger, timeout: float) -> Frame:
        """Expose the part of this trigger; a trigger without part id gets the grab's number."""
        deadline = time.monotonic() + timeout
        self._check_present()
        number = self._device.next_grab()
        fault = self._device.plan.take(number) or Fault("")
        if fault.name == "disconnect":
            self._device.unplug(fault.seconds)
            self._lost = True
        self._check_present()
        started = time.monotonic()
        shot = self._expose(trigger.part_id or number, started)
        self._tell_if_slow(time.monotonic() - started)
        self._delay(fault, started, deadline)
        if fault.name == "frozen" and self._last is not None:
            self._device.freeze(self._last.frame.image, fault.seconds)
        frame = self._spoil(fault.name, shot, trigger)
        self._last = _Shot(shot.scene, frame)
        return frame

    def probe(self, timeout: float) -> None:
        """Wait for one exposure. Faults by number are not used up."""
        self._check_present()
        started = time.monotonic()
        self._frame_id += 1
        self._wait_until(started + self._config.exposure, started + timeout)

    def close(self) -> None:
        """Wake a waiting grab, which then raises CameraLostError. A hang goes on."""
        self._closed.set()

    def _check_present(self) -> None:
        absent = self._device.absent()
        if absent or self._lost:
            self._lost = True
            raise CameraLostError(
                f"camera {self.name}: the simulated device is unplugged for another {absent:.1f} s;"
                " close the camera and open it again"
            )
        if self._closed.is_set():
            raise CameraLostError(f"camera {self.name} is closed; open it again")

    def _tell_if_slow(self, rendering: float) -> None:
        if rendering > max(self._config.exposure, 0.02) and not self._told_slow:
            self._told_slow = True
            _log.warning(
                "camera %s: rendering took %.0f ms, longer than the exposure; use a smaller size",
                *(self.name, rendering * 1000),
            )

    def _delay(self, fault: Fault, started: float, deadline: float) -> None:
        if fault.name == "hang":
            threading.Event().wait(fault.seconds)  # deaf to timeout and close
            return
        ready = started + self._config.exposure
        if fault.name == "late":
            ready += fault.seconds
        if fault.name == "lost":
            ready = deadline + 1.0
        self._wait_until(ready, deadline)

    def _wait_until(self, moment: float, deadline: float) -> None:
        """Wait until `moment` or raise: CameraTimeoutError after `deadline`, CameraLostError."""
        if self._closed.wait(max(0.0, min(moment, deadline) - time.monotonic())):
            raise CameraLostError(f"camera {self.name} was closed while it exposed; open it again")
        if moment > deadline or time.monotonic() > deadline:
            raise CameraTimeoutError(
                f"camera {self.name} delivered no frame in time; give it more time or see the log"
            )

    def _expose(self, part: int, started: float) -> _Shot:
        config = self._config
        self._frame_id += 1
        rng = _part_rng(config.seed, part)
        defects = choose_defects(rng, config.defect_rate)
        scene = draw_scene(rng, config.size, defects)
        image = self._sensor(scene, part)
        truth = dict(Counter(defects))
        return _Shot(scene, Frame(image, self._frame_id, started, self.name, f"part {part}", truth))

    def _sensor(self, scene: Scene, part: int) -> Image:
        noise = [_NOISE_STREAM, self._config.seed, part, self._device.next_exposure()]
        image = expose(np.random.default_rng(noise), scene.light)
        if self._config.marks:
            paint_marks(image, scene.boxes)
        return image

    def _spoil(self, fault: str, shot: _Shot, trigger: Trigger) -> Frame:
        """Return the frame as the fault leaves it. `truth` stays that of the part on the belt."""
        frame, previous = shot.frame, self._last
        if fault == "truncated":
            raise FrameError(
                Reason.FRAME_INVALID,
                f"camera {self.name}: frame {frame.frame_id} is incomplete; check cable and network",
            )
        if fault in _BLANKS:
            levels = np.random.default_rng(frame.frame_id).integers(
                *_BLANKS[fault], frame.image.shape, np.uint8 if fault != "white" else np.int16
            )
            return replace(frame, image=levels.astype(np.uint8))
        if fault == "wrong_size":
            return replace(frame, image=np.ascontiguousarray(frame.image[::2, ::2]))
        if fault == "stale":
            scene = previous.scene if previous else shot.scene
            old = trigger.seen_mono - 0.5
            return replace(frame, image=self._sensor(scene, 0), exposed_mono=old)
        if fault == "frozen" and previous:
            return replace(frame, image=previous.frame.image.copy())
        stuck = self._device.frozen()
        if stuck is not None:
            return replace(frame, image=stuck.copy())
        if fault == "repeated" and previous:
            self._frame_id -= 1
            return replace(frame, frame_id=previous.frame.frame_id)
        return frame


def paint_marks(image: Image, boxes: list[Box]) -> None:
    """Fill each box with its class's pure colour, in place; the lower class lies on top.

    A box under 1/16 of the image's width is filled up to that, so that no mark is too small to see.
    """
    least = image.shape[1] / 16
    for box in sorted(boxes, key=lambda box: -CLASSES.index(box.name)):
        index = CLASSES.index(box.name)
        colour = _MARKS[index] if index < len(_MARKS) else _OTHER_MARK
        across = max(0.0, least - (box.x2 - box.x1)) / 2
        down = max(0.0, least - (box.y2 - box.y1)) / 2
        top, bottom = max(0, round(box.y1 - down)), round(box.y2 + down)
        left, right = max(0, round(box.x1 - across)), round(box.x2 + across)
        image[top:bottom, left:right] = colour


def _part_rng(seed: int, part_id: int) -> np.random.Generator:
    return np.random.default_rng([_STREAM, seed, part_id])
