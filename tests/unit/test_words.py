"""The exchange area: what is packed is unpacked, and only a whole PASS proves a pass."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspection.plc.words import Ctrl, CtrlFlag, Stat, StatFlag, next_sequence

word = st.integers(0, 0xFFFF)
double = st.integers(0, 0xFFFFFFFF)
block = st.lists(word, min_size=16, max_size=16)
serial = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=16).map(str.strip)
ctrls = st.builds(
    Ctrl,
    flags=st.integers(0, 0x3F).map(CtrlFlag),
    heartbeat=word, trig_seq=word, recipe=word, part_id=double, deadline_ms=word,
    map_version=word, serial=serial,
)  # fmt: skip
stats = st.builds(
    Stat,
    flags=st.integers(0, 0x3FF).map(StatFlag),
    heartbeat=word, ack_seq=word, result_seq=word, result_code=word, code_inverse=word,
    defect_class=word, score=word, cycle_ms=word, over_t1=word, reason=word, recipe=word,
    record_id=double, map_version=word, result_seq_copy=word,
)  # fmt: skip


@given(ctrls)
def test_ctrl_round_trip(ctrl: Ctrl) -> None:
    words = ctrl.pack()
    assert len(words) == 16
    assert all(0 <= w <= 0xFFFF for w in words)
    assert Ctrl.unpack(words) == ctrl


@given(stats)
def test_stat_round_trip(stat: Stat) -> None:
    assert Stat.unpack(stat.pack()) == stat


@given(block)
def test_any_words_can_be_read(words: list[int]) -> None:
    ctrl, stat = Ctrl.unpack(words), Stat.unpack(words)
    assert ctrl.pack()[1:8] == words[1:8]
    assert stat.pack()[1:] == words[1:]
    assert ctrl.serial.isprintable()
    assert ctrl.serial.isascii()


def test_the_map_is_the_documents() -> None:
    ctrl = Ctrl(CtrlFlag.ENABLE | CtrlFlag.TRIGGER, 2, 3, 4, 0x0005_0006, 7, 8, "AB1")
    assert ctrl.pack() == [3, 2, 3, 4, 6, 5, 7, 8, 0x4142, 0x3100, 0, 0, 0, 0, 0, 0]
    stat = Stat(
        StatFlag.READY | StatFlag.DEGRADED, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0x000D_000C, 14, 15
    )
    assert stat.pack() == [0x201, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]


@pytest.mark.parametrize("words", [[], [0] * 15, [0] * 17, [0] * 15 + [65536], [-1] + [0] * 15])
def test_what_is_no_block_is_refused(words: list[int]) -> None:
    with pytest.raises(ValueError, match="16 words"):
        Ctrl.unpack(words)
    with pytest.raises(ValueError, match="16 words"):
        Stat.unpack(words)


GOOD = Stat(
    flags=StatFlag.RESULT_VALID, result_seq=9, result_seq_copy=9, result_code=1, code_inverse=65534
)


def test_a_whole_pass_of_the_sequence_proves_a_pass() -> None:
    assert GOOD.proves_pass(9)


@given(
    st.sampled_from(["flags", "result_seq", "result_seq_copy", "result_code", "code_inverse"]), word
)
def test_one_other_word_proves_nothing(name: str, value: int) -> None:
    if name == "flags":
        spoiled = replace(GOOD, flags=StatFlag(value & 0x3FF & ~StatFlag.RESULT_VALID))
    else:
        spoiled = replace(GOOD, **{name: value})
    assert spoiled.proves_pass(9) == (spoiled == GOOD)


@given(st.integers(0, 0xFFFF).filter(lambda s: s != 9))
def test_another_sequence_proves_nothing(sequence: int) -> None:
    assert not GOOD.proves_pass(sequence)


def test_zeroed_and_cleared_memory_proves_nothing() -> None:
    assert not Stat.unpack([0] * 16).proves_pass(0)
    assert not Stat.unpack([0xFFFF] * 16).proves_pass(0xFFFF)
    assert not GOOD.without_result().proves_pass(9)


def test_sequences_wrap_to_one() -> None:
    assert [next_sequence(s) for s in (0, 1, 65534, 65535)] == [1, 2, 65535, 1]
