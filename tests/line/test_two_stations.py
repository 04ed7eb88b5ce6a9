"""Two stations at one PLC, each with a store of its own: one answers, the other stays out and says why."""

from __future__ import annotations

from station_rig import Rig, until


def test_the_second_station_at_a_plc_answers_nothing(tmp_path):
    """A demo that sees only good parts, started beside the line that fails all of its parts."""
    (tmp_path / "line").mkdir()
    (tmp_path / "demo").mkdir()
    rig = Rig(tmp_path / "line", camera={"defect_rate": 1.0})
    demo = Rig(tmp_path / "demo", camera={"defect_rate": 0.0})
    demo.station["plc"]["port"] = rig.plc_port
    demo.write()
    with rig.plc_running(parts=400, takt=0.15) as plc, rig.line():
        until(lambda: plc.counters.triggers >= 2, 40, "the line's parts")
        with demo.line() as second:
            until(lambda: "PLC_SHARED" in second.text, 20, "the reason")
            seen = plc.counters.triggers
            until(lambda: plc.counters.triggers >= seen + 5, 30, "the line goes on")
            assert "another station writes STAT" in second.text
            assert demo.rows() == []
    assert plc.counters.passes <= len(rig.rows("decision = 'PASS'"))
    rig.verify()


def test_the_second_one_does_not_take_over_when_the_first_is_gone(tmp_path):
    (tmp_path / "line").mkdir()
    (tmp_path / "demo").mkdir()
    rig = Rig(tmp_path / "line", camera={"defect_rate": 1.0})
    demo = Rig(tmp_path / "demo", camera={"defect_rate": 0.0})
    demo.station["plc"]["port"] = rig.plc_port
    demo.write()
    with rig.plc_running(parts=60, takt=0.15, ready_timeout=0.2) as plc:
        with rig.line() as line:
            until(lambda: plc.counters.triggers >= 2, 40, "the line's parts")
            with demo.line() as second:
                until(lambda: "PLC_SHARED" in second.text, 20, "the reason")
                line.kill()
                assert plc.wait(60), plc.counters
                assert demo.rows() == []
        assert plc.counters.passes <= len(rig.rows("decision = 'PASS'"))
