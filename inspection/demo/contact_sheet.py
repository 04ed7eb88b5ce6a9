"""One picture of many parts: what was flagged in a run, to look at in one go.

Text is drawn with OpenCV's own font. Not every version knows more than ASCII, so other characters
become `?`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inspection.release import write_atomic
from inspection.types import Decision, Image

_PAPER, _INK = (250, 250, 248), (30, 30, 30)
_COLOURS = {
    Decision.PASS: (40, 140, 60),
    Decision.FAIL: (200, 30, 30),
    Decision.REVIEW: (205, 120, 0),
    Decision.NOT_INSPECTED: (110, 110, 110),
}
_BOX = (255, 60, 0)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LINE = 18  # pixels of a line of text
_GAP = 8


@dataclass(frozen=True, slots=True)
class SheetRow:
    """One part of the sheet.

    Attributes:
        image: uint8 [H, W, 3] RGB, or None when there is no picture.
        part: part id or serial, as it is to be shown.
        decision: the answer.
        detections: as `Detections.as_rows` gives them: class, score, box in pixels of the image.
        note: a second line, the reason for instance; may be empty.
    """

    image: Image | None
    part: str
    decision: Decision
    detections: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    note: str = ""


def write_contact_sheet(
    rows: Iterable[SheetRow],
    path: Path,
    columns: int = 4,
    thumb: tuple[int, int] = (320, 256),
) -> int:
    """Write the sheet as PNG and return the number of parts on it.

    Without rows a sheet that says so is written. Each picture keeps its aspect.

    Args:
        rows: the parts, in reading order.
        path: the PNG file; replaced whole.
        columns: parts in a row, from 1.
        thumb: (width, height) of a part's picture on the sheet, pixels, each from 64.

    Raises:
        OSError: the file cannot be written.
        ValueError: `columns` or `thumb` is out of bounds.
    """
    if columns < 1 or min(thumb) < 64:
        raise ValueError(f"columns {columns} or thumb {thumb} is too small; use >= 1 and >= 64")
    cells = [_draw_cell(row, thumb) for row in rows]
    sheet = _join(cells, columns) if cells else _empty(thumb)
    done, data = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    if not done:
        raise OSError(f"contact sheet {path} could not be encoded as PNG; use fewer parts")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, data.tobytes())
    return len(cells)


def _draw_cell(row: SheetRow, thumb: tuple[int, int]) -> Image:
    width, height = thumb
    cell = np.full((height + 2 * _LINE + _GAP, width, 3), _PAPER, np.uint8)
    picture = cell[:height]
    if row.image is None:
        picture[:] = 200
        _write(picture, "no picture", (10, height // 2), _INK)
    else:
        _draw_picture(picture, row)
    colour = _COLOURS[row.decision]
    cv2.rectangle(cell, (0, 0), (width - 1, height - 1), colour, 2)
    _write(cell, f"{row.part}  {row.decision}", (4, height + _LINE - 3), colour)
    _write(cell, row.note, (4, height + 2 * _LINE - 4), _INK)
    return cell


def _draw_picture(picture: Image, row: SheetRow) -> None:
    """Fit the image into the picture, then draw boxes and labels at the sheet's resolution."""
    if row.image is None:
        return
    (height, width), (high, wide) = picture.shape[:2], row.image.shape[:2]
    scale = min(width / wide, height / high)
    new_width, new_height = max(1, round(wide * scale)), max(1, round(high * scale))
    left, top = (width - new_width) // 2, (height - new_height) // 2
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture[:] = 40
    fitted = cv2.resize(row.image, (new_width, new_height), interpolation=how)
    picture[top : top + new_height, left : left + new_width] = fitted
    for detection in row.detections:
        corners = np.asarray(detection["box"], np.float64) * scale + (left, top, left, top)
        x1, y1, x2, y2 = (int(value) for value in np.clip(np.round(corners), -1, 1 << 14))
        cv2.rectangle(picture, (x1 - 2, y1 - 2), (x2 + 1, y2 + 1), _BOX, 1)
        _label(picture, f"{detection['class']} {float(detection['score']):.2f}", (x1, y1, y2))


def _label(picture: Image, text: str, place: tuple[int, int, int]) -> None:
    """Write a label over the box, under it where there is no room, always inside the picture."""
    x1, y1, y2 = place
    (width, height), _ = cv2.getTextSize(_ascii(text), _FONT, 0.4, 1)
    left = max(2, min(x1 - 2, picture.shape[1] - width - 4))
    bottom = y1 - 5 if y1 - height - 6 > 0 else min(y2 + height + 6, picture.shape[0] - 4)
    cv2.rectangle(
        picture, (left - 1, bottom - height - 2), (left + width + 1, bottom + 3), (0, 0, 0), -1
    )
    cv2.putText(picture, _ascii(text), (left, bottom), _FONT, 0.4, (255, 225, 120), 1, cv2.LINE_AA)


def _write(image: NDArray[np.uint8], text: str, at: tuple[int, int], colour: Any) -> None:
    shown = _ascii(text)
    while shown and cv2.getTextSize(shown, _FONT, 0.45, 1)[0][0] > image.shape[1] - at[0]:
        shown = shown[:-1]
    cv2.putText(image, shown, at, _FONT, 0.45, colour, 1, cv2.LINE_AA)


def _ascii(text: str) -> str:
    return "".join(char if " " <= char <= "~" else "?" for char in text)


def _join(cells: list[Image], columns: int) -> Image:
    height, width = cells[0].shape[:2]
    across = min(columns, len(cells))
    down = -(-len(cells) // across)
    shape = (down * (height + _GAP) + _GAP, across * (width + _GAP) + _GAP, 3)
    sheet = np.full(shape, _PAPER, np.uint8)
    for index, cell in enumerate(cells):
        top = _GAP + (index // across) * (height + _GAP)
        left = _GAP + (index % across) * (width + _GAP)
        sheet[top : top + height, left : left + width] = cell
    return sheet


def _empty(thumb: tuple[int, int]) -> Image:
    sheet = np.full((thumb[1], thumb[0], 3), _PAPER, np.uint8)
    _write(sheet, "nothing was flagged", (10, thumb[1] // 2), _INK)
    return sheet
