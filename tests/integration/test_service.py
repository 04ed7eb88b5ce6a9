"""A real `inspection serve`, with other people's clients, several at a time, and rough handling."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tritonclient.http as triton
from bad_service import BadService
from release_builder import paint, write_release
from service_process import PATIENCE, ServiceProcess, wait_until
from tritonclient.utils import InferenceServerException, shared_memory

from inspection.errors import InferenceError
from inspection.release import load_release
from inspection.runtimes.service import ServiceConfig
from inspection_serve.inference.protocol import MAX_JSON

SIZE = (128, 128)
INDEX = "/v2/repository/index"


def write_all(folder: Path) -> Path:
    for number, variant in enumerate(
        ("ok", "constant", "flipped", "external_data", "custom_op"), 1
    ):
        write_release(folder, number=number, variant=variant, size=SIZE)
    write_release(folder, number=6, variant="wrong_output", size=SIZE)
    write_release(folder, part="nan", variant="nan", size=SIZE)
    write_release(folder, part="broken", variant="flipped", size=SIZE)
    (folder / "demo" / "current").write_text("1\n")
    return folder


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """Shared by tests that leave it as they found it."""
    folder = write_all(tmp_path_factory.mktemp("service") / "releases")
    with ServiceProcess(folder) as running:
        yield running


@pytest.fixture
def own(tmp_path: Path) -> Iterator[ServiceProcess]:
    with ServiceProcess(write_all(tmp_path / "releases")) as running:
        yield running


@pytest.fixture
def client(service: ServiceProcess) -> Iterator[Any]:
    opened = triton.InferenceServerClient(
        f"127.0.0.1:{service.port}", connection_timeout=PATIENCE, network_timeout=PATIENCE
    )
    yield opened
    opened.close()


def picture(k: int, box: tuple[int, int, int, int] = (10, 20, 40, 60)) -> np.ndarray[Any, Any]:
    return paint(SIZE, (k, box))[np.newaxis]


def images_input(images: np.ndarray[Any, Any], *, binary: bool = True) -> Any:
    tensor = triton.InferInput("images", list(images.shape), "UINT8")
    tensor.set_data_from_numpy(images, binary_data=binary)
    return tensor


def default_of(service: ServiceProcess, part: str = "demo") -> str | None:
    _, entries = service.call("POST", "/v2/repository/index")
    return next((e["version"] for e in entries if e["name"] == part and e["default"]), None)


def seen(service: ServiceProcess, k: int) -> float:
    """Score of class k in a picture of it, by the default version."""
    status, answer = service.call(
        "POST",
        "/v2/models/demo/infer",
        {
            "inputs": [
                {
                    "name": "images",
                    "datatype": "UINT8",
                    "shape": [1, *SIZE, 3],
                    "data": picture(k).reshape(-1).tolist(),
                }
            ]
        },
    )
    assert status == 200, answer
    return np.array(answer["outputs"][0]["data"]).reshape(8, 6)[k, 4]


class TestTritonClient:
    def test_describes_itself(self, client: Any) -> None:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.get_server_metadata()["extensions"] == [
            "binary_tensor_data",
            "model_configuration",
            "model_repository",
            "system_shared_memory",
        ]
        assert client.is_model_ready("demo")
        assert client.is_model_ready("demo", "1")
        assert not client.is_model_ready("demo", "77")
        assert not client.is_model_ready("nobody")
        metadata = client.get_model_metadata("demo")
        assert metadata["inputs"] == [
            {"name": "images", "datatype": "UINT8", "shape": [-1, *SIZE, 3]}
        ]
        assert metadata["outputs"][0]["name"] == "detections"
        config = client.get_model_config("demo", "1")
        assert len(config["parameters"]["sha256"]["string_value"]) == 64
        states = {(e["name"], e["version"]): e for e in client.get_model_repository_index()}
        assert states["demo", "1"]["state"] == "READY"
        assert states["broken", "1"]["state"] == "UNAVAILABLE"
        assert "altered" in states["broken", "1"]["reason"]

    @pytest.mark.parametrize("binary_in", [True, False])
    @pytest.mark.parametrize("binary_out", [True, False])
    def test_infer(self, client: Any, binary_in: bool, binary_out: bool) -> None:
        answer = client.infer(
            "demo",
            [images_input(picture(1), binary=binary_in)],
            outputs=[triton.InferRequestedOutput("detections", binary_data=binary_out)],
            request_id="r-17",
        )
        rows = answer.as_numpy("detections")
        assert rows[0, 1].tolist() == pytest.approx([10, 20, 40, 60, 0.99, 1])
        head = answer.get_response()
        assert (head["id"], head["model_name"], head["model_version"]) == ("r-17", "demo", "1")

    def test_shared_memory_in_and_out(self, client: Any) -> None:
        name = f"inspection-test-{secrets.token_hex(4)}"
        image, size = picture(2), 8 * 6 * 4
        memory = shared_memory.create_shared_memory_region(name, f"/{name}", image.nbytes + size)
        try:
            shared_memory.set_shared_memory_region(memory, [image])
            client.register_system_shared_memory(name, f"/{name}", image.nbytes + size)
            assert client.get_system_shared_memory_status(name)[0]["key"] == f"/{name}"
            tensor = triton.InferInput("images", list(image.shape), "UINT8")
            tensor.set_shared_memory(name, image.nbytes)
            wish = triton.InferRequestedOutput("detections")
            wish.set_shared_memory(name, size, offset=image.nbytes)
            answer = client.infer("demo", [tensor], outputs=[wish])
            assert answer.get_output("detections")["shape"] == [1, 8, 6]
            rows = shared_memory.get_contents_as_numpy(
                memory, np.float32, [1, 8, 6], offset=image.nbytes
            ).copy()
            assert rows[0, 2].tolist() == pytest.approx([10, 20, 40, 60, 0.99, 2])
            client.unregister_system_shared_memory(name)
            with pytest.raises(InferenceServerException, match="unknown shared memory"):
                client.infer("demo", [tensor])
        finally:
            client.unregister_system_shared_memory(name)
            shared_memory.destroy_shared_memory_region(memory)

    def test_errors_are_told(self, client: Any) -> None:
        for name, version, image, text in (
            ("nobody", "", picture(0), "not a release"),
            ("demo", "77", picture(0), "not a release"),
            ("demo", "2", picture(0), "not loaded"),
            ("demo", "", picture(0)[:, :64].copy(), "takes"),
            ("demo", "", np.concatenate([picture(0)] * 9), "takes"),
        ):
            with pytest.raises(InferenceServerException, match=text):
                client.infer(name, [images_input(image)], model_version=version)

    def test_ultralytics_client(self, service: ServiceProcess) -> None:
        """Outputs come back in the input's type: whoever wants scores gives float pixels 0..255."""
        remote = pytest.importorskip("ultralytics.utils.triton")
        model = remote.TritonRemoteModel(f"http://127.0.0.1:{service.port}/demo")
        (rows,) = model(picture(1).astype(np.float32))
        assert rows[0, 1].tolist() == pytest.approx([10, 20, 40, 60, 0.99, 1])
        assert model.metadata["names"] == {0: "scratch", 1: "dent", 2: "hole"}
        assert model.metadata["imgsz"] == [128, 128]
        (coarse,) = model(picture(1))  # uint8 in: boxes are right, scores are cut to 0
        assert coarse[0, 1].tolist() == [10, 20, 40, 60, 0, 1]
        model.triton_client.close()


class TestMemoryOfALine:
    """Whoever reaches the port knows its name: it is in /dev/shm, for all to see."""

    def test_others_neither_write_it_nor_put_another_in_its_place(
        self, service: ServiceProcess
    ) -> None:
        release = load_release(Path(service._releases) / "demo" / "1")
        line = ServiceConfig(url=service.url, shared_memory="on", timeout=PATIENCE).open()
        line.load(release, PATIENCE)
        mine = f"inspection-line-{os.getpid()}-"
        regions = service.call("GET", "/v2/systemsharedmemory/status")[1]
        (name,) = [r["name"] for r in regions if r["name"].startswith(mine)]
        room = line.room((1, *SIZE, 3))
        room[:] = picture(1)

        where = {"shared_memory_region": name, "shared_memory_byte_size": 192}
        image = picture(0)
        tensor = {"name": "images", "datatype": "UINT8", "shape": [1, *SIZE, 3]}
        asked = {
            "inputs": [{**tensor, "data": image.reshape(-1).tolist()}],
            "outputs": [{"name": "detections", "parameters": where}],
        }
        status, answer = service.call("POST", "/v2/models/demo/infer", asked)
        assert (status, answer["code"]) == (403, "forbidden")
        base = "/v2/systemsharedmemory/region"
        other = f"inspection-test-{secrets.token_hex(4)}"
        memory = shared_memory.create_shared_memory_region(other, f"/{other}", image.nbytes)
        try:
            shared_memory.set_shared_memory_region(memory, [image])
            assert service.call("POST", f"{base}/{name}/unregister")[0] == 200
            body = {"key": f"/{other}", "byte_size": image.nbytes}
            status, answer = service.call("POST", f"{base}/{name}/register", body)
            assert (status, answer["code"]) == (403, "forbidden")
        finally:
            shared_memory.destroy_shared_memory_region(memory)
        with pytest.raises(InferenceError, match="unknown shared memory"):
            line.infer(room, PATIENCE)
        assert line.infer(room, PATIENCE)["detections"][0, 1, 4] == pytest.approx(0.99)
        line.close()


class TestVersions:
    def test_hot_switch_and_rollback_while_clients_ask(self, own: ServiceProcess) -> None:
        stop, failures, answers = threading.Event(), [], [0]

        def ask() -> None:
            while not stop.is_set():
                try:
                    assert round(seen(own, 1), 4) in {0.0, 0.99}
                    answers[0] += 1
                except BaseException as error:
                    failures.append(error)
                    return

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            for _ in range(3):
                load = {"parameters": {"version": "2"}}
                status, answer = own.call("POST", "/v2/repository/models/demo/load", load)
                assert (status, answer["version"]) == (200, "2")
                assert seen(own, 1) == 0.0  # version 2 sees class 0 only, always
                status, answer = own.call("POST", "/v2/repository/models/demo/rollback")
                assert (status, answer["version"]) == (200, "1")
                assert seen(own, 1) == pytest.approx(0.99)
            before = answers[0]
            wait_until(lambda: answers[0] > before or failures)
        finally:
            stop.set()
            thread.join(PATIENCE)
        assert not failures
        assert (Path(own._releases) / "demo" / "current").read_text() == "1\n"

    def test_the_default_survives_a_restart(self, own: ServiceProcess) -> None:
        own.call("POST", "/v2/repository/models/demo/load", {"parameters": {"version": "2"}})
        own.kill()
        own.start()
        assert default_of(own) == "2"

    def test_a_damaged_default_is_never_guessed(self, own: ServiceProcess) -> None:
        """The highest number would be one that is not in force."""
        current = Path(own._releases) / "demo" / "current"
        own.kill()
        current.write_bytes(b"")
        own.start()
        assert own.call("GET", "/v2/models/demo/ready")[0] != 200
        status, answer = own.call("POST", "/v2/repository/models/demo/load")
        assert (status, "current is damaged" in json.dumps(answer)) == (500, True)
        load = {"parameters": {"version": "1"}}
        assert own.call("POST", "/v2/repository/models/demo/load", load)[0] == 200
        assert current.read_text() == "1\n"
        assert default_of(own) == "1"

    @pytest.mark.parametrize(
        ("version", "text"),
        [
            ("3", "altered"),
            ("4", "outside itself"),
            ("5", "outside ONNX"),
            ("6", "contract"),
        ],
    )
    def test_refused_releases_leave_the_old_serving(
        self, service: ServiceProcess, version: str, text: str
    ) -> None:
        status, answer = service.call(
            "POST", "/v2/repository/models/demo/load", {"parameters": {"version": version}}
        )
        assert status == 400
        assert text in answer["error"]
        assert answer["code"] == "release_refused"
        assert default_of(service) == "1"
        assert seen(service, 2) == pytest.approx(0.99)

    def test_unknown_versions(self, service: ServiceProcess) -> None:
        for path, body in (
            ("demo/load", {"parameters": {"version": "77"}}),
            ("demo/load", {"parameters": {"version": "../1"}}),
            ("..%2Fdemo/load", {}),
            ("nobody/load", {}),
            ("nobody/unload", {}),
            ("nobody/rollback", {}),
        ):
            assert service.call("POST", f"/v2/repository/models/{path}", body)[0] == 404

    def test_unload(self, own: ServiceProcess) -> None:
        assert own.call("POST", "/v2/repository/models/demo/unload")[0] == 200
        assert own.call("GET", "/v2/models/demo/ready")[0] == 503
        assert own.call("POST", "/v2/repository/models/demo/load")[0] == 200
        assert own.call("GET", "/v2/models/demo/ready")[0] == 200

    def test_only_the_last_versions_stay_loaded(self, tmp_path: Path) -> None:
        folder = tmp_path / "releases"
        for number in range(1, 7):
            write_release(folder, number=number, size=SIZE)
        with ServiceProcess(folder) as running:
            assert default_of(running) == "6"
            for number in range(1, 6):
                body = {"parameters": {"version": str(number), "default": False}}
                running.call("POST", "/v2/repository/models/demo/load", body)
            _, entries = running.call("POST", "/v2/repository/index")
            assert [e["version"] for e in entries if e["state"] == "READY"] == ["4", "5", "6"]
            assert default_of(running) == "6"


class TestManyClients:
    def test_each_gets_its_own_answer(self, service: ServiceProcess) -> None:
        def ask(worker: int) -> int:
            client = triton.InferenceServerClient(f"127.0.0.1:{service.port}")
            for turn in range(60):
                x, k = 2 + (worker * 7 + turn) % 60, (worker + turn) % 3
                answer = client.infer(
                    "demo",
                    [images_input(picture(k, (x, x, x + 20, x + 30)))],
                    request_id=f"{worker}-{turn}",
                )
                rows = answer.as_numpy("detections")
                assert answer.get_response()["id"] == f"{worker}-{turn}"
                assert rows[0, k].tolist() == pytest.approx([x, x, x + 20, x + 30, 0.99, k])
                assert np.count_nonzero(rows[0, :, 4]) == 1
            client.close()
            return 60

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(ask, range(4))) == 240
        text = service.call("GET", "/metrics")[1].decode()
        values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        labels = '{model="demo",version="1"}'
        images = float(values[f"inspection_service_images_total{labels}"])
        batches = float(values[f"inspection_service_batch_size_count{labels}"])
        assert images >= 240
        assert batches < images  # some ran together
        assert float(values['inspection_service_versions_loaded{model="demo"}']) == 1
        assert 'inspection_service_requests_total{code="ok",model="demo",version="1"}' in values

    def test_nan_goes_out_as_nan_or_as_an_error(self, service: ServiceProcess) -> None:
        client = triton.InferenceServerClient(f"127.0.0.1:{service.port}")
        rows = client.infer("nan", [images_input(picture(0))]).as_numpy("detections")
        assert np.isnan(rows).any()
        wish = triton.InferRequestedOutput("detections", binary_data=False)
        with pytest.raises(InferenceServerException, match="NaN"):
            client.infer("nan", [images_input(picture(0))], outputs=[wish])
        client.close()
        _, data = cv2.imencode(".png", paint(SIZE))
        status, answer = service.call("POST", "/api/v1/inspect?part=nan", data.tobytes())
        assert status == 500
        assert "NaN" in answer["error"]


class TestInspect:
    url = "/api/v1/inspect?part=demo"

    def image(self) -> np.ndarray[Any, Any]:
        return cv2.cvtColor(paint((256, 384), (2, (90, 60, 150, 120))), cv2.COLOR_RGB2BGR)

    @pytest.mark.parametrize("kind", [".jpg", ".png"])
    def test_picture_as_body(self, service: ServiceProcess, kind: str) -> None:
        data = cv2.imencode(kind, self.image())[1].tobytes()
        status, answer = service.call("POST", self.url, data)
        assert status == 200
        assert answer["image"] == {"width": 384, "height": 256}
        (found,) = answer["detections"]
        assert found["class"] == "hole"
        assert found["box"] == pytest.approx([90, 60, 150, 120], abs=7)
        assert (answer["part"], answer["version"]) == ("demo", "1")

    def test_picture_as_form(self, service: ServiceProcess) -> None:
        data = cv2.imencode(".jpg", self.image())[1].tobytes()
        head = b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
        status, answer = service.call(
            "POST",
            self.url,
            head + data + b"\r\n--xyz--\r\n",
            {"Content-Type": "multipart/form-data; boundary=xyz"},
        )
        assert status == 200
        assert len(answer["detections"]) == 1

    def test_turned_by_exif(self, service: ServiceProcess) -> None:
        data = cv2.imencode(".jpg", self.image())[1].tobytes()
        exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
        turned = data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:]
        _, answer = service.call("POST", self.url, turned)
        assert answer["image"] == {"width": 256, "height": 384}

    def test_what_is_refused(self, service: ServiceProcess) -> None:
        jpeg = cv2.imencode(".jpg", self.image())[1].tobytes()
        huge = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (50_000).to_bytes(4, "big") * 2 + bytes(20)
        huge += b"\0\0\0\0IEND\xaeB`\x82"
        for path, body, status in (
            (self.url, b"", 400),
            (self.url, b"GIF89a", 415),
            (self.url, jpeg[: len(jpeg) // 2], 400),
            (self.url, huge, 413),
            (self.url, bytes((32 << 20) + 70_000), 413),
            ("/api/v1/inspect", jpeg, 400),
            ("/api/v1/inspect?part=nobody", jpeg, 404),
            (self.url + "&version=77", jpeg, 404),
        ):
            got, answer = service.call("POST", path, body)
            assert got == status, answer
            assert answer["error"]
            assert answer["code"]


class TestRoughHandling:
    def test_garbage_is_answered_and_forgotten(self, service: ServiceProcess) -> None:
        rng = np.random.default_rng(5)
        for size in (0, 1, 100, 10_000, 2_000_000):
            for headers in ({}, {"Inference-Header-Content-Length": "10"}):
                status, answer = service.call(
                    "POST", "/v2/models/demo/infer", rng.bytes(size), headers
                )
                assert status == (413 if size > MAX_JSON and not headers else 400)
                assert answer["error"]
        too_large = {"Content-Length": str(1 << 40)}
        assert service.call("POST", "/v2/models/demo/infer", b"x", too_large)[0] == 413
        assert seen(service, 0) == pytest.approx(0.99)

    def test_clients_that_hang_up_half_way(self, service: ServiceProcess) -> None:
        for piece in (
            b"POST /v2/models/demo/infer HTTP/1.1\r\n",
            b"POST /v2/models/demo/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 99999\r\n\r\nabc",
            b"\x16\x03\x01 TLS hello by mistake\r\n\r\n",
        ):
            for _ in range(5):
                with socket.create_connection(("127.0.0.1", service.port), PATIENCE) as raw:
                    raw.sendall(piece)
        assert seen(service, 0) == pytest.approx(0.99)

    def test_unknown_paths_and_methods(self, service: ServiceProcess) -> None:
        assert service.call("GET", "/nothing")[0] == 404
        assert service.call("GET", "/v2/models/demo/infer")[0] in {404, 405}
        assert service.call("DELETE", "/v2/models/demo")[0] == 405
        assert service.call("POST", "/v2/systemsharedmemory/region/a/register", b"[1]")[0] == 400
        body = {"key": "/../etc/passwd", "byte_size": 10}
        assert service.call("POST", "/v2/systemsharedmemory/region/a/register", body)[0] == 400

    def test_requests_that_nobody_waits_for_are_dropped(self, tmp_path: Path) -> None:
        write_release(tmp_path, variant="slow", size=SIZE)
        with ServiceProcess(tmp_path, "--max-batch", "1") as running:

            def ask(timeout: int | None) -> str:
                client = triton.InferenceServerClient(
                    f"127.0.0.1:{running.port}", network_timeout=PATIENCE
                )
                try:
                    client.infer("demo", [images_input(picture(0))], timeout=timeout)
                except InferenceServerException as error:
                    return str(error)
                finally:
                    client.close()
                return "ok"

            with ThreadPoolExecutor(6) as pool:
                answers = list(pool.map(ask, [None] * 4 + [20_000] * 2))
            assert answers[:4] == ["ok"] * 4
            assert any("nobody waits" in a for a in answers[4:])

    def test_sigterm_ends_it_cleanly_with_clients_connected(self, own: ServiceProcess) -> None:
        idle = socket.create_connection(("127.0.0.1", own.port), PATIENCE)
        assert own.stop() == 0
        idle.close()
        assert not [line for line in own.lines if "Traceback" in line]

    def test_sigterm_ends_it_within_a_load(self, tmp_path: Path) -> None:
        """Of a release that takes a minute to warm; who waits for it is told."""
        write_release(tmp_path, size=SIZE)
        write_release(tmp_path, number=2, variant="crawling", size=SIZE)
        (tmp_path / "demo" / "current").write_text("1\n")
        with (
            ServiceProcess(tmp_path, "--max-batch", "32") as running,
            ThreadPoolExecutor(1) as pool,
        ):
            load = {"parameters": {"version": "2", "default": False}}
            path = "/v2/repository/models/demo/load"
            asked = pool.submit(running.call, "POST", path, load)
            wait_until(lambda: "LOADING" in json.dumps(running.call("POST", INDEX)[1]))
            began = time.monotonic()
            assert running.stop() == 0
            assert time.monotonic() - began < 20
            status, answer = asked.result(PATIENCE)
        assert (status, answer["error"]) == (503, "the service stops")
        assert not [line for line in running.lines if "Traceback" in line]

    def test_port_in_use(self, tmp_path: Path) -> None:
        with BadService() as other:
            command = [sys.executable, "-m", "inspection", "serve", "--releases", str(tmp_path)]
            ended = subprocess.run(
                [*command, "--port", str(other.port)],
                capture_output=True,
                text=True,
                timeout=PATIENCE,
                check=False,
            )
        assert ended.returncode == 71
        assert "cannot listen" in ended.stderr
        assert "Traceback" not in ended.stderr

    def test_no_releases_yet_then_one_arrives(self, tmp_path: Path) -> None:
        with ServiceProcess(tmp_path) as running:
            assert running.call("GET", "/v2/health/ready")[0] == 200
            assert running.call("GET", "/v2/models/demo/ready")[0] == 404
            write_release(tmp_path, size=SIZE)
            assert running.call("GET", "/v2/models/demo/ready")[0] == 503
            assert running.call("POST", "/v2/repository/models/demo/load")[0] == 200
            assert seen(running, 1) == pytest.approx(0.99)


class TestFaults:
    def body(self, *, white: bool) -> Any:
        image = picture(0)
        image[0, 0, 0] = 255 if white else 120
        tensor = {"name": "images", "datatype": "UINT8", "shape": [1, *SIZE, 3]}
        return {"inputs": [{**tensor, "data": image.reshape(-1).tolist()}]}

    def test_one_fault_is_mended_and_repeated_ones_end_the_process(self, tmp_path: Path) -> None:
        write_release(tmp_path, variant="faulty", size=SIZE)
        with ServiceProcess(tmp_path, "--runtime", "onnxruntime") as running:
            path = "/v2/models/demo/infer"
            for _ in range(2):
                assert running.call("POST", path, self.body(white=True))[0] == 500
                assert running.call("POST", path, self.body(white=False))[0] == 200
            for _ in range(3):
                status, answer = running.call("POST", path, self.body(white=True))
                assert status == 500
            assert "restarts" in answer["error"]
            assert running.process.wait(PATIENCE) == 70

    def test_a_hanging_inference_ends_the_process(self, tmp_path: Path) -> None:
        """A slow graph and a stall limit below what a batch of it takes."""
        write_release(tmp_path, variant="slow", size=SIZE)
        with ServiceProcess(tmp_path, "--max-batch", "1", "--stall", "0.05") as running:
            body = self.body(white=False)
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(lambda _: quiet(running, body), range(24)))
            assert running.process.wait(PATIENCE) == 70


def quiet(running: ServiceProcess, body: Any) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        running.call("POST", "/v2/models/demo/infer", body)


def test_starts_without_loading_the_web_framework_for_help() -> None:
    script = (
        "import sys; import inspection_serve.inference.cli; "
        "sys.exit(any(m in sys.modules for m in ('fastapi', 'uvicorn', 'onnxruntime', 'openvino', 'cv2')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_releases_can_be_removed_while_served(tmp_path: Path) -> None:
    write_release(tmp_path, size=SIZE)
    with ServiceProcess(tmp_path) as running:
        shutil.rmtree(tmp_path / "demo")
        assert seen(running, 1) == pytest.approx(0.99)
        status, answer = running.call("GET", "/v2/models/demo/config")
        assert status in {200, 500, 503}
        assert json.dumps(answer)
