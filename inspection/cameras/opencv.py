"""Cameras that OpenCV can open: USB cameras, network streams, video files.

    device ─▶ reader thread: read, read, read … keeps the latest ─▶ grab: the first fresh one
       ▲                          │                                       after the trigger
       └── reopen, back off ◀─────┘

**What can be promised without hardware time stamps.** OpenCV tells neither when a frame was exposed
nor its number in the camera. Frames wait in buffers of driver and network, so the next frame read
after a trigger may be old. Four things are done about it: a thread reads all the time, so that
buffers stay empty; only a frame whose read *began* after the trigger was seen counts; and only one
whose read had to *wait*, because a frame that comes at once was waiting in a buffer; then `flush`
more frames are thrown away, because the first was perhaps exposed while the trigger came.
`exposed_mono` is the begin of the frame's read. With flush 1 the exposure began after the trigger if
the camera runs freely and holds one frame at most; raise `flush` for one that holds more. For
verdicts on moving parts use a camera with a hardware trigger and time stamps. A network stream
(RTSP) has an unknown delay inside the camera: use it to watch, not to inspect. `frame_id` counts
what the driver delivered; a frozen camera is found by its identical pictures. A picture that the
decoder patched up after lost packets cannot be told from a good one.
"""

from __future__ import annotations

import itertools
import logging
import os
import re
import statistics
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from inspection.errors import CameraError, CameraLostError, CameraTimeoutError, FrameError
from inspection.types import Frame, Image, Reason, Trigger

_log = logging.getLogger(__name__)

_BACKENDS = {
    "auto": cv2.CAP_ANY,
    "v4l2": cv2.CAP_V4L2,
    "ffmpeg": cv2.CAP_FFMPEG,
    "gstreamer": cv2.CAP_GSTREAMER,
    "msmf": cv2.CAP_MSMF,
    "dshow": cv2.CAP_DSHOW,
}
_FFMPEG_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
_RTSP_OVER_TCP = "rtsp_transport;tcp"
_AT_ONCE = 0.0005  # seconds: a read this short found its frame in a buffer
_JOIN = 1.0  # seconds that close() waits for the reader


class OpenCvCameraConfig(BaseModel):
    """A camera, stream or video file opened by OpenCV."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["opencv"] = "opencv"
    name: str = Field("camera", min_length=1, max_length=64, description="name in rows and logs")
    source: int | str = Field(
        description="number of the device (0), its path (/dev/video0), the address of a stream"
        " (rtsp://, http://), or the path of a video file"
    )
    width: int | None = Field(None, ge=1, le=16384, description="pixels to ask the device for")
    height: int | None = Field(None, ge=1, le=16384, description="pixels to ask the device for")
    fps: float | None = Field(None, gt=0, le=1000, description="frames a second to ask for")
    fourcc: str | None = Field(
        None, pattern=r"^[ -~]{4}$", description="pixel format to ask the device for: MJPG, YUYV"
    )
    backend: Literal["auto", "v4l2", "ffmpeg", "gstreamer", "msmf", "dshow"] = Field(
        "auto", description="OpenCV's backend; auto: ffmpeg for streams and files"
    )
    timeout: float = Field(
        5.0, ge=0.1, le=60, description="seconds for opening, and for one read of a stream"
    )
    flush: int = Field(
        1, ge=0, le=32, description="frames thrown away after a trigger: those in buffers"
    )
    retry: float = Field(
        0.5, ge=0.01, le=60, description="seconds before the first reconnection; then doubled"
    )
    retry_max: float = Field(10.0, ge=0.01, le=600, description="longest wait, seconds")
    loop: bool = Field(True, description="video files: begin again after the last frame")

    @field_validator("source")
    @classmethod
    def _plausible(cls, source: int | str) -> int | str:
        if source == "" or (isinstance(source, int) and source < 0):
            raise ValueError("source is empty or negative; give a device number, path or address")
        return source

    def beside(self, base: Path) -> OpenCvCameraConfig:
        """Return the same with a relative file path taken from the folder `base`."""
        if isinstance(self.source, int) or self.live:
            return self
        return self.model_copy(update={"source": str(base / self.source)})

    @property
    def shown(self) -> str:
        """The source as it may be told: without the password of an address."""
        return re.sub(r"//[^/@]*@", "//", str(self.source))

    @property
    def live(self) -> bool:
        """True for devices and streams, False for video files."""
        return (
            isinstance(self.source, int) or "://" in self.source or self.source.startswith("/dev/")
        )

    def open(self) -> StreamCamera | VideoFileCamera:
        """Return the camera when it delivered a first frame.

        Raises:
            CameraLostError: it cannot be opened, or delivers nothing within `timeout`.
        """
        return StreamCamera(self) if self.live else VideoFileCamera(self)


@dataclass(frozen=True, slots=True)
class _Read:
    """One frame of the driver.

    Attributes:
        image: BGR, as the driver gave it.
        number: its count.
        began: when its read began, monotonic.
        ended: when its read returned.
        waited: the read had to wait for it: it came from no buffer.
    """

    image: np.ndarray
    number: int
    began: float
    ended: float
    waited: bool


class _Pace:
    """Tells whether a read had to wait, from the usual time between frames."""

    def __init__(self) -> None:
        self._ends: deque[float] = deque(maxlen=62)

    def waited(self, began: float, ended: float) -> bool:
        self._ends.append(ended)
        gaps = [later - sooner for sooner, later in itertools.pairwise(self._ends)]
        usual = statistics.median(gaps) if len(gaps) >= 3 else 0.0
        return ended - began >= max(_AT_ONCE, usual / 2)


class StreamCamera:
    """A device or network stream; see `inspection.protocols.Camera` for the promises.

    The reader thread reconnects by itself; while it does so, `grab` and `probe` raise
    CameraLostError when their time is over. A read that never returns is left behind by `close`.

    Attributes:
        name: as configured.
        live: True.
        probe_every: seconds between two probes while idle.
    """

    live = True
    probe_every = 2.0

    def __init__(self, config: OpenCvCameraConfig) -> None:
        self.name = config.name
        self._config = config
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._latest: _Read | None = None
        self._trouble = "it is being opened"
        self._thread = threading.Thread(target=self._run, name=f"camera {self.name}", daemon=True)
        self._thread.start()
        try:
            self._await_read(-1.0, time.monotonic() + config.timeout)
        except CameraError as error:
            self.close()
            raise CameraLostError(str(error)) from error

    def grab(self, trigger: Trigger, timeout: float) -> Frame:
        """Return the first fresh frame after the trigger, less `flush`; see the module's text."""
        deadline = time.monotonic() + timeout
        read = self._await_read(trigger.seen_mono, deadline)
        for _ in range(self._config.flush):
            read = self._await_read(read.ended, deadline)
        image = _to_rgb(read.image, self._config)
        return Frame(image, read.number, read.began, self.name, source=self._config.shown)

    def probe(self, timeout: float) -> None:
        """Return when a frame came whose read began now."""
        now = time.monotonic()
        self._await_read(now, now + timeout)

    def close(self) -> None:
        """Stop the reader; waits one second at most for it to let the device go."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join(_JOIN)

    def _await_read(self, not_before: float, deadline: float) -> _Read:
        """Return the latest frame once its read began at or after `not_before` and had to wait."""
        with self._changed:
            while True:
                if self._stop.is_set():
                    raise CameraLostError(f"camera {self.name} is closed; open it again")
                latest = self._latest
                if latest is not None and latest.waited and latest.began >= not_before:
                    return latest
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            if self._trouble:
                raise CameraLostError(
                    f"camera {self.name} ({self._config.shown}): {self._trouble};"
                    " check power, cable and that no other program uses it"
                )
            raise CameraTimeoutError(
                f"camera {self.name} ({self._config.shown}) delivered no frame in time; the read"
                " hangs or the frame rate is too low for this timeout"
            )

    def _run(self) -> None:
        wait = self._config.retry
        while not self._stop.is_set():
            capture = _open_capture(self._config)
            if not capture.isOpened():
                self._publish(self._latest, "it cannot be opened")
            elif self._read_all(capture):
                wait = self._config.retry
            capture.release()
            if self._stop.wait(wait):
                break
            wait = min(wait * 2, self._config.retry_max)

    def _read_all(self, capture: cv2.VideoCapture) -> bool:
        """Read until the device fails or the camera is closed; tell whether any frame came."""
        number = self._latest.number if self._latest else 0
        first, pace = number, _Pace()
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                done, image = capture.read()
            except cv2.error as error:
                _log.warning("camera %s: %s", self.name, error.err)
                done, image = False, None
            if not done or image is None:
                break
            number += 1
            ended = time.monotonic()
            self._publish(_Read(image, number, began, ended, pace.waited(began, ended)), "")
        if not self._stop.is_set():
            _log.warning("camera %s: the stream broke off; connecting again", self.name)
            self._publish(self._latest, "the connection was lost and is being made again")
        return number > first

    def _publish(self, read: _Read | None, trouble: str) -> None:
        with self._changed:
            self._latest, self._trouble = read, trouble
            self._changed.notify_all()


class VideoFileCamera:
    """A video file: each grab is the next frame, none is left out.

    Attributes:
        name: as configured.
        live: False: equal pictures are no fault.
        probe_every: seconds between two probes while idle.
    """

    live = False
    probe_every = 2.0

    def __init__(self, config: OpenCvCameraConfig) -> None:
        self.name = config.name
        self._config = config
        self._closed = False
        self._using = threading.Lock()
        self._number = 0
        if not Path(str(config.source)).is_file():
            raise CameraLostError(
                f"camera {self.name}: {config.source} is no file; correct `source`"
            )
        self._capture = _open_capture(config)
        if not self._capture.isOpened():
            raise CameraLostError(
                f"camera {self.name}: {config.source} is no video that OpenCV can read;"
                " convert it to MP4 or AVI"
            )

    def grab(self, trigger: Trigger, timeout: float) -> Frame:  # noqa: ARG002 - the file decides
        """Return the next frame.

        Raises:
            FrameError: FRAME_INVALID: the file has no further frame, or none at all.
            CameraTimeoutError: reading took longer than `timeout`.
        """
        began = time.monotonic()
        with self._using:
            if self._closed:
                raise CameraLostError(f"camera {self.name} is closed; open it again")
            image = self._read_next()
            self._number += 1
            number = self._number
        if time.monotonic() - began > timeout:
            raise CameraTimeoutError(
                f"camera {self.name}: reading a frame of {self._config.source} took longer than"
                f" {timeout:.3f} s; give it more time"
            )
        return Frame(_to_rgb(image, self._config), number, began, self.name, f"frame {number}")

    def probe(self, timeout: float) -> None:  # noqa: ARG002 - nothing to wait for
        """Check that the file is still there."""
        if self._closed or not Path(str(self._config.source)).is_file():
            raise CameraLostError(
                f"camera {self.name}: {self._config.source} is closed or gone; open it again"
            )

    def close(self) -> None:
        """Release the file; a running grab ends first, or is left alone after one second."""
        self._closed = True
        if self._using.acquire(timeout=_JOIN):
            self._capture.release()
            self._using.release()

    def _read_next(self) -> np.ndarray:
        done, image = self._capture.read()
        if not done and self._config.loop and self._number > 0:
            self._capture.release()
            self._capture = _open_capture(self._config)
            done, image = self._capture.read()
        if not done:
            raise FrameError(
                Reason.FRAME_INVALID,
                f"camera {self.name}: {self._config.source} has no further frame; set `loop: true`"
                " or open the camera again",
            )
        return image


def _open_capture(config: OpenCvCameraConfig) -> cv2.VideoCapture:
    """Return a capture, opened or not; never raises."""
    source, backend = config.source, _BACKENDS[config.backend]
    options: list[int] = []
    if isinstance(source, str) and config.backend == "auto" and not source.startswith("/dev/"):
        backend = cv2.CAP_FFMPEG
    if backend == cv2.CAP_FFMPEG:
        limit = round(config.timeout * 1000)
        options = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit]
        # the user's own setting wins; UDP would lose packets and smear the picture
        os.environ.setdefault(_FFMPEG_OPTIONS, _RTSP_OVER_TCP)
    try:
        capture = cv2.VideoCapture(source, backend, options)
        if config.live:
            _ask_device(capture, config)
    except cv2.error as error:
        _log.warning("camera %s: %s", config.name, error.err)
        return cv2.VideoCapture()
    return capture


def _ask_device(capture: cv2.VideoCapture, config: OpenCvCameraConfig) -> None:
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    if config.fourcc is not None:
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*config.fourcc))
    wishes = {
        cv2.CAP_PROP_FRAME_WIDTH: config.width,
        cv2.CAP_PROP_FRAME_HEIGHT: config.height,
        cv2.CAP_PROP_FPS: config.fps,
    }
    for wish, value in wishes.items():
        if value is not None:
            capture.set(wish, value)


def _to_rgb(image: np.ndarray, config: OpenCvCameraConfig) -> Image:
    """Return a new uint8 [H, W, 3] RGB; grey becomes three equal channels.

    Raises:
        FrameError: FRAME_INVALID: not 8 bit; FRAME_SIZE: not the configured width and height.
    """
    if image.dtype != np.uint8 or image.ndim not in {2, 3} or image.size == 0:
        raise FrameError(
            Reason.FRAME_INVALID,
            f"camera {config.name} delivers {image.dtype} {image.shape};"
            " ask for an 8 bit format (`fourcc`)",
        )
    height, width = image.shape[:2]
    if (config.width or width, config.height or height) != (width, height):
        raise FrameError(
            Reason.FRAME_SIZE,
            f"camera {config.name} delivers {width} x {height} pixels, not the configured"
            f" {config.width} x {config.height}; choose a size that it offers",
        )
    if image.ndim == 2 or image.shape[2] == 1:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), np.uint8)
    code = cv2.COLOR_BGRA2RGB if image.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(image, code), np.uint8)
