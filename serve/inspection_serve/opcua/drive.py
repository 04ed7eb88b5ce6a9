"""The PLC's side of the line protocol, played for OPC UA clients: the line knows nothing but its handshake.

    OPC UA methods ─▶ Drive: begin, end_job, halt, prepare            JobBook (on disk)
                        │ one job at a time                              ▲ before TRIGGER, after the outcome
                        ▼                                                │
    trigger ─▶ TRIG_ACK ─▶ answer judged ─▶ RESULT_ACK ─▶ READY ──▶ the next part, or the job's end
                        │
                        ▼
    block.py: the words, scan after scan ◀── Modbus TCP ── the line

Anything that is not a proven PASS of this very trigger in time rejects the part.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from inspection.errors import PlcError
from inspection.opcua_server_config import DrivesConfig
from inspection.plc.modbus import ModbusConfig
from inspection.plc.words import CtrlFlag, StatFlag
from inspection_serve.opcua.block import Block, PartGiven, RefusedError
from inspection_serve.opcua.jobs import JUDGED, Job, JobBook

log = logging.getLogger("inspection.opcua")
_SETTLE = 2.0
"""Seconds for the handshake to end and READY to come back before a job counts as over."""
_CAUSES = {2: "fail", 3: "review", 4: "not_inspected"}


@dataclass(frozen=True, slots=True)
class DriveView:
    """How the drive stands.

    Attributes:
        job: number of the job under way; 0 for none.
        single: that job is of one part.
        ready: a trigger could be given now.
        halted: somebody halted the station.
        acquired: sequence of the part that may move: its exposure is done.
        ended: how the last job ended: Auto, Stop or Abort.
    """

    job: int = 0
    single: bool = False
    ready: bool = False
    halted: bool = False
    acquired: int = 0
    ended: str = "Auto"


class Drive:
    """The PLC's side for one station, from `start` to `stop`. Its methods may be called from any thread."""

    def __init__(
        self,
        settings: DrivesConfig,
        plc: ModbusConfig,
        book: JobBook,
        tell: Callable[[DriveView], None],
    ) -> None:
        """Nothing listens before `start`.

        Args:
            settings: `opcua.drives`.
            plc: where the line looks for its PLC.
            book: of this station; used up to `stop`.
            tell: is given each new view, in its order, in the drive's thread.
        """
        self._settings, self._book, self._tell = settings, book, tell
        self._block = Block(plc, settings.recipe_timeout, self._heard, self._look)
        self._block.power_up(reset=book.is_new)
        self._block.halted = book.halted
        self._part = PartGiven()
        self._aborted = self._last = False
        self._job: Job | None = None
        self._view = DriveView(halted=book.halted)
        self._recipe_waits: Future[bool] | None = None

    def start(self) -> None:
        """Listen and run the program. Raises ConfigError: it cannot listen where the line looks."""
        self._block.start()

    @property
    def fault(self) -> BaseException | None:
        """Why the program ended by itself; None while it runs. Nothing passes any more."""
        return self._block.fault

    def stop(self) -> None:
        """End: the part in hand stays open in the book, and is lost at the next start."""
        self._block.stop()

    async def begin(
        self, *, single: bool, by: str, after: int, recipe: str, part: PartGiven
    ) -> int:
        """Begin a job and return its number.

        Args:
            single: one part; else parts until the run is stopped.
            by: who begins it.
            after: highest record id of the station in the store.
            recipe: number that must be in force; empty for any.
            part: what is known of it.

        Raises:
            RefusedError: a job is under way, or the station is not READY.
            LookupError: another recipe is in force.
            PlcError: the book cannot be written.
        """
        return await self._block.there(self._begin(single, by, after, recipe, part))

    async def end_job(self, *, abort: bool, job: int = 0) -> None:
        """End the job under way: after the part in hand, or at once.

        Args:
            abort: at once; the part in hand is rejected.
            job: number of the only job that is meant; 0: any.

        Raises:
            RefusedError: it is not under way.
        """
        await self._block.there(self._end(abort, job))

    async def halt(self, *, halted: bool) -> None:
        """Drop ENABLE and end the job at once; or raise it again, with RESET.

        Raises:
            RefusedError: a job is under way at a reset.
            PlcError: the book cannot be written; ENABLE is down all the same after a halt.
        """
        await self._block.there(self._halt(halted))

    async def prepare(self, recipe: int) -> bool:
        """Request a recipe, 1..65535, and tell whether it is in force.

        Raises:
            RefusedError: a job or another request is under way, the station is halted or does not live.
        """
        asked = await self._block.there(self._prepare(recipe))
        try:
            return await asyncio.wait_for(
                asyncio.wrap_future(asked), self._settings.recipe_timeout + _SETTLE
            )
        except TimeoutError:  # the line went away
            await self._block.there(self._forget_recipe())
            return False

    # ------------------------------------------------------------------ asked for by clients

    async def _begin(self, single: bool, by: str, after: int, recipe: str, part: PartGiven) -> int:
        if self._job is not None or not self._block.ready():
            raise RefusedError("a job is under way, or the station is not READY")
        if recipe and recipe != str(self._block.stat.recipe):
            raise LookupError(recipe)
        job = self._job = self._book.begin(single=single, by=by, after=after)
        self._aborted, self._last, self._part = False, single, part
        log.info("job %d (%s) of %s", job.number, "single" if single else "continuous", by)
        self._show(ended="Auto", job=job.number, single=single)
        self._block.spawn(self._work(job))
        return job.number

    async def _end(self, abort: bool, job: int) -> None:
        if self._job is None or job not in (0, self._job.number):
            raise RefusedError("no job is under way")
        self._last, self._aborted = True, self._aborted or abort
        self._show(ended="Abort" if abort else "Stop")

    async def _halt(self, halted: bool) -> None:
        if not halted and self._job is not None:
            raise RefusedError("a job is under way")
        if halted:
            self._block.halted = True
            self._last = self._aborted = True
            self._show(halted=True, ready=False, ended="Abort")
        self._book.halt(halted=halted)
        if not halted:
            await self._forget_recipe()
            self._block.power_up(reset=True)
            self._block.halted = False
            self._show(halted=False)

    async def _prepare(self, recipe: int) -> Future[bool]:
        block, busy = self._block, self._job is not None or self._recipe_waits is not None
        if busy or block.halted or not block.rungs.alive() or block.rungs.starting():
            raise RefusedError("no recipe can be requested now")
        found: Future[bool] = Future()
        self._recipe_waits = found
        block.rungs.request_recipe(recipe)
        return found

    async def _forget_recipe(self) -> None:
        waits, self._recipe_waits = self._recipe_waits, None
        if waits is not None:
            self._block.power_up(reset=False)
            if not waits.done():
                waits.set_result(False)

    # ------------------------------------------------------------------ a job

    async def _work(self, job: Job) -> None:
        block, rejects = self._block, 0
        while True:
            due = block.now + self._settings.takt
            cause = await self._inspect(job)
            rejects = 0 if cause == "pass" else rejects + 1
            if cause not in JUDGED and not self._last:
                log.error("job %d ends: a part had no answer (%s)", job.number, cause)
                self._last = True
            if 0 < self._settings.stop_after_rejects <= rejects:
                log.error("job %d ends: %d parts in a row did not pass", job.number, rejects)
                self._last = True
            await block.until(lambda: block.ready() or self._over(), block.now + _SETTLE)
            if self._last:
                break
            await block.until(lambda: self._last, due)
            if not await block.until(lambda: block.ready() or self._last, block.now + _SETTLE):
                log.error("job %d ends: the station is not READY", job.number)
            if self._last or not block.ready():
                break
        self._job = None
        log.info("job %d is over after %d parts", job.number, job.count)
        self._look()

    async def _inspect(self, job: Job) -> str:
        """Give one trigger and return what came of it; the part passes for `pass` alone."""
        block = self._block
        number = self._book.triggers + 1 if self._part.part_id is None else self._part.part_id
        given = replace(self._part, part_id=number & 0xFFFFFFFF)
        try:
            sequence = await asyncio.to_thread(self._book.trigger)
        except PlcError as error:
            log.error("job %d ends without a trigger: %s", job.number, error)
            self._last = True
            return "lost"
        block.in_hand = True
        try:
            cause = await self._handshake(sequence, given)
        finally:
            block.rungs.flags &= ~CtrlFlag.TRIGGER
        record = block.stat.record_id
        log.info("job %d sequence %d record %d: %s", job.number, sequence, record, cause)
        try:
            await asyncio.to_thread(self._book.outcome, cause)
        finally:
            block.in_hand = False
        if cause in (*JUDGED, "bad_check") and block.stat.has(StatFlag.RESULT_VALID):
            block.rungs.flags |= CtrlFlag.RESULT_ACK
        if self._part.part_id is not None:
            self._part = replace(given, part_id=(number + 1) & 0xFFFFFFFF)
        return cause

    async def _handshake(self, sequence: int, given: PartGiven) -> str:
        block = self._block
        if not block.ready():  # it was while the book was written
            return "aborted" if self._aborted else "not_ready"
        block.sequence, block.part = sequence, given
        await block.scans(2)

        def is_taken() -> bool:
            return block.stat.has(StatFlag.TRIG_ACK) and block.stat.ack_seq == sequence

        block.rungs.flags |= CtrlFlag.TRIGGER
        raised = block.now
        await block.until(lambda: self._aborted or is_taken(), raised + self._settings.ack_timeout)
        block.rungs.flags &= ~CtrlFlag.TRIGGER
        if self._aborted or not is_taken():
            return "aborted" if self._aborted else "no_ack"
        end = raised + self._settings.result_timeout
        seen = await block.until(
            lambda: self._aborted or block.stat.has(StatFlag.RESULT_VALID), end
        )
        if self._aborted:
            return "aborted"
        if not block.rungs.alive():
            return "heartbeat"
        return self._judge(sequence) if seen and block.now <= end else "no_result"

    def _judge(self, sequence: int) -> str:
        stat = self._block.stat
        if stat.proves_pass(sequence):
            return "pass"
        echoed = stat.result_seq == stat.result_seq_copy == sequence
        if not echoed or stat.result_code + stat.code_inverse != 0xFFFF:
            return "bad_check"
        return _CAUSES.get(stat.result_code, "bad_check")

    def _over(self) -> bool:
        return self._aborted or not self._block.rungs.alive()

    # ------------------------------------------------------------------ what is told

    def _look(self) -> None:
        """Tell what has changed; a line that fell silent ends the job, also when it comes back at once."""
        block, job, acquired = self._block, self._job, self._view.acquired
        is_its = block.in_hand and block.stat.ack_seq == block.sequence  # not of the part before
        if is_its and block.stat.has(StatFlag.EXPOSURE_DONE):
            acquired = block.sequence
        if job is not None and not self._last and not block.rungs.alive():
            log.error("job %d ends: the line is silent", job.number)
            self._last = True
        self._show(
            job=0 if job is None else job.number,
            single=job is not None and job.single,
            ready=block.ready(),
            acquired=acquired,
        )

    def _show(self, **changes: Any) -> None:
        view = replace(self._view, **changes)
        if view != self._view:
            self._view = view
            self._tell(view)

    def _heard(self, event: str, **fields: Any) -> None:
        log.info("%s %s", event, " ".join(f"{name}={value}" for name, value in fields.items()))
        waits = self._recipe_waits
        if event == "recipe" and waits is not None:
            self._recipe_waits = None
            if not waits.done():
                waits.set_result(bool(fields["ok"]))
