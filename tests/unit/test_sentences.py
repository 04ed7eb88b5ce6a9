"""Sentences from stored codes: both languages are whole, name the same values, and read files of any age."""

from __future__ import annotations

import string
import subprocess
import sys

import pytest

from inspection.errors import ConfigError
from inspection.sentences import card, claims, gates, language, shares, trade
from inspection_datasets.card_findings import finding_sentence, gate_in_words, keep
from inspection_datasets.finding_texts import TEXTS
from inspection_datasets.findings import Finding
from inspection_training import gates as training_gates
from inspection_training import limits_cli
from inspection_training.replay import text as replay_text
from inspection_training.report import text as report_text
from inspection_training.scoring import COUNT

TABLES = {
    "card": card.WORDS,
    "difference": card.DIFFERENCE,
    "names": claims.NAMES,
    "escape": claims.ESCAPE,
    "overkill": claims.OVERKILL,
    "warnings": claims.WARNINGS,
    "release": claims.RELEASE,
    "gate names": gates.NAMES,
    "remedies": gates.REMEDIES,
    "gates": gates.WORDS,
    "rates": shares._WORDS,
    "trade": trade.WORDS,
    "refusal": training_gates._REFUSED,
    "limits": limits_cli._WORDS,
    "report": report_text._TEXTS,
    "replay": replay_text._TEXTS,
}
ALIKE = {
    "T1", "T2", "{name}: {words}", "p", "AP50", "AP50:95", "AUROC", "PC", "AP50·AUROC",
}  # fmt: skip


def named(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("name", TABLES)
def test_every_phrase_is_whole_in_both_languages(name: str) -> None:
    for code, pair in TABLES[name].items():
        assert len(pair) == len(language.LANGUAGES), code
        korean, english = pair
        assert korean.strip(), code
        assert english.strip(), code
        assert named(korean) == named(english), f"{code}: both name the same values"
        assert not any("가" <= letter <= "힣" for letter in english), code
        words = "".join(x for x, *_ in string.Formatter().parse(korean) if x)
        hangul = any("가" <= letter <= "힣" for letter in words)
        assert hangul or korean in ALIKE or not any(x.isalpha() for x in words), f"{code}: {korean}"


def test_the_language_is_one_of_two() -> None:
    language.check_language("ko")
    with pytest.raises(ConfigError, match="'de' is not one of ko, en"):
        language.check_language("de")
    with pytest.raises(ValueError, match="ko, en"):
        language.phrases(trade.WORDS, "de")
    with pytest.raises(KeyError):
        language.phrase(trade.WORDS, "no such code", "ko")


def test_what_stands_for_wrong_counts_is_one_word_everywhere() -> None:
    assert claims.COUNT == COUNT


def test_every_gate_has_a_name_a_remedy_and_a_sentence() -> None:
    assert gates.NAMES.keys() == gates.REMEDIES.keys() == gates._SENTENCES.keys()


def test_sentences_load_no_more_than_the_errors_of_the_line_do() -> None:
    code = (
        "import inspection.sentences.claims, inspection.sentences.gates, inspection.sentences.card\n"
        "import sys; print(*sorted({x.split('.')[0] for x in sys.modules} - sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name for name in done.stdout.split() if not name.startswith("_")}
    assert not loaded & {"pydantic", "yaml", "cv2", "sqlalchemy", "typer", "rich", "torch", "onnx"}


# ---------------------------------------------------------------------- files of older versions


def stored(gate: str, found: dict, asked: dict | None = None, *, passed: bool = False) -> dict:
    return {"gate": gate, "passed": passed, "asked": asked or {}, "found": found, "sentence": "old"}


def test_a_gate_of_an_older_card_is_told_in_both_languages() -> None:
    found = {"version": "v1", "sha256": "0", "errors": 1, "warnings": 0, "suspected": 0,
             "codes": {"image_missing": 1}, "first": "a.png is missing"}  # fmt: skip
    assert gate_in_words(stored("dataset", found), "ko").endswith("첫째: a.png is missing")
    found["first_finding"] = keep(Finding("image_missing", {"image": "a.png"}))
    assert gate_in_words(stored("dataset", found), "ko").endswith("첫째: a.png 파일이 없습니다")
    assert gate_in_words(stored("dataset", found), "en").endswith("the first: a.png is missing")
    latency = {"p99_ms": 9.5, "runtime": "openvino", "machine": "a PC"}
    told = gate_in_words(stored("latency", latency, {"p99_ms": 10.0}, passed=True), "ko")
    assert told == "a PC에서 openvino로 이미지 100장 중 99장이 9.5 ms 이하입니다. 목표 10 ms 이하"


def test_what_a_later_version_stored_is_shown_as_it_stands() -> None:
    assert gate_in_words(stored("weight", {}), "ko") == "old"
    assert gates.gate_name("weight", "ko") == "weight"
    assert finding_sentence({"code": "no_such_finding", "values": {}}, "ko") == "no_such_finding"
    assert claims.release_claim(None, "a sentence of old", "ko") == "a sentence of old"
    assert card.note_sentence({"note": "another note"}, "ko") == "another note"
    assert card.note_sentence({"note": next(iter(card.NOTES))}, "ko").startswith("한계값을 val로")


def test_parity_that_is_no_number_is_told_as_stored() -> None:
    """JSON keeps no infinity: a difference without end comes back as null."""
    values = {"runtime": "openvino", "score": 0.2, "map": None, "allowed": 0.01}
    why = {"code": "maps_differ", "values": values}
    found = {"images": 2, "runtimes": [], "refused": "the exported model differs", "why": why}
    assert gate_in_words(stored("parity", found), "ko") == "the exported model differs"
    values["map"] = 0.5
    assert "맵 차이는 최대 0.5000" in gate_in_words(stored("parity", found), "ko")


def test_every_finding_of_a_check_can_be_kept_in_a_card() -> None:
    for code in TEXTS:
        assert keep(Finding(code))["code"] == code


def test_an_older_claim_file_is_told_in_korean() -> None:
    """Before classes that are not known and good parts that fail by counts were told apart."""
    claim = {
        "class": "all defects", "parts": 59, "groups": 59, "t1": 0.2, "allowed_misses": 0, "missed": 0,
        "supported": 0.05, "target": 0.05, "met": True, "more_parts_needed": 0,
    }  # fmt: skip
    file = {
        "targets": {"escape": 0.05, "overkill": 0.05, "review": 0.03, "confidence": 0.95},
        "claims": [claim], "claims_in_force": ["all defects"],
        "overkill": {"t2": 0.5, "parts": 59, "allowed": 0, "supported": 0.05},
        "measured": {"overkill": {"count": 0}, "review": {"rate": 0.1}},
    }  # fmt: skip
    escape, overkill = claims.limit_sentences(file, "ko")
    assert escape == (
        "모든 불량: 신뢰수준 95 %에서 미검률 5 % 이하 (불량 부품 59개, 그룹 59개, 미검 0개 (T1 0.2 미만))"
    )
    assert overkill.startswith(
        "과검: 신뢰수준 95 %에서 5 % 이하 (양품 59개, 불합격 0개). 양품 재검률이 10 %로"
    )
    assert claims.not_met_sentences(file, "ko") == [overkill], "the review is over its target"
