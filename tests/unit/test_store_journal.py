"""The journal keeps parts through kills, torn writes and full disks, and never stops a start."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_samples import detections, inspected, not_inspected, store_config, trigger

from inspection.errors import StoreError
from inspection.store.journal import SLOT, SLOTS, Journal, Marks, decode, encode
from inspection.store.queries import StoreReader
from inspection.store.rows import journal_values, part_values
from inspection.store.sql import SqlStore
from inspection.types import Reason, Result

VALUES = {"station": "st1", "epoch": 1, "sequence": 2, "text": "먼지 " * 20}
QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.journal"


def test_what_was_added_is_there_after_a_restart_in_order(path: Path) -> None:
    journal = Journal(path)
    notes = [journal.add({"n": n}) for n in range(5)]
    assert all(notes)
    journal.clear(notes[1])  # type: ignore[arg-type]
    assert journal.add({"n": 5}) is not None  # takes the slot that was freed
    journal.mark(Marks({"st1": 4}, 1_000_000))
    journal.mark(Marks({"st1": 5}, 2_000_000))
    journal.close()
    journal.close()
    again = Journal(path)
    assert [note.values["n"] for note in again.notes] == [0, 2, 3, 4, 5]
    assert again.marks == Marks({"st1": 5}, 2_000_000)
    assert again.damaged == []
    again.close()
    assert path.stat().st_size == SLOT * SLOTS


def test_it_is_full_some_day_and_says_so(path: Path) -> None:
    journal = Journal(path)
    notes = [journal.add({"n": n}) for n in range(SLOTS - 2)]
    assert all(notes)
    assert journal.free == 0
    assert journal.add({"n": -1}) is None
    journal.clear(notes[7])  # type: ignore[arg-type]
    assert journal.add({"n": -1}) is not None
    journal.close()


def test_what_does_not_fit_is_not_taken(path: Path) -> None:
    journal = Journal(path)
    assert journal.add({"text": "x" * SLOT}) is None
    journal.close()


def test_a_part_with_a_thousand_boxes_is_cut_to_fit() -> None:
    part = not_inspected(trigger(1), Reason.MODEL_OUTPUT, detections=detections(1000))
    values = journal_values(part_values(part))
    assert encode(1, values) is not None
    assert (values["detections"], values["reason"], values["model_sha256"]) == (
        None,
        "MODEL_OUTPUT",
        "cd" * 32,
    )
    long = inspected(
        trigger(1),
        Result.not_inspected(Reason.INTERNAL, "x" * 100_000),
        detections=detections(1000),
    )
    assert encode(1, journal_values(part_values(long))) is not None


def test_two_processes_never_share_one(path: Path) -> None:
    journal = Journal(path)
    with pytest.raises(StoreError, match="in use"):
        Journal(path)
    journal.close()
    Journal(path).close()


def test_a_deleted_file_is_made_again(path: Path) -> None:
    journal = Journal(path)
    path.unlink()
    assert journal.add({"n": 1}) is not None
    journal.close()
    assert [note.values for note in Journal(path).notes] == [{"n": 1}]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be opened"):
        Journal(tmp_path / "file" / "x.journal")


@QUICK
@given(st.binary(max_size=300), st.integers(0, 2**63), st.booleans())
def test_decode_never_believes_garbage(garbage: bytes, order: int, prefix: bool) -> None:
    block = (encode(order, VALUES) or b"")[:16] + garbage if prefix else garbage
    try:
        found = decode(block)
    except ValueError:
        return
    assert found is None or encode(*found) == block[: len(encode(*found) or b"")]


@pytest.mark.parametrize("before", ["empty", "freed", "taken"])
def test_a_write_torn_at_every_offset_is_old_new_or_damaged(path: Path, before: str) -> None:
    new = encode(9, VALUES)
    assert new is not None
    old_values = {"n": 1, "text": "old" * 60}
    old = {
        "empty": bytes(SLOT),
        "freed": bytes(20) + bytes(b"x" * 500),
        "taken": encode(3, old_values),
    }[before]
    old = (old or b"").ljust(SLOT, b"\0")
    for cut in range(len(new) + 1):
        block = new[:cut] + old[cut:]
        try:
            found = decode(block)
        except ValueError:
            continue  # damaged: put aside, not believed
        assert found in (None, (3, old_values), (9, VALUES)), cut
        if cut == len(new):
            assert found == (9, VALUES)


@QUICK
@given(st.integers(0, SLOT * SLOTS - 1), st.integers(1, 64), st.binary(min_size=1, max_size=64))
def test_any_damage_leaves_the_other_parts_readable(
    tmp_path_factory: pytest.TempPathFactory, where: int, count: int, noise: bytes
) -> None:
    path = tmp_path_factory.mktemp("j") / "a.journal"
    journal = Journal(path)
    for n in range(6):
        journal.add({"n": n})
    journal.close()
    with path.open("r+b") as file:
        file.seek(min(where % (SLOT * 9), SLOT * SLOTS - 64))
        file.write((noise * count)[:64])
    again = Journal(path)
    assert len(again.notes) >= 5
    assert len(again.notes) + len(again.damaged) <= 7
    assert {note.values["n"] for note in again.notes} <= set(range(6))
    again.close()
    assert Journal(path).damaged == []  # what was damaged was put aside once


@pytest.mark.parametrize("size", [0, 1, 20, SLOT - 1, SLOT, SLOT * 3 + 7, SLOT * SLOTS - 1])
def test_a_file_cut_short_anywhere_starts(path: Path, size: int) -> None:
    journal = Journal(path)
    for n in range(4):
        journal.add({"n": n})
    journal.close()
    os.truncate(path, size)
    again = Journal(path)
    assert len(again.notes) <= 4
    assert again.add({"n": 9}) is not None
    again.close()


def test_a_damaged_slot_is_put_aside_with_an_alarm_and_the_rest_is_written(tmp_path: Path) -> None:
    config = store_config(tmp_path)
    store = SqlStore(config)
    parts = [not_inspected(trigger(n)) for n in (1, 2, 3)]
    for part in parts:
        store.remember(part)
    store.close()
    with config.journal_path.open("r+b") as file:
        file.seek(SLOT * 3 + 100)
        file.write(b"\xff\xff\xff")
    again = SqlStore(config)
    again.close()
    with StoreReader(config) as reader:
        assert sorted(row["sequence"] for row in reader.page()) == [1, 3]
        assert "slot 3" in reader.alarms()[0]["detail"]
    assert len(list(tmp_path.glob("results.journal.slot3.*"))) == 1
    SqlStore(config).close()
    with StoreReader(config) as reader:
        assert len(reader.alarms()) == 1


def test_a_note_that_the_database_refuses_does_not_block_the_start(tmp_path: Path) -> None:
    config = store_config(tmp_path)
    SqlStore(config).close()
    journal = Journal(config.journal_path)
    journal.add({**part_values(not_inspected(trigger(1))), "decision": "PASS"})
    journal.add({"nonsense": True})
    journal.add(part_values(not_inspected(trigger(2))))
    journal.close()
    SqlStore(config).close()
    with StoreReader(config) as reader:
        assert [row["sequence"] for row in reader.page()] == [2]
        assert len(reader.alarms()) == 2
