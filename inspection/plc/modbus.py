"""Modbus TCP: the words of the exchange as holding registers of the PLC.

FC3 reads and FC16 writes, one request a block. After any fault the socket is closed, so that a late
answer can never be taken for the answer to the next question:

    read_words / write_words ─▶ one request ─▶ header and length checked ─▶ words
                                     └─▶ timeout, short answer, exception, wrong transaction
                                              └─▶ socket closed ─▶ PlcError
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from inspection.errors import PlcError
from inspection.plc.words import BLOCK_WORDS

if TYPE_CHECKING:
    from pymodbus.client import ModbusTcpClient
    from pymodbus.pdu import ModbusPDU

MAX_READ = 125
MAX_WRITE = 123
_HEADER = 7
"""MBAP header: transaction 2, protocol 2, length 2, unit 1 bytes."""


class ModbusConfig(BaseModel):
    """Where the exchange lies in a PLC that speaks Modbus TCP."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["modbus"] = Field("modbus", description="Selects this driver.")
    host: str = Field(
        min_length=1, description="IP address of the PLC; a name costs a look-up at each connect."
    )
    port: int = Field(502, ge=1, le=65535, description="TCP port of the PLC's Modbus server.")
    unit: int = Field(1, ge=0, le=255, description="Modbus unit (device) id.")
    ctrl_address: int = Field(
        0, ge=0, le=65536 - BLOCK_WORDS, description="First word of CTRL, counted from 0."
    )
    stat_address: int = Field(
        100, ge=0, le=65536 - BLOCK_WORDS, description="First word of STAT, counted from 0."
    )
    timeout: float = Field(
        0.3, ge=0.01, le=10.0, description="Longest wait for a connection or an answer, in seconds."
    )

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if abs(self.ctrl_address - self.stat_address) < BLOCK_WORDS:
            raise ValueError(
                f"CTRL at {self.ctrl_address} and STAT at {self.stat_address} overlap; "
                f"each needs {BLOCK_WORDS} words"
            )
        return self

    def open(self) -> ModbusPlc:
        """Return the driver, not yet connected."""
        return ModbusPlc(self)


class ModbusPlc:
    """A PLC as Modbus TCP server; see `inspection.protocols.Plc`. One thread at a time."""

    def __init__(self, config: ModbusConfig) -> None:
        import logging

        from pymodbus.client import ModbusTcpClient

        # Each fault is raised as PlcError with all there is to say; the library would log it again.
        logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)
        self._config = config
        self._where = f"PLC {config.host}:{config.port} unit {config.unit}"
        self._sent = b""
        self._client: ModbusTcpClient = ModbusTcpClient(
            config.host,
            port=config.port,
            timeout=config.timeout,
            retries=0,
            trace_packet=self._check_header,
        )

    def connect(self) -> None:
        """Open a fresh socket; an open one is closed first. Raises PlcError."""
        self.close()
        if not self._client.connect():
            raise PlcError(
                f"{self._where}: no connection within {self._config.timeout:g} s; "
                "check that the PLC is on, its address, and that its Modbus server is enabled"
            )

    def read_words(self, address: int, count: int) -> list[int]:
        """Read holding registers with one FC3.

        Args:
            address: first word, counted from 0.
            count: 1..125 words.

        Returns:
            `count` unsigned 16-bit words.

        Raises:
            PlcError: no whole and right answer in time; the socket is closed.
            ValueError: address or count is outside Modbus; nothing was sent.
        """
        _check_range(address, count, MAX_READ)
        what = f"read of {count} words at {address}"
        reply = self._ask(
            what,
            lambda: self._client.read_holding_registers(
                address, count=count, device_id=self._config.unit
            ),
        )
        if reply.function_code != 3 or len(reply.registers) != count:
            raise self._broken(
                f"{what} was answered with {len(reply.registers)} words of function "
                f"{reply.function_code}"
            )
        return list(reply.registers)

    def write_words(self, address: int, words: list[int]) -> None:
        """Write holding registers with one FC16.

        Args:
            address: first word, counted from 0.
            words: 1..123 unsigned 16-bit words.

        Raises:
            PlcError: the PLC did not confirm exactly this write in time; the socket is closed, and
                nobody knows whether the words were written.
            ValueError: address, count or a word is outside Modbus; nothing was sent.
        """
        _check_range(address, len(words), MAX_WRITE)
        if not 0 <= min(words) <= max(words) <= 0xFFFF:
            raise ValueError(f"words to write must be 0..65535, got {words}")
        what = f"write of {len(words)} words at {address}"
        reply = self._ask(
            what,
            lambda: self._client.write_registers(address, words, device_id=self._config.unit),
        )
        if (reply.function_code, reply.address, reply.count) != (16, address, len(words)):
            raise self._broken(
                f"{what} was confirmed as {reply.count} words at {reply.address} "
                f"of function {reply.function_code}"
            )

    def close(self) -> None:
        """Close the socket, if one is open."""
        self._client.close()

    def _ask(self, what: str, request: Callable[[], ModbusPDU]) -> ModbusPDU:
        if not self._client.connected:  # the library would connect by itself
            raise PlcError(f"{self._where}: {what} without a connection; call connect first")
        try:
            reply = request()
        except PlcError:
            self.close()
            raise
        except Exception as error:  # the library raises its own kinds, OSError and struct.error
            raise self._broken(f"{what} got no whole answer ({_short(error)})") from error
        except BaseException:  # interrupted: the answer is still on its way
            self.close()
            raise
        if reply.isError():
            raise self._broken(
                f"{what} was refused with Modbus exception {reply.exception_code}; "
                "check the addresses, the unit and the PLC's access rights"
            )
        return reply

    def _broken(self, message: str) -> PlcError:
        self.close()
        return PlcError(f"{self._where}: {message}; the socket was closed")

    def _check_header(self, sending: bool, data: bytes) -> bytes:
        """Refuse an answer that is not for the last request; the library would skip it and wait."""
        if sending:
            self._sent = data
        elif len(data) >= _HEADER and (data[:4] != self._sent[:4] or data[6] != self._sent[6]):
            raise PlcError(
                f"{self._where}: an answer to another request came (header {data[:_HEADER].hex()}, "
                f"asked {self._sent[:_HEADER].hex()}); the socket was closed"
            )
        return data


def _check_range(address: int, count: int, most: int) -> None:
    if not (address >= 0 and 1 <= count <= most and address + count <= 65536):
        raise ValueError(
            f"{count} words at {address} are outside Modbus: 1..{most} words within 0..65535"
        )


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:160]
