"""The folder camera and its strict decoder, on good and on broken files."""

import contextlib
import io
import struct
import threading
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from inspection.cameras.folder import FolderCameraConfig
from inspection.cameras.picture import decode_picture
from inspection.errors import CameraLostError, CameraTimeoutError, FrameError
from inspection.types import PartKey, Reason, Trigger


def trigger(part_id: int = 1) -> Trigger:
    now = time.monotonic()
    return Trigger(PartKey("s", 1, 1), part_id, "", now, "2026-01-01T00:00:00.000000Z", now + 5)


def picture(value: int = 100, size: tuple[int, int] = (40, 30)) -> np.ndarray:
    noise = np.random.default_rng(value).integers(0, 40, (size[1], size[0], 3))
    return (noise + min(value, 200)).astype(np.uint8)


def encode(image: np.ndarray, suffix: str, options: tuple[int, ...] = ()) -> bytes:
    done, data = cv2.imencode(suffix, image, list(options))
    assert done
    return data.tobytes()


def write(folder: Path, name: str, image: np.ndarray | None = None) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(picture() if image is None else image, path.suffix))
    return path


def refused(data: bytes) -> FrameError:
    with pytest.raises(FrameError) as caught:
        decode_picture(data, "x")
    assert caught.value.reason is Reason.FRAME_INVALID
    return caught.value


# the folder


def test_by_name_then_again(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg", "c.bmp", "ignored.txt"):
        write(tmp_path, name) if not name.endswith("txt") else (tmp_path / name).write_text("x")
    with_repeat = FolderCameraConfig(path=tmp_path).open()
    frames = [with_repeat.grab(trigger(), 1) for _ in range(4)]
    assert [frame.source for frame in frames] == ["a.jpg", "b.png", "c.bmp", "a.jpg"]
    assert [frame.frame_id for frame in frames] == [1, 2, 3, 4]
    once = FolderCameraConfig(path=tmp_path, repeat=False).open()
    for _ in range(3):
        once.grab(trigger(), 1)
    with pytest.raises(FrameError, match="all 3 pictures") as caught:
        once.grab(trigger(), 1)
    assert caught.value.reason is Reason.FRAME_INVALID


def test_shuffled_is_fixed_by_the_seed(tmp_path: Path) -> None:
    for i in range(12):
        write(tmp_path, f"{i:02d}.png")

    def order(seed: int) -> list[str]:
        camera = FolderCameraConfig(path=tmp_path, order="shuffled", seed=seed).open()
        return [camera.grab(trigger(), 1).source for _ in range(12)]

    assert order(3) == order(3) != order(4)
    assert sorted(order(3)) == [f"{i:02d}.png" for i in range(12)]


def test_by_part_id(tmp_path: Path) -> None:
    for name in ("0034.png", "34_old.png", "7_a.png", "7_b.png", "부품.png", "sub/8-x.png"):
        write(tmp_path, name)
    camera = FolderCameraConfig(path=tmp_path, order="part_id", pattern="**/*").open()
    assert camera.grab(trigger(34), 1).source == "0034.png"  # the exact name wins
    assert camera.grab(trigger(8), 1).source == "sub/8-x.png"
    for part, words in ((7, "2 pictures"), (99, "no picture")):
        with pytest.raises(FrameError, match=f"part {part} has {words}") as caught:
            camera.grab(trigger(part), 1)
        assert caught.value.reason is Reason.FRAME_INVALID
    camera.probe(1)  # the camera itself is fine


def test_odd_names(tmp_path: Path) -> None:
    names = ["스크래치 #1 (50%).png", "a'b\"c.jpg", "{x}[y].PNG", "ünï.bmp"]
    for name in names:
        write(tmp_path, name)
    camera = FolderCameraConfig(path=tmp_path).open()
    assert sorted(camera.grab(trigger(), 1).source for _ in names) == sorted(names)


def test_a_broken_file_costs_one_part_only(tmp_path: Path) -> None:
    write(tmp_path, "a.png")
    (tmp_path / "b.png").write_bytes(b"")
    (tmp_path / "c.jpg").write_bytes(b"not a picture")
    gone = write(tmp_path, "d.png")
    write(tmp_path, "e.png")
    camera = FolderCameraConfig(path=tmp_path).open()
    gone.unlink()
    assert camera.grab(trigger(), 1).source == "a.png"
    for words in ("b.png is empty", "c.jpg is no JPEG", "d.png cannot be read"):
        with pytest.raises(FrameError, match=words):
            camera.grab(trigger(), 1)
    assert camera.grab(trigger(), 1).source == "e.png"


def test_nothing_to_show(tmp_path: Path) -> None:
    with pytest.raises(CameraLostError, match="no picture in"):
        FolderCameraConfig(path=tmp_path).open()
    with pytest.raises(CameraLostError, match="is no folder"):
        FolderCameraConfig(path=tmp_path / "nowhere").open()
    write(tmp_path, "a.png")
    for pattern in ("*.jpg", "**x"):
        with pytest.raises(CameraLostError):
            FolderCameraConfig(path=tmp_path, pattern=pattern).open()


def test_folder_removed_while_open(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    file = write(folder, "a.png")
    camera = FolderCameraConfig(path=folder).open()
    file.unlink()
    folder.rmdir()
    with pytest.raises(CameraLostError, match="is gone"):
        camera.probe(1)
    with pytest.raises(FrameError):
        camera.grab(trigger(), 1)


def test_exposure_takes_its_time_and_keeps_the_timeout(tmp_path: Path) -> None:
    write(tmp_path, "a.png")
    camera = FolderCameraConfig(path=tmp_path, exposure=0.1).open()
    began = time.monotonic()
    camera.grab(trigger(), 5)
    assert time.monotonic() - began >= 0.1
    with pytest.raises(CameraTimeoutError):
        camera.grab(trigger(), 0.02)


def test_close_wakes_a_grab(tmp_path: Path) -> None:
    write(tmp_path, "a.png")
    camera = FolderCameraConfig(path=tmp_path, exposure=60).open()
    threading.Timer(0.05, camera.close).start()
    with pytest.raises(CameraLostError, match="closed"):
        camera.grab(trigger(), 60)


def test_config_refuses_nonsense(tmp_path: Path) -> None:
    for wrong in (
        {"order": "age"},
        {"pattern": "../*"},
        {"pattern": "/etc/*"},
        {"max_pixels": 0},
        {"speed": 2},
    ):
        with pytest.raises(ValidationError):
            FolderCameraConfig(path=tmp_path, **wrong)
    assert FolderCameraConfig(path=Path("p")).beside(tmp_path).path == tmp_path / "p"


# the decoder


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".jpg"])
def test_colours_are_rgb(suffix: str) -> None:
    red = np.zeros((30, 40, 3), np.uint8)
    red[..., 2] = 255  # OpenCV writes BGR
    image = decode_picture(encode(red, suffix), "x")
    assert image.dtype == np.uint8
    assert image.shape == (30, 40, 3)
    assert image.flags.c_contiguous
    assert image.flags.owndata
    assert image[..., 0].min() > 240
    assert image[..., 1:].max() < 15


def test_grey_deep_and_transparent_pictures() -> None:
    grey = np.full((20, 30), 77, np.uint8)
    assert (decode_picture(encode(grey, ".png"), "x") == 77).all()
    deep = np.full((20, 30, 3), 77 * 257, np.uint16)
    for suffix in (".png", ".tif"):
        assert (decode_picture(encode(deep, suffix), "x") == 77).all()
    clear = np.dstack([np.full((20, 30, 3), 77, np.uint8), np.zeros((20, 30), np.uint8)])
    assert (decode_picture(encode(clear, ".png"), "x") == 77).all()


def test_orientation_of_the_camera_is_applied() -> None:
    jpeg = encode(picture(size=(40, 30)), ".jpg")
    tag = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)  # rotate by 90 degrees
    body = b"Exif\0\0" + b"II*\0\x08\0\0\0" + struct.pack("<H", 1) + tag + b"\0\0\0\0"
    app1 = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    assert decode_picture(jpeg[:2] + app1 + jpeg[2:], "x").shape == (40, 30, 3)


def test_cmyk_is_refused() -> None:
    pil = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    for kind in ("JPEG", "TIFF"):
        file = io.BytesIO()
        pil.new("CMYK", (20, 10), (10, 200, 30, 40)).save(file, kind)
        assert "CMYK" in str(refused(file.getvalue()))


def test_too_many_pixels_are_refused_before_decoding() -> None:
    small = encode(picture(), ".png")
    with pytest.raises(FrameError, match="40 x 30 pixels, over 1000"):
        decode_picture(small, "x", max_pixels=1000)
    ihdr = b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    crc = struct.pack(">I", zlib.crc32(ihdr))
    bomb = small[:12] + ihdr + crc + small[33:]
    assert "60000 x 60000" in str(refused(bomb))


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".jpg", ()),
        (".jpg", (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)),
        (".jpg", (cv2.IMWRITE_JPEG_RST_INTERVAL, 1)),
        (".png", ()),
        (".bmp", ()),
        (".tif", ()),
    ],
)
def test_every_truncation_is_refused(suffix: str, options: tuple[int, ...]) -> None:
    data = encode(picture(), suffix, options)
    whole = decode_picture(data, "x")
    accepted = []
    for length in range(len(data)):
        with contextlib.suppress(FrameError):
            accepted.append(decode_picture(data[:length], "x"))
    # a TIFF may end with values that its pixels do not need
    assert not accepted or suffix == ".tif"
    assert all(np.array_equal(image, whole) for image in accepted)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_tail_of_zeros_is_refused(suffix: str) -> None:
    """What a power cut leaves: the length is right, the end was never written. (Black in a BMP.)"""
    data = encode(picture(), suffix)
    for lost in (16, len(data) // 2):
        refused(data[:-lost] + bytes(lost))


@given(st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8", b"BM", b"II*\0", b"MM\0*"]))
@settings(max_examples=300, deadline=None)
def test_garbage_is_refused(data: bytes, start: bytes) -> None:
    refused(start + data)


@given(st.sampled_from([".jpg", ".png", ".tif", ".bmp"]), st.data())
@settings(max_examples=300, deadline=None)
def test_flipped_bytes_never_give_another_error(suffix: str, draw: st.DataObject) -> None:
    data = bytearray(encode(picture(), suffix))
    at = draw.draw(st.integers(0, len(data) - 1))
    data[at] ^= draw.draw(st.integers(1, 255))
    try:
        image = decode_picture(bytes(data), "x", max_pixels=100_000)
    except FrameError:
        return
    assert image.dtype == np.uint8
    assert image.ndim == 3
