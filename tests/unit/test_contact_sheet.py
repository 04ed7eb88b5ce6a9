"""The contact sheet: every flagged part on one picture, whatever its size, name and boxes."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from inspection.demo.contact_sheet import SheetRow, write_contact_sheet
from inspection.types import Decision


def row(shape: tuple[int, int] = (256, 320), **more: object) -> SheetRow:
    return SheetRow(
        np.full((*shape, 3), 120, np.uint8), **{"part": "17", "decision": Decision.FAIL, **more}
    )


def read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path))
    assert image is not None
    return image


def test_layout(tmp_path: Path) -> None:
    path = tmp_path / "new" / "sheet.png"
    sizes = []
    for count in (1, 4, 5):
        assert write_contact_sheet([row()] * count, path, columns=4, thumb=(160, 128)) == count
        sizes.append(read(path).shape[:2])
    (low, narrow), (same, wide), (high, _) = sizes
    assert low == same
    assert high > 1.8 * low
    assert wide > 3.8 * narrow
    assert [file.name for file in path.parent.iterdir()] == ["sheet.png"]


def test_colours_and_boxes(tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    box = {"class": "scratch", "score": 0.87, "box": [100.0, 80.0, 180.0, 160.0]}
    write_contact_sheet([row(detections=[box])], path)
    blue, green, red = (read(path)[..., i].astype(int) for i in range(3))
    drawn = np.argwhere((red > 240) & (green > 40) & (green < 80) & (blue < 20)) - 8  # the margin
    assert abs(drawn.min(axis=0) - (78, 98)).max() <= 2
    assert abs(drawn.max(axis=0) - (161, 181)).max() <= 2


def test_odd_parts(tmp_path: Path) -> None:
    far = {"class": "dent", "score": 1, "box": [-5000, -1e9, 1e9, 5e9]}
    edges = [{"class": "스크래치", "score": 0.5, "box": [0, 0, 4, 4]}] * 3
    rows = [
        row((3000, 40), detections=[far]),
        row((5, 3000), detections=edges),
        row((1, 1), part="x" * 500, note="길다 " * 90),
        SheetRow(None, "", Decision.NOT_INSPECTED, note="CAMERA_LOST"),
        *(row(decision=decision) for decision in Decision),
    ]
    assert write_contact_sheet(iter(rows), tmp_path / "s.png", columns=3, thumb=(64, 64)) == 8
    assert read(tmp_path / "s.png").size


def test_nothing_flagged_is_said(tmp_path: Path) -> None:
    assert write_contact_sheet([], tmp_path / "s.png") == 0
    assert read(tmp_path / "s.png").min() < 100


def test_nonsense(tmp_path: Path) -> None:
    for wrong in ({"columns": 0}, {"thumb": (10, 200)}):
        with pytest.raises(ValueError, match="too small"):
            write_contact_sheet([row()], tmp_path / "s.png", **wrong)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        write_contact_sheet([row()], tmp_path / "file" / "s.png")
