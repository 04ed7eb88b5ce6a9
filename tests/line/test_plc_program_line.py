"""The PLC's program of `inspection plc map` as the PLC of a real line process, over Modbus.

It runs in the simulated PLC's server in place of its own program. What it passed must be what the store says.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from plc_program_rig import CTRL_NAMES, STAT_NAMES, TYPES, text_of
from st_interpreter import Program, read_program
from station_rig import Rig, until

from inspection.plc import simulated
from inspection.plc.ladder import Scan
from inspection.plc.plc_log import History
from inspection.plc.words import Ctrl, Stat


class ProgramInPlc:
    """Stands where the simulated PLC has its own program; brings a part whenever `parts` are left."""

    done = line_stopped = False

    def __init__(self, recipe: int) -> None:
        text = text_of().replace("PT := T#2s", "PT := T#20s")  # the machine may be busy
        text = text.replace("(v_phase = 20), PT := T#500ms", "(v_phase = 20), PT := T#10s")
        self.program = Program(read_program(text)[0], TYPES)
        self.values = self.program.values
        self.values |= {"IN_RUN": True, "IN_RECIPE": recipe}
        self.parts = 0
        self.lock = threading.Lock()
        self.outcomes: list[tuple[int, bool, int]] = []

    def power_up(
        self, _config: Any, history: History, _now: float, *, resumed: bool
    ) -> ProgramInPlc:
        assert not resumed
        self.history = history
        return self

    def scan(self, stat: Stat, now: float) -> Scan:
        values = self.values
        for name, word in zip(STAT_NAMES, stat.pack(), strict=True):
            values[name] = word
        with self.lock:
            comes = values["OUT_READY"] and self.parts > 0 and not values["IN_PART_PRESENT"]
            self.parts -= comes
        values["IN_PART_PRESENT"] = comes
        values["IN_PART_ID_LOW"] = 100 + values["v_seq"]
        self.program.scan(now)
        if values["OUT_PART_PASSED"] or values["OUT_PART_REJECTED"]:
            passed = values["OUT_PART_PASSED"]
            assert not passed or stat.proves_pass(values["v_seq"])
            self.outcomes.append((values["v_seq"], passed, values["OUT_CAUSE"]))
        ctrl = Ctrl.unpack([values[name] for name in CTRL_NAMES])
        return Scan(ctrl, (), power_cycle=False)

    def bring(self, count: int) -> None:
        with self.lock:
            self.parts += count


def test_the_program_and_a_real_line_agree_on_every_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path, camera={"defect_rate": 0.4, "seed": 5}, recipe={"deadline": 6.0})
    rig.recipe(2, deadline=6.0)
    plc = ProgramInPlc(recipe=2)
    monkeypatch.setattr(simulated, "Ladder", plc.power_up)
    with rig.plc_running(scan=0.01):
        with rig.line() as line:
            plc.bring(8)
            until(lambda: len(plc.outcomes) == 8, 60, "eight outcomes")
            plc.bring(1)
            until(lambda: plc.values["v_phase"] >= 20, 30, "a part in work")
            line.popen.kill()
        with rig.line():
            until(lambda: len(plc.outcomes) == 9, 40, "an outcome of the part that lost its line")
            plc.bring(3)
            until(lambda: len(plc.outcomes) == 12, 60, "three more outcomes")
            until(lambda: rig.rows()[-1]["state"] == "acknowledged", 20, "the last acknowledgement")
    rows = {row["sequence"]: row for row in rig.rows()}
    assert [sequence for sequence, _, _ in plc.outcomes] == list(range(1, 13))
    causes = {"PASS": 0, "FAIL": 7, "REVIEW": 8, "NOT_INSPECTED": 9}
    for sequence, passed, cause in plc.outcomes:
        if sequence == 9:  # killed with the line, or just answered before
            assert not passed or rows[9]["decision"] == "PASS"
            continue
        row = rows[sequence]
        assert (passed, cause) == (row["decision"] == "PASS", causes[row["decision"]])
        assert row["part_id"] == 99 + sequence
        assert row["recipe_number"] == 2
    assert {passed for _, passed, _ in plc.outcomes} == {True, False}
