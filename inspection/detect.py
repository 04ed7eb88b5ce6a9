"""Detect: the thread that owns the model. A frame goes in, a decision comes out.

    load(setup) ─▶ runtime.load: loaded and warm ─▶ healthy ──part──▶ code ─▶ detect ─▶ decide ─▶ settle
                        ▲                              │
                        └──────── back off ◀───────────┴─ runtime fault, or not alive while idle

A part whose inference failed is NOT_INSPECTED; READY stays off until the release is warm again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from inspection.channel import Channel, ChannelClosedError
from inspection.decide import Evidence, decide
from inspection.errors import (
    InferenceError,
    InferenceTimeoutError,
    InspectionError,
    ModelOutputError,
)
from inspection.frame_check import PIXEL_DOUBTS, check_pixels
from inspection.part import PartInFlight, Setup
from inspection.protocols import Detect, FallsBack, Runtime
from inspection.settled import settle
from inspection.types import Code, CodeRule, Detections, Reason, Result

log = logging.getLogger(__name__)

_BACKOFF = (0.1, 0.2, 0.5, 1.0)
_LOAD_TIMEOUT = 60.0
_ALIVE_EVERY = 0.5
_ALIVE_TIMEOUT = 0.5


class DetectStage:
    """The detect stage. Everything but `start` and `stop` is called from other stages' threads."""

    def __init__(
        self,
        open_runtime: Callable[[], Runtime],
        make_detector: Callable[[Setup, Runtime], Detect],
        wake: Callable[[], None],
        late: Callable[[PartInFlight, Result], None],
        *,
        timeout: float,
        read_codes: Callable[[PartInFlight, CodeRule], tuple[Code, ...]],
        code_fault: Callable[[CodeRule | None], Reason | None],
    ) -> None:
        """Start nothing yet.

        Args:
            open_runtime: returns a runtime, nothing loaded; called again after a fault.
            make_detector: joins a release with the runtime that has loaded it.
            wake: tells the station's loop that something changed.
            late: takes what was found after the part had been answered.
            timeout: seconds one inference may take.
            read_codes: returns the codes of a part whose recipe wants one; raises ScannerError.
            code_fault: tells why the code that a recipe wants could not be read now.
        """
        self._open_runtime = open_runtime
        self._make_detector = make_detector
        self._wake = wake
        self._late = late
        self._timeout = timeout
        self._read_codes = read_codes
        self._code_fault = code_fault
        self._jobs: Channel[PartInFlight] = Channel(1)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._wanted: Setup | None = None
        self._loaded: Setup | None = None
        self._runtime: Runtime | None = None
        self._detector: Detect | None = None
        self._busy_until: float | None = None
        self._at_work: PartInFlight | None = None
        self._hurried = False  # the last part had too little time for the model, which was excused
        self._thread = threading.Thread(target=self._run, name="detect", daemon=True)
        self.fault: Reason | None = Reason.MODEL_LOADING

    def start(self) -> None:
        """Begin: open the runtime, load what is wanted."""
        self._thread.start()

    def load(self, setup: Setup | None) -> None:
        """Want this recipe's release loaded and warm; None: nothing. Returns at once."""
        with self._lock:
            self._wanted = setup
            self.fault = Reason.MODEL_LOADING

    def ready_for(self, setup: Setup | None) -> bool:
        """Tell whether this setup's release is loaded, warm and answering."""
        return setup is not None and self._loaded is setup and self.fault is None

    def code_fault(self, setup: Setup | None) -> Reason | None:
        """Return why the code that this setup wants could not be read now; None when it could."""
        return self._code_fault(setup.recipe.code) if setup else None

    @property
    def busy(self) -> bool:
        """A part is with the model."""
        return self._at_work is not None or len(self._jobs) > 0

    @property
    def finishing(self) -> bool:
        """The model still looks at a doubtful picture, whose part may be answered by now."""
        part = self._at_work
        return part is not None and part.doubted

    def deliver(self, part: PartInFlight) -> None:
        """Take a part with its frame. When busy the part is an overrun."""
        if not self._jobs.offer(part):
            part.settle(Result.not_inspected(Reason.OVERRUN, "the model is busy with another part"))
            self._wake()

    def stuck(self) -> bool:
        """Tell whether the runtime has been blocking far longer than it may: only a restart helps."""
        until = self._busy_until
        return until is not None and time.monotonic() > until

    def stop(self, timeout: float) -> None:
        """End the thread and close the runtime."""
        self._stop.set()
        self._jobs.close()
        self._thread.join(timeout)

    def _run(self) -> None:
        attempt = 0
        next_check = 0.0
        while not self._stop.is_set():
            try:
                self._load_wanted()
                if self._loaded is None:
                    self._stop.wait(0.02)
                    continue
                attempt = 0
                try:
                    part = self._jobs.get(0.05)
                except TimeoutError:
                    if time.monotonic() >= next_check:
                        self._check_alive()
                        next_check = time.monotonic() + _ALIVE_EVERY
                    continue
                self._at_work = part
                try:
                    self._detect(part)
                finally:
                    self._at_work = None
            except ChannelClosedError:
                break
            except Exception as error:  # the stage's boundary: whatever the runtime throws
                if not isinstance(error, InspectionError):
                    log.exception("runtime failed")
                self._down(getattr(error, "reason", Reason.INFERENCE_FAILED), str(error))
                self._stop.wait(_BACKOFF[min(attempt, len(_BACKOFF) - 1)])
                attempt += 1
        self._close()

    def _load_wanted(self) -> None:
        with self._lock:
            wanted = self._wanted
        if wanted is self._loaded and self._detector is not None:
            return
        if wanted is None:
            self._loaded = None
            return
        if self._runtime is None:
            self._runtime = self._open_runtime()
        self._loaded, self._detector = None, None
        self._busy_until = time.monotonic() + 2 * _LOAD_TIMEOUT
        self._runtime.load(wanted.release, _LOAD_TIMEOUT)
        self._busy_until = None
        self._check_speed(wanted, self._runtime)
        self._detector = self._make_detector(wanted, self._runtime)
        settle()  # READY is off still
        with self._lock:
            self._loaded = wanted
            if self._wanted is wanted:
                self.fault = None
        log.info("release %s is loaded and warm", wanted.release.name)
        self._wake()

    def _check_speed(self, setup: Setup, runtime: Runtime) -> None:
        """Raise InferenceError where the processor stands in for a device and is too slow for the recipe."""
        took = runtime.fell_back if isinstance(runtime, FallsBack) else None
        allowed = min(setup.recipe.deadline, self._timeout)
        if took is None or took <= allowed:
            return
        error = InferenceError(
            f"the device could not be started, and the processor needs {took:.2f} s for what may take "
            f"{allowed:.2f} s; check the GPU and its driver, or release a smaller model"
        )
        error.reason = Reason.INFERENCE_TIMEOUT
        raise error

    def _check_alive(self) -> None:
        if self._runtime is not None and not self._runtime.alive(_ALIVE_TIMEOUT):
            raise InferenceError("the runtime does not answer; is the inference service running?")

    def _detect(self, part: PartInFlight) -> None:
        failure: Exception | None = None
        detections: Detections | None = None
        fault, detail = self._find_codes(part)
        started = time.monotonic()
        if fault is Reason.DEADLINE:  # asking the model now would only make it look broken
            part.settle(Result.not_inspected(fault, detail))
            self._wake()
            return
        try:
            detections = self._infer(part)
        except (
            Exception
        ) as error:  # a part that failed here is answered before the runtime is mended
            fault, detail, failure = (
                getattr(error, "reason", Reason.INFERENCE_FAILED),
                str(error),
                error,
            )
        if failure is None:
            self._hurried = False
        part.detections = detections
        part.timings["inference"] = time.monotonic() - started
        part.mark("detected")
        result = self._failed(part, fault, detail) if fault else self._decide(part)
        if result.reason in PIXEL_DOUBTS:  # found here first
            part.doubted = True
        if not part.settle(result) and not part.doubted:
            self._late(part, result)
        self._wake()
        left = part.trigger.deadline_mono - started
        if failure is not None and not self._excused(part, failure, left):
            raise failure

    @staticmethod
    def _failed(part: PartInFlight, fault: Reason, detail: str) -> Result:
        """Return what was in the way; of a picture that shows nothing, that."""
        frame, setup, doubt = part.frame, part.setup, None
        if frame is not None and setup is not None:
            doubt = check_pixels(frame, part.previous, setup.recipe.frame, live=part.live)
        return doubt or Result.not_inspected(fault, detail)

    def _excused(self, part: PartInFlight, failure: Exception, left: float) -> bool:
        """Tell whether the model is well: it gave nonsense for a picture that shows nothing, or had no time.

        `left`: seconds that it had; of a part whose frame or code came late, less than half of the part's.
        """
        runtime, trigger = self._runtime, part.trigger
        nonsense = part.doubted and isinstance(failure, ModelOutputError)
        half = (trigger.deadline_mono - trigger.seen_mono) / 2
        hurried = isinstance(failure, InferenceTimeoutError) and left < min(self._timeout, half)
        again, self._hurried = self._hurried, hurried
        excused = nonsense or (
            hurried and not again
        )  # a second one in a row may be a model that hangs
        return runtime is not None and excused and runtime.alive(_ALIVE_TIMEOUT)

    def _find_codes(self, part: PartInFlight) -> tuple[Reason | None, str]:
        """Read the part's own code, where its recipe wants one; the runtime is not to blame if that fails."""
        rule = part.setup.recipe.code if part.setup else None
        if rule is None:
            return None, ""
        try:
            part.codes = self._read_codes(part, rule)
        except Exception as error:  # the stage's boundary: whatever the reader throws
            if not isinstance(error, InspectionError):
                log.exception("the code could not be looked for")
            return getattr(error, "reason", Reason.INTERNAL), str(error)
        part.mark("code")
        if time.monotonic() > part.trigger.deadline_mono:
            return Reason.DEADLINE, "the code took all the time"
        return None, ""

    def _infer(self, part: PartInFlight) -> Detections:
        detector, loaded = self._detector, self._loaded
        if detector is None or loaded is not part.setup or part.frame is None:
            raise InferenceError("the recipe's release is not loaded")
        left = part.trigger.deadline_mono - time.monotonic()
        timeout = max(0.005, min(self._timeout, left))
        self._busy_until = time.monotonic() + self._timeout + 5.0
        try:
            return detector.detect(part.frame.image, timeout)
        finally:
            self._busy_until = None

    def _decide(self, part: PartInFlight) -> Result:
        setup = part.setup
        return decide(
            Evidence(
                trigger=part.trigger,
                recipe=setup.recipe if setup else None,
                release=setup.release if setup else None,
                frame=part.frame,
                previous=part.previous,
                live=part.live,
                detections=part.detections,
                fault=None,
                now_mono=time.monotonic(),
                codes=part.codes,
            )
        )

    def _down(self, reason: Reason, detail: str) -> None:
        with self._lock:
            if self.fault != reason:
                log.warning("model fault %s: %s", reason.name, detail)
            self.fault = reason
        self._close()
        self._wake()

    def _close(self) -> None:
        self._busy_until = None
        self._loaded, self._detector = None, None
        runtime, self._runtime = self._runtime, None
        if runtime is not None:
            runtime.close()
