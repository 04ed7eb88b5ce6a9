"""The evaluation report's own words, Korean and English; those of the trade are in `inspection.sentences`."""

from __future__ import annotations

from inspection.sentences.language import LANGUAGES, Table, phrases
from inspection.sentences.trade import WORDS

__all__ = ["LANGUAGES", "texts"]

_TEXTS: Table = {
    "title": ("검사 모델 평가 보고서", "Evaluation of an inspection model"),
    "dataset": ("데이터셋 버전", "dataset version"),
    "learned": ("학습에 쓴 데이터셋", "learned from"),
    "split": ("분할, 부품 수", "split, parts"),
    "summary": ("요약", "Summary"),
    "interval": ("95 % 정확 신뢰구간", "exact 95 % interval"),
    "by_group": ("그룹 단위 95 % 구간", "95 % interval by groups"),
    "by_parts": ("부품 {parts}개 중 {worst}개", "{worst} of {parts} parts"),
    "rate": ("비율", "rate"),
    "map50": ("AP50", "AP50"),
    "map50_95": ("AP50:95", "AP50:95"),
    "mask_map50": ("윤곽선 AP50", "AP50 of outlines"),
    "mask_map50_95": ("윤곽선 AP50:95", "AP50:95 of outlines"),
    "auroc": ("AUROC", "AUROC"),
    "claims": ("현재 한계값으로 보증할 수 있는 것", "What the limits in force can promise"),
    "claims_note": (
        "아래 상한은 이 분할이 학습에 쓰이지 않았고 한계값이 미리 정해져 있었을 때만 유효합니다.",
        "These bounds hold only if this split was not trained on and the limits were fixed before.",
    ),
    "class": ("클래스", "class"),
    "count": ("수량 불일치", "wrong counts"),
    "bound": ("95 % 상한", "95 % upper bound"),
    "needed": ("1 % 보증에 더 필요한 불량 수", "more defective parts needed for 1 %"),
    "escaped": ("유출", "escaped"),
    "recall": ("검출률 (상자)", "recall (boxes)"),
    "limits": ("한계값", "Limits"),
    "gates": ("합격 기준", "Gates"),
    "gates_note": (
        "릴리스할 때 물은 것과 그때 잰 것입니다. 이 보고서의 이미지와 다를 수 있습니다.",
        "What was asked of this release, and what was measured then; not on the pictures of this report.",
    ),
    "gate": ("합격 기준", "gate"),
    "passed": ("통과", "passed"),
    "found": ("결과", "found"),
    "not_asked": ("묻지 않은 합격 기준", "not asked"),
    "card_claim": ("릴리스에 적힌 보증 한도", "claim in the release"),
    "decisions": ("판정표", "Decisions"),
    "confusion": ("클래스 혼동 (행: 라벨, 열: 검출)", "Classes: labelled (rows), found (columns)"),
    "not_found": ("못 찾음", "not found"),
    "nothing_there": ("라벨 없음", "no label there"),
    "groups": ("로트·그룹별", "By lot or group"),
    "group": ("그룹", "group"),
    "groups_clean": (
        "그룹 {all}개 어디에도 미검이나 과검이 없습니다.",
        "No escape and no overkill in any of the {all} groups.",
    ),
    "groups_note": (
        "{all}개 그룹 중 {wrong}개에서 미검이나 과검이 나왔습니다. 그 그룹만 나쁜 순으로, 최대 {most}개.",
        "{wrong} of {all} groups have an escape or overkill; only these are listed, worst first, at most "
        "{most}.",
    ),
    "scores": ("부품 점수 분포", "Scores of parts"),
    "scores_note": (
        "부품에서 가장 높은 불량 점수. 진한 막대는 불량, 연한 막대는 양품, 세로선은 T1과 T2의 최솟값. "
        "높이는 제곱근 눈금입니다.",
        "Highest defect score of each part. Dark bars: defective, light bars: good, lines: lowest T1 and "
        "T2. Heights are on a square-root scale.",
    ),
    "misses": ("가장 심한 미검", "Worst misses"),
    "calls": ("가장 심한 과검", "Worst false calls"),
    "boxes_note": (
        "초록 점선은 라벨, 빨간 실선은 T1 이상 검출입니다.",
        "Dashed green: labels. Solid red: detections at or over T1.",
    ),
    "variants": ("더 빠른 변형 (bf16, INT8)", "Faster variants (bf16, INT8)"),
    "variants_note": (
        "{split} 이미지 {images}장, {machine}. 시간은 f32와 번갈아 잰 중앙값(99 %)입니다. 판정이 달라져 "
        "거부된 변형은 여기 없습니다. 같은 판정은 이 릴리스의 한계값에서만 확인되었습니다.",
        "{images} {split} images, {machine}. Times are medians (99 %), measured in turns with f32. Variants "
        "that were refused because they decide differently are not here. Equal decisions were checked "
        "under this release's limits only.",
    ),
    "time": ("이미지→상자 ms", "image to boxes, ms"),
    "time_f32": ("같은 때 f32", "f32 beside it"),
    "point": ("AP50·AUROC", "AP50 or AUROC"),
    "equal": ("f32와 같은 판정", "decided like f32"),
    "overkill_short": ("과검", "overkill"),
    "kept_float": ("부동소수점으로 둔 층", "layers in float"),
    "selected_on": ("층을 고른 분할", "layers chosen on"),
    "comparison": ("두 릴리스 비교 (같은 부품)", "Two releases on the same parts"),
    "only": ("만 틀림", "wrong alone"),
    "both": ("둘 다 틀림", "both wrong"),
    "p": ("정확 McNemar p", "exact McNemar p"),
    "changed": ("판정이 바뀐 부품", "parts decided differently"),
    "cannot": ("보증할 수 없는 것", "What cannot be promised"),
    "cannot_new": (
        "이 분할에 없는 종류의 불량, 다른 조명·카메라·공정의 부품에 대해서는 아무것도 말할 수 없습니다.",
        "Nothing is known of kinds of defects that are not in this split, nor of other light, cameras or "
        "processes.",
    ),
    "cannot_zero": (
        "유출이 0건이어도 유출률이 0인 것은 아닙니다. 상한을 보십시오.",
        "No escape seen does not mean an escape rate of zero: read the upper bound.",
    ),
    "cannot_lots": (
        "같은 로트의 부품은 서로 비슷합니다. 불량이 나온 그룹 수: {groups}. 적으면 그 그룹에 대한 값입니다.",
        "Parts of one lot are alike. Groups with defects: {groups}. If these are few, the numbers are about "
        "them.",
    ),
    "cannot_train": (
        "이 분할은 {split}입니다. test가 아니면 값이 실제보다 좋게 나옵니다.",
        "This split is {split}: unless it is test, the numbers are flattered.",
    ),
    "cannot_known": (
        "모델이 이 부품들을 학습했거나 학습했는지 알 수 없습니다. 이 값을 근거로 삼지 마십시오. {why}",
        "The model learned from these parts, or nobody can tell: do not build on these numbers. {why}",
    ),
    "cannot_labels": (
        "라벨이 틀리면 이 값들도 틀립니다. 라벨을 붙인 사람들의 일치도를 확인하십시오.",
        "Where labels are wrong, so are these numbers: check how far the people who label agree.",
    ),
}  # fmt: skip


def texts(language: str) -> dict[str, str]:
    """Return every phrase of a language; ValueError for an unknown one."""
    return phrases({**WORDS, **_TEXTS}, language)
