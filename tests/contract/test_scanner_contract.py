"""Every scanner driver: scans belong to their part, and a lost scanner names none."""

from __future__ import annotations

import contextlib
import os
import pty
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from inspection.errors import ScannerError
from inspection.protocols import Scanner
from inspection.scanners.serial import SerialScannerConfig
from inspection.scanners.tcp import TcpScannerConfig

LIMIT = 20.0


def wait_for(condition: Callable[[], bool], what: str) -> None:
    end, pause = time.monotonic() + LIMIT, threading.Event()
    while not condition():
        assert time.monotonic() < end, what
        pause.wait(0.005)


class NetworkScanner:
    """A scanner with a TCP port; `unplug` closes the connection and the port."""

    def __init__(self) -> None:
        self.port = 0
        self.plug()

    def plug(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self.listener.getsockname()[1]
        self.link: socket.socket | None = None

    def send(self, data: bytes) -> None:
        if self.link is None:
            self.link, _ = self.listener.accept()
        self.link.sendall(data)

    def connected(self) -> None:
        self.send(b"")

    def unplug(self) -> None:
        if self.link is not None:
            self.link.close()
        self.listener.close()

    def config(self, **fields: Any) -> TcpScannerConfig:
        return TcpScannerConfig(host="127.0.0.1", port=self.port, **fields)


class SerialPort:
    """A scanner on a serial line: the other end of a pseudo terminal under a stable name."""

    def __init__(self, folder: Path) -> None:
        self.name = folder / "scanner"
        self.plug()

    def plug(self) -> None:
        self.ours, theirs = pty.openpty()
        self.name.symlink_to(os.ttyname(theirs))
        self.theirs = theirs

    def send(self, data: bytes) -> None:
        os.write(self.ours, data)

    def connected(self) -> None:
        return

    def unplug(self) -> None:
        self.name.unlink()
        os.close(self.theirs)
        os.close(self.ours)

    def config(self, **fields: Any) -> SerialScannerConfig:
        return SerialScannerConfig(device=str(self.name), **fields)


@pytest.fixture(params=["tcp", "serial"])
def device(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NetworkScanner | SerialPort]:
    made = NetworkScanner() if request.param == "tcp" else SerialPort(tmp_path)
    yield made
    with contextlib.suppress(OSError):
        made.unplug()


def opened(device: NetworkScanner | SerialPort, **fields: Any) -> Scanner:
    scanner = device.config(**fields).open()
    device.connected()
    wait_for(lambda: not scanner.fault(), "connected")
    return scanner


def texts(scanner: Scanner, seen: float | None = None) -> list[str]:
    return [code.text for code in scanner.take(time.monotonic() if seen is None else seen)]


def collect(scanner: Scanner, number: int) -> list[str]:
    """Take until so many scans have come."""
    found: list[str] = []

    def enough() -> bool:
        found.extend(texts(scanner))
        return len(found) >= number

    wait_for(enough, f"{number} scans")
    return found


def test_a_scan_before_the_trigger_is_the_parts_and_only_once(
    device: NetworkScanner | SerialPort,
) -> None:
    scanner = opened(device, wait=0.0)
    assert isinstance(scanner, Scanner)
    for end in (b"\r", b"\n", b"\r\n"):
        device.send(b"LOT7-1" + end)
        assert collect(scanner, 1) == ["LOT7-1"]
        assert texts(scanner) == []
    scanner.close()
    scanner.close()


def test_a_scan_after_the_trigger_is_waited_for(device: NetworkScanner | SerialPort) -> None:
    scanner = opened(device, window=0.0, wait=1.0)
    seen = time.monotonic()
    later = threading.Timer(0.05, device.send, (b"\x02AFTER 01\x1d21\x03\r",))
    later.start()
    assert texts(scanner, seen) == ["AFTER 01\x1d21"]
    later.join()
    scanner.close()


def test_a_late_scan_is_never_one_of_two_right_codes(device: NetworkScanner | SerialPort) -> None:
    """A's scan comes after A was answered: B sees two, and from C on all is well again."""
    scanner = opened(device, window=1.8, wait=1.2)
    start, takt = time.monotonic(), 3.0
    scans = {1.65: b"A\r", 3.3: b"B\r", 6.3: b"C\r"}
    timers = [threading.Timer(at, device.send, (scan,)) for at, scan in scans.items()]
    for timer in timers:
        timer.start()
    found = []
    for number in range(3):
        seen = start + takt * number
        threading.Event().wait(max(0.0, seen - time.monotonic()))
        found.append(texts(scanner, seen))
    for timer in timers:
        timer.join()
    assert found == [[], ["A", "B"], ["C"]]
    scanner.close()


def test_an_old_scan_is_no_ones_and_two_scans_are_both_told(
    device: NetworkScanner | SerialPort,
) -> None:
    scanner = opened(device, window=1.0, wait=0.0)
    device.send(b"OLD\r")
    threading.Event().wait(1.3)
    device.send(b"A\rB\r")
    assert collect(scanner, 2) == ["A", "B"]
    scanner.close()


def test_no_read_is_no_code(device: NetworkScanner | SerialPort) -> None:
    scanner = opened(device, window=0.0, wait=0.5, no_read="NOREAD")
    for sent in (b"NOREAD\r\n", b"OLD\rNOREAD\r"):  # a part without a code beside another's scan
        seen = time.monotonic()
        device.send(sent)
        assert texts(scanner, seen) == []
    scanner.close()


def test_noise_and_endless_lines_harm_nobody(device: NetworkScanner | SerialPort) -> None:
    scanner = opened(device, wait=0.0)
    device.send(bytes(range(128, 256)) + b"\n")
    for _ in range(4):  # a pseudo terminal holds some kilobytes
        device.send(b"x" * 3000)
        threading.Event().wait(0.02)
    device.send(b"\nGOOD\n")
    wait_for(lambda: "GOOD" in texts(scanner), "the good scan")
    scanner.close()


def test_an_unplugged_scanner_is_told_and_comes_back(device: NetworkScanner | SerialPort) -> None:
    scanner = opened(device, wait=0.0)
    device.unplug()
    wait_for(lambda: bool(scanner.fault()), "noticed")
    with pytest.raises(ScannerError, match="check its power"):
        scanner.take(time.monotonic())
    device.plug()
    device.connected()
    wait_for(lambda: not scanner.fault(), "back")
    device.send(b"AGAIN\r")
    wait_for(lambda: texts(scanner) == ["AGAIN"], "a scan")
    scanner.close()


def test_a_scanner_that_is_not_there_is_a_fault_from_the_start(tmp_path: Path) -> None:
    for config in (
        TcpScannerConfig(host="127.0.0.1", port=1, timeout=0.5),
        SerialScannerConfig(device=str(tmp_path / "none")),
        SerialScannerConfig(device=str(Path(__file__))),
    ):
        scanner = config.open()
        assert scanner.fault()
        with pytest.raises(ScannerError):
            scanner.take(time.monotonic())
        scanner.close()
