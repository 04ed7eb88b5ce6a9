"""The words of a replay, terminal and report, Korean and English; see also `inspection.sentences`."""

from __future__ import annotations

from inspection.sentences.language import LANGUAGES, Table, phrases
from inspection.sentences.trade import WORDS

__all__ = ["LANGUAGES", "texts"]

_TEXTS: Table = {
    "title": ("재판정 보고서", "Stored parts decided again"),
    "release": ("새로 판정한 릴리스", "release that decides again"),
    "from_recipe": ("레시피 파일", "of the recipe file"),
    "from_release": ("릴리스 자체의 한계값, 검사 영역 없음", "of the release itself, no regions"),
    "decided_again": ("다시 판정한 부품", "parts decided again"),
    "changes": ("판정이 바뀌는 부품", "parts whose decision would change"),
    "cannot": ("다시 판정할 수 없는 부품", "parts that cannot be re-decided"),
    "matrix": ("판정표 (행: 당시, 열: 새 판정)", "Decisions: then (rows), now (columns)"),
    "old": ("당시", "then"),
    "new": ("새 판정", "now"),
    "reviewed": ("사람이 확인한 부품", "Parts that a person judged"),
    "reviewed_note": (
        "재검 결과가 있는 부품만 셉니다. 재검 대상은 골라낸 것이므로 이 수는 비율이 아닙니다.",
        "Only parts with a clear verdict. People look at chosen parts, so these numbers are no rates.",
    ),
    "baseline": ("저장된 이미지에 의한 차이", "What the stored picture alone changes"),
    "baseline_some": (
        "당시 릴리스로 저장된 이미지를 다시 판정하면 {parts}개 중 {differ}개가 기록과 다릅니다. "
        "이 정도의 차이는 새 릴리스 때문이 아닙니다.",
        "The old release decides {differ} of {parts} stored pictures otherwise than the row says. "
        "So much of the change is not due to the new release.",
    ),
    "baseline_none": (
        "당시 릴리스와 한계값을 찾을 수 없어, 저장된 이미지만으로 생기는 차이를 알 수 없습니다.",
        "The old releases or their limits are not at hand: how much the stored picture alone changes is "
        "not known.",
    ),
    "lossy": (
        "{count}개는 손실 압축(JPEG) 이미지입니다. 한계값 근처의 판정은 그 이유만으로도 달라질 수 있습니다.",
        "{count} pictures are lossy (JPEG): a decision near a limit may differ for that reason alone.",
    ),
    "other_recipe": (
        "{count}개는 지금 준 레시피 파일이 아닌 다른 레시피로 판정되었습니다.",
        "{count} parts were decided by another recipe file than the one given.",
    ),
    "no_code": (
        "{count}개는 당시 코드를 찾지 않아, 레시피의 코드 규칙 없이 판정했습니다.",
        "{count} parts were judged without the code of the recipe: nobody looked for one then.",
    ),
    "sampled": (
        "합격품의 이미지는 일부만 저장될 수 있으므로, 위의 수를 전체 생산의 비율로 읽지 마십시오.",
        "Pictures of passed parts may be kept for some only: do not read these counts as rates of the line.",
    ),
    "changed": ("판정이 바뀌는 부품", "Parts whose decision would change"),
    "legend": (
        "파란 점선은 당시 판정에 들어간 검출, 빨간 실선은 새 릴리스의 T1 이상 검출입니다.",
        "Dashed blue: what counted then. Solid red: what the new release finds at or over T1.",
    ),
    "more": (
        "이미지는 {shown}개까지만 보입니다. 나머지는 아래 표에 있습니다.",
        "Pictures of the first {shown}; the others are in the table.",
    ),
    "part": ("부품", "part"),
    "at": ("시각 (UTC)", "time (UTC)"),
    "verdict": ("재검 결과", "verdict"),
    "noise": (
        "당시 릴리스도 저장된 이미지에서는 다르게 판정",
        "the old release, too, decides the stored picture otherwise",
    ),
    "why": ("이유", "why"),
    "no_picture": ("이미지 없음", "no picture"),
    "was not inspected": ("당시 미검사", "was not inspected"),
    "another part": ("다른 품목", "another part"),
    "not decided yet": ("아직 판정 전", "not decided yet"),
    "no picture was kept": ("이미지를 저장하지 않음", "no picture was kept"),
    "the picture is gone": ("이미지 파일이 없음", "the picture is gone"),
    "the picture was altered": ("이미지가 변경됨", "the picture was altered"),
    "the picture cannot be read": ("이미지를 읽을 수 없음", "the picture cannot be read"),
    "the row of its picture is malformed": ("이미지 기록이 잘못됨", "the row of its picture is malformed"),
    "its code was wrong, and what was read is not kept": (
        "코드가 달랐고, 읽은 내용이 기록에 없음",
        "its code was wrong, and what was read is not kept",
    ),
    "the old release is not at hand": ("당시 릴리스가 없음", "the old release is not at hand"),
    "the row keeps no whole detections": (
        "기록에 검출이 온전히 남아 있지 않음",
        "the row keeps no whole detections",
    ),
    "other limits were in force": ("당시 다른 한계값이 적용됨", "other limits were in force"),
    "working": ("재판정 중", "deciding again"),
    "table": (
        "{release} ({precision}): 저장된 부품 {parts}개를 다시 판정",
        "{release} in {precision}: {parts} stored parts decided again",
    ),
    "then_now": ("당시 \\ 새 판정", "then \\ now"),
    "and_more": ("  외 {more}개: --html, --json", "  and {more} more: --html, --json"),
    "judged_escape": (
        "사람이 불량으로 확인한 부품 {parts}개 중 미검: 당시 {old}개, 새 판정 {new}개",
        "of {parts} defective parts by verdict, escape: then {old}, now {new}",
    ),
    "judged_overkill": (
        "사람이 양품으로 확인한 부품 {parts}개 중 과검: 당시 {old}개, 새 판정 {new}개",
        "of {parts} good parts by verdict, overkill: then {old}, now {new}",
    ),
    "no_baseline": (
        "부품 {count}개는 저장된 이미지만으로 생기는 차이를 알 수 없습니다: {why}",
        "how much the stored picture alone changes is not known for {count} parts: {why}",
    ),
    "left_out": (
        "다시 판정할 수 없는 부품 {count}개: {why}. 예: {shown}",
        "cannot be re-decided: {count}: {why}, for example {shown}",
    ),
    "would_change": (
        "{parts}개 중 {changed}개의 판정이 바뀝니다",
        "{changed} of {parts} decisions would change",
    ),
    "report": ("보고서 {file}", "report {file}"),
}  # fmt: skip


def named_why(why: str, words: dict[str, str]) -> str:
    """Return why a part is left out, in words; what stands in brackets behind it is a code and stays."""
    plain, _, more = why.partition(" (")
    return words.get(plain, plain) + (f" ({more}" if more else "")


def texts(language: str) -> dict[str, str]:
    """Return every phrase of a language; ValueError for an unknown one."""
    return phrases({**WORDS, **_TEXTS}, language)
