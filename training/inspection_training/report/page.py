"""The evaluation report: one HTML file, no script, no network, made to be printed.

    SplitRun (+ Comparison) ─▶ numbers by `judge` ─▶ sections ─▶ HTML in Korean or English

Every text of the data (names of classes, groups, files) is escaped.
"""

from __future__ import annotations

from collections import defaultdict
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from inspection.sentences.claims import release_claim
from inspection.sentences.gates import gate_name
from inspection.sentences.shares import counted_once, percent
from inspection.types import Decision
from inspection.variants import list_variants
from inspection_datasets.card_findings import gate_in_words
from inspection_datasets.parts import count_pictures, parts_of
from inspection_training.claims import Targets, fixed_claim
from inspection_training.evaluate import FOUND_IOU, rate_of
from inspection_training.evaluation import SplitRun
from inspection_training.parity import iou_matrix
from inspection_training.report.compare import Comparison
from inspection_training.report.frame import facts, note, page, section, table, write_page
from inspection_training.report.pictures import histogram, part_picture
from inspection_training.report.text import texts
from inspection_training.scoring import COUNT, defects_of, must_be_there, part_score
from inspection_training.statistics import cluster_bootstrap
from inspection_training.variants.parity import variant_table

PICTURES = 12
GROUPS = 40
_POINTS = ("map50", "map50_95", "mask_map50", "mask_map50_95", "auroc")
_STYLE = """
svg{width:100%;height:auto}svg .bad{fill:#8f2020}svg .good{fill:#7fb0d8}svg text{font-size:12px}
svg .axis{stroke:#1d2126}svg .limit{stroke:#1d2126;stroke-dasharray:4 3}
"""


class _Report:
    """Numbers of one run, and the words of one language."""

    def __init__(self, run: SplitRun, language: str) -> None:
        self.run, self.recipe, self.words = run, run.recipe, texts(language)
        self.language = language
        self.part_of = parts_of(run.samples)
        self.wrong = [defects_of(sample, self.recipe) for sample in run.samples]
        self.made = run.decisions(self.recipe)
        self.defects = [n for n in run.release.classes if n not in must_be_there(self.recipe)]
        self.scores = [
            max((part_score(found, name, self.recipe) for name in self.defects), default=0.0)
            for found in run.found
        ]
        self.metrics: dict[str, Any] = run.metrics()

    def parts(self, *, defective: bool) -> list[int]:
        return [i for i, wrong in enumerate(self.wrong) if bool(wrong) is defective]

    def rate_in_words(self, value: dict[str, Any]) -> str:
        low, high = 100 * value["low"], 100 * value["high"]
        share = f"{100 * value['rate']:.1f} % ({low:.1f} – {high:.1f} %)"
        return f"{self.count_in_words(value)}, {share}"

    def count_in_words(self, value: dict[str, Any]) -> str:
        counted = f"{value['count']} / {value['of']}"
        if "parts" not in value:
            return counted
        by_parts = self.words["by_parts"].format(worst=value["worst"], parts=value["parts"])
        return f"{counted} ({by_parts})"

    def counted_once(self) -> str:
        number = {"pictures": count_pictures(self.run.samples), "parts": len(set(self.part_of))}
        words = counted_once(number, self.language)
        return note(f"{words}.") if words else ""

    def section(self, key: str, *content: str) -> str:
        return section(self.words[key], *content)


def report_html(run: SplitRun, language: str, comparison: Comparison | None = None) -> str:
    """Return the report. The pictures of the worst parts are read again from the dataset."""
    report = _Report(run, language)
    title = f"{report.words['title']}: {run.release.name}"
    sections = [
        _identity(report),
        _summary(report),
        _promises(report),
        _gates(report),
        _classes(report),
        _decisions(report),
        _groups(report),
        _scores(report),
        _pictures(report, "misses"),
        _pictures(report, "calls"),
        _variants(report),
        _comparison(report, comparison) if comparison else "",
        _cannot(report),
    ]
    return page(title, language, sections, _STYLE)


def write_report(
    path: Path, run: SplitRun, language: str, comparison: Comparison | None = None
) -> None:
    """Write the report; an older one of that name is replaced.

    Raises:
        ConfigError: it cannot be written.
    """
    write_page(path, report_html(run, language, comparison))


def _identity(report: _Report) -> str:
    run, words = report.run, report.words
    card, version = run.card, run.version
    rows = [
        (words["release"], f"{run.release.name} ({card.family}, {card.created_at})"),
        (words["model"], run.release.model_sha256),
        (words["dataset"], f"{version.name} {version.version} {version.sha256}"),
        (words["learned"], f"{card.dataset.name} {card.dataset.version} {card.dataset.sha256}"),
        (words["split"], f"{run.split}, {len(run.samples)}"),
        (words["runtime"], run.runtime),
        (words["precision"], run.precision),
    ]
    return facts(rows)


def _summary(report: _Report) -> str:
    rows: list[list[str]] = []
    for key, defective, decision in (
        ("escape", True, Decision.PASS),
        ("overkill", False, Decision.FAIL),
        ("review", False, Decision.REVIEW),
    ):
        parts = report.parts(defective=defective)
        hits = [report.made[i] is decision for i in parts]
        groups = [report.part_of[i] for i in parts]
        spread = cluster_bootstrap(hits, groups) if 0 < sum(hits) < len(hits) else None
        drawn = "-" if spread is None else f"{100 * spread[0]:.2f} – {100 * spread[1]:.2f} %"
        value = rate_of(hits, groups)
        words = ["0", "-", "-"]
        if value["of"]:
            low, high = 100 * value["low"], 100 * value["high"]
            words = [report.count_in_words(value), f"{100 * value['rate']:.2f} %"]
            words.append(f"{low:.2f} – {high:.2f} %")
        rows.append([report.words[key], *words, drawn])
    names = ("parts", "rate", "interval", "by_group")
    head = ["", *(report.words[name] for name in names)]
    points = [
        f"{report.words[key]} {report.metrics[key]}"
        for key in _POINTS
        if report.metrics.get(key) is not None
    ]
    once = report.counted_once()
    return report.section("summary", table(head, rows), once, note(", ".join(points)))


def _promises(report: _Report) -> str:
    words, rows = report.words, list[list[str]]()
    for name in [*report.defects, *([COUNT] if must_be_there(report.recipe) else [])]:
        bad = [i for i, wrong in enumerate(report.wrong) if name in wrong]
        passed = [report.made[i] is Decision.PASS for i in bad]
        claim = fixed_claim(name, passed, [report.part_of[i] for i in bad], Targets())
        bound = "-" if claim.supported is None else percent(claim.supported)
        shown = words["count"] if name == COUNT else name
        counts = [str(x) for x in (claim.pictures, claim.parts, claim.missed)]
        rows.append([shown, *counts, bound, str(claim.missing)])
    head = [words[x] for x in ("class", "defective", "group", "escaped", "bound", "needed")]
    card = report.run.card
    stated = release_claim(card.metrics.get("claims"), card.claim, report.language)
    return report.section(
        "claims",
        note(words["claims_note"]),
        report.counted_once(),
        table(head, rows),
        f"<p>{escape(words['card_claim'])}: {escape(stated or words['none'])}</p>",
    )


def _gates(report: _Report) -> str:
    gates, words = report.run.card.metrics.get("gates"), report.words
    if not gates:
        return ""
    rows = [
        [
            gate_name(result["gate"], report.language),
            words["yes" if result["passed"] else "no"],
            gate_in_words(result, report.language),
        ]
        for result in gates["results"]
    ]
    names = ", ".join(gate_name(name, report.language) for name in gates["not_asked"])
    rest = note(f"{words['not_asked']}: {names}") if names else ""
    content = table([words[x] for x in ("gate", "passed", "found")], rows)
    return report.section("gates", note(words["gates_note"]), content, rest)


def _classes(report: _Report) -> str:
    words, rows = report.words, list[list[str]]()
    recall = report.metrics.get("class_recall", {})
    precision = report.metrics.get("class_ap50", {})
    for name, limits in report.recipe.limits.items():
        value, point = recall.get(name), precision.get(name)
        found = report.rate_in_words(value) if value and value["of"] else "-"
        last = "-" if point is None else str(point)
        rows.append([name, f"{limits.t1:g}", f"{limits.t2:g}", found, last])
    head = [words["class"], "T1", "T2", words["recall"], "AP50"]
    return report.section("limits", table(head, rows))


def _decisions(report: _Report) -> str:
    words, kinds = report.words, (Decision.PASS, Decision.REVIEW, Decision.FAIL)
    rows: list[list[str]] = []
    for key, defective in (("defective", True), ("good", False)):
        made = [report.made[i] for i in report.parts(defective=defective)]
        rows.append([words[key], *(str(made.count(kind)) for kind in kinds)])
    plain = table(["", *(words[kind.value] for kind in kinds)], rows)
    if report.run.release.task == "anomaly":
        return report.section("decisions", plain)
    names = [*report.run.release.classes, words["nothing_there"]]
    counts = confusion(report.run)
    rows = [[name, *map(str, row.tolist())] for name, row in zip(names, counts, strict=True)]
    rows[-1][-1] = ""
    return report.section(
        "decisions",
        plain,
        f"<h3>{escape(words['confusion'])}</h3>",
        note(f"IoU ≥ {FOUND_IOU}, ≥ T1"),
        table(["", *report.run.release.classes, words["not_found"]], rows),
    )


def confusion(run: SplitRun) -> Any:
    """Return counts of boxes, int [C + 1, C + 1]: labelled class or no label, found class or not found.

    A label and a detection at or over its T1 are a pair from IoU 0.3, the best overlap first, each once.
    Of a part whose whole picture has a label nobody said where its defects are: it is left out.
    """
    classes = list(run.release.classes)
    t1 = np.array([run.recipe.limits[name].t1 for name in classes])
    counts = np.zeros((len(classes) + 1, len(classes) + 1), int)
    for sample, found in zip(run.samples, run.found, strict=True):
        if sample.label is not None:
            continue
        keep = found.scores >= t1[found.classes]
        labels = [box for box in sample.boxes if box[0] in classes]
        truth, seen = [classes.index(box[0]) for box in labels], found.classes[keep]
        left, right = set(range(len(truth))), set(range(len(seen)))
        if left and right:
            boxes = np.array([box[1:] for box in labels], np.float32)
            overlap = iou_matrix(boxes, found.boxes[keep])
            for flat in np.argsort(-overlap, axis=None, kind="stable"):
                a, b = divmod(int(flat), len(seen))
                if overlap[a, b] < FOUND_IOU:
                    break
                if a in left and b in right:
                    counts[truth[a], seen[b]] += 1
                    left.discard(a)
                    right.discard(b)
        for a in left:
            counts[truth[a], -1] += 1
        for b in right:
            counts[-1, seen[b]] += 1
    return counts


def _groups(report: _Report) -> str:
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for sample, wrong, made in zip(report.run.samples, report.wrong, report.made, strict=True):
        row = found[sample.group]
        row[0] += bool(wrong)
        row[1] += bool(wrong) and made is Decision.PASS
        row[2] += not wrong
        row[3] += not wrong and made is Decision.FAIL
    wrong = {name: row for name, row in found.items() if row[1] or row[3]}
    worst = sorted(wrong.items(), key=lambda x: (-x[1][1], -x[1][3], x[0]))[:GROUPS]
    words = report.words
    if not worst:
        return report.section("groups", note(words["groups_clean"].format(all=len(found))))
    told = words["groups_note"].format(wrong=len(wrong), all=len(found), most=GROUPS)
    head = [words[x] for x in ("group", "defective", "escape", "good", "overkill")]
    rows = [[name, *map(str, row)] for name, row in worst]
    return report.section("groups", note(told), table(head, rows))


def _scores(report: _Report) -> str:
    words = report.words
    own = [report.recipe.limits[name] for name in report.defects]
    lines = {"T1": min(x.t1 for x in own), "T2": min(x.t2 for x in own)} if own else {}
    drawn = histogram(
        [report.scores[i] for i in report.parts(defective=True)],
        [report.scores[i] for i in report.parts(defective=False)],
        lines,
        (words["defective"], words["good"]),
    )
    return report.section("scores", note(words["scores_note"]), drawn)


def _pictures(report: _Report, key: str) -> str:
    misses = key == "misses"
    decision = Decision.PASS if misses else Decision.FAIL
    parts = [i for i in report.parts(defective=misses) if report.made[i] is decision]
    parts.sort(key=lambda i: report.scores[i], reverse=not misses)
    if not parts:
        return report.section(key, note(report.words["none_here"]))
    figures: list[str] = []
    for i in parts[:PICTURES]:
        names = [report.words["count"] if x == COUNT else x for x in sorted(report.wrong[i])]
        kind = ", ".join(names) or report.words["good"]
        text = escape(f"{report.run.samples[i].image} · {kind} · {report.scores[i]:.3f}")
        source = part_picture(report.run, i, report.recipe)
        figures.append(
            f'<figure><img src="{source}" alt="{text}"><figcaption>{text}</figcaption></figure>'
        )
    told = note(report.words["boxes_note"])
    return report.section(key, told, f'<div class="sheet">{"".join(figures)}</div>')


def _variants(report: _Report) -> str:
    words, found = report.words, variant_table(report.run.release.folder)
    if len(found) == 1:
        return ""
    chosen = {x.name: x.selected_on for x in list_variants(report.run.release.folder)}
    rows: list[list[str]] = []
    for row in found:
        time = f"{row['p50_ms']:.1f} ({row['p99_ms']:.1f})"
        beside = f"{row['f32_p50_ms']:.1f}" if "f32_p50_ms" in row else "-"
        point = row["map50"] if row.get("auroc") is None else row["auroc"]
        equal = f"{row['equal']} / {row['judged']}" if "equal" in row else "-"
        rates = [f"{row[key]['count']} / {row[key]['of']}" for key in ("escape", "overkill")]
        kept, whole = row.get("kept_float", 0), row.get("quantised", 0)
        floats = f"{kept} / {kept + whole}" if whole else "-"
        splits = ", ".join(chosen.get(row["precision"], [])) or "-"
        rows.append([row["precision"], time, beside, str(point), equal, *rates, floats, splits])
    head = [words[x] for x in ("precision", "time", "time_f32", "point", "equal")]
    head += [words["escaped"], words["overkill_short"], words["kept_float"], words["selected_on"]]
    told = words["variants_note"].format(
        split=found[0]["split"], images=found[0]["images"], machine=found[0]["machine"]
    )
    return report.section("variants", note(told), table(head, rows))


def _comparison(report: _Report, found: Comparison) -> str:
    words = report.words
    alone = [f"{name} {words['only']}" for name in (found.first, found.second)]
    head = ["", words["parts"], *alone, words["both"], words["p"]]
    rows = [
        [words[key], str(x.parts), str(x.only_first), str(x.only_second), str(x.both), f"{x.p:.4g}"]
        for key, x in (("escape", found.escape), ("overkill", found.overkill))
    ]
    changed = [
        [x.image, words["defective" if x.defective else "good"], words[x.first], words[x.second]]
        for x in found.changed
    ]
    return report.section(
        "comparison",
        table(head, rows),
        f"<h3>{escape(words['changed'])}: {len(changed)}</h3>",
        table(["", "", found.first, found.second], changed),
    )


def _cannot(report: _Report) -> str:
    words, split = report.words, report.run.split
    bad = report.parts(defective=True)
    groups = len({report.part_of[i] for i in bad})
    lines = [words["cannot_new"], words["cannot_zero"], words["cannot_lots"].format(groups=groups)]
    if split != "test":
        lines.append(words["cannot_train"].format(split=split))
    lines += [
        words["cannot_known"].format(why=x.told(report.language)) for x in report.run.warnings
    ]
    lines.append(words["cannot_labels"])
    return report.section("cannot", "<ul>", *(f"<li>{escape(x)}</li>" for x in lines), "</ul>")
