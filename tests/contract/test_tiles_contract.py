"""Tiles and outlines give the same in every runtime; the service also where it takes few images."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from release_builder import paint, write_release
from service_process import PATIENCE, ServiceProcess

from inspection.detector import Detector
from inspection.errors import InferenceTimeoutError, ModelOutputError
from inspection.protocols import Runtime
from inspection.release import load_release
from inspection.runtimes.onnxruntime import OnnxRuntimeConfig
from inspection.runtimes.openvino import OpenVinoConfig
from inspection.runtimes.pytorch import PyTorchConfig
from inspection.runtimes.service import ServiceConfig
from inspection.types import Release, Tiling

SIZE = (64, 96)
TILING = Tiling((128, 192), 0.25)
FRAME = (500, 700)
MARKS = {0: (150, 100, 230, 124), 1: (20, 300, 560, 320), 2: (680, 480, 700, 500)}
"""Over a border; longer than a tile; in the last corner."""
KINDS = ["onnxruntime", "openvino", "pytorch", "service", "service-3-at-a-time"]


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiles") / "releases"
    write_release(folder, part="tiles", size=SIZE, tiling=TILING)
    write_release(folder, part="outlines", size=SIZE, tiling=TILING, variant="segment")
    write_release(folder, part="bad", size=SIZE, tiling=TILING, variant="bad_masks")
    write_release(folder, part="nan", size=SIZE, tiling=TILING, variant="nan_masks")
    write_release(folder, part="whole", size=(320, 448), variant="segment")
    write_release(folder, number=2, part="tiles", size=SIZE, tiling=TILING, variant="slow")
    (folder / "tiles" / "current").write_text("1\n")
    write_release(folder, part="heat", size=SIZE, tiling=TILING, variant="anomaly")
    return folder


@pytest.fixture(scope="module")
def service(releases: Path) -> Iterator[ServiceProcess]:
    with ServiceProcess(releases) as running:
        yield running


@pytest.fixture(scope="module")
def small_service(releases: Path) -> Iterator[ServiceProcess]:
    with ServiceProcess(releases, "--max-batch", "3") as running:
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
        small = request.param.endswith("3-at-a-time")
        url = request.getfixturevalue("small_service" if small else "service").url
        memory: Any = "off" if small else "on"
        config = ServiceConfig(url=url, shared_memory=memory, timeout=PATIENCE)
    opened = config.open()
    yield opened
    opened.close()


def release_of(releases: Path, part: str, number: int = 1) -> Release:
    return load_release(releases / part / str(number))


def picture() -> np.ndarray[Any, Any]:
    return paint(FRAME, *((k, box) for k, box in MARKS.items()))


@pytest.mark.parametrize("part", ["tiles", "outlines"])
def test_marks_are_found_where_they_are(runtime: Runtime, releases: Path, part: str) -> None:
    release = release_of(releases, part)
    runtime.load(release, PATIENCE)
    for _ in range(2):
        found = Detector(release, runtime).detect(picture(), PATIENCE)
        assert sorted(found.classes.tolist()) == [0, 1, 2]
        for kind, box in zip(found.classes.tolist(), found.boxes, strict=True):
            assert box.tolist() == pytest.approx(MARKS[kind], abs=4)
        assert (found.outlines is not None) == (part == "outlines")
        for row in found.as_rows() if part == "outlines" else []:
            x1, y1, x2, y2 = MARKS[found.class_names.index(row["class"])]
            assert row["area"] == pytest.approx((x2 - x1) * (y2 - y1), rel=0.25)
            assert 3 <= len(row["outline"]) <= 64


def test_an_image_smaller_than_a_tile(runtime: Runtime, releases: Path) -> None:
    release = release_of(releases, "outlines")
    runtime.load(release, PATIENCE)
    found = Detector(release, runtime).detect(paint((90, 70), (1, (10, 20, 50, 60))), PATIENCE)
    (row,) = found.as_rows()
    assert row["box"] == pytest.approx([10, 20, 50, 60], abs=2)
    assert row["area"] == pytest.approx(1600, rel=0.1)


def test_outlines_of_whole_images(runtime: Runtime, releases: Path) -> None:
    release = release_of(releases, "whole")
    runtime.load(release, PATIENCE)
    rows = Detector(release, runtime).detect(picture(), PATIENCE).as_rows()
    assert {row["class"] for row in rows} == {"scratch", "dent", "hole"}
    scratch = next(row for row in rows if row["class"] == "scratch")
    assert scratch["area"] == pytest.approx(80 * 24, rel=0.15)


@pytest.mark.parametrize("part", ["bad", "nan"])
def test_masks_that_are_nonsense_are_an_error(runtime: Runtime, releases: Path, part: str) -> None:
    release = release_of(releases, part)
    runtime.load(release, PATIENCE)
    with pytest.raises(ModelOutputError, match="masks"):
        Detector(release, runtime).detect(picture(), PATIENCE)


def test_the_anomaly_score_is_that_of_the_worst_tile(runtime: Runtime, releases: Path) -> None:
    release = release_of(releases, "heat")
    runtime.load(release, PATIENCE)
    image = np.full((*FRAME, 3), 40, np.uint8)
    image[495:, 695:] = 250
    found = Detector(release, runtime).detect(image, PATIENCE)
    assert found.anomaly_score == pytest.approx(250 / 256)


@pytest.mark.parametrize("runtime", ["service"], indirect=True)
def test_all_tiles_share_one_deadline(runtime: Runtime, releases: Path) -> None:
    release = release_of(releases, "tiles", 2)
    runtime.load(release, PATIENCE)
    with pytest.raises(InferenceTimeoutError):
        Detector(release, runtime).detect(picture(), 0.02)  # several batches of about 0.3 s
    runtime.load(release, PATIENCE)
    small = paint((128, 192), (2, (20, 30, 60, 70)))
    found = Detector(release, runtime).detect(small, PATIENCE)  # never the answer of before
    assert found.classes.tolist() == [2]


class TestPictures:
    """`/api/v1/inspect`, for people, cuts as the line does."""

    @pytest.mark.parametrize("few", [False, True])
    @pytest.mark.parametrize("part", ["tiles", "outlines"])
    def test_picture(
        self, service: ServiceProcess, small_service: ServiceProcess, part: str, few: bool
    ) -> None:
        png = cv2.imencode(".png", cv2.cvtColor(picture(), cv2.COLOR_RGB2BGR))[1].tobytes()
        asked = small_service if few else service
        status, answer = asked.call("POST", f"/api/v1/inspect?part={part}", png)
        assert status == 200
        rows = {row["class"]: row for row in answer["detections"]}
        assert set(rows) == {"scratch", "dent", "hole"}
        assert rows["dent"]["box"] == pytest.approx(MARKS[1], abs=4)
        assert ("outline" in rows["dent"]) == (part == "outlines")

    def test_nonsense_masks(self, service: ServiceProcess) -> None:
        png = cv2.imencode(".png", cv2.cvtColor(picture(), cv2.COLOR_RGB2BGR))[1].tobytes()
        status, answer = service.call("POST", "/api/v1/inspect?part=bad", png)
        assert (status, "masks" in answer["error"]) == (500, True)

    def test_metadata_names_the_masks(self, service: ServiceProcess) -> None:
        _, answer = service.call("GET", "/v2/models/outlines")
        shapes = {output["name"]: output["shape"] for output in answer["outputs"]}
        assert shapes == {"detections": [-1, -1, 6], "masks": [-1, -1, 16, 24]}
        _, config = service.call("GET", "/v2/models/outlines/config")
        assert [output["name"] for output in config["output"]] == ["detections", "masks"]


def test_a_release_of_another_cut_answers_the_same_marks(runtime: Runtime, releases: Path) -> None:
    """The cut is the line's: one loaded network serves any."""
    release = release_of(releases, "tiles")
    runtime.load(release, PATIENCE)
    for size, overlap in (((64, 96), 0.0), ((128, 192), 0.5), ((250, 375), 0.1)):
        other = dataclasses.replace(release, tiling=Tiling(size, overlap))
        found = Detector(other, runtime).detect(picture(), PATIENCE)
        assert sorted(found.classes.tolist()) == [0, 1, 2], (size, overlap)
