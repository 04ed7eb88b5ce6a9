"""The precision that a station asks for is the one that its service runs, or nothing passes."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from bad_service import BadService
from release_builder import paint, write_release
from service_process import PATIENCE, ServiceProcess
from station_rig import CLASSES, Process, Rig, until

from inspection.decide import check_detections
from inspection.detector import Detector
from inspection.errors import ConfigError, InferenceError, ReleaseError
from inspection.release import load_release, read_card, sha256_file, write_card
from inspection.runtimes.service import ServiceConfig
from inspection.types import Reason, Release
from inspection.up import station_processes
from inspection.variants import find_for
from inspection_datasets.manifest import DatasetVersion, Sample, write_version
from inspection_serve.inference.process import Settings, choose_runtime
from inspection_training.variants.make import make_variant

SIZE = (128, 160)


def write_parts(folder: Path) -> DatasetVersion:
    """Write parts of one colour, every second with a mark."""
    (folder / "images").mkdir(parents=True)
    samples: list[Sample] = []
    for i in range(16):
        split = ("train", "val", "test")[min(i // 4, 2)]
        box = (20 + 4 * i, 30, 40 + 4 * i, 50)
        marks = [(i // 2 % 3, box)] if i % 2 else []
        name = f"images/{split}{i}.png"
        cv2.imwrite(str(folder / name), paint(SIZE, *marks, grey=100 + i)[:, :, ::-1])
        samples.append(
            Sample(
                image=name, sha256=sha256_file(folder / name), width=SIZE[1], height=SIZE[0],
                split=split, group=name, origin="test", state="labelled" if marks else "good",
                boxes=[(CLASSES[k], *map(float, b)) for k, b in marks],
            )
        )  # fmt: skip
    return write_version(folder, "plate", CLASSES, samples)


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """plate/1 has a bf16 variant, plate/2 has none; 1 is in force."""
    folder = tmp_path_factory.mktemp("precision")
    for number in (1, 2):
        write_release(folder / "releases", "plate", number, CLASSES, SIZE)
    (folder / "releases" / "plate" / "current").write_text("1\n")
    version = write_parts(folder / "parts")
    plate = folder / "releases" / "plate" / "1"
    card = read_card(plate)
    learned = card.dataset.model_copy(update={"sha256": version.sha256})
    write_card(plate, card.model_copy(update={"dataset": learned}))
    make_variant(plate, "bf16", version)
    return folder / "releases"


@pytest.fixture(scope="module")
def service(releases: Path) -> Iterator[ServiceProcess]:
    with ServiceProcess(releases, "--precision", "bf16") as running:
        yield running


def released(releases: Path, precision: str) -> tuple[ServiceConfig, Release]:
    config = ServiceConfig.model_validate({"precision": precision, "type": "service"})
    return config, find_for(config)(releases, "plate", 1)


def refusal(url: str, release: Release, precision: str) -> InferenceError:
    runtime = ServiceConfig.model_validate({"url": url, "precision": precision}).open()
    with pytest.raises(InferenceError) as caught:
        runtime.load(release, 20.0)
    runtime.close()
    return caught.value


def test_the_service_runs_the_variant_and_says_so(service: ServiceProcess, releases: Path) -> None:
    _, release = released(releases, "bf16")
    runtime = ServiceConfig.model_validate({"url": service.url, "precision": "bf16"}).open()
    runtime.load(release, PATIENCE)
    image = paint(SIZE, (1, (40, 30, 60, 50)))
    found = Detector(release, runtime).detect(image, PATIENCE)
    runtime.close()
    assert found.model_sha256 == release.model_sha256 == f"bf16:{sha256_file(release.model)}"
    assert found.scores[0] > 0.6
    assert check_detections(found, release) is None
    _, described = service.call("GET", "/v2/models/plate")
    assert described["parameters"]["precision"] == "bf16"
    _, config = service.call("GET", "/v2/models/plate/config")
    assert config["parameters"]["precision"]["string_value"] == "bf16"
    assert config["parameters"]["sha256"]["string_value"] == release.model_sha256


def test_a_station_in_f32_refuses_a_service_in_bf16(
    service: ServiceProcess, releases: Path
) -> None:
    error = refusal(service.url, load_release(releases / "plate" / "1"), "f32")
    assert error.reason == Reason.MODEL_MISMATCH
    assert "runs it in bf16; start it with inspection serve --precision f32" in str(error)


def test_a_station_in_bf16_refuses_a_service_in_f32(releases: Path) -> None:
    _, release = released(releases, "bf16")
    with BadService("ok", load_release(releases / "plate" / "1")) as plain:
        error = refusal(plain.url, release, "bf16")
    assert error.reason == Reason.MODEL_MISMATCH
    assert "runs it in f32; start it with inspection serve --precision bf16" in str(error)


def test_a_foreign_server_is_taken_for_f32_and_no_more(releases: Path) -> None:
    plain, (_, release) = load_release(releases / "plate" / "1"), released(releases, "bf16")
    with BadService("ok", None) as foreign:
        runtime = ServiceConfig(url=foreign.url).open()
        runtime.load(plain, 20.0)
        runtime.close()
        error = refusal(foreign.url, release, "bf16")
    assert error.reason == Reason.MODEL_MISMATCH
    assert "does not prove what precision it runs it in; use inspection serve" in str(error)


def test_a_service_that_comes_back_in_another_precision_is_found_out(releases: Path) -> None:
    _, release = released(releases, "bf16")
    with BadService("ok", release) as service:
        runtime = ServiceConfig.model_validate(
            {"url": service.url, "precision": "bf16", "shared_memory": "off"}
        ).open()
        runtime.load(release, 20.0)
        service.sha256 = sha256_file(release.model)
        with pytest.raises(InferenceError) as caught:
            runtime.infer(np.zeros((1, *SIZE, 3), np.uint8), 20.0)
        runtime.close()
    assert caught.value.reason == Reason.MODEL_MISMATCH


def test_a_service_that_fails_to_tell_its_model_is_refused(releases: Path) -> None:
    """A proxy before it gave up: nothing is known of it, so it is not taken for a foreign server."""
    plain = load_release(releases / "plate" / "1")
    with BadService("ok", released(releases, "bf16")[1]) as service:
        for status, reason in ((503, Reason.MODEL_LOADING), (500, Reason.INFERENCE_FAILED)):
            service.config_status = status
            error = refusal(service.url, plain, "f32")
            assert error.reason == reason
            assert f"did not tell which model plate/1 is (status {status}" in str(error)


@pytest.mark.parametrize("status", [400, 404, 405, 501])
def test_a_server_without_configuration_is_still_held_to_the_hash_in_its_answers(
    releases: Path, status: int
) -> None:
    plain = load_release(releases / "plate" / "1")
    with BadService("ok", released(releases, "bf16")[1]) as service:
        service.config_status = status
        error = refusal(service.url, plain, "f32")
        assert error.reason == Reason.MODEL_MISMATCH
        assert "answered with the model bf16:" in str(error)
        service.sha256 = plain.model_sha256
        runtime = ServiceConfig(url=service.url).open()
        runtime.load(plain, 20.0)
        service.sha256 = None  # Triton tells none
        runtime.infer(np.zeros((1, *SIZE, 3), np.uint8), 20.0)
        runtime.close()


def test_a_release_is_never_sent_in_another_precision_than_it_was_found_in(releases: Path) -> None:
    for precision, other in (("bf16", "f32"), ("f32", "bf16")):
        _, release = released(releases, precision)
        with pytest.raises(InferenceError, match=f"as {precision}, the runtime computes in"):
            ServiceConfig.model_validate({"precision": other}).open().load(release, 1.0)


def test_a_release_without_the_variant_is_refused_and_the_old_one_serves_on(
    service: ServiceProcess, releases: Path
) -> None:
    body = {"parameters": {"version": "2"}}
    status, answer = service.call("POST", "/v2/repository/models/plate/load", body)
    assert (status, answer["code"]) == (400, "release_refused")
    assert "never compared in bf16" in answer["error"]
    assert "inspection variant make" in answer["error"]
    assert service.call("GET", "/v2/models/plate/versions/1/ready")[0] == 200
    assert service.call("GET", "/v2/models/plate/versions/2/ready")[0] == 503
    assert service.call("GET", "/v2/models/plate")[1]["parameters"]["version"] == 1
    plain = load_release(releases / "plate" / "2")
    error = refusal(service.url, plain, "f32")
    assert error.reason == Reason.RELEASE_INVALID


def test_device_and_library_must_fit_the_precision(tmp_path: Path) -> None:
    for given in ({"device": "cpu", "runtime": "onnxruntime"}, {"device": "cuda"}):
        with pytest.raises(ConfigError):
            choose_runtime(Settings(tmp_path, precision="int8", **given))
    assert choose_runtime(Settings(tmp_path, precision="int8")).precision == "int8"
    assert choose_runtime(Settings(tmp_path, device="cpu")).precision == "f32"


def alarms(rig: Rig, reason: Reason) -> list[int]:
    query = 'select "on" from alarms where reason = ? order by id'
    with contextlib.closing(sqlite3.connect(rig.database, timeout=5)) as connection:
        return [on for (on,) in connection.execute(query, (reason.name,))]


def test_a_station_in_bf16_from_up_to_the_row(releases: Path, tmp_path: Path) -> None:
    (tmp_path / "releases").symlink_to(releases)
    rig = Rig(
        tmp_path,
        camera={"defect_rate": 0.0},
        runtime={"type": "service", "precision": "bf16"},
        recipe={"deadline": 5.0},
    )
    rig.recipe(2, release=2)
    told = station_processes(tmp_path / "station.yaml")["serve"]
    assert told[told.index("--precision") + 1] == "bf16"
    with rig.plc_running(parts=0, takt=0.1) as plc:
        up = Process(["up", str(tmp_path / "station.yaml")], tmp_path / "up.log")
        try:
            until(lambda: plc.counters.passes >= 2, 60, "parts")
            plc.request_recipe(2)
            until(lambda: alarms(rig, Reason.RELEASE_INVALID) == [1], 30, "the refusal")
            plc.request_recipe(1)
            passes = plc.counters.passes
            until(lambda: plc.counters.passes >= passes + 2, 60, "parts after the refusal")
        finally:
            assert up.stop(20) == 0
    assert "never compared in bf16" in up.text
    rows = rig.rows()
    with pytest.raises(ReleaseError, match="variant make"):
        find_for(ServiceConfig.model_validate({"precision": "bf16"}))(releases, "plate", 2)
    expected = f"bf16:{sha256_file(releases / 'plate' / '1' / 'model.onnx')}"
    assert {row["model_sha256"] for row in rows if row["decision"] == "PASS"} == {expected}
    assert {row["release"] for row in rows if row["decision"] == "PASS"} <= {"plate/1", 1}
    rig.verify()
