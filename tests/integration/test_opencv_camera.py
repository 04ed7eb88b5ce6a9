"""The OpenCV camera on real streams and files: freshness, reconnection, hanging, broken sources."""

import contextlib
import logging
import os
import socket
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from mjpeg_server import HEIGHT, WIDTH, MjpegServer, draw_number, read_number
from pydantic import ValidationError

from inspection.cameras.opencv import OpenCvCameraConfig, StreamCamera, VideoFileCamera
from inspection.errors import CameraError, CameraLostError, CameraTimeoutError, FrameError
from inspection.types import Frame, PartKey, Reason, Trigger

PATIENCE = 30.0


def trigger() -> Trigger:
    now = time.monotonic()
    return Trigger(PartKey("s", 1, 1), 1, "", now, "2026-01-01T00:00:00.000000Z", now + 5)


def wait_for_frame(camera: StreamCamera) -> Frame:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return camera.grab(trigger(), 0.5)
        except CameraError:
            assert time.monotonic() < deadline


def wait_for_error(camera: StreamCamera, kind: type[CameraError]) -> CameraError:
    """Grab until an error of this kind comes."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            camera.grab(trigger(), 0.2)
        except kind as error:
            return error
        except CameraError:
            pass
    raise AssertionError(f"no {kind.__name__} came")


def write_video(path: Path, frames: int) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (WIDTH, HEIGHT))
    for number in range(1, frames + 1):
        writer.write(draw_number(number))
    writer.release()
    return path


# streams


@pytest.mark.parametrize("flush", [1, 2])
def test_a_frame_was_made_after_its_trigger(flush: int) -> None:
    """The server knows when it made each picture: none is older than the trigger."""
    with MjpegServer(fps=15) as server:
        camera = OpenCvCameraConfig(source=server.url, flush=flush, timeout=10).open()
        numbers = []
        for step in range(12):
            threading.Event().wait(0.012 * (step % 7))
            asked = trigger()
            frame = camera.grab(asked, PATIENCE)
            number = read_number(frame.image)
            assert server.made_at(number) > asked.seen_mono
            numbers.append(number)
        camera.close()
    assert numbers == sorted(set(numbers))


def test_pictures_from_a_buffer_are_not_taken() -> None:
    """After a stall the old pictures arrive, and are read, after the trigger."""
    with MjpegServer(fps=15) as server:
        camera = OpenCvCameraConfig(source=server.url, timeout=10).open()
        for _ in range(5):
            camera.grab(trigger(), PATIENCE)
        for _ in range(3):
            server.stall()
            threading.Event().wait(0.5)
            asked = trigger()
            server.unstall()
            frame = camera.grab(asked, PATIENCE)
            assert server.made_at(read_number(frame.image)) > asked.seen_mono
        camera.close()


def test_frame_id_counts_what_the_driver_delivered() -> None:
    """It follows the camera's own count, also for the frames that nobody grabbed."""
    with MjpegServer(fps=60) as server:
        camera = OpenCvCameraConfig(source=server.url, timeout=10).open()
        first = camera.grab(trigger(), PATIENCE)
        threading.Event().wait(0.3)
        last = camera.grab(trigger(), PATIENCE)
        camera.close()
    made = read_number(last.image) - read_number(first.image)
    assert last.frame_id - first.frame_id == made > 3


def test_killed_camera_comes_back() -> None:
    server = MjpegServer().start()
    config = OpenCvCameraConfig(source=server.url, timeout=5, retry=0.05, retry_max=0.2)
    camera = config.open()
    before = camera.grab(trigger(), PATIENCE)
    server.stop()
    assert isinstance(wait_for_error(camera, CameraLostError), CameraLostError)
    with pytest.raises(CameraLostError, match=r"is being made again|cannot be opened"):
        camera.probe(0.5)
    server.start()
    after = wait_for_frame(camera)
    assert after.frame_id > before.frame_id
    camera.close()
    server.stop()


def test_camera_that_falls_silent_is_noticed_by_our_own_timeout() -> None:
    with MjpegServer() as server:
        camera = OpenCvCameraConfig(source=server.url, timeout=60).open()
        server.pause()
        wait_for_error(camera, CameraTimeoutError)
        asked = trigger()
        server.resume()
        frame = camera.grab(asked, PATIENCE)
        assert server.made_at(read_number(frame.image)) > asked.seen_mono
        server.pause()
        began = time.monotonic()
        camera.close()
        assert time.monotonic() - began < 5


def test_silent_camera_is_reconnected_after_the_read_timeout() -> None:
    with MjpegServer() as server:
        camera = OpenCvCameraConfig(source=server.url, timeout=0.5, retry=0.05).open()
        server.pause()
        wait_for_error(camera, CameraLostError)
        server.resume()
        wait_for_frame(camera)
        camera.close()


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    threads = threading.active_count()
    with pytest.raises(CameraLostError, match="check power, cable"):
        OpenCvCameraConfig(source=f"http://127.0.0.1:{port}/x", timeout=0.5).open()
    deadline = time.monotonic() + PATIENCE
    while threading.active_count() > threads:
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def test_a_server_that_accepts_and_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        began = time.monotonic()
        with pytest.raises(CameraLostError):
            OpenCvCameraConfig(source=f"http://127.0.0.1:{port}/x", timeout=1).open()
        assert time.monotonic() - began < 10


def test_no_such_device() -> None:
    for source in (63, "/dev/video63"):
        with pytest.raises(CameraLostError):
            OpenCvCameraConfig(source=source, timeout=0.3).open()


def test_another_size_than_configured_is_refused() -> None:
    with MjpegServer() as server:
        camera = OpenCvCameraConfig(source=server.url, width=640, timeout=10).open()
        with pytest.raises(FrameError, match="320 x 240") as caught:
            camera.grab(trigger(), PATIENCE)
        assert caught.value.reason is Reason.FRAME_SIZE
        camera.close()


def test_passwords_are_not_told(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    config = OpenCvCameraConfig(source=f"rtsp://me:secret@127.0.0.1:{port}/x", timeout=0.5)
    with caplog.at_level(logging.DEBUG), pytest.raises(CameraLostError) as caught:
        config.open()
    assert "secret" not in str(caught.value) + caplog.text
    with MjpegServer() as server:
        url = server.url.replace("//", "//me:secret@")
        camera = OpenCvCameraConfig(source=url, timeout=10).open()
        assert camera.grab(trigger(), PATIENCE).source == server.url
        camera.close()


def test_the_users_ffmpeg_options_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;udp")
    with MjpegServer() as server:
        OpenCvCameraConfig(source=server.url, timeout=10).open().close()
    assert os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] == "rtsp_transport;udp"


# files


def test_file_gives_every_frame_then_begins_again(tmp_path: Path) -> None:
    path = write_video(tmp_path / "부품 영상.avi", 4)
    camera = OpenCvCameraConfig(source=path.name).beside(tmp_path).open()
    assert isinstance(camera, VideoFileCamera)
    frames = [camera.grab(trigger(), PATIENCE) for _ in range(6)]
    assert [read_number(frame.image) for frame in frames] == [1, 2, 3, 4, 1, 2]
    assert [frame.frame_id for frame in frames] == [1, 2, 3, 4, 5, 6]
    camera.close()


def test_file_without_loop_ends(tmp_path: Path) -> None:
    camera = OpenCvCameraConfig(source=str(write_video(tmp_path / "v.avi", 2)), loop=False).open()
    camera.grab(trigger(), PATIENCE)
    camera.grab(trigger(), PATIENCE)
    for _ in range(2):
        with pytest.raises(FrameError, match="no further frame") as caught:
            camera.grab(trigger(), PATIENCE)
        assert caught.value.reason is Reason.FRAME_INVALID
    camera.close()


def test_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(CameraLostError, match="is no file"):
        OpenCvCameraConfig(source=str(tmp_path / "gone.avi")).open()
    (tmp_path / "text.avi").write_text("this is no video")
    with pytest.raises(CameraLostError, match="no video that OpenCV can read"):
        OpenCvCameraConfig(source=str(tmp_path / "text.avi")).open()


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9])
def test_truncated_file_never_gives_a_foreign_picture(tmp_path: Path, share: float) -> None:
    whole = write_video(tmp_path / "v.avi", 5).read_bytes()
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole[: int(len(whole) * share)])
    try:
        camera = OpenCvCameraConfig(source=str(cut), loop=False).open()
    except CameraLostError:
        return
    numbers = []
    with contextlib.suppress(FrameError):
        for _ in range(6):
            numbers.append(read_number(camera.grab(trigger(), PATIENCE).image))
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) < 5
    camera.close()


def test_grey_video_becomes_rgb(tmp_path: Path) -> None:
    path = str(tmp_path / "grey.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), 25, (WIDTH, HEIGHT), False)
    writer.write(np.full((HEIGHT, WIDTH), 90, np.uint8))
    writer.release()
    camera = OpenCvCameraConfig(source=path).open()
    image = camera.grab(trigger(), PATIENCE).image
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert 80 < image.mean() < 100
    camera.close()


@pytest.mark.parametrize(
    "wrong",
    [
        {"source": ""},
        {"source": -1},
        {"source": 0, "fourcc": "MJPEG"},
        {"source": 0, "backend": "gphoto"},
        {"source": 0, "timeout": 0},
        {"source": 0, "flush": -1},
        {"source": 0, "resolution": 5},
        {},
    ],
)
def test_config_refuses_nonsense(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        OpenCvCameraConfig(**wrong)


def test_what_is_live() -> None:
    for source in (0, "/dev/video0", "rtsp://10.0.0.9/1", "http://10.0.0.9/x.mjpg"):
        assert OpenCvCameraConfig(source=source).live
    assert not OpenCvCameraConfig(source="parts/run.mp4").live
