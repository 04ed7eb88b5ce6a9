"""S7 beyond the contract of all drivers: a client of another author, refusals, spoiled bytes, noise."""

from __future__ import annotations

import contextlib
import ctypes
import random
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from fault_proxy import FaultProxy
from plc_links.s7 import answer, framed, item
from plc_links.s7_native_server import LIBRARY

from inspection.errors import PlcError
from inspection.plc.memory import Memory
from inspection.plc.s7 import S7Config, S7Plc
from inspection.plc.servers.s7 import S7Server
from inspection.plc.simulated import SimulatedPlc
from inspection.plc.simulated_config import SimulatedPlcConfig

CTRL, STAT = 1000, 1100
DATA_BLOCK, MERKER, BYTE = 0x84, 0x83, 2
REMOTE_PORT = 2


@pytest.fixture
def simulated() -> Iterator[SimulatedPlc]:
    config = SimulatedPlcConfig(
        protocol="s7", unit=7, takt=3600.0, recipe=0, ctrl_address=CTRL, stat_address=STAT
    )
    with SimulatedPlc(config) as plc:
        yield plc


def driver(port: int, *, db: int = 7, timeout: float = 2.0) -> S7Plc:
    made = S7Config(
        host="127.0.0.1", port=port, db=db, ctrl_address=CTRL, stat_address=STAT, timeout=timeout
    ).open()
    made.connect()
    return made


class Item(ctypes.Structure):
    """One variable of a job of libsnap7's client."""

    _fields_ = (
        ("area", ctypes.c_int), ("word_len", ctypes.c_int), ("result", ctypes.c_int),
        ("db", ctypes.c_int), ("start", ctypes.c_int), ("amount", ctypes.c_int),
        ("data", ctypes.c_void_p),
    )  # fmt: skip


def items(*told: tuple[int, bytes]) -> tuple[Any, list[Any]]:
    """Return variables of DB7 from (byte, data), and what keeps their memory."""
    kept = [ctypes.create_string_buffer(data, len(data)) for _, data in told]
    made = [
        Item(DATA_BLOCK, BYTE, 0, 7, start, len(data), ctypes.addressof(buffer))
        for (start, data), buffer in zip(told, kept, strict=True)
    ]
    return (Item * len(made))(*made), kept


def test_libsnap7_reads_and_writes_the_simulated_plc(simulated: SimulatedPlc) -> None:
    if not LIBRARY.is_file():
        pytest.skip("libsnap7 is not installed; run make setup")
    snap7 = ctypes.CDLL(str(LIBRARY))
    snap7.Cli_Create.restype = ctypes.c_void_p
    client = ctypes.c_void_p(snap7.Cli_Create())
    port = ctypes.c_uint16(simulated.port)
    assert snap7.Cli_SetParam(client, REMOTE_PORT, ctypes.byref(port)) == 0
    assert snap7.Cli_ConnectTo(client, b"127.0.0.1", 0, 1) == 0
    ours = driver(simulated.port)
    block = ctypes.create_string_buffer(32)
    assert snap7.Cli_DBRead(client, 7, 2 * CTRL, 32, block) == 0
    assert block.raw[1] & 1, "ENABLE, in the low byte of DBW 2000"
    assert block.raw[14:16] == b"\0\1", "map version"
    block.raw = bytes.fromhex("0000ffff0007fffe") + bytes(24)
    assert snap7.Cli_DBWrite(client, 7, 2 * STAT, 8, block) == 0
    assert ours.read_words(STAT, 4) == [0, 65535, 7, 65534]
    ours.write_words(STAT + 4, [11, 65533])
    assert snap7.Cli_DBRead(client, 7, 2 * STAT + 8, 4, block) == 0
    assert block.raw[:4] == b"\0\x0b\xff\xfd"

    two, kept = items((2 * STAT, b"\1\x41"), (2 * STAT + 6, b"\xff\xfb\0\5"))
    assert snap7.Cli_WriteMultiVars(client, two, 2) == 0
    assert [one.result for one in two] == [0, 0]
    assert ours.read_words(STAT, 5) == [321, 65535, 7, 65531, 5], "both of one request"
    two, kept = items((2 * STAT, b"\0\0"), (2 * 4000, b"\0\0"))
    assert snap7.Cli_ReadMultiVars(client, two, 2) == 0
    assert two[0].result == 0
    assert two[1].result != 0, "outside"
    assert kept[0].raw == b"\1\x41"

    for refused in (
        lambda: snap7.Cli_DBWrite(client, 7, 2 * CTRL, 2, block),  # only the PLC writes CTRL
        lambda: snap7.Cli_DBWrite(client, 7, 2 * STAT + 1, 2, block),  # half a word
        lambda: snap7.Cli_DBRead(client, 7, 2 * STAT + 32, 2, block),
        lambda: snap7.Cli_DBRead(client, 8, 2 * STAT, 2, block),  # another DB
        lambda: snap7.Cli_MBRead(client, 2 * STAT, 2, block),
        lambda: snap7.Cli_PlcStop(client),
        lambda: snap7.Cli_GetOrderCode(client, ctypes.create_string_buffer(100)),
    ):
        assert refused() != 0
    assert snap7.Cli_DBRead(client, 7, 2 * STAT, 2, block) == 0, "the connection goes on"
    snap7.Cli_Disconnect(client)
    snap7.Cli_Destroy(ctypes.byref(client))
    ours.close()


def test_a_refusal_says_what_to_set_in_the_cpu(simulated: SimulatedPlc) -> None:
    other = driver(simulated.port, db=8)
    with pytest.raises(PlcError, match=r"DB8.*code 0x0A, no such data block.*Optimized.*PUT/GET"):
        other.read_words(CTRL, 16)
    with pytest.raises(PlcError, match="call connect first"):
        other.read_words(CTRL, 16)
    with FaultProxy(("127.0.0.1", simulated.port)) as proxy:
        plc = driver(proxy.port)
        for told, meant in (
            (answer(item(b"", code=3, size=0)), "code 0x03, access is not allowed"),
            (answer(b"\3", parameters=b"\5\1"), "code 0x03, access is not allowed"),
            (answer(item(b"", code=0x77, size=0)), "code 0x77, an unknown code"),
            (answer(b"", kind=2, error=0x8104, parameters=b""), "error 0x8104"),
        ):
            proxy.alter_next(told)
            with pytest.raises(PlcError, match=rf"{meant}.*Optimized.*PUT/GET"):
                plc.read_words(CTRL, 4)
            plc.connect()
        plc.close()


def agreed(pdu: int) -> bytes:
    return b"\xf0\0\0\1\0\1" + pdu.to_bytes(2, "big")


@pytest.mark.parametrize(
    ("skip", "change", "message"),
    [
        (0, lambda a: framed(a[7:]), "rack 0, slot 1.*check rack"),
        (0, lambda _a: framed(b"", transport=b"\6\x80\0\1\0\0\0"), "rack 0, slot 1.*check rack"),
        (1, answer(b"", parameters=agreed(200)), "PDU of 200 bytes"),
        (1, answer(b"", parameters=agreed(961)), "PDU of 961 bytes"),
        (1, answer(b"", parameters=agreed(480), number=1), "PDU got no whole and right"),
        (1, answer(b"", kind=2, error=0x8104, parameters=b""), "PDU was refused"),
        (1, answer(b"\xff", parameters=b"\5\1"), "PDU of 0 bytes"),
    ],
)
def test_a_connection_that_is_not_as_asked_is_none(
    simulated: SimulatedPlc, skip: int, change: Any, message: str
) -> None:
    with FaultProxy(("127.0.0.1", simulated.port)) as proxy:
        for _ in range(skip):
            proxy.alter_next(bytes)
        proxy.alter_next(change)
        with pytest.raises(PlcError, match=message):
            driver(proxy.port)


def test_no_spoiled_bit_of_an_answers_head_becomes_other_words(simulated: SimulatedPlc) -> None:
    """Each bit before the words is turned once: the same words, or an error."""
    with FaultProxy(("127.0.0.1", simulated.port)) as proxy:
        plc = driver(proxy.port, timeout=0.6)
        plc.write_words(STAT, [1, 2, 3, 4])
        errors = 0
        for bit in range(8 * 25):
            proxy.alter_next(
                lambda told, bit=bit: bytes(
                    byte ^ (1 << bit % 8 if at == bit // 8 else 0) for at, byte in enumerate(told)
                )
            )
            try:
                assert plc.read_words(STAT, 4) == [1, 2, 3, 4], bit
            except PlcError:
                errors += 1
                plc.connect()  # an answer that waits for bytes that never come, too
        plc.close()
    assert errors == 200 - 25, "unseen: 3 reserved bytes, and a data type that means the same"


CONNECT = bytes.fromhex("0300001611e00000000100c0010ac1020100c2020101")
READ = bytes.fromhex("0300001f02f080320100000001000e00000401120a10020020000784003e80")
WRITE = bytes.fromhex("0300002502f080320100000002000e00060501120a100200020007840044c00004001000aa")


def noise(chance: random.Random) -> bytes:
    """Return random bytes, or an honest frame that is spoiled, cut, or filled with random bytes."""
    told = bytearray(chance.choice((CONNECT, READ, WRITE)))
    match chance.randrange(4):
        case 0:
            return chance.randbytes(chance.randrange(1, 80))
        case 1:
            told[chance.randrange(4, len(told))] ^= 1 << chance.randrange(8)
        case 2:
            told = told[: chance.randrange(7, len(told))]
            told[2:4] = len(told).to_bytes(2, "big")
        case _:
            told[7:] = chance.randbytes(len(told) - 7)
    return bytes(told)


def test_the_server_survives_noise(simulated: SimulatedPlc) -> None:
    chance = random.Random(5)
    with socket.create_connection(("127.0.0.1", simulated.port)) as honest:
        honest.sendall(CONNECT)
        assert honest.recv(100)[5] == 0xD0
        for _ in range(200):
            with socket.create_connection(("127.0.0.1", simulated.port)) as noisy:
                noisy.sendall(noise(chance))
        plc = driver(simulated.port)
        assert len(plc.read_words(CTRL, 16)) == 16
        plc.close()
        honest.sendall(WRITE)
        assert honest.recv(100)[-1] == 0xFF, "an older connection goes on"


def test_the_server_answers_noise_or_closes() -> None:
    chance = random.Random(6)
    server = S7Server(7)
    server._memory = Memory(CTRL, STAT)  # without the sockets
    answered = 0
    for _ in range(5000):
        frame = noise(chance)
        with contextlib.suppress(ValueError):  # what the listener closes on
            answered += len(server._answer(frame)) > 0 if frame[:1] == b"\3" else 0
    assert answered > 1000
