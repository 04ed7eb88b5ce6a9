"""The seams. Drivers satisfy these by shape; nothing inherits from them.

Each driver comes with a frozen pydantic config class (`extra="forbid"`) registered as an entry point
in the group `inspection.cameras`, `inspection.runtimes`, `inspection.plc` or `inspection.scanners`; its
`open()` returns the driver. The contract tests in tests/contract run against every driver.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from inspection.types import (
    Code,
    Command,
    CommandState,
    Detections,
    Frame,
    Inspected,
    PartKey,
    Reason,
    Release,
    Result,
    StoredAnswer,
    StoredImage,
    Trigger,
)


@runtime_checkable
class Camera(Protocol):
    """One camera, opened. Used by one thread at a time, except `close`.

    Attributes:
        name: name in rows and logs.
        live: True for a real (or simulated) sensor: two byte-identical frames mean a frozen camera.
        probe_every: seconds between two probes while no part comes; short where a probe costs nothing.
    """

    name: str
    live: bool
    probe_every: float

    def grab(self, trigger: Trigger, timeout: float) -> Frame:
        """Expose for this trigger and return the frame.

        The frame must come from an exposure that started at or after `trigger.seen_mono`; a driver
        with buffered frames throws old ones away first. `frame_id` and `exposed_mono` come from the
        device where it has them.

        Raises:
            CameraTimeoutError: no frame within `timeout` seconds. The driver may need reopening.
            CameraLostError: the device went away. The driver must be closed and opened again.
            FrameError: a frame came that cannot be used (truncated, undecodable).
        """
        ...

    def probe(self, timeout: float) -> None:
        """Return when the camera is delivering; used before READY. Consumes no part.

        Raises:
            CameraError: as `grab`.
        """
        ...

    def close(self) -> None:
        """Release the device. May be called twice and from another thread.

        A `grab` that blocks inside the driver may stay blocked.
        """
        ...


@runtime_checkable
class Runtime(Protocol):
    """Where a released model runs. One thread at a time, except `close`."""

    def load(self, release: Release, timeout: float) -> None:
        """Load a release and run it once, so that the first part is not slow. Replaces the loaded one.

        Raises:
            InferenceError: it cannot be loaded; the previous one, if any, stays loaded.
        """
        ...

    def infer(self, images: NDArray[np.uint8], timeout: float) -> dict[str, NDArray[np.float32]]:
        """Run the loaded release.

        Args:
            images: uint8 [B, H, W, 3] RGB, letterboxed to the release's input size, C-contiguous.
                They are not read after the return: the caller writes the next ones into the same memory.
            timeout: seconds; in-process runtimes cannot be interrupted and may ignore it.

        Returns:
            Outputs by name: `detections` float32 [B, N, 6], or `anomaly_map` and `anomaly_score`.

        Raises:
            InferenceTimeoutError: no answer in time; the connection was closed.
            InferenceError: the runtime failed; call `load` again before the next `infer`.
            ModelOutputError: another model answered, or the answer is malformed.
        """
        ...

    def alive(self, timeout: float) -> bool:
        """Tell whether the loaded release could answer now. Never raises."""
        ...

    def close(self) -> None:
        """Release everything. May be called twice."""
        ...


@runtime_checkable
class FallsBack(Protocol):
    """A runtime that may compute on the processor where its device cannot be started.

    Attributes:
        fell_back: seconds of one warm inference on the processor, measured at the last load; None: it runs
            where it is meant to.
    """

    fell_back: float | None


@runtime_checkable
class Detect(Protocol):
    """A release on a runtime: image in, detections out."""

    def detect(self, image: NDArray[np.uint8], timeout: float) -> Detections:
        """Find everything in one uint8 [H, W, 3] RGB image. Raises InferenceError and its kinds."""
        ...


@runtime_checkable
class Scanner(Protocol):
    """A code scanner beside the line, opened; it reads by itself and is asked for what it read.

    Attributes:
        wait: seconds after a trigger that `take` waits for scans.
    """

    wait: float

    def fault(self) -> str:
        """Return why no scan can come now; empty while it is connected. Never raises."""
        ...

    def take(self, seen_mono: float) -> tuple[Code, ...]:
        """Return the scans of the part whose trigger was seen then.

        A scan belongs to the part when it came within the driver's window before the trigger, or within
        its wait after it, and after the wait of the part before. Several scans are all returned.

        Raises:
            ScannerError: it is not connected.
        """
        ...

    def close(self) -> None:
        """End it. May be called twice."""
        ...


@runtime_checkable
class Plc(Protocol):
    """Words in the PLC's memory. One thread at a time.

    Any timeout or short answer closes the socket before the error is raised, so that the answer of
    one question can never be returned for the next.
    """

    def connect(self) -> None:
        """Open the link. Raises PlcError."""
        ...

    def read_words(self, address: int, count: int) -> list[int]:
        """Read `count` unsigned 16-bit words in one request. Raises PlcError, socket closed."""
        ...

    def write_words(self, address: int, words: list[int]) -> None:
        """Write the words in one request. Raises PlcError, socket closed."""
        ...

    def close(self) -> None:
        """Close the link. May be called twice."""
        ...


@runtime_checkable
class Store(Protocol):
    """The results store as the line sees it: a method returns only when its row is durable.

    Used by the recording thread alone. A method raises StoreError when the row is not durable; the
    station then turns READY off and calls `recover` until it returns.
    """

    def begin_epoch(self, station: str, cause: str) -> int:
        """Start a new epoch of this station, before its first part, and return its number, from 1."""
        ...

    def enter_epoch(self, station: str, number: int, cause: str) -> None:
        """The line went on to an epoch (wrap, RESET). Remembered by the store when it cannot be written."""
        ...

    def last_part(self, station: str) -> StoredAnswer | None:
        """Return what is stored of the station's latest trigger, over all epochs; None in a new store."""
        ...

    def close_open_parts(self, station: str, reason: Reason) -> int:
        """Tidy up after a process that is gone, before the first part.

        Every triggered but undecided row of this station becomes NOT_INSPECTED, every alarm that is
        on ends, every taken command is refused. Returns how many rows.
        """
        ...

    def triggered(self, trigger: Trigger, recipe_number: int) -> int:
        """Insert the row of a trigger and return its record id (1..2^32-1)."""
        ...

    def decided(self, inspected: Inspected, wanted: Callable[[], bool] | None = None) -> int:
        """Record the decision; inserts the row if `triggered` never came. Returns the record id.

        `wanted` is asked when it is this call's turn to write. A decision that was taken back while it
        waited for its turn is not written: SupersededError.

        A decided row keeps its decision and the new one is kept as late, with one exception: while
        the row was never sent, NOT_INSPECTED replaces any other decision (what the PLC is told wins,
        and only in the safe direction).
        """
        ...

    def remember(self, inspected: Inspected) -> bool:
        """Keep a NOT_INSPECTED part that could not be written, for `recover`. Never raises.

        Returns:
            True when it is in the journal on disk and so survives a kill; False: in memory only.

        Raises:
            ValueError: the decision is not NOT_INSPECTED (a programming error).
        """
        ...

    def late(self, key: PartKey, result: Result) -> None:
        """Keep what was found after the part had been answered."""
        ...

    def sent(self, key: PartKey, mono: float, at: str) -> None:
        """The answer was written to the PLC. Remembered by the store when it cannot be written."""
        ...

    def acknowledged(self, key: PartKey, mono: float, at: str) -> None:
        """The PLC acknowledged the answer. Remembered by the store when it cannot be written."""
        ...

    def images(self, key: PartKey, state: str, files: list[StoredImage]) -> None:
        """Record what became of the part's pictures.

        `state` is saved, sampled_out, shed (queue full), disk_full, failed, or none (no frame). The
        store itself keeps pending, lost (still pending at a restart, no file), expiring and expired.
        """
        ...

    def alarm(self, station: str, reason: Reason, detail: str, on: bool) -> None:
        """Record that an alarm came (`on`) or went. Remembered by the store when it cannot be written."""
        ...

    def take_command(self, station: str) -> Command | None:
        """Return the newest command that waits for this station, now `taken`; None without one.

        Older ones that wait are `refused` (replaced). Commands that are not from the last 30 seconds are
        `expired`, so that nothing happens long after it was asked.
        """
        ...

    def command_done(self, command: int, state: CommandState, detail: str) -> None:
        """Note what became of a taken command; one that is final already is left alone. Remembered."""
        ...

    def check(self) -> None:
        """Raise StoreError when a row could not be written now; changes nothing. For READY between parts."""
        ...

    def recover(self) -> None:
        """Reopen the database and write everything remembered. Raises StoreError while it still fails."""
        ...

    def close(self) -> None:
        """Close files and connections. May be called twice."""
        ...


@runtime_checkable
class ImageSink(Protocol):
    """Where pictures of parts go. `offer` never blocks the line: it sheds, PASS first, and says so."""

    def offer(self, inspected: Inspected) -> str | None:
        """Queue the part's picture for writing. Returns None when queued, else the final image state."""
        ...

    def decided_again(self, inspected: Inspected) -> None:
        """The part was rejected after all: should its picture wait still, it is no passed part's any more."""
        ...

    def close(self) -> None:
        """Write what is queued, then stop. May be called twice."""
        ...
