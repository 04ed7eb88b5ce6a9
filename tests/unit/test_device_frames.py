"""The rules from trigger to frame, with a device that does what each test says."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from inspection.cameras.aravis import AravisCameraConfig
from inspection.cameras.control_channel import ControlChannel
from inspection.cameras.device_clock import DeviceClock
from inspection.cameras.device_frames import DeviceCamera, RawFrame, TriggerMode, follows
from inspection.cameras.device_settings import apply_settings, same_setting
from inspection.cameras.pixel_formats import to_rgb
from inspection.errors import CameraError, CameraLostError, CameraTimeoutError, FrameError
from inspection.types import Frame, PartKey, Reason, Trigger


def trigger() -> Trigger:
    now = time.monotonic()
    return Trigger(PartKey("s", 1, 1), 7, "", now, "2026-01-01T00:00:00.000000Z", now + 5)


class Scripted:
    """A device whose frames are put in by the test; its clock is `ahead` of ours."""

    def __init__(self, ahead: float | None = None) -> None:
        self.facts: dict[str, str] = {}
        self.exposure = 0.0
        self.ahead = ahead
        self.waiting: deque[RawFrame] = deque()
        self.on_fire: Callable[[], None] = lambda: None
        self.on_check: Callable[[], None] = lambda: None
        self.released = 0

    def put(self, frame_id: int, fault: str = "", exposed: float | None = None) -> None:
        now = time.monotonic()
        stamp = 0 if self.ahead is None else round(((exposed or now) + self.ahead) * 1e9)
        self.waiting.append(
            RawFrame(bytes([frame_id % 256] * 16), 4, 4, "Mono8", frame_id, stamp, now, fault)
        )

    def next(self, timeout: float) -> RawFrame | None:
        end = time.monotonic() + timeout
        while not self.waiting and time.monotonic() < end:
            threading.Event().wait(0.001)
        return self.waiting.popleft() if self.waiting else None

    def fire(self) -> None:
        self.on_fire()

    def clock(self) -> int | None:
        return None if self.ahead is None else round((time.monotonic() + self.ahead) * 1e9)

    def check(self) -> None:
        self.on_check()

    def release(self) -> None:
        self.released += 1


def camera_of(
    device: Scripted, mode: TriggerMode, transfer: float | None = 0.001, exposure: float = 0.0
) -> DeviceCamera:
    device.exposure = exposure
    return DeviceCamera("top", device, trigger=mode, frame_timeout=1.0, transfer=transfer)


def pulsed(camera: DeviceCamera, device: Scripted, frame_id: int, fault: str = "") -> Frame:
    wire = threading.Timer(0.02, device.put, [frame_id, fault])
    wire.start()
    try:
        return camera.grab(trigger(), 0.5)
    finally:
        wire.join()


@pytest.mark.parametrize(
    ("before", "frame_id", "right"),
    [(1, 2, True), (1, 1, False), (1, 3, False), (2, 1, False), (65535, 1, True),
     (65535, 0, False), (65535, 65536, True), (65534, 1, False)],
)  # fmt: skip
def test_which_id_follows(before: int, frame_id: int, right: bool) -> None:
    assert follows(before, frame_id) == right


def test_hardware_takes_ids_one_by_one() -> None:
    device = Scripted()
    camera = camera_of(device, "hardware")
    assert [pulsed(camera, device, n).frame_id for n in (65534, 65535, 1)] == [65534, 65535, 1]
    camera.close()
    assert device.released == 1


@pytest.mark.parametrize(
    ("frame_id", "fault", "reason", "text"),
    [
        (5, "", Reason.FRAME_REPEATED, "came twice"),
        (4, "", Reason.FRAME_INVALID, "came where 6 was due"),
        (7, "", Reason.FRAME_INVALID, "came where 6 was due"),
        (6, "packets are missing", Reason.FRAME_INVALID, "packets are missing"),
        (0, "no answer", Reason.FRAME_INVALID, "no answer"),
    ],
)
def test_hardware_refuses_what_is_not_the_next_whole_frame(
    frame_id: int, fault: str, reason: Reason, text: str
) -> None:
    device = Scripted()
    camera = camera_of(device, "hardware")
    pulsed(camera, device, 5)
    with pytest.raises(FrameError, match=text) as caught:
        pulsed(camera, device, frame_id, fault)
    assert caught.value.reason is reason
    following = 7 if fault else frame_id + 1
    assert pulsed(camera, device, following).frame_id == following
    camera.close()


def test_a_broken_first_frame_says_nothing_of_the_next_id() -> None:
    device = Scripted()
    camera = camera_of(device, "hardware")
    with pytest.raises(FrameError, match="incomplete"):
        pulsed(camera, device, 0, "no answer")
    assert pulsed(camera, device, 77).frame_id == 77
    camera.close()


def test_hardware_refuses_a_frame_that_came_before_the_trigger() -> None:
    device = Scripted()
    camera = camera_of(device, "hardware")
    device.put(1)
    with pytest.raises(FrameError, match="came before this part") as caught:
        camera.grab(trigger(), 0.2)
    assert caught.value.reason is Reason.FRAME_STALE
    camera.close()


def test_software_throws_old_frames_away_and_takes_the_answer() -> None:
    device = Scripted()
    camera = camera_of(device, "software")
    device.put(1)
    device.put(2)
    device.on_fire = lambda: device.put(3)
    asked = trigger()
    frame = camera.grab(asked, 0.5)
    assert frame.frame_id == 3
    assert frame.exposed_mono >= asked.seen_mono
    camera.close()


def test_software_never_takes_the_answer_to_an_earlier_command() -> None:
    device = Scripted()
    camera = camera_of(device, "software")
    with pytest.raises(CameraTimeoutError):
        camera.grab(trigger(), 0.1)
    late = threading.Timer(0.05, device.put, [1])
    late.start()
    device.on_fire = lambda: device.put(2)
    assert camera.grab(trigger(), 0.5).frame_id == 2
    late.join()
    camera.close()


def test_software_refuses_a_frame_exposed_long_before_the_command() -> None:
    device = Scripted(ahead=100.0)
    camera = camera_of(device, "software")
    device.on_fire = lambda: device.put(1, exposed=time.monotonic() - 0.2)
    with pytest.raises(FrameError, match="before the software trigger") as caught:
        camera.grab(trigger(), 0.5)
    assert caught.value.reason is Reason.FRAME_STALE
    camera.close()


def test_free_running_waits_for_an_exposure_after_the_trigger() -> None:
    device = Scripted(ahead=-12345.0)
    camera = camera_of(device, "free_running")
    asked = trigger()

    def send() -> None:
        device.put(10, exposed=asked.seen_mono - 0.02)
        device.put(11, exposed=asked.seen_mono + 0.2)

    wire = threading.Timer(0.25, send)
    wire.start()
    frame = camera.grab(asked, 1.0)
    wire.join()
    assert frame.frame_id == 11
    assert frame.exposed_mono == pytest.approx(asked.seen_mono + 0.2, abs=0.1)
    camera.close()


class Streaming(Scripted):
    """It exposes for 5 ms every 50 ms, needs 45 ms to send each frame, and knows no time."""

    def __init__(self) -> None:
        super().__init__()
        self.since = time.monotonic()
        self.sent = 0

    def next(self, timeout: float) -> RawFrame | None:
        due = self.since + (self.sent + 1) * 0.05
        left = due - time.monotonic()
        threading.Event().wait(max(0.0, min(left, timeout)))
        if left > timeout:
            return None
        self.sent += 1
        return RawFrame(bytes(16), 4, 4, "Mono8", self.sent, 0, time.monotonic())


def test_free_running_without_a_clock_takes_no_frame_that_was_on_its_way() -> None:
    device = Streaming()
    camera = camera_of(device, "free_running", transfer=0.045, exposure=0.005)
    camera.probe(1)
    for number in range(5):
        threading.Event().wait(0.03 + 0.007 * number)
        asked = trigger()
        frame = camera.grab(asked, 1.0)
        began = device.since + (frame.frame_id - 1) * 0.05
        assert began >= asked.seen_mono
        assert asked.seen_mono <= frame.exposed_mono
    camera.close()


def test_hardware_without_a_clock_refuses_a_frame_that_was_on_its_way() -> None:
    """A stray pulse before the trigger, its frame arrives after: within exposure and transfer."""
    device = Scripted()
    camera = camera_of(device, "hardware", transfer=0.3, exposure=0.1)
    wire = threading.Timer(0.02, device.put, [1])
    wire.start()
    with pytest.raises(FrameError, match="frame 1 may have been exposed before") as caught:
        camera.grab(trigger(), 0.9)
    wire.join()
    assert caught.value.reason is Reason.FRAME_STALE
    wire = threading.Timer(0.6, device.put, [2])
    wire.start()
    assert camera.grab(trigger(), 0.9).frame_id == 2
    wire.join()
    camera.close()


def test_hardware_with_a_clock_refuses_a_frame_that_was_on_its_way() -> None:
    device = Scripted(ahead=7.0)
    camera = camera_of(device, "hardware", transfer=None)
    asked = trigger()
    wire = threading.Timer(0.02, lambda: device.put(1, exposed=asked.seen_mono - 0.01))
    wire.start()
    with pytest.raises(FrameError, match="may have been exposed before") as caught:
        camera.grab(asked, 0.5)
    wire.join()
    assert caught.value.reason is Reason.FRAME_STALE
    camera.close()


@pytest.mark.parametrize("mode", ["hardware", "free_running"])
def test_without_a_clock_and_without_transfer_it_is_refused_at_open(mode: TriggerMode) -> None:
    device = Scripted()
    with pytest.raises(CameraError, match=r"clock cannot be read.*set `transfer`"):
        camera_of(device, mode, transfer=None)
    assert device.released == 1
    camera_of(Scripted(), "software", transfer=None).close()
    camera_of(Scripted(ahead=1.0), mode, transfer=None).close()


@pytest.mark.parametrize("mode", ["hardware", "free_running"])
def test_a_frame_without_a_time_is_refused_where_transfer_is_not_known(mode: TriggerMode) -> None:
    device = Scripted(ahead=0.0)
    camera = camera_of(device, mode, transfer=None)
    wire = threading.Timer(0.05, lambda: device.put(1, exposed=time.monotonic() + 60))
    wire.start()
    with pytest.raises(FrameError, match="no time stamp that can be true") as caught:
        camera.grab(trigger(), 0.5)
    wire.join()
    assert caught.value.reason is Reason.FRAME_STALE
    camera.close()


def test_probe_wants_one_whole_test_frame() -> None:
    device = Scripted()
    camera = camera_of(device, "software")
    faults = iter(["lost", "lost", "", "lost"])
    ids = iter(range(1, 9))
    device.on_fire = lambda: device.put(next(ids), next(faults))
    camera.probe(1)
    camera.probe(1)  # proven already: no further exposure
    assert next(ids) == 4
    camera.close()


def test_probe_fails_when_every_frame_is_broken() -> None:
    device = Scripted()
    camera = camera_of(device, "software")
    ids = iter(range(1, 99))
    device.on_fire = lambda: device.put(next(ids), "packets are missing")
    with pytest.raises(FrameError, match="packet size"):
        camera.probe(1)
    camera.close()


def test_a_camera_that_does_not_answer_is_missed_though_the_call_blocks() -> None:
    device = Scripted()
    answer = threading.Event()
    camera = camera_of(device, "hardware")
    device.on_check = lambda: answer.wait(30) and None
    began = time.monotonic()
    with pytest.raises(CameraLostError, match="no answer for"):
        camera.grab(trigger(), 30)
    assert time.monotonic() - began < 20, "0.8 s on a quiet PC"
    camera.close()
    assert not camera.released
    answer.set()
    end = time.monotonic() + 20
    while not camera.released and time.monotonic() < end:
        threading.Event().wait(0.01)
    assert camera.released
    assert device.released == 1


def test_a_check_that_fails_ends_the_camera() -> None:
    device = Scripted()

    def gone() -> None:
        raise CameraLostError("it was restarted")

    camera = camera_of(device, "hardware")
    device.on_check = gone
    with pytest.raises(CameraLostError, match="went away: it was restarted"):
        camera.grab(trigger(), 20)
    camera.close()


def test_control_hands_on_results_and_errors() -> None:
    control = ControlChannel("top", lambda: None)
    assert control.call(lambda: 42, 5) == 42

    def fail() -> None:
        raise CameraError("no")

    with pytest.raises(CameraError, match="no"):
        control.call(fail, 5)
    released: list[int] = []
    assert control.close(lambda: released.append(1))
    assert released == [1]


def test_clock_of_the_camera() -> None:
    clock = DeviceClock("top")
    assert clock.due()
    assert clock.host(5) is None
    clock.compare(2_000_000_000, 10.0, 10.002)
    assert clock.host(2_500_000_000) == pytest.approx(10.501)
    assert clock.host(0) is None
    assert clock.error == pytest.approx(0.0015)
    assert clock.known
    slow = time.monotonic()
    clock.compare(2_000_000_000, slow - 0.5, slow)
    assert clock.due(), "a poor comparison is made again"
    assert clock.error > 0.25
    clock.compare(None, 11.0, 11.0)
    assert not clock.due()
    assert not clock.known
    assert clock.host(2_500_000_000) is None


def test_a_stamp_that_cannot_be_true_is_not_used() -> None:
    device = Scripted(ahead=0.0)
    camera = camera_of(device, "hardware")
    asked = trigger()
    wire = threading.Timer(0.02, lambda: device.put(1, exposed=time.monotonic() + 60))
    wire.start()
    frame = camera.grab(asked, 0.5)
    wire.join()
    assert asked.seen_mono <= frame.exposed_mono <= time.monotonic()
    camera.close()


@pytest.mark.parametrize(
    ("feature", "wanted", "got", "same"),
    [("ExposureTime", "500", "500.0", True), ("ExposureTime", "500", "504", True),
     ("ExposureTime", "500", "510", False), ("GainAuto", "Off", "off", True),
     ("ReverseX", "true", "1", True), ("ReverseX", "false", "0", True),
     ("TriggerSource", "Line0", "Line1", False), ("Gain", "0", "0.4", False),
     ("Gamma", "10.4", "10", False), ("Gamma", "0.7", "0.699", True),
     ("Width", "1280", "1280.0", True), ("Width", "1280", "1272", False),
     ("Height", "1024", "1020", False), ("OffsetX", "600", "604", False),
     ("OffsetY", "600", "599.5", False), ("GainRaw", "300", "301", False),
     ("LineDebouncerTime", "1000", "1001", False)],
)  # fmt: skip
def test_settings_read_back(feature: str, wanted: str, got: str, same: bool) -> None:
    assert same_setting(feature, wanted, got) == same


class Register:
    """Features that a test fills; `stuck` ones keep their value."""

    def __init__(self, stuck: tuple[str, ...] = (), **values: str) -> None:
        self.values, self.stuck = values, stuck

    def has(self, feature: str) -> bool:
        return feature in self.values

    def read(self, feature: str) -> str:
        return self.values[feature]

    def write(self, feature: str, value: str) -> None:
        if feature == "PixelFormat" and value == "RGB8":
            raise CameraError("no such entry")
        if feature not in self.stuck:
            self.values[feature] = value
        if feature == "Width":
            self.values["ExposureTime"] = "9"


TRIGGER = {"TriggerSelector": "", "TriggerSource": "", "TriggerActivation": "", "TriggerMode": ""}


def test_settings_are_applied_in_order_and_compared_at_the_end() -> None:
    config = AravisCameraConfig(pixel_format="RGB8", exposure_us=250, settings={"Gamma": 2.0})
    register = Register(PixelFormat="Mono8", ExposureTime="1", Gamma="1", **TRIGGER)
    said = apply_settings(config, register)
    assert said["PixelFormat"] == "RGB8Packed", "as an older camera spells it"
    assert said["Gamma"] == "2"
    assert said["TriggerSource"] == "Line0"
    assert register.values["TriggerMode"] == "On"


@pytest.mark.parametrize("stuck", ["Gamma", "ExposureTime", "TriggerMode", "TriggerSource"])
def test_a_setting_that_stays_is_named(stuck: str) -> None:
    config = AravisCameraConfig(exposure_us=250, settings={"Gamma": 2.0})
    register = Register((stuck,), PixelFormat="", ExposureTime="1", Gamma="1", **TRIGGER)
    with pytest.raises(CameraError, match=f"{stuck} was set to .*, the camera says"):
        apply_settings(config, register)


def test_a_setting_that_another_one_moves_is_named() -> None:
    config = AravisCameraConfig(width=64, exposure_us=250)
    register = Register(("ExposureTime",), PixelFormat="", Width="", ExposureTime="250", **TRIGGER)
    with pytest.raises(CameraError, match="ExposureTime was set to 250, the camera says 9"):
        apply_settings(config, register)


def bayer(image: np.ndarray, first: str) -> bytes:
    """Mosaic an RGB picture; `first` names the upper left pixel and its right neighbour."""
    rows = {"RG": "RGGB", "BG": "BGGR", "GR": "GRBG", "GB": "GBRG"}[first]
    out = np.zeros(image.shape[:2], np.uint8)
    for place, colour in enumerate(rows):
        y, x = divmod(place, 2)
        out[y::2, x::2] = image[y::2, x::2, "RGB".index(colour)]
    return out.tobytes()


@pytest.mark.parametrize("first", ["RG", "BG", "GR", "GB"])
def test_bayer_gives_the_colours_of_the_scene(first: str) -> None:
    scene = np.zeros((16, 20, 3), np.uint8)
    scene[:] = (200, 90, 30)
    image = to_rgb(bayer(scene, first), 20, 16, f"Bayer{first}8", "top")
    assert image[4:-4, 4:-4].reshape(-1, 3).mean(axis=0) == pytest.approx((200, 90, 30), abs=1)
    assert image.flags.c_contiguous
    assert image.flags.writeable


def test_other_formats() -> None:
    scene = np.random.default_rng(1).integers(0, 256, (3, 4, 3), np.uint8)
    bgr, alpha = scene[:, :, ::-1], np.full((3, 4, 1), 9, np.uint8)
    sent = {
        "RGB8": scene,
        "BGR8": bgr,
        "RGBa8": np.concatenate([scene, alpha], axis=2),
        "BGRa8": np.concatenate([bgr, alpha], axis=2),
    }
    for name, pixels in sent.items():
        assert np.array_equal(to_rgb(pixels.tobytes(), 4, 3, name, "top"), scene), name
    grey = to_rgb(bytes(range(12)), 4, 3, "Mono8", "top")
    assert np.array_equal(grey, cv2.cvtColor(grey[:, :, 0], cv2.COLOR_GRAY2RGB))


@pytest.mark.parametrize("name", ["Mono8", "RGB8", "BGRa8", "BayerRG8"])
def test_padding_at_the_end_of_lines_is_left_out(name: str) -> None:
    channels = {"Mono8": 1, "RGB8": 3, "BGRa8": 4, "BayerRG8": 1}[name]
    lines = np.random.default_rng(1).integers(0, 256, (8, 6 * channels), np.uint8)
    padded = np.pad(lines, ((0, 0), (0, 2)), constant_values=99)
    expected = to_rgb(lines.tobytes(), 6, 8, name, "top")
    assert np.array_equal(to_rgb(padded.tobytes(), 6, 8, name, "top", 2), expected)
    with pytest.raises(FrameError, match="no picture") as caught:
        to_rgb(padded.tobytes(), 6, 8, name, "top")  # the library did not tell
    assert caught.value.reason is Reason.FRAME_INVALID
    with pytest.raises(FrameError, match="2 bytes after each line"):
        to_rgb(lines.tobytes(), 6, 8, name, "top", 2)


def test_the_padding_that_the_device_tells_is_used() -> None:
    device = Scripted()
    camera = camera_of(device, "software")
    data = bytes([1, 2, 0, 0, 3, 4, 0, 0])
    device.on_fire = lambda: device.waiting.append(
        RawFrame(data, 2, 2, "Mono8", 1, 0, time.monotonic(), padding=2)
    )
    assert camera.grab(trigger(), 0.5).image[:, :, 0].tolist() == [[1, 2], [3, 4]]
    camera.close()


@pytest.mark.parametrize(
    ("data", "width", "name", "text"),
    [(b"123", 4, "Mono8", "no picture of 4 x 3"), (b"", 0, "Mono8", "no picture"),
     (bytes(99), 4, "Mono12", "pixel format Mono12")],
)  # fmt: skip
def test_what_is_no_picture_is_refused(data: bytes, width: int, name: str, text: str) -> None:
    with pytest.raises(FrameError, match=text) as caught:
        to_rgb(data, width, 3, name, "top")
    assert caught.value.reason is Reason.FRAME_INVALID
