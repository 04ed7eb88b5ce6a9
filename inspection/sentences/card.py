"""The words of a release card and of the difference of two, Korean and English."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from inspection.sentences.language import Table, phrases
from inspection.sentences.shares import exactly

NOTES = {
    "the limits were chosen on val: its rates are flattered. The model learned from neither": "val"
}
"""Notes as older cards hold them, to their code."""
_GATES = frozenset({"max_escape", "max_overkill", "max_latency_ms"})
_SHARES = frozenset({"max_escape", "max_overkill", "max_review", "confidence"})

WORDS: Table = {
    "candidate": ("{part}: 후보, 릴리스되지 않음", "{part}: candidate, not released"),
    "made": (
        "{at}에 만듦, 모델 계열 {family}, 시작 가중치: {weights}",
        "made {at} from {family}, start weights: {weights}",
    ),
    "dataset": (
        "데이터셋 {name} {version}: 학습 이미지 {train}장, val 이미지 {val}장",
        "dataset {name} {version}: {train} training and {val} val images",
    ),
    "dataset_sha256": ("데이터셋 버전 sha256 {sha256}", "dataset version sha256 {sha256}"),
    "input": (
        "입력 {width}x{height}, 클래스 {classes}",
        "input {width}x{height}, classes {classes}",
    ),
    "licence": ("모델의 라이선스: {licence}", "licence of the model: {licence}"),
    "claim": ("보증 한도: {claim}", "claim: {claim}"),
    "no_claim": ("없음", "none"),
    "measured": ("측정", "Measured"),
    "measured_head": (
        "| 측정 대상 | 이미지 | 미검 | 과검 | 양품 재검 | mAP50 또는 AUROC |",
        "| measured on | images | escape | overkill | review of good parts | mAP50 or AUROC |",
    ),
    "note": ("구간은 95 %. 참고: {note}.", "Intervals are 95 %. Note: {note}."),
    "val": (
        "한계값을 val로 정했으므로 val의 비율은 실제보다 좋게 나옵니다. 모델은 val도 test도 학습하지 "
        "않았습니다",
        "the limits were chosen on val: its rates are flattered. The model learned from neither",
    ),
    "limits": ("한계값", "Limits"),
    "limits_head": ("| 클래스 | T1 | T2 |", "| class | T1 | T2 |"),
    "gates": ("합격 기준", "Gates"),
    "gates_head": ("| 합격 기준 | 통과 | 결과 |", "| gate | passed | found |"),
    "yes": ("예", "yes"),
    "no": ("아니요", "NO"),
    "not_asked": ("묻지 않은 합격 기준: {names}.", "Not asked: {names}."),
    "changed": (
        "{gate}: 실험 설정은 {before}, 적용한 값은 {after} (변경한 사람 {by}, {at}).",
        "{by} changed {gate}: the experiment says {before}, it was asked with {after} ({at}).",
    ),
    "off": ("묻지 않음", "not asked"),
    "unset": ("정하지 않음", "not set"),
    "suspicions": (
        "데이터셋 점검이 오류로 본 {number}건을 의심으로만 받아들였습니다.",
        "{number} errors of the dataset check were taken as suspicions only.",
    ),
    "more": ("외 {number}건.", "And {number} more."),
    "parity": (
        "내보낸 모델과 학습한 모델의 일치 검증",
        "Parity of the exported with the trained model",
    ),
    "parity_line": (
        "{runtime}: 이미지 {images}장에서 점수 차이 최대 {difference:.4f}",
        "{runtime}: scores differ by at most {difference:.4f} on {images} images",
    ),
    "none": ("없음", "none"),
    "latency": ("처리 시간, {machine}", "Latency on {machine}"),
    "unknown_machine": ("알 수 없는 PC", "an unknown machine"),
    "latency_head": (
        "| 실행 엔진 | 중앙값, ms | 99번째 백분위수, ms |",
        "| runtime | median, ms | 99th percentile, ms |",
    ),
    "files": ("파일, sha256", "Files, sha256"),
    "variants": (
        "이후 만든 더 빠른 변형이 있으면 `variants/`에 각자의 수치와 함께 있습니다.",
        "Faster variants, if any were made since, lie in `variants/` with numbers of their own.",
    ),
    "back": ("되돌리는 방법", "How to go back"),
    "back_text": (
        "`inspection release rollback RELEASES {part}`는 번호를 지정하지 않는 클라이언트에 이전 릴리스를 "
        "적용합니다. "
        "스테이션은 레시피의 번호를 따릅니다. 레시피에 이전 번호를 쓰고 PLC가 레시피를 다시 요청하게 "
        "하십시오.",
        "`inspection release rollback RELEASES {part}` makes the release before it the one in force for "
        "clients that name no number. A station goes by the number in its recipe: write the old number "
        "there and let the PLC request the recipe again.",
    ),
    "rest": ("나머지는 모두 {card}에 있습니다.", "Everything else is in {card}."),
    "not_in_force": (
        "{name}: 적용되지 않았습니다. 이전 롤백으로 번호를 지정하지 않는 클라이언트에는 {current}가 "
        "적용되어 있고 그대로 유지됩니다. "
        "바꾸려면: `{command}`",
        "{name} is not in force: a rollback put {current} in force for clients that name no number, and it "
        "stays so. To change that: `{command}`",
    ),
    "released": ("{name} 릴리스함: {folder}", "released {name} in {folder}"),
    "variant_made": ("변형 {precision}: 만들었습니다", "variant {precision}: made"),
    "variant_refused": (
        "변형 {precision}: 만들지 못했습니다. {why}",
        "variant {precision}: not made: {why}",
    ),
    "run": (
        "학습 실행 폴더 {run}, 단계별 시간(초): {seconds}",
        "run folder {run}; seconds: {seconds}",
    ),
    "in_force": ("{number} (적용 중)", "{number} (in force)"),
    "no_releases": ("{releases}에 릴리스가 없습니다", "no releases in {releases}"),
    "rolled_back": (
        "적용 중이던 릴리스는 {before}, 이제 {after}입니다. 모든 파일이 릴리스 때와 같습니다",
        "in force was {before}; now {after}, every file as released",
    ),
    "unknown": ("알 수 없음", "unknown"),
    "rolled_back_for": (
        "번호를 지정하지 않는 클라이언트에 적용되며, 추론 서비스를 다시 시작할 때부터입니다. 실행 중인 "
        "서비스는 POST /v2/repository/models/{part}/load 로 받습니다.",
        "This holds for clients that name no number, from the next start of the inference service; a "
        "running one takes it at POST /v2/repository/models/{part}/load.",
    ),
    "stations_stay": (
        "스테이션은 그대로입니다. 레시피의 `release: {before}`를 `release: {after}`로 고치고 PLC가 레시피를 "
        "다시 요청하게 하십시오 (how-to: change a recipe).",
        "Stations are not touched: where a recipe says `release: {before}`, write `release: {after}` and "
        "let the PLC request the recipe again (how-to: change a recipe).",
    ),
    "as_released": (
        "{name}: 모든 파일이 릴리스 때와 같습니다 (모델 {sha256})",
        "{name}: every file is as released (model {sha256})",
    ),
}

DIFFERENCE: Table = {
    "title": ("{first}, {second} 비교", "{first} and {second}"),
    "the same": ("같음", "the same"),
    "dataset": ("데이터셋", "dataset"),
    "settings": ("설정", "settings"),
    "limits": ("한계값", "limits"),
    "measured": ("{split}에서 측정", "measured on {split}"),
    "latency": ("처리 시간", "latency"),
    "libraries": ("라이브러리", "libraries"),
    "other": ("기타", "other"),
    "escape": ("미검", "escape"),
    "overkill": ("과검", "overkill"),
    "review of good parts": ("양품 재검", "review of good parts"),
    "machine": ("PC", "machine"),
    "times": ("중앙값 {p50} ms, 99 % {p99} ms", "median {p50} ms, 99 % {p99} ms"),
    "no_comparison": ("부품별 비교 없음: {why}", "no comparison part by part: {why}"),
    "no_decisions": (
        "판정을 보관하지 않은 릴리스가 있습니다. `inspection evaluate --against`로 비교하십시오",
        "a release keeps no decisions; compare with `inspection evaluate --against`",
    ),
    "other_images": (
        "서로 다른 이미지에서 측정했습니다",
        "they were measured on different images",
    ),
    "changed": (
        "{split}: 공통 이미지 {images}장 중 {changed}장의 판정이 다릅니다 (각자의 한계값 기준). {only}장은 "
        "한쪽만 보았고 "
        "{labelled}장은 라벨이 다릅니다",
        "{split}: {changed} of {images} shared images are decided differently (each by its own limits); "
        "{only} images only one of them saw, {labelled} are labelled differently",
    ),
    "side": (
        "  {name} (부품 {parts}개): {first}만 {a}개, {second}만 {b}개, 둘 다 {both}개. "
        "정확 McNemar p = {p:.4g} (0.05보다 작으면 우연으로 보기 어렵습니다)",
        "  {name}: {first} alone {a}, {second} alone {b}, both {both} of {parts}; exact McNemar p = {p:.4g} "
        "(under 0.05: hardly by chance)",
    ),
    "images": ("이미지 {what}: {number}{shown}", "images {what}: {number}{shown}"),
    "added": ("추가", "added"),
    "removed": ("삭제", "removed"),
    "replaced": ("교체", "replaced"),
    "relabelled": ("라벨 변경", "relabelled"),
    "other_split": ("분할 변경", "other_split"),
    "classes_added": ("추가된 클래스", "classes_added"),
}


def setting_words(name: str, value: object, language: str) -> str:
    """Return the value of a setting as people write it.

    Args:
        name: of the setting, as in the experiment file; `gates.max_escape` or `limits max_review` too.
        value: as stored. Nothing is `not asked` for a gate, and `not set` for any other setting.
        language: ko or en.
    """
    words, plain = phrases(WORDS, language), re.split(r"[. ]", name)[-1]
    if value is None:
        return words["off" if plain in _GATES and not name.startswith("limits ") else "unset"]
    if isinstance(value, bool):
        return words["yes"].lower() if value else words["no"].lower()
    if isinstance(value, (list, tuple)):
        return ", ".join(str(x) for x in cast("Sequence[object]", value)) or words["none"]
    if plain in _SHARES and isinstance(value, (int, float)):
        return exactly(value)
    return f"{value:g} ms" if plain.endswith("_ms") and isinstance(value, float) else str(value)


def note_sentence(metrics: Mapping[str, Any], language: str) -> str:
    """Return what must be known of the numbers of a card; empty: nothing. Unknown notes stay as stored."""
    note = str(metrics.get("note") or "")
    return phrases(WORDS, language)[NOTES[note]] if note in NOTES else note
