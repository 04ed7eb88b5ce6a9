"""An engineer asks a running line for a recipe: between parts, echoed back; the PLC always wins."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hand_plc import HandProgram
from station_rig import Process, Rig, until

from inspection.config import load_station
from inspection.plc import simulated
from inspection.plc.words import CtrlFlag, StatFlag
from inspection.store.web import commands
from inspection.store.web.access import WebStore
from inspection.store.web.people import Person, Role

KIM = Person(1, "kim", "kim", Role.ENGINEER, "ko", False, {}, "a", "csrf", "")


@pytest.fixture
def plc(monkeypatch: pytest.MonkeyPatch) -> HandProgram:
    program = HandProgram()
    monkeypatch.setattr(simulated, "Ladder", program.power_up)
    return program


class Pages:
    """An engineer who holds the control."""

    def __init__(self, rig: Rig) -> None:
        self.store = WebStore(load_station(rig.folder / "station.yaml").store)

    def ask(self, number: int) -> int:
        with self.store.write("a command") as connection:
            commands.take_control(connection, "test", KIM)
            return commands.ask_recipe(connection, "test", KIM, number)

    def answer(self, command: int) -> tuple[str, str]:
        def final() -> tuple[str, str] | None:
            with self.store.read("a command") as connection:
                row = commands.find(connection, command)
            assert row
            return None if row["state"] in {"asked", "taken"} else (row["state"], row["detail"])

        return until(final, 40, "the line's answer")


@contextlib.contextmanager
def running(rig: Rig, plc: HandProgram) -> Iterator[tuple[Process, Pages]]:
    with rig.plc_running(), rig.line() as line:
        plc.passes(1)
        pages = Pages(rig)
        yield line, pages
        pages.store.close()


def test_the_recipe_changes_between_parts_and_is_echoed_back(
    tmp_path: Path, plc: HandProgram
) -> None:
    rig = Rig(tmp_path, camera={"defect_rate": 0.0, "faults": ["late@2:2.5"]},
              recipe={"deadline": 6.0}, timing={"camera_timeout": 5.0})  # fmt: skip
    rig.recipe(2, deadline=2.0)
    with running(rig, plc) as (_, pages):
        plc.ready()
        plc.trigger(2)
        asked = pages.ask(2)  # while the part is in work
        stat = plc.answer()
        assert (stat.proves_pass(2), stat.recipe) == (True, 1)
        plc.acknowledge()
        assert pages.answer(asked) == ("done", "plate/1")
        until(lambda: plc.stat.recipe == 2, what="word 11")
        assert not plc.stat.has(StatFlag.RECIPE_ACK), "the PLC has asked for nothing"
        plc.passes(3)
    assert [row["recipe_number"] for row in rig.rows()] == [1, 1, 2]
    rig.verify()


def test_the_plc_always_wins(tmp_path: Path, plc: HandProgram) -> None:
    rig = Rig(tmp_path, camera={"defect_rate": 0.0})
    rig.recipe(2)
    with running(rig, plc) as (_, pages):
        plc.ready()
        plc.ctrl = replace(plc.ctrl, recipe=1)
        plc.up(CtrlFlag.RECIPE_REQ)
        until(lambda: plc.sees(StatFlag.RECIPE_ACK), what="RECIPE_ACK")
        assert pages.answer(pages.ask(2)) == ("refused", "plc_requests")
        plc.down(CtrlFlag.RECIPE_REQ)  # word 3 still says 1: the PLC chooses
        plc.ready()
        assert pages.answer(pages.ask(2)) == ("refused", "plc_holds 1")
        assert pages.answer(pages.ask(1)) == ("done", "plate/1"), "the same one is read again"
        plc.ctrl = replace(plc.ctrl, recipe=0)
        assert pages.answer(pages.ask(2)) == ("done", "plate/1")
        plc.passes(2)
        plc.ctrl = replace(plc.ctrl, recipe=1)  # a later request of the PLC replaces it
        plc.up(CtrlFlag.RECIPE_REQ)
        until(lambda: plc.sees(StatFlag.RECIPE_ACK) and plc.stat.recipe == 1, what="recipe 1")
        plc.down(CtrlFlag.RECIPE_REQ)
        plc.passes(3)
    assert [row["recipe_number"] for row in rig.rows()] == [1, 2, 1]
    rig.verify()


def test_a_recipe_that_cannot_be_used_leaves_the_one_in_force(
    tmp_path: Path, plc: HandProgram
) -> None:
    rig = Rig(tmp_path, camera={"defect_rate": 0.0})
    rig.recipe(3, release=9)
    with running(rig, plc) as (_, pages):
        wrong = ((7, "RECIPE_UNKNOWN"), (3, "RELEASE_INVALID"), (2, "RECIPE_INVALID"))
        for seq, (number, reason) in enumerate(wrong, start=2):
            if number == 2:  # written now: the line reads all files to find one
                rig.recipe(2, typo=1)
            state, detail = pages.answer(pages.ask(number))
            assert (state, detail.split()[0]) == ("refused", reason)
            plc.passes(seq)
            assert plc.stat.recipe == 1
            assert not plc.sees(StatFlag.ERROR)
    assert {(row["recipe_number"], row["decision"]) for row in rig.rows()} == {(1, "PASS")}
    state = json.loads((tmp_path / "live" / "test.json").read_text())
    assert (state["running"], state["recipe"], state["counts"]["PASS"]) == (False, 1, 4)
