"""The probe's handshake against the PLC's program of `inspection plc map`, good and with one fault each.

The program runs in the interpreter over words in memory; the exchange is the real one. Every reading of
CTRL takes 5 ms of a clock of our own, so that nothing depends on how busy the machine is.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from plc_program_rig import CTRL_NAMES, STAT_NAMES, TYPES, text_of
from st_interpreter import Program, read_program

from inspection.commission.probe import handshake as handshake_module
from inspection.commission.probe.finding import Finding, WrongError
from inspection.commission.probe.handshake import Handshake, Manner
from inspection.commission.probe.sentences import FOUND, REMEDIES, STEPS
from inspection.plc import exchange as exchange_module
from inspection.plc.exchange import Exchange
from inspection.plc.words import Stat, StatFlag
from inspection.sentences.language import phrases
from inspection.types import Decision

WAIT = 2.0


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


CLOCK = Clock()


@pytest.fixture(autouse=True)
def _our_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshake_module, "time", CLOCK)
    monkeypatch.setattr(exchange_module, "time", CLOCK)


class ProgramPlc:
    """A PLC whose program scans when its memory is read; a part stands there whenever it may come."""

    def __init__(self, text: str, recipe: int = 0) -> None:
        self.program = Program(read_program(text)[0], TYPES)
        self.values = self.program.values
        self.values |= {"IN_RUN": True, "IN_RECIPE": recipe}
        self.stat = [0] * 16
        self.answers: list[Stat] = []
        self.disturb: Callable[[ProgramPlc], None] = lambda _: None

    def connect(self) -> None: ...
    def close(self) -> None: ...

    def read_words(self, address: int, count: int) -> list[int]:
        assert (address, count) == (0, 16) or (address >= 100 and address + count <= 116)
        CLOCK.now += 0.005
        values = self.values
        for name, word in zip(STAT_NAMES, self.stat, strict=True):
            values[name] = word
        values["IN_PART_PRESENT"] = values["OUT_READY"] and not values["IN_PART_PRESENT"]
        values["IN_PART_ID_LOW"] = values["OUT_PASSES"] + values["OUT_REJECTS"]
        self.program.scan(CLOCK.now)
        self.disturb(self)
        if address:
            return self.stat[address - 100 : address - 100 + count]
        return [values[name] for name in CTRL_NAMES]

    def write_words(self, address: int, words: list[int]) -> None:
        at = address - 100
        self.stat[at : at + len(words)] = words
        stat = Stat.unpack(self.stat)
        if stat.has(StatFlag.RESULT_VALID) and stat.result_seq:
            self.answers.append(stat)


def walk(
    plc: ProgramPlc,
    *,
    answer: Decision = Decision.NOT_INSPECTED,
    parts: int = 2,
    wait: float = WAIT,
) -> list[Finding]:
    """Go through the handshake; return the findings, the wrong one last."""
    asked: list[str] = []
    found: list[Finding] = []
    exchange = Exchange(plc, ctrl_address=0, stat_address=100)

    def ask(step: str, values: dict[str, object]) -> None:
        asked.append(STEPS[step][1].format(**values))

    try:
        Handshake(exchange, Manner(answer, parts, WAIT, 0.0), ask, found.append).run()
    except WrongError as error:
        found.append(error.finding)
    assert asked
    for finding in found:
        for language in ("ko", "en"):
            assert phrases(FOUND, language)[finding.code].format(**finding.values)
            if finding.state != "ok":
                assert phrases(REMEDIES, language)[finding.code].format(**finding.values)
    return found


def codes(found: list[Finding]) -> list[str]:
    return [finding.code for finding in found]


PART = ["triggered", "trigger_dropped", "acknowledged", "ack_dropped"]


def test_a_good_program_goes_through_and_nothing_passes() -> None:
    plc = ProgramPlc(text_of(), recipe=5)
    found = walk(plc)
    assert codes(found) == ["reset_seen", "recipe_seen", "enabled", *PART, *PART]
    assert {finding.state for finding in found} == {"ok"}
    assert {stat.result_code for stat in plc.answers} == {4}
    assert (plc.values["OUT_PASSES"], plc.values["OUT_REJECTS"]) == (0, 2)


def test_a_pass_is_given_only_when_it_was_asked_for() -> None:
    plc = ProgramPlc(text_of())
    walk(plc, answer=Decision.PASS, parts=1)
    assert (plc.values["OUT_PASSES"], plc.values["OUT_REJECTS"]) == (1, 0)


SEQUENCE = r"(?s)IF v_seq >= UINT#65535 THEN.*?END_IF;"
FLAG = "IF {} THEN\n    v_ctrl"


def raised_with(flag: str, more: str) -> tuple[str, str]:
    """A program that also raises a flag of CTRL in another case."""
    return FLAG.format(flag), FLAG.format(f"{flag} OR {more}")


WRONG = {
    "no_heartbeat": ("v_beat := v_beat + 1;", "v_beat := 0;"),
    "no_enable": ("v_ctrl_flags := v_ctrl_flags + 1;", "v_ctrl_flags := 0;"),
    "reset_stuck": ("v_reset := FALSE;", "v_reset := TRUE;"),
    "no_trigger": ("v_ctrl_flags := v_ctrl_flags + 2;", "v_ctrl_flags := 1;"),
    "sequence_zero": (SEQUENCE, "v_seq := 0;"),
    "sequence_old": (SEQUENCE, "v_seq := 9;"),
    "sequence_jump": ("v_seq := v_seq + 1;", "v_seq := v_seq + 3;"),
    "trigger_held": ("IF v_trig_ack AND", "IF t_dead.Q AND"),
    "no_result_ack": ("v_result_ack := TRUE;", "v_result_ack := FALSE;"),
    "ack_held": ("v_result_ack := FALSE;", "v_result_ack := TRUE;"),
    "ack_early": raised_with("v_result_ack", "v_exposed"),
    "trigger_busy": raised_with("v_trigger", "v_valid"),
    "changed_under_trigger": ("CTRL_PART_ID_LOW := v_id_low;", "CTRL_PART_ID_LOW := v_beat;"),
    "reset_under_trigger": raised_with("v_reset", "v_trigger"),
    "recipe_stuck": ("v_recipe_req := FALSE;", "v_recipe_req := TRUE;"),
    "version_changed": ("CTRL_MAP_VERSION := 1;", "CTRL_MAP_VERSION := 2;"),
}


@pytest.mark.parametrize("code", WRONG)
def test_a_program_with_one_fault_is_told_which(code: str) -> None:
    good, bad = WRONG[code]
    text = re.sub(good if good is SEQUENCE else re.escape(good), bad, text_of())
    text = text.replace("T#500ms", "T#9s")
    assert text != text_of().replace("T#500ms", "T#9s")
    plc = ProgramPlc(text, recipe=5 if code == "recipe_stuck" else 0)
    found = walk(plc, parts=3 if code == "sequence_jump" else 2)
    assert code in codes(found), found
    if code == "sequence_jump":
        assert found[-1].code == "ack_dropped"
        values = next(f.values for f in found if f.code == "sequence_jump")
        assert values == {"last": 3, "sequence": 6, "expected": 4}
    else:
        assert found[-1].code == code
        assert found[-1].state == "fail"
    assert {stat.result_code for stat in plc.answers} <= {4}


def test_a_plc_that_dies_on_the_way_is_told() -> None:
    plc = ProgramPlc(text_of())
    beat: list[int] = []

    def stop(plc: ProgramPlc) -> None:
        if beat or plc.stat[0] & StatFlag.TRIG_ACK:
            beat.append(plc.values["CTRL_HEARTBEAT"])
            plc.values["CTRL_HEARTBEAT"] = beat[0]
            plc.values["CTRL_FLAGS"] |= 2

    plc.disturb = stop
    assert codes(walk(plc))[-1] == "plc_died"


def test_enable_that_drops_after_ready_is_told() -> None:
    plc = ProgramPlc(text_of())

    def drop(plc: ProgramPlc) -> None:
        if plc.stat[0] & StatFlag.READY:
            plc.values["CTRL_FLAGS"] = 0

    plc.disturb = drop
    assert codes(walk(plc))[-1] == "enable_lost"


def test_a_trigger_without_ready_is_told() -> None:
    plc = ProgramPlc(text_of())

    def blind(plc: ProgramPlc) -> None:
        plc.values["CTRL_FLAGS"] |= 2

    plc.disturb = blind
    assert codes(walk(plc))[-1] == "trigger_stuck"


def test_a_stuck_acknowledgement_is_told_before_the_first_part() -> None:
    plc = ProgramPlc(text_of())

    def stuck(plc: ProgramPlc) -> None:
        plc.values["CTRL_FLAGS"] |= 4

    plc.disturb = stuck
    assert codes(walk(plc))[-1] == "ack_stuck"


def test_every_finding_has_its_sentences() -> None:
    for code in FOUND:
        assert all(FOUND[code])
    assert set(REMEDIES) <= set(FOUND)
    assert all(all(pair) for pair in [*STEPS.values(), *REMEDIES.values()])
