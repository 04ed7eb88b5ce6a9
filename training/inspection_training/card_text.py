"""A release in Markdown, Korean or English: what it is, what was measured, what is not claimed. Pure.

release.json ─▶ codes and values ─▶ `inspection.sentences` ─▶ card.md, `inspection release show`
"""

from __future__ import annotations

from typing import Any

from inspection.release import CARD, ReleaseCard
from inspection.sentences.card import WORDS, note_sentence, setting_words
from inspection.sentences.claims import release_claim
from inspection.sentences.gates import gate_name
from inspection.sentences.language import phrases
from inspection.sentences.shares import rate_sentence
from inspection_datasets.card_findings import finding_sentence, gate_in_words

CARD_TEXT = "card.md"


def describe(card: ReleaseCard, language: str, *, released: bool = True) -> str:
    """Return the release in Markdown.

    Args:
        card: everything that is told; of this or an older version of this program.
        language: ko or en.
        released: False: it is a candidate, and its number means nothing.
    """
    return _CardText(card, language).text(released=released)


class _CardText:
    """One card, and the words of one language."""

    def __init__(self, card: ReleaseCard, language: str) -> None:
        self._card, self._language = card, language
        self._words = phrases(WORDS, language)

    def _say(self, code: str, **values: object) -> str:
        return self._words[code].format(**values)

    def _title(self, code: str, **values: object) -> list[str]:
        return ["", f"## {self._say(code, **values)}", ""]

    def text(self, *, released: bool) -> str:
        card = self._card
        name = f"{card.part}/{card.number}"
        lines = [
            f"# {name if released else self._say('candidate', part=card.part)}",
            "",
            *(f"- {line}" for line in self._identity()),
            *self._measured(),
            *self._limits(),
            *self._gates(),
            *self._parity(),
            *self._latency(),
            *self._files(),
        ]
        if released:
            lines += [*self._title("back"), self._say("back_text", part=card.part)]
        return "\n".join([*lines, "", self._say("rest", card=CARD), ""])

    def _identity(self) -> list[str]:
        card, data, say = self._card, self._card.dataset, self._say
        height, width = card.input_size
        claim = release_claim(card.metrics.get("claims"), card.claim, self._language)
        return [
            say("made", at=card.created_at, family=card.family, weights=card.base_weights),
            say(
                "dataset",
                name=data.name,
                version=data.version,
                train=data.train_images,
                val=data.val_images,
            ),
            say("dataset_sha256", sha256=data.sha256),
            say("input", width=width, height=height, classes=", ".join(card.classes)),
            say("licence", licence=card.licence),
            say("claim", claim=claim or say("no_claim")),
        ]

    def _measured(self) -> list[str]:
        lines = [*self._title("measured"), self._say("measured_head"), "|---|---|---|---|---|---|"]
        for metrics in self._card.metrics.get("evaluations", []):
            rates = (
                metrics["defective"]["escape"],
                metrics["good"]["overkill"],
                metrics["good"]["review"],
            )
            told = " | ".join(rate_sentence(rate, self._language) for rate in rates)
            point = metrics["map50"] if metrics.get("auroc") is None else metrics["auroc"]
            shown = "-" if point is None else point
            lines.append(f"| {metrics['split']} | {metrics['images']} | {told} | {shown} |")
        note = note_sentence(self._card.metrics, self._language)
        return [*lines, "", self._say("note", note=note)] if note else lines

    def _limits(self) -> list[str]:
        rows = [f"| {name} | {x.t1} | {x.t2} |" for name, x in self._card.limits.items()]
        return [*self._title("limits"), self._say("limits_head"), "|---|---|---|", *rows]

    def _gates(self) -> list[str]:
        gates = self._card.metrics.get("gates")
        if not gates:
            return []
        say, lines = self._say, [*self._title("gates"), self._say("gates_head"), "|---|---|---|"]
        for result in gates["results"]:
            words = gate_in_words(result, self._language).replace("|", "/").replace("\n", " ")
            passed = say("yes" if result["passed"] else "no")
            lines.append(f"| {gate_name(result['gate'], self._language)} | {passed} | {words} |")
        if gates["not_asked"]:
            names = ", ".join(gate_name(name, self._language) for name in gates["not_asked"])
            lines += ["", say("not_asked", names=names)]
        for result in gates["results"]:
            lines += self._suspicions(result["found"])
        for change in gates.get("overridden", []):
            name, language = change["gate"], self._language
            values = {x: setting_words(name, change[x], language) for x in ("before", "after")}
            lines += ["", say("changed", by=gates["by"], at=gates["at"], gate=name, **values)]
        return lines

    def _suspicions(self, found: dict[str, Any]) -> list[str]:
        kept = found.get("suspicions", [])
        if not kept:
            return []
        lines = ["", self._say("suspicions", number=found["suspected"]), ""]
        for finding in kept:
            images = ", ".join(finding["images"])
            lines.append(
                f"- {finding['code']}: {finding_sentence(finding, self._language)} ({images})"
            )
        more = found["suspected"] - len(kept)
        return [*lines, f"- {self._say('more', number=more)}"] if more else lines

    def _parity(self) -> list[str]:
        lines = [
            self._say(
                "parity_line",
                runtime=result["runtime"],
                difference=result["max_score_difference"],
                images=result["images"],
            )
            for result in self._card.parity.get("results", [])
        ]
        return [*self._title("parity"), *(f"- {x}" for x in lines or [self._say("none")])]

    def _latency(self) -> list[str]:
        latency = self._card.latency
        machine = latency.get("machine") or self._say("unknown_machine")
        rows = [
            f"| {name} | {value['p50_ms']} | {value['p99_ms']} |"
            for name, value in latency.items()
            if isinstance(value, dict)
        ]
        head = [self._say("latency_head"), "|---|---|---|"]
        return [*self._title("latency", machine=machine), *head, *rows]

    def _files(self) -> list[str]:
        rows = [f"- {name} {sha}" for name, sha in self._card.files.items() if name != CARD_TEXT]
        return [*self._title("files"), *rows, "", self._say("variants")]
