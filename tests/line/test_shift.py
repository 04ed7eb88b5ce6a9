"""A shorter soak: the same code as `make soak`."""

from __future__ import annotations

import pytest
from soak import run_kills, run_steady


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_steady_shift_through_service_and_plc(tmp_path):
    report = run_steady(tmp_path, parts=150, takt=0.15)
    assert not report.breaches, report.line("steady shift")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_kill_minus_nine_in_turn(tmp_path):
    report = run_kills(tmp_path, kills=12, seed=7)
    assert not report.breaches, report.line("shift with kills")
