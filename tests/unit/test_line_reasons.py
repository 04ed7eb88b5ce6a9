"""Every reason has its words, in English and Korean; computed alarms follow from the answers."""

from __future__ import annotations

from typing import Any

from inspection.store.web.alarms import (
    NG_RATE,
    OVERRULE_RATE,
    REPEATED_NG,
    Rules,
    compute,
    compute_overruled,
)
from inspection.types import Reason
from inspection_serve.web.reasons import ALARMS, REASONS, words_of
from inspection_serve.web.texts import load_texts


def test_every_reason_has_text_cause_and_action_in_both_languages() -> None:
    assert set(REASONS) == set(Reason)
    korean = load_texts().languages["ko"]
    for words in (*REASONS.values(), *ALARMS.values()):
        for text in words:
            assert text
            assert any("가" <= letter <= "힣" for letter in korean.text(text)), text
    assert words_of("CAMERA_LOST") is REASONS[Reason.CAMERA_LOST]
    assert words_of("SOMETHING_NEWER").text == "SOMETHING_NEWER"


def rows(decisions: str) -> list[dict[str, Any]]:
    """Newest first: `F` for FAIL, anything else passes."""
    names = {"F": "FAIL", "R": "REVIEW"}
    return [
        {
            "id": len(decisions) - place,
            "decision": names.get(one, "PASS"),
            "triggered_at": f"t{place}",
        }
        for place, one in enumerate(decisions)
    ]


def test_repeated_ng_begins_with_its_first_part() -> None:
    rules = Rules(repeated=3, rate_percent=0)
    assert compute(rows("FFPFFF"), rules) == []
    (alarm,) = compute(rows("FFFPF"), rules)
    assert (alarm.code, alarm.record, alarm.number) == (REPEATED_NG, 3, 3)
    assert compute(rows("FRFF"), rules) == []
    assert compute(rows("FFFF"), Rules(repeated=0, rate_percent=0)) == []


def test_the_ng_rate_waits_for_a_whole_window() -> None:
    rules = Rules(repeated=0, rate_percent=50, window=4)
    assert compute(rows("FFF"), rules) == []
    (alarm,) = compute(rows("FPFPFFFF"), rules)
    assert (alarm.code, alarm.number) == (NG_RATE, 50)
    assert compute(rows("FPPPFFFF"), rules) == []
    assert compute([], rules) == []


def judged(verdicts: str) -> list[dict[str, Any]]:
    """Newest first: `o` was overruled, `b` is on the limit, anything else is a real defect."""
    names = {"o": "false_call", "b": "borderline"}
    return [
        {"id": len(verdicts) - place, "verdict": names.get(one, "real_defect"), "triggered_at": "t"}
        for place, one in enumerate(verdicts)
    ]


def test_many_overruled_parts_are_an_alarm() -> None:
    rules = Rules(overrule_percent=50, overrule_window=4)
    assert compute_overruled(judged("ooo"), rules) == [], "the window is not full"
    (alarm,) = compute_overruled(judged("oxobxx"), rules)
    assert (alarm.code, alarm.record, alarm.number) == (OVERRULE_RATE, 4, 50)
    assert compute_overruled(judged("oxxboo"), rules) == []
    assert compute_overruled(judged("oooo"), Rules(overrule_percent=0)) == []
