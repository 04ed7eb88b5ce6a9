"""What `inspection.protocols.Camera` promises, tried on every driver.

Each driver is set up to show something red, and to be slow or silent where the contract is about
time. A new driver adds itself to `DRIVERS`.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import pytest
from fake_gige_camera import FakeGigeCamera
from fake_gige_camera import installed as has_aravis
from mjpeg_server import HEIGHT, WIDTH, MjpegServer, draw_number

from inspection.cameras.aravis import AravisCameraConfig
from inspection.cameras.folder import FolderCameraConfig
from inspection.cameras.gentl import GenTlCameraConfig
from inspection.cameras.opencv import OpenCvCameraConfig
from inspection.cameras.pylon import PylonCameraConfig
from inspection.cameras.simulated import SimulatedCameraConfig
from inspection.cameras.views import ViewsConfig
from inspection.errors import CameraError, CameraLostError, CameraTimeoutError, FrameError
from inspection.protocols import Camera
from inspection.types import PartKey, Trigger

PATIENCE = 30.0


def trigger(part_id: int = 7) -> Trigger:
    now = time.monotonic()
    return Trigger(PartKey("s", 1, 1), part_id, "", now, "2026-01-01T00:00:00.000000Z", now + 5)


def write_pictures(folder: Path) -> Path:
    for number in range(1, 6):
        done, data = cv2.imencode(".png", draw_number(number))
        assert done
        (folder / f"{number}.png").write_bytes(data.tobytes())
    return folder


def write_video(folder: Path) -> str:
    path = str(folder / "parts.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), 25, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for number in range(1, 6):
        writer.write(draw_number(number))
    writer.release()
    return path


@contextlib.contextmanager
def folder(tmp_path: Path, **settings: Any) -> Iterator[FolderCameraConfig]:
    yield FolderCameraConfig(path=write_pictures(tmp_path), **settings)


@contextlib.contextmanager
def simulated(tmp_path: Path, **settings: Any) -> Iterator[SimulatedCameraConfig]:
    yield SimulatedCameraConfig(**{"exposure": 0.001, **settings})


@contextlib.contextmanager
def video_file(tmp_path: Path, **settings: Any) -> Iterator[OpenCvCameraConfig]:
    yield OpenCvCameraConfig(source=write_video(tmp_path), **settings)


@contextlib.contextmanager
def stream(tmp_path: Path, **settings: Any) -> Iterator[OpenCvCameraConfig]:
    with MjpegServer() as server:
        yield OpenCvCameraConfig(source=server.url, timeout=10, **settings)


@contextlib.contextmanager
def silent_stream(tmp_path: Path) -> Iterator[tuple[OpenCvCameraConfig, Callable[[], None]]]:
    with MjpegServer() as server:
        yield OpenCvCameraConfig(source=server.url, timeout=60), server.pause


@contextlib.contextmanager
def silent_simulated(tmp_path: Path) -> Iterator[tuple[SimulatedCameraConfig, Callable[[], None]]]:
    yield (
        SimulatedCameraConfig(exposure=0.001, faults=[f"lost@{n}" for n in range(2, 9)]),
        lambda: None,
    )


@contextlib.contextmanager
def silent_folder(tmp_path: Path) -> Iterator[tuple[FolderCameraConfig, Callable[[], None]]]:
    yield FolderCameraConfig(path=write_pictures(tmp_path), exposure=59), lambda: None


GIGE: dict[str, Any] = {"trigger": "software", "width": 160, "height": 128}


@contextlib.contextmanager
def gige(tmp_path: Path) -> Iterator[AravisCameraConfig]:
    if not has_aravis():
        pytest.skip("libaravis-0.8-0 is not installed")
    with FakeGigeCamera():
        yield AravisCameraConfig(device="127.0.0.1", **GIGE)


@contextlib.contextmanager
def silent_gige(tmp_path: Path) -> Iterator[tuple[AravisCameraConfig, Callable[[], None]]]:
    if not has_aravis():
        pytest.skip("libaravis-0.8-0 is not installed")
    with FakeGigeCamera() as device:
        yield AravisCameraConfig(device="127.0.0.1", **GIGE), device.mute


@contextlib.contextmanager
def gentl(tmp_path: Path) -> Iterator[GenTlCameraConfig]:
    """The red one of the three cameras of the producer that ships with the genicam wheel."""
    package = find_spec("genicam")
    if package is None or package.origin is None or find_spec("harvesters") is None:
        pytest.skip("the extra genicam is not installed")
    yield GenTlCameraConfig(
        producer=Path(package.origin).with_name("viky.cti"),
        device="0",
        trigger="free_running",
        pixel_format="RGBa8",
        transfer=0.01,
    )


@contextlib.contextmanager
def pylon(tmp_path: Path) -> Iterator[PylonCameraConfig]:
    """A camera of Basler's emulation."""
    if find_spec("pypylon") is None:
        pytest.skip("the extra pylon is not installed")
    with mock.patch.dict("os.environ", PYLON_CAMEMU="2"):
        yield PylonCameraConfig(device="0815-0000", **{**GIGE, "exposure_us": 500})


@contextlib.contextmanager
def views(tmp_path: Path, **settings: Any) -> Iterator[ViewsConfig]:
    """Two cameras: a sensor, and a folder whose pictures are as large."""
    cameras = [
        {"type": "simulated", "name": "top", "exposure": 0.001, "size": (WIDTH, HEIGHT)},
        {"type": "folder", "name": "side", "path": write_pictures(tmp_path)},
    ]
    yield ViewsConfig(cameras=cameras, size=(WIDTH, HEIGHT), **settings)


@contextlib.contextmanager
def silent_views(tmp_path: Path) -> Iterator[tuple[ViewsConfig, Callable[[], None]]]:
    lost = [f"lost@{n}" for n in range(2, 9)]
    size = {"type": "simulated", "exposure": 0.001, "size": (128, 96)}
    cameras = [{**size, "name": "top"}, {**size, "name": "side", "faults": lost}]
    yield ViewsConfig(cameras=cameras, size=(128, 96)), lambda: None


DRIVERS = {
    "folder": folder,
    "simulated": simulated,
    "video file": video_file,
    "stream": stream,
    "aravis": gige,
    "gentl": gentl,
    "pylon": pylon,
    "views": views,
}
SILENT = {
    "folder": silent_folder,
    "simulated": silent_simulated,
    "stream": silent_stream,
    "aravis": silent_gige,
    "views": silent_views,
}


@pytest.fixture(params=DRIVERS)
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    with DRIVERS[request.param](tmp_path) as config:
        yield config


@pytest.fixture
def camera(config: Any) -> Iterator[Camera]:
    camera = config.open()
    yield camera
    camera.close()


@pytest.fixture(params=SILENT)
def silent(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Camera]:
    """A camera that delivers nothing from its second frame on, or not in this hour."""
    with SILENT[request.param](tmp_path) as (config, silence):
        camera = config.open()
        if request.param != "folder":
            camera.grab(trigger(), PATIENCE)
        silence()
        yield camera
        camera.close()


def test_every_registered_driver_is_tried() -> None:
    registered = {point.name: point.load() for point in entry_points(group="inspection.cameras")}
    ours = {
        "folder": FolderCameraConfig,
        "simulated": SimulatedCameraConfig,
        "opencv": OpenCvCameraConfig,
        "aravis": AravisCameraConfig,
        "gentl": GenTlCameraConfig,
        "pylon": PylonCameraConfig,
        "views": ViewsConfig,
    }
    assert ours.items() <= registered.items()
    for name, kind in ours.items():
        assert kind.model_fields["type"].default == name
        assert all(field.description for key, field in kind.model_fields.items() if key != "type")


def test_shape_of_the_driver(camera: Camera, config: Any) -> None:
    assert isinstance(camera, Camera)
    assert camera.name == config.name == "camera"
    assert isinstance(camera.live, bool)


def test_frames(camera: Camera) -> None:
    frames = [camera.grab(trigger(), PATIENCE) for _ in range(4)]
    for frame in frames:
        assert frame.image.dtype == np.uint8
        assert frame.image.ndim == 3
        assert frame.image.shape[2] == 3
        assert frame.image.flags.c_contiguous
        assert frame.camera == camera.name
    ids = [frame.frame_id for frame in frames]
    assert ids == sorted(set(ids))


def test_a_frame_is_never_written_again(camera: Camera) -> None:
    frame = camera.grab(trigger(), PATIENCE)
    copy = frame.image.copy()
    others = [camera.grab(trigger(), PATIENCE).image for _ in range(6)]
    assert np.array_equal(frame.image, copy)
    assert not any(np.shares_memory(frame.image, other) for other in others)
    frame.image[:] = 0  # nor does writing to it change what comes next
    assert all(camera.grab(trigger(), PATIENCE).image.any() for _ in range(5))


def test_exposed_after_the_trigger(camera: Camera) -> None:
    for pause in (0.0, 0.05, 0.011, 0.0):
        threading.Event().wait(pause)
        asked = trigger()
        frame = camera.grab(asked, PATIENCE)
        assert asked.seen_mono <= frame.exposed_mono <= time.monotonic()


@pytest.mark.parametrize("driver", ["folder", "video file", "stream"])
def test_red_is_red(driver: str, tmp_path: Path) -> None:
    with DRIVERS[driver](tmp_path) as config:
        camera = config.open()
        red, green, blue = camera.grab(trigger(), PATIENCE).image[: HEIGHT // 2].mean(axis=(0, 1))
        camera.close()
    assert red > 220
    assert max(green, blue) < 40


def test_red_is_red_in_the_simulated_camera() -> None:
    camera = SimulatedCameraConfig(marks=True, defect_rate=1.0).open()
    frames = [camera.grab(trigger(part), PATIENCE) for part in range(1, 30)]
    scratched = [frame.image for frame in frames if "scratch" in (frame.truth or {})]
    assert scratched
    assert all((image == (255, 0, 0)).all(axis=2).any() for image in scratched)


def test_probe_consumes_no_part(config: Any) -> None:
    camera = config.open()
    for _ in range(3):
        camera.probe(PATIENCE)
    first = camera.grab(trigger(), PATIENCE)
    camera.close()
    if not camera.live:
        assert first.frame_id == 1


def test_timeout_is_kept(silent: Camera) -> None:
    for timeout in (0.05, 0.3):
        began = time.monotonic()
        with pytest.raises(CameraTimeoutError) as caught:
            silent.grab(trigger(), timeout)
        assert timeout * 0.9 <= time.monotonic() - began < timeout + 5
        assert silent.name in str(caught.value)


def test_close_during_a_grab(silent: Camera) -> None:
    """The grab may stay blocked; close itself returns soon, and no frame comes out of it."""
    outcome: list[object] = []

    def grab() -> None:
        try:
            outcome.append(silent.grab(trigger(), 3))
        except (CameraError, FrameError) as error:
            outcome.append(error)

    thread = threading.Thread(target=grab)
    thread.start()
    threading.Event().wait(0.1)
    began = time.monotonic()
    silent.close()
    assert time.monotonic() - began < 5
    thread.join(PATIENCE)
    assert len(outcome) == 1
    assert isinstance(outcome[0], CameraError)


def test_closed_twice_then_useless(camera: Camera) -> None:
    camera.grab(trigger(), PATIENCE)
    camera.close()
    camera.close()
    with pytest.raises(CameraLostError, match="open it again"):
        camera.grab(trigger(), 1)
    with pytest.raises(CameraLostError):
        camera.probe(1)


def test_opened_again(config: Any) -> None:
    for _ in range(3):
        camera = config.open()
        camera.grab(trigger(), PATIENCE)
        camera.close()
