"""Label suspects as one HTML file: pictures inside, no script, no network, Korean or English."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from inspection.errors import DatasetError
from inspection.release import write_atomic
from inspection_datasets.incoming import inside, read_image
from inspection_datasets.manifest import DatasetVersion
from inspection_datasets.sheet import jpeg
from inspection_training.label_suspects.find import Suspect, Suspicions
from inspection_training.label_suspects.text import head, reason, word

SIDE = 520
"""Longer side of a picture, pixels; a smaller one is shown at most four times as large."""
_GREEN, _RED = (0, 150, 60), (210, 30, 30)
_STYLE = (
    'body{font:15px/1.5 "Noto Sans KR","Malgun Gothic",system-ui,sans-serif;max-width:1100px;'
    "margin:2rem auto;padding:0 1rem;color:#1d2126}h1{font-size:1.5rem}"
    ".sheet{display:grid;grid-template-columns:repeat(auto-fill,minmax(320px,1fr));gap:1rem}"
    "figure{margin:0;break-inside:avoid}figure img{max-width:100%;border:1px solid #c9ced4}"
    "figcaption{font-size:.85rem;overflow-wrap:anywhere}.note{color:#515860}"
)


def write_suspects(found: Suspicions, path: Path, language: str = "ko") -> None:
    """Write the report.

    Raises:
        DatasetError: a picture cannot be read, or the file cannot be written.
    """
    title = escape(f"{word('title', language)}: {found.release.name}, {found.version.name}")
    figures = "".join(_figure(found.version, suspect, language) for suspect in found.suspects)
    lines = "".join(f"<p>{escape(line)}</p>" for line in head(found, language))
    text = (
        f'<!DOCTYPE html>\n<html lang="{language}"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1>{lines}"
        f'<p class="note">{escape(word("legend", language))}</p>'
        f'<p class="note">{escape(found.version.version)} sha256 {found.version.sha256}</p>'
        f'<div class="sheet">{figures or escape(word("none", language))}</div></body></html>\n'
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text.encode())
    except OSError as error:
        raise DatasetError(f"{path} cannot be written: {error}; choose another place") from error


def _figure(version: DatasetVersion, suspect: Suspect, language: str) -> str:
    sample = suspect.sample
    picture = draw(version, suspect)
    source = f"data:image/jpeg;base64,{base64.b64encode(jpeg(picture)).decode()}"
    facts = [sample.image, sample.split, f"{word('quality', language)} {suspect.quality:.2f}"]
    if suspect.found.anomaly_score is not None:
        facts.append(f"{word('score', language)} {suspect.found.anomaly_score:.2f}")
    if suspect.trained_on:
        facts.append(word("trained_on", language))
    return (
        f'<figure><img src="{source}" alt=""><figcaption><b>{escape(reason(suspect, language))}</b>'
        f"<br>{escape(', '.join(facts))}</figcaption></figure>"
    )


def draw(version: DatasetVersion, suspect: Suspect) -> NDArray[np.uint8]:
    """Return the picture with labels in green, detections in red and the doubted box thick; RGB."""
    sample = suspect.sample
    image = read_image(inside(version.folder, sample.image, version.version))
    height, width = image.shape[:2]
    scale = min(SIDE / max(height, width), 4.0)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = np.ascontiguousarray(cv2.resize(image, size, interpolation=how), np.uint8)
    for name, *corners in sample.boxes:
        _box(small, [v * scale for v in corners], name, _GREEN, tuple(corners) == suspect.box)
    for row in suspect.found.as_rows():
        doubted = suspect.kind == "overlooked" and _near(row["box"], suspect.box)
        text = f"{row['class']} {row['score']:.2f}"
        _box(small, [v * scale for v in row["box"]], text, _RED, doubted)
    return small


def _near(box: list[float], other: tuple[float, float, float, float] | None) -> bool:
    return other is not None and all(abs(a - b) < 0.2 for a, b in zip(box, other, strict=True))


def _box(
    image: NDArray[np.uint8],
    corners: list[float],
    text: str,
    colour: tuple[int, int, int],
    doubted: bool,
) -> None:
    x1, y1, x2, y2 = (round(v) for v in corners)
    cv2.rectangle(image, (x1, y1), (x2, y2), colour, 3 if doubted else 1)
    below = colour == _RED or y1 < 14
    base = min(y2 + 12, image.shape[0] - 3) if below else y1 - 4
    cv2.putText(
        image, text, (max(x1, 0), base), cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1, cv2.LINE_AA
    )
