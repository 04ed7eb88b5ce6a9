"""STAT after a link that broke in the middle of a write: what was meant stands there, nothing stale."""

from __future__ import annotations

import pytest

from inspection.errors import PlcError, PlcSharedError
from inspection.plc.exchange import Exchange
from inspection.plc.sole_writer import SoleWriter
from inspection.plc.words import BLOCK_WORDS, Ctrl, Stat, StatFlag
from inspection.types import Decision, Reason, Result

STAT = 100


class Memory:
    """A PLC's words in this process; the link breaks at the writes that are told."""

    def __init__(self) -> None:
        self.words = [0] * 200
        self.words[:BLOCK_WORDS] = Ctrl().pack()
        self.until_break: int | None = None

    def connect(self) -> None:
        self.until_break = None

    def close(self) -> None:
        pass

    def read_words(self, address: int, count: int) -> list[int]:
        return self.words[address : address + count]

    def write_words(self, address: int, words: list[int]) -> None:
        if self.until_break == 0:
            raise PlcError("the link broke")
        if self.until_break is not None:
            self.until_break -= 1
        self.words[address : address + len(words)] = words

    def stat(self) -> Stat:
        return Stat.unpack(self.words[STAT : STAT + BLOCK_WORDS])


@pytest.fixture
def link() -> tuple[Memory, Exchange]:
    """Return a PLC and a station that has just answered part 40 and shows its answer."""
    memory = Memory()
    exchange = Exchange(memory, ctrl_address=0, stat_address=STAT, heartbeat=60.0)
    exchange.connect()
    exchange.accept(40)
    exchange.raise_flags(StatFlag.TRIG_ACK)
    result = Result(Decision.PASS, Reason.NONE)
    exchange.write_result(40, result, record_id=7, cycle=0.02)
    exchange.announce()
    return memory, exchange


@pytest.mark.parametrize("writes", [0, 1, 2])
def test_a_trigger_taken_while_the_link_breaks_is_shown_whole_when_it_is_back(
    link: tuple[Memory, Exchange], writes: int
) -> None:
    memory, exchange = link
    memory.until_break = writes
    with pytest.raises(PlcError):
        exchange.accept(41)
    assert not (memory.stat().has(StatFlag.RESULT_VALID) and memory.stat().ack_seq == 41)
    exchange.close()
    exchange.connect()
    stat = memory.stat()
    assert (stat.ack_seq, stat.result_code, stat.result_seq) == (41, 0, 0)
    assert stat.has(StatFlag.BUSY)
    assert not stat.flags & (StatFlag.RESULT_VALID | StatFlag.TRIG_ACK | StatFlag.READY)


def test_ready_is_not_shown_again_by_a_reconnection_alone(link: tuple[Memory, Exchange]) -> None:
    memory, exchange = link
    exchange.raise_flags(StatFlag.READY)
    assert memory.stat().has(StatFlag.READY)
    exchange.close()
    exchange.connect()
    assert not memory.stat().has(StatFlag.READY), "the PLC's heartbeat has not been seen yet"


class Shared(Memory):
    """A PLC at which another station counts its heartbeat, at each reading of ours."""

    other: int | None = None

    def read_words(self, address: int, count: int) -> list[int]:
        if self.other is not None and address > STAT:
            self.other += 1
            self.words[STAT + 1] = self.other
        return super().read_words(address, count)


def station(memory: Memory, heartbeat: float = 0.0) -> Exchange:
    return Exchange(memory, ctrl_address=0, stat_address=STAT, heartbeat=heartbeat)


def polled(exchange: Exchange, times: int) -> None:
    for _ in range(times):
        exchange.poll()


def test_who_comes_second_writes_nothing_and_stays_out() -> None:
    memory = Shared()
    memory.words[STAT:] = [0b11, 700, *range(98)]
    memory.other = 700
    before, exchange = memory.words[STAT + 2 :], station(memory)
    with pytest.raises(PlcSharedError, match="another station"):
        exchange.connect()
    memory.other = None  # the first one's cable is pulled: this one does not take over
    with pytest.raises(PlcSharedError, match="start this one anew"):
        exchange.connect()
    assert (memory.words[STAT], memory.words[STAT + 2 :]) == (0b11, before)
    assert not exchange.connected


def test_what_a_dead_station_left_is_no_other_station() -> None:
    memory = Shared()
    memory.words[STAT + 1] = 4711
    exchange = station(memory)
    exchange.connect()
    assert memory.stat().heartbeat == exchange.stat.heartbeat


def test_a_plc_that_clears_its_memory_at_its_start_is_no_other_station() -> None:
    """The station is there first; the PLC shows what it kept until the first scan of its program."""
    shown = iter([4711, 4711, 0, 0])
    SoleWriter().enter(lambda: next(shown, 0), 5)
    shown = iter([4711, 0, 17])
    with pytest.raises(PlcSharedError, match="another station"):
        SoleWriter().enter(lambda: next(shown, 17), 5)


def test_a_gateway_that_shows_old_words_is_no_other_station() -> None:
    sole, own, written = SoleWriter(), 0xFFFA, [0] * 8
    sole.enter(lambda: 0, own)
    for beat in range(60):
        if sole.wants_look(beat * 0.1, busy=False):
            sole.look(written[-8], own, beat * 0.1)
        own = (own + 1) & 0xFFFF
        written.append(own)


def test_who_came_at_the_same_time_is_noticed() -> None:
    memory = Shared()
    exchange = station(memory)
    exchange.connect()
    memory.other = memory.stat().heartbeat ^ 0x8000
    with pytest.raises(PlcSharedError, match="as well"):
        polled(exchange, 3)
    exchange.close()
    memory.other = None
    with pytest.raises(PlcSharedError):
        exchange.connect()


def test_a_plc_that_forgets_or_writes_the_word_itself_is_no_other_station() -> None:
    memory = Shared()
    exchange = station(memory)
    exchange.connect()
    for _ in range(30):
        memory.words[STAT + 1] = 0  # started anew, again and again
        exchange.poll()
    for _ in range(30):
        memory.words[STAT + 1] = 9999  # its program writes there
        exchange.poll()
    for broken in (0, 1):  # the link breaks before or after a heartbeat was written
        memory.until_break = broken
        with pytest.raises(PlcError):
            polled(exchange, 2)
        exchange.connect()


def test_a_station_that_slept_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, now = Shared(), [100.0]
    monkeypatch.setattr("inspection.plc.exchange.time.monotonic", lambda: now[0])
    exchange = station(memory)
    exchange.connect()
    for _ in range(50):
        now[0] += 0.1
        exchange.poll()
    memory.other = memory.stat().heartbeat ^ 0x8000
    now[0] += 3.0  # suspended: another one came
    with pytest.raises(PlcSharedError):
        polled(exchange, 3)
