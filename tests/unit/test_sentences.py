"""Sentences from stored codes: both languages are whole, name the same values, and read files of any age."""

from __future__ import annotations

import importlib
import os
import re
import string
import subprocess
import sys
from pathlib import Path

import pytest

from inspection.errors import ConfigError
from inspection.sentences import card, claims, gates, language, trade
from inspection_datasets.card_findings import finding_sentence, gate_in_words, keep
from inspection_datasets.finding_texts import TEXTS
from inspection_datasets.findings import Finding
from inspection_training.replay import terminal as replay_terminal
from inspection_training.scoring import COUNT

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("inspection", "datasets/inspection_datasets", "training/inspection_training")
HANGUL = re.compile("[가-힣]")


def tables_of(path: Path) -> dict[str, dict[str, tuple[str, str]]]:
    """Return the tables of phrases in a module: name to code to (Korean, English)."""
    name = path.relative_to(ROOT).with_suffix("").as_posix()
    for folder in ("datasets/", "training/"):
        name = name.removeprefix(folder)
    module = importlib.import_module(name.replace("/", "."))
    return {
        f"{module.__name__}.{found}": table
        for found, table in vars(module).items()
        if isinstance(table, dict)
        and table
        and all(isinstance(code, str) for code in table)
        and all(isinstance(x, tuple) and len(x) == 2 for x in table.values())
        and all(isinstance(word, str) for x in table.values() for word in x)
        and HANGUL.search(str(table))
    }


TABLES = {
    name: table
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*.py"))
    if HANGUL.search(path.read_text(encoding="utf-8"))
    for name, table in tables_of(path).items()
}
ALIKE = {
    "T1", "T2", "{name}: {words}", "p", "AP50", "AP50:95", "AUROC", "PC", "AP50·AUROC",
    "mAP50, mAP50:95",
}  # fmt: skip


def test_the_tables_of_every_command_are_found() -> None:
    modules = {name.rpartition(".")[0].rpartition(".")[2] for name in TABLES}
    assert modules >= {"card", "claims", "gates", "shares", "trade", "limits_cli", "terminal"}
    assert f"{card.__name__}.DIFFERENCE" in TABLES
    assert f"{replay_terminal.__name__.rpartition('.')[0]}.text._TEXTS" in TABLES


def test_what_people_changed_is_said_in_the_words_of_the_trade() -> None:
    """A card once said `적용 None`."""
    assert card.setting_words("max_escape", None, "ko") == "묻지 않음"
    assert card.setting_words("gates.max_latency_ms", None, "en") == "not asked"
    assert card.setting_words("limits max_review", None, "ko") == "정하지 않음"
    assert card.setting_words("max_escape", 0.025, "ko") == "2.5 %"
    assert card.setting_words("max_latency_ms", 40.0, "en") == "40 ms"
    assert card.setting_words("must_catch", [], "ko") == "없음"
    assert card.setting_words("must_catch", ["a.png", "b.png"], "en") == "a.png, b.png"
    assert card.setting_words("clean_dataset", value=True, language="ko") == "예"
    assert card.setting_words("epochs", 40, "ko") == "40"


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


@pytest.mark.parametrize(
    ("wanted", "said"),
    [(None, "릴리스가 없습니다"), ("en", "no releases in"), ("de", "'de' is not one of")],
)
def test_a_person_chooses_the_language_of_every_command_once(
    tmp_path: Path, wanted: str | None, said: str
) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "INSPECTION_LANGUAGE"}
    environment |= {} if wanted is None else {"INSPECTION_LANGUAGE": wanted}
    done = subprocess.run(
        [sys.executable, "-m", "inspection", "release", "list", str(tmp_path)],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert said in done.stdout + done.stderr
    assert (done.returncode == 0) is (wanted != "de")


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
