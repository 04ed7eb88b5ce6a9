"""The replay as one HTML file: what would change, with pictures; no script, no network, prints well.

Every text of the data (stations, classes, files) is escaped.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import cv2

from inspection.errors import DatasetError
from inspection.types import ClassLimits, Decision
from inspection.variants import precision_of
from inspection_datasets.incoming import inside, read_image
from inspection_training.replay.decide_again import Replay, Replayed
from inspection_training.replay.text import named_why, texts
from inspection_training.report.frame import (
    dashed,
    facts,
    jpeg_uri,
    note,
    page,
    section,
    shrink,
    table,
    write_page,
)

PICTURES = 200
LONGER_SIDE = 420
LISTED = 20
_BLUE, _RED = (40, 90, 200), (210, 30, 30)
_STYLE = "b.PASS{color:#8f2020}"


def report_html(found: Replay, pictures: Path, language: str) -> str:
    """Return the report.

    Args:
        found: the replay.
        pictures: picture folder of the store; the changed parts' pictures are read again.
        language: ko or en.
    """
    words = texts(language)
    sections = [
        _identity(found, words),
        section(words["matrix"], _matrix(found, words), note(words["sampled"])),
        section(words["reviewed"], _reviewed(found, words), note(words["reviewed_note"])),
        section(words["baseline"], _baseline(found, words)),
        section(words["changed"], _changed(found, pictures, words)),
        section(words["cannot"], _left_out(found, words)),
    ]
    title = f"{words['title']}: {found.release.name}"
    return page(title, language, sections, _STYLE)


def write_report(path: Path, found: Replay, pictures: Path, language: str) -> None:
    """Write the report; an older one of that name is replaced.

    Raises:
        ConfigError: it cannot be written.
    """
    write_page(path, report_html(found, pictures, language))


def _identity(found: Replay, words: dict[str, str]) -> str:
    limits = words["from_recipe"] if found.recipe_given else words["from_release"]
    if found.recipe_given:
        limits += f" {found.recipe.number} ({found.recipe.sha256})"
    rows = [
        (words["release"], found.release.name),
        (words["model"], found.release.model_sha256),
        (words["limits"], limits),
        (words["runtime"], found.runtime),
        (words["precision"], precision_of(found.release)),
        (words["decided_again"], str(len(found.parts))),
        (words["changes"], str(len(found.changed))),
        (words["cannot"], str(sum(map(len, found.left_out.values())))),
    ]
    return facts(rows)


def _matrix(found: Replay, words: dict[str, str]) -> str:
    old = (Decision.PASS, Decision.REVIEW, Decision.FAIL)
    rows = [
        [
            words[a.value],
            *(str(found.counts.get((a, b), 0)) for b in (*old, Decision.NOT_INSPECTED)),
        ]
        for a in old
    ]
    return table(["", *(words[b.value] for b in (*old, Decision.NOT_INSPECTED))], rows)


def _reviewed(found: Replay, words: dict[str, str]) -> str:
    rows = [
        [words[name], str(told["parts"]), str(told["old"]), str(told["new"])]
        for name, told in found.reviewed().items()
    ]
    return table(["", words["parts"], words["old"], words["new"]], rows)


def _baseline(found: Replay, words: dict[str, str]) -> str:
    lines: list[str] = []
    if found.baseline:
        differ = sum(part.noise for part in found.baseline)
        lines.append(words["baseline_some"].format(parts=len(found.baseline), differ=differ))
    else:
        lines.append(words["baseline_none"])
    if found.lossy:
        lines.append(words["lossy"].format(count=found.lossy))
    if found.recipe_differs:
        lines.append(words["other_recipe"].format(count=found.recipe_differs))
    if found.no_code:
        lines.append(words["no_code"].format(count=found.no_code))
    return "".join(f"<p>{escape(line)}</p>" for line in lines)


def _changed(found: Replay, pictures: Path, words: dict[str, str]) -> str:
    parts = found.changed
    if not parts:
        return note(words["none_here"])
    figures = "".join(
        _figure(part, pictures, found.recipe.limits, words) for part in parts[:PICTURES]
    )
    content = note(words["legend"]) + f'<div class="sheet">{figures}</div>'
    rest = parts[PICTURES:]
    if not rest:
        return content
    head = [words[x] for x in ("part", "at", "old", "new", "verdict")]
    rows = [
        [
            str(part.key),
            part.at,
            words[part.old.value],
            words[part.new.decision.value],
            words[part.verdict.value] if part.verdict else "",
        ]
        for part in rest
    ]
    return content + note(words["more"].format(shown=PICTURES)) + table(head, rows)


def _figure(
    part: Replayed, pictures: Path, limits: dict[str, ClassLimits], words: dict[str, str]
) -> str:
    now = part.new.decision.value
    told = [f"{part.key}", part.at]
    details = ((words["old"], part.detail), (words["new"], part.new.detail))
    told += [f"{when}: {what}" for when, what in details if what]
    if part.verdict:
        told.append(f"{words['verdict']}: {words[part.verdict.value]}")
    error = part.error(part.new.decision)
    told += [words[error]] if error else []
    told += [words["noise"]] if part.noise else []
    caption = escape(" · ".join(text for text in told if text))
    change = f'{escape(words[part.old.value])} → <b class="{now}">{escape(words[now])}</b>'
    try:
        image = read_image(inside(pictures, part.picture, "the results store"))
        source = _draw(image, part, limits)
        drawn = f'<img src="{source}" alt="{escape(str(part.key))}">'
    except (DatasetError, OSError):  # deleted since: the row of the part still stands
        drawn = note(words["no_picture"])
    return f"<figure>{drawn}<figcaption>{change}<br>{caption}</figcaption></figure>"


def _draw(image: Any, part: Replayed, limits: dict[str, ClassLimits]) -> str:
    """Return the picture as a JPEG data URI: then dashed, now solid where it counts."""
    small, scale = shrink(image, LONGER_SIDE)
    for row in part.before:
        dashed(small, [round(float(v) * scale) for v in row["box"]], _BLUE)
    if part.after is not None:
        for row in part.after.as_rows():
            if row["score"] >= limits[row["class"]].t1:
                x1, y1, x2, y2 = (round(v * scale) for v in row["box"])
                cv2.rectangle(small, (x1, y1), (x2, y2), _RED, 2)
    return jpeg_uri(small)


def _left_out(found: Replay, words: dict[str, str]) -> str:
    if not found.left_out:
        return note(words["none_here"])
    rows: list[list[str]] = []
    for why, keys in sorted(found.left_out.items(), key=lambda item: -len(item[1])):
        shown = ", ".join(keys[:LISTED]) + (" …" if len(keys) > LISTED else "")
        rows.append([named_why(why, words), str(len(keys)), shown])
    return table([words["why"], words["parts"], ""], rows)
