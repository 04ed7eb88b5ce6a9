"""The line process: one loop that talks to the PLC, and three stages with a thread each.

    PLC ──CTRL──▶ loop ──offer──▶ acquire ──▶ detect ──▶ decide
     ▲             │  └─triggered─▶ record                 │
     │             │                  ▲      settle ◀──────┘
     └──STAT───────┴── publish ◀──────┴─ decided (durable)

The loop reads CTRL, follows the handshake, watches the deadline, and writes the heartbeat itself: when
it hangs, the heartbeat stops and the PLC rejects. It never waits for a camera, a model or a disk.
A part is settled once, by whoever is first: the decision, the deadline, or a fault. Its answer is
published only after its row is durable.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from inspection.acquire import Acquire
from inspection.changeover import Changeover, Taken
from inspection.channel import Wake
from inspection.detect import DetectStage
from inspection.errors import InspectionError, PlcError, PlcSharedError
from inspection.pace import Pace
from inspection.part import PartInFlight, Setup, utc_now
from inspection.plc.exchange import Exchange
from inspection.plc.words import Ctrl, CtrlFlag, StatFlag
from inspection.readiness import Readiness
from inspection.record import Record
from inspection.sequence import TriggerCount
from inspection.types import (
    Command,
    CommandState,
    Decision,
    Frame,
    PartKey,
    PartState,
    Reason,
    Result,
    StoredAnswer,
    Trigger,
)

log = logging.getLogger(__name__)

_DEFAULT_DEADLINE = 1.0
_RECONNECT = (0.05, 0.1, 0.2, 0.4)
_MAX_ABANDONED = 5
_JUST_NOW = 0.002
"""Seconds in which a reading of CTRL is as good as a new one, when an answer is published."""
_ROW_FIRST = 0.0006
"""Seconds that the loop leaves the interpreter to a decision's row; by then it is the disk that works."""
_REPEAT_FOR = 10.0


@dataclass(frozen=True, slots=True)
class Timing:
    """Times of the loop, in seconds.

    Attributes:
        poll: between two readings of CTRL; the loop wakes earlier when a stage has news.
        steady: CTRL is read neither more often while a part is due nor less often beside the model.
        ack_timeout: RESULT_VALID is dropped when the PLC has not acknowledged by then.
        record_grace: after the deadline, how long to wait for the store before the part is answered
            NOT_INSPECTED without it.
        stop_grace: how long a stop waits for the part in flight.
    """

    poll: float = 0.002
    steady: bool = False
    ack_timeout: float = 2.0
    record_grace: float = 0.25
    stop_grace: float = 2.0


@dataclass(frozen=True, slots=True)
class Status:
    """How a station stands, for people who look at it. A reason is None where all is well.

    Attributes:
        turned_mono: when the loop began its latest turn; one that hangs stays behind.
        cause: why a part could not be inspected now.
        camera: of the acquire stage.
        plc: of the link and the PLC's heartbeat.
        model: of the detect stage.
        store: of the record stage.
        degraded: pictures are being lost.
        recipe: number of the recipe in force, 0 for none.
        release: `PART/NUMBER` in force; empty for none.
    """

    turned_mono: float
    cause: Reason | None
    camera: Reason | None
    plc: Reason | None
    model: Reason | None
    store: Reason | None
    degraded: bool
    recipe: int
    release: str


class Station:
    """One inspection station. `run` returns when it was stopped, or raises when only a restart helps."""

    def __init__(
        self,
        name: str,
        *,
        exchange: Exchange,
        open_acquire: Callable[
            [Callable[[], None], Callable[[PartInFlight], None], Frame | None], Acquire
        ],
        open_detect: Callable[
            [Callable[[], None], Callable[[PartInFlight, Result], None]], DetectStage
        ],
        open_record: Callable[[Callable[[], None]], Record],
        recipes: Callable[[int], Setup],
        first_recipe: int,
        epoch: int,
        last: StoredAnswer | None,
        timing: Timing = Timing(),
        answered: Callable[[PartInFlight], None],
        readiness: Callable[[Reason | None], None],
    ) -> None:
        """Wire the stages; nothing runs before `run`.

        Args:
            name: of the station, in every row.
            exchange: the handshake over the PLC driver, not connected.
            open_acquire: makes the acquire stage from `wake`, `deliver` and the last frame; called again
                after a hang.
            open_detect: makes the detect stage from `wake` and `late`.
            open_record: makes the record stage from `wake`.
            recipes: number to recipe and release; raises ConfigError or ReleaseError.
            first_recipe: in force from the start; 0: wait for the PLC's request.
            epoch: of this start, from the store.
            last: what the store holds of the latest trigger before this start.
            timing: of the loop.
            answered: called for each published answer.
            readiness: called when READY's cause changes; None means READY.
        """
        self._name = name
        self._exchange = exchange
        self._news = Wake()
        wake = self._news.set
        self._record = open_record(wake)
        self._detect = open_detect(wake, self._record.late)
        self._open_acquire = lambda last: open_acquire(wake, self._detect.deliver, last)
        self._acquire = self._open_acquire(None)
        self._abandoned = 0
        counted = last.key.sequence if last else 0
        self._count = TriggerCount(epoch, counted, self._record.begin_epoch)
        self._timing = timing
        self._pace = Pace(timing.poll, steady=timing.steady)
        self._answered = answered

        self._part: PartInFlight | None = None
        self._queued = False  # the decision was handed to record
        self._queued_at = 0.0
        self._published: float | None = None  # when RESULT_VALID was raised
        self._ack_seen_low = False
        self._armed = True  # TRIGGER was seen low since the last one was taken
        self._last: PartInFlight | None = None
        self._repeat_until = 0.0  # so long the last part's trigger, once more, is a repeat
        self._restored = last
        self._reset_up = False
        self._unacknowledged = False
        self._stopping = False
        self._unlinked = Reason.PLC_LINK
        self._turned = time.monotonic()
        self._command: Command | None = None  # of the pages, being read by the changeover

        self._changeover = Changeover(recipes, self._detect.load, wake)
        self._readiness = Readiness(
            exchange, self._changeover, lambda: self._acquire, self._detect, self._record, readiness
        )
        self._recipe_asked: int | None = None  # what RECIPE_REQ, while up, was last followed for
        if first_recipe:
            self._changeover.request(first_recipe)

    @property
    def ready(self) -> bool:
        """Whether READY is shown to the PLC."""
        return self._exchange.connected and self._exchange.stat.has(StatFlag.READY)

    def status(self) -> Status:
        """Return how the station stands. Any thread may ask; nothing waits and nothing changes."""
        changeover, acquire, detect = self._changeover, self._acquire, self._detect
        setup, exchange = changeover.setup, self._exchange
        link = None if exchange.plc_alive() else Reason.PLC_HEARTBEAT
        return Status(
            turned_mono=self._turned,
            cause=self._readiness.cause,
            camera=None if acquire.healthy else acquire.fault or Reason.CAMERA_LOST,
            plc=link if exchange.connected else self._unlinked,
            model=None if detect.ready_for(setup) else detect.fault or Reason.MODEL_LOADING,
            store=None if self._record.healthy else Reason.STORE_FAILED,
            degraded=self._record.degraded,
            recipe=changeover.number,
            release="" if setup is None else setup.release.name,
        )

    # ------------------------------------------------------------------ the loop

    def run(self, stop: threading.Event) -> None:
        """Inspect until `stop` is set; the part in flight is finished first.

        Raises:
            InspectionError: a stage hangs beyond mending; the process must be restarted.
        """
        self._record.start()
        self._detect.start()
        self._acquire.start()
        self._readiness.note(Reason.PLC_LINK)
        attempt = 0
        stop_by = float("inf")
        ctrl = Ctrl()
        try:
            while not (self._stopping and (self._part is None or time.monotonic() > stop_by)):
                self._turned = time.monotonic()
                if stop.is_set() and not self._stopping:
                    self._stopping, stop_by = True, time.monotonic() + self._timing.stop_grace
                try:
                    if not self._exchange.connected:
                        ctrl = self._connect()
                    elif not self._may_answer():
                        ctrl = self._exchange.poll()
                    self._step(ctrl)
                    attempt = 0
                except (PlcError, ValueError) as error:
                    self._link_lost(error)
                    self._advance()
                    self._news.wait(_RECONNECT[min(attempt, len(_RECONNECT) - 1)])
                    attempt += 1
                self._watch_stages()
                self._news.wait(self._pause())
                self._advance()  # what a stage decided goes to record before the PLC is asked anything
                self._let_record_begin()
        finally:
            self._shut_down()

    def _pause(self) -> float:
        """Return seconds to the next reading of CTRL."""
        part, now = self._part, time.monotonic()
        if part is None:
            return self._pace.pause(now)
        if part.result is not None or not (part.exposed and self._armed):
            return self._timing.poll
        return self._pace.pause_beside_model(part.trigger.deadline_mono - now)

    def _let_record_begin(self) -> None:
        part = self._part
        if part is not None and part.result is not None and part.recorded is None:
            self._news.wait(_ROW_FIRST)

    def _may_answer(self) -> bool:
        """Tell whether an answer waits and CTRL was read just now: then it need not be read once more."""
        part = self._part
        waits = part is not None and part.recorded is not None and self._published is None
        return waits and time.monotonic() - self._exchange.polled < min(
            self._timing.poll, _JUST_NOW
        )

    def _step(self, ctrl: Ctrl) -> None:
        self._follow_reset(ctrl)
        self._follow_trigger(ctrl)
        self._follow_part(ctrl)
        self._follow_recipe(ctrl)
        self._readiness.show(ctrl, in_work=self._part is not None, stopping=self._stopping)

    def _connect(self) -> Ctrl:
        ctrl = self._exchange.connect()
        log.info("PLC link is up")
        self._exchange.raise_flags(StatFlag.ONLINE)
        self._restore_last(ctrl)
        part = self._part
        if part is not None and self._published is not None:
            self._published = (
                time.monotonic()
            )  # STAT was written again: the PLC gets its time again
        if part is not None and part.trigger.key.sequence != ctrl.trig_seq and not part.attempted:
            self._abandon_part(Reason.SUPERSEDED, "the PLC came back with another sequence")
            self._exchange.drop_flags(StatFlag.EXPOSURE_DONE)  # or the next part would seem exposed
        return ctrl

    def _link_lost(self, error: Exception) -> None:
        shared = isinstance(error, PlcSharedError)
        self._unlinked = Reason.PLC_SHARED if shared else Reason.PLC_LINK
        if self._exchange.connected or (shared and self._readiness.cause is not self._unlinked):
            log.warning("PLC link lost: %s", error)
        self._exchange.close()
        self._readiness.note(self._unlinked)

    # ------------------------------------------------------------------ triggers

    def _follow_reset(self, ctrl: Ctrl) -> None:
        up = ctrl.has(CtrlFlag.RESET)
        if up and not self._reset_up:
            log.info("RESET from the PLC: new epoch")
            if self._part is not None:
                self._abandon_part(Reason.SUPERSEDED, "RESET while in flight")
            self._count.reset()
            self._last = None
            self._exchange.drop_flags(
                StatFlag.MISSED_TRIGGER
                | StatFlag.ERROR
                | StatFlag.RESULT_VALID
                | StatFlag.EXPOSURE_DONE
                | StatFlag.BUSY
            )
        self._reset_up = up

    def _follow_trigger(self, ctrl: Ctrl) -> None:
        if not ctrl.has(CtrlFlag.TRIGGER):
            self._armed = True
            self._exchange.drop_flags(StatFlag.TRIG_ACK)
            return
        part = self._part
        same = part is not None and _is_same(part, ctrl)
        if ctrl.trig_seq == 0 or not self._exchange.plc_alive() or (same and not self._armed):
            return
        if (
            not self._armed
            and part is None
            and self._last is not None
            and _is_same(self._last, ctrl)
        ):
            return  # the PLC still holds the trigger of a part that was answered
        self._armed = False
        if same:
            self._take_again(ctrl)
        elif part is None and self._last is not None and self._is_repeat(self._last, ctrl):
            self._part, self._queued = self._last, True
            self._take_again(ctrl)
        else:
            self._take(ctrl)

    def _is_repeat(self, last: PartInFlight, ctrl: Ctrl) -> bool:
        """A PLC that has its answer repeats a trigger by bouncing; later it is another part."""
        return _is_same(last, ctrl) and time.monotonic() < self._repeat_until

    def _take(self, ctrl: Ctrl) -> None:
        now = time.monotonic()
        self._pace.trigger(now)
        cause = self._readiness.find_cause(
            ctrl, in_work=self._part is not None, stopping=self._stopping
        )
        if cause is None and self._recipe_waits(ctrl):
            cause = Reason.MODEL_LOADING
        overrun = self._part is not None
        if overrun:
            self._abandon_part(Reason.SUPERSEDED, f"trigger {ctrl.trig_seq} came before the answer")
        self._note_missed(self._count.take(ctrl.trig_seq), now)
        part = PartInFlight(self._trigger(ctrl, now), self._changeover.setup)
        self._part, self._queued, self._published = part, False, None
        if overrun:
            part.settle(Result.not_inspected(Reason.OVERRUN, "trigger while BUSY"))
        elif cause is not None:
            part.settle(_not_ready(cause))
        elif not self._acquire.offer(part):
            part.settle(
                Result.not_inspected(Reason.OVERRUN, "the camera is busy with another part")
            )
        try:
            self._exchange.accept(ctrl.trig_seq, missed=overrun)
        finally:  # after it: until then the camera's thread shall have the interpreter
            self._record.triggered(part)

    def _take_again(self, ctrl: Ctrl) -> None:
        """The same trigger once more: the same answer, no second row."""
        log.info("sequence %d repeated: the same answer again", ctrl.trig_seq)
        self._published = None
        self._exchange.accept(ctrl.trig_seq)

    def _trigger(self, ctrl: Ctrl, now: float) -> Trigger:
        setup = self._changeover.setup
        recipe_deadline = setup.recipe.deadline if setup else _DEFAULT_DEADLINE
        deadline = ctrl.deadline_ms / 1000 if ctrl.deadline_ms else recipe_deadline
        key = PartKey(self._name, self._count.epoch, ctrl.trig_seq)
        return Trigger(key, ctrl.part_id, ctrl.serial, now, utc_now(), now + deadline)

    def _note_missed(self, missed: list[tuple[int, int]], now: float) -> None:
        """Give triggers that never came here their rows; the PLC rejected these parts itself."""
        for epoch, sequence in missed:
            key = PartKey(self._name, epoch, sequence)
            part = PartInFlight(Trigger(key, 0, "", now, utc_now(), now), None)
            part.settle(
                Result.not_inspected(Reason.MISSED, "the trigger never reached the station")
            )
            self._record.decided(part)
            log.warning("sequence %d never came: the station or the link was down", sequence)

    # ------------------------------------------------------------------ the part in flight

    def _follow_part(self, ctrl: Ctrl) -> None:
        part = self._part
        if part is None:
            return
        if part.trigger_stored is not None and not self._armed:
            self._exchange.raise_flags(StatFlag.TRIG_ACK)
        if part.exposed and self._published is None:
            self._exchange.raise_flags(StatFlag.EXPOSURE_DONE)
        self._advance()
        if self._published is None:
            self._publish(part, ctrl)
        else:
            self._follow_ack(part, ctrl)

    def _advance(self) -> None:
        """Settle at the deadline and hand decisions to record; needs no link."""
        part = self._part
        if part is None:
            return
        now = time.monotonic()
        late = now > part.trigger.deadline_mono
        if part.trigger_stored is False:
            part.settle(
                Result.not_inspected(Reason.STORE_FAILED, "the trigger's row could not be written")
            )
        if late and part.result is None:
            stage = Reason.INFERENCE_TIMEOUT if part.frame is not None else Reason.CAMERA_TIMEOUT
            part.settle(Result(Decision.NOT_INSPECTED, Reason.DEADLINE, (Reason.DEADLINE, stage)))
        if part.result is None:
            return
        if not self._queued:
            self._queued, self._queued_at = True, now
            self._record.decided(part)
        elif (
            late
            and not part.attempted
            and part.recorded is not None
            and part.result.decision is not Decision.NOT_INSPECTED
        ):
            self._reject(
                part, Reason.DEADLINE, "decided in time, but could not be published in time"
            )

    def _reject(self, part: PartInFlight, reason: Reason, detail: str) -> Result:
        """Turn an unpublished answer into NOT_INSPECTED, in the store first; return what it is now."""
        result = part.reject(reason, detail)
        part.recorded = None
        self._record.decided(part)
        return result

    def _publish(self, part: PartInFlight, ctrl: Ctrl) -> None:
        result = part.recorded
        now = time.monotonic()
        if result is None:
            asked = max(part.trigger.deadline_mono, self._queued_at)
            if part.result is None or now <= asked + self._timing.record_grace:
                return
            result = self._reject(part, Reason.STORE_FAILED, "the store did not answer in time")
        cycle = now - part.trigger.seen_mono
        self._exchange.write_result(
            part.trigger.key.sequence, result, record_id=part.record_id, cycle=cycle
        )
        first, part.attempted = not part.attempted, True
        self._exchange.announce()
        part.timings.setdefault("answered", time.monotonic() - part.trigger.seen_mono)
        self._published = time.monotonic()
        self._ack_seen_low = not ctrl.has(CtrlFlag.RESULT_ACK)
        self._record.sent(part.trigger.key)
        if first:
            self._answered(part)
        log.info(
            "part %s %s %s in %.1f ms",
            part.trigger.key,
            result.decision,
            result.reason.name,
            cycle * 1e3,
        )

    def _follow_ack(self, part: PartInFlight, ctrl: Ctrl) -> None:
        published = self._published
        if published is None:
            return
        acknowledged = ctrl.has(CtrlFlag.RESULT_ACK)
        repeat_until = float("inf")
        if acknowledged and self._ack_seen_low:
            repeat_until = time.monotonic() + _REPEAT_FOR
            self._record.acknowledged(part.trigger.key)
            if self._unacknowledged:
                self._unacknowledged = False
                self._record.alarm(Reason.PLC_NO_ACK, "", on=False)
        elif time.monotonic() > published + self._timing.ack_timeout:
            log.warning("part %s: the PLC did not acknowledge", part.trigger.key)
            if not self._unacknowledged:
                self._unacknowledged = True
                self._record.alarm(Reason.PLC_NO_ACK, str(part.trigger.key), on=True)
        else:
            self._ack_seen_low = self._ack_seen_low or not acknowledged
            return
        self._last, self._repeat_until = part, repeat_until
        self._part, self._published = None, None
        self._exchange.drop_flags(StatFlag.RESULT_VALID | StatFlag.EXPOSURE_DONE)

    def _abandon_part(self, reason: Reason, detail: str) -> None:
        """The PLC went on without the answer: keep the row honest, publish nothing."""
        part = self._part
        if part is None:
            return
        part.settle(Result.not_inspected(reason, detail))
        if not part.attempted:
            self._reject(part, reason, detail)
        self._part, self._published = None, None
        log.warning("part %s abandoned: %s", part.trigger.key, detail)

    def _restore_last(self, ctrl: Ctrl) -> None:
        """At the first connection after a start: the PLC may still wait for the latest stored answer."""
        stored, self._restored = self._restored, None
        if stored is None or stored.result is None:
            return
        part = PartInFlight.from_store(stored, stored.result, time.monotonic())
        self._last = part
        self._repeat_until = 0.0 if stored.state is PartState.ACKNOWLEDGED else float("inf")
        waits = not ctrl.has(CtrlFlag.TRIGGER) and not ctrl.has(CtrlFlag.RESULT_ACK)
        if stored.state is not PartState.ACKNOWLEDGED and waits and _is_same(part, ctrl):
            log.info("part %s: the PLC may still wait, the stored answer is sent again", stored.key)
            self._part, self._queued = part, True

    # ------------------------------------------------------------------ changeover

    def _follow_recipe(self, ctrl: Ctrl) -> None:
        changeover = self._changeover
        if self._part is None:
            self._tell_command(changeover.take())
        self._follow_command(ctrl)
        if not ctrl.has(CtrlFlag.RECIPE_REQ):
            self._recipe_asked = None
            self._exchange.drop_flags(StatFlag.RECIPE_ACK)
            return
        if self._part is not None or changeover.pending:
            return
        if ctrl.recipe != self._recipe_asked:
            self._recipe_asked = ctrl.recipe
            self._exchange.drop_flags(StatFlag.RECIPE_ACK)
            changeover.request(ctrl.recipe)
        elif changeover.number == ctrl.recipe and self._detect.ready_for(changeover.setup):
            self._exchange.show(Reason.NONE, ctrl.recipe)
            self._exchange.raise_flags(StatFlag.RECIPE_ACK)

    def _recipe_waits(self, ctrl: Ctrl) -> bool:
        """Tell whether the PLC asks for a recipe and was not told yet that it is in force."""
        is_told = self._exchange.stat.has(StatFlag.RECIPE_ACK) and ctrl.recipe == self._recipe_asked
        return ctrl.has(CtrlFlag.RECIPE_REQ) and not is_told

    def _follow_command(self, ctrl: Ctrl) -> None:
        """Let an engineer choose the recipe, between parts, where the PLC does not choose it."""
        busy = self._part is not None or self._changeover.pending or ctrl.has(CtrlFlag.TRIGGER)
        if busy or self._stopping:
            return
        command = self._record.command()
        if command is None:
            return
        if ctrl.has(CtrlFlag.RECIPE_REQ):
            self._record.command_done(command, CommandState.REFUSED, "plc_requests")
        elif ctrl.recipe not in {0, command.recipe}:
            detail = f"plc_holds {ctrl.recipe}"
            self._record.command_done(command, CommandState.REFUSED, detail)
        else:
            log.info("recipe %d, asked for by %s", command.recipe, command.who)
            self._command = command
            self._changeover.request(command.recipe, keep=True)

    def _tell_command(self, taken: Taken | None) -> None:
        command = self._command
        if taken is None or command is None:
            return
        self._command = None
        if taken.refused is None:
            self._record.command_done(command, CommandState.DONE, taken.detail)
        else:
            detail = f"{taken.refused.name} {taken.detail}"
            self._record.command_done(command, CommandState.REFUSED, detail)

    # ------------------------------------------------------------------ stages that hang, and the end

    def _watch_stages(self) -> None:
        if self._acquire.stuck():
            self._abandoned += 1
            log.error(
                "the camera driver blocks: its thread is abandoned (%d so far)", self._abandoned
            )
            self._acquire.abandon()
            part = self._part
            if part is not None and part.frame is None:
                part.settle(Result.not_inspected(Reason.CAMERA_TIMEOUT, "the camera driver blocks"))
            if self._abandoned > _MAX_ABANDONED:
                raise InspectionError(
                    "the camera driver blocked too often; restart the line process"
                )
            self._acquire = self._open_acquire(self._acquire.previous)
            self._acquire.start()
        if self._detect.stuck():
            raise InspectionError(
                "the runtime blocks and cannot be interrupted; restart the line process"
            )

    def _shut_down(self) -> None:
        part = self._part
        if part is not None and not part.attempted:
            self._reject_unanswered(part)
        try:
            if self._exchange.connected:
                self._exchange.drop_flags(~StatFlag.RESULT_VALID)
        except PlcError as error:
            log.warning("PLC link lost while stopping: %s", error)
        self._exchange.close()
        self._acquire.stop(1.0)
        self._detect.stop(1.0)
        self._record.stop(3.0)

    def _reject_unanswered(self, part: PartInFlight) -> None:
        part.settle(Result.not_inspected(Reason.STOPPED, "the station was stopped"))
        self._reject(part, Reason.STOPPED, "the station was stopped")


def _is_same(part: PartInFlight, ctrl: Ctrl) -> bool:
    trigger = part.trigger
    return (trigger.key.sequence, trigger.part_id, trigger.serial) == (
        ctrl.trig_seq,
        ctrl.part_id,
        ctrl.serial,
    )


def _not_ready(cause: Reason) -> Result:
    return Result(
        Decision.NOT_INSPECTED,
        Reason.NOT_READY,
        (Reason.NOT_READY, cause),
        detail=f"not READY: {cause.name}",
    )
