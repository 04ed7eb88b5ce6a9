"""Every PLC driver against every server we have: words are right, or PlcError and a closed socket.

The servers are our simulated PLC's and those of other authors (tests/plc_links). Between driver and
server stands a proxy that counts requests and spoils answers.
"""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from fault_proxy import FaultProxy
from plc_links import LINKS, Link
from plc_links.link import STAT, TIMEOUT, Peer

from inspection.errors import PlcError
from inspection.protocols import Plc

OTHERWISE = {"remote_io": "test_plc_remote_io.py"}
"""Drivers that have no words to write and read back, and where the same is asked of them instead."""
LATE = 2.5
BACK = 1.0
"""Seconds in which a link must be up again after its PLC is; three tries are made in any case."""

# A quiet pattern: no flag that the simulated PLC's program acts upon, unsigned extremes, no repeats.
WORDS = [0, 65535, 32768, 32767, 1, 2, 3, 40000, 50000, 60000, 65534, 7, 8, 9, 10, 11]

PAIRS = [(link, name) for link in LINKS for name in link.peers]


@pytest.fixture(params=PAIRS, ids=[f"{link.label}-{name}" for link, name in PAIRS])
def pair(request: pytest.FixtureRequest) -> tuple[Link, str]:
    return request.param


@pytest.fixture
def link(pair: tuple[Link, str]) -> Link:
    return pair[0]


@pytest.fixture
def peer(pair: tuple[Link, str]) -> Iterator[Peer]:
    made = pair[0].peers[pair[1]]()
    yield made
    made.stop()


@pytest.fixture
def proxy(peer: Peer) -> Iterator[FaultProxy]:
    with FaultProxy(("127.0.0.1", peer.port)) as made:
        yield made


@pytest.fixture
def plc(link: Link, proxy: FaultProxy) -> Iterator[Plc]:
    driver = link.open(proxy.port)
    driver.connect()
    yield driver
    driver.close()


def reconnect_and_read(plc: Plc) -> list[int]:
    plc.connect()
    return plc.read_words(STAT, 16)


def test_every_driver_that_is_registered_is_tried() -> None:
    registered = {point.name for point in entry_points(group="inspection.plc")}
    assert {link.name for link in LINKS} | set(OTHERWISE) == registered
    assert all(Path(__file__).with_name(file).is_file() for file in OTHERWISE.values())
    alone = [link for link in LINKS if set(link.peers) <= {"simulated"}]
    assert all(link.no_other_author for link in alone), "a server of another author, or why none"


def test_words_come_back_as_written_in_one_request_a_block(
    link: Link, plc: Plc, proxy: FaultProxy
) -> None:
    assert isinstance(plc, Plc)
    plc.write_words(STAT, WORDS)
    assert plc.read_words(STAT, 16) == WORDS
    assert plc.read_words(STAT + 3, 5) == WORDS[3:8]
    plc.write_words(STAT + 3, [65535, 1])
    assert plc.read_words(STAT, 16) == [*WORDS[:3], 65535, 1, *WORDS[5:]]
    assert link.requests(bytes(proxy.to_upstream[0])) == link.asked(
        ("write", STAT, 16),
        ("read", STAT, 16),
        ("read", STAT + 3, 5),
        ("write", STAT + 3, 2),
        ("read", STAT, 16),
    )


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
    for _ in range(24):  # while the late answer arrives at the old socket
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


@pytest.mark.parametrize("close", [True, False], ids=["closed", "stays open"])
def test_a_short_answer_is_an_error(link: Link, plc: Plc, proxy: FaultProxy, close: bool) -> None:
    plc.write_words(STAT, WORDS)
    for keep in link.short_answers:
        proxy.cut_next(keep, close=close)
        with pytest.raises(PlcError):
            plc.read_words(STAT, 16)
        plc.connect()
        assert plc.read_words(STAT + 4, 4) == WORDS[4:8], f"after {keep} bytes"


def test_a_short_confirmation_is_an_error(link: Link, plc: Plc, proxy: FaultProxy) -> None:
    for keep in link.short_confirmations:
        proxy.cut_next(keep)
        with pytest.raises(PlcError):
            plc.write_words(STAT, WORDS)
        plc.connect()
        assert plc.read_words(STAT, 1), f"after {keep} bytes"


def test_a_refused_address_is_an_error_and_closes(link: Link, plc: Plc) -> None:
    if link.refused_address is None:
        pytest.skip(f"{link.name}: no address of the exchange is ever refused")
    with pytest.raises(PlcError, match=link.refused):
        plc.read_words(link.refused_address, 16)
    with pytest.raises(PlcError, match="connect"):
        plc.read_words(STAT, 1)
    plc.connect()
    with pytest.raises(PlcError, match=link.refused):
        plc.write_words(link.refused_address, [1, 2])
    plc.connect()
    assert len(plc.read_words(STAT, 16)) == 16


def test_after_a_restart_of_the_server_the_link_is_back_within_a_second(
    plc: Plc, peer: Peer
) -> None:
    plc.write_words(STAT, WORDS)

    def while_down() -> None:
        with pytest.raises(PlcError):
            plc.read_words(STAT, 16)
        with pytest.raises(PlcError):
            reconnect_and_read(plc)  # the proxy accepts and finds nobody behind it

    peer.restart(while_down)
    up, words, tries = time.monotonic(), None, 0
    while words is None and (time.monotonic() - up < BACK or tries < 3):
        tries += 1
        try:
            words = reconnect_and_read(plc)
        except PlcError:
            threading.Event().wait(0.02)
    assert words is not None, f"no answer within {BACK} s and {tries} tries"
    assert len(words) == 16


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
    with pytest.raises(PlcError):  # accepted, and then silence
        reconnect_and_read(plc)
    proxy.heal()
    assert len(reconnect_and_read(plc)) == 16


@pytest.mark.parametrize("link", LINKS, ids=[link.label for link in LINKS])
def test_nobody_listens(link: Link) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        driver = link.open(taken.getsockname()[1])
        with pytest.raises(PlcError, match="check that the PLC is on"):
            driver.connect()
        with pytest.raises(PlcError, match="connect"):
            driver.read_words(STAT, 1)
    driver.close()
    driver.close()


def test_nonsense_is_refused_before_it_is_sent(link: Link, plc: Plc, proxy: FaultProxy) -> None:
    for address, count in link.outside:
        with pytest.raises(ValueError, match="outside"):
            plc.read_words(address, count)
    for words in ([], [65_536], [-1], [0] * link.too_long):
        with pytest.raises(ValueError, match=r"outside|0\.\.65535"):
            plc.write_words(STAT, words)
    assert plc.read_words(STAT, 1) == [0]
    assert link.requests(bytes(proxy.to_upstream[0])) == link.asked(("read", STAT, 1))


def test_an_answer_that_is_not_the_answer_is_an_error(
    link: Link, plc: Plc, proxy: FaultProxy
) -> None:
    for lie, change in link.lies.items():
        plc.write_words(STAT, [1, 2, 3, 4])
        assert plc.read_words(STAT, 4) == [1, 2, 3, 4]
        proxy.alter_next(change)
        with pytest.raises(PlcError):
            pytest.fail(f"{lie}: taken as {plc.read_words(STAT, 4)}")
        with pytest.raises(PlcError, match="connect"):
            plc.read_words(STAT, 4)
        plc.connect()


def test_an_answer_that_dribbles_in_ends_after_two_timeouts_at_most(
    plc: Plc, proxy: FaultProxy
) -> None:
    proxy.dribble = TIMEOUT / 3
    with pytest.raises(PlcError):
        plc.read_words(STAT, 16)
    assert proxy.dribbled < 30


def test_a_program_that_is_interrupted_leaves_no_answer_behind(
    plc: Plc, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl+C while the answer is on its way: the next question is never answered with it."""
    plc.write_words(STAT, WORDS)

    def held(told: bytes) -> bytes:
        _interrupt()
        return told

    proxy.alter_next(held)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            plc.read_words(STAT, 8)
    finally:
        signal.signal(signal.SIGINT, before)
    with pytest.raises(PlcError, match="connect"):  # the socket is closed: nothing is asked
        plc.read_words(STAT, 8)
    plc.connect()
    for _ in range(4):
        assert plc.read_words(STAT + 8, 8) == WORDS[8:]
        threading.Event().wait(0.05)


def _interrupt() -> None:
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
