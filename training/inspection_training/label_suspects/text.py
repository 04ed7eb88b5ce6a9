"""The words of the label suspects, Korean and English."""

from __future__ import annotations

from inspection_training.label_suspects.find import Suspect, Suspicions

_TEXTS: dict[str, tuple[str, str]] = {
    "title": ("의심스러운 라벨", "Label suspects"),
    "overlooked": ("라벨이 빠진 듯합니다: {seen}", "a label is missing: {seen}"),
    "swapped": (
        "클래스가 바뀐 듯합니다: 라벨 {label}, 모델 {seen}",
        "another class: labelled {label}, the model sees {seen}",
    ),
    "badly_located": ("상자 위치가 어긋난 듯합니다: {label}", "the box is in the wrong place: {label}"),
    "not_found": (
        "모델이 이 라벨에서 아무것도 못 찾았습니다: {label} (라벨이 틀렸거나 모델이 약함)",
        "the model finds nothing at this label: {label} (a wrong label, or a weak model)",
    ),
    "looks_defective": ("양품이라는데 불량처럼 보입니다", "called good, looks defective"),
    "looks_good": ("불량이라는데 양품처럼 보입니다", "called defective, looks good"),
    "none": ("의심스러운 라벨이 없습니다.", "No label is contradicted."),
    "summary": (
        "이미지 {pictures}장 중 의심 {suspects}장 ({split}). 모델의 점수 {sure} 이상을 믿습니다.",
        "{suspects} suspects among {pictures} pictures ({split}). The model is believed from score "
        "{sure}.",
    ),
    "shown": (
        "{total}장 중 {suspects}장을 보입니다. 나머지는 --limit을 늘려 보십시오.",
        "Showing {suspects} of {total}. For the others raise --limit.",
    ),
    "in_sample": (
        "주의: 이 중 {trained_on}장은 이 모델이 학습한 이미지입니다. 모델은 틀린 라벨도 따라 배우므로 "
        "학습한 이미지에서 의심이 "
        "없다고 라벨이 맞는 것은 아닙니다. 그 이미지는 다른 분할로 (inspection dataset split --seed) "
        "따로 학습한 모델로 보십시오.",
        "Careful: the model learned from {trained_on} of these pictures, and with them their wrong "
        "labels: no "
        "suspicion there proves nothing. Look at those with a model trained on another split "
        "(inspection dataset split --seed).",
    ),
    "unknown": (
        "주의: 이 모델이 학습한 데이터셋 버전이 여기 없어, 어느 이미지를 학습했는지 알 수 없습니다. "
        "학습한 이미지의 틀린 라벨은 "
        "드러나지 않습니다.",
        "Careful: the version that the model learned from is not in this dataset, so nobody can tell "
        "which of "
        "these pictures it saw. Wrong labels that it learned do not show.",
    ),
    "legend": (
        "초록: 라벨. 빨강: 모델의 검출. 굵은 것: 의심되는 상자. 모델도 틀립니다. 사람이 보고 고치십시오.",
        "Green: labels. Red: what the model found. Thick: the doubted box. Models err too: a person "
        "decides.",
    ),
    "trained_on": ("학습한 이미지", "trained on"),
    "quality": ("라벨 점수", "label quality"),
    "score": ("점수", "score"),
}  # fmt: skip


def word(key: str, language: str) -> str:
    """Return a phrase, `ko` or `en`."""
    return _TEXTS[key][language != "ko"]


def reason(suspect: Suspect, language: str) -> str:
    """Return why a picture is doubted."""
    return word(suspect.kind, language).format(**suspect.names)


def head(found: Suspicions, language: str) -> list[str]:
    """Return the summary, how many are shown, and the warning where pictures were trained on or may be."""
    told = word("summary", language).format(
        pictures=found.pictures,
        suspects=found.total,
        split=found.split,
        sure=f"{found.sure:.2f}",
    )
    lines = [told]
    if len(found.suspects) < found.total:
        shown = word("shown", language)
        lines.append(shown.format(suspects=len(found.suspects), total=found.total))
    if found.trained_on is None:
        lines.append(word("unknown", language))
    elif found.trained_on:
        lines.append(word("in_sample", language).format(trained_on=found.trained_on))
    return lines
