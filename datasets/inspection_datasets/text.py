"""What the `inspection dataset` commands say, Korean and English; findings are in `finding_texts`."""

from __future__ import annotations

from inspection.sentences.language import Table, phrases

TEXTS: Table = {
    "labelled": ("이미지, 라벨 있음", "images, labelled"),
    "good": ("이미지, 양품", "images, good"),
    "unlabelled": ("이미지, 라벨 없음", "images, unlabelled"),
    "whole": ("이미지, {name} (상자 없음)", "images, {name} (no box)"),
    "boxes": ("상자, {name}", "boxes, {name}"),
    "layout": ("형식 {layout}, {file} 저장", "layout {layout}; wrote {file}"),
    "note": ("참고: {note}", "note: {note}"),
    "wrote": ("{file} 저장", "wrote {file}"),
    "sound": (
        "모든 이미지가 있고, 바뀌지 않았으며, 기록된 크기와 같습니다",
        "every image is there, unchanged, and of the stated size",
    ),
    "split_already": (
        "바뀐 것이 없습니다. {version}: 이미 이렇게 나뉘어 있습니다",
        "nothing changed; {version} is split like this already",
    ),
    "error": ("오류", "error"),
    "warning": ("경고", "warning"),
    "finding_note": ("참고", "note"),
    "counts": (
        "오류 {error}건, 경고 {warning}건, 참고 {note}건",
        "{error} errors, {warning} warnings, {note} notes",
    ),
    "same": ("{older}, {newer}: 내용이 같습니다", "{older} and {newer} hold the same"),
    "more": ("외 {more}건, --json은 모두 보입니다", "and {more} more; --json lists all"),
    "classes_added": ("추가된 클래스", "classes added"),
    "added": ("추가된 이미지", "images added"),
    "removed": ("삭제된 이미지", "images removed"),
    "renamed": ("이름이 바뀐 이미지", "images renamed"),
    "replaced": ("교체된 이미지", "images replaced"),
    "relabelled": ("라벨 변경", "relabelled"),
    "other_split": ("분할 변경", "other split"),
    "other_group": ("그룹 변경", "other group"),
    "taken": ("추가 {number}건: {what}", "added {number}: {what}"),
    "left_out": ("제외 {number}건: {why}", "left out {number}: {why}"),
    "corrected": ("바로잡음 {number}건: {what}", "corrected {number}: {what}"),
    "look_at": (
        "재검 결과가 바뀌었지만 사람이 고친 라벨은 그대로 둡니다. 다음 이미지를 확인하십시오",
        "the verdict changed, and labels that a person edited are left as they are: look at",
    ),
    "nothing_to_add": ("추가할 것이 없습니다", "nothing to add"),
    "exported": (
        "{version}의 이미지 {images}장을 {to}에 {layout} 형식으로 저장",
        "wrote {images} images of {version} to {to} as {layout}",
    ),
    "not_carried": ("옮기지 못한 것: {loss}", "not carried: {loss}"),
    "label": ("라벨 {before} -> {after}", "label {before} -> {after}"),
    "moved": ("{name} 이동", "{name} moved"),
}

HARVEST: Table = {
    "labelled": ("라벨 있음", "labelled"),
    "good": ("양품", "good"),
    "unlabelled": ("라벨 없음, 상자를 그려야 함", "unlabelled"),
    "set aside": ("라벨 없음, 재검 결과 없음", "set aside"),
    "missed": ("미검", "missed"),
    "borderline": ("한도", "borderline"),
    "no good picture here": ("이 데이터셋에는 양품이 없음", "no good picture here"),
    "no usable detection counted": ("판정에 쓰인 검출이 없음", "no usable detection counted"),
    "unknown class": ("데이터셋에 없는 클래스", "unknown class"),
    "the review was aborted": ("재검이 중단됨", "the review was aborted"),
    "the person was not sure": ("사람이 판단을 보류함", "the person was not sure"),
    "the verdict was taken back": ("재검 결과가 취소됨", "the verdict was taken back"),
    "the review is not done": ("재검이 끝나지 않음", "the review is not done"),
    "the picture is in the dataset already": (
        "이미 데이터셋에 있는 이미지",
        "the picture is in the dataset already",
    ),
    "the verdict changed, and the labels were edited by hand": (
        "재검 결과가 바뀌었으나 사람이 라벨을 고침",
        "the verdict changed, and the labels were edited by hand",
    ),
    "other boxes": ("상자가 바뀜", "other boxes"),
    "no picture was kept": ("이미지를 저장하지 않음", "no picture was kept"),
    "the picture is gone": ("이미지 파일이 없음", "the picture is gone"),
    "the picture was altered": ("이미지가 변경됨", "the picture was altered"),
    "the row of its picture is malformed": (
        "이미지 기록이 잘못됨",
        "the row of its picture is malformed",
    ),
}
"""What a harvest took, corrected or left out, by the words that it counts under."""


def harvest_words(counted: str, language: str) -> str:
    """Return what a harvest counted, in words; what is not known is said as it stands."""
    words = phrases(HARVEST, language)
    plain, _, why = counted.removesuffix(")").partition(" (")
    told = " -> ".join(words.get(kind, kind) for kind in plain.split(" -> "))
    return f"{told} ({words.get(why, why)})" if why else told


def texts(language: str) -> dict[str, str]:
    """Return every phrase of a language; ValueError for an unknown one."""
    return phrases(TEXTS, language)
