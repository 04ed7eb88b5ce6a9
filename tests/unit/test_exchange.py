"""STAT after a link that broke in the middle of a write: what was meant stands there, nothing stale."""

from __future__ import annotations

import pytest

from inspection.errors import PlcError
from inspection.plc.exchange import Exchange
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
