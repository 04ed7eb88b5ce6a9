"""The second way into a real `inspection serve`: its local socket, used as the line does, and ill-treated."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_service import BadService
from release_builder import paint, write_release
from service_process import PATIENCE, ServiceProcess, wait_until

from inspection.detector import Detector
from inspection.errors import InferenceError
from inspection.release import load_release
from inspection.runtimes.http_bytes import MAX_HEAD
from inspection.runtimes.link import Link
from inspection.runtimes.service import Service, ServiceConfig
from inspection.types import Release
from inspection_serve.inference.health import Health
from inspection_serve.inference.infer import Inferences
from inspection_serve.inference.local_door import MAX_CONNECTIONS
from inspection_serve.inference.protocol import MAX_BODY, RequestError

SIZE = (128, 128)
HEAD = b"POST /v2/models/demo/versions/1/infer HTTP/1.1\r\n"


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("door") / "releases"
    for number, variant in enumerate(("ok", "slow", "nan"), 1):
        write_release(folder, number=number, variant=variant, size=SIZE)
    (folder / "demo" / "current").write_text("1\n")
    return folder


@pytest.fixture
def service(releases: Path) -> Iterator[ServiceProcess]:
    with ServiceProcess(releases) as running:
        yield running


def release_of(releases: Path, number: int = 1) -> Release:
    return load_release(releases / "demo" / str(number))


def picture(k: int) -> Any:
    return paint(SIZE, (k, (10, 20, 40, 60)))[np.newaxis]


def loaded(service: ServiceProcess, release: Release, shared_memory: str = "auto") -> Service:
    values = {"url": service.url, "timeout": PATIENCE, "shared_memory": shared_memory}
    runtime = ServiceConfig.model_validate(values).open()
    runtime.load(release, PATIENCE)
    return runtime


def found(runtime: Service, k: int) -> float:
    rows = runtime.infer(picture(k), PATIENCE)["detections"]
    assert np.count_nonzero(rows[0, :, 4]) == 1
    return float(rows[0, k, 4])


def door_of(service: ServiceProcess) -> str:
    config = service.call("GET", "/v2/models/demo/versions/1/config")[1]
    return config["parameters"]["local_socket"]["string_value"]


def knock(door: str) -> socket.socket:
    opened = socket.socket(socket.AF_UNIX)
    opened.settimeout(PATIENCE)
    opened.connect(f"\0{door}")
    return opened


def connections_of(service: ServiceProcess) -> int:
    """Count the ends that the service holds of its local socket, the listening one left out."""
    name = f"@{door_of(service)}"
    lines = Path("/proc/net/unix").read_text(encoding="utf-8").splitlines()
    return sum(line.endswith(name) for line in lines) - 1


@pytest.mark.parametrize("shared_memory", ["on", "off"])
def test_the_line_takes_it(service: ServiceProcess, releases: Path, shared_memory: str) -> None:
    runtime = loaded(service, release_of(releases), shared_memory)
    assert connections_of(service) == 1
    assert [found(runtime, k) for k in (0, 1, 2)] == [pytest.approx(0.99)] * 3
    assert connections_of(service) == 1
    runtime.close()
    wait_until(lambda: connections_of(service) == 0)


def test_pictures_are_made_where_the_service_reads_them(
    service: ServiceProcess, releases: Path
) -> None:
    """Also after the service went and came: new memory, and the old still holds the picture."""
    release = release_of(releases)
    runtime = loaded(service, release)
    detector = Detector(release, runtime)
    for k in (0, 1, 2):
        assert detector.detect(picture(k)[0], PATIENCE).classes.tolist() == [k]
    room = runtime.room((1, *SIZE, 3))
    room[:] = picture(2)
    assert runtime.infer(room, PATIENCE)["detections"][0, 2, 4] == pytest.approx(0.99)
    many = np.concatenate([picture(k) for k in (1, 2, 0)])
    assert runtime.infer(many, PATIENCE)["detections"][1, 2, 4] == pytest.approx(0.99)
    assert detector.detect(picture(1)[0], PATIENCE).classes.tolist() == [1], "memory grew"
    service.kill()
    service.start()
    assert detector.detect(picture(0)[0], PATIENCE).classes.tolist() == [0], "over TCP"
    assert connections_of(service) == 0
    runtime.load(release, PATIENCE)
    assert connections_of(service) == 1
    for k in (2, 0):
        assert detector.detect(picture(k)[0], PATIENCE).classes.tolist() == [k]
    runtime.close()


@pytest.mark.parametrize("name", ["inspection-serve-nobody-is-there", "\ud800", "a" * 200])
def test_where_it_is_gone_inferences_go_over_tcp(releases: Path, name: str) -> None:
    release = release_of(releases)
    with BadService("ok", release) as other:
        other.local_socket = name
        runtime = ServiceConfig.model_validate({"url": other.url, "shared_memory": "off"}).open()
        runtime.load(release, PATIENCE)
        grey = np.full((1, *SIZE, 3), 90, np.uint8)
        assert runtime.infer(grey, PATIENCE)["detections"][0, 0, 2] == 90
        assert other.infers == 2
        runtime.close()


def test_a_crowd_at_the_door_is_answered_over_tcp(service: ServiceProcess, releases: Path) -> None:
    door = door_of(service)
    here = loaded(service, release_of(releases))
    crowd = [knock(door) for _ in range(MAX_CONNECTIONS - 1)]
    wait_until(lambda: connections_of(service) == MAX_CONNECTIONS)
    late = knock(door)
    assert late.recv(1) == b"", "hung up on"
    late.close()
    runtime = loaded(service, release_of(releases))
    assert [found(runtime, k) for k in (1, 2)] == [pytest.approx(0.99)] * 2
    assert found(here, 0) == pytest.approx(0.99)
    assert connections_of(service) == MAX_CONNECTIONS, "nobody else came in"
    for one in crowd:
        one.close()
    wait_until(lambda: connections_of(service) == 1)
    here.close()
    runtime.close()


def test_a_way_that_breaks_between_two_parts_costs_no_part(
    service: ServiceProcess, releases: Path
) -> None:
    """The service hung up on the line, as after a long pause, and has no room for it when it comes again."""
    runtime = loaded(service, release_of(releases))
    assert runtime._door is not None
    assert runtime._door._socket is not None
    runtime._door._socket.shutdown(socket.SHUT_RDWR)
    wait_until(lambda: connections_of(service) == 0)
    crowd = [knock(door_of(service)) for _ in range(MAX_CONNECTIONS)]
    wait_until(lambda: connections_of(service) == MAX_CONNECTIONS)
    assert [found(runtime, k) for k in (2, 0, 1)] == [pytest.approx(0.99)] * 3
    runtime.close()
    for one in crowd:
        one.close()


def test_a_close_wakes_who_waits_at_it_and_sends_nothing_again(
    service: ServiceProcess, releases: Path
) -> None:
    runtime = loaded(service, release_of(releases, 2))
    service.process.send_signal(signal.SIGSTOP)
    caught: list[BaseException] = []

    def ask() -> None:
        try:
            runtime.infer(picture(0), PATIENCE)
        except InferenceError as error:
            caught.append(error)

    thread = threading.Thread(target=ask)
    try:
        thread.start()
        threading.Event().wait(0.3)
        runtime.close()
        thread.join(PATIENCE / 2)
        assert not thread.is_alive()
        assert caught
    finally:
        service.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("name", [resource.RLIMIT_NOFILE, resource.RLIMIT_AS])
def test_a_moment_without_room_does_not_shut_it(
    service: ServiceProcess, releases: Path, name: int
) -> None:
    """No file descriptor for the next client, or no memory for its thread."""
    pid = service.process.pid
    here = loaded(service, release_of(releases))
    door, before = door_of(service), resource.prlimit(pid, name)
    held = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    size = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
    least = held if name == resource.RLIMIT_NOFILE else size + 65536
    resource.prlimit(pid, name, (least, before[1]))
    try:
        crowd = [knock(door) for _ in range(3)]
        threading.Event().wait(0.4)
        assert found(here, 2) == pytest.approx(0.99), "who is in stays in"
    finally:
        resource.prlimit(pid, name, before)
    for one in crowd:
        one.close()
    wait_until(lambda: connections_of(service) == 1)
    assert door_of(service) == door
    runtime = loaded(service, release_of(releases))
    assert connections_of(service) == 2
    assert found(runtime, 1) == pytest.approx(0.99)
    runtime.close()
    here.close()


def test_memory_is_forgotten_with_its_line(service: ServiceProcess, releases: Path) -> None:
    for _ in range(3):
        runtime = loaded(service, release_of(releases), "on")
        assert len(service.call("GET", "/v2/systemsharedmemory/status")[1]) == 1
        runtime.close()
        assert service.call("GET", "/v2/systemsharedmemory/status")[1] == []


def test_after_a_fault_nobody_is_answered() -> None:
    """An accelerator's state is unknown then, for other releases too, and the process takes time to end."""
    health = Health(loaded=True, fault="CUDA error")
    nothing: Any = None
    with pytest.raises(RequestError, match="CUDA error; the service restarts") as caught:
        Inferences(nothing, nothing, nothing, health).find("demo", "1")
    assert caught.value.status == 500


def test_another_user_is_hung_up_on_and_not_believed(
    service: ServiceProcess, releases: Path
) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can be somebody else")
    door = door_of(service)
    script = (
        "import os, socket, sys\n"
        "os.setuid(65534)\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        "s.connect('\\0' + sys.argv[1])\n"
        "print(s.recv(1))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, door], capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == "b''"

    squatter = (
        "import os, socket, sys\n"
        "os.setuid(65534)\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        "s.bind('\\0inspection-serve-squatted')\n"
        "s.listen()\n"
        "print('up', flush=True)\n"
        "sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", squatter], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        with pytest.raises(InferenceError, match="another user"):
            Link(service.url, "inspection-serve-squatted").connect(time.monotonic() + PATIENCE)
        release = release_of(releases)
        with BadService("ok", release) as other:
            other.local_socket = "inspection-serve-squatted"
            runtime = ServiceConfig.model_validate({"url": other.url}).open()
            runtime.load(release, PATIENCE)
            grey = np.full((1, *SIZE, 3), 90, np.uint8)
            assert runtime.infer(grey, PATIENCE)["detections"][0, 0, 2] == 90
            runtime.close()
    finally:
        process.communicate("")


BROKEN = [
    (b"\x16\x03\x01 TLS by mistake\r\n\r\n", b"only POST"),
    (b"GET /v2/health/live HTTP/1.1\r\n\r\n", b"only POST"),
    (HEAD.replace(b"1.1", b"1.0") + b"Content-Length: 2\r\n\r\n{}", b"only POST"),
    (HEAD + b"Host: a\r\n\r\n", b"Content-Length is"),
    (HEAD + b"Content-Length: -1\r\n\r\n", b"Content-Length is"),
    (HEAD + b"Content-Length: \xb2\r\n\r\n", b"Content-Length is"),
    (HEAD + b"Content-Length: 2\r\ncontent-length: 9\r\n\r\n{}", b"twice"),
    (HEAD + b"no colon\r\n\r\n", b"malformed"),
    (HEAD + b"Content-Length: %d\r\n\r\n" % (MAX_BODY + 1), b"larger than"),
    (HEAD + b"Content-Length: 2\r\n\r\n{}POST /v2", b"more came"),
    (HEAD + b"A: " + b"x" * (MAX_HEAD + 1), b"headers are longer"),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", b"Content-Length is"),
]


def test_what_is_no_request_is_told_and_hung_up_on(service: ServiceProcess, releases: Path) -> None:
    door = door_of(service)
    for sent, said in BROKEN:
        with knock(door) as raw:
            raw.sendall(sent)
            raw.shutdown(socket.SHUT_WR)
            got = b""
            while more := raw.recv(1 << 16):
                got += more
        status = b"413" if said == b"larger than" else b"400"
        assert got.startswith(b"HTTP/1.1 %s " % status), (sent[:80], got)
        assert b"connection: close" in got
        assert said in got, (sent[:80], got)
    for piece in (b"", HEAD, HEAD + b"Content-Length: 99999\r\n\r\nabc"):
        for _ in range(20):
            with knock(door) as raw:
                raw.sendall(piece)
    wait_until(lambda: connections_of(service) == 0)
    runtime = loaded(service, release_of(releases))
    assert found(runtime, 2) == pytest.approx(0.99)
    runtime.close()
    assert not [line for line in service.lines if "Traceback" in line]


def test_what_is_refused_is_said_as_over_tcp(service: ServiceProcess) -> None:
    """Requests in order that cannot be answered: the same status and words, and the next one is welcome."""
    link = Link(service.url, door_of(service))
    tensor = {"name": "images", "datatype": "UINT8", "shape": [1, 4, 4, 3], "data": [7] * 48}
    for path, body in (
        ("/v2/models/demo/versions/1/infer", b"{"),
        ("/v2/models/demo/versions/1/infer", b"{}"),
        ("/v2/models/demo/versions/1/infer", json.dumps({"inputs": [tensor]}).encode()),
        ("/v2/models/demo/versions/77/infer", b"{}"),
        ("/v2/models/nobody/infer", b"{}"),
        ("/v2/models/demo/versions/x/infer", b"{}"),
    ):
        answer = link.exchange("POST", path, body, deadline=time.monotonic() + PATIENCE)
        status, told = service.call("POST", path, body)
        assert (answer.status, answer.json()) == (status, told)
        assert answer.status in {400, 404}
    elsewhere = link.exchange("POST", "/v2/repository/index", deadline=time.monotonic() + PATIENCE)
    assert elsewhere.status == 404
    assert elsewhere.json()["error"] == "only inferences are taken here"
    assert link.connections == 1
    link.close()


def test_many_stations_at_once_each_get_their_own_answer(
    service: ServiceProcess, releases: Path
) -> None:
    release = release_of(releases)
    runtimes = [loaded(service, release) for _ in range(6)]
    detectors = [Detector(release, runtime) for runtime in runtimes]

    def station(index: int) -> list[int]:
        wanted = [(index + turn) % 3 for turn in range(40)]
        answers = [detectors[index].detect(picture(k)[0], PATIENCE) for k in wanted]
        return [a.classes.tolist() == [k] for k, a in zip(wanted, answers, strict=True)]

    with ThreadPoolExecutor(6) as pool:
        assert np.array(list(pool.map(station, range(6)))).all()
    for runtime in runtimes:
        runtime.close()


def test_a_stop_during_an_inference_ends_cleanly(releases: Path) -> None:
    with ServiceProcess(releases) as running:
        runtime = loaded(running, release_of(releases, 2))
        stop, outcomes = threading.Event(), list[str]()

        def ask() -> None:
            while not stop.is_set():
                try:
                    found(runtime, 1)
                    outcomes.append("right")
                except InferenceError:
                    outcomes.append("error")
                    return

        thread = threading.Thread(target=ask)
        thread.start()
        wait_until(lambda: len(outcomes) >= 3)
        assert running.stop() == 0
        stop.set()
        thread.join(PATIENCE)
        assert set(outcomes) <= {"right", "error"}
        runtime.close()
        assert not [line for line in running.lines if "Traceback" in line], running.lines
