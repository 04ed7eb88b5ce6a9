"""Reasons that come from the PLC, its link, its recipe, a stop and a loop that hangs, on a running line.

The PLC program is the test itself, see `hand_plc.py`.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fault_proxy import FaultProxy
from hand_plc import HandProgram
from station_rig import Process, Rig, until

from inspection.plc import simulated
from inspection.plc.ladder import Scan
from inspection.plc.memory import Memory
from inspection.plc.words import STAT_ACK_SEQ, CtrlFlag, Stat, StatFlag
from inspection.types import Reason

GOOD = {"defect_rate": 0.0}
ANSWERED = StatFlag.RESULT_VALID | StatFlag.BUSY | StatFlag.TRIG_ACK


@pytest.fixture
def plc(monkeypatch) -> HandProgram:
    program = HandProgram()
    monkeypatch.setattr(simulated, "Ladder", program.power_up)
    return program


@contextlib.contextmanager
def running(rig: Rig) -> Iterator[Process]:
    """PLC and line; the PLC stops last, so that it sees how the line ends."""
    with rig.plc_running(), rig.line() as line:
        yield line


@contextlib.contextmanager
def cable(rig: Rig) -> Iterator[FaultProxy]:
    """A cable between line and PLC that can be pulled (`half_open`)."""
    with FaultProxy(("127.0.0.1", rig.plc_port)) as proxy:
        rig.station["plc"]["port"] = proxy.port
        rig.write()
        yield proxy


def alarms(rig: Rig, reason: Reason) -> list[int]:
    """1 for each time the alarm came, 0 for each time it went, oldest first."""
    query = 'select "on" from alarms where reason = ? order by id'
    with contextlib.closing(sqlite3.connect(rig.database, timeout=5)) as connection:
        return [on for (on,) in connection.execute(query, (reason.name,))]


def rows(rig: Rig) -> list[tuple[int, str, str]]:
    return [(row["sequence"], row["decision"], row["reason"]) for row in rig.rows()]


def test_a_part_that_comes_with_a_recipe_request_is_not_judged_by_the_old_recipe(tmp_path, plc):
    """Both in one scan: the PLC means the new recipe for this part, and word 11 still shows the old one."""
    rig = Rig(tmp_path, camera=GOOD)
    rig.recipe(2)
    with running(rig):
        plc.passes(1)
        plc.ready()
        plc.trigger(2, CtrlFlag.RECIPE_REQ, recipe=2)
        stat = plc.answer()
        assert (stat.result_code, stat.reason) == (4, Reason.NOT_READY)
        plc.acknowledge()
        until(lambda: plc.sees(StatFlag.RECIPE_ACK), what="RECIPE_ACK")
        plc.trigger(3)  # the request is still up, and was followed: READY is off, word 11 shows 2
        assert plc.answer().proves_pass(3)
        plc.acknowledge()
        plc.trigger(4, recipe=1)  # another number, with RECIPE_ACK of the one before
        assert plc.answer().reason == Reason.NOT_READY
        plc.acknowledge()
        plc.down(CtrlFlag.RECIPE_REQ)
        plc.passes(5)
    told = [(row["recipe_number"], row["reason"]) for row in rig.rows()]
    assert [reason for _, reason in told] == ["NONE", "NOT_READY", "NONE", "NOT_READY", "NONE"]
    assert [number for number, _ in told][::2] == [1, 2, 1]
    rig.verify()


def test_a_part_that_comes_while_the_acknowledgement_is_up_is_inspected(tmp_path, plc):
    """READY is off for the acknowledgement alone: the part gets its own picture and its own answer."""
    rig = Rig(tmp_path, camera=GOOD)
    with running(rig):
        plc.ready()
        plc.trigger(1)
        plc.answer()
        plc.up(CtrlFlag.RESULT_ACK)
        until(lambda: not plc.stat.has(StatFlag.RESULT_VALID), what="RESULT_VALID off")
        plc.trigger(2)
        assert plc.answer().proves_pass(2)
        plc.down(CtrlFlag.RESULT_ACK)
        plc.acknowledge()
    rig.verify()


# ---------------------------------------------------------------------- causes between parts


def request(rig: Rig, plc: HandProgram, answer: StatFlag = StatFlag.RECIPE_ACK) -> None:
    plc.ctrl = replace(plc.ctrl, recipe=1)
    plc.up(CtrlFlag.RECIPE_REQ)
    until(lambda: plc.sees(answer), what=answer.name)
    assert not plc.sees((StatFlag.RECIPE_ACK | StatFlag.ERROR) & ~answer)
    plc.down(CtrlFlag.RECIPE_REQ)


def request_wrong(rig: Rig, plc: HandProgram) -> None:
    rig.recipe(typo=1)
    request(rig, plc, StatFlag.ERROR)


def show_map(version: int) -> Callable[[Rig, HandProgram], None]:
    return lambda _rig, plc: setattr(plc, "ctrl", replace(plc.ctrl, map_version=version))


BETWEEN_PARTS = (  # reason, how it comes, how it goes, recipe in force meanwhile, with ERROR
    (Reason.RECIPE_NONE, lambda rig, plc: None, request, 0, False),
    (
        Reason.PLC_DISABLED,
        lambda rig, plc: plc.down(CtrlFlag.ENABLE),
        lambda rig, plc: plc.up(CtrlFlag.ENABLE),
        1,
        False,
    ),
    (Reason.MAP_VERSION, show_map(2), show_map(1), 1, True),
    (Reason.RECIPE_INVALID, request_wrong, lambda rig, plc: rig.recipe(), 0, True),
)


def test_a_cause_keeps_ready_off_and_a_trigger_is_refused_until_it_is_gone(tmp_path, plc):
    rig = Rig(tmp_path, camera=GOOD)
    rig.station["recipe"] = 0
    rig.write()
    with running(rig):
        for number, (reason, come, go, recipe, error) in enumerate(BETWEEN_PARTS):
            come(rig, plc)
            stat = plc.idles(reason)
            assert (stat.recipe, stat.has(StatFlag.ERROR)) == (recipe, error)
            plc.refuses(2 * number + 1, Reason.NOT_READY)
            assert plc.idles(reason).recipe == recipe
            go(rig, plc)
            plc.ready()
            assert plc.sees(StatFlag.ERROR) == error, "ERROR stays until ERROR_ACK"
            plc.up(CtrlFlag.ERROR_ACK)
            until(lambda: not plc.sees(StatFlag.ERROR), what="ERROR off")
            plc.down(CtrlFlag.ERROR_ACK)
            plc.passes(2 * number + 2)
            assert (plc.stat.recipe, plc.stat.reason) == (1, 0)
    refused = [(row["decision"], json.loads(row["reasons"])) for row in rig.rows()[::2]]
    for (reason, *_), row in zip(BETWEEN_PARTS, refused, strict=True):
        assert row == ("NOT_INSPECTED", ["NOT_READY", reason.name])
        assert alarms(rig, reason) == [1, 0]
    assert plc.proven == {2, 4, 6, 8}
    rig.verify()


# ---------------------------------------------------------------------- repeats


def test_a_trigger_is_a_repeat_for_ten_seconds_and_then_another_part(tmp_path, plc):
    """A PLC that lost its memory and forgot RESET must not get an old PASS for a new part."""
    rig = Rig(tmp_path, camera=GOOD)
    with running(rig):
        plc.passes(1)
        first = plc.stat.record_id
        plc.ready()
        plc.up(CtrlFlag.TRIGGER)  # bounces: the words are those of the last part
        until(lambda: plc.sees(StatFlag.TRIG_ACK), what="TRIG_ACK")
        plc.down(CtrlFlag.TRIGGER)
        until(lambda: plc.sees(StatFlag.RESULT_VALID), what="the same answer")
        assert plc.stat.record_id == first
        plc.acknowledge()
        threading.Event().wait(10.5)
        plc.passes(1)
        assert plc.stat.record_id != first
    assert [(row["epoch"], row["sequence"]) for row in rig.rows()] == [(1, 1), (2, 1)]


def test_an_answer_that_was_given_up_leaves_the_time_of_a_repeat_as_it_is(tmp_path, plc):
    """A acknowledged, B answered but not acknowledged, C lost with the link: A's words are a new part."""
    rig = Rig(tmp_path, camera=GOOD)
    write = Memory.write

    def broken(memory: Memory, address: int, words: list[int]) -> None:
        taken = address == memory.stat_address + STAT_ACK_SEQ and words[0] == 3
        if taken and plc.ctrl.trig_seq == 3:
            plc.end("lost")
            plc.ctrl = replace(plc.ctrl, trig_seq=4, flags=CtrlFlag.ENABLE)
            raise OSError("the PLC's end of the link broke")
        write(memory, address, words)

    with running(rig), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Memory, "write", broken)
        plc.passes(1)
        acknowledged, first = time.monotonic(), plc.stat.record_id
        plc.ready()
        plc.trigger(2)
        assert plc.answer().proves_pass(2)
        plc.raise_trigger(3)
        until(lambda: plc.ctrl.trig_seq == 4, what="the broken link")
        plc.ready()
        threading.Event().wait(max(0.0, acknowledged + 10.5 - time.monotonic()))
        plc.passes(1)
        assert plc.stat.record_id != first
    assert [(seq, reason) for seq, _, reason in rows(rig)] == [
        (1, "NONE"), (2, "NONE"), (3, "OVERRUN"), (1, "NONE"),
    ]  # fmt: skip


# ---------------------------------------------------------------------- SUPERSEDED, sequence 0


def test_a_part_that_the_plc_does_not_wait_for_is_superseded(tmp_path, plc):
    """By the next trigger, and by RESET; a trigger with sequence 0 is none."""
    camera = {**GOOD, "faults": ["late@1:0.6", "late@3:0.6"]}
    rig = Rig(tmp_path, camera=camera, recipe={"deadline": 5.0}, timing={"camera_timeout": 4.0})
    with running(rig):
        plc.ready()
        plc.up(CtrlFlag.TRIGGER)  # TRIG_SEQ was never written
        beat = plc.stat.heartbeat
        until(lambda: plc.stat.heartbeat >= beat + 3, what="a living station")
        assert not plc.stat.flags & ANSWERED
        plc.down(CtrlFlag.TRIGGER)

        plc.ready()
        plc.trigger(1)
        plc.end("lost")
        plc.refuses(2, Reason.OVERRUN)
        assert plc.sees(StatFlag.MISSED_TRIGGER)
        plc.passes(3)
        assert plc.sees(StatFlag.MISSED_TRIGGER), "it stays until RESET"

        plc.ready()
        plc.trigger(4)
        plc.end("lost")
        plc.up(CtrlFlag.RESET)
        until(lambda: not plc.stat.flags & (ANSWERED | StatFlag.MISSED_TRIGGER), what="the reset")
        plc.down(CtrlFlag.RESET)
        plc.passes(4)
    assert rows(rig) == [
        (1, "NOT_INSPECTED", "SUPERSEDED"), (2, "NOT_INSPECTED", "OVERRUN"), (3, "PASS", "NONE"),
        (4, "NOT_INSPECTED", "SUPERSEDED"), (4, "PASS", "NONE"),
    ]  # fmt: skip
    found = rig.rows()
    assert [row["state"] for row in found if row["reason"] == "SUPERSEDED"] == ["decided"] * 2
    assert found[4]["epoch"] == found[3]["epoch"] + 1
    assert plc.proven == {3, 4}
    rig.verify()


def test_a_part_that_was_given_up_does_not_expose_the_next(tmp_path, plc):
    """EXPOSURE_DONE says that the part may move: it goes with its part, by RESET and by a lost link."""
    rig = Rig(tmp_path, camera=GOOD, recipe={"deadline": 5.0}, variant="slow")
    raised = StatFlag(0)
    scan = plc.scan

    def watched(stat: Stat, now: float) -> Scan:
        nonlocal raised
        if stat.has(StatFlag.READY):
            raised |= stat.flags
        return scan(stat, now)

    plc.scan = watched  # type: ignore[method-assign]
    with cable(rig) as proxy, running(rig):
        plc.ready()
        plc.trigger(1)
        until(lambda: plc.sees(StatFlag.EXPOSURE_DONE), what="EXPOSURE_DONE")
        plc.end("lost")
        plc.up(CtrlFlag.RESET)
        until(lambda: not plc.stat.flags & (ANSWERED | StatFlag.EXPOSURE_DONE), what="the reset")
        plc.down(CtrlFlag.RESET)
        plc.ready()
        plc.trigger(2)
        until(lambda: plc.sees(StatFlag.EXPOSURE_DONE), what="EXPOSURE_DONE")
        proxy.half_open = True
        plc.end("lost")
        until(lambda: not plc.alive, what="a heartbeat that stands still")
        plc.ctrl = replace(plc.ctrl, trig_seq=3)
        until(lambda: plc.shown == plc.ctrl, what="another sequence")
        proxy.half_open = False
        plc.passes(3)
    assert raised & StatFlag.READY
    assert not raised & StatFlag.EXPOSURE_DONE
    assert [reason for _, _, reason in rows(rig)] == ["SUPERSEDED", "SUPERSEDED", "NONE"]


# ---------------------------------------------------------------------- PLC_LINK


def test_a_pulled_cable_stops_the_heartbeat_and_nothing_passes(tmp_path, plc):
    """Pulled with a part in work: it is late; or superseded, when the PLC comes back with another."""
    rig = Rig(tmp_path, camera={**GOOD, "faults": ["late@1:0.3", "late@3:0.3"]})
    with cable(rig) as proxy, running(rig) as line:
        for number, (seq, plc_waits) in enumerate([(1, True), (3, False)], start=1):
            plc.ready()
            plc.ctrl = replace(plc.ctrl, deadline_ms=800 if plc_waits else 10_000)
            plc.trigger(seq)
            proxy.half_open = True
            until(lambda n=number: line.text.count("READY: PLC_LINK") > n, what="the log line")
            until(lambda: not plc.alive, what="a heartbeat that stands still")
            assert plc.stat.has(StatFlag.BUSY), "nothing is written any more"
            plc.end("heartbeat")
            if plc_waits:
                until(lambda: rig.rows("decision is not null"), what="the deadline")
            else:
                plc.ctrl = replace(plc.ctrl, trig_seq=seq + 1, deadline_ms=0)
                until(lambda: plc.shown == plc.ctrl, what="another sequence")
            proxy.half_open = False
            if plc_waits:
                plc.throws_away(Reason.DEADLINE)
            plc.passes(seq + 1)
    assert rows(rig) == [
        (1, "NOT_INSPECTED", "DEADLINE"), (2, "PASS", "NONE"),
        (3, "NOT_INSPECTED", "SUPERSEDED"), (4, "PASS", "NONE"),
    ]  # fmt: skip
    assert plc.proven == {2, 4}
    told = alarms(rig, Reason.PLC_LINK)  # at the start, and for each pull
    assert len(told) >= 6
    assert told == [1, 0] * (len(told) // 2)
    rig.verify()


# ---------------------------------------------------------------------- PLC_NO_ACK


def test_an_answer_that_is_not_acknowledged_raises_an_alarm_until_the_next_is(tmp_path, plc):
    """Never acknowledged, and RESULT_ACK held up from before the answer."""
    rig = Rig(tmp_path, camera={**GOOD, "exposure": 0.2}, timing={"ack_timeout": 0.5})
    with running(rig):
        for number, (seq, held_up) in enumerate([(1, False), (3, True)]):
            plc.ready()
            plc.trigger(seq)
            if held_up:
                plc.up(CtrlFlag.RESULT_ACK)
            assert plc.answer().proves_pass(seq)
            until(lambda: not plc.stat.has(StatFlag.RESULT_VALID), what="RESULT_VALID dropped")
            told = [1, 0] * number + [1]
            until(lambda t=told: alarms(rig, Reason.PLC_NO_ACK) == t, what="the alarm")
            if held_up:
                assert not plc.sees(StatFlag.READY), "READY waits for RESULT_ACK to drop"
                plc.down(CtrlFlag.RESULT_ACK)
            plc.passes(seq + 1)
            until(lambda t=told: alarms(rig, Reason.PLC_NO_ACK) == [*t, 0], what="its end")
    assert [row["state"] for row in rig.rows()] == ["sent", "acknowledged"] * 2
    assert {row["decision"] for row in rig.rows()} == {"PASS"}
    rig.verify()


# ---------------------------------------------------------------------- STOPPED


def test_a_part_that_a_stop_does_not_wait_for_is_told_after_the_start(tmp_path, plc):
    camera = {**GOOD, "faults": ["late@1:3.5"]}
    rig = Rig(tmp_path, camera=camera, recipe={"deadline": 9.0}, timing={"camera_timeout": 8.0})
    with rig.plc_running():
        with rig.line() as line:
            plc.ready()
            plc.trigger(1)
            assert line.stop(15.0) == 0
        until(lambda: not plc.alive, what="a heartbeat that stands still")
        assert (plc.stat.flags, plc.stat.result_code) == (StatFlag(0), 0)
        assert rows(rig) == [(1, "NOT_INSPECTED", "STOPPED")]
        assert alarms(rig, Reason.STOPPED) == [1]
        rig.station["camera"]["faults"] = []
        rig.write()
        with rig.line():
            stat = plc.answer()
            assert (stat.result_code, stat.reason) == (4, Reason.STOPPED)
            plc.acknowledge()
            plc.passes(2)
            told = alarms(rig, Reason.STOPPED)
        until(lambda: not plc.alive, what="a heartbeat that stands still")
        assert (plc.stat.flags, plc.stat.reason) == (StatFlag(0), Reason.STOPPED)
    assert rows(rig) == [(1, "NOT_INSPECTED", "STOPPED"), (2, "PASS", "NONE")]
    assert plc.proven == {2}
    rig.verify()
    assert told == [1, 0], "the alarm ends when the station runs again"


# ---------------------------------------------------------------------- the loop hangs


@contextlib.contextmanager
def hanging(plc: HandProgram, line: Process) -> Iterator[None]:
    """Stop the process until the PLC takes it for dead, then let it go on."""
    line.popen.send_signal(signal.SIGSTOP)
    state = Path(f"/proc/{line.popen.pid}/stat")
    try:
        until(lambda: state.read_text().rsplit(") ", 1)[1].startswith("T"), what="the stop")
        yield
        until(lambda: not plc.alive, what="a heartbeat that stands still")
    finally:
        line.popen.send_signal(signal.SIGCONT)


def test_a_part_in_work_while_the_loop_hangs_is_never_passed(tmp_path, plc):
    """Stopped while the camera exposes, while the model works, and between two parts."""
    camera, timing = {**GOOD, "faults": ["late@1:0.6"]}, {"camera_timeout": 5.0}
    timing["inference_timeout"] = 5.0
    rig = Rig(tmp_path, camera=camera, recipe={"deadline": 6.0}, timing=timing, variant="slow")
    told: list[tuple[int, str]] = []
    with running(rig) as line:
        for seq in (1, 3):
            plc.ready()
            plc.ctrl = replace(plc.ctrl, deadline_ms=900)
            plc.trigger(seq)
            if seq == 3:
                until(lambda: plc.sees(StatFlag.EXPOSURE_DONE), what="EXPOSURE_DONE")
            with hanging(plc, line):
                plc.end("heartbeat")
            told.append((seq, Reason(plc.throws_away().reason).name))
            plc.ctrl = replace(plc.ctrl, deadline_ms=0)
            plc.passes(seq + 1)
        plc.ready()
        with hanging(plc, line):
            assert plc.stat.has(StatFlag.READY), "it still stands in STAT"
            plc.raise_trigger(5)
            until(lambda: not plc.alive, what="no TRIG_ACK")
            plc.end("no_ack")
            plc.down(CtrlFlag.TRIGGER)
            until(lambda: plc.shown == plc.ctrl, what="TRIGGER off")
        plc.passes(6)
        assert line.popen.poll() is None
    late = {"DEADLINE", "CAMERA_TIMEOUT", "INFERENCE_TIMEOUT"}  # nothing is wrong with the store
    assert all(reason in late for _, reason in told)
    assert told == [(row["sequence"], row["reason"]) for row in rig.rows("sequence in (1, 3)")]
    assert rows(rig)[4] == (5, "NOT_INSPECTED", "MISSED")
    assert [decision for _, decision, _ in rows(rig)] == ["NOT_INSPECTED", "PASS"] * 3
    assert plc.proven == {2, 4, 6}
    rig.verify()


def test_a_shift_rejects_while_the_loop_hangs_and_passes_again(tmp_path):
    """The simulated PLC's own program; its conveyor waits for nobody."""
    rig = Rig(tmp_path, camera=GOOD)
    with rig.plc_running(takt=0.2, wait_ready=False, ack_timeout=0.5) as plc, rig.line() as line:
        until(lambda: plc.counters.passes >= 2, what="parts")
        line.popen.send_signal(signal.SIGSTOP)
        dead = plc.counters.untriggered["not_alive"]
        until(lambda: plc.counters.untriggered["not_alive"] > dead, what="a reject")
        before = plc.counters
        until(lambda: plc.counters.parts >= before.parts + 5, what="more parts")
        assert (plc.counters.passes, plc.counters.triggers) == (before.passes, before.triggers)
        line.popen.send_signal(signal.SIGCONT)
        until(lambda: plc.counters.passes >= before.passes + 2, what="parts again")
        plc.finish()
        assert plc.wait(20)
    assert rig.outcomes()[-1] == "pass"
    rig.verify()
