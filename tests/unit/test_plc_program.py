"""The PLC's program that `inspection plc map` writes is run scan by scan against a station.

Whatever the station says: the part passes only when it was proven good, and every part has one outcome.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
from plc_program_rig import (
    TAMPERED,
    Plc,
    after_power_loss,
    answer_of_the_dead,
    follow,
    left_over,
    met_too_early,
    next_one_at_once,
    started,
    storm,
    text_of,
)
from scripted_station import FAIL, NOT_INSPECTED, PASS, REVIEW, ScriptedStation

from inspection.commission.map.families import FAMILIES, Family
from inspection.plc import exchange as exchange_module
from inspection.plc.exchange import Exchange
from inspection.plc.words import Ctrl, CtrlFlag, Stat, StatFlag
from inspection.types import Decision, Reason, Result

CODES = {
    PASS: ("pass", 0),
    FAIL: ("reject", 7),
    REVIEW: ("reject", 8),
    NOT_INSPECTED: ("reject", 9),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_answer_has_its_outcome_in_every_dialect(family: Family) -> None:
    station = ScriptedStation(lambda part_id: part_id % 4 + 1)
    turn = follow(station)
    plc = started(turn, text_of(family))
    for part_id in range(1, 9):
        code = part_id % 4 + 1
        assert plc.part(turn) == (part_id, *CODES[code])
    assert (plc.values["OUT_PASSES"], plc.values["OUT_REJECTS"]) == (2, 6)
    assert [row.part_id for row in station.rows] == list(range(1, 9))
    assert all(row.acknowledged and row.answers == 1 for row in station.rows)
    assert station.requests == [1], "the recipe is asked for once"
    assert station.resets == 1, "one RESET after the cold start"


def test_a_logix_controller_that_kept_its_tags_begins_anew() -> None:
    """Its tags outlive the power: nothing of the part before passes, sequences go on."""
    station = ScriptedStation(lambda part_id: PASS)
    turn = follow(station)
    plc = started(turn, text_of("ethernet_ip"))
    plc.stat[1] = plc.values["v_seq"] = 40000  # above what an INT holds
    assert plc.part(turn) == (40001, "pass", 0)
    assert station.rows[-1].part_id == 1
    plc.values["IN_PART_PRESENT"] = True
    while plc.values["v_phase"] != 30:
        turn(plc)
        plc.scan()
    plc.values["OUT_PASS"] = False
    plc.present = False  # the sensor is seen anew
    plc.power_on()
    plc.scan()
    assert plc.values["v_phase"] == 0
    assert plc.ctrl()[0] & CtrlFlag.RESET
    assert not plc.values["OUT_PASS"]
    assert plc.outcomes[-1][1] == "reject"
    plc.values["IN_PART_PRESENT"] = False
    plc.run(1.0, turn)
    assert plc.part(turn)[1:] == ("pass", 0)
    assert station.resets == 2


class RealExchange:
    """A station's loop over the real `Exchange`; the PLC scans between any two of its requests."""

    def __init__(self, decide: Callable[[int], Decision]) -> None:
        self.decide = decide
        self.link = self
        self.plc: Plc | None = None
        self.exchange = Exchange(self, ctrl_address=0, stat_address=100)
        self.sequence, self.due = 0, 0.0
        self.answered = False

    def connect(self) -> None: ...
    def close(self) -> None: ...

    def read_words(self, address: int, count: int) -> list[int]:
        assert self.plc is not None
        if address:
            assert address >= 100
            assert address + count <= 116
            return self.plc.stat[address - 100 : address - 100 + count]
        assert (address, count) == (0, 16)
        return self.plc.ctrl()

    def write_words(self, address: int, words: list[int]) -> None:
        assert self.plc is not None
        at = address - 100
        self.plc.stat[at : at + len(words)] = words
        self.plc.scan()

    def __call__(self, plc: Plc) -> None:
        exchange = self.exchange
        if self.plc is None:
            self.plc = plc
            exchange.connect()
        ctrl = exchange.poll()
        if ctrl.has(CtrlFlag.RECIPE_REQ):
            exchange.show(Reason.NONE, ctrl.recipe)
            exchange.raise_flags(StatFlag.RECIPE_ACK)
        else:
            exchange.drop_flags(StatFlag.RECIPE_ACK)
        if ctrl.has(CtrlFlag.TRIGGER) and ctrl.trig_seq != self.sequence and exchange.plc_alive():
            self.sequence, self.due, self.answered = ctrl.trig_seq, plc.now + 0.03, False
            self.part_id = ctrl.part_id
            exchange.accept(ctrl.trig_seq)
            exchange.raise_flags(StatFlag.TRIG_ACK)
        elif self.due and not ctrl.has(CtrlFlag.TRIGGER):
            exchange.raise_flags(StatFlag.EXPOSURE_DONE, drop=StatFlag.TRIG_ACK)
            if not self.answered and plc.now >= self.due:
                self.answered = True
                decision = self.decide(self.part_id)
                reason = Reason.NONE if decision is Decision.PASS else Reason.DEFECT
                result = Result(decision, reason)
                exchange.write_result(self.sequence, result, record_id=1, cycle=0.03)
                exchange.announce()
            elif self.answered and ctrl.has(CtrlFlag.RESULT_ACK):
                exchange.drop_flags(StatFlag.RESULT_VALID | StatFlag.EXPOSURE_DONE)
                self.due = 0.0
        busy = CtrlFlag.TRIGGER | CtrlFlag.RESULT_ACK | CtrlFlag.RESET | CtrlFlag.RECIPE_REQ
        if not self.due and exchange.plc_alive() and not ctrl.flags & busy:
            exchange.raise_flags(StatFlag.ONLINE | StatFlag.READY)
        else:
            exchange.drop_flags(StatFlag.READY)


def test_it_runs_with_the_real_exchange_scanning_between_its_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decisions = [Decision.PASS, Decision.FAIL, Decision.REVIEW, Decision.NOT_INSPECTED]
    station = RealExchange(lambda part_id: decisions[part_id % 4])
    plc = Plc()
    clock = SimpleNamespace(monotonic=lambda: plc.now)
    monkeypatch.setattr(exchange_module, "time", clock)
    plc.run(1.5, station)
    plc.values["v_seq"] = 65530
    for number in range(1, 13):
        sequence, outcome, _ = plc.part(station)
        assert sequence == (65530 + number - 1) % 65535 + 1
        assert (outcome == "pass") == (number % 4 == 0)
    assert plc.values["OUT_REJECTS"] == 9


def test_the_sequence_wraps_from_65535_to_1() -> None:
    turn = follow(ScriptedStation())
    plc = started(turn)
    plc.values["v_seq"] = 65533
    assert [plc.part(turn)[0] for _ in range(4)] == [65534, 65535, 1, 2]
    assert {outcome for _, outcome, _ in plc.outcomes} == {"pass"}


# ---------------------------------------------------------------------- one thing wrong


@pytest.mark.parametrize("what", TAMPERED)
def test_an_answer_that_is_not_whole_rejects(what: str) -> None:
    tamper, cause = TAMPERED[what]
    wrong = [False]
    turn = follow(ScriptedStation(), lambda words: tamper(words) if wrong[0] else None)
    plc = started(turn)
    assert plc.part(turn)[1] == "pass"
    wrong[0] = True
    assert plc.part(turn)[1:] == ("reject", cause)
    wrong[0] = False
    assert plc.part(turn)[1] == "pass"


def test_no_acknowledgement_rejects_and_the_late_answer_is_thrown_away() -> None:
    station = ScriptedStation(takes=0.1)
    deaf = [False]

    def hide(words: list[int]) -> None:
        if deaf[0]:
            words[0] &= ~int(StatFlag.TRIG_ACK)

    turn = follow(station, hide)
    plc = started(turn)
    deaf[0] = True
    assert plc.part(turn)[1:] == ("reject", 3)
    deaf[0] = False
    plc.run(0.5, turn)
    assert station.rows[0].acknowledged, "the answer that nobody waited for was acknowledged"
    assert plc.values["OUT_PASSES"] == 0
    assert plc.part(turn)[1] == "pass"


def test_no_answer_rejects() -> None:
    station = ScriptedStation(takes=3.0)
    turn = follow(station)
    plc = started(turn)
    assert plc.part(turn)[1:] == ("reject", 4)
    plc.run(2.0, turn)
    station.takes = 0.02
    assert plc.part(turn)[1] == "pass"


def test_a_dead_station_rejects_and_gets_no_trigger() -> None:
    station = ScriptedStation(takes=1.5)
    turn = follow(station)
    plc = started(turn)
    plc.arrived, plc.values["IN_PART_PRESENT"] = 1, True
    plc.run(0.1, turn)
    station.frozen = True
    plc.run(1.1, turn)
    assert plc.outcomes == [(1, "reject", 5)]
    plc.values["IN_PART_PRESENT"] = False
    plc.run(0.5, turn)
    assert plc.part(turn)[1:] == ("reject", 1)
    assert len(station.rows) == 1
    station.frozen, station.takes = False, 0.02
    plc.run(0.5, turn)
    assert plc.part(turn)[1] == "pass"


def test_an_answer_of_a_station_that_died_passes_nothing() -> None:
    answer_of_the_dead(text_of())


def test_a_plc_that_lost_its_memory_does_not_take_the_old_answer_for_the_new_part() -> None:
    after_power_loss(text_of())


def test_a_result_left_over_is_cleared_before_the_next_trigger() -> None:
    plc = left_over(text_of())
    assert plc.values["CTRL_FLAGS"] & CtrlFlag.RESULT_ACK
    assert plc.values["v_seq"] == 0, "no sequence was spent"


def test_a_part_that_comes_too_early_is_rejected_and_so_is_the_one_it_meets() -> None:
    met_too_early(text_of())


@pytest.mark.parametrize("scans", range(1, 45, 3))
def test_whenever_the_next_part_comes_before_the_answer_none_of_both_passes(scans: int) -> None:
    turn = follow(ScriptedStation(takes=0.3))
    plc = started(turn)
    values = plc.values
    values["IN_PART_PRESENT"] = True
    turn(plc)
    plc.scan()
    values["IN_PART_PRESENT"] = False
    for _ in range(scans):
        turn(plc)
        plc.scan()
    answered = bool(plc.outcomes)
    values["IN_PART_PRESENT"] = True
    plc.run(1.0, turn)
    if not answered:
        assert sorted(plc.outcomes) == [(0, "early", 0), (1, "reject", 11)]
    else:  # B comes while RESULT_ACK is still up, or is triggered itself
        assert plc.outcomes[0] == (1, "pass", 0)
        assert plc.outcomes[1] in [(1, "reject", 10), (1, "reject", 2), (2, "pass", 0)]


def test_a_part_that_comes_in_the_very_scan_of_the_answer_is_too_early() -> None:
    turn = follow(ScriptedStation(takes=0.3))
    plc = started(turn)
    values = plc.values
    values["IN_PART_PRESENT"] = True
    turn(plc)
    plc.scan()
    values["IN_PART_PRESENT"] = False
    while not (plc.stat[0] & StatFlag.RESULT_VALID):
        plc.scan()
        turn(plc)
    values["IN_PART_PRESENT"] = True
    plc.scan()
    assert sorted(plc.outcomes) == [(0, "early", 0), (1, "reject", 11)]


def test_the_output_drops_when_the_next_part_comes() -> None:
    next_one_at_once(text_of())


def test_ten_rejects_in_a_row_stop_the_line_until_somebody_restarts_it() -> None:
    station = ScriptedStation(lambda part_id: FAIL if part_id <= 10 else PASS)
    turn = follow(station)
    plc = started(turn)
    for _ in range(10):
        assert not plc.values["OUT_LINE_STOPPED"]
        assert plc.part(turn)[1:] == ("reject", 7)
    assert plc.values["OUT_LINE_STOPPED"]
    assert not plc.values["CTRL_FLAGS"] & CtrlFlag.ENABLE
    assert plc.part(turn)[1:] == ("reject", 12)
    plc.values["IN_RESTART"] = True
    plc.run(0.5, turn)
    assert not plc.values["OUT_LINE_STOPPED"]
    assert plc.part(turn)[1] == "pass"
    assert plc.values["OUT_REJECTS"] == 11


def test_one_pass_between_rejects_keeps_the_line_going() -> None:
    turn = follow(ScriptedStation(lambda part_id: PASS if part_id == 9 else FAIL))
    plc = started(turn)
    for _ in range(18):
        plc.part(turn)
    assert not plc.values["OUT_LINE_STOPPED"]
    plc.part(turn)
    assert plc.values["OUT_LINE_STOPPED"]


def test_recipes_are_asked_for_between_parts_and_a_refusal_blocks() -> None:
    station = ScriptedStation()
    turn = follow(station)
    plc = started(turn)
    plc.values["IN_RECIPE"] = 2
    plc.run(0.5, turn)
    assert station.requests == [1, 2]
    assert plc.part(turn)[1] == "pass"
    plc.values["IN_RECIPE"] = 7
    plc.run(1.0, turn)
    assert station.requests == [1, 2, 7]
    assert plc.values["OUT_ALARM"]
    assert plc.values["CTRL_FLAGS"] & CtrlFlag.ERROR_ACK
    assert plc.part(turn)[1:] == ("reject", 2)
    plc.values["IN_RECIPE"] = 1
    plc.run(1.0, turn)
    assert plc.part(turn)[1] == "pass"
    station.stat = Stat(flags=StatFlag.ONLINE)  # a station that starts again has no recipe
    plc.run(1.0, turn)
    assert station.requests == [1, 2, 7, 1, 1]
    assert plc.part(turn)[1] == "pass"


def test_another_map_version_gets_no_trigger() -> None:
    turn = follow(ScriptedStation())
    plc = started(turn)
    other = follow(ScriptedStation(), lambda words: words.__setitem__(14, 2))
    plc.run(0.2, other)
    assert plc.part(other)[1:] == ("reject", 2)


def test_without_run_nothing_is_triggered_and_nothing_is_counted_in_a_row() -> None:
    station = ScriptedStation()
    turn = follow(station)
    plc = started(turn)
    plc.values["IN_RUN"] = False
    for _ in range(12):
        assert plc.part(turn)[1:] == ("reject", 13)
    assert not station.rows
    assert not plc.values["OUT_LINE_STOPPED"]


def test_the_part_s_words_stand_before_its_trigger_and_until_its_end() -> None:
    turn = follow(ScriptedStation(takes=0.2))
    plc = started(turn)
    plc.values["IN_PART_ID_HIGH"] = 3
    plc.values["IN_SERIAL_1"] = int.from_bytes(b"LO", "big")
    plc.values["IN_SERIAL_2"] = int.from_bytes(b"T7", "big")
    plc.values["IN_DEADLINE"] = 800
    plc.values["IN_PART_PRESENT"] = True
    seen: list[tuple[bool, int, int, str]] = []
    for _ in range(15):
        turn(plc)
        plc.scan()
        plc.values["IN_PART_ID_HIGH"] += 1
        ctrl = Ctrl.unpack(plc.ctrl())
        seen.append((ctrl.has(CtrlFlag.TRIGGER), ctrl.trig_seq, ctrl.part_id, ctrl.serial))
        assert ctrl.map_version == 1
        assert ctrl.deadline_ms == 800
    told = (1, 3 << 16, "LOT7")
    assert seen[0] == (False, *told), "the words are written one scan before TRIGGER"
    assert seen[1] == (True, *told)
    assert {entry[1:] for entry in seen} == {told}


# ---------------------------------------------------------------------- everything wrong at once


def test_whatever_happens_a_pass_was_proven_and_every_part_has_one_outcome() -> None:
    passes = [storm(seed, text_of()).values["OUT_PASSES"] for seed in range(6)]
    assert sum(passes) > 10, "parts do pass in between"


@pytest.mark.soak
def test_five_thousand_parts_in_a_storm() -> None:
    for seed in range(100, 300):
        storm(seed, text_of())
