"""A code scanner on a serial line, or on USB as a serial port (CDC): each scan is a line of text."""

from __future__ import annotations

import os
import select
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from inspection.scanners.lines import LineScanner


class SerialScannerConfig(BaseModel):
    """A scanner that sends each scan with a line end (CR, LF or both); 8 data bits, no parity."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["serial"] = Field("serial", description="Selects this driver.")
    device: str = Field(
        min_length=1,
        description="Device file, best by its id: /dev/serial/by-id/… stays the same after a restart.",
    )
    baud: Literal[9600, 19200, 38400, 57600, 115200] = Field(
        115200, description="Speed in bits per second; a USB scanner ignores it."
    )
    window: float = Field(
        1.0,
        ge=0,
        le=60,
        description="Seconds before the trigger in which the part is scanned; 0: it is scanned after it. "
        "Window and wait together must be shorter than the takt.",
    )
    wait: float = Field(
        0.0,
        ge=0,
        le=10,
        description="Seconds after the trigger that are waited for scans, for every part; 0 where the "
        "part is scanned before the trigger.",
    )
    no_read: str = Field(
        "", max_length=64, description="Text it sends when it could read nothing; empty: none."
    )

    def open(self) -> LineScanner:
        """Return the scanner; it connects in the background."""
        return LineScanner(
            lambda: SerialConnection(self.device, self.baud),
            f"scanner {self.device}",
            window=self.window,
            wait=self.wait,
            no_read=self.no_read,
        )


class SerialConnection:
    """See `inspection.scanners.lines.Connection`."""

    def __init__(self, device: str, baud: int) -> None:
        import termios

        self._file = os.open(device, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            speed = getattr(termios, f"B{baud}")
            control = termios.CS8 | termios.CREAD | termios.CLOCAL
            special = termios.tcgetattr(self._file)[6]
            termios.tcsetattr(
                self._file, termios.TCSANOW, [0, 0, control, 0, speed, speed, special]
            )
            termios.tcflush(self._file, termios.TCIFLUSH)  # what was scanned before nobody asked
        except termios.error as error:
            os.close(self._file)
            raise OSError(f"{device} is no serial port ({error})") from error

    def receive(self, timeout: float) -> bytes:
        """Return what came."""
        if not select.select([self._file], [], [], timeout)[0]:
            return b""
        data = os.read(self._file, 4096)
        if not data:
            raise ConnectionError("the scanner was unplugged")
        return data

    def close(self) -> None:
        """Close the device."""
        os.close(self._file)
