"""The methods by which clients drive the station, and what the drive tells, shown as the model wants it.

StartSingleJob, StartContinuous, Stop, Abort, Halt, Reset ─▶ Drive (its own thread)
each new view of the drive ─▶ state, then JobStartedEvent, AcquisitionDoneEvent, ReadyEvent, in order
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from pathlib import Path
from typing import Any

from asyncua import ua

from inspection.errors import PlcError, StoreError
from inspection.opcua_server_config import DrivesConfig
from inspection.plc.modbus import ModbusConfig
from inspection.plc.words import SERIAL_CHARS
from inspection.store.following import newest
from inspection.store.web.access import WebStore
from inspection.store.web.people import Role
from inspection_serve.opcua.block import PartGiven, RefusedError
from inspection_serve.opcua.channel import CALLER, SESSION, Session, SignedIn
from inspection_serve.opcua.drive import Drive, DriveView
from inspection_serve.opcua.jobs import JobBook
from inspection_serve.opcua.machines import ACQUISITION_DONE, JOB_STARTED, READY, Machines
from inspection_serve.opcua.model import Model
from inspection_serve.opcua.results import job_name
from inspection_serve.opcua.state import Automatic, StationState, Vision, driven

log = logging.getLogger("inspection.opcua")
OK, OTHER_RECIPE, NO_STORE, NOT_KEPT = 0, -1, -2, -3
"""Values of the Error argument; those below 0 are ours."""
_PART_ID_MOST = 2**32 - 1


class Driving:
    """Drives one station. Used in the server's one thread, but for what the drive does in its own."""

    def __init__(
        self,
        model: Model,
        machines: Machines,
        store: WebStore,
        station: str,
        settings: DrivesConfig,
        plc: ModbusConfig,
        folder: Path,
    ) -> None:
        """Read the book of jobs in `folder`. Raises ConfigError: it cannot be used."""
        self._model, self._machines = model, machines
        self._store, self._station, self._settings = store, station, settings
        self.book = JobBook(folder / "jobs.jsonl")
        if self.book.lost is not None:
            log.warning("the part of sequence %d was in hand: lost, it is rejected", self.book.lost)
        self._drive = Drive(settings, plc, self.book, self._hear)
        self._loop = asyncio.get_running_loop()
        self._news: deque[DriveView] = deque()
        self._stirred = asyncio.Event()
        self._view = DriveView(halted=self.book.halted)
        # The latest continuous run, and whose it is.
        self._run: tuple[int, Session | None] = (0, None)
        self._over = 0  # a job that is over, while the station has not been Ready since

    async def prepare(self) -> None:
        """Bind the methods; once, before the server starts."""
        model = self._model
        for owner, name, answer in (
            (model.automatic, "StartSingleJob", self._start_single),
            (model.automatic, "StartContinuous", self._start_continuous),
            (model.automatic, "Stop", self._stop),
            (model.automatic, "Abort", self._abort),
            (model.vision, "Halt", self._halt),
            (model.vision, "Reset", self._reset),
        ):
            model.server.link_method(await model.method(owner, name), answer)

    def start(self) -> None:
        """Let the line find its PLC. Raises ConfigError."""
        self._drive.start()

    def stop(self) -> None:
        """End the drive; what is in hand is lost."""
        self._drive.stop()
        self.book.close()

    # ------------------------------------------------------------------ what is shown

    async def show(self, state: StationState) -> None:
        """Show each step that the drive told since the last time, then how the station stands now.

        Raises:
            PlcError: the drive has ended.
        """
        while self._news:
            await self._take(self._news.popleft(), state)
        await self._show(state)
        if self._drive.fault is not None:
            raise PlcError(f"the drive has ended: {self._drive.fault}") from self._drive.fault
        job, session = self._run
        if session is not None and session.is_gone(self._settings.client_timeout):
            self._run = 0, None
            with contextlib.suppress(RefusedError):  # that run is over
                await self._drive.end_job(abort=False, job=job)
                log.warning("the client of the continuous run is gone: the run ends")

    async def pause(self, seconds: float) -> None:
        """Wait so long, or until the drive tells something."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stirred.wait(), seconds)
        self._stirred.clear()

    def _hear(self, view: DriveView) -> None:
        with contextlib.suppress(RuntimeError):  # the server's loop has ended
            self._loop.call_soon_threadsafe(self._put, view)

    def _put(self, view: DriveView) -> None:
        self._news.append(view)
        self._stirred.set()

    async def _take(self, view: DriveView, state: StationState) -> None:
        before, self._view = self._view, view
        if before.job and view.job != before.job:
            self._over = before.job
        await self._show(state)
        if view.job and view.job != before.job:
            await self._machines.tell_job(JOB_STARTED, job_name(self._station, view.job))
        if view.job and view.acquired != before.acquired:
            await self._machines.tell_job(ACQUISITION_DONE, job_name(self._station, view.job))

    async def _show(self, state: StationState) -> None:
        found = driven(state, self._view)
        await self._machines.show(found, self._view.ended)
        if self._over and found.automatic is Automatic.READY:
            over, self._over = self._over, 0
            await self._machines.tell_job(READY, job_name(self._station, over))

    # ------------------------------------------------------------------ the methods

    def _driver(self) -> SignedIn | None:
        """Return who calls; None when they may not drive."""
        caller = CALLER.get()
        if caller is None or not Role(caller.role_name).covers(Role(self._settings.role)):
            return None
        return caller

    async def _start_single(self, _parent: Any, *arguments: Any) -> Any:
        return await self._begin(arguments, single=True)

    async def _start_continuous(self, _parent: Any, *arguments: Any) -> Any:
        return await self._begin(arguments, single=False)

    async def _begin(self, arguments: tuple[Any, ...], *, single: bool) -> Any:
        """StartSingleJob, StartContinuous(MeasId, PartId, RecipeId, ProductId, Parameters) → JobId, Error."""
        caller = self._driver()
        if caller is None:
            return ua.StatusCode(ua.StatusCodes.BadUserAccessDenied)
        part = part_given(arguments[1].Value) if len(arguments) == 5 else None
        if part is None:
            return ua.StatusCode(ua.StatusCodes.BadInvalidArgument)
        meas, _, recipe, product, parameters = (one.Value for one in arguments)
        if _id(meas) or _id(product) or parameters:
            return _job("", NOT_KEPT)
        shown = self._machines.shown
        if shown is None or shown.automatic is not Automatic.READY:
            return ua.StatusCode(ua.StatusCodes.BadInvalidState)
        try:
            after = await asyncio.to_thread(self._newest)
            session = None if single else SESSION.get()
            begun = asyncio.ensure_future(
                self._drive.begin(
                    single=single, by=caller.login, after=after, recipe=_id(recipe), part=part
                )
            )
            begun.add_done_callback(lambda done: self._own(done, session))
            # A connection that drops cancels this call: the job begins all the same, and has its owner.
            number = await asyncio.shield(begun)
        except RefusedError:
            return ua.StatusCode(ua.StatusCodes.BadInvalidState)
        except LookupError:
            return _job("", OTHER_RECIPE)
        except (StoreError, PlcError) as error:
            log.error("no job for %s: %s", caller.login, error)
            return _job("", NO_STORE)
        return _job(job_name(self._station, number), OK)

    def _own(self, begun: asyncio.Future[int], session: Session | None) -> None:
        if not begun.cancelled() and begun.exception() is None and session is not None:
            self._run = begun.result(), session

    def _newest(self) -> int:
        with self._store.read("beginning a job") as connection:
            return newest(connection, self._station)

    async def _stop(self, _parent: Any, *_arguments: Any) -> Any:
        return await self._end(abort=False)

    async def _abort(self, _parent: Any, *_arguments: Any) -> Any:
        return await self._end(abort=True)

    async def _end(self, *, abort: bool) -> Any:
        """Stop, Abort(Cause, CauseDescription) → Error."""
        caller = self._driver()
        if caller is None:
            return ua.StatusCode(ua.StatusCodes.BadUserAccessDenied)
        log.info("%s of %s", "Abort" if abort else "Stop", caller.login)
        try:
            await self._drive.end_job(abort=abort)
        except RefusedError:
            return ua.StatusCode(ua.StatusCodes.BadInvalidState)
        return [_error(OK)]

    async def _halt(self, _parent: Any, *_arguments: Any) -> Any:
        """Halt(Cause, CauseDescription) → Error."""
        return await self._set_halted(halted=True)

    async def _reset(self, _parent: Any, *_arguments: Any) -> Any:
        """Reset(Cause, CauseDescription) → Error."""
        shown = self._machines.shown
        if self._driver() is not None and (
            shown is None or shown.vision not in (Vision.HALTED, Vision.ERROR)
        ):
            return ua.StatusCode(ua.StatusCodes.BadInvalidState)
        return await self._set_halted(halted=False)

    async def _set_halted(self, *, halted: bool) -> Any:
        caller = self._driver()
        if caller is None:
            return ua.StatusCode(ua.StatusCodes.BadUserAccessDenied)
        log.info("%s of %s", "Halt" if halted else "Reset", caller.login)
        try:
            await self._drive.halt(halted=halted)
        except RefusedError:
            return ua.StatusCode(ua.StatusCodes.BadInvalidState)
        except PlcError as error:
            log.error("%s", error)
            return [_error(NO_STORE)]
        return [_error(OK)]

    async def prepare_recipe(self, number: int) -> bool | None:
        """Request a recipe through the handshake; tell whether it is in force. None: not in this state.

        Raises:
            PermissionError: the caller may not drive.
        """
        if self._driver() is None:
            raise PermissionError
        try:
            return await self._drive.prepare(number)
        except RefusedError:
            return None


def part_given(value: Any) -> PartGiven | None:
    """Return part id and serial of a PartIdDataType; None when the handshake cannot carry them.

    An Id of digits is the part id, with the serial in the description; any other Id is the serial.
    """
    name = getattr(value, "Id", None) or ""
    text = getattr(getattr(value, "Description", None), "Text", None) or ""
    part_id: int | None = None
    if name.isascii() and name.isdigit() and len(name) <= 10:
        part_id = int(name)
    elif name and text:
        return None
    else:
        text = name or text
    if part_id is not None and part_id > _PART_ID_MOST:
        return None
    printable = all(" " <= letter <= "~" for letter in text)
    if len(text) > SERIAL_CHARS or not printable or text != text.strip():
        return None
    return PartGiven(part_id, text)


def _id(value: Any) -> str:
    return getattr(value, "Id", None) or ""


def _job(name: str, error: int) -> list[ua.Variant]:
    given: Any = ua
    found = given.JobIdDataType(Id=name)
    return [ua.Variant(found, ua.VariantType.ExtensionObject), _error(error)]


def _error(number: int) -> ua.Variant:
    return ua.Variant(number, ua.VariantType.Int32)
