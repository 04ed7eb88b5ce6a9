"""A real Ray cluster of two nodes: replicas and stored parts on it, and what is lost when a node is."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from release_builder import paint, write_release
from service_process import ServiceProcess
from station_rig import Rig, until
from store_samples import inspected, store_config, trigger

pytest.importorskip("ray", reason="Ray is not installed: the extra ray")
from ray_nodes import RayNodes

from inspection.decide import judge
from inspection.detector import Detector
from inspection.errors import ConfigError, InferenceError
from inspection.ray_cluster import join
from inspection.release import find_release, list_releases
from inspection.runtimes.service import ServiceConfig
from inspection.store.images import write_picture
from inspection.store.queries import StoreReader
from inspection.store.sql import SqlStore
from inspection.types import Frame, Recipe, Release
from inspection_serve.ray_serve.replicas import FRESH
from inspection_training.measure import open_runtime
from inspection_training.replay.blocks import Block, Told, decide_block
from inspection_training.replay.decide_again import Asked, stored_rows
from inspection_training.surroundings import surroundings

SIZE = (128, 160)
PATIENCE = 240.0
"""Seconds: a node is ten processes, and a loaded machine starts them slowly."""
SLACK = 2.0
"""Seconds by which a loaded machine may tell late that something was answered."""
REPLICA = "ray::ServeReplica"
SCRIPT = Path(__file__).parents[1] / "ray_replay.py"
SOAK_PARTS = int(os.environ.get("RAY_PARTS", "20000"))
pytestmark = pytest.mark.timeout(900)


class RayService(ServiceProcess):
    """A service over a cluster: it starts with more processes than one."""

    patience = PATIENCE


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    """Two nodes of one processor each; tests that lose one add another."""
    with RayNodes((1, 1)) as running:
        yield running


def fill_store(folder: Path, parts: int, distinct: int) -> Path:
    """Write a store whose parts demo/1 judged; every seventh picture is altered, every ninth gone."""
    config = store_config(folder, images={"format": "png"})
    releases = folder / "releases"
    write_release(releases, "demo", 1, size=SIZE)
    write_release(releases, "demo", 2, size=SIZE, variant="constant")
    release = find_release(releases, "demo", 1)
    recipe = Recipe(1, "demo", 1, release.limits, sha256="ab" * 32)
    runtime, store = open_runtime("onnxruntime", release, 1), SqlStore(config)
    epoch = store.begin_epoch("st1", "start")
    detector, kept = Detector(release, runtime), {}
    for sequence in range(1, parts + 1):
        asked = trigger(sequence, epoch=epoch)
        store.triggered(asked, 1)
        which = sequence % distinct
        side = 4 + which % 29
        image = paint(SIZE, (which % 3, (20, 20, 20 + side, 20 + side)), grey=70 + which % 100)
        if which not in kept:
            kept[which] = detector.detect(image, 10.0)
        found = kept[which]
        frame = Frame(image, sequence, asked.seen_mono, "top")
        done = inspected(asked, judge(found, recipe), recipe=recipe, frame=frame, detections=found)
        store.decided(done)
        file = write_picture(config.images, done)
        store.images(asked.key, "saved", [file])
        path = config.images.folder / file.path
        if sequence % 7 == 0:
            path.write_bytes(path.read_bytes() + b"\0")
        elif sequence % 9 == 0:
            path.unlink()
    runtime.close()
    store.close()
    return folder / "results.db"


def replay_process(*arguments: str | int | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def answer_of(process: subprocess.Popen[str], patience: float = 120.0) -> list[str]:
    """Return hash, parts, changes, and the most memory held, MiB."""
    out, error = process.communicate(timeout=patience)
    assert process.returncode == 0, error[-3000:]
    (line,) = out.splitlines()  # Ray's own words on lost workers are not for a script
    return line.split()


def readable(parts: int) -> int:
    """Return how many parts of `fill_store` can be decided again."""
    return parts - parts // 7 - parts // 9 + parts // 63


@pytest.mark.soak
def test_a_replay_on_two_nodes_is_equal_to_the_bit_though_a_worker_dies(
    nodes: RayNodes, tmp_path: Path
):
    database = fill_store(tmp_path, 60, 60)
    arguments = (database, tmp_path / "releases", 2)
    shared = replay_process(*arguments, nodes.address, 4)
    try:
        victim = until(lambda: nodes.workers("ray::decide_block"), PATIENCE, "a worker at work")[0]
        victim.kill()
        alone = answer_of(replay_process(*arguments))
        assert answer_of(shared)[:3] == alone[:3]
    finally:
        shared.kill()
    assert int(alone[1]) == readable(60)
    assert int(alone[2]) > 0


def test_a_node_that_is_not_like_the_asking_machine_is_refused(tmp_path: Path):
    database = fill_store(tmp_path, 4, 4)
    asked = Asked(
        store_config(database.parent),
        tmp_path / "releases",
        "demo",
        2,
        runtime="onnxruntime",
        threads=1,
    )
    sha256 = find_release(asked.releases, "demo", 2).model_sha256
    here = surroundings(sha256, list_releases(asked.releases))
    with StoreReader(asked.store) as reader:
        rows = list(stored_rows(reader, asked))
    assert len(decide_block(Told(asked, here), Block(rows, [True] * 4)).parts) == 4
    with pytest.raises(ConfigError, match=r"does not see the pictures .* row \d, folder"):
        decide_block(Told(asked, here), Block(rows, [True, True, False, True]))
    for changed in (
        {"processor": "another one"},
        {"releases": {"demo": [1]}},
        {"software": {**here.software, "openvino": "1.0"}},
        {"model_sha256": "ab" * 32},
    ):
        with pytest.raises(
            ConfigError, match=f"would not give the same result: {next(iter(changed))}"
        ):
            decide_block(Told(asked, replace(here, **changed)), Block(rows, [True] * 4))


@pytest.mark.slow
def test_a_lost_node_costs_parts_but_no_wrong_answer(nodes: RayNodes, tmp_path: Path):
    """Every true answer is a defect at 0.5: FAIL. READY is on only while a warm replica answers."""
    rig = Rig(
        tmp_path,
        variant="constant",
        camera={"defect_rate": 0.0},
        recipe={"limits": {"scratch": {"t1": 0.3, "t2": 0.4}}, "deadline": 2.0},
        runtime={"type": "service", "url": "http://127.0.0.1:1"},
    )
    service = RayService(
        rig.releases, "--ray", "--address", nodes.address, "--replicas", "2", "--cpus", "0.5"
    )
    with service:
        rig.station["runtime"]["url"] = service.url
        rig.write()
        until(lambda: len(nodes.workers(REPLICA)) == 2, PATIENCE, "two replicas")
        assert nodes.open_ports() == []
        with rig.plc_running(parts=0, takt=0.1) as plc, rig.line():
            until(lambda: plc.counters.rejects["fail"] >= 3, PATIENCE, "true answers")
            with Load(service, find_release(rig.releases, "plate", 1), 0.5) as load:
                load.await_more(20, "answers of two nodes")
                nodes.lose(1)
                load.await_more(20, "answers of the other node")
                for replica in until(lambda: nodes.workers(REPLICA), PATIENCE, "the other replica"):
                    replica.kill()
                until(lambda: ready(service) == 503, PATIENCE, "READY down")
                until(lambda: ready(service) == 200, PATIENCE, "a warm replica")
                load.await_more(5, "answers again")
            fails = plc.counters.rejects["fail"]
            until(lambda: plc.counters.rejects["fail"] > fails, PATIENCE, "the line inspects again")
        assert plc.counters.passes == 0
        assert load.longest < 2.0 + 3.0
        assert load.wrong == []
        assert load.asked == len(load.answers) + load.failed
        assert load.lies() == []
        assert not all(on for _, _, on in load.ready)
        print(
            f"{load.asked} asked, {len(load.answers)} answered, {load.failed} in error, longest "
            f"{load.longest:.1f} s, READY off at {sum(not on for _, _, on in load.ready)} of "
            f"{len(load.ready)} looks"
        )
        assert service.stop() == 0
    decisions = rig.decisions()
    assert {decision for decision, _ in decisions} <= {"FAIL", "NOT_INSPECTED"}
    rig.verify()


def ready(service: ServiceProcess) -> int:
    return service.call("GET", "/v2/models/plate/versions/1/ready")[0]


class Load:
    """Asks all the time, from several threads, and asks for READY from one more.

    Args:
        service: what is asked.
        release: that is asked for; it is loaded.
        score: of the first detection of a true answer.
        timeout: of each request, seconds.
        clients: that ask, each one request after the other.
    """

    def __init__(
        self,
        service: RayService,
        release: Release,
        score: float,
        timeout: float = 2.0,
        clients: int = 4,
    ) -> None:
        self._service, self._release, self._score = service, release, np.float32(score)
        self._timeout = timeout
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]
        self._threads.append(threading.Thread(target=self._watch))
        self.asked = self.failed = 0
        self.answers: list[float] = []
        self.ready: list[tuple[float, float, bool]] = []
        self.longest = 0.0
        self.wrong: list[object] = []

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def await_more(self, count: int, what: str) -> None:
        """Wait until so many more were answered."""
        before = len(self.answers)
        until(lambda: len(self.answers) >= before + count, PATIENCE, what)

    def lies(self) -> list[tuple[float, float]]:
        """Return when READY was on though nothing was answered around that time."""
        return [
            (began, ended)
            for began, ended, on in self.ready
            if on and not any(began - FRESH - SLACK <= at <= ended + SLACK for at in self.answers)
        ]

    def _ask(self) -> None:
        images = np.full((1, *SIZE, 3), 90, np.uint8)
        client = ServiceConfig(
            url=self._service.url, timeout=self._timeout, shared_memory="off"
        ).open()
        client.load(self._release, PATIENCE)
        while not self._stop.is_set():
            began, found = time.monotonic(), None
            with contextlib.suppress(InferenceError):
                found = client.infer(images, self._timeout)["detections"][0, 0]
            ended = time.monotonic()
            with self._lock:
                self.asked += 1
                self.longest = max(self.longest, ended - began)
                if found is None:
                    self.failed += 1
                else:
                    self.answers.append(ended)
                    if found[4] != self._score:
                        self.wrong.append(found)
            if found is None:
                self._stop.wait(0.02)
        client.close()

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            began = time.monotonic()
            on = ready(self._service) == 200
            self.ready.append((began, time.monotonic(), on))


def test_what_is_no_cluster_is_code_71_at_once(tmp_path: Path):
    write_release(tmp_path, size=SIZE)
    command = [sys.executable, "-m", "inspection", "serve", "--releases", str(tmp_path)]
    command += ["--port", "0", "--ray", "--address", "127.0.0.1:1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, "no Ray cluster answers" in done.stderr) == (71, True), done.stderr
    with pytest.raises(ConfigError, match="is not the HOST:PORT"):
        join("head")


def two_replicas(nodes: RayNodes) -> list[psutil.Process]:
    """Return both, or nothing: one that has a request is called otherwise meanwhile."""
    found = nodes.workers(REPLICA)
    return found if len(found) == 2 else []


@pytest.mark.soak
def test_replicas_follow_the_load_and_ready_stays_on(nodes: RayNodes, tmp_path: Path):
    """One call takes 0.3 s of a core; four wait at a time, which is too much for one replica."""
    write_release(tmp_path, "plate", 1, size=SIZE, variant="slow")
    nodes.fill_up(2)
    options = (
        "--address",
        nodes.address,
        "--max-batch",
        "1",
        "--cpus",
        "0.5",
        "--shrink-after",
        "5",
    )
    with RayService(
        tmp_path, "--ray", "--replicas", "1", "--max-replicas", "2", *options
    ) as service:
        until(lambda: ready(service) == 200, PATIENCE, "READY")
        assert len(nodes.workers(REPLICA)) == 1
        began = time.monotonic()
        with Load(service, find_release(tmp_path, "plate", 1), 0.0, 30.0) as load:
            both = until(lambda: two_replicas(nodes), PATIENCE, "another replica")
            print(f"the second replica after {time.monotonic() - began:.0f} s of load")
            spent = [process.cpu_times().user for process in both]
            until(
                lambda: all(
                    process.cpu_times().user > before + 5.0
                    for process, before in zip(both, spent, strict=True)
                ),
                PATIENCE,
                "work of both",
            )
        assert load.wrong == []
        assert (load.asked, load.failed) == (len(load.answers), 0)
        assert all(on for _, _, on in load.ready)
        began = time.monotonic()
        with Load(service, find_release(tmp_path, "plate", 1), 0.0, 30.0, clients=1) as load:
            until(lambda: sum(one.is_running() for one in both) == 1, PATIENCE, "one replica again")
            print(f"one replica again after {time.monotonic() - began:.0f} s of less load")
            load.await_more(5, "answers of the one that stays")
        assert load.wrong == []
        assert (load.asked, load.failed) == (len(load.answers), 0), (
            "a replica ends when it has answered"
        )
        assert all(on for _, _, on in load.ready)
        assert service.stop() == 0


@pytest.mark.soak
def test_a_release_is_switched_on_all_replicas_or_not_at_all(nodes: RayNodes, tmp_path: Path):
    releases = tmp_path / "releases"
    for number, variant in enumerate(("ok", "wrong_output", "constant", "ok"), 1):
        write_release(releases, "demo", number, size=SIZE, variant=variant)
    (releases / "demo" / "current").write_text("1\n")
    nodes.fill_up(2)
    options = ("--ray", "--address", nodes.address, "--replicas", "2", "--cpus", "0.4")
    with RayService(releases, *options, "--load-timeout", "40") as service:

        def load(number: int) -> tuple[int, str]:
            told = {"parameters": {"version": str(number)}}
            status, body = service.call("POST", "/v2/repository/models/demo/load", told)
            return status, body.get("code", "")

        def default() -> str:
            _, entries = service.call("POST", "/v2/repository/index")
            return next(e["version"] for e in entries if e["default"])

        assert load(2) == (400, "release_refused")
        assert default() == "1"
        assert load(3) == (200, "")
        assert default() == "3"
        assert service.call("GET", "/v2/models/demo/versions/1/ready")[0] == 200
        assert load(4) == (503, "loading"), "there is no room for two more replicas"
        assert default() == "3"
        client = ServiceConfig(url=service.url).open()
        for number in (1, 3):
            client.load(find_release(releases, "demo", number), PATIENCE)
        assert client.shared_memory
        client.close()
        second = subprocess.run(
            [sys.executable, "-m", "inspection", "serve", "--releases", str(releases), "--port", "0",
             *options], capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert (second.returncode, "--ray-name" in second.stderr) == (71, True)
        service.kill()
        service.start()  # takes away what the killed one left, else there would be no room
        assert service.call("GET", "/v2/models/demo/ready")[0] == 200
        assert service.stop() == 0, "a killed one would leave its replicas in the cluster"


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_very_many_parts_on_two_nodes_with_one_lost_are_equal_to_the_bit(
    nodes: RayNodes, tmp_path: Path
):
    """The way to look at many: RAY_PARTS=100000 pytest -m soak -s -k very_many."""
    nodes.fill_up(2)
    began = time.monotonic()

    def tell(what: str) -> None:
        print(f"{time.monotonic() - began:7.1f} s  {what}", flush=True)

    database = fill_store(tmp_path, SOAK_PARTS, 2000)
    tell(f"{SOAK_PARTS} parts are stored")
    arguments = (database, tmp_path / "releases", 2)
    shared = replay_process(*arguments, nodes.address)
    try:
        until(lambda: len(nodes.workers("ray::decide_block")) >= 2, PATIENCE, "both nodes at work")
        nodes.lose(1)
        tell("both nodes were at work, one was killed")
        nodes.fill_up(2)
        two = answer_of(shared, 3600)
        tell(f"two nodes: {' '.join(two)} MiB")
        alone = answer_of(replay_process(*arguments), 3600)
        tell(f"one process: {' '.join(alone)} MiB")
    finally:
        shared.kill()
    assert two[:3] == alone[:3]
    assert int(alone[1]) == readable(SOAK_PARTS)
    assert int(alone[2]) > 0
