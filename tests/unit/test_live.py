"""What the line publishes: whole files, a small picture with its boxes, and never a wait."""

from __future__ import annotations

import json
import os
import struct
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from station_rig import until
from store_samples import FAILED, detections, frame, trigger

from inspection.live import LONGEST, Live, encode
from inspection.part import PartInFlight
from inspection.station import Status
from inspection.types import Detections, Reason


def status() -> Status:
    now = time.monotonic()
    return Status(
        now, Reason.CAMERA_LOST, Reason.CAMERA_LOST, None, None, None, False, 1, "plate/1"
    )


def answered(sequence: int, found: Detections | None = None) -> PartInFlight:
    part = PartInFlight(trigger(sequence), None)
    part.frame, part.detections = frame(sequence), found or detections(1)
    part.settle(FAILED)
    part.recorded, part.record_id = part.result, sequence
    return part


def comment(jpeg: bytes) -> dict[str, object]:
    at = 2
    while jpeg[at + 1] != 0xFE:
        at += 2 + struct.unpack(">H", jpeg[at + 2 : at + 4])[0]
    length = struct.unpack(">H", jpeg[at + 2 : at + 4])[0]
    return json.loads(jpeg[at + 4 : at + 2 + length])


def test_state_and_picture_of_the_latest_part(tmp_path: Path) -> None:
    live = Live(tmp_path / "live", "st1")
    live.start(status)
    for sequence in (1, 2, 3):
        live.answered(answered(sequence))
    picture, state = tmp_path / "live" / "st1.jpg", tmp_path / "live" / "st1.json"
    until(lambda: picture.exists() and comment(picture.read_bytes())["record"] == 3)
    found = until(lambda: state.exists() and (s := json.loads(state.read_text()))["last"] and s)
    assert found["counts"] == {"PASS": 0, "FAIL": 3, "REVIEW": 0, "NOT_INSPECTED": 0}
    assert (found["running"], found["ready"], found["cause"]) == (True, False, "CAMERA_LOST")
    assert (found["camera"], found["plc"], found["recipe"]) == ("CAMERA_LOST", None, 1)
    assert found["last"]["decision"] == "FAIL"
    about = comment(picture.read_bytes())
    assert about["boxes"] == [{"class": "scratch", "score": 0.25, "box": [1.0, 2.0, 30.0, 40.0]}]
    assert (about["width"], about["height"]) == (64, 48)
    live.close()
    assert json.loads(state.read_text())["running"] is False
    assert sorted(path.name for path in state.parent.iterdir()) == ["st1.jpg", "st1.json"]


@pytest.mark.parametrize("size", [(48, 64), (1200, 1600), (6000, 8000), (1, 5000)])
def test_the_picture_is_small_and_can_be_decoded(size: tuple[int, int]) -> None:
    jpeg = encode(np.full((*size, 3), 90, np.uint8), {"text": "한글"})
    decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert max(decoded.shape[:2]) <= LONGEST
    assert comment(jpeg) == {"text": "한글"}


def test_findings_that_are_no_numbers_or_far_too_many_do_not_hurt(tmp_path: Path) -> None:
    many = detections(5000)
    many.scores[0] = np.nan
    live = Live(tmp_path, "st1")
    live.start(status)
    live.answered(answered(1, many))
    until((tmp_path / "st1.jpg").exists)
    assert len(comment((tmp_path / "st1.jpg").read_bytes())["boxes"]) == 99
    live.close()


def test_a_folder_that_cannot_be_written_is_told_once_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "live").write_text("a file in the way")
    live = Live(tmp_path / "live", "st1")
    live.start(status)
    live.answered(answered(1))
    until(lambda: "is not written" in caplog.text)
    (tmp_path / "live").unlink()
    until((tmp_path / "live" / "st1.json").exists)
    assert caplog.text.count("is not written") == 1
    live.close()


def test_a_disk_that_hangs_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".st1.jpg.new")  # writing waits for a reader that never comes
    live = Live(tmp_path, "st1")
    live.start(status)
    started = time.monotonic()
    for sequence in range(1, 2001):
        live.answered(answered(sequence))
        if sequence == 1:
            threading.Event().wait(0.5)
    assert time.monotonic() - started < 30
    assert not (tmp_path / "st1.json").exists(), "the thread hangs in the picture"
    live.close(0.2)
    assert time.monotonic() - started < 40
    with (tmp_path / ".st1.jpg.new").open("rb") as reader:  # let the thread go
        reader.read()
