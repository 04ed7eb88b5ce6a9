"""The frame of a report: one HTML file, no script, no network, made to be printed.

Everything that is put into it here is escaped; what a section holds is HTML already.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from inspection.errors import ConfigError
from inspection.release import write_atomic

Colour = tuple[int, int, int]
_STYLE = """
body{font:15px/1.5 system-ui,"Noto Sans KR","Malgun Gothic",sans-serif;color:#1d2126;background:#fff;
max-width:1000px;margin:2rem auto;padding:0 1.2rem;word-break:keep-all;overflow-wrap:anywhere}
h1{font-size:1.6rem}h2{font-size:1.15rem;margin:2rem 0 .5rem;border-bottom:1px solid #c9ced4}
table{border-collapse:collapse;margin:.4rem 0}th,td{padding:.25rem .7rem;border-bottom:1px solid #dfe3e7;
text-align:left;vertical-align:top;font-variant-numeric:tabular-nums}thead th{background:#f2f4f6}
.wide{overflow-x:auto}p.note{color:#515860;margin:.3rem 0}code{font-size:.85em}
.sheet{display:grid;grid-template-columns:repeat(auto-fill,minmax(280px,1fr));gap:1rem}
figure{margin:0;break-inside:avoid}figure img{max-width:100%;border:1px solid #c9ced4;display:block}
figcaption{font-size:.85em}
@media print{body{max-width:none;margin:0}h2{break-after:avoid}tr{break-inside:avoid}}
"""


def page(title: str, language: str, sections: Iterable[str], style: str = "") -> str:
    """Return the whole page.

    Args:
        title: plain text.
        language: ko or en.
        sections: HTML.
        style: CSS beside the frame's own.
    """
    name = escape(title)
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{name}</title><style>{_STYLE}{style}</style></head><body><h1>{name}</h1>"
        f"{''.join(sections)}</body></html>\n"
    )


def write_page(path: Path, text: str) -> None:
    """Write a page; an older one of that name is replaced.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text.encode())
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error}; free space or check the rights"
        ) from error


def section(title: str, *content: str) -> str:
    """Return a section; its content is HTML."""
    return f"<section><h2>{escape(title)}</h2>{''.join(content)}</section>"


def note(text: str) -> str:
    """Return a quiet line."""
    return f'<p class="note">{escape(text)}</p>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of plain texts."""
    cells = "".join(f"<th>{escape(x)}</th>" for x in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(x)}</td>" for x in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>'


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Return a table of names and what they are."""
    body = "".join(
        f"<tr><th>{escape(k)}</th><td><code>{escape(v)}</code></td></tr>" for k, v in rows
    )
    return f'<div class="wide"><table><tbody>{body}</tbody></table></div>'


def shrink(image: Any, longer_side: int) -> tuple[Any, float]:
    """Return a picture uint8 RGB whose longer side is at most so many pixels, and its scale."""
    scale = min(1.0, longer_side / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.ascontiguousarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA)), scale


def jpeg_uri(image: Any) -> str:
    """Return a picture uint8 RGB as a JPEG data URI; empty where it cannot be encoded."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode() if done else ""


def dashed(image: Any, box: Sequence[int], colour: Colour) -> None:
    """Draw a dashed box, x1 y1 x2 y2 in pixels, into a picture."""
    x1, y1, x2, y2 = box
    for x in range(x1, x2, 8):
        for y in (y1, y2):
            cv2.line(image, (x, y), (min(x + 4, x2), y), colour, 2)
    for y in range(y1, y2, 8):
        for x in (x1, x2):
            cv2.line(image, (x, y), (x, min(y + 4, y2)), colour, 2)
