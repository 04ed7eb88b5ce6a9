"""The tests of the PLC's program are tested: a program that lost one of its checks does not pass them."""

from __future__ import annotations

import pytest
from plc_program_rig import judge, text_of

from inspection.commission.map.families import Family

MUTANTS = [
    ("(v_result_seq <> v_seq) OR ", ""),
    ("(v_copy <> v_seq) OR ", ""),
    (" OR (v_inverse <> (UINT#65535 - v_code))", ""),
    ("ELSIF v_code = 1 THEN", "ELSIF v_code <> 2 THEN"),
    ("IF NOT v_alive THEN\n            v_cause := 5;", "IF FALSE THEN\n            v_cause := 5;"),
    ("v_reject := TRUE;\n        ELSIF v_valid THEN", "v_phase := 0;\n        ELSIF v_valid THEN"),
    ("IF v_seq >= UINT#65535 THEN", "IF FALSE THEN"),
    ("AND (v_phase <> 0);", "AND FALSE;"),
    ("IF v_early THEN\n    v_met := TRUE;", "IF v_early THEN\n    v_met := FALSE;"),
    ("ELSIF v_met THEN", "ELSIF v_early THEN"),
    ("                v_met := FALSE;\n", ""),
    ("ELSIF v_arrived OR v_reject", "ELSIF v_reject"),
    ("OR t_pass.Q", ""),
    ("v_reset := TRUE;", "v_reset := FALSE;"),
    ("ELSIF t_dead.Q THEN", "ELSIF FALSE THEN"),
    ("PT := T#1s", "PT := T#4s"),
    ("v_trig_ack AND (v_ack_seq = v_seq)", "v_ready"),
    ("ELSIF v_valid OR v_result_ack THEN\n    v_blocked := 10;", "ELSIF FALSE THEN\n    v_blocked := 10;"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(MUTANTS)))
def test_the_checks_notice_a_program_that_lost_one_of_its_own(number: int) -> None:
    """Each of these programs is wrong in one place; a test above must fail with it."""
    good, bad = MUTANTS[number]
    text = text_of()
    assert text.count(good) == 1, good
    text = text.replace(good, bad)
    with pytest.raises((AssertionError, OverflowError)):
        judge(text)


@pytest.mark.parametrize("family", ["modbus", "ethernet_ip"])
def test_the_good_program_stands_the_same_checks(family: Family) -> None:
    """The one text, and the one whose numbers and timers are others."""
    judge(text_of(family))
