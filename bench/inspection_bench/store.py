"""`inspection bench store`: a part on disk, and looking for parts among many.

a part:    ours, what the line writes of it (trigger and decision durable, then sent and acknowledged)
           naive, one SQLAlchemy ORM row and its commit, with SQLAlchemy's and SQLite's defaults
a page:    ours, newest first by key                  naive, ORDER BY, LIMIT, OFFSET and COUNT(*)
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inspection_bench.measured import Findings, Ratio, milliseconds, quantile

BATCH = 25
"""Parts of a turn."""
PAGE = 50
BOX = [1.0, 2.0, 30.0, 40.0, 0.25, 0.0]
TIMINGS = {"frame": 0.01, "inference": 0.02}


@dataclass(frozen=True, slots=True)
class StorePlan:
    """What is measured.

    Attributes:
        parts: written by each side, in turns.
        rows: already there when pages are looked for; 0: no pages.
    """

    parts: int = 500
    rows: int = 100_000


def race(work: Path, plan: StorePlan) -> Findings:
    """Write and look, in turns; return what was found."""
    folder = work / "store"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    findings = Findings(
        "store", "A part on disk, and a page of parts", {"parts": plan.parts, "rows": plan.rows}
    )
    _write(findings, folder, plan.parts)
    if plan.rows:
        _look(findings, folder, plan.rows)
    return findings


def _write(findings: Findings, folder: Path, parts: int) -> None:
    ours, theirs = _our_writer(folder / "ours.db"), _naive_writer(folder / "naive.db")
    seconds: dict[str, list[float]] = {"ours": [], "naive ORM": []}
    sides = [("ours", ours), ("naive ORM", theirs)]
    for start in range(0, parts, BATCH):
        for name, write in sides if start // BATCH % 2 == 0 else sides[::-1]:
            for number in range(start, min(start + BATCH, parts)):
                begun = time.perf_counter()
                write(number + 1)
                seconds[name].append(time.perf_counter() - begun)
    names = {"ours": "ours, a whole part (four writes)", "naive ORM": "naive ORM, one row"}
    for side, name in names.items():
        rate = round(len(seconds[side]) / sum(seconds[side]))
        findings.rows.append({"name": name, **milliseconds(seconds[side]), "per_second": rate})
    value = quantile(seconds["naive ORM"], 0.5) / quantile(seconds["ours"], 0.5)
    findings.ratios.append(Ratio("p50: one naive row / a whole part of ours", round(value, 2)))


def _our_writer(path: Path) -> Callable[[int], None]:
    from inspection.part import utc_now
    from inspection.store.config import StoreConfig
    from inspection.store.sql import SqlStore
    from inspection.types import Inspected, PartKey, Trigger

    store = SqlStore(StoreConfig(url=f"sqlite:///{path}").beside(path.parent))
    epoch = store.begin_epoch("bench", "start")

    def write(number: int) -> None:
        now, at = time.monotonic(), utc_now()
        trigger = Trigger(PartKey("bench", epoch, number), number, f"SN{number}", now, at, now + 60)
        store.triggered(trigger, 1)
        proof = _proof(number)
        store.decided(
            Inspected(trigger=trigger, timings=TIMINGS, decided_mono=now, decided_at=at, **proof)
        )
        store.sent(trigger.key, now, at)
        store.acknowledged(trigger.key, now, at)

    return write


def _proof(number: int) -> dict[str, Any]:
    """Return what a passed part's row rests on: the store takes no PASS without it."""
    from inspection.types import ClassLimits, Decision, Detections, Frame, Reason, Recipe, Result

    found = Detections(
        boxes=np.array([BOX[:4]], np.float32), scores=np.array(BOX[4:5], np.float32),
        classes=np.zeros(1, np.int64), class_names=("scratch",), release="plate/1",
        model_sha256="cd" * 32,
    )  # fmt: skip
    return {
        "result": Result(Decision.PASS, Reason.NONE),
        "recipe": Recipe(1, "plate", 1, {"scratch": ClassLimits(0.3, 0.6)}, sha256="ab" * 32),
        "frame": Frame(np.zeros((8, 8, 3), np.uint8), number, time.monotonic(), "top"),
        "detections": found,
    }


def _naive_writer(path: Path) -> Callable[[int], None]:
    from sqlalchemy.orm import Session

    from inspection_bench.naive.rows import Result, open_results

    session = Session(open_results(path))

    def write(number: int) -> None:
        row = Result(
            part_id=number,
            serial=f"SN{number}",
            decision="PASS",
            boxes=[BOX],
            image=f"{number}.jpg",
        )
        session.add(row)
        session.commit()

    return write


def _look(findings: Findings, folder: Path, rows: int) -> None:
    ours, theirs = _our_pages(folder, rows), _naive_pages(folder, rows)
    for name in ours:
        seconds: dict[str, list[float]] = {"ours": [], "naive": []}
        for turn in range(20):
            sides = [("ours", ours[name]), ("naive", theirs[name])]
            for side, call in sides if turn % 2 == 0 else sides[::-1]:
                begun = time.perf_counter()
                call()
                seconds[side].append(time.perf_counter() - begun)
        for side, took in seconds.items():
            findings.rows.append({"name": f"{side}: {name}", **milliseconds(took)})
        findings.compare(f"ours: {name}", f"naive: {name}")


def _our_pages(folder: Path, rows: int) -> dict[str, Callable[[], Any]]:
    from inspection.store.config import StoreConfig
    from inspection.store.web import search
    from inspection.store.web.access import WebStore
    from inspection_bench.web_results import fill

    path = folder / "ours-pages.db"
    config = StoreConfig(url=f"sqlite:///{path}").beside(folder)
    fill(config, rows)
    store = WebStore(config)

    def page(wanted: search.Search, below: int | None = None) -> Callable[[], Any]:
        def look() -> Any:
            with store.read("a search") as connection:
                return search.page(connection, wanted, below=below)

        return look

    return {
        "newest page": page(search.Search()),
        "a page half way back": page(search.Search(), rows // 2),
        "failed parts": page(search.Search(decision="FAIL")),
        "a serial": page(search.Search(serial=f"SN{rows - 7}")),
    }


def _naive_pages(folder: Path, rows: int) -> dict[str, Callable[[], Any]]:
    from sqlalchemy import func, insert, select
    from sqlalchemy.orm import Session

    from inspection_bench.naive.rows import Result, open_results

    engine = open_results(folder / "naive-pages.db")
    with Session(engine) as session:
        kinds = ["PASS"] * 92 + ["FAIL"] * 5 + ["REVIEW"] * 3
        made = [
            {"part_id": n, "serial": f"SN{n}", "decision": kinds[n * 79 % 100], "boxes": [], "image": ""}
            for n in range(rows)
        ]  # fmt: skip
        session.execute(insert(Result), made)
        session.commit()

    def page(offset: int = 0, **wanted: str) -> Callable[[], Any]:
        def look() -> Any:
            with Session(engine) as session:
                query = select(Result).filter_by(**wanted)
                number = session.scalar(select(func.count()).select_from(query.subquery()))
                query = query.order_by(Result.created_at.desc()).offset(offset).limit(PAGE)
                return number, json.dumps([row.boxes for row in session.scalars(query)])

        return look

    return {
        "newest page": page(),
        "a page half way back": page(rows // 2),
        "failed parts": page(decision="FAIL"),
        "a serial": page(serial=f"SN{rows - 7}"),
    }
