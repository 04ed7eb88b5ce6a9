"""What a published dataset says of itself, in Korean and English, and what the command says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inspection.sentences.language import Table, phrase
from inspection_datasets.finding_texts import TEXTS as FINDINGS
from inspection_datasets.publishing.card import SharingCard
from inspection_datasets.publishing.facts import DatasetFacts
from inspection_datasets.publishing.private import Masked

TEXTS: Table = {
    "published": (
        "{dataset} {version}의 이미지 {images}장을 {to}에 공개용으로 저장",
        "published {images} images of {dataset} {version} to {to}",
    ),
    "masked": (
        "가린 영역 {regions}곳, 그 안의 라벨 {dropped}개 삭제, 걸친 라벨 {touched}개 유지, "
        "라벨이 모두 삭제된 이미지 {emptied}장",
        "{regions} regions painted out, {dropped} labels inside dropped, {touched} labels at their edge "
        "kept, {emptied} images left without a label",
    ),
    "finding": ("점검에서 알린 점: {title} {number}건", "the check tells: {title}, {number}"),
    "torn": (
        "{log} 끝의 쓰다 만 줄을 잘라 {kept}에 보관. 공개는 줄이 온전히 기록된 뒤에만 진행됨",
        "{log} ended with half a line, as after a power cut; it was cut off and kept in {kept}. Nothing goes "
        "out before its line is whole",
    ),
    "logged": ("승인 기록: {log}", "approval recorded in {log}"),
}

_README = """\
# {name} {version}

{about_ko}

| 항목 | 값 |
| --- | --- |
| 이미지 | {images} (train {train}, val {val}, test {test}) |
| 상태 | 라벨 있음 {labelled}, 양품 {good}, 라벨 없음 {unlabelled} |
| 클래스 균형 (최소/최대) | {balance} |
| 가린 영역 | {regions} (안의 라벨 {dropped}개 삭제) |
| 라이선스 | {licence}, `LICENSE.txt` |
| 권리자 | {holder} |

{labels_ko}
{findings_ko}
- `images/`: 8비트 RGB PNG. 촬영 정보(EXIF)와 원래 파일 이름은 없습니다. 이름은 파일의 해시입니다.
- `ground_truth.csv`: 라벨 한 개가 한 줄, UTF-8(BOM), 엑셀에서 바로 열립니다. 좌표는 픽셀입니다.
- `annotations/`: COCO JSON. `inspection` 항목에 상태와 그룹이 있습니다.
- `card.json`: IDTA 02058(AI Dataset)의 항목 이름을 따른 카드. 인증을 받았다는 뜻은 아닙니다.
- `SHA256SUMS`: 모든 파일의 해시. `sha256sum -c SHA256SUMS`로 확인합니다.

`good`은 사람이 보고 결함이 없다고 한 이미지, `unlabelled`는 위치를 모르는 이미지입니다. 둘은 다릅니다.

---

# {name} {version} (English)

{about_en}

| item | value |
| --- | --- |
| images | {images} (train {train}, val {val}, test {test}) |
| states | labelled {labelled}, good {good}, unlabelled {unlabelled} |
| balance of classes (rarest/most frequent) | {balance} |
| regions painted out | {regions} ({dropped} labels inside dropped) |
| licence | {licence}, see `LICENSE.txt` |
| rights holder | {holder} |

{labels_en}
{findings_en}
- `images/`: 8-bit RGB PNG, without camera metadata (EXIF) and original file names. A name is a hash.
- `ground_truth.csv`: one line a label, UTF-8 with BOM for spreadsheets. Coordinates are pixels.
- `annotations/`: COCO JSON; state and group of an image are under `inspection`.
- `card.json`: a card with the field names of IDTA 02058 (AI Dataset). It claims no certification.
- `SHA256SUMS`: a hash for every file; check with `sha256sum -c SHA256SUMS`.

`good` means that a person looked and found no defect; `unlabelled` means that nobody said where one is.
"""


@dataclass(frozen=True, slots=True)
class Told:
    """What README and card are made of.

    Attributes:
        facts: of the published version.
        sharing: what the card says to others.
        masked: what was painted out.
        findings: code of a finding to number.
    """

    facts: DatasetFacts
    sharing: SharingCard
    masked: Masked
    findings: dict[str, int]


def readme(all_of: Told) -> str:
    """Return README.md."""
    facts, sharing, masked = all_of.facts, all_of.sharing, all_of.masked
    return _README.format(
        name=_cell(facts.name),
        version=facts.version,
        about_ko=_about(sharing.about_ko, sharing.about_en),
        about_en=_about(sharing.about_en, sharing.about_ko),
        images=facts.images,
        **facts.splits,
        **facts.states,
        balance=facts.balance,
        regions=masked.regions,
        dropped=masked.dropped,
        licence=_cell(sharing.licence),
        holder=_cell(sharing.holder),
        labels_ko=_labels(facts, ("클래스", "라벨 수")),
        labels_en=_labels(facts, ("class", "labels")),
        findings_ko=_findings(all_of.findings, "ko"),
        findings_en=_findings(all_of.findings, "en"),
    )


def _findings(findings: dict[str, int], language: str) -> str:
    return "".join(f"\n- {line}" for line in finding_lines(findings, language)) + "\n"


def finding_lines(findings: dict[str, int], language: str) -> list[str]:
    """Return what the check found, a sentence for each kind."""
    return [
        told(
            "finding",
            language,
            title=FINDINGS[code].words("ko" if language == "ko" else "en").title,
            number=number,
        )
        for code, number in sorted(findings.items())
    ]


def _about(text: str, other: str) -> str:
    return (text or other).strip() or "-"


def _labels(facts: DatasetFacts, head: tuple[str, str]) -> str:
    lines = [f"| {head[0]} | {head[1]} |", "| --- | --- |"]
    return "\n".join(lines + [f"| {_cell(name)} | {n} |" for name, n in facts.labels.items()])


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def card(all_of: Told) -> dict[str, Any]:
    """Return card.json: the element names of IDTA 02058-1-0-1, as they are spelled there."""
    facts, sharing, masked = all_of.facts, all_of.sharing, all_of.masked
    labels = [{"ClassName": n, "NumberOfSamples": str(c)} for n, c in facts.labels.items()]
    return {
        "URIOfTheProduct": sharing.uri,
        "Version": facts.version,
        "ContactInformation": sharing.contact or sharing.holder,
        "Storage": "images/",
        "Labeled": {
            "Classification": {
                "NumberLables": str(len(labels)),
                "Labels": labels,
                "Balance": facts.balance,
                "AnnotationFile": "ground_truth.csv",
            }
        },
        "SizeInformation": {
            "CompleteSize": str(facts.images),
            "TrainSize": str(facts.splits["train"]),
            "ValSize": str(facts.splits["val"]),
            "TestSize": str(facts.splits["test"]),
            "SplitRatio": facts.ratio,
        },
        "MetaData": {
            "FileType": list(facts.file_types),
            "AdditionalInformation": {
                "Name": facts.name,
                "Licence": sharing.licence,
                "RightsHolder": sharing.holder,
                "SourceSha256": facts.sha256,
                "MaskedRegions": str(masked.regions),
                "DroppedLabels": str(masked.dropped),
                **{f"Images_{state}": str(n) for state, n in facts.states.items()},
                **{f"Check_{code}": str(n) for code, n in all_of.findings.items()},
            },
        },
        "BoundaryConditions": {
            "DataCollectors": {"Collector": sharing.collector},
            "EnviromentConditions": sharing.environment,
            "SyntheticData": sharing.data or "",
        },
    }


def told(code: str, language: str, **values: object) -> str:
    """Return a phrase of the command."""
    return phrase(TEXTS, code, language, **values)
