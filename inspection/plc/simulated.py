"""A PLC that ships with the package: a real server over memory that a PLC program scans.

    station ──read / write──▶ WordServer ──▶ Memory ◀── every scan ── Ladder ──▶ PlcLog
                (servers/: one a protocol)     CTRL is shown here, STAT is written by the station

It runs in a thread of its own with its own event loop. The program and the server share that loop,
so a block is never seen half written.
"""

from __future__ import annotations

import asyncio
import threading
import time
from types import TracebackType
from typing import Any, Self

from inspection.errors import PlcError
from inspection.plc.ladder import Ladder
from inspection.plc.memory import Memory, WordServer
from inspection.plc.plc_log import Counters, History, PlcLog
from inspection.plc.servers import open_server
from inspection.plc.simulated_config import SimulatedPlcConfig


class SimulatedPlc:
    """The simulated PLC, from `start` to `stop`. Its methods may be called from any thread.

    Attributes:
        config: how it is set up.
        memory: its words; used on its own thread alone once it runs.
    """

    def __init__(self, config: SimulatedPlcConfig, server: WordServer | None = None) -> None:
        """Nothing runs before `start`.

        Args:
            config: how it is set up.
            server: serves the words in place of the server of `config.protocol`.
        """
        self.config = config
        self.memory = Memory(config.ctrl_address, config.stat_address)
        self._server = server or open_server(config.protocol, config.unit)
        self._log: PlcLog | None = None
        self._ladder: Ladder | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leave: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="simulated-plc", daemon=True)
        self._listening = threading.Event()
        self._done = threading.Event()
        self._error: BaseException | None = None
        self._port = config.port
        self._next_scan = 0.0
        self._stopped = False

    def start(self) -> None:
        """Listen and run the program; returns when a station can connect.

        Raises:
            ConfigError: the log is in use, cannot be opened, or is not a log of a simulated PLC.
            PlcError: it cannot listen on host and port.
            RuntimeError: it was started before.
        """
        if self._thread.ident is not None:
            raise RuntimeError("a SimulatedPlc starts once; make a new one")
        history, resumed = History(next_seq=self.config.first_sequence), False
        if self.config.log is not None:
            self._log = PlcLog(self.config.log)
            try:
                history, resumed = self._log.read(self.config.first_sequence)
            except BaseException:
                self._log.close()
                raise
        self._ladder = Ladder(self.config, history, time.monotonic(), resumed=resumed)
        self._thread.start()
        self._listening.wait()
        if self._error is not None:
            self._thread.join()
            self._close_log()
            if isinstance(self._error, PlcError):
                raise self._error
            raise PlcError(
                f"simulated PLC cannot listen on {self.config.host}:{self.config.port} "
                f"({self._error}); choose a free port, or 0"
            ) from self._error

    @property
    def port(self) -> int:
        """The TCP port it listens on."""
        return self._port

    @property
    def counters(self) -> Counters:
        """A copy of the counters, over the whole log."""
        return self._program().history.counters.copy()

    @property
    def line_stopped(self) -> bool:
        """Whether too many rejects in a row stopped the line."""
        return self._program().line_stopped

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all parts have come and the last handshake is over, or the line was stopped.

        Args:
            timeout: seconds, or None for no limit.

        Returns:
            False when that took longer.

        Raises:
            PlcError: the program failed, for example because its log could not be written. It
                stopped before the effect of the event it could not write.
        """
        done = self._done.wait(timeout)
        if self._error is not None:
            raise PlcError(f"simulated PLC stopped: {self._error}") from self._error
        return done

    def request_recipe(self, number: int) -> None:
        """Request a recipe, 1..65535, between parts. Raises ValueError."""
        if not 1 <= number <= 0xFFFF:
            raise ValueError(f"recipe number must be 1..65535, got {number}")
        self._call(self._program().request_recipe, number)

    def finish(self) -> None:
        """Let no further part come; `wait` returns when the present one is through."""
        self._call(self._program().finish)

    def stop(self) -> None:
        """Stop at once and free the port; may be called twice. A part under way stays outstanding."""
        if self._stopped or self._thread.ident is None:
            return
        self._stopped = True
        leave = self._leave
        if leave is not None:
            self._call(leave.set)
        self._thread.join()
        try:
            if self._log is not None and self._error is None:
                counters = self.counters.as_dict()
                mono = round(time.monotonic(), 6)
                self._log.write({"event": "stop", "counters": counters, "mono": mono})
        finally:
            self._close_log()

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # told to the caller of start or wait
            self._error = error
        finally:
            self._listening.set()
            if self._error is not None:
                self._done.set()

    async def _serve(self) -> None:
        self._loop, self._leave = asyncio.get_running_loop(), asyncio.Event()
        try:
            self._next_scan = self._loop.time()
            self._scan()  # what stands in CTRL is right before anybody can read it
            self._port = await self._server.start(self.memory, self.config.host, self.config.port)
            self._listening.set()
            await self._leave.wait()
        finally:
            await self._server.stop()

    def _scan(self) -> None:
        loop, leave = self._loop, self._leave
        if loop is None or leave is None or leave.is_set():
            return
        try:
            self._scan_once()
        except Exception as error:  # the line stands still: no trigger, no pass
            self.memory.clear()
            self._error = error
            self._done.set()
            leave.set()
            return
        self._next_scan = max(self._next_scan + self.config.scan, loop.time())
        loop.call_at(self._next_scan, self._scan)

    def _scan_once(self) -> None:
        program = self._program()
        scan = program.scan(self.memory.stat(), time.monotonic())
        if self._log is not None:
            for event in scan.events:
                self._log.write(event)
        if scan.power_cycle:
            self.memory.clear()
            self._server.drop_links()
        self.memory.show(scan.ctrl.pack())
        if program.done:
            self._done.set()

    def _program(self) -> Ladder:
        if self._ladder is None:
            raise RuntimeError("the simulated PLC was not started")
        return self._ladder

    def _call(self, function: Any, *arguments: Any) -> None:
        """Run something on the program's loop; nothing happens when that has ended."""
        loop = self._loop
        if loop is not None and self._thread.is_alive():
            try:
                loop.call_soon_threadsafe(function, *arguments)
            except RuntimeError:  # it ended a moment ago
                return

    def _close_log(self) -> None:
        if self._log is not None:
            self._log.close()
