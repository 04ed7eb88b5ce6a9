"""The gates of a candidate in words: its name, what was found against what was asked, what to do.

Every function takes a result as `release.json` keeps it under `metrics.gates.results`, of any age: gate,
passed, asked, found. A finding of a dataset check is told by whoever knows findings, see `Tell`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from inspection.sentences.language import Table, phrase, phrases
from inspection.sentences.shares import counted_once, exactly

Stored = Mapping[str, Any]
Tell = Callable[[str, Mapping[str, Any]], str]
"""Code and values of a finding of a dataset check, to its sentence."""
FIRST = 5
"""So many images are named in a sentence; the card keeps all."""

NAMES: Table = {
    "dataset": ("데이터셋 점검 (dataset)", "dataset"),
    "parity": ("일치 검증 (parity)", "parity"),
    "escape": ("미검 상한 (escape)", "escape"),
    "overkill": ("과검 (overkill)", "overkill"),
    "must_catch": ("반드시 잡을 부품 (must_catch)", "must_catch"),
    "latency": ("처리 시간 (latency)", "latency"),
}

REMEDIES: Table = {
    "dataset": (
        "`inspection dataset check {data} --html FILE`로 확인하고 고치십시오. 문제없는 것이 확실하면 "
        "`gates: {{clean_dataset: false}}`라고 쓰십시오",
        "look at it with `inspection dataset check {data} --html FILE` and mend it; where the findings are "
        "known to be harmless, write `gates: {{clean_dataset: false}}`",
    ),
    "parity": (
        "서로 다르면 내보낸 모델이 학습한 모델이 아닙니다. 다시 학습하고, 실행 폴더와 함께 알려 주십시오. "
        "검출이 하나도 "
        "없었다면 더 오래, 또는 가중치에서 시작해 학습하거나 불량을 더 라벨링하십시오",
        "where they differ, the exported model is not the trained one: train again, and report it with the "
        "run folder; where nothing was found, train longer, from weights, or label more defects",
    ),
    "escape": (
        "{split} 불량 부품을 더 모으거나, 양품 재검을 더 허용해 T1을 낮추거나(`inspection release make RUN "
        "--limits-review 10% --by NAME`이 한계값을 다시 정합니다. 실험 설정에서는 max_review, "
        "max_overkill), 더 오래 "
        "학습하거나, 목표를 낮추십시오",
        "collect more defective parts for {split}; or let more good parts be stopped, so that T1 comes lower "
        "(`inspection release make RUN --limits-review 10% --by NAME` chooses the limits again; max_review "
        "and "
        "max_overkill in the experiment); train longer, or ask for less",
    ),
    "overkill": (
        "과검된 부품을 양품으로 라벨링해 다시 학습하거나, 한계값을 다시 정하거나(`inspection release make "
        "RUN "
        "--limits-overkill 2% --by NAME`. 미검이 늘 수 있습니다), 목표를 낮추십시오",
        "label the false calls as good and train again, choose the limits again (`inspection release make "
        "RUN "
        "--limits-overkill 2% --by NAME`; escapes may rise), or ask for less",
    ),
    "must_catch": (
        "그런 불량을 더 넣어 학습하거나, 양품 재검을 더 허용해 T1을 낮추십시오(`inspection release make RUN "
        "--limits-review 10% --by NAME`이 한계값을 다시 정합니다. 실험 설정에서는 max_review, max_overkill)",
        "train with more defects of that kind, or let more good parts be stopped, so that T1 comes lower "
        "(`inspection release make RUN --limits-review 10% --by NAME` chooses the limits again; max_review "
        "and "
        "max_overkill in the experiment)",
    ),
    "latency": (
        "더 작은 모델이나 입력, 더 빠른 PC, 또는 변형을 쓰십시오",
        "use a smaller model or input, a faster machine, or a variant",
    ),
}

WORDS: Table = {
    "dataset_clean": (
        "{version} 점검에서 오류가 없고 경고가 {warnings}건입니다",
        "the check of {version} found no error and {warnings} warnings",
    ),
    "dataset_suspected": (
        ". 거의 같은 이미지 {suspected}묶음이 여러 분할에 있습니다. 확인하십시오",
        "; {suspected} sets of nearly equal pictures lie in several splits: look at them",
    ),
    "dataset_errors": (
        "{version} 점검에서 오류가 {errors}건 나왔습니다. 첫째: {first}",
        "the check of {version} found {errors} errors, the first: {first}",
    ),
    "parity_alike": (
        "이미지 {images}장에서 내보낸 모델과 학습한 모델이 일치합니다 ({runtimes})",
        "exported and trained model agree on {images} images ({runtimes})",
    ),
    "parity_nothing": (
        "모델이 이미지 {images}장 어디에서도 아무것도 찾지 못해, 내보낸 모델과 학습한 모델을 비교하지 "
        "못했습니다. 이 "
        "모델은 모든 부품을 합격시킵니다",
        "the model finds nothing in any of the {images} images, so exported and trained model were not "
        "compared; it would pass every part",
    ),
    "parity_unknown": (
        "내보낸 모델과 학습한 모델을 비교하지 않았습니다 ({missing})",
        "exported and trained model were not compared ({missing})",
    ),
    "no_images": ("이미지 없음", "no images"),
    "rows_differ": (
        "{runtime}에서 내보낸 모델이 학습한 모델과 다릅니다. 검출 {detections}개 중 {unmatched}개는 짝이 "
        "없고, 점수 차이는 "
        "최대 {score:.4f}, 상자 겹침은 최소 {iou:.3f}입니다. 릴리스하지 않았습니다",
        "the exported model differs from the trained one under {runtime}: {unmatched} of {detections} "
        "detections have no partner, scores differ by up to {score:.4f}, boxes overlap by {iou:.3f} at "
        "least; it was not released",
    ),
    "outlines_differ": (
        "{runtime}에서 내보낸 모델이 학습한 모델과 다릅니다. 검출 {detections}개 중 {unmatched}개는 짝이 "
        "없고, 점수 차이는 "
        "최대 {score:.4f}, 상자 겹침은 최소 {iou:.3f}, 윤곽선 겹침은 최소 {mask_iou:.3f}입니다. 릴리스하지 "
        "않았습니다",
        "the exported model differs from the trained one under {runtime}: {unmatched} of {detections} "
        "detections have no partner, scores differ by up to {score:.4f}, boxes overlap by {iou:.3f} at "
        "least, outlines by {mask_iou:.3f} at least; it was not released",
    ),
    "shapes_differ": (
        "{runtime}에서 내보낸 모델의 {output} 크기는 {exported}, 학습한 모델은 {trained}입니다. 릴리스하지 "
        "않았습니다",
        "the exported model gives {output} {exported} under {runtime}, the trained one {trained}; it was not "
        "released",
    ),
    "maps_differ": (
        "{runtime}에서 내보낸 모델이 학습한 모델과 다릅니다. 점수 차이는 최대 {score:.4f}, 맵 차이는 최대 "
        "{map:.4f}이며 허용은 "
        "{allowed}입니다. 릴리스하지 않았습니다",
        "the exported model differs from the trained one under {runtime}: scores by up to {score:.4f}, maps "
        "by up to {map:.4f}, allowed is {allowed}; it was not released",
    ),
    "escape_none": (
        "{split}에 불량 부품이 없어 아무것도 알 수 없습니다. {needed}개가 필요합니다",
        "there are no defective {split} parts, so nothing is known; {needed} are needed",
    ),
    "escape_passed": (
        "{split} 불량 부품 {parts}개 중 {missed}개가 합격했습니다. 신뢰수준 {sure}에서 미검률 {bound} "
        "이하, 목표 {share} "
        "이하{copies}",
        "{missed} of {parts} defective {split} parts passed: at most {bound} escape at {sure} confidence, "
        "asked at most {share}{copies}",
    ),
    "escape_refused": (
        "{split} 불량 부품 {parts}개 중 {missed}개가 합격했습니다. 신뢰수준 {sure}에서 상한은 {bound}, "
        "목표 {share} 이하. "
        "미검 없이 불량 부품 {needed}개가 더 있으면 입증됩니다{copies}",
        "{missed} of {parts} defective {split} parts passed: the bound at {sure} confidence is {bound}, "
        "asked "
        "at most {share}; {needed} more defective parts, none of them missed, would show it{copies}",
    ),
    "overkill_none": (
        "{split}에 양품이 없어 아무것도 알 수 없습니다",
        "there are no good {split} parts, so nothing is known",
    ),
    "overkill": (
        "{split} 양품 {parts}개 중 {failed}개가 불합격 = {rate} (95 % 신뢰구간 {low:.2f}..{high:.2f} %), "
        "목표 {share} "
        "이하{copies}",
        "{failed} of {parts} good {split} parts failed = {rate} (95 % interval {low:.2f}..{high:.2f} %), "
        "asked "
        "at most {share}{copies}",
    ),
    "counted_once": (". {words}", "; {words}"),
    "copies": (
        ". 같은 이미지의 사본 {copies}개는 세지 않았습니다",
        "; {copies} copies of a picture were not counted",
    ),
    "caught": (
        "반드시 잡을 부품 {number}개 중 합격하는 것이 없습니다",
        "none of the {number} parts that must be caught passes",
    ),
    "lost_pass": (
        "반드시 잡을 부품 {number}개 중 {lost}개가 합격합니다: {images}{more}",
        "{lost} of {number} parts that must be caught pass: {images}{more}",
    ),
    "lost_unknown": (
        "반드시 잡을 부품 {number}개 중 {lost}개를 측정하지 못했습니다: {images}{more}",
        "{lost} of {number} parts that must be caught were not measured: {images}{more}",
    ),
    "more": (" 외 {number}개", " and {number} more"),
    "latency_unknown": (
        "{runtime}의 시간을 측정하지 못했습니다. 목표 {limit} 이하",
        "the time with {runtime} was not measured, asked at most {limit}",
    ),
    "latency": (
        "{machine}에서 {runtime}로 이미지 100장 중 99장이 {p99:g} ms 이하입니다{pictures}. 목표 {limit} 이하",
        "99 of 100 images take at most {p99:g} ms with {runtime} on {machine}{pictures}, asked at most "
        "{limit}",
    ),
    "pictures": (" (서로 다른 이미지 {pictures}장)", " ({pictures} different pictures)"),
}


def gate_name(gate: str, language: str) -> str:
    """Return the name of a gate; of one that is not known, its code."""
    return phrase(NAMES, gate, language) if gate in NAMES else gate


def gate_remedy(result: Stored, data: str, language: str) -> str:
    """Return what to do when a gate is not passed.

    Args:
        result: as the card keeps it.
        data: dataset folder.
        language: ko or en.
    """
    split = result["asked"].get("split", "test")
    return phrase(REMEDIES, result["gate"], language, data=data, split=split)


def gate_sentence(result: Stored, language: str, tell: Tell | None = None) -> str:
    """Return what was found against what was asked.

    A gate of a later version of this program is told by the sentence that it stored itself.

    Args:
        result: as the card keeps it.
        language: ko or en.
        tell: makes the sentence of a finding; without it, its English of old is shown.
    """
    make = _SENTENCES.get(result["gate"])
    if make is None:
        return str(result.get("sentence", ""))
    return make(_Gate(result, language, tell))


class _Gate:
    """One stored result, and the words of one language."""

    def __init__(self, result: Stored, language: str, tell: Tell | None) -> None:
        self.passed, self.tell = bool(result["passed"]), tell
        self.asked: Stored = result["asked"]
        self.found: Stored = result["found"]
        self._language = language
        self._words = phrases(WORDS, language)

    def say(self, code: str, **values: object) -> str:
        return self._words[code].format(**values)

    def copies(self) -> str:
        number = self.found.get("copies", 0)
        once = counted_once(self.found, self._language)
        words = self.say("counted_once", words=once) if once else ""
        return words + (self.say("copies", copies=number) if number else "")


def _dataset(gate: _Gate) -> str:
    found = gate.found
    if gate.passed:
        words = gate.say("dataset_clean", version=found["version"], warnings=found["warnings"])
        number = found.get("suspected", 0)
        return words + (gate.say("dataset_suspected", suspected=number) if number else "")
    finding, first = found.get("first_finding"), found["first"]
    if finding and gate.tell:
        first = gate.tell(finding["code"], finding["values"])
    return gate.say("dataset_errors", version=found["version"], errors=found["errors"], first=first)


def _parity(gate: _Gate) -> str:
    found = gate.found
    if found["refused"]:
        why = found.get("why")
        if not why or None in why["values"].values():  # JSON keeps no infinity
            return str(found["refused"])
        return gate.say(why["code"], **why["values"])
    if found.get("detections") == 0:
        return gate.say("parity_nothing", images=found["images"])
    if gate.passed:
        return gate.say(
            "parity_alike", images=found["images"], runtimes=", ".join(found["runtimes"])
        )
    missing = sorted(set(gate.asked["runtimes"]) - set(found["runtimes"]))
    return gate.say("parity_unknown", missing=", ".join(missing) or gate.say("no_images"))


def _escape(gate: _Gate) -> str:
    asked, found = gate.asked, gate.found
    needed = found["more_parts_needed"]
    if not found["parts"]:
        return gate.say("escape_none", split=asked["split"], needed=needed)
    return gate.say(
        "escape_passed" if gate.passed else "escape_refused",
        split=asked["split"],
        missed=found["missed"],
        parts=found["parts"],
        sure=exactly(asked["confidence"]),
        share=exactly(asked["share"]),
        bound=f"{math.ceil(found['bound'] * 1e5 - 1e-9) / 1e3:g} %",
        needed=needed,
        copies=gate.copies(),
    )


def _overkill(gate: _Gate) -> str:
    asked, found = gate.asked, gate.found
    if not found["parts"]:
        return gate.say("overkill_none", split=asked["split"])
    return gate.say(
        "overkill",
        split=asked["split"],
        failed=found["failed"],
        parts=found["parts"],
        rate=f"{100 * found['failed'] / found['parts']:.2f} %",
        low=100 * found["low"],
        high=100 * found["high"],
        share=exactly(asked["share"]),
        copies=gate.copies(),
    )


def _must_catch(gate: _Gate) -> str:
    number, found = len(gate.asked["images"]), gate.found
    if gate.passed:
        return gate.say("caught", number=number)
    lost = [*found["passed"], *found["not_measured"]]
    more = gate.say("more", number=len(lost) - FIRST) if len(lost) > FIRST else ""
    code = "lost_pass" if found["passed"] else "lost_unknown"
    return gate.say(code, lost=len(lost), number=number, images=", ".join(lost[:FIRST]), more=more)


def _latency(gate: _Gate) -> str:
    found, limit = gate.found, f"{gate.asked['p99_ms']:g} ms"
    if found["p99_ms"] is None:
        return gate.say("latency_unknown", runtime=found["runtime"], limit=limit)
    number = found.get("pictures")
    return gate.say(
        "latency",
        p99=found["p99_ms"],
        runtime=found["runtime"],
        machine=found["machine"],
        pictures=gate.say("pictures", pictures=number) if number else "",
        limit=limit,
    )


_SENTENCES: Mapping[str, Callable[[_Gate], str]] = {
    "dataset": _dataset,
    "parity": _parity,
    "escape": _escape,
    "overkill": _overkill,
    "must_catch": _must_catch,
    "latency": _latency,
}
