"""The demo's last words: one table for a newcomer, and a contact sheet of the flagged parts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from inspection.demo.contact_sheet import SheetRow, write_contact_sheet
from inspection.demo.figures import Figures
from inspection.types import ClassLimits, Decision

_CONFIDENCE = 0.95


def print_table(
    console: Any, figures: Figures, parts: int, *, verified: bool, flagged: int, sheet: Path
) -> None:
    """Print what a shift came to."""
    from rich.table import Table

    table = Table(title=f"Shift of {parts} parts", show_header=False, title_justify="left")
    table.add_column("what", style="bold")
    table.add_column("figure", justify="right")
    table.add_column("meaning")
    decisions = figures.decisions
    for decision, meaning in _MEANINGS.items():
        table.add_row(decision.replace("_", " "), str(decisions[decision]), meaning)
    table.add_section()
    table.add_row("caught", *_rate(figures.caught, "defective parts that were not passed"))
    for name, (caught, of) in figures.by_class.items():
        table.add_row(f"  {name}", f"{caught} of {of}", "")
    escapes = ", ".join(f"part {part} ({what})" for part, what in figures.escapes.items())
    table.add_row("escapes", str(len(figures.escapes)), escapes or "no defective part was passed")
    table.add_row("overkill", *_rate(figures.overkill, "good parts that were not passed"))
    table.add_section()
    outcomes = ", ".join(f"{cause} {count}" for cause, count in sorted(figures.outcomes.items()))
    agree = "same, part by part" if not figures.disagreements else "DIFFERENT, see below"
    table.add_row("PLC counters", str(sum(figures.outcomes.values())), outcomes)
    table.add_row("PLC against store", str(sum(decisions.values())), agree)
    table.add_row(
        "verify", "clean" if verified else "BREACH", "invariants of the store; verify.txt"
    )
    table.add_section()
    table.add_row(
        "trigger → answer", f"{figures.percentile(0.5) * 1e3:.0f} ms", "median, seen by the PLC"
    )
    table.add_row("", f"{figures.percentile(0.99) * 1e3:.0f} ms", "99 of 100 answers are quicker")
    table.add_row("flagged parts", str(flagged), str(sheet))
    console.print(table)


_MEANINGS = {
    Decision.PASS: "proven good and let through",
    Decision.FAIL: "a defect over its limit",
    Decision.REVIEW: "in doubt: held for a person",
    Decision.NOT_INSPECTED: "could not be judged: rejected",
}


def _rate(counted: tuple[int, int], meaning: str) -> tuple[str, str]:
    from scipy.stats import binomtest

    count, of = counted
    if of == 0:
        return "0 of 0", meaning
    interval = binomtest(count, of).proportion_ci(_CONFIDENCE, method="exact")
    return (
        f"{count} of {of}",
        f"{meaning}: {count / of:.0%}, 95 % interval {interval.low:.0%} to {interval.high:.0%}",
    )


def write_flagged(
    rows: list[dict[str, Any]], images: Path, path: Path, limits: Mapping[str, ClassLimits]
) -> int:
    """Write a contact sheet of every part that was not passed, with the truth; return how many.

    Args:
        rows: of the store, see `figures.read_rows`.
        images: the store's picture folder.
        path: the PNG to write.
        limits: class to limits in force; only boxes from T1 on are drawn, the others were noise.
    """
    flagged = [row for row in rows if row["decision"] != Decision.PASS]
    return write_contact_sheet([_sheet_row(row, images, limits) for row in flagged], path)


def _sheet_row(row: dict[str, Any], images: Path, limits: Mapping[str, ClassLimits]) -> SheetRow:
    truth = ", ".join(_loads(row["truth"]) or {}) or "a good part"
    return SheetRow(
        image=_picture(row, images),
        part=f"part {row['part_id']}",
        decision=Decision(row["decision"]),
        detections=_strongest(_loads(row["detections"]) or (), limits),
        note=f"{row['reason']}; in truth: {truth}",
    )


def _strongest(
    detections: Sequence[Mapping[str, Any]], limits: Mapping[str, ClassLimits]
) -> list[Mapping[str, Any]]:
    """Return what counted, one box for each place."""
    kept: list[Mapping[str, Any]] = []
    for found in sorted(detections, key=lambda found: -found["score"]):
        if found["score"] >= limits[found["class"]].t1 and not any(
            _touch(found["box"], other["box"]) for other in kept
        ):
            kept.append(found)
    return kept


def _touch(box: Sequence[float], other: Sequence[float]) -> bool:
    return box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]


def _picture(row: dict[str, Any], images: Path) -> Any:
    found = _loads(row["images"])
    if not found:
        return None
    data = np.fromfile(images / found[0]["path"], np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return None if picture is None else cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def _loads(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value
