"""The servers of our own and the drivers' parsers: refusals to the byte, and noise."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from typing import Any

import pytest

from inspection.errors import PlcError
from inspection.plc.simulated import SimulatedPlc
from inspection.plc.simulated_config import SimulatedPlcConfig
from inspection.plc.slmp import CPUS, KNOW_4E, WIDE, SlmpConfig
from inspection.plc.xgt import XgtConfig

STAT = 100


def served(protocol: Any) -> SimulatedPlc:
    return SimulatedPlc(SimulatedPlcConfig(protocol=protocol, takt=3600.0, recipe=0))


def asked(port: int, request: bytes) -> bytes:
    """Return what the server answers to one request, b"" when it closes."""
    with socket.create_connection(("127.0.0.1", port), 5.0) as link:
        link.sendall(request)
        try:
            return link.recv(4096)
        except ConnectionResetError:
            return b""


# ------------------------------------------------------------------ SLMP

OWN = bytes([0, 0xFF, 0xFF, 3, 0])


def slmp(command: int, subcommand: int, data: bytes, route: bytes = OWN) -> bytes:
    body = struct.pack("<HHH", 4, command, subcommand) + data
    return b"\x54\0\x34\x12\0\0" + route + struct.pack("<H", len(body)) + body


def short_name(address: int, count: int, device: int = 0xA8) -> bytes:
    return address.to_bytes(3, "little") + struct.pack("<BH", device, count)


SLMP_REFUSALS = {
    "no words": (slmp(0x0401, 0, short_name(STAT, 0)), 0xC051),
    "too many words": (slmp(0x0401, 0, short_name(STAT, 961)), 0xC051),
    "beyond the exchange": (slmp(0x0401, 0, short_name(STAT + 1, 16)), 0xC056),
    "a write to CTRL": (slmp(0x1401, 0, short_name(15, 1) + b"\1\0"), 0xC056),
    "a write over the end of STAT": (slmp(0x1401, 0, short_name(115, 2) + bytes(4)), 0xC056),
    "bits": (slmp(0x0401, 1, short_name(STAT, 1)), 0xC059),
    "another command": (slmp(0x0403, 0, short_name(STAT, 1)), 0xC059),
    "remote stop": (slmp(0x1002, 0, b"\1\0"), 0xC059),
    "another device": (slmp(0x0401, 0, short_name(STAT, 1, 0xB4)), 0xC05B),
    "another device of iQ-R": (slmp(0x0401, 2, struct.pack("<IHH", STAT, 0x01A8, 1)), 0xC05B),
    "words too few": (slmp(0x1401, 0, short_name(STAT, 2) + b"\1\0"), 0xC061),
    "words too many": (slmp(0x1401, 0, short_name(STAT, 1) + bytes(4)), 0xC061),
    "words with a read": (slmp(0x0401, 0, short_name(STAT, 1) + b"\1\0"), 0xC061),
    "no address": (slmp(0x0401, 0, b"\x64\0"), 0xC061),
    "another station": (slmp(0x0401, 0, short_name(STAT, 1), b"\1\2\xff\3\0"), 0xC05F),
}


def test_the_slmp_server_refuses_with_mitsubishis_end_codes() -> None:
    with served("slmp") as plc:
        for name, (request, code) in SLMP_REFUSALS.items():
            answer = asked(plc.port, request)
            route, commands = request[6:11], request[15:19]
            body = struct.pack("<H", code) + route + commands
            told = b"\xd4\0\x34\x12\0\0" + route + struct.pack("<H", len(body)) + body
            assert answer == told, name
        words = struct.pack("<4H", 1, 65535, 3, 4)
        right = slmp(0x1401, 2, struct.pack("<IHH", STAT, 0xA8, 4) + words)
        assert asked(plc.port, right) == b"\xd4\0\x34\x12\0\0" + OWN + b"\2\0\0\0"
        right = slmp(0x0401, 0, short_name(STAT, 4))
        assert asked(plc.port, right) == b"\xd4\0\x34\x12\0\0" + OWN + b"\x0a\0\0\0" + words
        old = b"\x50\0" + right[6:]
        assert asked(plc.port, old) == b"\xd0\0" + OWN + b"\x0a\0\0\0" + words


def test_the_slmp_drivers_table_of_cpus_is_the_librarys() -> None:
    from slmp import FrameType, PLCSeries, SlmpClient

    profiles = {"qj71e71": "qnudv:qj71e71-100", "lj71e71": "lcpu:lj71e71-100"}
    for cpu in CPUS:
        client = SlmpClient("127.0.0.1", plc_profile=f"melsec:{profiles.get(cpu, cpu)}")
        assert (client.plc_series is PLCSeries.IQR) == (cpu in WIDE), cpu
        assert (client.frame_type is FrameType.FRAME_4E) == (cpu in KNOW_4E), cpu


def test_the_slmp_config_refuses_what_no_melsec_has() -> None:
    for fields, said in (
        ({"ctrl_address": 100, "stat_address": 115}, "overlap"),
        ({"cpu": "qnudv", "frame": "4e"}, "3E frames alone"),
        ({"cpu": "iq-f", "device": "ZR"}, "no ZR"),
        ({"device": "R", "stat_address": 32_753}, "R ends at 32767"),
        ({"cpu": "s7"}, "iq-r"),
    ):
        with pytest.raises(ValueError, match=said):
            SlmpConfig(host="plc", **fields)  # pyright: ignore[reportArgumentType]
    SlmpConfig(host="plc", device="R", stat_address=32_752)


# ------------------------------------------------------------------ XGT


def xgt(command: int, kind: int, data: bytes, **change: int) -> bytes:
    body = struct.pack("<HHH", command, kind, 0) + data
    head = b"LSIS-XGT\0\0" + struct.pack("<HBBHHB", 0, 0xA0, 0x33, 0x1234, len(body), 0)
    return head + bytes([(sum(head) + change.get("bcc", 0)) & 0xFF]) + body


def named(name: bytes, *numbers: int, blocks: int = 1) -> bytes:
    values = struct.pack(f"<{len(numbers)}H", *numbers)
    return struct.pack("<HH", blocks, len(name)) + name + values


XGT_REFUSALS = {
    "too many blocks": (xgt(0x54, 2, named(b"%DW100", blocks=17)), 0x01),
    "two continuous blocks": (xgt(0x54, 0x14, named(b"%DB200", 4, blocks=2)), 0x01),
    "bits": (xgt(0x54, 0, named(b"%DX100")), 0x02),
    "words by a byte's name": (xgt(0x54, 2, named(b"%DB200")), 0x02),
    "another area": (xgt(0x54, 0x14, named(b"%PB200", 4)), 0x03),
    "no name": (xgt(0x54, 0x14, named(b"", 4)), 0x03),
    "a name that is none": (xgt(0x54, 0x14, named(b"%DB-2", 4)), 0x03),
    "beyond the exchange": (xgt(0x54, 0x14, named(b"%DB202", 32)), 0x04),
    "a write to CTRL": (xgt(0x58, 0x14, named(b"%DB30", 2, 7)), 0x04),
    "a write over the end of STAT": (xgt(0x58, 0x14, named(b"%DB231", 2, 7)), 0x04),
    "no bytes": (xgt(0x54, 0x14, named(b"%DB200", 0)), 0x05),
    "too many bytes": (xgt(0x54, 0x14, named(b"%DB200", 1401)), 0x05),
    "data too short": (xgt(0x58, 0x14, named(b"%DB200", 4, 7)), 0x76),
    "data too long": (xgt(0x58, 0x14, named(b"%DB200", 2, 7, 7)), 0x76),
    "a read with data": (xgt(0x54, 0x14, named(b"%DB200", 2, 7)), 0x76),
    "wrong sum": (xgt(0x54, 0x14, named(b"%DB200", 4), bcc=1), 0x77),
    "status": (xgt(0xB0, 0, b"\0\0"), 0x78),
    "nothing after the command": (xgt(0x54, 0x14, b"")[:-2], None),
}


def test_the_xgt_server_refuses_with_the_error_codes_of_ls() -> None:
    with served("xgt") as plc:
        for name, (request, code) in XGT_REFUSALS.items():
            if code is None:
                continue
            answer = asked(plc.port, request)
            command, kind = struct.unpack_from("<HH", request, 20)
            body = struct.pack("<HHHHH", command + 1, kind, 0, 0xFFFF, code)
            assert answer[20:] == body, name
            assert answer[10:18] == b"\2\1\xa0\x11\x34\x12\x0a\0", name
            assert answer[19] == sum(answer[:19]) & 0xFF, name
        right = xgt(0x58, 0x14, named(b"%DB200", 4, 1, 65535))
        assert asked(plc.port, right)[20:] == struct.pack("<HHHHH", 0x59, 0x14, 0, 0, 1)
        right = xgt(0x54, 0x14, named(b"%DB200", 4))
        told = struct.pack("<HHHHHHHH", 0x55, 0x14, 0, 0, 1, 4, 1, 65535)
        assert asked(plc.port, right)[20:] == told


def test_the_xgt_config_refuses_what_no_xgt_has() -> None:
    for fields, said in (
        ({"ctrl_address": 100, "stat_address": 115}, "overlap"),
        ({"cpu": "xgi"}, "no D area"),
        ({"area": "P"}, "'D' or 'M'"),
    ):
        with pytest.raises(ValueError, match=said):
            XgtConfig(host="plc", **fields)  # pyright: ignore[reportArgumentType]
    XgtConfig(host="plc", cpu="xgi", area="M")


def test_a_cpu_that_is_not_in_run_is_said_so() -> None:
    head = b"LSIS-XGT\0\0" + struct.pack("<HBBHHB", 0x0202, 0xA0, 0x11, 1, 14, 0)
    body = struct.pack("<HHHHHHH", 0x55, 0x14, 0, 0, 1, 2, 5)
    with _Answering(head + bytes([sum(head) & 0xFF]) + body) as port:
        driver = XgtConfig(host="127.0.0.1", port=port, timeout=2.0).open()
        driver.connect()
        with pytest.raises(PlcError, match=r"not in RUN but in STOP; switch the PLC to RUN"):
            driver.read_words(STAT, 1)
        driver.close()


# ------------------------------------------------------------------ noise

RIGHT = {
    "slmp": slmp(0x0401, 0, short_name(STAT, 4)),
    "xgt": xgt(0x54, 0x14, named(b"%DB200", 8)),
}


def spoiled(right: bytes, chance: random.Random) -> bytes:
    """Return a frame with a few bytes changed, cut, doubled, or nothing but noise."""
    data = bytearray(right)
    for _ in range(chance.randint(0, 4)):
        data[chance.randrange(len(data))] = chance.choice([0, 1, 0x7F, 0xFF, chance.randrange(256)])
    match chance.randrange(5):
        case 0:
            return bytes(data[: chance.randrange(len(data) + 1)])
        case 1:
            return bytes(data) * 2
        case 2:
            return chance.randbytes(chance.randrange(200))
        case _:
            return bytes(data)


@pytest.mark.parametrize("protocol", ["slmp", "xgt"])
def test_noise_neither_ends_the_server_nor_touches_ctrl(protocol: str) -> None:
    chance = random.Random(f"noise to {protocol}")
    with served(protocol) as plc:
        before = plc.memory.words[:16].copy()
        for _ in range(400):
            with socket.create_connection(("127.0.0.1", plc.port), 5.0) as link:
                link.sendall(spoiled(RIGHT[protocol], chance))
                link.shutdown(socket.SHUT_WR)
                with contextlib.suppress(ConnectionResetError):
                    while link.recv(4096):
                        pass
        after = plc.memory.words[:16].copy()
        before[1] = after[1]  # the PLC's heartbeat
        assert (before == after).all()
        assert asked(plc.port, RIGHT[protocol])[-8:] == plc.memory.words[100:104].tobytes()
        assert not plc.wait(0), "its program runs on"


class _Answering:
    """A port that gives every connection one answer as soon as it asks anything."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        while True:
            link, _ = self._listener.accept()
            with link, contextlib.suppress(ConnectionError):  # the driver closes on a wrong answer
                if not link.recv(4096):
                    return
                link.sendall(self.answer)
                link.recv(1)

    def __enter__(self) -> int:
        self._thread.start()
        return int(self._listener.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        with socket.create_connection(self._listener.getsockname(), 5.0):
            pass
        self._thread.join(10)
        self._listener.close()


def config_and_answer(kind: Any) -> tuple[Any, bytes]:
    """Return a driver's config, and the honest answer to its first read of 4 words."""
    words = struct.pack("<4H", 1, 2, 3, 4)
    if kind == "xgt":
        head = b"LSIS-XGT\0\0" + struct.pack("<HBBHHB", 0x0102, 0xA0, 0x11, 1, 20, 0)
        told = struct.pack("<HHHHHH", 0x55, 0x14, 0, 0, 1, 8)
        return XgtConfig(host="plc", timeout=0.02), head + bytes([sum(head) & 255]) + told + words
    start = b"\xd4\0\1\0\0\0" if kind == "4e" else b"\xd0\0"
    return SlmpConfig(host="plc", frame=kind, timeout=0.02), start + OWN + b"\x0a\0\0\0" + words


def unspoken(answer: bytes, kind: str) -> bytes:
    """Return an answer without its words and, in XGT, without what says nothing about them."""
    if kind != "xgt":
        return answer[:-8]
    # CPU type and information, the module's place and sum, and a reserved word.
    return answer[:10] + answer[13:18] + answer[20:24] + answer[26:-8]


@pytest.mark.parametrize("kind", ["4e", "3e", "xgt"])
def test_noise_is_never_words(kind: str) -> None:
    """A spoiled answer is an error, unless nothing but the words themselves was changed."""
    config, honest = config_and_answer(kind)
    chance = random.Random("noise to a driver")
    port, taken = _Answering(honest), 0
    with port as number:
        for _ in range(150):
            port.answer = spoiled(honest, chance) or b"\0"
            driver = config.model_copy(update={"host": "127.0.0.1", "port": number}).open()
            driver.connect()
            try:
                words = driver.read_words(STAT, 4)
            except PlcError:
                pass
            else:
                taken += 1
                assert len(port.answer) == len(honest)
                assert unspoken(port.answer, kind) == unspoken(honest, kind)
                assert struct.pack("<4H", *words) == port.answer[-8:]
            driver.close()
    assert taken, "an honest answer is taken"


@pytest.mark.parametrize("kind", ["4e", "3e", "xgt"])
def test_an_answer_that_nobody_asked_for_ends_the_link(kind: str) -> None:
    """A second answer lies on the socket when the next question comes: 3E could not tell them apart."""
    config, honest = config_and_answer(kind)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        fields = {"host": "127.0.0.1", "port": port, "timeout": 5.0}
        driver = config.model_copy(update=fields).open()
        driver.connect()
        link, _ = listener.accept()
        with link:
            asked = threading.Thread(
                target=lambda: (link.recv(4096), link.sendall(honest)), daemon=True
            )
            asked.start()
            assert driver.read_words(STAT, 4) == [1, 2, 3, 4]
            asked.join(10)
            link.sendall(honest)
            threading.Event().wait(0.05)
            with pytest.raises(PlcError, match="waited before the question"):
                driver.read_words(STAT, 4)
            with pytest.raises(PlcError, match="call connect first"):
                driver.read_words(STAT, 4)
