"""The simulated PLC's servers as clients of other authors see them."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import threading
from collections.abc import Callable
from typing import Any

import pytest

from inspection.errors import PlcError
from inspection.plc.modbus import ModbusConfig
from inspection.plc.simulated import SimulatedPlc
from inspection.plc.simulated_config import SimulatedPlcConfig
from inspection.plc.slmp import SlmpConfig
from inspection.plc.xgt import XgtConfig


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


def request_of(ask: Callable[[int], Any]) -> bytes:
    """Return what a client sends to a port that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        sent: list[bytes] = []

        def listen() -> None:
            link, _ = listener.accept()
            with link:
                sent.append(link.recv(4096))

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        ask(listener.getsockname()[1])
        thread.join(10)
    return sent[0]


def ask_driver(
    config: Callable[[int], Any], question: Callable[[Any], Any]
) -> Callable[[int], None]:
    def ask(port: int) -> None:
        driver = config(port).open()
        driver.connect()
        with pytest.raises(PlcError):
            question(driver)

    return ask


def mc_client(frame: str, plc: str, port: int) -> Any:
    pymcprotocol = pytest.importorskip("pymcprotocol")
    client = (pymcprotocol.Type4E if frame == "4e" else pymcprotocol.Type3E)(plctype=plc)
    client.setaccessopt(timer_sec=1)
    client.connect("127.0.0.1", port)
    return client


@pytest.mark.parametrize(("frame", "cpu", "plc"), [("4e", "iq-r", "iQ-R"), ("3e", "qnudv", "Q")])
def test_pymcprotocol_reads_and_writes_the_simulated_plc(frame: Any, cpu: Any, plc: str) -> None:
    config = SimulatedPlcConfig(
        protocol="slmp", takt=3600.0, recipe=0, ctrl_address=1000, stat_address=1100, lot="LOT-7"
    )
    with SimulatedPlc(config) as simulated:
        client = mc_client(frame, plc, simulated.port)
        driver = SlmpConfig(
            host="127.0.0.1", port=simulated.port, cpu=cpu, frame=frame, timeout=2.0,
            ctrl_address=1000, stat_address=1100,
        ).open()  # fmt: skip
        driver.connect()
        ctrl = client.batchread_wordunits("D1000", 16)
        assert ctrl[0] & 1, "ENABLE"
        assert ctrl[7] == 1, "map version"
        client.batchwrite_wordunits("D1100", [0, -1, 7, -2])  # this client's words are signed
        assert driver.read_words(1100, 4) == [0, 65535, 7, 65534]
        driver.write_words(1104, [11, 65533])
        assert client.batchread_wordunits("D1104", 2) == [11, -3]
        for refused, code in (
            (lambda: client.batchwrite_wordunits("D1000", [1, 2]), "0xC056"),
            (lambda: client.batchread_wordunits("D4000", 1), "0xC056"),
            (lambda: client.batchread_wordunits("D1000", 961), "0xC051"),
            (lambda: client.batchread_wordunits("W0", 1), "0xC05B"),
            (lambda: client.batchread_bitunits("M0", 1), "not supported"),  # C059
            (client.remote_stop, "not supported"),
        ):
            with pytest.raises(Exception, match=code):
                refused()
        assert client.batchread_wordunits("D1101", 1) == [-1], "the connection goes on"
        client.close()
        driver.close()


@pytest.mark.parametrize(
    ("frame", "cpu", "plc"),
    [("4e", "iq-r", "iQ-R"), ("4e", "qj71e71", "Q"), ("3e", "iq-r", "iQ-R"), ("3e", "lcpu", "L")],
)
def test_pymcprotocol_asks_as_the_driver_does(frame: Any, cpu: Any, plc: str) -> None:
    def config(port: int) -> SlmpConfig:
        return SlmpConfig(host="127.0.0.1", port=port, cpu=cpu, frame=frame, timeout=0.05)

    def other(question: Callable[[Any], Any]) -> Callable[[int], None]:
        def ask(port: int) -> None:
            client = mc_client(frame, plc, port)
            if frame == "4e":
                client.set_subheaderserial(1)
            with contextlib.suppress(Exception):  # it takes a closed link for zeros, or fails
                question(client)
            client.close()

        return ask

    size = 13 if frame == "4e" else 9
    for ours, theirs in (
        (lambda d: d.read_words(70_000, 16), lambda c: c.batchread_wordunits("D70000", 16)),
        (
            lambda d: d.write_words(100, [1, 65535]),
            lambda c: c.batchwrite_wordunits("D100", [1, -1]),
        ),
    ):
        one, two = request_of(ask_driver(config, ours)), request_of(other(theirs))
        assert one[:size] + one[size + 2 :] == two[:size] + two[size + 2 :], "all but the timer"


def xgt_client(port: int) -> Any:
    module = pytest.importorskip("pyXGTClient.client")
    client = module.XGTClient(host="127.0.0.1", port=port, timeout=2.0)
    assert client.open()
    return client


def test_pyxgtclient_reads_and_writes_the_simulated_plc() -> None:
    config = SimulatedPlcConfig(
        protocol="xgt", takt=3600.0, recipe=0, ctrl_address=1000, stat_address=1100, lot="LOT-7"
    )
    with SimulatedPlc(config) as simulated:
        client = xgt_client(simulated.port)
        driver = XgtConfig(
            host="127.0.0.1", port=simulated.port, ctrl_address=1000, stat_address=1100, timeout=2.0
        ).open()
        driver.connect()
        ctrl = client.readContinuousData("%DB2000", 32)
        assert ctrl[0] & 1, "ENABLE"
        assert ctrl[14:16] == [1, 0], "map version"
        assert client.writeContinuousData("%DB2200", [0, 0, 0xFF, 0xFF, 7, 0, 0xFE, 0xFF])
        assert driver.read_words(1100, 4) == [0, 65535, 7, 65534]
        driver.write_words(1104, [11, 65533])
        assert client.readContinuousData("%DB2208", 4) == [11, 0, 0xFD, 0xFF]
        assert client.readData(["%DW1104", "%DW1105", "%MW1101"]) == [11, 65533, 65535]
        assert client.readData(["%DB2209", "%DB2210"]) == [0, 0xFD]
        assert client.readData(["%DD552"]) == [65533 << 16 | 11]
        assert client.writeData(["%DW1106", "%DW1108"], [0xABCD, 5])
        assert client.writeData(["%DB2215"], [0x7F])
        assert driver.read_words(1106, 3) == [0xABCD, 0x7F00, 5]
        for refused in (
            lambda: client.readData(["%DW4000"]),
            lambda: client.readData(["%PW1100"]),
            lambda: client.readData(["%MX1100"]),
            lambda: client.readContinuousData("%DB2000", 300),
            lambda: client.writeData(["%DW1000"], [1]),
            lambda: client.writeContinuousData("%DB2198", [1, 2, 3, 4]),
        ):
            with pytest.raises(ValueError, match="Nak"):
                refused()
        assert driver.read_words(1100, 2) == [0, 65535]
        client.close()
        driver.close()


def test_pyxgtclient_asks_as_the_driver_does() -> None:
    def config(port: int) -> XgtConfig:
        return XgtConfig(host="127.0.0.1", port=port, timeout=0.05)

    def other(question: Callable[[Any], Any]) -> Callable[[int], None]:
        def ask(port: int) -> None:
            client = xgt_client(port)
            client._InvokeID = 1  # it always sends 0
            assert not question(client)
            client.close()

        return ask

    for ours, theirs in (
        (lambda d: d.read_words(100, 16), lambda c: c.readContinuousData("%DB200", 32)),
        (
            lambda d: d.write_words(4, [1, 65535]),
            lambda c: c.writeContinuousData("%DB8", [1, 0, 255, 255]),
        ),
    ):
        assert request_of(ask_driver(config, ours)) == request_of(other(theirs))
