"""What limits support, in words: of `inspection limits`, its claim file, and the claim of a release.

    claim file (targets, claims, claims_in_force, overkill, measured, warning_codes) ─▶ sentences
    release.json metrics.claims (code, values) ─▶ sentences

Every function takes what the files keep, so that a page can read an old file in either language.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inspection.sentences.language import phrase
from inspection.sentences.shares import at_most, counted_of, counted_once, exactly, percent

Stored = Mapping[str, Any]
ALL = "all defects"
"""Stands for every defect class together, whatever its mix."""
COUNT = "(count)"
"""Stands for a part on which something that must be there is missing or doubled."""

NAMES = {ALL: ("모든 불량", "all defects"), COUNT: ("수량 불일치", "wrong counts")}

ESCAPE = {
    "facts": (
        "불량 부품 {parts}개, 그룹 {groups}개, 미검 {missed}개{where}{once}",
        "{parts} defective parts from {groups} groups, {missed} missed{where}{once}",
    ),
    "once": ("; {words}", "; {words}"),
    "under": (" (T1 {t1:g} 미만)", " under T1 {t1:g}"),
    "met": (
        "{name}: 신뢰수준 {sure}에서 미검률 {bound} 이하 ({facts})",
        "{name}: at most {bound} escape at {sure} confidence ({facts})",
    ),
    "unknown": (
        "{name}: {target} 보증 불가. 릴리스가 모르는 클래스이며, 이 불량이 있는 부품 {parts}개 중 "
        "{missed}개가 "
        "합격합니다. 이 클래스를 아는 릴리스를 학습하십시오",
        "{name}: no claim of {target}: the release does not know this class; {missed} of {parts} parts "
        "with it PASS. Train a release that knows it",
    ),
    "no_parts": (
        "{name}: 보증 불가. 이 불량이 있는 부품이 없습니다. {target} 보증에는 {missing}개가 필요합니다",
        "{name}: no claim: no part with this defect; {missing} are needed for {target}",
    ),
    "blind": (
        "{name}: {target} 보증 불가. {facts}. 신뢰수준 {sure}에서 {best}. 모델이 이 불량을 보지 못합니다. "
        "이런 불량을 "
        "더 학습하거나 라벨을 확인하십시오",
        "{name}: no claim of {target}: {facts}; they support {best} at {sure}. The model does not see "
        "these: train on such defects, or look at the labels",
    ),
    "few": (
        "{name}: {target} 보증 불가. 부품 {parts}개로는 신뢰수준 {sure}에서 {best}. {target} 보증에는 "
        "{missing}개가 더 "
        "필요합니다{once}",
        "{name}: no claim of {target}: {parts} parts support {best} at {sure}; {missing} more are needed "
        "for {target}{once}",
    ),
    "nothing": ("아무것도 보증할 수 없습니다", "nothing"),
    "best": ("미검률 {bound}까지만 보증할 수 있습니다", "at best {bound} escape"),
}

OVERKILL = {
    "facts": ("양품 {parts}개, 불합격 {failing}개", "{parts} good parts, {failing} FAIL"),
    "by_count": (
        ", 그중 {by_count}개는 T2와 무관하게 수량 때문",
        ", {by_count} of them by counts, whatever T2 is",
    ),
    "no_parts": (
        "과검: {target} 보증 불가. 양품이 없습니다",
        "overkill: no claim of {target}: there is no good part",
    ),
    "unmet": (
        "과검: {target} 보증 불가. {facts}. 신뢰수준 {sure}에서 {best}",
        "overkill: no claim of {target}: {facts}; they support {best} at {sure}",
    ),
    "nothing": ("아무것도 보증할 수 없습니다", "nothing"),
    "best": ("과검률 {bound}까지만 보증할 수 있습니다", "at best {bound}"),
    "met": (
        "과검: 신뢰수준 {sure}에서 {bound} 이하 ({facts})",
        "overkill: at most {bound} at {sure} confidence ({facts})",
    ),
    "review": (
        ". 양품 재검률이 {rate}로 목표 {asked}를 넘습니다. 불량의 점수가 양품 사이까지 내려옵니다. 더 나은 "
        "모델을 "
        "학습하거나 목표를 낮추십시오",
        ". Review of good parts is {rate}, asked was {asked}: the defects' scores reach down among the "
        "good parts. Train a better model, or ask for less",
    ),
}

WARNINGS = {
    "learned_unknown": (
        "{release}의 학습 데이터셋 {dataset} {version} ({sha256})이 {folder} 폴더에 없어, 이 이미지들을 "
        "학습했는지 알 수 없습니다. 그 데이터셋의 폴더를 지정하십시오: --trained-on",
        "{release} learned from {dataset} {version} ({sha256}), which is not in {folder}; so nobody can tell "
        "whether it saw these pictures. Name its folder: --trained-on",
    ),
    "trained_on": (
        "{name} {version} {split} 이미지 {of}장 중 {known}장은 {release} 학습에 쓴 것입니다. 예: {image}. "
        "값이 실제보다 좋게 나오고 아무것도 입증하지 못합니다. 학습에 쓰지 않은 이미지로 측정하십시오",
        "{release} was trained on {known} of {of} pictures of {name} {version} {split}, the first is "
        "{image}; the numbers are flattered and prove nothing. Measure on pictures that it never saw",
    ),
    "groups_trained_on": (
        "{name} {version} {split} 이미지 {of}장 중 {known}장은 {release} 학습에 쓴 그룹(부품, 로트)에 "
        "속합니다. 예: {image}. 값이 실제보다 좋게 나옵니다. 다른 그룹의 부품을 쓰십시오",
        "{known} of {of} pictures of {name} {version} {split} belong to groups (parts, lots) that {release} "
        "was trained on, the first is {image}; the numbers are flattered. Use parts of other groups",
    ),
    "group_names": (
        "{name} 이미지 {of}장 중 {known}장의 그룹 이름이 {dataset} 학습 이미지의 것과 같습니다. 예: "
        "{image}. 같은 부품이나 로트라면 값이 실제보다 좋게 나오고 아무것도 보증하지 못합니다. 두 "
        "데이터셋을 비교하십시오",
        "{known} of {of} pictures of {name} bear the group names of training pictures of {dataset}, the "
        "first is {image}; if these are the same parts or lots, the numbers are flattered and promise "
        "nothing. Compare the two datasets",
    ),
    "copies": (
        "이미지 {of}장 중 {copies}장이 다른 이미지의 사본입니다. 예: {image} = {original}. 이미지마다 한 "
        "번만 셉니다",
        "{copies} of {of} pictures are copies of others, the first is {image} of {original}: each picture "
        "counts once",
    ),
    "copies_torn": (
        "사본 가운데 {torn}개는 라벨이 서로 다릅니다. 라벨을 확인하십시오",
        "{torn} of these are labelled in different ways: look at the labels",
    ),
    "val_parts": (
        "val 부품입니다. 학습이 한계값을 정할 때 이미 본 부품이므로, 보증 한도는 test로 정하십시오",
        "these are val parts: training looked at them to choose its limits. Claims belong on test",
    ),
    "few_groups": (
        "{name}: 불량 이미지 {parts}장이 그룹 {groups}개에서 나왔고, 한 그룹에서 {largest_group}장이 "
        "나왔습니다. 같은 그룹의 이미지는 서로 비슷하므로, 다른 부품과 로트의 불량을 더하기 전까지 이 보증 "
        "한도는 이 그룹들에 대한 것입니다",
        "{name}: {parts} defective pictures come from {groups} groups, {largest_group} from one. Pictures of "
        "one group are alike: the claim is about these groups until defects of more parts and lots are added",
    ),
    "t1_not_raised": (
        "{name}: 이 불량이 있는 부품이 여기 없습니다. T1을 올리지 않았고 아무것도 입증하지 않습니다",
        "{name}: no part has it here; its T1 was not raised and proves nothing",
    ),
    "single_claims": (
        "보증 한도마다 따로 신뢰수준 {confidence}입니다. {claims}개가 함께 성립한다는 것은 그만큼 확실하지 "
        "않습니다",
        "each claim holds by itself at {confidence}; that all {claims} hold together is less sure",
    ),
    "no_good_parts": (
        "양품이 없습니다. T2는 1이고, 과검과 재검에 대해서는 아무것도 알 수 없습니다",
        "no good part is here: T2 is 1, and nothing is known of overkill and review",
    ),
    "good_parts_only": (
        "모델이 양품만 학습했습니다. 보증 한도는 여기 있는 종류의 불량에 대한 것입니다",
        "the model learned from good parts only: the claim is about these kinds of defects",
    ),
    "pooled_would_hold": (
        "모든 클래스에 T1 하나를 쓰면(--pooled) 부품 {parts}개의 불량 구성에 대해 {target}를 보증할 수 "
        "있습니다. "
        "클래스별 보증 한도는 아닙니다",
        "one T1 for all classes (--pooled) supports {target} for the mix of defects in these {parts} parts, "
        "though not for each class",
    ),
}

RELEASE = {
    "pictures": ("이미지 {parts}장", "{parts} held-out good images"),
    "parts": ("부품 {parts}개분", "{parts} held-out good parts"),
    "overkill_supported": (
        "신뢰수준 {confidence}에서 과검률 {share} 이하입니다. 학습하지 않은 양품 {counted}에 "
        "근거하며, 이와 같은 "
        "부품에 한합니다.",
        "Overkill is at most {share} with {confidence} confidence, from {counted}, for "
        "parts like these.",
    ),
    "overkill_unsupported": (
        "과검 보증 불가. 학습하지 않은 양품 {counted}으로는 신뢰수준 {confidence}에서 {best}까지만 "
        "보증할 수 있습니다.",
        "No overkill claim: {counted} support at best {best} at {confidence}.",
    ),
    "overkill_needs": (
        "과검 보증 불가. 학습하지 않은 양품 {counted}으로는 신뢰수준 {confidence}에서 {best}까지만 "
        "보증할 수 "
        "있습니다. {share} 보증에는 {needed}개가 더 필요합니다.",
        "No overkill claim: {counted} support at best {best} at {confidence}; {needed} "
        "more are needed for {share}.",
    ),
    "overkill_top": (
        "과검 보증 불가. 학습하지 않은 양품 {counted} 중 {failing}개의 점수가 1이어서 어떤 한계값으로도 "
        "불합격합니다. 신뢰수준 {confidence}에서 {best}까지만 보증할 수 있습니다.",
        "No overkill claim: of {counted}, {failing} score 1 and FAIL at any limit; they support at best "
        "{best} at {confidence}.",
    ),
    "no_escape_claim": (
        "미검은 보증할 수 없습니다. 한계값을 정할 때 불량 부품이 쓰이지 않았습니다.",
        "No escape claim is possible: no defective part took part in choosing the limits.",
    ),
}
_BOUNDS, _ASKED = {"best"}, {"share", "confidence", "target"}


def class_name(name: str, language: str) -> str:
    """Return the name of a class, or what stands for all of them or for wrong counts."""
    return phrase(NAMES, name, language) if name in NAMES else name


def escape_sentence(claim: Stored, confidence: float, language: str) -> str:
    """Return an escape claim, or what is missing for it.

    Args:
        claim: an entry of `claims` in a claim file.
        confidence: of the claim, 0..1.
        language: ko or en.
    """

    def say(code: str, **more: object) -> str:
        return phrase(ESCAPE, code, language, **{**values, **more})

    supported, missing = claim["supported"], claim["more_parts_needed"]
    values: dict[str, object] = {
        "name": class_name(claim["class"], language),
        "target": exactly(claim["target"]),
        "sure": exactly(confidence),
        "missing": missing,
        **{key: claim[key] for key in ("parts", "groups", "missed")},
        "once": _once(claim, language),
    }
    if not claim.get("known", True):
        return say("unknown")
    if not claim["parts"]:
        return say("no_parts")
    facts = say("facts", where="" if claim["t1"] is None else say("under", t1=claim["t1"]))
    if claim["met"] and supported is not None:
        return say("met", facts=facts, bound=at_most(supported, claim["target"]))
    best = say("nothing") if supported is None else say("best", bound=percent(supported))
    blind = claim["missed"] > max(claim["allowed_misses"], 0)
    return say("blind" if blind else "few", facts=facts, best=best)


def _once(stored: Stored, language: str) -> str:
    words = counted_once(stored, language)
    return phrase(ESCAPE, "once", language, words=words) if words else ""


def overkill_sentence(stored: Stored, language: str) -> str:
    """Return the overkill claim, with the review of good parts where it is over its target.

    Args:
        stored: `targets`, `overkill` and `measured` of a claim file.
        language: ko or en.
    """

    def say(code: str, **more: object) -> str:
        return phrase(OVERKILL, code, language, **{**values, **more})

    limit, targets, measured = stored["overkill"], stored["targets"], stored["measured"]
    supported, review = limit["supported"], measured["review"]["rate"]
    values: dict[str, object] = {
        "target": exactly(targets["overkill"]),
        "sure": exactly(targets["confidence"]),
        "parts": limit["parts"],
        "failing": counted_of(measured["overkill"]),
        "by_count": limit.get("by_count", 0),
    }
    if supported is None:
        return say("no_parts")
    facts = say("facts") + (say("by_count") if values["by_count"] else "")
    facts += _once(limit, language)
    if supported > targets["overkill"]:
        best = say("nothing") if supported >= 1 else say("best", bound=percent(supported))
        words = say("unmet", facts=facts, best=best)
    else:
        words = say("met", facts=facts, bound=at_most(supported, targets["overkill"]))
    if review is not None and review > targets["review"]:
        words += say("review", rate=percent(review), asked=exactly(targets["review"]))
    return words


def limit_sentences(stored: Stored, language: str) -> list[str]:
    """Return every claim in force of a claim file, or what is missing for it; the overkill is last."""
    return [words for words, _ in _limit_sentences(stored, language)]


def not_met_sentences(stored: Stored, language: str) -> list[str]:
    """Return the sentences of the targets that are not met; empty when all are."""
    return [words for words, met in _limit_sentences(stored, language) if not met]


def _limit_sentences(stored: Stored, language: str) -> list[tuple[str, bool]]:
    confidence, targets = stored["targets"]["confidence"], stored["targets"]
    claims = {claim["class"]: claim for claim in stored["claims"]}
    own = [claims[name] for name in stored["claims_in_force"]]
    told = [(escape_sentence(claim, confidence, language), bool(claim["met"])) for claim in own]
    supported, review = stored["overkill"]["supported"], stored["measured"]["review"]["rate"]
    met = supported is not None and supported <= targets["overkill"]
    met = met and review is not None and review <= targets["review"]
    return [*told, (overkill_sentence(stored, language), met)]


def warning_sentence(code: str, values: Stored, language: str) -> str:
    """Return what a person must know before signing."""
    words = phrase(WARNINGS, code, language, **_shown(values, language))
    if code == "copies" and values["torn"]:
        words += "; " + phrase(WARNINGS, "copies_torn", language, torn=values["torn"])
    return words


def release_claim(claims: Sequence[Stored] | None, stored: str, language: str) -> str:
    """Return the claim of a release; empty: it makes none.

    Args:
        claims: `metrics.claims` of its card: code and values; None in older releases.
        stored: `claim` of its card, said as it stands where there are no codes.
        language: ko or en.
    """
    if not claims:
        return stored
    return " ".join(_release_sentence(claim, language) for claim in claims)


def _release_sentence(claim: Stored, language: str) -> str:
    values = _shown(claim["values"], language)
    if "parts" not in values:
        return phrase(RELEASE, claim["code"], language, **values)
    once = counted_once(values, language)
    counted = phrase(RELEASE, "parts" if once else "pictures", language, **values)
    words = phrase(RELEASE, claim["code"], language, counted=counted, **values)
    return f"{words} {once}." if once else words


def _shown(values: Stored, language: str) -> dict[str, Any]:
    shown = dict(values)
    for name, value in values.items():
        if name in _BOUNDS:
            shown[name] = percent(value)
        elif name in _ASKED:
            shown[name] = exactly(value)
        elif name == "name":
            shown[name] = class_name(value, language)
    return shown
