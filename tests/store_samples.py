"""Parts as the line hands them to the store, for the store's tests."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from inspection.store.config import StoreConfig
from inspection.types import (
    ClassLimits,
    Decision,
    Detections,
    Frame,
    Inspected,
    PartKey,
    Reason,
    Recipe,
    Result,
    Trigger,
)

RECIPE = Recipe(1, "bottle", 3, {"scratch": ClassLimits(0.3, 0.6)}, sha256="ab" * 32)
PASSED = Result(Decision.PASS, Reason.NONE)
FAILED = Result(Decision.FAIL, Reason.DEFECT, (Reason.DEFECT,), 1, 0.91, 1, "scratch", (0,))
REVIEWED = Result(Decision.REVIEW, Reason.BORDERLINE, (Reason.BORDERLINE,), 1, 0.4, 1)
MODEL = "cd" * 32


def store_config(folder: Path, **changes: Any) -> StoreConfig:
    """Return a store in a folder; free space is not guarded, and a writer waits as a slow disk wants."""
    images = {"min_free_gb": 0, "min_free_percent": 0, **changes.pop("images", {})}
    return StoreConfig.model_validate({"busy_timeout": 10.0, **changes, "images": images}).beside(
        folder
    )


def utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def trigger(
    sequence: int,
    *,
    epoch: int = 1,
    station: str = "st1",
    part_id: int | None = None,
    deadline: float = 60.0,
) -> Trigger:
    now = time.monotonic()
    key = PartKey(station, epoch, sequence)
    return Trigger(
        key,
        sequence + 1000 if part_id is None else part_id,
        f"S{sequence}",
        now,
        utc_now(),
        now + deadline,
    )


def frame(
    sequence: int, *, size: tuple[int, int] = (48, 64), truth: dict[str, int] | None = None
) -> Frame:
    generator = np.random.default_rng(sequence)
    image = generator.integers(0, 255, (*size, 3), dtype=np.uint8)
    return Frame(image, sequence, time.monotonic(), "top", f"{sequence}.png", truth)


def detections(count: int = 1) -> Detections:
    return Detections(
        boxes=np.tile(np.array([[1, 2, 30, 40]], np.float32), (count, 1)),
        scores=np.full(count, 0.25, np.float32),
        classes=np.zeros(count, np.int64),
        class_names=("scratch",),
        release="bottle/3",
        model_sha256=MODEL,
    )


def inspected(asked: Trigger, result: Result = PASSED, **changes: Any) -> Inspected:
    """Return a decided part with a fresh frame and one detection under T1."""
    values: dict[str, Any] = {
        "recipe": RECIPE,
        "frame": frame(asked.key.sequence),
        "detections": detections(),
        "timings": {"grab": 0.01, "infer": 0.02},
        **changes,
    }
    return Inspected(
        trigger=asked, result=result, decided_mono=time.monotonic(), decided_at=utc_now(), **values
    )


def not_inspected(
    asked: Trigger, reason: Reason = Reason.STORE_FAILED, **changes: Any
) -> Inspected:
    """Return a part that could not be judged, without frame and model."""
    return inspected(
        asked,
        Result.not_inspected(reason),
        **{"frame": None, "detections": None, "timings": {}, **changes},
    )
