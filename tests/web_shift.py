"""A shift in a store with real pictures, and `bulk` for large stores: what the tests of the pages look at."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from store_samples import MODEL, inspected, not_inspected, store_config, trigger, utc_now

from inspection.cameras.render import CLASSES, render_part
from inspection.store.config import StoreConfig
from inspection.store.database import make_engine
from inspection.store.images import write_picture
from inspection.store.sql import SqlStore
from inspection.store.tables import epochs, parts
from inspection.store.web import intake
from inspection.store.web.access import WebStore
from inspection.store.web.tables import settings
from inspection.types import (
    ClassLimits,
    Decision,
    Detections,
    Frame,
    Inspected,
    Reason,
    Recipe,
    Result,
)

RECIPE = Recipe(1, "plate", 1, {name: ClassLimits(0.3, 0.6) for name in CLASSES}, sha256="ab" * 32)
SIZE = (320, 256)
_NONE_DRAWN = "9d" * 32
"""With this seed none of the first hundred records is drawn from the passed parts, at 5 % or less."""
_BULK = 20_000


def write_shift(folder: Path, number: int = 24, *, station: str = "st1") -> StoreConfig:
    """Write `results.db` and `images/` with so many acknowledged parts; return the store's settings.

    Record ids start at 1. Of the sequence numbers every twelfth is not inspected (no picture), every other
    sixth is in REVIEW, every other third is FAIL, the rest passes. Detections are the rendered defects.
    At the usual share none of the passed is drawn for review: what waits is known, the same each time.
    """
    config = store_config(folder)
    store = SqlStore(config)
    epoch = store.begin_epoch(station, "start")
    for sequence in range(1, number + 1):
        add_part(store, config, sequence, epoch, station)
    store.close()
    pages = WebStore(config)
    with pages.write("a test's draw") as connection:
        row = {"name": intake.SEED, "value": _NONE_DRAWN, "who": "system", "at": utc_now()}
        connection.execute(sa.insert(settings), row)  # the audit is as of a new store
    pages.close()
    return config


def add_part(
    store: SqlStore, config: StoreConfig, sequence: int, epoch: int = 1, station: str = "st1"
) -> None:
    """Take one part through its life, with its picture; see `write_shift`."""
    part = judged(sequence, epoch, station)
    key = part.trigger.key
    store.triggered(part.trigger, RECIPE.number)
    store.decided(part)
    store.sent(key, part.decided_mono, part.decided_at)
    store.acknowledged(key, part.decided_mono, part.decided_at)
    if part.frame is not None:
        store.images(key, "saved", [write_picture(config.images, part)])


def judged(sequence: int, epoch: int = 1, station: str = "st1") -> Inspected:
    """Return a decided part; see `write_shift`."""
    asked = trigger(sequence, epoch=epoch, station=station)
    if sequence % 12 == 0:
        return not_inspected(asked, Reason.CAMERA_TIMEOUT, recipe=RECIPE)
    borderline, bad = sequence % 6 == 0, sequence % 3 == 0
    names = [CLASSES[sequence // 3 % len(CLASSES)]] if bad else []
    rendered = render_part(np.random.default_rng([7, sequence]), SIZE, names)
    score = 0.45 if borderline else 0.91
    found = Detections(
        boxes=np.array([box[1:] for box in rendered.boxes], np.float32).reshape(-1, 4),
        scores=np.full(len(rendered.boxes), score, np.float32),
        classes=np.array([CLASSES.index(box[0]) for box in rendered.boxes], np.int64),
        class_names=tuple(CLASSES),
        release="plate/1",
        model_sha256=MODEL,
    )
    result = Result(Decision.PASS, Reason.NONE)
    if bad:
        decision = Decision.REVIEW if borderline else Decision.FAIL
        reason = Reason.BORDERLINE if borderline else Reason.DEFECT
        place = CLASSES.index(names[0]) + 1
        result = Result(decision, reason, (reason,), place, score, len(rendered.boxes), names[0])
    frame = Frame(rendered.image, sequence, asked.seen_mono + 0.001, "top", f"{sequence}.png")
    return inspected(asked, result, recipe=RECIPE, frame=frame, detections=found)


def bulk(config: StoreConfig, number: int, *, days: float = 30.0, station: str = "st1") -> None:
    """Write so many acknowledged parts without pictures' files, evenly over the days until now.

    Decisions: 92 % PASS, 5 % FAIL, 2 % REVIEW, 1 % NOT_INSPECTED, at places that a fixed seed gives.
    """
    store = SqlStore(config)
    epoch = store.begin_epoch(station, "start")
    store.close()
    engine = make_engine(config.model_copy(update={"busy_timeout": 30.0}))
    generator = np.random.default_rng(3)
    start, step = datetime.now(UTC) - timedelta(days=days), timedelta(days=days) / number
    picture = [
        {"path": f"{station}/{epoch}/0/1-1.jpg", "sha256": "0" * 64, "width": 320, "height": 256}
    ]
    with engine.connect() as connection, connection.begin():
        first = (connection.execute(sa.select(sa.func.max(parts.c.id))).scalar() or 0) + 1
        for begin in range(0, number, _BULK):
            size = min(_BULK, number - begin)
            draws = generator.random(size)
            rows = [
                _row(
                    station,
                    epoch,
                    begin + i,
                    first + begin + i,
                    start + step * (begin + i),
                    draws[i],
                    picture,
                )
                for i in range(size)
            ]
            connection.execute(sa.insert(parts), rows)
        for wrap in range(1, number // 65535 + 2):
            row = {
                "station": station, "epoch": epoch + wrap, "cause": "wrap", "host": "h", "boot_id": "b",
                "started_at": start.isoformat(timespec="microseconds"), "started_mono": 0.0,
            }  # fmt: skip
            connection.execute(sa.insert(epochs), row)
    engine.dispose()


def _row(
    station: str, epoch: int, number: int, record: int, at: datetime, draw: float, picture: Any
) -> dict[str, Any]:
    name = CLASSES[number % len(CLASSES)]
    decision, reason, score = Decision.PASS, Reason.NONE, 0.1
    if draw >= 0.99:
        decision, reason = Decision.NOT_INSPECTED, Reason.CAMERA_TIMEOUT
    elif draw >= 0.97:
        decision, reason, score = Decision.REVIEW, Reason.BORDERLINE, 0.45
    elif draw >= 0.92:
        decision, reason, score = Decision.FAIL, Reason.DEFECT, 0.9
    text = at.isoformat(timespec="microseconds")
    seen, flagged = 1000.0 + number * 0.3, decision in (Decision.FAIL, Decision.REVIEW)
    shown = decision is not Decision.NOT_INSPECTED
    return {
        "id": record, "station": station, "epoch": epoch + number // 65535,
        "sequence": number % 65535 + 1, "state": "acknowledged", "part_id": 100_000 + number,
        "serial": f"LOT{number // 500:05d}", "recipe_number": 1, "recipe_sha256": "ab" * 32,
        "part_name": "plate", "release_number": 1, "release": "plate/1" if shown else None,
        "model_sha256": MODEL if shown else None, "decision": decision.value, "reason": reason.name,
        "reasons": [] if reason is Reason.NONE else [reason.name], "detail": "",
        "deciding_class": number % len(CLASSES) + 1 if flagged else 0,
        "deciding_score": score if flagged else 0.0, "defect_class": name if flagged else None,
        "over_t1": int(flagged),
        "detections": [{"class": name, "score": score, "box": [40.0, 40.0, 90.0, 80.0]}] if shown else None,
        "anomaly_score": None, "timings": {"grab": 0.01, "infer": 0.02}, "late": None,
        "frame_id": number if shown else None, "frame_mono": seen + 0.01 if shown else None,
        "camera": "top", "source": "", "truth": None, "simulated": False, "triggered_mono": seen,
        "triggered_at": text, "deadline_mono": seen + 1, "decided_mono": seen + 0.1, "decided_at": text,
        "committed_mono": seen + 0.1, "sent_mono": seen + 0.1, "sent_at": text,
        "acknowledged_mono": seen + 0.15, "acknowledged_at": text,
        "image_state": "saved" if shown else "none", "images": picture if shown else None,
    }  # fmt: skip
