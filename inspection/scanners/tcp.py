"""A code scanner with a network port: it listens, we connect, each scan is a line of text."""

from __future__ import annotations

import socket
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from inspection.scanners.lines import LineScanner


class TcpScannerConfig(BaseModel):
    """A scanner that listens on a TCP port and sends each scan with a line end (CR, LF or both)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Literal["tcp"] = Field("tcp", description="Selects this driver.")
    host: str = Field(min_length=1, description="IP address of the scanner.")
    port: int = Field(ge=1, le=65535, description="TCP port on which it sends its scans.")
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
    timeout: float = Field(1.0, gt=0, le=30, description="Longest wait for a connection, seconds.")

    def open(self) -> LineScanner:
        """Return the scanner; it connects in the background."""
        return LineScanner(
            lambda: TcpConnection(self.host, self.port, self.timeout),
            f"scanner {self.host}:{self.port}",
            window=self.window,
            wait=self.wait,
            no_read=self.no_read,
        )


class TcpConnection:
    """See `inspection.scanners.lines.Connection`. A pulled cable is noticed within some four seconds."""

    def __init__(self, host: str, port: int, timeout: float) -> None:
        self._socket = socket.create_connection((host, port), timeout)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", 1), ("TCP_KEEPINTVL", 1), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, option):  # a choice of the operating system
                self._socket.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

    def receive(self, timeout: float) -> bytes:
        """Return what came."""
        self._socket.settimeout(timeout)
        try:
            data = self._socket.recv(4096)
        except TimeoutError:
            return b""
        if not data:
            raise ConnectionError("the scanner closed the connection")
        return data

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
