"""Pictures of the evaluation report: parts with boxes as data URIs, histograms as SVG."""

from __future__ import annotations

from html import escape
from typing import Any

import cv2
import numpy as np

from inspection.types import Detections, Recipe
from inspection_datasets.incoming import read_image
from inspection_training.evaluation import SplitRun
from inspection_training.report.frame import dashed, jpeg_uri, shrink

LONGER_SIDE = 480
_GREEN, _RED = (0, 150, 60), (210, 30, 30)


def part_picture(run: SplitRun, index: int, recipe: Recipe) -> str:
    """Return one part as a JPEG data URI: labels in dashed green, what counts at T1 in solid red."""
    sample = run.samples[index]
    image: Any = read_image(run.version.path(sample))
    small, scale = shrink(image, LONGER_SIDE)
    for box in sample.boxes:
        dashed(small, [round(v * scale) for v in box[1:]], _GREEN)
    for box in _counted(run.found[index], recipe):
        x1, y1, x2, y2 = (round(float(v) * scale) for v in box)
        cv2.rectangle(small, (x1, y1), (x2, y2), _RED, 2)
    return jpeg_uri(small)


def _counted(found: Detections, recipe: Recipe) -> Any:
    t1 = np.array([recipe.limits[name].t1 for name in found.class_names])
    return found.boxes[found.scores >= t1[found.classes]] if len(found) else found.boxes


def histogram(
    defective: list[float], good: list[float], lines: dict[str, float], names: tuple[str, str]
) -> str:
    """Return an SVG of two distributions of scores 0..1, side by side in 40 bins.

    Args:
        defective: scores, the dark bars.
        good: scores, the light bars.
        lines: label to a limit that is marked; at most two.
        names: what the bars are.
    """
    bins = np.linspace(0, 1, 41)
    counts = [np.histogram(np.clip(x, 0, 1), bins)[0] for x in (defective, good)]
    top = max(1, *(int(c.max()) for c in counts))
    label = escape(f"{names[0]}: {len(defective)}, {names[1]}: {len(good)}")
    parts = [f'<svg viewBox="0 0 840 230" role="img" aria-label="{label}"><title>{label}</title>']
    for row, (values, kind) in enumerate(zip(counts, ("bad", "good"), strict=True)):
        for index, value in enumerate(values):
            if value:
                high = max(2.0, 165 * float(np.sqrt(value / top)))
                parts.append(
                    f'<rect class="{kind}" x="{20 + index * 20 + row * 9}" y="{200 - high:.1f}" '
                    f'width="8" height="{high:.1f}"><title>{bins[index]:.3f}: {value}</title></rect>'
                )
    parts.append('<line class="axis" x1="20" y1="200" x2="820" y2="200"/>')
    for v in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<text x="{20 + 800 * v:.0f}" y="216" text-anchor="middle">{v:g}</text>')
    for height, (name, limit) in zip((12, 26), lines.items(), strict=False):
        x = 20 + 800 * limit
        side = "end" if limit > 0.8 else "start"
        parts.append(f'<line class="limit" x1="{x:.1f}" y1="4" x2="{x:.1f}" y2="200"/>')
        parts.append(
            f'<text x="{x + (-4 if side == "end" else 4):.1f}" y="{height}" text-anchor="{side}">'
            f"{escape(name)} {limit:.3g}</text>"
        )
    return "".join([*parts, "</svg>"])
