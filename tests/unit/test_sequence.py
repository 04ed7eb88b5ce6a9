"""TRIG_SEQ followed: epochs and triggers that never came, whatever the PLC counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspection.sequence import LAST, MOST_MISSED, TriggerCount


def counter(counted: int = 0, epoch: int = 5) -> tuple[TriggerCount, list[str]]:
    begun: list[str] = []
    return TriggerCount(epoch, counted, lambda _number, cause: begun.append(cause)), begun


@pytest.mark.parametrize(
    ("counted", "sequence", "missed"),
    [
        (0, 17, []),  # a new store knows nothing of what came before
        (16, 17, []),
        (14, 17, [15, 16]),
        (LAST, 1, []),
        (LAST - 1, 2, [LAST, 1]),
        (17, 17, []),  # the same again, another part: the PLC started anew
        (17, 16, []),
        (40, 1, []),
        (1, MOST_MISSED + 2, list(range(2, MOST_MISSED + 2))),
        (1, MOST_MISSED + 3, []),  # no gap: a PLC that counts anew
    ],
)
def test_missed_after_a_restart(counted: int, sequence: int, missed: list[int]) -> None:
    count, _ = counter(counted)
    found = count.take(sequence)
    assert [one for _, one in found] == missed
    assert {epoch for epoch, one in found if one > sequence} <= {5}


def test_a_wrap_while_running_begins_one_epoch() -> None:
    count, begun = counter()
    assert count.take(LAST - 2) == []
    assert count.take(2) == [(5, LAST - 1), (5, LAST), (6, 1)]
    assert (count.epoch, begun) == (6, ["sequence went back"])


@pytest.mark.parametrize(
    ("counted", "sequence", "missed"),
    [
        (11, 12, []),
        (11, 14, [12, 13]),  # goes on: who pulsed RESET had not lost its count
        (11, 11, []),
        (11, 1, []),  # counts from 1
        (LAST - 5, 1, []),  # no wrap: it may count from 1
        (1, MOST_MISSED + 2, list(range(2, MOST_MISSED + 2))),
        (1, MOST_MISSED + 3, []),
    ],
)
def test_reset_begins_an_epoch_and_loses_no_trigger(
    counted: int, sequence: int, missed: list[int]
) -> None:
    count, begun = counter()
    count.take(counted)
    for _ in range(2):
        count.reset()
    assert count.take(sequence) == [(7, one) for one in missed]
    assert (count.epoch, begun) == (7, ["reset", "reset"])
    count.reset()
    assert count.take(sequence) == []


@given(st.integers(0, LAST), st.lists(st.integers(0, LAST) | st.integers(0, 9), max_size=40))
def test_no_key_is_given_twice(counted: int, sequences: list[int]) -> None:
    count, begun = counter(counted)
    keys: list[tuple[int, int]] = []
    for sequence in sequences:
        if not sequence:
            count.reset()
            continue
        keys += count.take(sequence)
        keys.append((count.epoch, sequence))
    assert len(keys) == len(set(keys))
    assert keys == sorted(keys)
    assert all(1 <= sequence <= LAST for _, sequence in keys)
    assert count.epoch == 5 + len(begun)
