"""Acquire: the thread that owns the camera. A trigger goes in, a frame comes out.

    closed ──open, probe──▶ healthy ──part──▶ grab ──▶ check_told ──▶ next stage, and check_pixels
       ▲                        │                 └─ doubt or fault ─▶ part NOT_INSPECTED ◀─┘ doubt
       └──── close, back off ◀──┴─ camera fault, stale, repeated or identical frame

The pixels are looked at while the model has the frame already: a doubtful picture is answered as soon, and
what the model finds in it does not count. Nothing passes by this alone: `decide` checks the frame again.

The picture before is kept over a reopening: a sensor that is frozen for good gives the same pixels
again, with new frame ids. A driver that blocks is noticed by the station's loop (`stuck`), which
abandons this thread with its camera and starts another; what the old one still delivers is not used.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from inspection.channel import Channel, ChannelClosedError
from inspection.errors import FrameError, InspectionError
from inspection.frame_check import check_pixels, check_told
from inspection.part import PartInFlight
from inspection.protocols import Camera
from inspection.types import Frame, Reason, Result

log = logging.getLogger(__name__)

REOPEN_AFTER = {Reason.FRAME_STALE, Reason.FRAME_REPEATED, Reason.FRAME_IDENTICAL}
_BACKOFF = (0.1, 0.2, 0.5, 1.0)
_OPEN_TIMEOUT = 10.0
_BLOCKED_AFTER = 0.25
_MODEL_FIRST = 0.001
"""Seconds that a frame's pixels wait to be looked at: the model's thread needs the interpreter first."""
_OTHER_COUNT = -1  # frame id of a picture from before a reopening: the camera counts anew


class Acquire:
    """The acquire stage. `offer` and the properties may be used from the station's loop."""

    def __init__(
        self,
        open_camera: Callable[[], Camera],
        deliver: Callable[[PartInFlight], None],
        wake: Callable[[], None],
        *,
        timeout: float,
        previous: Frame | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            open_camera: returns an opened camera; may be called again after a fault.
            deliver: takes a part with a frame of its own; called from this stage's thread.
            wake: tells the station's loop that something changed.
            timeout: seconds a frame may take, counted from the hand-over.
            previous: last frame of a stage that was abandoned; the next one must differ from it.
        """
        self._open_camera = open_camera
        self._deliver = deliver
        self._wake = wake
        self._timeout = timeout
        self._jobs: Channel[PartInFlight] = Channel(1)
        self._stop = threading.Event()
        self._camera: Camera | None = None
        self._previous = _before_reopening(previous)
        self._healthy = False
        self._busy_until: float | None = None
        self._abandoned = False
        self._working = False
        self._thread = threading.Thread(target=self._run, name="acquire", daemon=True)
        self.fault: Reason | None = Reason.CAMERA_LOST

    def start(self) -> None:
        """Begin opening the camera."""
        self._thread.start()

    @property
    def healthy(self) -> bool:
        """The camera delivers."""
        return self._healthy

    @property
    def previous(self) -> Frame | None:
        """The last frame taken."""
        return self._previous

    @property
    def busy(self) -> bool:
        """A part is waiting for its frame."""
        return self._working or len(self._jobs) > 0

    def offer(self, part: PartInFlight) -> bool:
        """Take a part; False when one is waiting already."""
        return self._jobs.offer(part)

    def stuck(self) -> bool:
        """Tell whether the driver has been blocking for longer than it may."""
        until = self._busy_until
        return until is not None and time.monotonic() > until

    def abandon(self) -> None:
        """Give this thread up: nothing it still delivers is used, its camera is closed from outside."""
        self._abandoned = True
        self._healthy = False
        self._stop.set()
        self._jobs.close()
        camera = self._camera
        if camera is not None:
            threading.Thread(target=camera.close, name="camera-close", daemon=True).start()

    def stop(self, timeout: float) -> None:
        """End the thread and close the camera."""
        self._stop.set()
        self._jobs.close()
        self._thread.join(timeout)
        if self._thread.is_alive():
            self.abandon()

    def _run(self) -> None:
        attempt = 0
        while not self._stop.is_set():
            try:
                if self._camera is None:
                    self._open()
                    attempt = 0
                self._take_one()
            except ChannelClosedError:
                break
            except InspectionError as error:
                self._down(getattr(error, "reason", Reason.CAMERA_LOST), str(error))
                self._stop.wait(_BACKOFF[min(attempt, len(_BACKOFF) - 1)])
                attempt += 1
            except (
                Exception
            ) as error:  # the stage's boundary: a driver's own error is a camera fault
                log.exception("camera driver failed")
                self._down(Reason.CAMERA_LOST, f"{type(error).__name__}: {error}")
                self._stop.wait(_BACKOFF[min(attempt, len(_BACKOFF) - 1)])
                attempt += 1
        self._close()

    def _open(self) -> None:
        self._busy_until = time.monotonic() + _OPEN_TIMEOUT
        camera = self._open_camera()
        if self._abandoned:
            camera.close()
            return
        self._camera = camera
        camera.probe(self._timeout)
        self._busy_until = None
        self._healthy, self.fault = True, None
        log.info("camera %s delivers", camera.name)
        self._wake()

    def _take_one(self) -> None:
        camera = self._camera
        if camera is None:
            return
        try:
            part = self._jobs.get(camera.probe_every)
        except TimeoutError:
            self._probe(camera)
            return
        self._working = True
        try:
            self._grab(camera, part)
        except Exception as error:  # the part is answered before the camera is mended
            reason = getattr(error, "reason", Reason.CAMERA_LOST)
            detail = str(error) if isinstance(error, InspectionError) else repr(error)
            part.settle(Result.not_inspected(reason, detail))
            self._wake()
            if not isinstance(error, FrameError) or reason in REOPEN_AFTER:
                raise
        finally:
            self._working = False

    def _probe(self, camera: Camera) -> None:
        self._busy_until = time.monotonic() + self._timeout + 1.0
        camera.probe(self._timeout)
        self._busy_until = None

    def _grab(self, camera: Camera, part: PartInFlight) -> None:
        left = part.trigger.deadline_mono - time.monotonic()
        timeout = max(0.001, min(self._timeout, left))
        self._busy_until = time.monotonic() + timeout + _BLOCKED_AFTER
        frame = camera.grab(part.trigger, timeout)
        self._busy_until = None
        if self._abandoned:
            return
        previous, self._previous = self._previous, frame
        part.frame = frame
        part.exposed = True
        part.mark("frame")
        self._wake()
        if part.setup is None:
            return
        limits = part.setup.recipe.frame
        doubt = check_told(part.trigger, frame, previous, limits)
        if doubt is None:
            part.previous, part.live = previous, camera.live
            self._deliver(part)
            self._stop.wait(_MODEL_FIRST)
            doubt = check_pixels(frame, previous, limits, live=camera.live)
        if doubt is None:
            return
        part.doubted = True
        part.settle(doubt)
        self._wake()
        if doubt.reason in REOPEN_AFTER:
            raise FrameError(doubt.reason, doubt.detail)

    def _down(self, reason: Reason, detail: str) -> None:
        if self.fault != reason:
            log.warning("camera fault %s: %s", reason.name, detail)
        self._healthy, self.fault = False, reason
        self._close()
        self._wake()

    def _close(self) -> None:
        self._busy_until = None
        camera, self._camera = self._camera, None
        self._previous = _before_reopening(self._previous)
        if camera is not None:
            camera.close()


def _before_reopening(frame: Frame | None) -> Frame | None:
    if frame is None:
        return None
    views = tuple(replace(view, frame_id=_OTHER_COUNT) for view in frame.views)
    return replace(frame, frame_id=_OTHER_COUNT, views=views)
