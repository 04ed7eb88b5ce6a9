"""`inspection plc probe` against the simulated PLC over Modbus: set up rightly, and as sites set it up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from fault_proxy import FaultProxy
from station_rig import free_port, until
from typer.testing import CliRunner

from inspection.commission.cli import app
from inspection.commission.probe.finding import Finding
from inspection.commission.probe.handshake import Manner
from inspection.commission.probe.link import PATTERN
from inspection.commission.probe.place import Place, find_place, swap, tell_difference
from inspection.commission.probe.run import Wanted, probe
from inspection.config import load_station
from inspection.errors import StoreError
from inspection.plc.memory import Memory
from inspection.plc.simulated import SimulatedPlc
from inspection.plc.simulated_config import SimulatedPlcConfig
from inspection.plc.words import Ctrl, CtrlFlag, StatFlag
from inspection.store.alone import no_line_runs
from inspection.store.sql import SqlStore
from inspection.types import Decision

CTRL, STAT = 40, 200
READ = Wanted(count=20, write=False, handshake=None, watch=0.6)
WRITE = Wanted(count=20, write=True, handshake=None, watch=0.6)
GOOD = ["ctrl_found", "read_trips", "beat", "answers_right"]


def station(folder: Path, port: int, ctrl: int = CTRL, stat: int = STAT) -> Path:
    for name in ("releases", "recipes"):
        (folder / name).mkdir(exist_ok=True)
    plc = {"type": "modbus", "host": "127.0.0.1", "port": port, "timeout": 2.0}
    content = {
        "station": "test", "plc": {**plc, "ctrl_address": ctrl, "stat_address": stat},
        "camera": {"type": "simulated"}, "runtime": {"type": "onnxruntime"},
        "store": {"url": "results.db"},
        "timing": {"plc_dead_after": 10.0},  # the machine may be busy
    }  # fmt: skip
    path = folder / "station.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@contextmanager
def simulated(**fields: Any) -> Iterator[SimulatedPlc]:
    settings = {"takt": 0.05, "recipe": 0, "ack_timeout": 10.0, "result_timeout": 20.0}
    config = SimulatedPlcConfig(ctrl_address=CTRL, stat_address=STAT, **{**settings, **fields})
    with SimulatedPlc(config) as plc:
        yield plc


def look(path: Path, wanted: Wanted = READ) -> list[Finding]:
    told: list[Finding] = []
    found = probe(load_station(path), wanted, lambda *_: None, told.append)
    assert told == found
    return found


def codes(found: list[Finding]) -> list[str]:
    """What was found; how quick the machine is does not matter."""
    return [finding.code.replace("beat_slow", "beat") for finding in found]


# ---------------------------------------------------------------------- as processes


def run(*arguments: str, **more: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "inspection", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "INSPECTION_LANGUAGE": "ko"}, **more,
    )  # fmt: skip


def test_the_whole_handshake_against_the_simulated_plc_and_nothing_passes(tmp_path: Path) -> None:
    port = free_port()
    path = station(tmp_path, port)
    plc = run(
        "plc-sim", "--port", str(port), "--ctrl-address", str(CTRL), "--stat-address", str(STAT),
        "--recipe", "3", "--takt", "0.05", "--ack-timeout", "10", "--result-timeout", "20", "--json",
    )  # fmt: skip
    assert plc.stderr is not None
    assert "listens" in plc.stderr.readline()
    asked = run("plc", "probe", str(path), "--handshake", "--json", "--wait", "30", "--count", "30")
    output, errors = asked.communicate(timeout=60)
    assert asked.returncode == 0, errors
    told = json.loads(output)
    assert told["ok"]
    assert told["station"] == "test"
    found = [finding["code"].replace("beat_slow", "beat") for finding in told["findings"]]
    part = ["triggered", "trigger_dropped", "acknowledged", "ack_dropped"]
    wrote = [*GOOD, "write_trips", "patterns_right", "answers_right"]
    assert found[:7] == wrote
    assert {"reset_seen", "recipe_seen", "enabled"} <= set(found)
    assert [code for code in found[7:] if code in part] == [*part, *part]
    assert found[-1] == "handshake_done"
    sequences = [f["values"]["sequence"] for f in told["findings"] if f["code"] == "triggered"]
    assert sequences == [1, 2]
    assert "READY가 켜졌습니다" in errors, "the person is told what to do, in Korean"
    plc.send_signal(signal.SIGTERM)
    plc.send_signal(signal.SIGTERM)
    counters = json.loads(plc.communicate(timeout=30)[0])
    told = counters.get("counters", counters)
    assert told["passes"] == 0
    assert told["rejects"]["not_inspected"] == 2


def test_nobody_there_is_one_clear_finding_and_exit_code_1(tmp_path: Path) -> None:
    path = station(tmp_path, free_port())
    done = CliRunner().invoke(app, ["probe", str(path), "--language", "en"])
    assert done.exit_code == 1, done.output
    assert "no connection" in done.output
    assert "another PC may hold its connection" in " ".join(done.output.split())


def test_it_does_not_run_beside_the_line_and_the_line_not_beside_it(tmp_path: Path) -> None:
    with simulated() as plc:
        path = station(tmp_path, plc.port)
        config = load_station(path)
        store = SqlStore(config.store)
        store.begin_epoch("test", "start")  # as the line process does
        try:
            with pytest.raises(StoreError, match=r"that runs is not probed.*another process"):
                look(path, WRITE)
        finally:
            store.close()
        assert plc.memory.words[STAT - CTRL :].tolist() == [0] * 16, "nothing was written"
        with no_line_runs(config.store, "test"):
            store = SqlStore(config.store)
            with pytest.raises(StoreError, match="another process"):
                store.begin_epoch("test", "start")
            store.close()
        assert codes(look(path)) == GOOD


# ---------------------------------------------------------------------- a PLC that is set up wrongly


def stir(memory: Memory, turn: Callable[[int], int], *, shift: int = 0) -> None:
    """Let a station see every word changed, or that of another address; it may read anywhere."""

    def read(address: int, count: int) -> list[int]:
        at = [address + offset - shift - memory.first for offset in range(count)]
        return [turn(int(memory.words[n])) if 0 <= n < memory.count else 0 for n in at]

    memory.read = read  # pyright: ignore[reportAttributeAccessIssue]


def test_swapped_bytes_are_recognised_by_the_map_version(tmp_path: Path) -> None:
    with simulated() as plc:
        stir(plc.memory, swap)
        found = look(station(tmp_path, plc.port), WRITE)
    assert codes(found) == ["ctrl_swapped"]
    assert found[0].state == "fail"


@pytest.mark.parametrize(
    ("ctrl", "stat", "code", "there"),
    [
        (CTRL + 1, STAT, "ctrl_elsewhere", CTRL),
        (CTRL - 1, STAT, "ctrl_elsewhere", CTRL),
        pytest.param(2 * CTRL, STAT, "ctrl_elsewhere", CTRL, marks=pytest.mark.soak),
        (CTRL // 2, STAT, "ctrl_elsewhere", CTRL),
        (STAT, CTRL, "ctrl_and_stat_exchanged", CTRL),
        (CTRL + 60, STAT, "ctrl_empty", None),
    ],
)
def test_a_wrong_base_address_is_recognised(
    tmp_path: Path, ctrl: int, stat: int, code: str, there: int | None
) -> None:
    with simulated() as plc:
        stir(plc.memory, lambda word: word)
        found = look(station(tmp_path, plc.port, ctrl, stat))
    assert codes(found) == [code]
    assert found[0].values["address"] == ctrl
    if there is not None:
        assert found[0].values["found"] == there


def test_a_plc_that_refuses_the_address_is_told(tmp_path: Path) -> None:
    with simulated() as plc:
        found = look(station(tmp_path, plc.port, ctrl=STAT + 40))
    assert codes(found) == ["link_lost"]
    assert "refused" in str(found[0].values["error"])


def test_another_map_version_is_told(tmp_path: Path) -> None:
    with simulated() as plc:
        show = plc.memory.show
        plc.memory.show = lambda ctrl: show([*ctrl[:7], 9, *ctrl[8:]])  # pyright: ignore
        found = look(station(tmp_path, plc.port))
    assert codes(found) == ["ctrl_version"]
    assert found[0].values == {"address": CTRL + 7, "version": 9, "expected": 1}


def test_a_heartbeat_that_stands_still_is_told_and_the_handshake_waits(tmp_path: Path) -> None:
    manner = Manner(Decision.NOT_INSPECTED, 1, 5.0, 0.002)
    walk = Wanted(20, write=False, handshake=manner, watch=0.6)
    with simulated() as plc:
        show = plc.memory.show
        plc.memory.show = lambda ctrl: show([ctrl[0], 5, *ctrl[2:]])  # pyright: ignore
        found = look(station(tmp_path, plc.port), walk)
    assert "beat_still" in codes(found)
    assert codes(found)[-1] == "handshake_skipped"


SPOILED: dict[str, Callable[[list[int]], list[int]]] = {
    "write_swapped": lambda words: [swap(word) for word in words],
    "write_signed": lambda words: [min(word, 0x7FFF) for word in words],
    "write_shifted": lambda words: [0, *words[:-1]],
    "write_differs": lambda words: [*words[:4], 4711, *words[5:]],
}


@pytest.mark.parametrize("code", SPOILED)
def test_words_that_arrive_otherwise_are_told(tmp_path: Path, code: str) -> None:
    with simulated() as plc:
        write = plc.memory.write
        plc.memory.write = lambda address, words: write(  # pyright: ignore
            address, SPOILED[code](words) if len(words) == len(PATTERN) else words
        )
        found = look(station(tmp_path, plc.port), WRITE)
    assert codes(found) == [*GOOD, code]


def test_a_station_elsewhere_that_writes_stat_is_noticed(tmp_path: Path) -> None:
    leave = threading.Event()
    with simulated() as plc:

        def beat() -> None:
            while not leave.wait(0.05):
                plc.memory.words[STAT - CTRL + 1] += 1

        thread = threading.Thread(target=beat)
        thread.start()
        try:
            found = look(station(tmp_path, plc.port), WRITE)
        finally:
            leave.set()
            thread.join()
        assert codes(found) == [*GOOD, "stat_in_use"]
        assert plc.memory.stat().result_code == 0, "nothing was written"


def test_answers_to_other_questions_are_noticed(tmp_path: Path) -> None:
    """A server that answers each question with the words of the one before."""
    with simulated() as plc:
        read = plc.memory.read
        before: list[tuple[int, int]] = [(CTRL, 16)]

        def late(address: int, count: int) -> list[int]:
            before.append((address, count))
            first = before[-2][0] if count < 16 else address
            return read(first, count)

        plc.memory.read = late  # pyright: ignore
        found = look(station(tmp_path, plc.port))
    assert codes(found)[-1] == "answer_wrong"


# ---------------------------------------------------------------------- STAT is left as it should be


def test_reading_alone_writes_nothing_and_writing_leaves_zeros(tmp_path: Path) -> None:
    with simulated() as plc:
        path = station(tmp_path, plc.port)
        plc.memory.words[STAT - CTRL + 4] = 77
        look(path)
        assert plc.memory.words[STAT - CTRL + 4] == 77
        wrote = look(path, WRITE)
        assert codes(wrote) == [*GOOD, "write_trips", "patterns_right", "answers_right"]
        assert plc.memory.words[STAT - CTRL :].tolist() == [*[0] * 14, 1, 0]


@pytest.mark.parametrize(
    "answer", [Decision.PASS, pytest.param(Decision.NOT_INSPECTED, marks=pytest.mark.soak)]
)
def test_an_interrupted_handshake_leaves_no_flag_and_no_answer(
    tmp_path: Path, answer: Decision
) -> None:
    """The person presses Ctrl+C while the answer stands in STAT."""
    walk = Wanted(20, write=False, handshake=Manner(answer, 9, 20.0, 0.002), watch=0.6)
    with simulated() as plc:

        def stop(step: str, _values: dict[str, object]) -> None:
            if step == "wait_ack":
                until(lambda: plc.memory.stat().result_seq == 1)
                raise KeyboardInterrupt

        found = probe(load_station(station(tmp_path, plc.port)), walk, stop, lambda _: None)
        assert codes(found)[-1] == "interrupted"
        assert plc.memory.words[STAT - CTRL :].tolist() == [*[0] * 14, 1, 0]
        assert plc.counters.passes <= (answer is Decision.PASS)


PASSING = Wanted(20, write=False, handshake=Manner(Decision.PASS, 9, 20.0, 0.002), watch=0.6)


def test_ctrl_c_in_the_middle_of_a_request_leaves_no_flag_and_no_answer(tmp_path: Path) -> None:
    """The driver closes its connection then: STAT is cleared over a new one."""
    sent = threading.Event()
    with simulated() as plc:
        read = plc.memory.read

        def interrupt(address: int, count: int) -> list[int]:
            if not sent.is_set() and plc.memory.stat().has(StatFlag.RESULT_VALID):
                sent.set()
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            return read(address, count)

        plc.memory.read = interrupt  # pyright: ignore
        found = look(station(tmp_path, plc.port), PASSING)
        assert sent.is_set()
        assert codes(found)[-1] == "interrupted"
        assert "stat_left" not in codes(found)
        assert plc.memory.words[STAT - CTRL :].tolist() == [*[0] * 14, 1, 0]


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_link_that_breaks_under_an_answer_is_cleared_or_it_is_told(
    tmp_path: Path, comes_back: bool
) -> None:
    with simulated() as plc, FaultProxy(("127.0.0.1", plc.port)) as proxy:

        def fault(step: str, _values: dict[str, object]) -> None:
            if step == "wait_ack":
                (proxy.kill if comes_back else proxy.refuse)()

        path = station(tmp_path, proxy.port)
        found = probe(load_station(path), PASSING, fault, lambda _: None)
        if comes_back:
            assert codes(found)[-1] == "link_lost"
            assert "stat_left" not in codes(found)
            assert plc.memory.words[STAT - CTRL :].tolist() == [*[0] * 14, 1, 0]
        else:
            assert codes(found)[-2:] == ["stat_left", "link_lost"]
            assert found[-2].values["address"] == STAT
            assert plc.memory.stat().result_seq == 1, "it does stand there"


# ---------------------------------------------------------------------- recognising, pure


def block(beat: int, version: int = 1) -> list[int]:
    return Ctrl(CtrlFlag.ENABLE, beat, 7, map_version=version, serial="LOT").pack()


def test_places_are_recognised_in_all_combinations() -> None:
    first, second = block(10), block(13)
    assert find_place(first, second) == Place(0, False, True)
    assert find_place(first, first) == Place(0, False, False)
    swapped = [swap(w) for w in first], [swap(w) for w in second]
    assert find_place(*swapped) == Place(0, True, True)
    for shift in (-1, 1):
        moved = [[0, *b, 0][1 - shift : 17 - shift] for b in (first, second)]
        assert find_place(*moved) == Place(shift, False, True)
        assert find_place(*([swap(w) for w in b] for b in moved)) == Place(shift, True, True)
    assert find_place([0] * 16, [0] * 16) is None
    assert find_place(block(1, 2), block(2, 2)) is None


def test_the_pattern_is_no_answer_in_any_turn() -> None:
    assert 1 not in PATTERN
    assert len(set(PATTERN)) == len(PATTERN) == 13
    assert max(PATTERN) == 0xFFFF
    assert tell_difference(PATTERN, [swap(w) for w in PATTERN])[0] == "write_swapped"
