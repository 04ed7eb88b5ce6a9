"""From a trigger to the frame of that trigger, for every camera with frame ids of its own.

    hardware   nothing may wait ─▶ the pulse after TRIG_ACK ─▶ next frame, its id follows ─▶ RGB
    software   throw old ones away ─▶ fire ─────────────────▶ next frame, its id follows ─▶ RGB
    free       throw old ones away ─▶ the first frame whose exposure began after the trigger

A driver gives a `Device`: the vendor's calls, no rule. `DeviceCamera` holds the rules, once for all: a
frame with lost packets is refused, a gap in the ids means that a frame of another part may be in hand, a
frame that nobody asked for means that pulses and triggers do not belong together. Each refusal is an
error, and the part is NOT INSPECTED.

**Time of exposure.** Where the camera's clock can be read, it is compared with ours every few seconds,
and the frame's own stamp is used. Otherwise the longest `transfer` must be configured, and only a frame
that came later than trigger + exposure + transfer was surely exposed after the trigger.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import Literal, Protocol

from inspection.cameras.control_channel import ControlChannel
from inspection.cameras.device_clock import DeviceClock
from inspection.cameras.pixel_formats import to_rgb
from inspection.errors import CameraError, CameraLostError, CameraTimeoutError, FrameError
from inspection.types import Frame, Reason, Trigger

TriggerMode = Literal["hardware", "software", "free_running"]

log = logging.getLogger(__name__)

_SLICE = 0.05  # seconds: so soon a waiting grab sees that the camera went away
_ANSWER = 0.7  # seconds a control call may take
_TEST_FRAMES = 5
_OLDEST = 15.0  # seconds before its arrival: a stamp that says more cannot be true
_CLOCK_ERROR = 0.05  # seconds that the camera's clock, compared with ours, may be wrong
_LAST_16_BIT = 65535


@dataclass(frozen=True, slots=True)
class RawFrame:
    """One buffer as the vendor's library gave it.

    Attributes:
        data: a copy of the pixels; empty when it is incomplete.
        width: pixels.
        height: pixels.
        pixel_format: GenICam name.
        frame_id: the camera's count.
        device_ns: the camera's stamp of the exposure; 0: none.
        arrived_mono: when it came here, its beginning where that is known.
        fault: why it is incomplete; empty: it is whole.
        padding: bytes at the end of each line that are no pixels.
    """

    data: bytes
    width: int
    height: int
    pixel_format: str
    frame_id: int
    device_ns: int
    arrived_mono: float
    fault: str = ""
    padding: int = 0


class Device(Protocol):
    """An open camera that acquires. `next` is called by one thread, the rest by the control thread.

    Attributes:
        facts: maker, model, serial number, and each setting as it was read back.
        exposure: seconds, as the camera says; 0 when it does not say.
    """

    facts: dict[str, str]
    exposure: float

    def next(self, timeout: float) -> RawFrame | None:
        """Return the oldest buffer that came, waiting at most `timeout` seconds; None: none came."""
        ...

    def fire(self) -> None:
        """Give a software trigger."""
        ...

    def clock(self) -> int | None:
        """Return the camera's clock now, ns; None: it cannot be read."""
        ...

    def check(self) -> None:
        """Ask for anything. Raises CameraError when the camera does not answer."""
        ...

    def release(self) -> None:
        """Stop and give the camera back."""
        ...


class DeviceCamera:
    """A camera with frame ids; see `inspection.protocols.Camera` for the promises.

    Attributes:
        name: as configured.
        live: True.
        facts: of the device, for people.
        probe_every: seconds between two probes of an idle camera: so it is missed within a second.
    """

    live = True
    probe_every = 0.2

    def __init__(
        self,
        name: str,
        device: Device,
        *,
        trigger: TriggerMode,
        frame_timeout: float,
        transfer: float | None = None,
    ) -> None:
        """Take over an open device; it is given back when this raises.

        Args:
            name: in rows and logs.
            device: acquiring already.
            trigger: what makes it expose.
            frame_timeout: seconds after which a frame counts as lost, however long the line waits.
            transfer: seconds from the end of an exposure until its frame is here, at most; for
                cameras whose clock cannot be read. None: not known.

        Raises:
            CameraError: nobody can tell when a frame was exposed: no clock and no `transfer`.
        """
        self.name = name
        self.facts = dict(device.facts)
        self._device, self._mode, self._exposure = device, trigger, device.exposure
        self._frame_timeout, self._transfer = frame_timeout, transfer
        self._empty = float("-inf")  # nothing waited then: what came since is younger
        self._control = ControlChannel(name, device.check)
        self._clock = DeviceClock(name)
        self._using = threading.Lock()
        self._closed = threading.Event()
        self._last_id: int | None = None
        self._before: int | None = None  # the id before the last one
        self._owed = 0  # software triggers whose frame has not come
        self._proven = False
        try:
            self._refuse_undatable()
        except BaseException:
            self.close()
            raise

    def grab(self, trigger: Trigger, timeout: float) -> Frame:
        """Return the frame of this trigger; see the module's text."""
        deadline = time.monotonic() + min(timeout, self._frame_timeout)
        raw, exposed = self._take(trigger.seen_mono, deadline)
        image = to_rgb(raw.data, raw.width, raw.height, raw.pixel_format, self.name, raw.padding)
        return Frame(image, raw.frame_id, exposed, self.name, f"frame {raw.frame_id}")

    def probe(self, timeout: float) -> None:
        """Return when the camera answers, and has sent a whole frame where we can ask for one."""
        self._check_alive()
        free = self._mode == "free_running"
        if self._mode == "hardware" or (self._proven and not free):
            return
        deadline = time.monotonic() + max(timeout, self._frame_timeout)
        for attempt in range(1, _TEST_FRAMES + 1):
            try:
                self._take(time.monotonic(), deadline)
            except FrameError as error:
                if attempt == _TEST_FRAMES:
                    raise
                log.warning("camera %s, test frame: %s", self.name, error)
            else:
                self._proven = True
                return

    def close(self) -> None:
        """Give the device back, on the thread that speaks to it; waits a second for that."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._control.close(self._release)

    @property
    def released(self) -> bool:
        """The device was given back."""
        return self._control.ended

    def _release(self) -> None:
        with self._using:
            self._device.release()

    def _take(self, not_before: float, deadline: float) -> tuple[RawFrame, float]:
        """Return the frame of a trigger seen at `not_before`, and when its exposure began."""
        self._check_alive()
        waiting = self._drain()
        self._compare_clocks()  # takes a while: what comes meanwhile is judged by its time
        if self._mode == "free_running":
            while True:
                raw = self._await(deadline, self._sure_from(not_before))
                exposed = self._began(raw, not_before)
                if exposed is not None:
                    self._check(raw)
                    return raw, exposed
        if self._mode == "hardware":
            if waiting:
                raise FrameError(
                    Reason.FRAME_STALE,
                    f"camera {self.name}: {waiting} frame(s) came before this part's trigger was seen;"
                    " the pulse must come after TRIG_ACK, one for each part",
                )
            raw = self._await(deadline, self._sure_from(not_before))
            self._check(raw)
            exposed = self._began(raw, not_before)
            if exposed is None:
                raise FrameError(
                    Reason.FRAME_STALE,
                    f"camera {self.name}: frame {raw.frame_id} may have been exposed before this"
                    " part's trigger was seen; the pulse must come after TRIG_ACK, one for each"
                    " part, and `transfer` must not be longer than it is",
                )
            return raw, exposed
        return self._fire(deadline)

    def _fire(self, deadline: float) -> tuple[RawFrame, float]:
        self._drain()
        while self._owed:
            self._await(deadline)  # the frame of an earlier part: not this one's
        fired = time.monotonic()
        self._owed += 1
        self._control.call(self._device.fire, _ANSWER)
        raw = self._await(deadline)
        self._check(raw)
        stamped = self._stamped(raw)
        if stamped is not None and stamped < fired - _CLOCK_ERROR:
            raise FrameError(
                Reason.FRAME_STALE,
                f"camera {self.name}: frame {raw.frame_id} was exposed {fired - stamped:.3f} s before"
                " the software trigger",
            )
        return raw, max(self._exposed(raw), fired)  # its id says that it answers the command

    def _drain(self) -> int:
        """Throw away what waits; return how many."""
        count = 0
        while (raw := self._next(0.0)) is not None:
            self._note(raw)
            count += 1
        return count

    def _await(self, deadline: float, sure_from: float = float("-inf")) -> RawFrame:
        """Return the next frame; look at `sure_from`, by `_empty`, whether one waits already."""
        while True:
            self._check_alive()
            now = time.monotonic()
            left = deadline - now
            wait = min(_SLICE, left)
            if self._empty < sure_from:
                wait = min(wait, sure_from - now)
            raw = self._next(max(0.0, wait))
            if raw is not None:
                self._note(raw)
                return raw
            if left <= 0:
                self._check_alive()
                raise CameraTimeoutError(
                    f"camera {self.name} sent no frame in time; check the trigger ({self._mode}),"
                    " the cable and the packet size"
                )

    def _next(self, timeout: float) -> RawFrame | None:
        with self._using:
            if self._closed.is_set():
                raise CameraLostError(f"camera {self.name} is closed; open it again")
            asked = time.monotonic()
            raw = self._device.next(timeout)
        if raw is None:
            self._empty = asked
        return raw

    def _note(self, raw: RawFrame) -> None:
        self._owed = max(0, self._owed - 1)
        self._before, self._last_id = self._last_id, raw.frame_id
        if raw.fault:  # without its first packet, it has an old one's id
            self._last_id = None if self._before is None else after(self._before)

    def _check(self, raw: RawFrame) -> None:
        before = self._before
        if raw.fault:
            raise FrameError(
                Reason.FRAME_INVALID,
                f"camera {self.name}: frame {raw.frame_id} is incomplete ({raw.fault});"
                " check cable, switch and packet size",
            )
        if self._mode == "free_running" or before is None or follows(before, raw.frame_id):
            return
        if raw.frame_id == before:
            raise FrameError(
                Reason.FRAME_REPEATED, f"camera {self.name}: frame id {before} came twice"
            )
        raise FrameError(
            Reason.FRAME_INVALID,
            f"camera {self.name}: frame {raw.frame_id} came where {before + 1} was due: a frame or a"
            " trigger was lost, so this picture may show another part",
        )

    def _check_alive(self) -> None:
        if self._closed.is_set():
            raise CameraLostError(f"camera {self.name} is closed; open it again")
        trouble = self._control.trouble()
        if trouble:
            raise CameraLostError(f"camera {self.name} went away: {trouble}; check power and cable")

    def _compare_clocks(self) -> None:
        if not self._clock.due():
            return
        began = time.monotonic()
        device_ns = self._control.call(self._device.clock, _ANSWER)
        self._clock.compare(device_ns, began, time.monotonic())

    def _refuse_undatable(self) -> None:
        """A software trigger is answered by its frame's id; other frames need a time."""
        if self._mode == "software":
            return
        self._compare_clocks()
        if not self._clock.known and self._transfer is None:
            raise CameraError(
                f"camera {self.name}: its clock cannot be read, so nobody can tell whether a frame is"
                f" older than its trigger ({self._mode}); set `transfer`, the seconds from the end of"
                " an exposure until its frame is here, or take `trigger: software`"
            )

    def _sure_from(self, not_before: float) -> float:
        """What came after this moment was exposed after `not_before`, whatever its stamp."""
        if self._transfer is None:
            return float("-inf")
        return not_before + self._exposure + self._transfer

    def _began(self, raw: RawFrame, not_before: float) -> float | None:
        """When the exposure of the frame just taken began; None: perhaps before `not_before`."""
        stamped = self._stamped(raw)
        if stamped is not None:
            return stamped if stamped - self._clock.error >= not_before else None
        if self._transfer is None:
            self._check(raw)
            raise FrameError(
                Reason.FRAME_STALE,
                f"camera {self.name}: frame {raw.frame_id} has no time stamp that can be true, so it"
                " may be older than the trigger; set `transfer`",
            )
        if self._empty < self._sure_from(not_before):
            return None
        return max(not_before, raw.arrived_mono - self._exposure - self._transfer)

    def _exposed(self, raw: RawFrame) -> float:
        stamped = self._stamped(raw)
        return raw.arrived_mono - self._exposure if stamped is None else stamped

    def _stamped(self, raw: RawFrame) -> float | None:
        """The camera's own stamp on our clock; None: there is none, or it cannot be true."""
        stamped = self._clock.host(raw.device_ns)
        latest = raw.arrived_mono + self._clock.error
        if stamped is None or not raw.arrived_mono - _OLDEST <= stamped <= latest:
            return None
        return min(stamped, raw.arrived_mono)


def follows(before: int, frame_id: int) -> bool:
    """Tell whether this is the next id. Block ids of GigE Vision 1 have 16 bits and leave 0 out."""
    return frame_id in {before + 1, after(before)}


def after(frame_id: int) -> int:
    """Return the id of the next frame."""
    return 1 if frame_id == _LAST_16_BIT else frame_id + 1
