"""What `inspection evaluate` shows on the terminal, Korean and English."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspection.sentences.card import DIFFERENCE
from inspection.sentences.language import Table, phrase, phrases
from inspection.sentences.shares import rate_sentence
from inspection.sentences.trade import trade_words
from inspection_training.report.compare import Comparison

if TYPE_CHECKING:
    from rich.table import Table as Shown

_WORDS: Table = {
    "title": ("{release}: {split} 이미지 {images}장", "{release} on {images} {split} images"),
    "interval": ("정확 신뢰구간 (Clopper-Pearson, 양측 95 %)", "Clopper-Pearson, two-sided 95 %"),
    "escape": ("미검 (불량인데 합격)", "escape (defective, PASS)"),
    "fail": ("불량, 불합격", "defective, FAIL"),
    "review": ("불량, 재검", "defective, REVIEW"),
    "overkill": ("과검 (양품인데 불합격)", "overkill (good, FAIL)"),
    "good_review": ("양품, 재검", "good, REVIEW"),
    "recall": ("검출률, {name}", "recall, {name}"),
    "auroc": ("점수의 AUROC", "AUROC of the score"),
    "map": ("mAP50, mAP50:95", "mAP50, mAP50:95"),
    "mask_map": ("윤곽선의 mAP50, mAP50:95", "mAP50, mAP50:95 of outlines"),
    "unknown": ("알 수 없음 (상자 라벨 없음)", "not known (no labelled box)"),
    "changed": (
        "  {image} ({kind}): {first} -> {second}",
        "  {image} ({kind}): {first} -> {second}",
    ),
    "report": ("보고서 {file}", "report {file}"),
}


def metrics_table(metrics: Mapping[str, Any], language: str) -> Shown:
    """Return the numbers of `SplitRun.metrics` as a table."""
    from rich.markup import escape
    from rich.table import Table as Shown

    words = phrases(_WORDS, language)
    named = {key: metrics[key] for key in ("release", "split", "images")}
    shown = Shown(title=escape(words["title"].format(**named)))
    shown.add_column("")
    shown.add_column(words["interval"])
    defective, good = metrics["defective"], metrics["good"]
    rates = {
        words["escape"]: defective["escape"],
        words["fail"]: defective["fail"],
        words["review"]: defective["review"],
        words["overkill"]: good["overkill"],
        words["good_review"]: good["review"],
    }
    for name, value in metrics["class_recall"].items():
        rates[words["recall"].format(name=name)] = value
    for name, value in rates.items():
        shown.add_row(escape(name), rate_sentence(value, language))
    if metrics.get("auroc") is not None:
        shown.add_row(words["auroc"], str(metrics["auroc"]))
    elif metrics["map50"] is None:
        shown.add_row(words["map"], words["unknown"])
    else:
        shown.add_row(words["map"], f"{metrics['map50']}, {metrics['map50_95']}")
    if metrics.get("mask_map50") is not None:
        shown.add_row(words["mask_map"], f"{metrics['mask_map50']}, {metrics['mask_map50_95']}")
    return shown


def comparison_lines(found: Comparison, language: str) -> list[str]:
    """Return the comparison of two releases on the same parts, a line for each part that differs."""
    words, trade = phrases(DIFFERENCE, language), trade_words(language)
    lines = [
        words["side"].format(
            name=words[name],
            first=found.first,
            second=found.second,
            a=side.only_first,
            b=side.only_second,
            both=side.both,
            parts=side.parts,
            p=side.p,
        )
        for name, side in (("escape", found.escape), ("overkill", found.overkill))
    ]
    for part in found.changed:
        kind = trade["defective" if part.defective else "good"]
        said = {"image": part.image, "kind": kind}
        said |= {"first": trade[part.first], "second": trade[part.second]}
        lines.append(phrase(_WORDS, "changed", language, **said))
    return lines


def print_metrics(
    metrics: Mapping[str, Any], comparison: Comparison | None, html: Path | None, language: str
) -> None:
    """Print the table, what a comparison found, and where the report is."""
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False)
    console.print(metrics_table(metrics, language))
    for line in comparison_lines(comparison, language) if comparison is not None else ():
        console.print(line, markup=False)
    if html is not None:
        console.print(phrase(_WORDS, "report", language, file=html), markup=False)
