"""Every fault switch of the simulated PLC, on a running line: no wrong part ever passes."""

from __future__ import annotations

from station_rig import Rig, until

FAULTS = {
    3: ("lost_trigger", "no_ack"),
    6: ("wrong_sequence", "bad_check"),
    9: ("late_result", "no_result"),
    12: ("frozen_heartbeat:2", "no_ack"),
    15: ("repeat", "pass"),
    18: ("overrun", "lost"),
    22: ("restart", "pass"),
}


def test_every_fault_in_one_shift_with_a_sequence_wrap(tmp_path):
    rig = Rig(tmp_path, camera={"defect_rate": 0.0, "exposure": 0.08})
    faults = tuple(f"{fault}@{part}" for part, (fault, _) in FAULTS.items())
    changes = {"faults": faults, "first_sequence": 65533, "ack_timeout": 0.5}
    with rig.plc_running(parts=26, **changes) as plc, rig.line():
        assert plc.wait(90), plc.counters
        counters = plc.counters
    causes = rig.outcomes()
    assert len(causes) == counters.triggers
    for part, (_, cause) in FAULTS.items():
        assert causes[part - 1] == cause, (part, causes)
    assert causes[18] == "not_inspected"  # the trigger that came while BUSY
    others = [c for i, c in enumerate(causes, 1) if i not in FAULTS and i != 19]
    assert others == ["pass"] * len(others)
    assert counters.repeat_answers == 1
    assert counters.repeat_mismatches == 0
    rows = {(row["epoch"], row["sequence"]): row for row in rig.rows()}
    assert len(rows) == len(rig.rows())
    reasons = [row["reason"] for row in rows.values()]
    assert reasons.count("OVERRUN") == 1
    assert reasons.count("MISSED") == 2, "the lost trigger and the one of the frozen PLC"
    assert len(rows) == counters.triggers
    rig.verify()


def test_a_frozen_plc_is_not_served(tmp_path):
    rig = Rig(tmp_path, camera={"defect_rate": 0.0})
    with (
        rig.plc_running(parts=3, faults=("frozen_heartbeat:3@2",), ack_timeout=0.5) as plc,
        rig.line(),
    ):
        assert plc.wait(30)
    assert rig.outcomes() == ["pass", "no_ack", "pass"]
    assert rig.decisions() == [("PASS", "NONE"), ("NOT_INSPECTED", "MISSED"), ("PASS", "NONE")]
    assert "no row" not in rig.verify()


def test_an_unknown_recipe_is_an_error_and_no_part_is_taken(tmp_path):
    rig = Rig(tmp_path, camera={"defect_rate": 0.0})
    with rig.plc_running(parts=1, recipe=77, ready_timeout=3.0) as plc, rig.line() as line:
        until(lambda: "RECIPE_UNKNOWN" in line.text, what="RECIPE_UNKNOWN")
        plc.wait(6)
        assert plc.counters.passes == 0
    assert all(row["decision"] == "NOT_INSPECTED" for row in rig.rows())


def test_a_request_that_changes_while_it_is_up_is_followed(tmp_path):
    """RECIPE_REQ stays up after an unknown recipe; another number is another request."""
    rig = Rig(tmp_path, camera={"defect_rate": 0.0})
    with rig.plc_running(parts=5, recipe=77, takt=0.1) as plc, rig.line() as line:
        until(lambda: "RECIPE_UNKNOWN" in line.text, what="RECIPE_UNKNOWN")
        plc.request_recipe(1)
        assert plc.wait(30), plc.counters
    assert rig.outcomes()[-1] == "pass"


def test_the_plc_changes_the_recipe_between_parts(tmp_path):
    rig = Rig(tmp_path, camera={"defect_rate": 0.0})
    rig.recipe(2, deadline=0.9)
    with rig.plc_running(parts=8, takt=0.3) as plc, rig.line():
        until(lambda: plc.counters.triggers >= 3, what="three parts")
        plc.request_recipe(2)
        assert plc.wait(30)
    assert rig.rows()[0]["recipe_number"] == 1
    assert rig.rows()[-1]["recipe_number"] == 2
    assert rig.outcomes() == ["pass"] * 8
