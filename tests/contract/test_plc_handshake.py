"""The handshake over every PLC driver: all faults of the simulated PLC, a wrap, torn writes, a bad line.

The simulated PLC serves each protocol itself; protocols that it does not serve are tried with the
server of another author that their link names.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fault_proxy import FaultProxy
from plc_links import LINKS, Link
from plc_links.link import config
from scripted_station import FAIL, NOT_INSPECTED, PASS, REVIEW, ScriptedStation, StationThread

LIMIT = 60.0
PATIENT: dict[str, Any] = {"ack_timeout": 2.0, "result_timeout": 10.0}
FAULTS = {
    "lost_trigger@2": "no_ack",
    "wrong_sequence@4": "bad_check",
    "late_result@6": "no_result",
    "frozen_heartbeat:1.2@8": "no_ack",
    "repeat@10": "pass",
    "overrun@12": "lost",
    "restart@15": "pass",
}
FIRST = 65530
"""The seventh part has sequence 1 again."""


PARAMS = [
    pytest.param(link, id=link.label, marks=[pytest.mark.soak] if link.soak_handshake else [])
    for link in LINKS
]


@pytest.fixture(params=PARAMS)
def link(request: pytest.FixtureRequest) -> Link:
    if request.param.plc is None:
        pytest.skip(f"{request.param.name} is a link without words of its own")
    return request.param


def sequence(number: int) -> int:
    """Return TRIG_SEQ of the n-th trigger."""
    return (FIRST + number - 2) % 65535 + 1


def read_outcomes(log: Path) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for line in log.read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "outcome":
            found.setdefault(event["seq"], []).append(event["cause"])
    return found


def test_every_fault_ends_as_the_protocol_wants_and_sequences_wrap(
    link: Link, tmp_path: Path
) -> None:
    log = tmp_path / "plc.jsonl"
    station = ScriptedStation(takes=0.05)
    settings = config(
        parts=17, takt=0.02, first_sequence=FIRST, faults=tuple(FAULTS), log=log, **PATIENT
    )
    with link.simulated(settings) as plc, StationThread(station, link.open(plc.port)):
        assert plc.wait(LIMIT)
    expected = {sequence(number): ["pass"] for number in range(1, 18)}
    for fault, cause in FAULTS.items():
        expected[sequence(int(fault.partition("@")[2]))] = [cause]
    expected[sequence(13)] = ["not_inspected"]  # triggered while the station was busy with the 12th
    never_seen = {sequence(2), sequence(8)}
    assert read_outcomes(log) == expected
    assert [row.seq for row in station.rows] == [seq for seq in expected if seq not in never_seen]
    assert plc.counters.repeat_answers == 1
    assert plc.counters.repeat_mismatches == 0
    assert plc.counters.discarded_results >= 1


def test_counters_and_rows_agree_part_by_part(link: Link, tmp_path: Path) -> None:
    codes = [PASS, FAIL, REVIEW, NOT_INSPECTED]
    log = tmp_path / "plc.jsonl"
    station = ScriptedStation(lambda part_id: codes[part_id % 4])
    settings = config(parts=20, takt=0.0, first_part_id=0xFFFE, lot="LOT-9", log=log, **PATIENT)
    with link.simulated(settings) as plc, StationThread(station, link.open(plc.port)):
        assert plc.wait(LIMIT)
    told = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(e["seq"], e["part_id"], e["code"]) for e in told if e["event"] == "outcome"] == [
        (row.seq, row.part_id, row.code) for row in station.rows
    ]
    assert {row.serial for row in station.rows} == {"LOT-9"}
    assert (plc.counters.triggers, plc.counters.passes) == (20, 5)
    assert all(row.acknowledged and row.answers == 1 for row in station.rows)


@pytest.mark.parametrize("stored", [1, 5, 12])
def test_a_torn_write_of_the_result_passes_nothing(link: Link, stored: int) -> None:
    """Only the first words of the result reach the PLC's memory, and the driver is told all is well."""
    station = ScriptedStation()
    plc = link.simulated(config(parts=3, takt=0.02, **PATIENT))
    write = plc.memory.write
    torn: list[int] = []

    def tear(address: int, words: list[int]) -> None:
        # Words 2..15 go in one request; word 15, the copy of RESULT_SEQ, is the last of them.
        # A link of whole blocks would heal the tear with its next request: there, each one is torn.
        if len(words) >= 13 and words[-1] == 2 and (link.whole_blocks or not torn):
            torn.append(len(words))
            write(address, words[:stored])
        else:
            write(address, words)

    plc.memory.write = tear  # pyright: ignore[reportAttributeAccessIssue]
    with plc, StationThread(station, link.open(plc.port)):
        assert plc.wait(LIMIT)
    assert torn
    assert plc.counters.passes == 2
    assert {k: v for k, v in plc.counters.rejects.items() if v} == {"bad_check": 1}


def test_a_bad_line_loses_no_part_and_passes_none_wrongly(link: Link, tmp_path: Path) -> None:
    """Late, cut and killed answers on the link: one outcome a trigger, a pass only where decided."""
    log = tmp_path / "plc.jsonl"
    station = ScriptedStation(lambda part_id: PASS if part_id % 3 else FAIL)
    plc = link.simulated(config(takt=0.0, parts=12, log=log))
    with plc, FaultProxy(("127.0.0.1", plc.port)) as proxy:
        proxied = StationThread(station, link.open(proxy.port))
        spoils: list[Callable[[], None]] = [
            lambda: proxy.delay_next(0.5), lambda: proxy.cut_next(9), proxy.kill,
            lambda: proxy.cut_next(0, close=False),
        ]  # fmt: skip
        with proxied:
            for count in range(12):
                spoils[count % len(spoils)]()
                plc.wait(0.15)
            proxy.heal()
            assert plc.wait(LIMIT)
        assert proxied.link_errors > 0
    counters = plc.counters
    assert counters.triggers == 12 == counters.passes + sum(counters.rejects.values())
    decided = {(row.seq, row.part_id): row.code for row in station.rows}
    for line in log.read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "outcome" and event["passed"]:
            assert decided[event["seq"], event["part_id"]] == PASS
