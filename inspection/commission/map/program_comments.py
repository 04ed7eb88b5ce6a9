"""The comments of the PLC's program, Korean and English, by the key that stands in program.py after `@`."""

from __future__ import annotations

from inspection.commission.map.words import Meaning

COMMENTS: dict[str, Meaning] = {
    "title": (
        "검사 스테이션 라인 프로토콜의 PLC 쪽. 부품은 양품임이 증명될 때만 통과합니다.",
        "The PLC side of the line protocol of the inspection station. A part passes only when "
        "it was proven good.",
    ),
    "untested": (
        "실제 PLC에서는 시험하지 않았습니다. 설비에 맞게 검토하고 컨베이어를 멈춘 상태에서 "
        "시험하십시오.",
        "It was never run in a real PLC. Review it for your machine and try it with the "
        "conveyor off.",
    ),
    "every_scan": (
        "매 스캔 한 번 실행합니다. 스캔은 20 ms 이하여야 합니다. CTRL은 이 프로그램만, STAT은 "
        "스테이션만 씁니다.",
        "Run it once in every scan; a scan takes 20 ms or less. Only this program writes CTRL, "
        "only the station STAT.",
    ),
    "read": (
        "STAT을 한 번 복사합니다. 비트 워드를 먼저: RESULT_VALID가 보이면 나머지 워드는 이미 "
        "쓰여 있습니다.",
        "Copy STAT once, flags first: where RESULT_VALID is seen, the other words were written "
        "before.",
    ),
    "alive": (
        "스테이션이 살아 있는가: 하트비트가 1초 안에 변해야 합니다. 처음 읽은 값은 아무것도 "
        "증명하지 않습니다.",
        "Does the station live? Its heartbeat must change within 1 s. The first value read "
        "proves nothing.",
    ),
    "own_heartbeat": (
        "PLC 하트비트: 100 ms마다 1 증가. 시스템 클록 비트가 아니라 이 프로그램에서 셉니다.",
        "The PLC heartbeat: one more every 100 ms, counted here and not by a system clock bit.",
    ),
    "reset": (
        "메모리를 잃은 뒤 RESET: 250 ms 이상, 스테이션 하트비트가 두 번 변할 때까지. 그동안 "
        "트리거하지 않습니다.",
        "RESET after a loss of memory: 250 ms, and until the station heartbeat changed twice. "
        "No trigger meanwhile.",
    ),
    "recipe": (
        "레시피: 원하는 번호가 적용되어 있지 않으면 부품 사이에 요청합니다. 거부되면 번호가 "
        "바뀔 때까지 기다립니다.",
        "Recipe: asked for between parts when another one is in force. After a refusal, not "
        "before the number changes.",
    ),
    "result_ack": (
        "RESULT_ACK: RESULT_VALID가 꺼질 때까지. 기다리는 부품이 없는 결과는 버리고 아무것도 "
        "통과시키지 않습니다.",
        "RESULT_ACK until RESULT_VALID drops. An answer that no part waits for is thrown away; "
        "nothing passes.",
    ),
    "restart": (
        "라인 정지 뒤 작업자가 확인하면 다시 시작합니다.",
        "Go on after a stopped line, when the operator says so.",
    ),
    "blocked": (
        "지금 트리거할 수 있는가. 1 스테이션 죽음, 2 준비 안 됨, 10 이전 결과가 남음, 12 라인 "
        "정지, 13 운전 아님.",
        "May a trigger be raised now? 1 station dead, 2 not ready, 10 an old answer, 12 line "
        "stopped, 13 not running.",
    ),
    "part": (
        "부품 한 개의 흐름. 모든 부품은 합격 또는 불합격을 정확히 한 번 받습니다.",
        "One part, step by step. Every part gets exactly one outcome: passed or rejected.",
    ),
    "met": (
        "트리거 뒤에 다른 부품이 왔으면 기억합니다. 카메라 앞에 판정되지 않은 부품이 있으므로 이 "
        "결과는 아무것도 통과시키지 않습니다.",
        "Remember that another part came since the trigger: it stands there unjudged, so this "
        "answer passes nothing.",
    ),
    "phase_0": (
        "도착: 순번과 부품 번호를 기록합니다. 트리거할 수 없으면 트리거 없이 불합격입니다.",
        "A part arrives: write sequence and part id. Where no trigger may be raised it is "
        "rejected without one.",
    ),
    "phase_10": (
        "한 스캔 뒤에 TRIGGER를 올리고 유지합니다.",
        "One scan later TRIGGER is raised, and held.",
    ),
    "phase_20": (
        "TRIG_ACK와 같은 순번의 ACK_SEQ에서 TRIGGER를 내립니다. 3: 500 ms 안에 TRIG_ACK 없음.",
        "TRIGGER drops on TRIG_ACK with ACK_SEQ = this sequence. 3: no TRIG_ACK within 500 ms.",
    ),
    "phase_30": (
        "결과를 기다립니다. 레시피의 제한 시간보다 길어야 합니다. 4: 2초 안에 결과 없음, 5: "
        "하트비트 멈춤.",
        "Wait for the answer, longer than the deadline of the recipe. 4: none within 2 s, 5: "
        "the heartbeat stood still.",
    ),
    "judge": (
        "증명: 순번과 사본이 같고, 코드 + 반전 = 65535, 코드 = 1. 6: 검사 실패, 7 FAIL, 8 "
        "REVIEW, 9 NOT INSPECTED, "
        "11: 트리거 뒤에 다음 부품이 옴.",
        "Proof: sequence and its copy agree, code + inverse = 65535, code = 1. 6: check "
        "failed, 7 FAIL, 8 REVIEW, "
        "9 NOT INSPECTED, 11: another part came since the trigger.",
    ),
    "phase_else": (
        "있을 수 없는 단계: 불합격.",
        "No such step: reject.",
    ),
    "count": (
        "집계. 연속 불합격이 정해진 수에 이르면 라인을 정지합니다.",
        "Count. Too many rejects in a row stop the line.",
    ),
    "outputs": (
        "OUT_PASS는 켜져야 통과입니다. 500 ms 뒤에, 그리고 다음 부품이 오거나 스테이션이 "
        "죽으면 곧바로 꺼집니다.",
        "OUT_PASS is energise-to-pass. It drops after 500 ms, and at once with the next part "
        "or a dead station.",
    ),
    "write": (
        "CTRL을 씁니다. 비트 워드는 마지막에 한 번에 씁니다.",
        "Write CTRL; the flags last and in one go.",
    ),
}
