"""Every PLC driver against every server we have: words are right, or PlcError and a closed socket.

The servers are our simulated PLC and libmodbus, of another author. Between driver and server stands
a proxy that counts requests and spoils answers. A new driver adds one line to DRIVERS.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fault_proxy import FaultProxy

from inspection.errors import PlcError
from inspection.plc.modbus import ModbusConfig
from inspection.plc.simulated import SimulatedPlc
from inspection.plc.simulated_config import SimulatedPlcConfig
from inspection.protocols import Plc

CTRL, STAT = 0, 100
TIMEOUT = 0.3
LATE = 1.2

# A quiet pattern: no flag that the simulated PLC's program acts upon, unsigned extremes, no repeats.
WORDS = [0, 65535, 32768, 32767, 1, 2, 3, 40000, 50000, 60000, 65534, 7, 8, 9, 10, 11]


def open_modbus(port: int) -> Plc:
    return ModbusConfig(host="127.0.0.1", port=port, timeout=TIMEOUT).open()


DRIVERS: list[tuple[str, Callable[[int], Plc]]] = [("modbus", open_modbus)]


@dataclass
class Server:
    """A PLC's memory on `port`; `restart` stops it and starts it on the same port."""

    port: int
    restart: Callable[[Callable[[], None]], None]


class SimulatedServer:
    def __init__(self) -> None:
        self.plc = self._start(0)
        self.port = self.plc.port

    def _start(self, port: int) -> SimulatedPlc:
        plc = SimulatedPlc(SimulatedPlcConfig(port=port, takt=3600.0, recipe=0))
        plc.start()
        return plc

    def restart(self, while_down: Callable[[], None]) -> None:
        self.plc.stop()
        while_down()
        self.plc = self._start(self.port)

    def stop(self) -> None:
        self.plc.stop()


class LibmodbusServer:
    def __init__(self) -> None:
        self.process, self.port = self._start(0)

    def _start(self, port: int) -> tuple[subprocess.Popen[str], int]:
        program = Path(__file__).with_name("libmodbus_server.py")
        process = subprocess.Popen(
            [sys.executable, str(program), str(port)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            _, error = process.communicate(timeout=10)
            if "not installed" in error:
                pytest.skip(error.strip())
            pytest.fail(f"libmodbus server did not start: {error}")
        return process, int(line)

    def restart(self, while_down: Callable[[], None]) -> None:
        self.stop()
        while_down()
        self.process, self.port = self._start(self.port)

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=10)


@pytest.fixture(params=["simulated", "libmodbus"])
def server(request: pytest.FixtureRequest) -> Iterator[SimulatedServer | LibmodbusServer]:
    made = SimulatedServer() if request.param == "simulated" else LibmodbusServer()
    yield made
    made.stop()


@pytest.fixture
def proxy(server: SimulatedServer | LibmodbusServer) -> Iterator[FaultProxy]:
    with FaultProxy(("127.0.0.1", server.port)) as made:
        yield made


@pytest.fixture(params=DRIVERS, ids=[name for name, _ in DRIVERS])
def plc(request: pytest.FixtureRequest, proxy: FaultProxy) -> Iterator[Plc]:
    driver = request.param[1](proxy.port)
    driver.connect()
    yield driver
    driver.close()


@pytest.fixture(params=DRIVERS, ids=[name for name, _ in DRIVERS])
def open_driver(request: pytest.FixtureRequest) -> Callable[[int], Plc]:
    return request.param[1]


def reconnect_and_read(plc: Plc) -> list[int]:
    plc.connect()
    return plc.read_words(STAT, 16)


def modbus_requests(sent: bytes | bytearray) -> list[tuple[int, int, int]]:
    """Return (function, address, count) of each request frame."""
    found = []
    while sent:
        length = 6 + int.from_bytes(sent[4:6], "big")
        frame, sent = bytes(sent[:length]), sent[length:]
        found.append(
            (frame[7], int.from_bytes(frame[8:10], "big"), int.from_bytes(frame[10:12], "big"))
        )
    return found


def test_a_driver_is_a_plc(plc: Plc) -> None:
    assert isinstance(plc, Plc)


def test_words_come_back_as_written_in_one_request_a_block(plc: Plc, proxy: FaultProxy) -> None:
    plc.write_words(STAT, WORDS)
    assert plc.read_words(STAT, 16) == WORDS
    assert plc.read_words(STAT + 3, 5) == WORDS[3:8]
    assert modbus_requests(proxy.to_upstream[0]) == [
        (16, STAT, 16),
        (3, STAT, 16),
        (3, STAT + 3, 5),
    ]


def test_a_late_answer_is_never_the_answer_to_the_next_question(
    plc: Plc, proxy: FaultProxy
) -> None:
    plc.write_words(STAT, WORDS)
    proxy.delay_next(LATE)
    with pytest.raises(PlcError):
        plc.read_words(STAT, 8)
    with pytest.raises(PlcError, match="connect"):  # the socket is closed: nothing is asked
        plc.read_words(STAT + 8, 8)
    plc.connect()
    for _ in range(20):  # while the late answer arrives at the old socket
        assert plc.read_words(STAT + 8, 8) == WORDS[8:]
        threading.Event().wait(0.08)
    assert proxy.connections == 2


def test_a_late_confirmation_is_never_that_of_the_next_write(plc: Plc, proxy: FaultProxy) -> None:
    proxy.delay_next(LATE)
    with pytest.raises(PlcError):
        plc.write_words(STAT, WORDS)
    plc.connect()
    plc.write_words(STAT + 8, [5, 6])
    assert plc.read_words(STAT + 8, 2) == [5, 6]


@pytest.mark.parametrize("keep", [0, 1, 5, 7, 8, 9, 20, 40])
@pytest.mark.parametrize("close", [True, False], ids=["closed", "stays open"])
def test_a_short_answer_is_an_error(plc: Plc, proxy: FaultProxy, keep: int, close: bool) -> None:
    plc.write_words(STAT, WORDS)
    proxy.cut_next(keep, close=close)
    with pytest.raises(PlcError):
        plc.read_words(STAT, 16)
    plc.connect()
    assert plc.read_words(STAT + 4, 4) == WORDS[4:8]


@pytest.mark.parametrize("keep", [0, 3, 8, 11])
def test_a_short_confirmation_is_an_error(plc: Plc, proxy: FaultProxy, keep: int) -> None:
    proxy.cut_next(keep)
    with pytest.raises(PlcError):
        plc.write_words(STAT, WORDS)
    plc.connect()
    assert plc.read_words(STAT, 1)


def test_a_refused_address_is_an_error_and_closes(plc: Plc) -> None:
    with pytest.raises(PlcError, match="exception 2"):
        plc.read_words(40_000, 16)
    with pytest.raises(PlcError, match="connect"):
        plc.read_words(STAT, 1)
    plc.connect()
    with pytest.raises(PlcError, match="exception"):
        plc.write_words(40_000, [1, 2])
    plc.connect()
    assert len(plc.read_words(STAT, 16)) == 16


def test_after_a_restart_of_the_server_the_first_connect_is_good(
    plc: Plc, server: SimulatedServer | LibmodbusServer
) -> None:
    plc.write_words(STAT, WORDS)

    def while_down() -> None:
        with pytest.raises(PlcError):
            plc.read_words(STAT, 16)
        with pytest.raises(PlcError):
            reconnect_and_read(plc)  # the proxy accepts and finds nobody behind it

    server.restart(while_down)
    plc.connect()
    assert len(plc.read_words(STAT, 16)) == 16


def test_a_dropped_answer_a_reset_and_a_half_open_link_are_errors(
    plc: Plc, proxy: FaultProxy
) -> None:
    proxy.dropping = True
    with pytest.raises(PlcError):
        plc.read_words(STAT, 16)
    proxy.heal()
    assert len(reconnect_and_read(plc)) == 16
    proxy.kill()
    with pytest.raises(PlcError):
        plc.read_words(STAT, 16)
    proxy.refuse()
    with pytest.raises(PlcError):
        reconnect_and_read(plc)
    proxy.heal()
    assert len(reconnect_and_read(plc)) == 16
    proxy.half_open = True
    with pytest.raises(PlcError):
        plc.write_words(STAT, [1])
    plc.connect()  # accepted, and then silence
    with pytest.raises(PlcError):
        plc.read_words(STAT, 16)
    proxy.heal()
    assert len(reconnect_and_read(plc)) == 16


def test_nobody_listens(open_driver: Callable[[int], Plc]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        driver = open_driver(taken.getsockname()[1])
        with pytest.raises(PlcError, match="check that the PLC is on"):
            driver.connect()
        with pytest.raises(PlcError, match="connect"):
            driver.read_words(0, 1)
    driver.close()
    driver.close()


def test_nonsense_is_refused_before_it_is_sent(plc: Plc, proxy: FaultProxy) -> None:
    for address, count in [(-1, 1), (0, 0), (65_530, 7), (0, 126), (70_000, 1)]:
        with pytest.raises(ValueError, match="outside Modbus"):
            plc.read_words(address, count)
    for words in ([], [65_536], [-1], [0] * 124):
        with pytest.raises(ValueError, match=r"outside Modbus|0\.\.65535"):
            plc.write_words(STAT, words)
    assert plc.read_words(STAT, 1) == [0]
    assert modbus_requests(proxy.to_upstream[0]) == [(3, STAT, 1)]


# ---------------------------------------------------------------- answers no honest server gives

READ_4 = bytes([3, 8, 0, 1, 0, 2, 0, 3, 0, 4])


def header(request: bytes, length: int, *, tid: int = 0, pid: int = 0, unit: int = 0) -> bytes:
    number = (int.from_bytes(request[:2], "big") + tid) & 0xFFFF
    return (
        number.to_bytes(2, "big")
        + pid.to_bytes(2, "big")
        + length.to_bytes(2, "big")
        + bytes([request[6] + unit])
    )


LIES: dict[str, Callable[[bytes], bytes]] = {
    "older transaction": lambda q: header(q, 11, tid=-1) + READ_4,
    "older transaction, then the right one": lambda q: (
        header(q, 11, tid=-1) + READ_4 + header(q, 11) + READ_4
    ),
    "transaction zero": lambda q: b"\0\0" + header(q, 11)[2:] + READ_4,
    "another protocol": lambda q: header(q, 11, pid=1) + READ_4,
    "another unit": lambda q: header(q, 11, unit=1) + READ_4,
    "another function": lambda q: header(q, 11) + bytes([4]) + READ_4[1:],
    "a write's confirmation": lambda q: header(q, 6) + bytes([16, 0, 100, 0, 4]),
    "fewer words": lambda q: header(q, 9) + bytes([3, 6]) + READ_4[2:8],
    "more words": lambda q: header(q, 13) + bytes([3, 10]) + READ_4[2:] + b"\0\5",
    "count without words": lambda q: header(q, 3) + bytes([3, 8]),
    "odd count": lambda q: header(q, 10) + bytes([3, 7]) + READ_4[2:9],
    "no function": lambda q: header(q, 1),
    "unknown function": lambda q: header(q, 3) + bytes([99, 0]),
    "exception": lambda q: header(q, 3) + bytes([0x83, 4]),
    "exception of another function": lambda q: header(q, 3) + bytes([0x90, 4]),
    "exception without code": lambda q: header(q, 2) + bytes([0x83]),
    "noise": lambda _q: b"\xff" * 64,
    "words in ASCII": lambda _q: b"HTTP/1.1 400 Bad Request\r\n\r\n",
}


@pytest.fixture
def liar() -> Iterator[tuple[int, list[Callable[[bytes], bytes]]]]:
    """A server that answers each request with the first of a list of answers."""
    answers: list[Callable[[bytes], bytes]] = []
    leave = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)

        def serve() -> None:
            while not leave.is_set():
                try:
                    client, _ = listener.accept()
                except TimeoutError:
                    continue
                with client:
                    client.settimeout(5)
                    while request := client.recv(300):
                        client.sendall(answers[0](request))

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], answers
        leave.set()
        thread.join(10)


@pytest.mark.parametrize("lie", LIES)
def test_an_answer_that_is_not_the_answer_is_an_error(
    open_driver: Callable[[int], Plc],
    liar: tuple[int, list[Callable[[bytes], bytes]]],
    lie: str,
) -> None:
    port, answers = liar
    driver = open_driver(port)
    driver.connect()
    answers[:] = [lambda q: header(q, 11) + READ_4]
    assert driver.read_words(STAT, 4) == [1, 2, 3, 4]
    answers[:] = [LIES[lie]]
    with pytest.raises(PlcError):
        driver.read_words(STAT, 4)
    with pytest.raises(PlcError, match="connect"):
        driver.read_words(STAT, 4)
    driver.close()


def test_an_answer_that_dribbles_in_ends_after_two_timeouts_at_most(
    open_driver: Callable[[int], Plc],
) -> None:
    sent = 0
    leave = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            nonlocal sent
            client, _ = listener.accept()
            with client:
                request = client.recv(300)
                for byte in header(request, 253) + bytes([3, 250]) + bytes(250):
                    try:
                        client.sendall(bytes([byte]))
                    except OSError:
                        return
                    sent += 1
                    if leave.wait(TIMEOUT / 3):
                        return

        thread = threading.Thread(target=serve)
        thread.start()
        driver = open_driver(listener.getsockname()[1])
        driver.connect()
        with pytest.raises(PlcError):
            driver.read_words(0, 125)
        assert sent < 30
        leave.set()
        thread.join(10)
    driver.close()


# ---------------------------------------------------------------- the simulated PLC's memory, by mbpoll


def mbpoll(port: int, *arguments: str, reads: bool = True) -> tuple[int, str]:
    command = ["mbpoll", "-m", "tcp", "-p", str(port), "-a", "1", "-0", "-1", "-q"]
    try:
        done = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, timeout=30, check=False,
            env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("mbpoll is not installed; install the Debian package mbpoll")
    return done.returncode, done.stdout + done.stderr


def values(text: str) -> list[int]:
    return [int(word) for word in re.findall(r"^\[\d+\]:\s+(\d+)", text, re.MULTILINE)]


def test_mbpoll_reads_and_writes_the_simulated_plc() -> None:
    config = SimulatedPlcConfig(
        takt=3600.0, recipe=0, ctrl_address=1000, stat_address=1100, lot="LOT-7"
    )
    with SimulatedPlc(config) as simulated:
        port = simulated.port
        code, text = mbpoll(port, "-t", "4:hex", "-r", "1000", "-c", "16", "127.0.0.1")
        assert code == 0, text
        flags, *rest = [int(x, 16) for x in re.findall(r"\]:\s+0x([0-9A-Fa-f]+)", text)]
        assert flags & 1, "ENABLE"
        assert rest[6] == 1, "map version"
        written = ["0", "65535", "7", "65534"]
        code, text = mbpoll(port, "-t", "4", "-r", "1100", "127.0.0.1", *written)
        assert code == 0, text
        driver = ModbusConfig(
            host="127.0.0.1", port=port, ctrl_address=1000, stat_address=1100, timeout=2.0
        ).open()
        driver.connect()
        assert driver.read_words(1100, 4) == [0, 65535, 7, 65534]
        driver.write_words(1104, [11, 12])
        code, text = mbpoll(port, "-t", "4", "-r", "1104", "-c", "2", "127.0.0.1")
        assert (code, values(text)) == (0, [11, 12])
        driver.close()
        code, text = mbpoll(port, "-t", "4", "-r", "1000", "127.0.0.1", "1", "2")
        assert code != 0, "only the PLC writes CTRL"
        code, text = mbpoll(port, "-t", "0", "-r", "1000", "-c", "1", "127.0.0.1")
        assert code != 0, "FC3 and FC16 only"
        code, text = mbpoll(port, "-t", "4", "-a", "9", "-r", "1100", "-c", "1", "127.0.0.1")
        assert code != 0, "another unit"


def test_a_station_in_the_wrong_place_is_refused_by_the_config() -> None:
    with pytest.raises(ValueError, match="overlap"):
        ModbusConfig(host="plc", ctrl_address=0, stat_address=15)
    with pytest.raises(ValueError, match="extra"):
        ModbusConfig(host="plc", speed=9600)  # pyright: ignore[reportCallIssue]
    assert ModbusConfig(host="plc").port == 502
