"""The PLC's side in a driver without PLC: each part gets PASS once and only when it was proven."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from inspection.plc.remote_io_program import RESET_SCANS, Inputs, Program
from inspection.plc.words import CtrlFlag, Stat, StatFlag

READY = StatFlag.READY | StatFlag.ONLINE
UP = Inputs(trigger=True, enable=True, reset=False)
DOWN = Inputs(trigger=False, enable=True, reset=False)


class Bench:
    """A program with a clock and a station's STAT."""

    def __init__(self, hold: float | None = 0.2, debounce: int = 1, start: Inputs = DOWN) -> None:
        self.program = Program(hold=hold, result_timeout=1.0, debounce=debounce, blind=0.05)
        self.now = 100.0
        self.program.connected(start, self.now)
        for _ in range(RESET_SCANS + 1):
            self.scan(start)
        self.tell(flags=READY)

    def scan(self, inputs: Inputs, after: float = 0.002) -> None:
        """Read on for `after` seconds; the inputs stay."""
        end = self.now + after
        while self.now < end:
            self.now = min(end, self.now + 0.04)
            self.program.scan(inputs, self.now)

    def stall(self, inputs: Inputs) -> None:
        """One reading after a time in which nobody looked."""
        self.now += 0.06
        self.program.scan(inputs, self.now)

    def tell(self, **stat: int) -> None:
        self.program.told(Stat(**stat), self.now)  # pyright: ignore[reportArgumentType]

    def answer(self, sequence: int, code: int = 1, **change: int) -> None:
        fields: dict[str, int] = {
            "flags": StatFlag.RESULT_VALID | StatFlag.ONLINE,
            "ack_seq": sequence,
            "result_seq": sequence,
            "result_seq_copy": sequence,
            "result_code": code,
            "code_inverse": 0xFFFF - code,
        }
        self.tell(**{**fields, **change})

    @property
    def flags(self) -> CtrlFlag:
        return self.program.ctrl().flags

    @property
    def sequence(self) -> int:
        return self.program.ctrl().trig_seq

    @property
    def on(self) -> set[str]:
        out = self.program.outputs()
        return {
            name for name in ("passed", "reject", "busy", "ready", "error") if getattr(out, name)
        }


def test_one_good_part_from_trigger_to_the_next() -> None:
    bench = Bench()
    assert bench.on == {"ready"}
    bench.scan(UP)
    assert (bench.sequence, bench.program.ctrl().part_id) == (1, 1)
    assert CtrlFlag.TRIGGER in bench.flags
    assert bench.on == {"busy"}
    bench.tell(flags=StatFlag.BUSY | StatFlag.TRIG_ACK, ack_seq=1)
    assert CtrlFlag.TRIGGER not in bench.flags
    bench.answer(1)
    assert bench.on == {"passed"}
    assert CtrlFlag.RESULT_ACK not in bench.flags
    bench.scan(UP, 0.19)
    assert bench.on == {"passed"}
    bench.scan(UP, 0.02)
    assert not bench.on
    assert CtrlFlag.RESULT_ACK in bench.flags
    bench.tell(flags=READY)
    assert CtrlFlag.RESULT_ACK not in bench.flags
    assert not bench.on, "a part is still in place: its trigger cannot rise"
    bench.scan(DOWN)
    assert bench.on == {"ready"}
    bench.scan(UP)
    assert bench.sequence == 2


@pytest.mark.parametrize(
    ("code", "change"),
    [
        (2, {}), (3, {}), (4, {}), (0, {}),
        (1, {"code_inverse": 0}), (1, {"result_seq_copy": 9}),
    ],
)  # fmt: skip
def test_everything_else_is_rejected(code: int, change: dict[str, int]) -> None:
    bench = Bench()
    bench.scan(UP)
    bench.answer(1, code, **change)
    assert bench.on == {"reject"}
    bench.scan(UP, 0.3)
    assert "reject" not in bench.on
    assert CtrlFlag.RESULT_ACK in bench.flags


@pytest.mark.parametrize("sequence", [0, 7, 65535])
def test_the_answer_of_another_part_passes_nothing(sequence: int) -> None:
    bench = Bench()
    bench.scan(UP)
    bench.answer(sequence)
    assert bench.on == {"busy"}
    bench.scan(UP, 1.1)
    assert bench.on == {"reject", "error"}
    bench.answer(1)  # too late
    assert "passed" not in bench.on


def test_pass_drops_with_every_fault() -> None:
    for fault in ("valid drops", "error", "disabled", "reset", "next part", "link"):
        bench = Bench()
        bench.scan(UP)
        bench.answer(1)
        bench.scan(DOWN)
        assert bench.on == {"passed"}
        if fault == "valid drops":
            bench.tell(flags=StatFlag.ONLINE)
        elif fault == "error":
            bench.answer(1, flags=StatFlag.RESULT_VALID | StatFlag.ERROR)
        elif fault == "disabled":
            bench.scan(replace(DOWN, enable=False))
        elif fault == "reset":
            bench.scan(replace(DOWN, reset=True))
        elif fault == "next part":
            bench.scan(UP)
        else:
            bench.program.connected(DOWN, bench.now)
        assert "passed" not in bench.on, fault
        bench.scan(DOWN)
        assert "passed" not in bench.on, fault


def test_a_part_that_is_in_place_at_connect_is_refused_once() -> None:
    bench = Bench(start=UP)
    bench.scan(UP)
    assert (bench.sequence, bench.on) == (1, {"reject"})
    assert CtrlFlag.TRIGGER in bench.flags
    assert CtrlFlag.ENABLE not in bench.flags, "the station must not inspect it"
    bench.answer(1)
    assert bench.on == {"reject"}
    bench.program.connected(UP, bench.now)
    bench.scan(UP)
    assert (bench.sequence, bench.on) == (0, {"reject"}), "the same part: no second row"
    bench.scan(UP, 0.3)
    bench.scan(DOWN)
    bench.tell(flags=READY)
    bench.scan(UP)
    assert (bench.sequence, bench.on) == (2, {"busy"})
    bench.program.connected(UP, bench.now)
    bench.scan(UP)
    assert (bench.sequence, bench.on) == (3, {"reject"}), "perhaps another part: a row too many"
    bench.answer(2)
    assert CtrlFlag.RESULT_ACK not in bench.flags, "nobody took that answer"


def test_pass_drops_after_a_gap_and_the_part_that_is_then_in_place_is_refused() -> None:
    for hold in (0.2, None):
        bench = Bench(hold=hold)
        bench.scan(UP)
        bench.answer(1)
        assert bench.on == {"passed"}
        bench.stall(UP)
        assert (bench.sequence, bench.on) == (2, {"reject"})
        assert CtrlFlag.RESULT_ACK in bench.flags, "of the part before"
        assert CtrlFlag.TRIGGER not in bench.flags, "not beside the answer before"
        bench.tell(flags=READY)
        assert CtrlFlag.TRIGGER in bench.flags
        assert CtrlFlag.ENABLE not in bench.flags
        bench.tell(flags=StatFlag.BUSY | StatFlag.TRIG_ACK, ack_seq=2)
        assert CtrlFlag.TRIGGER not in bench.flags
        assert CtrlFlag.ENABLE in bench.flags
        bench.answer(2)
        assert bench.on == {"reject"}, "even then"
        bench.stall(UP)
        assert (bench.sequence, bench.on) == (2, {"reject"}), "one row, however often it stalls"
        bench.scan(UP, 1.1)
        assert CtrlFlag.RESULT_ACK in bench.flags


def test_a_gap_ends_pass_with_no_part_in_place_and_before_the_answer_too() -> None:
    bench = Bench()
    bench.scan(UP)
    bench.answer(1)
    bench.stall(DOWN)
    assert (bench.sequence, bench.on) == (1, set())
    bench.tell(flags=READY)
    bench.scan(UP)
    bench.stall(DOWN)
    bench.answer(2)
    assert bench.on == {"reject"}, "lost sight of before its answer"
    bench.scan(DOWN, 0.3)
    bench.tell(flags=READY)
    bench.scan(UP)
    bench.stall(UP)
    bench.answer(3)
    assert (bench.sequence, bench.on) == (4, {"reject"})
    bench = Bench()
    bench.scan(UP)
    bench.now += 0.06
    bench.answer(1)
    assert bench.on == {"reject"}, "decided on an old reading"


def test_a_part_that_comes_during_reset_is_refused_after_it() -> None:
    bench = Bench()
    bench.scan(replace(DOWN, reset=True))
    bench.scan(replace(UP, reset=True))
    assert (bench.sequence, bench.on) == (0, set())
    bench.scan(UP)
    assert (bench.sequence, bench.on) == (1, {"reject"})


def test_reset_is_shown_after_a_start_so_that_no_old_answer_fits_a_new_part() -> None:
    program = Program(hold=0.2, result_timeout=1.0, debounce=1, blind=0.05)
    program.connected(DOWN, 0.0)
    assert CtrlFlag.RESET in program.ctrl().flags
    for at in range(RESET_SCANS):
        program.scan(DOWN, float(at))
    assert CtrlFlag.RESET not in program.ctrl().flags
    program.connected(DOWN, 9.0)
    assert CtrlFlag.RESET not in program.ctrl().flags, "only once"


def test_a_part_that_comes_when_the_station_is_not_ready_is_rejected_and_gets_its_row() -> None:
    bench = Bench()
    bench.tell(flags=StatFlag.ONLINE, reason=201)
    bench.scan(UP)
    assert CtrlFlag.TRIGGER | CtrlFlag.ENABLE in bench.flags, "it answers with its own cause"
    assert bench.on == {"reject"}
    bench.scan(DOWN, 0.3)
    assert bench.on == set()
    bench.tell(flags=READY)
    assert bench.on == set(), "its answer is still open"
    bench.answer(1, 4)
    assert bench.on == set()
    assert CtrlFlag.RESULT_ACK in bench.flags
    bench.tell(flags=READY)
    assert bench.on == {"ready"}
    bench.tell(flags=StatFlag.ONLINE)
    bench.scan(UP)
    assert CtrlFlag.ENABLE not in bench.flags, "no cause: it could be READY by now"
    bench.scan(UP, 1.1)
    assert bench.on == {"error"}, "nobody answers: the next part may come"
    assert CtrlFlag.TRIGGER not in bench.flags
    bench.scan(DOWN)
    bench.tell(flags=READY)
    bench.scan(UP)
    assert (bench.sequence, bench.on) == (3, {"busy"})


def test_a_part_that_comes_before_the_answer_takes_its_place() -> None:
    bench = Bench()
    bench.scan(UP)
    bench.tell(flags=StatFlag.BUSY | StatFlag.TRIG_ACK, ack_seq=1)
    bench.scan(DOWN)
    bench.scan(UP)
    assert bench.sequence == 2
    assert CtrlFlag.TRIGGER in bench.flags
    bench.answer(1)
    assert bench.on == {"busy"}, "the answer of the part that has gone by"


def test_an_error_is_acknowledged_and_an_old_one_stops_no_good_part() -> None:
    bench = Bench()
    bench.tell(flags=READY | StatFlag.ERROR)
    assert CtrlFlag.ERROR_ACK in bench.flags
    assert bench.on == {"ready", "error"}
    bench.scan(UP)
    bench.answer(1, flags=StatFlag.RESULT_VALID | StatFlag.ERROR)
    assert bench.on == {"passed", "error"}
    bench.tell(flags=READY)
    assert CtrlFlag.ERROR_ACK not in bench.flags


def test_a_bounce_is_one_part() -> None:
    bench = Bench(debounce=3)
    for level in [UP, DOWN, UP, UP, DOWN, UP, UP, UP, UP, DOWN, UP, DOWN, DOWN, UP, UP, UP]:
        bench.scan(level)
    assert bench.sequence == 1


def test_an_input_that_flickers_hides_no_other() -> None:
    bench = Bench(debounce=2)
    for at in range(10):
        bench.scan(replace(UP, enable=bool(at % 2)))
    assert bench.sequence == 1


def test_held_until_the_part_has_gone() -> None:
    bench = Bench(hold=None)
    bench.scan(UP)
    bench.answer(1)
    bench.scan(UP, 0.5)
    assert bench.on == {"passed"}
    assert CtrlFlag.RESULT_ACK not in bench.flags
    bench.scan(UP, 0.6)
    assert CtrlFlag.RESULT_ACK in bench.flags, "the station does not wait for ever"
    bench.tell(flags=READY)
    bench.scan(UP, 60.0)
    assert bench.on == {"passed"}
    bench.scan(DOWN)
    assert bench.on == {"ready"}
    bench.scan(UP)
    bench.scan(DOWN)
    bench.answer(2)
    assert bench.on == {"reject"}, "it left before its answer came"
    bench.scan(DOWN, 0.2)
    assert "reject" not in bench.on


def test_whatever_comes_pass_means_the_last_part_was_proven() -> None:
    """Random lines and random STAT: PASS only while the newest part's own good answer stands or stood."""
    chance = random.Random("remote I/O")
    passes = 0
    for _ in range(120):
        bench = Bench(hold=chance.choice([0.05, None]), debounce=chance.choice([1, 2]))
        proven = 0
        for _ in range(150):
            kind = chance.randrange(6)
            if kind == 0:
                bench.program.connected(chance.choice([UP, DOWN]), bench.now)
            elif kind == 1:
                bench.tell(flags=READY)
            elif kind == 2:
                sequence = chance.choice([bench.sequence, bench.sequence, 1, 2])
                code = chance.choice([1, 1, 2])
                bench.answer(sequence, code)
                if sequence and code == 1:
                    proven = sequence
            else:
                bench.scan(
                    Inputs(
                        trigger=chance.random() < 0.5,
                        enable=chance.random() < 0.95,
                        reset=chance.random() < 0.02,
                    ),
                    chance.choice([0.002, 0.03]),
                )
                if chance.random() < 0.03:
                    bench.stall(chance.choice([UP, DOWN]))
                    assert "passed" not in bench.on
            out = bench.program.outputs()
            assert not (out.passed and out.reject)
            if out.passed:
                passes += 1
                assert bench.sequence == proven != 0
    assert passes > 50
