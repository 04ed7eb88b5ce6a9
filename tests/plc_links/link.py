"""What the contract tests must know of a PLC driver."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

from inspection.plc.memory import WordServer
from inspection.plc.servers import PlcProtocol
from inspection.plc.simulated import SimulatedPlc
from inspection.plc.simulated_config import SimulatedPlcConfig
from inspection.protocols import Plc

CTRL, STAT = 0, 100
"""Where the blocks lie in every server of these tests, in words."""
TIMEOUT = 0.8
"""Of every driver of these tests, in seconds: a busy PC stops a process for half of that."""


class Peer(Protocol):
    """A PLC's memory: at least the words 0..STAT+15, zero at start, STAT may be written."""

    port: int

    def restart(self, while_down: Callable[[], None]) -> None:
        """Stop, call `while_down`, and listen again on the same port; words may be lost."""
        ...

    def stop(self) -> None:
        """End it."""
        ...


class DriverSettings(Protocol):
    """A driver's config class."""

    def open(self) -> Plc:
        """Return the driver, not connected."""
        ...

    def model_dump(self, *, mode: str) -> dict[str, Any]:
        """Return it as the station file has it."""
        ...


@dataclass(frozen=True)
class Link:
    """One driver.

    Attributes:
        name: the driver's entry point.
        settings: port → the driver's set-up for the local host, CTRL and STAT as here.
        peers: servers by name. `simulated` is the simulated PLC's.
        plc: protocol in which the simulated PLC serves it, or what makes a server of another author
            that the simulated PLC's program runs over; None: no words of its own.
        requests: bytes that a client sent on one connection, from its first → (`read` or `write`,
            word address, words) of each request; what the protocol exchanges before is left out.
        lies: honest answer to a read of 4 words → an answer that must be an error.
        outside: (address, count) reads that the driver must refuse with ValueError, unsent.
        too_long: words of a write that it must refuse so.
        refused: pattern of the error when the PLC refuses an address.
        refused_address: an address that every peer refuses; None where a peer has no such thing.
        short_answers: lengths of cut answers to try.
        short_confirmations: lengths of cut confirmations to try.
        variant: tells two links with the same driver apart.
        soak_handshake: its handshake is tried in the soak tests alone, as another variant's is tried here.
        whole_blocks: every request is of a whole block, whatever part of it was asked for.
        no_other_author: why there is no server of another author; empty where `peers` has one.
    """

    name: str
    settings: Callable[[int], DriverSettings]
    peers: dict[str, Callable[[], Peer]]
    plc: PlcProtocol | Callable[[], WordServer] | None
    requests: Callable[[bytes], list[tuple[str, int, int]]]
    lies: dict[str, Callable[[bytes], bytes]]
    outside: list[tuple[int, int]]
    too_long: int
    refused: str
    refused_address: int | None = 40_000
    short_answers: list[int] = field(default_factory=lambda: [0, 1, 5, 7, 8, 9, 20, 40])
    short_confirmations: list[int] = field(default_factory=lambda: [0, 3, 8, 11])
    variant: str = ""
    no_other_author: str = ""
    soak_handshake: bool = False
    whole_blocks: bool = False

    def open(self, port: int) -> Plc:
        """Return the driver, not connected."""
        return self.settings(port).open()

    @property
    def label(self) -> str:
        """Names the link in the tests' ids."""
        return f"{self.name}-{self.variant}" if self.variant else self.name

    def asked(self, *requests: tuple[str, int, int]) -> list[tuple[str, int, int]]:
        """Return requests for words as they go over the wire: in whole blocks where the link does so."""
        if not self.whole_blocks:
            return list(requests)
        return [(kind, STAT if address >= STAT else CTRL, 16) for kind, address, _ in requests]

    def simulated(self, settings: SimulatedPlcConfig) -> SimulatedPlc:
        """Return the simulated PLC over this link's protocol, not started."""
        if isinstance(self.plc, str):
            return SimulatedPlc(settings.model_copy(update={"protocol": self.plc}))
        return SimulatedPlc(settings, self.plc() if self.plc is not None else None)


def config(**fields: Any) -> SimulatedPlcConfig:
    """Return a simulated PLC's set-up with its blocks where these tests have them."""
    return SimulatedPlcConfig(ctrl_address=CTRL, stat_address=STAT, **fields)


class SimulatedPeer:
    """The simulated PLC, whose conveyor brings no part."""

    def __init__(self, protocol: PlcProtocol) -> None:
        self._protocol: PlcProtocol = protocol
        self._plc = self._start(0)
        self.port = self._plc.port

    def _start(self, port: int) -> SimulatedPlc:
        plc = SimulatedPlc(config(protocol=self._protocol, port=port, takt=3600.0, recipe=0))
        plc.start()
        return plc

    def restart(self, while_down: Callable[[], None]) -> None:
        self._plc.stop()
        while_down()
        self._plc = self._start(self.port)

    def stop(self) -> None:
        self._plc.stop()


class ProgramPeer:
    """A server of another author as a process: `python FILE PORT` prints the port, then serves."""

    def __init__(self, file: Path, *, command: list[str] | None = None) -> None:
        self._command = command or [sys.executable, str(file)]
        self._file = file
        self._process, self.port = self._start(0)

    def _start(self, port: int) -> tuple[subprocess.Popen[str], int]:
        process = subprocess.Popen(
            [*self._command, str(port)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            _, error = process.communicate(timeout=10)
            if "not installed" in error:
                pytest.skip(error.strip())
            pytest.fail(f"{self._file.name} did not start: {error}")
        return process, int(line)

    def restart(self, while_down: Callable[[], None]) -> None:
        self.stop()
        while_down()
        self._process, self.port = self._start(self.port)

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=10)
