"""`inspection bench line`: from the PLC's trigger until the answer stands in its memory.

    frames, network ─▶ each side in its turn, round by round, alone on the PC:
      ours:   line process, with the service over shared memory or without it     ┐
      naive:  station loop ─▶ FastAPI ─▶ ultralytics ─▶ imwrite ─▶ SQLAlchemy      ├◀─▶ simulated PLC,
                                                                                   ┘    its log: the times
Every side is started anew for its turn, so that nothing else runs. Its first parts warm it and do not count.
"""

from __future__ import annotations

import http.client
import json
import os
import queue
import shutil
import sqlite3
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from inspection.errors import InspectionError
from inspection.plc.memory import Memory
from inspection.plc.servers import open_server
from inspection.plc.simulated import SimulatedPlc
from inspection.plc.simulated_config import SimulatedPlcConfig
from inspection.plc.words import StatFlag
from inspection.settled import settle
from inspection_bench.measured import Findings, milliseconds, quantile
from inspection_bench.network import Network
from inspection_bench.peers import FORMATS, limits_of, peer_model
from inspection_bench.process_use import (
    PATIENCE,
    Child,
    await_true,
    cpu_seconds,
    free_port,
    memory_mb,
)

DECISIONS = {"pass": "PASS", "fail": "FAIL", "review": "REVIEW"}
SCAN = 0.005
"""Seconds of the PLC's cycle; neither end of what is measured waits for it."""
AFTER_ANSWER = 0.06
"""Seconds after an answer at which the service is asked for its times: nobody waits for it then."""
APART = 0.15
"""Seconds from part to part, at least, for the service's times to be those of one part."""
AFTER_LINE = "of-parts.json"
"""What the line's process writes at its end, about each part, in their order."""
WARM = 5
"""Parts at the start of a turn that do not count."""


@dataclass(frozen=True, slots=True)
class LinePlan:
    """What is measured.

    Attributes:
        parts: of each side, over all rounds.
        rounds: turns of each side.
        takt: seconds from part to part; 0: as soon as the one before is through.
        sides: names of the sides, see `side_names`; empty: all.
    """

    parts: int = 60
    rounds: int = 3
    takt: float = 0.3
    sides: tuple[str, ...] = ()


@dataclass
class Side:
    """What was found of one side. `deadline`: seconds that ours gives a part; a busy PC is measured, too."""

    name: str
    deadline: float = 10.0
    seconds: list[float] = field(default_factory=list[float])
    inference: list[float] = field(default_factory=list[float])
    rest: list[float] = field(default_factory=list[float])
    stages: list[dict[str, float]] = field(default_factory=list[dict[str, float]])
    decisions: dict[int, set[str]] = field(default_factory=dict[int, set[str]])
    cpu: dict[str, float] = field(default_factory=dict[str, float])
    memory: dict[str, float] = field(default_factory=dict[str, float])
    parts: int = 0
    unanswered: int = 0


def side_names(network: Network) -> list[str]:
    """Return every side that this network can be raced on."""
    ours = [
        f"{where} {name}" for where in ("ours", "ours in process") for name in network.precisions
    ]
    return [*ours, *(f"naive {name}" for name in FORMATS)]


def race(network: Network, frames: Path, work: Path, plan: LinePlan) -> Findings:
    """Run the sides in turns and return what was found.

    Raises:
        InspectionError: a process did not start, or died.
    """
    names = list(plan.sides) or side_names(network)
    sides = [Side(name) for name in names]
    findings = Findings(
        "line",
        "Trigger to PLC: the PLC raises TRIGGER, until RESULT_VALID stands in its memory",
        {"parts": plan.parts, "rounds": plan.rounds, "takt": plan.takt, **network.told},
    )  # fmt: skip
    number = max(1, round(plan.parts / plan.rounds))
    for turn in range(plan.rounds):
        for side in sides if turn % 2 == 0 else sides[::-1]:
            folder = work / "line"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            _turn(side, network, frames, folder, number, plan.takt)
            _tell(turn, side, number)
    frame_count = len(list(frames.glob("rgb-*.npy")))
    findings.rows = [_row(side) for side in sides]
    _compare(findings, sides, frame_count)
    return findings


def _tell(turn: int, side: Side, number: int) -> None:
    """Say how a turn went, on standard error: a run takes minutes."""
    latest = milliseconds(side.seconds[-number:]).get("p50_ms", "none")
    load = os.getloadavg()[0]
    print(f"round {turn + 1}: {side.name}: p50 {latest} ms, load {load:.1f}", file=sys.stderr)


def _turn(
    side: Side, network: Network, frames: Path, folder: Path, number: int, takt: float
) -> None:
    config = SimulatedPlcConfig(
        port=free_port(), takt=takt, parts=WARM + number, scan=SCAN, ack_timeout=5.0,
        result_timeout=20.0, ready_timeout=PATIENCE, recipe=0, log=folder / "plc.log",
    )  # fmt: skip
    begin = _begin_naive if side.name.startswith("naive") else begin_ours
    clock = AnswerClock(config)
    settle()  # the PLC is played here: a search for garbage would keep any side waiting
    with (
        SimulatedPlc(config, clock) as plc,
        begin(side, network, frames, folder, plc.port) as begun,
        InferenceWatch(begun.service if takt >= APART else 0, clock) as watch,
    ):
        processes = begun.processes
        await_true(
            lambda: _alive(processes) and plc.counters.triggers > WARM, f"{side.name}: parts", 180
        )
        before = {name: cpu_seconds(child.pid) for name, child in processes.items()}
        counted = config.parts - plc.counters.triggers
        await_true(
            lambda: _alive(processes) and plc.wait(0.05), f"{side.name}: the shift's end", 600
        )
        for name, child in processes.items():
            spent = cpu_seconds(child.pid) - before[name]
            side.cpu[name] = side.cpu.get(name, 0.0) + spent
            side.memory[name] = max(side.memory.get(name, 0.0), memory_mb(child.pid))
        side.parts += counted
    inferred = watch.seconds
    times = folder / AFTER_LINE
    if times.exists() and not begun.service:
        each: list[float] = json.loads(times.read_text())  # in the order of the parts
        inferred = (
            dict(zip(clock.valid, each, strict=True)) if len(each) == len(clock.valid) else {}
        )
    _read_log(side, folder / "plc.log", clock.valid, inferred)


class AnswerClock:
    """The server of the PLC's words; it notes when each answer became valid. See `plc.memory.WordServer`.

    When the program looks at the answer is the matter of its scan, and the same for every side.

    Attributes:
        valid: TRIG_SEQ to the monotonic seconds at which RESULT_VALID stood in memory.
        answered: called with TRIG_SEQ then.
    """

    def __init__(self, config: SimulatedPlcConfig) -> None:
        self._server = open_server(config.protocol, config.unit)
        self.valid: dict[int, float] = {}
        self.answered: Callable[[int], None] = lambda _sequence: None

    async def start(self, memory: Memory, host: str, port: int) -> int:
        """Listen; what the station writes is taken as before."""
        write = memory.write

        def timed(address: int, words: list[int]) -> None:
            write(address, words)
            if address == memory.stat_address and words[0] & StatFlag.RESULT_VALID:
                sequence = memory.stat().result_seq
                if sequence not in self.valid:
                    self.valid[sequence] = time.monotonic()
                    self.answered(sequence)

        memory.write = timed
        return await self._server.start(memory, host, port)

    def drop_links(self) -> None:
        """Close every connection."""
        self._server.drop_links()

    async def stop(self) -> None:
        """Close the port."""
        await self._server.stop()


class InferenceWatch:
    """Asks our service after each part how long its inference took; between parts, when nothing waits.

    A part that another one followed too soon is not told apart, and left out.

    Attributes:
        seconds: TRIG_SEQ to the seconds of its inference.
    """

    def __init__(self, port: int, clock: AnswerClock) -> None:
        """`port`: of the service; 0: there is none, and nothing is asked."""
        self.seconds: dict[int, float] = {}
        self._port = port
        self._answered: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        clock.answered = self._answered.put
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> InferenceWatch:
        if self._port:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._port:
            self._answered.put(None)
            self._thread.join()

    def _run(self) -> None:
        before: tuple[float, float] | None = None
        while (sequence := self._answered.get()) is not None:
            time.sleep(AFTER_ANSWER)
            now = _inferred(self._port)
            if before is not None and now[1] == before[1] + 1 and self._answered.empty():
                self.seconds[sequence] = now[0] - before[0]
            before = now


@dataclass(frozen=True, slots=True)
class Begun:
    """The processes of a side, and the port of our inference service; 0: it has none."""

    processes: dict[str, Child]
    service: int = 0


def _alive(processes: dict[str, Child]) -> bool:
    return all(child.check() for child in processes.values())


@contextmanager
def begin_ours(
    side: Side,
    network: Network,
    frames: Path,
    folder: Path,
    port: int,
    program: str = "inspection_bench.our_line",
) -> Iterator[Begun]:
    """Start our line, with the service unless the side is `in process`; what it took is added to the side.

    `program` runs the line; it is given the station's file, the frames, and where to write `AFTER_LINE`.
    """
    precision = side.name.rpartition(" ")[2]
    with ExitStack() as stack:
        processes: dict[str, Child] = {}
        runtime: dict[str, Any] = {"type": "openvino", "precision": precision}
        service = free_port()
        if "in process" not in side.name:
            runtime = {
                "type": "service",
                "url": f"http://127.0.0.1:{service}",
                "precision": precision,
            }
            arguments = [
                "-m", "inspection", "serve", "--releases", str(network.releases), "--port",
                str(service), "--precision", precision,
            ]  # fmt: skip
            processes["service"] = stack.enter_context(Child(arguments, folder / "service.log"))
        write_station(network, folder, port, runtime, side.deadline)
        arguments = ["-m", program, str(folder / "station.yaml"), str(frames)]
        with Child([*arguments, str(folder / AFTER_LINE)], folder / "line.log") as line:
            yield Begun({"line": line, **processes}, service if processes else 0)
    side.stages += _stages(folder / "results.db")


def write_station(
    network: Network, folder: Path, port: int, runtime: dict[str, Any], deadline: float
) -> None:
    """Write a station and its recipe into a folder. `deadline`: seconds of a part; the PLC is on `port`."""
    release = network.release
    station = {
        "station": "bench",
        "plc": {"type": "modbus", "host": "127.0.0.1", "port": port},
        "camera": {"type": "simulated"},
        "runtime": runtime,
        "releases": str(network.releases),
        "recipes": "recipes",
        "recipe": 1,
        "store": {"url": "results.db"},
        "timing": {"inference_timeout": deadline, "camera_timeout": 5.0},
    }
    recipe = {"number": 1, "part": release.part, "release": release.number, "deadline": deadline}
    (folder / "recipes").mkdir()
    (folder / "recipes" / "1.yaml").write_text(yaml.safe_dump(recipe))
    (folder / "station.yaml").write_text(yaml.safe_dump(station))


def _inferred(port: int) -> tuple[float, float]:
    """Return seconds and number of all inferences so far, by the service's own metrics."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/metrics")
    found: dict[str, float] = {}
    for line in connection.getresponse().read().decode().splitlines():
        for end in ("sum", "count"):
            if line.startswith(f"inspection_service_infer_seconds_{end}"):
                found[end] = float(line.split()[-1])
    connection.close()
    if not found.get("count"):
        raise InspectionError("the service told no inference in its metrics")
    return found["sum"], found["count"]


def _stages(database: Path) -> list[dict[str, float]]:
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute("select timings from parts order by id").fetchall()
    return [json.loads(row[0]) for row in rows[WARM:] if row[0]]


@contextmanager
def _begin_naive(
    side: Side, network: Network, frames: Path, folder: Path, port: int
) -> Iterator[Begun]:
    model, size = peer_model(network, side.name.removeprefix("naive "))
    limits = folder / "limits.json"
    limits.write_text(json.dumps({**limits_of(network.release), "imgsz": size}))
    service = free_port()
    arguments = ["-m", "inspection_bench.naive.service", str(model), str(limits), str(folder)]
    with Child([*arguments, str(service)], folder / "naive-service.log") as served:
        await_true(lambda: served.check() and _answers(service), f"{side.name}: the service")
        arguments = ["-m", "inspection_bench.naive.station", str(frames)]
        address = f"http://127.0.0.1:{service}"
        with Child([*arguments, address, str(port)], folder / "naive-station.log") as line:
            yield Begun({"line": line, "service": served})


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _read_log(side: Side, log: Path, valid: dict[int, float], inferred: dict[int, float]) -> None:
    """Take the decisions of a turn from the PLC's own log, and the times; the first parts do not count."""
    triggered: dict[int, tuple[float, int]] = {}
    seen = 0
    for line in log.read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "trigger":
            triggered[event["seq"]] = (event["mono"], event["part_id"])
        elif event["event"] == "outcome":
            seen += 1
            began, part = triggered[event["seq"]]
            decision = DECISIONS.get(event["cause"], "NOT_INSPECTED")
            inspected = decision != "NOT_INSPECTED"
            if inspected:
                side.decisions.setdefault(part, set()).add(decision)
            if seen <= WARM:
                continue
            if inspected:
                took = valid[event["seq"]] - began
                side.seconds.append(took)
                inference = inferred.get(event["seq"])
                if inference is not None:
                    side.inference.append(inference)
                    side.rest.append(took - inference)
            else:
                side.unanswered += 1


def _row(side: Side) -> dict[str, Any]:
    row: dict[str, Any] = {"name": side.name, **milliseconds(side.seconds)}
    parts = max(1, side.parts)
    row["cpu_ms_per_part"] = round(1000 * sum(side.cpu.values()) / parts, 1)
    row["memory_mb"] = round(sum(side.memory.values()))
    row["not_inspected"] = side.unanswered
    if side.rest:
        row["inference_p50_ms"] = round(1000 * quantile(side.inference, 0.5), 2)
        row["inference_mean_ms"] = round(1000 * statistics.fmean(side.inference), 2)
        row["rest_p50_ms"] = round(1000 * quantile(side.rest, 0.5), 2)
        row["rest_mean_ms"] = round(1000 * statistics.fmean(side.rest), 2)
    row["cpu_ms"] = {name: round(1000 * value / parts, 1) for name, value in side.cpu.items()}
    row["memory"] = {name: round(value) for name, value in side.memory.items()}
    if side.stages:
        row["stages_p50_ms"] = _split(side.stages)
    return row


def _split(stages: list[dict[str, float]]) -> dict[str, float]:
    """Return the p50 of each step of ours, from the times in the rows, in milliseconds."""
    steps: dict[str, Callable[[dict[str, float]], float]] = {
        "trigger seen to frame": lambda t: t["frame"],
        "frame to letterbox": lambda t: t["detected"] - t["frame"] - t["inference"],
        "letterbox, network, boxes": lambda t: t["inference"],
        "decide": lambda t: t["decided"] - t["detected"],
    }
    whole = [one for one in stages if {"frame", "detected", "inference", "decided"} <= set(one)]
    if not whole:
        return {}
    return {
        name: round(1000 * quantile([f(t) for t in whole], 0.5), 2) for name, f in steps.items()
    }


def _compare(findings: Findings, sides: list[Side], frames: int) -> None:
    wanted = {
        ("bf16", "pytorch"): (6.0, 5.0), ("bf16", "openvino"): (4.3, 4.0), ("int8", "pytorch"): (7.5, 5.5),
    }  # fmt: skip
    for ours in [side.name for side in sides if side.name.startswith("ours")]:
        in_process = "in process" in ours
        for peer in FORMATS:
            at = (
                (None, None)
                if in_process
                else wanted.get((ours.rpartition(" ")[2], peer), (None, None))
            )
            for key, least in zip(("p50_ms", "p99_ms"), at, strict=True):
                findings.compare(ours, f"naive {peer}", key, least)
    for row in findings.rows:
        most = 4.0 if "in process" in row["name"] else 5.0
        if "rest_p50_ms" in row:
            verdict = "held" if row["rest_p50_ms"] <= most else "MISSED"
            findings.notes.append(
                f"{row['name']}: all but the runtime's own inference takes {row['rest_p50_ms']} ms at p50 "
                f"(promised: at most {most:g}): {verdict}"
            )
        elif row["name"].startswith("ours"):
            findings.notes.append(
                f"{row['name']}: nobody told which inference was whose, so all but it is not known; "
                f"parts must be {APART} s apart"
            )
    base = next((side for side in sides if side.name.startswith("ours")), None)
    if base is not None:
        told = Counter(" or ".join(sorted(one)) for one in _by_frame(base, frames).values())
        counts = ", ".join(f"{name} {number}" for name, number in sorted(told.items()))
        findings.notes.append(f"frames as {base.name} decides: {counts}")
    for side in sides if base is not None else []:
        same = _same(base, side, frames)
        findings.notes.append(f"decisions of {side.name} equal to {base.name}: {same}")


def _same(one: Side, other: Side, frames: int) -> str:
    """Return how many frames both decide alike, as `5 of 6`."""
    mine, theirs = _by_frame(one, frames), _by_frame(other, frames)
    both = sorted(set(mine) & set(theirs))
    return f"{sum(mine[k] == theirs[k] for k in both)} of {len(both)} frames"


def _by_frame(side: Side, frames: int) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for part, decisions in side.decisions.items():
        found.setdefault(part % frames, set()).update(decisions)
    return found
