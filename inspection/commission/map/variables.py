"""The variables of the PLC's program beside the words of the exchange: the machine's and its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from inspection.commission.map.words import Meaning

Kind = Literal["input", "output", "own", "timer"]
Type = Literal["BOOL", "UINT", "UDINT", "TON"]


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of the program.

    Attributes:
        name: IN_… is written by the machine, OUT_… by the program, v_… and t_… are its own.
        type: IEC name.
        kind: who writes it.
        meaning: Korean, English.
    """

    name: str
    type: Type
    kind: Kind
    meaning: Meaning


_INPUTS: list[tuple[str, Type, Meaning]] = [
    ("IN_RUN", "BOOL", ("라인 운전, 검사를 원함", "the line runs and inspection is wanted")),
    ("IN_PART_PRESENT", "BOOL", ("카메라 앞 부품 센서", "sensor: a part is in front of the camera")),
    ("IN_RESTART", "BOOL", ("라인 정지 뒤 작업자 확인 버튼", "button: goes on after a stopped line")),
    ("IN_RECIPE", "UINT", ("레시피 번호, 0: 요청하지 않음", "recipe number; 0 asks for none")),
    ("IN_PART_ID_LOW", "UINT", ("부품 번호, 하위 워드", "part id, low word")),
    ("IN_PART_ID_HIGH", "UINT", ("부품 번호, 상위 워드", "part id, high word")),
    ("IN_DEADLINE", "UINT", ("제한 시간 ms, 0: 레시피 값", "deadline in ms; 0: that of the recipe")),
    *((f"IN_SERIAL_{n}", "UINT", (f"시리얼 글자 {2 * n - 1}·{2 * n}",
                                  f"serial, characters {2 * n - 1} and {2 * n}"))
      for n in range(1, 9)),
]  # fmt: skip
_OUTPUTS: list[tuple[str, Type, Meaning]] = [
    ("OUT_PASS", "BOOL", ("합격 출력: 켜져야만 통과, 정전이면 불합격", "energise to pass; off means reject")),
    ("OUT_PART_PASSED", "BOOL", ("한 스캔 펄스: 트리거한 부품 합격", "one scan: the part passed")),
    ("OUT_PART_REJECTED", "BOOL", ("한 스캔 펄스: 부품 불합격", "one scan: the part is rejected")),
    ("OUT_EARLY_REJECTED", "BOOL", (
        "한 스캔 펄스: 앞 부품 처리 중에 온 부품, 불합격",
        "one scan: a part that came while another was in work is rejected",
    )),
    ("OUT_CAUSE", "UINT", ("마지막 판정의 원인 번호, 0: 합격", "cause of the latest outcome, 0: passed")),
    ("OUT_MAY_MOVE", "BOOL", ("부품을 움직여도 됨", "the part may move")),
    ("OUT_READY", "BOOL", ("지금 오는 부품은 검사됨", "a part that comes now is inspected")),
    ("OUT_LINE_STOPPED", "BOOL", ("연속 불합격으로 라인 정지", "too many rejects in a row: stop the line")),
    ("OUT_ALARM", "BOOL", ("사람이 봐야 함", "somebody must look")),
    ("OUT_PASSES", "UDINT", ("합격 수", "parts passed")),
    ("OUT_REJECTS", "UDINT", ("불합격 수", "parts rejected")),
]  # fmt: skip
_NUMBERS: dict[str, Meaning] = {
    "v_phase": ("0 대기, 10 순번 기록됨, 20 TRIG_ACK 대기, 30 결과 대기",
                "0 idle, 10 sequence written, 20 waits for TRIG_ACK, 30 waits for the answer"),
    "v_seq": ("현재 부품 순번", "sequence of the part"),
    "v_stat_flags": ("STAT_FLAGS의 사본", "copy of STAT_FLAGS"),
    "v_ack_seq": ("STAT_ACK_SEQ의 사본", "copy of STAT_ACK_SEQ"),
    "v_result_seq": ("STAT_RESULT_SEQ의 사본", "copy of STAT_RESULT_SEQ"),
    "v_code": ("STAT_RESULT_CODE의 사본", "copy of STAT_RESULT_CODE"),
    "v_inverse": ("STAT_CODE_INVERSE의 사본", "copy of STAT_CODE_INVERSE"),
    "v_copy": ("STAT_RESULT_SEQ_COPY의 사본", "copy of STAT_RESULT_SEQ_COPY"),
    "v_beat": ("PLC 하트비트", "the PLC heartbeat"),
    "v_beat_seen": ("마지막으로 본 스테이션 하트비트", "the station heartbeat, as seen last"),
    "v_reset_beats": ("RESET 동안 본 하트비트 변화", "changes of the heartbeat seen during RESET"),
    "v_recipe": ("요청한 레시피", "recipe that was asked for"),
    "v_recipe_refused": ("거부된 레시피, 0: 없음", "recipe that was refused; 0: none"),
    "v_blocked": ("트리거할 수 없는 이유, 0: 가능", "why no trigger may be raised; 0: it may"),
    "v_cause": ("마지막 판정의 원인", "cause of the latest outcome"),
    "v_rejects": ("연속 불합격 수", "rejects in a row"),
    "v_ctrl_flags": ("CTRL_FLAGS로 쓸 값", "what becomes CTRL_FLAGS"),
    "v_id_low": ("트리거한 부품 번호, 하위", "part id of the trigger, low"),
    "v_id_high": ("트리거한 부품 번호, 상위", "part id of the trigger, high"),
    "v_deadline": ("트리거한 제한 시간", "deadline of the trigger"),
    **{f"v_serial_{n}": ("트리거한 시리얼", "serial of the trigger") for n in range(1, 9)},
}  # fmt: skip
_FLAGS: dict[str, Meaning] = {
    "v_ready": ("스테이션의 READY", "READY of the station"),
    "v_trig_ack": ("스테이션의 TRIG_ACK", "TRIG_ACK of the station"),
    "v_valid": ("스테이션의 RESULT_VALID", "RESULT_VALID of the station"),
    "v_error": ("스테이션의 ERROR", "ERROR of the station"),
    "v_recipe_ack": ("스테이션의 RECIPE_ACK", "RECIPE_ACK of the station"),
    "v_exposed": ("스테이션의 EXPOSURE_DONE", "EXPOSURE_DONE of the station"),
    "v_beat_changed": ("하트비트가 이번 스캔에 변함", "the heartbeat changed in this scan"),
    "v_beat_known": ("하트비트를 한 번 읽음", "the heartbeat was read before"),
    "v_alive": ("스테이션이 살아 있음", "the station lives"),
    "v_started": ("첫 스캔이 지남", "the first scan is over"),
    "v_reset": ("RESET 출력", "RESET"),
    "v_refused": ("스테이션이 레시피를 거부함", "the station refuses a recipe"),
    "v_refusal_old": ("그 거부는 이전 요청의 것", "that refusal is of an earlier request"),
    "v_recipe_req": ("RECIPE_REQ 출력", "RECIPE_REQ"),
    "v_recipe_fits": ("원하는 레시피가 적용 중", "the wanted recipe is in force"),
    "v_trigger": ("TRIGGER 출력", "TRIGGER"),
    "v_result_ack": ("RESULT_ACK 출력", "RESULT_ACK"),
    "v_restart_seen": ("이전 스캔의 IN_RESTART", "IN_RESTART of the scan before"),
    "v_part_seen": ("이전 스캔의 IN_PART_PRESENT", "IN_PART_PRESENT of the scan before"),
    "v_arrived": ("부품이 이번 스캔에 도착", "a part arrived in this scan"),
    "v_early": ("부품이 너무 일찍 도착", "a part arrived too early"),
    "v_met": ("트리거 뒤에 다른 부품이 도착", "another part arrived since the trigger"),
    "v_pass": ("이번 스캔에 합격", "passed in this scan"),
    "v_reject": ("이번 스캔에 불합격", "rejected in this scan"),
    "v_halted": ("라인 정지됨", "the line is stopped"),
}
_TIMERS: dict[str, Meaning] = {
    "t_beat": ("PLC 하트비트 100 ms", "the PLC heartbeat, 100 ms"),
    "t_dead": ("스테이션 하트비트 감시 1 s", "the station heartbeat stands still for 1 s"),
    "t_reset": ("RESET을 250 ms 유지", "RESET is held for 250 ms"),
    "t_recipe": ("RECIPE_ACK 제한 30 s", "longest wait for RECIPE_ACK, 30 s"),
    "t_ack": ("TRIG_ACK 제한 500 ms", "longest wait for TRIG_ACK, 500 ms"),
    "t_result": ("결과 제한 2 s", "longest wait for the answer, 2 s"),
    "t_pass": ("합격 출력 유지 500 ms", "OUT_PASS stays on for 500 ms"),
}

VARIABLES: tuple[Variable, ...] = (
    *(Variable(name, kind, "input", meaning) for name, kind, meaning in _INPUTS),
    *(Variable(name, kind, "output", meaning) for name, kind, meaning in _OUTPUTS),
    *(Variable(name, "UINT", "own", meaning) for name, meaning in _NUMBERS.items()),
    *(Variable(name, "BOOL", "own", meaning) for name, meaning in _FLAGS.items()),
    *(Variable(name, "TON", "timer", meaning) for name, meaning in _TIMERS.items()),
)
