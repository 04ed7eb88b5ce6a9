"""Live: what people may look at while the line runs. The line never waits for it.

loop ──latest only──▶ slot ──own thread, low priority──▶ LIVE/STATION.json   (twice a second)
                                                    └──▶ LIVE/STATION.jpg    (at most 5 a second)

Each file is written beside and renamed, so a reader sees a whole one. Nothing is kept: the folder may lie
in memory (tmpfs). When it is full, slow or missing, people see an old picture and the line goes on.

STATION.jpg is the latest frame, scaled down. Its comment segment (COM) holds UTF-8 JSON: `record`,
`sequence`, `decision`, `at`, `width` and `height` of the frame, and `boxes` in pixels of the frame.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

from inspection.part import PartInFlight, utc_now
from inspection.station import Status
from inspection.types import Decision, Image

log = logging.getLogger(__name__)

STATE_EVERY, PICTURE_EVERY = 0.5, 0.2
LONGEST = 960
"""Pixels of the picture's longer side, at most."""
_TAKTS = 20
_BOXES = 100
_QUALITY = 75
_NICE = 10
_RETRY = 2.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What the loop hands over at each answer; it is replaced, never changed."""

    part: PartInFlight
    mono: float
    counts: dict[str, int]
    takts: tuple[float, ...]


class Live:
    """Publishes one station. `answered` is for the loop and returns at once, whatever the disk does."""

    def __init__(self, folder: Path, station: str) -> None:
        """Nothing is written before `start`.

        Args:
            folder: made when it is not there.
            station: gives the files their names.
        """
        self._folder, self._station = folder, station
        self._seen: Seen | None = None
        self._counts = dict.fromkeys((decision.value for decision in Decision), 0)
        self._takts: deque[float] = deque(maxlen=_TAKTS)
        self._triggered: float | None = None
        self._started = time.monotonic()
        self._status: Callable[[], Status] | None = None
        self._shown: Seen | None = None
        self._picture_at = ""
        self._complained = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)

    def answered(self, part: PartInFlight) -> None:
        """Show this part next; the one before is forgotten."""
        if part.recorded is None:
            return
        self._counts[part.recorded.decision.value] += 1
        seen = part.trigger.seen_mono
        if self._triggered is not None:
            self._takts.append(seen - self._triggered)
        self._triggered = seen
        self._seen = Seen(part, time.monotonic(), dict(self._counts), tuple(self._takts))

    def start(self, status: Callable[[], Status]) -> None:
        """Begin; `status` is called from the publishing thread."""
        self._status = status
        self._thread.start()

    def close(self, timeout: float = 1.0) -> None:
        """Say that the station was stopped, if the disk lets us in time."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):  # the line may run at a lower priority, and not raise it
            nice = max(_NICE, os.getpriority(os.PRIO_PROCESS, thread))
            os.setpriority(os.PRIO_PROCESS, thread, nice)
        state_due = 0.0
        while not self._stop.wait(PICTURE_EVERY):
            try:
                self._show_picture()
                if time.monotonic() >= state_due:
                    state_due = time.monotonic() + STATE_EVERY
                    self._write("json", self._state(running=True))
                self._complained = False
            except Exception as error:  # the boundary: what people see must never end the line
                if not self._complained:
                    log.warning("the live view in %s is not written: %s", self._folder, error)
                    self._complained = True
                self._stop.wait(_RETRY)
        try:
            self._write("json", self._state(running=False))
        except Exception as error:
            log.warning("the live view in %s is not written: %s", self._folder, error)

    def _show_picture(self) -> None:
        seen = self._seen
        if seen is None or seen is self._shown:
            return
        self._shown = seen
        frame = seen.part.frame
        if frame is None:
            return
        at = utc_now()
        self._write("jpg", encode(frame.image, _about(seen.part, frame.image, at)))
        self._picture_at = at

    def _state(self, *, running: bool) -> bytes:
        if self._status is None:
            raise ValueError("start it first")
        status, seen, now = self._status(), self._seen, time.monotonic()
        state: dict[str, Any] = {
            "station": self._station,
            "running": running,
            "at": utc_now(),
            "mono": round(now, 3),
            "uptime": round(now - self._started, 1),
            "loop_age": round(now - status.turned_mono, 3),
            "ready": status.cause is None,
            "cause": None if status.cause is None else status.cause.name,
            "camera": None if status.camera is None else status.camera.name,
            "plc": None if status.plc is None else status.plc.name,
            "model": None if status.model is None else status.model.name,
            "store": None if status.store is None else status.store.name,
            "degraded": status.degraded,
            "recipe": status.recipe,
            "release": status.release,
            "counts": dict.fromkeys((d.value for d in Decision), 0)
            if seen is None
            else seen.counts,
            "takt": round(median(seen.takts), 3) if seen is not None and seen.takts else None,
            "last": None if seen is None else _last(seen, now),
            "picture_at": self._picture_at or None,
        }
        return json.dumps(state, ensure_ascii=False, allow_nan=False).encode()

    def _write(self, ending: str, content: bytes) -> None:
        path = self._folder / f"{self._station}.{ending}"
        beside = path.with_name(f".{path.name}.new")
        self._folder.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(content)
        beside.replace(path)


def encode(image: Image, about: dict[str, Any]) -> bytes:
    """Return a JPEG of the image, scaled down to `LONGEST`, with `about` as JSON in its comment."""
    height, width = image.shape[:2]
    longest = max(height, width)
    if longest > LONGEST:
        scale = LONGEST / longest
        size = max(1, round(width * scale)), max(1, round(height * scale))
        how = (
            cv2.INTER_LINEAR if scale < 0.5 else cv2.INTER_AREA
        )  # a large frame must not cost much
        image = cv2.resize(image, size, interpolation=how).astype(np.uint8, copy=False)
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    )
    if not done:
        raise ValueError("the frame cannot be written as JPEG")
    jpeg = data.tobytes()
    comment = json.dumps(about, ensure_ascii=False, allow_nan=False).encode()
    first = 4 + struct.unpack(">H", jpeg[4:6])[0]  # behind JFIF's own segment
    return jpeg[:first] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + jpeg[first:]


def _about(part: PartInFlight, image: Image, at: str) -> dict[str, Any]:
    found = [] if part.detections is None else part.detections.as_rows()[:_BOXES]
    return {
        "record": part.record_id,
        "sequence": part.trigger.key.sequence,
        "decision": None if part.recorded is None else part.recorded.decision.value,
        "at": at,
        "width": image.shape[1],
        "height": image.shape[0],
        "boxes": [
            {
                "class": str(row["class"])[:64],
                "score": round(row["score"], 3),
                "box": [round(corner, 1) for corner in row["box"]],
            }
            for row in found
            if math.isfinite(row["score"]) and all(map(math.isfinite, row["box"]))
        ],
    }


def _last(seen: Seen, now: float) -> dict[str, Any]:
    part, result = seen.part, seen.part.recorded
    return {
        "record": part.record_id,
        "sequence": part.trigger.key.sequence,
        "part_id": part.trigger.part_id,
        "serial": part.trigger.serial,
        "decision": None if result is None else result.decision.value,
        "reason": None if result is None else result.reason.name,
        "at": part.trigger.seen_at,
        "age": round(now - seen.mono, 2),
        "cycle": round(part.timings.get("answered", 0.0), 4),
    }
