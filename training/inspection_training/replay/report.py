"""The replay as one HTML file: what would change, with pictures; no script, no network, prints well.

Every text of the data (stations, classes, files) is escaped.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from inspection.errors import ConfigError, DatasetError
from inspection.release import write_atomic
from inspection.types import ClassLimits, Decision
from inspection.variants import precision_of
from inspection_datasets.incoming import inside, read_image
from inspection_training.replay.decide_again import Replay, Replayed
from inspection_training.replay.text import texts

PICTURES = 200
LONGER_SIDE = 420
LISTED = 20
_BLUE, _RED = (40, 90, 200), (210, 30, 30)
_STYLE = """
body{font:15px/1.5 system-ui,"Noto Sans KR","Malgun Gothic",sans-serif;color:#1d2126;background:#fff;
max-width:1000px;margin:2rem auto;padding:0 1.2rem;word-break:keep-all;overflow-wrap:anywhere}
h1{font-size:1.6rem}h2{font-size:1.15rem;margin:2rem 0 .5rem;border-bottom:1px solid #c9ced4}
table{border-collapse:collapse;margin:.4rem 0}th,td{padding:.25rem .7rem;border-bottom:1px solid #dfe3e7;
text-align:left;vertical-align:top;font-variant-numeric:tabular-nums}thead th{background:#f2f4f6}
.wide{overflow-x:auto}p.note{color:#515860;margin:.3rem 0}code{font-size:.85em}b.PASS{color:#8f2020}
.sheet{display:grid;grid-template-columns:repeat(auto-fill,minmax(280px,1fr));gap:1rem}
figure{margin:0;break-inside:avoid}figure img{max-width:100%;border:1px solid #c9ced4;display:block}
figcaption{font-size:.85em}
@media print{body{max-width:none;margin:0}h2{break-after:avoid}tr{break-inside:avoid}}
"""


def report_html(found: Replay, pictures: Path, language: str) -> str:
    """Return the report.

    Args:
        found: the replay.
        pictures: picture folder of the store; the changed parts' pictures are read again.
        language: ko or en.
    """
    words = texts(language)
    title = escape(f"{words['title']}: {found.release.name}")
    sections = [
        _identity(found, words),
        _section(words["matrix"], _matrix(found, words), _note(words["sampled"])),
        _section(words["reviewed"], _reviewed(found, words), _note(words["reviewed_note"])),
        _section(words["baseline"], _baseline(found, words)),
        _section(words["changed"], _changed(found, pictures, words)),
        _section(words["cannot"], _left_out(found, words)),
    ]
    return (
        f'<!doctype html><html lang="{language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body><h1>{title}</h1>"
        f"{''.join(sections)}</body></html>\n"
    )


def write_report(path: Path, found: Replay, pictures: Path, language: str) -> None:
    """Write the report; an older one of that name is replaced.

    Raises:
        ConfigError: it cannot be written.
    """
    text = report_html(found, pictures, language)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text.encode())
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error}; free space or check the rights"
        ) from error


def _section(title: str, *content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{''.join(content)}</section>"


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = "".join(f"<th>{escape(x)}</th>" for x in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(x)}</td>" for x in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>'


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
    body = "".join(
        f"<tr><th>{escape(k)}</th><td><code>{escape(v)}</code></td></tr>" for k, v in rows
    )
    return f'<div class="wide"><table><tbody>{body}</tbody></table></div>'


def _matrix(found: Replay, words: dict[str, str]) -> str:
    old = (Decision.PASS, Decision.REVIEW, Decision.FAIL)
    rows = [
        [
            words[a.value],
            *(str(found.counts.get((a, b), 0)) for b in (*old, Decision.NOT_INSPECTED)),
        ]
        for a in old
    ]
    return _table(["", *(words[b.value] for b in (*old, Decision.NOT_INSPECTED))], rows)


def _reviewed(found: Replay, words: dict[str, str]) -> str:
    rows = [
        [words[name], str(told["parts"]), str(told["old"]), str(told["new"])]
        for name, told in found.reviewed().items()
    ]
    return _table(["", words["parts"], words["old"], words["new"]], rows)


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
    return "".join(f"<p>{escape(line)}</p>" for line in lines)


def _changed(found: Replay, pictures: Path, words: dict[str, str]) -> str:
    parts = found.changed
    if not parts:
        return _note(words["none"])
    figures = "".join(
        _figure(part, pictures, found.recipe.limits, words) for part in parts[:PICTURES]
    )
    content = _note(words["legend"]) + f'<div class="sheet">{figures}</div>'
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
    return content + _note(words["more"].format(shown=PICTURES)) + _table(head, rows)


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
        drawn = _note(words["no_picture"])
    return f"<figure>{drawn}<figcaption>{change}<br>{caption}</figcaption></figure>"


def _draw(image: Any, part: Replayed, limits: dict[str, ClassLimits]) -> str:
    """Return the picture as a JPEG data URI: then dashed, now solid where it counts."""
    scale = min(1.0, LONGER_SIDE / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small: Any = np.ascontiguousarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    for row in part.before:
        _dashed(small, [round(float(v) * scale) for v in row["box"]])
    if part.after is not None:
        for row in part.after.as_rows():
            if row["score"] >= limits[row["class"]].t1:
                x1, y1, x2, y2 = (round(v * scale) for v in row["box"])
                cv2.rectangle(small, (x1, y1), (x2, y2), _RED, 2)
    done, data = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode() if done else ""


def _dashed(image: Any, box: list[int]) -> None:
    x1, y1, x2, y2 = box
    for x in range(x1, x2, 8):
        for y in (y1, y2):
            cv2.line(image, (x, y), (min(x + 4, x2), y), _BLUE, 2)
    for y in range(y1, y2, 8):
        for x in (x1, x2):
            cv2.line(image, (x, y), (x, min(y + 4, y2)), _BLUE, 2)


def _left_out(found: Replay, words: dict[str, str]) -> str:
    if not found.left_out:
        return _note(words["none"])
    rows: list[list[str]] = []
    for why, keys in sorted(found.left_out.items(), key=lambda item: -len(item[1])):
        plain, _, more = why.partition(" (")
        named = words.get(plain, plain) + (f" ({more}" if more else "")
        shown = ", ".join(keys[:LISTED]) + (" …" if len(keys) > LISTED else "")
        rows.append([named, str(len(keys)), shown])
    return _table([words["why"], words["parts"], ""], rows)
