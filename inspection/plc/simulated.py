"""A PLC that ships with the package: a real Modbus TCP server over memory that a PLC program scans.

    station ──FC3 / FC16──▶ pymodbus server ──▶ memory ◀── every scan ── Ladder ──▶ PlcLog
                                                  CTRL is written here, STAT by the station

It runs in a thread of its own with its own event loop. The program and the server share that loop,
so a block is never seen half written.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from inspection.errors import PlcError
from inspection.plc.ladder import Ladder
from inspection.plc.plc_log import Counters, History, PlcLog
from inspection.plc.simulated_config import SimulatedPlcConfig
from inspection.plc.words import BLOCK_WORDS, Stat

if TYPE_CHECKING:
    from pymodbus.constants import ExcCodes
    from pymodbus.server import ModbusTcpServer

_READ, _WRITE = 3, 16


class Memory:
    """The words of the PLC, from the lower to the end of the upper block.

    A station may read all with FC3 and write STAT with FC16; everything else is refused with an
    exception, so that a driver which does more than it should is noticed.
    """

    def __init__(self, config: SimulatedPlcConfig) -> None:
        self.first = min(config.ctrl_address, config.stat_address)
        self.count = max(config.ctrl_address, config.stat_address) + BLOCK_WORDS - self.first
        self._ctrl = config.ctrl_address - self.first
        self._stat = config.stat_address - self.first
        self._words: list[int] = [0] * self.count

    async def access(
        self,
        function: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        """Allow or refuse one request; the server's own list of words is used from now on."""
        from pymodbus.constants import ExcCodes

        self._words = registers
        if function not in (_READ, _WRITE):
            return ExcCodes.ILLEGAL_FUNCTION
        at = address - start
        if values is not None and not self._stat <= at <= self._stat + BLOCK_WORDS - count:
            return ExcCodes.ILLEGAL_ADDRESS
        return None

    def stat(self) -> Stat:
        """Return STAT as the station left it."""
        return Stat.unpack(self._words[self._stat : self._stat + BLOCK_WORDS])

    def show(self, ctrl: list[int]) -> None:
        """Put CTRL where the station reads it."""
        self._words[self._ctrl : self._ctrl + BLOCK_WORDS] = ctrl

    def clear(self) -> None:
        """Forget all words, as without power."""
        self._words[: self.count] = [0] * self.count


class SimulatedPlc:
    """The simulated PLC, from `start` to `stop`. Its methods may be called from any thread."""

    def __init__(self, config: SimulatedPlcConfig) -> None:
        """Nothing runs before `start`."""
        self.config = config
        self._memory = Memory(config)
        self._log: PlcLog | None = None
        self._ladder: Ladder | None = None
        self._server: ModbusTcpServer | None = None
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
        from pymodbus.server import ModbusTcpServer
        from pymodbus.simulator import DataType, SimData, SimDevice

        logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)
        memory, config = self._memory, self.config
        words = SimData(memory.first, count=memory.count, values=0, datatype=DataType.REGISTERS)
        server = ModbusTcpServer(
            SimDevice(config.unit, simdata=[words], action=memory.access),
            address=(config.host, config.port),
        )
        self._loop, self._leave, self._server = asyncio.get_running_loop(), asyncio.Event(), server
        listener: Any = None
        try:
            await server.async_getValues(config.unit, _READ, memory.first, 1)
            self._next_scan = self._loop.time()
            self._scan()  # what stands in CTRL is right before anybody can read it
            await server.serve_forever(background=True)
            listener = server.transport
            self._port = int(listener.sockets[0].getsockname()[1])
            self._listening.set()
            await self._leave.wait()
        finally:
            if listener is not None:
                await _accept_no_more(self._loop, listener)
            await server.shutdown()
            await _turns()

    def _scan(self) -> None:
        loop, leave = self._loop, self._leave
        if loop is None or leave is None or leave.is_set():
            return
        try:
            self._scan_once()
        except Exception as error:  # the line stands still: no trigger, no pass
            self._memory.clear()
            self._error = error
            self._done.set()
            leave.set()
            return
        self._next_scan = max(self._next_scan + self.config.scan, loop.time())
        loop.call_at(self._next_scan, self._scan)

    def _scan_once(self) -> None:
        program = self._program()
        scan = program.scan(self._memory.stat(), time.monotonic())
        if self._log is not None:
            for event in scan.events:
                self._log.write(event)
        if scan.power_cycle:
            self._memory.clear()
            self._drop_links()
        self._memory.show(scan.ctrl.pack())
        if program.done:
            self._done.set()

    def _drop_links(self) -> None:
        if self._server is not None:
            for connection in list(self._server.active_connections.values()):
                connection.close()

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


async def _accept_no_more(loop: asyncio.AbstractEventLoop, listener: Any) -> None:
    """Let what was just accepted come up; closing the listener at once would leak its socket."""
    for each in listener.sockets:
        loop.remove_reader(each.fileno())
    await _turns()


async def _turns() -> None:
    """Let the loop turn often enough for connections to open or close to their end."""
    for _ in range(5):
        await asyncio.sleep(0)
