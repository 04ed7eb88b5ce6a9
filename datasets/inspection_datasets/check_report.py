"""The findings of a check as one HTML file: pictures inside, no script, Korean or English, prints well."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from inspection.errors import DatasetError
from inspection.release import write_atomic
from inspection_datasets.finding_texts import TEXTS
from inspection_datasets.findings import Finding, Language, Severity, Shown, counts
from inspection_datasets.incoming import inside, read_image
from inspection_datasets.manifest import SPLITS, DatasetVersion
from inspection_datasets.sheet import jpeg, thumbnail

SIDE = 200
MOST_PICTURES = 200
_OF_ONE = 6
_WORDS = {
    "en": {
        "title": "Check of the dataset", "error": "errors", "warning": "warnings", "note": "notes",
        "clean": "Nothing was found.", "split": "split", "labelled": "labelled", "good": "good",
        "unlabelled": "unlabelled", "no_picture": "no picture", "do": "What to do:",
        "legend": "Coloured: labels. Orange: what the model found.",
    },
    "ko": {
        "title": "데이터셋 점검", "error": "오류", "warning": "경고", "note": "참고",
        "clean": "발견된 문제가 없습니다.", "split": "분할", "labelled": "라벨 있음", "good": "양품",
        "unlabelled": "라벨 없음", "no_picture": "이미지 없음", "do": "조치:",
        "legend": "색상: 라벨. 주황: 모델의 검출.",
    },
}  # fmt: skip


def write_report(
    version: DatasetVersion, findings: Sequence[Finding], path: Path, language: Language = "en"
) -> None:
    """Write the report; at most `MOST_PICTURES` pictures, thumbnails of `SIDE` pixels.

    Raises:
        DatasetError: the file cannot be written.
    """
    words = _WORDS[language]
    found = counts(findings)
    summary = ", ".join(f"{found[s.value]} {words[s.value]}" for s in Severity)
    template = files("inspection_datasets").joinpath("check_report.html").read_text("utf-8")
    text = Template(template).substitute(
        language=language,
        title=escape(f"{words['title']} {version.name} {version.version}"),
        summary=escape(summary),
        sha256=version.sha256,
        table=_table(version, words),
        legend=words["legend"],
        body=_body(version, findings, language) or f"<p>{words['clean']}</p>",
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text.encode())
    except OSError as error:
        raise DatasetError(f"{path} cannot be written: {error}; choose another place") from error


def _table(version: DatasetVersion, words: dict[str, str]) -> str:
    states = ("labelled", "good", "unlabelled")
    head = [words["split"], *(words[s] for s in states), *version.classes]
    rows = [_row("th", head)]
    for split in SPLITS:
        of_state = version.counts().get(split, {})
        boxes = version.class_counts(split)
        rows.append(
            _row(
                "td",
                [
                    split,
                    *(of_state.get(s, 0) for s in states),
                    *(boxes[c] for c in version.classes),
                ],
            )
        )
    return "".join(rows)


def _row(tag: str, cells: Iterable[object]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(str(cell))}</{tag}>' for cell in cells)}</tr>"


def _body(version: DatasetVersion, findings: Sequence[Finding], language: Language) -> str:
    by_code: dict[str, list[Finding]] = {}
    for finding in findings:
        by_code.setdefault(finding.code, []).append(finding)
    parts: list[str] = []
    left = MOST_PICTURES
    for code, members in by_code.items():
        words = TEXTS[code].words(language)
        severity = TEXTS[code].severity
        parts.append(
            f'<section class="{severity}"><h2>{escape(words.title)} '
            f"<small>{_WORDS[language][severity]}, {len(members)}</small></h2>"
            f"<p><b>{_WORDS[language]['do']}</b> {escape(words.action)}</p>"
        )
        for finding in members:
            pictures = finding.pictures[: min(_OF_ONE, left)]
            left -= len(pictures)
            drawn = "".join(_figure(version, item, language) for item in pictures)
            parts.append(f"<article><p>{escape(finding.text(language))}</p>{drawn}</article>")
        parts.append("</section>")
    return "\n".join(parts)


def _figure(version: DatasetVersion, item: Shown, language: Language) -> str:
    sample = item.sample
    caption = escape(f"{sample.image} ({sample.split}, {sample.group})")
    try:
        image = read_image(inside(version.folder, sample.image, version.version))
        data = base64.b64encode(jpeg(thumbnail(image, item.marks, version.classes, SIDE)))
    except DatasetError:  # told as a finding of its own
        return (
            f"<figure><figcaption>{caption}: {_WORDS[language]['no_picture']}</figcaption></figure>"
        )
    source = f"data:image/jpeg;base64,{data.decode('ascii')}"
    return f'<figure><img src="{source}" alt=""><figcaption>{caption}</figcaption></figure>'
