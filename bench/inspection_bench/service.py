"""`inspection bench service`: what the service process adds to the runtime, and what many stations get.

one filled input, in turns:   raw OpenVINO ┐ our runtime in process ┐ our client over shared memory
eight stations at once:       raw OpenVINO, back to back  ─ against ─  eight clients of the service
tritonclient:                 eight of NVIDIA's own clients, the input in the request
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inspection.errors import InspectionError
from inspection_bench.measured import Findings, Ratio, milliseconds
from inspection_bench.network import Network
from inspection_bench.process_use import (
    PATIENCE,
    Child,
    await_true,
    cpu_seconds,
    free_port,
    memory_mb,
)
from inspection_bench.turns import Contestant, take_turns

Call = Callable[[], Any]
ADDS_AT_MOST = 2.0
SHARE_AT_LEAST = 0.9


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """What is measured.

    Attributes:
        calls: of each contestant, one at a time.
        stations: clients at once.
        seconds: how long they ask, in each of `rounds` rounds.
        rounds: turns of the raw runtime and of the clients.
        precision: of the network; empty: bf16 where it is there, else f32.
    """

    calls: int = 60
    stations: int = 8
    seconds: float = 4.0
    rounds: int = 3
    precision: str = ""


def race(network: Network, frames: Path, work: Path, plan: ServicePlan) -> Findings:
    """Run everything and return what was found.

    Raises:
        InspectionError: the service or a client failed.
    """
    best = "bf16" if "bf16" in network.precisions else "f32"
    precision = plan.precision or best
    folder = work / "service"
    folder.mkdir(parents=True, exist_ok=True)
    findings = Findings(
        "service",
        "The inference service: what it adds to the runtime, and eight stations at once",
        {"calls": plan.calls, "stations": plan.stations, "seconds": plan.seconds,
         "rounds": plan.rounds, "precision": precision, **network.told},
    )  # fmt: skip
    with ExitStack() as stack:
        port = free_port()
        served = stack.enter_context(serve_network(network, precision, port, folder))
        base = {
            "frames": str(frames), "release": str(network.release.folder), "precision": precision,
            "input": list(network.release.input_size),
        }  # fmt: skip
        url = f"http://127.0.0.1:{port}"
        runs = take_turns(
            [
                Contestant("raw runtime", "raw infer", base),
                Contestant("ours in process", "our infer", base),
                Contestant("ours over shared memory", "our infer", {**base, "url": url}),
            ],
            folder, 1, max(1, plan.calls // 10), min(10, plan.calls),
        )  # fmt: skip
        findings.rows += [run.row() for run in runs]
        raw, client = findings.rows[0], findings.rows[2]
        added = client["p50_ms"] - raw["p50_ms"]
        verdict = "held" if added <= ADDS_AT_MOST else "MISSED"
        findings.notes.append(
            f"the service adds {added:.2f} ms at p50 to the raw runtime (promised: at most 2): {verdict}"
        )
        _crowd(findings, network, base, url, served, plan, folder)
    return findings


def serve_network(
    network: Network,
    precision: str,
    port: int,
    folder: Path,
    *options: str,
    patience: float = PATIENCE,
) -> Child:
    """Start the service and wait until it serves; `options` are more of `inspection serve`.

    Raises:
        InspectionError: it ended, or took longer than `patience`, seconds.
    """
    log = folder / "service.log"
    log.unlink(missing_ok=True)  # of a service before
    arguments = ["-m", "inspection", "serve", "--releases", str(network.releases)]
    arguments += ["--port", str(port), "--precision", precision]
    child = Child([*arguments, *options], log)
    try:
        await_true(
            lambda: child.check() and "serving " in log.read_text(), "the service's start", patience
        )
    except InspectionError:
        child.__exit__()
        raise
    return child


def _crowd(
    findings: Findings,
    network: Network,
    base: dict[str, Any],
    url: str,
    served: Child,
    plan: ServicePlan,
    folder: Path,
) -> None:
    """Let many clients ask at once, in turns with the raw runtime alone."""
    counts: dict[str, int] = {}
    seconds: dict[str, list[float]] = {}
    spent: dict[str, float] = {}
    elapsed: dict[str, float] = {}
    settings = folder / "raw.json"
    settings.write_text(json.dumps(base))
    with Child(
        ["-m", "inspection_bench.contestant", "raw infer", str(settings)],
        folder / "raw.log", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as raw:  # fmt: skip
        if raw.popen.stdout is None or not raw.popen.stdout.readline():
            raw.check()
        clients: dict[str, Callable[[], AbstractContextManager[Call]]] = {
            f"{plan.stations} stations": lambda: our_client(network, base["precision"], url),
            f"{plan.stations} tritonclients": lambda: _triton_client(network, url),
        }
        turns: dict[str, Callable[[], tuple[list[float], float]]] = {
            "raw back to back": lambda: _raw_for(raw, plan.seconds)
        }
        for name, make in clients.items():
            turns[name] = lambda make=make: ask_together(make, plan.stations, plan.seconds)
        for _ in range(plan.rounds):
            for name, turn in turns.items():
                before = cpu_seconds(served.pid)
                took, lasted = turn()
                seconds.setdefault(name, []).extend(took)
                elapsed[name] = elapsed.get(name, 0.0) + lasted
                counts[name] = counts.get(name, 0) + len(took)
                spent[name] = spent.get(name, 0.0) + cpu_seconds(served.pid) - before
    for name in turns:
        row: dict[str, Any] = {"name": name, **milliseconds(seconds[name])}
        row["per_second"] = round(counts[name] / elapsed[name], 1)
        if not name.startswith("raw"):
            row["cpu_ms_per_call"] = round(1000 * spent[name] / counts[name], 1)
            row["memory_mb"] = round(memory_mb(served.pid))
        findings.rows.append(row)
    rate = {row["name"]: row.get("per_second") for row in findings.rows}
    for name in clients:
        least = SHARE_AT_LEAST if name.endswith("stations") else None
        value = round(rate[name] / rate["raw back to back"], 3)
        findings.ratios.append(Ratio(f"per second: {name} / raw back to back", value, least))


def _raw_for(child: Child, seconds: float) -> tuple[list[float], float]:
    """Call for so many seconds; return the seconds of each call, and how long it all lasted."""
    took: list[float] = []
    began = time.monotonic()
    end = began + seconds
    while time.monotonic() < end:
        if child.popen.stdin is None or child.popen.stdout is None:
            raise InspectionError("the raw runtime cannot be talked to")
        child.popen.stdin.write(json.dumps({"frame": 0, "times": 20}) + "\n")
        child.popen.stdin.flush()
        line = child.popen.stdout.readline()
        if not line:
            child.check()
        took += json.loads(line)["seconds"]
        took.append(took[-1])  # the call that went before, uncounted there
    return took, time.monotonic() - began


def ask_together(
    make: Callable[[], AbstractContextManager[Call]], number: int, seconds: float
) -> tuple[list[float], float]:
    """Let so many clients ask again and again, a thread each.

    A client is made in its own thread: tritonclient's must not be used in another.

    Returns:
        The seconds of each call, and from the first call's start to the last one's end.

    Raises:
        InspectionError: a call failed.
    """
    took: list[float] = []
    failed: list[BaseException] = []
    moments: list[float] = []
    begin = threading.Barrier(number)

    def ask() -> None:
        try:
            with make() as call:
                call()
                begin.wait(120)
                moments.append(time.monotonic())
                end = moments[-1] + seconds
                while time.monotonic() < end:
                    begun = time.perf_counter()
                    call()
                    took.append(time.perf_counter() - begun)
                moments.append(time.monotonic())
        except BaseException as error:  # told to the caller below
            failed.append(error)
            begin.abort()

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds + 240)
    if failed:
        raise InspectionError(f"a client failed: {failed[0]!r}") from failed[0]
    return took, max(moments) - min(moments)


@contextmanager
def our_client(network: Network, precision: str, url: str) -> Iterator[Call]:
    """Give one call by our client: an image over shared memory, answered."""
    from inspection.runtimes.service import ServiceConfig
    from inspection.variants import in_precision

    release = in_precision(network.release, precision)
    settings = {"type": "service", "url": url, "precision": precision}
    runtime = ServiceConfig.model_validate(settings).open()
    runtime.load(release, 60.0)
    images = _filled(network)
    yield lambda: runtime.infer(images, 60.0)
    runtime.close()


def _filled(network: Network) -> Any:
    size = network.release.input_size
    return np.random.default_rng(1).integers(0, 255, (1, *size, 3), np.uint8)


@contextmanager
def _triton_client(network: Network, url: str) -> Iterator[Call]:
    """Give one call by NVIDIA's own HTTP client."""
    from tritonclient.http import InferenceServerClient, InferInput

    images, number = _filled(network), str(network.release.number)
    client = InferenceServerClient(url.removeprefix("http://"))

    def call() -> Any:
        sent = InferInput("images", list(images.shape), "UINT8")
        sent.set_data_from_numpy(images)
        return client.infer(network.release.part, [sent], number).as_numpy("detections")

    yield call
    client.close()
