"""Remote I/O over Modbus TCP: the driver against libmodbus, and a whole line whose PLC is only a module.

test_plc_contract.py writes words and reads them back; a module has no words. What it asks of a driver is
asked here with lines: one request a block, no answer taken for another, closed after any fault.
"""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_proxy import FaultProxy
from plc_links.libmodbus_module import INPUTS, OUTPUTS, Module
from plc_links.link import CTRL, STAT, TIMEOUT
from plc_links.modbus import answer, header
from scripted_station import FAIL, PASS, ScriptedStation, StationThread
from station_rig import Rig, until

from inspection.cameras.simulated import truth_of
from inspection.errors import PlcError
from inspection.plc.remote_io import RemoteIoConfig
from inspection.plc.words import Ctrl, CtrlFlag, Stat, StatFlag
from inspection.protocols import Plc
from inspection.types import Reason

SEEN = {"scratch", "dent", "missing_hole"}
"""Classes that the test's model finds."""
READY = Stat(flags=StatFlag.READY | StatFlag.ONLINE).pack()


def config(port: int, **fields: Any) -> RemoteIoConfig:
    settings = {
        "timeout": TIMEOUT,
        "watchdog": 1.0,
        "debounce": 1,
        "blind": 1.0,
        **INPUTS,
        **OUTPUTS,
        **fields,
    }
    return RemoteIoConfig(host="127.0.0.1", port=port, **settings)


@pytest.fixture
def module() -> Iterator[Module]:
    with Module() as made:
        made.set(enable=True)
        yield made


@pytest.fixture
def proxy(module: Module) -> Iterator[FaultProxy]:
    with FaultProxy(("127.0.0.1", module.port)) as made:
        yield made


@pytest.fixture
def plc(proxy: FaultProxy) -> Iterator[Plc]:
    driver = config(proxy.port).open()
    driver.connect()
    yield driver
    driver.close()


def ctrl(plc: Plc) -> Ctrl:
    return Ctrl.unpack(plc.read_words(CTRL, 16))


def shows(module: Module, *names: str) -> None:
    """Wait for outputs: the module answers before it notes what it was told."""
    until(lambda: module.on == set(names), 5.0, f"{names} on")


def prove(plc: Plc, module: Module) -> None:
    """Bring a part and its proven answer: PASS goes up."""
    for _ in range(4):
        ctrl(plc)
    plc.write_words(STAT, READY)
    module.set(trigger=True)
    sequence = 0
    while not sequence:
        now = ctrl(plc)
        sequence = now.trig_seq if now.has(CtrlFlag.TRIGGER) else 0
    flags = StatFlag.RESULT_VALID | StatFlag.ONLINE
    proven = Stat(
        flags=flags, ack_seq=sequence, result_seq=sequence, result_code=1, code_inverse=65534,
        result_seq_copy=sequence,
    )  # fmt: skip
    plc.write_words(STAT, proven.pack())


def test_one_request_reads_all_inputs_and_one_writes_all_outputs(
    plc: Plc, module: Module, proxy: FaultProxy
) -> None:
    assert isinstance(plc, Plc)
    assert module.functions == [15, 2], "outputs off first, then the inputs"
    first = ctrl(plc)
    assert ctrl(plc).heartbeat == first.heartbeat + 1
    assert module.functions[2:] == [2, 2], "nothing changed: no output is written"
    plc.write_words(STAT, READY)
    assert module.functions[4:] == [15]
    for _ in range(4):
        ctrl(plc)
    assert module.on == {"ready"}
    assert plc.read_words(STAT, 16) == READY
    sent = bytes(proxy.to_upstream[0])
    assert sent[:14].hex() == "0001" + "0000" + "0008" + "01" + "0f0004000501" + "00"
    assert sent[14:26].hex() == "0002" + "0000" + "0006" + "01" + "0200000003"


def test_a_good_part_gets_pass_and_a_pulled_cable_takes_it(
    plc: Plc, module: Module, proxy: FaultProxy
) -> None:
    prove(plc, module)
    shows(module, "passed")
    proxy.kill()
    with pytest.raises(PlcError):
        ctrl(plc)
    assert "passed" in module.on, "a cable that is pulled drops nothing: the module's watchdog must"
    plc.connect()
    assert module.on == frozenset()
    assert ctrl(plc).trig_seq == 2, "whoever that is in place"
    plc.write_words(STAT, Stat(flags=StatFlag.READY | StatFlag.RESULT_VALID, result_seq=1).pack())
    shows(module, "reject")


def test_a_slow_answer_under_pass_rejects_the_part_that_is_then_in_place(
    module: Module, proxy: FaultProxy
) -> None:
    driver = config(proxy.port, blind=0.5, hold=None, timeout=2.5, watchdog=3.0).open()
    driver.connect()
    prove(driver, module)
    before = ctrl(driver).trig_seq
    shows(module, "passed")
    proxy.delay_next(0.6)
    after = ctrl(driver).trig_seq
    assert after == before + 1
    shows(module, "reject")
    driver.close()


def test_the_modules_watchdog_ends_a_pass_when_the_pc_dies() -> None:
    with Module(watchdog=1.0) as module:
        module.set(enable=True)
        driver = config(module.port, watchdog=1.1, hold=9.0).open()
        driver.connect()
        prove(driver, module)
        shows(module, "passed")
        until(lambda: module.on == frozenset(), 5.0, "outputs off")  # nobody asks any more
        with pytest.raises(PlcError):
            ctrl(driver)
        driver.close()


def test_a_module_that_rebooted_is_an_error_and_then_all_is_off(module: Module) -> None:
    driver = config(module.port).open()
    driver.connect()
    prove(driver, module)
    shows(module, "passed")
    module.reboot()
    with pytest.raises(PlcError):
        ctrl(driver)
    with pytest.raises(PlcError, match="connect"):
        ctrl(driver)
    driver.connect()
    assert module.on == frozenset()
    for _ in range(5):
        assert ctrl(driver).trig_seq == 2
    shows(module, "reject")
    driver.close()


READ_3 = bytes([2, 1, 0b011])

LIES: dict[str, Callable[[bytes], bytes]] = {
    "older transaction": answer(READ_3, tid=-1),
    "older transaction, then the right one": lambda a: answer(READ_3, tid=-1)(a) + a,
    "the right one twice": lambda a: a + a,
    "another protocol": answer(READ_3, pid=1),
    "another unit": answer(READ_3, unit=1),
    "coils instead of inputs": answer(b"\x01" + READ_3[1:]),
    "a write's confirmation": answer(bytes([15, 0, 4, 0, 5])),
    "more inputs": answer(bytes([2, 2, 0, 0])),
    "no inputs": answer(bytes([2, 0])),
    "count without inputs": answer(bytes([2, 1])),
    "exception": answer(bytes([0x82, 2])),
    "exception of another function": answer(bytes([0x8F, 2])),
    "no function": lambda a: header(a, 1),
    "noise": lambda _a: b"\xff" * 64,
    "words in ASCII": lambda _a: b"HTTP/1.1 400 Bad Request\r\n\r\n",
}


def test_an_answer_that_is_not_the_answer_is_an_error(plc: Plc, proxy: FaultProxy) -> None:
    for lie, change in LIES.items():
        ctrl(plc)
        proxy.alter_next(change)
        with pytest.raises(PlcError):
            pytest.fail(f"{lie}: taken as {ctrl(plc)}")
        with pytest.raises(PlcError, match="connect"):
            ctrl(plc)
        plc.connect()
    for wrong in (bytes([15, 0, 4, 0, 4]), bytes([15, 0, 5, 0, 5]), READ_3, bytes([0x8F, 4])):
        proxy.alter_next(answer(wrong))
        with pytest.raises(PlcError):
            plc.write_words(STAT, READY)
        plc.connect()


def test_late_short_and_dribbled_answers_are_errors(plc: Plc, proxy: FaultProxy) -> None:
    before = ctrl(plc).heartbeat
    spoils: list[Callable[[], None]] = [
        lambda: proxy.delay_next(2 * TIMEOUT),
        *(lambda keep=keep: proxy.cut_next(keep, close=False) for keep in (0, 5, 7, 9)),
        *(lambda keep=keep: proxy.cut_next(keep) for keep in (0, 8)),
        lambda: setattr(proxy, "dribble", TIMEOUT / 3),
    ]  # fmt: skip
    for spoil in spoils:
        spoil()
        with pytest.raises(PlcError):
            ctrl(plc)
        proxy.heal()
        plc.connect()
    assert ctrl(plc).heartbeat == before + 1, "counted from readings that came, and from no other"


def test_nonsense_is_refused_before_it_is_sent(plc: Plc, module: Module) -> None:
    for address, count in [(-1, 1), (0, 0), (0, 17), (16, 1), (99, 2), (110, 7), (70_000, 1)]:
        with pytest.raises(ValueError, match="outside"):
            plc.read_words(address, count)
    for address, words in [
        (STAT, []),
        (STAT, [0] * 17),
        (CTRL, [1]),
        (STAT, [65_536]),
        (STAT, [-1]),
    ]:
        with pytest.raises(ValueError, match=r"outside|0\.\.65535"):
            plc.write_words(address, words)
    assert module.functions == [15, 2]


def test_nobody_listens_and_lines_that_are_not_there(module: Module) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(PlcError, match="check that the PLC is on"):
            config(taken.getsockname()[1]).open().connect()
    driver = config(module.port, trigger=40).open()
    with pytest.raises(PlcError, match=r"exception 2; check the lines"):
        driver.connect()
    driver.close()


def test_active_low_lines(module: Module) -> None:
    module.set(enable=False, trigger=True)
    driver = config(module.port, active_low=["enable", "trigger", "ready", "error"]).open()
    driver.connect()
    assert module.on == {"ready", "error"}, "both off"
    for _ in range(5):
        now = ctrl(driver)
    assert now.has(CtrlFlag.ENABLE)
    driver.write_words(STAT, READY)
    shows(module, "error")  # ready is on, error is off
    module.set(trigger=False)
    assert ctrl(driver).has(CtrlFlag.TRIGGER)
    assert "passed" not in module.on
    driver.close()


def test_wiring_that_cannot_be_is_refused() -> None:
    for fields, said in (
        ({"active_low": ["passed"]}, "active_low"),
        ({"reject": 4}, "on one line"),
        ({"error": 9}, "leave no line out"),
        ({"enable": 0}, "on one line"),
        ({"reset": 500}, "within 256"),
        ({"timeout": 1.5}, "watchdog"),
        ({"watchdog": None}, "watchdog"),
    ):
        with pytest.raises(ValueError, match=said):
            config(502, **fields)


# ------------------------------------------------------------------ lines with parts


class Conveyor(threading.Thread):
    """Brings parts to the module: waits for READY, raises the trigger, waits for PASS or REJECT.

    Attributes:
        outcomes: `passed` or `reject` of each part, in the order that they came.
    """

    def __init__(self, module: Module, parts: int, bounce: bool = False) -> None:
        super().__init__(daemon=True)
        self._module, self._parts, self._bounce = module, parts, bounce
        self.outcomes: list[str] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            for _ in range(self._parts):
                self.bring()
        except BaseException as error:  # told by `wait`
            self.error = error

    def bring(self) -> None:
        module, pause = self._module, threading.Event()
        until(lambda: "ready" in module.on, 40.0, "READY")
        for _ in range(3 if self._bounce else 0):
            module.set(trigger=True)
            pause.wait(0.0005)
            module.set(trigger=False)
            pause.wait(0.0005)
        since = len(module.history)
        module.set(trigger=True)

        def outcome() -> list[str]:
            seen = [on & {"passed", "reject"} for _, on in module.history[since:]]
            return [name for on in seen for name in on]

        self.outcomes.append(until(outcome, 20.0, "an outcome")[0])
        until(lambda: not module.on & {"passed", "reject"}, 10.0, "the end of the hold")
        module.set(trigger=False)

    def wait(self, timeout: float) -> None:
        self.join(timeout)
        if self.error is not None:
            raise self.error
        assert not self.is_alive()


def test_parts_on_a_bouncing_line_get_one_pulse_each(module: Module) -> None:
    station = ScriptedStation(lambda part_id: PASS if part_id % 3 else FAIL, recipes=(0,))
    conveyor = Conveyor(module, 12, bounce=True)
    driver = config(module.port, hold=0.03, debounce=4).open()
    with StationThread(station, driver):
        conveyor.start()
        conveyor.wait(60.0)
    codes = ["passed" if row.code == PASS else "reject" for row in station.rows]
    assert conveyor.outcomes == codes
    assert (module.pulses("passed"), module.pulses("reject")) == (8, 4)
    assert [row.part_id for row in station.rows] == list(range(1, 13))
    assert all(row.acknowledged for row in station.rows[:-1])
    widths = [
        end - start
        for (start, on), (end, _) in zip(module.history, module.history[1:], strict=False)
        if "passed" in on
    ]
    assert min(widths) >= 0.025


def test_a_whole_line_without_a_plc(tmp_path: Path, module: Module) -> None:
    """Good and bad parts, and a cable that is pulled while PASS is up: rows and coils agree.

    Whoever is in place when the link is back is rejected, and has a row.
    """
    rig = Rig(tmp_path, camera={"defect_rate": 0.5, "seed": 1}, timing={"ack_timeout": 2.0})
    rig.station["plc"] = {
        "type": "remote_io", "host": "127.0.0.1", "port": module.port, "watchdog": 1.0,
        "hold": 0.5, "blind": 1.0, **INPUTS, **OUTPUTS,
    }  # fmt: skip
    rig.write()
    conveyor = Conveyor(module, 10)
    with rig.line():
        conveyor.start()
        conveyor.wait(60.0)
        until(lambda: len(rig.rows("state = 'acknowledged'")) == 10, 10.0, "rows")
        unknown = 0
        while True:  # until a part is passed: at its PASS the cable is pulled
            until(lambda: "ready" in module.on, 10.0, "READY")
            module.set(trigger=True)
            until(lambda: module.on & {"passed", "reject"}, 10.0, "an outcome")
            conveyor.outcomes.append("passed" if "passed" in module.on else "reject")
            if "passed" in module.on:
                module.cut()
                until(lambda: "reject" in module.on, 10.0, "REJECT of whoever is in place")
                conveyor.outcomes.append("reject")
                unknown = len(conveyor.outcomes)
            until(lambda: not module.on & {"passed", "reject"}, 10.0, "outputs off")
            module.set(trigger=False)
            if unknown:
                break
        later = Conveyor(module, 3)
        later.start()
        later.wait(60.0)
        count = len(conveyor.outcomes) + 3
        until(lambda: len(rig.rows("decided_at is not null")) == count, 10.0, "rows")
        until(lambda: rig.rows()[-1]["state"] == "acknowledged", 10.0, "the last row")
        until(lambda: "ready" in module.on, 10.0, "READY")
        module.set(enable=False)
        until(lambda: "ready" not in module.on, 10.0, "READY off")
        module.set(trigger=True)
        until(lambda: "reject" in module.on, 10.0, "REJECT")
        refused = count = count + 1
        until(lambda: len(rig.rows()) == count, 10.0, "its row, without another part")
        until(lambda: rig.rows()[-1]["state"] == "acknowledged", 10.0, "its acknowledgement")
        module.set(trigger=False)
    assert module.on == frozenset(), "a station that stops leaves nothing on"
    assert rig.rows()[-1]["reason"] == Reason.NOT_READY.name
    rows, outcomes = rig.rows(), [*conveyor.outcomes, *later.outcomes, "reject"]
    assert [row["part_id"] for row in rows] == list(range(1, count + 1))
    passed = [row["decision"] == "PASS" for row in rows]
    assert [outcome == "passed" for outcome in outcomes] == passed
    assert Counter(passed) == {True: module.pulses("passed"), False: module.pulses("reject")}
    assert {True, False} <= set(passed)
    for row, good in zip(rows, passed, strict=True):
        if row["part_id"] in {unknown, refused}:
            assert row["decision"] == "NOT_INSPECTED"
            continue
        truth = truth_of(1, row["part_id"], 0.5)
        assert good == (not truth.keys() & SEEN), (row["part_id"], truth)


@pytest.mark.soak
def test_parts_that_come_too_soon_pass_nothing_and_get_their_rows(
    tmp_path: Path, module: Module
) -> None:
    """One while PASS of the part before is up, one while the part before is being inspected."""
    rig = Rig(
        tmp_path,
        camera={"defect_rate": 0.0, "exposure": 0.6},
        timing={"camera_timeout": 2.0},
        recipe={"deadline": 3.0},
    )
    rig.station["plc"] = {
        "type": "remote_io", "host": "127.0.0.1", "port": module.port, "watchdog": 1.0,
        "hold": 0.8, "blind": 1.0, **INPUTS, **OUTPUTS,
    }  # fmt: skip
    rig.write()

    def bring() -> None:
        until(lambda: "ready" in module.on, 30.0, "READY")
        module.set(trigger=True)
        until(lambda: "busy" in module.on, 10.0, "BUSY")
        module.set(trigger=False)

    pause = threading.Event()
    with rig.line():
        bring()
        until(lambda: "passed" in module.on, 10.0, "PASS")
        pause.wait(0.2)
        module.set(trigger=True)
        until(lambda: "passed" not in module.on, 0.5, "PASS off before its time")
        until(lambda: "reject" in module.on, 10.0, "REJECT")
        pause.wait(0.2)
        module.set(trigger=False)
        bring()
        pause.wait(0.2)
        module.set(trigger=True)
        until(lambda: "reject" in module.on, 10.0, "REJECT")
        module.set(trigger=False)
        bring()
        until(lambda: "passed" in module.on, 10.0, "PASS")
        until(lambda: len(rig.rows("decided_at is not null")) == 5, 10.0, "rows")
        until(lambda: rig.rows()[-1]["state"] == "acknowledged", 10.0, "the last row")
    assert [row["part_id"] for row in rig.rows()][0::2] == [1, 3, 5]
    assert [decision for decision, _ in rig.decisions()] == [
        "PASS", "NOT_INSPECTED", "NOT_INSPECTED", "NOT_INSPECTED", "PASS",
    ]  # fmt: skip
    assert module.pulses("passed") == 2
