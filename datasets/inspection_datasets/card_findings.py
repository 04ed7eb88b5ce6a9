"""Findings of a dataset check as a release card keeps them: codes and values; and the gates they are in.

Finding ─▶ keep ─▶ release.json metrics.gates ─▶ finding_sentence, gate_in_words ─▶ ko or en
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inspection.sentences.gates import gate_sentence
from inspection_datasets.finding_texts import TEXTS
from inspection_datasets.findings import Finding


def keep(finding: Finding) -> dict[str, Any]:
    """Return a finding as a card keeps it: code, values, and every image by its name."""
    images = [shown.sample.image for shown in finding.pictures]
    return {"code": finding.code, "values": finding.values, "images": images}


def finding_sentence(kept: Mapping[str, Any], language: str) -> str:
    """Return the sentence of a kept finding; of one that this version does not know, its code."""
    if kept["code"] not in TEXTS:
        return str(kept["code"])
    return Finding(kept["code"], dict(kept["values"])).text("ko" if language == "ko" else "en")


def gate_in_words(result: Mapping[str, Any], language: str) -> str:
    """Return the sentence of a gate as a card keeps it, with the words of its finding, in `ko` or `en`."""

    def tell(code: str, values: Mapping[str, Any]) -> str:
        return finding_sentence({"code": code, "values": values}, language)

    return gate_sentence(result, language, tell)
