"""The words that the line finds where its PLC would be, and what a PLC does with them in every scan.

    Memory ─▶ Modbus TCP server on this PC ◀── the line
      ▲ every scan: heartbeat, RESET, RECIPE_REQ, ERROR_ACK, RESULT_ACK (plc/rungs.py), then `scanned`
    Block ◀── drive.py: which part, TRIGGER, RESULT_ACK

It has a thread and an event loop of its own: what OPC UA clients do cannot hold up a scan.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from inspection.errors import ConfigError
from inspection.plc.memory import Memory
from inspection.plc.modbus import ModbusConfig
from inspection.plc.rungs import Rungs
from inspection.plc.servers import open_server
from inspection.plc.words import Ctrl, CtrlFlag, Stat, StatFlag

log = logging.getLogger("inspection.opcua")
SCAN = 0.005
"""Seconds from scan to scan."""


class RefusedError(Exception):
    """What was asked for cannot be done in the present state."""


@dataclass(frozen=True, slots=True)
class PartGiven:
    """What a client says of the part, or of the first one: part id (u32) and serial or lot, 16 characters."""

    part_id: int | None = None
    serial: str = ""


class Block:
    """CTRL and STAT, from `start` to `stop`. Only `start`, `stop`, `there`, `fault` are for other threads.

    Attributes:
        stat: as the line left it at the latest scan.
        now: seconds of the monotonic clock, at the latest scan.
        rungs: the flags of CTRL, and what drives them beside the part.
        sequence: TRIG_SEQ.
        part: what is told of the part.
        in_hand: a part is under way: its answer is not thrown away.
        halted: ENABLE stays down.
    """

    def __init__(
        self,
        plc: ModbusConfig,
        recipe_timeout: float,
        heard: Callable[..., None],
        scanned: Callable[[], None],
    ) -> None:
        """Nothing listens before `start`.

        Args:
            plc: where the line looks for its PLC.
            recipe_timeout: seconds that a living line may take for a recipe.
            heard: is given events of the rungs: a name, and fields.
            scanned: is called after every scan.
        """
        self._plc, self._recipe_timeout = plc, recipe_timeout
        self._heard, self._scanned = heard, scanned
        self._memory = Memory(plc.ctrl_address, plc.stat_address)
        self._server = open_server("modbus", plc.unit)
        self._thread = threading.Thread(target=self._run, name="drive", daemon=True)
        self._listening = threading.Event()
        self._error: BaseException | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        self._scans = 0
        self.stat, self.now = Stat(), time.monotonic()
        self.sequence, self.part = 0, PartGiven()
        self.in_hand = self.halted = False
        self.power_up(reset=False)

    def start(self) -> None:
        """Listen and scan. Raises ConfigError: it cannot listen where the line looks."""
        self._thread.start()
        self._listening.wait()
        if self._error is not None:
            raise ConfigError(
                f"cannot play the PLC on {self._plc.host}:{self._plc.port}: {self._error}; "
                "is something else there? change `plc.port`"
            ) from self._error

    def stop(self) -> None:
        """End; what is under way is cancelled. May be called twice."""
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            if self._thread.is_alive():
                self._loop.call_soon_threadsafe(self._leave.set)
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def fault(self) -> BaseException | None:
        """Why it ended by itself; None while it runs. Nothing passes any more."""
        return self._error

    async def there(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run something on the block's loop, from another. Raises RefusedError: the block has ended."""
        try:
            found = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError as error:
            work.close()
            raise RefusedError("the drive has ended") from error
        try:
            return await asyncio.wrap_future(found)
        except asyncio.CancelledError:
            if found.cancelled() and self._error is not None:
                raise RefusedError("the drive has ended") from None
            raise

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Let something run beside the scans; when it fails, the block ends."""
        self._tasks.append(asyncio.create_task(work))

    def power_up(self, *, reset: bool) -> None:
        """Begin anew with the flags: ENABLE, no recipe requested; `reset`: RESET is pulsed."""
        self.rungs = Rungs(
            self._heard,
            time.monotonic(),
            reset=reset,
            recipe=0,
            recipe_timeout=self._recipe_timeout,
        )

    def ready(self) -> bool:
        """Tell whether a trigger may be given now."""
        stat, flags = self.stat, self.rungs.flags
        return (
            bool(flags & CtrlFlag.ENABLE)
            and not self.halted
            and not flags & CtrlFlag.RESULT_ACK
            and self.rungs.alive()
            and not self.rungs.starting()
            and stat.has(StatFlag.READY)
            and not stat.has(StatFlag.RESULT_VALID)
            and not stat.has(StatFlag.TRIG_ACK)
        )

    async def until(self, is_so: Callable[[], bool], end: float) -> bool:
        """Wait until a scan finds that something is so; False: it was not up to `end`, as `now`."""
        while not is_so():
            if self.now >= end:
                return False
            await self.scans(1)
        return True

    async def scans(self, count: int) -> None:
        """Wait until so many scans have read STAT and shown CTRL."""
        wanted = self._scans + count
        while self._scans < wanted:
            await asyncio.sleep(SCAN / 2)

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # told to the caller of start, and by `fault`
            self._error = error
            if self._listening.is_set():
                log.exception("the drive has ended; no part passes")
        finally:
            self._listening.set()

    async def _serve(self) -> None:
        self._loop, self._leave = asyncio.get_running_loop(), asyncio.Event()
        try:
            self._scan()  # what stands in CTRL is right before anybody can read it
            await self._server.start(self._memory, self._plc.host, self._plc.port)
            self._listening.set()
            while not self._leave.is_set():
                self._scan()
                for task in [one for one in self._tasks if one.done()]:
                    self._tasks.remove(task)
                    task.result()
                await asyncio.sleep(SCAN)
        finally:
            self._memory.clear()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._server.stop()

    def _scan(self) -> None:
        self.stat, self.now = self._memory.stat(), time.monotonic()
        self.rungs.scan(self.stat, self.now, between_parts=not self.in_hand)
        if self.halted:
            self.rungs.flags &= ~(CtrlFlag.ENABLE | CtrlFlag.TRIGGER)
        ctrl = Ctrl(
            flags=self.rungs.flags,
            heartbeat=self.rungs.beat,
            trig_seq=self.sequence,
            recipe=self.rungs.recipe_shown,
            part_id=self.part.part_id or 0,
            serial=self.part.serial,
        )
        self._memory.show(ctrl.pack())
        self._scans += 1
        self._scanned()
