"""Every word and bit of the exchange area: its name in the PLC and what it means, in Korean and English.

The words are those of `inspection.plc.words`; a test compares both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from inspection.plc.words import BLOCK_WORDS, CtrlFlag, StatFlag

Block = Literal["CTRL", "STAT"]
Meaning = tuple[str, str]
"""Korean, English."""


@dataclass(frozen=True, slots=True)
class Bit:
    """One flag of a word.

    Attributes:
        number: 0..15, 0 is the lowest.
        name: of the label, block first.
        meaning: who raises it and when.
    """

    number: int
    name: str
    meaning: Meaning


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a block.

    Attributes:
        block: CTRL is written by the PLC alone, STAT by the station alone.
        offset: 0..15 within the block.
        name: of the label, block first.
        meaning: what it holds.
        bits: its flags, lowest first.
    """

    block: Block
    offset: int
    name: str
    meaning: Meaning
    bits: tuple[Bit, ...] = ()


_CTRL_BITS: dict[CtrlFlag, Meaning] = {
    CtrlFlag.ENABLE: ("검사를 원하는 동안 ON", "on while inspection is wanted"),
    CtrlFlag.TRIGGER: ("부품 도착, TRIG_ACK까지 ON 유지", "a part is there; held until TRIG_ACK"),
    CtrlFlag.RESULT_ACK: (
        "결과를 받음, RESULT_VALID가 꺼질 때까지 ON",
        "the answer was taken; until RESULT_VALID drops",
    ),
    CtrlFlag.RESET: ("메모리를 잃은 뒤 한 번", "once after a loss of memory"),
    CtrlFlag.RECIPE_REQ: (
        "레시피 요청, RECIPE_ACK까지 ON",
        "asks for CTRL_RECIPE; until RECIPE_ACK",
    ),
    CtrlFlag.ERROR_ACK: ("ERROR를 보는 동안 ON", "on while ERROR is seen"),
}
_STAT_BITS: dict[StatFlag, Meaning] = {
    StatFlag.READY: ("트리거하면 검사함", "a trigger will be inspected"),
    StatFlag.TRIG_ACK: ("ACK_SEQ의 트리거를 받음", "the trigger with ACK_SEQ is taken"),
    StatFlag.BUSY: ("부품 처리 중", "a part is in work"),
    StatFlag.RESULT_VALID: ("워드 3~15가 결과임", "words 3 to 15 are the answer"),
    StatFlag.ONLINE: ("스테이션이 연결됨", "the station has connected"),
    StatFlag.ERROR: ("사람이나 수리가 필요함, 워드 10 참고", "needs a person; see word 10"),
    StatFlag.MISSED_TRIGGER: ("너무 이른 트리거가 있었음", "a trigger came too early; until RESET"),
    StatFlag.RECIPE_ACK: ("요청한 레시피가 적용됨", "the requested recipe is in force"),
    StatFlag.EXPOSURE_DONE: (
        "촬영 끝, 부품을 움직여도 됨",
        "the picture is taken: the part may move",
    ),
    StatFlag.DEGRADED: (
        "검사하지만 사진을 잃고 있음",
        "parts are inspected, but pictures were lost",
    ),
}

_CTRL: list[tuple[str, Meaning]] = [
    ("FLAGS", ("PLC의 신호 비트", "flags of the PLC")),
    ("HEARTBEAT", ("PLC 하트비트, 100 ms마다 증가", "the PLC heartbeat, counts up every 100 ms")),
    ("TRIG_SEQ", ("부품 순번 1~65535, 0은 없음", "sequence of the part, 1 to 65535, never 0")),
    ("RECIPE", ("요청하는 레시피 번호", "number of the recipe that is asked for")),
    ("PART_ID_LOW", ("부품 번호, 하위 워드", "part id, low word")),
    ("PART_ID_HIGH", ("부품 번호, 상위 워드", "part id, high word")),
    ("DEADLINE", ("이 부품의 제한 시간 ms, 0: 레시피 값", "deadline in ms; 0: that of the recipe")),
    ("MAP_VERSION", ("맵 버전, 1", "map version, 1")),
    *((f"SERIAL_{n}", (f"시리얼 또는 로트, 글자 {2 * n - 1}·{2 * n}, 앞 글자가 상위 바이트",
                       f"serial or lot, characters {2 * n - 1} and {2 * n}, first in the high byte"))
      for n in range(1, 9)),
]  # fmt: skip
_STAT: list[tuple[str, Meaning]] = [
    ("FLAGS", ("스테이션의 신호 비트", "flags of the station")),
    ("HEARTBEAT", ("스테이션 하트비트, 100 ms마다 증가", "the station heartbeat, every 100 ms")),
    ("ACK_SEQ", ("받은 부품 순번", "sequence that was taken")),
    ("RESULT_SEQ", ("이 결과의 부품 순번", "sequence that the answer is for")),
    ("RESULT_CODE", (
        "0 없음, 1 PASS, 2 FAIL, 3 REVIEW, 4 NOT INSPECTED",
        "0 none, 1 PASS, 2 FAIL, 3 REVIEW, 4 NOT INSPECTED",
    )),
    ("CODE_INVERSE", ("65535 - RESULT_CODE", "65535 - RESULT_CODE")),
    ("CLASS", ("결정한 결함의 종류, 0: 없음", "class of the deciding defect, 0: none")),
    ("SCORE", ("그 점수 x 10000", "its score x 10000")),
    ("CYCLE_MS", ("트리거에서 결과까지 ms", "milliseconds from trigger to answer")),
    ("OVER_T1", ("T1 이상인 검출 수", "detections at or over T1")),
    ("REASON", ("사유 코드", "reason code")),
    ("RECIPE", ("적용 중인 레시피", "recipe in force")),
    ("RECORD_LOW", ("결과 저장소의 기록 번호, 하위 워드", "record id in the store, low word")),
    ("RECORD_HIGH", ("결과 저장소의 기록 번호, 상위 워드", "record id in the store, high word")),
    ("MAP_VERSION", ("맵 버전, 1", "map version, 1")),
    ("RESULT_SEQ_COPY", ("RESULT_SEQ와 같아야 함", "must equal RESULT_SEQ")),
]  # fmt: skip


def _bits(
    block: Block, flags: dict[CtrlFlag, Meaning] | dict[StatFlag, Meaning]
) -> tuple[Bit, ...]:
    return tuple(
        Bit(int(flag).bit_length() - 1, f"{block}_{flag.name}", meaning)
        for flag, meaning in flags.items()
    )


def _block(block: Block, words: list[tuple[str, Meaning]], bits: tuple[Bit, ...]) -> list[Word]:
    assert len(words) == BLOCK_WORDS
    return [
        Word(block, offset, f"{block}_{name}", meaning, () if offset else bits)
        for offset, (name, meaning) in enumerate(words)
    ]


WORDS: tuple[Word, ...] = (
    *_block("CTRL", _CTRL, _bits("CTRL", _CTRL_BITS)),
    *_block("STAT", _STAT, _bits("STAT", _STAT_BITS)),
)
"""All 32 words, CTRL first."""
