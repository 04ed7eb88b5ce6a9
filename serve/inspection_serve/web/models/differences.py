"""What `inspection release diff --json` says, as rows of a table in one language."""

from __future__ import annotations

from typing import Any

from inspection.sentences.card import DIFFERENCE
from inspection.sentences.language import phrase, phrases
from inspection.sentences.shares import rate_sentence

Row = tuple[str, str, str]


def sections(found: dict[str, Any], language: str) -> dict[str, Any]:
    """Return `tables`: name to rows (what, first, second); and `sentences`: part by part."""
    words = phrases(DIFFERENCE, language)
    tables: list[tuple[str, list[Row]]] = []
    for split, rates in found["metrics"].items():
        tables.append((words["measured"].format(split=split), _rows(rates, words, language)))
    for name in ("limits", "dataset", "settings"):
        tables.append((words[name], _rows(found[name], {}, language)))
    tables.append((words["latency"], _rows(found["latency"], words, language)))
    for name in ("other", "libraries"):
        tables.append((words[name], _rows(found[name], {}, language)))
    return {"tables": tables, "sentences": _sentences(found, words), "same": words["the same"]}


def _rows(values: dict[str, Any], words: dict[str, str], language: str) -> list[Row]:
    return [
        (words.get(name, name), _value(a, language), _value(b, language))
        for name, (a, b) in values.items()
        if (a, b) != (None, None)
    ]


def _value(value: Any, language: str) -> str:
    if isinstance(value, dict) and "p50_ms" in value:
        return phrase(DIFFERENCE, "times", language, p50=value["p50_ms"], p99=value["p99_ms"])
    if isinstance(value, dict) and "of" in value:
        return rate_sentence(value, language)
    return "–" if value is None else str(value)


def _sentences(found: dict[str, Any], words: dict[str, str]) -> list[str]:
    comparison, lines = found["comparison"], list[str]()
    if "why_not" in comparison:
        return [
            words["no_comparison"].format(why=words.get(comparison["code"], comparison["why_not"]))
        ]
    first, second = found["releases"]
    for split, told in comparison.items():
        values = {name: told[name] for name in ("changed", "images")}
        values |= {"only": told["only_one_has"], "labelled": told["labelled_differently"]}
        lines.append(words["changed"].format(split=split, **values))
        for name in ("escape", "overkill"):
            side = told[name]
            numbers = {"a": side["only_first"], "b": side["only_second"], "both": side["both"]}
            numbers |= {"parts": side["parts"], "p": side["p"]}
            lines.append(
                words["side"]
                .format(name=words[name], first=first, second=second, **numbers)
                .strip()
            )
    return lines
