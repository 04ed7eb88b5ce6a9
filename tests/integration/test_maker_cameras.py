"""The GenTL and pylon drivers against the simulated cameras that ship with their libraries."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from inspection.cameras.gentl import GenTlCameraConfig
from inspection.cameras.gentl import find_cameras as find_gentl
from inspection.cameras.pixel_formats import to_rgb
from inspection.cameras.pylon import PylonCameraConfig
from inspection.cameras.pylon import find_cameras as find_pylon
from inspection.errors import CameraError, CameraLostError, FrameError
from inspection.types import PartKey, Reason, Trigger

needs_gentl = pytest.mark.skipif(
    find_spec("genicam") is None or find_spec("harvesters") is None,
    reason="the extra genicam is not installed",
)
needs_pylon = pytest.mark.skipif(
    find_spec("pypylon") is None, reason="the extra pylon is not installed"
)
SMALL = {"device": "0815-0001", "trigger": "software", "width": 160, "height": 128}


def trigger() -> Trigger:
    now = time.monotonic()
    return Trigger(PartKey("s", 1, 1), 1, "", now, "2026-01-01T00:00:00.000000Z", now + 5)


@pytest.fixture
def emulation(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PYLON_CAMEMU", "2")
    return


def producer() -> Path:
    package = find_spec("genicam")
    assert package is not None
    assert package.origin is not None
    return Path(package.origin).with_name("viky.cti")


def gentl(**fields: Any) -> GenTlCameraConfig:
    given = {"producer": producer(), "device": "0", "trigger": "free_running", "transfer": 0.01}
    return GenTlCameraConfig(**{**given, "pixel_format": "RGBa8", **fields})


# ---------------------------------------------------------------------- pylon


@needs_pylon
@pytest.mark.usefixtures("emulation")
@pytest.mark.parametrize("pixel_format", ["Mono8", "RGB8", "BayerRG8"])
def test_pylon_gives_frames_with_ids_that_follow(pixel_format: str) -> None:
    config = PylonCameraConfig(**SMALL, pixel_format=pixel_format, exposure_us=500, gain=1.0)
    camera = config.open()
    camera.probe(2)
    frames = [camera.grab(trigger(), 2) for _ in range(5)]
    camera.close()
    ids = [frame.frame_id for frame in frames]
    assert ids == list(range(ids[0], ids[0] + 5))
    assert {frame.image.shape for frame in frames} == {(128, 160, 3)}
    assert camera.facts["ExposureTime"].startswith("500")
    assert camera.facts["packet_size"] == "1400 bytes"


@needs_pylon
@pytest.mark.usefixtures("emulation")
def test_pylon_never_gives_an_incomplete_frame() -> None:
    config = PylonCameraConfig(**SMALL)
    camera = config.open()
    camera.probe(2)
    device: Any = camera._device
    for _ in range(3):
        camera.grab(trigger(), 2)
        device.write("ForceFailedBufferCount", "1")
        device._nodes.GetNode("ForceFailedBuffer").Execute()
        with pytest.raises(FrameError, match="incompletely grabbed") as caught:
            camera.grab(trigger(), 2)
        assert caught.value.reason is Reason.FRAME_INVALID
    camera.grab(trigger(), 2)
    camera.close()


@needs_pylon
@pytest.mark.usefixtures("emulation")
def test_pylon_names_what_is_wrong() -> None:
    with pytest.raises(CameraLostError, match="2 Basler cameras fit"):
        PylonCameraConfig().open()
    with pytest.raises(CameraLostError, match="0 Basler cameras fit"):
        PylonCameraConfig(device="4711").open()
    with pytest.raises(CameraError, match="Width cannot be set to 50000"):
        PylonCameraConfig(**{**SMALL, "width": 50000}).open()
    with pytest.raises(CameraError, match="has no feature NoSuchThing"):
        PylonCameraConfig(**SMALL, settings={"NoSuchThing": 1}).open()
    assert {each.serial for each in find_pylon()} >= {"0815-0000", "0815-0001"}


# ---------------------------------------------------------------------- GenTL


@needs_gentl
def test_gentl_gives_frames_exposed_after_the_trigger() -> None:
    config = gentl(settings={"AcquisitionFrameRate": 40})
    camera = config.open()
    camera.probe(2)
    frames = []
    for _ in range(4):
        asked = trigger()
        frames.append(camera.grab(asked, 2))
        assert asked.seen_mono <= frames[-1].exposed_mono <= time.monotonic()
    camera.close()
    ids = [frame.frame_id for frame in frames]
    assert ids == sorted(set(ids))
    assert camera.facts["model"] == "Viky"
    assert camera.facts["AcquisitionFrameRate"] == "40"


@needs_gentl
def test_gentl_turns_a_buffer_that_was_thrown_away_into_a_refused_frame() -> None:
    """harvesters hides incomplete buffers and calls back; the callback is called as it does it."""
    camera = gentl().open()
    camera.probe(2)
    device: Any = camera._device
    acquirer = device._acquirer
    fetch, calls = acquirer.try_fetch, iter([True])

    def incomplete(*, timeout: float) -> Any:
        if next(calls, False):
            acquirer._emit_callbacks(acquirer.Events.INCOMPLETE_BUFFER)
            return None
        return fetch(timeout=timeout)

    raw = None
    acquirer.try_fetch = incomplete
    try:
        raw = device.next(0.5)
    finally:
        acquirer.try_fetch = fetch
        camera.close()
    assert raw is not None
    assert raw.fault


@needs_gentl
def test_gentl_without_a_clock_wants_to_know_the_transfer() -> None:
    with pytest.raises(CameraError, match=r"clock cannot be read.*set `transfer`"):
        gentl(transfer=None).open()
    gentl().open().close()


@needs_gentl
def test_gentl_leaves_the_padding_of_lines_out() -> None:
    """As harvesters gives a padded buffer: the padding is in the data, and told beside it."""
    camera = gentl().open()
    camera.probe(2)
    device: Any = camera._device
    data = np.frombuffer(bytes([1, 2, 0, 0, 3, 4, 0, 0]), np.uint8)
    picture = SimpleNamespace(data=data, width=2, height=2, data_format="Mono8", x_padding=2)
    buffer = SimpleNamespace(
        frame_id=1, timestamp_ns=0, payload=SimpleNamespace(components=[picture])
    )
    raw = device._raw(buffer)
    camera.close()
    image = to_rgb(raw.data, raw.width, raw.height, raw.pixel_format, "top", raw.padding)
    assert image[:, :, 0].tolist() == [[1, 2], [3, 4]]


@needs_gentl
@pytest.mark.timeout(60)
def test_gentl_waits_by_a_clock_that_nobody_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall clock goes back an hour during a wait in which no frame comes."""
    from harvesters import core

    camera = gentl().open()
    device: Any = camera._device
    monitors = device._acquirer._new_buffer_event_monitor_dict
    kept, began, wall = dict(monitors), time.monotonic(), time.time

    def stepped() -> float:
        return wall() - (3600 if time.monotonic() - began > 0.05 else 0)

    monkeypatch.setattr(core, "time", SimpleNamespace(time=stepped, sleep=time.sleep))
    monitors.update(dict.fromkeys(kept, Silent(core.TimeoutException)))
    try:
        assert device.next(0.2) is None
    finally:
        monitors.update(kept)
        camera.close()
    assert 0.15 < time.monotonic() - began < 30


class Silent:
    """The event of a stream in which nothing comes."""

    def __init__(self, error: type[Exception]) -> None:
        self._error = error

    def update_event_data(self, _milliseconds: int) -> None:
        threading.Event().wait(0.001)
        raise self._error


@needs_gentl
def test_gentl_names_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CameraLostError, match=r"3 cameras of viky\.cti fit"):
        gentl(device="").open()
    with pytest.raises(CameraError, match="has no feature ExposureTime or ExposureTimeAbs"):
        gentl(exposure_us=5).open()
    with pytest.raises(CameraError, match="has no feature TriggerSelector"):
        gentl(trigger="hardware").open()
    with pytest.raises(CameraLostError, match="is no GenTL producer"):
        gentl(producer=tmp_path / "none.cti").open()
    nonsense = tmp_path / "nonsense.cti"
    nonsense.write_bytes(b"no library")
    with pytest.raises(CameraLostError, match=r"nonsense\.cti"):
        gentl(producer=nonsense).open()
    monkeypatch.setenv("GENICAM_GENTL64_PATH", str(producer().parent))
    assert [each.serial for each in find_gentl()] == ["0", "1", "2"]
