"""Modbus TCP: pymodbus' server over the memory. FC3 and FC16 only, as the line protocol says."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from inspection.plc.servers.listening import accept_no_more, turns

if TYPE_CHECKING:
    from pymodbus.constants import ExcCodes
    from pymodbus.server import ModbusTcpServer

    from inspection.plc.memory import Memory

_READ, _WRITE = 3, 16


class ModbusServer:
    """See `inspection.plc.memory.WordServer`. Other functions, units and addresses get an exception."""

    def __init__(self, unit: int) -> None:
        self._unit = unit
        self._memory: Memory | None = None
        self._server: ModbusTcpServer | None = None

    async def start(self, memory: Memory, host: str, port: int) -> int:
        """Listen; returns the port."""
        from pymodbus.server import ModbusTcpServer
        from pymodbus.simulator import DataType, SimData, SimDevice

        logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)
        self._memory = memory
        words = SimData(memory.first, count=memory.count, values=0, datatype=DataType.REGISTERS)
        self._server = ModbusTcpServer(
            SimDevice(self._unit, simdata=[words], action=self._access), address=(host, port)
        )
        await self._server.serve_forever(background=True)
        return int(self._server.transport.sockets[0].getsockname()[1])  # pyright: ignore

    async def _access(
        self,
        function: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        """Serve one request from the memory; the library's own words are a copy."""
        from pymodbus.constants import ExcCodes

        if function not in (_READ, _WRITE) or self._memory is None:
            return ExcCodes.ILLEGAL_FUNCTION
        try:
            if values is not None:
                self._memory.write(address, [int(value) for value in values])
            registers[address - start : address - start + count] = self._memory.read(address, count)
        except ValueError:
            return ExcCodes.ILLEGAL_ADDRESS
        return None

    def drop_links(self) -> None:
        """Close every connection."""
        if self._server is not None:
            for connection in list(self._server.active_connections.values()):
                connection.close()

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._server is None:
            return
        listener: Any = self._server.transport
        if listener is not None:  # else it never came to listen
            await accept_no_more(asyncio.get_running_loop(), listener)
        await self._server.shutdown()
        await turns()
