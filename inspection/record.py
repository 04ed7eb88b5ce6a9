"""Record: the thread that owns the results store. Nothing is answered before its row is durable.

    triggered ─▶ row          (the camera exposes meanwhile; TRIG_ACK waits for it)
    decided ───▶ decision     (RESULT_VALID waits for it)
    sent, acknowledged, late, images, alarms
    command ◀─ rows      (asked on the pages; looked for about every second, waits here for the loop)

When the store fails, the part becomes NOT_INSPECTED and is remembered (in the store's journal where
that can be written), READY goes off, and `recover` is tried until it holds. A try may take seconds: what
came meanwhile is remembered before the next one. When only pictures are
lost, parts are judged on, and `degraded` says so until a minute has passed without a loss.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from inspection.channel import Channel, ChannelClosedError
from inspection.errors import StoreError, SupersededError
from inspection.part import PartInFlight, utc_now
from inspection.protocols import ImageSink, Store
from inspection.types import (
    Command,
    CommandState,
    Decision,
    Inspected,
    PartKey,
    Reason,
    Result,
    StoredImage,
)

log = logging.getLogger(__name__)

_RECOVER_EVERY = 0.5
_CHECK_EVERY = 1.0
_CAPACITY = 10_000
_DEGRADED_FOR = 60.0
_COMMAND_FOR = 30.0
_LEFT_OUT = frozenset({"sampled_out", "shed", "none"})
_LOST = frozenset({"shed", "disk_full", "failed"})


class Record:
    """The record stage. Its methods queue the work and return; outcomes are set on the part."""

    def __init__(
        self,
        store: Store,
        images: ImageSink,
        station: str,
        wake: Callable[[], None],
        pictured: Callable[[str], None],
    ) -> None:
        """Start nothing yet.

        Args:
            store: used by this stage's thread alone, after `start`.
            images: where pictures go after the row is durable.
            station: name for alarms.
            wake: tells the station's loop that something changed.
            pictured: told what became of each part's picture, for metrics.
        """
        self._store = store
        self._images = images
        self._station = station
        self._wake = wake
        self._count_picture = pictured
        self._work: Channel[Callable[[], None]] = Channel(_CAPACITY)
        self._thread = threading.Thread(target=self._run, name="record", daemon=True)
        self._recover_due = 0.0
        self._first = 0  # items to work off before recovery is tried again
        self._check_due = 0.0
        self._degraded_until = 0.0
        self._command_due = 0.0
        self._command: Command | None = None
        self._command_until = 0.0
        self._command_lock = threading.Lock()
        self.healthy = True
        self.degraded = False

    def start(self) -> None:
        """Begin taking work."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Finish the queued work, the pictures that it queued, and their rows; then end.

        Args:
            timeout: seconds that the store may take before the pictures, and again after them.
        """
        queued = threading.Event()
        if self._work.offer(queued.set) and queued.wait(timeout):
            self._images.close()  # a picture that no row tells of is shown as lost until a start
        self._work.close()
        self._thread.join(timeout)
        if self._thread.is_alive():
            left = len(self._work)
            log.error(
                "the results store does not answer; %d calls behind it are not recorded", left
            )

    def begin_epoch(self, number: int, cause: str) -> None:
        """Note a new epoch."""
        self._work.put(lambda: self._store.enter_epoch(self._station, number, cause))

    def triggered(self, part: PartInFlight) -> None:
        """Make the trigger's row durable; sets `part.trigger_stored`."""
        self._work.put(lambda: self._triggered(part))

    def decided(self, part: PartInFlight) -> None:
        """Make the decision durable; sets `part.recorded` and `part.record_id`."""
        self._work.put(lambda: self._decided(part))

    def late(self, part: PartInFlight, result: Result) -> None:
        """Keep what was found after the part had been answered."""
        self._later(lambda: self._store.late(part.trigger.key, result))

    def sent(self, key: PartKey) -> None:
        """The answer was written to the PLC now."""
        mono, at = time.monotonic(), utc_now()
        self._later(lambda: self._store.sent(key, mono, at))

    def acknowledged(self, key: PartKey) -> None:
        """The PLC acknowledged now."""
        mono, at = time.monotonic(), utc_now()
        self._later(lambda: self._store.acknowledged(key, mono, at))

    def images(self, key: PartKey, state: str, files: list[StoredImage]) -> None:
        """What became of a part's pictures; called by the image writer."""
        self._later(lambda: self._pictured(key, state, files))

    def alarm(self, reason: Reason, detail: str, on: bool) -> None:
        """Note that an alarm came or went."""
        self._later(lambda: self._store.alarm(self._station, reason, detail, on))

    def command(self) -> Command | None:
        """Return the command that waits for the loop, if any; it is not given twice."""
        if self._command is None:  # the usual case takes no lock
            return None
        with self._command_lock:
            command, self._command = self._command, None
            return command

    def command_done(self, command: Command, state: CommandState, detail: str) -> None:
        """Tell the page what became of its command."""
        self._later(lambda: self._store.command_done(command.id, state, detail))

    def _later(self, work: Callable[[], None]) -> None:
        try:
            self._work.put(work)
        except ChannelClosedError:
            log.warning("not recorded: the station is stopping")

    def _run(self) -> None:
        while True:
            try:
                work = self._work.get(0.2)
            except TimeoutError:
                work = None
            except ChannelClosedError:
                break
            self._first = max(0, self._first - 1) if work is not None else 0
            if not self.healthy and not self._first and time.monotonic() >= self._recover_due:
                self._recover()
            try:
                if work is not None:
                    work()
                elif self.healthy and time.monotonic() >= self._check_due:
                    self._check_due = time.monotonic() + _CHECK_EVERY
                    self._store.check()
                    self._follow_pictures()
                if self.healthy and not len(self._work) and time.monotonic() >= self._command_due:
                    self._command_due = time.monotonic() + _CHECK_EVERY
                    self._follow_commands()
            except (
                Exception
            ) as error:  # the stage's boundary: any failure of the store is the store's
                self._down(error)
        if not self.healthy:
            self._recover()

    def _triggered(self, part: PartInFlight) -> None:
        recipe = part.setup.recipe.number if part.setup else 0
        try:
            if self.healthy:
                part.record_id = self._store.triggered(part.trigger, recipe)
            part.trigger_stored = self.healthy
        except Exception as error:
            part.trigger_stored = False
            self._down(error)
        self._wake()

    def _decided(self, part: PartInFlight) -> None:
        inspected = part.inspected()
        try:
            if not self.healthy:
                raise StoreError("the results store is down")
            part.record_id = self._store.decided(inspected, lambda: part.result is inspected.result)
        except SupersededError as error:
            log.warning("%s; what replaced it is written next", error)
            return
        except Exception as error:
            self._down(error)
            part.reject(Reason.STORE_FAILED, str(error))
            inspected = part.inspected()
            if not self._store.remember(inspected):
                log.error("part %s is kept in memory only: %s", part.trigger.key, error)
        part.timings["recorded"] = time.monotonic() - part.trigger.seen_mono
        part.record_answer(inspected.result)
        self._wake()
        self._offer_picture(part, inspected)

    def _offer_picture(self, part: PartInFlight, inspected: Inspected) -> None:
        """Once for each part; again where it was left out as that of a passed one, which is rejected now."""
        key, passed = part.trigger.key, inspected.result.decision is Decision.PASS
        again = part.picture in _LEFT_OUT and inspected.frame is not None and not passed
        if part.picture and not again:
            self._images.decided_again(inspected)
            return
        try:
            if again:
                self._store.images(key, "pending", [])
        finally:
            state = self._images.offer(inspected)
            part.picture = state or "queued"
            if state is not None:
                self._pictured(key, state, [])

    def _pictured(self, key: PartKey, state: str, files: list[StoredImage]) -> None:
        self._count_picture(state)
        try:
            self._store.images(key, state, files)
        finally:  # the row first: the alarm may fail as well
            if state in _LOST:
                self._tell_lost(key, state)

    def _tell_lost(self, key: PartKey, state: str) -> None:
        self._degraded_until = time.monotonic() + _DEGRADED_FOR
        if not self.degraded:
            self.degraded = True
            log.error("pictures are not kept (%s): look at the disk of the picture folder", state)
            self._wake()
            self._store.alarm(self._station, Reason.PICTURES_LOST, f"{state}: {key}", True)

    def _follow_pictures(self) -> None:
        if self.degraded and time.monotonic() >= self._degraded_until:
            self.degraded = False
            self._store.alarm(self._station, Reason.PICTURES_LOST, "", False)
            self._wake()

    def _follow_commands(self) -> None:
        """Take a command from the store, or take one back that the loop could not follow in time."""
        with self._command_lock:
            late = self._command if time.monotonic() >= self._command_until else None
            if late is not None:
                self._command = None
        if late is not None:
            self._store.command_done(late.id, CommandState.EXPIRED, "not_between_parts")
        if self._command is not None:
            return
        command = self._store.take_command(self._station)
        if command is not None:
            with self._command_lock:
                self._command, self._command_until = command, time.monotonic() + _COMMAND_FOR
            self._wake()

    def _down(self, error: Exception) -> None:
        if self.healthy:
            log.error("results store failed: %s", error)
            self._recover_due = time.monotonic() + _RECOVER_EVERY
        if not isinstance(error, StoreError):
            log.error("unexpected store failure", exc_info=error)
        self.healthy = False
        self._wake()

    def _recover(self) -> None:
        try:
            self._store.recover()
            self._store.check()
        except Exception as error:
            log.warning("results store still fails: %s", error)
            self._recover_due = time.monotonic() + _RECOVER_EVERY  # the try may have taken seconds
            self._first = len(self._work)
            return
        self.healthy = True
        log.info("results store is back")
        self._wake()
