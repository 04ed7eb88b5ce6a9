"""The PLC's program of `inspection plc map` in an interpreter, over words in memory, with a clock of its own.

plc = started(follow(ScriptedStation()))     program and station, ready for a part
plc.part(turn) == (1, "pass", 0)             one part: sequence, outcome, cause

After every scan `Plc` looks at what must hold whatever the station says.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from scripted_station import FAIL, NOT_INSPECTED, PASS, REVIEW, ScriptedStation
from st_interpreter import Program, read_program

from inspection.commission.map.dialects import structured_text
from inspection.commission.map.families import Family, open_area
from inspection.commission.map.variables import VARIABLES
from inspection.commission.map.words import WORDS
from inspection.plc.words import Ctrl, CtrlFlag, Stat, StatFlag

SCAN = 0.01
TYPES = {w.name: "UINT" for w in WORDS} | {v.name: v.type for v in VARIABLES}
CTRL_NAMES = [w.name for w in WORDS if w.block == "CTRL"]
STAT_NAMES = [w.name for w in WORDS if w.block == "STAT"]
ARRAYS = {f"{block}[{n}]": "UINT" for block in ("CTRL", "STAT") for n in range(16)}
_LOGIX = {"UINT": "DINT", "UDINT": "DINT", "BOOL": "BIT"}
LOGIX_TYPES = {
    **{name: _LOGIX.get(kind, kind) for name, kind in TYPES.items()},
    **dict.fromkeys(ARRAYS, "INT"), "v_word": "DINT", "S:FS": "BIT",
    **{f"{v.name}.{part}": kind for v in VARIABLES if v.kind == "timer"
       for part, kind in (("PRE", "DINT"), ("TimerEnable", "BIT"), ("Reset", "BIT"))},
}  # fmt: skip
OUTCOMES = ("OUT_PART_PASSED", "OUT_PART_REJECTED", "OUT_EARLY_REJECTED")


def text_of(family: Family = "modbus") -> str:
    return structured_text(open_area(family), "en")


@dataclass
class Plc:
    """The program over its memory, with a conveyor; looks at what must hold after every scan."""

    text: str = field(default_factory=text_of)
    now: float = 0.0
    arrived: int = 0
    outcomes: list[tuple[int, str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        body, _ = read_program(self.text)
        self.logix = "TONR(" in body
        self.program = Program(body, LOGIX_TYPES if self.logix else TYPES | ARRAYS)
        self.values = self.program.values
        named = "STAT[0]" not in body
        self.places = {
            block: [w.name if named else f"{block}[{w.offset}]" for w in WORDS if w.block == block]
            for block in ("CTRL", "STAT")
        }
        self.power_on()
        self.values |= {"IN_RUN": True, "IN_RECIPE": 1}
        self.stat = [0] * 16
        self.beat, self.beat_at = 0, float("-inf")
        self.proven = 0.0
        self.present, self.in_front = False, 0
        self.triggered = self.passed = 0

    def ctrl(self) -> list[int]:
        return [self.values[name] & 0xFFFF for name in self.places["CTRL"]]

    def power_on(self) -> None:
        """Run again: a Logix controller keeps its tags and says that the scan is the first one."""
        if self.logix:
            self.values["S:FS"] = True

    def scan(self) -> None:
        self.now += SCAN
        values = self.values
        for name, word in zip(self.places["STAT"], self.stat, strict=True):
            values[name] = word - 0x10000 if self.logix and word > 0x7FFF else word
        if self.stat[1] != self.beat:
            self.beat, self.beat_at = self.stat[1], self.now
        before = values["v_seq"]
        came = values["IN_PART_PRESENT"] and not self.present
        self.present = values["IN_PART_PRESENT"]
        self.in_front += came
        self.program.scan(self.now)
        if self.logix:
            values["S:FS"] = False
        if came and values["v_seq"] != before:
            self.triggered = self.in_front
        self._check(before)

    def _check(self, sequence: int) -> None:
        values = self.values
        passed, rejected, early = (values[name] for name in OUTCOMES)
        assert not (passed and rejected)
        if passed:
            stat = Stat.unpack(self.stat)
            assert stat.proves_pass(sequence), "passed without proof"
            assert self.now - self.beat_at <= 1.0 + SCAN, "passed for a dead station"
            self.proven, self.passed = self.now, self.triggered
            assert self.in_front == self.triggered, "passed behind a part that was not judged"
        if values["OUT_PASS"]:
            assert self.now - self.proven <= 0.5 + 3 * SCAN, "the output stays on"
            assert self.in_front == self.passed, "the output is on for a part that was not judged"
            assert not rejected, "the output is on while a part is rejected"
            assert not early, "the output is on while a part is rejected"
        if passed or rejected:
            cause = values["OUT_CAUSE"]
            assert passed == (cause == 0)
            self.outcomes.append((sequence, "pass" if passed else "reject", cause))
        if early:
            self.outcomes.append((0, "early", 0))
        flags = self.ctrl()[0]
        assert not flags & CtrlFlag.TRIGGER or not flags & CtrlFlag.RESET

    def run(self, seconds: float, station: Callable[[Plc], None] = lambda plc: None) -> None:
        end = self.now + seconds
        while self.now < end:
            station(self)
            self.scan()

    def part(self, station: Callable[[Plc], None], *, limit: float = 6.0) -> tuple[int, str, int]:
        """Bring one part and run until it has its outcome and the station is done with it."""
        count = len(self.outcomes)
        self.arrived += 1
        self.values["IN_PART_ID_LOW"] = self.arrived & 0xFFFF
        self.values["IN_PART_PRESENT"] = True
        end = self.now + limit
        while len(self.outcomes) == count:
            assert self.now < end, "no outcome"
            station(self)
            self.scan()
        self.values["IN_PART_PRESENT"] = False
        self.run(0.2, station)
        assert len(self.outcomes) == count + 1
        return self.outcomes[-1]


def follow(station: ScriptedStation, tamper: Callable[[list[int]], None] | None = None):
    """The station reads CTRL and writes STAT between two scans; `tamper` changes what arrives."""

    def turn(plc: Plc) -> None:
        words = station.step(Ctrl.unpack(plc.ctrl()), plc.now).pack()
        if tamper is not None:
            tamper(words)
        plc.stat = words

    return turn


def started(station: Callable[[Plc], None], text: str | None = None) -> Plc:
    plc = Plc(text) if text else Plc()
    plc.run(1.0, station)
    assert plc.values["OUT_READY"], "never ready"
    return plc


# ---------------------------------------------------------------------- one thing wrong


def change(**words: int) -> Callable[[list[int]], None]:
    """While RESULT_VALID is up, put other values in place of some STAT words, by name."""
    at = {name.removeprefix("STAT_"): index for index, name in enumerate(STAT_NAMES)}

    def tamper(found: list[int]) -> None:
        if found[0] & StatFlag.RESULT_VALID:
            for name, value in words.items():
                found[at[name]] = value

    return tamper


TAMPERED = {
    "copy differs": (change(RESULT_SEQ_COPY=9), 6),
    "sequence differs": (change(RESULT_SEQ=9), 6),
    "an old answer": (change(RESULT_SEQ=9, RESULT_SEQ_COPY=9), 6),
    "inverse differs": (change(CODE_INVERSE=65533), 6),
    "inverse zero": (change(CODE_INVERSE=0), 6),
    "no code": (change(RESULT_CODE=0, CODE_INVERSE=65535), 6),
    "unknown code": (change(RESULT_CODE=5, CODE_INVERSE=65530), 6),
    "all ones": (change(**dict.fromkeys(
        ("RESULT_SEQ", "RESULT_CODE", "CODE_INVERSE", "RESULT_SEQ_COPY"), 65535)), 6),
    "code torn": (change(RESULT_CODE=2), 6),
}  # fmt: skip


def answer_of_the_dead(text: str) -> None:
    """The words stay in the PLC's memory and prove a PASS; only the heartbeat tells."""
    station = ScriptedStation(takes=0.02)
    plc = started(follow(station), text)
    hold: list[list[int]] = []

    def late(plc: Plc) -> None:
        if not hold:
            follow(station)(plc)
            if plc.stat[0] & StatFlag.RESULT_VALID:
                hold.append(plc.stat)
                plc.stat = [plc.stat[0] & ~int(StatFlag.RESULT_VALID), *plc.stat[1:]]
        elif plc.now - plc.beat_at > 1.05:
            plc.stat = hold[0]

    assert plc.part(late)[1:] == ("reject", 5)


def left_over(text: str) -> Plc:
    """A station that never drops RESULT_VALID: the part gets no trigger and does not pass."""
    plc = started(follow(ScriptedStation()), text)
    stale = Stat(
        flags=StatFlag.READY | StatFlag.RESULT_VALID | StatFlag.ONLINE, recipe=1,
        result_seq=1, result_seq_copy=1, result_code=1, code_inverse=65534,
    )  # fmt: skip

    def stuck(plc: Plc) -> None:
        plc.stat = stale.pack()
        plc.stat[1] = round(plc.now / SCAN) // 5

    assert plc.part(stuck)[1:] == ("reject", 10)
    return plc


def after_power_loss(text: str) -> None:
    """The PLC loses its memory after a PASS; the next part has the same words and must get its own answer."""
    answers = iter([PASS, FAIL])
    station = ScriptedStation(lambda _: next(answers))
    turn = follow(station)
    plc = started(turn, text)
    plc.arrived = -1  # the part id is 0, as of a machine that knows none
    assert plc.part(turn) == (1, "pass", 0)
    again = Plc(text, now=plc.now)
    again.stat = plc.stat
    again.run(1.0, turn)
    again.arrived = -1
    assert again.part(turn) == (1, "reject", 7)
    assert station.resets == 2


def met_too_early(text: str) -> None:
    """A leaves as soon as it may, B comes before A's answer: none of both passes, the next part does."""
    turn = follow(ScriptedStation(takes=0.3))
    plc = started(turn, text)
    assert plc.part(turn) == (1, "pass", 0)
    count = len(plc.outcomes)
    plc.values["IN_PART_PRESENT"] = True
    plc.run(0.1, turn)
    assert plc.values["v_phase"] == 30, "A waits for its answer"
    plc.values["IN_PART_PRESENT"] = False
    plc.run(0.05, turn)
    plc.values["IN_PART_PRESENT"] = True
    plc.run(0.5, turn)
    assert plc.outcomes[count:] == [(0, "early", 0), (2, "reject", 11)]
    assert (plc.values["OUT_PASSES"], plc.values["OUT_REJECTS"]) == (1, 2)
    plc.values["IN_PART_PRESENT"] = False
    plc.run(0.2, turn)
    assert plc.part(turn) == (3, "pass", 0)


def next_one_at_once(text: str) -> None:
    """The next part comes while the output is still on for the one before."""
    turn = follow(ScriptedStation())
    plc = started(turn, text)
    plc.part(turn)
    assert plc.values["OUT_PASS"]
    plc.values["IN_PART_PRESENT"] = True
    plc.run(0.02, turn)
    assert not plc.values["OUT_PASS"]


# ---------------------------------------------------------------------- everything wrong at once


def storm(seed: int, text: str, parts: int = 25) -> Plc:
    """Random decisions, delays, torn words, frozen heartbeats, early parts, restarts of the station."""
    dice = random.Random(seed)
    decided: dict[int, int] = {}

    def decide(part_id: int) -> int:
        decided[part_id] = dice.choice([PASS, PASS, PASS, FAIL, REVIEW, NOT_INSPECTED])
        return decided[part_id]

    station = ScriptedStation(decide)
    old: list[list[int]] = []

    def tamper(words: list[int]) -> None:
        if dice.random() < 0.03:
            words[dice.randrange(2, 16)] = dice.choice([0, 1, 65534, 65535, dice.randrange(65536)])
        if old and dice.random() < 0.02:
            words[2:] = dice.choice(old)[2:]
        if words[0] & StatFlag.RESULT_VALID and dice.random() < 0.1:
            words[0] &= ~int(StatFlag.RESULT_VALID)
        if words[0] & StatFlag.RESULT_VALID:
            old.append(list(words))

    turn = follow(station, tamper)
    plc = Plc(text)
    plc.run(1.0, turn)
    values = plc.values
    values["v_seq"] = 65520
    while plc.arrived < parts:
        station.takes = dice.choice([0.02, 0.02, 0.1, 1.0, 3.0])
        station.frozen = dice.random() < 0.1
        values["IN_PART_PRESENT"] = True
        plc.arrived += 1
        values["IN_PART_ID_LOW"] = plc.arrived
        plc.run(dice.choice([0.02, 0.1, 0.3]), turn)
        values["IN_PART_PRESENT"] = False
        plc.run(dice.choice([0.05, 0.4, 2.5]), turn)
        values["IN_RESTART"] = values["OUT_LINE_STOPPED"]
        if dice.random() < 0.05:
            station.stat = Stat(flags=StatFlag.ONLINE)
    station.frozen = False
    plc.run(4.0, turn)
    assert len(plc.outcomes) == plc.arrived, "every part has one outcome"
    kinds = [kind for _, kind, _ in plc.outcomes]
    assert values["OUT_PASSES"] == kinds.count("pass")
    assert values["OUT_REJECTS"] == plc.arrived - kinds.count("pass")
    assert kinds.count("pass") <= list(decided.values()).count(PASS)
    return plc


def judge(text: str) -> None:
    """Run what the tests of the program look at, in short, the quick ones first."""
    answer_of_the_dead(text)
    left_over(text)
    after_power_loss(text)
    met_too_early(text)
    next_one_at_once(text)
    for tamper, cause in TAMPERED.values():
        wrong = [False]
        turn = follow(ScriptedStation(), lambda w, t=tamper, on=wrong: t(w) if on[0] else None)
        plc = started(turn, text)
        wrong[0] = True
        assert plc.part(turn)[1:] == ("reject", cause)
    for seed in range(3):
        storm(seed, text)
