"""Where defects lie: centres of the boxes that counted, on a grid over the picture of a passed part."""

from __future__ import annotations

from collections import Counter
from typing import Any

from inspection.store.rows import Values
from inspection.store.web.access import WebStore
from inspection.store.web.counts import Wanted, latest_flagged, latest_good
from inspection_serve.web.quality.answers import Positions

MOST = 2000
"""Flagged parts looked at."""
COLUMNS = 32
ROWS = 24


def find_positions(store: WebStore, wanted: Wanted) -> Positions:
    """Return the places of defects of the latest flagged parts. Raises StoreError.

    A box counts when its class decided the part, whatever its score; where a part names no class, every box
    counts. Boxes of pictures with unknown size are left out.
    """
    with store.read("reading the places of defects") as connection:
        rows = latest_flagged(connection, wanted, MOST)
        good = latest_good(connection, wanted, 1)
    cells: Counter[tuple[int, int]] = Counter()
    newest: dict[tuple[int, int], int] = {}
    classes: set[str] = set()
    for row in rows:
        for name, cell in _centres(row):
            cells[cell] += 1
            newest[cell] = max(newest.get(cell, 0), int(row["id"]))
            classes.add(name)
    width, height = _size(good[0]) if good else (0, 0)
    return Positions(
        parts=len(rows),
        most=MOST,
        boxes=cells.total(),
        columns=COLUMNS,
        rows=ROWS,
        cells=tuple((*cell, n, newest[cell]) for cell, n in sorted(cells.items())),
        classes=tuple(sorted(classes)),
        width=width,
        height=height,
        background=int(good[0]["id"]) if good and width else None,
    )


def find_cell(store: WebStore, wanted: Wanted, column: int, row: int) -> list[Values]:
    """Return the parts that `find_positions` counted in a cell, newest first, each with its `boxes` there.

    Columns and rows begin with 0. Raises StoreError.
    """
    with store.read("reading the parts of a place") as connection:
        rows = latest_flagged(connection, wanted, MOST)
    found: list[Values] = []
    for one in rows:
        boxes = [cell for _, cell in _centres(one)].count((column, row))
        if boxes:
            found.append({**one, "boxes": boxes})
    return sorted(found, key=lambda one: (one["triggered_at"], one["id"]), reverse=True)


def _centres(row: Values) -> list[tuple[str, tuple[int, int]]]:
    width, height = _size(row)
    found: list[tuple[str, tuple[int, int]]] = []
    if not width or not height:
        return found
    for one in row["detections"] or []:
        if row["defect_class"] and one.get("class") != row["defect_class"]:
            continue
        box: list[Any] = one.get("box") or []
        if len(box) != 4:
            continue
        x = int((box[0] + box[2]) / 2 / width * COLUMNS)
        y = int((box[1] + box[3]) / 2 / height * ROWS)
        found.append(
            (str(one.get("class", "")), (min(max(x, 0), COLUMNS - 1), min(max(y, 0), ROWS - 1)))
        )
    return found


def _size(row: Values) -> tuple[int, int]:
    first = (row["images"] or [{}])[0]
    return int(first.get("width") or 0), int(first.get("height") or 0)
