"""The PLC's program, scan by scan on a clock of our own: no sockets, no threads."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scripted_station import FAIL, NOT_INSPECTED, PASS, REVIEW, ScriptedStation

from inspection.errors import ConfigError
from inspection.plc.ladder import Ladder
from inspection.plc.plc_log import CAUSES, Event, History, PlcLog
from inspection.plc.simulated_config import FAULTS, Fault, SimulatedPlcConfig
from inspection.plc.words import Ctrl, CtrlFlag, Stat, StatFlag
from inspection.types import Reason

SCAN = 0.005
QUICK: dict[str, Any] = {"takt": 0.05, "parts": 3}


class Bench:
    """A ladder and a scripted station on one clock. `spoil` changes STAT on its way to the PLC."""

    def __init__(
        self,
        station: ScriptedStation | None = None,
        history: History | None = None,
        **config: Any,
    ) -> None:
        self.now = 100.0
        self.config = SimulatedPlcConfig(**{**QUICK, **config})
        self.station = station or ScriptedStation()
        self.spoil: Callable[[Stat], Stat] = lambda stat: stat
        resumed = history is not None
        history = history or History(next_seq=self.config.first_sequence)
        self.ladder = Ladder(self.config, history, self.now, resumed=resumed)
        self.stat = Stat()
        self.ctrl = Ctrl()
        self.events: list[Event] = []
        self.ctrls: list[Ctrl] = []

    def scan(self) -> Ctrl:
        self.now += SCAN
        done = self.ladder.scan(self.stat, self.now)
        self.events += done.events
        self.ctrl = Ctrl.unpack(done.ctrl.pack())
        self.ctrls.append(self.ctrl)
        if done.power_cycle:
            self.stat = Stat()
        self.stat = self.spoil(self.station.step(self.ctrl, self.now))
        return self.ctrl

    def run(self, seconds: float = 60.0) -> Bench:
        end = self.now + seconds
        while not self.ladder.done and self.now < end:
            self.scan()
        return self

    def until(self, condition: Callable[[], bool], seconds: float = 30.0) -> None:
        end = self.now + seconds
        while not condition():
            assert self.now < end, "it never came"
            self.scan()

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.events if event["event"] == kind]

    def causes(self) -> list[str]:
        return [event["cause"] for event in self.of("outcome")]


def test_parts_pass_and_the_counters_say_so() -> None:
    bench = Bench(lot="LOT-1", first_part_id=70_000, deadline=0.25).run()
    counters = bench.ladder.history.counters
    assert bench.ladder.done
    assert (counters.triggers, counters.passes, counters.rejected) == (3, 3, 0)
    assert [row.part_id for row in bench.station.rows] == [70_000, 70_001, 70_002]
    assert {row.serial for row in bench.station.rows} == {"LOT-1"}
    assert all(row.acknowledged for row in bench.station.rows)
    assert {c.deadline_ms for c in bench.ctrls} == {250}
    assert [e["event"] for e in bench.events] == [
        "start", "recipe", *["trigger", "outcome"] * 3,
    ]  # fmt: skip
    waited = bench.of("outcome")[0]["waited"]
    assert bench.station.takes <= waited < 0.2


def test_the_words_stand_one_scan_before_the_trigger() -> None:
    bench = Bench(parts=2)
    bench.until(lambda: bench.ctrl.has(CtrlFlag.TRIGGER))
    before, at = bench.ctrls[-2:]
    assert not before.has(CtrlFlag.TRIGGER)
    assert (before.trig_seq, before.part_id) == (at.trig_seq, at.part_id) == (1, 1)


def test_trigger_is_held_until_its_own_sequence_is_acknowledged() -> None:
    bench = Bench()
    bench.spoil = lambda stat: replace(stat, ack_seq=stat.ack_seq + 1)
    bench.until(lambda: bool(bench.of("outcome")))
    held = sum(c.has(CtrlFlag.TRIGGER) for c in bench.ctrls) * SCAN
    assert bench.causes() == ["no_ack"]
    assert bench.config.ack_timeout - 0.02 <= held <= bench.config.ack_timeout + 0.02


@pytest.mark.parametrize(
    ("code", "cause"), [(PASS, "pass"), (FAIL, "fail"), (REVIEW, "review"),
                        (NOT_INSPECTED, "not_inspected"), (0, "bad_check"), (5, "bad_check"),
                        (65535, "bad_check")],
)  # fmt: skip
def test_each_code_has_its_cause(code: int, cause: str) -> None:
    bench = Bench(ScriptedStation(lambda part_id: code), parts=1).run()
    assert bench.causes() == [cause]
    assert bench.of("outcome")[0]["passed"] == (cause == "pass")
    assert bench.of("outcome")[0]["code"] == code


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: replace(s, result_seq_copy=s.result_seq_copy ^ 1),
        lambda s: replace(s, result_seq=s.result_seq + 1),
        lambda s: replace(s, result_seq=s.result_seq + 1, result_seq_copy=s.result_seq_copy + 1),
        lambda s: replace(s, code_inverse=s.code_inverse ^ 0x8000),
        lambda s: replace(s, result_code=0, code_inverse=0),
    ],
)
def test_a_spoiled_pass_is_rejected(spoil: Callable[[Stat], Stat]) -> None:
    bench = Bench(parts=1)
    bench.spoil = spoil
    assert bench.run().causes() == ["bad_check"]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.integers(0, 0xFFFF), min_size=16, max_size=16), max_size=12))
def test_noise_in_stat_passes_no_part(noise: list[list[int]]) -> None:
    """Whatever stands in STAT: no pass without the echo of the sequence, and one outcome a trigger."""
    bench = Bench(parts=2, recipe=0, ready_timeout=2.0, takt=0.0)
    blocks = [Stat.unpack(words) for words in noise] or [Stat()]
    count = 0

    def spoil(stat: Stat) -> Stat:
        nonlocal count
        count += 1
        noisy = blocks[count % len(blocks)]
        if count % 3 == 0:
            return stat
        return replace(noisy, result_seq=noisy.result_seq | 0x100)

    bench.spoil = spoil
    bench.run(20)
    counters = bench.ladder.history.counters
    told = sum(counters.rejects.values()) + counters.passes
    assert told == counters.triggers - (bench.ladder.history.outstanding is not None)
    for event in bench.of("outcome"):
        row = next((r for r in bench.station.rows if r.seq == event["seq"]), None)
        assert not event["passed"] or (row is not None and row.answers)


def test_a_silent_station_gives_no_result_and_a_dead_one_heartbeat() -> None:
    slow = Bench(ScriptedStation(takes=30.0), parts=1).run()
    assert slow.causes() == ["no_result"]
    assert slow.of("outcome")[0]["waited"] == pytest.approx(2.0, abs=0.02)
    dead = Bench(ScriptedStation(takes=30.0), parts=1)
    dead.until(lambda: dead.stat.has(StatFlag.BUSY))
    dead.station.frozen = True
    assert dead.run().causes() == ["heartbeat"]


def test_a_pass_of_a_dead_station_is_rejected() -> None:
    bench = Bench(ScriptedStation(takes=1.5), parts=1)
    bench.until(lambda: bench.stat.has(StatFlag.BUSY))
    bench.station.frozen = True
    assert bench.run().causes() == ["heartbeat"]
    assert bench.of("outcome")[0]["code"] == PASS


def test_result_ack_stays_until_result_valid_drops() -> None:
    bench = Bench(parts=1)
    stuck = True
    bench.spoil = lambda s: replace(s, flags=s.flags | StatFlag.RESULT_VALID) if (
        stuck and bench.of("outcome")) else s  # fmt: skip
    bench.until(lambda: bool(bench.of("outcome")))
    for _ in range(100):
        assert bench.scan().has(CtrlFlag.RESULT_ACK)
    stuck = False
    bench.scan()
    bench.scan()
    assert not bench.ctrl.has(CtrlFlag.RESULT_ACK)
    assert bench.ladder.history.counters.discarded_results == 0


# ---------------------------------------------------------------- parts without a trigger


def test_without_a_station_parts_are_rejected_untriggered() -> None:
    bench = Bench(wait_ready=False, parts=4)
    bench.spoil = lambda stat: Stat()
    bench.run(5)
    assert bench.ladder.history.counters.untriggered["not_alive"] == 4
    assert not any(c.has(CtrlFlag.TRIGGER) for c in bench.ctrls)


def test_parts_that_come_too_early_are_rejected_and_counted() -> None:
    bench = Bench(ScriptedStation(takes=0.12), wait_ready=False, parts=9, takt=0.05).run()
    counters = bench.ladder.history.counters
    assert counters.parts == 9
    assert counters.untriggered["not_ready"] >= 3
    assert counters.passes == counters.triggers == len(bench.station.rows) >= 2
    ids = sorted(e["part_id"] for e in bench.of("trigger") + bench.of("reject"))
    assert ids == list(range(1, 10))


def test_a_result_that_stays_up_rejects_the_next_part() -> None:
    bench = Bench(wait_ready=False, takt=0.3, parts=5)
    bench.spoil = lambda s: (
        replace(s, flags=s.flags | StatFlag.RESULT_VALID) if bench.of("outcome") else s
    )
    bench.run(5)
    counters = bench.ladder.history.counters
    assert counters.untriggered["not_alive"] == 1  # no heartbeat was seen yet
    assert (counters.passes, counters.untriggered["result_valid_up"]) == (1, 3)


def test_the_conveyor_waits_but_not_for_ever() -> None:
    bench = Bench(parts=2, ready_timeout=3.0)
    bench.spoil = lambda stat: replace(stat, flags=stat.flags & ~StatFlag.READY)
    start = bench.now
    bench.run()
    assert bench.ladder.history.counters.untriggered["not_ready"] == 2
    assert bench.now - start >= 6.0


def test_rejects_in_a_row_stop_the_line() -> None:
    codes = {1: FAIL, 2: PASS, 3: FAIL, 4: REVIEW, 5: FAIL}
    station = ScriptedStation(lambda part_id: codes.get(part_id, PASS))
    bench = Bench(station, parts=0, stop_after_rejects=3).run()
    assert bench.ladder.line_stopped
    assert bench.causes() == ["fail", "pass", "fail", "review", "fail"]
    for _ in range(20):
        bench.scan()
    assert not bench.ctrl.has(CtrlFlag.ENABLE)
    assert all(row.acknowledged for row in bench.station.rows)


# ---------------------------------------------------------------- rungs


def test_the_heartbeat_counts_tenths_of_a_second_and_wraps() -> None:
    bench = Bench(parts=0, takt=3600.0)
    for _ in range(400):
        bench.scan()
    assert bench.ctrl.heartbeat == pytest.approx(20, abs=1)


def test_a_cold_start_resets_and_a_resumed_one_does_not() -> None:
    cold = Bench().run()
    assert cold.station.resets == 1
    assert sum(c.has(CtrlFlag.RESET) for c in cold.ctrls) * SCAN >= 0.25
    warm = Bench(history=History(next_seq=7), parts=1).run()
    assert warm.station.resets == 0
    assert warm.station.rows[0].seq == 7


def test_reset_waits_for_a_living_station() -> None:
    bench = Bench()
    bench.spoil = lambda stat: Stat()
    for _ in range(1000):
        bench.scan()
    assert bench.ctrl.has(CtrlFlag.RESET)
    bench.spoil = lambda stat: stat
    bench.run()
    assert bench.ladder.history.counters.passes == 3


def test_recipes_are_requested_until_echoed_and_between_parts() -> None:
    bench = Bench(parts=4)
    bench.until(lambda: bench.stat.has(StatFlag.BUSY))
    bench.ladder.request_recipe(2)
    bench.run()
    assert bench.station.requests == [1, 2]
    assert [(e["number"], e["ok"]) for e in bench.of("recipe")] == [(1, True), (2, True)]
    assert bench.ladder.history.counters.passes == 4
    with pytest.raises(ValueError, match=r"1\.\.65535"):
        bench.ladder.request_recipe(0)


def test_an_unknown_recipe_is_refused_and_the_error_acknowledged() -> None:
    bench = Bench(parts=0, recipe=9)
    bench.until(lambda: bool(bench.of("recipe")))
    (told,) = bench.of("recipe")
    assert (told["ok"], told["code"]) == (False, Reason.RECIPE_UNKNOWN)
    bench.scan()
    assert bench.ctrl.has(CtrlFlag.ERROR_ACK)
    bench.ladder.request_recipe(1)  # the old error still stands while this one is asked
    bench.until(lambda: len(bench.of("outcome")) == 1)
    assert not bench.ctrl.has(CtrlFlag.ERROR_ACK)
    assert bench.causes() == ["pass"]


def test_sequences_wrap_past_zero() -> None:
    bench = Bench(first_sequence=65533, parts=5).run()
    assert [e["seq"] for e in bench.of("trigger")] == [65533, 65534, 65535, 1, 2]
    assert bench.ladder.history.counters.passes == 5


# ---------------------------------------------------------------- faults


def played(*faults: str, station: ScriptedStation | None = None, **config: Any) -> Bench:
    bench = Bench(station, faults=faults, parts=config.pop("parts", 4), **config).run()
    assert bench.ladder.done
    counters = bench.ladder.history.counters
    assert counters.triggers == counters.passes + sum(counters.rejects.values())
    return bench


def test_lost_trigger() -> None:
    bench = played("lost_trigger@2")
    assert bench.causes() == ["pass", "no_ack", "pass", "pass"]
    assert [row.seq for row in bench.station.rows] == [1, 3, 4]


def test_wrong_sequence() -> None:
    bench = played("wrong_sequence@2")
    assert bench.causes() == ["pass", "bad_check", "pass", "pass"]
    assert len(bench.station.rows) == 4


def test_late_result() -> None:
    bench = played("late_result@2")
    assert bench.causes() == ["pass", "no_result", "pass", "pass"]
    assert bench.ladder.history.counters.discarded_results == 1
    assert all(row.acknowledged for row in bench.station.rows)


def test_a_late_result_of_the_last_part_is_still_discarded() -> None:
    bench = played("late_result@4")
    assert bench.ladder.history.counters.discarded_results == 1


@pytest.mark.parametrize(("seconds", "cause"), [("", "no_ack"), (":0.3", "pass")])
def test_frozen_heartbeat(seconds: str, cause: str) -> None:
    bench = played(f"frozen_heartbeat{seconds}@2")
    assert bench.causes() == ["pass", cause, "pass", "pass"]
    assert len(bench.station.rows) == (3 if cause == "no_ack" else 4)


def test_repeat() -> None:
    bench = played("repeat@2")
    counters = bench.ladder.history.counters
    assert bench.causes() == ["pass"] * 4
    assert (counters.retriggers, counters.repeat_answers, counters.repeat_mismatches) == (1, 1, 0)
    assert [row.answers for row in bench.station.rows] == [1, 2, 1, 1]
    (told,) = bench.of("repeat_answer")
    assert (told["code"], told["record"], told["same"]) == (PASS, 2, True)


def test_a_repeat_answered_otherwise_is_counted() -> None:
    bench = Bench(faults=("repeat@2",), parts=3)
    bench.spoil = lambda s: replace(s, record_id=77) if bench.of("retrigger") else s
    assert bench.run().ladder.history.counters.repeat_mismatches == 1


def test_overrun() -> None:
    bench = played("overrun@2")
    assert bench.causes() == ["pass", "lost", "not_inspected", "pass"]
    assert bench.stat.has(StatFlag.MISSED_TRIGGER)
    first, second = [e for e in bench.of("trigger") if e["seq"] in (2, 3)]
    assert second["mono"] - first["mono"] < 0.05


def test_an_overrun_without_a_next_part_does_not_happen() -> None:
    assert played("overrun@4").causes() == ["pass"] * 4


def test_restart_with_a_log_triggers_the_part_again() -> None:
    bench = played("restart@2", log="remembered.jsonl")
    assert bench.causes() == ["pass"] * 4
    assert [row.seq for row in bench.station.rows] == [1, 2, 3, 4]
    counters = bench.ladder.history.counters
    assert (counters.retriggers, counters.restarts) == (1, 1)
    assert bench.station.resets == 1


def test_restart_without_a_log_starts_at_one() -> None:
    bench = played("restart@2")
    assert bench.causes() == ["pass", "lost", "pass", "pass"]
    assert [e["seq"] for e in bench.of("trigger")] == [1, 2, 1, 2]
    assert bench.station.resets == 2


def test_all_faults_together() -> None:
    kinds = [f"{kind}@{n}" for n, kind in enumerate(FAULTS, 2)]
    bench = played(*kinds, parts=20, log="remembered.jsonl", takt=0.01)
    assert len(bench.of("fault")) == len(FAULTS)
    assert [e["seq"] for e in bench.of("trigger")] == list(range(1, 21))


@pytest.mark.parametrize(
    "text", ["repeat", "repeat@0", "repeat@x", "burn@1", "repeat:1@2", "frozen_heartbeat:@2", ""]
)
def test_nonsense_faults_are_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="fault"):
        SimulatedPlcConfig(faults=(text,))  # pyright: ignore[reportArgumentType]


def test_faults_are_read() -> None:
    assert Fault.parse("repeat@5") == Fault("repeat", 5)
    assert Fault.parse("frozen_heartbeat:2.5@7") == Fault("frozen_heartbeat", 7, 2.5)


@pytest.mark.parametrize(
    "fields",
    [
        {"ctrl_address": 10, "stat_address": 20},
        {"wait_ready": False, "takt": 0.0},
        {"part_ids": (1, 2), "parts": 3},
        {"part_ids": (-1,)},
        {"lot": "seventeen letters"},
        {"lot": "납"},
        {"first_sequence": 0},
        {"unknown": 1},
    ],
)
def test_nonsense_configs_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SimulatedPlcConfig(**fields)


def test_part_ids_come_in_their_order() -> None:
    bench = Bench(part_ids=(9, 4, 7), parts=0).run()
    assert [row.part_id for row in bench.station.rows] == [9, 4, 7]


# ---------------------------------------------------------------- the log


def replay(events: list[Event], first: int = 1) -> History:
    history = History(next_seq=first)
    for event in events:
        history.apply(json.loads(json.dumps(event)))
    return history


def test_the_log_rebuilds_everything_at_every_point() -> None:
    """Cut after each event: the same counters, and a restart from there ends with one outcome each."""
    kinds = ("repeat@2", "overrun@3", "late_result@5", "lost_trigger@6")
    whole = played(*kinds, parts=8, log="remembered.jsonl")
    for cut in range(2, len(whole.events) + 1):
        history = replay(whole.events[:cut])
        before = history.counters.triggers
        station = ScriptedStation()
        station.rows = [replace(row) for row in whole.station.rows[:before]]
        bench = Bench(station, history, parts=8, log="remembered.jsonl", faults=kinds).run()
        counters = bench.ladder.history.counters
        assert bench.ladder.done
        assert counters.parts == 8
        assert counters.triggers == counters.passes + sum(counters.rejects.values())
        told = [e["seq"] for e in whole.events[:cut] + bench.events if e["event"] == "outcome"]
        assert told == list(range(1, 9))
    assert replay(whole.events).counters == whole.ladder.history.counters


def test_a_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "plc.jsonl"
    log = PlcLog(path)
    log.write({"event": "trigger", "seq": 5, "part_id": 6, "serial": "L", "mono": 1.0})
    log.close()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"event": "outcome", "seq": 5, "cau')
    log = PlcLog(path)
    history, resumed = log.read(1)
    log.write({"event": "stop", "counters": {}})
    log.close()
    log.close()
    assert resumed
    assert history.outstanding is not None
    assert (history.outstanding.seq, history.next_seq) == (5, 6)
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == [
        "trigger", "stop",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        b"not json", b"[]", b'{"event": "outcome", "seq": 1, "cause": "pass"}', b'{"no": 1}',
        b'{"event": "trigger"}', b"\xff\xfe", b'{"event": "reject", "cause": "moon"}',
    ],
)  # fmt: skip
def test_what_is_no_log_is_refused_with_its_line(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "plc.jsonl"
    path.write_bytes(b'{"event": "stop"}\n' + line + b'\n{"event": "stop"}\n')
    log = PlcLog(path)
    with pytest.raises(ConfigError, match="line 2"):
        log.read(1)
    log.close()


def test_two_plcs_never_share_a_log(tmp_path: Path) -> None:
    first = PlcLog(tmp_path / "plc.jsonl")
    with pytest.raises(ConfigError, match="in use"):
        PlcLog(tmp_path / "plc.jsonl")
    first.close()
    PlcLog(tmp_path / "plc.jsonl").close()


def test_every_cause_but_pass_is_counted_as_a_reject() -> None:
    assert list(History(next_seq=1).counters.rejects) == list(CAUSES[1:])
