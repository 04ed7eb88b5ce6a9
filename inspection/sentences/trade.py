"""Words of the trade that every page and card uses: decisions, verdicts, errors, who decided."""

from __future__ import annotations

from inspection.sentences.language import phrases

WORDS = {
    "release": ("릴리스", "release"),
    "model": ("모델 파일 SHA-256", "model file SHA-256"),
    "runtime": ("실행 엔진", "runtime"),
    "precision": ("연산 정밀도", "precision"),
    "limits": ("한계값", "limits"),
    "parts": ("부품", "parts"),
    "defective": ("불량", "defective"),
    "good": ("양품", "good"),
    "PASS": ("합격", "PASS"),
    "REVIEW": ("재검", "REVIEW"),
    "FAIL": ("불합격", "FAIL"),
    "NOT_INSPECTED": ("미검사", "NOT INSPECTED"),
    "escape": ("미검 (유출): 불량인데 합격", "escape: defective, PASS"),
    "overkill": ("과검: 양품인데 불합격", "overkill: good, FAIL"),
    "review": ("양품인데 재검", "good, REVIEW"),
    "real_defect": ("실제 불량", "real defect"),
    "false_call": ("과검", "false call"),
    "missed": ("미검", "missed"),
    "borderline": ("한도", "borderline"),
    "aborted": ("중단", "aborted"),
    "none": ("없음", "none"),
    "none_here": ("없습니다.", "None."),
    "yes": ("예", "yes"),
    "no": ("아니요", "NO"),
}


def trade_words(language: str) -> dict[str, str]:
    """Return every word in one language; ValueError for an unknown one."""
    return phrases(WORDS, language)
