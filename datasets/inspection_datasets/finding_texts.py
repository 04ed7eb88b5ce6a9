"""The words of every finding, in English and Korean."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Words:
    """A kind of finding in one language: its title, its text with {values}, and what to do."""

    title: str
    text: str
    action: str


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of finding: error, warning or note, in words."""

    severity: str
    en: Words
    ko: Words

    def words(self, language: str) -> Words:
        """Return the words in `en` or `ko`."""
        return self.ko if language == "ko" else self.en


TEXTS: dict[str, Kind] = {
    "image_missing": Kind(
        "error",
        Words("Missing picture", "{image} is missing", "Restore it, or import again."),
        Words("이미지 없음", "{image} 파일이 없습니다", "복원하거나 다시 가져오세요."),
    ),
    "image_altered": Kind(
        "error",
        Words(
            "Altered picture",
            "{image} was altered after {version} was written",
            "Restore it; labels may belong to the old picture.",
        ),
        Words(
            "변경된 이미지",
            "{image} 파일이 {version} 작성 후 변경되었습니다",
            "복원하세요. 라벨이 옛 이미지의 것일 수 있습니다.",
        ),
    ),
    "image_unreadable": Kind(
        "error",
        Words("Unreadable picture", "{image}: {why}", "Replace or remove it."),
        Words("읽을 수 없는 이미지", "{image}: {why}", "교체하거나 제거하세요."),
    ),
    "size_differs": Kind(
        "error",
        Words(
            "Annotation of another size",
            "{image} is {actual}, its labels were made for {stated}",
            "Label it again, or restore the picture that was labelled.",
        ),
        Words(
            "라벨과 이미지 크기 불일치",
            "{image} 크기는 {actual}, 라벨은 {stated} 기준입니다",
            "다시 라벨링하거나 라벨링한 이미지를 복원하세요.",
        ),
    ),
    "duplicate_leak": Kind(
        "error",
        Words(
            "Same picture in several splits (leak)",
            "{count} equal pictures are in {splits}: {images}",
            "Split again with --by duplicates; the test result is flattered otherwise.",
        ),
        Words(
            "여러 분할에 같은 이미지 (누출)",
            "같은 이미지 {count}장이 {splits}에 있습니다: {images}",
            "--by duplicates 로 다시 분할하세요. 아니면 시험 결과가 부풀려집니다.",
        ),
    ),
    "near_duplicate_leak": Kind(
        "error",
        Words(
            "Nearly the same picture in several splits (leak)",
            "{count} nearly equal pictures are in {splits}: {images}",
            "Look at them. If they show one part, split again with --by duplicates.",
        ),
        Words(
            "여러 분할에 거의 같은 이미지 (누출)",
            "거의 같은 이미지 {count}장이 {splits}에 있습니다: {images}",
            "확인하세요. 같은 부품이면 --by duplicates 로 다시 분할하세요.",
        ),
    ),
    "group_leak": Kind(
        "error",
        Words(
            "Group in several splits (leak)",
            "group {group} is in {splits} ({count} pictures)",
            "Split again by group.",
        ),
        Words(
            "여러 분할에 걸친 그룹 (누출)",
            "그룹 {group} 이 {splits}에 있습니다 ({count}장)",
            "그룹 단위로 다시 분할하세요.",
        ),
    ),
    "name_unmatched": Kind(
        "warning",
        Words(
            "Name without a group",
            "the expression for groups does not match {count} names, for example {image}",
            "Correct the expression; these pictures were not checked for leaks by name.",
        ),
        Words(
            "그룹을 알 수 없는 이름",
            "그룹 표현식이 이름 {count}개와 맞지 않습니다 (예: {image})",
            "표현식을 고치세요. 이 이미지는 이름으로 누출을 확인하지 못했습니다.",
        ),
    ),
    "name_leak": Kind(
        "warning",
        Words(
            "Names hint at a leak",
            "{count} pictures named {group}… with a running number are in {splits}",
            "If the name is that of one part or lot, split with --by regex:EXPR.",
        ),
        Words(
            "이름으로 본 누출 의심",
            "이름이 {group}… 이고 번호만 다른 이미지 {count}장이 {splits}에 있습니다",
            "이름이 한 부품이나 로트라면 --by regex:EXPR 로 분할하세요.",
        ),
    ),
    "duplicate": Kind(
        "warning",
        Words(
            "Same picture twice",
            "{count} equal pictures in {splits}: {images}",
            "Remove all but one; they count more than once.",
        ),
        Words(
            "중복 이미지",
            "{splits}에 같은 이미지 {count}장: {images}",
            "하나만 남기세요. 여러 번 계산됩니다.",
        ),
    ),
    "duplicate_labels": Kind(
        "error",
        Words(
            "Same picture, different labels",
            "equal pictures are labelled differently: {images}",
            "Decide which labels are right and remove the other picture.",
        ),
        Words(
            "같은 이미지, 다른 라벨",
            "같은 이미지의 라벨이 다릅니다: {images}",
            "맞는 라벨을 정하고 다른 이미지는 제거하세요.",
        ),
    ),
    "near_duplicate": Kind(
        "note",
        Words(
            "Nearly the same pictures",
            "{count} nearly equal pictures of different groups in {splits}: {images}",
            "They are no leak where they are; give them one group before the next split.",
        ),
        Words(
            "거의 같은 이미지",
            "{splits}에 그룹이 다른 거의 같은 이미지 {count}장: {images}",
            "지금은 누출이 아닙니다. 다음 분할 전에 한 그룹으로 묶으세요.",
        ),
    ),
    "unlabelled_twin": Kind(
        "warning",
        Words(
            "Unlabelled, but nearly equal to a labelled picture",
            "{image} is unlabelled, {twin} is {state}",
            "Label it too, or remove it.",
        ),
        Words(
            "라벨 있는 이미지와 거의 같은데 라벨 없음",
            "{image} 은 라벨이 없고 {twin} 은 {state} 입니다",
            "라벨링하거나 제거하세요.",
        ),
    ),
    "double_box": Kind(
        "warning",
        Words(
            "Box drawn twice",
            "{image}: two {name} boxes lie on each other (IoU {iou})",
            "Remove one.",
        ),
        Words(
            "두 번 그린 박스",
            "{image}: {name} 박스 두 개가 겹칩니다 (IoU {iou})",
            "하나를 지우세요.",
        ),
    ),
    "tiny_box": Kind(
        "warning",
        Words(
            "Tiny box",
            "{image}: a {name} box is only {size} pixels",
            "Was it a slip of the mouse? Defects this small are rarely found.",
        ),
        Words(
            "너무 작은 박스",
            "{image}: {name} 박스가 {size} 픽셀입니다",
            "실수로 그린 것인가요? 이렇게 작은 불량은 거의 검출되지 않습니다.",
        ),
    ),
    "train_empty": Kind(
        "error",
        Words("Nothing to train on", "train holds no labelled or good picture", "Split again."),
        Words("학습 이미지 없음", "train 에 라벨 있음·양품 이미지가 없습니다", "다시 분할하세요."),
    ),
    "split_empty": Kind(
        "warning",
        Words(
            "Empty split",
            "{split} holds no labelled or good picture",
            "Split again; without val no limits, without test no claim.",
        ),
        Words(
            "빈 분할",
            "{split} 에 라벨 있음·양품 이미지가 없습니다",
            "다시 분할하세요. val 없이는 한계값을, test 없이는 보증 한도를 정할 수 없습니다.",
        ),
    ),
    "class_empty": Kind(
        "warning",
        Words("Class without a defect", "no picture shows {name}", "Collect some."),
        Words("예가 없는 클래스", "{name} 이 있는 이미지가 없습니다", "수집하세요."),
    ),
    "class_untrained": Kind(
        "error",
        Words("Class not in train", "{name} is labelled, but never in train", "Split again."),
        Words("train 에 없는 클래스", "{name} 라벨이 train 에 없습니다", "다시 분할하세요."),
    ),
    "class_untested": Kind(
        "warning",
        Words(
            "Class not held back",
            "{name} is in train, but neither in val nor in test",
            "Split again, or collect more; nothing can be said of this class.",
        ),
        Words(
            "시험할 수 없는 클래스",
            "{name} 이 train 에만 있고 val, test 에 없습니다",
            "다시 분할하거나 더 수집하세요. 이 클래스에 대해 말할 수 있는 것이 없습니다.",
        ),
    ),
    "few_defects": Kind(
        "warning",
        Words(
            "Too few defects for the claim",
            "{parts} parts with {name} support at best {bound} escape at {confidence}; for {wanted} "
            "{needed} are needed ({defects} boxes; {held_back} parts held back in val and test)",
            "Collect more, or claim less.",
        ),
        Words(
            "보증에 부족한 불량 수",
            "{name} 부품 {parts}개로는 신뢰수준 {confidence}에서 미검률 {bound}까지만 보증할 수 있습니다. "
            "{wanted} 에는 {needed}개가 필요합니다 (박스 {defects}개, val·test {held_back}개)",
            "더 수집하거나 보증 수준을 낮추세요.",
        ),
    ),
    "claim": Kind(
        "note",
        Words(
            "What the defects support",
            "{parts} parts with {name} support at best {bound} escape at {confidence} ({defects} boxes; "
            "{held_back} parts held back in val and test)",
            "A claim counts held-back parts only; this is the best there can be.",
        ),
        Words(
            "불량 수로 보증할 수 있는 값",
            "{name} 부품 {parts}개로는 신뢰수준 {confidence}에서 미검률 {bound}까지 보증할 수 있습니다 "
            "(박스 {defects}개, val·test {held_back}개)",
            "보증에는 학습에 쓰지 않은 부품만 셉니다. 이것이 최선의 값입니다.",
        ),
    ),
    "few_good": Kind(
        "warning",
        Words(
            "Too few good parts for the claim",
            "{parts} good parts support at best {bound} overkill at {confidence}; for {wanted} {needed} are "
            "needed ({held_back} held back in val and test)",
            "Collect more good parts.",
        ),
        Words(
            "보증에 부족한 양품 수",
            "양품 {parts}개로는 신뢰수준 {confidence}에서 과검률 {bound}까지만 보증할 수 있습니다. "
            "{wanted} 에는 {needed}개가 필요합니다 (val·test {held_back}개)",
            "양품을 더 수집하세요.",
        ),
    ),
    "counted_once": Kind(
        "note",
        Words(
            "Several pictures of a part",
            "{pictures} labelled and good pictures are of {parts} parts: a claim counts each part (group) "
            "once, by its worst picture",
            "A group is what is alike: name the part or serial, not the lot, where parts of a lot differ as "
            "parts of other lots do.",
        ),
        Words(
            "한 부품의 이미지 여러 장",
            "라벨된 이미지와 양품 이미지 {pictures}장이 부품 {parts}개의 것입니다. 보증에는 부품(그룹)마다 "
            "가장 나쁜 이미지로 한 번씩만 셉니다",
            "서로 비슷한 것이 한 그룹입니다. 한 로트의 부품이 다른 로트의 부품만큼 서로 다르면 로트가 아니라 "
            "부품이나 시리얼로 그룹을 정하세요.",
        ),
    ),
    "suspect_no_label": Kind(
        "warning",
        Words(
            "Label suspect: a label may be missing",
            "{image}: the model sees {name} where no label is (disagreement {score})",
            "Look at it: is the label wrong, or the model?",
        ),
        Words(
            "라벨 의심: 라벨 누락 가능",
            "{image}: 라벨이 없는 곳에서 모델이 {name} 을 검출했습니다 (불일치 {score})",
            "확인하세요. 라벨이 틀렸습니까, 모델이 틀렸습니까?",
        ),
    ),
    "suspect_class": Kind(
        "warning",
        Words(
            "Label suspect: the class may be wrong",
            "{image}: labelled {name}, the model says {seen} (disagreement {score})",
            "Look at it: is the label wrong, or the model?",
        ),
        Words(
            "라벨 의심: 클래스 오류 가능",
            "{image}: 라벨은 {name}, 모델은 {seen} (불일치 {score})",
            "확인하세요. 라벨이 틀렸습니까, 모델이 틀렸습니까?",
        ),
    ),
    "suspect_not_seen": Kind(
        "warning",
        Words(
            "Label suspect: the model does not see it",
            "{image}: the model does not see the {name} that is labelled (disagreement {score})",
            "Look at it: is the label wrong, or the model?",
        ),
        Words(
            "라벨 의심: 모델이 검출하지 못함",
            "{image}: 라벨된 {name} 을 모델이 검출하지 못했습니다 (불일치 {score})",
            "확인하세요. 라벨이 틀렸습니까, 모델이 틀렸습니까?",
        ),
    ),
}
