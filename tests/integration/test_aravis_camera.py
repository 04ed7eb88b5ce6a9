"""The Aravis driver against Aravis' own simulated GigE Vision camera: real packets on loopback."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fake_gige_camera import ADDRESS, FakeGigeCamera, installed, number_in, paint

from inspection.cameras.aravis import AravisCameraConfig, choose
from inspection.cameras.aravis_library import Listed
from inspection.cameras.device_frames import DeviceCamera
from inspection.cameras.gige_register import control_of
from inspection.errors import CameraError, CameraLostError, CameraTimeoutError, FrameError
from inspection.types import PartKey, Reason, Trigger

pytestmark = pytest.mark.skipif(not installed(), reason="libaravis-0.8-0 is not installed")
SIZE = {"width": 160, "height": 128}


def trigger(part: int = 1, deadline: float = 5.0) -> Trigger:
    now = time.monotonic()
    key = PartKey("s", 1, part % 65535 + 1)
    return Trigger(key, part, "", now, "2026-01-01T00:00:00.000000Z", now + deadline)


@pytest.fixture
def device() -> Iterator[FakeGigeCamera]:
    with FakeGigeCamera() as device:
        yield device


@contextlib.contextmanager
def opened(**fields: Any) -> Iterator[DeviceCamera]:
    given = {"device": ADDRESS, "transfer": 0.001, "exposure_us": 500, **SIZE, **fields}
    camera = AravisCameraConfig(**given).open()
    try:
        yield camera
    finally:
        camera.close()


def pulse_soon(device: FakeGigeCamera, number: int) -> threading.Thread:
    """The wire: a pulse some milliseconds after the trigger was seen."""
    thread = threading.Timer(0.015, device.pulse, [number])
    thread.start()
    return thread


def grab_pulsed(camera: DeviceCamera, device: FakeGigeCamera, number: int) -> Any:
    asked = trigger(number)
    wire = pulse_soon(device, number)
    try:
        return asked, camera.grab(asked, 2.0)
    finally:
        wire.join()


def run_parts(device: FakeGigeCamera, parts: int) -> None:
    """Each part's frame shows its own number, and the camera's ids go up by one, over the wrap."""
    ids: list[int] = []
    with opened(trigger="hardware", exposure_us=500) as camera:
        camera.probe(2)
        for part in range(1, parts + 1):
            asked, frame = grab_pulsed(camera, device, part)
            assert number_in(frame.image) == part
            assert asked.seen_mono <= frame.exposed_mono <= time.monotonic()
            ids.append(frame.frame_id)
    assert len(set(ids)) == parts
    steps = {b - a for a, b in itertools.pairwise(ids)}
    assert steps <= {1, 1 - 65535}
    assert 65535 in ids
    assert 0 not in ids


def test_150_pulsed_parts_get_their_own_frames(device: FakeGigeCamera) -> None:
    run_parts(device, 150)


@pytest.mark.soak
def test_1000_pulsed_parts_get_their_own_frames(device: FakeGigeCamera) -> None:
    run_parts(device, 1000)


@pytest.mark.parametrize("pixel_format", ["Mono8", "RGB8"])
def test_software_trigger_and_colours(device: FakeGigeCamera, pixel_format: str) -> None:
    with opened(trigger="software", pixel_format=pixel_format, exposure_us=500, gain=2) as camera:
        camera.probe(2)
        for _ in range(5):
            frame = camera.grab(trigger(), 2)
            channels = 3 if pixel_format == "RGB8" else 1
            expected = paint(160, 128, channels, number_in(frame.image))
            assert np.array_equal(frame.image, np.broadcast_to(expected, frame.image.shape))


def test_free_running_gives_what_was_exposed_after_the_trigger(device: FakeGigeCamera) -> None:
    with opened(trigger="free_running", settings={"AcquisitionFrameRate": 100.0}) as camera:
        camera.probe(2)
        for _ in range(5):
            asked = trigger()
            threading.Event().wait(0.05)  # old frames wait
            frame = camera.grab(trigger(), 2)
            assert frame.exposed_mono >= asked.seen_mono + 0.05


def test_a_frame_with_lost_packets_is_never_given(device: FakeGigeCamera) -> None:
    good = refused = 0
    with opened(trigger="software", width=320, height=256) as camera:
        camera.probe(2)
        device.loss(0.005)
        for _ in range(40):
            try:
                frame = camera.grab(trigger(), 2)
            except FrameError as error:
                refused += "incomplete" in str(error) and error.reason is Reason.FRAME_INVALID
                continue
            expected = paint(320, 256, 1, number_in(frame.image))
            assert np.array_equal(frame.image, np.broadcast_to(expected, frame.image.shape))
            good += 1
    assert good
    assert refused == 40 - good > 0


@pytest.mark.parametrize("mode", ["hardware", "free_running"])
def test_without_a_clock_the_transfer_must_be_known(device: FakeGigeCamera, mode: str) -> None:
    with pytest.raises(CameraError, match="set `transfer`"), opened(trigger=mode, transfer=None):
        pass
    assert control_of(ADDRESS) == "free"


def test_a_frame_on_its_way_when_the_trigger_came_is_refused(device: FakeGigeCamera) -> None:
    with opened(trigger="hardware", transfer=0.5) as camera:
        with pytest.raises(FrameError, match="may have been exposed before") as caught:
            grab_pulsed(camera, device, 1)
        assert caught.value.reason is Reason.FRAME_STALE


def test_a_lost_frame_shows_in_the_next_id(device: FakeGigeCamera) -> None:
    with opened(trigger="hardware") as camera:
        grab_pulsed(camera, device, 1)
        device.skip()  # a frame that never arrives
        with pytest.raises(FrameError, match="may show another part") as caught:
            grab_pulsed(camera, device, 3)
        assert caught.value.reason is Reason.FRAME_INVALID
        _, frame = grab_pulsed(camera, device, 4)
        assert number_in(frame.image) == 4


def test_a_frame_before_its_trigger_belongs_to_nobody(device: FakeGigeCamera) -> None:
    with opened(trigger="hardware") as camera:
        grab_pulsed(camera, device, 1)
        device.pulse(2)
        threading.Event().wait(0.1)  # it arrives
        with pytest.raises(FrameError, match="after TRIG_ACK") as caught:
            camera.grab(trigger(3), 0.2)
        assert caught.value.reason is Reason.FRAME_STALE


def test_no_pulse_no_frame(device: FakeGigeCamera) -> None:
    with opened(trigger="hardware") as camera, pytest.raises(CameraTimeoutError, match="hardware"):
        camera.grab(trigger(), 0.2)


def test_a_late_answer_is_not_the_next_parts(device: FakeGigeCamera) -> None:
    """The frame of a software trigger that timed out comes during the next grab: thrown away."""
    with opened(trigger="software") as camera:
        camera.probe(2)
        first = camera.grab(trigger(), 2).frame_id
        device.write(0x304, 9)  # it takes the command, and exposes much later
        with pytest.raises(CameraTimeoutError):
            camera.grab(trigger(), 0.2)
        later = threading.Timer(0.1, device.write, [0x304, 1])
        later.start()
        frame = camera.grab(trigger(), 2)
        later.join()
        assert frame.frame_id == first + 2


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"width": 5000}, "Width cannot be set to 5000"),
        ({"pixel_format": "BGR8"}, "PixelFormat cannot be set to BGR8"),
        ({"settings": {"NoSuchThing": 1}}, "no feature NoSuchThing"),
        ({"line": "Line7"}, "TriggerSource cannot be set to Line7"),
    ],
)
def test_a_setting_that_is_not_taken_is_named(
    device: FakeGigeCamera, fields: dict[str, Any], text: str
) -> None:
    with pytest.raises(CameraError, match=text), opened(**fields):
        pass
    assert control_of(ADDRESS) == "free"


def test_a_setting_that_reads_back_otherwise_is_named(device: FakeGigeCamera) -> None:
    """The camera holds whole microseconds: 10.4 becomes 10."""
    told = "ExposureTimeAbs was set to 10.4, the camera says 10"
    settings = {"ExposureTimeAbs": 10.4}
    with pytest.raises(CameraError, match=told), opened(settings=settings):
        pass


def test_the_region_is_moved_whatever_it_was(device: FakeGigeCamera) -> None:
    for offset, width in ((600, 160), (100, 1500), (600, 160)):
        with opened(offset_x=offset, offset_y=8, width=width) as camera:
            assert camera.facts["OffsetX"] == str(offset)
            assert camera.facts["Width"] == str(width)


def test_a_camera_that_is_held_is_refused(device: FakeGigeCamera) -> None:
    assert control_of(ADDRESS) == "free"
    with opened(trigger="software"):
        assert control_of(ADDRESS) == "taken"
        with pytest.raises(CameraLostError, match="another program controls"):
            AravisCameraConfig(device=ADDRESS).open()
    assert control_of(ADDRESS) == "free"


def test_the_only_camera_needs_no_name(device: FakeGigeCamera) -> None:
    for name in ("", "GV01"):
        with opened(device=name) as camera:
            camera.probe(2)
    with pytest.raises(CameraLostError, match="fits 0 cameras; found: Aravis-Fake-GV01"):
        AravisCameraConfig(device="GV02").open()


def test_several_cameras_and_no_name() -> None:
    found = [Listed(f"id{n}", f"10.0.0.{n}", "m", "x", f"{n}", "GigEVision") for n in (1, 2)]
    with pytest.raises(CameraLostError, match=r"fits 2 cameras; found: id1 at 10.0.0.1, id2"):
        choose(found, "", "top")
    assert choose(found, "10.0.0.2", "top") is found[1]


def test_power_off_and_on(device: FakeGigeCamera) -> None:
    """Noticed within a second by an idle camera, running again within three of its return."""
    config = AravisCameraConfig(device="GV01", trigger="software", exposure_us=700, **SIZE)
    camera = config.open()
    camera.probe(2)
    device.kill()
    off, noticed = time.monotonic(), 0.0
    while not noticed:
        assert time.monotonic() - off < 10
        threading.Event().wait(camera.probe_every)
        try:
            camera.probe(1)
        except CameraLostError:
            noticed = time.monotonic() - off
    camera.close()
    threading.Event().wait(1.0)
    device.start()
    on, frame = time.monotonic(), None
    while frame is None:
        assert time.monotonic() - on < 20
        try:
            camera = config.open()
            camera.probe(2)
            frame = camera.grab(trigger(), 2)
        except CameraError:
            threading.Event().wait(0.5)
    back = time.monotonic() - on
    assert device.register(0x120) == 700, "the settings were applied again"
    assert frame.image.shape == (128, 160, 3)
    camera.close()
    print(f"noticed after {noticed:.2f} s, running {back:.2f} s after the return")
    assert noticed < 2, "1 s on a quiet PC"
    assert back < 6, "3 s on a quiet PC"


def test_held_up_in_the_middle_of_a_grab(device: FakeGigeCamera) -> None:
    with opened(trigger="hardware") as camera:
        stopped = threading.Timer(0.1, device.kill)
        stopped.start()
        began = time.monotonic()
        with pytest.raises(CameraLostError, match="went away"):
            camera.grab(trigger(), 8)
        stopped.join()
        assert time.monotonic() - began < 4
