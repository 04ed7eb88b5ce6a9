"""EtherNet/IP beyond the contract of all drivers: tags that are wrong, the connection, spoiled bytes."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fault_proxy import FaultProxy
from plc_links.ethernetip import SERVER, requests
from plc_links.link import ProgramPeer

from inspection.errors import PlcError
from inspection.plc.ethernetip import EtherNetIpConfig, EtherNetIpPlc

FORWARD_OPEN, FORWARD_CLOSE = 0x54, 0x4E


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    peer = ProgramPeer(SERVER)
    yield peer.port
    peer.stop()


@pytest.fixture
def proxy(port: int) -> Iterator[FaultProxy]:
    with FaultProxy(("127.0.0.1", port)) as made:
        yield made


def driver(port: int, **fields: Any) -> EtherNetIpPlc:
    made = EtherNetIpConfig(host="127.0.0.1", port=port, **{"timeout": 2.0, **fields}).open()
    made.connect()
    return made


def services(sent: bytes) -> list[int]:
    """Return the CIP service of each frame; 0 for the registration of the session."""
    found = []
    while sent:
        length = 24 + int.from_bytes(sent[2:4], "little")
        found.append({0x65: 0, 0x6F: sent[40], 0x70: sent[46]}[sent[0]])
        sent = sent[length:]
    return found


@pytest.mark.parametrize("slot", [0, 3, None])
def test_unsigned_tags_and_other_names(port: int, slot: int | None) -> None:
    plc = driver(port, slot=slot, ctrl_tag="STAT", stat_tag="UNSIGNED", element="UINT")
    plc.write_words(100, [65535, 0, 32768])
    assert plc.read_words(100, 3) == [65535, 0, 32768]
    assert plc.read_words(101, 1) == [0]
    plc.write_words(115, [40000])
    assert plc.read_words(115, 1) == [40000]
    plc.close()


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        ("NOPE", r"read of 16 elements at NOPE\[0\] was refused with status 0x05.*NOPE and STAT"),
        ("Program:Main.NOPE", r"refused with status 0x0[45]"),
        ("WIDE", "elements are DINT, not INT"),
        ("UNSIGNED", "elements are UINT, not INT"),
        ("SHORT", r"refused with status 0xFF 0x2105.*INT\[16\].*external access"),
    ],
)
def test_a_tag_that_is_not_as_configured_is_an_error(port: int, tag: str, message: str) -> None:
    plc = driver(port, ctrl_tag=tag)
    with pytest.raises(PlcError, match=message):
        plc.read_words(0, 16)
    with pytest.raises(PlcError, match="call connect first"):
        plc.read_words(0, 16)
    plc.connect()
    assert plc.read_words(100, 2)
    plc.close()


def test_the_connection_is_ended_when_it_is_whole_and_only_then(proxy: FaultProxy) -> None:
    plc = driver(proxy.port, timeout=1.5)
    plc.read_words(0, 16)
    plc.close()
    plc.close()
    read = requests(bytes(proxy.to_upstream[0]))
    assert read == [("read", 0, 16)]
    assert services(bytes(proxy.to_upstream[0])) == [0, FORWARD_OPEN, 0x4C, FORWARD_CLOSE]
    plc.connect()
    plc.connect()  # the one before is closed first
    assert services(bytes(proxy.to_upstream[1])) == [0, FORWARD_OPEN, FORWARD_CLOSE]
    proxy.dropping = True
    with pytest.raises(PlcError):
        plc.read_words(0, 16)
    plc.close()
    assert services(bytes(proxy.to_upstream[2])) == [0, FORWARD_OPEN, 0x4C]


def session_of(handle: int, status: int = 0) -> Callable[[bytes], bytes]:
    return lambda told: told[:4] + struct.pack("<II", handle, status) + told[12:]


def refusal(told: bytes) -> bytes:
    cip = struct.pack("<BBBBH", FORWARD_OPEN | 0x80, 0, 1, 1, 0x0315)
    return struct.pack("<HH", 0x6F, 16 + len(cip)) + told[4:38] + struct.pack("<H", len(cip)) + cip


@pytest.mark.parametrize(
    ("skip", "change", "message"),
    [
        (0, session_of(0), "no session"),
        (0, session_of(7, status=1), "status 1"),
        (1, refusal, "opening of a connection was refused with status 0x01 0x0315.*the slot"),
        (1, session_of(7), "another session"),
        (1, lambda told: told[:12] + b"\1" + told[13:], "another request"),
        (1, lambda told: told[:52] + b"\0\0" + told[54:], "another connection"),
        (1, lambda told: told[:40] + b"\xcc" + told[41:], "service 0xCC"),
        (1, lambda told: told[:36] + b"\xb1" + told[37:], "kind 0xB1"),
    ],
)
def test_a_connection_that_is_not_as_asked_is_none(
    proxy: FaultProxy, skip: int, change: Callable[[bytes], bytes], message: str
) -> None:
    for _ in range(skip):
        proxy.alter_next(bytes)
    proxy.alter_next(change)
    with pytest.raises(PlcError, match=message):
        driver(proxy.port)


def test_no_spoiled_bit_of_an_answers_head_becomes_other_words(proxy: FaultProxy) -> None:
    """Bits before the words are turned, one a read: the same words, or an error."""
    plc = driver(proxy.port, timeout=0.6)
    plc.write_words(100, [1, 2, 3, 4])
    seen = set[int]()
    # The length's high bits are left out: they only make the driver wait for more.
    heads = [bit for bit in range(8 * 52) if not 16 + 6 <= bit < 32]
    for bit in random.Random(5).sample(heads, 60):
        proxy.alter_next(
            lambda told, bit=bit: bytes(
                byte ^ (1 << bit % 8 if at == bit // 8 else 0) for at, byte in enumerate(told)
            )
        )
        try:
            assert plc.read_words(100, 4) == [1, 2, 3, 4], bit
            seen.add(bit // 8)
        except PlcError:
            plc.connect()
    plc.close()
    unused = {*range(12, 24), *range(24, 30), 47}  # context and options, interface, reserved
    assert seen <= unused


def test_the_config_refuses_what_is_no_tag() -> None:
    config = EtherNetIpConfig(host="plc", ctrl_tag="Program:Line.Ctrl", stat_tag="Line.Stat")
    assert (config.ctrl_address, config.stat_address, config.port) == (0, 100, 44818)
    for wrong in ("", "3x", "CTRL[2]", "CTRL.5", "a b", "Ä", "aÄ"):
        with pytest.raises(ValueError, match="ctrl_tag"):
            EtherNetIpConfig(host="plc", ctrl_tag=wrong)
    with pytest.raises(ValueError, match="tag of its own"):
        EtherNetIpConfig(host="plc", ctrl_tag="stat")
    with pytest.raises(ValueError, match="extra"):
        EtherNetIpConfig(host="plc", ctrl_address=4)  # pyright: ignore[reportCallIssue]
