"""The words of the probe, Korean and English: what to do at the PLC, what was found, what to do about it."""

from __future__ import annotations

from inspection.sentences.language import Table

STEPS: Table = {
    "wait_alive": (
        "PLC 하트비트(CTRL 워드 1)를 기다립니다",
        "waiting for the PLC's heartbeat (CTRL word 1)",
    ),
    "wait_enable": (
        "PLC에서 ENABLE(CTRL 비트 0)을 켜십시오. TRIGGER, RESULT_ACK, RESET, RECIPE_REQ는 꺼져 "
        "있어야 합니다",
        "set ENABLE (CTRL bit 0) at the PLC; TRIGGER, RESULT_ACK, RESET and RECIPE_REQ must be off",
    ),
    "wait_trigger": (
        "READY가 켜졌습니다. 새 TRIG_SEQ와 부품 번호를 쓰고, 한 스캔 뒤에 TRIGGER를 켜 "
        "유지하십시오",
        "READY is on: write a new TRIG_SEQ and a part id, raise TRIGGER one scan later and hold it",
    ),
    "wait_trigger_down": (
        "TRIG_ACK를 켰습니다. ACK_SEQ가 PLC의 순번과 같으면 TRIGGER를 끄십시오",
        "TRIG_ACK is on: drop TRIGGER when ACK_SEQ is the PLC's sequence",
    ),
    "exposing": ("촬영을 흉내 냅니다", "playing the exposure"),
    "wait_ack": (
        "결과 {answer}를 냈습니다(RESULT_VALID). 판정한 뒤 RESULT_ACK를 켜십시오",
        "the answer is {answer} (RESULT_VALID): judge it, then raise RESULT_ACK",
    ),
    "wait_ack_down": (
        "RESULT_VALID를 껐습니다. RESULT_ACK를 끄십시오",
        "RESULT_VALID is off: drop RESULT_ACK",
    ),
    "wait_idle": ("다음 부품을 준비합니다", "getting ready for the next part"),
}

FOUND: Table = {
    "no_connection": ("연결되지 않음: {error}", "no connection: {error}"),
    "link_lost": ("통신이 끊김: {error}", "the link broke: {error}"),
    "interrupted": ("중단됨", "interrupted"),
    "stat_left": (
        "STAT(워드 {address}부터)을 지우지 못함. 플래그나 결과가 PLC에 남아 있을 수 있음: {error}",
        "STAT (from word {address}) could not be cleared, flags or an answer may still stand in "
        "the PLC: {error}",
    ),
    "ctrl_found": (
        "CTRL이 워드 {address}에 있고 맵 버전이 맞음",
        "CTRL is at word {address}, and its map version is right",
    ),
    "ctrl_swapped": (
        "CTRL이 워드 {address}에 있지만 바이트가 뒤바뀜: 맵 버전이 1이 아니라 256으로 보임",
        "CTRL is at word {address}, but its bytes are swapped: map version 1 reads as 256",
    ),
    "ctrl_elsewhere": (
        "CTRL이 워드 {address}가 아니라 {found}에 있음",
        "CTRL is not at word {address} but at {found}",
    ),
    "ctrl_elsewhere_swapped": (
        "CTRL이 워드 {address}가 아니라 {found}에 있고 바이트도 뒤바뀜",
        "CTRL is not at word {address} but at {found}, and its bytes are swapped",
    ),
    "ctrl_and_stat_exchanged": (
        "CTRL이 STAT의 주소 {found}에 있음: 두 블록이 서로 바뀜",
        "CTRL lies where STAT should be, at {found}: the two blocks are exchanged",
    ),
    "ctrl_empty": (
        "워드 {address}부터 모두 0: PLC 프로그램이 CTRL을 쓰지 않음",
        "all words from {address} on are 0: no program writes CTRL there",
    ),
    "ctrl_version": (
        "맵 버전(워드 {address})이 {version}, 필요한 값은 {expected}",
        "the map version (word {address}) is {version}, {expected} is needed",
    ),
    "read_trips": (
        "읽기 {count}번: p50 {p50_ms} ms, p99 {p99_ms} ms, 최대 {most_ms} ms",
        "{count} reads: p50 {p50_ms} ms, p99 {p99_ms} ms, longest {most_ms} ms",
    ),
    "write_trips": (
        "쓰기 {count}번: p50 {p50_ms} ms, p99 {p99_ms} ms, 최대 {most_ms} ms",
        "{count} writes: p50 {p50_ms} ms, p99 {p99_ms} ms, longest {most_ms} ms",
    ),
    "beat": (
        "PLC 하트비트 초당 {rate}회, 가장 긴 간격 {longest_ms} ms",
        "the PLC's heartbeat: {rate} a second, longest pause {longest_ms} ms",
    ),
    "beat_slow": (
        "PLC 하트비트가 느림: 초당 {rate}회, 가장 긴 간격 {longest_ms} ms ({dead_ms} ms면 죽은 "
        "것으로 봄)",
        "the PLC's heartbeat is slow: {rate} a second, longest pause {longest_ms} ms (dead at "
        "{dead_ms} ms)",
    ),
    "beat_late": (
        "PLC 하트비트가 너무 느림: 가장 긴 간격 {longest_ms} ms, {dead_ms} ms면 죽은 것으로 봄",
        "the PLC's heartbeat is too slow: longest pause {longest_ms} ms, dead at {dead_ms} ms",
    ),
    "beat_still": (
        "PLC 하트비트(CTRL 워드 1)가 {seconds}초 동안 멈춰 있음",
        "the PLC's heartbeat (CTRL word 1) stood still for {seconds} s",
    ),
    "answers_right": (
        "{block}: 길이가 다른 질문 {count}개와 다시 연결한 직후의 질문이 모두 자기 답을 받음",
        "{block}: {count} questions of different lengths, also right after a new connection, got their "
        "own answers",
    ),
    "answer_wrong": (
        "워드 {address}를 물었는데 {read}가 옴, 맞는 값은 {expected}: 다른 질문의 답일 수 있음",
        "word {address} was answered with {read}, {expected} is right: perhaps another "
        "question's answer",
    ),
    "stat_in_use": (
        "STAT 하트비트(워드 {address})가 움직임: 어딘가에서 스테이션이 이 PLC에 쓰고 있음",
        "the heartbeat of STAT (word {address}) moves: a station writes to this PLC from somewhere",
    ),
    "patterns_right": (
        "STAT에 쓴 무늬가 그대로 읽힘, 워드 {count}개, 32767보다 큰 값 포함",
        "patterns written to STAT read back as they were: {count} words, also above 32767",
    ),
    "write_swapped": (
        "워드 {address}부터 쓴 값이 바이트가 뒤바뀌어 읽힘",
        "words written from {address} on read back with their bytes swapped",
    ),
    "write_shifted": (
        "워드 {address}부터 쓴 값이 {shift} 워드 옆에서 읽힘",
        "words written from {address} on read back {shift} word aside",
    ),
    "write_signed": (
        "32767보다 큰 값이 다르게 읽힘: {wrote}를 썼는데 {read}",
        "values above 32767 read back otherwise: {wrote} was written, {read} came back",
    ),
    "write_differs": (
        "워드 {address} + {word}: {wrote}를 썼는데 {read}가 읽힘",
        "word {address} + {word}: {wrote} was written, {read} came back",
    ),
    "reset_seen": ("RESET을 봄", "RESET seen"),
    "recipe_seen": (
        "레시피 {recipe} 요청을 보고 답함",
        "the request for recipe {recipe} was seen and answered",
    ),
    "enabled": ("ENABLE을 봄, {ms} ms 뒤", "ENABLE seen after {ms} ms"),
    "triggered": (
        "TRIGGER를 봄: 순번 {sequence}, {ms} ms 뒤. TRIG_SEQ는 그보다 {lead_ms} ms 먼저 바뀜",
        "TRIGGER seen: sequence {sequence}, after {ms} ms; TRIG_SEQ had changed {lead_ms} ms "
        "before",
    ),
    "trigger_dropped": ("TRIGGER가 꺼짐, {ms} ms 뒤", "TRIGGER dropped after {ms} ms"),
    "acknowledged": (
        "결과 {answer}에 RESULT_ACK, {ms} ms 뒤",
        "RESULT_ACK for {answer} after {ms} ms",
    ),
    "ack_dropped": ("RESULT_ACK가 꺼짐, {ms} ms 뒤", "RESULT_ACK dropped after {ms} ms"),
    "sequence_unchanged": (
        "READY가 켜진 뒤 TRIG_SEQ가 바뀌지 않음: {sequence}",
        "TRIG_SEQ did not change after READY: {sequence}",
    ),
    "sequence_jump": (
        "TRIG_SEQ가 {last} 다음에 {sequence}, 기대한 값은 {expected}",
        "TRIG_SEQ went from {last} to {sequence}, {expected} was expected",
    ),
    "handshake_done": (
        "부품 {parts}개의 순서가 모두 맞음",
        "the handshake of {parts} parts was right",
    ),
    "handshake_skipped": (
        "순서 확인을 하지 않음: 위의 문제를 먼저 고쳐야 함",
        "the handshake was not tried: what is wrong above comes first",
    ),
    "no_heartbeat": (
        "PLC 하트비트가 {seconds}초 안에 움직이지 않음",
        "the PLC's heartbeat did not move within {seconds} s",
    ),
    "no_enable": (
        "{seconds}초 안에 ENABLE이 켜지지 않음",
        "ENABLE did not come within {seconds} s",
    ),
    "reset_stuck": ("RESET이 {seconds}초 동안 켜져 있음", "RESET stayed on for {seconds} s"),
    "recipe_stuck": (
        "RECIPE_ACK를 보냈는데 RECIPE_REQ가 {seconds}초 동안 켜져 있음",
        "RECIPE_REQ stayed on for {seconds} s although RECIPE_ACK is on",
    ),
    "ack_stuck": (
        "RESULT_VALID가 꺼졌는데 RESULT_ACK가 {seconds}초 동안 켜져 있음",
        "RESULT_ACK stayed on for {seconds} s although RESULT_VALID is off",
    ),
    "trigger_stuck": (
        "READY 없이 TRIGGER가 {seconds}초 동안 켜져 있음",
        "TRIGGER was on for {seconds} s without READY",
    ),
    "no_trigger": (
        "{seconds}초 안에 TRIGGER가 켜지지 않음",
        "TRIGGER did not come within {seconds} s",
    ),
    "sequence_zero": ("TRIGGER가 TRIG_SEQ 0으로 옴", "TRIGGER came with TRIG_SEQ 0"),
    "sequence_old": (
        "TRIGGER가 이미 답한 순번 {sequence}로 옴",
        "TRIGGER came with sequence {sequence}, which has its answer already",
    ),
    "trigger_held": (
        "TRIG_ACK와 ACK_SEQ {ack_seq}를 보냈는데 TRIGGER가 {seconds}초 동안 꺼지지 않음",
        "TRIGGER did not drop within {seconds} s although TRIG_ACK is on and ACK_SEQ is {ack_seq}",
    ),
    "changed_under_trigger": (
        "답이 나오기 전에 TRIG_SEQ, 부품 번호 또는 시리얼이 바뀜 (지금 순번 {sequence})",
        "TRIG_SEQ, part id or serial changed before the answer (the sequence is {sequence} now)",
    ),
    "reset_under_trigger": ("부품 처리 중에 RESET이 켜짐", "RESET came while a part was in work"),
    "trigger_busy": (
        "답을 받기 전에 TRIGGER가 다시 켜짐",
        "TRIGGER came again before the answer was taken",
    ),
    "ack_early": (
        "답이 없는데 RESULT_ACK가 켜짐",
        "RESULT_ACK is on although there is no answer",
    ),
    "no_result_ack": (
        "RESULT_VALID를 켰는데 RESULT_ACK가 {seconds}초 안에 오지 않음",
        "RESULT_ACK did not come within {seconds} s although RESULT_VALID is on",
    ),
    "ack_held": (
        "RESULT_VALID가 꺼졌는데 RESULT_ACK가 {seconds}초 동안 꺼지지 않음",
        "RESULT_ACK did not drop within {seconds} s although RESULT_VALID is off",
    ),
    "enable_lost": ("READY 뒤에 ENABLE이 꺼짐", "ENABLE dropped after READY"),
    "plc_died": ("도중에 PLC 하트비트가 멈춤", "the PLC's heartbeat stopped meanwhile"),
    "version_changed": (
        "도중에 맵 버전이 {version}으로 바뀜",
        "the map version changed to {version} meanwhile",
    ),
}

_ADDRESSES = (
    "station.yaml의 ctrl_address와 stat_address, PLC의 주소를 맞추십시오. `inspection plc "
    "map`이 주소를 보여 줍니다",
    "make ctrl_address and stat_address of station.yaml agree with the PLC; `inspection plc "
    "map` shows them",
)
_SWAP = (
    "PLC 프로그램이나 통신 모듈의 바이트 교환(swap) 설정을 끄십시오. 워드의 상위 바이트가 "
    "먼저입니다",
    "switch the byte swap of the PLC's program or of its module off; the high byte of a word "
    "goes first",
)
_PROGRAM = (
    "PLC 프로그램을 실행하고, 하트비트를 100 ms마다 올리는지 보십시오",
    "start the PLC's program, and see that it counts its heartbeat up every 100 ms",
)

REMEDIES: Table = {
    "no_connection": (
        "전원, 케이블, 주소와 포트, PLC의 서버 설정을 확인하십시오. 다른 PC가 연결을 차지했을 "
        "수도 있습니다",
        "check power, cable, address and port, and that the PLC's server is on; another PC may "
        "hold its connection",
    ),
    "link_lost": (
        "메시지를 보고 케이블과 PLC의 접근 권한, 주소를 확인하십시오",
        "see the message; check the cable, the PLC's access rights and the addresses",
    ),
    "stat_left": (
        "컨베이어를 움직이지 마십시오. 연결이 되면 --write로 다시 점검하거나 PLC에서 STAT을 0으로 "
        "지우십시오",
        "keep the conveyor off: when the link is back, probe again with --write, or zero STAT at "
        "the PLC",
    ),
    "ctrl_swapped": _SWAP,
    "ctrl_elsewhere": _ADDRESSES,
    "ctrl_elsewhere_swapped": _ADDRESSES,
    "ctrl_and_stat_exchanged": _ADDRESSES,
    "ctrl_empty": _PROGRAM,
    "ctrl_version": (
        "주소가 맞으면 PLC 프로그램이 CTRL 워드 7에 1을 쓰게 하십시오. 아니면 ctrl_address를 "
        "고치십시오",
        "let the PLC's program write 1 to CTRL word 7; if the address is wrong, mend ctrl_address",
    ),
    "read_trips": ("네트워크와 PLC 스캔 시간을 보십시오. 그만큼 택트가 늘어납니다",
                   "look at the network and the PLC's scan time: it costs takt"),
    "write_trips": ("네트워크와 PLC 스캔 시간을 보십시오. 그만큼 택트가 늘어납니다",
                    "look at the network and the PLC's scan time: it costs takt"),
    "beat_slow": _PROGRAM,
    "beat_late": _PROGRAM,
    "beat_still": _PROGRAM,
    "no_heartbeat": _PROGRAM,
    "plc_died": _PROGRAM,
    "answer_wrong": (
        "이 연결로 라인을 돌리지 마십시오. 중간 장비를 빼고 다시 해 보고, 그래도 같으면 알려 "
        "주십시오",
        "do not run a line over this link; try it without devices in between, and report it if "
        "it stays",
    ),
    "stat_in_use": (
        "그 스테이션을 멈추십시오. STAT에 쓰는 것은 하나뿐이어야 합니다",
        "stop that station; only one may write STAT",
    ),
    "write_swapped": _SWAP,
    "write_shifted": _ADDRESSES,
    "write_signed": (
        "PLC나 게이트웨이에서 워드를 부호 없는 16비트로 다루게 하십시오",
        "let the PLC or the gateway treat words as unsigned, 16 bits",
    ),
    "write_differs": (
        "STAT 영역에 다른 프로그램이 쓰지 않는지, 쓰기 보호되지 않았는지 확인하십시오",
        "see that nothing else writes to STAT and that it is not protected against writing",
    ),
    "no_enable": (
        "PLC 프로그램에서 CTRL 비트 0을 켜십시오",
        "raise bit 0 of CTRL word 0 in the PLC's program",
    ),
    "reset_stuck": (
        "RESET은 250 ms 이상, 스테이션 하트비트가 두 번 변할 때까지만 켜십시오. PLC가 STAT "
        "워드 1을 읽는지 보십시오",
        "RESET lasts 250 ms and until the station's heartbeat changed twice: does the PLC read "
        "STAT word 1?",
    ),
    "recipe_stuck": (
        "RECIPE_ACK(STAT 비트 7)와 워드 11을 보면 RECIPE_REQ를 끄게 하십시오. stat_address도 "
        "확인하십시오",
        "drop RECIPE_REQ on RECIPE_ACK (STAT bit 7) with word 11; check stat_address too",
    ),
    "ack_stuck": (
        "RESULT_VALID가 꺼지면 RESULT_ACK를 끄게 하십시오",
        "drop RESULT_ACK when RESULT_VALID is off",
    ),
    "trigger_stuck": ("READY 없이 TRIGGER를 켜지 마십시오", "raise no TRIGGER without READY"),
    "no_trigger": (
        "PLC가 STAT 비트 0(READY)을 보는지, 부품 센서가 오는지 확인하십시오",
        "does the PLC see READY (STAT bit 0), and does its part sensor come?",
    ),
    "sequence_zero": (
        "순번은 1~65535입니다. 0은 쓰지 않습니다",
        "sequences are 1 to 65535; 0 is never a part",
    ),
    "sequence_old": ("부품마다 TRIG_SEQ를 1 올리십시오", "count TRIG_SEQ up for every part"),
    "sequence_jump": (
        "부품마다 TRIG_SEQ를 1 올리고, 65535 다음은 1입니다",
        "one more for every part; 1 after 65535",
    ),
    "sequence_unchanged": (
        "READY를 본 뒤에 새 TRIG_SEQ를 쓰고, 한 스캔 뒤에 TRIGGER를 켜십시오",
        "write a new TRIG_SEQ after READY, and raise TRIGGER one scan later",
    ),
    "trigger_held": (
        "PLC가 STAT 비트 1과 워드 2를 읽는지 보십시오. PLC에 보이는 ACK_SEQ가 다르면 "
        "stat_address나 바이트 순서가 틀립니다",
        "does the PLC read STAT bit 1 and word 2? If it sees another ACK_SEQ, stat_address or "
        "the byte order is wrong",
    ),
    "changed_under_trigger": (
        "TRIGGER부터 답까지 TRIG_SEQ, 부품 번호, 시리얼을 바꾸지 마십시오",
        "leave TRIG_SEQ, part id and serial alone from TRIGGER to the answer",
    ),
    "reset_under_trigger": (
        "TRIGGER와 함께 RESET을 켜지 마십시오",
        "never pulse RESET while a part is in work",
    ),
    "trigger_busy": (
        "답을 받고 RESULT_ACK를 끝낸 뒤 READY를 보고 다음 TRIGGER를 켜십시오",
        "raise the next TRIGGER after the answer was acknowledged and READY is back",
    ),
    "ack_early": (
        "RESULT_ACK는 RESULT_VALID를 본 뒤에만 켜십시오",
        "raise RESULT_ACK only when RESULT_VALID is seen",
    ),
    "no_result_ack": (
        "PLC가 STAT 비트 3(RESULT_VALID)을 보는지, 순번과 사본을 비교하는지 확인하십시오",
        "does the PLC see RESULT_VALID (STAT bit 3), and does it compare sequence and copy?",
    ),
    "ack_held": (
        "RESULT_VALID가 꺼지면 RESULT_ACK를 끄게 하십시오",
        "drop RESULT_ACK when RESULT_VALID is off",
    ),
    "enable_lost": ("검사하는 동안 ENABLE을 켜 두십시오", "hold ENABLE while inspection is wanted"),
    "version_changed": (
        "CTRL에는 PLC 프로그램 하나만 써야 합니다",
        "only one program of the PLC may write CTRL",
    ),
    "handshake_skipped": ("고친 뒤 다시 실행하십시오", "mend it, then run this again"),
    "interrupted": ("다시 실행하십시오", "run this again"),
}  # fmt: skip
"""Where a finding is not `ok`."""
