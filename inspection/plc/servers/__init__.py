"""Servers of the simulated PLC: one file a protocol, all over the same memory.

They are written beside the drivers, not with them: the drivers use other authors' libraries, and each
server here is also held against a client of another author in tests/contract.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from inspection.plc.memory import WordServer

PlcProtocol = Literal["modbus", "opcua", "s7", "slmp", "xgt"]
PROTOCOLS: tuple[PlcProtocol, ...] = get_args(PlcProtocol)


def open_server(protocol: PlcProtocol, unit: int) -> WordServer:
    """Return the server of a protocol, not yet listening.

    Args:
        protocol: one of `PROTOCOLS`.
        unit: Modbus: the unit id that it answers to. S7: the number of its data block.
    """
    match protocol:
        case "modbus":
            from inspection.plc.servers.modbus import ModbusServer

            return ModbusServer(unit)
        case "opcua":
            from inspection.plc.servers.opcua import OpcUaServer

            return OpcUaServer()
        case "s7":
            from inspection.plc.servers.s7 import S7Server

            return S7Server(unit)
        case "slmp":
            from inspection.plc.servers.slmp import SlmpServer

            return SlmpServer()
        case "xgt":
            from inspection.plc.servers.xgt import XgtServer

            return XgtServer()
