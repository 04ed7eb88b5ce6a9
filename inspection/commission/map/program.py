"""The PLC's side of the line protocol as Structured Text: one text for all families.

It keeps to what every IEC 61131-3 tool has: assignments, IF, CASE, whole numbers without a sign, TON. Flags
are taken apart and put together with arithmetic, for each maker writes bits of a word in another way.
A line that begins with `@` is a comment of program_comments.py. Dialects only change how names are
written and what stands around the body.

    copy STAT ─▶ station alive? ─▶ RESET, recipe, RESULT_ACK ─▶ the part, step by step ─▶ outputs ─▶ CTRL
"""

from __future__ import annotations

BODY = """\
@read
v_stat_flags := STAT_FLAGS;
v_ack_seq := STAT_ACK_SEQ;
v_result_seq := STAT_RESULT_SEQ;
v_code := STAT_RESULT_CODE;
v_inverse := STAT_CODE_INVERSE;
v_copy := STAT_RESULT_SEQ_COPY;
v_ready := (v_stat_flags MOD 2) = 1;
v_trig_ack := ((v_stat_flags / 2) MOD 2) = 1;
v_valid := ((v_stat_flags / 8) MOD 2) = 1;
v_error := ((v_stat_flags / 32) MOD 2) = 1;
v_recipe_ack := ((v_stat_flags / 128) MOD 2) = 1;
v_exposed := ((v_stat_flags / 256) MOD 2) = 1;

@alive
v_beat_changed := v_beat_known AND (STAT_HEARTBEAT <> v_beat_seen);
v_beat_seen := STAT_HEARTBEAT;
v_beat_known := TRUE;
t_dead(IN := NOT v_beat_changed, PT := T#1s);
IF v_beat_changed THEN
    v_alive := TRUE;
ELSIF t_dead.Q THEN
    v_alive := FALSE;
END_IF;

@own_heartbeat
t_beat(IN := NOT t_beat.Q, PT := T#100ms);
IF t_beat.Q THEN
    IF v_beat >= UINT#65535 THEN
        v_beat := 0;
    ELSE
        v_beat := v_beat + 1;
    END_IF;
END_IF;

@reset
IF NOT v_started THEN
    v_started := TRUE;
    v_reset := TRUE;
    v_reset_beats := 0;
    v_phase := 0;
END_IF;
t_reset(IN := v_reset, PT := T#250ms);
IF v_reset AND v_beat_changed AND (v_reset_beats < 2) THEN
    v_reset_beats := v_reset_beats + 1;
END_IF;
IF v_reset AND t_reset.Q AND (v_reset_beats >= 2) THEN
    v_reset := FALSE;
END_IF;

@recipe
v_refused := v_error AND (({refused}));
IF IN_RECIPE <> v_recipe_refused THEN
    v_recipe_refused := 0;
END_IF;
v_recipe_fits := (IN_RECIPE = 0) OR (STAT_RECIPE = IN_RECIPE);
IF v_recipe_fits THEN
    v_recipe_refused := 0;
END_IF;
t_recipe(IN := v_recipe_req AND v_alive, PT := T#30s);
IF v_recipe_req THEN
    IF NOT v_refused THEN
        v_refusal_old := FALSE;
    END_IF;
    IF v_recipe_ack AND (STAT_RECIPE = v_recipe) THEN
        v_recipe_req := FALSE;
    ELSIF (v_refused AND NOT v_refusal_old) OR t_recipe.Q THEN
        v_recipe_req := FALSE;
        v_recipe_refused := v_recipe;
    END_IF;
ELSIF (v_phase = 0) AND v_alive AND NOT v_reset AND NOT v_recipe_ack AND NOT v_recipe_fits
      AND (v_recipe_refused = 0) THEN
    v_recipe := IN_RECIPE;
    v_recipe_req := TRUE;
    v_refusal_old := v_refused;
END_IF;

@result_ack
IF v_result_ack THEN
    IF NOT v_valid THEN
        v_result_ack := FALSE;
    END_IF;
ELSIF v_valid AND (v_phase = 0) THEN
    v_result_ack := TRUE;
END_IF;

@restart
IF IN_RESTART AND NOT v_restart_seen THEN
    v_halted := FALSE;
    v_rejects := 0;
END_IF;
v_restart_seen := IN_RESTART;

@blocked
v_blocked := 0;
IF NOT IN_RUN THEN
    v_blocked := 13;
ELSIF v_halted THEN
    v_blocked := 12;
ELSIF NOT v_alive THEN
    v_blocked := 1;
ELSIF v_valid OR v_result_ack THEN
    v_blocked := 10;
ELSIF v_reset OR v_recipe_req OR v_trig_ack OR NOT v_ready OR NOT v_recipe_fits
      OR (STAT_MAP_VERSION <> {version}) THEN
    v_blocked := 2;
END_IF;

@part
v_arrived := IN_PART_PRESENT AND NOT v_part_seen;
v_part_seen := IN_PART_PRESENT;
v_early := v_arrived AND (v_phase <> 0);
@met
IF v_early THEN
    v_met := TRUE;
END_IF;
v_pass := FALSE;
v_reject := FALSE;
t_ack(IN := (v_phase = 20), PT := T#500ms);
t_result(IN := (v_phase = 20) OR (v_phase = 30), PT := T#2s);
CASE v_phase OF
    0:
        @phase_0
        IF v_arrived THEN
            IF v_blocked = 0 THEN
                IF v_seq >= UINT#65535 THEN
                    v_seq := 1;
                ELSE
                    v_seq := v_seq + 1;
                END_IF;
                v_id_low := IN_PART_ID_LOW;
                v_id_high := IN_PART_ID_HIGH;
                v_deadline := IN_DEADLINE;
                v_met := FALSE;
{latch_serial}
                v_phase := 10;
            ELSE
                v_cause := v_blocked;
                v_reject := TRUE;
            END_IF;
        END_IF;
    10:
        @phase_10
        v_trigger := TRUE;
        v_phase := 20;
    20:
        @phase_20
        IF v_trig_ack AND (v_ack_seq = v_seq) THEN
            v_trigger := FALSE;
            v_phase := 30;
        ELSIF t_ack.Q THEN
            v_cause := 3;
            v_reject := TRUE;
        END_IF;
    30:
        @phase_30
        IF NOT v_alive THEN
            v_cause := 5;
            v_reject := TRUE;
        ELSIF t_result.Q THEN
            v_cause := 4;
            v_reject := TRUE;
        ELSIF v_valid THEN
            @judge
            v_result_ack := TRUE;
            IF (v_result_seq <> v_seq) OR (v_copy <> v_seq) OR (v_inverse <> (UINT#65535 - v_code)) THEN
                v_cause := 6;
                v_reject := TRUE;
            ELSIF v_met THEN
                v_cause := 11;
                v_reject := TRUE;
            ELSIF v_code = 1 THEN
                v_cause := 0;
                v_pass := TRUE;
                v_phase := 0;
            ELSE
                IF (v_code >= 2) AND (v_code <= 4) THEN
                    v_cause := v_code + 5;
                ELSE
                    v_cause := 6;
                END_IF;
                v_reject := TRUE;
            END_IF;
        END_IF;
ELSE
    @phase_else
    v_cause := 6;
    v_reject := TRUE;
END_CASE;
IF v_reject THEN
    v_trigger := FALSE;
    v_phase := 0;
END_IF;

@count
IF v_pass THEN
    OUT_PASSES := OUT_PASSES + 1;
    v_rejects := 0;
END_IF;
IF v_reject THEN
    OUT_REJECTS := OUT_REJECTS + 1;
    IF IN_RUN AND (v_rejects < {most_rejects}) THEN
        v_rejects := v_rejects + 1;
    END_IF;
END_IF;
IF v_early THEN
    OUT_REJECTS := OUT_REJECTS + 1;
    IF IN_RUN AND (v_rejects < {most_rejects}) THEN
        v_rejects := v_rejects + 1;
    END_IF;
END_IF;
IF v_rejects >= {most_rejects} THEN
    v_halted := TRUE;
END_IF;

@outputs
t_pass(IN := OUT_PASS, PT := T#500ms);
IF v_pass THEN
    OUT_PASS := TRUE;
ELSIF v_arrived OR v_reject OR t_pass.Q OR NOT v_alive THEN
    OUT_PASS := FALSE;
END_IF;
OUT_PART_PASSED := v_pass;
OUT_PART_REJECTED := v_reject;
OUT_EARLY_REJECTED := v_early;
OUT_CAUSE := v_cause;
OUT_MAY_MOVE := (v_phase = 0) OR ((v_phase = 30) AND v_exposed);
OUT_READY := (v_phase = 0) AND (v_blocked = 0);
OUT_LINE_STOPPED := v_halted;
OUT_ALARM := v_halted OR v_error OR (v_recipe_refused <> 0) OR NOT v_alive;

@write
CTRL_TRIG_SEQ := v_seq;
CTRL_RECIPE := v_recipe;
CTRL_PART_ID_LOW := v_id_low;
CTRL_PART_ID_HIGH := v_id_high;
CTRL_DEADLINE := v_deadline;
CTRL_MAP_VERSION := {version};
{write_serial}
CTRL_HEARTBEAT := v_beat;
v_ctrl_flags := 0;
IF IN_RUN AND NOT v_halted THEN
    v_ctrl_flags := v_ctrl_flags + 1;
END_IF;
IF v_trigger THEN
    v_ctrl_flags := v_ctrl_flags + 2;
END_IF;
IF v_result_ack THEN
    v_ctrl_flags := v_ctrl_flags + 4;
END_IF;
IF v_reset THEN
    v_ctrl_flags := v_ctrl_flags + 8;
END_IF;
IF v_recipe_req THEN
    v_ctrl_flags := v_ctrl_flags + 16;
END_IF;
IF v_error THEN
    v_ctrl_flags := v_ctrl_flags + 32;
END_IF;
CTRL_FLAGS := v_ctrl_flags;
"""
