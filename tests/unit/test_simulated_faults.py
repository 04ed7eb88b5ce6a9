"""The simulated camera: its truth, its marks, and each of its faults."""

import logging
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from inspection.cameras.faults import FAULTS, Fault, FaultPlan, parse_fault
from inspection.cameras.simulated import SimulatedCamera, SimulatedCameraConfig, truth_of
from inspection.errors import CameraLostError, CameraTimeoutError, FrameError
from inspection.types import Frame, PartKey, Reason, Trigger

SIZE = (96, 80)


def trigger(part_id: int = 1) -> Trigger:
    now = time.monotonic()
    return Trigger(PartKey("s", 1, 1), part_id, "", now, "2026-01-01T00:00:00.000000Z", now + 5)


def device(**settings: object) -> SimulatedCameraConfig:
    return SimulatedCameraConfig(**{"size": SIZE, "exposure": 0.001, **settings})


def grab(camera: SimulatedCamera, part_id: int = 1, timeout: float = 20.0) -> Frame:
    return camera.grab(trigger(part_id), timeout)


def with_fault(text: str) -> tuple[Frame, Frame]:
    """Return a good frame and the one after it, which has the fault."""
    camera = device().open()
    good = grab(camera, 1)
    camera.fault(text)
    return good, grab(camera, 2)


def test_truth_needs_no_camera() -> None:
    camera = device(seed=4, defect_rate=0.5).open()
    for part in range(1, 20):
        assert grab(camera, part).truth == truth_of(4, part, 0.5)
    assert len({str(truth_of(4, part, 0.5)) for part in range(40)}) > 3
    assert all(truth_of(4, part, 0.0) == {} for part in range(40))


def test_a_part_seen_again_differs_by_noise_only() -> None:
    camera = device(size=(320, 256)).open()
    first, again, other = grab(camera, 5), grab(camera, 5), grab(camera, 6)
    assert not np.array_equal(first.image, again.image)
    change = np.abs(first.image.astype(int) - again.image)
    assert change.mean() < 4 < np.abs(first.image.astype(int) - other.image).mean()
    assert (first.frame_id, again.frame_id) == (1, 2)


def test_part_without_id_gets_the_number_of_the_grab() -> None:
    camera = device().open()
    sources = [grab(camera, 0).source for _ in range(3)]
    assert sources == ["part 1", "part 2", "part 3"]


def test_marks_show_every_defect_in_its_colour() -> None:
    camera = device(marks=True, defect_rate=1.0, size=(320, 256)).open()
    colours = {
        "scratch": (255, 0, 0),
        "dent": (0, 255, 0),
        "missing_hole": (0, 0, 255),
        "burr": (255, 0, 255),
    }
    for part in range(1, 40):
        frame = grab(camera, part)
        assert frame.truth
        seen = {name for name, c in colours.items() if (frame.image == c).all(axis=2).sum() >= 20}
        assert seen <= set(frame.truth)
        # a mark may be hidden by another one, never all of them, and magenta hides none
        assert seen
        plain = set(frame.truth) - {"burr"}
        assert not plain or seen & plain
    assert not (grab(device(marks=True, defect_rate=0).open()).image == (255, 0, 0)).all(2).any()


def test_lost_ends_at_the_timeout() -> None:
    camera = device(faults=["lost@1"]).open()
    began = time.monotonic()
    with pytest.raises(CameraTimeoutError):
        grab(camera, timeout=0.1)
    assert time.monotonic() - began >= 0.1
    assert grab(camera).frame_id == 2  # the exposure took place


def test_late() -> None:
    camera = device(faults=["late@1:0.15", "late@2:60"]).open()
    began = time.monotonic()
    frame = grab(camera)
    assert time.monotonic() - began >= 0.15
    assert frame.exposed_mono < began + 0.15
    with pytest.raises(CameraTimeoutError):
        grab(camera, timeout=0.1)


def test_frozen() -> None:
    good, bad = with_fault("frozen")
    assert np.array_equal(good.image, bad.image)
    assert bad.image is not good.image
    assert bad.frame_id == good.frame_id + 1
    assert bad.truth == truth_of(1, 2, 0.2)


def test_frozen_for_a_time_over_a_reopening() -> None:
    source = device(size=(320, 256))
    camera = source.open()
    good = grab(camera, 1)
    camera.fault("frozen:3")
    assert np.array_equal(grab(camera, 2).image, good.image)
    camera.close()
    again = source.open()
    stuck = grab(again, 3)
    assert np.array_equal(stuck.image, good.image)
    threading.Event().wait(3.0)
    assert not np.array_equal(grab(again, 4).image, good.image)


def test_repeated() -> None:
    good, bad = with_fault("repeated")
    assert bad.frame_id == good.frame_id
    assert not np.array_equal(good.image, bad.image)


def test_stale_shows_the_previous_part_of_before_the_trigger() -> None:
    camera = device(size=(320, 256)).open()
    good = grab(camera, 1)
    camera.fault("stale")
    asked = trigger(2)
    bad = camera.grab(asked, 20)
    assert bad.exposed_mono < asked.seen_mono
    assert bad.frame_id == good.frame_id + 1
    assert 0 < np.abs(good.image.astype(int) - bad.image).mean() < 4


@pytest.mark.parametrize(("name", "low", "high"), [("black", 0, 3), ("white", 252, 255)])
def test_no_light_or_too_much(name: str, low: int, high: int) -> None:
    _, bad = with_fault(name)
    assert low <= bad.image.mean() <= high
    assert bad.image.shape == (SIZE[1], SIZE[0], 3)
    assert bad.image.dtype == np.uint8


def test_flat() -> None:
    _, bad = with_fault("flat")
    assert 100 < bad.image.mean() < 150
    assert bad.image.std() < 2


def test_wrong_size() -> None:
    _, bad = with_fault("wrong_size")
    assert bad.image.shape == (SIZE[1] // 2, SIZE[0] // 2, 3)
    assert bad.image.flags.c_contiguous


def test_truncated() -> None:
    with pytest.raises(FrameError) as caught:
        with_fault("truncated")
    assert caught.value.reason is Reason.FRAME_INVALID


def test_disconnect_lasts_over_reopening() -> None:
    config = device(faults=["disconnect@2:0.4", "black@3"])
    camera = config.open()
    grab(camera)
    with pytest.raises(CameraLostError, match="unplugged"):
        grab(camera)
    with pytest.raises(CameraLostError):
        config.open()
    with pytest.raises(CameraLostError):
        camera.probe(1)
    deadline = time.monotonic() + 30
    again = None
    while again is None:
        assert time.monotonic() < deadline
        try:
            again = config.open()
        except CameraLostError:
            threading.Event().wait(0.02)
    with pytest.raises(CameraLostError):  # the old opening is dead for good
        grab(camera)
    again.probe(5)
    frame = grab(again)  # the third grab of the device
    assert frame.image.mean() < 4
    assert frame.frame_id == 2  # 1 was the probe's exposure


def test_hang_ignores_timeout_and_close() -> None:
    camera = device(faults=["hang@1:0.3"]).open()
    threading.Timer(0.05, camera.close).start()
    began = time.monotonic()
    frame = grab(camera, timeout=0.05)
    assert time.monotonic() - began >= 0.3
    assert frame.exposed_mono >= began


def test_close_wakes_an_exposure() -> None:
    camera = device(exposure=60).open()
    threading.Timer(0.05, camera.close).start()
    with pytest.raises(CameraLostError, match="closed"):
        grab(camera, timeout=60)
    with pytest.raises(CameraLostError):
        grab(camera)


def test_exposure_longer_than_the_timeout() -> None:
    camera = device(exposure=10).open()
    with pytest.raises(CameraTimeoutError):
        grab(camera, timeout=0.05)
    with pytest.raises(CameraTimeoutError):
        camera.probe(0.05)


def test_slow_rendering_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    camera = device(size=(1400, 1100), exposure=0.0).open()
    with caplog.at_level(logging.WARNING):
        grab(camera)
        grab(camera)
    assert len([r for r in caplog.records if "rendering took" in r.getMessage()]) == 1


def test_control_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    control = tmp_path / "faults"
    camera = device(control=Path("faults")).beside(tmp_path).open()
    grab(camera, 1)
    control.write_text("black\n\nnonsense\nwrong_size\n")
    with caplog.at_level(logging.ERROR):
        assert grab(camera, 2).image.mean() < 4
    assert "nonsense" in caplog.text
    assert list(tmp_path.iterdir()) == []
    assert grab(camera, 3).image.shape[0] == SIZE[1] // 2
    assert grab(camera, 4).image.shape[0] == SIZE[1]


def test_control_file_that_cannot_be_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    control = tmp_path / "faults"
    control.mkdir()
    (control / "x").write_text("")
    camera = device(control=control).open()
    with caplog.at_level(logging.ERROR):
        assert grab(camera).frame_id == 1
    assert "cannot be taken" in caplog.text


def test_no_line_of_the_control_file_counts_twice(tmp_path: Path) -> None:
    control = tmp_path / "faults"
    plans = [FaultPlan((), control) for _ in range(4)]
    taken: list[Fault] = []

    def work(plan: FaultPlan) -> None:
        for number in range(1, 200):
            fault = plan.take(number)
            if fault:
                taken.append(fault)

    control.write_text("black\n" * 10)
    threads = [threading.Thread(target=work, args=(plan,)) for plan in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 10


def test_schedule_goes_before_the_waiting_ones() -> None:
    plan = FaultPlan(["black@1", "late@3:0.8"])
    plan.add("white")
    assert [plan.take(n) for n in range(1, 5)] == [
        Fault("black"),
        Fault("white"),
        Fault("late", 0.8),
        None,
    ]


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_parsed(name: str) -> None:
    assert parse_fault(f" {name}@7 ")[0] == 7
    assert parse_fault(name)[1].name == name


@pytest.mark.parametrize(
    "wrong",
    ["", "x@1", "black@0", "black@-1", "black@1:2", "late@1:-1", "late@1:x", "black 3", "@3"],
)
def test_nonsense_faults(wrong: str) -> None:
    with pytest.raises(ValueError, match="fault"):
        parse_fault(wrong)
    with pytest.raises(ValidationError):
        device(faults=[wrong])


def test_config_refuses_nonsense() -> None:
    for wrong in (
        {"faults": ["black"]},
        {"faults": ["black@1", "white@1"]},
        {"size": (63, 100)},
        {"size": (100,)},
        {"defect_rate": 1.5},
        {"exposure": -0.1},
        {"seed": -1},
        {"colour": "red"},
    ):
        with pytest.raises(ValidationError):
            device(**wrong)


def test_two_devices_are_independent() -> None:
    first, second = device(faults=["black@1"]), device(faults=["black@1"])
    assert grab(first.open()).image.mean() < 4
    assert grab(first.open()).image.mean() > 4  # the same device, its second grab
    assert grab(second.open()).image.mean() < 4
