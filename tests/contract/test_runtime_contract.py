"""Every runtime keeps the promises of `protocols.Runtime`; the service also when it is ill-treated."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from bad_service import BadService, Mode
from release_builder import paint, write_release
from service_process import PATIENCE, ServiceProcess, wait_until

from inspection.detector import Detector
from inspection.errors import InferenceError, InferenceTimeoutError, ModelOutputError
from inspection.protocols import Runtime
from inspection.release import load_release
from inspection.runtimes import shared_memory
from inspection.runtimes.onnxruntime import OnnxRuntimeConfig
from inspection.runtimes.openvino import OpenVinoConfig
from inspection.runtimes.pytorch import PyTorchConfig
from inspection.runtimes.service import ServiceConfig
from inspection.types import Reason, Release

SIZE = (128, 128)
KINDS = ["onnxruntime", "openvino", "pytorch", "service", "service-body"]


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("contract") / "releases"
    variants = ("ok", "constant", "nan", "wrong_output", "slow", "faulty", "wrong_classes")
    for number, variant in enumerate(variants, 1):
        write_release(folder, number=number, variant=variant, size=SIZE)
    write_release(folder, part="heat", variant="anomaly", size=SIZE)
    return folder


@pytest.fixture(scope="module")
def service(releases: Path) -> Iterator[ServiceProcess]:
    (releases / "demo" / "current").write_text("1\n")
    with ServiceProcess(releases) as running:
        yield running


@pytest.fixture(params=KINDS)
def runtime(request: pytest.FixtureRequest) -> Iterator[Runtime]:
    config: Any
    if request.param == "onnxruntime":
        config = OnnxRuntimeConfig(threads=1, providers="cpu")
    elif request.param == "openvino":
        config = OpenVinoConfig(threads=1)
    elif request.param == "pytorch":
        config = PyTorchConfig(device="cpu")
    else:
        url = request.getfixturevalue("service").url
        config = ServiceConfig(
            url=url, shared_memory="on" if request.param == "service" else "off", timeout=PATIENCE
        )
    opened = config.open()
    yield opened
    opened.close()


def release_of(releases: Path, number: int, part: str = "demo") -> Release:
    return load_release(releases / part / str(number))


def picture(k: int, box: tuple[int, int, int, int] = (10, 20, 40, 60)) -> np.ndarray[Any, Any]:
    return paint(SIZE, (k, box))[np.newaxis]


def images_run(service: ServiceProcess, number: int) -> float:
    """Return how many images a version has computed, whoever still waited for them."""
    name = f'inspection_service_images_total{{model="demo",version="{number}"}} '
    lines = service.call("GET", "/metrics")[1].decode().splitlines()
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


class TestEveryRuntime:
    def test_gives_what_the_model_computes(self, runtime: Runtime, releases: Path) -> None:
        assert isinstance(runtime, Runtime)
        runtime.load(release_of(releases, 1), PATIENCE)
        for k in range(3):
            rows = runtime.infer(picture(k), PATIENCE)["detections"]
            assert rows.dtype == np.float32
            assert rows.shape == (1, 8, 6)
            assert rows[0, k].tolist() == pytest.approx([10, 20, 40, 60, 0.99, k])
            assert np.count_nonzero(rows[0, :, 4]) == 1

    def test_batches(self, runtime: Runtime, releases: Path) -> None:
        runtime.load(release_of(releases, 1), PATIENCE)
        for order in (
            [2, 0, 1],
            [1, 2, 0, 0, 2, 1, 1],
        ):  # more than there are processors, and again
            images = np.concatenate([picture(k) for k in order])
            rows = runtime.infer(images, PATIENCE)["detections"]
            assert [int(np.argmax(r[:, 4])) for r in rows] == order
            alone = [runtime.infer(picture(k), PATIENCE)["detections"] for k in order]
            assert np.array_equal(rows, np.concatenate(alone))

    def test_answers_are_not_overwritten_by_the_next(
        self, runtime: Runtime, releases: Path
    ) -> None:
        runtime.load(release_of(releases, 1), PATIENCE)
        first = runtime.infer(picture(0), PATIENCE)["detections"]
        kept = first.copy()
        runtime.infer(picture(1), PATIENCE)
        assert np.array_equal(first, kept)

    def test_anomaly(self, runtime: Runtime, releases: Path) -> None:
        release = release_of(releases, 1, "heat")
        runtime.load(release, PATIENCE)
        found = Detector(release, runtime).detect(picture(0)[0], PATIENCE)
        assert found.anomaly_score == pytest.approx(230 / 256)
        assert len(found) == 0

    def test_nan_is_never_nothing(self, runtime: Runtime, releases: Path) -> None:
        release = release_of(releases, 3)
        runtime.load(release, PATIENCE)
        with pytest.raises(ModelOutputError, match="NaN"):
            Detector(release, runtime).detect(picture(0)[0], PATIENCE)

    def test_unknown_class_is_refused(self, runtime: Runtime, releases: Path) -> None:
        release = release_of(releases, 7)
        runtime.load(release, PATIENCE)
        with pytest.raises(ModelOutputError, match="class 50"):
            Detector(release, runtime).detect(picture(0)[0], PATIENCE)

    def test_failed_load_keeps_the_old(self, runtime: Runtime, releases: Path) -> None:
        runtime.load(release_of(releases, 1), PATIENCE)
        with pytest.raises(InferenceError):
            runtime.load(release_of(releases, 4), PATIENCE)
        assert runtime.alive(PATIENCE)
        assert runtime.infer(picture(1), PATIENCE)["detections"][0, 1, 4] == pytest.approx(0.99)

    def test_load_replaces(self, runtime: Runtime, releases: Path) -> None:
        runtime.load(release_of(releases, 1), PATIENCE)
        runtime.load(release_of(releases, 2), PATIENCE)
        assert runtime.infer(picture(1), PATIENCE)["detections"][0, 0, 4] == 0.5

    def test_wrong_images_are_refused_and_the_release_stays(
        self, runtime: Runtime, releases: Path
    ) -> None:
        runtime.load(release_of(releases, 1), PATIENCE)
        for wrong in (
            np.zeros((1, 64, 64, 3), np.uint8),
            np.zeros((1, *SIZE, 3), np.float32),
            np.zeros((0, *SIZE, 3), np.uint8),
            np.zeros((1, *SIZE, 6), np.uint8)[..., ::2],
        ):
            with pytest.raises(InferenceError):
                runtime.infer(wrong, PATIENCE)
        assert runtime.infer(picture(1), PATIENCE)["detections"][0, 1, 4] == pytest.approx(0.99)

    def test_nothing_loaded(self, runtime: Runtime) -> None:
        assert not runtime.alive(1.0)
        with pytest.raises(InferenceError, match="load"):
            runtime.infer(picture(0), 1.0)
        runtime.close()
        runtime.close()

    def test_model_that_changed_after_the_check_is_refused(
        self, runtime: Runtime, tmp_path: Path, releases: Path
    ) -> None:
        write_release(tmp_path, size=SIZE)
        release = load_release(tmp_path / "demo" / "1")
        write_release(tmp_path, size=SIZE, variant="constant")  # same place, another model
        if hasattr(runtime, "shared_memory"):  # the service serves its own demo/1, not this one
            other = load_release(tmp_path / "demo" / "1")
            with pytest.raises(InferenceError) as caught:
                runtime.load(other, PATIENCE)
            assert caught.value.reason == Reason.MODEL_MISMATCH
        else:
            with pytest.raises(InferenceError, match="changed"):
                runtime.load(release, PATIENCE)
        assert not runtime.alive(1.0)

    def test_runtime_failure_is_an_error_then_load_mends(
        self, runtime: Runtime, releases: Path
    ) -> None:
        if "OpenVino" in type(runtime).__name__ or hasattr(runtime, "shared_memory"):
            pytest.skip("only ONNX Runtime and PyTorch fail on the faulty graph")
        release = release_of(releases, 6)
        runtime.load(release, PATIENCE)
        bad = picture(0)
        bad[0, 0, 0] = 255
        with pytest.raises(InferenceError):
            runtime.infer(bad, PATIENCE)
        assert not runtime.alive(1.0)
        runtime.load(release, PATIENCE)
        assert runtime.infer(picture(0), PATIENCE)["detections"][0, 0, 4] == pytest.approx(0.99)


class TestService:
    """Against a real service process of its own."""

    @pytest.fixture
    def own(self, releases: Path) -> Iterator[ServiceProcess]:
        with ServiceProcess(releases) as running:
            yield running

    def test_images_travel_in_shared_memory_and_it_is_removed(
        self, service: ServiceProcess, releases: Path
    ) -> None:
        runtime = ServiceConfig(url=service.url, shared_memory="on").open()
        runtime.load(release_of(releases, 1), PATIENCE)
        assert runtime.shared_memory
        mine = list(shared_memory.FOLDER.glob(f"{shared_memory.PREFIX}{os.getpid()}-*"))
        assert len(mine) == 1
        for images in (3, 5):  # it grows, and the service holds no more than one piece
            runtime.infer(np.concatenate([picture(0)] * images), PATIENCE)
            regions = service.call("GET", "/v2/systemsharedmemory/status")[1]
            own = [r for r in regions if f"-{os.getpid()}-" in r["name"]]
            assert [r["byte_size"] for r in own] == [picture(0).nbytes * images]
        runtime.close()
        assert not list(shared_memory.FOLDER.glob(f"{shared_memory.PREFIX}{os.getpid()}-*"))

    def test_service_that_refuses_shared_memory_gets_bodies(self, releases: Path) -> None:
        release = release_of(releases, 1)
        with BadService("ok", release) as foreign:
            runtime = ServiceConfig(url=foreign.url).open()
            runtime.load(release, PATIENCE)
            assert not runtime.shared_memory
            runtime.close()
            strict = ServiceConfig(url=foreign.url, shared_memory="on").open()
            with pytest.raises(InferenceError, match="shared_memory is on"):
                strict.load(release, 5)
            strict.close()

    def test_killed_and_restarted(self, own: ServiceProcess, releases: Path) -> None:
        runtime = ServiceConfig(url=own.url, timeout=PATIENCE).open()
        release = release_of(releases, 1)
        runtime.load(release, PATIENCE)
        own.kill()
        assert not runtime.alive(1.0)
        with pytest.raises(InferenceError):
            runtime.infer(picture(0), 5.0)
        own.start()
        runtime.load(release, PATIENCE)
        assert runtime.shared_memory
        assert runtime.infer(picture(2), PATIENCE)["detections"][0, 2, 4] == pytest.approx(0.99)
        runtime.close()

    def test_stopped_process_times_out_and_the_next_answer_is_right(
        self, own: ServiceProcess, releases: Path
    ) -> None:
        runtime = ServiceConfig(url=own.url, timeout=PATIENCE).open()
        runtime.load(release_of(releases, 1), PATIENCE)
        own.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(InferenceTimeoutError):
                runtime.infer(picture(0), 0.3)
            assert not runtime.alive(0.2)
        finally:
            own.process.send_signal(signal.SIGCONT)
        for k in (1, 2, 0):
            rows = runtime.infer(picture(k), PATIENCE)["detections"]
            assert rows[0, k, 4] == pytest.approx(0.99)
            assert np.count_nonzero(rows[0, :, 4]) == 1
        runtime.close()

    def test_slow_model_times_out_and_the_next_answer_is_right(
        self, own: ServiceProcess, releases: Path
    ) -> None:
        """The model goes on computing for nobody; what it finds is never the next part's answer."""
        runtime = ServiceConfig(url=own.url, timeout=PATIENCE).open()
        runtime.load(release_of(releases, 5), PATIENCE)
        end, wait, abandoned = time.monotonic() + PATIENCE, 0.02, False
        while not abandoned:
            assert time.monotonic() < end, "the model never computed a part that nobody waited for"
            before = images_run(own, 5)
            try:
                runtime.infer(picture(0), wait)
            except InferenceTimeoutError:
                wait *= 2  # a busy client may not even have sent it: give it longer
                waited = False
            else:
                wait, waited = 0.02, True
            rows = runtime.infer(picture(1), PATIENCE)["detections"]
            assert np.count_nonzero(rows[0, :, 4]) == 1
            assert rows[0, 1, 4] == pytest.approx(0.99)
            abandoned = not waited and images_run(own, 5) == before + 2
        runtime.close()

    def test_loads_what_is_not_the_default_and_leaves_the_default(
        self, own: ServiceProcess, releases: Path
    ) -> None:
        (releases / "demo" / "current").write_text("1\n")
        runtime = ServiceConfig(url=own.url, timeout=PATIENCE).open()
        runtime.load(release_of(releases, 2), PATIENCE)
        assert (releases / "demo" / "current").read_text() == "1\n"
        assert runtime.alive(PATIENCE)
        own.call("POST", "/v2/repository/models/demo/unload", {"parameters": {"version": "2"}})
        wait_until(lambda: not runtime.alive(PATIENCE))
        with pytest.raises(InferenceError) as caught:
            runtime.infer(picture(0), PATIENCE)
        assert caught.value.reason == Reason.MODEL_LOADING
        runtime.load(release_of(releases, 2), PATIENCE)
        runtime.close()

    def test_no_service(self, releases: Path) -> None:
        with BadService() as gone:
            url = gone.url
        runtime = ServiceConfig(url=url).open()
        with pytest.raises(InferenceError) as caught:
            runtime.load(release_of(releases, 1), 0.5)
        assert caught.value.reason == Reason.INFERENCE_FAILED, "a fault, not a start that goes on"
        assert "inspection serve" in str(caught.value)


WRONG = {
    "hang": InferenceTimeoutError,
    "late": InferenceTimeoutError,
    "drip": InferenceTimeoutError,
    "hang_up": InferenceError,
    "error": InferenceError,
}


class TestIllService:
    """Against a service that misbehaves: an error each time, and never another part's answer."""

    @pytest.mark.parametrize("mode", [m for m in get_args(Mode) if m not in {"ok", "nan"}])
    def test_every_wrong_answer_is_an_error_and_the_next_is_right(
        self, mode: Mode, releases: Path
    ) -> None:
        release = release_of(releases, 1)
        with BadService("ok", release, delay=0.8) as ill:
            runtime = ServiceConfig(url=ill.url, shared_memory="off").open()
            runtime.load(release, PATIENCE)
            ill.mode = mode
            dark, light = (np.full((1, *SIZE, 3), v, np.uint8) for v in (20, 90))
            wait = 0.4 if WRONG.get(mode) is InferenceTimeoutError else PATIENCE
            with pytest.raises(WRONG.get(mode, ModelOutputError)):
                runtime.infer(dark, wait)
            ill.mode = "ok"
            for _ in range(3):
                assert runtime.infer(light, PATIENCE)["detections"][0, 0, 2] == 90
            runtime.close()

    def test_wrong_hash_at_load(self, releases: Path) -> None:
        with BadService("ok", release_of(releases, 2)) as other:
            runtime = ServiceConfig(url=other.url).open()
            with pytest.raises(InferenceError) as caught:
                runtime.load(release_of(releases, 1), 5)
            assert caught.value.reason == Reason.MODEL_MISMATCH
            runtime.close()

    def test_foreign_service_without_hash_is_accepted_and_noted(
        self, releases: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with BadService("ok", None) as foreign:
            runtime = ServiceConfig(url=foreign.url).open()
            runtime.load(release_of(releases, 1), 5)
            assert "does not tell the hash" in caplog.text
            runtime.close()

    def test_hash_that_disappears_is_refused(self, releases: Path) -> None:
        release = release_of(releases, 1)
        with BadService("ok", release) as swapped:
            runtime = ServiceConfig(url=swapped.url, shared_memory="off").open()
            runtime.load(release, 5)
            swapped.sha256 = None
            with pytest.raises(ModelOutputError):
                runtime.infer(picture(0), 5)
            runtime.close()

    def test_close_wakes_a_waiting_infer(self, releases: Path) -> None:
        release = release_of(releases, 1)
        with BadService("ok", release) as ill:
            runtime = ServiceConfig(url=ill.url, shared_memory="off", timeout=PATIENCE).open()
            runtime.load(release, 5)
            ill.mode = "hang"
            seen = ill.infers
            caught: list[BaseException] = []

            def infer() -> None:
                try:
                    runtime.infer(picture(0), PATIENCE)
                except InferenceError as error:
                    caught.append(error)

            thread = threading.Thread(target=infer)
            thread.start()
            wait_until(lambda: ill.infers > seen)
            runtime.close()
            thread.join(PATIENCE / 2)
            assert not thread.is_alive()
            assert caught


def test_leftover_memory_of_the_dead_is_removed_and_of_the_living_kept() -> None:
    living = shared_memory.Segment(64)
    script = (
        "import os; from inspection.runtimes.shared_memory import Segment; "
        "s = Segment(64); print(s.name, flush=True); os.kill(os.getpid(), 9)"
    )
    died = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    left = shared_memory.FOLDER / died.stdout.strip()
    assert left.exists()
    assert shared_memory.remove_leftovers() >= 1
    assert not left.exists()
    assert (shared_memory.FOLDER / living.name).exists()
    living.close()


def test_who_tidies_up_takes_no_memory_that_is_just_made() -> None:
    stop = threading.Event()

    def tidy() -> None:
        while not stop.is_set():
            shared_memory.remove_leftovers()

    threads = [threading.Thread(target=tidy) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(300):
            segment = shared_memory.Segment(64)
            assert (shared_memory.FOLDER / segment.name).exists()
            segment.close()
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("url", ["https://a:1", "http://", "127.0.0.1:8500", "http://a:99999"])
def test_wrong_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"http|[Pp]ort"):
        ServiceConfig(url=url)
